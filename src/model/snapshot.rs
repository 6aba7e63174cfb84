//! The snapshot: one revision of declared state, compiled and indexed, immutable. Every hot path reads it
//! without a lock and sees either all of a change or nothing of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::base::{GroupName, Mac, NodeSet, Xname, nodeset::Term};
use crate::model::{Bmc, Interface, Inventory, Nid, Node, NodeId, Revision, Site};

/// Declared state as the daemon reads it.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub revision: Revision,
    pub site: Arc<Site>,
    pub inventory: Arc<Inventory>,
    by_mac: HashMap<Mac, Owner>,
    by_address: HashMap<Ipv4Addr, Owner>,
    by_name: HashMap<Box<str>, NodeId>,
    by_xname: HashMap<Xname, NodeId>,
    by_nid: HashMap<Nid, NodeId>,
    members: BTreeMap<GroupName, Vec<NodeId>>,
}

/// Whose a hardware address or an address is; resolved within one snapshot.
#[derive(Clone, Debug)]
enum Owner {
    Node { node: Arc<Node>, interface: usize },
    Bmc(Arc<Bmc>),
}

/// A declared machine, found by one of its addresses.
#[derive(Clone, Copy, Debug)]
pub enum Machine<'a> {
    Node { node: &'a Arc<Node>, interface: &'a Interface },
    Bmc(&'a Arc<Bmc>),
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
    /// Compiles one revision. Pure; about 50 ms for 10,000 nodes.
    #[must_use]
    pub fn compile(revision: Revision, site: Arc<Site>, inventory: Arc<Inventory>) -> Snapshot {
        // Sized at once: growing step by step would move every entry several times.
        let nodes = inventory.nodes.len();
        let machines = nodes.saturating_add(inventory.bmcs.len());
        let mut snapshot = Snapshot {
            revision,
            site,
            inventory: Arc::clone(&inventory),
            by_mac: HashMap::with_capacity(machines),
            by_address: HashMap::with_capacity(machines),
            by_name: HashMap::with_capacity(nodes),
            by_xname: HashMap::with_capacity(nodes),
            by_nid: HashMap::with_capacity(nodes),
            members: BTreeMap::new(),
        };
        for node in inventory.nodes.values() {
            snapshot.index_node(node);
        }
        for bmc in inventory.bmcs.values() {
            let owner = Owner::Bmc(Arc::clone(bmc));
            bmc.mac.and_then(|mac| snapshot.by_mac.insert(mac, owner.clone()));
            bmc.address.and_then(|address| snapshot.by_address.insert(address, owner));
        }
        for group in inventory.groups.keys() {
            snapshot.members.entry(group.clone()).or_default();
        }
        snapshot
    }

    fn index_node(&mut self, node: &Arc<Node>) {
        for (interface, declared) in node.interfaces.iter().enumerate() {
            let owner = Owner::Node { node: Arc::clone(node), interface };
            for address in &declared.addresses {
                self.by_address.insert(*address, owner.clone());
            }
            self.by_mac.insert(declared.mac, owner);
        }
        self.by_name.insert(node.name.as_str().into(), node.id);
        self.by_xname.insert(node.effective_xname(), node.id);
        node.nid.and_then(|nid| self.by_nid.insert(nid, node.id));
        for group in &node.groups {
            self.members.entry(group.clone()).or_default().push(node.id);
        }
    }

    #[must_use]
    pub fn by_mac(&self, mac: Mac) -> Option<Machine<'_>> {
        self.by_mac.get(&mac).and_then(Owner::machine)
    }

    #[must_use]
    pub fn by_address(&self, address: Ipv4Addr) -> Option<Machine<'_>> {
        self.by_address.get(&address).and_then(Owner::machine)
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
        self.by_xname.get(xname).and_then(|id| self.node(*id))
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
        self.members.get(group).map(Vec::as_slice)
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
