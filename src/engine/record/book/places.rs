//! Machines and attempts that come and go: when one begins, what becomes of the one before, who makes room.

use std::collections::VecDeque;

use crate::base::limits::{RECORD_MACHINES_MAX, RECORD_STRANGERS_MAX};
use crate::base::{Mac, Timestamp};
use crate::engine::record::attempt::Attempt;
use crate::engine::record::book::{Book, Machine, Write};
use crate::engine::record::evidence::Evidence;
use crate::engine::record::judge::judge;
use crate::engine::record::rules::When;
use crate::model::Snapshot;
use crate::model::boot_record::{Outcome, Phase, Sign};
use crate::model::snapshot::Machine as Declared;

impl Book {
    /// Ends the attempt before, if there is one, and begins another. None: there is no room for this machine.
    pub(crate) fn begin(&mut self, mac: Mac, evidence: &Evidence, snapshot: &Snapshot) -> Option<()> {
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
    pub(crate) fn came_back(&mut self, mac: Mac, at: Timestamp) {
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
            self.tell(mac, at);
        }
    }

    /// Ends the attempt of another port, because the machine goes on by another.
    pub(crate) fn drop_early(&mut self, mac: Mac, other: Mac, at: Timestamp) {
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        let record = &mut machine.attempt.record;
        let early = record.furthest().is_none_or(|phase| phase <= Phase::Loader);
        if record.outcome == Outcome::UnderWay && !early {
            self.came_back(mac, at);
            self.write_later(mac, at);
        } else if record.outcome == Outcome::UnderWay {
            record.outcome = Outcome::Dropped;
            machine.attempt.sign(Sign::CameBack, at, format!("it went on by its port {other}"));
            self.write_later(mac, at);
        }
    }

    /// Forgets whoever was heard longest ago, strangers first.
    pub(crate) fn make_room(&mut self, stranger: bool) {
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

    pub(crate) fn forget(&mut self, mac: Mac) {
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
