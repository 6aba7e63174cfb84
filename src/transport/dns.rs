//! DNS over UDP and TCP, with forwarding of what is not ours.

mod cache;
mod forward;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use crate::base::counter::Counter;
use crate::base::limits::{DNS_CONNECTIONS_MAX, DNS_FORWARDS_MAX, DNS_IDLE};
use crate::engine::dns::{Answer, answer, refusal};
use crate::engine::record::What;
use crate::model::SnapshotCell;
use crate::transport::dns::forward::Forwarder;
use crate::transport::recorder::Recorder;
use crate::transport::tasks::Tasks;
use crate::transport::tftp::socket::{Received, listen, receive, receive_ready, reply};
use crate::wire::WireError;
use crate::wire::dns::{Message, ResponseCode, UDP_BYTES_PLAIN, emit, header_error, parse, udp_limit};

/// The server's settings.
#[derive(Clone)]
pub struct Dns {
    pub listen: Vec<SocketAddr>,
    /// Servers for what is not ours, in the order of preference; none: such questions are refused.
    pub forward: Vec<SocketAddr>,
    pub snapshot: Arc<SnapshotCell>,
    /// Who is told of names that say something about a boot.
    pub recorder: Recorder,
}

/// A listener that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for dns on {address}")]
pub struct DnsError {
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
}

/// What the server counts.
#[derive(Debug, Default)]
pub struct DnsCounters {
    pub queries: Counter,
    /// Answers from the snapshot.
    pub answered: Counter,
    /// Foreign questions that the cache answered.
    pub cached: Counter,
    /// Foreign questions put to upstream servers.
    pub forwarded: Counter,
    /// Questions that no upstream server answered.
    pub unanswered: Counter,
    /// Foreign questions of strangers, or without any upstream server.
    pub refused: Counter,
    pub malformed: Counter,
    /// Questions dropped at a limit.
    pub dropped: Counter,
}

/// A running server.
#[derive(Clone, Debug)]
pub struct DnsHandle {
    /// The addresses listened on, with real ports; UDP and TCP alike.
    pub addresses: Vec<SocketAddr>,
    pub counters: Arc<DnsCounters>,
}

struct Server {
    snapshot: Arc<SnapshotCell>,
    recorder: Recorder,
    forwarder: Forwarder,
    counters: Arc<DnsCounters>,
    tasks: Tasks,
    forwards: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// Queries that are answered in a row before others have their turn: some milliseconds' work.
const ROUND_QUERIES: usize = 64;

/// Where iPXE looks for cross-signed certificates (ipxe.org/cfg/crosscert), and of how many labels its name is.
const CROSS_SIGNER: (&str, u8) = ("ca.ipxe.org", 3);

/// What the snapshot has to say.
enum Step {
    Reply(Box<Message>),
    Forward(Box<Message>),
    Silence,
}

impl Dns {
    /// Opens the listeners and starts to serve.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub fn start(self, tasks: &Tasks) -> Result<DnsHandle, DnsError> {
        let counters = Arc::new(DnsCounters::default());
        let server = Arc::new(Server {
            snapshot: self.snapshot,
            recorder: self.recorder,
            forwarder: Forwarder::new(self.forward, Arc::clone(&counters)),
            counters: Arc::clone(&counters),
            tasks: tasks.clone(),
            forwards: Arc::new(Semaphore::new(DNS_FORWARDS_MAX)),
            connections: Arc::new(Semaphore::new(DNS_CONNECTIONS_MAX)),
        });
        let mut sockets = Vec::new();
        let Some(first) = self.listen.first().copied() else {
            return Ok(DnsHandle { addresses: Vec::new(), counters });
        };
        let thread = tasks.thread("muster-dns");
        let thread = thread.map_err(|source| DnsError { address: first, source })?;
        let _inside = thread.enter(); // sockets and tasks from here on are its own
        for address in self.listen {
            sockets.push(open(address).map_err(|source| DnsError { address, source })?);
        }
        let mut addresses = Vec::new();
        for (bound, udp, tcp) in sockets {
            addresses.push(bound);
            tasks.spawn("dns udp", Arc::clone(&server).serve_udp(Arc::new(udp)));
            tasks.spawn("dns tcp", Arc::clone(&server).serve_tcp(tcp));
        }
        Ok(DnsHandle { addresses, counters })
    }
}

fn open(address: SocketAddr) -> io::Result<(SocketAddr, UdpSocket, TcpListener)> {
    let udp = listen(address)?;
    let bound = udp.local_addr()?;
    let tcp = socket2::Socket::new(socket2::Domain::for_address(bound), socket2::Type::STREAM, None)?;
    tcp.set_nonblocking(true)?;
    tcp.set_reuse_address(true)?;
    if bound.is_ipv6() {
        tcp.set_only_v6(true)?;
    }
    tcp.bind(&bound.into())?;
    tcp.listen(128)?; // the kernel's own default ceiling for long, SOMAXCONN
    Ok((bound, udp, TcpListener::from_std(tcp.into())?))
}

impl Server {
    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>) {
        let stop = self.tasks.token();
        let mut stopped = std::pin::pin!(stop.cancelled());
        loop {
            let received = tokio::select! {
                () = &mut stopped => return,
                received = receive(&socket) => received, // cancel-safe: reads only when it completes
            };
            match received {
                Ok(received) => {
                    self.handle_datagram(&socket, received);
                    // What else has come is answered before anything is waited for.
                    for received in std::iter::from_fn(|| receive_ready(&socket).ok()).take(ROUND_QUERIES) {
                        self.handle_datagram(&socket, received);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "dns socket cannot be read");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn handle_datagram(self: &Arc<Self>, socket: &Arc<UdpSocket>, received: Received) {
        if received.peer.port() == 0 {
            return;
        }
        let query = parse(&received.bytes);
        let limit = query.as_ref().map_or(usize::from(UDP_BYTES_PLAIN), udp_limit);
        match self.decide(query, &received.bytes, received.peer.ip()) {
            Step::Silence => {}
            Step::Reply(message) => send_datagram(socket, &received, &message, limit),
            Step::Forward(query) => {
                // A full house drops: the client asks again.
                let Ok(permit) = Arc::clone(&self.forwards).try_acquire_owned() else {
                    return self.counters.dropped.raise();
                };
                let (server, socket) = (Arc::clone(self), Arc::clone(socket));
                self.tasks.spawn("dns forward", async move {
                    let message = tokio::select! {
                        () = server.tasks.stopping() => return,
                        message = server.forwarder.resolve(&query) => message,
                    };
                    send_datagram(&socket, &received, &message, limit);
                    drop(permit);
                });
            }
        }
    }

    /// iPXE asks for this name when it does not know the root of a certificate.
    fn tell(&self, query: &Message, asker: IpAddr) {
        let name = query.queries.first().map(|question| question.name());
        if let Some(name) = name.filter(|name| name.num_labels() == CROSS_SIGNER.1) {
            let name = name.to_ascii();
            if name.trim_end_matches('.').eq_ignore_ascii_case(CROSS_SIGNER.0) {
                self.recorder.saw(Some(asker), What::Asked(name));
            }
        }
    }

    /// Answers from the snapshot, or says that somebody else must.
    fn decide(&self, query: Result<Message, WireError>, bytes: &[u8], asker: IpAddr) -> Step {
        self.counters.queries.raise();
        let Ok(query) = query else {
            self.counters.malformed.raise();
            return header_error(bytes).map_or(Step::Silence, |message| Step::Reply(Box::new(message)));
        };
        let snapshot = self.snapshot.load();
        match answer(&query, &snapshot, asker) {
            Answer::Silence => Step::Silence,
            Answer::Reply(message) => {
                self.counters.answered.raise();
                Step::Reply(message)
            }
            Answer::Forward => {
                self.tell(&query, asker);
                let is_ours = match asker {
                    IpAddr::V4(v4) => v4.is_loopback() || snapshot.site.network_of(v4).is_some(),
                    IpAddr::V6(v6) => v6.is_loopback(),
                };
                if is_ours && query.metadata.recursion_desired && self.forwarder.has_upstream() {
                    return Step::Forward(Box::new(query));
                }
                self.counters.refused.raise();
                Step::Reply(Box::new(refusal(&query, ResponseCode::Refused)))
            }
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.tasks.stopping() => return,
                accepted = listener.accept() => accepted, // cancel-safe
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Beyond the cap a connection is closed at once.
                    let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
                        self.counters.dropped.raise();
                        continue;
                    };
                    let server = Arc::clone(&self);
                    self.tasks.spawn("dns connection", async move {
                        tokio::select! {
                            () = server.tasks.stopping() => {}
                            _ = server.converse(stream, peer.ip()) => {} // the peer's going is no news
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "dns connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Answers the queries of one connection in their order until it falls silent (RFC 7766).
    async fn converse(&self, mut stream: TcpStream, asker: IpAddr) -> io::Result<()> {
        let idle = Duration::from_millis(DNS_IDLE.0);
        loop {
            let query = tokio::time::timeout(idle, forward::read_framed(&mut stream)).await??;
            let message = match self.decide(parse(&query), &query, asker) {
                Step::Silence => return Ok(()),
                Step::Reply(message) => *message,
                Step::Forward(query) => {
                    let Ok(_permit) = self.forwards.try_acquire() else { return Ok(()) };
                    self.forwarder.resolve(&query).await
                }
            };
            let bytes = emit(&message, usize::from(u16::MAX)).map_err(io::Error::other)?;
            let framed = forward::framed(&bytes);
            tokio::time::timeout(idle, stream.write_all(&framed)).await??;
        }
    }
}

fn send_datagram(socket: &UdpSocket, received: &Received, message: &Message, limit: usize) {
    match emit(message, limit) {
        Ok(bytes) => reply(socket, received, &bytes),
        Err(error) => tracing::debug!(peer = %received.peer, %error, "dns answer cannot be written"),
    }
}
