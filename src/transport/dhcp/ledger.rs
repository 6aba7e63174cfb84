//! The lease table and its promises: what a client hears stands on the disk first, and what the disk holds is
//! what the table says.

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::base::Timestamp;
use crate::base::limits::{DHCP_PARKED_MAX, OFFER_HOLD};
use crate::model::lease::LeaseChange;
use crate::model::{Lease, LeaseState, LeaseTable};
use crate::store::{Observation, Store};

/// Bindings whose commit has ended, each with what waited for it.
pub(crate) struct Settled<T> {
    durable: bool,
    bound: Vec<(Lease, T)>,
}

type Parked<T> = Pin<Box<dyn Future<Output = Settled<T>> + Send>>;

/// Leases with the store behind them. `T` is what waits for a binding to be durable: an ACK.
pub(crate) struct Ledger<T> {
    leases: LeaseTable,
    store: Store,
    /// What the store is to be told at the next commit, and the bindings among it.
    observations: Vec<Observation>,
    fresh: Vec<(Lease, T)>,
    parked: FuturesUnordered<Parked<T>>,
    /// Bindings in `fresh` and `parked`.
    waiting: usize,
}

impl<T: Send + 'static> Ledger<T> {
    /// Takes in the leases as loaded. Should the disk hold two of one client, the later one counts: it was
    /// acknowledged last.
    pub(crate) fn new(store: Store, mut loaded: Vec<Lease>) -> Ledger<T> {
        loaded.sort_by_key(|lease| lease.starts);
        let mut leases = LeaseTable::default();
        loaded.into_iter().for_each(|lease| leases.apply(LeaseChange::Bind(lease)));
        Ledger {
            leases,
            store,
            observations: Vec::new(),
            fresh: Vec::new(),
            parked: FuturesUnordered::new(),
            waiting: 0,
        }
    }

    pub(crate) fn leases(&self) -> &LeaseTable {
        &self.leases
    }

    /// Reserves the address of a binding until `commit` and then the disk have ended. False: too many wait,
    /// nothing is promised, and the ACK must not leave.
    pub(crate) fn park(&mut self, lease: Lease, waiting: T) -> bool {
        if self.waiting >= DHCP_PARKED_MAX {
            return false;
        }
        let former = self.leases.find(&lease.network, &lease.key).map(|former| former.address);
        let former = former.filter(|address| *address != lease.address).map(Observation::RemoveLease);
        self.observations.extend(former.into_iter().chain([Observation::PutLease(lease.clone())]));
        let bound = self.leases.get(lease.address).is_some_and(|known| known.state == LeaseState::Bound);
        if !bound {
            // No longer than an offer: if the commit fails, nobody has the address.
            let expires = lease.expires.min(lease.starts + OFFER_HOLD);
            self.leases.apply(LeaseChange::Hold(Lease { state: LeaseState::Held, expires, ..lease.clone() }));
        }
        self.fresh.push((lease, waiting));
        self.waiting += 1;
        true
    }

    /// Tells the store, as one, of everything since the last call. Returns how many bindings are not promised
    /// because the store's queue is full; beside them that costs a quarantine or a release after a power loss.
    pub(crate) fn commit(&mut self) -> usize {
        if self.observations.is_empty() {
            return 0;
        }
        let bound = std::mem::take(&mut self.fresh);
        let Ok(durable) = self.store.observe(std::mem::take(&mut self.observations)) else {
            self.waiting -= bound.len();
            return bound.len();
        };
        if !bound.is_empty() {
            self.parked.push(Box::pin(async move {
                let durable = matches!(durable.await, Ok(Ok(())));
                Settled { durable, bound }
            }));
        }
        0
    }

    /// The next bindings whose commit has ended. None at once if nothing waits. Cancel-safe: what waits stays.
    pub(crate) async fn settled(&mut self) -> Option<Settled<T>> {
        self.parked.next().await
    }

    /// Takes in settled bindings. Some: the promise stands and what waited may go out. None: it could not be
    /// written, or the address was freed or quarantined meanwhile, which the store was told after the binding.
    pub(crate) fn settle(&mut self, settled: Settled<T>) -> Vec<Option<T>> {
        let Settled { durable, bound } = settled;
        self.waiting -= bound.len();
        bound.into_iter().map(|(lease, waiting)| (durable && self.bind(lease)).then_some(waiting)).collect()
    }

    fn bind(&mut self, lease: Lease) -> bool {
        let still_its = self.leases.get(lease.address).is_some_and(|known| {
            let promised = match known.state {
                LeaseState::Held | LeaseState::Bound => true,
                LeaseState::Released | LeaseState::Declined => false,
            };
            promised && known.key == lease.key
        });
        if still_its {
            self.leases.apply(LeaseChange::Bind(lease));
        }
        still_its
    }

    /// Applies a change that nobody waits for; the next commit has it written down.
    pub(crate) fn apply(&mut self, change: LeaseChange) {
        let address = match &change {
            LeaseChange::Hold(_) | LeaseChange::Forget(_) => None,
            LeaseChange::Bind(lease) | LeaseChange::Decline(lease) => Some(lease.address),
            LeaseChange::Release(address) => Some(*address),
        };
        self.leases.apply(change);
        let Some(address) = address else { return };
        let now_there = self.leases.get(address).cloned();
        self.observations.push(now_there.map_or(Observation::RemoveLease(address), Observation::PutLease));
    }

    /// Puts an address that nobody answered for into its pool's stock.
    pub(crate) fn add_probed(
        &mut self,
        network: &crate::base::NetworkName,
        address: Ipv4Addr,
        now: Timestamp,
    ) {
        self.leases.add_probed(network, address, now);
    }
}

#[cfg(test)]
mod tests;
