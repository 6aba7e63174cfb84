//! Files of keys: written whole or not at all, and for their owner alone.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::transport::vault::VaultError;

pub(crate) fn fail(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> VaultError {
    let path = path.to_owned();
    move |source| VaultError::Io { act, path, source }
}

/// Makes a folder that only its owner can enter.
pub(crate) fn private_folder(path: &Path) -> Result<(), VaultError> {
    fs::create_dir_all(path).map_err(fail("make", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(fail("close", path))
}

/// The content of a private file; None if it is not there. One that others can read may be known to them, and
/// is refused, as ssh does it.
pub(crate) fn read_private(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
    let Some(octets) = read_octets(path)? else { return Ok(None) };
    let mode = fs::metadata(path).map_err(fail("look at", path))?.permissions().mode();
    if mode & 0o077 == 0 { Ok(Some(octets)) } else { Err(VaultError::Open(path.to_owned())) }
}

/// The content of a file that is no secret; None if it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<String>, VaultError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail("read", path)(error)),
    }
}

/// The content of a file; None if it is not there.
pub(crate) fn read_octets(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
    match fs::read(path) {
        Ok(octets) => Ok(Some(Zeroizing::new(octets))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail("read", path)(error)),
    }
}

/// Writes a file that appears whole, under its name, with this mode, and survives a power loss.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), VaultError> {
    let fail = |act| fail(act, path);
    let next = path.with_extension("new");
    match fs::remove_file(&next) {
        // What a start left that was cut off.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail("replace")(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&next).map_err(fail("make"))?;
    file.write_all(content).map_err(fail("write"))?;
    // What others are to read, they read: our mask keeps everything else from them.
    file.set_permissions(Permissions::from_mode(mode)).map_err(fail("open"))?;
    file.sync_all().map_err(fail("write"))?;
    rename(&next, path)
}

/// Gives a file another name, for good.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), VaultError> {
    fs::rename(from, to).map_err(fail("name", to))?;
    sync_folder(to)
}

/// Removes a file for good; one that is not there is gone already.
pub(crate) fn remove(path: &Path) -> Result<(), VaultError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(fail("remove", path)(error)),
        Ok(()) | Err(_) => sync_folder(path),
    }
}

fn sync_folder(path: &Path) -> Result<(), VaultError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail("keep", path))
}
