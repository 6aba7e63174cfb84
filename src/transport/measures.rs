//! What machines measure of the files that the head serves: the Authenticode digests of loaders and kernels, and the
//! SHA-256 of initrds as a kernel gets them.
//!
//! A file is read once, however many machines boot it. Of the initrds of an image the hash's state behind the last
//! one is kept: what comes behind them, the archive with a session's grant, is another one in each boot, and small.
//! Of many who ask at once one reads, and the others wait without a thread.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hash;
use std::io::Read as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

use crate::base::Digest;
use crate::base::limits::{KERNEL_SEARCH_BYTES_MAX, MEASURED_FILES_MAX};
use crate::engine::attest::{authenticode, policy};
use crate::transport::http::{ImageRoot, OpenedFile};
use crate::transport::loaders::Loaders;

/// One read of what is hashed.
const READ_BYTES: usize = 1 << 20;

/// What is computed once for each key. Full, it forgets everything: what is in use is soon there again.
struct Once<K, V>(Mutex<HashMap<K, Arc<OnceCell<V>>>>);

impl<K: Eq + Hash, V> Default for Once<K, V> {
    fn default() -> Once<K, V> {
        Once(Mutex::default())
    }
}

impl<K: Eq + Hash, V> Once<K, V> {
    fn cell(&self, key: K) -> Arc<OnceCell<V>> {
        let mut cells = lock(&self.0);
        if cells.len() >= MEASURED_FILES_MAX && !cells.contains_key(&key) {
            cells.clear();
        }
        Arc::clone(cells.entry(key).or_default())
    }
}

/// A file's name and validator.
type Version = (String, Arc<str>);

/// Digests by content. Shared behind an `Arc`.
pub struct Measures {
    /// Directory of plain files below the images.
    pub images: Option<ImageRoot>,
    loaders: Option<Arc<Loaders>>,
    /// By name and validator: whether it measures, and its digest.
    known: Mutex<HashMap<Version, Option<Digest>>>,
    /// By the file's validator, which changes with its content.
    kernels: Once<String, Option<Digest>>,
    initrds: Once<Vec<String>, Sha256>,
}

impl Measures {
    #[must_use]
    pub fn new(images: Option<ImageRoot>, loaders: Option<Arc<Loaders>>) -> Measures {
        let (known, kernels, initrds) = (Mutex::default(), Once::default(), Once::default());
        Measures { images, loaders, known, kernels, initrds }
    }

    /// The digests of those loaders that we serve and that measure what they load.
    #[must_use]
    pub fn loaders(&self) -> Vec<Digest> {
        let Some(loaders) = &self.loaders else { return Vec::new() };
        let mut known = lock(&self.known);
        let names: Vec<String> = loaders.names().into_iter().map(|(name, _)| name).collect();
        known.retain(|(name, _), _| names.contains(name));
        let mut digests = Vec::new();
        for name in names {
            let Some((content, tag)) = loaders.get_tagged(&name) else { continue };
            let compute =
                || policy::measures(&content).then(|| authenticode::digest(&content).ok()).flatten();
            digests.extend(*known.entry((name, tag)).or_insert_with(compute));
        }
        digests.sort_unstable();
        digests.dedup();
        digests
    }

    /// The digest by which firmware measures a kernel. None: it is no program for EFI.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn kernel(&self, file: OpenedFile) -> std::io::Result<Option<Digest>> {
        let cell = self.kernels.cell(file.validator().to_owned());
        cell.get_or_try_init(|| waiting(move || kernel(file.into_std()))).await.copied()
    }

    /// The digest of these initrds and what comes behind them.
    ///
    /// # Errors
    /// A file cannot be read.
    pub async fn initrds(&self, files: Vec<OpenedFile>, last: &[u8]) -> std::io::Result<Digest> {
        let cell = self.initrds.cell(files.iter().map(|file| file.validator().to_owned()).collect());
        let files: Vec<File> = files.into_iter().map(OpenedFile::into_std).collect();
        let mut state = cell.get_or_try_init(|| waiting(move || state_behind(files))).await?.clone();
        state.update(last);
        Ok(Digest(state.finalize().into()))
    }
}

/// Runs what waits for a disk.
async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

fn kernel(file: File) -> std::io::Result<Option<Digest>> {
    let mut content = Vec::new();
    let mut start = [0; 2];
    let mut bounded = file.take(KERNEL_SEARCH_BYTES_MAX);
    // Not worth its memory if it does not begin as programs do.
    if bounded.read(&mut start)? < start.len() || start != *b"MZ" {
        return Ok(None);
    }
    content.extend_from_slice(&start);
    bounded.read_to_end(&mut content)?;
    Ok(authenticode::digest(&content).ok())
}

/// The hash's state behind these files, each filled up as the loader does it.
fn state_behind(files: Vec<File>) -> std::io::Result<Sha256> {
    let mut state = Sha256::new();
    let mut piece = vec![0; READ_BYTES];
    for mut file in files {
        let mut length = 0_u64;
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                break;
            }
            state.update(&piece[..read]);
            length = length.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        }
        state.update(policy::filling(length));
    }
    Ok(state)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::engine::attest::policy::initrd_digest;
    use crate::transport::http::ImageRoot;
    use crate::transport::measures::Measures;

    #[tokio::test]
    async fn initrds_are_read_once_and_hashed_as_a_loader_joins_them() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (vec![1; 5000], vec![2; 8192]);
        fs::write(folder.path().join("first"), &first).unwrap();
        fs::write(folder.path().join("second"), &second).unwrap();
        let root = ImageRoot::open(folder.path()).unwrap();
        let measures = Measures::new(Some(root.clone()), None);
        let both =
            || ["first", "second"].into_iter().map(|name| root.file(name).unwrap()).collect::<Vec<_>>();
        for last in [&b"grant one"[..], b"grant two"] {
            let wanted = initrd_digest(&[&first, &second, last]);
            assert_eq!(measures.initrds(both(), last).await.unwrap(), wanted);
        }
        // A file that changed is another one.
        let opened = both();
        fs::write(folder.path().join("second"), [3; 10]).unwrap();
        let changed = initrd_digest(&[&first, &[3; 10], b"x"]);
        assert_eq!(measures.initrds(both(), b"x").await.unwrap(), changed);
        // What was hashed before is not read again, not even from files that are open.
        let before = initrd_digest(&[&first, &second, b"x"]);
        assert_eq!(measures.initrds(opened, b"x").await.unwrap(), before);
        assert_eq!(measures.initrds(Vec::new(), b"x").await.unwrap(), initrd_digest(&[b"x"]));
    }

    #[tokio::test]
    async fn what_is_no_program_for_efi_has_no_digest() {
        let folder = tempfile::tempdir().unwrap();
        let root = ImageRoot::open(folder.path()).unwrap();
        let measures = Measures::new(None, None);
        for content in [&b""[..], b"M", b"\x7fELF", b"MZ and nothing behind"] {
            fs::write(folder.path().join("kernel"), content).unwrap();
            assert_eq!(measures.kernel(root.file("kernel").unwrap()).await.unwrap(), None);
        }
        assert!(measures.loaders().is_empty());
    }
}
