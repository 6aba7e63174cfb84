//! A backend in memory, for tests and trials.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{Mac, Timestamp};
use crate::model::audit::{Line, Page, Query};
use crate::model::{BootRecord, Revision};
use crate::store::audit::page;
use crate::store::{Backend, Batch, Loaded, Observation, StoreError};

/// Keeps what it is given until it is dropped.
#[derive(Default)]
pub(crate) struct MemoryBackend {
    loaded: Loaded,
    lines: BTreeMap<u64, Line>,
    boots: BTreeMap<(Mac, Timestamp), BootRecord>,
    packets: BTreeMap<(Mac, Timestamp), Vec<u8>>,
}

impl Backend for MemoryBackend {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        let mut loaded = self.loaded.clone();
        let mut starts: BTreeMap<Mac, Vec<Timestamp>> = BTreeMap::new();
        self.boots.keys().for_each(|(mac, started)| starts.entry(*mac).or_default().push(*started));
        for (mac, mut starts) in starts {
            let latest = starts.pop().and_then(|latest| self.boots.get(&(mac, latest)).cloned());
            loaded.boots.latest.extend(latest.map(|latest| (latest, starts)));
        }
        loaded.boots.with_packets = self.packets.keys().copied().collect();
        Ok(loaded)
    }

    fn commit(&mut self, batch: &Batch) -> Result<Revision, StoreError> {
        for observation in &batch.observations {
            match observation {
                Observation::PutLine(line) => drop(self.lines.insert(line.seq, Line::clone(line))),
                Observation::DropLines(through) => self.lines.retain(|seq, _| seq > through),
                Observation::PutBoot(record) => {
                    drop(self.boots.insert((record.mac, record.started), BootRecord::clone(record)));
                }
                Observation::RemoveBoot(mac, started) => {
                    self.boots.remove(&(*mac, *started));
                    self.packets.remove(&(*mac, *started));
                }
                Observation::PutPackets(mac, started, octets) => {
                    drop(self.packets.insert((*mac, *started), octets.clone()));
                }
                Observation::RemovePackets(mac, started) => drop(self.packets.remove(&(*mac, *started))),
                _ => {}
            }
        }
        self.loaded.apply(batch);
        Ok(self.loaded.revision)
    }

    fn audit(&mut self, query: &Query) -> Result<Page, StoreError> {
        page(query, |range, rising| {
            let lines = self.lines.range(range).map(|(_, line)| Ok(line.clone()));
            if rising { Box::new(lines) } else { Box::new(lines.rev()) }
        })
    }

    fn boots(&mut self, mac: Mac) -> Result<Vec<BootRecord>, StoreError> {
        let all = self.boots.range((mac, Timestamp(0))..=(mac, Timestamp(u64::MAX)));
        Ok(all.map(|(_, record)| record.clone()).collect())
    }

    fn packets(&mut self, of: (Mac, Timestamp)) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.packets.get(&of).cloned())
    }

    fn foreign(&mut self, _wait: Duration) -> Result<Vec<Batch>, StoreError> {
        Ok(Vec::new())
    }
}
