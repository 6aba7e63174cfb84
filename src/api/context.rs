//! What handlers may reach, and the one way in which they change declared state.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{Mutex, watch};

use crate::api::about::About;
use crate::api::images::ImageUse;
use crate::api::node::NodeTrust;
use crate::api::problem::Problem;
use crate::api::who::{Who, named};
use crate::base::Timestamp;
use crate::engine::cloud_init::calls::{Call, Calls};
use crate::model::audit::Outcome;
use crate::model::validate::caused;
use crate::model::{Change, ChangeSet, Inventory, NodeId, Revision, Snapshot, SnapshotCell};
use crate::store::{Store, StoreError};
use crate::transport::audit::Audit;
use crate::transport::blobs::Blobs;
use crate::transport::dhcp::Handle;
use crate::transport::http::Streams;
use crate::transport::journal::Journal;
use crate::transport::recorder::Recorder;
use crate::transport::vault::{Chest, SshAuthority};

/// How often a change is planned again because another head was faster. Changes of this head take turns.
const TRIES_MAX: usize = 16;

/// How long a change waits for its turn: a client that waited longer has given up or will ask again.
const TURN_PATIENCE: Duration = Duration::from_secs(30);

/// How long a handler waits until its change can be read. Compiling all of 100,000 nodes takes below a second.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(30);

/// What handlers may reach. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub snapshot: Arc<SnapshotCell>,
    /// Rises when a revision can be read.
    pub published: watch::Receiver<Revision>,
    pub store: Store,
    pub dhcp: Handle,
    pub started: Timestamp,
    pub turn: Turn,
    pub calls: PhoneHomes,
    pub about: Arc<About>,
    pub journal: Journal,
    pub images: ImageUse,
    pub blobs: Blobs,
    /// Files on their way to machines.
    pub streams: Streams,
    /// Hears of everything that machines ask.
    pub recorder: Recorder,
    /// Seals and opens secrets.
    pub chest: Arc<Chest>,
    /// Signs nodes' SSH host keys.
    pub ssh: Arc<SshAuthority>,
    /// Boot sessions, and what nodes get in them.
    pub trust: Arc<NodeTrust>,
    /// Who did what. Changes of declared state are noted by `change`; the rest by whoever does it.
    pub audit: Audit,
}

/// What nodes said when they were done, shared by all clones. Behind a lock and not a task with messages: a
/// report is one insertion, reading is one walk, and neither waits for anything.
#[derive(Clone, Debug, Default)]
pub struct PhoneHomes(Arc<std::sync::Mutex<Calls>>);

impl PhoneHomes {
    pub fn record(&self, node: NodeId, call: Call, now: Timestamp) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).record(node, call, now);
    }

    /// A copy of all reports.
    #[must_use]
    pub fn all(&self) -> Calls {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// Whose turn it is to change declared state, first come, first served. Without turns, of many changes that
/// are planned on one revision all but one are planned in vain, and some never win.
#[derive(Clone, Debug, Default)]
pub struct Turn(Arc<Mutex<()>>);

impl Context {
    /// Plans a change on the current snapshot, checks it, commits it, and waits until it can be read.
    /// Planned again if another head commits in between. No changes: nothing is committed.
    ///
    /// # Errors
    /// The plan refuses, the result would make no sense (all problems that the change causes), or the store
    /// cannot take it. Nothing is applied then.
    pub async fn change(
        &self,
        plan: impl FnMut(&Snapshot) -> Result<Vec<Change>, Problem>,
    ) -> Result<Arc<Snapshot>, Problem> {
        self.alter(false, plan).await
    }

    /// The same, with what the audit log says of it beside the names of what changes.
    ///
    /// # Errors
    /// As `change`.
    pub async fn change_noted(
        &self,
        detail: &str,
        plan: impl FnMut(&Snapshot) -> Result<Vec<Change>, Problem>,
    ) -> Result<Arc<Snapshot>, Problem> {
        self.carry_out(false, detail, plan).await
    }

    /// The same; with `dry_run` only to the point where it would be committed.
    ///
    /// # Errors
    /// As `change`.
    pub async fn alter(
        &self,
        dry_run: bool,
        plan: impl FnMut(&Snapshot) -> Result<Vec<Change>, Problem>,
    ) -> Result<Arc<Snapshot>, Problem> {
        self.carry_out(dry_run, "", plan).await
    }

    async fn carry_out(
        &self,
        dry_run: bool,
        detail: &str,
        mut plan: impl FnMut(&Snapshot) -> Result<Vec<Change>, Problem>,
    ) -> Result<Arc<Snapshot>, Problem> {
        let who = Who::asks();
        who.settle();
        // Held until the change can be read, so that the next one is planned on it.
        let turn = tokio::time::timeout(TURN_PATIENCE, self.turn.0.lock()).await;
        let _turn = turn.map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many changes are waiting; try again")
        })?;
        let mut published = self.published.clone();
        for _ in 0..TRIES_MAX {
            let snapshot = self.snapshot.load();
            let changes = plan(&snapshot)?;
            if changes.is_empty() {
                return Ok(snapshot);
            }
            check(&snapshot, &changes)?;
            if dry_run {
                return Ok(snapshot);
            }
            let note = who.entry(named(&changes, &snapshot), Outcome::Done, detail);
            let set = ChangeSet { base: snapshot.revision, changes };
            match self.store.commit_noted(set, Some(note)).await {
                Ok(revision) => return self.readable(revision).await,
                Err(StoreError::Conflict { current, .. }) => {
                    // Plan on what won, once it can be read.
                    let newer = published.wait_for(|revision| revision.0 >= current);
                    let _ = tokio::time::timeout(PUBLISH_PATIENCE, newer).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Problem::conflict(
            "others change the inventory faster than this change can be planned; try again",
        ))
    }

    async fn readable(&self, wanted: Revision) -> Result<Arc<Snapshot>, Problem> {
        let mut published = self.published.clone();
        match tokio::time::timeout(PUBLISH_PATIENCE, published.wait_for(|revision| *revision >= wanted)).await
        {
            Ok(Ok(_)) => Ok(self.snapshot.load()),
            Ok(Err(_)) | Err(_) => {
                let detail = format!("the change is stored as revision {}, but not yet in use", wanted.0);
                Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, detail))
            }
        }
    }
}

/// Refuses a change that causes problems.
fn check(snapshot: &Snapshot, changes: &[Change]) -> Result<(), Problem> {
    let mut next = Inventory::clone(&snapshot.inventory);
    changes.iter().for_each(|change| next.apply(change));
    let caused = caused(snapshot, &next);
    if caused.is_empty() { Ok(()) } else { Err(Problem::invalid(&caused)) }
}
