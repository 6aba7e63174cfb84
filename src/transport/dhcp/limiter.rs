//! Keeps one mad or malicious client from taking the head's time: a bucket of requests per machine. Packet
//! sockets lie below the firewall, so nobody else can do it.

use std::collections::HashMap;

use crate::base::limits::{DHCP_BURST, DHCP_RATES_MAX, DHCP_REQUESTS_PER_S};
use crate::base::{Mac, Timestamp};

/// Buckets by machine.
#[derive(Debug, Default)]
pub(crate) struct Limiter(HashMap<Mac, Bucket>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of a request.
    tokens: u64,
    filled: Timestamp,
}

const FULL: u64 = 1000 * DHCP_BURST as u64;

impl Limiter {
    /// True if the machine may be answered now.
    pub(crate) fn allows(&mut self, mac: Mac, now: Timestamp) -> bool {
        if self.0.len() >= DHCP_RATES_MAX {
            self.0.clear(); // forgetting is safe: every bucket starts full
        }
        let bucket = self.0.entry(mac).or_insert(Bucket { tokens: FULL, filled: now });
        let earned = now.since(bucket.filled).0.saturating_mul(u64::from(DHCP_REQUESTS_PER_S));
        *bucket = Bucket { tokens: bucket.tokens.saturating_add(earned).min(FULL), filled: now };
        if bucket.tokens < 1000 {
            return false;
        }
        bucket.tokens -= 1000;
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::base::limits::DHCP_BURST;
    use crate::base::{Mac, Millis, Timestamp};
    use crate::transport::dhcp::limiter::Limiter;

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let (mut limiter, mad, sane) = (Limiter::default(), Mac([2; 6]), Mac([4; 6]));
        let start = Timestamp(1_000_000);
        let passed = (0..1000).filter(|_| limiter.allows(mad, start)).count();
        assert_eq!(passed, DHCP_BURST as usize);
        assert!(limiter.allows(sane, start));
        assert!(!limiter.allows(mad, start + Millis(50)));
        assert!(limiter.allows(mad, start + Millis(150)));
    }
}
