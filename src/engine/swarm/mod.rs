//! The swarm: machines that boot against any boot server, to size a site before it is bought and to load a head
//! before it must bear it. Pure: each machine is an automaton; `transport/swarm` carries out what it says.
//!
//! **Invariant:** what a machine decides by chance (which packet is lost, how long it thinks) depends on the
//! seed, its number and what the throw is for, never on how many throws came before; so the same seed gives the
//! same plan whatever the timing of the run.
//!
//! Absent on purpose: proxy DHCP and boot menus, IPv6, the protocols of BMCs. A machine takes the first OFFER at
//! once, where edk2 collects offers for up to four seconds: the harder case for a server.

mod dhcp;
pub mod dice;
pub mod fetch;
pub mod machine;
pub mod report;
pub mod scenario;
pub mod script;
pub mod tftp;

pub use dice::Dice;
pub use fetch::{Fetch, Fetched, Source};
pub use machine::{Machine, Step};
pub use report::{Passed, Reason, Report, Stage};
pub use scenario::{Firmware, Pace, Scenario};

use std::fmt;

/// A point in time of a run: microseconds since its start. Finer than `base::Timestamp`, because an answer of
/// DHCP takes a fraction of a millisecond.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(pub u64);

/// A span of a run in microseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Micros(pub u64);

impl Micros {
    #[must_use]
    pub const fn from_millis(millis: u64) -> Micros {
        Micros(millis.saturating_mul(1000))
    }

    #[must_use]
    pub const fn from_secs(seconds: u64) -> Micros {
        Micros(seconds.saturating_mul(1_000_000))
    }
}

impl Moment {
    /// The span since `earlier`; zero if that lies in the future.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }

    #[must_use]
    pub fn after(self, span: Micros) -> Moment {
        Moment(self.0.saturating_add(span.0))
    }
}

impl fmt::Display for Micros {
    /// Three digits or so, in the unit that people would take.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Micros(micros) = *self;
        match micros {
            0..10_000 => write!(f, "{}.{:02} ms", micros / 1000, micros % 1000 / 10),
            10_000..1_000_000 => write!(f, "{} ms", micros / 1000),
            _ => write!(f, "{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
        }
    }
}

#[cfg(test)]
mod tests;
