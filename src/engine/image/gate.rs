//! Who may download now. At most so many large files leave the head at a time, first come, first served; the
//! others wait, or are told when to come back and keep their place.
//!
//! Why not all at once: n equal downloads that share a link all end at the end. One after the other the last ends
//! no later, and the mean is half of that; and a thousand TCP flows on one port lose packets to each other. So a
//! few hundred at a time, enough to fill the link with slow clients too, and the rest in line.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::base::limits::GATE_PLACES_MAX;
use crate::base::{Millis, Timestamp};

/// A place in line: the lower, the sooner it is its turn. A number and not a time: clocks are set.
pub type Place = u64;

/// What a client does while nothing comes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Manner {
    /// It waits as long as it takes, or nobody knows.
    #[default]
    Waits,
    /// It comes back when it is told to (`Retry-After`).
    ComesBack,
    /// It gives up within seconds.
    GivesUp,
}

/// Manners by the beginning of `User-Agent`. iPXE asks again after any 503 that says when (core/http); curl does
/// with `--retry`, which dracut and our hook use. UEFI waits 5 s for each read (edk2 HttpBootDxe; shim calls itself
/// the same), GRUB 30 s for the head of the answer (net/http.c).
const MANNERS: [(&str, Manner); 4] = [
    ("iPXE/", Manner::ComesBack),
    ("curl/", Manner::ComesBack),
    ("UefiHttpBoot/", Manner::GivesUp),
    ("GRUB ", Manner::GivesUp),
];

/// What a newcomer gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// It may go ahead, and must say `done` afterwards.
    Now,
    /// It waits here until `done` of somebody else names its place.
    Wait(Place),
    /// The line is full.
    Full,
}

/// The place of somebody who was sent away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kept {
    place: Place,
    until: Timestamp,
}

/// The gate. Time is that of a clock that is never set.
#[derive(Clone, Debug)]
pub struct Gate {
    max: usize,
    running: usize,
    /// Who waits on its connection.
    line: BTreeMap<Place, IpAddr>,
    /// Who was sent away; one place for each address.
    away: HashMap<IpAddr, Kept>,
    /// The same by the time until which places are kept.
    ends: BTreeSet<(Timestamp, IpAddr)>,
    next: Place,
}

impl Manner {
    /// The manner of a client by what it calls itself.
    #[must_use]
    pub fn of(user_agent: &str) -> Manner {
        let known = MANNERS.iter().find(|(name, _)| user_agent.starts_with(name));
        known.map_or_else(Manner::default, |(_, manner)| *manner)
    }
}

impl Gate {
    /// A gate for `max` downloads at a time.
    #[must_use]
    pub fn new(max: usize) -> Gate {
        Gate {
            max: max.max(1),
            running: 0,
            line: BTreeMap::new(),
            away: HashMap::new(),
            ends: BTreeSet::new(),
            next: 0,
        }
    }

    /// Somebody wants to download. Who was sent away before comes back to its place. Who would give up is let
    /// through, whoever else waits: its boot would fail, while the others lose one share among many.
    pub fn on_arrival(&mut self, who: IpAddr, manner: Manner, now: Timestamp) -> Entry {
        self.forget(now);
        let place = match self.take_kept(who) {
            Some(kept) => kept.place,
            None => {
                self.next = self.next.saturating_add(1);
                self.next
            }
        };
        let first = self.line.first_key_value().is_none_or(|(other, _)| place < *other);
        if manner == Manner::GivesUp || self.running < self.max && first {
            self.running = self.running.saturating_add(1);
            return Entry::Now;
        }
        if self.count().1 >= GATE_PLACES_MAX {
            return Entry::Full;
        }
        self.line.insert(place, who);
        Entry::Wait(place)
    }

    /// A download ended. Whose turn is it? It may go ahead and must say `done` in its turn.
    pub fn on_done(&mut self) -> Option<Place> {
        self.running = self.running.saturating_sub(1);
        if self.running >= self.max {
            return None;
        }
        let (place, _) = self.line.pop_first()?;
        self.running = self.running.saturating_add(1);
        Some(place)
    }

    /// Who waited here is gone.
    pub fn on_gone(&mut self, place: Place) {
        self.line.remove(&place);
    }

    /// Who waited here is told to come back after `pause`; its place is kept twice as long. Answers false if it
    /// is its turn already.
    pub fn on_sent_away(&mut self, place: Place, pause: Millis, now: Timestamp) -> bool {
        let Some(who) = self.line.remove(&place) else { return false };
        // Several behind one address share the best place of theirs.
        let place = self.take_kept(who).map_or(place, |kept| kept.place.min(place));
        let until = now.plus(pause).plus(pause);
        self.away.insert(who, Kept { place, until });
        self.ends.insert((until, who));
        true
    }

    /// How many stand before this place, those included who were sent away.
    #[must_use]
    pub fn before(&self, place: Place) -> usize {
        let away = self.away.values().filter(|kept| kept.place < place).count();
        self.line.range(..place).count().saturating_add(away)
    }

    /// How many download, and how many stand in line.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.running, self.line.len().saturating_add(self.away.len()))
    }

    fn take_kept(&mut self, who: IpAddr) -> Option<Kept> {
        let kept = self.away.remove(&who)?;
        self.ends.remove(&(kept.until, who));
        Some(kept)
    }

    /// Places of those who did not come back.
    fn forget(&mut self, now: Timestamp) {
        while let Some((_, who)) = self.ends.first().filter(|(until, _)| *until <= now).copied() {
            self.take_kept(who);
        }
    }
}

#[cfg(test)]
mod tests;
