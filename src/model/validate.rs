//! Checks that declared state makes sense as a whole. All problems at once, each with its subject and field.

use std::collections::BTreeMap;
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
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Node(name) => write!(f, "node {name}"),
            Subject::Bmc(name) => write!(f, "bmc {name}"),
            Subject::Assignment(key) => write!(f, "assignment for {key}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.subject, self.field, self.text)
    }
}

/// Checks references, duplicates and the address plan.
#[must_use]
pub fn validate(inventory: &Inventory, site: &Site) -> Vec<Problem> {
    let mut check = Check { site, problems: Vec::new(), seen: BTreeMap::new() };
    for node in inventory.nodes.values() {
        check.node(node, inventory);
    }
    for bmc in inventory.bmcs.values() {
        check.bmc(bmc);
    }
    for assignment in inventory.assignments.values() {
        check.assignment(&assignment.selector, &assignment.boot, inventory);
    }
    check.problems
}

/// What must be unique, and in which space.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Unique {
    Name(String),
    Mac(Mac),
    Address(Ipv4Addr),
    Xname(String),
    Nid(u32),
}

struct Check<'a> {
    site: &'a Site,
    problems: Vec<Problem>,
    seen: BTreeMap<Unique, Subject>,
}

impl Check<'_> {
    fn node(&mut self, node: &Node, inventory: &Inventory) {
        let subject = Subject::Node(node.name.to_string());
        self.unique(&subject, "name", Unique::Name(node.name.to_string()));
        self.unique(&subject, "xname", Unique::Xname(node.effective_xname().to_string()));
        if let Some(nid) = node.nid {
            self.unique(&subject, "nid", Unique::Nid(nid.0));
        }
        for (index, interface) in node.interfaces.iter().enumerate() {
            self.mac(&subject, &format!("interfaces[{index}].mac"), interface.mac);
            let field = format!("interfaces[{index}].addresses");
            for address in &interface.addresses {
                self.address(&subject, &field, *address);
            }
        }
        if let Some(bmc) = node.bmc.as_ref().filter(|bmc| !inventory.bmcs.contains_key(*bmc)) {
            self.report(&subject, "bmc", format!("no BMC is called {bmc}"));
        }
    }

    fn bmc(&mut self, bmc: &Bmc) {
        let subject = Subject::Bmc(bmc.name.to_string());
        self.unique(&subject, "name", Unique::Name(bmc.name.to_string()));
        if let Some(xname) = &bmc.xname {
            self.unique(&subject, "xname", Unique::Xname(xname.to_string()));
        }
        if let Some(mac) = bmc.mac {
            self.mac(&subject, "mac", mac);
        }
        if let Some(address) = bmc.address {
            self.unique(&subject, "address", Unique::Address(address));
        }
    }

    fn assignment(&mut self, selector: &Selector, boot: &Boot, inventory: &Inventory) {
        let subject = Subject::Assignment(selector.to_string());
        match selector {
            Selector::Node(id) if !inventory.nodes.contains_key(id) => {
                self.report(&subject, "selector", "there is no such node".to_owned());
            }
            Selector::Group(group) if !inventory.groups.contains_key(group) => {
                self.report(&subject, "selector", format!("no group is called {group}"));
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
            self.report(&subject, "profile", format!("no profile is called {profile}"));
        }
    }

    fn mac(&mut self, subject: &Subject, field: &str, mac: Mac) {
        if !mac.is_unicast() {
            self.report(subject, field, format!("{mac} is not the address of one station"));
        }
        self.unique(subject, field, Unique::Mac(mac));
    }

    /// A node's address must lie in a network, and must not be the head's or the edge of it.
    fn address(&mut self, subject: &Subject, field: &str, address: Ipv4Addr) {
        self.unique(subject, field, Unique::Address(address));
        if self.site.networks.is_empty() {
            return;
        }
        match self.site.network_of(address) {
            None => self.report(subject, field, format!("{address} is outside every network")),
            Some(network) if !network.address.is_host(address) => {
                let text = format!("{address} is the network or broadcast address of {}", network.name);
                self.report(subject, field, text);
            }
            Some(network) if network.head() == Some(address) => {
                self.report(subject, field, format!("{address} is the head's own on {}", network.name));
            }
            Some(_) => {}
        }
    }

    fn unique(&mut self, subject: &Subject, field: &str, value: Unique) {
        let text = match self.seen.get(&value) {
            Some(other) => format!("{value} is also used by {other}"),
            None => {
                self.seen.insert(value, subject.clone());
                return;
            }
        };
        self.report(subject, field, text);
    }

    fn report(&mut self, subject: &Subject, field: &str, text: String) {
        self.problems.push(Problem { subject: subject.clone(), field: field.to_owned(), text });
    }
}

impl fmt::Display for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unique::Name(text) | Unique::Xname(text) => f.write_str(text),
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
