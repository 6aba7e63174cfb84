//! What the rooms around sessions ask of the vault's owner: which secrets a node is to have.

use crate::base::Level;
use crate::engine::trust::contents::Choice;
use crate::model::{Node, Snapshot};

/// Knows what each node is to have.
pub trait Secrets: Send + Sync {
    /// Whether the node has any secret that needs more than its address: without one it boots as ever.
    fn wants(&self, snapshot: &Snapshot, node: &Node) -> bool;

    /// What the node gets at this level, and what it does not get.
    fn choose(&self, snapshot: &Snapshot, node: &Node, level: Level) -> Choice;

    /// The values that the node gets at this level, by the key of each secret, for who asks later what a node
    /// had. None: they are called as the items of `choose`.
    fn values(&self, _: &Snapshot, _: &Node, _: Level) -> Option<Vec<(String, u64)>> {
        None
    }
}

/// A site without secrets.
#[derive(Clone, Copy, Default, Debug)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn wants(&self, _: &Snapshot, _: &Node) -> bool {
        false
    }

    fn choose(&self, _: &Snapshot, _: &Node, _: Level) -> Choice {
        Choice::default()
    }
}
