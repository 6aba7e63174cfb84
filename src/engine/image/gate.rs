//! Who may download now. At most so many large files leave the head at a time, first come, first served; the
//! others wait, or are told when to come back and keep their place.
//!
//! Why not all at once: n equal downloads that share a link all end at the end. One after the other the last ends
//! no later, and the mean is half of that; and a thousand TCP flows on one port lose packets to each other. So a
//! few hundred at a time, enough to fill the link with slow clients too, and the rest in line.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::base::limits::GATE_PLACES_MAX;
use crate::base::{Millis, Timestamp};

/// A place in line: the earlier, the sooner it is its turn.
pub type Place = (Timestamp, u64);

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

/// Somebody in line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Waiter {
    who: IpAddr,
    /// None: it waits on its connection. Else it was sent away and its place is kept until then.
    away_until: Option<Timestamp>,
}

/// The gate.
#[derive(Clone, Debug)]
pub struct Gate {
    max: usize,
    running: usize,
    line: BTreeMap<Place, Waiter>,
    /// Places kept for those who were sent away.
    kept: HashMap<IpAddr, Place>,
    next: u64,
}

impl Gate {
    /// A gate for `max` downloads at a time.
    #[must_use]
    pub fn new(max: usize) -> Gate {
        Gate { max: max.max(1), running: 0, line: BTreeMap::new(), kept: HashMap::new(), next: 0 }
    }

    /// Somebody wants to download. Who was sent away before comes back to its place.
    pub fn on_arrival(&mut self, who: IpAddr, now: Timestamp) -> Entry {
        self.forget(now);
        let place = match self.kept.remove(&who) {
            Some(place) => {
                self.line.remove(&place);
                place
            }
            None => {
                self.next = self.next.saturating_add(1);
                (now, self.next)
            }
        };
        let first = self.line.iter().find(|(_, waiter)| waiter.away_until.is_none());
        if self.running < self.max && first.is_none_or(|(other, _)| place < *other) {
            self.running = self.running.saturating_add(1);
            return Entry::Now;
        }
        if self.line.len() >= GATE_PLACES_MAX {
            return Entry::Full;
        }
        self.line.insert(place, Waiter { who, away_until: None });
        Entry::Wait(place)
    }

    /// A download ended. Whose turn is it? It may go ahead and must say `done` in its turn.
    pub fn on_done(&mut self) -> Option<Place> {
        self.running = self.running.saturating_sub(1);
        self.admit()
    }

    /// Who waited here is gone.
    pub fn on_gone(&mut self, place: Place) {
        self.line.remove(&place);
    }

    /// Who waited here is told to come back after `pause`; its place is kept twice as long. Answers false if it
    /// is its turn already.
    pub fn on_sent_away(&mut self, place: Place, pause: Millis, now: Timestamp) -> bool {
        let Some(waiter) = self.line.get_mut(&place) else { return false };
        waiter.away_until = Some(now + pause + pause);
        self.kept.insert(waiter.who, place);
        true
    }

    /// How many stand before this place.
    #[must_use]
    pub fn before(&self, place: Place) -> usize {
        self.line.range(..place).count()
    }

    /// How many download, and how many stand in line.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        (self.running, self.line.len())
    }

    fn admit(&mut self) -> Option<Place> {
        if self.running >= self.max {
            return None;
        }
        let (place, _) = self.line.iter().find(|(_, waiter)| waiter.away_until.is_none())?;
        let place = *place;
        self.line.remove(&place);
        self.running = self.running.saturating_add(1);
        Some(place)
    }

    /// Places of those who did not come back.
    fn forget(&mut self, now: Timestamp) {
        // Only the front is looked at: who is away there holds up nobody, and the rest is looked at later.
        while let Some((place, waiter)) = self.line.first_key_value() {
            if waiter.away_until.is_none_or(|until| until > now) {
                return;
            }
            let place = *place;
            if let Some(waiter) = self.line.remove(&place) {
                self.kept.remove(&waiter.who);
            }
        }
    }
}

#[cfg(test)]
mod tests;
