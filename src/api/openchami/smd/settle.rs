//! What follows from components that came and went: interfaces and memberships that waited for a node become its
//! own, those of a node that went wait for its return, and nodes know their BMC. Once at the end of a request and
//! for all of it, so that a request over 100,000 components stays linear.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::api::openchami::draft::{self, Draft, Moves};
use crate::api::openchami::smd::group;
use crate::api::openchami::smd::port::{self, Port};
use crate::base::{GroupName, Mac, Xname};
use crate::model::{Node, NodeId};

/// Settles a draft.
pub(crate) fn settle(draft: &mut Draft<'_>) {
    let Moves { arrived, departed, new_bmcs, lost_bmcs } = draft.moves();
    if !departed.is_empty() {
        release(draft, &departed);
    }
    let arrived: Vec<Arc<Node>> = arrived.iter().filter_map(|id| draft.next.nodes.get(id).cloned()).collect();
    let mut names: BTreeSet<Xname> = arrived.iter().map(|node| node.effective_xname()).collect();
    let groups = group::adopt(draft, &names);
    for (node, groups) in arrived.iter().filter_map(|node| Some((node, groups.get(&node.effective_xname())?)))
    {
        if let Some(node) = draft.next.nodes.get(&node.id) {
            let mut node = Node::clone(node);
            node.groups.extend(groups.iter().cloned());
            draft.put_node(node);
        }
    }
    let new: Vec<Xname> = new_bmcs
        .iter()
        .filter_map(|name| draft.next.bmcs.get(name).and_then(|bmc| bmc.xname.clone()))
        .collect();
    link(draft, &arrived, &new.iter().cloned().collect());
    if lost_bmcs.iter().any(|name| !draft.next.bmcs.contains_key(name)) {
        unlink(draft);
    }
    names.extend(new);
    adopt_ports(draft, &names);
}

/// What hung on nodes that went waits for their return.
fn release(draft: &mut Draft<'_>, departed: &[Arc<Node>]) {
    let mut groups: BTreeMap<GroupName, Vec<Xname>> = BTreeMap::new();
    for node in departed {
        for (mac, port) in port::of_node(node) {
            if draft.holder_of_mac(mac).is_none() {
                draft.put_document(port::SHELF, &port::id(mac), &port);
            }
        }
        for name in &node.groups {
            groups.entry(name.clone()).or_default().push(node.effective_xname());
        }
    }
    groups.iter().for_each(|(name, members)| group::wait(draft, name, members));
}

/// Interfaces that were posted before their component become its ports.
fn adopt_ports(draft: &mut Draft<'_>, names: &BTreeSet<Xname>) {
    if names.is_empty() || draft.next.shelf(port::SHELF).next().is_none() {
        return;
    }
    let waiting: Vec<(Mac, Port)> = draft::shelf::<Port>(&draft.next, port::SHELF)
        .into_iter()
        .filter(|(_, port)| names.contains(port.component.as_str()))
        .filter_map(|(id, port)| Some((id.parse().ok()?, port)))
        .collect();
    for (mac, port) in waiting {
        if draft.holder_of_mac(mac).is_none() {
            port::put(draft, mac, &port);
        }
    }
}

/// New nodes, and nodes whose BMC is new, get the BMC that their xname says, unless they have one.
fn link(draft: &mut Draft<'_>, arrived: &[Arc<Node>], new: &BTreeSet<Xname>) {
    let mut links: HashMap<NodeId, Xname> = HashMap::new();
    let parent = |node: &Node| node.effective_xname().parent();
    links.extend(arrived.iter().filter_map(|node| Some((node.id, parent(node)?))));
    if !new.is_empty() {
        let known = draft.next.nodes.values().filter(|node| node.bmc.is_none());
        links.extend(known.filter_map(|node| Some((node.id, parent(node).filter(|bmc| new.contains(bmc))?))));
    }
    for (id, bmc) in links {
        let Some(node) = draft.next.nodes.get(&id).filter(|node| node.bmc.is_none()) else { continue };
        let node = Node::clone(node);
        if let Some(bmc) = draft.bmc(&bmc) {
            draft.put_node(Node { bmc: Some(bmc.name.clone()), ..node });
        }
    }
}

/// Nodes whose BMC went have none.
fn unlink(draft: &mut Draft<'_>) {
    let lost = |node: &&Arc<Node>| node.bmc.as_ref().is_some_and(|bmc| !draft.next.bmcs.contains_key(bmc));
    let nodes: Vec<Node> =
        draft.next.nodes.values().filter(lost).map(|node| Node { bmc: None, ..Node::clone(node) }).collect();
    nodes.into_iter().for_each(|node| draft.put_node(node));
}
