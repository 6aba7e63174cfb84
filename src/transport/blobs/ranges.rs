//! Which octets of a file are there.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that neither touch nor overlap: first octet to the one behind the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub(crate) fn add(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // From behind: whatever begins before our end and reaches our begin is taken in.
        while let Some((&first, &last)) = self.0.range(..=end).next_back().filter(|(_, last)| **last >= start)
        {
            self.0.remove(&first);
            start = start.min(first);
            end = end.max(last);
        }
        self.0.insert(start, end);
    }

    /// What is not there of this range, in order.
    pub(crate) fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut at = range.start;
        let mut gaps = Vec::new();
        let before = self.0.range(..=range.start).next_back();
        for (&first, &last) in before.into_iter().chain(self.0.range(range.start + 1..)) {
            if first >= range.end {
                break;
            }
            if first > at {
                gaps.push(at..first);
            }
            at = at.max(last);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// How many octets are there.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::transport::blobs::ranges::Ranges;

    proptest! {
        #[test]
        fn ranges_say_what_a_list_of_flags_says(
            added in proptest::collection::vec((0_u64..64, 0_u64..20), 0..20),
            asked in (0_u64..64, 0_u64..64),
        ) {
            let mut ranges = Ranges::default();
            let mut flags = [false; 128];
            for (start, length) in added {
                ranges.add(start..start + length);
                (start..start + length).for_each(|at| flags[usize::try_from(at).unwrap()] = true);
            }
            let asked = asked.0..asked.0 + asked.1;
            let missing: Vec<u64> = asked.clone().filter(|at| !flags[usize::try_from(*at).unwrap()]).collect();
            let gaps = ranges.gaps(asked);
            prop_assert!(gaps.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert_eq!(gaps.into_iter().flatten().collect::<Vec<u64>>(), missing);
            let total = flags.iter().filter(|flag| **flag).count();
            prop_assert_eq!(ranges.total(), u64::try_from(total).unwrap());
        }
    }
}
