//! Declarations and what is there to changes and a report. Nothing is planned unless all of it is well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::{BmcName, Mac, NodeName, Xname};
use crate::engine::inventory::document::{
    AssignmentDeclaration, BmcDeclaration, GroupDeclaration, NodeDeclaration, Whom,
};
use crate::engine::inventory::{Document, Problems};
use crate::model::profile::AssignmentKey;
use crate::model::validate::{Subject, validate};
use crate::model::{Assignment, Bmc, Change, Group, Inventory, Node, NodeId, Profile, Selector, Site};

/// How to treat what the document does not mention.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Mode {
    /// Remove nodes and BMCs that are not in the document, and groups, profiles and assignments if it has a
    /// section for them.
    pub prune: bool,
}

/// What an import would do.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Plan {
    pub changes: Vec<Change>,
    pub report: Report,
}

/// Names by fate. Others than nodes have their kind in front: `bmc bmc01`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Report {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    pub unchanged: usize,
}

/// Plans an import.
///
/// # Errors
/// Every problem of the result that was not there before, with the line that causes it.
pub fn plan(inventory: &Inventory, site: &Site, document: &Document, mode: Mode) -> Result<Plan, Problems> {
    let mut planner = Planner::new(inventory);
    document.bmcs.iter().for_each(|declared| planner.bmc(declared));
    document.groups.iter().flatten().for_each(|declared| planner.group(declared));
    for declared in document.profiles.iter().flatten() {
        let old = inventory.profiles.get(&declared.name);
        let description = declared.description.clone().or_else(|| old.map(|old| old.description.clone()));
        let profile = Profile {
            name: declared.name.clone(),
            description: description.unwrap_or_default(),
            target: declared.target.clone(),
        };
        planner.put(format!("profile {}", profile.name), old, profile, Change::PutProfile);
    }
    let kept = planner.nodes(document);
    planner.names = planner.next.nodes.values().map(|node| (node.name.clone(), node.id)).collect();
    for declared in document.assignments.iter().flatten() {
        planner.assignment(declared);
    }
    if mode.prune {
        planner.prune(document, &kept);
    }
    planner.check(document, site);
    if planner.problems.is_empty() { Ok(planner.plan) } else { Err(planner.problems) }
}

struct Planner<'a> {
    inventory: &'a Inventory,
    /// The inventory with the changes so far.
    next: Inventory,
    /// Nodes of `next` by name.
    names: BTreeMap<NodeName, NodeId>,
    plan: Plan,
    problems: Problems,
}

impl<'a> Planner<'a> {
    fn new(inventory: &'a Inventory) -> Planner<'a> {
        let (next, names) = (inventory.clone(), BTreeMap::new());
        Planner { inventory, next, names, plan: Plan::default(), problems: Problems::default() }
    }

    fn put<T: PartialEq>(
        &mut self,
        name: String,
        old: Option<&Arc<T>>,
        new: T,
        change: impl FnOnce(Arc<T>) -> Change,
    ) {
        match old {
            Some(old) if **old == new => {
                self.plan.report.unchanged = self.plan.report.unchanged.saturating_add(1);
                return;
            }
            Some(_) => self.plan.report.changed.push(name),
            None => self.plan.report.added.push(name),
        }
        self.change(change(Arc::new(new)));
    }

    fn change(&mut self, change: Change) {
        self.next.apply(&change);
        self.plan.changes.push(change);
    }

    fn bmc(&mut self, declared: &BmcDeclaration) {
        let BmcDeclaration { line: _, name, xname, mac, address, fqdn, annotations } = declared.clone();
        let old = self.inventory.bmcs.get(&name);
        let mut bmc = old.map_or_else(
            || Bmc {
                name: name.clone(),
                xname: None,
                mac: None,
                address: None,
                fqdn: None,
                annotations: BTreeMap::new(),
            },
            |old| Bmc::clone(old),
        );
        set(&mut bmc.xname, xname);
        set(&mut bmc.mac, mac);
        set(&mut bmc.address, address);
        set(&mut bmc.fqdn, fqdn);
        bmc.annotations.extend(annotations);
        self.put(format!("bmc {name}"), old, bmc, Change::PutBmc);
    }

    fn group(&mut self, declared: &GroupDeclaration) {
        let GroupDeclaration { line: _, name, description, priority, loader, annotations } = declared.clone();
        let old = self.inventory.groups.get(&name);
        let mut group = old.map_or_else(|| Group::new(name.clone()), |old| Group::clone(old));
        group.description = description.unwrap_or(group.description);
        group.priority = priority.unwrap_or(group.priority);
        set(&mut group.loader, loader);
        group.annotations.extend(annotations);
        self.put(format!("group {name}"), old, group, Change::PutGroup);
    }

    /// Plans all nodes; returns those that the document mentions.
    fn nodes(&mut self, document: &Document) -> BTreeSet<NodeId> {
        let inventory = self.inventory;
        let index = Index::of(inventory);
        let bmcs = bmc_index(&self.next);
        let mut seen: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut names: BTreeMap<&NodeName, usize> = BTreeMap::new();
        let mut fresh = inventory.next_node;
        for (position, declared) in document.nodes.iter().enumerate() {
            if let Some(line) = names.insert(&declared.name, declared.line) {
                let text = format!("the name {} is also used on line {line}", declared.name);
                self.problems.add(declared.line, format!("nodes[{position}].name"), text);
                continue;
            }
            let id = index.find(declared).unwrap_or_else(|| {
                let id = NodeId(fresh);
                fresh = fresh.saturating_add(1);
                id
            });
            if let Some(line) = seen.insert(id, declared.line) {
                let text =
                    format!("this is the same node as on line {line}, by its xname or hardware address");
                self.problems.add(declared.line, format!("nodes[{position}].name"), text);
                continue;
            }
            let old = inventory.nodes.get(&id);
            let Some(node) = self.node(declared, position, id, old, &bmcs) else { continue };
            self.put(declared.name.to_string(), old, node, Change::PutNode);
        }
        seen.into_keys().collect()
    }

    fn node(
        &mut self,
        declared: &NodeDeclaration,
        position: usize,
        id: NodeId,
        old: Option<&Arc<Node>>,
        bmcs: &BTreeMap<String, BmcName>,
    ) -> Option<Node> {
        let NodeDeclaration {
            line,
            name,
            xname,
            nid,
            uuid,
            arch,
            role,
            groups,
            interfaces,
            bmc,
            policy,
            loader,
            annotations,
        } = declared.clone();
        let mut node = old.map_or_else(|| Node::new(id, name.clone()), |old| Node::clone(old));
        node.name = name;
        set(&mut node.xname, xname);
        set(&mut node.nid, nid);
        set(&mut node.uuid, uuid);
        set(&mut node.arch, arch);
        set(&mut node.role, role);
        set(&mut node.loader, loader);
        node.groups = groups.unwrap_or(node.groups);
        node.interfaces = interfaces.unwrap_or(node.interfaces);
        node.policy = policy.unwrap_or(node.policy);
        node.annotations.extend(annotations);
        match bmc {
            Some(Some(wanted)) => match bmcs.get(&wanted.to_ascii_lowercase()) {
                Some(name) => node.bmc = Some(name.clone()),
                None => {
                    let text = format!("no BMC is called {wanted}");
                    self.problems.add(line, format!("nodes[{position}].bmc"), text);
                    return None;
                }
            },
            Some(None) => node.bmc = None,
            // A node's BMC is the one that its xname says, where there is one of that name.
            None if node.bmc.is_none() => {
                let parent = node.xname.as_ref().and_then(Xname::parent);
                node.bmc = parent.and_then(|parent| bmcs.get(parent.as_str()).cloned());
            }
            None => {}
        }
        Some(node)
    }

    fn assignment(&mut self, declared: &AssignmentDeclaration) {
        let Some(selector) = self.selector(&declared.whom) else {
            let text = "there is no such node";
            self.problems.add(declared.line, "assignments.node", text);
            return;
        };
        let name = match &declared.whom {
            Whom::Node(name) => format!("assignment for {name}"),
            Whom::Mac(_) | Whom::Group(_) | Whom::Role(_) | Whom::Default => {
                format!("assignment for {selector}")
            }
        };
        let assignment = Assignment { selector, once: declared.once, boot: declared.boot.clone() };
        let old = self.inventory.assignments.get(&assignment.key());
        self.put(name, old, assignment, Change::PutAssignment);
    }

    fn prune(&mut self, document: &Document, kept: &BTreeSet<NodeId>) {
        let inventory = self.inventory;
        let mut gone: Vec<(String, Change)> = Vec::new();
        for node in inventory.nodes.values().filter(|node| !kept.contains(&node.id)) {
            gone.push((node.name.to_string(), Change::RemoveNode(node.id)));
        }
        let bmcs: BTreeSet<_> = document.bmcs.iter().map(|bmc| &bmc.name).collect();
        for name in inventory.bmcs.keys().filter(|name| !bmcs.contains(name)) {
            gone.push((format!("bmc {name}"), Change::RemoveBmc(name.clone())));
        }
        if let Some(groups) = &document.groups {
            let mut named: BTreeSet<_> = groups.iter().map(|group| group.name.clone()).collect();
            named.extend(document.nodes.iter().flat_map(|node| node.groups.clone().unwrap_or_default()));
            for name in inventory.groups.keys().filter(|name| !named.contains(*name)) {
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
                gone.push((
                    format!("assignment for {}", key.selector),
                    Change::RemoveAssignment(key.clone()),
                ));
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
            Whom::Mac(mac) => Selector::Mac(*mac),
            Whom::Group(group) => Selector::Group(group.clone()),
            Whom::Role(role) => Selector::Role(role.clone()),
            Whom::Default => Selector::Default,
            Whom::Node(name) => Selector::Node(*self.names.get(name)?),
        })
    }

    fn key_of(&self, declared: &AssignmentDeclaration) -> Option<AssignmentKey> {
        Some(AssignmentKey { selector: self.selector(&declared.whom)?, lasting: !declared.once })
    }

    /// Whole-state problems that the import would cause, mapped back to lines.
    fn check(&mut self, document: &Document, site: &Site) {
        let after = validate(&self.next, site);
        if after.is_empty() {
            return;
        }
        let before: BTreeSet<_> = validate(self.inventory, site).into_iter().collect();
        let nodes =
            document.nodes.iter().map(|node| (Subject::Node(node.name.to_string()).to_string(), node.line));
        let bmcs = document.bmcs.iter().map(|bmc| (Subject::Bmc(bmc.name.to_string()).to_string(), bmc.line));
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        for (subject, line) in nodes.chain(bmcs) {
            lines.entry(subject).or_insert(line); // a name that stands twice has been reported
        }
        for problem in after.into_iter().filter(|problem| !before.contains(problem)) {
            let subject = problem.subject.to_string();
            let line = lines.get(&subject).copied().unwrap_or(0);
            // A duplicate names its other holder, which may stand in this document too.
            let other = problem.text.rsplit_once(" by ").and_then(|(_, holder)| lines.get(holder));
            let also = other.map(|line| format!(" (line {line})")).unwrap_or_default();
            self.problems.add(
                line,
                format!("{subject}: {}", problem.field),
                format!("{}{also}", problem.text),
            );
        }
    }
}

/// Puts what a document says into a field; what it does not mention stays.
fn set<T>(field: &mut Option<T>, said: Option<Option<T>>) {
    if let Some(said) = said {
        *field = said;
    }
}

/// Existing nodes by what a document may know them by: name, else xname, else a hardware address.
struct Index<'a> {
    names: BTreeMap<&'a NodeName, NodeId>,
    xnames: BTreeMap<Xname, NodeId>,
    macs: BTreeMap<Mac, NodeId>,
}

impl Index<'_> {
    fn of(inventory: &Inventory) -> Index<'_> {
        let nodes = || inventory.nodes.values();
        let macs = nodes().flat_map(|node| node.interfaces.iter().map(|interface| (interface.mac, node.id)));
        Index {
            names: nodes().map(|node| (&node.name, node.id)).collect(),
            xnames: nodes().map(|node| (node.effective_xname(), node.id)).collect(),
            macs: macs.collect(),
        }
    }

    fn find(&self, declared: &NodeDeclaration) -> Option<NodeId> {
        let by_xname = || self.xnames.get(declared.xname.as_ref()?.as_ref()?);
        let by_mac =
            || declared.interfaces.iter().flatten().find_map(|interface| self.macs.get(&interface.mac));
        self.names.get(&declared.name).or_else(by_xname).or_else(by_mac).copied()
    }
}

/// BMCs by name and by xname.
fn bmc_index(inventory: &Inventory) -> BTreeMap<String, BmcName> {
    let names = inventory.bmcs.keys().map(|name| (name.to_string(), name.clone()));
    let xnames =
        inventory.bmcs.values().filter_map(|bmc| Some((bmc.xname.as_ref()?.to_string(), bmc.name.clone())));
    xnames.chain(names).collect()
}
