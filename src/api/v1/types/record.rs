//! The JSON of boot records.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::engine::record::Siblings;
use crate::engine::record::why::{Cause, Why};
use crate::model::boot_record::{Client, LogLine, Seen, Step, Verdict};
use crate::model::{Arch, BootRecord, Firmware};

/// One attempt in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordLineBody {
    /// `MAC/NUMBER`; the number is the millisecond since 1970 at which it began.
    pub id: String,
    pub mac: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub started: String,
    pub last: String,
    /// `under way`, `waits`, `up`, `settled`, `left`, `dropped` or `failed`.
    pub outcome: String,
    /// The furthest step that was completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// One boot attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordBody {
    pub id: String,
    pub mac: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub started: String,
    pub last: String,
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<String>,
    pub addresses: Vec<String>,
    pub client: RecordClientBody,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<RecordToldBody>,
    pub steps: Vec<RecordStepBody>,
    /// What was remarkable, by its stable name.
    pub signs: BTreeMap<String, RecordSignBody>,
    pub logs: Vec<RecordLogBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictBody>,
    /// How the machines fared that boot the same.
    pub siblings: String,
    /// Renewals of its lease since it is up.
    pub renewals: u32,
}

/// Who the machine is, by its own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordClientBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// DHCP option 93.
    pub arch_code: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// What its script told it to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordToldBody {
    pub image: String,
    pub kernel: String,
    pub initrds: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    pub rule: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordStepBody {
    pub phase: String,
    /// `going`, `done`, `broken` or `refused`.
    pub fate: String,
    pub first: String,
    pub last: String,
    pub ms: u64,
    pub tries: u32,
    pub bytes: u64,
    /// 0 if nobody knows.
    pub of: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    pub what: String,
    pub result: String,
}

/// Something remarkable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordSignBody {
    pub count: u32,
    pub first: String,
    pub last: String,
    pub text: String,
}

/// A line of the machine's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordLogBody {
    pub at: String,
    pub severity: u8,
    pub text: String,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerdictBody {
    pub rule: String,
    pub at: String,
    pub phase: String,
    /// `possible`, `likely` or `certain`.
    pub sure: String,
    pub summary: String,
    pub evidence: Vec<String>,
    pub cause: String,
    pub check: String,
}

/// Why a machine did not boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhyBody {
    pub who: String,
    /// None: it was never heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    pub verdict: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sure: Option<String>,
    pub step: String,
    pub evidence: Vec<String>,
    pub cause: String,
    pub check: String,
    pub siblings: String,
    /// The attempt's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// Why the attempt before failed, while this one goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<WhyBody>>,
}

/// Failed machines with one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CauseBody {
    pub rule: String,
    pub step: String,
    pub sure: String,
    pub summary: String,
    pub cause: String,
    pub check: String,
    pub count: usize,
    /// Names of nodes, and hardware addresses of machines that are not declared.
    pub who: Vec<String>,
}

impl From<&BootRecord> for RecordLineBody {
    fn from(record: &BootRecord) -> Self {
        RecordLineBody {
            id: record.id(),
            mac: record.mac.to_string(),
            node: record.node.clone(),
            started: record.started.rfc3339(),
            last: record.last.rfc3339(),
            outcome: record.outcome.to_string(),
            reached: record.furthest().map(|phase| phase.to_string()),
            image: record.told.as_ref().map(|told| told.image.clone()),
            rule: record.verdict.as_ref().map(|verdict| verdict.rule.clone()),
            summary: record.verdict.as_ref().map(|verdict| verdict.summary.clone()),
        }
    }
}

impl RecordBody {
    #[must_use]
    pub fn new(record: &BootRecord, siblings: &Siblings) -> RecordBody {
        let Client { firmware, arch, arch_code, vendor_class, uuid, agent } = &record.client;
        RecordBody {
            id: record.id(),
            mac: record.mac.to_string(),
            node: record.node.clone(),
            started: record.started.rfc3339(),
            last: record.last.rfc3339(),
            outcome: record.outcome.to_string(),
            network: record.network.clone(),
            relay: record.relay.map(|relay| relay.to_string()),
            addresses: record.addresses.iter().map(ToString::to_string).collect(),
            client: RecordClientBody {
                firmware: firmware.map(Firmware::as_str).map(str::to_owned),
                arch: arch.map(Arch::as_str).map(str::to_owned),
                arch_code: *arch_code,
                vendor_class: vendor_class.clone(),
                uuid: uuid.map(|uuid| uuid.to_string()),
                agent: agent.clone(),
            },
            told: record.told.as_ref().map(|told| RecordToldBody {
                image: told.image.clone(),
                kernel: told.kernel.clone(),
                initrds: told.initrds.clone(),
                root: told.root.clone(),
                rule: told.rule.clone(),
            }),
            steps: record.steps.iter().map(RecordStepBody::from).collect(),
            signs: record.signs.iter().map(|(sign, seen)| (sign.to_string(), seen.into())).collect(),
            logs: record.logs.iter().map(RecordLogBody::from).collect(),
            verdict: record.verdict.as_ref().map(VerdictBody::from),
            siblings: siblings.sentence(),
            renewals: record.renewals,
        }
    }
}

impl From<&Step> for RecordStepBody {
    fn from(step: &Step) -> Self {
        let Step { phase, fate, first, last, tries, bytes, of, address, what, result } = step;
        RecordStepBody {
            phase: phase.to_string(),
            fate: fate.to_string(),
            first: first.rfc3339(),
            last: last.rfc3339(),
            ms: last.since(*first).0,
            tries: *tries,
            bytes: *bytes,
            of: *of,
            address: address.map(|address| address.to_string()),
            what: what.clone(),
            result: result.clone(),
        }
    }
}

impl From<&Seen> for RecordSignBody {
    fn from(seen: &Seen) -> Self {
        let Seen { count, first, last, text } = seen;
        let (first, last) = (first.rfc3339(), last.rfc3339());
        RecordSignBody { count: *count, first, last, text: text.clone() }
    }
}

impl From<&LogLine> for RecordLogBody {
    fn from(line: &LogLine) -> Self {
        let LogLine { at, severity, text } = line;
        RecordLogBody { at: at.rfc3339(), severity: *severity, text: text.clone() }
    }
}

impl From<&Verdict> for VerdictBody {
    fn from(verdict: &Verdict) -> Self {
        let Verdict { rule, at, phase, sure, summary, evidence, cause, check } = verdict.clone();
        let (at, phase, sure) = (at.rfc3339(), phase.to_string(), sure.to_string());
        VerdictBody { rule, at, phase, sure, summary, evidence, cause, check }
    }
}

impl From<Why> for WhyBody {
    fn from(why: Why) -> Self {
        let Why { who, outcome, verdict, rule, sure, step, evidence, cause, check, siblings, record } = why;
        WhyBody {
            who,
            outcome: outcome.map(|outcome| outcome.to_string()),
            verdict,
            rule,
            sure: sure.map(|sure| sure.to_string()),
            step,
            evidence,
            cause,
            check,
            siblings,
            record,
            before: None,
        }
    }
}

impl From<Cause> for CauseBody {
    fn from(cause: Cause) -> Self {
        let Cause { rule, step, sure, summary, cause, check, who } = cause;
        let (sure, count) = (sure.to_string(), who.len());
        CauseBody { rule, step, sure, summary, cause, check, count, who }
    }
}
