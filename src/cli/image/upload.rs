//! Sends a file to the daemon: only what it lacks, and on through broken connections and restarts of the head.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use indicatif::ProgressBar;

use crate::api::v1::uploads::{ChunkBody, NewUploadBody, RangeBody, UploadBody};
use crate::base::Digest;
use crate::base::limits::UPLOAD_CHUNKS_MAX;
use crate::cli::client::{Client, refusal};
use crate::transport::blobs::chunks::{Chunk, survey};

/// One request. A broken connection costs at most this much; smaller ones cost more waits for the disk.
const PART_BYTES: u64 = 8 << 20;

/// Tries of one request without a byte of progress: with the pauses below almost a minute, in which a head
/// starts anew.
const TRIES_MAX: u32 = 10;
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often it is asked whether the head is through with its check.
const POLL: Duration = Duration::from_millis(500);

/// Stores the content of a file in the daemon and gives its digest. What is there already is not sent.
///
/// # Errors
/// The file cannot be read or changes meanwhile, the daemon refuses it, or it stays out of reach.
pub(crate) fn upload(client: &Client, path: &Path, bar: &ProgressBar) -> anyhow::Result<Digest> {
    let place = || path.display().to_string();
    let file = File::open(path).with_context(place)?;
    bar.set_length(file.metadata().with_context(place)?.len());
    bar.set_message("reading");
    let (digest, chunks, size) = survey(&file, |done| bar.set_position(done)).with_context(place)?;
    bar.set_length(size);
    let wanted = NewUploadBody { digest: digest.to_string(), size, chunks: bodies(&chunks) };
    Sender { client, file, wanted, bar }.run().with_context(place)?;
    Ok(digest)
}

/// The list as the API takes it; one that is too long is left out, and all is sent.
fn bodies(chunks: &[Chunk]) -> Vec<ChunkBody> {
    if chunks.len() > UPLOAD_CHUNKS_MAX {
        return Vec::new();
    }
    chunks.iter().map(|chunk| ChunkBody { digest: chunk.digest.to_string(), size: chunk.size }).collect()
}

struct Sender<'a> {
    client: &'a Client,
    file: File,
    wanted: NewUploadBody,
    bar: &'a ProgressBar,
}

/// What came of a request.
enum Outcome {
    Told(UploadBody),
    /// The upload is not there (any more).
    Gone,
    /// Worth another try, with the reason.
    Again(anyhow::Error),
}

impl Sender<'_> {
    fn run(&self) -> anyhow::Result<()> {
        let mut told = self.begin()?;
        let share = told.received.saturating_mul(100).checked_div(told.size).unwrap_or(100);
        self.bar.set_message(format!("sending; {share} % are there already"));
        let mut tries = Tries::default();
        while !told.present {
            self.bar.set_position(told.received);
            let id = told.id.clone().context("the daemon names no upload")?;
            if let Some(failure) = told.failure {
                bail!("{failure}");
            }
            let outcome = match (told.missing.first(), told.state.as_str()) {
                (_, "checking") => {
                    self.bar.set_message("the head checks it");
                    self.bar.set_position(told.checked);
                    std::thread::sleep(POLL);
                    self.ask(Method::GET, &format!("/uploads/{id}"))?
                }
                (Some(range), _) => self.send(&id, *range)?,
                (None, _) => self.ask(Method::POST, &format!("/uploads/{id}/complete"))?,
            };
            told = match outcome {
                Outcome::Told(now) => {
                    if now.received > told.received || now.state != told.state {
                        tries = Tries::default();
                    }
                    now
                }
                Outcome::Again(error) => {
                    tries.pause(error)?;
                    self.begin()?
                }
                // Another client completed it, or it was forgotten: to begin says which.
                Outcome::Gone => {
                    tries.pause(anyhow::anyhow!("the daemon forgets the upload again and again"))?;
                    self.begin()?
                }
            };
        }
        self.bar.set_position(told.size);
        Ok(())
    }

    /// Begins the upload, or asks how far the one of this content is.
    fn begin(&self) -> anyhow::Result<UploadBody> {
        let mut tries = Tries::default();
        loop {
            let body = serde_json::to_vec(&self.wanted)?;
            match outcome(self.client.part(Method::POST, "/uploads", None, Bytes::from(body)))? {
                Outcome::Told(told) => return Ok(told),
                Outcome::Again(error) => tries.pause(error)?,
                Outcome::Gone => bail!("the daemon knows no uploads (another version?)"),
            }
        }
    }

    fn send(&self, id: &str, RangeBody { first, last }: RangeBody) -> anyhow::Result<Outcome> {
        let last = last.min(first.saturating_add(PART_BYTES - 1));
        let mut part = vec![0; usize::try_from(last - first + 1)?];
        self.file.read_exact_at(&mut part, first).context("it became shorter while it was sent")?;
        let range = format!("bytes {first}-{last}/{}", self.wanted.size);
        let path = format!("/uploads/{id}");
        outcome(self.client.part(Method::PATCH, &path, Some(&range), Bytes::from(part)))
    }

    fn ask(&self, method: Method, path: &str) -> anyhow::Result<Outcome> {
        outcome(self.client.part(method, path, None, Bytes::new()))
    }
}

/// Sorts what came back.
fn outcome(answer: anyhow::Result<(StatusCode, Bytes)>) -> anyhow::Result<Outcome> {
    let (status, body) = match answer {
        Ok(answer) => answer,
        Err(error) => return Ok(Outcome::Again(error)),
    };
    match status {
        StatusCode::NOT_FOUND => Ok(Outcome::Gone),
        // Another client is at it, our body was slow, or the head is about to stop.
        StatusCode::CONFLICT
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::BAD_GATEWAY
        | StatusCode::GATEWAY_TIMEOUT => Ok(Outcome::Again(refusal(status, &body))),
        status if status.is_success() => {
            let told = serde_json::from_slice(&body);
            told.map(Outcome::Told).context("the daemon's answer is not understood (another version?)")
        }
        status => Err(refusal(status, &body)),
    }
}

/// Tries of one request, with longer and longer pauses.
#[derive(Default)]
struct Tries(u32);

impl Tries {
    fn pause(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        self.0 += 1;
        if self.0 >= TRIES_MAX {
            return Err(error.context(format!("given up after {} tries; run it again to go on", self.0)));
        }
        let pause = PAUSE_FIRST.saturating_mul(1 << (self.0 - 1).min(6));
        std::thread::sleep(pause.min(PAUSE_MAX));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
