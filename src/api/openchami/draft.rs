//! A change in the making: a copy of the inventory on which one request works step by step, each step seeing
//! those before it. Nothing counts until `finish` hands the changes to the store.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::{BmcName, Mac, Xname};
use crate::model::snapshot::Machine;
use crate::model::{Bmc, Change, Document, DocumentKey, Inventory, Nid, Node, NodeId, Snapshot};

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
    /// What differs from the snapshot, by what it is found by; the snapshot's indices do not hold for it.
    made: Made,
    bmcs: OnceCell<HashMap<Xname, BmcName>>,
    /// True if some BMC may be known by the xname of its nodes.
    some_derived: bool,
    moves: Moves,
}

/// Who came and went, for what hangs on them.
#[derive(Default)]
pub(crate) struct Moves {
    pub(crate) arrived: BTreeSet<NodeId>,
    pub(crate) departed: Vec<Arc<Node>>,
    pub(crate) new_bmcs: BTreeSet<BmcName>,
    pub(crate) lost_bmcs: BTreeSet<BmcName>,
}

/// Indices of the nodes and BMCs that a draft has written.
#[derive(Default)]
struct Made {
    nodes: HashSet<NodeId>,
    bmcs: HashSet<BmcName>,
    by_xname: HashMap<Xname, NodeId>,
    by_name: HashMap<String, NodeId>,
    by_nid: HashMap<Nid, NodeId>,
    by_mac: HashMap<Mac, Holder>,
    by_address: HashMap<Ipv4Addr, Holder>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Draft<'a> {
        Draft {
            snapshot,
            next: Inventory::clone(&snapshot.inventory),
            changes: Vec::new(),
            made: Made::default(),
            bmcs: OnceCell::new(),
            some_derived: snapshot.inventory.bmcs.values().any(|bmc| bmc.xname.is_none()),
            moves: Moves::default(),
        }
    }

    /// The changes, in order.
    pub(crate) fn finish(self) -> Vec<Change> {
        self.changes
    }

    /// Who came and went since this was asked last.
    pub(crate) fn moves(&mut self) -> Moves {
        std::mem::take(&mut self.moves)
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match &change {
            Change::PutNode(node) => self.note_node(node.id, Some(node)),
            Change::RemoveNode(id) => self.note_node(*id, None),
            Change::PutBmc(bmc) => self.note_bmc(&bmc.name, Some(bmc)),
            Change::RemoveBmc(name) => self.note_bmc(name, None),
            _ => {}
        }
        self.next.apply(&change);
        self.changes.push(change);
    }

    /// Keeps the indices in step with a node that is about to change.
    fn note_node(&mut self, id: NodeId, new: Option<&Node>) {
        let old = self.next.nodes.get(&id).cloned();
        let named = |node: &Node| (node.bmc.clone(), node.effective_xname());
        if old.as_deref().map(named) != new.map(named)
            && [old.as_deref(), new].into_iter().flatten().any(|node| self.lends_its_xname(node))
        {
            self.bmcs = OnceCell::new();
        }
        if !self.made.nodes.insert(id)
            && let Some(old) = &old
        {
            self.made.drop_node(old);
        }
        new.into_iter().for_each(|node| self.made.add_node(node));
        match (old, new) {
            (None, Some(_)) => drop(self.moves.arrived.insert(id)),
            (Some(old), None) if !self.moves.arrived.remove(&id) => self.moves.departed.push(old),
            _ => {}
        }
    }

    /// True if the node's BMC has no xname of its own and is known by the node's.
    fn lends_its_xname(&self, node: &Node) -> bool {
        let bmc = node.bmc.as_ref().and_then(|name| self.next.bmcs.get(name));
        bmc.is_some_and(|bmc| bmc.xname.is_none())
    }

    /// Keeps the indices in step with a BMC that is about to change.
    fn note_bmc(&mut self, name: &BmcName, new: Option<&Bmc>) {
        self.some_derived |= new.is_some_and(|bmc| bmc.xname.is_none());
        let old = self.next.bmcs.get(name).cloned();
        let xname = |bmc: &Bmc| bmc.xname.clone();
        self.note_xname(name, old.as_deref().map(xname), new.map(xname));
        if !self.made.bmcs.insert(name.clone())
            && let Some(old) = &old
        {
            self.made.drop_bmc(old);
        }
        new.into_iter().for_each(|bmc| self.made.add_bmc(bmc));
        match (old, new) {
            (None, Some(_)) => drop(self.moves.new_bmcs.insert(name.clone())),
            (Some(_), None) => drop(self.moves.lost_bmcs.insert(name.clone())),
            _ => {}
        }
    }

    /// Keeps the names of BMCs in step with one; `None` is no BMC, `Some(None)` one that is known by its nodes.
    fn note_xname(&mut self, name: &BmcName, was: Option<Option<Xname>>, is: Option<Option<Xname>>) {
        let Some(known) = self.bmcs.get_mut() else { return };
        let is_same = was == is;
        let is_settled =
            is.as_ref().is_some_and(|is| is.as_ref().is_some_and(|is| known.get(is) == Some(name)));
        // A name that comes or goes matters to no other BMC if all have their own.
        let all_declared = was != Some(None) && is != Some(None) && !self.some_derived;
        if is_same || was == Some(None) && is_settled {
            return;
        }
        if all_declared {
            was.flatten().and_then(|was| known.remove(&was));
            is.flatten().and_then(|is| known.insert(is, name.clone()));
        } else {
            self.bmcs = OnceCell::new();
        }
    }

    pub(crate) fn put_node(&mut self, node: Node) {
        self.apply(Change::PutNode(Arc::new(node)));
    }

    pub(crate) fn put_bmc(&mut self, bmc: Bmc) {
        self.apply(Change::PutBmc(Arc::new(bmc)));
    }

    /// The node of this xname, declared or synthesised.
    pub(crate) fn node(&self, xname: &Xname) -> Option<Arc<Node>> {
        let known = || self.snapshot.by_xname(xname).map(|node| node.id).filter(|id| self.is_as_known(id));
        let id = self.made.by_xname.get(xname).copied().or_else(known)?;
        self.next.nodes.get(&id).cloned()
    }

    /// True if the draft has not written the node: the snapshot's indices hold.
    fn is_as_known(&self, id: &NodeId) -> bool {
        !self.made.nodes.contains(id)
    }

    /// The BMC of this xname, declared or derived from its node's.
    pub(crate) fn bmc(&self, xname: &Xname) -> Option<Arc<Bmc>> {
        let names = self
            .bmcs
            .get_or_init(|| bmc_xnames(&self.next).into_iter().map(|(name, xname)| (xname, name)).collect());
        names.get(xname).and_then(|name| self.next.bmcs.get(name)).cloned()
    }

    /// The xname of a BMC, declared or derived from its nodes'.
    pub(crate) fn bmc_xname(&self, bmc: &Bmc) -> Option<Xname> {
        bmc.xname.clone().or_else(|| bmc_xnames(&self.next).remove(&bmc.name))
    }

    /// Whose this hardware address is.
    pub(crate) fn holder_of_mac(&self, mac: Mac) -> Option<Holder> {
        self.made.by_mac.get(&mac).cloned().or_else(|| self.known(self.snapshot.by_mac(mac)))
    }

    /// Whose this address is.
    pub(crate) fn holder_of_address(&self, address: Ipv4Addr) -> Option<Holder> {
        self.made.by_address.get(&address).cloned().or_else(|| self.known(self.snapshot.by_address(address)))
    }

    fn known(&self, machine: Option<Machine<'_>>) -> Option<Holder> {
        match machine? {
            Machine::Node { node, .. } => self.is_as_known(&node.id).then_some(Holder::Node(node.id)),
            Machine::Bmc(bmc) => (!self.made.bmcs.contains(&bmc.name)).then(|| Holder::Bmc(bmc.name.clone())),
        }
    }

    /// True if a node or BMC bears this name.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.next.bmcs.contains_key(name)
            || self.made.by_name.contains_key(name)
            || self.snapshot.by_name(name).is_some_and(|node| self.is_as_known(&node.id))
    }

    /// True if a node has this number.
    pub(crate) fn is_numbered(&self, nid: Nid) -> bool {
        self.made.by_nid.contains_key(&nid)
            || self.snapshot.by_nid(nid).is_some_and(|node| self.is_as_known(&node.id))
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

impl Made {
    fn add_node(&mut self, node: &Node) {
        let holder = Holder::Node(node.id);
        self.by_xname.insert(node.effective_xname(), node.id);
        self.by_name.insert(node.name.to_string(), node.id);
        node.nid.and_then(|nid| self.by_nid.insert(nid, node.id));
        for interface in &node.interfaces {
            self.by_mac.insert(interface.mac, holder.clone());
            self.by_address.extend(interface.addresses.iter().map(|address| (*address, holder.clone())));
        }
    }

    fn drop_node(&mut self, node: &Node) {
        let holder = Holder::Node(node.id);
        forget(&mut self.by_xname, &node.effective_xname(), &node.id);
        forget(&mut self.by_name, node.name.as_str(), &node.id);
        node.nid.into_iter().for_each(|nid| forget(&mut self.by_nid, &nid, &node.id));
        for interface in &node.interfaces {
            forget(&mut self.by_mac, &interface.mac, &holder);
            interface.addresses.iter().for_each(|address| forget(&mut self.by_address, address, &holder));
        }
    }

    fn add_bmc(&mut self, bmc: &Bmc) {
        let holder = Holder::Bmc(bmc.name.clone());
        bmc.mac.and_then(|mac| self.by_mac.insert(mac, holder.clone()));
        bmc.address.and_then(|address| self.by_address.insert(address, holder));
    }

    fn drop_bmc(&mut self, bmc: &Bmc) {
        let holder = Holder::Bmc(bmc.name.clone());
        bmc.mac.into_iter().for_each(|mac| forget(&mut self.by_mac, &mac, &holder));
        bmc.address.into_iter().for_each(|address| forget(&mut self.by_address, &address, &holder));
    }
}

/// Removes an entry if it still stands for this owner: another may have taken it over.
fn forget<K, Q, V>(index: &mut HashMap<K, V>, key: &Q, owner: &V)
where
    K: std::borrow::Borrow<Q> + Eq + std::hash::Hash,
    Q: Eq + std::hash::Hash + ?Sized,
    V: PartialEq,
{
    if index.get(key) == Some(owner) {
        index.remove(key);
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

/// The xnames of BMCs: declared, else the parent of the first node that names the BMC, unless another has it. A BMC
/// without either has none, and is not seen by clients that think in xnames.
pub(crate) fn bmc_xnames(inventory: &Inventory) -> HashMap<BmcName, Xname> {
    let mut names: HashMap<BmcName, Xname> =
        inventory.bmcs.values().filter_map(|bmc| Some((bmc.name.clone(), bmc.xname.clone()?))).collect();
    if names.len() == inventory.bmcs.len() {
        return names;
    }
    let mut taken: HashSet<Xname> = names.values().cloned().collect();
    for node in inventory.nodes.values() {
        let bmc =
            node.bmc.as_ref().filter(|bmc| !names.contains_key(*bmc) && inventory.bmcs.contains_key(*bmc));
        if let Some(bmc) = bmc
            && let Some(xname) = node.effective_xname().parent()
            && taken.insert(xname.clone())
        {
            names.insert(bmc.clone(), xname);
        }
    }
    names
}

#[cfg(test)]
mod tests;
