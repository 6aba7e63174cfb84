//! The head's private keys: the one place that holds them. They are made at the first start, lie sealed in
//! `DATA_DIR/keys` (folder 0700, files 0600), and never leave this room; it only signs. What seals them, and the
//! secrets of nodes in the store, is the `chest`.
//!
//! Certificates of the head are made here too, because the authority's key signs them.

mod authority;
pub mod chest;
mod claim;
mod file;
mod keyfile;
mod nodes;
mod passwords;
mod root;
mod scope;
mod secrets;
mod signer;
mod site;
pub mod ssh;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use tokio::sync::Notify;

use crate::base::{Digest, Timestamp};
use crate::engine::token::{Algorithm, Claims};

use authority::notice;
pub use authority::{Authority, Leaf};
pub use chest::{Chest, Purpose};
pub use claim::ClaimCode;
pub use nodes::{NodeKeys, random};
pub use passwords::{PasswordError, Passwords};
use root::Kind;
pub use root::print as authority_print;
pub use scope::Scope;
pub use secrets::make_value;
pub use site::SiteKey;
pub use ssh::SshAuthority;
use tokens::TokenKeys;

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
    /// Seals and opens secrets.
    pub chest: Arc<Chest>,
    /// Signs what the site says of itself.
    pub site: Arc<SiteKey>,
    /// Signs host keys of nodes.
    pub ssh: Arc<SshAuthority>,
    /// What nodes get in their boots.
    pub nodes: Arc<NodeKeys>,
    tokens: ArcSwap<TokenKeys>,
    pub authority: Authority,
    /// The same for clients that know RSA only.
    pub rsa_authority: Authority,
    folder: PathBuf,
    scope: ScopeNow,
    /// Raised when an authority was replaced: who serves its certificates is to look at once.
    pub replaced: Notify,
}

/// For whom a new authority is to speak; none: for everybody.
pub type ScopeNow = Arc<dyn Fn() -> Option<Scope> + Send + Sync>;

/// What became of the authorities.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replaced {
    /// The next ones are published, and sign from then on.
    Announced(Timestamp),
    /// The next ones sign; the former ones are published still.
    TookOver,
    /// New ones sign, and nothing else counts.
    Ended,
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
    #[error(
        "{0} is sealed, and the key encryption key is not here; give it back: the systemd credential muster.kek, or the \
         file kek beside it from a backup"
    )]
    NoKek(PathBuf),
    /// Another key encryption key sealed it.
    #[error(
        "{place} is sealed under the key encryption key {wanted}, which is not here (here is {here}); give it back"
    )]
    Foreign { place: String, wanted: String, here: String },
    /// Altered, or sealed for another place.
    #[error("{0} cannot be opened: it is damaged, or was moved here from elsewhere")]
    Damaged(String),
    #[error("the key encryption key is the systemd credential {0}; its successor must come from there too")]
    NoSuccessor(&'static str),
    #[error(
        "the clock says {now}, and this program was built {built}; certificates wait until the clock is set"
    )]
    Clock { now: Timestamp, built: Timestamp },
    #[error("{0} former keys still count; end them, or wait until what they signed has ended")]
    TooMany(usize),
}

/// Path of the authority's certificate.
#[must_use]
pub fn certificate_path(data_dir: &Path) -> PathBuf {
    data_dir.join(CERTIFICATE)
}

/// Where systemd puts the service's credentials.
#[must_use]
pub fn credentials() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|path| path.is_absolute())
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
        Vault::open_with(data_dir, credentials().as_deref(), now)
    }

    /// The same, with systemd's folder of credentials said.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_with(
        data_dir: &Path,
        credentials: Option<&Path>,
        now: Timestamp,
    ) -> Result<Vault, VaultError> {
        Vault::open_for(data_dir, credentials, Arc::new(|| None), now)
    }

    /// The same, with authorities that speak for this site alone.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_for(
        data_dir: &Path,
        credentials: Option<&Path>,
        scope: ScopeNow,
        now: Timestamp,
    ) -> Result<Vault, VaultError> {
        let folder = data_dir.join(FOLDER);
        file::private_folder(&folder)?;
        let chest = Arc::new(Chest::open(&folder, credentials)?);
        let tokens = ArcSwap::from_pointee(TokenKeys::open(&chest, &folder, now)?);
        let site = Arc::new(SiteKey::open(&chest, &folder, &data_dir.join(SITE_KEY))?);
        let keys = (&*chest, folder.as_path());
        let own = scope();
        let (usual, rsa) = (certificate_path(data_dir), data_dir.join(RSA_CERTIFICATE));
        let authority = Authority::open(Kind::P256, keys, &usual, own.as_ref(), now)?;
        let rsa_authority = Authority::open(Kind::Rsa2048, keys, &rsa, own.as_ref(), now)?;
        let nodes = Arc::new(NodeKeys::open(&chest, &folder, Arc::clone(&site))?);
        let ssh = Arc::new(SshAuthority::open(&chest, &folder)?);
        Ok(Vault {
            chest,
            site,
            nodes,
            ssh,
            tokens,
            authority,
            rsa_authority,
            folder,
            scope,
            replaced: Notify::new(),
        })
    }

    /// The public keys of tokens, as they are published: those that sign, then former ones.
    #[must_use]
    pub fn public(&self) -> Vec<Jwk> {
        self.tokens.load().public().to_vec()
    }

    /// Signs a token.
    ///
    /// # Errors
    /// The library refuses to sign.
    pub fn sign(&self, algorithm: Algorithm, claims: &Claims) -> Result<String, VaultError> {
        self.tokens.load().sign(algorithm, claims)
    }

    /// Replaces the keys of tokens. Those that were given count until they end, or with `end` no longer. Whoever
    /// verifies must look at `public` again.
    ///
    /// # Errors
    /// A key cannot be made or written, or too many former ones still count.
    pub fn rotate_tokens(&self, end: bool, now: Timestamp) -> Result<(), VaultError> {
        let _turn = self.chest.turn();
        let next = self.tokens.load().next(&self.chest, &self.folder, end, now)?;
        self.tokens.store(Arc::new(next));
        tracing::info!("the keys of tokens were replaced");
        Ok(())
    }

    /// Replaces the authorities: first says who comes next, and lets them take over a day later, or when it is called
    /// again. With `end` at once, and the former ones count no longer.
    ///
    /// # Errors
    /// A key cannot be made or written, or too many former ones still count.
    pub fn rotate_authorities(&self, end: bool, now: Timestamp) -> Result<Replaced, VaultError> {
        let _turn = self.chest.turn();
        let both = [&self.authority, &self.rsa_authority];
        let announced = both.iter().any(|authority| authority.takes_over().is_some());
        if end || !announced {
            let (scope, at) = ((self.scope)(), notice(now));
            for authority in both {
                authority.announce(&self.chest, scope.as_ref(), now, at)?;
            }
            if !end {
                tracing::info!(%at, "the next certificate authorities are published");
                self.replaced.notify_one();
                return Ok(Replaced::Announced(at));
            }
        }
        for authority in both {
            authority.take_over(&self.chest, end, now)?;
        }
        tracing::info!(end, "the certificate authorities were replaced");
        self.replaced.notify_one();
        Ok(if end { Replaced::Ended } else { Replaced::TookOver })
    }

    /// Replaces the site key, in the same steps as the authorities.
    ///
    /// # Errors
    /// As `rotate_authorities`.
    pub fn rotate_site(&self, end: bool, now: Timestamp) -> Result<Replaced, VaultError> {
        let _turn = self.chest.turn();
        if end || self.site.takes_over().is_none() {
            let at = notice(now);
            self.site.announce(&self.chest, at)?;
            if !end {
                return Ok(Replaced::Announced(at));
            }
        }
        self.site.take_over(&self.chest, end, now)?;
        tracing::info!(end, "the site key was replaced");
        Ok(if end { Replaced::Ended } else { Replaced::TookOver })
    }

    /// Replaces the keys of nodes' bundles and tokens.
    ///
    /// # Errors
    /// A key cannot be made or written, or too many former ones still count.
    pub fn rotate_nodes(&self, end: bool, now: Timestamp) -> Result<(), VaultError> {
        let _turn = self.chest.turn();
        self.nodes.rotate(&self.chest, end, now)?;
        tracing::info!(end, "the keys of nodes' bundles and tokens were replaced");
        Ok(())
    }

    /// Does what is due with the authorities and the site key. True: something changed.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn look(&self, now: Timestamp) -> Result<bool, VaultError> {
        let _turn = self.chest.turn();
        let looked = [
            self.authority.look(&self.chest, now)?,
            self.rsa_authority.look(&self.chest, now)?,
            self.site.look(&self.chest, now)?,
        ];
        Ok(looked.contains(&true))
    }

    /// SHA-256 of the roots that loaders are told to trust. They are always shown the certificate with an RSA key.
    #[must_use]
    pub fn loader_roots(&self) -> Vec<Digest> {
        self.rsa_authority.anchors()
    }

    /// Every root that clients may meet, PEM.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        [self.authority.roots(), self.rsa_authority.roots()].concat()
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
