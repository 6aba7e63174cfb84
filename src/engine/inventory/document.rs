//! What a document declares, in our words, with the lines it stands on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

use crate::base::limits::PROBLEMS_MAX;
use crate::base::{BmcName, GroupName, Mac, NodeName, ProfileName, Uuid, Xname};
use crate::model::profile::Boot;
use crate::model::{Arch, BootPolicy, BootTarget, Nid, Selector};

/// One thing that is wrong in a document.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ImportProblem {
    /// From one; 0 if it belongs to no line.
    pub line: usize,
    /// Path of the field: `nodes[3].interfaces[0].mac_addr`.
    pub field: String,
    pub text: String,
}

/// The problems of a document, at most `PROBLEMS_MAX`; the rest is counted.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Problems {
    pub list: Vec<ImportProblem>,
    /// Problems beyond the limit.
    pub more: usize,
}

/// What a document says about a field: nothing (None), that there is none (Some(None)), or a value.
pub type Field<T> = Option<Option<T>>;

/// Everything a document declares.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Document {
    pub nodes: Vec<NodeDeclaration>,
    pub bmcs: Vec<BmcDeclaration>,
    /// False: the document says nothing about nodes, and pruning leaves them alone.
    pub has_nodes: bool,
    /// The same of BMCs. True also if only nodes tell about theirs.
    pub has_bmcs: bool,
    /// None: the document has no such section, and pruning leaves those alone.
    pub groups: Option<Vec<GroupDeclaration>>,
    pub profiles: Option<Vec<ProfileDeclaration>>,
    pub assignments: Option<Vec<AssignmentDeclaration>>,
    /// What the form says and our model cannot hold, for people.
    pub notes: Vec<String>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct NodeDeclaration {
    pub line: usize,
    pub name: NodeName,
    pub xname: Field<Xname>,
    pub nid: Field<Nid>,
    pub uuid: Field<Uuid>,
    pub arch: Field<Arch>,
    pub role: Field<String>,
    pub groups: Option<BTreeSet<GroupName>>,
    pub interfaces: Option<Interfaces>,
    pub bmc: Field<BmcRef>,
    pub policy: Option<BootPolicy>,
    pub loader: Field<String>,
    /// Joined with those the node has.
    pub annotations: BTreeMap<String, String>,
}

/// What a document says about a node's ports.
#[derive(Clone, PartialEq, Debug)]
pub enum Interfaces {
    /// All of them.
    All(Vec<InterfaceDeclaration>),
    /// One; the form has no room for more, so that others of the node stay.
    One(InterfaceDeclaration),
}

#[derive(Clone, PartialEq, Debug)]
pub struct InterfaceDeclaration {
    pub name: Field<String>,
    pub mac: Mac,
    pub addresses: Option<Vec<Ipv4Addr>>,
}

/// Which BMC a node has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BmcRef {
    /// By name or xname, in the document or in the inventory.
    Named(String),
    /// The entry of `Document::bmcs` that was made for what stands in the node.
    Entry(usize),
}

#[derive(Clone, PartialEq, Debug)]
pub struct BmcDeclaration {
    pub line: usize,
    pub name: BmcName,
    /// False: the name was made up. A BMC with the same hardware address, xname or address is the same one,
    /// whatever it is called.
    pub named: bool,
    pub xname: Field<Xname>,
    pub mac: Field<Mac>,
    pub address: Field<Ipv4Addr>,
    pub fqdn: Field<String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct GroupDeclaration {
    pub line: usize,
    pub name: GroupName,
    pub description: Option<String>,
    pub priority: Option<i32>,
    pub loader: Field<String>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct ProfileDeclaration {
    pub line: usize,
    pub name: ProfileName,
    pub description: Option<String>,
    pub target: BootTarget,
}

/// For whom an assignment is, before names are looked up.
#[derive(Clone, PartialEq, Debug)]
pub enum Whom {
    Node(NodeName),
    /// Everything that needs no looking up.
    Direct(Selector),
}

#[derive(Clone, PartialEq, Debug)]
pub struct AssignmentDeclaration {
    pub line: usize,
    pub whom: Whom,
    pub once: bool,
    pub boot: Boot,
}

impl Interfaces {
    #[must_use]
    pub fn as_slice(&self) -> &[InterfaceDeclaration] {
        match self {
            Interfaces::All(list) => list,
            Interfaces::One(one) => std::slice::from_ref(one),
        }
    }
}

impl Problems {
    pub fn add(&mut self, line: usize, field: impl Into<String>, text: impl Into<String>) {
        self.push(ImportProblem { line, field: field.into(), text: text.into() });
    }

    pub fn push(&mut self, problem: ImportProblem) {
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(problem);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// In the order of lines; those without a line come first.
    #[must_use]
    pub fn sorted(mut self) -> Problems {
        self.list.sort_by_key(|problem| problem.line);
        self
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl fmt::Display for ImportProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if self.field.is_empty() {
            f.write_str(&self.text)
        } else {
            write!(f, "{}: {}", self.field, self.text)
        }
    }
}
