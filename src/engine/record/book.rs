//! The table of machines with their attempts: who a packet is of, which attempt it belongs to, when time is over,
//! what the store is to hear.

mod places;
mod weigh;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::Ipv4Addr;

use crate::base::limits::{RECORD_ATTEMPTS, RECORD_MACHINES_MAX};
use crate::base::{Mac, Millis, Timestamp};
use crate::engine::record::attempt::Attempt;
use crate::engine::record::begin::{Begin, begins, is_open};
use crate::engine::record::evidence::{Evidence, What, Who};
use crate::engine::record::known::Known;
use crate::engine::record::patience::Patience;
use crate::model::boot_record::{Outcome, Phase, Sign, Verdict};
use crate::model::snapshot::Machine as Declared;
use crate::model::{BootRecord, Snapshot, Stage};

/// While a file is on its way, silence is looked at again after this.
const BUSY_SPAN: Millis = Millis::from_secs(10);

/// A lease that is renewed changes a record so little that it is written with the next thing, or after this.
const RENEWAL_WRITE_SPAN: Millis = Millis::from_secs(900);

/// Ends of attempts that wait to be told; nobody reads more at once.
const NEWS_MAX: usize = 1024;

/// Addresses whose machines are known; more than there are machines with several each.
const ADDRESSES_MAX: usize = 4 * RECORD_MACHINES_MAX;

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// Attempts of each machine.
    pub attempts: usize,
    /// Attempts that began before so long go.
    pub age: Millis,
}

impl Default for Keep {
    fn default() -> Keep {
        Keep { attempts: RECORD_ATTEMPTS, age: Millis::from_secs(90 * 86_400) }
    }
}

/// What the store is to hear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    Put(Box<BootRecord>),
    Forget(Mac, Timestamp),
}

/// An attempt that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct News {
    pub at: Timestamp,
    pub mac: Mac,
    pub node: Option<String>,
    /// Since the attempt began.
    pub took: Millis,
    /// None: the machine is up.
    pub failed: Option<Verdict>,
}

/// A machine by one of its interfaces.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) attempt: Attempt,
    /// The attempt before, if it failed: what an operator asks about while the next one goes on.
    pub(crate) failed: Option<Box<BootRecord>>,
    /// When its attempts before the latest began, the oldest first. They lie in the store.
    pub(crate) older: VecDeque<Timestamp>,
    due: Option<Timestamp>,
    has_alarm: bool,
}

/// The flight recorder.
#[derive(Clone, Default, Debug)]
pub struct Book {
    machines: HashMap<Mac, Machine>,
    addresses: HashMap<Ipv4Addr, Mac>,
    strangers: usize,
    known: Known,
    patience: Patience,
    keep: Keep,
    /// When silence of which machine is looked at; at most one entry for each, which may be early.
    alarms: BTreeSet<(Timestamp, Mac)>,
    due: BTreeSet<(Timestamp, Mac)>,
    ended: VecDeque<Write>,
    /// Evidence that was lost since the last that was taken in.
    gap: Option<String>,
    gaps: BTreeSet<Mac>,
    news: VecDeque<News>,
}

impl Book {
    /// Takes in the latest record of each machine, and when those before it began.
    #[must_use]
    pub fn new(keep: Keep, loaded: Vec<(BootRecord, Vec<Timestamp>)>, now: Timestamp) -> Book {
        let mut book = Book { keep, ..Book::default() };
        for (record, older) in loaded {
            let mac = record.mac;
            let mut attempt = Attempt { record, xid: None, awaited: None };
            if attempt.record.outcome == Outcome::UnderWay {
                // What happened while the head did not run, nobody saw; from now on it is waited for as usual.
                let text = "the head did not run for a part of this attempt".to_owned();
                attempt.sign(Sign::Gap, now, text);
                attempt.record.last = now;
            }
            for address in &attempt.record.addresses {
                book.addresses.insert(*address, mac);
            }
            book.strangers = book.strangers.saturating_add(usize::from(attempt.record.node.is_none()));
            let machine = Machine { attempt, failed: None, older: older.into(), due: None, has_alarm: false };
            book.machines.insert(mac, machine);
            book.wait(mac, now);
        }
        book
    }

    /// So much evidence was lost. Attempts under way hear of it with the next thing that is seen of them.
    pub fn on_lost(&mut self, count: u64) {
        let text =
            format!("the recorder was too busy and dropped {count} things that were seen, of any machine");
        let under_way = self.machines.iter().filter(|(_, machine)| is_open(&machine.attempt));
        self.gaps = under_way.map(|(mac, _)| *mac).collect();
        self.gap = Some(text);
    }

    /// Takes in what was seen. Returns the machine's interface, if it is one that boots.
    pub fn on_evidence(&mut self, evidence: &Evidence, snapshot: &Snapshot) -> Option<Mac> {
        let at = evidence.at;
        let asked_by = self.interface(evidence.who, snapshot)?;
        let mac = self.standing_for(asked_by, evidence, snapshot);
        let before = self.machines.get(&mac).map(|machine| &machine.attempt);
        match begins(before, &evidence.what, at) {
            Begin::Nothing => return None,
            Begin::GoesOn => {}
            Begin::Anew => self.begin(mac, evidence, snapshot)?,
        }
        let machine = self.machines.get_mut(&mac)?;
        if is_renewal(&machine.attempt, &evidence.what) {
            machine.attempt.record.renewals = machine.attempt.record.renewals.saturating_add(1);
            self.write_later(mac, at.plus(RENEWAL_WRITE_SPAN));
            return Some(mac);
        }
        if mac != asked_by {
            let text = format!("its system asks by the port {asked_by}");
            machine.attempt.sign(Sign::OtherMac, at, text);
        }
        if self.gaps.remove(&mac)
            && let Some(text) = self.gap.clone()
        {
            machine.attempt.sign(Sign::Gap, at, text);
        }
        let before = (machine.attempt.record.furthest(), machine.attempt.record.outcome);
        machine.attempt.on_evidence(evidence);
        self.learn_address(mac, evidence);
        self.name(mac, snapshot, at);
        self.weigh(mac, before, at);
        Some(mac)
    }

    /// When something is to be looked at next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Looks at machines that were silent for too long. `is_busy`: a file is on its way to this address.
    pub fn on_deadline(&mut self, now: Timestamp, is_busy: impl Fn(Ipv4Addr) -> bool) {
        while let Some((at, mac)) = self.alarms.first().copied().filter(|(at, _)| *at <= now) {
            self.alarms.remove(&(at, mac));
            let Some(machine) = self.machines.get_mut(&mac) else { continue };
            machine.has_alarm = false;
            let Some(until) = self.until(mac) else { continue };
            let Some(machine) = self.machines.get_mut(&mac) else { continue };
            let busy = machine.attempt.record.addresses.iter().any(|address| is_busy(*address));
            if until > now || busy {
                let until = if busy { now.plus(BUSY_SPAN) } else { until };
                self.alarms.insert((until, mac));
                machine.has_alarm = true;
                continue;
            }
            self.give_up(mac, now);
        }
    }

    /// What the store is to hear now, at most `most` things.
    pub fn poll_writes(&mut self, now: Timestamp, most: usize) -> Vec<Write> {
        let mut writes: Vec<Write> = Vec::new();
        while writes.len() < most {
            if let Some(write) = self.ended.pop_front() {
                writes.push(write);
                continue;
            }
            let Some((at, mac)) = self.due.first().copied().filter(|(at, _)| *at <= now) else { break };
            self.due.remove(&(at, mac));
            if let Some(machine) = self.machines.get_mut(&mac) {
                machine.due = None;
                writes.push(Write::Put(Box::new(machine.attempt.record.clone())));
            }
        }
        writes
    }

    /// True if nothing is left that is due at once.
    #[must_use]
    pub fn poll_is_done(&self) -> bool {
        self.ended.is_empty() && self.due.first().is_none_or(|(at, _)| at.0 > 0)
    }

    /// What has ended since the last call.
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// Everything that is not written yet is due now: the head stops.
    pub fn hurry(&mut self) {
        let due = std::mem::take(&mut self.due);
        self.due = due.into_iter().map(|(_, mac)| (Timestamp(0), mac)).collect();
        for (_, mac) in &self.due {
            if let Some(machine) = self.machines.get_mut(mac) {
                machine.due = Some(Timestamp(0));
            }
        }
    }

    /// Attempts that are too old go.
    pub fn sweep(&mut self, now: Timestamp) {
        let oldest = Timestamp(now.0.saturating_sub(self.keep.age.0));
        let mut gone = Vec::new();
        for (mac, machine) in &mut self.machines {
            while let Some(started) = machine.older.front().copied().filter(|started| *started < oldest) {
                machine.older.pop_front();
                self.ended.push_back(Write::Forget(*mac, started));
            }
            let record = &machine.attempt.record;
            if record.last < oldest && record.outcome.is_over() {
                gone.push(*mac);
            }
        }
        gone.into_iter().for_each(|mac| self.forget(mac));
    }
}

impl Book {
    fn interface(&self, who: Who, snapshot: &Snapshot) -> Option<Mac> {
        match who {
            Who::Mac(mac) => Some(mac),
            Who::Address(address) => {
                self.addresses.get(&address).copied().or_else(|| match snapshot.by_address(address)? {
                    Declared::Node { interface, .. } => Some(interface.mac),
                    Declared::Bmc(_) => None,
                })
            }
        }
    }

    /// The interface whose attempt this belongs to: a system that was booted by one port may speak by another.
    fn standing_for(&self, mac: Mac, evidence: &Evidence, snapshot: &Snapshot) -> Mac {
        let of_system = match &evidence.what {
            What::Dhcp(seen) => seen.stage == Stage::System,
            // What firmware and loaders ask stays with their port.
            What::Script(_) | What::Tftp(_) | What::Loader { .. } => false,
            _ => true,
        };
        let own = self.machines.get(&mac).is_some_and(|machine| is_open(&machine.attempt));
        let started = |mac: &Mac| {
            self.machines.get(mac).is_some_and(|machine| {
                let record = &machine.attempt.record;
                is_open(&machine.attempt) && record.furthest().is_some_and(|phase| phase >= Phase::Kernel)
            })
        };
        if !of_system || own {
            return mac;
        }
        let Some(Declared::Node { node, .. }) = snapshot.by_mac(mac) else { return mac };
        let mut others = node.interfaces.iter().map(|interface| interface.mac).filter(|other| *other != mac);
        others.find(started).unwrap_or(mac)
    }

    fn learn_address(&mut self, mac: Mac, evidence: &Evidence) {
        let told = match (&evidence.what, evidence.who) {
            (What::Dhcp(seen), _) => seen.address,
            (What::Script(_), Who::Mac(_)) => None,
            (_, Who::Address(address)) => Some(address),
            _ => None,
        };
        let Some(address) = told else { return };
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&address) {
            self.addresses.clear(); // what is declared is found without; the rest asks again
        }
        self.addresses.insert(address, mac);
    }
}

impl Book {
    /// The latest attempt of each interface.
    pub fn latest(&self) -> impl Iterator<Item = &BootRecord> {
        self.machines.values().map(|machine| &machine.attempt.record)
    }

    /// The latest attempt of this interface, and the one before if it failed.
    #[must_use]
    pub fn of(&self, mac: Mac) -> Option<(&BootRecord, Option<&BootRecord>)> {
        let machine = self.machines.get(&mac)?;
        Some((&machine.attempt.record, machine.failed.as_deref()))
    }

    /// When the attempts of this interface began, the oldest first.
    #[must_use]
    pub fn starts(&self, mac: Mac) -> Vec<Timestamp> {
        let Some(machine) = self.machines.get(&mac) else { return Vec::new() };
        machine.older.iter().copied().chain([machine.attempt.record.started]).collect()
    }

    /// Whose this address is, as far as is known from the wire.
    #[must_use]
    pub fn behind(&self, address: Ipv4Addr) -> Option<Mac> {
        self.addresses.get(&address).copied()
    }
}

/// The DHCP of a system whose boot is over.
fn is_renewal(attempt: &Attempt, what: &What) -> bool {
    let of_system = matches!(what, What::Dhcp(seen) if seen.stage == Stage::System);
    of_system && attempt.record.outcome.is_over() && attempt.record.outcome != Outcome::Failed
}
