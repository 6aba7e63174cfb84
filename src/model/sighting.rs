//! Sightings: undeclared machines that were seen on a wire.

use std::collections::BTreeMap;

use crate::base::limits::SIGHTINGS_MAX;
use crate::base::{Mac, NetworkName, Timestamp, Uuid};
use crate::model::{Arch, Firmware};

/// What is known about one undeclared machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    pub mac: Mac,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Number of its requests so far.
    pub requests: u64,
    pub network: NetworkName,
    /// Vendor class (option 60) of its latest request, as printable text.
    pub vendor_class: Option<String>,
    pub arch: Option<Arch>,
    pub firmware: Firmware,
    pub uuid: Option<Uuid>,
    /// Circuit of the relay (option 82 sub-option 1), as printable text or hex.
    pub circuit: Option<String>,
    /// What the machine calls itself (option 12).
    pub host_name: Option<String>,
}

/// All sightings, by hardware address. Owned by one task; bounded.
#[derive(Clone, Default, Debug)]
pub struct SightingTable {
    by_mac: BTreeMap<Mac, Sighting>,
}

impl SightingTable {
    /// Takes in one request's sighting and returns the joined record.
    pub fn record(&mut self, seen: Sighting) -> &Sighting {
        if self.by_mac.len() >= SIGHTINGS_MAX && !self.by_mac.contains_key(&seen.mac) {
            let oldest = self.by_mac.values().min_by_key(|known| known.last).map(|known| known.mac);
            oldest.and_then(|mac| self.by_mac.remove(&mac));
        }
        let known = self.by_mac.entry(seen.mac).or_insert_with(|| Sighting { requests: 0, ..seen.clone() });
        *known = Sighting {
            first: known.first.min(seen.first),
            requests: known.requests.saturating_add(seen.requests),
            // A later stage of the same boot says less: what is known already stays.
            arch: seen.arch.or(known.arch),
            uuid: seen.uuid.or(known.uuid),
            circuit: seen.circuit.or_else(|| known.circuit.take()),
            host_name: seen.host_name.or_else(|| known.host_name.take()),
            vendor_class: seen.vendor_class.or_else(|| known.vendor_class.take()),
            firmware: if seen.firmware == Firmware::Unknown { known.firmware } else { seen.firmware },
            mac: seen.mac,
            last: seen.last.max(known.last),
            network: seen.network,
        };
        known
    }

    /// Forgets a machine: it was declared.
    pub fn forget(&mut self, mac: Mac) -> bool {
        self.by_mac.remove(&mac).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Sighting> {
        self.by_mac.values()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_mac.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_mac.is_empty()
    }

    #[must_use]
    pub fn get(&self, mac: Mac) -> Option<&Sighting> {
        self.by_mac.get(&mac)
    }
}
