//! Which of the things that are there a document means.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::base::{BmcName, Mac, NodeName, Xname};
use crate::engine::inventory::Document;
use crate::engine::inventory::document::{BmcDeclaration, Interfaces, NodeDeclaration};
use crate::model::{Inventory, NodeId};

/// Existing nodes by what a document may know them by: name, else xname, else a hardware address.
pub(crate) struct Nodes<'a> {
    names: BTreeMap<&'a NodeName, NodeId>,
    xnames: BTreeMap<Xname, NodeId>,
    macs: BTreeMap<Mac, NodeId>,
    /// Nodes that the document calls by their names: no other entry can mean them.
    called: BTreeSet<NodeId>,
}

impl<'a> Nodes<'a> {
    pub(crate) fn of(inventory: &'a Inventory, document: &Document) -> Nodes<'a> {
        let nodes = || inventory.nodes.values();
        let macs = nodes().flat_map(|node| node.interfaces.iter().map(|interface| (interface.mac, node.id)));
        let names: BTreeMap<_, _> = nodes().map(|node| (&node.name, node.id)).collect();
        let called =
            document.nodes.iter().filter_map(|declared| names.get(&declared.name).copied()).collect();
        Nodes {
            xnames: nodes().map(|node| (node.effective_xname(), node.id)).collect(),
            macs: macs.collect(),
            called,
            names,
        }
    }

    pub(crate) fn find(&self, declared: &NodeDeclaration) -> Option<NodeId> {
        let by_xname = || self.xnames.get(declared.xname.as_ref()?.as_ref()?);
        let ports = declared.interfaces.as_ref().map_or(&[][..], Interfaces::as_slice);
        let by_mac = || ports.iter().find_map(|port| self.macs.get(&port.mac));
        let free = |id: &&NodeId| !self.called.contains(id);
        self.names
            .get(&declared.name)
            .or_else(|| by_xname().filter(free))
            .or_else(|| by_mac().filter(free))
            .copied()
    }
}

/// Existing BMCs by what a document may know them by: name, else hardware address, xname or address.
pub(crate) struct Bmcs<'a> {
    inventory: &'a Inventory,
    macs: BTreeMap<Mac, &'a BmcName>,
    xnames: BTreeMap<&'a Xname, &'a BmcName>,
    addresses: BTreeMap<Ipv4Addr, &'a BmcName>,
    /// Names that the document gives: no other entry can mean those BMCs.
    called: BTreeSet<&'a BmcName>,
}

impl<'a> Bmcs<'a> {
    pub(crate) fn of(inventory: &'a Inventory, document: &'a Document) -> Bmcs<'a> {
        let bmcs = || inventory.bmcs.values();
        let named = document.bmcs.iter().filter(|declared| declared.named);
        Bmcs {
            inventory,
            macs: bmcs().filter_map(|bmc| Some((bmc.mac?, &bmc.name))).collect(),
            xnames: bmcs().filter_map(|bmc| Some((bmc.xname.as_ref()?, &bmc.name))).collect(),
            addresses: bmcs().filter_map(|bmc| Some((bmc.address?, &bmc.name))).collect(),
            called: named.map(|declared| &declared.name).collect(),
        }
    }

    /// The name under which the inventory keeps a declared BMC today.
    pub(crate) fn find(&self, declared: &BmcDeclaration) -> Option<&'a BmcName> {
        let by_name = || self.inventory.bmcs.get_key_value(&declared.name).map(|(name, _)| name);
        let by_mac = || self.macs.get(&declared.mac.flatten()?).copied();
        let by_xname = || self.xnames.get(declared.xname.as_ref()?.as_ref()?).copied();
        let by_address = || self.addresses.get(&declared.address.flatten()?).copied();
        let free = |name: &&BmcName| !self.called.contains(*name);
        let otherwise = || {
            let by_mac = by_mac().filter(free);
            by_mac.or_else(|| by_xname().filter(free)).or_else(|| by_address().filter(free))
        };
        // A made-up name says less than anything that was measured.
        if declared.named { by_name().or_else(otherwise) } else { otherwise().or_else(by_name) }
    }
}
