//! Keeps mad or malicious clients from taking the head's time: a bucket of requests per machine, and one for
//! all. Packet sockets lie below the firewall, so nobody else can do it.

use std::collections::HashMap;

use crate::base::limits::{
    DHCP_BURST, DHCP_RATES_MAX, DHCP_REQUESTS_PER_S, DHCP_TOTAL_BURST, DHCP_TOTAL_PER_S,
};
use crate::base::{Mac, Timestamp};

/// Buckets by machine, and that of all together.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    machines: HashMap<Mac, Bucket>,
    total: Option<Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of a request.
    tokens: u64,
    filled: Timestamp,
}

impl Limiter {
    /// True if a request may be answered now. A machine over its own limit costs the others nothing; requests
    /// without a hardware address share the total only.
    pub(crate) fn allows(&mut self, mac: Option<Mac>, now: Timestamp) -> bool {
        if self.machines.len() >= DHCP_RATES_MAX {
            self.machines.clear(); // every bucket starts full again; the total still holds
        }
        let own = mac.is_none_or(|mac| {
            let bucket = self.machines.entry(mac).or_insert(Bucket::full(DHCP_BURST, now));
            bucket.take(DHCP_BURST, DHCP_REQUESTS_PER_S, now)
        });
        let total = self.total.get_or_insert(Bucket::full(DHCP_TOTAL_BURST, now));
        own && total.take(DHCP_TOTAL_BURST, DHCP_TOTAL_PER_S, now)
    }
}

impl Bucket {
    fn full(burst: u32, now: Timestamp) -> Bucket {
        Bucket { tokens: 1000 * u64::from(burst), filled: now }
    }

    fn take(&mut self, burst: u32, per_s: u32, now: Timestamp) -> bool {
        let earned = now.since(self.filled).0.saturating_mul(u64::from(per_s));
        let tokens = self.tokens.saturating_add(earned).min(1000 * u64::from(burst));
        *self = Bucket { tokens, filled: now };
        let enough = tokens >= 1000;
        if enough {
            self.tokens -= 1000;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use crate::base::limits::{DHCP_BURST, DHCP_TOTAL_BURST};
    use crate::base::{Mac, Millis, Timestamp};
    use crate::transport::dhcp::limiter::Limiter;

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let (mut limiter, mad, sane) = (Limiter::default(), Mac([2; 6]), Mac([4; 6]));
        let start = Timestamp(1_000_000);
        let passed = (0..1000).filter(|_| limiter.allows(Some(mad), start)).count();
        assert_eq!(passed, DHCP_BURST as usize);
        assert!(limiter.allows(Some(sane), start));
        assert!(!limiter.allows(Some(mad), start + Millis(50)));
        assert!(limiter.allows(Some(mad), start + Millis(150)));
    }

    #[test]
    fn a_flood_of_invented_machines_is_cut_off_as_a_whole() {
        let (mut limiter, start) = (Limiter::default(), Timestamp(1_000_000));
        let invented = |number: u32| {
            let [a, b, c, d] = number.to_be_bytes();
            Some(Mac([2, 0, a, b, c, d]))
        };
        let flood = 2 * DHCP_TOTAL_BURST;
        let passed = (0..flood).filter(|number| limiter.allows(invented(*number), start)).count();
        assert_eq!(passed, DHCP_TOTAL_BURST as usize);
        assert!(!limiter.allows(None, start), "nor does one without an address pass");
        assert!(limiter.allows(invented(flood), start + Millis(1)), "the total fills again");
    }
}
