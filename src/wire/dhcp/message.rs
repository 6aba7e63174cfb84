//! DHCP messages: the guarded header (`dhcproto` alone would panic on a foreign `hlen`) and the options.

use std::net::Ipv4Addr;

use dhcproto::v4::{Flags, HType, MessageType, Opcode};
use dhcproto::{Decodable, Decoder, Encodable};

use crate::base::Mac;
use crate::wire::WireError;
use crate::wire::dhcp::code;
use crate::wire::dhcp::options::{self, Options};

/// Octets of the BOOTP header before the magic cookie (RFC 951).
const HEADER_BYTES: usize = 236;
/// Header and cookie: where options begin.
const OPTIONS_AT: usize = 240;
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
const HLEN_AT: usize = 2;
const CHADDR_AT: usize = 28;
const SNAME_AT: usize = 44;
const FILE_AT: usize = 108;
/// Hardware type of Ethernet and of InfiniBand (RFC 4390).
pub const ETHERNET: u8 = 1;
pub const INFINIBAND: u8 = 32;

/// A DHCP message in either direction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// True: from a client (op 1). False: from a server (op 2).
    pub request: bool,
    pub htype: u8,
    /// At most 16.
    pub hlen: u8,
    pub hops: u8,
    pub xid: u32,
    pub secs: u16,
    /// Bit 15: the client cannot receive unicast yet.
    pub flags: u16,
    pub ciaddr: Ipv4Addr,
    pub yiaddr: Ipv4Addr,
    pub siaddr: Ipv4Addr,
    pub giaddr: Ipv4Addr,
    /// All 16 octets, whatever `hlen` says: a server copies them all.
    pub chaddr: [u8; 16],
    /// Up to the first NUL, at most 63 octets when emitted.
    pub sname: Vec<u8>,
    /// Up to the first NUL, at most 127 octets when emitted.
    pub file: Vec<u8>,
    pub options: Options,
}

impl Message {
    /// Flag bit 15 (RFC 2131 figure 2).
    pub const BROADCAST: u16 = 0x8000;

    /// Reads a message. Bad options are skipped, never a reason to refuse the message; those in `file` and
    /// `sname` count when option 52 says so, in this order (RFC 3396 section 7).
    ///
    /// # Errors
    /// The header is short, `op` is neither 1 nor 2, `hlen` exceeds 16, or the cookie is missing.
    pub fn parse(bytes: &[u8]) -> Result<Message, WireError> {
        let header = bytes.get(..HEADER_BYTES).ok_or(WireError::Truncated("header"))?;
        let cookie = bytes.get(HEADER_BYTES..OPTIONS_AT).ok_or(WireError::Truncated("cookie"))?;
        if !matches!(bytes.first(), Some(1 | 2)) {
            return Err(WireError::Invalid("op"));
        }
        let hlen = bytes.get(HLEN_AT).copied().unwrap_or(u8::MAX);
        if hlen > 16 {
            return Err(WireError::Invalid("hlen"));
        }
        if cookie != COOKIE {
            return Err(WireError::Invalid("cookie"));
        }
        let mut guarded = header.to_vec();
        guarded.extend_from_slice(&COOKIE);
        guarded.push(u8::MAX);
        let head = dhcproto::v4::Message::decode(&mut Decoder::new(&guarded))
            .map_err(|_| WireError::Invalid("header"))?;
        let (sname, file) = (slice(header, SNAME_AT, 64), slice(header, FILE_AT, 128));
        let options = read_options(bytes.get(OPTIONS_AT..).unwrap_or_default(), file, sname);
        let overloaded =
            |bit: u8| options.get(code::OVERLOAD).is_some_and(|v| v.first().is_some_and(|o| o & bit != 0));
        Ok(Message {
            request: head.opcode() == Opcode::BootRequest,
            htype: head.htype().into(),
            hlen,
            hops: head.hops(),
            xid: head.xid(),
            secs: head.secs(),
            flags: head.flags().into(),
            ciaddr: head.ciaddr(),
            yiaddr: head.yiaddr(),
            siaddr: head.siaddr(),
            giaddr: head.giaddr(),
            chaddr: slice(header, CHADDR_AT, 16).try_into().unwrap_or_default(),
            sname: if overloaded(2) { Vec::new() } else { until_nul(sname) },
            file: if overloaded(1) { Vec::new() } else { until_nul(file) },
            options,
        })
    }

    /// Header and options in their order, ended, without padding: what a client sends.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut out = self.emit_header();
        for (code, value) in self.options.iter() {
            options::emit(code, value, &mut out);
        }
        out.push(u8::MAX);
        out
    }

    /// The 240 octets before the options.
    pub(crate) fn emit_header(&self) -> Vec<u8> {
        let mut head = dhcproto::v4::Message::default();
        head.set_opcode(if self.request { Opcode::BootRequest } else { Opcode::BootReply })
            .set_htype(HType::from(self.htype))
            .set_hops(self.hops)
            .set_xid(self.xid)
            .set_secs(self.secs)
            .set_flags(Flags::from(self.flags))
            .set_ciaddr(self.ciaddr)
            .set_yiaddr(self.yiaddr)
            .set_siaddr(self.siaddr)
            .set_giaddr(self.giaddr)
            .set_chaddr(&self.chaddr);
        let mut out = head.to_vec().unwrap_or_default();
        out.resize(HEADER_BYTES, 0);
        out.splice(HLEN_AT..=HLEN_AT, [self.hlen]);
        out.splice(SNAME_AT..HEADER_BYTES, padded(&self.sname, 64).chain(padded(&self.file, 128)));
        out.extend_from_slice(&COOKIE);
        out
    }

    /// Option 53; none in plain BOOTP, or if its value is unknown.
    #[must_use]
    pub fn message_type(&self) -> Option<MessageType> {
        match self.options.get(code::MESSAGE_TYPE)? {
            [value] => Some(MessageType::from(*value)),
            _ => None,
        }
    }

    #[must_use]
    pub fn wants_broadcast(&self) -> bool {
        self.flags & Message::BROADCAST != 0
    }

    /// The 48-bit hardware address, if the client has one.
    #[must_use]
    pub fn mac(&self) -> Option<Mac> {
        let octets = self.chaddr.first_chunk::<6>().filter(|_| self.hlen == 6)?;
        Some(Mac(*octets)).filter(|mac| mac.is_unicast())
    }
}

/// Options of the option field, then of `file` and `sname` if option 52 lends them (RFC 2131 section 4.1).
fn read_options(field: &[u8], file: &[u8], sname: &[u8]) -> Options {
    let mut options = Options::default();
    options.scan(field);
    let overload = options.get(code::OVERLOAD).and_then(|value| value.first().copied()).unwrap_or(0);
    if overload & 1 != 0 {
        options.scan(file);
    }
    if overload & 2 != 0 {
        options.scan(sname);
    }
    options
}

fn slice(bytes: &[u8], at: usize, len: usize) -> &[u8] {
    bytes.get(at..at.saturating_add(len)).unwrap_or_default()
}

fn until_nul(field: &[u8]) -> Vec<u8> {
    field.iter().copied().take_while(|octet| *octet != 0).collect()
}

/// A text field: cut so that one NUL remains, filled with NULs.
fn padded(text: &[u8], width: usize) -> impl Iterator<Item = u8> {
    let cut = text.iter().copied().take(width.saturating_sub(1));
    cut.chain(std::iter::repeat(0)).take(width)
}

#[cfg(test)]
mod tests;
