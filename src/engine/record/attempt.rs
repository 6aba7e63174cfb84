//! One attempt in the making: evidence in, steps and signs out. What is remarkable is named here, once, where it
//! is seen; what follows from it is for the rules.

mod dhcp;
mod files;
mod logs;
mod script;

use std::net::Ipv4Addr;

use crate::base::limits::{
    RECORD_ADDRESSES_MAX, RECORD_LOG_LINES_MAX, RECORD_STEPS_MAX, RECORD_TEXT_CHARS_MAX,
};
use crate::base::{Mac, Timestamp};
use crate::engine::record::evidence::{Evidence, What};
use crate::model::BootRecord;
use crate::model::boot_record::{Fate, LogLine, Outcome, Phase, Seen, Sign, Step};

/// A record and what is known of its machine beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    pub record: BootRecord,
    /// The exchange that its firmware or loader is in.
    pub(crate) xid: Option<u32>,
    /// Since when it is waited for what, for limits and for what siblings took.
    pub(crate) awaited: Option<(Phase, Timestamp)>,
}

impl Attempt {
    #[must_use]
    pub fn new(mac: Mac, now: Timestamp) -> Attempt {
        Attempt { record: BootRecord::new(mac, now), xid: None, awaited: None }
    }

    /// Takes in what was seen.
    pub fn on_evidence(&mut self, evidence: &Evidence) {
        let at = evidence.at;
        self.record.last = self.record.last.max(at);
        match &evidence.what {
            What::Dhcp(seen) => self.on_dhcp(seen, at),
            What::OtherServer { server, mac, offered, .. } => {
                let text = offered.map_or_else(String::new, |address| format!(" offered it {address}"));
                let verb = if text.is_empty() { " answered it" } else { "" };
                self.sign(Sign::OtherServer, at, format!("DHCP server {server} ({mac}){text}{verb}"));
                self.on_other_address(*offered, at);
            }
            What::Damaged(what) => {
                self.sign(Sign::Damaged, at, format!("a frame of it arrived damaged: {what}"))
            }
            What::NotSent => {
                self.sign(Sign::NotSent, at, "the head's own reply could not be sent".to_owned())
            }
            What::Tftp(seen) => self.on_tftp(seen, at),
            What::Loader { file, status, bytes, head } => self.on_loader(file, *status, (*bytes, *head), at),
            What::Script(seen) => self.on_script(seen, at),
            What::File { label, sent, total, duration } => {
                self.on_file(label, (*sent, *total), *duration, at)
            }
            What::FileRefused { path, status } => self.on_file_refused(path, *status, at),
            What::Document { name, status } => self.on_document(name, *status, at),
            What::Claim { status } => self.on_claim(*status, at),
            What::Sealed => self.finish(Phase::Secrets, "sealed", "it has its secrets", at),
            What::PhoneHome => {
                self.finish(Phase::PhoneHome, "phone-home", "it says that it is done", at);
                self.record.outcome = Outcome::Up;
            }
            What::Asked(name) => {
                self.sign(Sign::AskedAuthority, at, format!("it asked DNS for {}", short(name)))
            }
            What::TlsFailed(why) => {
                self.sign(Sign::TlsFailed, at, format!("TLS with it failed: {}", short(why)))
            }
            What::Log { severity, text } => self.on_log(*severity, text, at),
        }
    }

    /// A system that takes another address than its boot had is not where anybody looks for it.
    fn on_other_address(&mut self, offered: Option<Ipv4Addr>, at: Timestamp) {
        let Some(former) = self.record.addresses.last().copied() else { return };
        if let Some(other) = offered.filter(|other| *other != former && self.record.did(Phase::Kernel)) {
            let text = format!("it booted with {former}, and was given {other} by another server");
            self.sign(Sign::AddressChanged, at, text);
        }
    }

    fn on_document(&mut self, name: &str, status: u16, at: Timestamp) {
        let fine = status < 400;
        match name {
            "meta-data" if fine => self.sign(Sign::AskedMeta, at, "it has its meta-data".to_owned()),
            "user-data" if fine => self.sign(Sign::AskedUser, at, "it has its user-data".to_owned()),
            _ if fine => {}
            _ => {
                let text = format!("it did not get {}: status {status}", short(name));
                self.sign(Sign::DocumentRefused, at, text);
            }
        }
        // Two of them are cloud-init; one alone is somebody who looks.
        let both = self.record.saw(Sign::AskedMeta) && self.record.saw(Sign::AskedUser);
        let step = self.step(Phase::CloudInit, "documents", at);
        step.result = format!("{} ({status})", short(name));
        step.fate = match (fine, both) {
            (false, _) => Fate::Refused,
            (true, true) => Fate::Done,
            (true, false) => Fate::Going,
        };
    }

    fn on_claim(&mut self, status: u16, at: Timestamp) {
        if status < 400 {
            return self.finish(Phase::Secrets, "claim", "its claim was accepted", at);
        }
        self.sign(Sign::ClaimRefused, at, format!("its claim was refused: status {status}"));
        let step = self.step(Phase::Secrets, "claim", at);
        (step.fate, step.result) = (Fate::Refused, format!("refused, status {status}"));
    }

    /// Notes something remarkable.
    pub(crate) fn sign(&mut self, sign: Sign, at: Timestamp, text: String) {
        let seen = self.record.signs.entry(sign).or_insert_with(|| Seen {
            count: 0,
            first: at,
            last: at,
            text: String::new(),
        });
        seen.count = seen.count.saturating_add(1);
        (seen.last, seen.text) = (at, text);
    }

    /// The step of this kind about this thing; a new one if there is none. Beyond the bound the last one of its
    /// kind, or the last of all, stands for the others too.
    pub(crate) fn step(&mut self, phase: Phase, what: &str, at: Timestamp) -> &mut Step {
        let steps = &mut self.record.steps;
        let known = steps.iter().rposition(|step| step.phase == phase && step.what == what);
        let index = match known {
            Some(index) => index,
            None if steps.len() >= RECORD_STEPS_MAX => {
                let kind = steps.iter().rposition(|step| step.phase == phase);
                kind.unwrap_or(steps.len().saturating_sub(1))
            }
            None => {
                steps.push(Step {
                    phase,
                    fate: Fate::Going,
                    first: at,
                    last: at,
                    tries: 0,
                    bytes: 0,
                    of: 0,
                    address: None,
                    what: short(what),
                    result: String::new(),
                });
                steps.len().saturating_sub(1)
            }
        };
        let step = steps.get_mut(index).expect("the index is of a step that is there");
        step.tries = step.tries.saturating_add(1);
        step.last = at;
        step
    }

    /// A step is done.
    pub(crate) fn finish(&mut self, phase: Phase, what: &str, result: &str, at: Timestamp) {
        let step = self.step(phase, what, at);
        (step.fate, step.result) = (Fate::Done, short(result));
    }

    pub(crate) fn log(&mut self, severity: u8, text: &str, at: Timestamp) {
        let line = LogLine { at, severity, text: short(text) };
        let logs = &mut self.record.logs;
        if logs.len() >= RECORD_LOG_LINES_MAX {
            // The beginning says what it is, the end what it died of.
            logs.remove(RECORD_LOG_LINES_MAX / 3);
        }
        logs.push(line);
    }

    pub(crate) fn address(&mut self, address: Ipv4Addr, at: Timestamp) {
        let addresses = &mut self.record.addresses;
        if addresses.last() == Some(&address) {
            return;
        }
        if let Some(former) = addresses.last().copied() {
            let text = format!("its address was {former} and is {address} now");
            self.sign(Sign::AddressChanged, at, text);
        }
        let addresses = &mut self.record.addresses;
        addresses.retain(|known| *known != address);
        if addresses.len() >= RECORD_ADDRESSES_MAX {
            addresses.remove(0);
        }
        addresses.push(address);
    }
}

/// A text of bounded length without control characters.
pub(crate) fn short(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(RECORD_TEXT_CHARS_MAX).collect()
}
