//! How long a step may take: a default, and where siblings were seen often enough, what they took.

use std::collections::{HashMap, VecDeque};

use crate::base::Millis;
use crate::base::limits::{
    PATIENCE_FAMILIES_MAX, PATIENCE_MARGIN, PATIENCE_MAX, PATIENCE_MIN, PATIENCE_SAMPLES,
    PATIENCE_SAMPLES_MIN,
};
use crate::model::boot_record::Phase;

/// Of a limit, silence may last so many times before progress that leads nowhere counts as none: firmware that
/// asks again and again is heard every few seconds.
pub(crate) const PATIENCE_IN_ALL: u64 = 3;

/// Durations of steps by family: groups, image and step.
#[derive(Clone, Default, Debug)]
pub(crate) struct Patience {
    taken: HashMap<(String, Phase), VecDeque<u64>>,
}

/// What a step takes at most on slow machines, from the last thing that was heard before it.
#[must_use]
pub(crate) fn default_limit(phase: Phase) -> Millis {
    Millis::from_secs(match phase {
        // edk2 repeats a DISCOVER after 4, 8, 16 and 32 seconds.
        Phase::Firmware => 45,
        Phase::Loader => 45,
        // A native driver takes its time to find a link.
        Phase::Ipxe => 60,
        Phase::Script => 45,
        Phase::Kernel => 45,
        Phase::Initrd => 60,
        // Unpacking, drivers, udev; memory of large machines is cleared first.
        Phase::System => 300,
        Phase::Root => 240,
        Phase::CloudInit => 300,
        Phase::Secrets => 120,
        Phase::PhoneHome => 900,
    })
}

impl Patience {
    /// A machine of this family took so long.
    pub(crate) fn learn(&mut self, family: &str, phase: Phase, took: Millis) {
        let key = (family.to_owned(), phase);
        if !self.taken.contains_key(&key) && self.taken.len() >= PATIENCE_FAMILIES_MAX {
            return; // the default does for those that come later
        }
        let samples = self.taken.entry(key).or_default();
        if samples.len() >= PATIENCE_SAMPLES {
            samples.pop_front();
        }
        samples.push_back(took.0);
    }

    /// How long to wait.
    #[must_use]
    pub(crate) fn limit(&self, family: &str, phase: Phase) -> Millis {
        let samples = self.taken.get(&(family.to_owned(), phase));
        let Some(samples) = samples.filter(|samples| samples.len() >= PATIENCE_SAMPLES_MIN) else {
            return default_limit(phase);
        };
        let mut sorted: Vec<u64> = samples.iter().copied().collect();
        sorted.sort_unstable();
        // Nearest rank: of 128 the second largest.
        let rank = sorted.len().saturating_mul(99).div_ceil(100).saturating_sub(1);
        let percentile = sorted.get(rank).copied().unwrap_or_default();
        Millis(percentile.saturating_mul(PATIENCE_MARGIN).clamp(PATIENCE_MIN.0, PATIENCE_MAX.0))
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Millis;
    use crate::engine::record::patience::{Patience, default_limit};
    use crate::model::boot_record::Phase;

    #[test]
    fn siblings_set_the_limit_once_there_are_enough_of_them() {
        let mut patience = Patience::default();
        for number in 0..19 {
            patience.learn("compute", Phase::System, Millis(10_000 + number));
        }
        assert_eq!(patience.limit("compute", Phase::System), default_limit(Phase::System));
        patience.learn("compute", Phase::System, Millis(12_000));
        assert_eq!(
            patience.limit("compute", Phase::System),
            Millis(36_000),
            "three times the slowest of twenty"
        );
        assert_eq!(patience.limit("storage", Phase::System), default_limit(Phase::System));
        for _ in 0..128 {
            patience.learn("compute", Phase::System, Millis(100));
        }
        assert_eq!(patience.limit("compute", Phase::System), Millis(20_000), "no limit is shorter");
    }
}
