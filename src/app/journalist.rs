//! Writes changes of the inventory into the journal: compares each published snapshot with the one before.

use std::sync::Arc;

use tokio::sync::watch;

use crate::base::shared::Difference;
use crate::base::{SharedMap, Timestamp};
use crate::model::{Inventory, Revision, Snapshot, SnapshotCell};
use crate::transport::clock::now;
use crate::transport::journal::{Entry, Journal};
use crate::transport::tasks::Tasks;

/// Things of one kind that are named one by one; an import of more is one event that counts them.
const NAMED_MAX: usize = 100;

/// Starts writing.
pub fn start(
    cell: Arc<SnapshotCell>,
    mut published: watch::Receiver<Revision>,
    journal: Journal,
    tasks: &Tasks,
) {
    let stop = tasks.token();
    tasks.spawn("journalist", async move {
        let mut known = cell.load();
        loop {
            tokio::select! {
                () = stop.cancelled() => return journal.close(),
                changed = published.changed() => if changed.is_err() { return },
            }
            let next = cell.load();
            let (old, new) = (Arc::clone(&known), Arc::clone(&next));
            let compared = tokio::task::spawn_blocking(move || compare(&old, &new, now())).await;
            compared.unwrap_or_default().into_iter().for_each(|entry| journal.write(entry));
            known = next;
        }
    });
}

/// What happened to a thing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Added,
    Changed,
    Removed,
}

impl Fate {
    fn as_str(self) -> &'static str {
        match self {
            Fate::Added => "added",
            Fate::Changed => "changed",
            Fate::Removed => "removed",
        }
    }
}

fn compare(old: &Snapshot, new: &Snapshot, now: Timestamp) -> Vec<Entry> {
    let (before, after): (&Inventory, &Inventory) = (&old.inventory, &new.inventory);
    let mut entries = Vec::new();
    let mut tell = |what: &'static str, things: Vec<(Fate, String)>| {
        for fate in [Fate::Added, Fate::Changed, Fate::Removed] {
            let of_fate = || things.iter().filter(|(other, _)| *other == fate).map(|(_, name)| name);
            let count = of_fate().count();
            let entry = |text| {
                let entry = Entry::new(now, "inventory", text).with("fate", fate.as_str()).with("what", what);
                entry.with("revision", new.revision.0)
            };
            if count > NAMED_MAX {
                entries.push(entry(format!("{count} {what}s {}", fate.as_str())).with("count", count));
                continue;
            }
            entries.extend(of_fate().map(|name| {
                let node = (what == "node").then_some(name.as_str());
                entry(format!("{what} {name} {}", fate.as_str())).node(node).with("name", name)
            }));
        }
    };
    tell("node", differences(&before.nodes, &after.nodes, |_, node| node.name.to_string()));
    tell("bmc", differences(&before.bmcs, &after.bmcs, |name, _| name.to_string()));
    tell("group", differences(&before.groups, &after.groups, |name, _| name.to_string()));
    tell("profile", differences(&before.profiles, &after.profiles, |name, _| name.to_string()));
    tell(
        "secret",
        differences(&before.secrets, &after.secrets, |key, _| {
            // One that went with its node is called by the node's last name.
            if after.secrets.contains_key(key) { key.shown(after) } else { key.shown(before) }
        }),
    );
    tell(
        "TPM",
        differences(&before.identities, &after.identities, |id, _| {
            let node = new.node(*id).or_else(|| old.node(*id));
            node.map_or_else(|| format!("of node {}", id.0), |node| format!("of {}", node.name))
        }),
    );
    tell(
        "assignment",
        differences(&before.assignments, &after.assignments, |_, assignment| match assignment.selector {
            crate::model::Selector::Node(id) => {
                let node = new.node(id).or_else(|| old.node(id));
                node.map_or_else(|| assignment.selector.to_string(), |node| format!("node {}", node.name))
            }
            _ => assignment.selector.to_string(),
        }),
    );
    entries
}

/// What differs between two maps, by the same walk that publishes it.
fn differences<K: Ord, V: PartialEq>(
    old: &SharedMap<K, Arc<V>>,
    new: &SharedMap<K, Arc<V>>,
    name: impl Fn(&K, &V) -> String,
) -> Vec<(Fate, String)> {
    let Difference { put, gone } = old.difference(new);
    let put = put.into_iter().filter_map(|(key, former, value)| match former {
        None => Some((Fate::Added, name(key, value))),
        Some(former) => (former != value).then(|| (Fate::Changed, name(key, value))),
    });
    put.chain(gone.into_iter().map(|(key, value)| (Fate::Removed, name(key, value)))).collect()
}
