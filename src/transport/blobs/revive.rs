//! Uploads after a restart: what was on its way is taken up, what belongs to nothing is removed.

use std::io::Read;
use std::sync::Arc;

use nix::sys::stat::{Mode, fchmod};

use crate::base::limits::UPLOAD_PIECES_MAX;
use crate::base::{Timestamp, Uuid};
use crate::transport::blobs::upload::Upload;
use crate::transport::blobs::{Blobs, record};

impl Blobs {
    /// Takes up what was being uploaded when the head stopped, and removes what belongs to nothing.
    pub(crate) fn find_uploads(&self) -> std::io::Result<()> {
        let tmp = &self.0.tmp;
        for name in tmp.names()? {
            let Some(id) = name.strip_suffix(".upload").and_then(|id| id.parse::<Uuid>().ok()) else {
                continue;
            };
            let upload = self.revive(id).unwrap_or_else(|error| {
                tracing::warn!(upload = %id, %error, "an upload cannot be taken up");
                None
            });
            if let Some(upload) = upload.filter(|upload| !self.has(&upload.digest)) {
                self.index().uploads.insert(id, Arc::new(upload));
            }
        }
        for name in tmp.names()? {
            let id = name.split_once('.').and_then(|(id, _)| id.parse::<Uuid>().ok());
            if id.is_none_or(|id| !self.index().uploads.contains_key(&id)) {
                // What cannot be removed takes room, but is never served.
                if let Err(error) = tmp.remove(&name) {
                    tracing::warn!(name, %error, "something strange lies in tmp");
                }
            }
        }
        Ok(())
    }

    /// None: its files are not whole.
    fn revive(&self, id: Uuid) -> std::io::Result<Option<Upload>> {
        let read = |kind: &str, max: usize| -> std::io::Result<Vec<u8>> {
            let mut octets = Vec::new();
            let file = self.0.tmp.open(&format!("{id}.{kind}"))?;
            file.take(max as u64).read_to_end(&mut octets)?;
            Ok(octets)
        };
        let Some((digest, size)) = record::declared(&read("upload", 1024)?) else { return Ok(None) };
        let facts = self.0.tmp.facts(&format!("{id}.part"))?;
        let Some((_, touched)) = facts.filter(|(length, _)| *length == size) else { return Ok(None) };
        let upload = Upload::new(id, digest, size, Timestamp(touched));
        // The power may have gone between its last two steps: read-only, but not renamed.
        let part = self.0.tmp.open(&format!("{id}.part"))?;
        fchmod(&part, Mode::from_bits_truncate(0o600))?;
        let log = read("ranges", UPLOAD_PIECES_MAX * record::RANGE_BYTES).unwrap_or_default();
        let ranges = record::ranges(&log, size);
        let mut part = upload.part();
        part.pieces = ranges.len();
        ranges.into_iter().for_each(|range| part.have.add(range));
        drop(part);
        Ok(Some(upload))
    }
}
