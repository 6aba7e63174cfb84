//! Archives that Linux unpacks as an initramfs: cpio in the newc form (kernel Documentation/driver-api/
//! early-userspace/buffer-format.rst). Only written, and only what a file of the head needs: folders and files of
//! root, with no times and no devices, so that the same input gives the same octets.

use zeroize::Zeroizing;

/// Entries and names are padded to so many octets.
const ALIGN: usize = 4;

/// File types of `st_mode`.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// An archive in the making. It may carry secrets, so its octets are wiped when it is dropped.
#[derive(Default)]
pub struct Archive {
    octets: Zeroizing<Vec<u8>>,
    entries: u32,
}

impl Archive {
    /// Adds a folder; those above it come before.
    pub fn folder(&mut self, name: &str, permissions: u32) {
        self.entry(name, FOLDER | permissions, 2, &[]);
    }

    /// Adds a file of root's.
    pub fn file(&mut self, name: &str, permissions: u32, content: &[u8]) {
        self.entry(name, FILE | permissions, 1, content);
    }

    /// The archive with its trailer.
    #[must_use]
    pub fn finish(mut self) -> Zeroizing<Vec<u8>> {
        self.entries = 0;
        self.entry("TRAILER!!!", 0, 1, &[]);
        self.octets
    }

    fn entry(&mut self, name: &str, mode: u32, links: u32, content: &[u8]) {
        let number = if mode == 0 { 0 } else { self.entries.saturating_add(1) };
        self.entries = number;
        let length = |octets: usize| u32::try_from(octets).unwrap_or(u32::MAX);
        let size = length(content.len());
        let name_size = length(name.len().saturating_add(1));
        // inode, mode, uid, gid, links, mtime, size, device, device of devices, name size, check
        let fields = [number, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut next = Zeroizing::new(Vec::with_capacity(
            self.octets.len().saturating_add(content.len()).saturating_add(name.len()).saturating_add(128),
        ));
        next.extend_from_slice(&self.octets);
        next.extend_from_slice(b"070701");
        for field in fields {
            next.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        next.extend_from_slice(name.as_bytes());
        next.push(0);
        pad(&mut next);
        next.extend_from_slice(content);
        pad(&mut next);
        // A new buffer, because one that grows leaves its old octets behind.
        self.octets = next;
    }
}

fn pad(octets: &mut Vec<u8>) {
    octets.resize(octets.len().next_multiple_of(ALIGN), 0);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "a test may panic")]

    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use crate::wire::newc::Archive;

    fn archive() -> Vec<u8> {
        let mut archive = Archive::default();
        archive.folder("etc", 0o755);
        archive.folder("etc/muster", 0o700);
        archive.file("etc/muster/boot.json", 0o400, b"{\"v\":1}\n");
        archive.finish().to_vec()
    }

    #[test]
    fn the_octets_are_what_the_kernel_documents() {
        let octets = archive();
        assert_eq!(octets.len() % 4, 0);
        let head = String::from_utf8_lossy(&octets[..114]);
        assert!(head.starts_with("07070100000001000041ED0000000000000000"), "{head}");
        assert!(octets.windows(10).any(|window| window == b"TRAILER!!!"));
        assert!(octets.windows(8).any(|window| window == b"{\"v\":1}\n"));
    }

    #[test]
    fn cpio_unpacks_it_with_its_modes() {
        let child = Command::new("cpio")
            .args(["-itv", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: no cpio here");
            return;
        };
        child.stdin.take().unwrap().write_all(&archive()).unwrap();
        let listed = child.wait_with_output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains("drwx------") && listed.contains("-r--------"), "{listed}");
        assert!(listed.contains("etc/muster/boot.json"), "{listed}");
    }
}
