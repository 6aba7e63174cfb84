//! Why a node did not boot: five lines for one machine, and whole racks by cause.

use std::collections::BTreeMap;

use crate::engine::record::rules::NEVER;
use crate::engine::record::siblings::Siblings;
use crate::model::BootRecord;
use crate::model::boot_record::{Outcome, Sure};

/// The answer about one machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Why {
    /// The node's name, or the hardware address.
    pub who: String,
    pub outcome: Option<Outcome>,
    /// One sentence.
    pub verdict: String,
    pub rule: Option<String>,
    pub sure: Option<Sure>,
    pub step: String,
    pub evidence: Vec<String>,
    pub cause: String,
    pub check: String,
    pub siblings: String,
    /// The attempt that this is about.
    pub record: Option<String>,
}

/// Failed machines with one cause.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    pub rule: String,
    pub step: String,
    pub sure: Sure,
    pub summary: String,
    pub cause: String,
    pub check: String,
    pub who: Vec<String>,
}

/// The answer about a machine that was heard.
#[must_use]
pub fn of(record: &BootRecord, siblings: &Siblings) -> Why {
    let last = record.steps.iter().max_by_key(|step| step.last);
    let step = match (&record.verdict, last) {
        (Some(verdict), _) => verdict.phase.sentence().to_owned(),
        (None, Some(step)) => format!("{}: {} {}", step.phase.sentence(), step.what, step.result),
        (None, None) => String::new(),
    };
    let summary = record.verdict.as_ref().map(|verdict| verdict.summary.as_str());
    let verdict = match (record.outcome, summary) {
        (Outcome::Failed, Some(summary)) => format!("failed: {summary}"),
        (Outcome::Failed, None) => "failed".to_owned(),
        (Outcome::UnderWay, _) => "boots at this moment".to_owned(),
        (Outcome::Waits, _) => "waits: nothing says yet what it is to boot".to_owned(),
        (Outcome::Up, _) => "is up".to_owned(),
        (Outcome::Settled, None) => "runs, as far as the head can see".to_owned(),
        (Outcome::Settled, Some(summary)) => format!("runs, as far as the head can see; {summary}"),
        (Outcome::Left, _) => {
            "left for what is not the head's to see: its disk, or another script".to_owned()
        }
        (Outcome::Dropped, _) => "went on by another of its ports".to_owned(),
    };
    let told = record.verdict.as_ref();
    Why {
        who: record.who(),
        outcome: Some(record.outcome),
        verdict,
        rule: told.map(|verdict| verdict.rule.clone()),
        sure: told.map(|verdict| verdict.sure),
        step,
        evidence: told.map(|verdict| verdict.evidence.clone()).unwrap_or_default(),
        cause: told.map(|verdict| verdict.cause.clone()).unwrap_or_default(),
        check: told.map(|verdict| verdict.check.clone()).unwrap_or_default(),
        siblings: siblings.sentence(),
        record: Some(record.id()),
    }
}

/// The answer about a declared node that was never heard.
#[must_use]
pub fn never(who: &str) -> Why {
    Why {
        who: who.to_owned(),
        outcome: None,
        verdict: format!("was not heard: {}", NEVER.summary),
        rule: Some(NEVER.name.to_owned()),
        sure: Some(NEVER.sure),
        step: "before firmware's DHCP".to_owned(),
        evidence: vec!["no packet of any of its interfaces was seen".to_owned()],
        cause: NEVER.cause.to_owned(),
        check: NEVER.check.to_owned(),
        siblings: String::new(),
        record: None,
    }
}

/// Of the latest attempts of one machine by its several ports, the one to tell of: one that goes on or came up,
/// before one that failed; of those the latest.
#[must_use]
pub fn telling<'a>(records: impl Iterator<Item = &'a BootRecord>) -> Option<&'a BootRecord> {
    records.max_by_key(|record| (record.outcome != Outcome::Dropped, record.last))
}

/// Failed attempts by cause, the most frequent first.
#[must_use]
pub fn grouped<'a>(records: impl Iterator<Item = &'a BootRecord>) -> Vec<Cause> {
    let mut causes: BTreeMap<(String, &'static str), Cause> = BTreeMap::new();
    for record in records.filter(|record| record.outcome == Outcome::Failed) {
        let Some(verdict) = &record.verdict else { continue };
        let step = verdict.phase.sentence();
        let cause = causes.entry((verdict.rule.clone(), step)).or_insert_with(|| Cause {
            rule: verdict.rule.clone(),
            step: step.to_owned(),
            sure: verdict.sure,
            summary: verdict.summary.clone(),
            cause: verdict.cause.clone(),
            check: verdict.check.clone(),
            who: Vec::new(),
        });
        cause.sure = cause.sure.min(verdict.sure);
        cause.who.push(record.who());
    }
    let mut causes: Vec<Cause> = causes.into_values().collect();
    causes.iter_mut().for_each(|cause| cause.who.sort());
    causes.sort_by(|a, b| b.who.len().cmp(&a.who.len()).then_with(|| a.rule.cmp(&b.rule)));
    causes
}
