use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use proptest::prelude::*;

use crate::base::{Mac, Millis, Timestamp};
use crate::model::lease::LeaseChange;
use crate::model::lease_table::Choice;
use crate::model::network::tests::network;
use crate::model::{Lease, LeaseKey, LeaseState, LeaseTable, Network};

fn key(number: u8) -> LeaseKey {
    LeaseKey::Mac(Mac([0, 0, 0x5e, 0, 0x53, number]))
}

fn lease(net: &Network, address: Ipv4Addr, client: u8, state: LeaseState, now: Timestamp) -> Lease {
    Lease {
        address,
        key: key(client),
        network: net.name.clone(),
        state,
        starts: now,
        expires: now + Millis::from_secs(60),
        host_name: None,
    }
}

#[test]
fn a_client_keeps_its_address_after_release() {
    let (net, mut table, now) = (network("192.0.2.10-192.0.2.12"), LeaseTable::default(), Timestamp(1000));
    let (first, choice) = table.pick(&net, &key(1), None, |_| false, now).unwrap();
    assert_eq!((first.to_string().as_str(), choice), ("192.0.2.10", Choice::Unprobed));
    table.apply(LeaseChange::Bind(lease(&net, first, 1, LeaseState::Bound, now)));
    table.apply(LeaseChange::Release(first));
    assert_eq!(table.pick(&net, &key(2), None, |_| false, now).unwrap().0.to_string(), "192.0.2.11");
    assert_eq!(table.pick(&net, &key(1), None, |_| false, now).unwrap(), (first, Choice::Own));
}

#[test]
fn a_high_address_taken_first_hides_no_lower_one() {
    let (net, mut table, now) = (network("192.0.2.10-192.0.2.12"), LeaseTable::default(), Timestamp(1000));
    let last = Ipv4Addr::new(192, 0, 2, 12);
    assert_eq!(table.pick(&net, &key(1), Some(last), |_| false, now).unwrap(), (last, Choice::Requested));
    table.apply(LeaseChange::Bind(lease(&net, last, 1, LeaseState::Bound, now)));
    for client in 2..4 {
        let (address, _) = table.pick(&net, &key(client), None, |_| false, now).unwrap();
        assert_eq!(address, Ipv4Addr::new(192, 0, 2, 8 + client));
        table.apply(LeaseChange::Bind(lease(&net, address, client, LeaseState::Bound, now)));
    }
    assert_eq!(table.pick(&net, &key(4), None, |_| false, now), None);
}

#[test]
fn a_client_that_chose_another_server_leaves_its_hold() {
    let (net, mut table, now) = (network("192.0.2.10"), LeaseTable::default(), Timestamp(1000));
    let only = Ipv4Addr::new(192, 0, 2, 10);
    table.apply(LeaseChange::Hold(lease(&net, only, 1, LeaseState::Held, now)));
    assert_eq!(table.pick(&net, &key(2), None, |_| false, now), None);
    table.apply(LeaseChange::Forget(only));
    assert_eq!(table.pick(&net, &key(2), None, |_| false, now).unwrap().0, only);
}

#[test]
fn declines_are_counted_until_a_client_lives_there_in_peace() {
    let (net, mut table, now) = (network("192.0.2.10"), LeaseTable::default(), Timestamp(1000));
    let only = Ipv4Addr::new(192, 0, 2, 10);
    table.apply(LeaseChange::Decline(lease(&net, only, 1, LeaseState::Declined, now)));
    table.apply(LeaseChange::Decline(lease(&net, only, 1, LeaseState::Declined, now)));
    assert_eq!(table.declines(only), 2);
    table.apply(LeaseChange::Bind(lease(&net, only, 2, LeaseState::Bound, now)));
    table.apply(LeaseChange::Bind(lease(&net, only, 2, LeaseState::Bound, now + Millis(300))));
    assert_eq!(table.declines(only), 2, "a repeated REQUEST proves nothing");
    table.apply(LeaseChange::Bind(lease(&net, only, 2, LeaseState::Bound, now + Millis::from_secs(40))));
    assert_eq!(table.declines(only), 0);
}

#[test]
fn probed_addresses_come_first_and_grow_stale() {
    let (net, mut table, now) = (network("192.0.2.10-192.0.2.12"), LeaseTable::default(), Timestamp(1000));
    let second = Ipv4Addr::new(192, 0, 2, 11);
    table.add_probed(&net.name, second, now);
    assert_eq!(table.pick(&net, &key(1), None, |_| false, now).unwrap(), (second, Choice::Probed));
    let later = now + Millis::from_secs(61);
    assert_eq!(table.pick(&net, &key(1), None, |_| false, later).unwrap().1, Choice::Unprobed);
    assert_eq!(table.to_probe(&net, |a| a == Ipv4Addr::new(192, 0, 2, 10), now).len(), 1);
}

#[test]
fn a_declined_address_rests_until_its_quarantine_ends() {
    let (net, mut table, now) = (network("192.0.2.10"), LeaseTable::default(), Timestamp(1000));
    let only = Ipv4Addr::new(192, 0, 2, 10);
    table.apply(LeaseChange::Decline(lease(&net, only, 1, LeaseState::Declined, now)));
    assert_eq!(table.pick(&net, &key(1), None, |_| false, now), None);
    assert!(table.pick(&net, &key(1), None, |_| false, now + Millis::from_secs(60)).is_some());
}

proptest! {
    /// Random lives of 40 clients on 16 addresses: no two live bindings share an address, a client has one
    /// address, a reserved address goes to nobody.
    #[test]
    fn bindings_never_overlap(steps in prop::collection::vec((0u8..40, 0u8..5, 0u64..40_000), 1..300)) {
        let net = network("192.0.2.16-192.0.2.31");
        let reserved = Ipv4Addr::new(192, 0, 2, 20);
        let mut table = LeaseTable::default();
        let mut now = Timestamp(0);
        let mut promised: HashMap<LeaseKey, Lease> = HashMap::new();
        for (client, act, pause) in steps {
            now = now + Millis(pause);
            promised.retain(|_, lease| lease.expires > now);
            let picked = table.pick(&net, &key(client), None, |a| a == reserved, now).map(|(a, _)| a);
            let Some(address) = picked else { continue };
            prop_assert_ne!(address, reserved);
            let taken = promised.values().any(|l| l.address == address && l.key != key(client));
            prop_assert!(!taken, "{} is promised already", address);
            match act {
                0 => table.apply(LeaseChange::Hold(lease(&net, address, client, LeaseState::Held, now))),
                1 | 2 => {
                    let bound = lease(&net, address, client, LeaseState::Bound, now);
                    table.apply(LeaseChange::Bind(bound.clone()));
                    promised.insert(key(client), bound);
                }
                3 => {
                    table.apply(LeaseChange::Release(address));
                    promised.remove(&key(client));
                }
                _ => {
                    table.apply(LeaseChange::Decline(lease(&net, address, client, LeaseState::Declined, now)));
                    promised.remove(&key(client));
                }
            }
            let live: Vec<_> = table.iter().filter(|l| l.is_live(now) && l.state == LeaseState::Bound).collect();
            prop_assert_eq!(live.iter().map(|l| l.address).collect::<HashSet<_>>().len(), live.len());
            prop_assert_eq!(live.iter().map(|l| &l.key).collect::<HashSet<_>>().len(), live.len());
        }
    }
}
