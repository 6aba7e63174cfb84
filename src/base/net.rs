//! IPv4 networks and ranges. Addresses themselves are `std::net::Ipv4Addr`.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An address together with its prefix length: `172.16.0.254/24`. The address may be a host in the network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ipv4Net {
    address: Ipv4Addr,
    prefix: u8,
}

/// An inclusive range of addresses, first not above last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ipv4Range {
    first: u32,
    last: u32,
}

/// Says why a text is no network or range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    #[error("{0:?} is not an IPv4 network (expected ADDRESS/PREFIX such as 172.16.0.254/24)")]
    Net(String),
    #[error("{0:?} is not an IPv4 range (expected FIRST-LAST such as 172.16.0.200-172.16.0.250)")]
    Range(String),
}

impl Ipv4Net {
    /// None if the prefix is longer than 32 bits.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Ipv4Net> {
        (prefix <= 32).then_some(Ipv4Net { address, prefix })
    }

    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    #[must_use]
    pub fn netmask(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0))
    }

    /// The network's first address, its host bits zero.
    #[must_use]
    pub fn network(self) -> Ipv4Addr {
        self.address & self.netmask()
    }

    #[must_use]
    pub fn broadcast(self) -> Ipv4Addr {
        self.address | !self.netmask()
    }

    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address & self.netmask() == self.network()
    }

    /// True if `address` can be a host's: inside, and neither the network's nor the broadcast address
    /// (which /31 and /32 do not have, RFC 3021).
    #[must_use]
    pub fn is_host(self, address: Ipv4Addr) -> bool {
        self.contains(address)
            && (self.prefix >= 31 || (address != self.network() && address != self.broadcast()))
    }

    #[must_use]
    pub fn overlaps(self, other: Ipv4Net) -> bool {
        self.contains(other.network()) || other.contains(self.network())
    }
}

impl Ipv4Range {
    /// None if `first` lies above `last`.
    #[must_use]
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Option<Ipv4Range> {
        (first <= last).then_some(Ipv4Range { first: first.into(), last: last.into() })
    }

    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        self.first.into()
    }

    #[must_use]
    pub fn last(self) -> Ipv4Addr {
        self.last.into()
    }

    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address.into())
    }

    #[must_use]
    pub fn overlaps(self, other: Ipv4Range) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// Number of addresses, at least one.
    #[must_use]
    pub fn size(self) -> u64 {
        u64::from(self.last - self.first) + 1
    }

    /// All addresses in order.
    pub fn iter(self) -> impl Iterator<Item = Ipv4Addr> {
        (self.first..=self.last).map(Ipv4Addr::from)
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for Ipv4Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first(), self.last())
    }
}

impl FromStr for Ipv4Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let parse = || {
            let (address, prefix) = text.trim().split_once('/')?;
            Ipv4Net::new(address.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| NetError::Net(text.to_owned()))
    }
}

impl FromStr for Ipv4Range {
    type Err = NetError;

    /// `FIRST-LAST`, or one address alone.
    fn from_str(text: &str) -> Result<Self, NetError> {
        let parse = || {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            Ipv4Range::new(first.trim().parse().ok()?, last.trim().parse().ok()?)
        };
        parse().ok_or_else(|| NetError::Range(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use crate::base::{Ipv4Net, Ipv4Range};

    #[test]
    fn a_network_knows_its_edges() {
        let net: Ipv4Net = "192.0.2.254/24".parse().unwrap();
        assert_eq!(net.network().to_string(), "192.0.2.0");
        assert_eq!(net.broadcast().to_string(), "192.0.2.255");
        assert_eq!(net.netmask().to_string(), "255.255.255.0");
        assert!(net.is_host("192.0.2.1".parse().unwrap()));
        assert!(!net.is_host("192.0.2.255".parse().unwrap()));
        assert!(!net.contains("192.0.3.1".parse().unwrap()));
        let all: Ipv4Net = "0.0.0.0/0".parse().unwrap();
        assert_eq!(all.netmask().to_string(), "0.0.0.0");
        assert!(all.overlaps(net) && net.overlaps(all));
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in ["192.0.2.1", "192.0.2.1/33", "x/24", ""] {
            assert!(text.parse::<Ipv4Net>().is_err(), "{text}");
        }
        for text in ["192.0.2.9-192.0.2.1", "192.0.2.1-", "x"] {
            assert!(text.parse::<Ipv4Range>().is_err(), "{text}");
        }
        assert_eq!("192.0.2.1-192.0.2.3".parse::<Ipv4Range>().unwrap().size(), 3);
    }
}
