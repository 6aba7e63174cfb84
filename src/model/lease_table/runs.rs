//! A set of addresses kept as runs of neighbours, so that a search for one that is not in it steps over ten
//! thousand leases at once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// First address of each run to its last. Runs never touch.
#[derive(Clone, Default, Debug)]
pub(crate) struct Runs(BTreeMap<u32, u32>);

impl Runs {
    pub(crate) fn insert(&mut self, address: Ipv4Addr) {
        let address = address.to_bits();
        if self.run_of(address).is_some() {
            return;
        }
        let below = address.checked_sub(1).and_then(|below| self.run_of(below));
        let above = address.checked_add(1).and_then(|above| self.0.remove(&above));
        self.0.insert(below.map_or(address, |(first, _)| first), above.unwrap_or(address));
    }

    pub(crate) fn remove(&mut self, address: Ipv4Addr) {
        let address = address.to_bits();
        let Some((first, last)) = self.run_of(address) else { return };
        self.0.remove(&first);
        if first < address {
            self.0.insert(first, address - 1);
        }
        if address < last {
            self.0.insert(address + 1, last);
        }
    }

    /// Addresses from `first` to `last` that are not in the set, in order.
    pub(crate) fn gaps(&self, first: Ipv4Addr, last: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let (mut next, last) = (Some(first.to_bits()), last.to_bits());
        // Within a gap, up to where its end is known.
        let mut until = None;
        std::iter::from_fn(move || {
            if until.is_none_or(|until| next > Some(until)) {
                next = next.and_then(|from| match self.run_of(from) {
                    Some((_, last)) => last.checked_add(1),
                    None => Some(from),
                });
                let above = self.0.range(next?..).next().map(|(first, _)| first - 1);
                until = Some(above.map_or(last, |above| above.min(last)));
            }
            let address = next.filter(|address| *address <= last)?;
            next = address.checked_add(1);
            Some(Ipv4Addr::from_bits(address))
        })
    }

    fn run_of(&self, address: u32) -> Option<(u32, u32)> {
        let (first, last) = self.0.range(..=address).next_back()?;
        (address <= *last).then_some((*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use crate::model::lease_table::runs::Runs;

    proptest! {
        #[test]
        fn gaps_are_what_a_plain_set_lacks(
            steps in prop::collection::vec((any::<bool>(), 0_u32..24), 0..60),
            base in prop::sample::select(vec![0, 1000, u32::MAX - 23]),
            bounds in (0_u32..24, 0_u32..24),
        ) {
            let (mut runs, mut plain) = (Runs::default(), BTreeSet::new());
            for (inserts, offset) in steps {
                let address = Ipv4Addr::from_bits(base + offset);
                if inserts {
                    runs.insert(address);
                    plain.insert(address);
                } else {
                    runs.remove(address);
                    plain.remove(&address);
                }
            }
            let (first, last) = (base + bounds.0.min(bounds.1), base + bounds.0.max(bounds.1));
            let lacks: Vec<_> =
                (first..=last).map(Ipv4Addr::from_bits).filter(|address| !plain.contains(address)).collect();
            let gaps: Vec<_> = runs.gaps(Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last)).collect();
            prop_assert_eq!(gaps, lacks);
            let neighbours = runs.0.iter().zip(runs.0.iter().skip(1)).all(|(one, two)| one.1 + 1 < *two.0);
            prop_assert!(neighbours, "runs touch: {:?}", runs);
        }
    }
}
