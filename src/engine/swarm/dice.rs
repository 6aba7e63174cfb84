//! Seeded dice without a state: a throw depends on what it is for, not on how many came before it.

use crate::base::{Mac, Uuid};

/// What a throw decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Throw {
    Start,
    Firmware,
    Think,
    Transaction,
    Identity,
    /// A DHCP message on its way out, or in.
    DhcpOut,
    DhcpIn,
    TftpOut,
    TftpIn,
    /// Whether a download breaks, and where.
    Cut,
    CutAt,
}

/// The dice of one machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dice {
    seed: u64,
    machine: u32,
}

impl Dice {
    #[must_use]
    pub fn new(seed: u64, machine: u32) -> Dice {
        Dice { seed, machine }
    }

    /// Sixty-four bits for the `count`-th throw of a kind.
    #[must_use]
    pub fn throw(self, what: Throw, count: u64) -> u64 {
        let key = mix(self.seed) ^ (u64::from(self.machine) << 8 | what as u64);
        mix(mix(key) ^ count)
    }

    /// A number below `sides`, or zero without sides.
    #[must_use]
    pub fn below(self, what: Throw, count: u64, sides: u64) -> u64 {
        self.throw(what, count).checked_rem(sides).unwrap_or(0)
    }

    /// True in `per_million` of a million throws.
    #[must_use]
    pub fn hits(self, what: Throw, count: u64, per_million: u32) -> bool {
        self.below(what, count, 1_000_000) < u64::from(per_million)
    }

    /// The machine's UUID (random, RFC 9562 version 4).
    #[must_use]
    pub fn uuid(self) -> Uuid {
        let wide =
            u128::from(self.throw(Throw::Identity, 0)) << 64 | u128::from(self.throw(Throw::Identity, 1));
        let versioned = wide & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        Uuid(versioned.to_be_bytes())
    }
}

/// The hardware address of a machine, counted from the first one's.
#[must_use]
pub fn mac(first: Mac, machine: u32) -> Mac {
    let octets = first.0.iter().fold(0_u64, |value, octet| value << 8 | u64::from(*octet));
    let [_, _, a, b, c, d, e, f] = octets.wrapping_add(u64::from(machine)).to_be_bytes();
    Mac([a, b, c, d, e, f])
}

/// The machine that has a hardware address, if it lies at or behind the first one's.
#[must_use]
pub fn machine(first: Mac, mac: Mac) -> Option<u32> {
    let value = |mac: Mac| mac.0.iter().fold(0_u64, |value, octet| value << 8 | u64::from(*octet));
    u32::try_from(value(mac).checked_sub(value(first))?).ok()
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014) with its increment.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
