//! The audit log's writing end: takes notes, counts refusals, signs checkpoints, lets old lines go.
//!
//! What changes declared state is noted by the store in the same transaction; here stands the rest. A checkpoint
//! goes to the system's log too, out of the reach of whoever can write our store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::base::Timestamp;
use crate::engine::audit::{Keep, Refusals, droppable, is_to_be_signed};
use crate::model::audit::{Checkpoint, Entry, Page, Query, Tip};
use crate::store::{Observation, Store, StoreError};
use crate::transport::clock::now;
use crate::transport::tasks::Tasks;
use crate::transport::vault::SiteKey;

/// How often the task looks for what is due.
const LOOK: Duration = Duration::from_secs(10);

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    store: Store,
    site: Arc<SiteKey>,
    // Mutexes, because counting and copying need no task; never held across an await.
    refusals: Arc<Mutex<Refusals>>,
    checkpoints: Arc<Mutex<Vec<Checkpoint>>>,
    /// One signs at a time, so that checkpoints stay in order.
    signing: Arc<tokio::sync::Mutex<()>>,
}

impl Audit {
    /// `checkpoints`: those that the store had, in order.
    #[must_use]
    pub fn new(store: Store, site: Arc<SiteKey>, checkpoints: Vec<Checkpoint>) -> Audit {
        let tip = *store.audit_tip().borrow();
        if let Some(last) = checkpoints.last().filter(|last| last.seq > tip.seq) {
            tracing::error!(
                ends = tip.seq,
                signed = last.seq,
                "the audit log's end is missing; muster audit verify"
            );
        }
        let checkpoints = Arc::new(Mutex::new(checkpoints));
        Audit { store, site, refusals: Arc::default(), checkpoints, signing: Arc::default() }
    }

    /// Signs what is due and lets go what is old, until the daemon stops; what was written by then is signed.
    pub fn start(&self, keep: Keep, tasks: &Tasks) {
        let (audit, inner, started) = (self.clone(), tasks.clone(), now());
        tasks.spawn("audit", async move {
            let mut tip = audit.store.audit_tip();
            let mut dropped = 0;
            loop {
                let stops = tokio::select! {
                    () = tokio::time::sleep(LOOK) => false,
                    // Many lines at once are signed before they are ten seconds old.
                    _ = tip.wait_for(|tip| audit.is_due(*tip, started)) => false,
                    () = inner.stopping() => true,
                };
                if let Err(error) = audit.look(keep, started, stops, &mut dropped).await {
                    tracing::warn!(%error, "the audit log cannot be kept up");
                    if !stops {
                        tokio::time::sleep(LOOK).await;
                    }
                }
                if stops {
                    return;
                }
            }
        });
    }

    /// Writes an entry down; on return it is durable.
    ///
    /// # Errors
    /// The store cannot take it.
    pub async fn note(&self, entry: Entry) -> Result<(), StoreError> {
        let answer = self.store.observe(vec![Observation::Note(Box::new(entry))])?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Writes an entry down some time soon, for what nobody waits for. If the store has too much to do it is in
    /// the system's log alone.
    pub fn put(&self, entry: Entry) {
        if let Err(error) = self.store.observe(vec![Observation::Note(Box::new(entry.clone()))]) {
            tracing::warn!(%error, ?entry, "the audit log could not take an entry");
        }
    }

    /// The same for what strangers can repeat at will: the first of an address at once, a count of the others.
    pub fn put_counted(&self, entry: Entry) {
        if let Some(entry) = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).on(entry) {
            self.put(entry);
        }
    }

    /// Lines of the log.
    ///
    /// # Errors
    /// The store cannot read them.
    pub async fn page(&self, query: Query) -> Result<Page, StoreError> {
        self.store.audit(query).await
    }

    /// Every checkpoint that is kept, in order.
    #[must_use]
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs the log as it is now; None: it is empty. What is signed already is not signed again.
    ///
    /// # Errors
    /// The store cannot take the checkpoint.
    pub async fn sign(&self) -> Result<Option<Checkpoint>, StoreError> {
        let _signing = self.signing.lock().await;
        let tip = *self.store.audit_tip().borrow();
        let last = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner).last().copied();
        if tip.seq == 0 || last.is_some_and(|last| last.seq >= tip.seq) {
            return Ok(last);
        }
        let at = now();
        let signature = self.site.sign(&Checkpoint::message(tip, at));
        let checkpoint = Checkpoint { seq: tip.seq, hash: tip.hash, at, signature };
        let answer = self.store.observe(vec![Observation::PutCheckpoint(Box::new(checkpoint))])?;
        answer.await.unwrap_or(Err(StoreError::Closed))?;
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner).push(checkpoint);
        tracing::info!(seq = tip.seq, hash = tip.hash.hex(), "audit log signed");
        Ok(Some(checkpoint))
    }

    fn is_due(&self, tip: Tip, started: Timestamp) -> bool {
        let checkpoints = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        is_to_be_signed(tip, checkpoints.last(), started, now())
    }

    async fn look(
        &self,
        keep: Keep,
        started: Timestamp,
        stops: bool,
        dropped: &mut u64,
    ) -> Result<(), StoreError> {
        let due = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).due(now());
        due.into_iter().for_each(|entry| self.put(entry));
        let tip = *self.store.audit_tip().borrow();
        if stops || self.is_due(tip, started) {
            self.sign().await?;
        }
        while let Some(through) =
            droppable(&self.checkpoints(), tip, keep, now()).filter(|through| through > dropped)
        {
            let answer = self.store.observe(vec![Observation::DropLines(through)])?;
            answer.await.unwrap_or(Err(StoreError::Closed))?;
            let mut checkpoints = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
            checkpoints.retain(|known| known.seq >= through);
            *dropped = through;
        }
        Ok(())
    }
}
