//! What failures mean: a table, one row for each, with where it is known from. The first row that fits counts, so
//! that what explains more stands before what explains less; the last rows explain nothing and say where it ended.
//!
//! A row is certain only where what was seen has no other explanation: the head's own answer, or the machine's own
//! words. What firmware did not do is never certain.

mod address;
mod loader;
mod system;

use crate::model::boot_record::{Phase, Sign, Sure};
use crate::model::{BootRecord, Firmware};

/// When a row is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// As soon as what it needs was seen.
    AtOnce,
    /// The time of the awaited step is over.
    Silence,
    /// The machine began anew before the awaited step.
    Back,
}

/// A condition of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum If {
    Saw(Sign),
    Never(Sign),
    /// At least so often.
    Often(Sign, u32),
    Did(Phase),
    DidNot(Phase),
    NotBegan(Phase),
    /// The machine began anew so few seconds after it was last heard: it went on by itself, and nobody reset it.
    BackWithin(u64),
    Is(Firmware),
    IsNot(Firmware),
    Declared,
    Undeclared,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its stable name.
    pub name: &'static str,
    pub on: &'static [When],
    /// Steps that were awaited; empty: any.
    pub at: &'static [Phase],
    pub needs: &'static [If],
    pub sure: Sure,
    /// What happened, in some words.
    pub summary: &'static str,
    pub cause: &'static str,
    /// What to look at next.
    pub check: &'static str,
    /// Where it is known from.
    pub source: &'static str,
}

/// All rows, in the order in which they are looked at.
pub const TABLES: [&[Rule]; 4] = [address::RULES, loader::RULES, system::RULES, LAST];

/// Either way of giving up.
const STUCK: &[When] = &[When::Silence, When::Back];
const AT_ONCE: &[When] = &[When::AtOnce];
const SILENCE: &[When] = &[When::Silence];
const BACK: &[When] = &[When::Back];

/// The name of what is said of nodes that were never heard.
pub const NEVER_HEARD: &str = "never-heard";

/// A declared node of which there is no record at all. Not in the tables: there is nothing to look at.
pub const NEVER: Rule = Rule {
    name: NEVER_HEARD,
    on: &[],
    at: &[],
    needs: &[],
    sure: Sure::Possible,
    summary: "it never asked for an address",
    cause: "it is off, boots another device first, its port or VLAN is wrong, DHCP snooping drops it, it is declared \
            with another hardware address, or it is a virtual machine without a random number generator, whose UEFI \
            has no network then",
    check: "power and boot order; the switch port's VLAN; muster discover list for an unknown machine in its place; \
            for virtual machines add virtio-rng",
    source: "tianocore/edk2#9530, #11978; dell/omnia#4643",
};

/// What is said where no other row fits.
const LAST: &[Rule] = &[
    Rule {
        name: "restarted",
        on: BACK,
        at: &[Phase::System, Phase::Root, Phase::CloudInit, Phase::Secrets, Phase::PhoneHome],
        needs: &[],
        sure: Sure::Possible,
        summary: "the machine restarted before it was up",
        cause: "the system panicked and restarted, a watchdog fired, or somebody switched it off and on",
        check: "its console; kernel messages by netconsole to the head's log port, without which a panic is not seen",
        source: "warewulf/warewulf#1908",
    },
    Rule {
        name: "began-anew",
        on: BACK,
        at: &[],
        needs: &[],
        sure: Sure::Possible,
        summary: "the machine began anew before this step",
        cause: "it was restarted, or what it had loaded gave up without a word",
        check: "its console at this step",
        source: "dell/omnia#4643",
    },
    Rule {
        name: "silence",
        on: SILENCE,
        at: &[],
        needs: &[],
        sure: Sure::Possible,
        summary: "nothing was heard of the machine any more",
        cause: "it hangs, was switched off, or lost its network",
        check: "its console and its link at this step",
        source: "openstack/ironic LP#1303925",
    },
];

/// Rows in the order in which they are looked at.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    TABLES.into_iter().flatten()
}

/// The row of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Rule> {
    all().chain([&NEVER]).find(|rule| rule.name == name)
}

impl Rule {
    /// True if the row fits.
    #[must_use]
    pub fn fits(&self, record: &BootRecord, when: When, awaited: Option<Phase>) -> bool {
        self.on.contains(&when)
            && (self.at.is_empty() || awaited.is_some_and(|phase| self.at.contains(&phase)))
            && self.needs.iter().all(|need| need.holds(record))
    }
}

impl If {
    #[must_use]
    fn holds(self, record: &BootRecord) -> bool {
        match self {
            If::Saw(sign) => record.saw(sign),
            If::Never(sign) => !record.saw(sign),
            If::Often(sign, least) => record.count(sign) >= least,
            If::Did(phase) => record.did(phase),
            If::DidNot(phase) => !record.did(phase),
            If::NotBegan(phase) => !record.began(phase),
            If::BackWithin(seconds) => record
                .signs
                .get(&Sign::CameBack)
                .is_some_and(|seen| seen.last.since(record.last).as_secs() <= seconds),
            If::Is(firmware) => record.client.firmware == Some(firmware),
            If::IsNot(firmware) => record.client.firmware != Some(firmware),
            If::Declared => record.node.is_some(),
            If::Undeclared => record.node.is_none(),
        }
    }

    /// The sign whose text is evidence.
    #[must_use]
    pub fn shown(self) -> Option<Sign> {
        match self {
            If::Saw(sign) | If::Often(sign, _) => Some(sign),
            If::Never(_)
            | If::Did(_)
            | If::DidNot(_)
            | If::NotBegan(_)
            | If::BackWithin(_)
            | If::Is(_)
            | If::IsNot(_)
            | If::Declared
            | If::Undeclared => None,
        }
    }
}
