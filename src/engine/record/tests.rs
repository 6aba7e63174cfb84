//! The table itself. What its rows are for is played in `tests/faults`.

use std::collections::BTreeSet;

use crate::base::{Mac, Timestamp};
use crate::engine::record::judge::judge;
use crate::engine::record::rules::{If, NEVER, When, all, named};
use crate::model::BootRecord;
use crate::model::boot_record::{Phase, Seen, Sign, Sure};

#[test]
fn every_row_has_a_name_of_its_own_a_source_and_words_for_people() {
    let mut names = BTreeSet::new();
    for rule in all().chain([&NEVER]) {
        assert!(names.insert(rule.name), "{} stands twice", rule.name);
        for text in [rule.summary, rule.cause, rule.check, rule.source] {
            assert!(text.len() > 5 && !text.contains("  "), "{}: {text:?}", rule.name);
        }
        assert!(!rule.summary.ends_with('.') && !rule.cause.ends_with('.'), "{}", rule.name);
        assert_eq!(named(rule.name).map(|found| found.name), Some(rule.name));
    }
    assert!(names.len() >= 60, "{}", names.len());
}

/// What the machine did not do has several reasons; only what was seen can be certain.
#[test]
fn what_rests_on_nothing_that_was_seen_is_at_most_likely() {
    for rule in all() {
        let seen = rule.needs.iter().any(|need| need.shown().is_some());
        assert!(seen || rule.sure != Sure::Certain, "{}", rule.name);
        let told = rule.on == [When::AtOnce];
        assert!(!told || seen, "{}: fits at once, whatever happens", rule.name);
    }
}

/// Each row fits a record that has just what it needs; whether another stands before it is the order's business.
#[test]
fn every_row_can_be_met() {
    for rule in all() {
        let mut record = BootRecord::new(Mac([2; 6]), Timestamp(1000));
        for need in rule.needs {
            meet(*need, &mut record);
        }
        let awaited = rule.at.first().copied();
        for when in rule.on {
            assert!(rule.fits(&record, *when, awaited), "{} {when:?}: {:?}", rule.name, rule.needs);
        }
    }
}

fn meet(need: If, record: &mut BootRecord) {
    let mut see = |sign: Sign, count: u32| {
        let at = record.last;
        record.signs.insert(sign, Seen { count, first: at, last: at, text: sign.to_string() });
    };
    match need {
        If::Saw(sign) => see(sign, 1),
        If::Often(sign, least) => see(sign, least),
        If::BackWithin(_) => see(Sign::CameBack, 1),
        If::Did(phase) => record.steps.push(crate::model::boot_record::Step {
            phase,
            fate: crate::model::boot_record::Fate::Done,
            first: record.last,
            last: record.last,
            tries: 1,
            bytes: 0,
            of: 0,
            address: None,
            what: String::new(),
            result: String::new(),
        }),
        If::Is(firmware) => record.client.firmware = Some(firmware),
        If::Declared => record.node = Some("nid001".to_owned()),
        If::Never(_) | If::DidNot(_) | If::NotBegan(_) | If::IsNot(_) | If::Undeclared => {}
    }
}

#[test]
fn something_is_always_said_of_silence_and_of_a_machine_that_came_back() {
    let record = BootRecord::new(Mac([2; 6]), Timestamp(1000));
    for (when, rule) in [(When::Silence, "silence"), (When::Back, "began-anew")] {
        let verdict = judge(&record, when, Timestamp(2000)).unwrap();
        assert_eq!(
            (verdict.rule.as_str(), verdict.sure, verdict.phase),
            (rule, Sure::Possible, Phase::Firmware)
        );
    }
    assert_eq!(judge(&record, When::AtOnce, Timestamp(2000)), None);
}
