//! A wire that loses, doubles and reorders, between clients and a head that restarts.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use muster::base::{Mac, Millis, Timestamp};
use muster::engine::dhcp::{Ingress, Route, Verdict};
use muster::model::lease::LeaseChange;
use muster::model::{Lease, LeaseTable, Snapshot};
use muster::wire::dhcp::Message;

use crate::site::Head;
use crate::site::client::{Dice, Machine};

/// What is under way: to the head, or to a machine.
enum Packet {
    Up(Message, Ingress),
    Down { message: Message, route: Route, to: Mac },
}

/// What goes wrong, in percent.
#[derive(Clone, Copy)]
pub(crate) struct Trouble {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) delay_ms: u64,
}

pub(crate) struct Wire {
    pub(crate) now: Timestamp,
    pub(crate) head: Head,
    pub(crate) machines: BTreeMap<Mac, Machine>,
    pub(crate) trouble: Trouble,
    pub(crate) dice: Dice,
    /// What the head acknowledged: written before the reply leaves, all that a restart finds.
    disk: BTreeMap<Ipv4Addr, Lease>,
    flying: BTreeMap<(Timestamp, u64), Packet>,
    sent: u64,
    /// How far one tick goes.
    pub(crate) step: Millis,
}

impl Wire {
    pub(crate) fn new(snapshot: Snapshot, machines: Vec<Machine>, trouble: Trouble, seed: u64) -> Wire {
        Wire {
            now: Timestamp(1_000_000),
            head: Head::new(snapshot),
            machines: machines.into_iter().map(|machine| (machine.mac, machine)).collect(),
            trouble,
            dice: Dice(seed),
            disk: BTreeMap::new(),
            flying: BTreeMap::new(),
            sent: 0,
            step: Millis(100),
        }
    }

    /// One tick: everybody speaks, what is due arrives, the invariants are checked.
    pub(crate) fn tick(&mut self) {
        self.now = self.now + self.step;
        let spoken: Vec<_> =
            self.machines.values_mut().filter_map(|machine| machine.poll(self.now)).collect();
        for (message, ingress) in spoken {
            self.send(|| Packet::Up(message.clone(), ingress.clone()));
        }
        while self.flying.first_key_value().is_some_and(|((due, _), _)| *due <= self.now) {
            let (_, packet) = self.flying.pop_first().unwrap();
            self.arrive(packet);
        }
        self.check();
    }

    /// Sends a packet with all that may befall it.
    pub(crate) fn send_up(&mut self, message: &Message, ingress: &Ingress) {
        self.send(|| Packet::Up(message.clone(), ingress.clone()));
    }

    fn send(&mut self, packet: impl Fn() -> Packet) {
        let copies = if self.dice.roll(100) < self.trouble.doubled { 2 } else { 1 };
        for _ in 0..copies {
            if self.dice.roll(100) >= self.trouble.lost {
                let due = self.now + Millis(1 + self.dice.roll(self.trouble.delay_ms.max(1)));
                self.sent += 1;
                self.flying.insert((due, self.sent), packet());
            }
        }
    }

    fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::Up(message, ingress) => {
                let to = message.mac().unwrap();
                let answer = self.head.answer(message, ingress, self.now);
                match answer.lease {
                    Some(LeaseChange::Bind(lease) | LeaseChange::Decline(lease)) => {
                        self.disk.retain(|_, known| known.key != lease.key);
                        self.disk.insert(lease.address, lease);
                    }
                    Some(LeaseChange::Release(address)) => {
                        self.disk.remove(&address);
                    }
                    Some(LeaseChange::Hold(_) | LeaseChange::Forget(_)) | None => {}
                }
                if let Verdict::Reply { message, route, .. } = answer.verdict {
                    let message = Message::parse(&message).unwrap();
                    self.send(|| Packet::Down { message: message.clone(), route, to });
                }
            }
            Packet::Down { message, route, to } => {
                if let Some(machine) = self.machines.get_mut(&to) {
                    machine.hear(&message, route, self.now);
                }
            }
        }
    }

    /// The head dies and returns with what is on disk: holds are gone.
    pub(crate) fn restart_head(&mut self) {
        let mut leases = LeaseTable::default();
        for lease in self.disk.values() {
            leases.apply(LeaseChange::Bind(lease.clone()));
        }
        self.head.leases = leases;
        self.head.chained.clear();
    }

    /// No two machines believe in one address; a declared address is its owner's alone.
    fn check(&self) {
        let mut taken = BTreeSet::new();
        for machine in self.machines.values() {
            let Some((address, _)) = machine.held.filter(|(_, until)| *until > self.now) else { continue };
            assert!(taken.insert(address), "{address} twice at {}: {}", self.now, machine.mac);
            if let Some(owner) = self.head.snapshot.by_address(address) {
                let own = self.head.snapshot.by_mac(machine.mac).map(|m| m.name().to_owned());
                assert_eq!(own.as_deref(), Some(owner.name()), "{address} is declared");
            }
        }
        let live = self.head.leases.iter().filter(|lease| lease.is_live(self.now));
        let mut keys = BTreeSet::new();
        for lease in live.filter(|lease| lease.state == muster::model::LeaseState::Bound) {
            assert!(keys.insert(&lease.key), "{} has two bindings", lease.key);
        }
    }

    /// Runs until every machine has its script, or the time is over; tells who has not.
    pub(crate) fn run(&mut self, span: Millis) -> Vec<Mac> {
        let end = self.now + span;
        while self.now < end && self.machines.values().any(|machine| machine.script.is_none()) {
            self.tick();
        }
        self.machines.values().filter(|machine| machine.script.is_none()).map(|machine| machine.mac).collect()
    }
}
