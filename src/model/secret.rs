//! Secrets: what nodes get and nobody else may read. Values are sealed before they come here and opened again by
//! the vault alone; this room sees octets without a meaning.

use std::fmt;
use std::sync::Arc;

use crate::base::{GroupName, Level, SecretName, Timestamp};
use crate::model::{Inventory, NodeId};

/// Whose a secret is, from the most to the least specific. The order is the precedence: a node's own hides its
/// groups', and those hide the site's of the same name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    Node(NodeId),
    Group(GroupName),
    Site,
}

/// The key under which a secret is kept. Sorted by scope, so that what one node or group has lies together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SecretKey {
    pub scope: Scope,
    pub name: SecretName,
}

/// A secret, with those of its versions that are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secret {
    pub key: SecretKey,
    /// The level that a node must reach to get it.
    pub min_level: Level,
    pub what: What,
    pub rotate: Rotate,
    /// The oldest first. Empty only for host keys that each node gets on demand.
    pub versions: Vec<Version>,
}

/// What a secret is on a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    File(Target),
    /// A line `NAME=value` in a file of environment variables.
    Env {
        file: String,
        name: String,
    },
    /// The node's own SSH host keys.
    SshHostKey,
    /// munge's key, where munge looks for it.
    MungeKey,
    /// Nothing that a node writes by itself: templates and programs ask for it.
    Opaque,
}

/// Where a file is written, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    pub path: String,
    pub owner: String,
    pub group: String,
    /// Permission bits. Others than owner and group have none.
    pub mode: u16,
}

/// How nodes come to a new version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rotate {
    /// When they boot.
    NextBoot,
    /// At once.
    Push,
    /// Staged everywhere first, then used by all at one time.
    Coordinated,
}

/// One value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version {
    /// Rises; what was removed does not come back.
    pub number: u64,
    pub created: Timestamp,
    pub by: String,
    pub sealed: Sealed,
}

/// A sealed value. Shown by its length alone.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Arc<[u8]>);

impl SecretKey {
    /// The key before which no other of this scope sorts.
    #[must_use]
    pub fn first(scope: Scope) -> SecretKey {
        SecretKey { scope, name: "0".parse().expect("the first of all characters is a name") }
    }

    /// How people write it: `munge`, `munge@group:compute`, `munge@node:nid001`. A node that is gone goes by its
    /// number.
    #[must_use]
    pub fn shown(&self, inventory: &Inventory) -> String {
        match &self.scope {
            Scope::Site | Scope::Group(_) => self.row(),
            Scope::Node(id) => match inventory.nodes.get(id) {
                Some(node) => format!("{}@node:{}", self.name, node.name),
                None => self.row(),
            },
        }
    }

    /// Its key in the store, to which its values are bound. It never changes, whatever a node is called.
    #[must_use]
    pub fn row(&self) -> String {
        match &self.scope {
            Scope::Site => self.name.to_string(),
            Scope::Group(group) => format!("{}@group:{group}", self.name),
            Scope::Node(id) => format!("{}@node#{}", self.name, id.0),
        }
    }
}

impl Secret {
    /// The version that nodes get.
    #[must_use]
    pub fn current(&self) -> Option<&Version> {
        self.versions.last()
    }

    #[must_use]
    pub fn version(&self, number: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The number that the next version gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.current().map_or(1, |version| version.number.saturating_add(1))
    }

    /// True if this is what one node has of host keys that are made for each.
    #[must_use]
    pub fn is_made_on_demand(&self) -> bool {
        self.what == What::SshHostKey && matches!(self.key.scope, Scope::Node(_))
    }
}

impl What {
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            What::File(_) => "file",
            What::Env { .. } => "env",
            What::SshHostKey => "ssh_host_key",
            What::MungeKey => "munge_key",
            What::Opaque => "opaque",
        }
    }

    /// Where its file lies on the node; none: there is no single one.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        match self {
            What::File(target) => Some(target.clone()),
            What::MungeKey => Some(Target {
                path: "/etc/munge/munge.key".to_owned(),
                owner: "munge".to_owned(),
                group: "munge".to_owned(),
                mode: 0o400,
            }),
            What::Env { .. } | What::SshHostKey | What::Opaque => None,
        }
    }
}

impl Rotate {
    pub const ALL: [Rotate; 3] = [Rotate::NextBoot, Rotate::Push, Rotate::Coordinated];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Rotate::NextBoot => "next-boot",
            Rotate::Push => "push",
            Rotate::Coordinated => "coordinated",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Rotate> {
        Rotate::ALL.into_iter().find(|rotate| rotate.as_str() == name)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sealed octets", self.0.len())
    }
}
