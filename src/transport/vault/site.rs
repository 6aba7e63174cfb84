//! The site key: signs what nodes must be able to check without a connection that they trust.

use std::path::Path;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use crate::transport::vault::{Chest, VaultError, file, keyfile};

/// The key, and its public half in PEM.
pub struct SiteKey {
    key: SigningKey,
    public: String,
}

impl SiteKey {
    /// Reads the key, or makes it; leaves its public half at `public` for everybody to read.
    ///
    /// # Errors
    /// A file cannot be read, written or used, or others can read the key.
    pub fn open(chest: &Chest, folder: &Path, public: &Path) -> Result<SiteKey, VaultError> {
        let read = |pem: &str| SigningKey::from_pkcs8_pem(pem).map_err(|error| error.to_string());
        let key = keyfile::open(chest, folder, "site-ed25519", read, make_ed25519)?;
        let pem = key.verifying_key().to_public_key_pem(LineEnding::LF);
        let pem = pem.map_err(|error| VaultError::Make(error.to_string()))?;
        if file::read(public)?.as_deref() != Some(&pem) {
            file::write(public, pem.as_bytes(), 0o644)?;
        }
        Ok(SiteKey { key, public: pem })
    }

    /// The public half: SubjectPublicKeyInfo in PEM, as openssl reads it.
    #[must_use]
    pub fn public(&self) -> &str {
        &self.public
    }

    /// The public half: 32 octets, RFC 8032 section 5.1.5.
    #[must_use]
    pub fn octets(&self) -> [u8; 32] {
        self.key.verifying_key().to_bytes()
    }

    /// Ed25519, RFC 8032: 64 octets.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

/// A new Ed25519 key, and its PEM.
pub(crate) fn make_ed25519() -> Result<(SigningKey, Zeroizing<String>), VaultError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|error| VaultError::Make(error.to_string()))?;
    let key = SigningKey::from_bytes(&seed);
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| VaultError::Make(error.to_string()))?;
    Ok((key, pem))
}
