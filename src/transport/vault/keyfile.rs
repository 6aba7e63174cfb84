//! Private keys in files: sealed, and taken over from the open files that former versions kept.

use std::path::Path;

use zeroize::Zeroizing;

use crate::transport::vault::{Chest, VaultError, file};

/// Reads a private key, or makes it. `read` reads its PEM; `make` makes a new one.
///
/// A file `NAME.pem` beside the sealed one comes from a former version, or from somebody who wants another key: it
/// is read, sealed, and only then removed, so that whenever the power fails there is at least one whole file, and
/// the next start goes on. What a disk keeps of removed files is beyond our reach: who gave it away rotates.
pub(crate) fn open<K>(
    chest: &Chest,
    folder: &Path,
    name: &str,
    read: impl FnOnce(&str) -> Result<K, String>,
    make: impl FnOnce() -> Result<(K, Zeroizing<String>), VaultError>,
) -> Result<K, VaultError> {
    let pem = folder.join(format!("{name}.pem"));
    if let Some(octets) = file::read_private(&pem)? {
        let key = text(&octets).and_then(read).map_err(|why| VaultError::Key { path: pem.clone(), why })?;
        chest.write_file(name, &octets)?;
        file::remove(&pem)?;
        tracing::info!(key = name, "a private key is sealed from now on");
        return Ok(key);
    }
    if let Some(octets) = chest.open_file(name)? {
        return text(&octets).and_then(read).map_err(|why| VaultError::Key { path: chest.file(name), why });
    }
    let (key, pem) = make()?;
    chest.write_file(name, pem.as_bytes())?;
    tracing::info!(key = name, "made a private key");
    Ok(key)
}

fn text(octets: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(octets).map_err(|_| "it is no text".to_owned())
}
