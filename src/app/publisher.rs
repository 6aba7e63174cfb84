//! Publishes snapshots: watches what the store declares, leads the last snapshot on to it off the packet path,
//! and swaps it in. By level: revisions that pass while one is compiled are skipped.

use std::sync::Arc;

use tokio::sync::watch;

use crate::model::{Inventory, Revision, SnapshotCell};
use crate::transport::tasks::Tasks;

/// Starts publishing. The returned watch rises when a revision can be read.
#[must_use]
pub fn start(
    cell: Arc<SnapshotCell>,
    declared: watch::Receiver<(Revision, Arc<Inventory>)>,
    tasks: &Tasks,
) -> watch::Receiver<Revision> {
    let (published, watch) = watch::channel(cell.load().revision);
    let stopping = tasks.clone();
    tasks.spawn("publisher", async move {
        tokio::select! {
            () = publish(&cell, declared, &published) => {
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
    published: &watch::Sender<Revision>,
) {
    while declared.changed().await.is_ok() {
        let (revision, inventory) = declared.borrow_and_update().clone();
        let last = cell.load();
        let compiled = tokio::task::spawn_blocking(move || last.advance(revision, inventory)).await;
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
