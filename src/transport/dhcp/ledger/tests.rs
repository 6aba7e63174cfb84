use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::base::limits::OFFER_HOLD;
use crate::base::{Mac, Millis, Timestamp};
use crate::model::lease::LeaseChange;
use crate::model::{Lease, LeaseKey, LeaseState, Revision};
use crate::store::{Backend, Batch, Loaded, Observation, Store, StoreError};
use crate::transport::dhcp::ledger::Ledger;

const START: Timestamp = Timestamp(1_000_000);

/// A disk that is full or not, and remembers what was written.
#[derive(Clone, Default)]
struct Disk {
    full: bool,
    written: Arc<Mutex<Vec<Observation>>>,
}

impl Backend for Disk {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(Loaded::default())
    }

    fn commit(&mut self, batch: &Batch) -> Result<Revision, StoreError> {
        if self.full {
            return Err(StoreError::Full);
        }
        self.written.lock().unwrap().extend(batch.observations.clone());
        Ok(Revision::default())
    }

    fn audit(
        &mut self,
        _query: &crate::model::audit::Query,
    ) -> Result<crate::model::audit::Page, StoreError> {
        Ok(Default::default())
    }

    fn boots(&mut self, _mac: Mac) -> Result<Vec<crate::model::BootRecord>, StoreError> {
        Ok(Vec::new())
    }

    fn packets(&mut self, _of: (Mac, Timestamp)) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn foreign(&mut self, _wait: Duration) -> Result<Vec<Batch>, StoreError> {
        Ok(Vec::new())
    }
}

fn lease(last: u8, mac: u8, starts: Timestamp) -> Lease {
    Lease {
        address: Ipv4Addr::new(192, 0, 2, last),
        key: LeaseKey::Mac(Mac([0, 0, 0x5e, 0, 0x53, mac])),
        network: "boot".parse().unwrap(),
        state: LeaseState::Bound,
        starts,
        expires: starts + Millis::from_secs(3600),
        host_name: None,
    }
}

fn ledger(disk: &Disk, loaded: Vec<Lease>) -> (Ledger<&'static str>, Store) {
    let (store, _) = Store::open(Box::new(disk.clone())).unwrap();
    (Ledger::new(store.clone(), loaded), store)
}

#[tokio::test]
async fn an_ack_leaves_when_its_lease_is_on_the_disk() {
    let disk = Disk::default();
    let (mut ledger, _store) = ledger(&disk, Vec::new());
    let given = lease(10, 1, START);
    assert!(ledger.park(given.clone(), "ack") && ledger.commit() == 0);
    assert_eq!(ledger.leases().get(given.address).unwrap().state, LeaseState::Held, "reserved meanwhile");
    let settled = ledger.settled().await.unwrap();
    assert_eq!(*disk.written.lock().unwrap(), [Observation::PutLease(given.clone())]);
    assert_eq!(ledger.settle(settled), [Some("ack")]);
    assert_eq!(ledger.leases().get(given.address), Some(&given));
}

#[tokio::test]
async fn a_full_disk_promises_nothing_and_frees_the_address_soon() {
    let (mut ledger, _store) = ledger(&Disk { full: true, ..Disk::default() }, Vec::new());
    let given = lease(10, 1, START);
    assert!(ledger.park(given.clone(), "ack") && ledger.commit() == 0);
    let settled = ledger.settled().await.unwrap();
    assert_eq!(ledger.settle(settled), [None]);
    assert!(!ledger.leases().get(given.address).unwrap().is_live(START + OFFER_HOLD));
}

#[tokio::test]
async fn an_address_that_fell_into_conflict_meanwhile_is_not_acknowledged() {
    let (mut ledger, _store) = ledger(&Disk::default(), Vec::new());
    let given = lease(10, 1, START);
    assert!(ledger.park(given.clone(), "ack") && ledger.commit() == 0);
    ledger.apply(LeaseChange::Decline(Lease { state: LeaseState::Declined, ..lease(10, 9, START) }));
    let settled = ledger.settled().await.unwrap();
    assert_eq!(ledger.settle(settled), [None]);
    assert_eq!(ledger.leases().get(given.address).unwrap().state, LeaseState::Declined);
}

#[tokio::test]
async fn the_disk_forgets_the_former_address_of_a_client_that_moved() {
    let (old, new) = (lease(20, 1, START), lease(10, 1, START + Millis(1)));
    let disk = Disk::default();
    let (mut ledger, _store) = ledger(&disk, vec![old.clone()]);
    assert!(ledger.park(new.clone(), "ack") && ledger.commit() == 0);
    let settled = ledger.settled().await.unwrap();
    assert_eq!(ledger.settle(settled), [Some("ack")]);
    let expected = [Observation::RemoveLease(old.address), Observation::PutLease(new)];
    assert_eq!(*disk.written.lock().unwrap(), expected);
}

#[tokio::test]
async fn of_two_loaded_leases_of_one_client_the_later_counts() {
    let (old, new) = (lease(20, 1, START), lease(10, 1, START + Millis(1)));
    for loaded in [vec![old.clone(), new.clone()], vec![new.clone(), old.clone()]] {
        let (ledger, _store) = ledger(&Disk::default(), loaded);
        assert_eq!(ledger.leases().iter().collect::<Vec<_>>(), [&new]);
    }
}

#[tokio::test]
async fn a_quarantine_that_was_lifted_stays_lifted_on_the_disk() {
    let quarantine = Lease { state: LeaseState::Declined, ..lease(10, 9, START) };
    let disk = Disk::default();
    let (mut ledger, store) = ledger(&disk, vec![quarantine.clone()]);
    ledger.apply(LeaseChange::Release(quarantine.address));
    ledger.commit();
    store.close().await;
    assert_eq!(*disk.written.lock().unwrap(), [Observation::RemoveLease(quarantine.address)]);
}
