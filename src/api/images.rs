//! What the head remembers of images beside what is declared: who booted what, and whose turn it is to make or
//! remove one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::MutexGuard;

use crate::base::Digest;
use crate::base::limits::BOOTED_VERSIONS_MAX;

/// Shared by all clones.
#[derive(Clone, Debug, Default)]
pub struct ImageUse {
    keeper: Arc<tokio::sync::Mutex<()>>,
    // A lock and not a task with messages: one insertion for each boot script, one walk for a collection.
    booted: Arc<Mutex<BTreeMap<Digest, String>>>,
    /// Content that machines have their roots on, and how many.
    mounted: Arc<Mutex<BTreeMap<Digest, usize>>>,
}

/// A machine has its root on this content, until this is dropped.
pub struct Mounted {
    all: Arc<Mutex<BTreeMap<Digest, usize>>>,
    digest: Digest,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&self.digest) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(all.remove(&self.digest)),
        }
    }
}

impl ImageUse {
    /// Waits for the turn to make an image of files or to remove files: what was looked at stays while the guard
    /// lives.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.keeper.lock().await
    }

    /// A machine has its root on this content.
    #[must_use]
    pub fn mount(&self, digest: Digest) -> Mounted {
        let mut all = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(digest).or_default();
        *count = count.saturating_add(1);
        Mounted { all: Arc::clone(&self.mounted), digest }
    }

    /// Content that machines have their roots on.
    #[must_use]
    pub fn mounted(&self) -> BTreeSet<Digest> {
        self.mounted.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// A machine was told to boot this version. Of very many versions some are forgotten.
    pub fn booted(&self, version: Digest, machine: &str) {
        let mut booted = self.booted.lock().unwrap_or_else(PoisonError::into_inner);
        if booted.len() < BOOTED_VERSIONS_MAX || booted.contains_key(&version) {
            booted.insert(version, machine.to_owned());
        }
    }

    /// The versions that machines booted since the head started, with the last machine of each.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Digest, String> {
        self.booted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
