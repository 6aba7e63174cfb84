//! TFTP packets (RFC 1350) and option negotiation (RFC 2347 to 2349, RFC 7440).

pub mod client;

use crate::base::limits::{TFTP_OPTIONS_MAX, TFTP_REQUEST_BYTES_MAX};
use crate::wire::WireError;

/// Octets of a DATA packet in front of its payload.
pub const DATA_HEADER_BYTES: usize = 4;

/// Block size without negotiation, RFC 1350 section 2.
pub const BLOCK_BYTES_DEFAULT: u16 = 512;

/// How the content is to be presented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Octet,
    /// Line ends as CR LF, a lone CR as CR NUL (RFC 764).
    Netascii,
}

/// An option that we know, with the value the client asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransferOption {
    /// RFC 2348: payload octets of one block.
    BlockSize(u16),
    /// RFC 2349: how long is the file? As an answer: octets.
    Size(u64),
    /// RFC 2349: seconds between re-sends.
    Timeout(u8),
    /// RFC 7440: blocks per acknowledgement.
    Window(u16),
}

/// A read request. Options with impossible values and unknown ones are left out: RFC 2347 has a server
/// answer only what it accepts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request<'a> {
    /// The file name as sent; no promise about its characters.
    pub name: &'a [u8],
    pub mode: Mode,
    /// In the client's order, each kind at most once.
    pub options: Vec<TransferOption>,
}

/// What clients send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    Read(Request<'a>),
    Write,
    Ack(u16),
    Error(u16),
    /// DATA and OACK: only servers send these to us, by mistake.
    Foreign,
}

/// Error codes of RFC 1350 and RFC 2347.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum ErrorCode {
    Undefined = 0,
    NotFound = 1,
    Access = 2,
    IllegalOperation = 4,
    UnknownTransfer = 5,
}

/// Reads one datagram.
///
/// # Errors
/// Truncated packets, unknown opcodes and modes, too many options, requests above the size limit.
pub fn parse(bytes: &[u8]) -> Result<Packet<'_>, WireError> {
    let (opcode, rest) = take_u16(bytes, "opcode")?;
    match opcode {
        1 if bytes.len() > TFTP_REQUEST_BYTES_MAX => Err(WireError::Invalid("request length")),
        1 => parse_request(rest).map(Packet::Read),
        2 => Ok(Packet::Write),
        4 => take_u16(rest, "block").map(|(block, _)| Packet::Ack(block)),
        5 => take_u16(rest, "error code").map(|(code, _)| Packet::Error(code)),
        3 | 6 => Ok(Packet::Foreign),
        _ => Err(WireError::Invalid("opcode")),
    }
}

fn parse_request(rest: &[u8]) -> Result<Request<'_>, WireError> {
    let (name, rest) = take_text(rest, "file name")?;
    let (mode, mut rest) = take_text(rest, "mode")?;
    let mode = match mode {
        mode if mode.eq_ignore_ascii_case(b"octet") => Mode::Octet,
        mode if mode.eq_ignore_ascii_case(b"netascii") => Mode::Netascii,
        _ => return Err(WireError::Invalid("mode")),
    };
    let mut options: Vec<TransferOption> = Vec::new();
    let mut seen = 0_usize;
    // Some ROMs pad the request with zeros; an empty option name ends the list.
    while rest.first().is_some_and(|octet| *octet != 0) {
        seen = seen.saturating_add(1);
        if seen > TFTP_OPTIONS_MAX {
            return Err(WireError::Invalid("option count"));
        }
        let (key, after) = take_text(rest, "option")?;
        let (value, after) = take_text(after, "option value")?;
        rest = after;
        let Some(option) = known_option(key, value) else { continue };
        let kind = std::mem::discriminant(&option);
        if options.iter().all(|other| std::mem::discriminant(other) != kind) {
            options.push(option);
        }
    }
    Ok(Request { name, mode, options })
}

/// Block sizes above RFC 2348's 65464 are taken as a wish for the largest (busybox lets users ask so).
fn known_option(key: &[u8], value: &[u8]) -> Option<TransferOption> {
    let value: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    let short = u16::try_from(value).unwrap_or(u16::MAX);
    if key.eq_ignore_ascii_case(b"blksize") {
        (value >= 8).then_some(TransferOption::BlockSize(short.min(65464)))
    } else if key.eq_ignore_ascii_case(b"tsize") {
        Some(TransferOption::Size(value))
    } else if key.eq_ignore_ascii_case(b"timeout") {
        u8::try_from(value).ok().filter(|seconds| *seconds > 0).map(TransferOption::Timeout)
    } else if key.eq_ignore_ascii_case(b"windowsize") {
        (value >= 1).then_some(TransferOption::Window(short))
    } else {
        None
    }
}

fn take_u16<'a>(bytes: &'a [u8], field: &'static str) -> Result<(u16, &'a [u8]), WireError> {
    let (head, rest) = bytes.split_first_chunk::<2>().ok_or(WireError::Truncated(field))?;
    Ok((u16::from_be_bytes(*head), rest))
}

fn take_text<'a>(bytes: &'a [u8], field: &'static str) -> Result<(&'a [u8], &'a [u8]), WireError> {
    let mut parts = bytes.splitn(2, |octet| *octet == 0);
    match (parts.next(), parts.next()) {
        (Some(text), Some(rest)) => Ok((text, rest)),
        _ => Err(WireError::Truncated(field)),
    }
}

/// What stands in front of a block's payload in a DATA packet.
#[must_use]
pub fn data_header(block: u16) -> [u8; DATA_HEADER_BYTES] {
    let [high, low] = block.to_be_bytes();
    [0, 3, high, low]
}

/// An OACK with these options, in this order.
#[must_use]
pub fn emit_oack(options: &[TransferOption]) -> Vec<u8> {
    let mut out = 6_u16.to_be_bytes().to_vec();
    option_words(options, &mut out);
    out
}

fn option_words(options: &[TransferOption], out: &mut Vec<u8>) {
    for option in options {
        let (key, value) = match *option {
            TransferOption::BlockSize(octets) => ("blksize", u64::from(octets)),
            TransferOption::Size(octets) => ("tsize", octets),
            TransferOption::Timeout(seconds) => ("timeout", u64::from(seconds)),
            TransferOption::Window(blocks) => ("windowsize", u64::from(blocks)),
        };
        out.extend_from_slice(format!("{key}\0{value}\0").as_bytes());
    }
}

/// An ERROR packet. The text is for the person at the screen.
#[must_use]
pub fn emit_error(code: ErrorCode, text: &str) -> Vec<u8> {
    let mut out = 5_u16.to_be_bytes().to_vec();
    out.extend_from_slice(&(code as u16).to_be_bytes());
    out.extend(text.bytes().filter(|octet| *octet != 0));
    out.push(0);
    out
}

/// The content as `netascii` carries it: LF becomes CR LF, CR becomes CR NUL.
#[must_use]
pub fn netascii(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    for octet in content {
        match octet {
            b'\n' => out.extend_from_slice(b"\r\n"),
            b'\r' => out.extend_from_slice(b"\r\0"),
            other => out.push(*other),
        }
    }
    out
}

#[cfg(test)]
mod tests;
