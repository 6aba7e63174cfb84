//! A record and an occasion in, a verdict out.

use crate::base::Timestamp;
use crate::engine::record::awaits::next;
use crate::engine::record::rules::{Rule, When, all};
use crate::model::BootRecord;
use crate::model::boot_record::{Fate, Phase, Sign, Sure, Verdict};

/// Lines of evidence in a verdict.
const EVIDENCE_MAX: usize = 6;

/// The first row that fits. At once only what was seen at this moment counts: a machine may have got over what was
/// remarkable before.
#[must_use]
pub fn find(record: &BootRecord, when: When, at: Timestamp) -> Option<(&'static Rule, Phase)> {
    let awaited = next(record);
    let is_now = |rule: &Rule| {
        let mut signs = rule.needs.iter().filter_map(|need| record.signs.get(&need.shown()?));
        signs.any(|seen| seen.last == at)
    };
    let fits = |rule: &&Rule| rule.fits(record, when, awaited) && (when != When::AtOnce || is_now(rule));
    let rule = all().find(fits)?;
    // Where nothing was awaited any more, what came last is where it ended.
    let phase = awaited.or_else(|| record.steps.last().map(|step| step.phase)).unwrap_or(Phase::Firmware);
    Some((rule, phase))
}

/// Says why an attempt failed. Always something for silence and for a machine that came back; at once only where
/// a row fits.
#[must_use]
pub fn judge(record: &BootRecord, when: When, at: Timestamp) -> Option<Verdict> {
    let (rule, phase) = find(record, when, at)?;
    Some(Verdict {
        rule: rule.name.to_owned(),
        at,
        phase,
        sure: sure(rule, record),
        summary: rule.summary.to_owned(),
        evidence: evidence(rule, phase, record),
        cause: rule.cause.to_owned(),
        check: rule.check.to_owned(),
    })
}

/// Where something was not seen, what did not happen may have happened: a verdict that rests on silence is then
/// one of several. What was seen stays as true as it was.
fn sure(rule: &Rule, record: &BootRecord) -> Sure {
    let rests_on_silence = !rule.on.contains(&When::AtOnce);
    if record.saw(Sign::Gap) && rests_on_silence { Sure::Possible } else { rule.sure }
}

/// What the row needed, then the last step that was completed and the one that was not.
fn evidence(rule: &Rule, phase: Phase, record: &BootRecord) -> Vec<String> {
    let signs = rule.needs.iter().filter_map(|need| need.shown()).chain([Sign::CameBack, Sign::Gap]);
    let mut lines: Vec<String> = Vec::new();
    for seen in signs.filter_map(|sign| record.signs.get(&sign)) {
        let times = if seen.count > 1 { format!(" ({} times)", seen.count) } else { String::new() };
        let line = format!("{}{times}", seen.text);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let done = record.steps.iter().filter(|step| step.fate == Fate::Done).max_by_key(|step| step.last);
    let stuck = record.steps.iter().rev().find(|step| step.phase == phase && step.fate != Fate::Done);
    for (word, step) in [("last completed", done), ("stuck", stuck)] {
        lines.extend(step.map(|step| {
            let tries = if step.tries > 1 { format!(", {} times", step.tries) } else { String::new() };
            format!("{word}: {} {}: {}{tries}", step.phase.sentence(), step.what, step.result)
        }));
    }
    lines.truncate(EVIDENCE_MAX);
    lines
}
