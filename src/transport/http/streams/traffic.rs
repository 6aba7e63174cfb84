//! The downloads under way as people look at them: by file, with rates, and when it will be over.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::base::{Millis, Timestamp};
use crate::transport::http::streams::{Record, Streams, lock};

/// The downloads of one file.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Traffic {
    pub label: String,
    pub streams: Vec<StreamFacts>,
    /// Downloads since the start of the head: whole ones, and those that broke off.
    pub done: u64,
    pub broken: u64,
    /// Octets per second.
    pub rate: u64,
    /// When those under way and in line will be over; none if nothing moves.
    pub over_in: Option<Millis>,
}

/// One download under way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamFacts {
    pub peer: IpAddr,
    pub sent: u64,
    pub total: u64,
    /// Octets per second.
    pub rate: u64,
    pub since: Timestamp,
    /// It stands in line.
    pub waiting: bool,
}

impl Streams {
    /// All downloads, by label.
    #[must_use]
    pub fn traffic(&self) -> Vec<Traffic> {
        let book = lock(&self.0.book);
        let mut traffic: BTreeMap<Arc<str>, Traffic> = BTreeMap::new();
        for (label, (done, broken)) in &book.labels {
            let fresh =
                Traffic { label: label.to_string(), done: *done, broken: *broken, ..Traffic::default() };
            traffic.insert(Arc::clone(label), fresh);
        }
        for record in book.streams.values() {
            let one = traffic.entry(Arc::clone(&record.label)).or_default();
            one.label = record.label.to_string();
            let facts = record.facts();
            one.rate = one.rate.saturating_add(facts.rate);
            one.streams.push(facts);
        }
        drop(book);
        let mut traffic: Vec<Traffic> = traffic.into_values().collect();
        for one in &mut traffic {
            one.streams.sort_by_key(|stream| (stream.since, stream.peer));
            let left: u64 = one.streams.iter().map(|stream| stream.total.saturating_sub(stream.sent)).sum();
            one.over_in = left
                .saturating_mul(1000)
                .checked_div(one.rate)
                .filter(|_| !one.streams.is_empty())
                .map(Millis);
        }
        traffic
    }
}

impl Record {
    fn facts(&self) -> StreamFacts {
        StreamFacts {
            peer: self.peer,
            sent: self.sent.load(Ordering::Relaxed),
            total: self.total,
            rate: self.rate.load(Ordering::Relaxed),
            since: self.since,
            waiting: self.waiting.load(Ordering::Relaxed),
        }
    }
}
