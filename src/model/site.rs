//! The site: what the configuration says about the cluster. Fixed while the daemon runs.

use std::net::Ipv4Addr;

use crate::base::{Digest, NetworkName};
use crate::model::Network;

/// The configured part of declared state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// The cluster's name.
    pub name: String,
    /// Prefix of synthesised node names: `nid` gives `nid001`.
    pub short_name: String,
    /// DNS domain of the nodes, lower case, without a trailing dot.
    pub domain: String,
    /// At most one network for each subnet; the order is the configuration's.
    pub networks: Vec<Network>,
    /// Port of plain HTTP by which nodes reach the head.
    pub http_port: u16,
    /// Head address for networks that are only reached through relays and for `explain` without a network.
    pub head: Option<Ipv4Addr>,
    /// The head takes machines' logs at syslog's port: iPXE is told so.
    pub takes_logs: bool,
    /// Kernel parameters that every Linux target gets in front of its own.
    pub kernel_params: String,
    /// None: loaders fetch everything over plain HTTP.
    pub loader_tls: Option<LoaderTls>,
}

/// How loaders fetch scripts, kernels and initrds over TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoaderTls {
    /// Port of HTTPS by which they reach the head.
    pub port: u16,
    /// False: only a loader that can, and that was told whom to trust.
    pub always: bool,
    /// SHA-256 of the root certificates that iPXE is told to trust. They change when an authority is replaced.
    pub roots: Vec<Digest>,
}

impl Site {
    #[must_use]
    pub fn network(&self, name: &NetworkName) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == *name)
    }

    /// The network whose subnet holds `address`.
    #[must_use]
    pub fn network_of(&self, address: Ipv4Addr) -> Option<&Network> {
        self.networks.iter().find(|network| network.address.contains(address))
    }

    /// The network that is attached to a link of the head.
    #[must_use]
    pub fn network_on(&self, interface: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.interface.as_deref() == Some(interface))
    }

    /// The head's address as machines on `network` reach it.
    #[must_use]
    pub fn head_for(&self, network: &Network) -> Option<Ipv4Addr> {
        network.head().or(self.head).or_else(|| self.networks.iter().find_map(Network::head))
    }
}

impl Default for Site {
    /// A site without networks, for tests and for `explain` without a configuration.
    fn default() -> Self {
        Site {
            name: "demo".to_owned(),
            short_name: "nid".to_owned(),
            domain: "cluster.internal".to_owned(),
            networks: Vec::new(),
            http_port: 8081,
            head: None,
            takes_logs: false,
            kernel_params: String::new(),
            loader_tls: None,
        }
    }
}
