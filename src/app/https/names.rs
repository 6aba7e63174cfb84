//! The names and addresses of the head, as they stand in its certificates, and those that its authority may ever put
//! there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::app::config::Config;
use crate::app::config::door::is_dns_name;
use crate::base::Cidr;
use crate::transport::vault::Scope;

/// Names and addresses of one certificate: a head with more addresses than that is a router.
const NAMES_MAX: usize = 100;

/// Every name and address by which clients reach the head.
pub(crate) fn names(config: &Config) -> BTreeSet<String> {
    let mut names = dns_names(config);
    let site = &config.site;
    names.extend(config.tls.names.iter().cloned());
    let networks = site.networks.iter().filter_map(crate::model::Network::head).chain(site.head);
    let listeners = config.https.iter().map(|address| address.ip().to_canonical());
    let own = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|link| address_of(link.address?));
    let addresses = networks.map(IpAddr::V4).chain(listeners).chain(own);
    for address in addresses.filter(|address| is_reachable(*address)) {
        if names.len() < NAMES_MAX {
            names.insert(address.to_string());
        }
    }
    names
}

/// What the head's authority is made for: the cluster's domains, the head's names, the networks that it serves, and
/// those that it is a part of.
pub(crate) fn scope(config: &Config) -> Scope {
    let site = &config.site;
    let mut names = dns_names(config);
    let domains = site.networks.iter().filter_map(|network| network.domain.clone());
    names.extend(domains.filter(|name| is_dns_name(name)));
    let (addresses, more): (Vec<_>, Vec<_>) =
        config.tls.names.iter().cloned().partition(|name| name.parse::<IpAddr>().is_ok());
    names.extend(more);
    let served = site
        .networks
        .iter()
        .filter_map(|network| Cidr::new(network.address.network().into(), network.address.prefix()));
    let single = |address: IpAddr| Cidr::new(address, if address.is_ipv4() { 32 } else { 128 });
    let listeners = config.https.iter().map(|address| address.ip().to_canonical());
    let named = addresses.iter().filter_map(|address| address.parse().ok());
    let heads = site.head.map(IpAddr::V4).into_iter().chain(listeners).chain(named);
    let own = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|link| {
        let mask = link.netmask.and_then(address_of);
        let prefix = mask.map(|mask| match mask {
            IpAddr::V4(mask) => mask.to_bits().count_ones(),
            IpAddr::V6(mask) => mask.to_bits().count_ones(),
        });
        Cidr::new(address_of(link.address?)?, u8::try_from(prefix?).ok()?)
    });
    let mut networks: Vec<Cidr> = Vec::new();
    let singles = heads.filter(|address| is_reachable(*address)).filter_map(single);
    for network in served.chain(own.filter(|own| is_reachable(own.address()))).chain(singles) {
        // An authority for every address would be no bound at all.
        let known = networks
            .iter()
            .any(|known| known.prefix() <= network.prefix() && known.contains(network.address()));
        if network.prefix() > 0 && !known && networks.len() < NAMES_MAX {
            networks.push(network);
        }
    }
    Scope { names, networks }
}

fn dns_names(config: &Config) -> BTreeSet<String> {
    let site = &config.site;
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    [site.domain.clone(), site.name.clone(), host, "localhost".to_owned()]
        .into_iter()
        .map(|name| name.to_ascii_lowercase())
        .filter(|name| is_dns_name(name))
        .collect()
}

fn address_of(address: nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// False for addresses that a client cannot ask for as such.
fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_unicast_link_local(),
    }
}
