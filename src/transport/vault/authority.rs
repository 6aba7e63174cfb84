//! The head's own certificate authority, and the certificates that it gives to this head's HTTPS listeners.
//!
//! It is replaced with an overlap: its successor's root is published a day before it signs, so that clients that
//! look daily never meet a stranger, and the former root for a month after, as long as what it signed may live.
//! `DATA_DIR/keys` holds, each written whole or not at all, `NAME.sealed` (key and root), `NAME-next.sealed` (when it
//! takes over; key and root) and `NAME-former.json` (roots, and until when).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::base::build::BUILT;
use crate::base::limits::{AUTHORITIES_FORMER_MAX, AUTHORITY_NOTICE, LEAF_LIFE};
use crate::base::{Digest, Millis, Timestamp};
use crate::transport::vault::root::{self, BACKDATE, Kind, Root, named, span};
use crate::transport::vault::{Chest, Scope, VaultError, file, keyfile};

/// The authority.
pub struct Authority {
    kind: Kind,
    folder: PathBuf,
    /// Its roots, for everybody to read.
    published: PathBuf,
    state: ArcSwap<State>,
}

#[derive(Clone)]
struct State {
    current: Arc<Root>,
    /// Who takes over, and when.
    next: Option<(Timestamp, Arc<Root>)>,
    former: Vec<Former>,
}

/// A former root, PEM, and until when it is published.
type Former = (String, u64);

/// A serving certificate with its key, both DER. The key is never written down.
pub struct Leaf {
    pub certificate: Vec<u8>,
    /// The authority's own: iPXE knows it by its digest alone, and must be shown it.
    pub root: Vec<u8>,
    /// PKCS #8.
    pub key: Vec<u8>,
    /// What it was to be for.
    pub names: BTreeSet<String>,
    /// Names of those that it is not for: the root was made for other networks, and its successor will know them.
    pub left_out: BTreeSet<String>,
    pub begins: Timestamp,
    pub ends: Timestamp,
}

impl Authority {
    /// Reads the authority, or makes it.
    pub(crate) fn open(
        kind: Kind,
        (chest, folder): (&Chest, &Path),
        published: &Path,
        scope: Option<&Scope>,
        now: Timestamp,
    ) -> Result<Authority, VaultError> {
        let (key, certificate) = keyfile::open(chest, folder, kind.file(), read, || {
            let root = Root::make(kind, scope, now)?;
            let text = root.text();
            Ok(((root.key, Some(root.pem)), text))
        })?;
        // A former version kept the certificate in the open alone.
        let beside = || file::read(published).map(|text| text.and_then(|text| Root::first(&text)));
        let known = match &certificate {
            Some(pem) => Some(pem.clone()),
            None => beside()?,
        };
        let current = match known.filter(|pem| Root::fits(&key, pem)) {
            Some(pem) => Root::of(key, pem)?,
            // Somebody brought a key of their own: the key is what counts.
            None => Root::signed(kind, key, scope, now)?,
        };
        if certificate.as_ref() != Some(&current.pem) {
            chest.write_file(kind.file(), current.text().as_bytes())?;
        }
        let next = read_next(chest, kind)?.filter(|(_, root)| root.pem != current.pem);
        let mut former = read_former(&former_path(folder, kind))?;
        former.retain(|(pem, until)| *until > now.0 && *pem != current.pem);
        let state = State { current: Arc::new(current), next, former };
        let authority = Authority {
            kind,
            folder: folder.to_owned(),
            published: published.to_owned(),
            state: ArcSwap::from_pointee(state),
        };
        authority.publish()?;
        Ok(authority)
    }

    /// The root certificates that clients may meet, PEM: the one that signs, its successor, former ones.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        let state = self.state.load();
        let now = std::iter::once(&state.current.pem);
        let next = state.next.iter().map(|(_, root)| &root.pem);
        now.chain(next).chain(state.former.iter().map(|(pem, _)| pem)).cloned().collect()
    }

    /// All of them in one text.
    #[must_use]
    pub fn pem(&self) -> String {
        self.roots().concat()
    }

    /// SHA-256 of the root that signs and of its successor's.
    #[must_use]
    pub fn anchors(&self) -> Vec<Digest> {
        let state = self.state.load();
        let next = state.next.iter().map(|(_, root)| &root.der);
        let all = std::iter::once(&state.current.der).chain(next);
        all.map(|der| Digest(Sha256::digest(der).into())).collect()
    }

    /// The root that signs, DER.
    #[must_use]
    pub fn root(&self) -> Vec<u8> {
        self.state.load().current.der.clone()
    }

    /// When the next one takes over; None: there is none.
    #[must_use]
    pub fn takes_over(&self) -> Option<Timestamp> {
        self.state.load().next.as_ref().map(|(at, _)| *at)
    }

    /// Makes a serving certificate for these names and addresses, with a key of its own.
    ///
    /// # Errors
    /// A name cannot stand in a certificate, or the clock is not set.
    pub fn issue(&self, names: &BTreeSet<String>, now: Timestamp) -> Result<Leaf, VaultError> {
        if now < BUILT {
            return Err(VaultError::Clock { now, built: BUILT });
        }
        let make = |error: rcgen::Error| VaultError::Make(error.to_string());
        let state = self.state.load();
        let current = &state.current;
        let permits = |name: &&String| current.scope.as_ref().is_none_or(|scope| scope.permits(name));
        let (held, left_out): (Vec<&String>, Vec<&String>) = names.iter().partition(permits);
        let (begins, ends) = (now - BACKDATE, now + LEAF_LIFE);
        let mut params = CertificateParams::default();
        span(&mut params, begins, ends);
        for name in held {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into().map_err(make)?),
            });
        }
        // Who it is for stands in the names; a common name longer than 64 octets would be no certificate.
        params.distinguished_name = named("muster head");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = self.kind.generate().map_err(make)?;
        let issuer = Issuer::new(root::params(self.kind, &current.key, None, now), &current.key);
        let certificate = params.signed_by(&key, &issuer).map_err(make)?.der().to_vec();
        Ok(Leaf {
            certificate,
            root: current.der.clone(),
            key: key.serialize_der(),
            names: names.clone(),
            left_out: left_out.into_iter().cloned().collect(),
            begins,
            ends,
        })
    }

    /// Makes the next root and publishes it; from `at` on it signs.
    pub(crate) fn announce(
        &self,
        chest: &Chest,
        scope: Option<&Scope>,
        now: Timestamp,
        at: Timestamp,
    ) -> Result<(), VaultError> {
        let state = self.state.load_full();
        if state.next.is_some() {
            return Ok(());
        }
        if state.former.len() >= AUTHORITIES_FORMER_MAX {
            return Err(VaultError::TooMany(AUTHORITIES_FORMER_MAX));
        }
        let root = Root::make(self.kind, scope, now)?;
        let text = Zeroizing::new(serde_json::to_string(&(at.0, &*root.text())).map_err(wrong)?);
        chest.write_file(&next_name(self.kind), text.as_bytes())?;
        self.state.store(Arc::new(State { next: Some((at, Arc::new(root))), ..State::clone(&state) }));
        self.publish()
    }

    /// Lets the next root take over. With `end` former ones are published no longer: a key was stolen.
    pub(crate) fn take_over(&self, chest: &Chest, end: bool, now: Timestamp) -> Result<(), VaultError> {
        let state = self.state.load_full();
        let Some((_, next)) = state.next.clone() else { return Ok(()) };
        let mut former = if end { Vec::new() } else { state.former.clone() };
        if !end {
            former.push((state.current.pem.clone(), (now + LEAF_LIFE).0));
        }
        // What still counts is on disk before what replaces it. Wherever the power fails, the next start goes on.
        self.write_former(&former)?;
        chest.write_file(self.kind.file(), next.text().as_bytes())?;
        file::remove(&chest.file(&next_name(self.kind)))?;
        self.state.store(Arc::new(State { current: next, next: None, former }));
        self.publish()
    }

    /// Does what is due. True: something changed.
    pub(crate) fn look(&self, chest: &Chest, now: Timestamp) -> Result<bool, VaultError> {
        let state = self.state.load_full();
        if state.next.as_ref().is_some_and(|(at, _)| *at <= now) {
            self.take_over(chest, false, now)?;
            return Ok(true);
        }
        let mut former = state.former.clone();
        former.retain(|(_, until)| *until > now.0);
        if former.len() == state.former.len() {
            return Ok(false);
        }
        self.write_former(&former)?;
        self.state.store(Arc::new(State { former, ..State::clone(&state) }));
        self.publish()?;
        Ok(true)
    }

    fn write_former(&self, former: &[Former]) -> Result<(), VaultError> {
        let octets = serde_json::to_vec(former).map_err(wrong)?;
        file::write(&former_path(&self.folder, self.kind), &octets, 0o600)
    }

    /// Leaves the roots where everybody can read them.
    fn publish(&self) -> Result<(), VaultError> {
        let pem = self.pem();
        if file::read(&self.published)?.as_ref() == Some(&pem) {
            return Ok(());
        }
        file::write(&self.published, pem.as_bytes(), 0o644)
    }
}

/// Key and root of a file; of a former version's, the key alone.
fn read(text: &str) -> Result<(KeyPair, Option<String>), String> {
    let key = KeyPair::from_pem(text).map_err(|error| error.to_string())?;
    Ok((key, Root::first(text)))
}

fn read_next(chest: &Chest, kind: Kind) -> Result<Option<(Timestamp, Arc<Root>)>, VaultError> {
    let Some(octets) = chest.open_file(&next_name(kind))? else { return Ok(None) };
    let bad = |why: String| VaultError::Key { path: chest.file(&next_name(kind)), why };
    let (at, text): (u64, Zeroizing<String>) = serde_json::from_slice::<(u64, String)>(&octets)
        .map(|(at, text)| (at, Zeroizing::new(text)))
        .map_err(|error| bad(error.to_string()))?;
    let (key, pem) = read(&text).map_err(bad)?;
    let pem = pem.ok_or_else(|| bad("it has no certificate".to_owned()))?;
    Ok(Some((Timestamp(at), Arc::new(Root::of(key, pem)?))))
}

fn read_former(path: &Path) -> Result<Vec<Former>, VaultError> {
    let Some(octets) = file::read_private(path)? else { return Ok(Vec::new()) };
    let wrong = |error: serde_json::Error| VaultError::Key { path: path.to_owned(), why: error.to_string() };
    serde_json::from_slice(&octets).map_err(wrong)
}

fn former_path(folder: &Path, kind: Kind) -> PathBuf {
    folder.join(format!("{}-former.json", kind.file()))
}

fn next_name(kind: Kind) -> String {
    format!("{}-next", kind.file())
}

fn wrong(error: serde_json::Error) -> VaultError {
    VaultError::Make(error.to_string())
}

impl Leaf {
    /// True if a third of its life is left, or the clock was set to before it began.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        now < self.begins || now > self.ends - Millis(LEAF_LIFE.0 / 3)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// When a root that is announced now takes over.
pub(crate) fn notice(now: Timestamp) -> Timestamp {
    now + AUTHORITY_NOTICE
}

#[cfg(test)]
mod tests;
