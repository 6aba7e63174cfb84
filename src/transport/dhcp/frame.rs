//! Frames out: DHCP replies with full checksums, and ARP probes. A face on `smoltcp::wire`.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

use crate::base::Mac;

/// As most servers send; a relay or router on the way takes one off.
const HOP_LIMIT: u8 = 64;

const ETHERNET_BYTES: usize = 14;

/// A UDP datagram in a frame of its own. Checksums are complete: guests drop frames without (a raw socket
/// gets no offload).
pub(crate) fn udp(from: (Mac, SocketAddrV4), to: (Mac, SocketAddrV4), payload: &[u8]) -> Vec<u8> {
    let udp = UdpRepr { src_port: from.1.port(), dst_port: to.1.port() };
    let ip = Ipv4Repr {
        src_addr: *from.1.ip(),
        dst_addr: *to.1.ip(),
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + payload.len(),
        hop_limit: HOP_LIMIT,
    };
    let checksums = ChecksumCapabilities::default();
    let mut frame = vec![0; ETHERNET_BYTES + ip.buffer_len() + ip.payload_len];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
    emit_ethernet(&mut ethernet, from.0, to.0, EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
    ip.emit(&mut packet, &checksums);
    let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
    let copy = |room: &mut [u8]| room.copy_from_slice(payload);
    udp.emit(&mut datagram, &ip.src_addr.into(), &ip.dst_addr.into(), payload.len(), copy, &checksums);
    frame
}

/// An ARP probe: who has `address`? The sender's address is zero, so that nobody's cache is touched
/// (RFC 5227 section 2.1.1).
pub(crate) fn arp_probe(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(mac.0),
        source_protocol_addr: Ipv4Addr::UNSPECIFIED,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: address,
    };
    let mut frame = vec![0; ETHERNET_BYTES + arp.buffer_len()];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame[..]);
    emit_ethernet(&mut ethernet, mac, Mac::BROADCAST, EthernetProtocol::Arp);
    arp.emit(&mut ArpPacket::new_unchecked(ethernet.payload_mut()));
    frame
}

/// Who claims which address in an ARP frame: a reply, or a request that names its sender.
pub(crate) fn arp_claim(frame: &[u8]) -> Option<(Mac, Ipv4Addr)> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Arp {
        return None;
    }
    let packet = ArpPacket::new_checked(ethernet.payload()).ok()?;
    let ArpRepr::EthernetIpv4 { source_hardware_addr, source_protocol_addr, .. } =
        ArpRepr::parse(&packet).ok()?
    else {
        return None;
    };
    (!source_protocol_addr.is_unspecified()).then_some((Mac(source_hardware_addr.0), source_protocol_addr))
}

fn emit_ethernet(frame: &mut EthernetFrame<&mut [u8]>, from: Mac, to: Mac, ethertype: EthernetProtocol) {
    EthernetRepr { src_addr: EthernetAddress(from.0), dst_addr: EthernetAddress(to.0), ethertype }
        .emit(frame);
}

#[cfg(test)]
mod tests {
    use crate::base::Mac;
    use crate::transport::dhcp::frame::{arp_claim, arp_probe, udp};
    use crate::wire::frame::datagram;

    #[test]
    fn what_is_sent_reads_back_with_sound_checksums() {
        let (from, to) = ("192.0.2.254:67".parse().unwrap(), "192.0.2.1:68".parse().unwrap());
        for payload in [&b""[..], b"a", &[7; 300]] {
            let frame = udp((Mac([2; 6]), from), (Mac::BROADCAST, to), payload);
            let read = datagram(&frame, true).unwrap().unwrap();
            assert_eq!(
                (read.source_mac, read.source, read.destination, read.payload),
                (Mac([2; 6]), from, to, payload)
            );
            let mut damaged = frame.clone();
            *damaged.last_mut().unwrap() ^= 1;
            assert!(datagram(&damaged, true).is_err());
        }
    }

    #[test]
    fn a_probe_claims_nothing() {
        assert_eq!(arp_claim(&arp_probe(Mac([2; 6]), "192.0.2.1".parse().unwrap())), None);
        assert_eq!(arp_claim(b"short"), None);
    }
}
