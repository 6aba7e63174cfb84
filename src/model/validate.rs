//! Checks that declared state makes sense as a whole. All problems at once, each with its subject and field.

mod identities;
mod images;
mod secrets;

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::Ipv4Addr;

use crate::base::{BmcName, Mac, Xname};
use crate::model::profile::Boot;
use crate::model::snapshot::{Holder, Machine};
use crate::model::{Bmc, Inventory, Nid, Node, NodeId, Selector, Site, Snapshot};

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Problem {
    /// What it is about.
    pub subject: Subject,
    /// Which field of it, as the API spells it.
    pub field: String,
    /// What is wrong, naming the value.
    pub text: String,
}

/// What a problem is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    Node(String),
    Bmc(String),
    Assignment(String),
    Profile(String),
    Tag(String),
    Secret(String),
    Tpm(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Node(name) => write!(f, "node {name}"),
            Subject::Bmc(name) => write!(f, "bmc {name}"),
            Subject::Assignment(key) => write!(f, "assignment for {key}"),
            Subject::Profile(name) => write!(f, "profile {name}"),
            Subject::Tag(key) => write!(f, "tag {key}"),
            Subject::Secret(key) => write!(f, "secret {key}"),
            Subject::Tpm(node) => write!(f, "TPM of {node}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.subject, self.field, self.text)
    }
}

/// Checks references, duplicates and the address plan of the whole.
#[must_use]
pub fn validate(inventory: &Inventory, site: &Site) -> Vec<Problem> {
    let mut check = Check::new(site, inventory.nodes.len(), None);
    for node in inventory.nodes.values() {
        check.node(node, inventory);
    }
    for bmc in inventory.bmcs.values() {
        check.bmc(bmc);
    }
    for assignment in inventory.assignments.values() {
        check.assignment(&assignment.selector, &assignment.boot, inventory);
    }
    check.problems.extend(images::images(inventory));
    check.problems.extend(inventory.identities.values().flat_map(|one| identities::identity(inventory, one)));
    check.problems.extend(inventory.secrets.values().flat_map(|one| secrets::secret(inventory, one)));
    check.problems
}

/// Problems that a change causes: those of `next` that are not there before. Problems that were there before
/// do not block repairing others. Looks only at what differs, and at what pointed to something that is gone;
/// everything else is as sound as it was.
#[must_use]
pub fn caused(before: &Snapshot, next: &Inventory) -> Vec<Problem> {
    let (site, now) = (&*before.site, &*before.inventory);
    if before.has_clashes() {
        // The indices do not know all holders of a value.
        let known: BTreeSet<_> = validate(now, site).into_iter().collect();
        return validate(next, site).into_iter().filter(|problem| !known.contains(problem)).collect();
    }
    let (nodes, bmcs) = (now.nodes.difference(&next.nodes), now.bmcs.difference(&next.bmcs));
    let assignments = now.assignments.difference(&next.assignments);
    let put = nodes.put.iter().map(|(id, ..)| **id);
    let beside = Beside {
        before,
        nodes: put.chain(nodes.gone.iter().map(|(id, _)| **id)).collect(),
        bmcs: bmcs
            .put
            .iter()
            .map(|(name, ..)| *name)
            .chain(bmcs.gone.iter().map(|(name, _)| *name))
            .collect(),
    };
    let mut after = Check::new(site, nodes.put.len(), Some(&beside));
    let mut former = Check::new(site, nodes.put.len(), None);
    for (_, old, node) in &nodes.put {
        after.node(node, next);
        old.iter().for_each(|old| former.node(old, now));
    }
    for (_, old, bmc) in &bmcs.put {
        after.bmc(bmc);
        old.iter().for_each(|old| former.bmc(old));
    }
    for (_, old, assignment) in &assignments.put {
        after.assignment(&assignment.selector, &assignment.boot, next);
        old.iter().for_each(|old| former.assignment(&old.selector, &old.boot, now));
    }
    // A successor of the same name may have the problems of what went.
    nodes.gone.iter().for_each(|(_, node)| former.node(node, now));
    bmcs.gone.iter().for_each(|(_, bmc)| former.bmc(bmc));
    if !bmcs.gone.is_empty() {
        let left = |node: &&std::sync::Arc<Node>| {
            !beside.nodes.contains(&node.id) && node.bmc.as_ref().is_some_and(|bmc| beside.bmcs.contains(bmc))
        };
        next.nodes.values().filter(left).for_each(|node| after.reference(node, next));
    }
    let lost = !nodes.gone.is_empty()
        || !now.groups.difference(&next.groups).gone.is_empty()
        || !now.profiles.difference(&next.profiles).gone.is_empty();
    if lost {
        for (check, inventory) in [(&mut after, next), (&mut former, now)] {
            for assignment in inventory.assignments.values() {
                check.assignment(&assignment.selector, &assignment.boot, inventory);
            }
        }
    }
    let known: BTreeSet<_> = former.problems.into_iter().collect();
    let mut told = BTreeSet::new();
    let mut problems = after.problems;
    problems.extend(images::caused(now, next));
    problems.extend(secrets::caused(now, next));
    problems.extend(identities::caused(now, next));
    problems.retain(|problem| !known.contains(problem) && told.insert(problem.clone()));
    problems
}

/// What a change leaves as it is: holders of values beside the things that it touches.
struct Beside<'a> {
    before: &'a Snapshot,
    /// Touched.
    nodes: HashSet<NodeId>,
    bmcs: HashSet<&'a BmcName>,
}

impl<'a> Beside<'a> {
    fn holder(&self, value: &Unique<'_>) -> Option<Thing<'a>> {
        let machine = |machine: Machine<'a>| match machine {
            Machine::Node { node, .. } => Holder::Node(node),
            Machine::Bmc(bmc) => Holder::Bmc(bmc),
        };
        let holder = match value {
            Unique::Name(name) => self.before.name_holder(name),
            Unique::Mac(mac) => self.before.by_mac(*mac).map(machine),
            Unique::Address(address) => self.before.by_address(*address).map(machine),
            Unique::Xname(xname) => self.before.xname_holder(xname),
            Unique::Nid(nid) => self.before.by_nid(Nid(*nid)).map(|node| Holder::Node(node)),
        };
        match holder? {
            Holder::Node(node) => (!self.nodes.contains(&node.id)).then_some(Thing::Node(node)),
            Holder::Bmc(bmc) => (!self.bmcs.contains(&bmc.name)).then_some(Thing::Bmc(bmc)),
        }
    }
}

/// Values that must be unique and that most nodes have: name, xname, nid, MAC, address.
const UNIQUE_PER_NODE: usize = 5;

/// What must be unique, and in which space.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Unique<'a> {
    Name(&'a str),
    Mac(Mac),
    Address(Ipv4Addr),
    Xname(Cow<'a, Xname>),
    Nid(u32),
}

/// What is being looked at; becomes a `Subject` if something is wrong with it.
#[derive(Clone, Copy)]
enum Thing<'a> {
    Node(&'a Node),
    Bmc(&'a Bmc),
    Assignment(&'a Selector),
}

/// Which field of it; becomes text if something is wrong with it.
#[derive(Clone, Copy)]
enum Field {
    Plain(&'static str),
    OfInterface(usize, &'static str),
}

struct Check<'a> {
    site: &'a Site,
    problems: Vec<Problem>,
    seen: HashMap<Unique<'a>, Thing<'a>>,
    /// None: all things are looked at.
    beside: Option<&'a Beside<'a>>,
}

impl<'a> Check<'a> {
    fn new(site: &'a Site, nodes: usize, beside: Option<&'a Beside<'a>>) -> Check<'a> {
        let seen = HashMap::with_capacity(nodes.saturating_mul(UNIQUE_PER_NODE));
        Check { site, problems: Vec::new(), seen, beside }
    }

    fn node(&mut self, node: &'a Node, inventory: &Inventory) {
        let thing = Thing::Node(node);
        self.unique(thing, Field::Plain("name"), Unique::Name(node.name.as_str()));
        let xname = match &node.xname {
            Some(xname) => Cow::Borrowed(xname),
            None => Cow::Owned(node.effective_xname()),
        };
        self.unique(thing, Field::Plain("xname"), Unique::Xname(xname));
        if let Some(nid) = node.nid {
            self.unique(thing, Field::Plain("nid"), Unique::Nid(nid.0));
        }
        for (index, interface) in node.interfaces.iter().enumerate() {
            self.mac(thing, Field::OfInterface(index, "mac"), interface.mac);
            for address in &interface.addresses {
                self.address(thing, Field::OfInterface(index, "addresses"), *address);
            }
        }
        self.reference(node, inventory);
    }

    fn reference(&mut self, node: &'a Node, inventory: &Inventory) {
        let thing = Thing::Node(node);
        if let Some(bmc) = node.bmc.as_ref().filter(|bmc| !inventory.bmcs.contains_key(*bmc)) {
            self.report(thing, Field::Plain("bmc"), format!("no BMC is called {bmc}"));
        }
    }

    fn bmc(&mut self, bmc: &'a Bmc) {
        let thing = Thing::Bmc(bmc);
        self.unique(thing, Field::Plain("name"), Unique::Name(bmc.name.as_str()));
        if let Some(xname) = &bmc.xname {
            self.unique(thing, Field::Plain("xname"), Unique::Xname(Cow::Borrowed(xname)));
        }
        if let Some(mac) = bmc.mac {
            self.mac(thing, Field::Plain("mac"), mac);
        }
        if let Some(address) = bmc.address {
            self.unique(thing, Field::Plain("address"), Unique::Address(address));
        }
    }

    fn assignment(&mut self, selector: &'a Selector, boot: &Boot, inventory: &Inventory) {
        let thing = Thing::Assignment(selector);
        let field = Field::Plain("selector");
        match selector {
            Selector::Node(id) if !inventory.nodes.contains_key(id) => {
                self.report(thing, field, "there is no such node".to_owned());
            }
            Selector::Group(group) if !inventory.groups.contains_key(group) => {
                self.report(thing, field, format!("no group is called {group}"));
            }
            Selector::Node(_) | Selector::Group(_) => {}
            Selector::Mac(_)
            | Selector::Xname(_)
            | Selector::Nid(_)
            | Selector::Role(_)
            | Selector::Default
            | Selector::Unknown(_) => {}
        }
        if let Boot::Profile(profile) = boot
            && !inventory.profiles.contains_key(profile)
        {
            self.report(thing, Field::Plain("profile"), format!("no profile is called {profile}"));
        }
    }

    fn mac(&mut self, thing: Thing<'a>, field: Field, mac: Mac) {
        if !mac.is_unicast() {
            self.report(thing, field, format!("{mac} is not the address of one station"));
        }
        self.unique(thing, field, Unique::Mac(mac));
    }

    /// A node's address must lie in a network, and must not be the head's or the edge of it.
    fn address(&mut self, thing: Thing<'a>, field: Field, address: Ipv4Addr) {
        self.unique(thing, field, Unique::Address(address));
        if self.site.networks.is_empty() {
            return;
        }
        match self.site.network_of(address) {
            None => self.report(thing, field, format!("{address} is outside every network")),
            Some(network) if !network.address.is_host(address) => {
                let text = format!("{address} is the network or broadcast address of {}", network.name);
                self.report(thing, field, text);
            }
            Some(network) if network.head() == Some(address) => {
                self.report(thing, field, format!("{address} is the head's own on {}", network.name));
            }
            Some(_) => {}
        }
    }

    fn unique(&mut self, thing: Thing<'a>, field: Field, value: Unique<'a>) {
        let beside = self.beside.and_then(|beside| beside.holder(&value));
        let (value, other) = match (beside, self.seen.entry(value)) {
            (Some(other), Entry::Vacant(free)) => (free.into_key(), other),
            (_, Entry::Occupied(other)) => (other.key().clone(), *other.get()),
            (None, Entry::Vacant(free)) => {
                free.insert(thing);
                return;
            }
        };
        self.report(thing, field, format!("{value} is also used by {}", other.subject()));
    }

    fn report(&mut self, thing: Thing<'_>, field: Field, text: String) {
        self.problems.push(Problem { subject: thing.subject(), field: field.to_string(), text });
    }
}

impl Thing<'_> {
    fn subject(self) -> Subject {
        match self {
            Thing::Node(node) => Subject::Node(node.name.to_string()),
            Thing::Bmc(bmc) => Subject::Bmc(bmc.name.to_string()),
            Thing::Assignment(selector) => Subject::Assignment(selector.to_string()),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Plain(name) => f.write_str(name),
            Field::OfInterface(index, name) => write!(f, "interfaces[{index}].{name}"),
        }
    }
}

impl fmt::Display for Unique<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unique::Name(text) => f.write_str(text),
            Unique::Xname(xname) => xname.fmt(f),
            Unique::Mac(mac) => mac.fmt(f),
            Unique::Address(address) => address.fmt(f),
            Unique::Nid(nid) => write!(f, "nid {nid}"),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::Mac(mac) => write!(f, "mac {mac}"),
            Selector::Node(id) => write!(f, "node #{}", id.0),
            Selector::Group(group) => write!(f, "group {group}"),
            Selector::Role(role) => write!(f, "role {role}"),
            Selector::Xname(xname) => write!(f, "xname {xname}"),
            Selector::Nid(nid) => write!(f, "nid {}", nid.0),
            Selector::Default => f.write_str("default"),
            Selector::Unknown(None) => f.write_str("unknown machines"),
            Selector::Unknown(Some(arch)) => write!(f, "unknown {} machines", arch.as_str()),
        }
    }
}

#[cfg(test)]
mod tests;
