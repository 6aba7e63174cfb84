//! NBD, the network block device, as a server needs it: the "fixed newstyle" handshake and simple replies of the
//! protocol document (doc/proto.md of the project NetworkBlockDevice/nbd). Numbers are big-endian.
//!
//! Own code, since the one library for it (the crate `nbd`) serves one export over blocking streams and copies
//! each block through memory.

use crate::wire::WireError;

/// Octets of the server's greeting.
pub const GREETING_BYTES: usize = 18;
/// Octets in front of an option's data.
pub const OPTION_HEAD_BYTES: usize = 16;
/// Octets of a request without its payload.
pub const REQUEST_BYTES: usize = 28;
/// Octets of a simple reply in front of its data.
pub const REPLY_BYTES: usize = 16;
/// Longest string that the protocol knows, in octets.
pub const STRING_BYTES_MAX: usize = 4096;

const GREETING: u64 = 0x4e42_444d_4147_4943; // "NBDMAGIC"
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054; // "IHAVEOPT"
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;

/// Handshake flags, of both sides: the fixed newstyle handshake, and no 124 zeros behind an export's size.
const FIXED_NEWSTYLE: u16 = 1;
const NO_ZEROES: u16 = 2;

/// Transmission flag: the other flags count. Always set.
pub const HAS_FLAGS: u16 = 1;
/// Transmission flag: nothing can be written.
pub const READ_ONLY: u16 = 1 << 1;
/// Transmission flag: FLUSH may be sent.
pub const SEND_FLUSH: u16 = 1 << 2;
/// Transmission flag: several connections to one export see the same content.
pub const CAN_MULTI_CONN: u16 = 1 << 8;

/// What the client says before the first option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientFlags {
    pub no_zeroes: bool,
}

/// The beginning of an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionHead {
    pub kind: u32,
    /// Octets of data that follow.
    pub length: u32,
}

/// An option of the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientOption<'a> {
    /// The old way to choose an export; no refusal can be said, only shown by hanging up.
    ExportName(&'a str),
    Abort,
    List,
    StartTls,
    /// What is this export like?
    Info(&'a str),
    /// The same, and use it.
    Go(&'a str),
    /// Structured replies, metadata contexts, extended headers, and what comes after them.
    Unknown(u32),
}

/// How an option is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum OptionReply {
    Acknowledge = 1,
    Server = 2,
    Info = 3,
    Unsupported = (1 << 31) + 1,
    Policy = (1 << 31) + 2,
    Invalid = (1 << 31) + 3,
    Unknown = (1 << 31) + 6,
}

/// What a client wants of the export.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    Read,
    /// Its payload follows the request.
    Write,
    Disconnect,
    Flush,
    /// TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS, RESIZE, and what comes after them; none has a payload.
    Other(u16),
}

/// One request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    pub command: Command,
    /// Returned with the reply.
    pub cookie: u64,
    pub offset: u64,
    pub length: u32,
}

/// Error numbers of replies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Errno {
    Permission = 1,
    Invalid = 22,
    TooLarge = 75,
    Unsupported = 95,
}

/// What the server says first.
#[must_use]
pub fn emit_greeting() -> [u8; GREETING_BYTES] {
    let mut out = [0; GREETING_BYTES];
    let flags = (FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes();
    let octets = GREETING.to_be_bytes().into_iter().chain(OPTION_MAGIC.to_be_bytes()).chain(flags);
    out.iter_mut().zip(octets).for_each(|(place, octet)| *place = octet);
    out
}

/// Reads the client's flags.
///
/// # Errors
/// Flags that we did not offer, which the protocol has us answer by hanging up; a client without the fixed
/// newstyle handshake, of before 2011.
pub fn parse_client_flags(bytes: [u8; 4]) -> Result<ClientFlags, WireError> {
    let flags = u32::from_be_bytes(bytes);
    let (fixed, no_zeroes) = (u32::from(FIXED_NEWSTYLE), u32::from(NO_ZEROES));
    if flags & fixed == 0 || flags & !(fixed | no_zeroes) != 0 {
        return Err(WireError::Invalid("client flags"));
    }
    Ok(ClientFlags { no_zeroes: flags & no_zeroes != 0 })
}

/// Reads the beginning of an option.
///
/// # Errors
/// The magic number is another one: the client speaks something else.
pub fn parse_option_head(bytes: &[u8; OPTION_HEAD_BYTES]) -> Result<OptionHead, WireError> {
    let (magic, rest) = take_u64(bytes, "option magic")?;
    if magic != OPTION_MAGIC {
        return Err(WireError::Invalid("option magic"));
    }
    let (kind, rest) = take_u32(rest, "option")?;
    let (length, _) = take_u32(rest, "option length")?;
    Ok(OptionHead { kind, length })
}

/// Reads an option with all its data.
///
/// # Errors
/// Data that the option cannot have.
pub fn parse_option(kind: u32, data: &[u8]) -> Result<ClientOption<'_>, WireError> {
    let bare = |option| if data.is_empty() { Ok(option) } else { Err(WireError::Invalid("option length")) };
    match kind {
        1 => string(data).map(ClientOption::ExportName),
        2 => Ok(ClientOption::Abort), // with data too: the client wants to go
        3 => bare(ClientOption::List),
        5 => bare(ClientOption::StartTls),
        6 => parse_wish(data).map(ClientOption::Info),
        7 => parse_wish(data).map(ClientOption::Go),
        other => Ok(ClientOption::Unknown(other)),
    }
}

/// The data of INFO and GO: a name, and which facts the client would like. All are told in any case, as the
/// protocol allows, so that the list is only counted.
fn parse_wish(data: &[u8]) -> Result<&str, WireError> {
    let (length, rest) = take_u32(data, "name length")?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (name, rest) = rest.split_at_checked(length).ok_or(WireError::Truncated("export name"))?;
    let (count, facts) = take_u16(rest, "information count")?;
    if facts.len() != usize::from(count).saturating_mul(2) {
        return Err(WireError::Invalid("information count"));
    }
    string(name)
}

fn string(bytes: &[u8]) -> Result<&str, WireError> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= STRING_BYTES_MAX);
    text.filter(|text| !text.contains('\0')).ok_or(WireError::Invalid("export name"))
}

/// Appends an answer to an option.
pub fn emit_option_reply(out: &mut Vec<u8>, kind: u32, reply: OptionReply, data: &[u8]) {
    out.extend_from_slice(&OPTION_REPLY_MAGIC.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&(reply as u32).to_be_bytes());
    out.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(data);
}

/// Data of an `OptionReply::Info`: size and transmission flags.
#[must_use]
pub fn info_export(size: u64, flags: u16) -> Vec<u8> {
    let kind = 0_u16.to_be_bytes().into_iter();
    kind.chain(size.to_be_bytes()).chain(flags.to_be_bytes()).collect()
}

/// Data of an `OptionReply::Info`: smallest, best and largest request, in octets.
#[must_use]
pub fn info_block_sizes(least: u32, best: u32, most: u32) -> Vec<u8> {
    let kind = 3_u16.to_be_bytes().into_iter();
    kind.chain([least, best, most].into_iter().flat_map(u32::to_be_bytes)).collect()
}

/// Data of an `OptionReply::Server`: the name of an export.
#[must_use]
pub fn server(name: &str) -> Vec<u8> {
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    length.to_be_bytes().into_iter().chain(name.bytes()).collect()
}

/// The answer to `ClientOption::ExportName`, after which requests follow.
#[must_use]
pub fn emit_export(size: u64, flags: u16, no_zeroes: bool) -> Vec<u8> {
    let mut out: Vec<u8> = size.to_be_bytes().into_iter().chain(flags.to_be_bytes()).collect();
    if !no_zeroes {
        out.extend_from_slice(&[0; 124]);
    }
    out
}

/// Reads one request.
///
/// # Errors
/// The magic number is another one: from here on nothing the client says can be understood.
pub fn parse_request(bytes: &[u8; REQUEST_BYTES]) -> Result<Request, WireError> {
    let (magic, rest) = take_u32(bytes, "request magic")?;
    if magic != REQUEST_MAGIC {
        return Err(WireError::Invalid("request magic"));
    }
    let (_flags, rest) = take_u16(rest, "flags")?; // hints that mean nothing to a reader
    let (kind, rest) = take_u16(rest, "command")?;
    let (cookie, rest) = take_u64(rest, "cookie")?;
    let (offset, rest) = take_u64(rest, "offset")?;
    let (length, _) = take_u32(rest, "length")?;
    let command = match kind {
        0 => Command::Read,
        1 => Command::Write,
        2 => Command::Disconnect,
        3 => Command::Flush,
        other => Command::Other(other),
    };
    Ok(Request { command, cookie, offset, length })
}

/// A simple reply; after one without an error to READ the data follows.
#[must_use]
pub fn emit_reply(cookie: u64, error: Option<Errno>) -> [u8; REPLY_BYTES] {
    let error = error.map_or(0, |error| error as u32);
    let mut out = [0; REPLY_BYTES];
    let octets = REPLY_MAGIC.to_be_bytes().into_iter().chain(error.to_be_bytes()).chain(cookie.to_be_bytes());
    out.iter_mut().zip(octets).for_each(|(place, octet)| *place = octet);
    out
}

fn take_u16<'a>(bytes: &'a [u8], field: &'static str) -> Result<(u16, &'a [u8]), WireError> {
    let (head, rest) = bytes.split_first_chunk().ok_or(WireError::Truncated(field))?;
    Ok((u16::from_be_bytes(*head), rest))
}

fn take_u32<'a>(bytes: &'a [u8], field: &'static str) -> Result<(u32, &'a [u8]), WireError> {
    let (head, rest) = bytes.split_first_chunk().ok_or(WireError::Truncated(field))?;
    Ok((u32::from_be_bytes(*head), rest))
}

fn take_u64<'a>(bytes: &'a [u8], field: &'static str) -> Result<(u64, &'a [u8]), WireError> {
    let (head, rest) = bytes.split_first_chunk().ok_or(WireError::Truncated(field))?;
    Ok((u64::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests;
