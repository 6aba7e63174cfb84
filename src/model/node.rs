//! Nodes: the machines that are managed.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::{BmcName, GroupName, NodeName, Uuid, Xname};
use crate::model::{Arch, Interface};

/// A node's internal number: given at creation, never reused, the same on every head.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u64);

/// The number by which Cray-style systems and Slurm count nodes. Optional and unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Nid(pub u32);

/// The switch every node has: what the head does when the node asks to boot.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BootPolicy {
    /// Give it its address and boot it.
    #[default]
    Serve,
    /// Never answer it.
    Ignore,
    /// Give it its address, but no loader; iPXE is told to leave, so that the local disk boots.
    LocalDisk,
}

/// A managed machine. A name and one interface suffice; all else is optional.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    pub id: NodeId,
    pub name: NodeName,
    pub xname: Option<Xname>,
    pub nid: Option<Nid>,
    /// SMBIOS identity, as people read it. Never a key by itself: boards share it.
    pub uuid: Option<Uuid>,
    pub arch: Option<Arch>,
    /// What the node is for, in the words of the site (`Compute`, `Service` …).
    pub role: Option<String>,
    pub groups: BTreeSet<GroupName>,
    /// The first interface is the one it boots from unless another asks first.
    pub interfaces: Vec<Interface>,
    pub bmc: Option<BmcName>,
    pub policy: BootPolicy,
    /// File name of the loader, instead of the one that the firmware's class would get.
    pub loader: Option<String>,
    /// What foreign models say about the node and ours has no place for.
    pub annotations: BTreeMap<String, String>,
}

impl Node {
    /// A node with nothing but a name.
    #[must_use]
    pub fn new(id: NodeId, name: NodeName) -> Node {
        Node {
            id,
            name,
            xname: None,
            nid: None,
            uuid: None,
            arch: None,
            role: None,
            groups: BTreeSet::new(),
            interfaces: Vec::new(),
            bmc: None,
            policy: BootPolicy::default(),
            loader: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The role; a node that nobody gave one computes.
    #[must_use]
    pub fn role_or_default(&self) -> &str {
        self.role.as_deref().unwrap_or("Compute")
    }

    /// The declared xname, else the one synthesised from the internal number.
    #[must_use]
    pub fn effective_xname(&self) -> Xname {
        self.xname.clone().unwrap_or_else(|| Xname::synthetic(self.id.0))
    }
}

impl BootPolicy {
    pub const ALL: [(BootPolicy, &str); 3] =
        [(BootPolicy::Serve, "serve"), (BootPolicy::Ignore, "ignore"), (BootPolicy::LocalDisk, "local")];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BootPolicy::Serve => "serve",
            BootPolicy::Ignore => "ignore",
            BootPolicy::LocalDisk => "local",
        }
    }

    /// The policy of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<BootPolicy> {
        BootPolicy::ALL.into_iter().find(|(_, known)| *known == name).map(|(policy, _)| policy)
    }
}
