//! Which network a request belongs to.

use std::net::Ipv4Addr;

use crate::engine::dhcp::{NetworkRule, Request};
use crate::model::snapshot::Machine;
use crate::model::{Network, Site, Snapshot};
use crate::wire::dhcp::{RelayInfo, code};

/// Finds the network: link selection (82.5) before subnet selection (118), relay address, the client's own
/// address in a message to ours, and the link. None: an address that is named lies in no network of ours.
#[must_use]
pub(crate) fn locate<'a>(request: &Request, snapshot: &'a Snapshot) -> Option<(&'a Network, NetworkRule)> {
    let (message, site) = (&request.message, &*snapshot.site);
    let selected = trusted_relay_info(request, site).and_then(|info| info.link_selection());
    let subnet = message.options.address(code::SUBNET_SELECTION);
    let relay = Some(message.giaddr).filter(|address| !address.is_unspecified());
    // A broadcast says nothing about where an old address still belongs (INIT-REBOOT, REBINDING).
    let own = Some(message.ciaddr).filter(|address| request.is_unicast() && !address.is_unspecified());
    let named = [
        (selected, NetworkRule::LinkSelection),
        (subnet, NetworkRule::SubnetSelection),
        (relay, NetworkRule::Relay),
    ];
    if let Some((address, rule)) = named.into_iter().find_map(|(address, rule)| Some((address?, rule))) {
        return Some((declared_sibling(request, snapshot, site.network_of(address)?), rule));
    }
    if let Some(network) = own.and_then(|address| site.network_of(address)) {
        return Some((network, NetworkRule::ClientAddress));
    }
    let link = site.network_on(&request.ingress.interface)?;
    let sibling = declared_sibling(request, snapshot, link);
    let rule = if sibling.name == link.name { NetworkRule::Link } else { NetworkRule::Declared };
    Some((sibling, rule))
}

/// Several networks may share a link: the one with an address declared for this machine is meant.
fn declared_sibling<'a>(request: &Request, snapshot: &'a Snapshot, found: &'a Network) -> &'a Network {
    let machine = request.mac.and_then(|mac| snapshot.by_mac(mac));
    if found.interface.is_none() || machine.is_some_and(|m| declared_in(m, found).is_some()) {
        return found;
    }
    let siblings = snapshot.site.networks.iter().filter(|other| other.interface == found.interface);
    machine.and_then(|m| siblings.into_iter().find(|other| declared_in(m, other).is_some())).unwrap_or(found)
}

/// The address declared for a machine in a network.
#[must_use]
pub(crate) fn declared_in(machine: Machine<'_>, network: &Network) -> Option<Ipv4Addr> {
    match machine {
        Machine::Node { interface, .. } => {
            interface.addresses.iter().copied().find(|address| network.address.contains(*address))
        }
        Machine::Bmc(bmc) => bmc.address.filter(|address| network.address.contains(*address)),
    }
}

/// What the relay added, if it may be believed: a client could add it too, unless a relay is known to be
/// between (RFC 3046 section 2.1).
#[must_use]
pub(crate) fn trusted_relay_info(request: &Request, site: &Site) -> Option<RelayInfo> {
    let relayed = !request.message.giaddr.is_unspecified();
    let trusted =
        || site.network_on(&request.ingress.interface).is_some_and(|network| network.trust_option82);
    request.message.relay_info().filter(|_| relayed || trusted())
}
