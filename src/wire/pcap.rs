//! Packet captures: a reader of both formats that tcpdump and Wireshark write (classic pcap and pcapng), a
//! writer of the classic one.

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
/// It is neither a pcap nor a pcapng file, not of Ethernet, or a length in it is absurd.
pub fn parse(bytes: &[u8]) -> Result<Vec<Frame>, WireError> {
    if bytes.starts_with(&SECTION) { parse_blocks(bytes) } else { parse_classic(bytes) }
}

fn parse_classic(bytes: &[u8]) -> Result<Vec<Frame>, WireError> {
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

/// Block types of pcapng (draft-ietf-opsawg-pcapng): section header, interface, frame.
const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const SECTION_TYPE: u32 = 0x0a0d_0d0a;
const INTERFACE_TYPE: u32 = 1;
const FRAME_TYPE: u32 = 6;
/// Interface option: resolution of the times.
const RESOLUTION: u16 = 9;
/// Type, length and, at the end, the length again.
const BLOCK_BYTES_MIN: usize = 12;
/// Where the data of a frame block begins.
const FRAME_DATA_AT: usize = 28;

/// Reads pcapng: section headers tell the octet order, interfaces the unit of their times.
fn parse_blocks(bytes: &[u8]) -> Result<Vec<Frame>, WireError> {
    let (mut rest, mut frames, mut units) = (bytes, Vec::new(), Vec::new());
    let mut form = Form { big_endian: false, nanoseconds: false };
    while let (Some(kind), Some(length)) = (form.number(rest, 0), form.number(rest, 4)) {
        if kind == SECTION_TYPE {
            form.big_endian = rest.get(8..12) == Some(&[0x1a, 0x2b, 0x3c, 0x4d]);
            units.clear();
        }
        let length = if kind == SECTION_TYPE { form.number(rest, 4).unwrap_or(length) } else { length };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < BLOCK_BYTES_MIN {
            return Err(WireError::Invalid("pcapng block length"));
        }
        let Some((block, tail)) = rest.split_at_checked(length) else { break };
        match kind {
            INTERFACE_TYPE => units.push(form.time_unit(block)?),
            FRAME_TYPE => frames.extend(form.frame(block, &units)),
            _ => {}
        }
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

    fn short(self, bytes: &[u8], at: usize) -> Option<u16> {
        let octets = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if self.big_endian { u16::from_be_bytes(octets) } else { u16::from_le_bytes(octets) })
    }

    /// Ticks per millisecond of an interface block; microseconds unless it says otherwise.
    fn time_unit(self, block: &[u8]) -> Result<u64, WireError> {
        if self.short(block, 8).map(u32::from) != Some(ETHERNET) {
            return Err(WireError::Invalid("pcapng link type"));
        }
        let mut rest = block.get(16..).unwrap_or_default();
        while let (Some(code), Some(length)) = (self.short(rest, 0), self.short(rest, 2)) {
            if code == RESOLUTION {
                let exponent = rest.get(4).copied().unwrap_or(6);
                let per_second = 10u64.checked_pow(exponent.into()).filter(|_| exponent & 0x80 == 0);
                return Ok(per_second.ok_or(WireError::Invalid("pcapng time resolution"))?.div_ceil(1000));
            }
            if code == 0 {
                break;
            }
            let padded = usize::from(length).next_multiple_of(4).saturating_add(4);
            rest = rest.get(padded..).unwrap_or_default();
        }
        Ok(1000)
    }

    /// The frame of an enhanced packet block; none if it is cut or names an unknown interface.
    fn frame(self, block: &[u8], units: &[u64]) -> Option<Frame> {
        let unit = *units.get(usize::try_from(self.number(block, 8)?).ok()?)?;
        let ticks = u64::from(self.number(block, 12)?) << 32 | u64::from(self.number(block, 16)?);
        let len = usize::try_from(self.number(block, 20)?).ok()?;
        let bytes = block.get(FRAME_DATA_AT..FRAME_DATA_AT.checked_add(len)?)?.to_vec();
        Some(Frame { at: Timestamp(ticks.checked_div(unit)?), bytes })
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
        assert_eq!(parse(&[0x0a, 0x0d, 0x0d, 0x0b]), Err(WireError::Invalid("pcap magic")));
        assert_eq!(
            parse(&[0x0a, 0x0d, 0x0d, 0x0a, 4, 0, 0, 0]),
            Err(WireError::Invalid("pcapng block length"))
        );
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
