//! Replies: header, options and route of each kind of answer.

use std::net::{Ipv4Addr, SocketAddrV4};

use dhcproto::v4::DhcpOption;

use crate::base::{Mac, Millis};
use crate::engine::dhcp::address::Assigned;
use crate::engine::dhcp::case::Case;
use crate::engine::dhcp::{AddressRule, Boot, PXE_PORT, Refusal, Route, boot, options};
use crate::wire::dhcp::message::ETHERNET;
use crate::wire::dhcp::{Message, MessageType, Options, Reply, code};

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// MTU of an Ethernet link of which the site says nothing.
const MTU: u16 = 1500;

/// A reply before it becomes bytes.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) kind: MessageType,
    pub(crate) reply: Reply,
    pub(crate) route: Route,
    pub(crate) source: SocketAddrV4,
    pub(crate) address: Option<(Ipv4Addr, AddressRule)>,
    pub(crate) lease: Option<Millis>,
    pub(crate) boot: Option<Boot>,
}

/// OFFER or ACK with an address.
pub(crate) fn lease(case: &Case<'_>, kind: MessageType, given: &Assigned) -> Draft {
    let mut message = blank(case, kind);
    message.yiaddr = given.address;
    if kind == MessageType::Ack {
        message.ciaddr = case.request.message.ciaddr; // RFC 2131 table 3
    }
    options::add_lease(&mut message, given.lease);
    let boot = fill(&mut message, case);
    let route = route(case, given.address);
    let address = Some((given.address, given.rule));
    Draft { address, lease: Some(given.lease), boot: Some(boot), ..draft(case, kind, message, route) }
}

/// ACK to an INFORM: options without an address or times (RFC 2131 section 4.3.5).
pub(crate) fn inform(case: &Case<'_>, told: Ipv4Addr) -> Draft {
    let mut message = blank(case, MessageType::Ack);
    message.ciaddr = case.request.message.ciaddr;
    let boot = fill(&mut message, case);
    let route = match relay(case) {
        Some(relay) => relay,
        None => to_address(case, told),
    };
    let address = Some((told, AddressRule::Told));
    Draft { address, boot: Some(boot), ..draft(case, MessageType::Ack, message, route) }
}

/// NAK: always broadcast on the client's link, by the relay's hand if there is one (RFC 2131 section 4.3.2).
pub(crate) fn nak(case: &Case<'_>, refused: Ipv4Addr, refusal: Refusal) -> Draft {
    let mut message = blank(case, MessageType::Nak);
    message.siaddr = Ipv4Addr::UNSPECIFIED;
    message.options.set(code::MESSAGE, refusal.sentence().as_bytes());
    options::add_echoes(&mut message, &case.request.message);
    let route = match relay(case) {
        Some(relay) => {
            message.flags |= Message::BROADCAST;
            relay
        }
        None => Route::Broadcast,
    };
    let address = Some((refused, AddressRule::Refused(refusal)));
    Draft { address, ..draft(case, MessageType::Nak, message, route) }
}

/// ProxyDHCP: boot data for a machine whose address another server gives. An OFFER on port 67; on 4011 the
/// ACK of a boot server, from the port and to the very address and port that the request names.
pub(crate) fn boot_only(case: &Case<'_>, kind: MessageType, boot: Boot) -> Draft {
    let mut message = blank(case, kind);
    let asker = &case.request.message;
    options::add_boot(&mut message, case, &boot, true);
    let unicast = case.request.is_proxy_port();
    if unicast {
        message.ciaddr = asker.ciaddr;
        options::add_boot_server(&mut message, asker);
    }
    options::add_echoes(&mut message, asker);
    let ingress = &case.request.ingress;
    let back = Route::Unicast {
        mac: ingress.source_mac,
        address: *ingress.source.ip(),
        port: ingress.source.port(),
    };
    let route = if unicast { back } else { relay(case).unwrap_or(Route::Broadcast) };
    Draft { boot: Some(boot), ..draft(case, kind, message, route) }
}

/// Network and boot options in the order of their weight: what does not fit falls off at the end.
fn fill(message: &mut Message, case: &Case<'_>) -> Boot {
    let boot = boot::decide(case);
    options::add_network(message, case);
    options::add_boot(message, case, &boot, false);
    options::add_echoes(message, &case.request.message);
    options::add_asked(message, case);
    boot
}

/// The header that all replies share (RFC 2131 table 3), with options 53 and 54.
fn blank(case: &Case<'_>, kind: MessageType) -> Message {
    let asker = &case.request.message;
    let mut options = Options::default();
    options.put(&DhcpOption::MessageType(kind));
    options.put(&DhcpOption::ServerIdentifier(case.server_id));
    Message {
        request: false,
        htype: asker.htype,
        hlen: asker.hlen,
        hops: 0,
        xid: asker.xid,
        secs: 0,
        flags: asker.flags,
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::UNSPECIFIED,
        siaddr: case.head,
        giaddr: asker.giaddr,
        chaddr: asker.chaddr,
        sname: Vec::new(),
        file: Vec::new(),
        options,
    }
}

/// A draft without address and boot data.
fn draft(case: &Case<'_>, kind: MessageType, message: Message, route: Route) -> Draft {
    let bytes_max = Reply::room(case.request.message.max_size(), case.network.mtu.unwrap_or(MTU));
    let port = if case.request.is_proxy_port() { PXE_PORT } else { SERVER_PORT };
    let source = SocketAddrV4::new(case.head, port);
    Draft { kind, reply: Reply { message, bytes_max }, route, source, address: None, lease: None, boot: None }
}

/// Where an OFFER or ACK goes, in the order of RFC 2131 section 4.1.
fn route(case: &Case<'_>, yiaddr: Ipv4Addr) -> Route {
    let message = &case.request.message;
    // A buggy client fills in ciaddr when it discovers; it has no address yet.
    let discovers = message.message_type() == Some(MessageType::Discover);
    match (relay(case), message.mac()) {
        (Some(relay), _) => relay,
        (None, _) if !message.ciaddr.is_unspecified() && !discovers => to_address(case, message.ciaddr),
        (None, _) if message.wants_broadcast() || message.htype != ETHERNET => Route::Broadcast,
        (None, Some(mac)) => Route::Unicast { mac, address: yiaddr, port: CLIENT_PORT },
        (None, None) => Route::Broadcast,
    }
}

/// To a client that has an address: by frame if it is on this link, else by the kernel's routes.
fn to_address(case: &Case<'_>, address: Ipv4Addr) -> Route {
    let site = &case.snapshot.site;
    let on_link = case.network.interface.as_deref() == Some(&*case.request.ingress.interface)
        && case.network.address.contains(address)
        || site.network_on(&case.request.ingress.interface).is_some_and(|n| n.address.contains(address));
    let mac: Mac = case.request.ingress.source_mac;
    if on_link {
        Route::Unicast { mac, address, port: CLIENT_PORT }
    } else {
        Route::Routed(SocketAddrV4::new(address, CLIENT_PORT))
    }
}

/// To the relay: port 67, or the port it sent from if it says so (RFC 8357).
fn relay(case: &Case<'_>) -> Option<Route> {
    let message = &case.request.message;
    let giaddr = Some(message.giaddr).filter(|address| !address.is_unspecified())?;
    let own_port = message.relay_info().is_some_and(|info| info.wants_source_port());
    let port = if own_port { case.request.ingress.source.port() } else { SERVER_PORT };
    Some(Route::Routed(SocketAddrV4::new(giaddr, port)))
}
