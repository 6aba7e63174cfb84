//! What the head signs and seals for nodes: bundles, the list of keys, tokens.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use getrandom::SysRng;
use hpke::rand_core::UnwrapErr;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::base::Timestamp;
use crate::base::limits::{KEYSET_LIFE, NODE_KEYS_FORMER_MAX, SESSION_LIFE_MAX};
use crate::engine::token::Algorithm;
use crate::engine::trust::keyset::{Key, Keyset, Use};
use crate::engine::trust::sealed::{BadKey, Bundle, Header, Psk, seal};
use crate::engine::trust::token::{Issuance, NodeClaims, Purpose};
use crate::transport::vault::signer::Signer;
use crate::transport::vault::site::make_ed25519;
use crate::transport::vault::{Chest, SiteKey, VaultError, file, keyfile};

/// The key of nodes' tokens. It is none of those that sign the tokens of people: nobody but this head and its nodes
/// has to know it.
const TOKEN: &str = "node-token-ed25519";

const ENVELOPE: &str = "envelope-ed25519";

/// Public halves of former keys, and how often they were replaced.
const FORMER: &str = "node-former.json";

/// The keys behind all that.
pub struct NodeKeys {
    site: Arc<SiteKey>,
    folder: PathBuf,
    pair: ArcSwap<Pair>,
}

/// The keys of one time.
struct Pair {
    envelope: SigningKey,
    token: Signer,
    /// Both public halves.
    public: [Key; 2],
    former: Vec<(Key, Timestamp)>,
    generation: u64,
}

/// Name, use, public half, and until when a former key counts, as `FORMER` keeps it.
type Kept = (String, u8, [u8; 32], u64);

impl Pair {
    fn new(envelope: SigningKey, token: Signer) -> Result<Pair, VaultError> {
        let wrong = || VaultError::Make(format!("{TOKEN} has no public half"));
        let jwk =
            serde_json::to_value(token.public()).map_err(|error| VaultError::Make(error.to_string()))?;
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let octets = text("x").and_then(|x| URL_SAFE_NO_PAD.decode(x).ok()).and_then(|x| x.try_into().ok());
        let public: [u8; 32] = octets.ok_or_else(wrong)?;
        let token_key = Key { kid: text("kid").ok_or_else(wrong)?.to_owned(), used: Use::Token, public };
        let public = envelope.verifying_key().to_bytes();
        let kid = URL_SAFE_NO_PAD.encode(Sha256::digest(public));
        let envelope_key = Key { kid, used: Use::Envelope, public };
        Ok(Pair { envelope, token, public: [envelope_key, token_key], former: Vec::new(), generation: 0 })
    }
}

impl NodeKeys {
    /// Reads the keys in this folder; makes those that are not there.
    ///
    /// # Errors
    /// A key cannot be read, written or used, or others can read it.
    pub fn open(chest: &Chest, folder: &Path, site: Arc<SiteKey>) -> Result<NodeKeys, VaultError> {
        let read = |pem: &str| SigningKey::from_pkcs8_pem(pem).map_err(|error| error.to_string());
        let envelope = keyfile::open(chest, folder, ENVELOPE, read, make_ed25519)?;
        let token = Signer::open(chest, folder, TOKEN, Algorithm::EdDsa)?;
        let mut pair = Pair::new(envelope, token)?;
        if let Some(octets) = file::read_private(&folder.join(FORMER))? {
            let wrong = |why: String| VaultError::Key { path: folder.join(FORMER), why };
            let (generation, kept): (u64, Vec<Kept>) =
                serde_json::from_slice(&octets).map_err(|error| wrong(error.to_string()))?;
            let key = |(kid, used, public, until): Kept| {
                let used = if used == 0 { Use::Envelope } else { Use::Token };
                (Key { kid, used, public }, Timestamp(until))
            };
            // A replacement that was cut off wrote a key down that signs still.
            let own = pair.public.clone();
            pair.former = kept.into_iter().map(key).filter(|(key, _)| !own.contains(key)).collect();
            pair.generation = generation;
        }
        Ok(NodeKeys { site, folder: folder.to_owned(), pair: ArcSwap::from_pointee(pair) })
    }

    /// Replaces the keys of bundles and tokens. What the former ones signed counts as long as a boot may take, or with
    /// `end` no longer.
    pub(crate) fn rotate(&self, chest: &Chest, end: bool, now: Timestamp) -> Result<(), VaultError> {
        let last = self.pair.load_full();
        let ((envelope, envelope_pem), (token, token_pem)) =
            (make_ed25519()?, Signer::make(Algorithm::EdDsa)?);
        let mut next = Pair::new(envelope, token)?;
        next.generation = last.generation.saturating_add(1);
        if !end {
            let until = now + SESSION_LIFE_MAX;
            next.former = last.public.iter().map(|key| (key.clone(), until)).collect();
            next.former.extend(last.former.iter().filter(|(_, until)| now < *until).cloned());
            if next.former.len() > NODE_KEYS_FORMER_MAX {
                return Err(VaultError::TooMany(NODE_KEYS_FORMER_MAX));
            }
        }
        let kept: Vec<Kept> = next
            .former
            .iter()
            .map(|(key, until)| (key.kid.clone(), u8::from(key.used == Use::Token), key.public, until.0))
            .collect();
        let kept = serde_json::to_vec(&(next.generation, kept));
        let kept = kept.map_err(|error| VaultError::Make(error.to_string()))?;
        file::write(&self.folder.join(FORMER), &kept, 0o600)?;
        chest.write_file(ENVELOPE, envelope_pem.as_bytes())?;
        chest.write_file(TOKEN, token_pem.as_bytes())?;
        self.pair.store(Arc::new(next));
        Ok(())
    }

    /// The site key's public half: the root of what nodes believe.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        self.site.octets()
    }

    /// The list of the head's keys, as nodes fetch it. `epoch`: how often the store was restored; it rises with every
    /// replacement too, so that a list from before is an old one.
    #[must_use]
    pub fn keyset(&self, epoch: u64, now: Timestamp) -> Value {
        let pair = self.pair.load();
        let former = pair.former.iter().filter(|(_, until)| now < *until).map(|(key, _)| key);
        let keys = pair.public.iter().chain(former).cloned().collect();
        let not_after = (now + KEYSET_LIFE).0 / 1000;
        let epoch = epoch.saturating_add(pair.generation).saturating_add(self.site.generation());
        let list = Keyset { epoch, not_after, keys }.sign(&self.root(), |message| self.site.sign(message));
        Keyset::countersigned(list, |message| self.site.sign_as_former(message, now))
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
        let pair = self.pair.load();
        let [Key { kid, .. }, _] = &pair.public;
        let header = Header { kid: kid.clone(), ..header };
        let sign = |message: &[u8]| pair.envelope.sign(message).to_bytes();
        seal(&header, psk, to, plaintext, sign, &mut UnwrapErr(SysRng))
    }

    /// Signs a node's token.
    ///
    /// # Errors
    /// The library refuses to sign.
    pub fn token(&self, claims: &NodeClaims, made: Issuance<'_>) -> Result<String, VaultError> {
        self.pair.load().token.sign(&claims.to_json(made))
    }

    /// What a node's token says, if it counts.
    #[must_use]
    pub fn verify(&self, token: &str, purpose: Purpose, now: Timestamp) -> Option<NodeClaims> {
        let pair = self.pair.load();
        let former = pair.former.iter().filter(|(_, until)| now < *until).map(|(key, _)| key);
        let keys = pair.public.iter().chain(former).filter(|key| key.used == Use::Token);
        keys.filter_map(|key| Some((key.kid.as_str(), VerifyingKey::from_bytes(&key.public).ok()?)))
            .find_map(|(kid, key)| NodeClaims::verify(token, (kid, &key), purpose, now))
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
