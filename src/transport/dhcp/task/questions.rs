//! What others ask of the task that owns the leases, and the one thing that they tell it to do.

use std::net::Ipv4Addr;

use crate::base::Mac;
use crate::model::lease::LeaseChange;
use crate::model::snapshot::Machine;
use crate::model::{LeaseKey, LeaseState};
use crate::transport::clock::now;
use crate::transport::dhcp::handle::Command;
use crate::transport::dhcp::task::Task;
use crate::transport::journal::Entry;

impl Task {
    /// Answers one of them, at once.
    pub(in crate::transport::dhcp) fn answer(&mut self, command: Command) {
        // Whoever asked may be gone; that is its business.
        match command {
            Command::Leases(reply) => drop(reply.send(self.ledger.leases().iter().cloned().collect())),
            Command::Sightings(reply) => drop(reply.send(self.witness.sightings())),
            Command::Rogues(reply) => drop(reply.send(self.witness.rogues())),
            Command::WhoHas(address, reply) => drop(reply.send(self.who_has(address))),
            Command::Free(address, reply) => {
                let there = self
                    .ledger
                    .leases()
                    .get(address)
                    .is_some_and(|lease| lease.state != LeaseState::Released);
                if there {
                    self.ledger.apply(LeaseChange::Release(address));
                    let text = format!("lease of {address} ended by an operator");
                    self.journal.write(Entry::new(now(), "lease", text).with("address", address));
                }
                let _ = reply.send(there);
            }
        }
    }

    fn who_has(&self, address: Ipv4Addr) -> Option<Mac> {
        let leased =
            self.ledger.leases().get(address).filter(|lease| lease.is_live(now())).and_then(|lease| {
                match lease.key {
                    LeaseKey::Mac(mac) => Some(mac),
                    LeaseKey::ClientId(_) => None,
                }
            });
        leased.or_else(|| match self.snapshot.load().by_address(address)? {
            Machine::Node { interface, .. } => Some(interface.mac),
            Machine::Bmc(bmc) => bmc.mac,
        })
    }
}
