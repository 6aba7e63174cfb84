//! Replies: a message laid out for the oldest client that may read it.

use crate::base::limits::{DHCP_MESSAGE_BYTES_FLOOR, DHCP_MESSAGE_BYTES_MAX, DHCP_MESSAGE_BYTES_MIN};
use crate::wire::dhcp::{Message, code, options};

/// IPv4 and UDP headers, which option 57 and the MTU count and a DHCP message does not.
const IP_UDP_BYTES: usize = 28;

/// A reply and the room it may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    pub message: Message,
    /// Octets of the DHCP message, at most.
    pub bytes_max: usize,
}

impl Reply {
    /// The room for an answer: the smaller of option 57 and the link's MTU, within what every client takes
    /// (RFC 2131 section 2) and what edk2 does not drop.
    #[must_use]
    pub fn room(max_size: Option<u16>, mtu: u16) -> usize {
        let datagram = max_size.unwrap_or(0).min(mtu);
        usize::from(datagram)
            .saturating_sub(IP_UDP_BYTES)
            .clamp(DHCP_MESSAGE_BYTES_FLOOR, DHCP_MESSAGE_BYTES_MAX)
    }

    /// The bytes: options 53 and 54 first, since some ROMs stop reading early; the rest in the message's
    /// order as far as there is room; option 82 last as it came (RFC 3046 section 2.2); then the end, and
    /// zeros up to 300 octets.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let Reply { message, bytes_max } = self;
        let mut out = message.emit_header();
        for leading in [code::MESSAGE_TYPE, code::SERVER_ID] {
            message
                .options
                .get(leading)
                .into_iter()
                .for_each(|value| options::emit(leading, value, &mut out));
        }
        let used = |out: &Vec<u8>, value: &[u8]| out.len().saturating_add(options::emitted_len(value));
        // The relay option outranks option 57: relays drop replies without it. Only one so long that no
        // client would take the message is left out.
        let limit = DHCP_MESSAGE_BYTES_MAX.saturating_sub(1);
        let relay = message.options.get(code::RELAY).filter(|value| used(&out, value) <= limit);
        let room = bytes_max.saturating_sub(relay.map_or(0, options::emitted_len)).saturating_sub(1);
        for (code, value) in message.options.iter() {
            let placed = matches!(code, code::MESSAGE_TYPE | code::SERVER_ID | code::RELAY);
            if !placed && used(&out, value) <= room {
                options::emit(code, value, &mut out);
            }
        }
        if let Some(value) = relay {
            options::emit(code::RELAY, value, &mut out);
        }
        out.push(u8::MAX);
        if out.len() < DHCP_MESSAGE_BYTES_MIN {
            out.resize(DHCP_MESSAGE_BYTES_MIN, 0);
        }
        out
    }
}
