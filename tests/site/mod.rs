//! A small site for tests that play whole exchanges, and the frames of captures.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub(crate) mod client;
pub(crate) mod wire;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use muster::base::{Mac, Millis, Timestamp};
use muster::engine::dhcp::{Answer, Ingress, Observed, Request, Route, Verdict, respond};
use muster::model::{
    Change, DhcpMode, Interface, Inventory, LeaseTable, Network, Node, NodeId, Revision, Site, Snapshot,
    UnknownPolicy,
};
use muster::wire::dhcp::Message;
use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, UdpPacket};

/// A network on this link; the address is the head's.
pub(crate) fn network(name: &str, interface: &str, address: &str, range: &str) -> Network {
    Network {
        name: name.parse().unwrap(),
        interface: Some(interface.to_owned()).filter(|link| !link.is_empty()),
        address: address.parse().unwrap(),
        manage: false,
        dhcp: DhcpMode::Authoritative,
        ranges: range.split(',').filter(|r| !r.is_empty()).map(|r| r.parse().unwrap()).collect(),
        unknown: UnknownPolicy::Hold,
        routers: Vec::new(),
        dns: Vec::new(),
        ntp: Vec::new(),
        domain: None,
        mtu: None,
        lease: Millis::from_secs(3600),
        short_lease: Millis::from_secs(300),
        image_rate: None,
        trust_option82: false,
    }
}

/// 192.0.2.254/24 on `eth1` with a pool of 16 addresses.
pub(crate) fn boot_network() -> Network {
    network("boot", "eth1", "192.0.2.254/24", "192.0.2.16-192.0.2.31")
}

/// A node called nidNNN with one interface and these addresses.
pub(crate) fn node(number: u32, mac: Mac, addresses: &[&str]) -> Node {
    let mut node = Node::new(NodeId(number.into()), format!("nid{number:03}").parse().unwrap());
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    node.interfaces.push(Interface { name: None, mac, addresses });
    node
}

/// Compiles networks and nodes.
pub(crate) fn snapshot(networks: Vec<Network>, nodes: Vec<Node>) -> Snapshot {
    let mut inventory = Inventory::default();
    for node in nodes {
        inventory.apply(&Change::PutNode(Arc::new(node)));
    }
    let site = Site { networks, ..Site::default() };
    Snapshot::compile(Revision(1), Arc::new(site), Arc::new(inventory))
}

/// A documentation address for machine number `number`.
pub(crate) fn mac(number: u16) -> Mac {
    let [high, low] = number.to_be_bytes();
    Mac([0, 0, 0x5e, 0, high.wrapping_add(0x53), low])
}

/// The head as the shell would run it: one table, changes applied before the reply leaves.
#[derive(Default)]
pub(crate) struct Head {
    pub(crate) snapshot: Snapshot,
    pub(crate) leases: LeaseTable,
    pub(crate) chained: std::collections::BTreeMap<Mac, Timestamp>,
    pub(crate) anchored: std::collections::BTreeSet<Mac>,
}

impl Head {
    pub(crate) fn new(snapshot: Snapshot) -> Head {
        Head { snapshot, ..Head::default() }
    }

    pub(crate) fn answer(&mut self, message: Message, ingress: Ingress, now: Timestamp) -> Answer {
        let request = Request::new(message, ingress);
        let chained = request.mac.and_then(|mac| self.chained.get(&mac).copied());
        let anchored = request.mac.is_some_and(|mac| self.anchored.contains(&mac));
        let observed = Observed { leases: &self.leases, chained, anchored };
        let answer = respond(&request, &self.snapshot, &observed, now);
        if let Some(change) = answer.lease.clone() {
            self.leases.apply(change);
        }
        if let Some(mac) = request.mac.filter(|_| answer.chained) {
            self.chained.insert(mac, now);
        }
        self.anchored.extend(request.mac.filter(|_| answer.anchored));
        answer
    }
}

/// The reply of an answer, parsed; panics on silence.
pub(crate) fn reply(answer: &Answer) -> Message {
    match &answer.verdict {
        Verdict::Reply { message, .. } => Message::parse(message).unwrap(),
        Verdict::Silence(reason) => panic!("silence: {}", reason.name()),
    }
}

pub(crate) fn route(answer: &Answer) -> Route {
    match answer.verdict {
        Verdict::Reply { route, .. } => route,
        Verdict::Silence(reason) => panic!("silence: {}", reason.name()),
    }
}

/// A broadcast from this machine on `eth1`.
pub(crate) fn broadcast(mac: Mac) -> Ingress {
    Ingress {
        interface: Arc::from("eth1"),
        source_mac: mac,
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68),
        destination: SocketAddrV4::new(Ipv4Addr::BROADCAST, 67),
    }
}

/// A unicast from a machine that has an address, to the head's.
pub(crate) fn unicast(mac: Mac, source: &str, destination: &str) -> Ingress {
    Ingress {
        interface: Arc::from("eth1"),
        source_mac: mac,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

/// UDP payload of an Ethernet frame with where it came from.
pub(crate) fn datagram(frame: &[u8], interface: &str) -> Option<(Ingress, Vec<u8>)> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    if ip.next_header() != IpProtocol::Udp {
        return None;
    }
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    let ingress = Ingress {
        interface: Arc::from(interface),
        source_mac: Mac(ethernet.src_addr().0),
        source: SocketAddrV4::new(ip.src_addr(), udp.src_port()),
        destination: SocketAddrV4::new(ip.dst_addr(), udp.dst_port()),
    };
    Some((ingress, udp.payload().to_vec()))
}
