//! Packet captures: reader and writer of the classic pcap format (libpcap's savefile).

use crate::base::Timestamp;
use crate::wire::WireError;

/// One captured frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    pub at: Timestamp,
    /// From the Ethernet header on; as much as was captured.
    pub bytes: Vec<u8>,
}

/// Link type Ethernet, the only one that is read.
const ETHERNET: u32 = 1;
const FILE_HEADER_BYTES: usize = 24;
const FRAME_HEADER_BYTES: usize = 16;
/// Longest frame that is believed: tcpdump's own snapshot length.
const FRAME_BYTES_MAX: usize = 262_144;

/// Octet order and unit of the times, told by the file's first four octets.
#[derive(Clone, Copy)]
struct Form {
    big_endian: bool,
    nanoseconds: bool,
}

/// Reads a whole capture of Ethernet frames. A frame cut off at the end of the file is left out.
///
/// # Errors
/// It is no classic pcap file (pcapng is another format), not of Ethernet, or a frame's length is absurd.
pub fn parse(bytes: &[u8]) -> Result<Vec<Frame>, WireError> {
    let form = form(bytes)?;
    let header = bytes.get(..FILE_HEADER_BYTES).ok_or(WireError::Truncated("pcap header"))?;
    // The upper octets may hold flags about the frame check sequence.
    if form.number(header, 20).unwrap_or(0) & 0xffff != ETHERNET {
        return Err(WireError::Invalid("pcap link type"));
    }
    let mut rest = bytes.get(FILE_HEADER_BYTES..).unwrap_or_default();
    let mut frames = Vec::new();
    while let Some((head, tail)) = rest.split_at_checked(FRAME_HEADER_BYTES) {
        let number = |at: usize| form.number(head, at).unwrap_or(0);
        let len = usize::try_from(number(8)).unwrap_or(usize::MAX);
        if len > FRAME_BYTES_MAX {
            return Err(WireError::Invalid("pcap frame length"));
        }
        let Some((frame, tail)) = tail.split_at_checked(len) else { break };
        let fraction = u64::from(if form.nanoseconds { number(4) / 1_000_000 } else { number(4) / 1000 });
        let at = Timestamp(u64::from(number(0)).saturating_mul(1000).saturating_add(fraction));
        frames.push(Frame { at, bytes: frame.to_vec() });
        rest = tail;
    }
    Ok(frames)
}

/// Writes a capture with microsecond times.
#[must_use]
pub fn emit(frames: &[Frame]) -> Vec<u8> {
    let mut out = Vec::new();
    let snapshot = u32::try_from(FRAME_BYTES_MAX).unwrap_or(u32::MAX);
    for number in [0xa1b2_c3d4, 0x0004_0002, 0, 0, snapshot, ETHERNET] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for frame in frames {
        let length = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
        let seconds = u32::try_from(frame.at.0 / 1000).unwrap_or(u32::MAX);
        let micros = u32::try_from(frame.at.0 % 1000).unwrap_or(0).saturating_mul(1000);
        for number in [seconds, micros, length, length] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&frame.bytes);
    }
    out
}

fn form(bytes: &[u8]) -> Result<Form, WireError> {
    let magic = *bytes.first_chunk::<4>().ok_or(WireError::Truncated("pcap header"))?;
    match u32::from_be_bytes(magic) {
        0xa1b2_c3d4 => Ok(Form { big_endian: true, nanoseconds: false }),
        0xa1b2_3c4d => Ok(Form { big_endian: true, nanoseconds: true }),
        0xd4c3_b2a1 => Ok(Form { big_endian: false, nanoseconds: false }),
        0x4d3c_b2a1 => Ok(Form { big_endian: false, nanoseconds: true }),
        _ => Err(WireError::Invalid("pcap magic")),
    }
}

impl Form {
    fn number(self, bytes: &[u8], at: usize) -> Option<u32> {
        let octets = *bytes.get(at..)?.first_chunk::<4>()?;
        Some(if self.big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Timestamp;
    use crate::wire::WireError;
    use crate::wire::pcap::{Frame, emit, parse};

    #[test]
    fn what_is_written_reads_the_same_and_in_either_octet_order() {
        let frames = vec![
            Frame { at: Timestamp(1_795_402_800_123), bytes: vec![1, 2, 3] },
            Frame { at: Timestamp(1_795_402_801_000), bytes: vec![] },
        ];
        let bytes = emit(&frames);
        assert_eq!(parse(&bytes).unwrap(), frames);
        let mut swapped = Vec::new();
        for number in bytes.get(..24 + 16).unwrap().chunks(4) {
            swapped.extend(number.iter().rev());
        }
        swapped.extend([1, 2, 3]);
        assert_eq!(parse(&swapped).unwrap(), frames.get(..1).unwrap());
    }

    #[test]
    fn what_is_no_capture_is_refused_and_a_cut_frame_left_out() {
        assert_eq!(parse(&[1, 2]), Err(WireError::Truncated("pcap header")));
        assert_eq!(parse(&[0x0a, 0x0d, 0x0d, 0x0a]), Err(WireError::Invalid("pcap magic")));
        let bytes = emit(&[Frame { at: Timestamp(0), bytes: vec![7; 9] }]);
        assert_eq!(parse(bytes.get(..bytes.len() - 1).unwrap()), Ok(vec![]));
        let mut absurd = bytes.clone();
        absurd.splice(32..36, [255; 4]);
        assert_eq!(parse(&absurd), Err(WireError::Invalid("pcap frame length")));
        let mut other = bytes;
        other.splice(20..24, [105, 0, 0, 0]);
        assert_eq!(parse(&other), Err(WireError::Invalid("pcap link type")));
    }
}
