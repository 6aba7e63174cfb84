//! Content-defined chunks (FastCDC): two images that differ in a few places share most chunks, wherever these
//! lie in them. Head and clients must cut alike, so the sizes below are part of the API's promise.

use std::io::Read;

use fastcdc::v2020::FastCDC;

use crate::base::Digest;

/// Smallest chunk but for the last.
pub const CHUNK_MIN: u32 = 64 << 10;
/// What chunks of noise come to on the average.
pub const CHUNK_AVERAGE: u32 = 256 << 10;
/// Largest chunk.
pub const CHUNK_MAX: u32 = 1 << 20;

/// One read of a file that is hashed.
const READ_BYTES: usize = 1 << 20;

/// What a list of chunks begins with in a file.
const MAGIC: &[u8; 16] = b"muster-chunks 1\n";

/// Octets of one chunk in such a list: its length and its digest.
const RECORD: usize = 36;

/// A piece of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    pub digest: Digest,
    pub size: u32,
}

/// SHA-256 of octets that come piece by piece.
#[derive(Clone)]
pub struct Hasher(aws_lc_rs::digest::Context);

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher(aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256))
    }
}

impl Hasher {
    pub fn feed(&mut self, octets: &[u8]) {
        self.0.update(octets);
    }

    #[must_use]
    pub fn finish(self) -> Digest {
        let sum = self.0.finish();
        Digest(sum.as_ref().try_into().expect("SHA-256 has 32 octets"))
    }
}

/// The SHA-256 of these octets.
#[must_use]
pub fn digest_of(octets: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.feed(octets);
    hasher.finish()
}

/// Cuts octets that come piece by piece into chunks.
#[derive(Clone, Default)]
pub struct Chunker {
    rest: Vec<u8>,
    chunks: Vec<Chunk>,
}

impl Chunker {
    pub fn feed(&mut self, octets: &[u8]) {
        self.rest.extend_from_slice(octets);
        // A cut depends on at most so many octets.
        if self.rest.len() >= CHUNK_MAX as usize {
            self.cut(CHUNK_MAX as usize);
        }
    }

    /// Cuts as long as at least so many octets are there.
    fn cut(&mut self, least: usize) {
        let cutter = FastCDC::new(&self.rest, CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX);
        let mut at = 0;
        while self.rest.len() - at >= least {
            let (_, end) = cutter.cut(at, self.rest.len() - at);
            let octets = &self.rest[at..end];
            let size = u32::try_from(octets.len()).expect("chunks are at most CHUNK_MAX");
            self.chunks.push(Chunk { digest: digest_of(octets), size });
            at = end;
        }
        self.rest.drain(..at);
    }

    #[must_use]
    pub fn finish(mut self) -> Vec<Chunk> {
        self.cut(1);
        self.chunks
    }
}

/// Digest and chunks of octets that come piece by piece.
#[derive(Clone, Default)]
pub struct Digester {
    whole: Hasher,
    chunker: Chunker,
}

impl Digester {
    pub fn feed(&mut self, octets: &[u8]) {
        self.whole.feed(octets);
        self.chunker.feed(octets);
    }

    #[must_use]
    pub fn finish(self) -> (Digest, Vec<Chunk>) {
        (self.whole.finish(), self.chunker.finish())
    }
}

/// Digest, chunks and size of all that can be read, on two threads: the digest of the whole takes as long as
/// those of the chunks. `on` hears how many octets were read.
///
/// # Errors
/// The source cannot be read.
pub fn survey(mut source: impl Read, on: impl Fn(u64)) -> std::io::Result<(Digest, Vec<Chunk>, u64)> {
    std::thread::scope(|scope| {
        // Some reads ahead; the reader waits when the other thread is behind.
        let (sender, pieces) = std::sync::mpsc::sync_channel::<std::sync::Arc<[u8]>>(4);
        let chunks = scope.spawn(move || {
            let mut chunker = Chunker::default();
            pieces.iter().for_each(|piece| chunker.feed(&piece));
            chunker.finish()
        });
        let (mut whole, mut size, mut buffer) = (Hasher::default(), 0, vec![0; READ_BYTES]);
        loop {
            let length = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let piece: std::sync::Arc<[u8]> = buffer[..length].into();
            whole.feed(&piece);
            size += u64::try_from(length).unwrap_or(u64::MAX);
            let _ = sender.send(piece); // the other thread ends only after this one
            on(size);
        }
        drop(sender);
        let chunks = chunks.join().expect("cutting octets does not panic");
        Ok((whole.finish(), chunks, size))
    })
}

/// A list of chunks as it lies beside a blob.
pub(crate) fn encode(chunks: &[Chunk]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(MAGIC.len() + chunks.len() * RECORD);
    octets.extend_from_slice(MAGIC);
    for chunk in chunks {
        octets.extend_from_slice(&chunk.size.to_be_bytes());
        octets.extend_from_slice(&chunk.digest.0);
    }
    octets
}

/// Reads such a list; empty if it is none. What it says is believed only after the octets were hashed.
pub(crate) fn decode(octets: &[u8]) -> Vec<Chunk> {
    let Some(records) = octets.strip_prefix(MAGIC.as_slice()) else { return Vec::new() };
    let records = records.as_chunks::<RECORD>().0;
    records
        .iter()
        .filter_map(|record| {
            let (size, digest) = record.split_first_chunk::<4>()?;
            Some(Chunk { size: u32::from_be_bytes(*size), digest: Digest(digest.try_into().ok()?) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::transport::blobs::chunks::{CHUNK_MAX, Chunk, Digester, decode, digest_of, encode, survey};

    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut dice = fastrand::Rng::with_seed(seed);
        std::iter::repeat_with(|| dice.u8(..)).take(length).collect()
    }

    #[test]
    fn chunks_do_not_depend_on_how_the_octets_come() {
        let octets = noise(5 << 20, 1);
        let (digest, chunks, size) = survey(octets.as_slice(), |_| {}).unwrap();
        assert_eq!((digest, size), (digest_of(&octets), 5 << 20));
        for step in [1000, 65_537, 3 << 20] {
            let mut digester = Digester::default();
            octets.chunks(step).for_each(|piece| digester.feed(piece));
            assert_eq!(digester.finish(), (digest, chunks.clone()), "{step}");
        }
        let mut at = 0;
        for Chunk { digest, size } in &chunks {
            let end = at + *size as usize;
            assert_eq!(digest_of(&octets[at..end]), *digest);
            assert!(*size <= CHUNK_MAX);
            at = end;
        }
        assert_eq!(at, octets.len());
        assert_eq!(decode(&encode(&chunks)), chunks);
    }

    #[test]
    fn octets_put_in_the_middle_change_few_chunks() {
        let old = noise(8 << 20, 2);
        let mut new = old.clone();
        new.splice(3 << 20..3 << 20, *b"a few more octets");
        let of = |octets: &[u8]| survey(octets, |_| {}).unwrap().1;
        let (old, new) = (of(&old), of(&new));
        let fresh = new.iter().filter(|chunk| !old.contains(chunk)).count();
        assert!((1..=3).contains(&fresh), "{fresh} of {}", new.len());
    }

    #[test]
    fn lists_that_are_none_are_empty() {
        for octets in [&b""[..], b"muster-chunks 2\n", b"muster-chunks 1\nabc"] {
            assert!(decode(octets).is_empty());
        }
        assert_eq!(survey(&b""[..], |_| {}).unwrap().1, Vec::new());
    }
}
