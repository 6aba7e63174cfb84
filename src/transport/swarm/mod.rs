//! The swarm's shell: sockets, addresses and clocks for machines whose decisions `engine/swarm` makes. All
//! machines share one packet socket for DHCP; each has a task, and TCP and UDP from its own address.

mod addresses;
mod http;
pub mod place;
mod port;
pub mod server;
mod tftp;

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::base::counter::Counter;
use crate::base::limits::SWARM_INBOX_PLACES;
use crate::engine::swarm::{
    Fetch, Fetched, Machine, Micros, Moment, Pace, Passed, Reason, Report, Scenario, Source, Stage, Step,
};
use crate::transport::swarm::addresses::Addresses;
use crate::transport::swarm::http::Lane;
use crate::transport::swarm::port::Port;
use crate::transport::tasks::Tasks;

/// Says why a swarm cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    #[error("there is no link {0} that is up")]
    NoLink(String),
    #[error("cannot open a packet socket on {0}; that takes CAP_NET_RAW")]
    Packets(String, #[source] std::io::Error),
    #[error("cannot give machines their addresses; that takes CAP_NET_ADMIN")]
    Addresses(#[source] std::io::Error),
}

/// Numbers that rise while the swarm runs.
#[derive(Debug, Default)]
pub struct Progress {
    pub up: Counter,
    pub failed: Counter,
    pub bytes: Counter,
}

/// What a run came to, with what only the shell can see.
#[derive(Debug)]
pub struct Outcome {
    pub report: Report,
    pub took: Micros,
    /// DHCP frames that this computer's kernel dropped because the swarm did not read them in time.
    pub dropped: u32,
}

/// What all machines share.
struct Yard {
    scenario: Arc<Scenario>,
    began: Instant,
    port: Option<Port>,
    addresses: Addresses,
    /// One for each socket that may be open: descriptors are bounded.
    sockets: Semaphore,
    report: Mutex<Report>,
    progress: Arc<Progress>,
    /// Boots handed out so far, if machines start when others are through.
    next: AtomicU64,
}

/// Boots a swarm; returns when every machine is up or has failed, or when `tasks` are asked to stop.
///
/// # Errors
/// The link, the packet socket or netlink cannot be used.
pub async fn run(
    scenario: Arc<Scenario>,
    interface: &str,
    sockets: usize,
    progress: Arc<Progress>,
    tasks: &Tasks,
) -> Result<Outcome, SwarmError> {
    let speaks_dhcp =
        [Stage::Dhcp, Stage::IpxeDhcp, Stage::SystemDhcp].iter().any(|stage| scenario.does(*stage));
    let port = if speaks_dhcp { Some(Port::open(interface, &scenario, tasks)?) } else { None };
    let addresses = Addresses::open(interface, tasks).map_err(SwarmError::Addresses)?;
    let yard = Arc::new(Yard {
        began: Instant::now(),
        port,
        addresses,
        sockets: Semaphore::new(sockets),
        report: Mutex::default(),
        progress,
        next: AtomicU64::new(0),
        scenario,
    });
    // Senders are dropped when machines are through; then `recv` has no more to wait for.
    let (done, mut all) = mpsc::channel::<()>(1);
    let workers = match yard.scenario.pace {
        Pace::InFlight(count) => count.min(u64::from(yard.scenario.nodes)),
        Pace::Within(_) | Pace::PerSecond(_) => u64::from(yard.scenario.nodes),
    };
    for worker in 0..u32::try_from(workers).unwrap_or(u32::MAX) {
        let (yard, done, stop) = (yard.clone(), done.clone(), tasks.token());
        tasks.spawn("machine", async move {
            tokio::select! {
                () = yard.work(worker) => {}
                () = stop.cancelled() => {}
            }
            drop(done);
        });
    }
    drop(done);
    let _ = all.recv().await;
    let took = yard.now().since(Moment::default());
    yard.addresses.give_back().await;
    let dropped = yard.port.as_ref().map_or(0, Port::drops);
    let report = std::mem::take(&mut *yard.report.lock().expect("no machine panics while it reports"));
    Ok(Outcome { report, took, dropped })
}

impl Yard {
    fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    async fn until(&self, moment: Moment) {
        tokio::time::sleep_until(self.began + Duration::from_micros(moment.0)).await;
    }

    /// Boots one machine, or one after the other.
    async fn work(&self, worker: u32) {
        let nodes = u64::from(self.scenario.nodes);
        let end = self.scenario.duration.map(|span| Moment::default().after(span));
        let runs_on = |now: Moment| end.is_some_and(|end| now < end);
        if let Pace::InFlight(_) = self.scenario.pace {
            loop {
                let boot = self.next.fetch_add(1, Ordering::Relaxed);
                if end.map_or(boot >= nodes, |_| !runs_on(self.now())) {
                    return;
                }
                // Below `nodes`, which is 32 bits wide.
                self.boot(u32::try_from(boot % nodes).unwrap_or(0), boot / nodes).await;
            }
        }
        self.until(self.scenario.start(worker)).await;
        let mut round = 0;
        loop {
            self.boot(worker, round).await;
            round += 1;
            if !runs_on(self.now()) {
                return;
            }
        }
    }

    async fn boot(&self, index: u32, round: u64) {
        let (inbox, mut messages) = mpsc::channel(SWARM_INBOX_PLACES);
        let _seat = self.port.as_ref().map(|port| port.seat(index, inbox));
        let mut machine = Machine::new(self.scenario.clone(), index, round, self.now());
        let mut lane = Lane::default();
        loop {
            match machine.poll(self.now()) {
                Step::Over => return,
                Step::Send(message) => {
                    if let Some(port) = &self.port {
                        port.send(machine.mac(), &message);
                    }
                }
                // A machine whose address cannot be set fails at its first download, with this reason.
                Step::Hold(address, mask) => self.addresses.hold(address, mask).await,
                Step::Fetch(fetch) => {
                    let end = machine.next_deadline();
                    self.until(fetch.not_before.min(end)).await;
                    let from = machine.address();
                    let fetched = tokio::select! {
                        fetched = self.fetch(index, &fetch, from, &mut lane) => fetched,
                        () = self.until(end) => Fetched::failed(Reason::TooLong),
                    };
                    self.progress.bytes.add(fetched.bytes);
                    machine.on_fetched(fetched, self.now());
                }
                Step::Passed(passed) => self.note(passed),
                Step::Retried { stage, bytes, retries } => {
                    self.report().retry(stage, bytes, retries);
                }
                Step::Wait => {
                    let message = tokio::select! {
                        message = messages.recv() => message,
                        () = self.until(machine.next_deadline()) => None,
                    };
                    if let Some(message) = message {
                        machine.on_dhcp(&message, self.now());
                    }
                }
            }
        }
    }

    async fn fetch(&self, index: u32, fetch: &Fetch, from: Option<Ipv4Addr>, lane: &mut Lane) -> Fetched {
        let _socket = self.sockets.acquire().await;
        let dice = self.scenario.dice(index);
        match &fetch.source {
            Source::Http { server, path } => {
                let cut = self.scenario.cut.per_million();
                http::fetch(fetch, (*server, path), from, (dice, cut), lane).await
            }
            Source::Tftp { server, name, manner } => {
                let chance = (dice, self.scenario.loss.per_million(), fetch.serial);
                let keep = fetch.stage == Stage::Script;
                tftp::fetch((*server, name), (*manner, keep), from, chance, self.began).await
            }
        }
    }

    fn note(&self, passed: Passed) {
        if passed.stage == Stage::Boot {
            let counter = if passed.result.is_ok() { &self.progress.up } else { &self.progress.failed };
            counter.raise();
        }
        self.report().add(passed);
    }

    fn report(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report.lock().expect("no machine panics while it reports")
    }
}
