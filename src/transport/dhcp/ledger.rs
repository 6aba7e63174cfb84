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

/// A binding whose commit has ended, with what waited for it.
pub(crate) struct Settled<T> {
    durable: bool,
    lease: Lease,
    waiting: T,
}

type Parked<T> = Pin<Box<dyn Future<Output = Settled<T>> + Send>>;

/// Leases with the store behind them. `T` is what waits for a binding to be durable: an ACK.
pub(crate) struct Ledger<T> {
    leases: LeaseTable,
    store: Store,
    parked: FuturesUnordered<Parked<T>>,
}

impl<T: Send + 'static> Ledger<T> {
    /// Takes in the leases as loaded. Should the disk hold two of one client, the later one counts: it was
    /// acknowledged last.
    pub(crate) fn new(store: Store, mut loaded: Vec<Lease>) -> Ledger<T> {
        loaded.sort_by_key(|lease| lease.starts);
        let mut leases = LeaseTable::default();
        loaded.into_iter().for_each(|lease| leases.apply(LeaseChange::Bind(lease)));
        Ledger { leases, store, parked: FuturesUnordered::new() }
    }

    pub(crate) fn leases(&self) -> &LeaseTable {
        &self.leases
    }

    /// Asks for a binding to be durable and reserves its address until then. False: the store or the queue
    /// is full, nothing is promised, and the ACK must not leave.
    pub(crate) fn park(&mut self, lease: Lease, waiting: T) -> bool {
        if self.parked.len() >= DHCP_PARKED_MAX {
            return false;
        }
        let former = self.leases.find(&lease.network, &lease.key).map(|former| former.address);
        let former = former.filter(|address| *address != lease.address).map(Observation::RemoveLease);
        let observations = former.into_iter().chain([Observation::PutLease(lease.clone())]).collect();
        let Ok(durable) = self.store.observe(observations) else { return false };
        let bound = self.leases.get(lease.address).is_some_and(|known| known.state == LeaseState::Bound);
        if !bound {
            // No longer than an offer: if the commit fails, nobody has the address.
            let expires = lease.expires.min(lease.starts + OFFER_HOLD);
            self.leases.apply(LeaseChange::Hold(Lease { state: LeaseState::Held, expires, ..lease.clone() }));
        }
        self.parked.push(Box::pin(async move {
            let durable = matches!(durable.await, Ok(Ok(())));
            Settled { durable, lease, waiting }
        }));
        true
    }

    /// The next binding whose commit has ended. None at once if nothing waits. Cancel-safe: what waits stays.
    pub(crate) async fn settled(&mut self) -> Option<Settled<T>> {
        self.parked.next().await
    }

    /// Takes in a settled binding. Some: the promise stands and what waited may go out. None: it could not be
    /// written, or the address was freed or quarantined meanwhile, which the store was told after the binding.
    pub(crate) fn settle(&mut self, settled: Settled<T>) -> Option<T> {
        let Settled { durable, lease, waiting } = settled;
        let still_its = self.leases.get(lease.address).is_some_and(|known| {
            let promised = match known.state {
                LeaseState::Held | LeaseState::Bound => true,
                LeaseState::Released | LeaseState::Declined => false,
            };
            promised && known.key == lease.key
        });
        if !durable || !still_its {
            return None;
        }
        self.leases.apply(LeaseChange::Bind(lease));
        Some(waiting)
    }

    /// Applies a change that nobody waits for, and has it written down.
    pub(crate) fn apply(&mut self, change: LeaseChange) {
        let address = match &change {
            LeaseChange::Hold(_) | LeaseChange::Forget(_) => None,
            LeaseChange::Bind(lease) | LeaseChange::Decline(lease) => Some(lease.address),
            LeaseChange::Release(address) => Some(*address),
        };
        self.leases.apply(change);
        let Some(address) = address else { return };
        let now_there = self.leases.get(address).cloned();
        let observation = now_there.map_or(Observation::RemoveLease(address), Observation::PutLease);
        // A full queue costs a quarantine or a release after a power loss, nothing that was promised.
        let _ = self.store.observe(vec![observation]);
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
