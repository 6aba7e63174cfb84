//! Which names are ours, and what stands behind them.

use std::net::{IpAddr, Ipv4Addr};

use crate::base::{Ipv4Net, Xname};
use crate::model::snapshot::{Holder, Machine};
use crate::model::{Network, Node, Snapshot};
use crate::wire::dns::Name;

/// What stands at a name of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The zone itself.
    Apex,
    /// A machine; without addresses it is known but has none declared.
    Host(Vec<Ipv4Addr>),
    /// A machine's address: its short name.
    Pointer(String),
    /// Nothing by itself, but names below it may exist.
    Empty,
    /// Nothing.
    Absent,
}

/// Finds a name; None if it lies in no zone of ours. The zone's name comes with it.
#[must_use]
pub fn locate(name: &Name, site: &Snapshot, asker: IpAddr) -> Option<(Name, Place)> {
    let text = name.to_ascii().to_ascii_lowercase();
    let text = text.trim_end_matches('.');
    let domain = site.site.domain.as_str();
    if text == domain {
        return Some((fqdn(domain)?, Place::Apex));
    }
    if let Some(short) = text.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')) {
        let found = host(short, site, asker).map(|addresses| near(addresses, site, asker));
        return Some((fqdn(domain)?, found.map_or(Place::Absent, Place::Host)));
    }
    reverse(text.strip_suffix(".in-addr.arpa")?, site)
}

/// The addresses of whatever bears this short name.
fn host(short: &str, site: &Snapshot, asker: IpAddr) -> Option<Vec<Ipv4Addr>> {
    if let Some(node) = site.by_name(short) {
        return Some(addresses(node));
    }
    if let Some(bmc) = site.inventory.bmcs.get(short) {
        return Some(bmc.address.into_iter().collect());
    }
    if short == "head" || short == site.site.name {
        return Some(head(site, asker));
    }
    if let Ok(xname) = short.parse::<Xname>() {
        return by_xname(&xname, site);
    }
    // Hyphens may stand in both parts, so each may be the border.
    short.match_indices('-').find_map(|(at, _)| {
        let node = site.by_name(short.get(..at)?)?;
        let suffix = short.get(at.saturating_add(1)..)?;
        let interface = node.interfaces.iter().find(|interface| {
            interface.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(suffix))
        })?;
        Some(interface.addresses.clone())
    })
}

/// Nodes by declared or synthesised xname; BMCs by their own.
fn by_xname(xname: &Xname, site: &Snapshot) -> Option<Vec<Ipv4Addr>> {
    Some(match site.xname_holder(xname)? {
        Holder::Node(node) => addresses(node),
        Holder::Bmc(bmc) => bmc.address.into_iter().collect(),
    })
}

fn addresses(node: &Node) -> Vec<Ipv4Addr> {
    node.interfaces.iter().flat_map(|interface| interface.addresses.iter().copied()).collect()
}

/// The head's addresses: the one that the asker reaches directly, else all.
fn head(site: &Snapshot, asker: IpAddr) -> Vec<Ipv4Addr> {
    let direct = network_of(asker, site).and_then(|network| site.site.head_for(network));
    match direct {
        Some(address) => vec![address],
        None => {
            let mut all: Vec<Ipv4Addr> = site.site.networks.iter().filter_map(Network::head).collect();
            all.extend(site.site.head.filter(|address| !all.contains(address)));
            all
        }
    }
}

fn network_of(asker: IpAddr, site: &Snapshot) -> Option<&Network> {
    match asker {
        IpAddr::V4(asker) => site.site.network_of(asker),
        IpAddr::V6(_) => None,
    }
}

/// Of several addresses those on the asker's own network, if there are any.
fn near(addresses: Vec<Ipv4Addr>, site: &Snapshot, asker: IpAddr) -> Vec<Ipv4Addr> {
    let Some(network) = network_of(asker, site) else { return addresses };
    let here: Vec<Ipv4Addr> =
        addresses.iter().copied().filter(|address| network.address.contains(*address)).collect();
    if here.is_empty() { addresses } else { here }
}

/// `reversed` is the name in front of `.in-addr.arpa`.
fn reverse(reversed: &str, site: &Snapshot) -> Option<(Name, Place)> {
    let labels: Vec<&str> = reversed.split('.').collect();
    let mut octets = [0_u8; 4];
    for (octet, label) in octets.iter_mut().zip(labels.iter().rev()) {
        *octet = label.parse().ok()?;
    }
    let address = Ipv4Addr::from(octets);
    let network = site.site.networks.iter().map(|network| network.address).find(|net| net.contains(address));
    let is_known = labels.len() == 4 && site.is_reserved(address);
    // Addresses of machines outside every network of ours: their zone is theirs alone.
    let net = network.or_else(|| is_known.then(|| Ipv4Net::new(address, 32)).flatten())?;
    let depth = usize::from(net.prefix()).saturating_div(8).max(1);
    let zone = labels.get(labels.len().checked_sub(depth)?..)?.join(".");
    let place = match labels.len() {
        length if length == depth && depth < 4 => Place::Apex,
        length if length < 4 => Place::Empty,
        4 => pointer(address, site),
        _ => Place::Absent,
    };
    Some((fqdn(&format!("{zone}.in-addr.arpa"))?, place))
}

fn pointer(address: Ipv4Addr, site: &Snapshot) -> Place {
    let is_head = site.site.head == Some(address)
        || site.site.networks.iter().any(|network| network.head() == Some(address));
    match site.by_address(address) {
        Some(machine @ (Machine::Node { .. } | Machine::Bmc(_))) => Place::Pointer(machine.name().to_owned()),
        None if is_head => Place::Pointer("head".to_owned()),
        None => Place::Absent,
    }
}

fn fqdn(text: &str) -> Option<Name> {
    Name::from_ascii(format!("{text}.")).ok()
}
