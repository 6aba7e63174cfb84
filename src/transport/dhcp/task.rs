//! The DHCP task: one owner of leases, sightings and everything else that is observed of DHCP. Each packet is
//! asked to the engine once; the answer is carried out here.

mod tell;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::base::limits::{ANCHORED_MAX, ANCHORED_SPAN, CHAIN_ONCE_SPAN, DHCP_QUEUE_FRAMES};
use crate::base::{Mac, NetworkName, Timestamp};
use crate::engine::dhcp::{
    AddressRule, Answer, Foreign, Ingress, Observed, Request, Route, Verdict, respond, watch as listen,
};
use crate::engine::record::What;
use crate::model::lease::LeaseChange;
use crate::model::lease_table::Choice;
use crate::model::{DhcpMode, Lease, Revision, Sighting, SnapshotCell};
use crate::store::Store;
use crate::transport::clock::now;
use crate::transport::dhcp::counters::DhcpCounters;
use crate::transport::dhcp::handle::{Booting, Command, Handle};
use crate::transport::dhcp::ledger::Ledger;
use crate::transport::dhcp::limiter::Limiter;
use crate::transport::dhcp::links::{Input, Links};
use crate::transport::dhcp::probes::Probes;
use crate::transport::dhcp::shadow::Shadow;
use crate::transport::dhcp::witness::Witness;
use crate::transport::journal::{Entry, Journal};
use crate::transport::recorder::Recorder;
use crate::transport::tasks::Tasks;
use crate::wire::dhcp::Message;

mod questions;

/// How often deadlines are looked at; the finest is the ARP probe's (300 ms).
const TICK: Duration = Duration::from_millis(50);

/// Frames that are answered before leases among them are written down as one.
const ROUND_FRAMES: usize = 64;

/// Ticks between two looks at links and snapshots that nobody told us about.
const SLOW_TICKS: u32 = 20;

/// What DHCP needs to start.
pub struct Dhcp {
    pub snapshot: Arc<SnapshotCell>,
    pub store: Store,
    /// As loaded from the store.
    pub leases: Vec<Lease>,
    pub sightings: Vec<Sighting>,
    /// Rises when links or addresses of the head change.
    pub links: watch::Receiver<u64>,
    /// Where leases and unknown machines are told.
    pub journal: Journal,
    /// Who is told of everything that machines ask.
    pub recorder: Recorder,
    /// Who is told of nodes that begin to boot.
    pub booting: Option<Booting>,
}

/// Says why DHCP could not start.
#[derive(Debug, thiserror::Error)]
pub enum DhcpError {
    #[error("cannot open UDP ports 67 and 4011 (another DHCP server, or CAP_NET_BIND_SERVICE missing)")]
    Ports(#[source] std::io::Error),
    #[error("DHCP gets no thread of its own")]
    Thread(#[source] std::io::Error),
}

/// A reply that is ready to go.
struct Outgoing {
    /// Whom it is for.
    mac: Option<Mac>,
    interface: Arc<str>,
    source: SocketAddrV4,
    route: Route,
    message: Vec<u8>,
}

struct Task {
    snapshot: Arc<SnapshotCell>,
    ledger: Ledger<Outgoing>,
    witness: Witness,
    journal: Journal,
    recorder: Recorder,
    booting: Option<Booting>,
    probes: Probes,
    limiter: Limiter,
    /// When our iPXE was last handed to a machine's foreign one.
    chained: HashMap<Mac, Timestamp>,
    /// When a machine's loader was last told whom to trust. Full: who comes then boots over plain HTTP.
    anchored: HashMap<Mac, Timestamp>,
    links: Links,
    shadow: Option<Shadow>,
    counters: Arc<DhcpCounters>,
    seen: Revision,
}

impl Dhcp {
    /// Starts the task. Where no network serves DHCP, it only answers questions about former leases.
    ///
    /// # Errors
    /// The UDP ports cannot be had.
    pub fn start(self, tasks: &Tasks) -> Result<(Handle, Arc<DhcpCounters>), DhcpError> {
        let (handle, commands) = Handle::pair();
        let (inputs, queue) = mpsc::channel(DHCP_QUEUE_FRAMES);
        let counters = Arc::new(DhcpCounters::default());
        let site = Arc::clone(&self.snapshot.load().site);
        let modes = || site.networks.iter().map(|network| network.dhcp);
        let shadow = modes()
            .any(|mode| mode != DhcpMode::Off)
            .then(|| Shadow::open(modes().any(|mode| mode == DhcpMode::Authoritative)))
            .transpose()
            .map_err(DhcpError::Ports)?;
        let mut task = Task {
            snapshot: self.snapshot,
            witness: Witness::new(self.store.clone(), self.sightings),
            journal: self.journal,
            recorder: self.recorder,
            booting: self.booting,
            ledger: Ledger::new(self.store, self.leases),
            probes: Probes::default(),
            limiter: Limiter::default(),
            chained: HashMap::new(),
            anchored: HashMap::new(),
            links: Links::new(inputs, Arc::clone(&counters), tasks.clone()),
            shadow,
            counters: Arc::clone(&counters),
            seen: Revision::default(),
        };
        let (stop, changes) = (tasks.token(), self.links);
        // Links are read and answered by the same thread. Profiled: two thirds of the time went into wake-ups before.
        let thread = tasks.thread("muster-dhcp").map_err(DhcpError::Thread)?;
        tasks.spawn_on(&thread, "dhcp", async move {
            tokio::select! {
                () = task.run(queue, commands, changes) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok((handle, counters))
    }
}

impl Task {
    async fn run(
        &mut self,
        mut queue: mpsc::Receiver<Input>,
        mut commands: mpsc::Receiver<Command>,
        mut changes: watch::Receiver<u64>,
    ) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = 0_u32;
        let mut round = Vec::with_capacity(ROUND_FRAMES);
        self.refresh();
        loop {
            // Every branch is cancel-safe: channels, the stream of parked replies, an interval.
            tokio::select! {
                read = queue.recv_many(&mut round, ROUND_FRAMES) => if read == 0 { return },
                Some(settled) = self.ledger.settled() => for outgoing in self.ledger.settle(settled) {
                    match outgoing {
                        Some(outgoing) => self.send(&outgoing),
                        None => self.counters.unpromised.raise(),
                    }
                },
                Some(command) = commands.recv() => self.answer(command),
                Ok(()) = changes.changed() => self.refresh(),
                _ = ticks.tick() => {
                    count = count.wrapping_add(1);
                    self.tick(count.is_multiple_of(SLOW_TICKS));
                }
            }
            round.drain(..).for_each(|input| self.take(input));
            self.counters.unpromised.add(u64::try_from(self.ledger.commit()).unwrap_or(u64::MAX));
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Packet { ingress, payload } => self.packet(ingress, payload),
            Input::Damaged { mac, what } => self.recorder.saw_mac(mac, What::Damaged(what)),
            Input::Claim { mac, address } => self.claim(mac, address),
            Input::Lost(name) => self.links.close(&name),
        }
    }

    fn packet(&mut self, ingress: Ingress, payload: Vec<u8>) {
        let now = now();
        let message = match Message::parse(&payload) {
            Ok(message) => message,
            Err(error) => {
                self.counters.malformed.raise();
                tracing::debug!(source = %ingress.source, %error, "no DHCP message");
                return;
            }
        };
        let snapshot = self.snapshot.load();
        if !message.request {
            if let Some(foreign) = listen(&message, &ingress, &snapshot) {
                if let Some(client) = foreign.client {
                    let Foreign { server, mac, kind, offered, .. } = foreign;
                    self.recorder.saw_mac(client, What::OtherServer { server, mac, kind, offered });
                }
                self.witness.foreign(foreign, now);
            }
            return;
        }
        self.counters.requests.raise();
        let request = Request::new(message, ingress);
        if !self.limiter.allows(request.mac, now) {
            self.counters.rate_limited.raise();
            return;
        }
        let chained = request.mac.and_then(|mac| self.chained.get(&mac).copied());
        let anchored = request.mac.is_some_and(|mac| self.anchored.contains_key(&mac));
        let observed = Observed { leases: self.ledger.leases(), chained, anchored };
        let answer = respond(&request, &snapshot, &observed, now);
        if let Some(mac) = request.mac.filter(|_| answer.chained) {
            self.chained.insert(mac, now);
        }
        if let Some(mac) = request.mac.filter(|_| answer.anchored)
            && (anchored || self.anchored.len() < ANCHORED_MAX)
        {
            self.anchored.insert(mac, now);
        }
        self.record(&request, &answer, payload, &snapshot);
        self.carry_out(&request, answer, now);
    }

    fn carry_out(&mut self, request: &Request, answer: Answer, now: Timestamp) {
        let (mac, explanation) = (request.mac, &answer.explanation);
        if let Some(seen) = answer.sighting {
            let (mac, network) = (seen.mac, seen.network.clone());
            if self.witness.sighting(seen, now) {
                let text = format!("unknown machine {mac} on network {network}");
                self.journal
                    .write(Entry::new(now, "sighting", text).with("mac", mac).with("network", network));
            }
        }
        if let Some((address, AddressRule::Pool(Choice::Unprobed))) = explanation.address {
            let network = explanation.network.as_ref().map(|(name, _)| name.clone());
            self.probe_offered(network.as_ref(), address, now);
        }
        let outgoing = match answer.verdict {
            Verdict::Silence(reason) => {
                self.counters.silent(reason);
                tracing::debug!(mac = mac.map(tracing::field::display), reason = reason.name(), "no answer");
                None
            }
            Verdict::Reply { message, route, source } => {
                let reply = explanation.reply.map(crate::wire::dhcp::code::kind);
                if let Some((address, _)) = explanation.address.filter(|_| reply.as_deref() == Some("ACK")) {
                    self.tell_lease(mac, address, request.stage, now);
                }
                self.tell_boot(request);
                let address = explanation.address.map(|(address, _)| tracing::field::display(address));
                let (shown, stage) = (mac.map(tracing::field::display), request.stage.as_str());
                tracing::info!(mac = shown, address, stage, reply, "dhcp");
                let interface = Arc::clone(&request.ingress.interface);
                Some(Outgoing { mac: request.mac, interface, source, route, message })
            }
        };
        match (answer.lease, outgoing) {
            (Some(LeaseChange::Bind(lease)), Some(outgoing)) => {
                if !self.ledger.park(lease, outgoing) {
                    self.counters.unpromised.raise();
                }
            }
            (change, outgoing) => {
                if let Some(change) = change {
                    self.ledger.apply(change);
                }
                if let Some(outgoing) = outgoing {
                    self.send(&outgoing);
                }
            }
        }
    }

    fn send(&self, outgoing: &Outgoing) {
        let Outgoing { mac: _, interface, source, route, message } = outgoing;
        let sent = match route {
            Route::Broadcast => {
                let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, 68);
                self.links.send(interface, *source, (Mac::BROADCAST, to), message)
            }
            Route::Unicast { mac, address, port } => {
                self.links.send(interface, *source, (*mac, SocketAddrV4::new(*address, *port)), message)
            }
            Route::Routed(to) => match &self.shadow {
                Some(shadow) => shadow.send(*source, *to, message),
                None => Err(std::io::ErrorKind::NotConnected.into()),
            },
        };
        match sent {
            Ok(()) => self.counters.replies.raise(),
            Err(error) => {
                self.counters.send_failures.raise();
                if let Some(mac) = outgoing.mac {
                    self.recorder.saw_mac(mac, What::NotSent);
                }
                tracing::debug!(%interface, ?route, %error, "a reply could not be sent");
            }
        }
    }

    /// An address was claimed on the wire: a conflict if we were about to give it to somebody else.
    fn claim(&mut self, mac: Mac, address: Ipv4Addr) {
        let now = now();
        let Some(quarantine) = self.probes.claim(self.ledger.leases(), mac, address, now) else { return };
        self.counters.conflicts.raise();
        tracing::warn!(%address, %mac, "address is in use by somebody; not given out for now");
        self.ledger.apply(LeaseChange::Decline(quarantine));
    }

    fn probe_offered(&mut self, network: Option<&NetworkName>, address: Ipv4Addr, now: Timestamp) {
        let snapshot = self.snapshot.load();
        let network = network.and_then(|name| snapshot.site.network(name));
        if let Some((name, interface)) = network.and_then(|net| Some((&net.name, net.interface.as_ref()?))) {
            self.probe(name, interface, address, now);
        }
    }

    fn probe(&mut self, network: &NetworkName, interface: &str, address: Ipv4Addr, now: Timestamp) {
        if self.probes.begin(network, address, now)
            && let Err(error) = self.links.probe(interface, address)
        {
            tracing::debug!(interface, %address, %error, "a probe could not be sent");
            self.probes.cancel(address);
        }
    }

    fn refresh(&mut self) {
        self.links.refresh(&self.snapshot.load().site);
    }

    fn tick(&mut self, slow: bool) {
        let now = now();
        for (network, address) in self.probes.finish(now) {
            self.ledger.add_probed(&network, address, now);
        }
        let snapshot = self.snapshot.load();
        for network in &snapshot.site.networks {
            let Some(interface) = network.interface.as_deref().filter(|name| self.links.is_open(name)) else {
                continue;
            };
            if network.dhcp != DhcpMode::Authoritative {
                continue;
            }
            for address in self.probes.wanted(self.ledger.leases(), network, &snapshot, now) {
                self.probe(&network.name, interface, address, now);
            }
        }
        self.witness.flush();
        if slow {
            self.links.count_drops();
            self.chained.retain(|_, chained| now.since(*chained) < CHAIN_ONCE_SPAN);
            self.anchored.retain(|_, anchored| now.since(*anchored) < ANCHORED_SPAN);
            self.refresh();
        }
        if snapshot.revision != self.seen {
            self.seen = snapshot.revision;
            self.witness.forget_declared(&snapshot);
        }
    }
}
