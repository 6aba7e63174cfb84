//! The snapshot: one revision of declared state, compiled and indexed, immutable. Every hot path reads it
//! without a lock and sees either all of a change or nothing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::base::{BmcName, GroupName, Mac, NodeSet, SharedMap, Xname, nodeset::Term};
use crate::model::{Bmc, Interface, Inventory, Nid, Node, NodeId, Revision, Site};

/// Declared state as the daemon reads it. Copies share their indices but for what differs.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub revision: Revision,
    pub site: Arc<Site>,
    pub inventory: Arc<Inventory>,
    by_mac: SharedMap<Mac, Owner>,
    by_address: SharedMap<Ipv4Addr, Owner>,
    by_name: SharedMap<Box<str>, NodeId>,
    by_xname: SharedMap<Xname, Named>,
    by_nid: SharedMap<Nid, NodeId>,
    members: BTreeMap<GroupName, Arc<Vec<NodeId>>>,
    /// True if two things claim one value that must be unique. An index holds one of them, so it cannot be led on from here.
    clashes: bool,
}

/// Whose a hardware address or an address is; resolved within one snapshot.
#[derive(Clone, Debug)]
enum Owner {
    Node { node: Arc<Node>, interface: usize },
    Bmc(Arc<Bmc>),
}

/// Whose an xname is.
#[derive(Clone, Debug)]
enum Named {
    Node(NodeId),
    Bmc(BmcName),
}

/// A declared machine, found by one of its addresses.
#[derive(Clone, Copy, Debug)]
pub enum Machine<'a> {
    Node { node: &'a Arc<Node>, interface: &'a Interface },
    Bmc(&'a Arc<Bmc>),
}

/// Whose a value is that only one thing may have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holder<'a> {
    Node(&'a Node),
    Bmc(&'a Bmc),
}

/// A node-set term that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownTerm {
    #[error("no node is called {0:?}")]
    Node(String),
    #[error("no group is called {0:?}")]
    Group(String),
}

impl Snapshot {
    /// Compiles one revision from nothing. Pure; about 50 ms for 10,000 nodes.
    #[must_use]
    pub fn compile(revision: Revision, site: Arc<Site>, inventory: Arc<Inventory>) -> Snapshot {
        let empty = Snapshot { site, ..Snapshot::default() };
        empty.led_on(revision, inventory)
    }

    /// The next revision: what differs is taken out of the indices and put in anew, the rest is shared.
    #[must_use]
    pub fn advance(&self, revision: Revision, inventory: Arc<Inventory>) -> Snapshot {
        if self.clashes {
            return Snapshot::compile(revision, Arc::clone(&self.site), inventory);
        }
        self.clone().led_on(revision, inventory)
    }

    fn led_on(mut self, revision: Revision, next: Arc<Inventory>) -> Snapshot {
        let before = std::mem::replace(&mut self.inventory, Arc::clone(&next));
        self.revision = revision;
        let nodes = before.nodes.difference(&next.nodes);
        let bmcs = before.bmcs.difference(&next.bmcs);
        // All out before any in: two nodes may have exchanged their addresses.
        let former = nodes.put.iter().filter_map(|(_, former, _)| *former);
        former.chain(nodes.gone.iter().map(|(_, node)| *node)).for_each(|node| self.forget_node(node));
        let former = bmcs.put.iter().filter_map(|(_, former, _)| *former);
        former.chain(bmcs.gone.iter().map(|(_, bmc)| *bmc)).for_each(|bmc| self.forget_bmc(bmc));
        let groups = before.groups.difference(&next.groups);
        for (group, former, _) in groups.put {
            if former.is_none() {
                self.members.entry(group.clone()).or_default();
            }
        }
        for (group, _) in groups.gone {
            self.members.remove(group);
        }
        if before.nodes.is_empty() && before.bmcs.is_empty() {
            self.index_all(&next);
        } else {
            nodes.put.iter().for_each(|(_, _, node)| self.index_node(node));
        }
        bmcs.put.iter().for_each(|(_, _, bmc)| self.index_bmc(bmc));
        self
    }

    /// Indices of all nodes at once: sorting is faster than putting each in its place.
    fn index_all(&mut self, inventory: &Inventory) {
        let nodes = || inventory.nodes.values();
        let interfaces = || {
            nodes().flat_map(|node| {
                (0..).zip(&node.interfaces).map(move |(index, declared)| {
                    (declared, Owner::Node { node: Arc::clone(node), interface: index })
                })
            })
        };
        let macs: Vec<_> = interfaces().map(|(declared, owner)| (declared.mac, owner)).collect();
        let addresses: Vec<_> = interfaces()
            .flat_map(|(declared, owner)| declared.addresses.iter().map(move |at| (*at, owner.clone())))
            .collect();
        let nids: Vec<_> = nodes().filter_map(|node| Some((node.nid?, node.id))).collect();
        let counts = [macs.len(), addresses.len(), inventory.nodes.len(), inventory.nodes.len(), nids.len()];
        self.by_mac = macs.into_iter().collect();
        self.by_address = addresses.into_iter().collect();
        self.by_name = nodes().map(|node| (node.name.as_str().into(), node.id)).collect();
        self.by_xname = nodes().map(|node| (node.effective_xname(), Named::Node(node.id))).collect();
        self.by_nid = nids.into_iter().collect();
        let found = [
            self.by_mac.len(),
            self.by_address.len(),
            self.by_name.len(),
            self.by_xname.len(),
            self.by_nid.len(),
        ];
        self.clashes |= counts != found;
        let mut members: BTreeMap<&GroupName, Vec<NodeId>> = BTreeMap::new();
        for (group, node) in nodes().flat_map(|node| node.groups.iter().map(move |group| (group, node))) {
            members.entry(group).or_default().push(node.id);
        }
        self.members.extend(members.into_iter().map(|(group, ids)| (group.clone(), Arc::new(ids))));
    }

    fn forget_node(&mut self, node: &Arc<Node>) {
        for declared in &node.interfaces {
            for address in &declared.addresses {
                self.by_address.remove(address);
            }
            self.by_mac.remove(&declared.mac);
        }
        self.by_name.remove(node.name.as_str());
        self.by_xname.remove(&node.effective_xname());
        node.nid.and_then(|nid| self.by_nid.remove(&nid));
        for group in &node.groups {
            let members = self.members.get_mut(group);
            if let Some((members, there)) =
                members.and_then(|members| members.binary_search(&node.id).ok().map(|there| (members, there)))
            {
                Arc::make_mut(members).remove(there);
            }
        }
    }

    fn forget_bmc(&mut self, bmc: &Bmc) {
        bmc.mac.and_then(|mac| self.by_mac.remove(&mac));
        bmc.address.and_then(|address| self.by_address.remove(&address));
        bmc.xname.as_ref().and_then(|xname| self.by_xname.remove(xname));
    }

    fn index_node(&mut self, node: &Arc<Node>) {
        let mut clash = false;
        for (interface, declared) in node.interfaces.iter().enumerate() {
            let owner = Owner::Node { node: Arc::clone(node), interface };
            for address in &declared.addresses {
                clash |= self.by_address.insert(*address, owner.clone()).is_some();
            }
            clash |= self.by_mac.insert(declared.mac, owner).is_some();
        }
        clash |= self.by_name.insert(node.name.as_str().into(), node.id).is_some();
        clash |= self.by_xname.insert(node.effective_xname(), Named::Node(node.id)).is_some();
        clash |= self.inventory.bmcs.contains_key(node.name.as_str());
        clash |= node.nid.is_some_and(|nid| self.by_nid.insert(nid, node.id).is_some());
        self.clashes |= clash;
        for group in &node.groups {
            let members = self.members.entry(group.clone()).or_default();
            if let Err(free) = members.binary_search(&node.id) {
                Arc::make_mut(members).insert(free, node.id);
            }
        }
    }

    fn index_bmc(&mut self, bmc: &Arc<Bmc>) {
        let owner = Owner::Bmc(Arc::clone(bmc));
        let mut clash = self.by_name.contains_key(bmc.name.as_str());
        clash |= bmc.mac.is_some_and(|mac| self.by_mac.insert(mac, owner.clone()).is_some());
        clash |= bmc.address.is_some_and(|address| self.by_address.insert(address, owner).is_some());
        let named = || Named::Bmc(bmc.name.clone());
        clash |= bmc.xname.as_ref().is_some_and(|own| self.by_xname.insert(own.clone(), named()).is_some());
        self.clashes |= clash;
    }

    #[must_use]
    pub fn by_mac(&self, mac: Mac) -> Option<Machine<'_>> {
        self.by_mac.get(&mac).and_then(Owner::machine)
    }

    #[must_use]
    pub fn by_address(&self, address: Ipv4Addr) -> Option<Machine<'_>> {
        self.by_address.get(&address).and_then(Owner::machine)
    }

    /// The node behind an address, as a connection shows it.
    #[must_use]
    pub fn node_behind(&self, peer: IpAddr) -> Option<&Arc<Node>> {
        let IpAddr::V4(address) = peer.to_canonical() else { return None };
        match self.by_address(address)? {
            Machine::Node { node, .. } => Some(node),
            Machine::Bmc(_) => None,
        }
    }

    /// True if the address is declared for a machine, or is the head's own.
    #[must_use]
    pub fn is_reserved(&self, address: Ipv4Addr) -> bool {
        self.by_address.contains_key(&address)
            || self
                .site
                .networks
                .iter()
                .any(|network| network.head() == Some(address) || network.routers.contains(&address))
    }

    /// True if two things claim one value: what the indices say is then not all.
    #[must_use]
    pub(crate) fn has_clashes(&self) -> bool {
        self.clashes
    }

    /// Whose an xname is, BMCs' own included.
    pub(crate) fn xname_holder(&self, xname: &Xname) -> Option<Holder<'_>> {
        match self.by_xname.get(xname)? {
            Named::Node(id) => self.node(*id).map(|node| Holder::Node(node)),
            Named::Bmc(name) => self.inventory.bmcs.get(name).map(|bmc| Holder::Bmc(bmc)),
        }
    }

    /// Who has a name, as it is written: a node, a BMC, or none.
    pub(crate) fn name_holder(&self, name: &str) -> Option<Holder<'_>> {
        let node = self.by_name.get(name).and_then(|id| self.node(*id));
        let bmc = || self.inventory.bmcs.get(name);
        node.map(|node| Holder::Node(node)).or_else(|| bmc().map(|bmc| Holder::Bmc(bmc)))
    }

    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.inventory.nodes.get(&id)
    }

    #[must_use]
    pub fn by_nid(&self, nid: Nid) -> Option<&Arc<Node>> {
        self.by_nid.get(&nid).and_then(|id| self.node(*id))
    }

    #[must_use]
    pub fn by_xname(&self, xname: &Xname) -> Option<&Arc<Node>> {
        match self.by_xname.get(xname)? {
            Named::Node(id) => self.node(*id),
            Named::Bmc(_) => None,
        }
    }

    /// Finds a node by its name, with or without the cluster's domain; case does not matter.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Node>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let short = name
            .strip_suffix(self.site.domain.as_str())
            .and_then(|rest| rest.strip_suffix('.'))
            .unwrap_or(&name);
        self.by_name.get(short).and_then(|id| self.node(*id))
    }

    /// Finds a node by anything a person calls it: name, xname, MAC.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<&Arc<Node>> {
        self.by_name(text).or_else(|| text.parse().ok().and_then(|xname| self.by_xname(&xname))).or_else(
            || match text.parse().ok().and_then(|mac| self.by_mac(mac)) {
                Some(Machine::Node { node, .. }) => Some(node),
                Some(Machine::Bmc(_)) | None => None,
            },
        )
    }

    /// The members of a group in the order of their numbers; None if there is no such group.
    #[must_use]
    pub fn members(&self, group: &GroupName) -> Option<&[NodeId]> {
        self.members.get(group).map(|members| members.as_slice())
    }

    /// Evaluates a node set.
    ///
    /// # Errors
    /// The first name or group that is unknown.
    pub fn resolve(&self, set: &NodeSet) -> Result<BTreeSet<NodeId>, UnknownTerm> {
        set.evaluate(|term| match term {
            Term::All => Ok(self.inventory.nodes.keys().copied().collect()),
            Term::Group(group) => self
                .members(group)
                .map(|members| members.iter().copied().collect())
                .ok_or_else(|| UnknownTerm::Group(group.to_string())),
            Term::Names(names) => names
                .iter()
                .map(|name| {
                    self.find(name).map(|node| node.id).ok_or_else(|| UnknownTerm::Node(name.clone()))
                })
                .collect(),
        })
    }
}

impl Owner {
    fn machine(&self) -> Option<Machine<'_>> {
        match self {
            Owner::Node { node, interface } => {
                Some(Machine::Node { node, interface: node.interfaces.get(*interface)? })
            }
            Owner::Bmc(bmc) => Some(Machine::Bmc(bmc)),
        }
    }
}

impl Machine<'_> {
    /// The name under which DNS knows the machine.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Machine::Node { node, .. } => node.name.as_str(),
            Machine::Bmc(bmc) => bmc.name.as_str(),
        }
    }
}

/// Where readers find the current snapshot and the publisher leaves the next. Reading takes no lock.
#[derive(Debug, Default)]
pub struct SnapshotCell(ArcSwap<Snapshot>);

impl SnapshotCell {
    #[must_use]
    pub fn new(snapshot: Snapshot) -> SnapshotCell {
        SnapshotCell(ArcSwap::from_pointee(snapshot))
    }

    /// The current snapshot. Load once per request; do not hold it across unrelated waits.
    #[must_use]
    pub fn load(&self) -> Arc<Snapshot> {
        self.0.load_full()
    }

    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        self.0.store(snapshot);
    }
}

#[cfg(test)]
mod tests;
