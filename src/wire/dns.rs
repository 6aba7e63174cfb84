//! DNS messages: a thin face on `hickory-proto`.

pub use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
pub use hickory_proto::rr::rdata::{A, HINFO, NS, PTR, SOA};
pub use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::wire::WireError;

/// Reply size over UDP without EDNS, RFC 1035 section 4.2.1.
pub const UDP_BYTES_PLAIN: u16 = 512;

/// Reply size over UDP that no path fragments (DNS flag day 2020).
pub const UDP_BYTES_MAX: u16 = 1232;

/// Octets of the fixed header.
const HEADER_BYTES: usize = 12;

/// Reads one message.
///
/// # Errors
/// Anything that is no message. `header_error` makes the answer to it.
pub fn parse(bytes: &[u8]) -> Result<Message, WireError> {
    if bytes.len() < HEADER_BYTES {
        return Err(WireError::Truncated("header"));
    }
    Message::from_vec(bytes).map_err(|_| WireError::Invalid("dns message"))
}

/// The FORMERR to bytes that have a query's header but do not parse; None if they deserve no answer: no
/// header, or a response (answering those would let two servers talk for ever).
#[must_use]
pub fn header_error(bytes: &[u8]) -> Option<Message> {
    let [high, low, flags, _, ..] = *bytes.get(..HEADER_BYTES)? else { return None };
    if flags & 0x80 != 0 {
        return None;
    }
    let opcode = OpCode::from_u8((flags >> 3) & 0x0f);
    Some(Message::error_msg(u16::from_be_bytes([high, low]), opcode, ResponseCode::FormErr))
}

/// The most octets that a reply to this query may have over UDP.
#[must_use]
pub fn udp_limit(query: &Message) -> usize {
    let asked = query.edns.as_ref().map_or(UDP_BYTES_PLAIN, Edns::max_payload);
    usize::from(asked.clamp(UDP_BYTES_PLAIN, UDP_BYTES_MAX))
}

/// The message as bytes, cut to its question with TC set if it has more than `limit` octets.
///
/// # Errors
/// Messages that cannot be written: foreign records with impossible contents.
pub fn emit(message: &Message, limit: usize) -> Result<Vec<u8>, WireError> {
    let wrong = |_| WireError::Invalid("dns message");
    let bytes = message.to_vec().map_err(wrong)?;
    if bytes.len() <= limit { Ok(bytes) } else { message.truncate().to_vec().map_err(wrong) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::wire::dns::{header_error, parse};

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let is_reply = bytes.get(2).is_some_and(|flags| flags & 0x80 != 0);
            prop_assert_eq!(header_error(&bytes).is_some(), bytes.len() >= 12 && !is_reply);
            let _ = parse(&bytes);
        }
    }
}
