//! Values of secrets: sealed for their place in the store, opened again, and made.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::model::Secret;
use crate::model::secret::{Sealed, SecretKey, What};
use crate::transport::vault::ssh::HostKeys;
use crate::transport::vault::{Chest, Purpose, Vault, VaultError};

/// Octets of a munge key: what `mungekey` makes, and the most that munged takes.
const MUNGE_KEY_BYTES: usize = 1024;

impl Chest {
    /// Seals one version of a secret.
    ///
    /// # Errors
    /// The operating system has no dice.
    pub fn seal_secret(&self, key: &SecretKey, number: u64, value: &[u8]) -> Result<Sealed, VaultError> {
        Ok(Sealed(Arc::from(self.seal(Purpose::Secret, &place(key, number), value)?)))
    }

    /// Opens one version of a secret.
    ///
    /// # Errors
    /// There is no such version, its key is not here, or it was damaged or moved.
    pub fn open_secret(&self, secret: &Secret, number: u64) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let place = place(&secret.key, number);
        let version = secret.version(number).ok_or_else(|| VaultError::Damaged(place.replace('\0', " ")))?;
        self.unseal(Purpose::Secret, &place, &version.sealed.0)
    }
}

impl Vault {
    /// Opens one version of a secret.
    ///
    /// # Errors
    /// As `Chest::open_secret`.
    pub fn open_secret(&self, secret: &Secret, number: u64) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.chest.open_secret(secret, number)
    }
}

/// Makes a value: keys of the kind that munge and sshd want; else 43 characters of 256 random bits, which any file,
/// variable and prompt takes.
///
/// # Errors
/// The operating system has no dice.
pub fn make_value(what: &What) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let random = |length| {
        let mut octets = Zeroizing::new(vec![0; length]);
        getrandom::fill(&mut octets).map_err(|error| VaultError::Make(error.to_string()))?;
        Ok(octets)
    };
    match what {
        What::SshHostKey => HostKeys::make(),
        What::MungeKey => random(MUNGE_KEY_BYTES),
        What::File(_) | What::Env { .. } | What::Opaque => {
            let octets: Zeroizing<Vec<u8>> = random(32)?;
            Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(&octets).into_bytes()))
        }
    }
}

fn place(key: &SecretKey, number: u64) -> String {
    format!("secret\0{}\0{number}", key.row())
}
