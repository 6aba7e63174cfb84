//! What the PCRs of a node must hold, computed from what the head served it.
//!
//! PCR 4 tells which loader and which kernel ran, PCR 9 with which command line and which initrd. PCR 9 alone proves
//! nothing: a loader that does not measure the initrd could be made to load another one, and that one could extend
//! what we expect. So the loader must be one that measures, by its digest in PCR 4.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::base::Digest;
use crate::engine::attest::quote::PcrValues;
use crate::wire::WireError;
use crate::wire::tpm::{Event, EventKind, EventLog, extend};

/// PCRs whose values the log must explain.
const REPLAYED: [u8; 5] = [0, 2, 4, 7, 9];

/// PCRs of the firmware and of Secure Boot, which the head cannot compute: they are noted at the first attestation.
pub const FIRMWARE: [u8; 3] = [0, 2, 7];

/// Parts of a command line that open a way around what was booted: a shell before the root, another init.
const OPEN_DOORS: [&str; 9] = [
    "rd.shell",
    "rd.break",
    "rdinit=",
    "init=",
    "systemd.debug-shell",
    "systemd.debug_shell",
    "single",
    "emergency",
    "rescue",
];

/// What firmware measures into PCR 4 besides applications (PC Client profile, sections 3.3.4.5 and 10.4.1).
const FIRMWARE_WORDS: [&[u8]; 4] = [
    b"Calling EFI Application from Boot Option",
    b"Returning from EFI Application from Boot Option",
    b"BOOT ATTEMPTS OMITTED",
    &[0; 4], // the separator
];

/// The tag of Linux' stub for the command line, and for the initrd.
const TAG_OPTIONS: &[u8] = b"LOADED_IMAGE::LoadOptions";
const TAG_INITRD: &[u8] = b"Linux initrd";

/// What a finding does.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Nothing is computed.
    Off,
    /// It is noted, and the node stays at level 2.
    #[default]
    Record,
    /// The node is refused.
    Enforce,
}

impl Mode {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::Record => "record",
            Mode::Enforce => "enforce",
        }
    }
}

impl std::str::FromStr for Mode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Mode, Self::Err> {
        let known = [Mode::Off, Mode::Record, Mode::Enforce];
        known.into_iter().find(|mode| mode.as_str() == text).ok_or("is none of off, record, enforce")
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the head gave this node to boot.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Authenticode digests of loaders that measure and that we serve.
    pub loaders: Vec<Digest>,
    /// Authenticode digest of this boot's kernel.
    pub kernel: Option<Digest>,
    /// As the kernel shows it in `/proc/cmdline`: the image's name in front. Empty: the head does not know it.
    pub command_line: String,
    /// SHA-256 of all that the kernel gets as initrd; see [`initrd_digest`].
    pub initrd: Option<Digest>,
    /// PCRs that were noted at the enrolment and must not change.
    pub pinned: Vec<(u8, Digest)>,
}

/// Something that does not fit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Finding {
    #[error("no event log was sent: the machine did not boot by UEFI, or its kernel shows none")]
    NoLog,
    #[error("event log: {0}")]
    Log(#[from] WireError),
    #[error("PCR {0}: the event log does not lead to the quoted value")]
    Replay(u8),
    #[error("PCR 4: an application ran that we did not serve ({0})")]
    Application(Digest),
    #[error("PCR 4: none of the loaders that we serve ran")]
    NoLoader,
    #[error("PCR 4: this boot's kernel did not run")]
    NoKernel,
    #[error("PCR 9: the kernel's command line is not the one that we gave")]
    CommandLine,
    #[error("PCR 9: the initrd is not the one that we gave")]
    Initrd,
    #[error("PCR 9: the loader does not measure the initrd; use iPXE from 2023-02-15 or later")]
    InitrdUnmeasured,
    #[error("PCR 9: the kernel does not measure its command line; it needs an EFI stub that does")]
    CommandLineUnmeasured,
    #[error("PCR 9: measurements besides the command line and the initrd")]
    Surplus,
    #[error("PCR {0}: differs from the value of the enrolment")]
    Pinned(u8),
    #[error("the command line holds {0}, which opens a way around what was booted")]
    OpenDoor(&'static str),
    #[error("the head does not know the digest of this boot's {0}")]
    Unknown(&'static str),
}

impl Finding {
    /// Whether the node booted something else than it was given. Where it cannot be told, nobody needs to be woken.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        match self {
            Finding::Replay(_)
            | Finding::Application(_)
            | Finding::CommandLine
            | Finding::Initrd
            | Finding::Surplus
            | Finding::Pinned(_) => true,
            Finding::NoLog
            | Finding::Log(_)
            | Finding::NoLoader
            | Finding::NoKernel
            | Finding::InitrdUnmeasured
            | Finding::CommandLineUnmeasured
            | Finding::OpenDoor(_)
            | Finding::Unknown(_) => false,
        }
    }
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Not looked at.
    Unchecked,
    /// The node booted what we gave it: level 2p.
    Proven,
    /// It did not, or that cannot be told; noted.
    Recorded(Vec<Finding>),
    /// The same, where it must.
    Refused(Vec<Finding>),
}

/// Judges the quoted values. The log itself is not signed; what it says counts only as far as it leads to them.
#[must_use]
pub fn judge(mode: Mode, expected: &Expected, values: &PcrValues, log: Option<&[u8]>) -> Outcome {
    if mode == Mode::Off {
        return Outcome::Unchecked;
    }
    let mut findings = Vec::new();
    match log.map(EventLog::parse) {
        None => findings.push(Finding::NoLog),
        Some(Err(error)) => findings.push(Finding::Log(error)),
        Some(Ok(log)) => {
            let replayed = replay(&log);
            let wrong = REPLAYED.into_iter().filter(|pcr| values.get(pcr) != replayed.get(usize::from(*pcr)));
            findings.extend(wrong.map(Finding::Replay));
            applications(expected, &log, &mut findings);
            loaded(expected, &log, &mut findings);
        }
    }
    let pinned = expected.pinned.iter().filter(|(pcr, value)| values.get(pcr) != Some(&value.0));
    findings.extend(pinned.map(|(pcr, _)| Finding::Pinned(*pcr)));
    findings.extend(open_door(&expected.command_line).map(Finding::OpenDoor));
    match mode {
        _ if findings.is_empty() => Outcome::Proven,
        Mode::Enforce => Outcome::Refused(findings),
        Mode::Record | Mode::Off => Outcome::Recorded(findings),
    }
}

/// What the PCRs hold after these events.
#[must_use]
pub fn replay(log: &EventLog<'_>) -> [[u8; 32]; 24] {
    let mut values = [[0; 32]; 24];
    // A TPM that was started at another locality begins PCR 0 with its number (PC Client profile, 10.4.5.3).
    let locality = log.events.iter().find_map(|event| match event {
        Event { pcr: 0, kind: EventKind::NoAction, data, .. } => data.strip_prefix(b"StartupLocality\0"),
        _ => None,
    });
    if let (Some([locality]), Some([.., last])) = (locality, values.first_mut()) {
        *last = *locality;
    }
    for event in log.events.iter().filter(|event| event.kind != EventKind::NoAction) {
        if let Some(value) = values.get_mut(usize::from(event.pcr)) {
            *value = extend(value, &event.sha256);
        }
    }
    values
}

/// PCR 4: nothing but our loaders and this boot's kernel, and both of them. What kind an event is, and what it says,
/// is in the log alone, where anybody may write it: every digest must be one that we know.
fn applications(expected: &Expected, log: &EventLog<'_>, findings: &mut Vec<Finding>) {
    let Some(kernel) = expected.kernel else { return findings.push(Finding::Unknown("kernel")) };
    if expected.loaders.is_empty() {
        return findings.push(Finding::Unknown("loader"));
    }
    let words = FIRMWARE_WORDS.map(|word| Digest(Sha256::digest(word).into()));
    let extended = || {
        let events = log.events.iter().filter(|event| event.pcr == 4 && event.kind != EventKind::NoAction);
        events.map(|event| Digest(event.sha256))
    };
    let known =
        |digest: &Digest| *digest == kernel || expected.loaders.contains(digest) || words.contains(digest);
    findings.extend(extended().find(|digest| !known(digest)).map(Finding::Application));
    if !extended().any(|digest| expected.loaders.contains(&digest)) {
        findings.push(Finding::NoLoader);
    }
    if !extended().any(|digest| digest == kernel) {
        findings.push(Finding::NoKernel);
    }
}

/// PCR 9: the command line and the initrd, once each, and nothing else.
fn loaded(expected: &Expected, log: &EventLog<'_>, findings: &mut Vec<Finding>) {
    let Some(initrd) = expected.initrd else { return findings.push(Finding::Unknown("initrd")) };
    let events: Vec<&Event<'_>> =
        log.events.iter().filter(|event| event.pcr == 9 && event.kind != EventKind::NoAction).collect();
    let of =
        |tag: &[u8]| events.iter().find(|event| event.tag() == Some(tag)).map(|event| Digest(event.sha256));
    match of(TAG_OPTIONS) {
        _ if expected.command_line.is_empty() => findings.push(Finding::Unknown("command line")),
        None => findings.push(Finding::CommandLineUnmeasured),
        Some(digest) if digest != command_line_digest(&expected.command_line) => {
            findings.push(Finding::CommandLine);
        }
        Some(_) => {}
    }
    match of(TAG_INITRD) {
        None => findings.push(Finding::InitrdUnmeasured),
        Some(digest) if digest != initrd => findings.push(Finding::Initrd),
        Some(_) => {}
    }
    let known = |event: &&&Event<'_>| event.tag().is_some_and(|tag| tag == TAG_OPTIONS || tag == TAG_INITRD);
    if events.iter().filter(known).count() > 2 || !events.iter().all(|event| known(&event)) {
        findings.push(Finding::Surplus);
    }
}

/// What Linux' stub measures of a command line: it is UTF-16 there, with a zero behind it.
#[must_use]
pub fn command_line_digest(command_line: &str) -> Digest {
    let mut hash = Sha256::new();
    command_line.encode_utf16().chain([0]).for_each(|unit| hash.update(unit.to_le_bytes()));
    Digest(hash.finalize().into())
}

/// What is measured of several initrds: iPXE puts each at a multiple of 4096 octets and fills with zeros.
#[must_use]
pub fn initrd_digest(initrds: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for (index, initrd) in initrds.iter().enumerate() {
        hash.update(initrd);
        if index.saturating_add(1) < initrds.len() {
            hash.update(filling(u64::try_from(initrd.len()).unwrap_or(u64::MAX)));
        }
    }
    Digest(hash.finalize().into())
}

/// The zeros between an initrd of so many octets and the next one (`INITRD_ALIGN` in iPXE's `include/ipxe/initrd.h`).
#[must_use]
pub fn filling(length: u64) -> &'static [u8] {
    const ALIGN: usize = 4096;
    const ZEROS: [u8; ALIGN] = [0; ALIGN];
    let beyond = usize::try_from(length % 4096).unwrap_or_default();
    if beyond == 0 { &[] } else { ZEROS.get(beyond..).unwrap_or_default() }
}

/// Whether a loader is iPXE from 2023-02-15 (6a004be0c) or later: it gives the initrd to the kernel by the protocol
/// of this name, and so the kernel's stub measures it. Before, it gave it by a way that nobody measures.
#[must_use]
pub fn measures(loader: &[u8]) -> bool {
    // LINUX_EFI_INITRD_MEDIA_GUID, 5568e427-68fc-4f3d-ac74-ca555231cc68, as EFI lays it out.
    const MEDIA: [u8; 16] =
        [0x27, 0xe4, 0x68, 0x55, 0xfc, 0x68, 0x3d, 0x4f, 0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68];
    let holds = |needle: &[u8]| loader.windows(needle.len()).any(|window| window == needle);
    holds(&MEDIA) && holds(b"iPXE")
}

/// The first part of a command line that must not stand in one that is enforced.
#[must_use]
pub fn open_door(command_line: &str) -> Option<&'static str> {
    let matches = |word: &str, door: &str| match door.strip_suffix('=') {
        Some(_) => word.starts_with(door),
        None => word.strip_prefix(door).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')),
    };
    let words = || command_line.split_ascii_whitespace();
    OPEN_DOORS.into_iter().find(|door| words().any(|word| matches(word.trim_matches('"'), door)))
}
