//! What an import would do, in words: names by fate, and which fields change.

use std::collections::BTreeMap;

use crate::model::{Assignment, Bmc, Group, Identity, Image, Node, Profile, Secret, Tag};

/// Names by fate. Others than nodes have their kind in front: `bmc bmc01`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Report {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    pub unchanged: usize,
    /// Which fields of each changed thing, as the API spells them.
    pub fields: BTreeMap<String, Vec<&'static str>>,
    /// What was not carried over, in sentences.
    pub notes: Vec<String>,
}

/// Things whose fields can be compared. Full destructuring makes a new field a compile error here.
pub(crate) trait Differs: PartialEq {
    /// Fields in which `other` differs.
    fn differs(&self, other: &Self) -> Vec<&'static str>;
}

/// A version of an image never changes.
impl Differs for Image {
    fn differs(&self, _other: &Image) -> Vec<&'static str> {
        Vec::new()
    }
}

impl Differs for Tag {
    fn differs(&self, other: &Tag) -> Vec<&'static str> {
        let Tag { key: _, version, since: _, before: _ } = self;
        unequal([("version", *version == other.version)])
    }
}

/// Of values only that they differ.
impl Differs for Secret {
    fn differs(&self, other: &Secret) -> Vec<&'static str> {
        let Secret { key: _, min_level, what, rotate, versions } = self;
        unequal([
            ("min_level", *min_level == other.min_level),
            ("what", *what == other.what),
            ("rotate", *rotate == other.rotate),
            ("value", *versions == other.versions),
        ])
    }
}

impl Differs for Identity {
    fn differs(&self, other: &Identity) -> Vec<&'static str> {
        let Identity { node: _, ek, revoked, how, by: _, at: _ } = self;
        unequal([("ek", *ek == other.ek), ("revoked", *revoked == other.revoked), ("how", *how == other.how)])
    }
}

/// The names behind those comparisons that fail.
fn unequal<const N: usize>(pairs: [(&'static str, bool); N]) -> Vec<&'static str> {
    pairs.into_iter().filter(|(_, equal)| !equal).map(|(name, _)| name).collect()
}

impl Differs for Node {
    fn differs(&self, other: &Node) -> Vec<&'static str> {
        let Node {
            id: _,
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
        } = self;
        unequal([
            ("name", *name == other.name),
            ("xname", *xname == other.xname),
            ("nid", *nid == other.nid),
            ("uuid", *uuid == other.uuid),
            ("arch", *arch == other.arch),
            ("role", *role == other.role),
            ("groups", *groups == other.groups),
            ("interfaces", *interfaces == other.interfaces),
            ("bmc", *bmc == other.bmc),
            ("policy", *policy == other.policy),
            ("loader", *loader == other.loader),
            ("annotations", *annotations == other.annotations),
        ])
    }
}

impl Differs for Bmc {
    fn differs(&self, other: &Bmc) -> Vec<&'static str> {
        let Bmc { name, xname, mac, address, fqdn, annotations } = self;
        unequal([
            ("name", *name == other.name),
            ("xname", *xname == other.xname),
            ("mac", *mac == other.mac),
            ("address", *address == other.address),
            ("fqdn", *fqdn == other.fqdn),
            ("annotations", *annotations == other.annotations),
        ])
    }
}

impl Differs for Group {
    fn differs(&self, other: &Group) -> Vec<&'static str> {
        let Group { name: _, description, priority, loader, annotations } = self;
        unequal([
            ("description", *description == other.description),
            ("priority", *priority == other.priority),
            ("loader", *loader == other.loader),
            ("annotations", *annotations == other.annotations),
        ])
    }
}

impl Differs for Profile {
    fn differs(&self, other: &Profile) -> Vec<&'static str> {
        let Profile { name: _, description, target } = self;
        unequal([("description", *description == other.description), ("target", *target == other.target)])
    }
}

impl Differs for Assignment {
    fn differs(&self, other: &Assignment) -> Vec<&'static str> {
        let Assignment { selector: _, once: _, boot } = self;
        unequal([("boot", *boot == other.boot)])
    }
}
