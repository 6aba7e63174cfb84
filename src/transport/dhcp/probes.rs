//! Address conflict detection ahead of time: free addresses are asked for by ARP before anybody wants them,
//! so that an OFFER never waits for a probe (a server that waited 3 s made iPXE give up; RFC 5227).

use std::collections::HashMap;
use std::net::Ipv4Addr;

use crate::base::limits::{DECLINE_QUARANTINE, DECLINE_QUARANTINE_REPEATED, PROBE_WAIT, PROBED_STOCK};
use crate::base::{Mac, NetworkName, Timestamp};
use crate::model::{Lease, LeaseKey, LeaseState, LeaseTable, Network, Snapshot};

/// Probes under way at a time, over all networks.
const PROBES_MAX: usize = 16 * PROBED_STOCK;

/// Probes under way.
#[derive(Debug, Default)]
pub(crate) struct Probes(HashMap<Ipv4Addr, (NetworkName, Timestamp)>);

impl Probes {
    /// Addresses of a network to probe now.
    pub(crate) fn wanted(
        &self,
        leases: &LeaseTable,
        network: &Network,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Vec<Ipv4Addr> {
        if self.0.values().any(|(name, _)| *name == network.name) {
            return Vec::new(); // one round at a time
        }
        leases.to_probe(network, |address| snapshot.is_reserved(address), now)
    }

    /// Notes that a probe goes out. False: one is under way, or too many are.
    pub(crate) fn begin(&mut self, network: &NetworkName, address: Ipv4Addr, now: Timestamp) -> bool {
        let room = self.0.len() < PROBES_MAX && !self.0.contains_key(&address);
        if room {
            self.0.insert(address, (network.clone(), now));
        }
        room
    }

    /// Takes back a probe that could not be sent: it shows nothing.
    pub(crate) fn cancel(&mut self, address: Ipv4Addr) {
        self.0.remove(&address);
    }

    /// Ends the probes whose time is over, and returns the addresses that nobody claimed.
    pub(crate) fn finish(&mut self, now: Timestamp) -> Vec<(NetworkName, Ipv4Addr)> {
        let over = self.0.extract_if(|_, (_, begun)| now.since(*begun) >= PROBE_WAIT);
        over.map(|(address, (network, _))| (network, address)).collect()
    }

    /// Takes in a claim. Some: the address is in conflict and this is its quarantine. The former holder of a
    /// dead lease is no conflict: it gets the address again when it asks, and nobody else does now.
    pub(crate) fn claim(
        &mut self,
        leases: &LeaseTable,
        mac: Mac,
        address: Ipv4Addr,
        now: Timestamp,
    ) -> Option<Lease> {
        let (network, _) = self.0.remove(&address)?;
        let holder = leases.get(address);
        if holder.is_some_and(|lease| lease.key == LeaseKey::Mac(mac)) {
            return None;
        }
        let repeated = leases.declines(address) > 0;
        let span = if repeated { DECLINE_QUARANTINE_REPEATED } else { DECLINE_QUARANTINE };
        Some(Lease {
            address,
            key: LeaseKey::Mac(mac),
            network,
            state: LeaseState::Declined,
            starts: now,
            expires: now + span,
            host_name: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::base::limits::PROBE_WAIT;
    use crate::base::{Mac, Millis, Timestamp};
    use crate::model::lease_table::Choice;
    use crate::model::network::tests::network;
    use crate::model::{LeaseKey, LeaseState, LeaseTable, Snapshot};
    use crate::transport::dhcp::probes::Probes;

    #[test]
    fn a_claimed_address_is_quarantined_and_a_silent_one_is_stocked() {
        let (net, snapshot) = (network("192.0.2.10-192.0.2.11"), Snapshot::default());
        let (mut probes, mut leases, now) = (Probes::default(), LeaseTable::default(), Timestamp(1000));
        let wanted = probes.wanted(&leases, &net, &snapshot, now);
        assert_eq!(wanted.len(), 2);
        wanted.iter().for_each(|address| assert!(probes.begin(&net.name, *address, now)));
        assert!(!probes.begin(&net.name, wanted[0], now), "one probe per address");
        let quarantine = probes.claim(&leases, Mac([9; 6]), wanted[0], now).unwrap();
        assert_eq!((quarantine.state, quarantine.address), (LeaseState::Declined, wanted[0]));
        leases.apply(crate::model::lease::LeaseChange::Decline(quarantine));
        let later = now + Millis(PROBE_WAIT.0);
        let silent = probes.finish(later);
        assert_eq!(silent, [(net.name.clone(), wanted[1])]);
        silent.iter().for_each(|(name, address)| leases.add_probed(name, *address, later));
        let key = LeaseKey::Mac(Mac([2; 6]));
        assert_eq!(leases.pick(&net, &key, None, |_| false, later), Some((wanted[1], Choice::Probed)));
        assert_eq!(probes.claim(&leases, Mac([9; 6]), wanted[1], later), None, "not asked for");
    }
}
