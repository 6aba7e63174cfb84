//! What a machine does next if all goes well.

use crate::model::BootRecord;
use crate::model::boot_record::{Fate, Outcome, Phase, Sign};

/// The step that is waited for; None where nothing is.
#[must_use]
pub(crate) fn awaited(record: &BootRecord) -> Option<Phase> {
    match record.outcome {
        Outcome::UnderWay => next(record),
        Outcome::Waits
        | Outcome::Up
        | Outcome::Settled
        | Outcome::Left
        | Outcome::Dropped
        | Outcome::Failed => None,
    }
}

/// The step behind the furthest that was completed, whatever became of the attempt.
#[must_use]
pub(crate) fn next(record: &BootRecord) -> Option<Phase> {
    let declared = record.node.is_some();
    match record.furthest() {
        None if record.saw(Sign::BesideAnother) && record.saw(Sign::Offered) => Some(Phase::Loader),
        // A machine of which only damaged frames came has no step yet.
        None => record.steps.iter().map(|step| step.phase).min().or(Some(Phase::Firmware)),
        Some(Phase::Firmware) => Some(Phase::Loader),
        Some(Phase::Loader) => Some(Phase::Ipxe),
        Some(Phase::Ipxe) => Some(Phase::Script),
        Some(Phase::Script) => Some(Phase::Kernel),
        Some(Phase::Kernel | Phase::Initrd) if lacks_initrds(record) => Some(Phase::Initrd),
        Some(Phase::Kernel | Phase::Initrd) => Some(Phase::System),
        Some(Phase::System) if record.told.as_ref().is_some_and(|told| told.root.is_some()) => {
            Some(Phase::Root)
        }
        Some(Phase::System | Phase::Root) => declared.then_some(Phase::CloudInit),
        Some(Phase::CloudInit) => Some(Phase::PhoneHome),
        Some(Phase::Secrets) if record.did(Phase::CloudInit) => Some(Phase::PhoneHome),
        Some(Phase::Secrets) => Some(Phase::CloudInit),
        Some(Phase::PhoneHome) => None,
    }
}

/// True if the script names more initrds than the machine has. Those that are not the head's are not seen.
fn lacks_initrds(record: &BootRecord) -> bool {
    let Some(told) = &record.told else { return false };
    let ours = told.initrds.iter().filter(|path| !path.contains("://")).count();
    let done = record.steps.iter().filter(|step| step.phase == Phase::Initrd && step.fate == Fate::Done);
    done.count() < ours
}
