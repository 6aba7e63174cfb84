//! The inventory: all declared state of one revision.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use crate::base::{BmcName, Digest, GroupName, ImageName, ProfileName, SharedMap};
use crate::model::document::NODE_INSTANCE_SHELF;
use crate::model::profile::{AssignmentKey, Boot};
use crate::model::secret::Scope;
use crate::model::{
    Assignment, Bmc, BootTarget, Change, Document, DocumentKey, EkFingerprint, Group, Identity, Image,
    ImageKey, ImageRef, Node, NodeId, Profile, Secret, SecretKey, Selector, Tag, TagKey,
};

/// Declared state. Cloning is cheap (copies share what they have in common), so that a change can be
/// tried on a copy.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Inventory {
    pub nodes: SharedMap<NodeId, Arc<Node>>,
    pub bmcs: SharedMap<BmcName, Arc<Bmc>>,
    pub groups: SharedMap<GroupName, Arc<Group>>,
    pub profiles: SharedMap<ProfileName, Arc<Profile>>,
    pub assignments: SharedMap<AssignmentKey, Arc<Assignment>>,
    /// What APIs keep that the rest of the model has no place for.
    pub documents: SharedMap<DocumentKey, Arc<Document>>,
    pub images: SharedMap<ImageKey, Arc<Image>>,
    pub tags: SharedMap<TagKey, Arc<Tag>>,
    pub secrets: SharedMap<SecretKey, Arc<Secret>>,
    /// Nodes' TPMs.
    pub identities: SharedMap<NodeId, Arc<Identity>>,
    /// Whose each endorsement key is; follows from `identities`.
    eks: SharedMap<EkFingerprint, NodeId>,
    /// The number that the next node gets. Never falls.
    pub next_node: u64,
}

/// Who boots by a reference to an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageUser<'a> {
    Profile(&'a ProfileName),
    Assignment(&'a Selector),
}

impl fmt::Display for ImageUser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageUser::Profile(name) => write!(f, "profile {name}"),
            ImageUser::Assignment(selector) => write!(f, "the assignment for {selector}"),
        }
    }
}

impl Inventory {
    /// Applies one change. Removing what is not there does nothing: changes are idempotent. Groups that a
    /// node names come to life with it; what pointed to a removed node or profile goes with it.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::PutNode(node) => {
                for group in &node.groups {
                    if !self.groups.contains_key(group) {
                        self.groups.insert(group.clone(), Arc::new(Group::new(group.clone())));
                    }
                }
                self.next_node = self.next_node.max(node.id.0.saturating_add(1));
                self.nodes.insert(node.id, Arc::clone(node));
            }
            Change::RemoveNode(id) => {
                self.nodes.remove(id);
                for lasting in [false, true] {
                    self.assignments.remove(&AssignmentKey { selector: Selector::Node(*id), lasting });
                }
                self.documents.remove(&DocumentKey::new(NODE_INSTANCE_SHELF, &id.0.to_string()));
                self.remove_secrets(&Scope::Node(*id));
                self.remove_identity(*id);
            }
            Change::PutBmc(bmc) => {
                self.bmcs.insert(bmc.name.clone(), Arc::clone(bmc));
            }
            Change::RemoveBmc(name) => {
                self.bmcs.remove(name);
            }
            Change::PutGroup(group) => {
                self.groups.insert(group.name.clone(), Arc::clone(group));
            }
            Change::RemoveGroup(name) => self.remove_group(name),
            Change::PutProfile(profile) => {
                self.profiles.insert(profile.name.clone(), Arc::clone(profile));
            }
            Change::RemoveProfile(name) => {
                self.profiles.remove(name);
            }
            Change::PutAssignment(assignment) => {
                self.assignments.insert(assignment.key(), Arc::clone(assignment));
            }
            Change::RemoveAssignment(key) => {
                self.assignments.remove(key);
            }
            Change::PutDocument(document) => {
                self.documents.insert(document.key.clone(), Arc::clone(document));
            }
            Change::RemoveDocument(key) => {
                self.documents.remove(key);
            }
            Change::PutImage(image) => {
                self.images.insert(image.key(), Arc::clone(image));
            }
            Change::RemoveImage(key) => {
                self.images.remove(key);
            }
            Change::PutTag(tag) => {
                self.tags.insert(tag.key.clone(), Arc::clone(tag));
            }
            Change::RemoveTag(key) => {
                self.tags.remove(key);
            }
            Change::PutSecret(secret) => {
                self.secrets.insert(secret.key.clone(), Arc::clone(secret));
            }
            Change::RemoveSecret(key) => {
                self.secrets.remove(key);
            }
            Change::PutIdentity(identity) => self.put_identity(Arc::clone(identity)),
            Change::RemoveIdentity(id) => self.remove_identity(*id),
        }
    }

    /// Takes an identity in. Of two nodes with one key the later has it, which `validate` refuses.
    pub(crate) fn put_identity(&mut self, identity: Arc<Identity>) {
        self.remove_identity(identity.node);
        if let Some(ek) = identity.ek {
            self.eks.insert(ek, identity.node);
        }
        self.identities.insert(identity.node, identity);
    }

    fn remove_identity(&mut self, id: NodeId) {
        let ek = self.identities.remove(&id).and_then(|identity| identity.ek);
        if let Some(ek) = ek.filter(|ek| self.holder(ek) == Some(id)) {
            self.eks.remove(&ek);
        }
    }

    /// The node to which an endorsement key belongs, also if it is revoked.
    #[must_use]
    pub fn holder(&self, ek: &EkFingerprint) -> Option<NodeId> {
        self.eks.get(ek).copied()
    }

    fn remove_group(&mut self, name: &GroupName) {
        self.groups.remove(name);
        self.assignments.retain(|key, _| key.selector != Selector::Group(name.clone()));
        self.remove_secrets(&Scope::Group(name.clone()));
        let members: Vec<_> = self.members(name).cloned().collect();
        for mut node in members {
            Arc::make_mut(&mut node).groups.remove(name);
            self.nodes.insert(node.id, node);
        }
    }

    fn remove_secrets(&mut self, scope: &Scope) {
        let gone: Vec<SecretKey> = self.secrets_of(scope).map(|secret| secret.key.clone()).collect();
        gone.iter().for_each(|key| drop(self.secrets.remove(key)));
    }

    /// The secrets of one scope, by their names.
    pub fn secrets_of<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a Arc<Secret>> {
        let from = SecretKey::first(scope.clone());
        self.secrets
            .range_from(Bound::Included(&from))
            .take_while(move |(key, _)| key.scope == *scope)
            .map(|(_, secret)| secret)
    }

    /// The documents of one shelf, by their ids.
    pub fn shelf<'a>(&'a self, shelf: &'a str) -> impl Iterator<Item = &'a Arc<Document>> {
        let from = DocumentKey::new(shelf, "");
        self.documents
            .range_from(Bound::Included(&from))
            .take_while(move |(key, _)| &*key.shelf == shelf)
            .map(|(_, document)| document)
    }

    /// One document.
    #[must_use]
    pub fn document(&self, shelf: &str, id: &str) -> Option<&Arc<Document>> {
        self.documents.get(&DocumentKey::new(shelf, id))
    }

    /// The version that a reference names now.
    #[must_use]
    pub fn image(&self, reference: &ImageRef) -> Option<&Arc<Image>> {
        match reference {
            ImageRef::Version(key) => self.images.get(key),
            ImageRef::Tag(key) => {
                let version = self.tags.get(key)?.version;
                self.images.get(&ImageKey { name: key.name.clone(), version })
            }
        }
    }

    /// References to images, and who boots by them: profiles, then assignments.
    pub fn image_users(&self) -> impl Iterator<Item = (&ImageRef, ImageUser<'_>)> {
        let profiles = self.profiles.values().map(|one| (&one.target, ImageUser::Profile(&one.name)));
        let assignments = self.assignments.values().filter_map(|one| match &one.boot {
            Boot::Target(target) => Some((target, ImageUser::Assignment(&one.selector))),
            Boot::Profile(_) => None,
        });
        profiles.chain(assignments).filter_map(|(target, who)| match target {
            BootTarget::Image { image, .. } => Some((image, who)),
            BootTarget::Linux { .. }
            | BootTarget::Script(_)
            | BootTarget::Chain(_)
            | BootTarget::LocalDisk => None,
        })
    }

    /// The versions of one image, by their digests.
    pub fn versions<'a>(&'a self, name: &'a ImageName) -> impl Iterator<Item = &'a Arc<Image>> {
        let from = ImageKey { name: name.clone(), version: Digest([0; 32]) };
        self.images
            .range_from(Bound::Included(&from))
            .take_while(move |(key, _)| key.name == *name)
            .map(|(_, image)| image)
    }

    /// Nodes of a group, in the order of their numbers.
    pub fn members<'a>(&'a self, group: &'a GroupName) -> impl Iterator<Item = &'a Arc<Node>> {
        self.nodes.values().filter(move |node| node.groups.contains(group))
    }

    /// Groups that some node belongs to.
    #[must_use]
    pub fn used_groups(&self) -> BTreeSet<&GroupName> {
        self.nodes.values().flat_map(|node| &node.groups).collect()
    }
}
