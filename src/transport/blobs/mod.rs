//! Blobs: immutable files named by their SHA-256, on disk below `DATA_DIR/blobs`.
//!
//! ```text
//! sha256/ab/abcd…   the blob, mode 0444      chunks/ab/abcd…   its content-defined chunks
//! corrupt/abcd…     set aside by a check     tmp/              what is not whole yet, and uploads
//! ```
//!
//! A blob appears by one rename of a file that was synced, so at any instant it is whole or not there. The time
//! of change of the list in `chunks` says when the blob was checked last: there is no other book to keep.
//!
//! Everything here waits for the disk but `info` and `list`; async code calls it by `blocking`.

pub mod chunks;
mod copy;
mod error;
mod folder;
mod ingest;
mod pen;
mod ranges;
mod record;
mod revive;
mod scrub;
mod upload;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU64;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::base::limits::CHUNK_LIST_BYTES_MAX;
use crate::base::{Digest, Timestamp, Uuid};
use crate::transport::blobs::chunks::Chunk;
use crate::transport::blobs::folder::Folder;
use crate::transport::blobs::upload::Upload;
use crate::transport::http::{OpenError, OpenedFile};

pub use error::BlobError;
pub use scrub::{Progress, Verdict};
pub use upload::{Begun, Completed, UploadInfo, UploadState};

/// One read of what is hashed.
const READ_BYTES: usize = 1 << 20;

/// What is kept free of the disk, for the store, leases and logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reserve {
    Bytes(u64),
    /// Of the whole disk.
    Percent(u8),
}

/// What is configured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Bytes of all blobs and uploads; none: what the disk has.
    pub quota: Option<NonZeroU64>,
    pub reserve: Reserve,
    /// Bytes per second of the check in the background; none: it does not run.
    pub scrub: Option<NonZeroU64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { quota: None, reserve: Reserve::Percent(5), scrub: NonZeroU64::new(50_000_000) }
    }
}

/// What is known of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobInfo {
    pub digest: Digest,
    pub size: u64,
    /// When it was made.
    pub stored: Timestamp,
    /// When its content was last held against its name.
    pub checked: Timestamp,
    /// A check found other content: it is set aside, not served, and replaced by the next upload.
    pub corrupt: bool,
}

/// How much is stored, and how much may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    pub blobs: usize,
    pub bytes: u64,
    pub corrupt: usize,
    pub uploads: usize,
    /// Bytes that uploads hold or will.
    pub upload_bytes: u64,
    pub quota: Option<NonZeroU64>,
    /// Free bytes of the disk, of which `reserve` are not for blobs.
    pub free: u64,
    pub reserve: u64,
}

/// The store of blobs. Clones share it.
#[derive(Clone)]
pub struct Blobs(Arc<Inner>);

struct Inner {
    settings: Settings,
    blobs: Folder,
    lists: Folder,
    corrupt: Folder,
    tmp: Folder,
    /// Behind a lock that is held for look-ups only, never over a wait for the disk: boots read it.
    index: Mutex<Index>,
    /// Held while a blob comes or goes, so that disk and index say the same.
    turn: Mutex<()>,
    /// Held while room is promised to an upload.
    admission: Mutex<()>,
    progress: Mutex<Progress>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Index {
    blobs: BTreeMap<Digest, BlobInfo>,
    uploads: HashMap<Uuid, Arc<Upload>>,
}

/// Runs what waits for the disk where waiting is allowed.
///
/// # Errors
/// Those of `work`; that the runtime stops.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BlobError::Stopping))
}

impl Blobs {
    /// Opens the store, made if it is not there. Nothing is hashed. Blocks.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn open(path: &Path, settings: Settings) -> std::io::Result<Blobs> {
        let root = Folder::root(path)?;
        let inner = Inner {
            settings,
            blobs: root.make("sha256")?,
            lists: root.make("chunks")?,
            corrupt: root.make("corrupt")?,
            tmp: root.make("tmp")?,
            index: Mutex::default(),
            turn: Mutex::default(),
            admission: Mutex::default(),
            progress: Mutex::default(),
            stop: CancellationToken::new(),
        };
        let blobs = Blobs(Arc::new(inner));
        blobs.find_blobs()?;
        blobs.find_uploads()?;
        Ok(blobs)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds the index from names and sizes.
    fn find_blobs(&self) -> std::io::Result<()> {
        let mut found = BTreeMap::new();
        for name in self.0.corrupt.names()? {
            if let (Ok(digest), Some((size, at))) =
                (name.parse::<Digest>(), self.0.corrupt.facts(&name).ok().flatten())
            {
                let stored = Timestamp(at);
                let info = BlobInfo { digest, size, stored, checked: stored, corrupt: true };
                found.insert(digest, info);
            }
        }
        for prefix in self.0.blobs.names()? {
            // What we did not make is left where it is, and never served.
            let Ok(folder) = self.0.blobs.sub(&prefix) else { continue };
            let lists = self.0.lists.sub(&prefix).ok();
            // A damaged directory costs its own blobs, not the start of the head.
            let names = folder.names().unwrap_or_else(|error| {
                tracing::error!(prefix, %error, "a directory of blobs cannot be read");
                Vec::new()
            });
            for name in names {
                let Some(digest) = name.parse::<Digest>().ok().filter(|digest| digest.hex() == name) else {
                    continue;
                };
                let facts = folder.facts(&name).ok().flatten();
                let Some((size, at)) = facts.filter(|_| name.starts_with(&prefix)) else {
                    continue;
                };
                let checked = lists.as_ref().and_then(|lists| lists.facts(&name).ok().flatten());
                let checked = Timestamp(checked.map_or(0, |(_, at)| at));
                let info = BlobInfo { digest, size, stored: Timestamp(at), checked, corrupt: false };
                found.insert(digest, info);
            }
        }
        self.index().blobs = found;
        Ok(())
    }

    /// What is known of a blob, a corrupt one too.
    #[must_use]
    pub fn info(&self, digest: &Digest) -> Option<BlobInfo> {
        self.index().blobs.get(digest).copied()
    }

    /// True if the blob is whole as far as is known.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.info(digest).is_some_and(|info| !info.corrupt)
    }

    /// Every blob in the order of digests, corrupt ones too.
    #[must_use]
    pub fn list(&self) -> Vec<BlobInfo> {
        self.index().blobs.values().copied().collect()
    }

    /// Opens a blob. What was opened can be read to its end, even if it is removed meanwhile.
    ///
    /// # Errors
    /// It is not there, is corrupt, or cannot be read.
    pub fn file(&self, digest: &Digest) -> Result<OpenedFile, OpenError> {
        let info = self.info(digest).filter(|info| !info.corrupt).ok_or(OpenError::NotFound)?;
        let file = self.raw(digest).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => OpenError::NotFound,
            _ => OpenError::Io(error),
        })?;
        let opened = OpenedFile::named(file, &digest.hex())?;
        if opened.size == info.size {
            return Ok(opened);
        }
        tracing::error!(%digest, size = opened.size, expected = info.size, "a blob has another size");
        Err(OpenError::NotFound)
    }

    fn raw(&self, digest: &Digest) -> std::io::Result<File> {
        let hex = digest.hex();
        self.0.blobs.sub(&hex[..2])?.open(&hex)
    }

    /// The chunks of a blob as they were noted; empty if they were not.
    fn chunks_of(&self, digest: &Digest) -> Vec<Chunk> {
        let hex = digest.hex();
        let mut octets = Vec::new();
        let read = self
            .0
            .lists
            .sub(&hex[..2])
            .and_then(|folder| folder.open(&hex))
            .and_then(|file| file.take(CHUNK_LIST_BYTES_MAX).read_to_end(&mut octets));
        if read.is_ok() { chunks::decode(&octets) } else { Vec::new() }
    }

    /// How much is stored, and how much may be.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn usage(&self) -> Result<Usage, BlobError> {
        let (free, total) = self.0.tmp.room()?;
        let reserve = match self.0.settings.reserve {
            Reserve::Bytes(bytes) => bytes,
            Reserve::Percent(percent) => total / 100 * u64::from(percent),
        };
        let index = self.index();
        Ok(Usage {
            blobs: index.blobs.len(),
            bytes: index.blobs.values().map(|info| info.size).sum(),
            corrupt: index.blobs.values().filter(|info| info.corrupt).count(),
            uploads: index.uploads.values().filter(|upload| upload.is_alive()).count(),
            upload_bytes: index
                .uploads
                .values()
                .filter(|upload| upload.is_alive())
                .map(|upload| upload.size)
                .sum(),
            quota: self.0.settings.quota,
            free,
            reserve,
        })
    }

    /// Refuses a file of `whole` bytes, of which `needed` are not on the disk yet, that would go beyond the quota
    /// or into the reserve.
    fn room_for(&self, whole: u64, needed: u64) -> Result<(), BlobError> {
        let usage = self.usage()?;
        if let Some(quota) = usage.quota.map(NonZeroU64::get) {
            let free = quota.saturating_sub(usage.bytes.saturating_add(usage.upload_bytes));
            if whole > free {
                return Err(BlobError::Quota { needed: whole, free, quota });
            }
        }
        let free = usage.free.saturating_sub(usage.reserve);
        if needed > free {
            return Err(BlobError::Disk { needed, free, reserve: usage.reserve });
        }
        Ok(())
    }

    /// Removes blobs, corrupt ones too, but for those that are being uploaded. What has one open reads on.
    /// Answers what was removed. Blocks.
    ///
    /// # Errors
    /// The disk refuses; those before are gone.
    pub fn remove(&self, digests: &[Digest]) -> Result<Vec<BlobInfo>, BlobError> {
        let mut removed = Vec::new();
        for digest in digests {
            let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let info = {
                let mut index = self.index();
                if index.uploads.values().any(|upload| upload.digest == *digest && upload.is_alive()) {
                    continue;
                }
                let Some(info) = index.blobs.remove(digest) else { continue };
                info
            };
            let hex = digest.hex();
            // The blob first: a list without a blob is harmless, and goes with it the next time.
            if let Ok(folder) = self.0.blobs.sub(&hex[..2]) {
                folder.remove(&hex)?;
                folder.sync()?;
            }
            self.0.corrupt.remove(&hex)?;
            if let Ok(folder) = self.0.lists.sub(&hex[..2]) {
                folder.remove(&hex)?;
            }
            removed.push(info);
        }
        Ok(removed)
    }
}

/// A name that nothing has yet.
fn fresh() -> Result<Uuid, BlobError> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).map_err(|error| BlobError::Io(std::io::Error::other(error)))?;
    Ok(Uuid::version_4(octets))
}
