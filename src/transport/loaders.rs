//! The loaders that TFTP and HTTP give to firmware, held in memory: name to content. Read from directories,
//! so that a site can replace any of them; no request ever reaches a file system.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Bytes;
use sha2::{Digest, Sha256};

use crate::base::limits::{LOADER_BYTES_MAX, LOADERS_MAX};

/// Where Debian and our own packages put loaders. The site's own directory comes behind them.
pub const DIRECTORIES: [&str; 4] =
    ["/usr/lib/shim", "/usr/lib/grub/x86_64-efi-signed", "/usr/lib/ipxe", "/usr/share/muster/loaders"];

/// Names that clients are told or were built with, and under which names packages ship such files, the best
/// first. A file of the name itself always wins.
const ALIASES: [(&str, &[&str]); 11] = [
    ("ipxe-amd64.efi", &["ipxe-x86_64.efi", "ipxe.efi"]),
    ("ipxe.efi", &["ipxe-amd64.efi", "ipxe-x86_64.efi"]),
    ("ipxe-x86_64.efi", &["ipxe-amd64.efi", "ipxe.efi"]),
    ("ipxe-i386.efi", &["ipxe-ia32.efi"]),
    ("ipxe-i386.kpxe", &["undionly.kpxe"]),
    ("snponly-arm64.efi", &["ipxe-arm64.efi"]),
    ("shimx64.efi", &["shimx64.efi.signed"]),
    ("shimaa64.efi", &["shimaa64.efi.signed"]),
    ("grubx64.efi", &["grubnetx64.efi.signed", "grubnetx64.efi"]),
    ("grubaa64.efi", &["grubnetaa64.efi.signed", "grubnetaa64.efi"]),
    ("mmx64.efi", &["mmx64.efi.signed"]),
];

/// Endings of files that are no loaders although they lie beside them: option ROMs, disk images, texts.
const FOREIGN_ENDINGS: [&str; 4] = [".rom", ".iso", ".CSV", ".txt"];

/// Content and validator by name.
type Files = BTreeMap<String, (Bytes, Arc<str>)>;

/// The files by name. Reading takes no lock; a reload swaps the whole map.
#[derive(Debug)]
pub struct Loaders {
    /// Distribution's directories: a link there is the package's own affair.
    system: Vec<PathBuf>,
    /// Directory that people write to: links in it are not followed.
    own: Option<PathBuf>,
    files: ArcSwap<Files>,
}

/// A directory or file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read loader {path}")]
pub struct LoadersError {
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl Loaders {
    /// Reads the directories; in later ones a file of the same name wins, and `own` wins over all. Missing
    /// directories are empty. What cannot be read is logged and left out.
    #[must_use]
    pub fn open(system: Vec<PathBuf>, own: Option<PathBuf>) -> Loaders {
        let loaders = Loaders { system, own, files: ArcSwap::default() };
        for error in loaders.reload() {
            tracing::warn!(path = %error.path.display(), error = %error.source, "loader is left out");
        }
        loaders
    }

    /// Reads all directories again. Blocks on the disk. Returns what could not be read; the rest counts.
    pub fn reload(&self) -> Vec<LoadersError> {
        let mut files = Files::new();
        let mut errors = Vec::new();
        for directory in &self.system {
            read_directory(directory, true, &mut files, &mut errors);
        }
        if let Some(directory) = &self.own {
            read_directory(directory, false, &mut files, &mut errors);
        }
        for (alias, candidates) in ALIASES {
            let found = candidates.iter().find_map(|name| files.get(*name).cloned());
            if let (false, Some(content)) = (files.contains_key(alias), found) {
                files.insert(alias.to_owned(), content);
            }
        }
        self.files.store(Arc::new(files));
        errors
    }

    /// The file of this name, without a directory.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Bytes> {
        self.files.load().get(name).map(|(content, _)| content.clone())
    }

    /// The same with its HTTP validator, which changes with the content.
    #[must_use]
    pub fn get_tagged(&self, name: &str) -> Option<(Bytes, Arc<str>)> {
        self.files.load().get(name).cloned()
    }

    /// All names with sizes in octets, in order.
    #[must_use]
    pub fn names(&self) -> Vec<(String, u64)> {
        self.files.load().iter().map(|(name, (content, _))| (name.clone(), content.len() as u64)).collect()
    }
}

/// A strong validator: the beginning of the content's SHA-256.
fn tag(content: &Bytes) -> Arc<str> {
    let digest = Sha256::digest(content);
    let hex: String = digest.iter().take(12).map(|octet| format!("{octet:02x}")).collect();
    format!("\"{hex}\"").into()
}

fn read_directory(directory: &Path, follow: bool, files: &mut Files, errors: &mut Vec<LoadersError>) {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(source) => return errors.push(LoadersError { path: directory.to_owned(), source }),
    };
    for entry in entries.take(LOADERS_MAX).flatten() {
        let path = entry.path();
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') || FOREIGN_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            continue;
        }
        match read_file(&path, follow) {
            Ok(Some(content)) => {
                let tag = tag(&content);
                files.insert(name, (content, tag));
            }
            Ok(None) => {}
            Err(source) => errors.push(LoadersError { path, source }),
        }
    }
}

/// None for what is no regular file.
fn read_file(path: &Path, follow: bool) -> io::Result<Option<Bytes>> {
    // Nonblocking, so that a pipe of somebody's cannot hold us up.
    let flags = libc::O_NONBLOCK | if follow { 0 } else { libc::O_NOFOLLOW };
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(LOADER_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LOADER_BYTES_MAX {
        let text = format!("larger than {LOADER_BYTES_MAX} octets, too large for a loader");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(Some(content.into()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::transport::loaders::Loaders;

    #[test]
    fn later_directories_win_and_packaged_names_get_their_aliases() {
        let (system, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(system.path().join("ipxe.efi"), "packaged").unwrap();
        fs::write(system.path().join("shimx64.efi.signed"), "shim").unwrap();
        fs::write(system.path().join("rtl8139.rom"), "rom").unwrap();
        fs::create_dir(system.path().join("qemu")).unwrap();
        let loaders = Loaders::open(vec![system.path().into()], Some(own.path().into()));
        assert_eq!(loaders.get("ipxe-x86_64.efi").unwrap(), "packaged");
        assert_eq!(loaders.get("shimx64.efi").unwrap(), "shim");
        assert_eq!(loaders.get("rtl8139.rom"), None);

        fs::write(own.path().join("ipxe-amd64.efi"), "site").unwrap();
        fs::write(own.path().join("ipxe.efi"), "site too").unwrap();
        assert!(loaders.reload().is_empty());
        assert_eq!(loaders.get("ipxe-amd64.efi").unwrap(), "site");
        assert_eq!(loaders.get("ipxe.efi").unwrap(), "site too");
        let names: Vec<String> = loaders.names().into_iter().map(|(name, _)| name).collect();
        let expected = ["ipxe-amd64.efi", "ipxe-x86_64.efi", "ipxe.efi", "shimx64.efi", "shimx64.efi.signed"];
        assert_eq!(names, expected);
    }

    #[test]
    fn links_in_the_writable_directory_are_not_followed() {
        let (system, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(system.path().join("real"), "x").unwrap();
        for directory in [&system, &own] {
            std::os::unix::fs::symlink(system.path().join("real"), directory.path().join("link.efi"))
                .unwrap();
        }
        let loaders = Loaders::open(vec![own.path().join("absent")], Some(own.path().into()));
        assert_eq!(loaders.get("link.efi"), None);
        assert_eq!(loaders.reload().len(), 1);
        assert_eq!(Loaders::open(vec![system.path().into()], None).get("link.efi").unwrap(), "x");
    }
}
