//! Publishes snapshots: watches what the store declares, leads the last snapshot on to it off the packet path,
//! and swaps it in. By level: revisions that pass while one is compiled are skipped.

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::{Inventory, Revision, Site, Snapshot, SnapshotCell};
use crate::transport::tasks::Tasks;

/// Starts publishing. The returned watch rises when a revision can be read.
#[must_use]
pub fn start(
    cell: Arc<SnapshotCell>,
    declared: watch::Receiver<(Revision, Arc<Inventory>)>,
    tasks: &Tasks,
) -> watch::Receiver<Revision> {
    let site = watch::channel(Arc::clone(&cell.load().site)).1;
    start_following(cell, declared, site, tasks)
}

/// The same, when the site may change too: whom loaders are to trust changes while the daemon runs.
#[must_use]
pub fn start_following(
    cell: Arc<SnapshotCell>,
    declared: watch::Receiver<(Revision, Arc<Inventory>)>,
    site: watch::Receiver<Arc<Site>>,
    tasks: &Tasks,
) -> watch::Receiver<Revision> {
    let (published, watch) = watch::channel(cell.load().revision);
    let stopping = tasks.clone();
    tasks.spawn("publisher", async move {
        tokio::select! {
            () = publish(&cell, declared, site, &published) => {
                tracing::error!("the store has ended; changes are no longer published");
            }
            () = stopping.stopping() => {}
        }
    });
    watch
}

async fn publish(
    cell: &SnapshotCell,
    mut declared: watch::Receiver<(Revision, Arc<Inventory>)>,
    mut site: watch::Receiver<Arc<Site>>,
    published: &watch::Sender<Revision>,
) {
    loop {
        tokio::select! {
            changed = declared.changed() => if changed.is_err() { return },
            Ok(()) = site.changed() => {}
        }
        let (revision, inventory) = declared.borrow_and_update().clone();
        let (last, site) = (cell.load(), Arc::clone(&site.borrow_and_update()));
        let compile = move || {
            if *last.site == *site {
                last.advance(revision, inventory)
            } else {
                Snapshot::compile(revision, site, inventory)
            }
        };
        let compiled = tokio::task::spawn_blocking(compile).await;
        match compiled {
            Ok(snapshot) => {
                cell.publish(Arc::new(snapshot));
                published.send_replace(revision);
                tracing::debug!(revision = revision.0, "snapshot published");
            }
            Err(error) => tracing::error!(%error, "a snapshot could not be compiled"),
        }
    }
}
