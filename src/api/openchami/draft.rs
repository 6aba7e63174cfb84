//! A change in the making: a copy of the inventory on which one request works step by step, each step seeing
//! those before it. Nothing counts until `finish` hands the changes to the store.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::{BmcName, Mac, Xname};
use crate::model::snapshot::Machine;
use crate::model::{Bmc, Change, Document, DocumentKey, Inventory, Node, NodeId, Snapshot};

/// Where a hardware address stands in the inventory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Holder {
    Node(NodeId),
    Bmc(BmcName),
}

/// A change in the making.
pub(crate) struct Draft<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) next: Inventory,
    changes: Vec<Change>,
    /// Nodes whose value differs from the snapshot's: its indices do not hold for them.
    touched: BTreeSet<NodeId>,
    touched_bmcs: BTreeSet<BmcName>,
    bmcs: OnceCell<HashMap<Xname, BmcName>>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Draft<'a> {
        Draft {
            snapshot,
            next: Inventory::clone(&snapshot.inventory),
            changes: Vec::new(),
            touched: BTreeSet::new(),
            touched_bmcs: BTreeSet::new(),
            bmcs: OnceCell::new(),
        }
    }

    /// The changes, in order.
    pub(crate) fn finish(self) -> Vec<Change> {
        self.changes
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match &change {
            Change::PutNode(node) => drop(self.touched.insert(node.id)),
            Change::RemoveNode(id) => drop(self.touched.insert(*id)),
            Change::PutBmc(bmc) => self.touch_bmc(&bmc.name),
            Change::RemoveBmc(name) => self.touch_bmc(name),
            _ => {}
        }
        self.next.apply(&change);
        self.changes.push(change);
    }

    fn touch_bmc(&mut self, name: &BmcName) {
        self.touched_bmcs.insert(name.clone());
        self.bmcs = OnceCell::new();
    }

    pub(crate) fn put_node(&mut self, node: Node) {
        self.apply(Change::PutNode(Arc::new(node)));
    }

    pub(crate) fn put_bmc(&mut self, bmc: Bmc) {
        self.apply(Change::PutBmc(Arc::new(bmc)));
    }

    /// The node of this xname, declared or synthesised.
    pub(crate) fn node(&self, xname: &Xname) -> Option<Arc<Node>> {
        let made = self.touched.iter().filter_map(|id| self.next.nodes.get(id));
        let mut made = made.filter(|node| node.effective_xname() == *xname);
        let known = || self.snapshot.by_xname(xname).filter(|node| !self.touched.contains(&node.id));
        made.next().or_else(known).cloned()
    }

    /// The BMC of this xname, declared or derived from its node's.
    pub(crate) fn bmc(&self, xname: &Xname) -> Option<Arc<Bmc>> {
        let names = self
            .bmcs
            .get_or_init(|| bmc_xnames(&self.next).into_iter().map(|(name, xname)| (xname, name)).collect());
        names.get(xname).and_then(|name| self.next.bmcs.get(name)).cloned()
    }

    /// Whose this hardware address is.
    pub(crate) fn holder_of_mac(&self, mac: Mac) -> Option<Holder> {
        self.holder(
            |node| node.interfaces.iter().any(|interface| interface.mac == mac),
            |bmc| bmc.mac == Some(mac),
            self.snapshot.by_mac(mac),
        )
    }

    /// Whose this address is.
    pub(crate) fn holder_of_address(&self, address: Ipv4Addr) -> Option<Holder> {
        self.holder(
            |node| node.interfaces.iter().any(|interface| interface.addresses.contains(&address)),
            |bmc| bmc.address == Some(address),
            self.snapshot.by_address(address),
        )
    }

    fn holder(
        &self,
        has_node: impl Fn(&Node) -> bool,
        has_bmc: impl Fn(&Bmc) -> bool,
        known: Option<Machine<'_>>,
    ) -> Option<Holder> {
        let node = self.touched.iter().find(|id| self.next.nodes.get(id).is_some_and(|node| has_node(node)));
        let bmc = || {
            self.touched_bmcs.iter().find(|name| self.next.bmcs.get(*name).is_some_and(|bmc| has_bmc(bmc)))
        };
        let known = || match known? {
            Machine::Node { node, .. } => (!self.touched.contains(&node.id)).then_some(Holder::Node(node.id)),
            Machine::Bmc(bmc) => {
                (!self.touched_bmcs.contains(&bmc.name)).then(|| Holder::Bmc(bmc.name.clone()))
            }
        };
        node.map(|id| Holder::Node(*id))
            .or_else(|| bmc().map(|name| Holder::Bmc(name.clone())))
            .or_else(known)
    }

    /// True if a node or BMC bears this name.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let made = self.touched.iter().filter_map(|id| self.next.nodes.get(id));
        let known = self.snapshot.by_name(name).filter(|node| !self.touched.contains(&node.id));
        self.next.bmcs.contains_key(name)
            || known.is_some()
            || made.into_iter().any(|node| node.name.as_str() == name)
    }

    /// True if a node has this number.
    pub(crate) fn is_numbered(&self, nid: crate::model::Nid) -> bool {
        let known = self.snapshot.by_nid(nid).filter(|node| !self.touched.contains(&node.id));
        known.is_some()
            || self.touched.iter().filter_map(|id| self.next.nodes.get(id)).any(|node| node.nid == Some(nid))
    }

    /// A document's content; None if it is not there.
    pub(crate) fn document<T: DeserializeOwned>(&self, shelf: &str, id: &str) -> Option<T> {
        read(self.next.document(shelf, id)?)
    }

    pub(crate) fn put_document(&mut self, shelf: &str, id: &str, content: &impl Serialize) {
        let body = serde_json::to_string(content).expect("contents hold nothing that JSON cannot");
        let key = DocumentKey::new(shelf, id);
        self.apply(Change::PutDocument(Arc::new(Document { key, body })));
    }

    /// Removes a document; false if there was none.
    pub(crate) fn remove_document(&mut self, shelf: &str, id: &str) -> bool {
        let there = self.next.document(shelf, id).is_some();
        if there {
            self.apply(Change::RemoveDocument(DocumentKey::new(shelf, id)));
        }
        there
    }

    /// Removes every document of a shelf and tells how many there were.
    pub(crate) fn clear_shelf(&mut self, shelf: &str) -> usize {
        let keys: Vec<DocumentKey> = self.next.shelf(shelf).map(|document| document.key.clone()).collect();
        keys.iter().for_each(|key| self.apply(Change::RemoveDocument(key.clone())));
        keys.len()
    }
}

/// A document's content. Only we write documents; one that cannot be read is as good as absent, and said so.
pub(crate) fn read<T: DeserializeOwned>(document: &Document) -> Option<T> {
    serde_json::from_str(&document.body)
        .inspect_err(|error| tracing::error!(shelf = &*document.key.shelf, id = &*document.key.id, %error, "a document cannot be read"))
        .ok()
}

/// The contents of a shelf, by id.
pub(crate) fn shelf<T: DeserializeOwned>(inventory: &Inventory, shelf: &str) -> Vec<(String, T)> {
    inventory
        .shelf(shelf)
        .filter_map(|document| Some((document.key.id.to_string(), read(document)?)))
        .collect()
}

/// The xnames of BMCs: declared, else the parent of the first node that names the BMC. A BMC without either has
/// none, and is not seen by clients that think in xnames.
pub(crate) fn bmc_xnames(inventory: &Inventory) -> HashMap<BmcName, Xname> {
    let mut names: HashMap<BmcName, Xname> =
        inventory.bmcs.values().filter_map(|bmc| Some((bmc.name.clone(), bmc.xname.clone()?))).collect();
    for node in inventory.nodes.values() {
        if let Some(bmc) = node.bmc.as_ref().filter(|bmc| !names.contains_key(*bmc))
            && let Some(xname) = node.effective_xname().parent()
        {
            names.insert(bmc.clone(), xname);
        }
    }
    names
}
