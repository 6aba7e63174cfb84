//! The boot part of an answer: loader, script or nothing, and why.

use crate::base::limits::{CHAIN_ONCE_SPAN, CHAIN_RETRANSMIT_SPAN};
use crate::engine::boot::loader::{self, NoLoader};
use crate::engine::boot::url;
use crate::engine::dhcp::case::Case;
use crate::engine::dhcp::{Boot, NoBoot};
use crate::model::snapshot::Machine;
use crate::model::{BootPolicy, Firmware, Stage};

/// Decides what the machine is told to load next.
pub(crate) fn decide(case: &Case<'_>) -> Boot {
    if let Some(Machine::Bmc(_)) = case.machine {
        return Boot::None(NoBoot::Management);
    }
    let local = match case.node().map(|node| node.policy) {
        Some(BootPolicy::LocalDisk) => true,
        Some(BootPolicy::Serve | BootPolicy::Ignore) | None => false,
    };
    match case.request.stage {
        Stage::System => Boot::None(NoBoot::System),
        // The script itself tells a running iPXE to leave, to wait or what to boot.
        Stage::Ipxe => script(case),
        Stage::Firmware | Stage::ForeignIpxe if local => Boot::None(NoBoot::LocalDisk),
        Stage::ForeignIpxe if is_loop(case) => Boot::None(NoBoot::ChainLoop),
        Stage::Firmware | Stage::ForeignIpxe => loader(case),
    }
}

/// True if this answer, once sent, hands our iPXE to a foreign one anew.
pub(crate) fn chains(case: &Case<'_>, boot: &Boot) -> bool {
    let handed = match boot {
        Boot::File { .. } | Boot::Url { .. } => true,
        Boot::Script { .. } | Boot::RaspberryPi | Boot::None(_) => false,
    };
    let repeated = case.observed.chained.is_some_and(|last| case.now.since(last) < CHAIN_RETRANSMIT_SPAN);
    handed && case.request.stage == Stage::ForeignIpxe && !repeated
}

/// Our iPXE was handed out a while ago, and here is the foreign one again.
fn is_loop(case: &Case<'_>) -> bool {
    case.observed.chained.is_some_and(|last| {
        let span = case.now.since(last);
        span >= CHAIN_RETRANSMIT_SPAN && span < CHAIN_ONCE_SPAN
    })
}

fn script(case: &Case<'_>) -> Boot {
    match case.request.mac {
        Some(mac) => match base(case, case.request.features.https && case.observed.anchored) {
            Some(base) => Boot::Script { url: url::script(&base, mac) },
            None => Boot::None(NoBoot::NoHttps),
        },
        None => Boot::None(NoBoot::NoHardwareAddress),
    }
}

/// Below which a loader finds everything. `ready`: it speaks TLS and knows whom to trust. None: it must, and cannot.
fn base(case: &Case<'_>, ready: bool) -> Option<String> {
    let site = &case.snapshot.site;
    match &site.loader_tls {
        Some(tls) if ready || tls.always && case.request.features.https => {
            Some(url::tls(case.head, tls.port))
        }
        Some(tls) if tls.always => None,
        Some(_) | None => Some(url::plain(case.head, site.http_port)),
    }
}

fn loader(case: &Case<'_>) -> Boot {
    let (firmware, arch) = (case.request.firmware, case.request.arch);
    let chosen = loader::choose(firmware, arch, case.node(), &case.snapshot.inventory);
    match (chosen, firmware) {
        (Ok(loader), Firmware::UefiHttp) => {
            let site = &case.snapshot.site;
            // Firmware knows our authority only if somebody told its setup, so that the site must ask for it.
            let base = match site.loader_tls.as_ref().filter(|tls| tls.always) {
                Some(tls) => url::tls(case.head, tls.port),
                None => url::plain(case.head, site.http_port),
            };
            Boot::Url { url: url::loader(&base, &loader.file), rule: loader.rule }
        }
        (Ok(loader), Firmware::Bios | Firmware::Uefi | Firmware::RaspberryPi | Firmware::Unknown) => {
            Boot::File { name: loader.file, rule: loader.rule }
        }
        (Err(_), Firmware::RaspberryPi) => Boot::RaspberryPi,
        (Err(NoLoader::UnknownFirmware), _) => Boot::None(NoBoot::UnknownFirmware),
        (Err(NoLoader::UnsupportedArch), _) => Boot::None(NoBoot::UnsupportedArch),
    }
}
