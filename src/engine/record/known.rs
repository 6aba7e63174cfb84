//! Which declared node a machine may be that nobody declared: by its UUID (option 97), which firmware sends by
//! every port.

use std::collections::HashMap;

use crate::base::{Timestamp, Uuid};
use crate::model::{Revision, Snapshot};

/// An index is made anew at most so often: whoever changes the inventory a lot must not slow the recorder.
const RENEWAL_MS: u64 = 30_000;

/// Nodes by UUID.
#[derive(Clone, Default, Debug)]
pub(crate) struct Known {
    declared: HashMap<Uuid, String>,
    /// Seen from a declared node's interface.
    heard: HashMap<Uuid, String>,
    of: Option<(Revision, Timestamp)>,
}

impl Known {
    /// A declared node's interface sends this UUID.
    pub(crate) fn heard(&mut self, uuid: Uuid, node: &str) {
        if self.heard.get(&uuid).is_none_or(|known| known != node) {
            self.heard.insert(uuid, node.to_owned()); // as many as there are declared machines
        }
    }

    /// The node that this UUID belongs to, as far as is known.
    pub(crate) fn node(&mut self, uuid: Uuid, snapshot: &Snapshot, now: Timestamp) -> Option<String> {
        if let Some(node) = self.heard.get(&uuid).filter(|node| snapshot.find(node).is_some()) {
            return Some(node.clone());
        }
        let stale = self
            .of
            .is_none_or(|(revision, made)| revision != snapshot.revision && now.since(made).0 >= RENEWAL_MS);
        if stale {
            let nodes = snapshot.inventory.nodes.values();
            self.declared = nodes.filter_map(|node| Some((node.uuid?, node.name.to_string()))).collect();
            self.of = Some((snapshot.revision, now));
        }
        self.declared.get(&uuid).cloned()
    }
}
