//! Groups as SMD shows them: ours, with what SMD knows beyond (tags, exclusiveness, members that are no nodes of
//! ours) in an annotation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::openchami::draft::Draft;
use crate::base::{GroupName, Xname};
use crate::model::{Change, Group, Inventory, Node};

/// The annotation of groups.
const NOTE: &str = "smd.group";

/// What SMD knows of a group beyond ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kept {
    pub(crate) tags: Vec<String>,
    pub(crate) exclusive: String,
    /// Members that are no nodes of ours: other hardware, or nodes that are not declared yet.
    pub(crate) others: BTreeSet<String>,
}

pub(crate) fn kept(group: &Group) -> Kept {
    group.annotations.get(NOTE).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Writes what SMD knows beyond ours.
pub(crate) fn keep(draft: &mut Draft<'_>, name: &GroupName, kept: &Kept) {
    let old = draft.next.groups.get(name).cloned().unwrap_or_else(|| Arc::new(Group::new(name.clone())));
    let mut group = Group::clone(&old);
    if *kept == Kept::default() {
        group.annotations.remove(NOTE);
    } else {
        let text = serde_json::to_string(kept).expect("what is kept holds nothing that JSON cannot");
        group.annotations.insert(NOTE.to_owned(), text);
    }
    if group != *old {
        draft.apply(Change::PutGroup(Arc::new(group)));
    }
}

/// The members of every group, by xname.
pub(crate) fn members(inventory: &Inventory) -> BTreeMap<GroupName, BTreeSet<String>> {
    let others = |group: &Group| kept(group).others;
    let mut all: BTreeMap<_, _> =
        inventory.groups.iter().map(|(name, group)| (name.clone(), others(group))).collect();
    for node in inventory.nodes.values() {
        let xname = node.effective_xname().to_string();
        for group in &node.groups {
            all.entry(group.clone()).or_default().insert(xname.clone());
        }
    }
    all
}

/// The members of one group.
pub(crate) fn members_of(inventory: &Inventory, group: &Group) -> BTreeSet<String> {
    let nodes = inventory.members(&group.name).map(|node| node.effective_xname().to_string());
    nodes.chain(kept(group).others).collect()
}

/// Puts a component into a group.
pub(crate) fn join(draft: &mut Draft<'_>, name: &GroupName, xname: &Xname) {
    if let Some(node) = draft.node(xname) {
        let mut node = Node::clone(&node);
        if node.groups.insert(name.clone()) {
            draft.put_node(node);
        }
        return;
    }
    if let Some(group) = draft.next.groups.get(name) {
        let mut kept = kept(group);
        kept.others.insert(xname.to_string());
        keep(draft, name, &kept);
    }
}

/// Takes a component out of a group; false if it was not in it.
pub(crate) fn leave(draft: &mut Draft<'_>, name: &GroupName, xname: &Xname) -> bool {
    let mut left = false;
    if let Some(node) = draft.node(xname) {
        let mut node = Node::clone(&node);
        if node.groups.remove(name) {
            draft.put_node(node);
            left = true;
        }
    }
    if let Some(group) = draft.next.groups.get(name) {
        let mut kept = kept(group);
        if kept.others.remove(xname.as_str()) {
            keep(draft, name, &kept);
            left = true;
        }
    }
    left
}

/// Groups that list a component which was not declared until now. They list it by itself from now on.
pub(crate) fn waiting_for(draft: &mut Draft<'_>, xname: &Xname) -> Vec<GroupName> {
    let mut waiting = Vec::new();
    for group in draft.next.groups.clone().values() {
        let mut kept = kept(group);
        if kept.others.remove(xname.as_str()) {
            keep(draft, &group.name, &kept);
            waiting.push(group.name.clone());
        }
    }
    waiting
}

/// Groups go on listing a component that goes.
pub(crate) fn keep_waiting(draft: &mut Draft<'_>, xname: &Xname, groups: &BTreeSet<GroupName>) {
    for name in groups {
        if let Some(group) = draft.next.groups.get(name) {
            let mut kept = kept(group);
            kept.others.insert(xname.to_string());
            keep(draft, name, &kept);
        }
    }
}
