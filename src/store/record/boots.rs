//! The serde forms of boot records. There are many of them, so that what is empty is left out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::model::boot_record::{
    Client, Fate, LogLine, Outcome, Phase, Seen, Sign, Step, Sure, Told, Verdict,
};
use crate::model::{BootRecord, Firmware};
use crate::store::record::declared::{read, read_arch, read_some, text};

const FIRMWARES: [Firmware; 5] =
    [Firmware::Bios, Firmware::Uefi, Firmware::UefiHttp, Firmware::RaspberryPi, Firmware::Unknown];

#[derive(Serialize, Deserialize)]
pub struct BootRecordForm {
    mac: String,
    started: u64,
    last: u64,
    outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relay: Option<Ipv4Addr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<Ipv4Addr>,
    client: ClientForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<ToldForm>,
    kin: String,
    steps: Vec<StepForm>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    signs: BTreeMap<String, SeenForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    logs: Vec<LogForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verdict: Option<VerdictForm>,
    #[serde(default)]
    renewals: u32,
}

#[derive(Serialize, Deserialize)]
struct ClientForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    firmware: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
    arch_code: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct ToldForm {
    image: String,
    kernel: String,
    initrds: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    rule: String,
}

#[derive(Serialize, Deserialize)]
struct StepForm {
    phase: String,
    fate: String,
    first: u64,
    last: u64,
    tries: u32,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    of: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<Ipv4Addr>,
    what: String,
    result: String,
}

#[derive(Serialize, Deserialize)]
struct SeenForm {
    count: u32,
    first: u64,
    last: u64,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct LogForm {
    at: u64,
    severity: u8,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct VerdictForm {
    rule: String,
    at: u64,
    phase: String,
    sure: String,
    summary: String,
    evidence: Vec<String>,
    cause: String,
    check: String,
}

impl From<&BootRecord> for BootRecordForm {
    fn from(record: &BootRecord) -> Self {
        let Client { firmware, arch, arch_code, vendor_class, uuid, agent } = &record.client;
        BootRecordForm {
            mac: record.mac.to_string(),
            started: record.started.0,
            last: record.last.0,
            outcome: record.outcome.as_str().to_owned(),
            node: record.node.clone(),
            network: record.network.clone(),
            relay: record.relay,
            addresses: record.addresses.clone(),
            client: ClientForm {
                firmware: firmware.map(|firmware| firmware.as_str().to_owned()),
                arch: arch.map(|arch| arch.as_str().to_owned()),
                arch_code: *arch_code,
                class: vendor_class.clone(),
                uuid: text(uuid.as_ref()),
                agent: agent.clone(),
            },
            told: record.told.as_ref().map(|told| {
                let Told { image, kernel, initrds, root, rule } = told.clone();
                ToldForm { image, kernel, initrds, root, rule }
            }),
            kin: record.kin.clone(),
            steps: record.steps.iter().map(StepForm::from).collect(),
            signs: record
                .signs
                .iter()
                .map(|(sign, seen)| {
                    let Seen { count, first, last, text } = seen;
                    let form = SeenForm { count: *count, first: first.0, last: last.0, text: text.clone() };
                    (sign.as_str().to_owned(), form)
                })
                .collect(),
            logs: record
                .logs
                .iter()
                .map(|LogLine { at, severity, text }| LogForm {
                    at: at.0,
                    severity: *severity,
                    text: text.clone(),
                })
                .collect(),
            verdict: record.verdict.as_ref().map(VerdictForm::from),
            renewals: record.renewals,
        }
    }
}

impl From<&Step> for StepForm {
    fn from(step: &Step) -> Self {
        let Step { phase, fate, first, last, tries, bytes, of, address, what, result } = step;
        StepForm {
            phase: phase.as_str().to_owned(),
            fate: fate.as_str().to_owned(),
            first: first.0,
            last: last.0,
            tries: *tries,
            bytes: *bytes,
            of: *of,
            address: *address,
            what: what.clone(),
            result: result.clone(),
        }
    }
}

impl From<&Verdict> for VerdictForm {
    fn from(verdict: &Verdict) -> Self {
        let Verdict { rule, at, phase, sure, summary, evidence, cause, check } = verdict;
        VerdictForm {
            rule: rule.clone(),
            at: at.0,
            phase: phase.as_str().to_owned(),
            sure: sure.as_str().to_owned(),
            summary: summary.clone(),
            evidence: evidence.clone(),
            cause: cause.clone(),
            check: check.clone(),
        }
    }
}

fn named<T>(field: &str, name: &str, find: impl Fn(&str) -> Option<T>) -> Result<T, String> {
    find(name).ok_or_else(|| format!("{field}: {name:?}"))
}

impl TryFrom<StepForm> for Step {
    type Error = String;

    fn try_from(form: StepForm) -> Result<Self, String> {
        let StepForm { phase, fate, first, last, tries, bytes, of, address, what, result } = form;
        Ok(Step {
            phase: named("phase", &phase, Phase::from_name)?,
            fate: named("fate", &fate, Fate::from_name)?,
            first: Timestamp(first),
            last: Timestamp(last),
            tries,
            bytes,
            of,
            address,
            what,
            result,
        })
    }
}

impl TryFrom<VerdictForm> for Verdict {
    type Error = String;

    fn try_from(form: VerdictForm) -> Result<Self, String> {
        let VerdictForm { rule, at, phase, sure, summary, evidence, cause, check } = form;
        let (phase, sure) =
            (named("phase", &phase, Phase::from_name)?, named("sure", &sure, Sure::from_name)?);
        Ok(Verdict { rule, at: Timestamp(at), phase, sure, summary, evidence, cause, check })
    }
}

impl TryFrom<ClientForm> for Client {
    type Error = String;

    fn try_from(form: ClientForm) -> Result<Self, String> {
        let ClientForm { firmware, arch, arch_code, class, uuid, agent } = form;
        let find = |name: &str| FIRMWARES.into_iter().find(|firmware| firmware.as_str() == name);
        Ok(Client {
            firmware: firmware.map(|name| named("firmware", &name, find)).transpose()?,
            arch: read_arch(arch.as_ref())?,
            arch_code,
            vendor_class: class,
            uuid: read_some("uuid", uuid.as_ref())?,
            agent,
        })
    }
}

impl TryFrom<BootRecordForm> for BootRecord {
    type Error = String;

    fn try_from(form: BootRecordForm) -> Result<Self, String> {
        let sign = |(name, seen): (String, SeenForm)| {
            let SeenForm { count, first, last, text } = seen;
            let seen = Seen { count, first: Timestamp(first), last: Timestamp(last), text };
            Ok((named("sign", &name, Sign::from_name)?, seen))
        };
        let log = |LogForm { at, severity, text }: LogForm| LogLine { at: Timestamp(at), severity, text };
        Ok(BootRecord {
            mac: read("mac", &form.mac)?,
            started: Timestamp(form.started),
            last: Timestamp(form.last),
            node: form.node,
            network: form.network,
            relay: form.relay,
            addresses: form.addresses,
            client: Client::try_from(form.client)?,
            told: form.told.map(|ToldForm { image, kernel, initrds, root, rule }| Told {
                image,
                kernel,
                initrds,
                root,
                rule,
            }),
            kin: form.kin,
            steps: form.steps.into_iter().map(Step::try_from).collect::<Result<_, _>>()?,
            signs: form.signs.into_iter().map(sign).collect::<Result<_, String>>()?,
            logs: form.logs.into_iter().map(log).collect(),
            outcome: named("outcome", &form.outcome, Outcome::from_name)?,
            verdict: form.verdict.map(Verdict::try_from).transpose()?,
            renewals: form.renewals,
        })
    }
}
