//! What the head remembers of nodes beyond their boot sessions, in memory and on disk: which TPM each showed, in
//! which start it last got secrets, what its firmware measured, and which secrets it ever had.
//!
//! The answers of [`Enrolments`] come from here and from what is declared. Its methods wait for the disk where
//! something depends on it, and are called on threads that may wait.
//!
//! A mutex and not a task, as for sessions: a change is one insertion. The table is bounded by the number of
//! declared nodes, and each dossier by its own bounds. Windows are in memory alone: after a restart they are shut.

mod windows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::base::limits::{FINDINGS_MAX, HELD_MAX};
use crate::base::{Digest, Millis};
use crate::engine::attest::attestor::{Boot, Enrolments, Seen, Shown, Standing};
use crate::engine::attest::enrol::{TpmPolicy, TpmRules};
use crate::engine::attest::policy::{Expected, FIRMWARE, Outcome};
use crate::engine::attest::quote::Starts;
use crate::engine::trust::attestor::{Ask, Denied};
use crate::model::boot_session::Delivery;
use crate::model::identity::{Attested, Dossier, EkFingerprint, Flag, Held, Make, Pending, TpmStart};
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

/// A TPM that waits and is shown again is written down again after this long: nodes ask every few seconds.
const SHOWN_AGAIN: Millis = Millis::from_secs(60);

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
    /// Takes in the dossiers as loaded.
    #[must_use]
    pub fn new(
        loaded: Vec<Dossier>,
        store: Store,
        journal: Journal,
        snapshot: Arc<SnapshotCell>,
        sessions: Arc<Sessions>,
        rules: TpmRules,
        measures: Measures,
    ) -> Dossiers {
        let table = loaded.into_iter().map(|dossier| (dossier.node, dossier)).collect();
        let windows = Windows::default();
        Dossiers { table: Mutex::new(table), store, journal, snapshot, sessions, rules, windows, measures }
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

impl Enrolments for Dossiers {
    fn standing(&self, node: NodeId) -> Standing {
        match self.snapshot.load().inventory.identities.get(&node) {
            Some(identity) if identity.revoked => Standing::Revoked,
            Some(identity) => identity.ek.map_or(Standing::Unknown, Standing::Enrolled),
            None => self.pending(node).map_or(Standing::Unknown, |pending| Standing::Pending(pending.ek)),
        }
    }

    fn holder(&self, ek: &EkFingerprint) -> Option<NodeId> {
        self.snapshot.load().inventory.holder(ek)
    }

    fn shown(&self, ask: &Ask<'_>, shown: &Shown) -> Standing {
        let (epoch, from) = (self.sessions.epoch(), ask.session.channel.address);
        let altered = self.alter(ask.node.id, |dossier| {
            let former = dossier.pending.take().filter(|pending| pending.epoch == epoch);
            let same = former.as_ref().is_some_and(|pending| pending.ek == shown.ek);
            let recent = former.as_ref().is_some_and(|pending| ask.now.since(pending.last) < SHOWN_AGAIN);
            let others = former.as_ref().map_or(0, |pending| pending.others);
            let first = former.as_ref().filter(|_| same).map_or(ask.now, |pending| pending.first);
            let other = former.as_ref().filter(|_| !same).map(|pending| pending.ek);
            dossier.pending = if same && recent {
                former
            } else {
                let others = others.saturating_add(u32::from(other.is_some()));
                let (ek, make, last) = (shown.ek, make(shown), ask.now);
                Some(Pending { ek, make, first, last, from, epoch, others })
            };
            (same, other)
        });
        match altered {
            Ok(Altered { outcome: (_, Some(other)), .. }) => {
                let text = format!("shows the TPM {}, and {} waited before", shown.ek.code(), other.code());
                self.flag(ask.node.id, text);
            }
            Ok(Altered { outcome: (false, None), .. }) => {
                self.tell(ask.node.id, false, &format!("its TPM waits for approval: {}", shown.ek.code()));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a TPM that waits is not written down"),
        }
        Standing::Pending(shown.ek)
    }

    fn conflict(&self, node: NodeId, holder: NodeId) {
        self.flag(node, format!("shows the TPM of {}", self.name(holder)));
        self.flag(holder, format!("its TPM is shown by {}", self.name(node)));
    }

    fn mismatch(&self, node: NodeId, shown: &Shown) {
        let text =
            format!("a machine in its place shows another TPM than the enrolled one: {}", shown.ek.code());
        self.flag(node, text);
    }

    fn boot(&self, ask: &Ask<'_>) -> Boot {
        let dossier = self.get(ask.node.id);
        let own =
            self.snapshot.load().inventory.identities.get(&ask.node.id).and_then(|identity| identity.ek);
        let start = dossier.start.filter(|start| Some(start.ek) == own);
        let starts = Starts {
            delivered: start.map(|start| start.count),
            session: start.filter(|start| start.session == ask.session.id).map(|start| start.count),
        };
        let pinned = dossier.pinned.into_iter().collect();
        let given = ask.session.given.as_deref().cloned().unwrap_or_default();
        let expected = Expected {
            loaders: self.measures.loaders(),
            kernel: given.kernel_digest,
            command_line: given.command_line,
            // After the claim it is one: of the archive whose grant was redeemed.
            initrd: given.initrd_digests.first().copied().flatten(),
            pinned,
        };
        Boot { mode: self.policy(ask.node).pcr, expected, starts }
    }

    fn attested(&self, ask: &Ask<'_>, seen: Seen<'_>) -> Result<(), Denied> {
        let denied = |status, text: String| Denied { status, text, alarm: false };
        let own = self.snapshot.load().inventory.identities.get(&ask.node.id).cloned();
        let own = own.filter(|identity| !identity.revoked).and_then(|identity| identity.ek);
        // Its challenge may have been made before an administrator changed his mind.
        let Some(ek) = own.filter(|own| *own == seen.ek) else {
            return Err(denied(403, format!("the TPM of node {} is not enrolled any more", ask.node.name)));
        };
        let findings: Vec<String> = match seen.outcome {
            Outcome::Recorded(findings) => {
                findings.iter().take(FINDINGS_MAX).map(ToString::to_string).collect()
            }
            Outcome::Unchecked | Outcome::Proven | Outcome::Refused(_) => Vec::new(),
        };
        let start = TpmStart { ek, count: seen.quoted.reset_count, session: ask.session.id };
        let attested = Attested { at: ask.now, level: seen.level, findings: findings.clone() };
        let altered = self.alter(ask.node.id, |dossier| {
            // Looked at once more: another attestation may have been faster.
            let used = dossier.start.filter(|known| known.ek == ek && known.session != start.session);
            if used.is_some_and(|used| used.count >= start.count) {
                return false;
            }
            (dossier.start, dossier.last) = (Some(start), Some(attested));
            if dossier.pinned.is_empty() && *seen.outcome != Outcome::Unchecked {
                let firmware = seen.values.iter().filter(|(pcr, _)| FIRMWARE.contains(pcr));
                dossier.pinned = firmware.map(|(pcr, value)| (*pcr, Digest(*value))).collect();
            }
            true
        });
        let unwritten =
            |error: StoreError| denied(503, format!("the attestation cannot be written down: {error}"));
        if !altered.and_then(Altered::block).map_err(unwritten)? {
            return Err(denied(403, "this start of the TPM has had its secrets".to_owned()));
        }
        if let Outcome::Recorded(found) = seen.outcome {
            let alarm = found.iter().any(crate::engine::attest::Finding::is_alarm);
            self.tell(
                ask.node.id,
                alarm,
                &format!("attested at level {}: {}", seen.level, findings.join("; ")),
            );
        }
        Ok(())
    }
}

fn make(shown: &Shown) -> Make {
    let (manufacturer, chain) = match &shown.certificate {
        None => (None, "none".to_owned()),
        Some(Ok(certificate)) => (certificate.manufacturer.clone(), certificate.chain.as_str().to_owned()),
        Some(Err(error)) => (None, error.to_string()),
    };
    Make { vendor: shown.vendor.clone(), firmware: shown.firmware.clone(), manufacturer, chain }
}
