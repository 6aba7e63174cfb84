//! Who else is on the wire: undeclared machines and other DHCP servers. What the operator must hear is logged
//! once; what must survive is written down now and then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use crate::base::limits::{ROGUES_MAX, SIGHTING_WRITE_SPAN, SIGHTINGS_MAX};
use crate::base::{Mac, NetworkName, Timestamp};
use crate::engine::dhcp::Foreign;
use crate::model::sighting::SightingTable;
use crate::model::{Sighting, Snapshot};
use crate::store::{Observation, Store};
use crate::transport::dhcp::handle::Rogue;

/// Sightings that make room together.
const SIGHTINGS_EVICTED: usize = SIGHTINGS_MAX / 16;

/// Sightings written in one job; at a tick of 50 ms twenty times as many in a second.
const SIGHTING_WRITES_MAX: usize = 256;

/// Sightings and rogue servers.
pub(crate) struct Witness {
    store: Store,
    sightings: SightingTable,
    /// When a machine's sighting was last written.
    written: HashMap<Mac, Timestamp>,
    /// Machines whose record on disk is not the table's. Written together, some at a time, so that a flood of
    /// invented machines cannot fill the store's queue, in which ACKs wait too.
    pending: BTreeSet<Mac>,
    rogues: BTreeMap<(NetworkName, Ipv4Addr), Rogue>,
}

impl Witness {
    pub(crate) fn new(store: Store, loaded: Vec<Sighting>) -> Witness {
        let mut sightings = SightingTable::default();
        for seen in loaded {
            sightings.record(seen);
        }
        Witness {
            store,
            sightings,
            written: HashMap::new(),
            pending: BTreeSet::new(),
            rogues: BTreeMap::new(),
        }
    }

    /// Takes in a sighting. True: the machine was not known.
    pub(crate) fn sighting(&mut self, seen: Sighting, now: Timestamp) -> bool {
        let (mac, network) = (seen.mac, seen.network.clone());
        let new = self.sightings.get(mac).is_none();
        if new {
            self.make_room();
        }
        let joined = self.sightings.record(seen);
        if new {
            let class = joined.vendor_class.as_deref().unwrap_or("");
            tracing::info!(%mac, %network, class, "unknown machine");
        }
        let due = self.written.get(&mac).is_none_or(|written| now.since(*written) >= SIGHTING_WRITE_SPAN);
        if due {
            self.pending.insert(mac);
            if self.written.len() >= SIGHTINGS_MAX {
                self.written.clear(); // costs one early write for each machine
            }
            self.written.insert(mac, now);
        }
        new
    }

    /// Forgets the machines seen longest ago if the table is full, on disk too: else the disk would fill with
    /// machines that a flood invented. Some at a time, so that a flood does not cost a walk per packet.
    fn make_room(&mut self) {
        if self.sightings.len() < SIGHTINGS_MAX {
            return;
        }
        let mut by_age: Vec<_> = self.sightings.iter().map(|seen| (seen.last, seen.mac)).collect();
        by_age.sort_unstable();
        by_age.into_iter().take(SIGHTINGS_EVICTED).for_each(|(_, mac)| self.forget(mac));
    }

    fn forget(&mut self, mac: Mac) {
        self.sightings.forget(mac);
        self.written.remove(&mac);
        self.pending.insert(mac);
    }

    /// Writes what is due, as one job of bounded size. If the store is busy it stays due.
    pub(crate) fn flush(&mut self) {
        let due: Vec<Mac> = self.pending.iter().copied().take(SIGHTING_WRITES_MAX).collect();
        if due.is_empty() {
            return;
        }
        let observation = |mac: &Mac| match self.sightings.get(*mac) {
            Some(seen) => Observation::PutSighting(seen.clone()),
            None => Observation::RemoveSighting(*mac),
        };
        if self.store.observe(due.iter().map(observation).collect()).is_ok() {
            self.pending.retain(|mac| due.binary_search(mac).is_err());
        }
    }

    pub(crate) fn foreign(&mut self, foreign: Foreign, now: Timestamp) {
        let Foreign { network, server, mac, kind: _, client, offered } = foreign;
        let key = (network.clone(), server);
        if let Some(known) = self.rogues.get_mut(&key) {
            (known.last, known.mac) = (now, mac);
            known.replies = known.replies.saturating_add(1);
            return;
        }
        if self.rogues.len() >= ROGUES_MAX {
            return; // that many are no accident any more; the log must not drown in them
        }
        tracing::warn!(
            %server, %mac, %network,
            client = client.map(tracing::field::display),
            offered = offered.map(tracing::field::display),
            "another DHCP server answers on this network; machines may take its offers"
        );
        self.rogues.insert(key, Rogue { network, server, mac, first: now, last: now, replies: 1 });
    }

    /// Forgets machines that were declared meanwhile.
    pub(crate) fn forget_declared(&mut self, snapshot: &Snapshot) {
        let declared: Vec<Mac> = self
            .sightings
            .iter()
            .map(|seen| seen.mac)
            .filter(|mac| snapshot.by_mac(*mac).is_some())
            .collect();
        for mac in declared {
            self.forget(mac);
        }
    }

    pub(crate) fn sightings(&self) -> Vec<Sighting> {
        self.sightings.iter().cloned().collect()
    }

    pub(crate) fn rogues(&self) -> Vec<Rogue> {
        self.rogues.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
