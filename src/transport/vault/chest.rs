//! The chest: seals what must not lie open on the disk, and the key encryption key (KEK) that opens it again.
//!
//! The KEK is 32 octets or more, and comes from the first of these that is there:
//!
//! 1. the systemd credential `muster.kek` (`LoadCredentialEncrypted=`, which a TPM can seal),
//! 2. the credential `muster.kek.old`, while the one before is still needed,
//! 3. the file `DATA_DIR/keys/kek.next`, while a rotation goes on,
//! 4. the file `DATA_DIR/keys/kek`, mode 0600, made at the first start if there is nothing else.
//!
//! The first seals; all open. So a new key can come at any time: what the old one sealed opens as before until
//! `muster key rotate kek` has sealed everything anew. A file protects copies of the store, not the whole disk.
//!
//! **A head whose KEK is lost does not start.** Its site key and its authority are sealed too: a head that went on
//! with new ones would be another head, whom no node and no client knows. It says which key is missing instead.
//!
//! What is sealed: `1 ‖ first 8 octets of the KEK's id ‖ nonce (24) ‖ XChaCha20-Poly1305`. The key is
//! HKDF-SHA256 of the KEK by purpose; what is sealed is bound to its place (table, key and version), so that it opens
//! nowhere else.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::transport::vault::{VaultError, file};

/// Name of the key among systemd's credentials.
const CREDENTIAL: &str = "muster.kek";
const CREDENTIAL_OLD: &str = "muster.kek.old";

/// Names of the key in the folder of keys.
const FILE: &str = "kek";
const FILE_NEXT: &str = "kek.next";

/// What ends the names of sealed files.
pub(crate) const SEALED: &str = "sealed";

/// Octets of a key: at least what the cipher takes. More is fine, a whole disk is not.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 32..=1024;

/// Version of the sealed form.
const FORM: u8 = 1;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
const HEAD_BYTES: usize = 1 + ID_BYTES + NONCE_BYTES;

/// What is sealed; each has a key of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Private keys of the head, in files.
    PrivateKey,
    /// Versions of secrets, in the store.
    Secret,
}

/// Where a key comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Source {
    Credential(&'static str),
    File(PathBuf),
}

struct Kek {
    id: [u8; ID_BYTES],
    private_keys: Zeroizing<[u8; 32]>,
    secrets: Zeroizing<[u8; 32]>,
    source: Source,
}

/// Seals and opens. Shared by all who do.
pub struct Chest {
    folder: PathBuf,
    /// The first seals. A lock and not a task: it is written in a rotation only, and never held across an await.
    ring: RwLock<Vec<Kek>>,
    /// Whose turn it is to replace files: two at a time would write into each other's.
    turn: Mutex<()>,
}

impl Kek {
    fn new(octets: &[u8], source: Source, place: &Path) -> Result<Kek, VaultError> {
        if !KEY_BYTES.contains(&octets.len()) {
            let why = format!("it has {} octets; from 32 to 1024 are wanted", octets.len());
            return Err(VaultError::Key { path: place.to_owned(), why });
        }
        let hkdf = Hkdf::<Sha256>::new(None, octets);
        let mut id = [0; ID_BYTES];
        let (mut private_keys, mut secrets) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        let derived = hkdf
            .expand(b"muster kek id v1", &mut id)
            .and_then(|()| hkdf.expand(b"muster private keys v1", private_keys.as_mut()))
            .and_then(|()| hkdf.expand(b"muster secrets v1", secrets.as_mut()));
        derived.expect("HKDF-SHA256 gives up to 8160 octets");
        Ok(Kek { id, private_keys, secrets, source })
    }

    fn cipher(&self, purpose: Purpose) -> XChaCha20Poly1305 {
        let key = match purpose {
            Purpose::PrivateKey => &self.private_keys,
            Purpose::Secret => &self.secrets,
        };
        XChaCha20Poly1305::new((&**key).into())
    }
}

impl Chest {
    /// Finds the key, or makes it in a file if nothing was ever sealed. `credentials`: systemd's folder of them.
    ///
    /// # Errors
    /// A key cannot be read or used, others can read it, or sealed files have no key.
    pub fn open(folder: &Path, credentials: Option<&Path>) -> Result<Chest, VaultError> {
        let mut ring: Vec<Kek> = Vec::new();
        let mut add = |octets: Option<Zeroizing<Vec<u8>>>, source, place: &Path| {
            if let Some(octets) = octets {
                let kek = Kek::new(&octets, source, place)?;
                if ring.iter().all(|known| known.id != kek.id) {
                    ring.push(kek);
                }
            }
            Ok(())
        };
        for name in [CREDENTIAL, CREDENTIAL_OLD] {
            let Some(path) = credentials.map(|folder| folder.join(name)) else { continue };
            add(file::read_octets(&path)?, Source::Credential(name), &path)?;
        }
        for path in [folder.join(FILE_NEXT), folder.join(FILE)] {
            add(file::read_private(&path)?, Source::File(path.clone()), &path)?;
        }
        if ring.is_empty() {
            if let Some(sealed) = sealed_files(folder)?.first() {
                return Err(VaultError::NoKek(sealed.clone()));
            }
            ring.push(made(&folder.join(FILE))?);
            tracing::info!("made the key encryption key");
        }
        Ok(Chest { folder: folder.to_owned(), ring: RwLock::new(ring), turn: Mutex::default() })
    }

    /// Held by whoever replaces files of keys.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) -> RwLockReadGuard<'_, Vec<Kek>> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the key comes from, for people.
    #[must_use]
    pub fn source(&self) -> String {
        match self.ring().first().map(|kek| &kek.source) {
            Some(Source::Credential(name)) => format!("systemd credential {name}"),
            Some(Source::File(path)) => format!("file {}", path.display()),
            None => String::new(),
        }
    }

    /// True if a former key is still there, or a copy of this one in a file: `muster key rotate kek` was not run, or
    /// was cut off.
    #[must_use]
    pub fn has_former(&self) -> bool {
        let ring = self.ring();
        ring.len() > 1 || self.has_copy(&ring)
    }

    /// True if the key is a credential, and lies in a file too.
    fn has_copy(&self, ring: &[Kek]) -> bool {
        matches!(ring.first().map(|kek| &kek.source), Some(Source::Credential(_)))
            && self.folder.join(FILE).exists()
    }

    /// Seals something for its place.
    ///
    /// # Errors
    /// The operating system has no dice.
    pub fn seal(&self, purpose: Purpose, place: &str, octets: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| VaultError::Make(error.to_string()))?;
        let ring = self.ring();
        let kek = ring.first().expect("a chest has a key");
        let payload = Payload { msg: octets, aad: place.as_bytes() };
        let sealed = kek.cipher(purpose).encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| VaultError::Make("it is too long to be sealed".to_owned()))?;
        Ok([&[FORM], kek.id.as_slice(), &nonce, &sealed].concat())
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// The key is not here, or it is damaged or was sealed for another place.
    pub fn unseal(
        &self,
        purpose: Purpose,
        place: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let damaged = || VaultError::Damaged(shown(place));
        let (head, body) = sealed.split_at_checked(HEAD_BYTES).ok_or_else(damaged)?;
        let (form, rest) = head.split_at_checked(1).ok_or_else(damaged)?;
        let (id, nonce) = rest.split_at_checked(ID_BYTES).ok_or_else(damaged)?;
        if form != [FORM] {
            return Err(damaged());
        }
        let ring = self.ring();
        let Some(kek) = ring.iter().find(|kek| kek.id == id) else {
            let here = ring.first().map_or_else(String::new, |kek| hex(&kek.id));
            return Err(VaultError::Foreign { place: shown(place), wanted: hex(id), here });
        };
        let nonce = XNonce::try_from(nonce).map_err(|_| damaged())?;
        let payload = Payload { msg: body, aad: place.as_bytes() };
        kek.cipher(purpose).decrypt(&nonce, payload).map(Zeroizing::new).map_err(|_| damaged())
    }

    /// True if the key that sealed this is here.
    #[must_use]
    pub fn knows(&self, sealed: &[u8]) -> bool {
        self.ring().iter().any(|kek| sealed.get(1..=ID_BYTES) == Some(kek.id.as_slice()))
    }

    /// True if the key that seals now sealed this.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        self.ring().first().is_some_and(|kek| sealed.get(1..=ID_BYTES) == Some(kek.id.as_slice()))
    }

    /// The file of a private key, opened and, if a former key sealed it, sealed anew. None if it is not there.
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let path = self.file(name);
        let Some(sealed) = file::read_private(&path)? else { return Ok(None) };
        let octets = self.unseal(Purpose::PrivateKey, &file_place(name), &sealed)?;
        if !self.is_current(&sealed) {
            self.write_file(name, &octets)?;
        }
        Ok(Some(octets))
    }

    pub(crate) fn write_file(&self, name: &str, octets: &[u8]) -> Result<(), VaultError> {
        let sealed = self.seal(Purpose::PrivateKey, &file_place(name), octets)?;
        file::write(&self.file(name), &sealed, 0o600)
    }

    /// The file of a private key.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{SEALED}"))
    }

    /// Begins a rotation: from now on a new key seals, and the former ones open. With a credential the new key is
    /// the one that the operating system gave at the start; a rotation that was cut off goes on with its key.
    ///
    /// # Errors
    /// A key from a credential has no successor: the credential itself must be replaced first.
    pub fn begin_rotation(&self) -> Result<(), VaultError> {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == 1 {
            match ring.first().map(|kek| &kek.source) {
                // All that is left to do is to remove the copy.
                Some(Source::Credential(_)) if self.has_copy(&ring) => {}
                Some(Source::Credential(name)) => return Err(VaultError::NoSuccessor(name)),
                Some(Source::File(_)) | None => ring.insert(0, made(&self.folder.join(FILE_NEXT))?),
            }
        }
        Ok(())
    }

    /// Seals every file of a private key anew that a former key sealed.
    ///
    /// # Errors
    /// A file cannot be opened or written.
    pub fn reseal_files(&self) -> Result<(), VaultError> {
        let _turn = self.turn();
        for path in sealed_files(&self.folder)? {
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            self.open_file(name)?;
        }
        Ok(())
    }

    /// Ends a rotation: nothing is sealed under former keys any more, and their files go.
    ///
    /// # Errors
    /// A file cannot be renamed or removed.
    pub fn end_rotation(&self) -> Result<(), VaultError> {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let (next, file) = (self.folder.join(FILE_NEXT), self.folder.join(FILE));
        match ring.first().map(|kek| kek.source.clone()) {
            Some(Source::File(path)) if path == next => {
                file::rename(&next, &file)?;
                ring.iter_mut().take(1).for_each(|kek| kek.source = Source::File(file.clone()));
            }
            Some(Source::Credential(_)) => {
                file::remove(&next)?;
                file::remove(&file)?;
            }
            Some(Source::File(_)) | None => {}
        }
        ring.truncate(1);
        Ok(())
    }
}

/// Makes a key in a file.
fn made(path: &Path) -> Result<Kek, VaultError> {
    let mut octets = Zeroizing::new([0; 32]);
    getrandom::fill(octets.as_mut()).map_err(|error| VaultError::Make(error.to_string()))?;
    file::write(path, octets.as_slice(), 0o600)?;
    Kek::new(octets.as_slice(), Source::File(path.to_owned()), path)
}

fn sealed_files(folder: &Path) -> Result<Vec<PathBuf>, VaultError> {
    let entries = std::fs::read_dir(folder).map_err(file::fail("list", folder))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(file::fail("list", folder))?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == SEALED));
    paths.sort();
    Ok(paths)
}

/// Files are bound to their name; there is one version of each at a time.
fn file_place(name: &str) -> String {
    format!("private_key\0{name}\01")
}

/// A place for people.
fn shown(place: &str) -> String {
    place.replace('\0', " ")
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
