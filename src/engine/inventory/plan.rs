//! Declarations and what is there to changes and a report. Nothing is planned unless all of it is well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::{BmcName, NodeName, Xname};
use crate::engine::inventory::document::{
    AssignmentDeclaration, BmcRef, GroupDeclaration, NodeDeclaration, ProfileDeclaration, Whom,
};
use crate::engine::inventory::lookup::{Bmcs, Nodes};
use crate::engine::inventory::report::{Differs, Report};
use crate::engine::inventory::{Document, Problems, merge};
use crate::model::profile::AssignmentKey;
use crate::model::validate::{Subject, validate};
use crate::model::{Assignment, Change, Inventory, Node, NodeId, Selector, Site};

/// How to treat what the document does not mention.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Mode {
    /// Remove nodes, BMCs, groups, profiles and assignments that are not in the document, each kind only if the
    /// document speaks of that kind at all.
    pub prune: bool,
}

/// What an import would do.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Plan {
    pub changes: Vec<Change>,
    pub report: Report,
}

/// Plans an import.
///
/// # Errors
/// Every problem of the result that was not there before, with the line that causes it.
pub fn plan(inventory: &Inventory, site: &Site, document: &Document, mode: Mode) -> Result<Plan, Problems> {
    let mut planner = Planner::new(inventory);
    planner.plan.report.notes.clone_from(&document.notes);
    let bmcs = planner.bmcs(document);
    planner.groups(document.groups.as_deref().unwrap_or_default());
    planner.profiles(document.profiles.as_deref().unwrap_or_default());
    let kept = planner.nodes(document, &bmcs);
    planner.names = planner.next.nodes.values().map(|node| (node.name.clone(), node.id)).collect();
    planner.assignments(document.assignments.as_deref().unwrap_or_default());
    if mode.prune {
        planner.prune(document, &kept, &bmcs);
    }
    planner.check(document, &bmcs, site);
    if planner.problems.is_empty() { Ok(planner.plan) } else { Err(planner.problems.sorted()) }
}

/// Where something stands in the document: line, field, and what it is.
type Entry<'e> = (usize, String, &'e str);

struct Planner<'a> {
    inventory: &'a Inventory,
    /// The inventory with the changes so far.
    next: Inventory,
    /// Nodes of `next` by name.
    names: BTreeMap<NodeName, NodeId>,
    /// BMCs that get another name.
    renamed: BTreeMap<BmcName, BmcName>,
    plan: Plan,
    problems: Problems,
}

impl<'a> Planner<'a> {
    fn new(inventory: &'a Inventory) -> Planner<'a> {
        Planner {
            inventory,
            next: inventory.clone(),
            names: BTreeMap::new(),
            renamed: BTreeMap::new(),
            plan: Plan::default(),
            problems: Problems::default(),
        }
    }

    fn put<T: Differs>(
        &mut self,
        name: String,
        old: Option<&Arc<T>>,
        new: T,
        change: impl FnOnce(Arc<T>) -> Change,
    ) {
        let report = &mut self.plan.report;
        match old {
            Some(old) if **old == new => {
                report.unchanged = report.unchanged.saturating_add(1);
                return;
            }
            Some(old) => {
                report.fields.insert(name.clone(), old.differs(&new));
                report.changed.push(name);
            }
            None => report.added.push(name),
        }
        self.change(change(Arc::new(new)));
    }

    fn change(&mut self, change: Change) {
        self.next.apply(&change);
        self.plan.changes.push(change);
    }

    /// Remembers a name of the document. False, with a problem that names both lines: it was there before.
    fn first<K: Ord>(
        &mut self,
        seen: &mut BTreeMap<K, usize>,
        key: K,
        (line, field, what): Entry<'_>,
    ) -> bool {
        match seen.insert(key, line) {
            None => true,
            Some(other) => {
                self.problems.add(line, field, format!("{what} stands on line {other} already"));
                false
            }
        }
    }

    /// Plans all BMCs; returns under which name each entry of the document is kept. A name that was made up
    /// gives way to the one that is there; what a document calls by a name of its own is renamed.
    fn bmcs(&mut self, document: &Document) -> Vec<BmcName> {
        let inventory = self.inventory;
        let known = Bmcs::of(inventory, document);
        let (mut names, mut seen) = (Vec::new(), BTreeMap::new());
        for (index, declared) in document.bmcs.iter().enumerate() {
            let today = known.find(declared);
            let name = today.filter(|_| !declared.named).unwrap_or(&declared.name);
            names.push(name.clone());
            let what = format!("the BMC {name}");
            if !self.first(&mut seen, name.clone(), (declared.line, format!("bmcs[{index}].name"), &what)) {
                continue;
            }
            if let Some(today) = today.filter(|today| *today != name) {
                self.renamed.insert(today.clone(), name.clone());
                self.change(Change::RemoveBmc(today.clone()));
            }
            let old = today.and_then(|today| inventory.bmcs.get(today));
            let bmc = merge::bmc(name, declared, old.map(Arc::as_ref));
            self.put(format!("bmc {name}"), old, bmc, Change::PutBmc);
        }
        names
    }

    fn groups(&mut self, groups: &[GroupDeclaration]) {
        let inventory = self.inventory;
        let mut seen = BTreeMap::new();
        for (index, declared) in groups.iter().enumerate() {
            let name = &declared.name;
            let what = format!("the group {name}");
            if self.first(&mut seen, name, (declared.line, format!("groups[{index}].name"), &what)) {
                let old = inventory.groups.get(name);
                let group = merge::group(declared, old.map(Arc::as_ref));
                self.put(format!("group {name}"), old, group, Change::PutGroup);
            }
        }
    }

    fn profiles(&mut self, profiles: &[ProfileDeclaration]) {
        let inventory = self.inventory;
        let mut seen = BTreeMap::new();
        for (index, declared) in profiles.iter().enumerate() {
            let name = &declared.name;
            let what = format!("the profile {name}");
            if self.first(&mut seen, name, (declared.line, format!("profiles[{index}].name"), &what)) {
                let old = inventory.profiles.get(name);
                let profile = merge::profile(declared, old.map(Arc::as_ref));
                self.put(format!("profile {name}"), old, profile, Change::PutProfile);
            }
        }
    }

    /// Plans all nodes; returns those that the document mentions. New ones get numbers in its order.
    fn nodes(&mut self, document: &Document, entries: &[BmcName]) -> BTreeSet<NodeId> {
        let inventory = self.inventory;
        let known = Nodes::of(inventory, document);
        let bmcs = bmc_index(&self.next);
        let (mut ids, mut names) = (BTreeMap::new(), BTreeMap::new());
        let mut fresh = inventory.next_node;
        for (position, declared) in document.nodes.iter().enumerate() {
            let (line, field) = (declared.line, format!("nodes[{position}].name"));
            let what = format!("the node {}", declared.name);
            if !self.first(&mut names, &declared.name, (line, field.clone(), &what)) {
                continue;
            }
            let id = known.find(declared).unwrap_or_else(|| {
                let id = NodeId(fresh);
                fresh = fresh.saturating_add(1);
                id
            });
            if !self.first(&mut ids, id, (line, field, "the same node, by its xname or hardware address,")) {
                continue;
            }
            let old = inventory.nodes.get(&id);
            let mut node = merge::node(id, declared, old.map(Arc::as_ref));
            if !self.set_bmc(&mut node, (declared, position), &bmcs, entries) {
                continue;
            }
            self.put(declared.name.to_string(), old, node, Change::PutNode);
        }
        for node in inventory.nodes.values().filter(|node| !ids.contains_key(&node.id)) {
            if let Some(name) = node.bmc.as_ref().and_then(|bmc| self.renamed.get(bmc)) {
                let renamed = Node { bmc: Some(name.clone()), ..Node::clone(node) };
                self.put(node.name.to_string(), Some(node), renamed, Change::PutNode);
            }
        }
        ids.into_keys().collect()
    }

    /// Gives a node its BMC. False, with a problem: there is none of that name.
    fn set_bmc(
        &mut self,
        node: &mut Node,
        (declared, position): (&NodeDeclaration, usize),
        bmcs: &BTreeMap<String, BmcName>,
        entries: &[BmcName],
    ) -> bool {
        match &declared.bmc {
            Some(Some(BmcRef::Entry(index))) => node.bmc = entries.get(*index).cloned(),
            Some(Some(BmcRef::Named(wanted))) => {
                match bmcs.get(wanted.trim().to_ascii_lowercase().as_str()) {
                    Some(name) => node.bmc = Some(name.clone()),
                    None => {
                        let text = format!("no BMC is called {wanted}");
                        self.problems.add(declared.line, format!("nodes[{position}].bmc"), text);
                        return false;
                    }
                }
            }
            Some(None) => node.bmc = None,
            // A node's BMC is the one that its xname says, where there is one of that name.
            None if node.bmc.is_none() => {
                let parent = node.xname.as_ref().and_then(Xname::parent);
                node.bmc = parent.and_then(|parent| bmcs.get(parent.as_str()).cloned());
            }
            None => {
                let renamed = node.bmc.as_ref().and_then(|bmc| self.renamed.get(bmc));
                node.bmc = renamed.or(node.bmc.as_ref()).cloned();
            }
        }
        true
    }

    fn assignments(&mut self, assignments: &[AssignmentDeclaration]) {
        let inventory = self.inventory;
        let mut seen = BTreeMap::new();
        for (index, declared) in assignments.iter().enumerate() {
            let Some(selector) = self.selector(&declared.whom) else {
                let text = format!("no node is called {}", whom(&declared.whom));
                self.problems.add(declared.line, format!("assignments[{index}].node"), text);
                continue;
            };
            let assignment = Assignment { selector, once: declared.once, boot: declared.boot.clone() };
            let key = assignment.key();
            let name = format!("assignment for {}", whom(&declared.whom));
            let what = format!("an {}{name}", if declared.once { "only-once " } else { "" });
            if self.first(&mut seen, key.clone(), (declared.line, format!("assignments[{index}]"), &what)) {
                self.put(name, inventory.assignments.get(&key), assignment, Change::PutAssignment);
            }
        }
    }

    fn prune(&mut self, document: &Document, kept: &BTreeSet<NodeId>, bmcs: &[BmcName]) {
        let inventory = self.inventory;
        let mut gone: Vec<(String, Change)> = Vec::new();
        if document.has_nodes {
            for node in inventory.nodes.values().filter(|node| !kept.contains(&node.id)) {
                gone.push((node.name.to_string(), Change::RemoveNode(node.id)));
            }
        }
        if document.has_bmcs {
            let named: BTreeSet<_> = bmcs.iter().collect();
            let renamed = &self.renamed;
            let stays = |name: &&BmcName| named.contains(name) || renamed.contains_key(*name);
            for name in inventory.bmcs.keys().filter(|name| !stays(name)) {
                gone.push((format!("bmc {name}"), Change::RemoveBmc(name.clone())));
            }
        }
        if let Some(groups) = &document.groups {
            let mut named: BTreeSet<_> = groups.iter().map(|group| &group.name).collect();
            named.extend(document.nodes.iter().flat_map(|node| node.groups.iter().flatten()));
            for name in inventory.groups.keys().filter(|name| !named.contains(name)) {
                gone.push((format!("group {name}"), Change::RemoveGroup(name.clone())));
            }
        }
        if let Some(profiles) = &document.profiles {
            let named: BTreeSet<_> = profiles.iter().map(|profile| &profile.name).collect();
            for name in inventory.profiles.keys().filter(|name| !named.contains(name)) {
                gone.push((format!("profile {name}"), Change::RemoveProfile(name.clone())));
            }
        }
        if let Some(assignments) = &document.assignments {
            let named: BTreeSet<_> =
                assignments.iter().filter_map(|declared| self.key_of(declared)).collect();
            for key in inventory.assignments.keys().filter(|key| !named.contains(*key)) {
                let node = match &key.selector {
                    Selector::Node(id) => inventory.nodes.get(id),
                    _ => None,
                };
                let name = node.map_or_else(|| key.selector.to_string(), |node| node.name.to_string());
                gone.push((format!("assignment for {name}"), Change::RemoveAssignment(key.clone())));
            }
        }
        for (name, change) in gone {
            self.plan.report.removed.push(name);
            self.change(change);
        }
    }

    /// None: it names a node that is not there.
    fn selector(&self, whom: &Whom) -> Option<Selector> {
        Some(match whom {
            Whom::Direct(selector) => selector.clone(),
            Whom::Node(name) => Selector::Node(*self.names.get(name)?),
        })
    }

    fn key_of(&self, declared: &AssignmentDeclaration) -> Option<AssignmentKey> {
        Some(AssignmentKey { selector: self.selector(&declared.whom)?, lasting: !declared.once })
    }

    /// Whole-state problems that the import would cause, mapped back to lines.
    fn check(&mut self, document: &Document, bmcs: &[BmcName], site: &Site) {
        let after = validate(&self.next, site);
        if after.is_empty() {
            return;
        }
        let before: BTreeSet<_> = validate(self.inventory, site).into_iter().collect();
        let nodes = document.nodes.iter().map(|node| (Subject::Node(node.name.to_string()), node.line));
        let bmcs =
            bmcs.iter().zip(&document.bmcs).map(|(name, bmc)| (Subject::Bmc(name.to_string()), bmc.line));
        let assignments = document.assignments.iter().flatten().filter_map(|declared| {
            Some((Subject::Assignment(self.selector(&declared.whom)?.to_string()), declared.line))
        });
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        for (subject, line) in nodes.chain(bmcs).chain(assignments) {
            lines.entry(subject.to_string()).or_insert(line); // what stands twice has been reported
        }
        for problem in after.into_iter().filter(|problem| !before.contains(problem)) {
            let subject = problem.subject.to_string();
            // A duplicate names its other holder, which may stand in this document too, or alone.
            let other = problem.text.rsplit_once(" by ").and_then(|(_, holder)| lines.get(holder));
            let own = lines.get(&subject);
            let also = other.filter(|_| own.is_some()).map(|line| format!(" (line {line})"));
            let line = own.or(other).copied().unwrap_or(0);
            let text = format!("{}{}", problem.text, also.unwrap_or_default());
            self.problems.add(line, format!("{subject}: {}", problem.field), text);
        }
    }
}

/// For whom, in words.
fn whom(whom: &Whom) -> String {
    match whom {
        Whom::Node(name) => name.to_string(),
        Whom::Direct(selector) => selector.to_string(),
    }
}

/// BMCs by name and by xname.
fn bmc_index(inventory: &Inventory) -> BTreeMap<String, BmcName> {
    let names = inventory.bmcs.keys().map(|name| (name.to_string(), name.clone()));
    let xnames =
        inventory.bmcs.values().filter_map(|bmc| Some((bmc.xname.as_ref()?.to_string(), bmc.name.clone())));
    xnames.chain(names).collect()
}
