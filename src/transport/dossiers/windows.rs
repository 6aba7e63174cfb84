//! Groups whose new TPMs are let in for a while without that anybody compares codes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::{GroupName, Timestamp};
use crate::model::Node;

/// A group whose window is open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    pub group: GroupName,
    pub until: Timestamp,
    /// Who opened it.
    pub by: String,
}

/// All of them. At most one for each declared group: who opens one checks that the group is there.
#[derive(Default)]
pub struct Windows(Mutex<BTreeMap<GroupName, Window>>);

impl Windows {
    /// Opens a group's window, or moves its end.
    pub fn open(&self, window: Window) {
        self.lock().insert(window.group.clone(), window);
    }

    /// Shuts it. False: it was shut.
    pub fn shut(&self, group: &GroupName) -> bool {
        self.lock().remove(group).is_some()
    }

    /// Those that are open.
    #[must_use]
    pub fn all(&self, now: Timestamp) -> Vec<Window> {
        let mut windows = self.lock();
        windows.retain(|_, window| now < window.until);
        windows.values().cloned().collect()
    }

    /// The window by which a node comes in.
    #[must_use]
    pub fn of(&self, node: &Node, now: Timestamp) -> Option<Window> {
        let windows = self.lock();
        let mut open = node.groups.iter().filter_map(|group| windows.get(group));
        open.find(|window| now < window.until).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<GroupName, Window>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
