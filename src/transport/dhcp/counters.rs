//! What the DHCP shell counts.

use std::collections::BTreeMap;

use crate::base::counter::Counter;
use crate::engine::dhcp::Reason;

/// Counters of the DHCP shell. Silence is counted by reason.
#[derive(Debug)]
pub struct DhcpCounters {
    pub frames: Counter,
    pub requests: Counter,
    pub replies: Counter,
    /// Frames that are damaged or no DHCP messages.
    pub malformed: Counter,
    /// Frames for others: another VLAN, another station.
    pub not_ours: Counter,
    pub queue_full: Counter,
    pub kernel_drops: Counter,
    pub rate_limited: Counter,
    /// ACKs that were not sent because the store could not promise them.
    pub unpromised: Counter,
    pub send_failures: Counter,
    pub conflicts: Counter,
    silences: BTreeMap<Reason, Counter>,
}

impl Default for DhcpCounters {
    fn default() -> Self {
        DhcpCounters {
            frames: Counter::new(),
            requests: Counter::new(),
            replies: Counter::new(),
            malformed: Counter::new(),
            not_ours: Counter::new(),
            queue_full: Counter::new(),
            kernel_drops: Counter::new(),
            rate_limited: Counter::new(),
            unpromised: Counter::new(),
            send_failures: Counter::new(),
            conflicts: Counter::new(),
            silences: Reason::ALL.iter().map(|reason| (*reason, Counter::new())).collect(),
        }
    }
}

impl DhcpCounters {
    pub(crate) fn silent(&self, reason: Reason) {
        if let Some(counter) = self.silences.get(&reason) {
            counter.raise();
        }
    }

    /// How often each reason kept us silent.
    pub fn silences(&self) -> impl Iterator<Item = (Reason, u64)> {
        self.silences.iter().map(|(reason, counter)| (*reason, counter.value()))
    }
}
