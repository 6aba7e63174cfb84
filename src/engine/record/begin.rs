//! Is this packet part of the attempt that goes on, or has the machine begun anew?

use crate::base::{Millis, Timestamp};
use crate::engine::record::attempt::Attempt;
use crate::engine::record::evidence::{DhcpSeen, What};
use crate::model::Stage;
use crate::model::boot_record::{Outcome, Phase};
use crate::wire::dhcp::MessageType;

/// A DISCOVER that comes later than this after the last word of a machine is no repetition: edk2's longest pause is
/// 32 s, and some firmware rests for a minute between PXE and HTTP boot.
const SAME_ATTEMPT: Millis = Millis::from_secs(120);

/// How a piece of evidence relates to the attempt before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Begin {
    GoesOn,
    /// It is the first of another attempt.
    Anew,
    /// It is about no boot: the system that runs renews its lease, a person looks at a file.
    Nothing,
}

/// Decides. `before`: the machine's latest attempt.
#[must_use]
pub(crate) fn begins(before: Option<&Attempt>, what: &What, at: Timestamp) -> Begin {
    match what {
        What::Dhcp(seen) if seen.stage == Stage::System => system(before),
        What::Dhcp(seen) => booting(before, seen, at),
        What::Script(seen) if is_person(seen.agent.as_deref()) => Begin::Nothing,
        // Whoever else asks for a script runs iPXE: an attempt whose DHCP was another server's.
        What::Script(_) => match before {
            Some(attempt) if is_open(attempt) || is_recent(attempt, at) => Begin::GoesOn,
            _ => Begin::Anew,
        },
        What::Damaged(_) => {
            if before.is_some() {
                Begin::GoesOn
            } else {
                Begin::Anew
            }
        }
        // A node that is up may log for years: that is no part of its boot.
        What::Log { .. } if before.is_some_and(|attempt| attempt.record.outcome == Outcome::Up) => {
            Begin::Nothing
        }
        What::OtherServer { .. }
        | What::NotSent
        | What::Tftp(_)
        | What::Loader { .. }
        | What::File { .. }
        | What::FileRefused { .. }
        | What::Document { .. }
        | What::Claim { .. }
        | What::Sealed
        | What::PhoneHome
        | What::Asked(_)
        | What::TlsFailed(_)
        | What::Log { .. } => {
            if before.is_some() {
                Begin::GoesOn
            } else {
                Begin::Nothing
            }
        }
    }
}

/// True for the tools with which people look at scripts.
fn is_person(agent: Option<&str>) -> bool {
    const TOOLS: [&str; 5] = ["curl/", "Wget/", "Mozilla/", "python-", "ochami/"];
    agent.is_some_and(|agent| TOOLS.iter().any(|tool| agent.starts_with(tool)))
}

/// A running system's DHCP: part of the boot that led to it, never the beginning of one.
fn system(before: Option<&Attempt>) -> Begin {
    if before.is_some() { Begin::GoesOn } else { Begin::Nothing }
}

fn booting(before: Option<&Attempt>, seen: &DhcpSeen, at: Timestamp) -> Begin {
    let Some(attempt) = before else { return Begin::Anew };
    // Only a DISCOVER begins something; a REQUEST, DECLINE or RELEASE answers what went before.
    if seen.kind != Some(MessageType::Discover) && is_recent(attempt, at) {
        return Begin::GoesOn;
    }
    let record = &attempt.record;
    let same_exchange = attempt.xid == Some(seen.xid) && is_recent(attempt, at);
    let reached = record.furthest();
    let goes_on = match (record.outcome, seen.stage) {
        (Outcome::Up | Outcome::Settled | Outcome::Left | Outcome::Dropped, _) => same_exchange,
        // iPXE asks for an address after its loader came, and again when its script failed it.
        (_, Stage::Ipxe | Stage::ForeignIpxe) => {
            let has_kernel = reached.is_some_and(|phase| phase >= Phase::Kernel);
            let went_back = seen.stage == Stage::ForeignIpxe
                && reached.is_some_and(|phase| phase >= Phase::Ipxe)
                && !is_chained(seen);
            same_exchange || (is_recent(attempt, at) && !has_kernel && !went_back)
        }
        // Firmware that got nothing tries again, and by other ways: PXE, then HTTP.
        (_, Stage::Firmware) => {
            let got_nothing =
                !record.began(Phase::Loader) && reached.is_none_or(|phase| phase == Phase::Firmware);
            is_recent(attempt, at) && (same_exchange || got_nothing)
        }
        (_, Stage::System) => true,
    };
    if goes_on { Begin::GoesOn } else { Begin::Anew }
}

/// A foreign iPXE that came back after ours was handed to it: the loop is one attempt, and its failure.
fn is_chained(seen: &DhcpSeen) -> bool {
    seen.no_boot() == Some(crate::engine::dhcp::NoBoot::ChainLoop)
}

/// True if something may still come of it.
#[must_use]
pub(crate) fn is_open(attempt: &Attempt) -> bool {
    !attempt.record.outcome.is_over()
}

fn is_recent(attempt: &Attempt, at: Timestamp) -> bool {
    at.since(attempt.record.last) <= SAME_ATTEMPT
}
