//! What happened lately, for people who watch. A ring: the oldest is forgotten, and losing an event loses no
//! truth. Writers never wait; each reader keeps its own place, and one that falls behind the ring is told so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::base::Timestamp;
use crate::base::limits::JOURNAL_EVENTS_MAX;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Rises, over restarts too: a journal starts at its microsecond since 1970.
    pub id: u64,
    pub time: Timestamp,
    /// `inventory`, `lease`, `sighting`, `boot` …
    pub kind: &'static str,
    /// The node that it is about, by name.
    pub node: Option<String>,
    /// For people.
    pub text: String,
    /// For programs.
    pub data: BTreeMap<&'static str, String>,
}

/// What is said of an event; the journal adds its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub time: Timestamp,
    pub kind: &'static str,
    pub node: Option<String>,
    pub text: String,
    pub data: BTreeMap<&'static str, String>,
}

/// What the watch says when nothing will come any more.
pub const CLOSED: u64 = u64::MAX;

/// The kinds of events.
pub const KINDS: [&str; 6] = ["boot", "inventory", "lease", "secret", "sighting", "trust"];

/// Events behind a place, or how many are gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    pub events: Vec<Arc<Event>>,
    /// True if events behind the place were forgotten before they were read.
    pub lost: bool,
    /// Where to go on.
    pub place: u64,
}

/// The journal. Clones share it.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    // A mutex, because writing is one push and reading one copy of pointers; never held across an await.
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

struct Ring {
    events: VecDeque<Arc<Event>>,
    next: u64,
    /// Number of the first event of this journal that was not forgotten.
    first: u64,
}

impl Journal {
    /// A journal that begins now.
    #[must_use]
    pub fn new(now: Timestamp) -> Journal {
        let next = now.0.saturating_mul(1000).max(1);
        let ring = Mutex::new(Ring { events: VecDeque::new(), next, first: next });
        Journal(Arc::new(Shared { ring, newest: watch::channel(next.saturating_sub(1)).0 }))
    }

    /// Writes an event down.
    pub fn write(&self, entry: Entry) {
        let Entry { time, kind, node, text, data } = entry;
        let id = {
            let mut ring = self.ring();
            let id = ring.next;
            ring.next = id.saturating_add(1);
            if ring.events.len() >= JOURNAL_EVENTS_MAX {
                ring.events.pop_front();
            }
            ring.events.push_back(Arc::new(Event { id, time, kind, node, text, data }));
            ring.first = ring.events.front().map_or(id, |event| event.id);
            id
        };
        self.0.newest.send_replace(id);
    }

    /// At most `limit` events behind the number `after`, in their order. Numbers of a former run of the daemon
    /// lie before all of this one's: reading goes on with its first, and says that something may be missing.
    #[must_use]
    pub fn after(&self, after: u64, limit: usize) -> Page {
        let ring = self.ring();
        let lost = after.saturating_add(1) < ring.first;
        // A number from the future, by a clock that was set back, must not hide what happens now.
        let after = after.max(ring.first.saturating_sub(1)).min(ring.next.saturating_sub(1));
        let from = ring.events.partition_point(|event| event.id <= after);
        let events: Vec<Arc<Event>> = ring.events.range(from..).take(limit).cloned().collect();
        let place = events.last().map_or(after, |event| event.id);
        Page { events, lost, place }
    }

    /// Number of the newest event; of the one before the first if there is none.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.ring().next.saturating_sub(1)
    }

    /// Ends all reading: the daemon stops.
    pub fn close(&self) {
        self.0.newest.send_replace(CLOSED);
    }

    /// Rises with each event, and is `CLOSED` at the end.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// An event of this kind.
    #[must_use]
    pub fn new(time: Timestamp, kind: &'static str, text: impl Into<String>) -> Entry {
        Entry { time, kind, node: None, text: text.into(), data: BTreeMap::new() }
    }

    /// About this node.
    #[must_use]
    pub fn node(self, node: Option<&str>) -> Entry {
        Entry { node: node.map(str::to_owned), ..self }
    }

    /// With this datum.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Entry {
        self.data.insert(name, value.to_string());
        self
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Timestamp;
    use crate::base::limits::JOURNAL_EVENTS_MAX;
    use crate::transport::journal::{Entry, Journal};

    fn entry(text: &str) -> Entry {
        Entry::new(Timestamp(0), "boot", text)
    }

    #[test]
    fn reading_goes_on_where_it_ended() {
        let journal = Journal::new(Timestamp(5));
        let start = journal.newest();
        for text in ["a", "b", "c"] {
            journal.write(entry(text));
        }
        let page = journal.after(start, 2);
        assert_eq!(page.events.iter().map(|event| event.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let rest = journal.after(page.events[1].id, 9);
        assert_eq!((rest.events.len(), rest.lost, rest.events[0].id), (1, false, journal.newest()));
        // Numbers of a later run lie behind all of this one's.
        assert!(Journal::new(Timestamp(6)).newest() > journal.newest());
    }

    #[test]
    fn the_ring_forgets_the_oldest_and_says_so() {
        let journal = Journal::new(Timestamp(5));
        let start = journal.newest();
        for number in 0..=JOURNAL_EVENTS_MAX {
            journal.write(entry(&number.to_string()));
        }
        let page = journal.after(start, usize::MAX);
        assert_eq!((page.events.len(), page.lost), (JOURNAL_EVENTS_MAX, true));
        assert_eq!(page.events[0].text, "1");
        assert!(!journal.after(page.events[0].id, 1).lost);
        assert!(journal.after(0, 1).lost, "what a former run wrote is gone");
    }
}
