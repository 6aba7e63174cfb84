//! What the lines of a machine's log say about its attempt. Texts of programs are facts of the world: a table.

use crate::base::Timestamp;
use crate::engine::record::attempt::{Attempt, short};
use crate::model::boot_record::Sign;

/// Texts in lines of logs, and what they are signs of. All that occur count.
const TEXTS: [(&str, Sign); 30] = [
    ("Kernel panic - not syncing", Sign::Panic),
    ("Unable to mount root fs", Sign::PanicNoRoot),
    ("Cannot open root device", Sign::PanicNoRoot),
    ("No working init found", Sign::PanicNoInit),
    ("Requested init", Sign::PanicNoInit),
    ("No init found", Sign::PanicNoInit),
    ("switch_root: failed to execute", Sign::PanicNoInit),
    ("Initramfs unpacking failed", Sign::PanicNoRoot),
    ("System is deadlocked on memory", Sign::OutOfMemory),
    ("Out of memory: Killed process", Sign::OutOfMemory),
    ("No space left on device", Sign::OutOfMemory),
    ("Could not boot", Sign::RootTimeout),
    ("dracut-initqueue timeout", Sign::RootTimeout),
    ("dracut-initqueue: timeout", Sign::RootTimeout),
    ("does not exist or is not mounted", Sign::RootTimeout),
    ("Unable to find a medium containing a live file system", Sign::RootTimeout),
    ("no network interface", Sign::NoDriver),
    ("No network interface", Sign::NoDriver),
    ("Warning: No carrier detected on interface", Sign::NoDriver),
    ("failed to load firmware", Sign::NoDriver),
    ("digest mismatch", Sign::DigestWrong),
    ("checksum mismatch", Sign::DigestWrong),
    ("does not match its digest", Sign::DigestWrong),
    ("http://ipxe.org/", Sign::IpxeError),
    ("https://ipxe.org/", Sign::IpxeError),
    ("Failed loading yaml blob", Sign::CloudInitError),
    ("Failed at merging in cloud config", Sign::CloudInitError),
    ("cloud-init: modules failed", Sign::CloudInitError),
    ("certificate is not yet valid", Sign::ClockWrong),
    ("certificate has expired", Sign::ClockWrong),
];

/// Texts of cloud-init that count together with its name.
const CLOUD_INIT: [&str; 3] = ["Running module", "Traceback", "failed with"];

impl Attempt {
    pub(crate) fn on_log(&mut self, severity: u8, text: &str, at: Timestamp) {
        self.log(severity, text, at);
        for (_, sign) in TEXTS.iter().filter(|(words, _)| text.contains(words)) {
            self.sign(*sign, at, format!("its log: {}", short(text)));
        }
        let of_cloud_init = text.contains("cloud-init") || text.contains("util.py");
        let failed = text.contains("failed") && CLOUD_INIT.iter().any(|words| text.contains(words));
        if of_cloud_init && failed {
            self.sign(Sign::CloudInitError, at, format!("its log: {}", short(text)));
        }
    }
}
