//! The lease table: every binding of every pool. A plain data structure; one task owns it.
//!
//! Invariants, property-tested: an address has one binding at a time; a client has one address per network.

mod runs;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::Ipv4Addr;

use crate::base::limits::{LEASES_MAX, OFFER_HOLD, PROBE_VALID, PROBED_STOCK};
use crate::base::{NetworkName, Timestamp};
use crate::model::lease::LeaseChange;
use crate::model::lease_table::runs::Runs;
use crate::model::{Lease, LeaseKey, LeaseState, Network};

/// All bindings of pool addresses.
#[derive(Clone, Default, Debug)]
pub struct LeaseTable {
    by_address: BTreeMap<Ipv4Addr, Lease>,
    /// The addresses of `by_address`.
    known: Runs,
    pools: BTreeMap<NetworkName, Pool>,
    /// How often an address was declined since its binding was last renewed. Lost at a restart: then the
    /// next quarantine is a short one again.
    declines: BTreeMap<Ipv4Addr, u32>,
}

/// What belongs to one network.
#[derive(Clone, Default, Debug)]
struct Pool {
    by_key: HashMap<LeaseKey, Ipv4Addr>,
    /// By time of expiry, so that the binding dead for longest is reused first.
    by_expiry: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// Addresses nobody answered for, with the time of the probe.
    stock: VecDeque<(Ipv4Addr, Timestamp)>,
}

/// Why an address was chosen; `explain` prints it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// The client's own binding, live or former.
    Own,
    /// The address it asked for was free.
    Requested,
    /// From the stock of probed addresses.
    Probed,
    /// The stock was empty: free as far as is known.
    Unprobed,
}

impl LeaseTable {
    /// The binding of an address, dead or alive.
    #[must_use]
    pub fn get(&self, address: Ipv4Addr) -> Option<&Lease> {
        self.by_address.get(&address)
    }

    /// The binding of a client on a network, dead or alive.
    #[must_use]
    pub fn find(&self, network: &NetworkName, key: &LeaseKey) -> Option<&Lease> {
        let address = self.pools.get(network)?.by_key.get(key)?;
        self.by_address.get(address)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_address.values()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// True if a binding of `address` would not exceed the table's limit.
    #[must_use]
    pub fn has_room_for(&self, address: Ipv4Addr) -> bool {
        self.by_address.contains_key(&address) || self.by_address.len() < LEASES_MAX
    }

    /// How often the address was declined since a client last renewed it.
    #[must_use]
    pub fn declines(&self, address: Ipv4Addr) -> u32 {
        self.declines.get(&address).copied().unwrap_or(0)
    }

    /// True if `address` may be given to `key` at `now`: it is unbound, its binding is dead, or its own.
    #[must_use]
    pub fn is_free_for(&self, address: Ipv4Addr, key: &LeaseKey, now: Timestamp) -> bool {
        match self.by_address.get(&address) {
            None => true,
            Some(lease) if lease.state == LeaseState::Declined => !lease.is_live(now),
            Some(lease) => lease.key == *key || !lease.is_live(now),
        }
    }

    /// Chooses a pool address for a client. `reserved` tells the addresses that are declared for somebody.
    #[must_use]
    pub fn pick(
        &self,
        network: &Network,
        key: &LeaseKey,
        requested: Option<Ipv4Addr>,
        reserved: impl Fn(Ipv4Addr) -> bool,
        now: Timestamp,
    ) -> Option<(Ipv4Addr, Choice)> {
        let usable = |address: Ipv4Addr| {
            network.is_dynamic(address) && !reserved(address) && self.is_free_for(address, key, now)
        };
        let own = self.find(&network.name, key).map(|lease| lease.address);
        if let Some(address) = own.filter(|address| usable(*address)) {
            return Some((address, Choice::Own));
        }
        if let Some(address) = requested.filter(|address| usable(*address)) {
            return Some((address, Choice::Requested));
        }
        if self.by_address.len() >= LEASES_MAX {
            return None;
        }
        let pool = self.pools.get(&network.name);
        let fresh = |probed: &&(Ipv4Addr, Timestamp)| now.since(probed.1) < PROBE_VALID && usable(probed.0);
        if let Some((address, _)) = pool.and_then(|pool| pool.stock.iter().find(fresh)) {
            return Some((*address, Choice::Probed));
        }
        self.free(network, now).find(|address| usable(*address)).map(|address| (address, Choice::Unprobed))
    }

    /// Free addresses of a network in the order of use: never used ones first, then the longest dead.
    fn free<'a>(&'a self, network: &'a Network, now: Timestamp) -> impl Iterator<Item = Ipv4Addr> + 'a {
        let pool = self.pools.get(&network.name);
        let never = network.ranges.iter().flat_map(|range| self.known.gaps(range.first(), range.last()));
        let dead = pool
            .into_iter()
            .flat_map(move |pool| pool.by_expiry.iter().take_while(move |(expires, _)| *expires <= now))
            .map(|(_, address)| *address);
        never.chain(dead)
    }

    /// Addresses worth probing now, at most what the stock lacks.
    #[must_use]
    pub fn to_probe(
        &self,
        network: &Network,
        reserved: impl Fn(Ipv4Addr) -> bool,
        now: Timestamp,
    ) -> Vec<Ipv4Addr> {
        let stock = self.pools.get(&network.name).map(|pool| &pool.stock);
        let half_life = PROBE_VALID.0 / 2;
        let have: BTreeSet<Ipv4Addr> = stock
            .into_iter()
            .flatten()
            .filter(|(_, probed)| now.since(*probed).0 < half_life)
            .map(|(address, _)| *address)
            .collect();
        self.free(network, now)
            .filter(|address| !reserved(*address) && !have.contains(address))
            .take(PROBED_STOCK.saturating_sub(have.len()))
            .collect()
    }

    /// Puts an address nobody answered for into the stock.
    pub fn add_probed(&mut self, network: &NetworkName, address: Ipv4Addr, now: Timestamp) {
        let pool = self.pools.entry(network.clone()).or_default();
        pool.stock.retain(|(known, probed)| *known != address && now.since(*probed) < PROBE_VALID);
        if pool.stock.len() < PROBED_STOCK {
            pool.stock.push_back((address, now));
        }
    }

    /// Takes in one change.
    pub fn apply(&mut self, change: LeaseChange) {
        match change {
            LeaseChange::Hold(lease) => self.insert(lease),
            LeaseChange::Bind(lease) => {
                let renewed = self.by_address.get(&lease.address).is_some_and(|known| {
                    known.state == LeaseState::Bound
                        && known.key == lease.key
                        && lease.starts.since(known.starts) > OFFER_HOLD
                });
                if renewed {
                    self.declines.remove(&lease.address);
                }
                self.insert(lease);
            }
            LeaseChange::Decline(lease) => {
                let count = self.declines.entry(lease.address).or_default();
                *count = count.saturating_add(1);
                self.insert(lease);
            }
            LeaseChange::Release(address) => {
                let lease = self.by_address.get(&address).cloned();
                if lease.as_ref().is_some_and(|lease| lease.state == LeaseState::Declined) {
                    // Its key is the one who declined it and may live elsewhere by now.
                    self.remove(address);
                } else if let Some(lease) = lease {
                    self.insert(Lease { state: LeaseState::Released, expires: Timestamp(0), ..lease });
                }
            }
            LeaseChange::Forget(address) => {
                let held = self.by_address.get(&address).is_some_and(|l| l.state == LeaseState::Held);
                if held {
                    self.remove(address);
                }
            }
        }
    }

    /// Inserts a binding in place of the address's and the client's former ones.
    fn insert(&mut self, lease: Lease) {
        self.remove(lease.address);
        let former = self.find(&lease.network, &lease.key).map(|former| former.address);
        if lease.state != LeaseState::Declined
            && let Some(former) = former
        {
            self.remove(former);
        }
        let pool = self.pools.entry(lease.network.clone()).or_default();
        pool.stock.retain(|(address, _)| *address != lease.address);
        pool.by_expiry.insert((lease.expires, lease.address));
        if lease.state != LeaseState::Declined {
            pool.by_key.insert(lease.key.clone(), lease.address);
        }
        self.known.insert(lease.address);
        self.by_address.insert(lease.address, lease);
    }

    /// Removes the binding of an address.
    pub fn remove(&mut self, address: Ipv4Addr) -> Option<Lease> {
        let lease = self.by_address.remove(&address)?;
        self.known.remove(address);
        if let Some(pool) = self.pools.get_mut(&lease.network) {
            pool.by_expiry.remove(&(lease.expires, address));
            if pool.by_key.get(&lease.key) == Some(&address) {
                pool.by_key.remove(&lease.key);
            }
        }
        Some(lease)
    }
}

impl Lease {
    /// True while the address is promised, reserved or quarantined.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.state != LeaseState::Released && self.expires > now
    }
}

#[cfg(test)]
mod tests;
