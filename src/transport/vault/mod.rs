//! The head's private keys: the one place that holds them. They are made at the first start, lie in
//! `DATA_DIR/keys` (folder 0700, files 0600), and never leave this room; it only signs.
//!
//! Certificates of the head are made here too, because the authority's key signs them.

mod authority;
mod claim;
mod file;
mod passwords;
mod signer;
mod site;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;

use crate::base::Timestamp;
use crate::engine::token::{Algorithm, Claims};

use authority::Kind;
pub use authority::{Authority, Leaf, print as authority_print};
pub use claim::ClaimCode;
pub use passwords::{PasswordError, Passwords};
use signer::Signer;
pub use site::SiteKey;

/// Folder of the private keys in the data directory.
const FOLDER: &str = "keys";

/// The authority's certificate in the data directory, for everybody to read.
const CERTIFICATE: &str = "ca.crt";

/// The certificate of the authority for clients that know RSA only.
const RSA_CERTIFICATE: &str = "ca-rsa.crt";

/// The site key's public half in the data directory, for everybody to read.
const SITE_KEY: &str = "site.pub";

/// The claim code in the data directory, while the head is not claimed.
const CLAIM: &str = "claim";

/// The head's private keys.
pub struct Vault {
    /// Signs what the site says of itself.
    pub site: Arc<SiteKey>,
    eddsa: Signer,
    rs256: Signer,
    public: Vec<Jwk>,
    pub authority: Authority,
    /// The same for clients that know RSA only.
    pub rsa_authority: Authority,
}

/// Says why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("cannot {act} {path}")]
    Io {
        act: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0} may be read by others than its owner; see who did, then: chmod 600 {0}")]
    Open(PathBuf),
    #[error("{path} holds no key that can be used: {why}")]
    Key { path: PathBuf, why: String },
    #[error("a key could not be made: {0}")]
    Make(String),
}

/// Path of the authority's certificate.
#[must_use]
pub fn certificate_path(data_dir: &Path) -> PathBuf {
    data_dir.join(CERTIFICATE)
}

/// Path of the claim code.
#[must_use]
pub fn claim_path(data_dir: &Path) -> PathBuf {
    data_dir.join(CLAIM)
}

impl Vault {
    /// Reads the keys; makes those that are not there. The caller owns the data directory alone.
    ///
    /// # Errors
    /// A key cannot be read, written or used, or others can read it.
    pub fn open(data_dir: &Path, now: Timestamp) -> Result<Vault, VaultError> {
        let folder = data_dir.join(FOLDER);
        file::private_folder(&folder)?;
        let eddsa = Signer::open(&folder.join("token-ed25519.pem"), Algorithm::EdDsa)?;
        let rs256 = Signer::open(&folder.join("token-rs256.pem"), Algorithm::Rs256)?;
        let public = vec![eddsa.public().clone(), rs256.public().clone()];
        let site = Arc::new(SiteKey::open(&folder.join("site-ed25519.pem"), &data_dir.join(SITE_KEY))?);
        let authority =
            Authority::open(Kind::P256, &folder.join("ca.pem"), &certificate_path(data_dir), now)?;
        let (key, certificate) = (folder.join("ca-rsa.pem"), data_dir.join(RSA_CERTIFICATE));
        let rsa_authority = Authority::open(Kind::Rsa2048, &key, &certificate, now)?;
        Ok(Vault { site, eddsa, rs256, public, authority, rsa_authority })
    }

    /// The public keys of tokens, as they are published.
    #[must_use]
    pub fn public(&self) -> &[Jwk] {
        &self.public
    }

    /// Signs a token.
    ///
    /// # Errors
    /// The library refuses to sign.
    pub fn sign(&self, algorithm: Algorithm, claims: &Claims) -> Result<String, VaultError> {
        match algorithm {
            Algorithm::EdDsa => self.eddsa.sign(&claims.to_json()),
            Algorithm::Rs256 => self.rs256.sign(&claims.to_json()),
        }
    }
}

/// A name that nobody can guess: 256 bits of the operating system's dice.
///
/// # Errors
/// The operating system has none to give.
pub fn random_name() -> Result<String, VaultError> {
    let mut octets = [0; 32];
    getrandom::fill(&mut octets).map_err(|error| VaultError::Make(error.to_string()))?;
    let text = URL_SAFE_NO_PAD.encode(octets);
    // On a command line a text that begins with a hyphen would be taken for an option.
    Ok(text.strip_prefix('-').map(|rest| format!("0{rest}")).unwrap_or(text))
}

#[cfg(test)]
mod tests;
