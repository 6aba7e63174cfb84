//! The section `[images]`: where plain files lie, and how much the store of blobs may hold.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;

use crate::app::config::Text;
use crate::app::config_file::{Problems, Section};
use crate::transport::blobs::{Reserve, Settings};
use crate::transport::http::StreamSettings;

/// Units of sizes, the longest names first.
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

/// What the section says.
pub(crate) struct Images {
    pub(crate) folder: Option<PathBuf>,
    pub(crate) blobs: Settings,
    pub(crate) streams: StreamSettings,
}

pub(crate) fn images(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Images {
    let mut section = root.section("images", problems);
    let folder = section.parsed::<Text>("root", problems).map(|at| PathBuf::from(at.value.0));
    let quota = section.parsed::<Size>("quota", problems).map(|at| at.value.0);
    let reserve = section.parsed::<Kept>("reserve", problems).map(|at| at.value.0);
    let scrub = section.parsed::<Rate>("scrub", problems).map(|at| at.value.0);
    let streams = StreamSettings::default();
    let at_once = section.number("streams", (1, 100_000), problems);
    let streams = StreamSettings {
        at_once: at_once.and_then(|count| usize::try_from(count).ok()).unwrap_or(streams.at_once),
        rate: section.parsed::<LinkRate>("rate", problems).map(|at| at.value.0),
        network_rates: Vec::new(),
    };
    section.finish(problems);
    let default = Settings::default();
    let blobs = Settings {
        quota,
        reserve: reserve.unwrap_or(default.reserve),
        scrub: scrub.unwrap_or(default.scrub),
    };
    Images { folder, blobs, streams }
}

/// Octets per second, as people say it of links (`10Gbit/s`) or of disks (`500MB/s`).
pub(crate) struct LinkRate(pub(crate) u64);

impl FromStr for LinkRate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rate = text.strip_suffix("/s").and_then(|text| match text.strip_suffix("bit") {
            Some(text) => bytes(&format!("{text}B")).map(|bits| bits / 8),
            None => bytes(text),
        });
        let rate = rate.filter(|rate| *rate >= LINK_RATE_MIN);
        rate.map(LinkRate).ok_or("expected a rate such as 10Gbit/s or 500MB/s (at least 1MB/s)")
    }
}

/// Below this no image arrives in its patience.
const LINK_RATE_MIN: u64 = 1_000_000;

/// A number of bytes that is not zero.
struct Size(NonZeroU64);

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        bytes(text).and_then(NonZeroU64::new).map(Size).ok_or("expected a size such as 200GB or 512MiB")
    }
}

/// What is kept free: a size, or a share of the disk.
struct Kept(Reserve);

impl FromStr for Kept {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = |text: &str| text.trim().parse::<u8>().ok().filter(|percent| *percent <= 90);
        let reserve = match text.strip_suffix('%') {
            Some(text) => percent(text).map(Reserve::Percent),
            None => bytes(text).map(Reserve::Bytes),
        };
        reserve.map(Kept).ok_or("expected a size such as 2GB, or a share such as 5% (at most 90%)")
    }
}

/// Bytes per second, or `off`. At least 1 MB/s: below, a large store is never through.
struct Rate(Option<NonZeroU64>);

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Rate(None));
        }
        let rate = text.strip_suffix("/s").and_then(bytes).filter(|rate| *rate >= 1_000_000);
        let rate = rate
            .and_then(NonZeroU64::new)
            .ok_or("expected a rate such as 50MB/s (at least 1MB/s), or off")?;
        Ok(Rate(Some(rate)))
    }
}

fn bytes(text: &str) -> Option<u64> {
    let (name, factor) = UNITS.iter().find(|(name, _)| text.ends_with(name))?;
    let number: u64 = text[..text.len() - name.len()].trim().parse().ok()?;
    number.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use crate::app::config::Config;
    use crate::transport::blobs::{Reserve, Settings};

    fn read(text: &str) -> Result<Settings, String> {
        let config = Config::parse(&format!("[images]\n{text}\n"));
        config.map(|config| config.blobs).map_err(|problems| problems[0].to_string())
    }

    #[test]
    fn sizes_shares_and_rates_are_read() {
        let settings = read("quota = \"200GB\"\nreserve = \"2GiB\"\nscrub = \"80 MB/s\"").unwrap();
        assert_eq!(settings.quota, NonZeroU64::new(200_000_000_000));
        assert_eq!(settings.reserve, Reserve::Bytes(2 << 30));
        assert_eq!(settings.scrub, NonZeroU64::new(80_000_000));
        assert_eq!(read("reserve = \"7%\"\nscrub = \"off\"").unwrap().reserve, Reserve::Percent(7));
        assert_eq!(read("").unwrap(), Settings::default());
    }

    #[test]
    fn what_is_no_size_is_refused_with_its_key() {
        for (text, key) in [
            ("quota = \"200\"", "images.quota"),
            ("quota = \"0GB\"", "images.quota"),
            ("quota = \"99999999999TB\"", "images.quota"),
            ("reserve = \"91%\"", "images.reserve"),
            ("reserve = \"-1GB\"", "images.reserve"),
            ("scrub = \"50MB\"", "images.scrub"),
            ("scrub = \"1kB/s\"", "images.scrub"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(key), "{text}: {said}");
        }
    }
}
