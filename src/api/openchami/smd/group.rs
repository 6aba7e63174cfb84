//! Groups as SMD shows them: ours, with what SMD knows beyond (tags, exclusiveness, members that are no nodes of
//! ours) in an annotation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::openchami::draft::Draft;
use crate::api::openchami::smd::component;
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

/// Puts components into a group.
pub(crate) fn join(draft: &mut Draft<'_>, name: &GroupName, members: &[Xname]) {
    let mut others = Vec::new();
    for member in members {
        let member = component::meant(draft, member);
        let Some(node) = draft.node(&member) else {
            others.push(member);
            continue;
        };
        let mut node = Node::clone(&node);
        if node.groups.insert(name.clone()) {
            draft.put_node(node);
        }
    }
    wait(draft, name, &others);
}

/// Lists components that are no nodes of ours, or not any more, as members of a group.
pub(crate) fn wait(draft: &mut Draft<'_>, name: &GroupName, members: &[Xname]) {
    if let Some(group) = draft.next.groups.get(name).filter(|_| !members.is_empty()) {
        let mut kept = kept(group);
        kept.others.extend(members.iter().map(ToString::to_string));
        keep(draft, name, &kept);
    }
}

/// Takes components out of a group and tells how many were in it.
pub(crate) fn leave(draft: &mut Draft<'_>, name: &GroupName, members: &[Xname]) -> usize {
    let mut left = 0;
    for member in members {
        let member = component::meant(draft, member);
        let Some(node) = draft.node(&member) else { continue };
        let mut node = Node::clone(&node);
        if node.groups.remove(name) {
            draft.put_node(node);
            left += 1;
        }
    }
    if let Some(group) = draft.next.groups.get(name) {
        let mut kept = kept(group);
        let before = kept.others.len();
        for member in members {
            kept.others.remove(member.as_str());
        }
        left += before - kept.others.len();
        keep(draft, name, &kept);
    }
    left
}

/// Which groups list components that were not declared until now. The nodes themselves say so from now on.
pub(crate) fn adopt(draft: &mut Draft<'_>, names: &BTreeSet<Xname>) -> BTreeMap<Xname, Vec<GroupName>> {
    let mut adopted: BTreeMap<Xname, Vec<GroupName>> = BTreeMap::new();
    if names.is_empty() {
        return adopted;
    }
    let waiting: Vec<Arc<Group>> =
        draft.next.groups.values().filter(|group| group.annotations.contains_key(NOTE)).cloned().collect();
    for group in waiting {
        let mut kept = kept(&group);
        let (new, others): (BTreeSet<String>, BTreeSet<String>) =
            kept.others.into_iter().partition(|member| names.contains(member.as_str()));
        for xname in new.iter().filter_map(|member| member.parse().ok()) {
            adopted.entry(xname).or_default().push(group.name.clone());
        }
        kept.others = others;
        if !new.is_empty() {
            keep(draft, &group.name, &kept);
        }
    }
    adopted
}

/// Members of the groups with which a group excludes itself.
pub(crate) fn rivals(draft: &Draft<'_>, name: &GroupName) -> BTreeMap<String, GroupName> {
    let exclusive = draft.next.groups.get(name).map(|group| kept(group).exclusive).unwrap_or_default();
    let mut taken = BTreeMap::new();
    if !exclusive.is_empty() {
        let others = draft.next.groups.values().filter(|other| other.name != *name);
        for rival in others.filter(|other| kept(other).exclusive == exclusive) {
            let members = members_of(&draft.next, rival).into_iter();
            taken.extend(members.map(|member| (member, rival.name.clone())));
        }
    }
    taken
}
