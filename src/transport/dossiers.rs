//! What the head remembers of nodes beyond their boot sessions, in memory and on disk: which TPM each showed, in
//! which start it last got secrets, what its firmware measured, and which secrets it ever had.
//!
//! The answers of [`Enrolments`](crate::engine::attest::attestor::Enrolments) come from here and from what is
//! declared. Its methods wait for the disk where something depends on it, and are called on threads that may wait.
//!
//! A mutex and not a task, as for sessions: a change is one insertion. The table is bounded by the number of
//! declared nodes, and each dossier by its own bounds. Windows are in memory alone: after a restart they are shut.

mod enrolments;
mod windows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::base::limits::HELD_MAX;
use crate::engine::attest::enrol::{TpmPolicy, TpmRules};
use crate::model::boot_session::Delivery;
use crate::model::identity::{Dossier, Flag, Held, Pending};
use crate::model::{Node, NodeId, SnapshotCell};
use crate::store::{Observation, Store, StoreError};
use crate::transport::clock::now;
use crate::transport::journal::{Entry, Journal};
use crate::transport::measures::Measures;
use crate::transport::sessions::Sessions;
use crate::transport::tasks::Tasks;

pub use windows::Window;
use windows::Windows;

/// How often dossiers of nodes that are gone are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// What resolves when a change is durable.
type Durable = oneshot::Receiver<Result<(), StoreError>>;

/// The table. Shared behind an `Arc`.
pub struct Dossiers {
    table: Mutex<BTreeMap<NodeId, Dossier>>,
    store: Store,
    journal: Journal,
    snapshot: Arc<SnapshotCell>,
    sessions: Arc<Sessions>,
    rules: TpmRules,
    pub windows: Windows,
    /// What machines measure of what we serve.
    pub measures: Measures,
}

impl Dossiers {
    /// Takes in the dossiers as loaded. A site that says nothing more wants what `TpmRules` wants by default.
    #[must_use]
    pub fn new(
        loaded: Vec<Dossier>,
        store: Store,
        journal: Journal,
        snapshot: Arc<SnapshotCell>,
        sessions: Arc<Sessions>,
    ) -> Dossiers {
        let table = loaded.into_iter().map(|dossier| (dossier.node, dossier)).collect();
        let (table, windows) = (Mutex::new(table), Windows::default());
        let (rules, measures) = (TpmRules::default(), Measures::new(None, None));
        Dossiers { table, store, journal, snapshot, sessions, rules, windows, measures }
    }

    /// The same, with what this site wants of TPMs, and what it serves.
    #[must_use]
    pub fn governed(self, rules: TpmRules, measures: Measures) -> Dossiers {
        Dossiers { rules, measures, ..self }
    }

    /// Starts the task that forgets nodes that are gone.
    pub fn start(self: &Arc<Self>, tasks: &Tasks) {
        let (dossiers, stop) = (Arc::clone(self), tasks.token());
        tasks.spawn("dossiers", async move {
            let mut ticks = tokio::time::interval(SWEEP);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => dossiers.sweep(),
                }
            }
        });
    }

    /// What the site wants of a node's TPM.
    #[must_use]
    pub fn policy(&self, node: &Node) -> TpmPolicy {
        self.rules.of(node)
    }

    /// What is remembered of a node.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Dossier {
        self.lock().get(&node).cloned().unwrap_or_else(|| Dossier::new(node))
    }

    /// What waits for a node. What waited before the store was restored does not.
    #[must_use]
    pub fn pending(&self, node: NodeId) -> Option<Pending> {
        let pending = self.lock().get(&node).and_then(|dossier| dossier.pending.clone());
        pending.filter(|pending| pending.epoch == self.sessions.epoch())
    }

    /// An administrator let nodes' TPMs in.
    ///
    /// # Errors
    /// That they wait no more cannot be written down; they are enrolled all the same.
    pub async fn settle(&self, nodes: &[NodeId]) -> Result<(), StoreError> {
        let durable = {
            let mut table = self.lock();
            let mut settled = Vec::new();
            for mut dossier in nodes.iter().filter_map(|node| table.get(node).cloned()) {
                let waited = dossier.pending.take();
                dossier.make = waited.map(|pending| pending.make).or(dossier.make);
                dossier.flag = None;
                settled.push(dossier);
            }
            let put = |dossier: &Dossier| Observation::PutDossier(Box::new(dossier.clone()));
            let durable = self.store.observe(settled.iter().map(put).collect())?;
            table.extend(settled.into_iter().map(|dossier| (dossier.node, dossier)));
            durable
        };
        durable.await.unwrap_or(Err(StoreError::Closed))
    }

    /// An administrator begins anew with a node: whatever its TPM is and measures, the next one is the first.
    ///
    /// # Errors
    /// It cannot be written down.
    pub async fn begin_anew(&self, node: NodeId) -> Result<(), StoreError> {
        self.alter(node, |dossier| {
            // The counter of starts stays: if the same TPM comes back, what it had it had.
            (dossier.pending, dossier.make, dossier.flag) = (None, None, None);
            dossier.pinned.clear();
        })?
        .wait()
        .await
    }

    /// A node's firmware changed with its administrator's knowledge: its next attestation is noted anew.
    ///
    /// # Errors
    /// It cannot be written down.
    pub async fn unpin(&self, node: NodeId) -> Result<(), StoreError> {
        self.alter(node, |dossier| dossier.pinned.clear())?.wait().await
    }

    /// Notes what a node was given. Repeats change nothing.
    ///
    /// # Errors
    /// It cannot be written down; what it was given must not leave then.
    pub async fn hold(&self, node: NodeId, deliveries: &[Delivery]) -> Result<(), StoreError> {
        if deliveries.is_empty() {
            return Ok(());
        }
        self.alter(node, |dossier| {
            for Delivery { secret, version, at, .. } in deliveries {
                let known =
                    dossier.held.iter().any(|held| held.secret == *secret && held.version == *version);
                if !known {
                    dossier.held.push(Held { secret: secret.clone(), version: *version, at: *at });
                }
            }
            let surplus = dossier.held.len().saturating_sub(HELD_MAX);
            dossier.held.drain(..surplus);
        })?
        .wait()
        .await
    }

    /// Changes a dossier. Sent to the store under the lock, so that the disk sees changes in their order.
    fn alter<T>(&self, node: NodeId, plan: impl FnOnce(&mut Dossier) -> T) -> Result<Altered<T>, StoreError> {
        let mut table = self.lock();
        let before = table.get(&node);
        let mut after = before.cloned().unwrap_or_else(|| Dossier::new(node));
        let outcome = plan(&mut after);
        let same = before.map_or_else(|| after == Dossier::new(node), |before| *before == after);
        if same {
            return Ok(Altered { outcome, durable: None });
        }
        let durable = self.store.observe(vec![Observation::PutDossier(Box::new(after.clone()))])?;
        table.insert(node, after);
        Ok(Altered { outcome, durable: Some(durable) })
    }

    fn sweep(&self) {
        let inventory = Arc::clone(&self.snapshot.load().inventory);
        let mut table = self.lock();
        let gone: Vec<NodeId> =
            table.keys().filter(|node| !inventory.nodes.contains_key(*node)).copied().collect();
        if gone.is_empty() {
            return;
        }
        if let Err(error) =
            self.store.observe(gone.iter().map(|node| Observation::RemoveDossier(*node)).collect())
        {
            return tracing::debug!(%error, "dossiers of nodes that are gone stay for now");
        }
        gone.iter().for_each(|node| drop(table.remove(node)));
    }

    /// Tells the journal and the log.
    fn tell(&self, node: NodeId, alarm: bool, text: &str) {
        let snapshot = self.snapshot.load();
        let name = snapshot.node(node).map_or("a node that is gone", |node| node.name.as_str());
        if alarm {
            tracing::warn!(node = name, "ALARM: {text}");
        } else {
            tracing::info!(node = name, "{text}");
        }
        let entry = Entry::new(now(), "trust", format!("{name}: {text}")).node(Some(name));
        self.journal.write(if alarm { entry.with("alarm", true) } else { entry });
    }

    /// The same, and it stands beside the node until somebody looks at it.
    fn flag(&self, node: NodeId, text: String) {
        self.tell(node, true, &text);
        if let Err(error) = self.alter(node, |dossier| dossier.flag = Some(Flag { at: now(), text })) {
            tracing::warn!(%error, "an alarm about a TPM is not written down");
        }
    }

    fn name(&self, node: NodeId) -> String {
        self.snapshot
            .load()
            .node(node)
            .map_or_else(|| "a node that is gone".to_owned(), |node| node.name.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Dossier>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change, and when it is durable; None: nothing changed.
struct Altered<T> {
    outcome: T,
    durable: Option<Durable>,
}

impl<T> Altered<T> {
    async fn wait(self) -> Result<T, StoreError> {
        match self.durable {
            Some(durable) => durable.await.unwrap_or(Err(StoreError::Closed)).map(|()| self.outcome),
            None => Ok(self.outcome),
        }
    }

    fn block(self) -> Result<T, StoreError> {
        match self.durable {
            Some(durable) => {
                durable.blocking_recv().unwrap_or(Err(StoreError::Closed)).map(|()| self.outcome)
            }
            None => Ok(self.outcome),
        }
    }
}
