//! The client's side of TFTP: requests out, answers in. Tests and the swarm speak it; the daemon never does.

use crate::wire::WireError;
use crate::wire::tftp::{TransferOption, known_option, option_words, take_text, take_u16};

/// What servers send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<'a> {
    Data { block: u16, payload: &'a [u8] },
    Options(Vec<TransferOption>),
    Error(u16),
}

/// Options that one OACK may hold: a server answers only what was asked, which are at most four.
const OPTIONS_MAX: usize = 8;

/// Reads one datagram of a server.
///
/// # Errors
/// Truncated packets, packets that only clients send, too many options.
pub fn parse(bytes: &[u8]) -> Result<Answer<'_>, WireError> {
    let (opcode, mut rest) = take_u16(bytes, "opcode")?;
    match opcode {
        3 => take_u16(rest, "block").map(|(block, payload)| Answer::Data { block, payload }),
        5 => take_u16(rest, "error code").map(|(code, _)| Answer::Error(code)),
        6 => {
            let mut options = Vec::new();
            while !rest.is_empty() {
                if options.len() >= OPTIONS_MAX {
                    return Err(WireError::Invalid("option count"));
                }
                let (key, after) = take_text(rest, "option")?;
                let (value, after) = take_text(after, "option value")?;
                options.push(known_option(key, value).ok_or(WireError::Invalid("option"))?);
                rest = after;
            }
            Ok(Answer::Options(options))
        }
        _ => Err(WireError::Invalid("opcode")),
    }
}

/// A read request in octet mode.
#[must_use]
pub fn emit_read(name: &str, options: &[TransferOption]) -> Vec<u8> {
    let mut out = 1_u16.to_be_bytes().to_vec();
    out.extend(name.bytes().filter(|octet| *octet != 0));
    out.extend_from_slice(b"\0octet\0");
    option_words(options, &mut out);
    out
}

/// An ACK.
#[must_use]
pub fn emit_ack(block: u16) -> [u8; 4] {
    let [high, low] = block.to_be_bytes();
    [0, 4, high, low]
}
