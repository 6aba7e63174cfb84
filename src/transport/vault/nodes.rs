//! What the head signs and seals for nodes: bundles, the list of keys, tokens.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use getrandom::SysRng;
use hpke::rand_core::UnwrapErr;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::base::Timestamp;
use crate::base::limits::KEYSET_LIFE;
use crate::engine::token::Algorithm;
use crate::engine::trust::keyset::{Key, Keyset, Use};
use crate::engine::trust::sealed::{BadKey, Bundle, Header, Psk, seal};
use crate::engine::trust::token::{Issuance, NodeClaims, Purpose};
use crate::transport::vault::signer::Signer;
use crate::transport::vault::site::make_ed25519;
use crate::transport::vault::{Chest, SiteKey, VaultError, keyfile};

/// The key of nodes' tokens. It is none of those that sign the tokens of people: nobody but this head and its nodes
/// has to know it.
const TOKEN: &str = "node-token-ed25519";

/// The keys behind all that.
pub struct NodeKeys {
    site: Arc<SiteKey>,
    envelope: SigningKey,
    /// Name of the envelope key.
    kid: String,
    token: Signer,
    token_kid: String,
    token_public: VerifyingKey,
}

impl NodeKeys {
    /// Reads the keys in this folder; makes those that are not there.
    ///
    /// # Errors
    /// A key cannot be read, written or used, or others can read it.
    pub fn open(chest: &Chest, folder: &Path, site: Arc<SiteKey>) -> Result<NodeKeys, VaultError> {
        let read = |pem: &str| SigningKey::from_pkcs8_pem(pem).map_err(|error| error.to_string());
        let envelope = keyfile::open(chest, folder, "envelope-ed25519", read, make_ed25519)?;
        let token = Signer::open(chest, folder, TOKEN, Algorithm::EdDsa)?;
        let wrong = || VaultError::Key { path: chest.file(TOKEN), why: "it has no public half".to_owned() };
        let jwk =
            serde_json::to_value(token.public()).map_err(|error| VaultError::Make(error.to_string()))?;
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let octets = text("x").and_then(|x| URL_SAFE_NO_PAD.decode(x).ok()).and_then(|x| x.try_into().ok());
        let token_public =
            octets.and_then(|octets| VerifyingKey::from_bytes(&octets).ok()).ok_or_else(wrong)?;
        let token_kid = text("kid").ok_or_else(wrong)?.to_owned();
        let print = Sha256::digest(envelope.verifying_key().as_bytes());
        let kid = URL_SAFE_NO_PAD.encode(print);
        Ok(NodeKeys { site, envelope, kid, token, token_kid, token_public })
    }

    /// The site key's public half: the root of what nodes believe.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        self.site.octets()
    }

    /// The list of the head's keys, as nodes fetch it.
    #[must_use]
    pub fn keyset(&self, epoch: u64, now: Timestamp) -> Value {
        let key =
            |kid: &str, used, key: &VerifyingKey| Key { kid: kid.to_owned(), used, public: key.to_bytes() };
        let keys = vec![
            key(&self.kid, Use::Envelope, &self.envelope.verifying_key()),
            key(&self.token_kid, Use::Token, &self.token_public),
        ];
        let not_after = (now + KEYSET_LIFE).0 / 1000;
        Keyset { epoch, not_after, keys }.sign(&self.root(), |message| self.site.sign(message))
    }

    /// Seals to a node's key. The header's `kid` is filled in.
    ///
    /// # Errors
    /// Nothing can be sealed to this key.
    ///
    /// # Panics
    /// If the operating system has no randomness to give, which Linux has from early boot on.
    pub fn seal(
        &self,
        header: Header,
        psk: Option<Psk<'_>>,
        to: &[u8; 32],
        plaintext: &[u8],
    ) -> Result<Bundle, BadKey> {
        let header = Header { kid: self.kid.clone(), ..header };
        let sign = |message: &[u8]| self.envelope.sign(message).to_bytes();
        seal(&header, psk, to, plaintext, sign, &mut UnwrapErr(SysRng))
    }

    /// Signs a node's token.
    ///
    /// # Errors
    /// The library refuses to sign.
    pub fn token(&self, claims: &NodeClaims, made: Issuance<'_>) -> Result<String, VaultError> {
        self.token.sign(&claims.to_json(made))
    }

    /// What a node's token says, if it counts.
    #[must_use]
    pub fn verify(&self, token: &str, purpose: Purpose, now: Timestamp) -> Option<NodeClaims> {
        NodeClaims::verify(token, (&self.token_kid, &self.token_public), purpose, now)
    }
}

/// Octets that nobody can guess.
///
/// # Errors
/// The operating system has none to give.
pub fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|error| VaultError::Make(error.to_string()))?;
    Ok(octets)
}
