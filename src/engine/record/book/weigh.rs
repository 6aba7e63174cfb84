//! What follows from what was taken in: who the machine is, whether a verdict stands, for how long is waited, and
//! when the store hears of it.

use crate::base::limits::RECORD_WRITE_SPAN;
use crate::base::{Mac, Millis, Timestamp};
use crate::engine::record::awaits::awaited;
use crate::engine::record::book::{Book, NEWS_MAX, News};
use crate::engine::record::judge::judge;
use crate::engine::record::patience::PATIENCE_IN_ALL;
use crate::engine::record::rules::When;
use crate::engine::record::siblings::are_siblings;
use crate::model::boot_record::{Outcome, Phase, Sign, Sure};
use crate::model::snapshot::Machine as Declared;
use crate::model::{BootRecord, Snapshot};

impl Book {
    /// Who the machine is in the inventory of this moment.
    pub(crate) fn name(&mut self, mac: Mac, snapshot: &Snapshot, at: Timestamp) {
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
    pub(crate) fn weigh(&mut self, mac: Mac, (reached, before): (Option<Phase>, Outcome), at: Timestamp) {
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        let attempt = &mut machine.attempt;
        let moved = attempt.record.furthest() > reached;
        if attempt.record.outcome == Outcome::Failed && moved {
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
        let outcome = attempt.record.outcome;
        let tells = outcome != before && matches!(outcome, Outcome::Up | Outcome::Failed);
        let ran = attempt.record.furthest().is_some_and(|phase| phase >= Phase::System);
        if attempt.record.outcome == Outcome::UnderWay && ran && awaited(&attempt.record).is_none() {
            attempt.record.outcome = Outcome::Settled;
        }
        // An end is written at once; what a machine does behind it can wait.
        let ends = attempt.record.outcome.is_over() && attempt.record.outcome != before;
        let due = if ends { at } else { at.plus(RECORD_WRITE_SPAN) };
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
        if tells {
            self.tell(mac, at);
        }
    }

    pub(crate) fn wait(&mut self, mac: Mac, now: Timestamp) {
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
    pub(crate) fn until(&self, mac: Mac) -> Option<Timestamp> {
        let attempt = &self.machines.get(&mac)?.attempt;
        let phase = awaited(&attempt.record)?;
        let since =
            attempt.awaited.filter(|(known, _)| *known == phase).map_or(attempt.record.last, |(_, at)| at);
        let limit = self.patience.limit(&family(&attempt.record), phase);
        let in_all = since.plus(Millis(limit.0.saturating_mul(PATIENCE_IN_ALL)));
        Some(attempt.record.last.plus(limit).min(in_all))
    }

    /// The time of the awaited step is over.
    pub(crate) fn give_up(&mut self, mac: Mac, now: Timestamp) {
        let Some(machine) = self.machines.get(&mac) else { return };
        let record = &machine.attempt.record;
        let Some(phase) = awaited(record) else { return };
        // Not every image has a cloud-init, and not every cloud-init phones home: without a sibling that did, a
        // system that runs is as good as up.
        let optional = matches!(phase, Phase::CloudInit | Phase::PhoneHome);
        let others = self.machines.values().map(|machine| &machine.attempt.record);
        let experienced = optional
            && others
                .filter(|other| other.mac != mac && other.told.is_some() && are_siblings(record, other))
                .any(|other| other.did(phase));
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        let record = &mut machine.attempt.record;
        let mut verdict = judge(record, When::Silence, now);
        let stands_on_silence = verdict.as_ref().is_some_and(|verdict| {
            matches!(verdict.rule.as_str(), "no-cloud-init" | "no-phone-home" | "silence")
        });
        if optional && !experienced && stands_on_silence {
            record.outcome = Outcome::Settled;
            if let Some(verdict) = verdict.as_mut().filter(|_| phase == Phase::CloudInit) {
                verdict.sure = Sure::Possible;
                record.verdict = Some(verdict.clone());
            }
        } else {
            record.outcome = Outcome::Failed;
            record.verdict = verdict;
            self.tell(mac, now);
        }
        self.write_later(mac, now);
    }

    pub(crate) fn tell(&mut self, mac: Mac, at: Timestamp) {
        let Some(machine) = self.machines.get(&mac) else { return };
        let record = &machine.attempt.record;
        if self.news.len() >= NEWS_MAX {
            self.news.pop_front();
        }
        let (node, took) = (record.node.clone(), at.since(record.started));
        self.news.push_back(News { at, mac, node, took, failed: record.verdict.clone() });
    }

    pub(crate) fn write_later(&mut self, mac: Mac, at: Timestamp) {
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
}

/// Whose durations count for a record.
fn family(record: &BootRecord) -> String {
    let image = record.told.as_ref().map_or("", |told| told.image.as_str());
    format!("{} {image}", record.kin)
}
