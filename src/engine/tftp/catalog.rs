//! What a TFTP file name means. Names come from firmware, loaders and people; no name reaches a file system.

/// What the client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    Virtual(VirtualFile),
    /// The name of a loader, without its directory.
    Loader(String),
}

/// Files that are made for the asker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum VirtualFile {
    /// iPXE since 2025 asks for it in the directory it came from, before anything else.
    AutoexecIpxe,
    /// Binaries with an embedded script fetch it from the root-path (coresmd's do).
    ConfigIpxe,
    /// bootloop's script for machines without a declaration.
    Default,
    /// Debian's signed GRUB asks for `/grub/grub.cfg`.
    GrubConfig,
}

/// Why a name means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    Empty,
    /// Control octets or bytes that are no UTF-8.
    Characters,
    /// A `..` component.
    Escape,
}

impl VirtualFile {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            VirtualFile::AutoexecIpxe => "autoexec.ipxe",
            VirtualFile::ConfigIpxe => "config.ipxe",
            VirtualFile::Default => "default",
            VirtualFile::GrubConfig => "grub.cfg",
        }
    }
}

impl Refusal {
    /// The sentence that the client's screen shows.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Refusal::Empty => "the file name is empty",
            Refusal::Characters => "the file name has forbidden characters",
            Refusal::Escape => "the file name leaves the served directory",
        }
    }
}

/// Brings a name to one form: slashes for backslashes, none doubled or in front, no `.` components.
///
/// # Errors
/// Names with control octets, of foreign encoding, with `..` components, or with nothing left.
pub fn normalise(name: &[u8]) -> Result<String, Refusal> {
    let text = std::str::from_utf8(name).map_err(|_| Refusal::Characters)?;
    if text.chars().any(char::is_control) {
        return Err(Refusal::Characters);
    }
    let text = text.replace('\\', "/");
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(Refusal::Escape);
    }
    if parts.is_empty() { Err(Refusal::Empty) } else { Ok(parts.join("/")) }
}

/// What the name means. Directories are ignored for loaders: shim and GRUB prefix where they came from, and
/// sites copy `tftpboot/` paths from older servers.
///
/// # Errors
/// As `normalise`.
pub fn wanted(name: &[u8]) -> Result<Wanted, Refusal> {
    let path = normalise(name)?;
    let file = path.rsplit('/').next().unwrap_or(&path);
    let in_root = file.len() == path.len();
    Ok(match file {
        "autoexec.ipxe" => Wanted::Virtual(VirtualFile::AutoexecIpxe),
        "config.ipxe" => Wanted::Virtual(VirtualFile::ConfigIpxe),
        "grub.cfg" => Wanted::Virtual(VirtualFile::GrubConfig),
        // pxelinux.cfg/default is somebody else's question.
        "default" if in_root => Wanted::Virtual(VirtualFile::Default),
        _ if in_directory(&path, "pxelinux.cfg") => Wanted::Loader(path),
        loader => Wanted::Loader(loader.to_owned()),
    })
}

/// True for files that clients ask for in passing and do not need: a miss is no news.
#[must_use]
pub fn is_expected_miss(name: &[u8]) -> bool {
    let Ok(path) = normalise(name) else { return false };
    let path = path.to_ascii_lowercase();
    let file = path.rsplit('/').next().unwrap_or(&path);
    file == "autoexec.ipxe"
        || file == "shim_certificate_0.efi" // shim 16.1
        || (file.starts_with("revocations") && file.ends_with(".efi")) // shim 16.1
        || file.ends_with(".lst") // GRUB 2.06, 2.12: command, fs, crypto, terminal
        || file.starts_with("grub.cfg-")
        || in_directory(&path, "pxelinux.cfg")
}

fn in_directory(path: &str, directory: &str) -> bool {
    path.rsplit('/').nth(1) == Some(directory)
}

#[cfg(test)]
mod tests {
    use crate::engine::tftp::catalog::{Refusal, VirtualFile, Wanted, is_expected_miss, wanted};

    #[test]
    fn loaders_are_found_whatever_directory_a_client_names() {
        for name in ["snponly.efi", "/snponly.efi", "//boot\\efi\\snponly.efi", "./snponly.efi"] {
            assert_eq!(wanted(name.as_bytes()), Ok(Wanted::Loader("snponly.efi".to_owned())), "{name}");
        }
    }

    #[test]
    fn virtual_files_have_fixed_names() {
        for (name, file) in [
            ("EFI/BOOT/autoexec.ipxe", VirtualFile::AutoexecIpxe),
            ("/config.ipxe", VirtualFile::ConfigIpxe),
            ("default", VirtualFile::Default),
            ("/grub/grub.cfg", VirtualFile::GrubConfig),
        ] {
            assert_eq!(wanted(name.as_bytes()), Ok(Wanted::Virtual(file)), "{name}");
        }
        let foreign = "pxelinux.cfg/default".to_owned();
        assert_eq!(wanted(foreign.as_bytes()), Ok(Wanted::Loader(foreign)));
    }

    #[test]
    fn names_that_escape_or_lie_are_refused() {
        for (name, refusal) in [
            (b"../etc/passwd".as_slice(), Refusal::Escape),
            (b"a\\..\\..\\b", Refusal::Escape),
            (b"a\nb", Refusal::Characters),
            (b"\xff\xfe", Refusal::Characters),
            (b"", Refusal::Empty),
            (b"//./", Refusal::Empty),
        ] {
            assert_eq!(wanted(name), Err(refusal), "{name:?}");
        }
        assert!(wanted(b"..efi").is_ok());
    }

    #[test]
    fn misses_of_shim_and_grub_are_no_news() {
        for name in [
            "revocations_sku.efi",
            "/boot/revocations_sbat.efi",
            "shim_certificate_0.efi",
            "/grub/x86_64-efi/command.lst",
            "pxelinux.cfg/01-00-00-5e-00-53-01",
        ] {
            assert!(is_expected_miss(name.as_bytes()), "{name}");
        }
        assert!(!is_expected_miss(b"snponly.efi"));
    }
}
