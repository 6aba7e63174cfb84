//! Checks that declared state makes sense as a whole. All problems at once, each with its subject and field.

mod images;

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::Ipv4Addr;

use crate::base::Mac;
use crate::model::profile::Boot;
use crate::model::{Bmc, Inventory, Node, Selector, Site};

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
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Node(name) => write!(f, "node {name}"),
            Subject::Bmc(name) => write!(f, "bmc {name}"),
            Subject::Assignment(key) => write!(f, "assignment for {key}"),
            Subject::Profile(name) => write!(f, "profile {name}"),
            Subject::Tag(key) => write!(f, "tag {key}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.subject, self.field, self.text)
    }
}

/// Checks references, duplicates and the address plan. Runs on every change: it borrows what it remembers.
#[must_use]
pub fn validate(inventory: &Inventory, site: &Site) -> Vec<Problem> {
    let seen = HashMap::with_capacity(inventory.nodes.len().saturating_mul(UNIQUE_PER_NODE));
    let mut check = Check { site, problems: Vec::new(), seen };
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
    check.problems
}

/// Values that must be unique and that most nodes have: name, xname, nid, MAC, address.
const UNIQUE_PER_NODE: usize = 5;

/// What must be unique, and in which space.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Unique<'a> {
    Name(&'a str),
    Mac(Mac),
    Address(Ipv4Addr),
    Xname(Cow<'a, str>),
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
}

impl<'a> Check<'a> {
    fn node(&mut self, node: &'a Node, inventory: &Inventory) {
        let thing = Thing::Node(node);
        self.unique(thing, Field::Plain("name"), Unique::Name(node.name.as_str()));
        let xname = match &node.xname {
            Some(xname) => Cow::Borrowed(xname.as_str()),
            None => Cow::Owned(node.effective_xname().to_string()),
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
        if let Some(bmc) = node.bmc.as_ref().filter(|bmc| !inventory.bmcs.contains_key(*bmc)) {
            self.report(thing, Field::Plain("bmc"), format!("no BMC is called {bmc}"));
        }
    }

    fn bmc(&mut self, bmc: &'a Bmc) {
        let thing = Thing::Bmc(bmc);
        self.unique(thing, Field::Plain("name"), Unique::Name(bmc.name.as_str()));
        if let Some(xname) = &bmc.xname {
            self.unique(thing, Field::Plain("xname"), Unique::Xname(Cow::Borrowed(xname.as_str())));
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
        let text = match self.seen.entry(value) {
            Entry::Occupied(other) => format!("{} is also used by {}", other.key(), other.get().subject()),
            Entry::Vacant(free) => {
                free.insert(thing);
                return;
            }
        };
        self.report(thing, field, text);
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
            Unique::Xname(text) => f.write_str(text),
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
