//! The log of what was measured before the operating system ran: crypto agile, TCG PC Client Platform Firmware
//! Profile, section 10. Linux shows it in `/sys/kernel/security/tpm0/binary_bios_measurements`. Little-endian.

use crate::base::limits::{EVENT_LOG_BYTES_MAX, EVENT_LOG_EVENTS_MAX};
use crate::wire::WireError;
use crate::wire::tpm::{Hash, PCRS, Reader};

/// The signature of the first event: "Spec ID Event03" and a zero.
const SPEC_ID: &[u8; 16] = b"Spec ID Event03\0";

/// Algorithms in one log; firmware measures with at most five.
const ALGORITHMS_MAX: u32 = 16;

/// Octets of the longest digest, SHA-512.
const DIGEST_BYTES_MAX: u16 = 64;

/// What an event is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// Says something of the log; extended into nothing.
    NoAction,
    Separator,
    /// What the operating system's loader measured, with a tag.
    Tag,
    /// An application of UEFI: a loader, a kernel.
    BootServicesApplication,
    Action,
    Other(u32),
}

impl From<u32> for EventKind {
    fn from(kind: u32) -> EventKind {
        match kind {
            0x0000_0003 => EventKind::NoAction,
            0x0000_0004 => EventKind::Separator,
            0x0000_0006 => EventKind::Tag,
            0x8000_0003 => EventKind::BootServicesApplication,
            0x8000_0007 => EventKind::Action,
            other => EventKind::Other(other),
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    pub pcr: u8,
    pub kind: EventKind,
    /// What was extended into the PCR of the SHA-256 bank.
    pub sha256: [u8; 32],
    /// What it says of itself. Nothing vouches for it.
    pub data: &'a [u8],
}

impl<'a> Event<'a> {
    /// The text of a tagged event without its closing zero: Linux' stub writes one (TCG_PCClientTaggedEvent).
    #[must_use]
    pub fn tag(&self) -> Option<&'a [u8]> {
        if self.kind != EventKind::Tag {
            return None;
        }
        let mut from = Reader::new(self.data);
        from.u32_le("tag").ok()?;
        let length = usize::try_from(from.u32_le("tag length").ok()?).ok()?;
        let text = from.take(length, "tag text").ok()?;
        Some(text.strip_suffix(&[0]).unwrap_or(text))
    }
}

/// A log, its first event left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventLog<'a> {
    pub events: Vec<Event<'a>>,
}

impl<'a> EventLog<'a> {
    /// Reads a log. Digests of other banks are passed over.
    ///
    /// # Errors
    /// It is longer than [`EVENT_LOG_BYTES_MAX`], has more events than [`EVENT_LOG_EVENTS_MAX`], has no SHA-256
    /// digests, or is malformed.
    pub fn parse(octets: &'a [u8]) -> Result<EventLog<'a>, WireError> {
        if octets.len() > EVENT_LOG_BYTES_MAX {
            return Err(WireError::Invalid("size of the event log"));
        }
        let mut from = Reader::new(octets);
        let sizes = first_event(&mut from)?;
        let mut events = Vec::new();
        while !from.is_empty() {
            if events.len() == EVENT_LOG_EVENTS_MAX {
                return Err(WireError::Invalid("number of events"));
            }
            events.push(event(&mut from, &sizes)?);
        }
        Ok(EventLog { events })
    }
}

/// The header: an event of the old form whose data names the algorithms. Returns them with their digests' sizes.
fn first_event(from: &mut Reader<'_>) -> Result<Vec<(u16, u16)>, WireError> {
    from.u32_le("first event: PCR")?;
    if EventKind::from(from.u32_le("first event: type")?) != EventKind::NoAction {
        return Err(WireError::Invalid("first event: type"));
    }
    from.take(20, "first event: digest")?;
    let size = usize::try_from(from.u32_le("first event: size")?).unwrap_or(usize::MAX);
    let mut data = Reader::new(from.take(size, "first event")?);
    if data.take(SPEC_ID.len(), "signature of the log")? != SPEC_ID {
        return Err(WireError::Invalid("signature of the log"));
    }
    data.take(8, "platform class and version of the log")?;
    let count = data.u32_le("number of algorithms")?;
    if count > ALGORITHMS_MAX {
        return Err(WireError::Invalid("number of algorithms"));
    }
    let one = |_| Ok((data.u16_le("algorithm")?, data.u16_le("digest size")?));
    let sizes = (0..count).map(one).collect::<Result<Vec<_>, WireError>>()?;
    if sizes.iter().any(|(_, size)| *size > DIGEST_BYTES_MAX) {
        return Err(WireError::Invalid("digest size"));
    }
    let vendor = usize::from(data.u8("vendor information")?);
    data.take(vendor, "vendor information")?;
    Ok(sizes)
}

/// TCG_PCR_EVENT2.
fn event<'a>(from: &mut Reader<'a>, sizes: &[(u16, u16)]) -> Result<Event<'a>, WireError> {
    let pcr = from.u32_le("event: PCR")?;
    let pcr = u8::try_from(pcr).ok().filter(|pcr| *pcr < PCRS).ok_or(WireError::Invalid("event: PCR"))?;
    let kind = EventKind::from(from.u32_le("event: type")?);
    let count = from.u32_le("event: number of digests")?;
    if count > ALGORITHMS_MAX {
        return Err(WireError::Invalid("event: number of digests"));
    }
    let mut sha256 = None;
    for _ in 0..count {
        let alg = from.u16_le("event: algorithm")?;
        let size = sizes.iter().find(|(known, _)| *known == alg).map(|(_, size)| usize::from(*size));
        let digest = from.take(size.ok_or(WireError::Invalid("event: algorithm"))?, "event: digest")?;
        if alg == Hash::Sha256.id() {
            let digest = digest.try_into().map_err(|_| WireError::Invalid("digest size"))?;
            if sha256.replace(digest).is_some() {
                return Err(WireError::Invalid("event: two digests of one bank"));
            }
        }
    }
    let size = usize::try_from(from.u32_le("event: size")?).unwrap_or(usize::MAX);
    let data = from.take(size, "event: data")?;
    Ok(Event { pcr, kind, sha256: sha256.ok_or(WireError::Invalid("event: no SHA-256 digest"))?, data })
}
