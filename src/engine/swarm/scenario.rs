//! What a swarm does: how many machines of which firmware, when they start, how far they boot, what goes wrong.
//! A value that exists is valid; `cli/swarm/scenario.rs` reads it from TOML.

use std::fmt;
use std::str::FromStr;

use crate::base::Mac;
use crate::engine::dhcp::imagine::Client;
use crate::engine::swarm::dice::Throw;
use crate::engine::swarm::report::Stage;
use crate::engine::swarm::{Dice, Micros, Moment};

/// A model of firmware. What each sends was measured: see `engine/dhcp/imagine.rs`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Firmware {
    /// PXE ROM of a PC BIOS: TFTP in blocks of 1456, after a request that only asks for the size.
    Bios,
    /// edk2 over PXE: the same with blocks of 1468 in windows of 4.
    Uefi,
    /// edk2 over HTTP: HEAD, then GET.
    UefiHttp,
    /// iPXE in the card's ROM: no loader at all.
    IpxeRom,
}

impl Firmware {
    pub const ALL: [(Firmware, &str); 4] = [
        (Firmware::Bios, "bios"),
        (Firmware::Uefi, "uefi"),
        (Firmware::UefiHttp, "uefi-http"),
        (Firmware::IpxeRom, "ipxe-rom"),
    ];

    /// Who asks for an address first.
    #[must_use]
    pub fn client(self) -> Client {
        match self {
            Firmware::Bios => Client::BiosRom,
            Firmware::Uefi => Client::UefiPxe,
            Firmware::UefiHttp => Client::UefiHttp,
            Firmware::IpxeRom => Client::IpxeRom,
        }
    }

    /// The iPXE that runs after the loader.
    #[must_use]
    pub fn ipxe(self) -> Client {
        match self {
            Firmware::Bios | Firmware::IpxeRom => Client::IpxeRom,
            Firmware::Uefi | Firmware::UefiHttp => Client::Ipxe,
        }
    }

    /// iPXE's settings `buildarch` and `platform`.
    #[must_use]
    pub fn platform(self) -> (&'static str, &'static str) {
        match self {
            Firmware::Bios | Firmware::IpxeRom => ("i386", "pcbios"),
            Firmware::Uefi | Firmware::UefiHttp => ("x86_64", "efi"),
        }
    }
}

/// When machines start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// All within a span, at moments that the dice choose.
    Within(Micros),
    /// One after the other, so many a second.
    PerSecond(u64),
    /// As fast as possible with so many at a time: one starts when another is through.
    InFlight(u64),
}

/// A share in millionths, written as per cent.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Share(u32);

/// Says why a text is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected per cent from 0 to 90, such as \"2%\" or \"0.5%\"")]
pub struct ShareError;

/// Above this nothing boots, and a swarm would only wait for its end.
const SHARE_MAX: u32 = 900_000;

impl Share {
    #[must_use]
    pub fn per_million(self) -> u32 {
        self.0
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Share, ShareError> {
        let number = text.trim().trim_end_matches('%').trim_end();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 4 {
            return Err(ShareError);
        }
        let whole: u32 = whole.parse().map_err(|_| ShareError)?;
        let fraction: u32 = format!("{fraction:0<4}").parse().map_err(|_| ShareError)?;
        let share = whole.checked_mul(10_000).and_then(|whole| whole.checked_add(fraction));
        share.filter(|share| *share <= SHARE_MAX).map(Share).ok_or(ShareError)
    }
}

/// A span of time that the dice choose between two bounds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Between {
    low: u64,
    high: u64,
}

/// Says why a text is no pair of bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected milliseconds, such as \"500\" or \"500-2000\", at most an hour")]
pub struct BetweenError;

impl FromStr for Between {
    type Err = BetweenError;

    fn from_str(text: &str) -> Result<Between, BetweenError> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| BetweenError);
        let (low, high) = (number(low)?, number(high)?);
        if low <= high && high <= 3_600_000 { Ok(Between { low, high }) } else { Err(BetweenError) }
    }
}

impl Between {
    #[must_use]
    pub fn pick(self, dice: Dice, count: u64) -> Micros {
        let span = Micros::from_millis(self.high.saturating_sub(self.low)).0.saturating_add(1);
        let above = dice.below(Throw::Think, count, span);
        Micros(Micros::from_millis(self.low).0.saturating_add(above))
    }
}

/// A stage's URL if the scenario knows better than the server. `{mac}`, `{ip}` and `{uuid}` are filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Override(String);

/// Says why a text is no URL for a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a URL such as http://192.0.2.1/file or tftp://192.0.2.1/file, with an address for a host")]
pub struct OverrideError;

impl FromStr for Override {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Override, OverrideError> {
        let sound = crate::engine::swarm::fetch::Source::parse(text).is_some();
        if sound { Ok(Override(text.to_owned())) } else { Err(OverrideError) }
    }
}

impl Override {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Pauses of a machine.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Thinks {
    /// From a loader's last octet to iPXE's first packet.
    pub loader: Between,
    /// From the boot of the kernel to its first packet.
    pub kernel: Between,
    /// From the root image's last octet to cloud-init.
    pub system: Between,
}

/// A whole scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    pub nodes: u32,
    pub seed: u64,
    /// The others' addresses follow it.
    pub first_mac: Mac,
    pub pace: Pace,
    /// Machines that are through start again until this much time has passed. None: each boots once.
    pub duration: Option<Micros>,
    /// How firmwares are mixed: weights.
    pub mix: Vec<(Firmware, u64)>,
    pub thinks: Thinks,
    /// Of DHCP and TFTP packets, in each direction.
    pub loss: Share,
    /// Of downloads over HTTP: they break somewhere, and what can go on by range does.
    pub cut: Share,
    /// How often firmware begins anew.
    pub attempts: u32,
    /// Longest a machine may take for its boot.
    pub patience: Micros,
    pub stages: Vec<Stage>,
    pub urls: Vec<(Stage, Override)>,
}

impl Scenario {
    #[must_use]
    pub fn does(&self, stage: Stage) -> bool {
        self.stages.contains(&stage)
    }

    /// URLs that replace those of a stage.
    pub fn overrides(&self, stage: Stage) -> impl Iterator<Item = &Override> {
        self.urls.iter().filter(move |(other, _)| *other == stage).map(|(_, url)| url)
    }

    #[must_use]
    pub fn dice(&self, machine: u32) -> Dice {
        Dice::new(self.seed, machine)
    }

    /// The machine's firmware, by the weights of the mix.
    #[must_use]
    pub fn firmware(&self, machine: u32) -> Firmware {
        let sum = self.mix.iter().fold(0_u64, |sum, (_, weight)| sum.saturating_add(*weight));
        let mut left = self.dice(machine).below(Throw::Firmware, 0, sum);
        for (firmware, weight) in &self.mix {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *firmware,
            }
        }
        Firmware::Uefi // of an empty mix, which the reader of scenarios refuses
    }

    /// When a machine is switched on; with `Pace::InFlight` that is when another is through.
    #[must_use]
    pub fn start(&self, machine: u32) -> Moment {
        match self.pace {
            Pace::Within(span) => Moment(self.dice(machine).below(Throw::Start, 0, span.0.max(1))),
            Pace::PerSecond(rate) => {
                let micros = u64::from(machine).saturating_mul(1_000_000);
                Moment(micros.checked_div(rate).unwrap_or(0))
            }
            Pace::InFlight(_) => Moment::default(),
        }
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Firmware::ALL.into_iter().find(|(firmware, _)| firmware == self).map(|(_, name)| name);
        f.write_str(name.unwrap_or_default())
    }
}
