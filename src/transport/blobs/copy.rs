//! What an upload need not send: chunks that other blobs have. The lists beside the blobs are read for each
//! upload and not held in memory: those of 200 GB are 29 MB, read in a moment, and uploads are rare.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::base::Digest;
use crate::transport::blobs::chunks::{CHUNK_MAX, Chunk, digest_of};
use crate::transport::blobs::pen::Pen;
use crate::transport::blobs::upload::Upload;
use crate::transport::blobs::{BlobError, Blobs};

/// Where a chunk lies.
#[derive(Clone, Copy)]
struct Place {
    blob: Digest,
    corrupt: bool,
    offset: u64,
}

impl Blobs {
    /// Copies the chunks of an upload that some blob has. Each is hashed first, so neither a wrong list nor a
    /// corrupt blob does harm: of the latter the good chunks heal it.
    pub(crate) fn copy_known(&self, upload: &Upload, chunks: &[Chunk]) -> Result<(), BlobError> {
        let mut at = 0_u64;
        let placed = chunks.iter().map(|chunk| {
            let start = at;
            at += u64::from(chunk.size);
            (start, *chunk)
        });
        // An upload that is begun again has most of it: then this is short.
        let lacks = |(at, chunk): &(u64, Chunk)| {
            !upload.part().have.gaps(*at..*at + u64::from(chunk.size)).is_empty()
        };
        let fits = |(_, chunk): &(u64, Chunk)| chunk.size <= CHUNK_MAX;
        let missing: Vec<(u64, Chunk)> = placed.filter(fits).filter(lacks).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let places = self.places(&missing);
        let mut pen = Pen::new(self, upload)?;
        let mut buffer = vec![0; CHUNK_MAX as usize];
        let mut open: Option<(Digest, File)> = None;
        for (at, chunk) in missing {
            if self.0.stop.is_cancelled() {
                return Err(BlobError::Stopping);
            }
            if let Some(place) = places.get(&chunk.digest) {
                if open.as_ref().is_none_or(|(blob, _)| *blob != place.blob) {
                    open = self.source(place).map(|file| (place.blob, file));
                }
                let octets = &mut buffer[..chunk.size as usize];
                let read = open.as_ref().map(|(_, file)| file.read_exact_at(octets, place.offset));
                // What cannot be read, or is not what the list said, is sent by the client.
                if matches!(read, Some(Ok(()))) && digest_of(octets) == chunk.digest {
                    pen.put(at, octets)?;
                }
            }
        }
        pen.settle()
    }

    fn places(&self, chunks: &[(u64, Chunk)]) -> HashMap<Digest, Place> {
        let wanted: HashSet<Digest> = chunks.iter().map(|(_, chunk)| chunk.digest).collect();
        let mut places = HashMap::new();
        for blob in self.list() {
            let mut offset = 0;
            for chunk in self.chunks_of(&blob.digest) {
                if wanted.contains(&chunk.digest) {
                    let place = Place { blob: blob.digest, corrupt: blob.corrupt, offset };
                    places.entry(chunk.digest).or_insert(place);
                }
                offset += u64::from(chunk.size);
            }
        }
        places
    }

    fn source(&self, place: &Place) -> Option<File> {
        let opened =
            if place.corrupt { self.0.corrupt.open(&place.blob.hex()) } else { self.raw(&place.blob) };
        opened.ok()
    }
}
