//! Ethernet frames down to UDP, as captures hold them. A face on `smoltcp::wire`, which checks lengths.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, UdpPacket};

use crate::base::Mac;
use crate::wire::WireError;

/// One UDP datagram with its addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Datagram<'a> {
    pub source_mac: Mac,
    pub source: SocketAddrV4,
    pub destination: SocketAddrV4,
    pub payload: &'a [u8],
}

/// Reads a frame. None: it is sound, but no unfragmented IPv4 UDP. `verify` is false where the checksum of
/// UDP is known to be unfilled or good already (`transport/dhcp/raw.rs`); zero means that there is none.
///
/// # Errors
/// A length inside contradicts the frame's, or a checksum is wrong.
pub fn datagram(frame: &[u8], verify: bool) -> Result<Option<Datagram<'_>>, WireError> {
    let ethernet = EthernetFrame::new_checked(frame).map_err(|_| WireError::Truncated("Ethernet header"))?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return Ok(None);
    }
    let ip = Ipv4Packet::new_checked(ethernet.payload()).map_err(|_| WireError::Truncated("IPv4 header"))?;
    if ip.version() != 4 {
        return Err(WireError::Invalid("IPv4 version"));
    }
    if !ip.verify_checksum() {
        return Err(WireError::Invalid("IPv4 checksum"));
    }
    if ip.next_header() != IpProtocol::Udp || ip.frag_offset() != 0 || ip.more_frags() {
        return Ok(None);
    }
    let (source, destination): (Ipv4Addr, Ipv4Addr) = (ip.src_addr(), ip.dst_addr());
    let udp = UdpPacket::new_checked(ip.payload()).map_err(|_| WireError::Truncated("UDP header"))?;
    if verify && !udp.verify_checksum(&source.into(), &destination.into()) {
        return Err(WireError::Invalid("UDP checksum"));
    }
    Ok(Some(Datagram {
        source_mac: Mac(ethernet.src_addr().0),
        source: SocketAddrV4::new(source, udp.src_port()),
        destination: SocketAddrV4::new(destination, udp.dst_port()),
        payload: udp.payload(),
    }))
}
