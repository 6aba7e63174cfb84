//! Network interfaces of nodes.

use std::net::Ipv4Addr;

use crate::base::Mac;

/// A port of a node. Its addresses are reserved for it alone, whether it is seen or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// What the site calls it (`management`, `hsn0` …).
    pub name: Option<String>,
    pub mac: Mac,
    /// Declared addresses, at most one for each network; without any, the network's pool gives one.
    pub addresses: Vec<Ipv4Addr>,
}
