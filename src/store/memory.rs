//! A backend in memory, for tests and trials.

use std::time::Duration;

use crate::model::Revision;
use crate::store::{Backend, Batch, Loaded, StoreError};

/// Keeps what it is given until it is dropped.
#[derive(Default)]
pub(crate) struct MemoryBackend(Loaded);

impl Backend for MemoryBackend {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(self.0.clone())
    }

    fn commit(&mut self, batch: &Batch) -> Result<Revision, StoreError> {
        self.0.apply(batch);
        Ok(self.0.revision)
    }

    fn foreign(&mut self, _wait: Duration) -> Result<Vec<Batch>, StoreError> {
        Ok(Vec::new())
    }
}
