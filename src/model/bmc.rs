//! Management controllers of nodes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::base::{BmcName, Mac, Xname};

/// A board management controller. DHCP and DNS know it like a node, but it boots nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bmc {
    pub name: BmcName,
    pub xname: Option<Xname>,
    pub mac: Option<Mac>,
    pub address: Option<Ipv4Addr>,
    /// The name under which the site's own DNS knows it.
    pub fqdn: Option<String>,
    pub annotations: BTreeMap<String, String>,
}
