use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::limits::{ROGUES_MAX, SIGHTING_WRITE_SPAN, SIGHTINGS_MAX};
use crate::base::{Mac, Millis, Timestamp};
use crate::engine::dhcp::Foreign;
use crate::model::{
    Change, Firmware, Interface, Inventory, Node, NodeId, Revision, Sighting, Site, Snapshot,
};
use crate::store::{Backend, Batch, Loaded, Observation, Store, StoreError};
use crate::transport::dhcp::witness::{SIGHTING_WRITES_MAX, Witness};

const START: Timestamp = Timestamp(1_000_000);

fn mac(number: u32) -> Mac {
    let [a, b, c, d] = number.to_be_bytes();
    Mac([2, 0, a, b, c, d])
}

fn seen(number: u32, at: Timestamp) -> Sighting {
    Sighting {
        mac: mac(number),
        first: at,
        last: at,
        requests: 1,
        network: "boot".parse().unwrap(),
        vendor_class: None,
        arch: None,
        firmware: Firmware::Unknown,
        uuid: None,
        circuit: None,
        host_name: None,
    }
}

/// Keeps what is written in order.
struct Disk(std::sync::mpsc::Sender<Observation>);

impl Backend for Disk {
    fn load(&mut self) -> Result<Loaded, StoreError> {
        Ok(Loaded::default())
    }

    fn commit(&mut self, batch: &Batch) -> Result<Revision, StoreError> {
        batch.observations.iter().for_each(|observation| self.0.send(observation.clone()).unwrap());
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

/// Lets a witness see, and returns it with what it wrote.
async fn check(loaded: Vec<Sighting>, act: impl FnOnce(&mut Witness)) -> (Witness, Vec<Observation>) {
    let (sender, written) = std::sync::mpsc::channel();
    let (store, _) = Store::open(Box::new(Disk(sender))).unwrap();
    let mut witness = Witness::new(store.clone(), loaded);
    act(&mut witness);
    while !witness.pending.is_empty() {
        let before = witness.pending.len();
        witness.flush();
        assert!(witness.pending.len() < before, "the store takes what is due");
    }
    store.close().await;
    (witness, written.iter().collect())
}

#[tokio::test]
async fn a_machine_that_keeps_asking_is_written_once_in_a_while() {
    let (witness, written) = check(Vec::new(), |witness| {
        for at in [START, START + Millis(1), START + SIGHTING_WRITE_SPAN] {
            witness.sighting(seen(1, at), at);
            witness.flush();
        }
    })
    .await;
    let requests: Vec<u64> = written
        .iter()
        .map(|observation| match observation {
            Observation::PutSighting(seen) => seen.requests,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(requests, [1, 3]);
    assert_eq!(witness.sightings()[0].requests, 3);
}

#[tokio::test]
async fn a_full_table_forgets_the_machines_seen_longest_ago_on_disk_too() {
    let full = u32::try_from(SIGHTINGS_MAX).unwrap();
    let loaded = (0..full).map(|number| seen(number, START + Millis(number.into()))).collect();
    let now = START + Millis::from_secs(3600);
    let (witness, written) = check(loaded, |witness| {
        witness.sighting(seen(full, now), now);
    })
    .await;
    let left: BTreeSet<Mac> = witness.sightings().iter().map(|seen| seen.mac).collect();
    assert!(left.contains(&mac(full)) && left.contains(&mac(full - 1)) && !left.contains(&mac(0)));
    assert_eq!(written[0], Observation::RemoveSighting(mac(0)));
    assert_eq!(written.len() - 1, SIGHTINGS_MAX + 1 - left.len(), "each forgotten one was removed from disk");
}

#[tokio::test]
async fn a_flood_of_machines_costs_few_jobs() {
    let (_, written) = check(Vec::new(), |witness| {
        (0..5000).for_each(|number| {
            witness.sighting(seen(number, START), START);
        });
        witness.flush();
        assert_eq!(witness.pending.len(), 5000 - SIGHTING_WRITES_MAX);
    })
    .await;
    assert_eq!(written.len(), 5000);
}

#[tokio::test]
async fn a_declared_machine_is_forgotten() {
    let mut node = Node::new(NodeId(1), "nid001".parse().unwrap());
    node.interfaces.push(Interface { name: None, mac: mac(1), addresses: Vec::new() });
    let mut inventory = Inventory::default();
    inventory.apply(&Change::PutNode(Arc::new(node)));
    let snapshot = Snapshot::compile(Revision(1), Arc::new(Site::default()), Arc::new(inventory));
    let (witness, written) =
        check(vec![seen(1, START), seen(2, START)], |witness| witness.forget_declared(&snapshot)).await;
    assert_eq!(witness.sightings(), [seen(2, START)]);
    assert_eq!(written, [Observation::RemoveSighting(mac(1))]);
}

#[tokio::test]
async fn other_servers_are_counted_and_bounded() {
    let foreign = |number: u32| Foreign {
        network: "boot".parse().unwrap(),
        server: Ipv4Addr::from_bits(0xc633_6400 + number),
        mac: mac(number),
        kind: None,
        client: None,
        offered: None,
    };
    let (witness, _) = check(Vec::new(), |witness| {
        (0..1000).for_each(|number| witness.foreign(foreign(number), START));
        witness.foreign(foreign(0), START + Millis(5));
    })
    .await;
    let rogues = witness.rogues();
    assert_eq!(rogues.len(), ROGUES_MAX);
    assert_eq!((rogues[0].replies, rogues[0].first, rogues[0].last), (2, START, START + Millis(5)));
}
