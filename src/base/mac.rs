//! Hardware addresses: the identity by which machines are known on the wire.

use std::fmt;
use std::str::FromStr;

/// A 48-bit hardware address (EUI-48).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// Says why a text is no hardware address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address (expected six pairs of hex digits such as 52:54:00:be:ef:01)")]
pub struct MacError(pub String);

impl Mac {
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// The vendor part, the first three octets.
    #[must_use]
    pub fn oui(self) -> [u8; 3] {
        [self.0[0], self.0[1], self.0[2]]
    }

    /// True for addresses that name one station: neither multicast, nor broadcast, nor all zero.
    #[must_use]
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// The form iPXE calls `hexhyp`: `52-54-00-be-ef-01`.
    #[must_use]
    pub fn hyphenated(self) -> String {
        self.to_string().replace(':', "-")
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Accepts colons, dashes, Cisco dots (`5254.00be.ef01`) or no separator, in either case.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let wrong = || MacError(text.to_owned());
        let trimmed = text.trim();
        let group = match () {
            () if trimmed.contains(':') => Some((':', 2)),
            () if trimmed.contains('-') => Some(('-', 2)),
            () if trimmed.contains('.') => Some(('.', 4)),
            () => None,
        };
        if let Some((separator, width)) = group
            && trimmed.split(separator).any(|part| part.len() != width)
        {
            return Err(wrong());
        }
        let digits: Vec<u8> = trimmed
            .chars()
            .filter(|c| group.is_none_or(|(separator, _)| *c != separator))
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?;
        if digits.len() != 12 {
            return Err(wrong());
        }
        let mut octets = [0; 6];
        for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
            *octet = pair[0] << 4 | pair[1];
        }
        Ok(Mac(octets))
    }
}

#[cfg(test)]
mod tests;
