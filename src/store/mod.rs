//! Floor 2: durable truth. One writer; what it acknowledged survives power loss in the next instant.

mod audit;
mod memory;
pub mod record;
mod redb;
mod writer;

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::{Mac, Timestamp};
use crate::model::audit::{Checkpoint, Entry, Line, Page, Query, Tip};
use crate::model::{BootRecord, BootSession, ChangeSet, Inventory, Lease, Revision, SessionId, Sighting};

pub use writer::{Store, WriterCounters};

/// A durable fact about the world, outside of revisions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Observation {
    PutLease(Lease),
    RemoveLease(Ipv4Addr),
    PutSighting(Sighting),
    RemoveSighting(Mac),
    PutSession(Box<BootSession>),
    RemoveSession(SessionId),
    PutBoot(Box<BootRecord>),
    /// With its packets.
    RemoveBoot(Mac, Timestamp),
    /// A capture (classic pcap) of an attempt.
    PutPackets(Mac, Timestamp, Vec<u8>),
    RemovePackets(Mac, Timestamp),
    /// Something for the audit log. The writer makes it a line; no backend sees it.
    Note(Box<Entry>),
    PutLine(Box<Line>),
    PutCheckpoint(Box<Checkpoint>),
    /// Removes lines up to this one, and the checkpoints before its own.
    DropLines(u64),
}

/// What becomes durable together: change sets in order, each on the revision before it, and observations.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Batch {
    pub sets: Vec<ChangeSet>,
    pub observations: Vec<Observation>,
}

/// Everything a store holds.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Loaded {
    pub revision: Revision,
    pub inventory: Inventory,
    pub leases: Vec<Lease>,
    pub sightings: Vec<Sighting>,
    pub sessions: Vec<BootSession>,
    /// The highest sequence of any session ever stored, also of those that are gone.
    pub session_sequence: u64,
    pub boots: Boots,
    /// Where the audit log ends.
    pub tip: Tip,
    /// Its checkpoints, in the order of their lines.
    pub checkpoints: Vec<Checkpoint>,
}

/// What is loaded of boot records: there may be millions of attempts.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Boots {
    /// The latest of each interface, and when those before it began, the oldest first.
    pub latest: Vec<(BootRecord, Vec<Timestamp>)>,
    /// Attempts whose packets are kept.
    pub with_packets: Vec<(Mac, Timestamp)>,
}

/// Where batches become durable. Synchronous: it runs on the writer's thread.
pub trait Backend: Send {
    /// Reads everything, once, at start.
    ///
    /// # Errors
    /// The store cannot be read, or holds what this version does not understand.
    fn load(&mut self) -> Result<Loaded, StoreError>;

    /// Makes a batch durable as a whole before it returns the revision that it leads to.
    ///
    /// # Errors
    /// `Conflict` if another head was faster; anything else means that nothing of the batch is promised. It may
    /// have reached the disk all the same: `load` tells.
    fn commit(&mut self, batch: &Batch) -> Result<Revision, StoreError>;

    /// Lines of the audit log, of which at most `AUDIT_SCAN_LINES_MAX` are looked at.
    ///
    /// # Errors
    /// The store cannot be read, or a line in it is damaged.
    fn audit(&mut self, query: &Query) -> Result<Page, StoreError>;

    /// All boot attempts of an interface, the oldest first.
    ///
    /// # Errors
    /// The store cannot be read, or a record in it is damaged.
    fn boots(&mut self, mac: Mac) -> Result<Vec<BootRecord>, StoreError>;

    /// The packets of an attempt; none if they were not kept.
    ///
    /// # Errors
    /// The store cannot be read.
    fn packets(&mut self, of: (Mac, Timestamp)) -> Result<Option<Vec<u8>>, StoreError>;

    /// Commits of other heads since the last call; empty where there is one head.
    ///
    /// # Errors
    /// The store cannot be reached.
    fn foreign(&mut self, wait: Duration) -> Result<Vec<Batch>, StoreError>;
}

/// Says why something is not in the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Somebody else committed in between: plan again on the new revision.
    #[error("planned on revision {planned}, but the store is at {current}")]
    Conflict { planned: u64, current: u64 },
    /// The file holds what cannot be: the head stops.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// A record of a newer version of muster.
    #[error("a {kind} record has version {found}, this muster reads up to {known}")]
    Schema { kind: &'static str, found: u8, known: u8 },
    #[error("the disk is full")]
    Full,
    #[error("cannot {act} {path}: {reason}")]
    Io { act: &'static str, path: PathBuf, reason: String },
    /// The writer has more to do than its queue holds.
    #[error("the store is busy")]
    Busy,
    #[error("the store is closed")]
    Closed,
}

/// Opens the store file, which is made if it is not there. Fails if another process has it open.
///
/// # Errors
/// The file cannot be made or locked, or is no store.
pub fn open_redb(path: &Path) -> Result<Box<dyn Backend>, StoreError> {
    Ok(Box::new(redb::RedbBackend::open(path)?))
}

/// A store that forgets everything at the end, for tests and trials.
#[must_use]
pub fn memory() -> Box<dyn Backend> {
    Box::new(memory::MemoryBackend::default())
}

impl Loaded {
    /// Takes in a batch.
    fn apply(&mut self, batch: &Batch) {
        for set in &batch.sets {
            set.changes.iter().for_each(|change| self.inventory.apply(change));
            self.revision = set.base.next();
        }
        for observation in &batch.observations {
            match observation {
                Observation::PutLease(lease) => {
                    self.leases.retain(|known| known.address != lease.address);
                    self.leases.push(lease.clone());
                }
                Observation::RemoveLease(address) => self.leases.retain(|known| known.address != *address),
                Observation::PutSighting(seen) => {
                    self.sightings.retain(|known| known.mac != seen.mac);
                    self.sightings.push(seen.clone());
                }
                Observation::RemoveSighting(mac) => self.sightings.retain(|known| known.mac != *mac),
                Observation::PutSession(session) => {
                    self.session_sequence = self.session_sequence.max(session.sequence);
                    self.sessions.retain(|known| known.id != session.id);
                    self.sessions.push(BootSession::clone(session));
                }
                Observation::RemoveSession(id) => self.sessions.retain(|known| known.id != *id),
                Observation::PutLine(line) => self.tip = line.tip(),
                Observation::PutCheckpoint(checkpoint) => self.checkpoints.push(**checkpoint),
                Observation::DropLines(through) => self.checkpoints.retain(|known| known.seq >= *through),
                Observation::Note(_)
                | Observation::PutBoot(_)
                | Observation::RemoveBoot(..)
                | Observation::PutPackets(..)
                | Observation::RemovePackets(..) => {}
            }
        }
    }
}

/// Turns an I/O error into the store's, telling a full disk from the rest.
fn io_error(act: &'static str, path: &Path, error: &io::Error) -> StoreError {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        return StoreError::Full;
    }
    StoreError::Io { act, path: path.to_owned(), reason: error.to_string() }
}
