//! What of an upload survives a restart: what was declared, and which octets are on disk.

use std::ops::Range;

use crate::base::Digest;
use crate::transport::blobs::chunks::digest_of;

/// What the file begins with that says what was declared.
const MAGIC: &[u8; 16] = b"muster-upload 1\n";

/// Octets of one range in the file of those that are there: first, end, check.
pub(crate) const RANGE_BYTES: usize = 24;

/// What was declared, as it lies on disk.
pub(crate) fn declaration(digest: &Digest, size: u64) -> Vec<u8> {
    let mut octets = [MAGIC.as_slice(), &digest.0, &size.to_be_bytes()].concat();
    let check = digest_of(&octets);
    octets.extend_from_slice(&check.0);
    octets
}

/// Reads what was declared; None if the file is not whole.
pub(crate) fn declared(octets: &[u8]) -> Option<(Digest, u64)> {
    let (body, check) = octets.split_last_chunk::<32>()?;
    if digest_of(body).0 != *check {
        return None;
    }
    let (digest, size) = body.strip_prefix(MAGIC.as_slice())?.split_first_chunk::<32>()?;
    Some((Digest(*digest), u64::from_be_bytes(size.try_into().ok()?)))
}

/// One range that is on disk.
pub(crate) fn range(range: &Range<u64>) -> [u8; RANGE_BYTES] {
    let mut octets = [0; RANGE_BYTES];
    octets[..8].copy_from_slice(&range.start.to_be_bytes());
    octets[8..16].copy_from_slice(&range.end.to_be_bytes());
    let check = digest_of(&octets[..16]);
    octets[16..].copy_from_slice(&check.0[..8]);
    octets
}

/// The ranges of a file up to the first that is not whole: the power went away while it was written.
pub(crate) fn ranges(octets: &[u8], size: u64) -> Vec<Range<u64>> {
    let whole = |record: &[u8; RANGE_BYTES]| {
        let (start, rest) = record.split_first_chunk::<8>()?;
        let end = rest.first_chunk::<8>()?;
        let found = u64::from_be_bytes(*start)..u64::from_be_bytes(*end);
        (range(&found) == *record && found.start < found.end && found.end <= size).then_some(found)
    };
    octets.as_chunks::<RANGE_BYTES>().0.iter().map_while(whole).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "one range is meant")]

    use crate::base::Digest;
    use crate::transport::blobs::record::{declaration, declared, range, ranges};

    #[test]
    fn what_was_written_in_part_is_not_believed() {
        let octets = declaration(&Digest([7; 32]), 1000);
        assert_eq!(declared(&octets), Some((Digest([7; 32]), 1000)));
        for length in 0..octets.len() {
            assert_eq!(declared(&octets[..length]), None);
        }
        let mut log = [range(&(0..10)), range(&(20..30))].concat();
        assert_eq!(ranges(&log, 1000), [0..10, 20..30]);
        assert_eq!(ranges(&log, 25), [0..10], "a range beyond the end is none");
        assert_eq!(ranges(&log[..47], 1000), [0..10]);
        log[3] ^= 1;
        assert_eq!(ranges(&log, 1000), []);
    }
}
