//! What a kernel says of itself: for which processors it is made, and its version.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::base::limits::KERNEL_SEARCH_BYTES_MAX;
use crate::model::Arch;

/// As far as a bzImage's pointer to its version can reach, and its text.
const HEAD_BYTES: u64 = 0x200 + 0x1_0000 + 256;

/// What stands before the version in the banner of every kernel (`linux_banner`).
const BANNER: &[u8] = b"Linux version ";

const VERSION_BYTES_MAX: usize = 128;
const CHUNK_BYTES: usize = 1 << 20;

/// What a kernel's octets say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) arch: Option<Arch>,
    pub(crate) version: Option<String>,
}

/// # Errors
/// The file cannot be read, or is no kernel.
pub(crate) fn facts(path: &Path) -> anyhow::Result<Facts> {
    let read = || {
        let mut file = File::open(path)?;
        let mut head = Vec::new();
        (&mut file).take(HEAD_BYTES).read_to_end(&mut head)?;
        std::io::Result::Ok((file, head))
    };
    let (mut file, head) = read().with_context(|| format!("cannot read {}", path.display()))?;
    let arch = machine(&head);
    let is_bzimage = at(&head, 0x202) == Some(*b"HdrS");
    let known = is_bzimage || arch.is_some() || head.starts_with(b"MZ") || head.starts_with(b"\x7fELF");
    // arm64 has kernels that are packed as a whole, which U-Boot unpacks.
    ensure!(known || head.starts_with(&[0x1f, 0x8b]), "{} is no kernel", path.display());
    let version = match bzimage_version(&head) {
        Some(version) => Some(version),
        None if is_bzimage => None,
        None => {
            file.rewind()?;
            banner(file)?
        }
    };
    Ok(Facts { arch, version })
}

fn at<const N: usize>(head: &[u8], offset: usize) -> Option<[u8; N]> {
    head.get(offset..)?.first_chunk().copied()
}

/// Documentation/arch/arm64/booting.rst, Documentation/arch/riscv/boot-image-header.rst; the rest by the machine of
/// the PE header, which every kernel with an EFI stub has; and a bzImage without one is for a PC.
fn machine(head: &[u8]) -> Option<Arch> {
    if at(head, 56) == Some(*b"ARM\x64") {
        return Some(Arch::Arm64);
    }
    if at(head, 48) == Some(*b"RISCV\0\0\0") {
        return Some(Arch::RiscV64);
    }
    let pe = at(head, 0x3c).and_then(|offset| usize::try_from(u32::from_le_bytes(offset)).ok());
    if head.starts_with(b"MZ")
        && let Some(pe) = pe
        && at(head, pe) == Some(*b"PE\0\0")
    {
        return match u16::from_le_bytes(at(head, pe.checked_add(4)?)?) {
            0x8664 => Some(Arch::X86_64),
            0x014c => Some(Arch::X86),
            0xaa64 => Some(Arch::Arm64),
            0x5064 => Some(Arch::RiscV64),
            0x6264 => Some(Arch::LoongArch64),
            _ => None,
        };
    }
    // XLF_KERNEL_64 of xloadflags, boot protocol 2.12.
    let is_64_bit = || at(head, 0x236).is_some_and(|flags| u16::from_le_bytes(flags) & 1 == 1);
    (at(head, 0x202) == Some(*b"HdrS")).then(|| if is_64_bit() { Arch::X86_64 } else { Arch::X86 })
}

/// Documentation/arch/x86/boot.rst, `kernel_version`: a pointer, less 0x200, to a text that ends with zero.
fn bzimage_version(head: &[u8]) -> Option<String> {
    if at(head, 0x202) != Some(*b"HdrS") {
        return None;
    }
    let pointer = usize::from(u16::from_le_bytes(at(head, 0x20e)?));
    if pointer == 0 {
        return None;
    }
    word(head.get(pointer + 0x200..)?)
}

/// Printable text up to a blank.
fn word(text: &[u8]) -> Option<String> {
    let end = text.iter().take(VERSION_BYTES_MAX).position(|octet| !octet.is_ascii_graphic())?;
    let word = std::str::from_utf8(&text[..end]).ok()?;
    word.starts_with(|c: char| c.is_ascii_digit()).then(|| word.to_owned())
}

/// Searches an unpacked kernel for its banner; other headers have no version.
fn banner(file: File) -> anyhow::Result<Option<String>> {
    let overlap = BANNER.len() + VERSION_BYTES_MAX;
    let mut file = file.take(KERNEL_SEARCH_BYTES_MAX);
    let mut window = Vec::new();
    loop {
        let old = window.len();
        let length = (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut window)?;
        let found = window
            .windows(BANNER.len())
            .enumerate()
            .filter(|(_, text)| *text == BANNER)
            .find_map(|(offset, _)| word(&window[offset + BANNER.len()..]));
        if found.is_some() || length == 0 {
            return Ok(found);
        }
        window.drain(..(old + length).saturating_sub(overlap));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::cli::image::source::kernel::{Facts, facts};
    use crate::model::Arch;

    /// The least that passes for a kernel of a PC: the boot protocol's magic, a PE header, a version.
    pub(crate) fn bzimage(version: &str) -> Vec<u8> {
        let mut image = vec![0; 0x1000];
        image[..2].copy_from_slice(b"MZ");
        image[0x3c..0x40].copy_from_slice(&0x280_u32.to_le_bytes());
        image[0x280..0x286].copy_from_slice(b"PE\0\0\x64\x86");
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x300_u16.to_le_bytes());
        let text = format!("{version} (builder@example) #1 SMP\0");
        image[0x500..0x500 + text.len()].copy_from_slice(text.as_bytes());
        image
    }

    fn check(bytes: &[u8]) -> anyhow::Result<Facts> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernel");
        std::fs::write(&path, bytes).unwrap();
        facts(&path)
    }

    #[test]
    fn kernels_say_what_they_are() {
        let version = Some("6.1.0-18-amd64".to_owned());
        let pc = check(&bzimage("6.1.0-18-amd64")).unwrap();
        assert_eq!(pc, Facts { arch: Some(Arch::X86_64), version });
        let mut arm = vec![0; 3 << 20];
        arm[56..60].copy_from_slice(b"ARM\x64");
        // Across the seam of two reads.
        let text = b"Linux version 6.6.1-arm (gcc)";
        arm[(1 << 20) - 8..(1 << 20) - 8 + text.len()].copy_from_slice(text);
        let expected = Facts { arch: Some(Arch::Arm64), version: Some("6.6.1-arm".to_owned()) };
        assert_eq!(check(&arm).unwrap(), expected);
    }

    #[test]
    fn what_is_no_kernel_is_refused_and_broken_headers_do_no_harm() {
        assert!(check(b"<html>not found</html>").unwrap_err().to_string().ends_with("is no kernel"));
        assert!(check(b"").is_err());
        let whole = bzimage("6.1.0");
        for length in [2, 0x3e, 0x204, 0x20f, 0x283, 0x501] {
            let _ = check(&whole[..length]);
        }
        let mut wild = whole.clone();
        wild[0x3c..0x40].copy_from_slice(&[0xff; 4]);
        wild[0x20e..0x210].copy_from_slice(&[0xff; 2]);
        assert_eq!(check(&wild).unwrap().version, None);
    }
}
