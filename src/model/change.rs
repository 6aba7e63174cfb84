//! Changes: the only way to alter declared state.

use std::sync::Arc;

use crate::base::{BmcName, GroupName, ProfileName};
use crate::model::profile::AssignmentKey;
use crate::model::{
    Assignment, Bmc, Document, DocumentKey, Group, Identity, Image, ImageKey, Node, NodeId, Profile, Secret,
    SecretKey, Tag, TagKey,
};

/// The version of declared state. Rises by one with each committed change set.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Revision(pub u64);

impl Revision {
    #[must_use]
    pub fn next(self) -> Revision {
        Revision(self.0.saturating_add(1))
    }
}

/// One alteration: the whole new value of one thing, or its removal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    PutNode(Arc<Node>),
    RemoveNode(NodeId),
    PutBmc(Arc<Bmc>),
    RemoveBmc(BmcName),
    PutGroup(Arc<Group>),
    RemoveGroup(GroupName),
    PutProfile(Arc<Profile>),
    RemoveProfile(ProfileName),
    PutAssignment(Arc<Assignment>),
    RemoveAssignment(AssignmentKey),
    PutDocument(Arc<Document>),
    RemoveDocument(DocumentKey),
    PutImage(Arc<Image>),
    RemoveImage(ImageKey),
    PutTag(Arc<Tag>),
    RemoveTag(TagKey),
    PutSecret(Arc<Secret>),
    RemoveSecret(SecretKey),
    PutIdentity(Arc<Identity>),
    RemoveIdentity(NodeId),
}

/// Changes that take effect together, planned against one revision.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ChangeSet {
    /// The revision that the plan was made on; the store refuses it on any other.
    pub base: Revision,
    pub changes: Vec<Change>,
}
