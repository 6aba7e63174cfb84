//! The table of boot sessions: the live one of each node and the few before it, in memory and on disk.
//!
//! Every change is planned on a copy, without the lock, by the engine; it is put in place if nobody was faster,
//! and what leaves the head because of it waits until the store has it. Memory runs ahead of the disk for that
//! moment, never behind it: a head that is killed in between has told nobody.
//!
//! A mutex and not a task: a change is one comparison and one insertion, and never waits. The table is bounded by
//! `SESSIONS_PER_NODE_MAX` sessions for each declared node; sessions end by time, and the oldest are forgotten.

mod witness;

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::limits::{SESSION_GRACE, SESSION_LIFE, SESSIONS_PER_NODE_MAX};
use crate::base::{Millis, Timestamp};
use crate::engine::trust::session::{ArmOn, Refusal, Start, start};
use crate::model::boot_session::{BootSession, Channel, Given};
use crate::model::{NodeId, SessionId, SnapshotCell};
use crate::store::{Observation, Store, StoreError};
use crate::transport::clock::now;
use crate::transport::journal::{Entry, Journal};
use crate::transport::tasks::Tasks;
use crate::transport::vault::random;

pub use witness::{Witness, WitnessError};

/// How often sessions are looked at whose time is over.
const TICK: Duration = Duration::from_secs(1);

/// How often a change is planned again because another one came in between. Each loser saw a winner, so this many
/// losses mean as many changes of one session within a moment: a flood, which may wait.
const TRIES_MAX: usize = 64;

/// Said of a session whose node has a TPM that is known, and that ends without it.
pub const UNANSWERED: &str = "whoever claimed it has not shown the TPM of this node, which is known";

/// What the configuration says about sessions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionPolicy {
    pub arm_on: ArmOn,
    pub life: Millis,
}

impl Default for SessionPolicy {
    fn default() -> SessionPolicy {
        SessionPolicy { arm_on: ArmOn::default(), life: SESSION_LIFE }
    }
}

/// Why a session could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The change is not durable, and what it was for must not leave.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("too much happens to this boot session at once; ask again")]
    Busy,
}

/// The table. Shared behind an `Arc`.
pub struct Sessions {
    table: Mutex<Table>,
    store: Store,
    journal: Journal,
    snapshot: Arc<SnapshotCell>,
    witness: Witness,
    pub policy: SessionPolicy,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<SessionId, BootSession>,
    /// Sessions of a node, the oldest first.
    by_node: BTreeMap<NodeId, Vec<SessionId>>,
    sequence: u64,
    /// When this head last switched a node on.
    powered: HashMap<NodeId, Timestamp>,
    /// When a node's certificate was last used.
    alive: HashMap<NodeId, Timestamp>,
}

impl Sessions {
    /// Takes in the sessions as loaded.
    #[must_use]
    pub fn new(
        (loaded, sequence): (Vec<BootSession>, u64),
        store: Store,
        journal: Journal,
        snapshot: Arc<SnapshotCell>,
        witness: Witness,
        policy: SessionPolicy,
    ) -> Sessions {
        let mut loaded = loaded;
        loaded.sort_by_key(|session| session.made);
        let mut table = Table { sequence: sequence.max(witness.sequence()), ..Table::default() };
        for session in loaded {
            table.by_node.entry(session.node).or_default().push(session.id);
            table.sessions.insert(session.id, session);
        }
        Sessions { table: Mutex::new(table), store, journal, snapshot, witness, policy }
    }

    /// Starts the task that ends sessions whose time is over.
    pub fn start(self: &Arc<Self>, tasks: &Tasks) {
        let (sessions, stop) = (Arc::clone(self), tasks.token());
        tasks.spawn("boot sessions", async move {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = ticks.tick() => sessions.sweep(now()),
                }
            }
        });
    }

    /// The security epoch: sessions and tokens of another one do not count.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.witness.epoch()
    }

    /// Ends the epoch: every session and token of nodes from before counts no more.
    pub fn void(&self) -> u64 {
        self.witness.void()
    }

    /// A node asks DHCP for how to boot. Changes nothing if it did so a moment ago, as firmware and the loader
    /// after it do. The store hears of it in its own time: a session that is lost with the power was of no use.
    pub fn boots(&self, node: NodeId, channel: Channel) {
        self.arm(node, channel, self.policy.arm_on, now());
    }

    /// The head switched a node on.
    pub fn powered(&self, node: NodeId) {
        self.lock().powered.insert(node, now());
    }

    /// A node used its certificate: it is up.
    pub fn heard(&self, node: NodeId) {
        self.lock().alive.insert(node, now());
    }

    /// An operator vouches for the boot that is going on, or for the next one.
    ///
    /// # Errors
    /// The store cannot take it.
    pub async fn vouch(&self, node: NodeId, channel: Channel, who: &str) -> Result<BootSession, ChangeError> {
        let now = now();
        let live = || self.of(node).into_iter().rfind(|session| session.is_live(self.epoch(), now));
        let id = match live() {
            Some(session) => session.id,
            None => {
                self.arm(node, channel, ArmOn::Dhcp, now);
                live().ok_or(ChangeError::Busy)?.id
            }
        };
        self.change(id, |session| session.release(who, now)).await?;
        self.get(id).ok_or(ChangeError::Refused(Refusal::Unknown))
    }

    fn arm(&self, node: NodeId, channel: Channel, arm_on: ArmOn, now: Timestamp) {
        let id = match random() {
            Ok(octets) => SessionId(octets),
            Err(error) => return tracing::error!(%error, "a boot session cannot be named"),
        };
        let (mac, epoch, life) = (channel.mac, self.epoch(), self.policy.life);
        let mut table = self.lock();
        let live = table.of(node).rfind(|session| session.is_live(epoch, now));
        let (powered, alive) = (table.powered.get(&node).copied(), table.alive.get(&node).copied());
        let order = Start { id, node, channel, arm_on, powered, alive, epoch, life };
        let Some((session, former)) = start(live, order, now) else { return };
        tracing::info!(node = node.0, %mac, session = %session.id, held = ?session.held, "boot session");
        let mut observations = Vec::new();
        for session in former.into_iter().chain([session]) {
            self.tell(table.sessions.get(&session.id), &session);
            observations.push(table.put(session));
        }
        observations.extend(table.forget(node));
        // Sent under the lock, so that the disk sees changes in their order. A full queue costs this session.
        if let Err(error) = self.store.observe(observations) {
            tracing::warn!(%error, "a boot session could not be written down");
        }
    }

    /// Plans a change of a session, puts it in place, and waits until it is durable. A refusal may have changed
    /// the session too (a wrong nonce counts), and waits alike.
    ///
    /// # Errors
    /// The plan refuses, or the store cannot take it; nothing may be given out then.
    pub async fn change<T>(
        &self,
        id: SessionId,
        mut plan: impl FnMut(&mut BootSession) -> Result<T, Refusal>,
    ) -> Result<T, ChangeError> {
        for _ in 0..TRIES_MAX {
            let before = self.get(id).ok_or(Refusal::Unknown)?;
            let mut after = before.clone();
            let outcome = plan(&mut after);
            if outcome.is_err() && after == before {
                return Ok(outcome?);
            }
            if let Some(durable) = self.replace(&before, after)? {
                let (sequence, durable) = durable;
                durable.await.unwrap_or(Err(StoreError::Closed))?;
                self.witness.saw(sequence);
                return Ok(outcome?);
            }
        }
        Err(ChangeError::Busy)
    }

    /// Puts a session in place of the one it was planned on. None: somebody was faster. An answer that changes
    /// nothing is written all the same, because the write before it may still be on its way.
    #[expect(clippy::type_complexity, reason = "what the store gives")]
    fn replace(
        &self,
        before: &BootSession,
        after: BootSession,
    ) -> Result<Option<(u64, tokio::sync::oneshot::Receiver<Result<(), StoreError>>)>, StoreError> {
        let mut table = self.lock();
        if table.sessions.get(&before.id) != Some(before) {
            return Ok(None);
        }
        self.tell(Some(before), &after);
        let observation = table.put(after);
        let sequence = table.sequence;
        Ok(Some((sequence, self.store.observe(vec![observation])?)))
    }

    /// The session of this name.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<BootSession> {
        self.lock().sessions.get(&id).cloned()
    }

    /// Sessions of a node, the oldest first.
    #[must_use]
    pub fn of(&self, node: NodeId) -> Vec<BootSession> {
        self.lock().of(node).cloned().collect()
    }

    /// All sessions, by node, the oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<BootSession> {
        let table = self.lock();
        table.by_node.keys().flat_map(|node| table.of(*node)).cloned().collect()
    }

    /// The live session of a node, if it may tell its script of the grant.
    ///
    /// # Errors
    /// The store cannot take it.
    pub async fn script(
        &self,
        node: NodeId,
        from: Ipv4Addr,
        given: Option<Given>,
    ) -> Result<Option<SessionId>, ChangeError> {
        let now = now();
        let live = self.of(node).into_iter().rfind(|session| session.is_live(self.epoch(), now));
        let Some(session) = live else { return Ok(None) };
        let life = self.policy.life;
        let plan = |session: &mut BootSession| Ok(session.script(from, given.clone(), life, now));
        let scripted = self.change(session.id, plan).await?;
        Ok(scripted.then_some(session.id))
    }

    /// Ends what time ends, and forgets what is long over and what belongs to nodes that are gone.
    fn sweep(&self, now: Timestamp) {
        let inventory = Arc::clone(&self.snapshot.load().inventory);
        let mut table = self.lock();
        let due = |session: &&BootSession| session.next_deadline().is_some_and(|(at, ..)| now >= at);
        let due: Vec<SessionId> = table.sessions.values().filter(due).map(|session| session.id).collect();
        let mut observations = Vec::new();
        for id in due {
            let Some(before) = table.sessions.get(&id).cloned() else { continue };
            let mut after = before.clone();
            after.pass_time(now);
            let known = inventory.identities.get(&before.node).is_some_and(|identity| !identity.revoked);
            if known && before.awaits_attestation() && !after.awaits_attestation() {
                after.note(now, true, UNANSWERED.to_owned());
            }
            self.tell(Some(&before), &after);
            observations.push(table.put(after));
        }
        let over = |session: &&BootSession| {
            let gone = inventory.nodes.get(&session.node).is_none();
            gone || session.state.is_final() && now.since(session.expires) > SESSION_GRACE
        };
        let over: Vec<SessionId> = table.sessions.values().filter(over).map(|session| session.id).collect();
        observations.extend(over.into_iter().map(|id| table.remove(id)));
        let recent = |_: &NodeId, at: &mut Timestamp| now.since(*at) <= SESSION_GRACE;
        table.powered.retain(recent);
        table.alive.retain(recent);
        if !observations.is_empty()
            && let Err(error) = self.store.observe(observations)
        {
            // Time will end them again after a restart.
            tracing::debug!(%error, "ended boot sessions are not written down");
        }
    }

    /// Tells the journal and the log what happened to a session.
    fn tell(&self, before: Option<&BootSession>, after: &BootSession) {
        let snapshot = self.snapshot.load();
        let name = snapshot.node(after.node).map_or("a node that is gone", |node| node.name.as_str());
        let known = before.map(|before| before.events.as_slice()).unwrap_or_default();
        for event in after.events.iter().filter(|event| !known.contains(event)) {
            let (id, state) = (after.id, after.state.as_str());
            if event.alarm {
                tracing::warn!(node = name, session = %id, state, "ALARM: {}", event.text);
            } else {
                tracing::debug!(node = name, session = %id, state, "{}", event.text);
            }
            let entry = Entry::new(event.at, "trust", format!("{name}: {}", event.text)).node(Some(name));
            let entry = entry.with("session", id).with("state", state);
            self.journal.write(if event.alarm { entry.with("alarm", true) } else { entry });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn of(&self, node: NodeId) -> impl DoubleEndedIterator<Item = &BootSession> {
        let ids = self.by_node.get(&node).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| self.sessions.get(id))
    }

    fn put(&mut self, mut session: BootSession) -> Observation {
        self.sequence = self.sequence.saturating_add(1);
        session.sequence = self.sequence;
        if self.sessions.insert(session.id, session.clone()).is_none() {
            self.by_node.entry(session.node).or_default().push(session.id);
        }
        Observation::PutSession(Box::new(session))
    }

    fn remove(&mut self, id: SessionId) -> Observation {
        if let Some(session) = self.sessions.remove(&id)
            && let Some(ids) = self.by_node.get_mut(&session.node)
        {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                self.by_node.remove(&session.node);
            }
        }
        Observation::RemoveSession(id)
    }

    /// Forgets the oldest sessions of a node beyond those that are kept.
    fn forget(&mut self, node: NodeId) -> Vec<Observation> {
        let ids = self.by_node.get(&node).cloned().unwrap_or_default();
        let over = ids.len().saturating_sub(SESSIONS_PER_NODE_MAX);
        ids.into_iter().take(over).map(|id| self.remove(id)).collect()
    }
}

/// Opens the witness of a data directory, against what its store says.
///
/// # Errors
/// The file cannot be read or written.
pub fn witness(data_dir: &Path, sessions: &[BootSession], sequence: u64) -> Result<Witness, WitnessError> {
    let epoch = sessions.iter().map(|session| session.epoch).max().unwrap_or(0);
    Witness::open(&data_dir.join("trust.witness"), epoch, sequence)
}
