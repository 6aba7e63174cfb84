//! Downloads under way: who gets what, how fast, whose turn it is, and when it will be over. One book for all
//! listeners; it decides nothing itself, `engine::image::{gate,pace}` do.

pub mod traffic;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::base::limits::{STREAM_LABELS_MAX, STREAM_WAIT_MS};
use crate::base::{Digest, Ipv4Net, Millis, Timestamp};
use crate::engine::image::gate::{Entry, Gate, Manner, Place};
use crate::engine::image::pace::Bucket;
use crate::transport::clock::{now, steady};
use crate::transport::tasks::Tasks;

/// How often rates are measured.
const SAMPLE: Duration = Duration::from_secs(1);

/// Of a new sample and the rate so far, the sample counts one in this many: a rate follows within seconds.
const SMOOTHING: u64 = 4;

/// Files below this pass the gate: a kernel is through before its turn would be worked out.
const GATED_BYTES_MIN: u64 = 32 << 20;

/// How long a download is taken to last before the first has ended.
const FIRST_GUESS: Millis = Millis::from_secs(20);

/// Bounds of what a client is told to wait, in seconds: no hammering, no sleeping through its turn.
const RETRY_AFTER_S: (u64, u64) = (2, 60);

/// What is configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamSettings {
    /// Large downloads at a time.
    pub at_once: usize,
    /// Octets per second of all downloads.
    pub rate: Option<u64>,
    /// Octets per second of the downloads to one network.
    pub network_rates: Vec<(Ipv4Net, u64)>,
}

impl Default for StreamSettings {
    fn default() -> StreamSettings {
        StreamSettings { at_once: 256, rate: None, network_rates: Vec::new() }
    }
}

/// A download that ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    pub peer: IpAddr,
    pub label: Arc<str>,
    pub sent: u64,
    pub total: u64,
    pub duration: Millis,
}

/// Hears of every download that ended. Must not block.
pub type OnEnd = Arc<dyn Fn(Ended) + Send + Sync>;

/// The book of downloads. Clones share it.
#[derive(Clone)]
pub struct Streams(Arc<Shared>);

struct Shared {
    gate: Mutex<Door>,
    all: Option<tokio::sync::Mutex<Bucket>>,
    networks: Vec<(Ipv4Net, tokio::sync::Mutex<Bucket>)>,
    // Locks and not a task with messages: opening and closing are one insertion each, and sending counts without.
    book: Mutex<Book>,
    on_end: OnEnd,
}

struct Door {
    gate: Gate,
    waiting: HashMap<Place, oneshot::Sender<()>>,
    at_once: usize,
    /// How long a large download lasts, lately.
    lasts: Millis,
}

#[derive(Default)]
struct Book {
    streams: HashMap<u64, Arc<Record>>,
    next: u64,
    labels: BTreeMap<Arc<str>, (u64, u64)>,
}

struct Record {
    peer: IpAddr,
    label: Arc<str>,
    digest: Option<Digest>,
    total: u64,
    since: Timestamp,
    sent: AtomicU64,
    rate: AtomicU64,
    /// `sent` at the last sample.
    sampled: AtomicU64,
    waiting: AtomicBool,
}

/// One download; it leaves the book when it is dropped.
pub struct Stream {
    shared: Arc<Shared>,
    id: u64,
    record: Arc<Record>,
    opened: Timestamp,
    /// When it was let through the gate; it must say when it is done.
    admitted: OnceLock<Timestamp>,
    /// Its client was told to come back: that is no end of a download.
    sent_away: AtomicBool,
}

/// The line is long: come back after so many seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryAfter(pub u64);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Streams {
    #[must_use]
    pub fn new(settings: &StreamSettings, on_end: OnEnd) -> Streams {
        let bucket = |rate: u64| tokio::sync::Mutex::new(Bucket::new(rate, steady()));
        let gate = Gate::new(settings.at_once);
        let door =
            Door { gate, waiting: HashMap::new(), at_once: settings.at_once.max(1), lasts: FIRST_GUESS };
        Streams(Arc::new(Shared {
            gate: Mutex::new(door),
            all: settings.rate.map(bucket),
            networks: settings.network_rates.iter().map(|(net, rate)| (*net, bucket(*rate))).collect(),
            book: Mutex::default(),
            on_end,
        }))
    }

    /// Measures rates until the daemon stops.
    pub fn start(&self, tasks: &Tasks) {
        let (shared, inner) = (Arc::clone(&self.0), tasks.clone());
        tasks.spawn("stream-rates", async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(SAMPLE) => shared.sample(),
                    () = inner.stopping() => return,
                }
            }
        });
    }

    /// Enters a download of `total` octets.
    #[must_use]
    pub fn open(&self, peer: IpAddr, label: &str, digest: Option<Digest>, total: u64) -> Stream {
        let mut book = lock(&self.0.book);
        let label = match book.labels.get_key_value(label) {
            Some((label, _)) => Arc::clone(label),
            None => Arc::from(label),
        };
        if book.labels.len() >= STREAM_LABELS_MAX && !book.labels.contains_key(&label) {
            book.labels.pop_first(); // its counts are forgotten, no download is
        }
        book.labels.entry(Arc::clone(&label)).or_default();
        let record = Arc::new(Record {
            peer: peer.to_canonical(),
            label,
            digest,
            total,
            since: now(),
            sent: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            sampled: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
        });
        book.next = book.next.wrapping_add(1);
        let id = book.next;
        book.streams.insert(id, Arc::clone(&record));
        let (shared, opened) = (Arc::clone(&self.0), steady());
        Stream { shared, id, record, opened, admitted: OnceLock::new(), sent_away: AtomicBool::new(false) }
    }

    /// To whom something is on its way.
    #[must_use]
    pub fn peers(&self) -> HashSet<IpAddr> {
        lock(&self.0.book).streams.values().map(|record| record.peer).collect()
    }

    /// Content that is on its way to somebody.
    #[must_use]
    pub fn digests(&self) -> BTreeSet<Digest> {
        lock(&self.0.book).streams.values().filter_map(|record| record.digest).collect()
    }
}

impl Shared {
    fn sample(&self) {
        for record in lock(&self.book).streams.values() {
            let sent = record.sent.load(Ordering::Relaxed);
            let gained = sent.saturating_sub(record.sampled.swap(sent, Ordering::Relaxed));
            let rate = record.rate.load(Ordering::Relaxed);
            // The first sample counts whole.
            let rate = if rate == 0 {
                gained
            } else {
                (rate.saturating_mul(SMOOTHING - 1).saturating_add(gained)) / SMOOTHING
            };
            record.rate.store(rate, Ordering::Relaxed);
        }
    }

    /// Lets in whoever is next, as long as that one is still there.
    fn pass_on(door: &mut Door) {
        let mut next = door.gate.on_done();
        while let Some(place) = next {
            match door.waiting.remove(&place).map(|waiter| waiter.send(())) {
                Some(Ok(())) => return,
                Some(Err(())) | None => next = door.gate.on_done(), // it went away meanwhile
            }
        }
    }
}

impl Stream {
    /// Waits for this download's turn. Small ones pass.
    ///
    /// # Errors
    /// The line is so long that the client should come back; its place is kept.
    pub async fn turn(&self, manner: Manner) -> Result<(), RetryAfter> {
        let turn = self.wait_in_line(manner).await;
        self.record.waiting.store(false, Ordering::Relaxed);
        self.sent_away.store(turn.is_err(), Ordering::Relaxed);
        turn
    }

    async fn wait_in_line(&self, manner: Manner) -> Result<(), RetryAfter> {
        if self.record.total < GATED_BYTES_MIN {
            return Ok(());
        }
        let (place, mut called) = {
            let mut door = lock(&self.shared.gate);
            match door.gate.on_arrival(self.record.peer, manner, steady()) {
                Entry::Now => {
                    self.admitted.get_or_init(steady);
                    return Ok(());
                }
                Entry::Full => return Err(RetryAfter(RETRY_AFTER_S.1)),
                Entry::Wait(place) => {
                    let (call, called) = oneshot::channel();
                    door.waiting.insert(place, call);
                    (place, called)
                }
            }
        };
        self.record.waiting.store(true, Ordering::Relaxed);
        let mut line = InLine { stream: self, place: Some(place) };
        loop {
            let call = tokio::time::timeout(Duration::from_millis(STREAM_WAIT_MS), &mut called).await;
            if call.is_ok() {
                line.place = None;
                self.admitted.get_or_init(steady);
                return Ok(());
            }
            if manner == Manner::ComesBack
                && let Some(pause) = line.send_away()
            {
                return Err(pause);
            }
        }
    }

    /// Waits until so many octets may leave.
    pub async fn pace(&self, octets: u64) {
        let shared = &self.shared;
        let near = shared.networks.iter().find(|(net, _)| match self.record.peer {
            IpAddr::V4(peer) => net.contains(peer),
            IpAddr::V6(_) => false,
        });
        for bucket in near.map(|(_, bucket)| bucket).into_iter().chain(&shared.all) {
            // Held while waiting: whoever comes next stands behind, so that all get their chunk in turn.
            let mut bucket = bucket.lock().await;
            while let Err(wait) = bucket.take(octets, steady()) {
                tokio::time::sleep(Duration::from_millis(wait.0)).await;
            }
        }
    }

    /// True if a rate limit concerns this download.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        self.shared.all.is_some() || !self.shared.networks.is_empty()
    }

    /// So many octets left.
    pub fn sent(&self, octets: u64) {
        self.record.sent.fetch_add(octets, Ordering::Relaxed);
    }
}

/// A place in line; given up if the client goes away meanwhile.
struct InLine<'a> {
    stream: &'a Stream,
    place: Option<Place>,
}

impl InLine<'_> {
    /// Tells how long the client should stay away, unless its turn is near or has come.
    fn send_away(&mut self) -> Option<RetryAfter> {
        let place = self.place?;
        let mut door = lock(&self.stream.shared.gate);
        let rounds = door.gate.before(place) / door.at_once;
        let wait = door.lasts.0.saturating_mul(u64::try_from(rounds).unwrap_or(u64::MAX));
        if wait <= STREAM_WAIT_MS {
            return None;
        }
        let pause = (wait / 1000).clamp(RETRY_AFTER_S.0, RETRY_AFTER_S.1);
        if !door.gate.on_sent_away(place, Millis::from_secs(pause), steady()) {
            return None;
        }
        door.waiting.remove(&place);
        self.place = None;
        Some(RetryAfter(pause))
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        let mut door = lock(&self.stream.shared.gate);
        if door.waiting.remove(&place).is_some() {
            door.gate.on_gone(place);
        } else {
            Shared::pass_on(&mut door); // it was called and did not hear it
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let sent = self.record.sent.load(Ordering::Relaxed);
        let whole = sent >= self.record.total;
        if let Some(admitted) = self.admitted.get() {
            let mut door = lock(&self.shared.gate);
            if whole {
                // Without the time in line: who waits would make the line look longer.
                let lasted = steady().since(*admitted).0;
                door.lasts = Millis((door.lasts.0.saturating_mul(3).saturating_add(lasted)) / 4);
            }
            Shared::pass_on(&mut door);
        }
        let sent_away = self.sent_away.load(Ordering::Relaxed);
        {
            let mut book = lock(&self.shared.book);
            book.streams.remove(&self.id);
            if let Some((done, broken)) = book.labels.get_mut(&self.record.label).filter(|_| !sent_away) {
                let count = if whole { done } else { broken };
                *count = count.saturating_add(1);
            }
        }
        if !sent_away {
            let (peer, label) = (self.record.peer, Arc::clone(&self.record.label));
            let duration = steady().since(self.opened);
            (self.shared.on_end)(Ended { peer, label, sent, total: self.record.total, duration });
        }
    }
}

#[cfg(test)]
mod tests;
