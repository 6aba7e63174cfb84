//! Networks: addressed segments, how DHCP behaves on them, and their pools.

use std::net::Ipv4Addr;

use crate::base::{Ipv4Net, Ipv4Range, Millis, NetworkName, ProfileName};

/// How the head speaks DHCP on a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DhcpMode {
    /// The only server: gives addresses, says no to wrong ones.
    Authoritative,
    /// Beside another server: gives boot data only (ProxyDHCP).
    Proxy,
    Off,
}

/// What an undeclared machine gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UnknownPolicy {
    /// A short lease and an iPXE loop that asks again until somebody declares the node.
    Hold,
    /// Nothing at all.
    Ignore,
    /// A short lease and the discovery target: the profile named `discover`.
    Discover,
    /// The named profile.
    Boot(ProfileName),
}

/// One addressed segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    pub name: NetworkName,
    /// The head's link to it; none if it is only reached through DHCP relays.
    pub interface: Option<String>,
    /// The segment. Its address part is the head's own there, if `interface` is given.
    pub address: Ipv4Net,
    /// True if the head sets `address` on `interface` itself.
    pub manage: bool,
    pub dhcp: DhcpMode,
    /// Dynamic addresses, apart from each other.
    pub ranges: Vec<Ipv4Range>,
    pub unknown: UnknownPolicy,
    pub routers: Vec<Ipv4Addr>,
    /// Name servers for clients; empty: the head itself.
    pub dns: Vec<Ipv4Addr>,
    pub ntp: Vec<Ipv4Addr>,
    /// Domain for clients; none: the cluster's.
    pub domain: Option<String>,
    pub mtu: Option<u16>,
    /// Octets per second of images to this network; none: as fast as it goes.
    pub image_rate: Option<u64>,
    /// Lease of a declared node's operating system.
    pub lease: Millis,
    /// Lease of an unknown machine, and of firmware and loaders.
    pub short_lease: Millis,
    /// True if option 82 is believed although no relay's address stands in the request.
    pub trust_option82: bool,
}

impl Network {
    /// The head's own address on this network.
    #[must_use]
    pub fn head(&self) -> Option<Ipv4Addr> {
        self.interface.is_some().then(|| self.address.address())
    }

    #[must_use]
    pub fn is_dynamic(&self, address: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }
}

impl std::fmt::Display for UnknownPolicy {
    /// As the configuration spells it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            UnknownPolicy::Hold => f.write_str("hold"),
            UnknownPolicy::Ignore => f.write_str("ignore"),
            UnknownPolicy::Discover => f.write_str("discover"),
            UnknownPolicy::Boot(profile) => write!(f, "boot {profile}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::base::{Ipv4Net, Millis};
    use crate::model::{DhcpMode, Network, UnknownPolicy};

    /// The network `boot`, 192.0.2.254/24 on `eth1`, with this dynamic range (empty: none).
    pub(crate) fn network(range: &str) -> Network {
        Network {
            name: "boot".parse().unwrap(),
            interface: Some("eth1".to_owned()),
            address: "192.0.2.254/24".parse::<Ipv4Net>().unwrap(),
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
            image_rate: None,
            short_lease: Millis::from_secs(300),
            trust_option82: false,
        }
    }
}
