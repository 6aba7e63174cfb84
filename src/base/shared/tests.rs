//! The map against the standard library's, with any changes in any order.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use proptest::prelude::*;

use crate::base::shared::SharedMap;

/// Few keys beside the size of a chunk, so that chunks fill, split and empty.
fn key() -> impl Strategy<Value = u16> {
    0..2000_u16
}

/// True: the key is put; false: it is removed.
fn changes(count: usize) -> impl Strategy<Value = Vec<(bool, u16)>> {
    prop::collection::vec((prop::bool::weighted(0.7), key()), 0..count)
}

type Pair = (SharedMap<u16, Arc<u64>>, BTreeMap<u16, Arc<u64>>);

fn apply((map, model): &mut Pair, changes: &[(bool, u16)]) {
    for (number, (put, key)) in (0_u64..).zip(changes) {
        if *put {
            let value = Arc::new(number);
            assert_eq!(map.insert(*key, Arc::clone(&value)), model.insert(*key, value));
        } else {
            assert_eq!(map.remove(key), model.remove(key));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_does_as_the_standard_map_does(changes in changes(6000), asked in key()) {
        let mut pair = Pair::default();
        apply(&mut pair, &changes);
        let (map, model) = pair;
        prop_assert_eq!(map.len(), model.len());
        prop_assert!(map.iter().eq(model.iter()));
        prop_assert!(map.keys().rev().eq(model.keys().rev()));
        prop_assert_eq!(map.get(&asked), model.get(&asked));
        for (from, range) in [
            (Bound::Included(&asked), model.range(asked..)),
            (Bound::Excluded(&asked), model.range((Bound::Excluded(asked), Bound::Unbounded))),
        ] {
            prop_assert!(map.range_from(from).eq(range));
        }
        prop_assert_eq!(&map, &model.clone().into_iter().rev().collect());
        let mut kept = map.clone();
        kept.retain(|key, _| key % 3 == 0);
        prop_assert!(kept.iter().eq(model.iter().filter(|(key, _)| *key % 3 == 0)));
        prop_assert_eq!(kept.len(), kept.iter().count());
    }

    #[test]
    fn the_difference_leads_from_one_copy_to_the_other(first in changes(6000), then in changes(20)) {
        let mut pair = Pair::default();
        apply(&mut pair, &first);
        let (old, before) = pair.clone();
        apply(&mut pair, &then);
        let (new, after) = pair;
        prop_assert!(old.iter().eq(before.iter()), "a copy does not feel what happens to the other");
        for (old, new) in [(&old, &new), (&new, &old), (&SharedMap::default(), &new)] {
            let difference = old.difference(new);
            let mut rebuilt = old.clone();
            for (key, former, value) in difference.put {
                prop_assert_eq!(former, old.get(key));
                prop_assert!(!former.is_some_and(|former| Arc::ptr_eq(former, value)));
                rebuilt.insert(*key, Arc::clone(value));
            }
            for (key, former) in difference.gone {
                let removed = rebuilt.remove(key);
                prop_assert_eq!(removed.as_ref(), Some(former));
            }
            prop_assert_eq!(&rebuilt, new);
        }
        prop_assert_eq!(after.len(), new.len());
    }
}

#[test]
fn a_change_of_one_entry_copies_one_chunk() {
    let map: SharedMap<u32, u32> = (0..100_000).map(|key| (key, key)).collect();
    let mut copy = map.clone();
    copy.insert(50_000, 0);
    let shared = map.chunks.iter().zip(&copy.chunks).filter(|(left, right)| Arc::ptr_eq(left, right)).count();
    assert_eq!(
        (map.chunks.len() - shared, map.get(&50_000), copy.get(&50_000)),
        (1, Some(&50_000), Some(&0))
    );
}

#[test]
fn of_equal_keys_the_last_counts() {
    let map: SharedMap<u8, char> = [(2, 'a'), (1, 'b'), (2, 'c')].into_iter().collect();
    assert!(map.iter().eq([(&1, &'b'), (&2, &'c')]));
}
