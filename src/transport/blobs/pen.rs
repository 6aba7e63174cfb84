//! Writes to an upload, and keeps what survives: octets first, then the note that they are there.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::base::limits::UPLOAD_PIECES_MAX;
use crate::transport::blobs::chunks::Digester;
use crate::transport::blobs::upload::Upload;
use crate::transport::blobs::{BlobError, Blobs, record};
use crate::transport::clock::now;

/// How much is written before it is made durable, so that a long body does not start all over.
const SETTLE_BYTES: u64 = 64 << 20;

/// Writes to an upload whose turn it has.
pub(crate) struct Pen<'a> {
    upload: &'a Upload,
    file: File,
    log: File,
    /// Written, but not known to be on disk.
    fresh: Vec<Range<u64>>,
    unsettled: u64,
}

impl<'a> Pen<'a> {
    pub(crate) fn new(blobs: &Blobs, upload: &'a Upload) -> Result<Pen<'a>, BlobError> {
        let file = blobs.0.tmp.edit(&upload.name("part"))?;
        let log = blobs.0.tmp.edit(&upload.name("ranges"))?;
        Ok(Pen { upload, file, log, fresh: Vec::new(), unsettled: 0 })
    }

    /// Writes these octets where they are missing. Nothing is written twice: what was hashed stays as it is.
    pub(crate) fn put(&mut self, at: u64, octets: &[u8]) -> Result<(), BlobError> {
        let gaps = self.upload.part().have.gaps(at..at + octets.len() as u64);
        for gap in gaps {
            let inside = |offset: u64| usize::try_from(offset - at).expect("a gap lies inside of the octets");
            let octets = &octets[inside(gap.start)..inside(gap.end)];
            self.file.write_all_at(octets, gap.start)?;
            let mut part = self.upload.part();
            if part.hashed == gap.start {
                part.digester.feed(octets);
                part.hashed = gap.end;
            }
            drop(part);
            self.unsettled += gap.end - gap.start;
            match self.fresh.last_mut() {
                Some(last) if last.end == gap.start => last.end = gap.end,
                _ => self.fresh.push(gap),
            }
        }
        if self.unsettled < SETTLE_BYTES { Ok(()) } else { self.settle() }
    }

    /// Makes what was written durable, and notes that it is.
    pub(crate) fn settle(&mut self) -> Result<(), BlobError> {
        let noted = self.note();
        if noted.is_err() {
            // Octets that will come again were hashed.
            let mut part = self.upload.part();
            (part.digester, part.hashed) = (Digester::default(), 0);
        }
        noted
    }

    fn note(&mut self) -> Result<(), BlobError> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let pieces = self.upload.part().pieces;
        if pieces + self.fresh.len() > UPLOAD_PIECES_MAX {
            return Err(BlobError::TooManyPieces);
        }
        self.file.sync_data()?;
        let records: Vec<u8> = self.fresh.iter().flat_map(record::range).collect();
        // At its place, and not at the end, where a failure before may have left half a record.
        self.log.write_all_at(&records, (pieces * record::RANGE_BYTES) as u64)?;
        self.log.sync_data()?;
        let mut part = self.upload.part();
        part.pieces += self.fresh.len();
        part.touched = now();
        self.fresh.drain(..).for_each(|range| part.have.add(range));
        self.unsettled = 0;
        Ok(())
    }
}
