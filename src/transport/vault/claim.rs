//! The code by which a head is claimed over the network: 128 bits of the operating system's dice, for root to read.

use std::fmt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::transport::vault::{VaultError, file};

/// The alphabet of base32 (RFC 4648 section 6), in lower case: no 0, 1 and 8, which people misread.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A code, of 26 letters and digits.
pub struct ClaimCode(Zeroizing<String>);

impl ClaimCode {
    /// Makes a code and leaves it in a file that only its owner reads.
    ///
    /// # Errors
    /// The operating system has no dice, or the file cannot be written.
    pub fn make(path: &Path) -> Result<ClaimCode, VaultError> {
        let mut octets = Zeroizing::new([0; 16]);
        getrandom::fill(&mut *octets).map_err(|error| VaultError::Make(error.to_string()))?;
        let mut bits = u128::from_be_bytes(*octets);
        let mut text = Zeroizing::new(String::with_capacity(26));
        for _ in 0..26 {
            let digit = usize::try_from(bits & 31).expect("five bits are small");
            text.push(char::from(ALPHABET[digit]));
            bits >>= 5;
        }
        file::write(path, text.as_bytes(), 0o400)?;
        Ok(ClaimCode(text))
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Removes the file of a code that counts no more.
    pub fn remove(path: &Path) {
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "the claim code's file stays; the code counts no more");
        }
    }
}

/// Not the code: what is printed where it should be is printed on purpose.
impl fmt::Debug for ClaimCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimCode")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use crate::transport::vault::ClaimCode;

    #[test]
    fn codes_differ_and_lie_where_only_their_owner_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("claim");
        let [one, other] = [ClaimCode::make(&path).unwrap(), ClaimCode::make(&path).unwrap()];
        assert_ne!(one.text(), other.text());
        assert_eq!(
            (other.text().len(), std::fs::read_to_string(&path).unwrap().as_str()),
            (26, other.text())
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(format!("{other:?}"), "ClaimCode");
        ClaimCode::remove(&path);
        assert!(!path.exists());
    }
}
