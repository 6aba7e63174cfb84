//! The table of machines with their attempts: who a packet is of, which attempt it belongs to, when time is over,
//! what the store is to hear.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::Ipv4Addr;

use crate::base::limits::{RECORD_ATTEMPTS, RECORD_MACHINES_MAX, RECORD_STRANGERS_MAX, RECORD_WRITE_SPAN};
use crate::base::{Mac, Millis, Timestamp};
use crate::engine::record::attempt::Attempt;
use crate::engine::record::awaits::awaited;
use crate::engine::record::begin::{Begin, begins, is_open};
use crate::engine::record::evidence::{Evidence, What, Who};
use crate::engine::record::judge::judge;
use crate::engine::record::known::Known;
use crate::engine::record::patience::{PATIENCE_IN_ALL, Patience};
use crate::engine::record::rules::When;
use crate::engine::record::siblings::are_siblings;
use crate::model::boot_record::{Outcome, Phase, Sign};
use crate::model::snapshot::Machine as Declared;
use crate::model::{BootRecord, Snapshot, Stage};

/// While a file is on its way, silence is looked at again after this.
const BUSY_SPAN: Millis = Millis::from_secs(10);

/// A lease that is renewed changes a record so little that it is written with the next thing, or after this.
const RENEWAL_WRITE_SPAN: Millis = Millis::from_secs(900);

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
pub struct Recorder {
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
    gaps: BTreeMap<Mac, ()>,
}

impl Recorder {
    /// Takes in the latest record of each machine, and when those before it began.
    #[must_use]
    pub fn new(keep: Keep, loaded: Vec<(BootRecord, Vec<Timestamp>)>, now: Timestamp) -> Recorder {
        let mut recorder = Recorder { keep, ..Recorder::default() };
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
                recorder.addresses.insert(*address, mac);
            }
            recorder.strangers =
                recorder.strangers.saturating_add(usize::from(attempt.record.node.is_none()));
            let machine = Machine { attempt, failed: None, older: older.into(), due: None, has_alarm: false };
            recorder.machines.insert(mac, machine);
            recorder.wait(mac, now);
        }
        recorder
    }

    /// So much evidence was lost. Attempts under way hear of it with the next thing that is seen of them.
    pub fn on_lost(&mut self, count: u64) {
        let text =
            format!("the recorder was too busy and dropped {count} things that were seen, of any machine");
        let under_way = self.machines.iter().filter(|(_, machine)| is_open(&machine.attempt));
        self.gaps = under_way.map(|(mac, _)| (*mac, ())).collect();
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
            self.write_later(mac, at + RENEWAL_WRITE_SPAN);
            return Some(mac);
        }
        if mac != asked_by {
            let text = format!("its system asks by the port {asked_by}");
            machine.attempt.sign(Sign::OtherMac, at, text);
        }
        if self.gaps.remove(&mac).is_some()
            && let Some(text) = self.gap.clone()
        {
            machine.attempt.sign(Sign::Gap, at, text);
        }
        let reached = machine.attempt.record.furthest();
        machine.attempt.on_evidence(evidence);
        self.learn_address(mac, evidence);
        self.name(mac, snapshot, at);
        self.weigh(mac, reached, at);
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
                let until = if busy { now + BUSY_SPAN } else { until };
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

impl Recorder {
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
            _ => true,
        };
        let open = |mac: &Mac| {
            self.machines.get(mac).is_some_and(|machine| {
                let record = &machine.attempt.record;
                is_open(&machine.attempt) && record.furthest().is_some_and(|phase| phase >= Phase::Kernel)
            })
        };
        if !of_system || open(&mac) {
            return mac;
        }
        let Some(Declared::Node { node, .. }) = snapshot.by_mac(mac) else { return mac };
        let mut others = node.interfaces.iter().map(|interface| interface.mac).filter(|other| *other != mac);
        others.find(open).unwrap_or(mac)
    }

    /// Ends the attempt before, if there is one, and begins another. None: there is no room for this machine.
    fn begin(&mut self, mac: Mac, evidence: &Evidence, snapshot: &Snapshot) -> Option<()> {
        let at = evidence.at;
        let declared = match snapshot.by_mac(mac) {
            Some(Declared::Bmc(_)) => return None, // it boots nothing
            Some(Declared::Node { node, .. }) => Some(node),
            None => None,
        };
        if let Some(node) = declared {
            // Firmware that goes on with its next port is done with the one before.
            let others = node.interfaces.iter().map(|interface| interface.mac).filter(|other| *other != mac);
            others.collect::<Vec<_>>().into_iter().for_each(|other| self.drop_early(other, mac, at));
        }
        match self.machines.get(&mac) {
            Some(_) => self.came_back(mac, at),
            None => self.make_room(declared.is_none()),
        }
        let fresh = Attempt::new(mac, at);
        match self.machines.get_mut(&mac) {
            Some(machine) => {
                let former = std::mem::replace(&mut machine.attempt, fresh).record;
                machine.older.push_back(former.started);
                while machine.older.len() >= self.keep.attempts.max(1) {
                    let started = machine.older.pop_front();
                    self.ended.extend(started.map(|started| Write::Forget(mac, started)));
                }
                self.ended.push_back(Write::Put(Box::new(former.clone())));
                machine.failed = (former.outcome == Outcome::Failed).then(|| Box::new(former));
            }
            None => {
                self.strangers = self.strangers.saturating_add(usize::from(declared.is_none()));
                let machine = Machine {
                    attempt: fresh,
                    failed: None,
                    older: VecDeque::new(),
                    due: None,
                    has_alarm: false,
                };
                self.machines.insert(mac, machine);
            }
        }
        Some(())
    }

    /// The machine is at its beginning again.
    fn came_back(&mut self, mac: Mac, at: Timestamp) {
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        let attempt = &mut machine.attempt;
        let seconds = at.since(attempt.record.last).as_secs();
        let was_over = match attempt.record.outcome {
            Outcome::UnderWay | Outcome::Waits => false,
            Outcome::Failed => {
                attempt.record.verdict.as_ref().is_some_and(|verdict| verdict.rule != "silence")
            }
            Outcome::Up | Outcome::Settled | Outcome::Left | Outcome::Dropped => true,
        };
        if was_over {
            return;
        }
        let text = format!("it began anew {seconds} s after it was last heard");
        attempt.sign(Sign::CameBack, at, text);
        if attempt.record.outcome == Outcome::Waits {
            attempt.record.outcome = Outcome::Left;
            return;
        }
        if let Some(verdict) = judge(&attempt.record, When::Back, at) {
            attempt.record.outcome = Outcome::Failed;
            attempt.record.verdict = Some(verdict);
        }
    }

    /// Ends the attempt of a port that got nowhere, because the machine goes on by another.
    fn drop_early(&mut self, mac: Mac, other: Mac, at: Timestamp) {
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        let record = &mut machine.attempt.record;
        let early = record.furthest().is_none_or(|phase| phase <= Phase::Loader);
        if record.outcome == Outcome::UnderWay && early {
            record.outcome = Outcome::Dropped;
            machine.attempt.sign(Sign::CameBack, at, format!("it went on by its port {other}"));
            self.write_later(mac, at);
        }
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

    /// Who the machine is in the inventory of this moment.
    fn name(&mut self, mac: Mac, snapshot: &Snapshot, at: Timestamp) {
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        let record = &mut machine.attempt.record;
        if let Some(Declared::Node { node, .. }) = snapshot.by_mac(mac) {
            if record.node.as_deref() != Some(node.name.as_str()) {
                if record.node.is_none() && !record.kin.is_empty() {
                    self.strangers = self.strangers.saturating_sub(1);
                }
                record.node = Some(node.name.to_string());
            }
            if record.kin.is_empty() || record.kin.starts_with('?') {
                let groups: Vec<&str> = node.groups.iter().map(|group| group.as_str()).collect();
                record.kin = format!("@{}", groups.join(",@"));
            }
            if let Some(uuid) = record.client.uuid {
                self.known.heard(uuid, node.name.as_str());
            }
            return;
        }
        record.kin = format!("?{}", record.network.as_deref().unwrap_or_default());
        let uuid = record.client.uuid.filter(|_| !record.saw(Sign::SecondMac));
        if let Some(node) = uuid.and_then(|uuid| self.known.node(uuid, snapshot, at)) {
            let text = format!("it sends the UUID of node {node}");
            machine.attempt.sign(Sign::SecondMac, at, text);
        }
    }

    /// What follows from what was just taken in.
    fn weigh(&mut self, mac: Mac, reached: Option<Phase>, at: Timestamp) {
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        let attempt = &mut machine.attempt;
        let moved = attempt.record.furthest() > reached;
        let failed = attempt.record.outcome == Outcome::Failed;
        if failed && moved {
            // It was slow, not dead: no verdict stands against what happened.
            attempt.record.outcome = Outcome::UnderWay;
            attempt.record.verdict = None;
        }
        if matches!(attempt.record.outcome, Outcome::UnderWay | Outcome::Failed)
            && let Some(verdict) = judge(&attempt.record, When::AtOnce, at)
        {
            let stands = attempt.record.verdict.as_ref();
            if stands.is_none_or(|stands| stands.sure <= verdict.sure && stands.rule != verdict.rule) {
                attempt.record.verdict = Some(verdict);
                attempt.record.outcome = Outcome::Failed;
            }
        }
        let due = if attempt.record.outcome.is_over() { at } else { at + RECORD_WRITE_SPAN };
        let next = awaited(&attempt.record);
        let (family, former) = (family(&attempt.record), attempt.awaited);
        if next != former.map(|(phase, _)| phase) {
            attempt.awaited = next.map(|phase| (phase, at));
            // Only steps that were waited for in their order teach how long they take.
            if let Some((phase, since)) = former.filter(|(phase, _)| next.is_none_or(|next| next > *phase))
                && attempt.record.did(phase)
            {
                self.patience.learn(&family, phase, at.since(since));
            }
        }
        self.write_later(mac, due);
        self.wait(mac, at);
    }

    fn wait(&mut self, mac: Mac, now: Timestamp) {
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        if machine.attempt.awaited.is_none() {
            machine.attempt.awaited = awaited(&machine.attempt.record).map(|phase| (phase, now));
        }
        if machine.has_alarm {
            return; // it goes off early, and is set anew then
        }
        if let Some(until) = self.until(mac) {
            self.alarms.insert((until, mac));
            if let Some(machine) = self.machines.get_mut(&mac) {
                machine.has_alarm = true;
            }
        }
    }

    /// Until when the awaited step may take.
    fn until(&self, mac: Mac) -> Option<Timestamp> {
        let attempt = &self.machines.get(&mac)?.attempt;
        let phase = awaited(&attempt.record)?;
        let since =
            attempt.awaited.filter(|(known, _)| *known == phase).map_or(attempt.record.last, |(_, at)| at);
        let limit = self.patience.limit(&family(&attempt.record), phase);
        let in_all = since + Millis(limit.0.saturating_mul(PATIENCE_IN_ALL));
        Some((attempt.record.last + limit).min(in_all))
    }

    /// The time of the awaited step is over.
    fn give_up(&mut self, mac: Mac, now: Timestamp) {
        let Some(machine) = self.machines.get(&mac) else { return };
        let record = &machine.attempt.record;
        let Some(phase) = awaited(record) else { return };
        let others = self.machines.values().map(|machine| &machine.attempt.record);
        let experienced = others
            .filter(|other| other.mac != mac && other.told.is_some() && are_siblings(record, other))
            .any(|other| other.did(phase));
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        let record = &mut machine.attempt.record;
        let mut verdict = judge(record, When::Silence, now);
        // Not every image has a cloud-init, and not every cloud-init phones home: without a sibling that did, a
        // system that runs is as good as up.
        let optional = matches!(phase, Phase::CloudInit | Phase::PhoneHome);
        let stands_on_silence = verdict.as_ref().is_some_and(|verdict| {
            matches!(verdict.rule.as_str(), "no-cloud-init" | "no-phone-home" | "silence")
        });
        if optional && !experienced && stands_on_silence {
            record.outcome = Outcome::Settled;
            if let Some(verdict) = verdict.as_mut().filter(|_| phase == Phase::CloudInit) {
                verdict.sure = crate::model::boot_record::Sure::Possible;
                record.verdict = Some(verdict.clone());
            }
        } else {
            record.outcome = Outcome::Failed;
            record.verdict = verdict;
        }
        self.write_later(mac, now);
    }

    fn write_later(&mut self, mac: Mac, at: Timestamp) {
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        if let Some(due) = machine.due {
            if due <= at {
                return;
            }
            self.due.remove(&(due, mac));
        }
        machine.due = Some(at);
        self.due.insert((at, mac));
    }

    /// Forgets whoever was heard longest ago, strangers first.
    fn make_room(&mut self, stranger: bool) {
        let too_many_strangers = stranger && self.strangers >= RECORD_STRANGERS_MAX;
        if !too_many_strangers && self.machines.len() < RECORD_MACHINES_MAX {
            return;
        }
        let strangers_only = too_many_strangers || self.strangers > 0;
        let mut by_age: Vec<(Timestamp, Mac)> = self
            .machines
            .iter()
            .filter(|(_, machine)| !strangers_only || machine.attempt.record.node.is_none())
            .map(|(mac, machine)| (machine.attempt.record.last, *mac))
            .collect();
        by_age.sort_unstable();
        // Some at a time: a flood must not cost a walk for each.
        let some = (by_age.len() / 16).max(1);
        by_age.into_iter().take(some).for_each(|(_, mac)| self.forget(mac));
    }

    fn forget(&mut self, mac: Mac) {
        let Some(machine) = self.machines.remove(&mac) else { return };
        let record = machine.attempt.record;
        self.strangers = self.strangers.saturating_sub(usize::from(record.node.is_none()));
        for address in &record.addresses {
            self.addresses.remove(address);
        }
        if let Some(due) = machine.due {
            self.due.remove(&(due, mac));
        }
        let all = machine.older.into_iter().chain([record.started]);
        self.ended.extend(all.map(|started| Write::Forget(mac, started)));
    }
}

impl Recorder {
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

/// Whose durations count for a record.
fn family(record: &BootRecord) -> String {
    let image = record.told.as_ref().map_or("", |told| told.image.as_str());
    format!("{} {image}", record.kin)
}

/// The DHCP of a system whose boot is over.
fn is_renewal(attempt: &Attempt, what: &What) -> bool {
    let of_system = matches!(what, What::Dhcp(seen) if seen.stage == Stage::System);
    of_system && attempt.record.outcome.is_over() && attempt.record.outcome != Outcome::Failed
}
