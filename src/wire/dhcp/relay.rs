//! Option 82, what relay agents add (RFC 3046). Read for its meaning, always echoed as raw bytes.

use std::net::Ipv4Addr;

use crate::wire::dhcp::{Message, Options, code};

/// The sub-options that mean something to a server.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct RelayInfo(Options);

const CIRCUIT: u8 = 1;
const REMOTE: u8 = 2;
/// RFC 3527.
const LINK_SELECTION: u8 = 5;
/// RFC 5107.
const SERVER_OVERRIDE: u8 = 11;
/// RFC 8357.
const SOURCE_PORT: u8 = 19;

impl Message {
    /// What the relay agent added, if any.
    #[must_use]
    pub fn relay_info(&self) -> Option<RelayInfo> {
        let mut sub_options = Options::default();
        sub_options.scan(self.options.get(code::RELAY)?);
        Some(RelayInfo(sub_options))
    }
}

impl RelayInfo {
    /// The switch port or circuit, as the relay names it.
    #[must_use]
    pub fn circuit(&self) -> Option<&[u8]> {
        self.0.get(CIRCUIT)
    }

    /// The relay or its customer, as the relay names it.
    #[must_use]
    pub fn remote(&self) -> Option<&[u8]> {
        self.0.get(REMOTE)
    }

    /// The subnet the client is on, where it is not the relay's address (RFC 3527).
    #[must_use]
    pub fn link_selection(&self) -> Option<Ipv4Addr> {
        self.0.address(LINK_SELECTION)
    }

    /// The address the client must take for its server (RFC 5107).
    #[must_use]
    pub fn server_override(&self) -> Option<Ipv4Addr> {
        self.0.address(SERVER_OVERRIDE)
    }

    /// True if the relay listens on the port it sent from, not on 67 (RFC 8357).
    #[must_use]
    pub fn wants_source_port(&self) -> bool {
        self.0.contains(SOURCE_PORT)
    }
}
