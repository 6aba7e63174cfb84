//! How content becomes a blob: hashed as it is written, synced, renamed, and the directory synced.

use std::fs::File;
use std::io::{Read, Write};
use std::sync::PoisonError;

use nix::sys::stat::{Mode, fchmod};

use crate::base::Digest;
use crate::transport::blobs::chunks::{Chunk, Digester, encode};
use crate::transport::blobs::{BlobError, BlobInfo, Blobs, READ_BYTES, fresh};
use crate::transport::clock::now;

impl Blobs {
    /// Takes in what can be read. With `declared`, its digest and size must be these. Blocks.
    ///
    /// # Errors
    /// There is no room, the source breaks off, or it is not what was declared. Nothing is kept then.
    pub fn ingest(
        &self,
        source: &mut dyn Read,
        declared: Option<(Digest, u64)>,
    ) -> Result<BlobInfo, BlobError> {
        let size = declared.map_or(0, |(_, size)| size);
        self.room_for(size, size)?;
        let temp = format!("ingest-{}", fresh()?);
        let file = self.0.tmp.create(&temp)?;
        let done = self.ingest_into(&file, &temp, source, declared);
        if done.is_err() {
            // What is left behind is removed at the next start.
            let _ = self.0.tmp.remove(&temp);
        }
        done
    }

    fn ingest_into(
        &self,
        mut file: &File,
        temp: &str,
        source: &mut dyn Read,
        declared: Option<(Digest, u64)>,
    ) -> Result<BlobInfo, BlobError> {
        let (mut digester, mut size) = (Digester::default(), 0_u64);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let length = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            size += u64::try_from(length).unwrap_or(u64::MAX);
            if let Some((_, declared)) = declared.filter(|(_, declared)| size > *declared) {
                return Err(BlobError::OtherSize { declared, found: size });
            }
            if declared.is_none() {
                self.room_for(size, length as u64)?;
            }
            digester.feed(&buffer[..length]);
            file.write_all(&buffer[..length])?;
        }
        let (found, chunks) = digester.finish();
        match declared {
            Some((_, declared)) if declared != size => Err(BlobError::OtherSize { declared, found: size }),
            Some((declared, _)) if declared != found => Err(BlobError::OtherContent { declared, found }),
            _ => self.commit(file, temp, found, &chunks),
        }
    }

    /// Makes a file in `tmp`, whose content was held against its name, a blob.
    pub(crate) fn commit(
        &self,
        file: &File,
        temp: &str,
        digest: Digest,
        chunks: &[Chunk],
    ) -> Result<BlobInfo, BlobError> {
        fchmod(file, Mode::from_bits_truncate(0o444))?;
        file.sync_all()?;
        let (size, stored) = (file.metadata()?.len(), now());
        let info = BlobInfo { digest, size, stored, checked: stored, corrupt: false };
        let hex = digest.hex();
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Another client was faster: its file may have readers already.
        if let Some(info) = self.info(&digest).filter(|info| !info.corrupt) {
            self.0.tmp.remove(temp)?;
            return Ok(info);
        }
        self.note_chunks(&hex, chunks)?;
        let folder = self.0.blobs.make(&hex[..2])?;
        self.0.tmp.hand(temp, &folder, &hex)?;
        folder.sync()?;
        self.0.corrupt.remove(&hex)?;
        self.index().blobs.insert(digest, info);
        Ok(info)
    }

    /// Notes the chunks of a blob, and that it was checked now.
    pub(crate) fn note_chunks(&self, hex: &str, chunks: &[Chunk]) -> Result<(), BlobError> {
        let temp = format!("ingest-{}", fresh()?);
        let folder = self.0.lists.make(&hex[..2])?;
        let mut list = self.0.tmp.create(&temp)?;
        list.write_all(&encode(chunks))?;
        list.sync_all()?;
        self.0.tmp.hand(&temp, &folder, hex)?;
        Ok(folder.sync()?)
    }
}
