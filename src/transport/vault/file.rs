//! Files of keys: written whole or not at all, and for their owner alone.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::transport::vault::VaultError;

fn fail(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> VaultError {
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
pub(crate) fn read_private(path: &Path) -> Result<Option<String>, VaultError> {
    let Some(text) = read(path)? else { return Ok(None) };
    let mode = fs::metadata(path).map_err(fail("look at", path))?.permissions().mode();
    if mode & 0o077 == 0 { Ok(Some(text)) } else { Err(VaultError::Open(path.to_owned())) }
}

/// The content of a file; None if it is not there.
pub(crate) fn read(path: &Path) -> Result<Option<String>, VaultError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail("read", path)(error)),
    }
}

/// Writes a file that appears whole, under its name, with this mode, and survives a power loss.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), VaultError> {
    let fail = |act| fail(act, path);
    let next = path.with_extension("new");
    match fs::remove_file(&next) {
        // What a start left that was cut off.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail("replace")(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&next).map_err(fail("make"))?;
    file.write_all(text.as_bytes()).map_err(fail("write"))?;
    file.sync_all().map_err(fail("write"))?;
    fs::rename(&next, path).map_err(fail("name"))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail("keep"))
}
