//! The site key: signs what nodes must be able to check without a connection that they trust.
//!
//! It is replaced as an authority is: the next public half is published a day before it signs, for initramfs that hold
//! it. The former key goes on signing beside it for a day, for nodes that had its fingerprint when they booted. Public
//! halves of all that signed are kept, because they signed the audit log. `DATA_DIR/keys` holds `site-ed25519.sealed`,
//! `site-ed25519-next.sealed`, `site-ed25519-former.sealed` and, of public halves, `site-former.json`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, EncodePublicKey as _};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::base::Timestamp;
use crate::base::limits::{AUTHORITY_NOTICE, SITE_KEYS_FORMER_MAX};
use crate::transport::vault::{Chest, VaultError, file, keyfile};

const NAME: &str = "site-ed25519";
const NEXT: &str = "site-ed25519-next";
const FORMER: &str = "site-ed25519-former";
const FORMER_PUBLIC: &str = "site-former.json";

/// The key, and its public half in PEM.
pub struct SiteKey {
    folder: PathBuf,
    published: PathBuf,
    state: ArcSwap<State>,
}

#[derive(Clone)]
struct State {
    current: Arc<SigningKey>,
    next: Option<(Timestamp, Arc<SigningKey>)>,
    /// Signs until then.
    former: Option<(Timestamp, Arc<SigningKey>)>,
    /// Public halves of all that signed before, newest first.
    past: Vec<[u8; 32]>,
}

impl SiteKey {
    /// Reads the key, or makes it; leaves its public half at `public` for everybody to read.
    ///
    /// # Errors
    /// A file cannot be read, written or used, or others can read the key.
    pub fn open(chest: &Chest, folder: &Path, public: &Path) -> Result<SiteKey, VaultError> {
        let current = keyfile::open(chest, folder, NAME, read, make_ed25519)?;
        let past: Vec<[u8; 32]> = match file::read_private(&folder.join(FORMER_PUBLIC))? {
            None => Vec::new(),
            Some(octets) => serde_json::from_slice(&octets).map_err(|error| VaultError::Key {
                path: folder.join(FORMER_PUBLIC),
                why: error.to_string(),
            })?,
        };
        // A replacement that was cut off wrote a key down that signs still, or left one that signs by now.
        let own = current.verifying_key().to_bytes();
        let past = past.into_iter().filter(|public| *public != own).collect();
        let other = |timed: &(Timestamp, Arc<SigningKey>)| timed.1.verifying_key().to_bytes() != own;
        let next = read_timed(chest, NEXT)?.filter(other);
        let former = read_timed(chest, FORMER)?.filter(other);
        let state = ArcSwap::from_pointee(State { current: Arc::new(current), next, former, past });
        let site = SiteKey { folder: folder.to_owned(), published: public.to_owned(), state };
        site.publish()?;
        Ok(site)
    }

    /// The public halves that are to be believed: SubjectPublicKeyInfo in PEM, as openssl reads it. First that of the key
    /// that signs, then of the next one and of the former one, as long as it signs too.
    #[must_use]
    pub fn public(&self) -> String {
        let state = self.state.load();
        let beside = state.next.iter().chain(&state.former).map(|(_, key)| key.verifying_key());
        pems(std::iter::once(state.current.verifying_key()).chain(beside))
    }

    /// The public halves of all that ever signed, newest first: what they signed may still have to be checked.
    #[must_use]
    pub fn history(&self) -> String {
        let state = self.state.load();
        let past = state.past.iter().filter_map(|octets| VerifyingKey::from_bytes(octets).ok());
        pems(std::iter::once(state.current.verifying_key()).chain(past))
    }

    /// The public half: 32 octets, RFC 8032 section 5.1.5.
    #[must_use]
    pub fn octets(&self) -> [u8; 32] {
        self.state.load().current.verifying_key().to_bytes()
    }

    /// Ed25519, RFC 8032: 64 octets.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.state.load().current.sign(message).to_bytes()
    }

    /// The same by the former key, with its public half, as long as nodes may know it alone.
    #[must_use]
    pub fn sign_as_former(&self, message: &[u8], now: Timestamp) -> Option<([u8; 32], [u8; 64])> {
        let state = self.state.load();
        let (_, key) = state.former.as_ref().filter(|(until, _)| now < *until)?;
        Some((key.verifying_key().to_bytes(), key.sign(message).to_bytes()))
    }

    /// When the next one takes over; None: there is none.
    #[must_use]
    pub fn takes_over(&self) -> Option<Timestamp> {
        self.state.load().next.as_ref().map(|(at, _)| *at)
    }

    /// How many signed before this one.
    pub(crate) fn generation(&self) -> u64 {
        u64::try_from(self.state.load().past.len()).unwrap_or(u64::MAX)
    }

    /// Makes the next key and publishes it; from `at` on it signs.
    pub(crate) fn announce(&self, chest: &Chest, at: Timestamp) -> Result<(), VaultError> {
        let state = self.state.load_full();
        if state.next.is_some() {
            return Ok(());
        }
        if state.past.len() >= SITE_KEYS_FORMER_MAX {
            return Err(VaultError::TooMany(SITE_KEYS_FORMER_MAX));
        }
        let (key, pem) = make_ed25519()?;
        write_timed(chest, NEXT, at, &pem)?;
        self.state.store(Arc::new(State { next: Some((at, Arc::new(key))), ..State::clone(&state) }));
        self.publish()
    }

    /// Lets the next key take over. With `end` the former one signs no more, and no node believes it.
    pub(crate) fn take_over(&self, chest: &Chest, end: bool, now: Timestamp) -> Result<(), VaultError> {
        let state = self.state.load_full();
        let Some((_, next)) = state.next.clone() else { return Ok(()) };
        let mut past = state.past.clone();
        past.insert(0, state.current.verifying_key().to_bytes());
        let octets = serde_json::to_vec(&past).map_err(|error| VaultError::Make(error.to_string()))?;
        file::write(&self.folder.join(FORMER_PUBLIC), &octets, 0o600)?;
        let until = now + AUTHORITY_NOTICE;
        if end {
            file::remove(&chest.file(FORMER))?;
        } else {
            write_timed(chest, FORMER, until, &pem(&state.current)?)?;
        }
        chest.write_file(NAME, pem(&next)?.as_bytes())?;
        file::remove(&chest.file(NEXT))?;
        let former = (!end).then(|| (until, Arc::clone(&state.current)));
        self.state.store(Arc::new(State { current: next, next: None, former, past }));
        self.publish()
    }

    /// Does what is due. True: something changed.
    pub(crate) fn look(&self, chest: &Chest, now: Timestamp) -> Result<bool, VaultError> {
        let state = self.state.load_full();
        if state.next.as_ref().is_some_and(|(at, _)| *at <= now) {
            self.take_over(chest, false, now)?;
            return Ok(true);
        }
        if state.former.as_ref().is_none_or(|(until, _)| now < *until) {
            return Ok(false);
        }
        file::remove(&chest.file(FORMER))?;
        self.state.store(Arc::new(State { former: None, ..State::clone(&state) }));
        self.publish()?;
        Ok(true)
    }

    fn publish(&self) -> Result<(), VaultError> {
        let public = self.public();
        if file::read(&self.published)?.as_ref() == Some(&public) {
            return Ok(());
        }
        file::write(&self.published, public.as_bytes(), 0o644)
    }
}

fn pems(keys: impl Iterator<Item = VerifyingKey>) -> String {
    keys.filter_map(|key| key.to_public_key_pem(LineEnding::LF).ok()).collect()
}

fn read(pem: &str) -> Result<SigningKey, String> {
    SigningKey::from_pkcs8_pem(pem).map_err(|error| error.to_string())
}

fn pem(key: &SigningKey) -> Result<Zeroizing<String>, VaultError> {
    key.to_pkcs8_pem(LineEnding::LF).map_err(|error| VaultError::Make(error.to_string()))
}

/// A sealed key with a time.
fn write_timed(chest: &Chest, name: &str, at: Timestamp, pem: &str) -> Result<(), VaultError> {
    let text = serde_json::to_vec(&(at.0, pem)).map_err(|error| VaultError::Make(error.to_string()))?;
    chest.write_file(name, &Zeroizing::new(text))
}

fn read_timed(chest: &Chest, name: &str) -> Result<Option<(Timestamp, Arc<SigningKey>)>, VaultError> {
    let Some(octets) = chest.open_file(name)? else { return Ok(None) };
    let wrong = |why| VaultError::Key { path: chest.file(name), why };
    let (at, pem): (u64, String) =
        serde_json::from_slice(&octets).map_err(|error| wrong(error.to_string()))?;
    let key = read(&Zeroizing::new(pem)).map_err(wrong)?;
    Ok(Some((Timestamp(at), Arc::new(key))))
}

/// A new Ed25519 key, and its PEM.
pub(crate) fn make_ed25519() -> Result<(SigningKey, Zeroizing<String>), VaultError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|error| VaultError::Make(error.to_string()))?;
    let key = SigningKey::from_bytes(&seed);
    let pem = pem(&key)?;
    Ok((key, pem))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::pkcs8::DecodePublicKey as _;
    use ed25519_dalek::{Signature, VerifyingKey};

    use crate::base::{Millis, Timestamp};
    use crate::transport::vault::{Chest, SiteKey};

    const NOW: Timestamp = Timestamp(1_000_000);
    const DAY: Millis = Millis::from_secs(86_400);

    fn publics(text: &str) -> Vec<VerifyingKey> {
        let parts = text.split_inclusive("-----END PUBLIC KEY-----\n");
        parts.map(|pem| VerifyingKey::from_public_key_pem(pem).unwrap()).collect()
    }

    #[test]
    fn the_site_key_is_replaced_with_an_overlap_that_survives_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let chest = Chest::open(folder.path(), None).unwrap();
        let open = || SiteKey::open(&chest, folder.path(), &folder.path().join("site.pub")).unwrap();
        let site = open();
        let old = publics(&site.public())[0];
        let good = |key: &VerifyingKey, signature: [u8; 64]| {
            key.verify_strict(b"text", &Signature::from_bytes(&signature)).is_ok()
        };
        site.announce(&chest, NOW + DAY).unwrap();
        let site = open();
        let known = publics(&site.public());
        assert!(known.len() == 2 && known[0] == old && good(&old, site.sign(b"text")));
        assert!(site.sign_as_former(b"text", NOW).is_none() && !site.look(&chest, NOW).unwrap());
        assert!(site.look(&chest, NOW + DAY).unwrap());
        for site in [&site, &open()] {
            assert_eq!(publics(&site.public()), [known[1], old]);
            assert_eq!(std::fs::read_to_string(folder.path().join("site.pub")).unwrap(), site.public());
            assert!(good(&known[1], site.sign(b"text")));
            let (public, signature) = site.sign_as_former(b"text", NOW + DAY).unwrap();
            assert!(public == old.to_bytes() && good(&old, signature));
            assert!(site.sign_as_former(b"text", NOW + DAY + DAY).is_none());
        }
        // The former key goes, and its public half stays for what it signed.
        assert!(site.look(&chest, NOW + DAY + DAY).unwrap() && !site.look(&chest, NOW + DAY + DAY).unwrap());
        let site = open();
        assert_eq!(publics(&site.public()), [known[1]]);
        assert_eq!(publics(&site.history()), [known[1], old]);
        assert!(site.sign_as_former(b"text", NOW).is_none());
        // A stolen key signs no more at once.
        site.announce(&chest, NOW).unwrap();
        site.take_over(&chest, true, NOW).unwrap();
        assert!(open().sign_as_former(b"text", NOW).is_none());
        assert_eq!((publics(&site.public()).len(), publics(&site.history()).len()), (1, 3));
        assert_eq!(site.generation(), 2);
    }
}
