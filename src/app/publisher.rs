//! Publishes snapshots: watches what the store declares, compiles it off the packet path, and swaps it in.
//! By level: revisions that pass while one is compiled are skipped.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::model::{Inventory, Revision, Site, Snapshot, SnapshotCell};
use crate::transport::tasks::Tasks;

/// How long the publisher waits for more changes before it compiles: a script that sets a hundred nodes one
/// by one then costs a few compilations and not a hundred. Callers wait for it, so it is short.
const QUIET: Duration = Duration::from_millis(5);

/// Starts publishing. The returned watch rises when a revision can be read.
#[must_use]
pub fn start(
    cell: Arc<SnapshotCell>,
    site: Arc<Site>,
    declared: watch::Receiver<(Revision, Arc<Inventory>)>,
    tasks: &Tasks,
) -> watch::Receiver<Revision> {
    let (published, watch) = watch::channel(cell.load().revision);
    let stopping = tasks.clone();
    tasks.spawn("publisher", async move {
        tokio::select! {
            () = publish(&cell, &site, declared, &published) => {
                tracing::error!("the store has ended; changes are no longer published");
            }
            () = stopping.stopping() => {}
        }
    });
    watch
}

async fn publish(
    cell: &SnapshotCell,
    site: &Arc<Site>,
    mut declared: watch::Receiver<(Revision, Arc<Inventory>)>,
    published: &watch::Sender<Revision>,
) {
    while declared.changed().await.is_ok() {
        tokio::time::sleep(QUIET).await;
        let (revision, inventory) = declared.borrow_and_update().clone();
        let site = Arc::clone(site);
        let compiled =
            tokio::task::spawn_blocking(move || Snapshot::compile(revision, site, inventory)).await;
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
