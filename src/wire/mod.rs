//! Floor 1: bytes to values and back. Never panics, makes no judgement about machines, knows no node.
//!
//! Ethernet, ARP, IPv4 and UDP are `smoltcp::wire`, DHCP options `dhcproto`, DNS messages `hickory-proto`.
//! What stands here is a thin face on them plus what they lack.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub mod dhcp;
pub mod dns;
pub mod frame;
pub mod ipxe;
pub mod nbd;
pub mod newc;
pub mod pcap;
pub mod range;
pub mod ssh;
pub mod syslog;
pub mod tftp;
pub mod tpm;

/// Says why bytes are no message. A malformed message is dropped and counted, never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end before the named field does.
    #[error("truncated at {0}")]
    Truncated(&'static str),
    /// The named field has a value that its protocol forbids.
    #[error("invalid {0}")]
    Invalid(&'static str),
}
