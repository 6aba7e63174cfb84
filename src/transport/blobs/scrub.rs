//! Holds blobs against their names: on demand, and in the background each at most once a week. Reads go past the
//! page cache where they can: they see what the disk has, and push out nothing that machines are booting from.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU64;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::base::Digest;
use crate::base::limits::SCRUB_SPAN;
use crate::transport::blobs::chunks::Digester;
use crate::transport::blobs::{BlobError, BlobInfo, Blobs, blocking};
use crate::transport::clock::now;
use crate::transport::tasks::Tasks;

/// One read, and its alignment, which reads past the page cache need.
const STEP: usize = 256 << 10;
const ALIGN: usize = 4096;

/// How often the background looks for something to check, and forgets uploads.
const ROUND: Duration = Duration::from_secs(600);

/// What a check found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Good,
    /// It was set aside.
    Corrupt,
    /// It is not there.
    Missing,
}

/// How far the check that runs has come, on demand or in the background; the last one's end if none runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    pub running: bool,
    pub blobs_done: usize,
    pub blobs: usize,
    pub bytes_done: u64,
    pub bytes: u64,
    pub corrupt: usize,
}

impl Blobs {
    /// Starts the task that checks blobs and forgets old uploads.
    pub fn start(&self, tasks: &Tasks) {
        let (blobs, stop) = (self.clone(), tasks.token());
        tasks.spawn("blobs", async move {
            let rounds = async {
                loop {
                    blobs.round().await;
                    tokio::time::sleep(ROUND).await;
                }
            };
            tokio::select! {
                () = rounds => {}
                () = stop.cancelled() => {}
            }
            // Threads that read or hash look at this.
            blobs.0.stop.cancel();
        });
    }

    async fn round(&self) {
        let blobs = self.clone();
        let expired = blocking(move || {
            blobs.expire(now());
            Ok(())
        });
        let _ = expired.await; // only a runtime that stops cuts it off
        let Some(rate) = self.0.settings.scrub else { return };
        let due = |info: &BlobInfo| !info.corrupt && now().since(info.checked) > SCRUB_SPAN;
        let mut due: Vec<BlobInfo> = self.list().into_iter().filter(due).collect();
        due.sort_by_key(|info| info.checked);
        if due.is_empty() {
            return;
        }
        if let Err(error) = self.verify(due.iter().map(|info| info.digest).collect(), Some(rate)).await {
            tracing::warn!(%error, "blobs could not be checked");
        }
    }

    /// How far the check has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        *self.0.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.0.progress.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Holds these blobs against their names, with at most so many bytes per second. Dropping the future stops it.
    ///
    /// # Errors
    /// What was found cannot be noted, or the head stops.
    pub async fn verify(
        &self,
        digests: Vec<Digest>,
        rate: Option<NonZeroU64>,
    ) -> Result<Vec<(Digest, Verdict)>, BlobError> {
        let (blobs, stop) = (self.clone(), self.0.stop.child_token());
        let _guard = stop.clone().drop_guard();
        blocking(move || blobs.verify_now(&digests, rate, &stop)).await
    }

    fn verify_now(
        &self,
        digests: &[Digest],
        rate: Option<NonZeroU64>,
        stop: &CancellationToken,
    ) -> Result<Vec<(Digest, Verdict)>, BlobError> {
        let bytes = digests.iter().filter_map(|digest| self.info(digest)).map(|info| info.size).sum();
        self.report(|progress| {
            *progress = Progress { running: true, blobs: digests.len(), bytes, ..Progress::default() };
        });
        let pace = Pace { start: Instant::now(), rate, done: 0 };
        let found = self.verify_each(digests, pace, stop);
        self.report(|progress| progress.running = false);
        found
    }

    fn verify_each(
        &self,
        digests: &[Digest],
        mut pace: Pace,
        stop: &CancellationToken,
    ) -> Result<Vec<(Digest, Verdict)>, BlobError> {
        let mut found = Vec::with_capacity(digests.len());
        for digest in digests {
            let verdict = match self.info(digest) {
                None => Verdict::Missing,
                Some(info) if info.corrupt => Verdict::Corrupt,
                Some(info) => self.verify_one(&info, &mut pace, stop)?,
            };
            self.report(|progress| {
                progress.blobs_done += 1;
                progress.corrupt += usize::from(verdict == Verdict::Corrupt);
            });
            found.push((*digest, verdict));
        }
        Ok(found)
    }

    fn verify_one(
        &self,
        info: &BlobInfo,
        pace: &mut Pace,
        stop: &CancellationToken,
    ) -> Result<Verdict, BlobError> {
        let digest = info.digest;
        let hex = digest.hex();
        let opened = self.0.blobs.sub(&hex[..2]).and_then(|folder| folder.open_direct(&hex));
        let outcome = opened.and_then(|file| self.digest_slowly(&file, pace, stop));
        let why = match outcome {
            Ok(None) => return Err(BlobError::Stopping),
            Ok(Some(digester)) => {
                let (found, chunks) = digester.finish();
                if found == digest {
                    let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
                    // It may have been removed meanwhile, and its list must not come back.
                    if let Some(entry) = self.index().blobs.get_mut(&digest) {
                        entry.checked = now();
                    } else {
                        return Ok(Verdict::Missing);
                    }
                    self.note_chunks(&hex, &chunks)?;
                    return Ok(Verdict::Good);
                }
                format!("its content is {found}")
            }
            Err(error) => format!("it cannot be read: {error}"),
        };
        self.set_aside(&digest, &why)
    }

    /// None: the head stops.
    fn digest_slowly(
        &self,
        mut file: &File,
        pace: &mut Pace,
        stop: &CancellationToken,
    ) -> std::io::Result<Option<Digester>> {
        let mut digester = Digester::default();
        let mut memory = vec![0_u8; STEP + ALIGN];
        let start = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
        let buffer = &mut memory[start..start + STEP];
        loop {
            if stop.is_cancelled() {
                return Ok(None);
            }
            let length = match file.read(buffer) {
                Ok(0) => return Ok(Some(digester)),
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            digester.feed(&buffer[..length]);
            self.report(|progress| progress.bytes_done += length as u64);
            pace.wait(length as u64, stop);
        }
    }

    /// Takes a corrupt blob out of service. Who has it open reads on; nobody gets it anew.
    fn set_aside(&self, digest: &Digest, why: &str) -> Result<Verdict, BlobError> {
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = self.index().blobs.get_mut(digest).map(|entry| {
            (entry.corrupt, entry.checked) = (true, now());
            *entry
        }) else {
            return Ok(Verdict::Missing);
        };
        tracing::error!(%digest, size = entry.size, why, "a blob is corrupt and is not served any more");
        let hex = digest.hex();
        let folder = self.0.blobs.sub(&hex[..2])?;
        folder.hand(&hex, &self.0.corrupt, &hex)?;
        self.0.corrupt.sync()?;
        folder.sync()?;
        Ok(Verdict::Corrupt)
    }
}

/// Keeps a reader below its rate.
struct Pace {
    start: Instant,
    rate: Option<NonZeroU64>,
    done: u64,
}

impl Pace {
    fn wait(&mut self, bytes: u64, stop: &CancellationToken) {
        let Some(rate) = self.rate else { return };
        self.done += bytes;
        let due = Duration::from_millis(self.done.saturating_mul(1000) / rate);
        // In short sleeps, so that a slow rate does not hold up the end of the daemon.
        while !stop.is_cancelled() && self.start.elapsed() < due {
            std::thread::sleep((due - self.start.elapsed().min(due)).min(Duration::from_millis(200)));
        }
    }
}
