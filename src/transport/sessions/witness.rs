//! Sees whether the store went back in time. A restored backup would bring back grants that were used up; so the
//! highest number of any session stands in a file beside the store as well, and a store that is behind it was
//! restored. Then the security epoch rises, and everything of an earlier epoch counts no more.
//!
//! The file is written after the store and before what was written for leaves the head. It needs no fsync: a
//! file that is behind the store after a power loss says nothing. A backup of both that is restored together
//! cannot be told from the truth by any file beside them; whoever restores that way ends the epoch by `void`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file's length: two numbers of twenty digits.
const LENGTH: usize = 42;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {path}")]
pub struct WitnessError {
    act: &'static str,
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// The file, and what stands in it.
pub struct Witness {
    /// None in tests: nothing outlives the process.
    file: Option<File>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    epoch: u64,
    sequence: u64,
}

impl Witness {
    /// One that nothing comes after.
    #[must_use]
    pub fn none() -> Witness {
        Witness { file: None, seen: Mutex::new(Seen { epoch: 1, sequence: 0 }) }
    }

    /// Reads the file and compares it with the store, whose sessions are of at most this epoch and sequence.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path, epoch: u64, sequence: u64) -> Result<Witness, WitnessError> {
        let fail = |act| move |source| WitnessError { act, path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(fail("open"))?;
        let mut text = [0; LENGTH];
        let length = file.read_at(&mut text, 0).map_err(fail("read"))?;
        let seen = match parse(&text[..length]) {
            Some(seen) if sequence >= seen.sequence => Seen { epoch: seen.epoch.max(epoch), sequence },
            None if sequence == 0 => Seen { epoch: epoch.max(1), sequence },
            // The store is behind, or nobody knows: fails closed.
            seen => {
                let before = seen.unwrap_or(Seen { epoch, sequence });
                let epoch = before.epoch.max(epoch).saturating_add(1);
                tracing::warn!(epoch, "the store was restored: boot sessions from before count no more");
                Seen { epoch, sequence: before.sequence.max(sequence) }
            }
        };
        let witness = Witness { file: Some(file), seen: Mutex::new(seen) };
        witness.write(seen).map_err(fail("write"))?;
        Ok(witness)
    }

    /// The security epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// The highest number that was seen.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.lock().sequence
    }

    /// Notes a number that the store has. Numbers may come out of order.
    pub fn saw(&self, sequence: u64) {
        let mut seen = self.lock();
        if sequence <= seen.sequence {
            return;
        }
        seen.sequence = sequence;
        // Without it, a backup that is restored later may go unnoticed: worth a word, not a boot.
        if let Err(error) = self.write(*seen) {
            tracing::error!(%error, "the witness of boot sessions cannot be written");
        }
    }

    /// Ends the epoch: everything before counts no more.
    pub fn void(&self) -> u64 {
        let mut seen = self.lock();
        seen.epoch = seen.epoch.saturating_add(1);
        if let Err(error) = self.write(*seen) {
            tracing::error!(%error, "the witness of boot sessions cannot be written");
        }
        seen.epoch
    }

    fn write(&self, seen: Seen) -> std::io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let text = format!("{:020} {:020}\n", seen.epoch, seen.sequence);
        file.write_all_at(text.as_bytes(), 0)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(text: &[u8]) -> Option<Seen> {
    let (epoch, sequence) = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.split_once(' ')?;
    Some(Seen { epoch: epoch.parse().ok()?, sequence: sequence.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use crate::transport::sessions::Witness;

    #[test]
    fn a_store_that_went_back_in_time_ends_the_epoch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        let open = |epoch, sequence| Witness::open(&path, epoch, sequence).unwrap();
        assert_eq!(open(0, 0).epoch(), 1);
        open(1, 0).saw(7);
        assert_eq!(open(1, 7).epoch(), 1, "a restart");
        assert_eq!(open(1, 9).epoch(), 1, "the file was behind: a power loss");
        let restored = open(1, 8);
        assert_eq!((restored.epoch(), restored.sequence()), (2, 9));
        assert_eq!(open(1, 9).epoch(), 2, "and stays");
    }

    #[test]
    fn a_witness_that_is_lost_or_damaged_counts_as_a_restore() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        assert_eq!(Witness::open(&path, 3, 5).unwrap().epoch(), 4);
        std::fs::write(&path, "nonsense").unwrap();
        assert_eq!(Witness::open(&path, 4, 5).unwrap().epoch(), 5);
    }

    #[test]
    fn numbers_may_come_out_of_order_and_the_epoch_is_ended_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        let witness = Witness::open(&path, 0, 0).unwrap();
        witness.saw(5);
        witness.saw(4);
        assert_eq!(witness.void(), 2);
        let again = Witness::open(&path, 1, 5).unwrap();
        assert_eq!((again.epoch(), again.sequence()), (2, 5));
    }
}
