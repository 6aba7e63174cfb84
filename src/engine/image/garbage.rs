//! Which versions of images nobody needs any more. What is kept is kept for a reason that is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::base::{Digest, ImageName, Millis, Timestamp};
use crate::model::{Image, ImageKey, ImageRef, Inventory, TagKey};

/// What to keep beyond what is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The newest versions of each image, tagged or not.
    pub newest: usize,
    /// Versions younger than this: somebody may be about to tag them.
    pub younger: Millis,
}

/// Why a version is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    Tagged(TagKey),
    /// A tag named it before: a rollback would need it.
    RollbackOf(TagKey),
    /// An assignment or a profile is pinned to it.
    Pinned(String),
    /// A machine is downloading it, or has its root on it.
    Streaming,
    /// A machine booted it since the head started.
    Booted(String),
    Young,
    Newest,
}

/// What would go and what stays.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    pub gone: Vec<Arc<Image>>,
    pub kept: BTreeMap<ImageKey, Reason>,
}

/// What machines use, as far as the head knows.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    /// Content of streams under way.
    pub streaming: BTreeSet<Digest>,
    /// Versions that machines booted, with one machine for each.
    pub booted: BTreeMap<Digest, String>,
}

/// Plans what to remove. Of several reasons to keep a version the strongest is told.
#[must_use]
pub fn plan(inventory: &Inventory, uses: &Uses, policy: Policy, now: Timestamp) -> Plan {
    let pinned = pinned(inventory);
    let newest = newest(inventory, policy.newest);
    let mut plan = Plan::default();
    for (key, image) in inventory.images.iter() {
        let tags = || inventory.tags.values().filter(|tag| tag.key.name == key.name);
        let named = tags().find(|tag| tag.version == key.version);
        // Only the last step back: older ones were left behind twice.
        let before = || tags().find(|tag| tag.before.first().is_some_and(|(old, _)| *old == key.version));
        let reason = named
            .map(|tag| Reason::Tagged(tag.key.clone()))
            .or_else(|| pinned.get(key).cloned().map(Reason::Pinned))
            .or_else(|| {
                image.files().any(|file| uses.streaming.contains(&file.digest)).then_some(Reason::Streaming)
            })
            .or_else(|| uses.booted.get(&key.version).cloned().map(Reason::Booted))
            .or_else(|| before().map(|tag| Reason::RollbackOf(tag.key.clone())))
            .or_else(|| newest.contains(key).then_some(Reason::Newest))
            .or_else(|| (now.since(image.created) < policy.younger).then_some(Reason::Young));
        match reason {
            Some(reason) => drop(plan.kept.insert(key.clone(), reason)),
            None => plan.gone.push(Arc::clone(image)),
        }
    }
    plan
}

/// Versions that assignments and profiles name by their digests, and who does; of several, a profile.
fn pinned(inventory: &Inventory) -> BTreeMap<ImageKey, String> {
    let mut pinned = BTreeMap::new();
    for (image, who) in inventory.image_users() {
        if let ImageRef::Version(key) = image {
            pinned.entry(key.clone()).or_insert_with(|| who.to_string());
        }
    }
    pinned
}

fn newest(inventory: &Inventory, count: usize) -> BTreeSet<ImageKey> {
    let mut by_name: BTreeMap<&ImageName, Vec<&Arc<Image>>> = BTreeMap::new();
    for image in inventory.images.values() {
        by_name.entry(&image.name).or_default().push(image);
    }
    let newest = by_name.into_values().flat_map(|mut versions| {
        versions.sort_by_key(|image| std::cmp::Reverse(image.created));
        versions.into_iter().take(count).map(|image| image.key())
    });
    newest.collect()
}

/// The content of all images.
#[must_use]
pub fn referenced(inventory: &Inventory) -> BTreeSet<Digest> {
    inventory.images.values().flat_map(|image| image.files()).map(|file| file.digest).collect()
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Tagged(tag) => write!(f, "tag {tag}"),
            Reason::RollbackOf(tag) => write!(f, "a rollback of {tag} would need it"),
            Reason::Pinned(who) => write!(f, "{who} is pinned to it"),
            Reason::Streaming => f.write_str("a machine is downloading it"),
            Reason::Booted(node) => write!(f, "{node} booted it"),
            Reason::Young => f.write_str("it is young"),
            Reason::Newest => f.write_str("it is among the newest"),
        }
    }
}

#[cfg(test)]
mod tests;
