//! The one writer. It gathers what arrives within a moment into one commit and answers each waiter after the
//! commit is durable: a thousand machines that ask together share one fsync.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::base::counter::Counter;
use crate::base::limits::{AUDIT_SCAN_LINES_MAX, COMMIT_GATHER, COMMIT_WRITES_MAX, STORE_QUEUE_JOBS};
use crate::base::{Mac, Timestamp};
use crate::model::audit::{Entry, Page, Query, Tip};
use crate::model::{BootRecord, ChangeSet, Inventory, Revision};
use crate::store::{Backend, Batch, Loaded, Observation, StoreError};

/// What reading the attempts of one interface counts as: a configuration that keeps a hundred reads a hundred.
const BOOT_READ_WEIGHT: usize = 100;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
enum Job {
    Change(ChangeSet, Option<Box<Entry>>, Reply<Revision>),
    Observe(Vec<Observation>, Reply<()>),
    Audit(Query, Reply<Page>),
    Boots(Mac, Reply<Vec<BootRecord>>),
    Packets((Mac, Timestamp), Reply<Option<Vec<u8>>>),
    Close(oneshot::Sender<()>),
}

/// What the writer counts.
#[derive(Debug, Default)]
pub struct WriterCounters {
    pub commits: Counter,
    pub writes: Counter,
    pub conflicts: Counter,
    pub failures: Counter,
    /// Requests refused because the queue was full.
    pub refused: Counter,
}

/// The asking end of the store. Clones share the writer.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: SyncSender<Job>,
    declared: watch::Receiver<(Revision, Arc<Inventory>)>,
    tip: watch::Receiver<Tip>,
    pub counters: Arc<WriterCounters>,
}

impl Store {
    /// Loads everything and starts the writer's thread.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn open(mut backend: Box<dyn Backend>) -> Result<(Store, Loaded), StoreError> {
        let loaded = backend.load()?;
        let (jobs, queue) = sync_channel(STORE_QUEUE_JOBS);
        let (publish, declared) = watch::channel((loaded.revision, Arc::new(loaded.inventory.clone())));
        let counters = Arc::new(WriterCounters::default());
        let (audited, tip) = watch::channel(loaded.tip);
        let writer = Writer { backend, queue, publish, tip: audited, counters: Arc::clone(&counters) };
        std::thread::Builder::new().name("store".to_owned()).spawn(|| writer.run()).map_err(|error| {
            StoreError::Io { act: "start the writer of", path: "the store".into(), reason: error.to_string() }
        })?;
        Ok((Store { jobs, declared, tip, counters }, loaded))
    }

    /// Commits changes as one. On return they are durable and stand in `declared`.
    ///
    /// # Errors
    /// `Conflict` if the set's base is not the current revision; nothing is applied in any case of error.
    pub async fn commit(&self, set: ChangeSet) -> Result<Revision, StoreError> {
        self.commit_noted(set, None).await
    }

    /// The same, with what the audit log says of it, in one transaction: neither is ever there without the other.
    ///
    /// # Errors
    /// As `commit`.
    pub async fn commit_noted(&self, set: ChangeSet, note: Option<Entry>) -> Result<Revision, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Change(set, note.map(Box::new), reply))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Lines of the audit log. The writer looks for them between two commits.
    ///
    /// # Errors
    /// The store is busy or cannot be read, or a line in it is damaged.
    pub async fn audit(&self, query: Query) -> Result<Page, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Audit(query, reply))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// All boot attempts of an interface, the oldest first. The writer looks for them between two commits.
    ///
    /// # Errors
    /// The store is busy or cannot be read, or a record in it is damaged.
    pub async fn boots(&self, mac: Mac) -> Result<Vec<BootRecord>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Boots(mac, reply))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The packets of a boot attempt.
    ///
    /// # Errors
    /// The store is busy or cannot be read.
    pub async fn packets(&self, of: (Mac, Timestamp)) -> Result<Option<Vec<u8>>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Packets(of, reply))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Where the audit log ends, by level.
    #[must_use]
    pub fn audit_tip(&self) -> watch::Receiver<Tip> {
        self.tip.clone()
    }

    /// Writes observations down. What is returned resolves when they are durable; dropping it is allowed.
    ///
    /// # Errors
    /// `Busy` if the queue is full: the caller drops what caused it, and the client asks again.
    pub fn observe(
        &self,
        observations: Vec<Observation>,
    ) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Observe(observations, reply))?;
        Ok(answer)
    }

    /// Declared state, by level: the newest is there, those between may be skipped.
    #[must_use]
    pub fn declared(&self) -> watch::Receiver<(Revision, Arc<Inventory>)> {
        self.declared.clone()
    }

    /// Ends the writer after what is queued, and waits until the file is closed.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.send(Job::Close(reply)).is_ok() {
            // An error means that the writer has ended already.
            let _ = answer.await;
        }
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => {
                self.counters.refused.raise();
                StoreError::Busy
            }
            TrySendError::Disconnected(_) => StoreError::Closed,
        })
    }
}

/// The thread's own state.
struct Writer {
    backend: Box<dyn Backend>,
    queue: Receiver<Job>,
    publish: watch::Sender<(Revision, Arc<Inventory>)>,
    tip: watch::Sender<Tip>,
    counters: Arc<WriterCounters>,
}

/// A question that is answered after the commit.
enum Reading {
    Audit(Query, Reply<Page>),
    Boots(Mac, Reply<Vec<BootRecord>>),
    Packets((Mac, Timestamp), Reply<Option<Vec<u8>>>),
}

/// Jobs of one commit, with those who wait for it.
#[derive(Default)]
struct Group {
    batch: Batch,
    changes: Vec<(Revision, Reply<Revision>)>,
    observers: Vec<Reply<()>>,
    readers: Vec<Reading>,
    close: Option<oneshot::Sender<()>>,
}

impl Writer {
    fn run(mut self) {
        loop {
            let group = match self.gather() {
                Some(group) => group,
                None => return, // every asking end is gone
            };
            let Group { mut batch, changes, observers, readers, close } = group;
            let outcome = if batch.sets.is_empty() && batch.observations.is_empty() {
                Ok(())
            } else {
                self.commit(&mut batch)
            };
            for (revision, reply) in changes {
                // Who stopped waiting does not care.
                let _ = reply.send(outcome.clone().map(|()| revision));
            }
            for reply in observers {
                let _ = reply.send(outcome.clone());
            }
            // Who stopped waiting does not care.
            readers.into_iter().for_each(|reading| self.read(reading));
            if let Some(reply) = close {
                drop(self);
                let _ = reply.send(());
                return;
            }
            if matches!(outcome, Err(StoreError::Corrupt(_))) {
                return; // dropping `publish` tells the daemon to stop
            }
        }
    }

    fn read(&mut self, reading: Reading) {
        match reading {
            Reading::Audit(query, reply) => drop(reply.send(self.backend.audit(&query))),
            Reading::Boots(mac, reply) => drop(reply.send(self.backend.boots(mac))),
            Reading::Packets(of, reply) => drop(reply.send(self.backend.packets(of))),
        }
    }

    /// Waits for a job and takes what comes with it.
    fn gather(&self) -> Option<Group> {
        let mut group = Group::default();
        let mut current = self.publish.borrow().0;
        let mut writes = 0_usize;
        let mut next = self.queue.recv().ok();
        let mut waited = false;
        while let Some(job) = next.take() {
            writes = writes.saturating_add(job.weight());
            self.take(job, &mut group, &mut current);
            if writes >= COMMIT_WRITES_MAX || group.close.is_some() {
                return Some(group);
            }
            next = match self.queue.try_recv() {
                Ok(job) => Some(job),
                Err(TryRecvError::Empty) if !waited => {
                    waited = true;
                    self.queue.recv_timeout(Duration::from_millis(COMMIT_GATHER.0)).ok()
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
            };
            if next.is_none() {
                return Some(group);
            }
        }
        None
    }

    fn take(&self, job: Job, group: &mut Group, current: &mut Revision) {
        match job {
            Job::Change(set, _, reply) if set.base != *current => {
                self.counters.conflicts.raise();
                let error = StoreError::Conflict { planned: set.base.0, current: current.0 };
                // The planner plans again; if it is gone, nothing was promised to it.
                let _ = reply.send(Err(error));
            }
            Job::Change(set, note, reply) => {
                *current = current.next();
                group.batch.observations.extend(note.map(Observation::Note));
                group.changes.push((*current, reply));
                group.batch.sets.push(set);
            }
            Job::Observe(observations, reply) => {
                group.batch.observations.extend(observations);
                group.observers.push(reply);
            }
            Job::Audit(query, reply) => group.readers.push(Reading::Audit(query, reply)),
            Job::Boots(mac, reply) => group.readers.push(Reading::Boots(mac, reply)),
            Job::Packets(of, reply) => group.readers.push(Reading::Packets(of, reply)),
            Job::Close(reply) => group.close = Some(reply),
        }
    }

    fn commit(&mut self, batch: &mut Batch) -> Result<(), StoreError> {
        let tip = chain(&mut batch.observations, *self.tip.borrow());
        let revision = match self.backend.commit(batch) {
            Ok(revision) => revision,
            Err(error) => {
                self.counters.failures.raise();
                tracing::error!(%error, "the store could not commit");
                self.recover();
                return Err(error);
            }
        };
        self.counters.commits.raise();
        self.tip.send_if_modified(|known| std::mem::replace(known, tip) != tip);
        let writes = batch.observations.len() + batch.sets.iter().map(|set| set.changes.len()).sum::<usize>();
        self.counters.writes.add(u64::try_from(writes).unwrap_or(u64::MAX));
        if !batch.sets.is_empty() {
            let mut inventory = Inventory::clone(&self.publish.borrow().1);
            batch.sets.iter().flat_map(|set| &set.changes).for_each(|change| inventory.apply(change));
            self.publish.send_replace((revision, Arc::new(inventory)));
        }
        Ok(())
    }
}

impl Writer {
    /// Reads the store again after a failed commit: whether it reached the disk is known only now. If that
    /// fails too, the next commit tries again.
    fn recover(&mut self) {
        let loaded = self.backend.load().inspect(|loaded| {
            self.tip.send_replace(loaded.tip);
        });
        match loaded {
            Ok(loaded) if loaded.revision != self.publish.borrow().0 => {
                self.publish.send_replace((loaded.revision, Arc::new(loaded.inventory)));
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "the store cannot be read again yet"),
        }
    }
}

impl Job {
    fn weight(&self) -> usize {
        match self {
            Job::Change(set, ..) => set.changes.len(),
            Job::Observe(observations, _) => observations.len(),
            // It may look at as many lines.
            Job::Audit(..) => AUDIT_SCAN_LINES_MAX,
            // So many attempts of one interface, and one row.
            Job::Boots(..) => BOOT_READ_WEIGHT,
            Job::Packets(..) => 1,
            Job::Close(_) => 0,
        }
    }
}

/// Makes lines of what is for the audit log, and tells where the log ends then.
fn chain(observations: &mut [Observation], mut tip: Tip) -> Tip {
    for observation in observations {
        if let Observation::Note(entry) = observation {
            let line = tip.next(Entry::clone(entry));
            tip = line.tip();
            *observation = Observation::PutLine(Box::new(line));
        }
    }
    tip
}
