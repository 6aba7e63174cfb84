//! Uploads: content that comes in ranges, in any order, over days and restarts. A range is told to the client as
//! received once it is on disk. Everybody who sends the same content shares one upload: what one client has sent
//! the other need not. Its space is taken from the disk at the start, so it cannot run out in the middle.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::{Stream, StreamExt};
use nix::fcntl::{FallocateFlags, fallocate};
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::time::timeout;

use crate::base::limits::{
    BLOB_BYTES_MAX, MISSING_RANGES_MAX, UPLOAD_IDLE, UPLOAD_QUEUE_PIECES, UPLOAD_SILENCE, UPLOADS_MAX,
};
use crate::base::{Digest, Timestamp, Uuid};
use crate::transport::blobs::chunks::{Chunk, Digester};
use crate::transport::blobs::pen::Pen;
use crate::transport::blobs::ranges::Ranges;
use crate::transport::blobs::{BlobError, BlobInfo, Blobs, READ_BYTES, blocking, fresh, record};
use crate::transport::clock::now;

/// How long a client waits for another one that sends to the same upload.
const TURN_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client waits for the last check before it is told to ask again.
const CHECK_PATIENCE: Duration = Duration::from_secs(5);

/// How an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadState {
    Receiving,
    /// All is there and is held against the digest; so many bytes were.
    Checking(u64),
    /// The content was not what was declared.
    Failed(String),
}

/// What is known of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    pub id: Uuid,
    pub digest: Digest,
    pub size: u64,
    pub received: u64,
    /// The first ranges that are missing.
    pub missing: Vec<Range<u64>>,
    pub state: UploadState,
    pub touched: Timestamp,
}

/// What a client is told that wants to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    Present(BlobInfo),
    /// True: it was made now.
    Upload(UploadInfo, bool),
}

/// What a client is told that has sent everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completed {
    Done(BlobInfo),
    Checking(UploadInfo),
}

pub(crate) struct Upload {
    pub(crate) id: Uuid,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Whose turn it is to write.
    turn: Arc<tokio::sync::Mutex<()>>,
    part: Mutex<Part>,
}

pub(crate) struct Part {
    pub(crate) have: Ranges,
    pub(crate) pieces: usize,
    /// Has seen the first `hashed` octets.
    pub(crate) digester: Digester,
    pub(crate) hashed: u64,
    pub(crate) state: UploadState,
    pub(crate) touched: Timestamp,
}

impl Upload {
    pub(crate) fn new(id: Uuid, digest: Digest, size: u64, touched: Timestamp) -> Upload {
        let (have, digester, state) = (Ranges::default(), Digester::default(), UploadState::Receiving);
        let part = Part { have, pieces: 0, digester, hashed: 0, state, touched };
        Upload { id, digest, size, turn: Arc::default(), part: Mutex::new(part) }
    }

    pub(crate) fn part(&self) -> MutexGuard<'_, Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.part().state, UploadState::Failed(_))
    }

    pub(crate) fn info(&self) -> UploadInfo {
        let part = self.part();
        let mut missing = part.have.gaps(0..self.size);
        missing.truncate(MISSING_RANGES_MAX);
        let (received, state) = (part.have.total(), part.state.clone());
        let Upload { id, digest, size, .. } = *self;
        UploadInfo { id, digest, size, received, missing, state, touched: part.touched }
    }

    pub(crate) fn name(&self, kind: &str) -> String {
        format!("{}.{kind}", self.id)
    }
}

impl Blobs {
    fn find(&self, id: Uuid) -> Result<Arc<Upload>, BlobError> {
        self.index().uploads.get(&id).cloned().ok_or(BlobError::NoUpload(id))
    }

    /// What is known of an upload.
    #[must_use]
    pub fn upload(&self, id: Uuid) -> Option<UploadInfo> {
        self.find(id).ok().map(|upload| upload.info())
    }

    /// Every upload, failed ones too.
    #[must_use]
    pub fn uploads(&self) -> Vec<UploadInfo> {
        let uploads: Vec<Arc<Upload>> = self.index().uploads.values().cloned().collect();
        uploads.iter().map(|upload| upload.info()).collect()
    }

    /// Begins an upload, or goes on with the one of this content. What other blobs have of its chunks is copied.
    ///
    /// # Errors
    /// There is no room, or too many uploads run.
    pub async fn begin(&self, digest: Digest, size: u64, chunks: Vec<Chunk>) -> Result<Begun, BlobError> {
        let blobs = self.clone();
        blocking(move || blobs.begin_now(digest, size, &chunks)).await
    }

    fn begin_now(&self, digest: Digest, size: u64, chunks: &[Chunk]) -> Result<Begun, BlobError> {
        if size > BLOB_BYTES_MAX {
            return Err(BlobError::TooLarge(BLOB_BYTES_MAX));
        }
        let (upload, made) = {
            let _admission = self.0.admission.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(info) = self.info(&digest).filter(|info| !info.corrupt) {
                return match info.size == size {
                    true => Ok(Begun::Present(info)),
                    false => Err(BlobError::OtherSize { declared: size, found: info.size }),
                };
            }
            self.index().uploads.retain(|_, upload| upload.digest != digest || upload.is_alive());
            let same = self.index().uploads.values().find(|upload| upload.digest == digest).cloned();
            match same {
                Some(upload) if upload.size != size => {
                    return Err(BlobError::OtherSize { declared: size, found: upload.size });
                }
                Some(upload) => (upload, false),
                None => (self.make_upload(digest, size)?, true),
            }
        };
        if let Ok(turn) = Arc::clone(&upload.turn).try_lock_owned() {
            self.copy_known(&upload, chunks)?;
            drop(turn);
        }
        Ok(Begun::Upload(upload.info(), made))
    }

    fn make_upload(&self, digest: Digest, size: u64) -> Result<Arc<Upload>, BlobError> {
        if self.index().uploads.len() >= UPLOADS_MAX {
            self.index().uploads.retain(|_, upload| upload.is_alive());
        }
        if self.index().uploads.len() >= UPLOADS_MAX {
            return Err(BlobError::TooMany(UPLOADS_MAX));
        }
        self.room_for(size, size)?;
        let upload = Upload::new(fresh()?, digest, size, now());
        if let Err(error) = self.write_upload(&upload) {
            self.drop_files(&upload);
            return Err(error);
        }
        let upload = Arc::new(upload);
        self.index().uploads.insert(upload.id, Arc::clone(&upload));
        Ok(upload)
    }

    /// The files of an upload, the declaration last: without it the others are swept away at the next start.
    fn write_upload(&self, upload: &Upload) -> Result<(), BlobError> {
        let tmp = &self.0.tmp;
        let part = tmp.create(&upload.name("part"))?;
        allocate(&part, upload.size)?;
        part.sync_all()?;
        tmp.create(&upload.name("ranges"))?.sync_all()?;
        let mut declared = tmp.create(&upload.name("upload"))?;
        declared.write_all(&record::declaration(&upload.digest, upload.size))?;
        declared.sync_all()?;
        Ok(tmp.sync()?)
    }

    fn drop_files(&self, upload: &Upload) {
        // The declaration first: what a power loss leaves of the others is swept away at the next start.
        for kind in ["upload", "ranges", "part"] {
            if let Err(error) = self.0.tmp.remove(&upload.name(kind)) {
                tracing::warn!(upload = %upload.id, %error, "an upload's file stays until the next start");
            }
        }
    }

    /// Takes in a part of the content. What came is kept even if the body breaks off; the bytes that are there
    /// already are not written again.
    ///
    /// # Errors
    /// The range is not inside, the body is not as long, another client is sending, or the disk refuses.
    pub async fn receive<E>(
        &self,
        id: Uuid,
        range: Range<u64>,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<UploadInfo, BlobError> {
        let upload = self.find(id)?;
        if range.end > upload.size || range.is_empty() {
            let (first, last) = (range.start, range.end.saturating_sub(1));
            return Err(BlobError::Outside { first, last, size: upload.size });
        }
        let turn = timeout(TURN_PATIENCE, Arc::clone(&upload.turn).lock_owned()).await;
        let turn = turn.map_err(|_| BlobError::Busy)?;
        // Meanwhile it may have been completed or cancelled.
        let upload = self.find(upload.id)?;
        if upload.part().state != UploadState::Receiving {
            return Err(BlobError::Complete);
        }
        let (sender, pieces) = mpsc::channel(UPLOAD_QUEUE_PIECES);
        let (blobs, shared, start) = (self.clone(), Arc::clone(&upload), range.start);
        // Goes on to the end of what came if the client goes away and this future with it.
        let writer = tokio::task::spawn_blocking(move || blobs.write(&shared, start, pieces, turn));
        let mut left = range.end - range.start;
        let mut outcome = Ok(());
        while outcome.is_ok() {
            outcome = match timeout(Duration::from_millis(UPLOAD_SILENCE.0), body.next()).await {
                Err(_) => Err(BlobError::Silent(UPLOAD_SILENCE.as_secs())),
                Ok(Some(Ok(piece))) if piece.len() as u64 <= left => {
                    left -= piece.len() as u64;
                    // A writer that is gone says why itself.
                    if sender.send(piece).await.is_ok() { Ok(()) } else { break }
                }
                Ok(None) if left == 0 => break,
                Ok(_) => Err(BlobError::Length),
            };
        }
        drop(sender);
        writer.await.unwrap_or(Err(BlobError::Stopping))?;
        outcome.map(|()| upload.info())
    }

    fn write(
        &self,
        upload: &Upload,
        mut at: u64,
        mut pieces: mpsc::Receiver<Bytes>,
        _turn: OwnedMutexGuard<()>,
    ) -> Result<(), BlobError> {
        let mut pen = Pen::new(self, upload)?;
        let mut done = Ok(());
        while let (true, Some(piece)) = (done.is_ok(), pieces.blocking_recv()) {
            done = pen.put(at, &piece);
            at += piece.len() as u64;
        }
        // What was written before a failure counts.
        done.and(pen.settle())
    }

    /// Holds what was sent against the digest and makes it a blob. Waits some seconds; what takes longer goes
    /// on, and `upload` tells of it.
    ///
    /// # Errors
    /// Bytes are missing, or it is not the declared content, of which nothing is kept.
    pub async fn complete(&self, id: Uuid) -> Result<Completed, BlobError> {
        let upload = self.find(id)?;
        match upload.info() {
            UploadInfo { state: UploadState::Receiving, .. } => {}
            UploadInfo { state: UploadState::Failed(why), .. } => return Err(BlobError::Refused(why)),
            checking => return Ok(Completed::Checking(checking)),
        }
        let turn = timeout(TURN_PATIENCE, Arc::clone(&upload.turn).lock_owned()).await;
        let turn = turn.map_err(|_| BlobError::Busy)?;
        // Meanwhile another client may have completed it.
        let upload = self.find(id)?;
        if !upload.part().have.gaps(0..upload.size).is_empty() {
            return Err(BlobError::Incomplete);
        }
        let (blobs, shared) = (self.clone(), Arc::clone(&upload));
        let check = tokio::task::spawn_blocking(move || blobs.finish(&shared, turn));
        match timeout(CHECK_PATIENCE, check).await {
            Ok(done) => done.unwrap_or(Err(BlobError::Stopping)).map(Completed::Done),
            Err(_) => Ok(Completed::Checking(upload.info())),
        }
    }

    fn finish(&self, upload: &Upload, _turn: OwnedMutexGuard<()>) -> Result<BlobInfo, BlobError> {
        let done = self.check(upload);
        match &done {
            Ok(_) => {
                self.index().uploads.remove(&upload.id);
                self.drop_files(upload);
            }
            Err(error @ BlobError::OtherContent { .. }) => {
                tracing::warn!(upload = %upload.id, %error, "an upload is refused");
                upload.part().state = UploadState::Failed(error.to_string());
                self.drop_files(upload);
            }
            // The disk failed, or the head stops: the client completes it again.
            Err(_) => upload.part().state = UploadState::Receiving,
        }
        done
    }

    fn check(&self, upload: &Upload) -> Result<BlobInfo, BlobError> {
        let file = self.0.tmp.open(&upload.name("part"))?;
        let (mut digester, mut at) = {
            let mut part = upload.part();
            part.state = UploadState::Checking(part.hashed);
            (std::mem::take(&mut part.digester), std::mem::take(&mut part.hashed))
        };
        let mut buffer = vec![0; READ_BYTES];
        while at < upload.size {
            if self.0.stop.is_cancelled() {
                return Err(BlobError::Stopping);
            }
            let length = usize::try_from(upload.size - at).unwrap_or(READ_BYTES).min(READ_BYTES);
            file.read_exact_at(&mut buffer[..length], at)?;
            digester.feed(&buffer[..length]);
            at += length as u64;
            upload.part().state = UploadState::Checking(at);
        }
        let (found, chunks) = digester.finish();
        if found != upload.digest {
            return Err(BlobError::OtherContent { declared: upload.digest, found });
        }
        self.commit(&file, &upload.name("part"), found, &chunks)
    }

    /// Forgets an upload and what was sent of it.
    ///
    /// # Errors
    /// There is none, or a client is sending.
    pub fn cancel(&self, id: Uuid) -> Result<(), BlobError> {
        let upload = self.find(id)?;
        let _turn = Arc::clone(&upload.turn).try_lock_owned().map_err(|_| BlobError::Busy)?;
        self.index().uploads.remove(&id);
        self.drop_files(&upload);
        Ok(())
    }

    /// Forgets uploads that nobody has touched for a day.
    pub(crate) fn expire(&self, now: Timestamp) {
        let old = self.uploads().into_iter().filter(|upload| now.since(upload.touched) > UPLOAD_IDLE);
        for upload in old {
            if self.cancel(upload.id).is_ok() {
                tracing::info!(upload = %upload.id, digest = %upload.digest, "an upload is forgotten");
            }
        }
    }
}

/// Takes the space of a file from the disk now.
fn allocate(file: &File, size: u64) -> Result<(), BlobError> {
    let length = i64::try_from(size).unwrap_or(i64::MAX);
    match fallocate(file, FallocateFlags::empty(), 0, length.max(1)) {
        Ok(()) => {}
        // Some network and copy-on-write file systems promise nothing; there a write may fail.
        Err(nix::Error::EOPNOTSUPP | nix::Error::ENOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(file.set_len(size)?)
}
