//! Other DHCP servers: seen by what they send, named so that an operator can find them.

use std::net::Ipv4Addr;

use crate::base::{Mac, NetworkName};
use crate::engine::dhcp::Ingress;
use crate::model::{DhcpMode, Snapshot};
use crate::wire::dhcp::{Message, MessageType};

/// One message of another server on a network that is ours alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Foreign {
    pub network: NetworkName,
    pub server: Ipv4Addr,
    /// Source of the frame: the server, or the router before it.
    pub mac: Mac,
    pub kind: Option<MessageType>,
    /// The machine it answered.
    pub client: Option<Mac>,
    /// The address it gave, if any.
    pub offered: Option<Ipv4Addr>,
}

/// Looks at a server's message. None if it is a client's, our own, or heard where we are not the only
/// server: beside another one (proxy) its messages are expected.
#[must_use]
pub fn watch(message: &Message, ingress: &Ingress, snapshot: &Snapshot) -> Option<Foreign> {
    if message.request {
        return None;
    }
    let site = &snapshot.site;
    let server = message.server_id().unwrap_or(*ingress.source.ip());
    let network = site.network_on(&ingress.interface)?;
    let ours = |address: Ipv4Addr| {
        site.head == Some(address) || site.networks.iter().any(|network| network.head() == Some(address))
    };
    if network.dhcp != DhcpMode::Authoritative || ours(server) || ours(*ingress.source.ip()) {
        return None;
    }
    Some(Foreign {
        network: network.name.clone(),
        server,
        mac: ingress.source_mac,
        kind: message.message_type(),
        client: message.mac(),
        offered: Some(message.yiaddr).filter(|address| !address.is_unspecified()),
    })
}
