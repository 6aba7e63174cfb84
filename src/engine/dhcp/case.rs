//! One request with everything its decision rests on.

use std::net::Ipv4Addr;

use crate::base::Timestamp;
use crate::engine::dhcp::{NetworkRule, Observed, Reason, Request, network};
use crate::model::snapshot::Machine;
use crate::model::{BootPolicy, DhcpMode, LeaseKey, Network, Node, Sighting, Snapshot, UnknownPolicy};

/// A request whose client, network and head are known.
pub(crate) struct Case<'a> {
    pub(crate) request: &'a Request,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) observed: &'a Observed<'a>,
    pub(crate) now: Timestamp,
    pub(crate) network: &'a Network,
    pub(crate) network_rule: NetworkRule,
    /// Our address as this client reaches it.
    pub(crate) head: Ipv4Addr,
    /// Our option 54: `head`, unless the relay stands in for us (RFC 5107).
    pub(crate) server_id: Ipv4Addr,
    pub(crate) key: LeaseKey,
    /// None: not declared.
    pub(crate) machine: Option<Machine<'a>>,
}

impl<'a> Case<'a> {
    /// # Errors
    /// The client, its network or our address there cannot be told.
    pub(crate) fn open(
        request: &'a Request,
        snapshot: &'a Snapshot,
        observed: &'a Observed<'a>,
        now: Timestamp,
    ) -> Result<Case<'a>, Reason> {
        let key = request.key().ok_or(Reason::NoIdentity)?;
        let (network, network_rule) = network::locate(request, snapshot).ok_or(Reason::NoNetwork)?;
        if network.dhcp == DhcpMode::Off {
            return Err(Reason::DhcpOff);
        }
        let head = snapshot.site.head_for(network).ok_or(Reason::NoHead)?;
        let info = network::trusted_relay_info(request, &snapshot.site);
        let server_id = info.and_then(|info| info.server_override()).unwrap_or(head);
        let machine = request.mac.and_then(|mac| snapshot.by_mac(mac));
        Ok(Case { request, snapshot, observed, now, network, network_rule, head, server_id, key, machine })
    }

    pub(crate) fn node(&self) -> Option<&'a Node> {
        match self.machine {
            Some(Machine::Node { node, .. }) => Some(node),
            Some(Machine::Bmc(_)) | None => None,
        }
    }

    /// Why the site does not want this machine answered at all.
    pub(crate) fn unwanted(&self) -> Option<Reason> {
        let unknown_ignored = match self.network.unknown {
            UnknownPolicy::Ignore => true,
            UnknownPolicy::Hold | UnknownPolicy::Discover | UnknownPolicy::Boot(_) => false,
        };
        match self.machine {
            None => unknown_ignored.then_some(Reason::UnknownIgnored),
            Some(Machine::Bmc(_)) => None,
            Some(Machine::Node { node, .. }) => match node.policy {
                BootPolicy::Ignore => Some(Reason::NodeIgnored),
                BootPolicy::Serve | BootPolicy::LocalDisk => None,
            },
        }
    }

    /// True if `id` names this head: any of its addresses, or the one a relay gave out for it.
    pub(crate) fn is_ours(&self, id: Ipv4Addr) -> bool {
        let site = &self.snapshot.site;
        id == self.server_id
            || site.head == Some(id)
            || site.networks.iter().any(|network| network.head() == Some(id))
    }

    /// What is seen of an undeclared machine; none of a declared one.
    pub(crate) fn sighting(&self) -> Option<Sighting> {
        let mac = self.request.mac.filter(|_| self.machine.is_none())?;
        let message = &self.request.message;
        let circuit = message.relay_info().and_then(|info| info.circuit().map(printable));
        Some(Sighting {
            mac,
            first: self.now,
            last: self.now,
            requests: 1,
            network: self.network.name.clone(),
            vendor_class: message.vendor_class().map(|text| printable(text.as_bytes())),
            arch: self.request.arch,
            firmware: self.request.firmware,
            uuid: message.uuid(),
            circuit,
            host_name: message.host_name().map(|text| printable(text.as_bytes())),
        })
    }
}

/// The text, if it is plain ASCII; else its hex digits.
pub(crate) fn printable(octets: &[u8]) -> String {
    if octets.iter().all(|octet| octet.is_ascii_graphic() || *octet == b' ') {
        return String::from_utf8_lossy(octets).into_owned();
    }
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
