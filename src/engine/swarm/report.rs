//! What a run came to: a histogram for each stage, failures by reason, octets.

use std::collections::BTreeMap;
use std::fmt;

use crate::engine::swarm::Micros;

/// A part of a boot, as the report counts it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    Dhcp,
    Loader,
    IpxeDhcp,
    Script,
    Kernel,
    Initrd,
    SystemDhcp,
    Root,
    CloudInit,
    PhoneHome,
    /// From power-on to the end of the last stage.
    Boot,
}

impl Stage {
    pub const ALL: [(Stage, &str); 11] = [
        (Stage::Dhcp, "dhcp"),
        (Stage::Loader, "loader"),
        (Stage::IpxeDhcp, "ipxe-dhcp"),
        (Stage::Script, "script"),
        (Stage::Kernel, "kernel"),
        (Stage::Initrd, "initrd"),
        (Stage::SystemDhcp, "system-dhcp"),
        (Stage::Root, "root"),
        (Stage::CloudInit, "cloud-init"),
        (Stage::PhoneHome, "phone-home"),
        (Stage::Boot, "boot"),
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        Stage::ALL.into_iter().find(|(stage, _)| *stage == self).map_or("", |(_, name)| name)
    }
}

/// Why something failed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    NoOffer,
    NoAck,
    /// The answer names no file that this machine can fetch.
    NoBootFile,
    Refused,
    /// The connection ended in the middle.
    Broken,
    Silent,
    NotHttp,
    Http(u16),
    Tftp(u16),
    /// What came is no script, or one that leads nowhere.
    Script(&'static str),
    /// The kernel's parameters name no URL for this.
    NoUrl,
    /// The machine's patience was at its end.
    TooLong,
    /// This computer could not: descriptors, ports, addresses.
    Local(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoOffer => f.write_str("no OFFER"),
            Reason::NoAck => f.write_str("no ACK"),
            Reason::NoBootFile => f.write_str("the answer names no file to boot"),
            Reason::Refused => f.write_str("connection refused"),
            Reason::Broken => f.write_str("the connection broke"),
            Reason::Silent => f.write_str("the server fell silent"),
            Reason::NotHttp => f.write_str("the answer is no HTTP"),
            Reason::Http(status) => write!(f, "HTTP {status}"),
            Reason::Tftp(code) => write!(f, "TFTP error {code}"),
            Reason::Script(why) => write!(f, "script: {why}"),
            Reason::NoUrl => f.write_str("the kernel's parameters name no URL"),
            Reason::TooLong => f.write_str("not up in time"),
            Reason::Local(why) => write!(f, "on this side: {why}"),
        }
    }
}

/// One stage of one machine that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passed {
    pub stage: Stage,
    pub took: Micros,
    pub bytes: u64,
    /// Packets sent again, downloads begun or continued again.
    pub retries: u64,
    pub result: Result<(), Reason>,
}

/// Counts spans in buckets of a relative width of 1/64, so that a percentile is off by less than 2 %.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Histogram {
    buckets: BTreeMap<u32, u64>,
    count: u64,
    max: Micros,
}

const SUB_BITS: u32 = 6;

impl Histogram {
    pub fn add(&mut self, span: Micros) {
        let bucket = self.buckets.entry(bucket(span.0)).or_default();
        *bucket = bucket.saturating_add(1);
        self.count = self.count.saturating_add(1);
        self.max = self.max.max(span);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    #[must_use]
    pub fn max(&self) -> Micros {
        self.max
    }

    /// The span that so many of a thousand do not exceed; zero of an empty histogram.
    #[must_use]
    pub fn permille(&self, permille: u64) -> Micros {
        let rank = self.count.saturating_mul(permille).div_ceil(1000).max(1);
        let mut below = 0_u64;
        for (bucket, count) in &self.buckets {
            below = below.saturating_add(*count);
            if below >= rank {
                return Micros(upper(*bucket)).min(self.max);
            }
        }
        self.max
    }
}

/// Number of a value's bucket: exponent, then the bits behind the leading one.
fn bucket(value: u64) -> u32 {
    let exponent = value.checked_ilog2().unwrap_or(0).saturating_sub(SUB_BITS);
    let mantissa = u32::try_from(value >> exponent).unwrap_or(u32::MAX);
    (exponent << (SUB_BITS.saturating_add(1))).saturating_add(mantissa)
}

/// The largest value of a bucket.
fn upper(bucket: u32) -> u64 {
    let exponent = bucket >> (SUB_BITS.saturating_add(1));
    let mantissa = u64::from(bucket & 0x7f);
    mantissa << exponent | (1_u64 << exponent).saturating_sub(1)
}

/// One stage over all machines.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Row {
    pub times: Histogram,
    pub failed: u64,
    pub bytes: u64,
    pub retries: u64,
}

/// The whole run.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Report {
    pub rows: BTreeMap<Stage, Row>,
    pub failures: BTreeMap<(Stage, Reason), u64>,
}

impl Report {
    pub fn add(&mut self, passed: Passed) {
        let Passed { stage, took, bytes, retries, result } = passed;
        let row = self.rows.entry(stage).or_default();
        row.bytes = row.bytes.saturating_add(bytes);
        row.retries = row.retries.saturating_add(retries);
        match result {
            Ok(()) => row.times.add(took),
            Err(reason) => {
                row.failed = row.failed.saturating_add(1);
                let count = self.failures.entry((stage, reason)).or_default();
                *count = count.saturating_add(1);
            }
        }
    }

    /// A download that did not come to its end, and will be tried again.
    pub fn retry(&mut self, stage: Stage, bytes: u64, retries: u64) {
        let row = self.rows.entry(stage).or_default();
        row.bytes = row.bytes.saturating_add(bytes);
        row.retries = row.retries.saturating_add(retries);
    }

    /// Octets of all stages.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.rows.values().fold(0, |sum, row| sum.saturating_add(row.bytes))
    }

    /// Machines that came to the end of their boot, and those that did not.
    #[must_use]
    pub fn boots(&self) -> (u64, u64) {
        self.rows.get(&Stage::Boot).map_or((0, 0), |row| (row.times.count(), row.failed))
    }
}
