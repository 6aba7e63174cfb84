//! Profiles and assignments: what to boot, and who boots it.

use crate::base::{GroupName, Mac, ProfileName, Xname};
use crate::model::{Arch, BootTarget, Nid, NodeId};

/// A reusable boot target with a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    pub name: ProfileName,
    pub description: String,
    pub target: BootTarget,
}

/// Whom an assignment is for, from the most to the least specific. The order is the precedence.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Selector {
    /// One interface, whether its machine is declared or not.
    Mac(Mac),
    Node(NodeId),
    /// The node of this xname, whether it is declared yet or not.
    Xname(Xname),
    /// The node of this number, whether it is declared yet or not.
    Nid(Nid),
    Group(GroupName),
    /// Nodes of this role, compared without case.
    Role(String),
    /// Every declared node.
    Default,
    /// Machines that nobody declared: of this processor family, or of any.
    Unknown(Option<Arch>),
}

/// Selector to profile or target. At most one lasting and one one-shot assignment per selector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    pub selector: Selector,
    /// True: holds for one boot, before every lasting one; consumed when its script is sent.
    pub once: bool,
    pub boot: Boot,
}

/// What an assignment assigns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Boot {
    Profile(ProfileName),
    Target(BootTarget),
}

/// The key under which an assignment is kept: one-shots sort before lasting ones of the same selector.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AssignmentKey {
    pub selector: Selector,
    pub lasting: bool,
}

impl Assignment {
    #[must_use]
    pub fn key(&self) -> AssignmentKey {
        AssignmentKey { selector: self.selector.clone(), lasting: !self.once }
    }
}
