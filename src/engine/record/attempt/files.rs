//! What transfers say about an attempt: loaders over TFTP and HTTP, and the files of images.

use crate::base::limits::{INITRD_BIG_BYTES, TFTP_SLOW_RATE};
use crate::base::{Millis, Timestamp};
use crate::engine::record::attempt::{Attempt, short};
use crate::engine::record::evidence::{TftpFate, TftpSeen};
use crate::model::boot_record::{Fate, Phase, Sign, Told};

/// Below this a rate says nothing: the round trips of the start count most.
const RATED_BYTES_MIN: u64 = 512 << 10;

/// Files that iPXE asks for beside itself when it starts (ipxe `autoexec.c`, since 2023).
const STARTED_BY: [&str; 2] = ["autoexec.ipxe", "config.ipxe"];

impl Attempt {
    pub(crate) fn on_tftp(&mut self, seen: &TftpSeen, at: Timestamp) {
        let TftpSeen { file, bytes, duration, fate } = seen;
        let name = base(file).to_owned();
        self.on_name(&name, at);
        if STARTED_BY.contains(&name.as_str()) {
            let result =
                if *fate == TftpFate::Done { "it asks for its script" } else { "not there, as usual" };
            return self.finish(Phase::Ipxe, &name, result, at);
        }
        let step = self.step(Phase::Loader, &name, at);
        step.bytes = (*bytes).max(step.bytes);
        // A probe of the size, or a failed repetition, takes back no whole copy.
        let was_done = step.fate == Fate::Done;
        let (fate, result, sign) = match fate {
            TftpFate::Done => (Fate::Done, format!("{bytes} bytes by TFTP in {} ms", duration.0), None),
            TftpFate::Probed => (Fate::Going, "asked for its size".to_owned(), Some(Sign::SizeProbe)),
            TftpFate::Aborted(code) => {
                (Fate::Broken, format!("given up by the machine, error {code}"), Some(Sign::TransferAborted))
            }
            TftpFate::Lost { opened: false } => {
                (Fate::Broken, "nothing of it was ever acknowledged".to_owned(), Some(Sign::TransferUnopened))
            }
            TftpFate::Lost { opened: true } => {
                (Fate::Broken, format!("silence after {bytes} bytes"), Some(Sign::TransferStalled))
            }
            TftpFate::NotFound => (Fate::Refused, "no such file".to_owned(), Some(Sign::FileMissing)),
            TftpFate::Refused => (Fate::Refused, "refused".to_owned(), Some(Sign::FileMissing)),
        };
        if !was_done || fate == Fate::Done {
            (step.fate, step.result) = (fate, result.clone());
        }
        // What nobody expects is no sign (`engine::tftp::catalog` knows them too).
        let harmless = sign == Some(Sign::FileMissing) && self.record.did(Phase::Loader);
        if let Some(sign) = sign.filter(|_| !harmless) {
            self.sign(sign, at, format!("{}: {result}", short(&name)));
        }
        if fate == Fate::Done {
            self.on_loader_fetched(&name, at);
            self.on_rate(&name, *bytes, *duration, at);
        }
    }

    fn on_rate(&mut self, name: &str, bytes: u64, duration: Millis, at: Timestamp) {
        let rate = bytes.saturating_mul(1000).checked_div(duration.0.max(1)).unwrap_or(0);
        if bytes >= RATED_BYTES_MIN && rate < TFTP_SLOW_RATE {
            let text = format!("{name} took {} ms by TFTP: {} kB/s", duration.0, rate / 1000);
            self.sign(Sign::TransferSlow, at, text);
        }
    }

    /// What names alone say.
    fn on_name(&mut self, name: &str, at: Timestamp) {
        let lower = name.to_ascii_lowercase();
        match () {
            () if STARTED_BY.contains(&name) => {
                self.sign(Sign::IpxeRuns, at, format!("its iPXE runs: it asked for {name}"));
            }
            () if lower.starts_with("grubx64") || lower.starts_with("grubaa64") => {
                self.sign(Sign::ShimsSecond, at, format!("shim runs: it asked for {name}"));
            }
            () if lower.starts_with("mmx64") || lower.starts_with("mmaa64") => {
                let text = format!("shim asked for its key manager, {name}");
                self.sign(Sign::MokManager, at, text);
            }
            () => {}
        }
    }

    pub(crate) fn on_loader(&mut self, file: &str, status: u16, got: (u64, bool), at: Timestamp) {
        let (bytes, head) = got;
        let name = base(file).to_owned();
        self.on_name(&name, at);
        if STARTED_BY.contains(&name.as_str()) {
            return self.finish(Phase::Ipxe, &name, "it asks for its script", at);
        }
        let step = self.step(Phase::Loader, &name, at);
        match (status, head) {
            (..400, true) => {
                if step.fate != Fate::Done {
                    step.result = "asked for its size".to_owned();
                }
                self.sign(Sign::HeadOnly, at, format!("it asked for the size of {name} by HTTP (HEAD)"));
            }
            (..400, false) => {
                step.bytes = bytes;
                (step.fate, step.result) = (Fate::Done, format!("{bytes} bytes by HTTP"));
                self.on_loader_fetched(&name, at);
            }
            (status, _) => {
                (step.fate, step.result) = (Fate::Refused, format!("status {status}"));
                self.sign(Sign::FileMissing, at, format!("{}: status {status}", short(&name)));
            }
        }
    }

    fn on_loader_fetched(&mut self, name: &str, at: Timestamp) {
        let again = self.record.saw(Sign::LoaderFetched);
        self.sign(Sign::LoaderFetched, at, format!("it has all of {}", short(name)));
        let copies = self.record.steps.iter().filter(|step| step.phase == Phase::Loader && step.what == name);
        let copies: u32 = copies.map(|step| step.tries).sum();
        if again && copies > 1 && self.record.began(Phase::Ipxe) {
            self.sign(Sign::LoaderAgain, at, format!("it fetched {} again after iPXE ran", short(name)));
        }
    }

    pub(crate) fn on_file(&mut self, label: &str, (sent, total): (u64, u64), took: Millis, at: Timestamp) {
        let Some(phase) = phase_of(label, self.record.told.as_ref()) else { return };
        let step = self.step(phase, label, at);
        // The end is heard; it began when it was opened.
        step.first = step.first.min(Timestamp(at.0.saturating_sub(took.0)));
        let before = (step.fate == Fate::Broken).then_some((step.bytes, step.of));
        (step.bytes, step.of) = (sent, total);
        if sent >= total {
            let seconds = took.0 / 1000;
            (step.fate, step.result) = (Fate::Done, format!("{total} bytes in {seconds} s"));
            if phase == Phase::Initrd && total >= INITRD_BIG_BYTES {
                let text = format!("{} has {} MiB", short(label), total >> 20);
                self.sign(Sign::BigInitrd, at, text);
            }
            return;
        }
        (step.fate, step.result) = (Fate::Broken, format!("broken off at {sent} of {total} bytes"));
        self.sign(Sign::CutOff, at, format!("{}: broken off at {sent} of {total} bytes", short(label)));
        // Within a megabyte: what lies in buffers differs from time to time.
        if before.is_some_and(|(bytes, of)| of == total && bytes.abs_diff(sent) < 1 << 20) {
            let text = format!("{}: broken off at the same place again, {sent} bytes", short(label));
            self.sign(Sign::CutOffAgain, at, text);
        }
    }

    pub(crate) fn on_file_refused(&mut self, path: &str, status: u16, at: Timestamp) {
        let phase = phase_of(path, self.record.told.as_ref());
        let text = format!("{}: status {status}", short(path));
        let sign = match (status, phase) {
            (500.., _) => Sign::FileDamaged,
            (_, Some(Phase::Kernel)) => Sign::KernelMissing,
            (_, Some(Phase::Initrd)) => Sign::InitrdMissing,
            (_, Some(Phase::Root)) => Sign::RootMissing,
            (_, _) => Sign::FileMissing,
        };
        self.sign(sign, at, text);
        let step = self.step(phase.unwrap_or(Phase::Loader), path, at);
        (step.fate, step.result) = (Fate::Refused, format!("status {status}"));
    }
}

/// The last part of a path of either kind: firmware of Windows' school writes backslashes.
fn base(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// Which step a file belongs to: by what the script told, by the label of an image's file, else by its name.
pub(crate) fn phase_of(name: &str, told: Option<&Told>) -> Option<Phase> {
    let same = |path: &str| !path.is_empty() && (path.ends_with(name) || name.ends_with(path));
    if let Some(told) = told {
        match () {
            () if same(&told.kernel) => return Some(Phase::Kernel),
            () if told.initrds.iter().any(|path| same(path)) => return Some(Phase::Initrd),
            () if told.root.as_deref().is_some_and(same) => return Some(Phase::Root),
            () => {}
        }
    }
    match name.rsplit_once(' ') {
        Some((_, "kernel")) => return Some(Phase::Kernel),
        Some((_, "initrd")) => return Some(Phase::Initrd),
        Some((_, "root")) => return Some(Phase::Root),
        _ => {}
    }
    let file = base(name).to_ascii_lowercase();
    let has = |marks: &[&str]| marks.iter().any(|mark| file.contains(mark));
    match () {
        () if has(&["vmlinuz", "bzimage", "kernel", "linux"]) => Some(Phase::Kernel),
        () if has(&["initrd", "initramfs"]) => Some(Phase::Initrd),
        () if has(&["rootfs", "squashfs", "erofs"]) => Some(Phase::Root),
        () => None,
    }
}
