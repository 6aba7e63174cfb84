//! How sure the head is of whom it talks to. A secret asks for a level, a node reaches one in each boot.

use std::fmt;
use std::str::FromStr;

/// A level of trust. The order is the strength.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Level {
    /// The node has its address, and nothing more is known.
    Address,
    /// It redeemed the one-time grant that was made for this boot.
    #[default]
    Grant,
    /// Its enrolled TPM answered.
    Tpm,
    /// The TPM also vouches for what was booted.
    TpmPcr,
}

/// The text is no level.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is none of 0 (address), 1 (boot grant), 2 (TPM), 2p (TPM and what was booted)")]
pub struct LevelError;

impl Level {
    /// All of them, the weakest first.
    pub const ALL: [Level; 4] = [Level::Address, Level::Grant, Level::Tpm, Level::TpmPcr];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Address => "0",
            Level::Grant => "1",
            Level::Tpm => "2",
            Level::TpmPcr => "2p",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let lower = text.trim().to_ascii_lowercase();
        Level::ALL.into_iter().find(|level| level.as_str() == lower).ok_or(LevelError)
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Level;

    #[test]
    fn levels_are_ordered_and_read_what_they_write() {
        assert!(Level::ALL.is_sorted());
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!(" 2P ".parse(), Ok(Level::TpmPcr));
        for bad in ["", "3", "1p", "-1", "L1"] {
            assert!(bad.parse::<Level>().is_err(), "{bad}");
        }
    }
}
