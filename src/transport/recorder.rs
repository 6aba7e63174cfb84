//! The recorder's shell: what the rest of the head saw comes in by a bounded queue, one task owns the book, and
//! records go to the store in groups.
//!
//! The task does not wait for the queue: it looks ten times a second, so that whoever answers packets never wakes
//! a thread to tell of it. Full queue: what was seen is dropped, counted, and records say that something is missing.

mod packets;

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::base::counter::Counter;
use crate::base::limits::{
    CAPTURES_STORED_MAX, RECORD_QUESTIONS, RECORD_QUEUE_PLACES, RECORD_ROUND, RECORD_WRITES_MAX,
};
use crate::base::{Mac, Timestamp};
use crate::engine::record::{Book, Evidence, Keep, News, Siblings, What, Who, Write};
use crate::model::boot_record::Outcome;
use crate::model::{BootRecord, SnapshotCell};
use crate::store::{Boots, Observation, Store};
use crate::transport::clock::now;
use crate::transport::journal::{Entry, Journal};
use crate::transport::tasks::Tasks;

pub use packets::{Datagram, Exchange, Packets};

/// How often the task looks at its queue and its deadlines.
const TICK: Duration = Duration::from_millis(100);

/// Ticks between two looks for records that are too old.
const SWEEP_TICKS: u32 = 36_000;

/// Ticks between two words in the log about what was dropped.
const LOSS_TICKS: u32 = 600;

/// Which addresses a file is on its way to.
pub type Busy = Arc<dyn Fn() -> HashSet<IpAddr> + Send + Sync>;

/// What was seen, with the packets that show it.
struct Told {
    evidence: Evidence,
    exchange: Option<Box<Exchange>>,
}

/// A question to the task.
enum Question {
    Latest(oneshot::Sender<Vec<BootRecord>>),
    Of(Vec<Mac>, oneshot::Sender<Vec<Answer>>),
    Behind(Ipv4Addr, oneshot::Sender<Option<Mac>>),
    Packets(Mac, Timestamp, oneshot::Sender<Option<Vec<u8>>>),
}

/// The latest attempt of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    pub record: BootRecord,
    /// The attempt before, if it failed.
    pub before: Option<BootRecord>,
    pub siblings: Siblings,
}

/// What the recorder counts.
#[derive(Debug, Default)]
pub struct RecorderCounters {
    pub seen: Counter,
    /// Dropped, because the queue was full.
    pub dropped: Counter,
}

/// Where the rest of the head tells what it saw, and asks. Clones share it.
#[derive(Clone)]
pub struct Recorder {
    told: mpsc::Sender<Told>,
    questions: mpsc::Sender<Question>,
    pub counters: Arc<RecorderCounters>,
}

/// The other end, until it is started.
pub struct Inbox {
    told: mpsc::Receiver<Told>,
    questions: mpsc::Receiver<Question>,
    counters: Arc<RecorderCounters>,
}

/// What the task is made of.
pub struct Parts {
    pub snapshot: Arc<SnapshotCell>,
    pub store: Store,
    pub journal: Journal,
    pub keep: Keep,
    /// As loaded from the store.
    pub boots: Boots,
    pub busy: Busy,
}

/// The recorder does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the recorder is not running")]
pub struct NotRunning;

impl Recorder {
    /// Both ends.
    #[must_use]
    pub fn pair() -> (Recorder, Inbox) {
        let (told, inbox) = mpsc::channel(RECORD_QUEUE_PLACES);
        let (questions, asked) = mpsc::channel(RECORD_QUESTIONS);
        let counters = Arc::new(RecorderCounters::default());
        let recorder = Recorder { told, questions, counters: Arc::clone(&counters) };
        (recorder, Inbox { told: inbox, questions: asked, counters })
    }

    /// One that hears nothing.
    #[must_use]
    pub fn idle() -> Recorder {
        Recorder::pair().0
    }

    /// Tells what was seen of the machine with this address. Never waits.
    pub fn saw(&self, address: Option<IpAddr>, what: What) {
        if let Some(IpAddr::V4(address)) = address.map(|address| address.to_canonical()) {
            self.tell(Who::Address(address), what, None);
        }
    }

    /// Tells what was seen of the machine with this hardware address. Never waits.
    pub fn saw_mac(&self, mac: Mac, what: What) {
        self.tell(Who::Mac(mac), what, None);
    }

    /// The same, with the packets that show it.
    pub fn saw_exchange(&self, mac: Mac, what: What, exchange: Exchange) {
        self.tell(Who::Mac(mac), what, Some(Box::new(exchange)));
    }

    fn tell(&self, who: Who, what: What, exchange: Option<Box<Exchange>>) {
        let told = Told { evidence: Evidence { at: now(), who, what }, exchange };
        if self.told.try_send(told).is_err() {
            self.counters.dropped.raise();
        }
    }

    /// The latest attempt of every interface.
    pub async fn latest(&self) -> Result<Vec<BootRecord>, NotRunning> {
        self.ask(Question::Latest).await
    }

    /// The latest attempts of these interfaces.
    pub async fn of(&self, macs: Vec<Mac>) -> Result<Vec<Answer>, NotRunning> {
        self.ask(|reply| Question::Of(macs, reply)).await
    }

    /// Whose this address is, as far as is known from the wire.
    pub async fn behind(&self, address: Ipv4Addr) -> Result<Option<Mac>, NotRunning> {
        self.ask(|reply| Question::Behind(address, reply)).await
    }

    /// The packets of an attempt that are in memory, as a capture.
    pub async fn packets(&self, mac: Mac, started: Timestamp) -> Result<Option<Vec<u8>>, NotRunning> {
        self.ask(|reply| Question::Packets(mac, started, reply)).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, NotRunning> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(question(reply)).await.map_err(|_| NotRunning)?;
        answer.await.map_err(|_| NotRunning)
    }
}

/// The task's own state.
struct Task {
    book: Book,
    packets: Packets,
    inbox: Inbox,
    snapshot: Arc<SnapshotCell>,
    store: Store,
    journal: Journal,
    busy: Busy,
    /// Failed attempts whose packets are on the disk, the oldest first.
    captures: VecDeque<(Mac, Timestamp)>,
    /// What the store was too busy for.
    unwritten: Vec<Write>,
    dropped: u64,
    complained: u64,
}

impl Inbox {
    /// Starts the task.
    pub fn start(self, parts: Parts, tasks: &Tasks) {
        let Parts { snapshot, store, journal, keep, boots, busy } = parts;
        let Boots { latest, mut with_packets } = boots;
        with_packets.sort_by_key(|(_, started)| *started);
        let mut task = Task {
            book: Book::new(keep, latest, now()),
            packets: Packets::default(),
            inbox: self,
            snapshot,
            store,
            journal,
            busy,
            captures: with_packets.into(),
            unwritten: Vec::new(),
            dropped: 0,
            complained: 0,
        };
        let stop = tasks.token();
        tasks.spawn("recorder", async move {
            tokio::select! {
                () = task.run() => {}
                () = stop.cancelled() => task.end(),
            }
        });
    }
}

impl Task {
    async fn run(&mut self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = 0_u32;
        loop {
            // Both are cancel-safe: an interval and a channel.
            tokio::select! {
                _ = ticks.tick() => {
                    count = count.wrapping_add(1);
                    self.tick(count);
                    // A storm's share of a tick is taken in by rounds, between which others have their turn.
                    while self.take_in() == RECORD_ROUND {
                        tokio::task::yield_now().await;
                    }
                }
                question = self.inbox.questions.recv() => match question {
                    Some(question) => {
                        while self.take_in() == RECORD_ROUND {}
                        self.answer(question);
                    }
                    None => return,
                },
            }
        }
    }

    /// Takes in what was seen, at most a round of it. Returns how much.
    fn take_in(&mut self) -> usize {
        let snapshot = self.snapshot.load();
        let mut count = 0;
        while count < RECORD_ROUND {
            let Ok(Told { evidence, exchange }) = self.inbox.told.try_recv() else { break };
            count += 1;
            let mac = self.book.on_evidence(&evidence, &snapshot);
            if let (Some(mac), Some(exchange)) = (mac, exchange)
                && let Some((record, _)) = self.book.of(mac)
            {
                self.packets.keep(mac, record.started, evidence.at, *exchange);
            }
        }
        self.inbox.counters.seen.add(u64::try_from(count).unwrap_or(u64::MAX));
        count
    }

    fn tick(&mut self, count: u32) {
        let now = now();
        let dropped = self.inbox.counters.dropped.value();
        if dropped > self.dropped {
            self.book.on_lost(dropped - self.dropped);
            self.dropped = dropped;
        }
        if count.is_multiple_of(LOSS_TICKS) && dropped > self.complained {
            tracing::warn!(
                dropped = dropped - self.complained,
                "the recorder was too busy and missed things"
            );
            self.complained = dropped;
        }
        if self.book.next_deadline().is_some_and(|deadline| deadline <= now) {
            let busy = (self.busy)();
            self.book.on_deadline(now, |address| busy.contains(&IpAddr::V4(address)));
        }
        while let Some(news) = self.book.poll_news() {
            self.journal.write(entry(&news));
        }
        if count.is_multiple_of(SWEEP_TICKS) {
            self.book.sweep(now);
        }
        self.write(now);
    }

    fn write(&mut self, now: Timestamp) {
        if self.unwritten.is_empty() {
            self.unwritten = self.book.poll_writes(now, RECORD_WRITES_MAX);
        }
        if self.unwritten.is_empty() {
            return;
        }
        let mut observations = Vec::with_capacity(self.unwritten.len());
        let mut kept = Vec::new();
        for write in &self.unwritten {
            match write {
                Write::Put(record)
                    if matches!(record.outcome, Outcome::Up | Outcome::Settled | Outcome::Dropped) =>
                {
                    self.packets.forget(record.mac, record.started);
                    observations.push(Observation::PutBoot(record.clone()));
                }
                Write::Put(record) => {
                    observations.push(Observation::PutBoot(record.clone()));
                    if record.outcome == Outcome::Failed
                        && let Some(capture) = self.packets.capture(record.mac, record.started)
                    {
                        kept.push((record.mac, record.started));
                        observations.push(Observation::PutPackets(record.mac, record.started, capture));
                    }
                }
                Write::Forget(mac, started) => observations.push(Observation::RemoveBoot(*mac, *started)),
            }
        }
        kept.retain(|capture| !self.captures.contains(capture));
        let over = (self.captures.len() + kept.len()).saturating_sub(CAPTURES_STORED_MAX);
        let gone = self.captures.iter().take(over);
        observations.extend(gone.map(|(mac, started)| Observation::RemovePackets(*mac, *started)));
        // Nobody waits for it; if the store is busy it is tried again at the next tick.
        if self.store.observe(observations).is_ok() {
            self.unwritten.clear();
            self.captures.extend(kept);
            self.captures.drain(..over.min(self.captures.len()));
        }
    }

    /// Takes in and writes down what there is: the daemon stops.
    fn end(&mut self) {
        while self.take_in() == RECORD_ROUND {}
        self.book.hurry();
        loop {
            self.write(now());
            // What a busy store refuses now is lost with the daemon; the record before it stays.
            if !self.unwritten.is_empty() || self.book.poll_is_done() {
                return;
            }
        }
    }

    fn answer(&self, question: Question) {
        // Whoever asked may be gone; that is its business.
        match question {
            Question::Latest(reply) => drop(reply.send(self.book.latest().cloned().collect())),
            Question::Behind(address, reply) => drop(reply.send(self.book.behind(address))),
            Question::Packets(mac, started, reply) => {
                drop(reply.send(self.packets.capture(mac, started)));
            }
            Question::Of(macs, reply) => {
                let answer = |mac: Mac| {
                    let (record, before) = self.book.of(mac)?;
                    let phase = record.verdict.as_ref().map(|verdict| verdict.phase);
                    let siblings = Siblings::count(record, phase, self.book.latest());
                    Some(Answer { record: record.clone(), before: before.cloned(), siblings })
                };
                let _ = reply.send(macs.into_iter().filter_map(answer).collect());
            }
        }
    }
}

/// What the journal is told of an end.
fn entry(news: &News) -> Entry {
    let News { at, mac, node, took, failed } = news;
    let who = node.clone().unwrap_or_else(|| mac.to_string());
    let text = match failed {
        None => format!("{who} is up after {} s", took.as_secs()),
        Some(verdict) => {
            format!(
                "{who} did not boot, {} at {}: {}",
                verdict.sure,
                verdict.phase.sentence(),
                verdict.summary
            )
        }
    };
    let entry = Entry::new(*at, "boot", text).node(node.as_deref()).with("mac", mac);
    match failed {
        None => entry.with("outcome", Outcome::Up),
        Some(verdict) => {
            entry.with("outcome", Outcome::Failed).with("rule", &verdict.rule).with("phase", verdict.phase)
        }
    }
}
