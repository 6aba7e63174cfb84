//! How fast bytes may leave: a bucket that fills at a rate and is emptied by what is sent.

use crate::base::{Millis, Timestamp};

/// Time that the bucket holds, so that a pause of the clock's grain does not cost speed.
const HELD_MS: u64 = 50;

/// A rate limit.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Octets per second.
    rate: u64,
    level: u64,
    filled: Timestamp,
}

impl Bucket {
    /// A limit of `rate` octets per second.
    #[must_use]
    pub fn new(rate: u64, now: Timestamp) -> Bucket {
        Bucket { rate: rate.max(1), level: 0, filled: now }
    }

    /// Takes `octets`, or says how long to wait before asking again. What is larger than the bucket is let
    /// through when the bucket is full, and is paid off afterwards by nobody: chunks are small beside it.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&mut self, octets: u64, now: Timestamp) -> Result<(), Millis> {
        let elapsed = now.since(self.filled).0;
        let room = (self.rate.saturating_mul(HELD_MS) / 1000).max(octets);
        let gained = u128::from(self.rate).saturating_mul(u128::from(elapsed)) / 1000;
        if gained > 0 {
            self.level = self.level.saturating_add(u64::try_from(gained).unwrap_or(u64::MAX)).min(room);
            self.filled = now;
        }
        if self.level >= octets {
            self.level = self.level.saturating_sub(octets);
            return Ok(());
        }
        let missing = u128::from(octets.saturating_sub(self.level)).saturating_mul(1000);
        let wait = missing.div_ceil(u128::from(self.rate));
        Err(Millis(u64::try_from(wait).unwrap_or(u64::MAX).max(1)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "the numbers of a test are small")]

    use crate::base::{Millis, Timestamp};
    use crate::engine::image::pace::Bucket;

    /// Octets that leave within a second by chunks of this size.
    fn sent(rate: u64, chunk: u64) -> u64 {
        let mut now = Timestamp(5_000);
        let mut bucket = Bucket::new(rate, now);
        let (end, mut sent) = (now + Millis(1000), 0);
        while now < end {
            match bucket.take(chunk, now) {
                Ok(()) => sent += chunk,
                Err(wait) => now = now + wait,
            }
        }
        sent
    }

    #[test]
    fn what_leaves_is_the_rate_whatever_the_chunks() {
        for (rate, chunk) in
            [(1_000_000, 1_000), (1_000_000, 60_000), (125_000_000, 262_144), (1 << 40, 1 << 20)]
        {
            let sent = sent(rate, chunk);
            let (low, high) = (rate / 100 * 90, rate / 100 * 110);
            assert!((low..=high).contains(&sent), "{rate} by {chunk}: {sent}");
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for_by_a_burst() {
        let mut bucket = Bucket::new(1_000_000, Timestamp(0));
        let now = Timestamp(3_600_000);
        let burst = (0..).take_while(|_| bucket.take(1_000, now).is_ok()).count();
        assert_eq!(burst, 50, "what 50 ms hold");
    }
}
