//! The TFTP server: one task hears requests, one more serves each transfer. Decisions are `engine::tftp`'s.

mod session;
pub(crate) mod socket;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::base::counter::Counter;
use crate::base::limits::{
    TFTP_INBOX_PACKETS, TFTP_NETASCII_BYTES_MAX, TFTP_TRANSFERS_MAX, TFTP_TRANSFERS_PER_CLIENT_MAX,
};
use crate::base::{Millis, Timestamp};
use crate::engine::tftp::catalog::{is_expected_miss, wanted};
use crate::engine::tftp::{Outcome, Terms, Transfer, VirtualFile, Wanted};
use crate::transport::clock::now;
use crate::transport::loaders::Loaders;
use crate::transport::tasks::Tasks;
use crate::transport::tftp::session::{Exit, Session};
use crate::transport::tftp::socket::{Received, receive, reply};
use crate::wire::tftp::{ErrorCode, Mode, Packet, Request, emit_error, netascii, parse};

/// Who asks for a file that is made on the spot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VirtualRequest {
    pub file: VirtualFile,
    pub client: IpAddr,
    /// The address of ours that the client asked.
    pub local: IpAddr,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Ended(Outcome),
    NotFound,
    /// The name was refused.
    Refused,
}

/// One finished request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TftpEvent {
    pub client: SocketAddr,
    /// The name as the client wrote it, made printable.
    pub file: String,
    /// Octets that the client acknowledged.
    pub bytes: u64,
    pub started: Timestamp,
    pub duration: Millis,
    pub fate: Fate,
    /// The client acknowledged something: the options, or a block.
    pub opened: bool,
}

/// Makes the virtual files.
pub type VirtualFiles = Arc<dyn Fn(&VirtualRequest) -> Option<Bytes> + Send + Sync>;

/// The server's settings.
#[derive(Clone)]
pub struct Tftp {
    pub listen: Vec<SocketAddr>,
    pub loaders: Arc<Loaders>,
    pub virtual_files: VirtualFiles,
    /// Whom to serve; the others hear nothing.
    pub allow: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Called once per finished request, from the transfer's task: must not block.
    pub on_event: Arc<dyn Fn(TftpEvent) + Send + Sync>,
    /// Answer from the listening port, for NAT and containers; else each transfer has a port of its own.
    pub single_port: bool,
    /// Ports for transfers, for firewalls; None: any.
    pub ports: Option<RangeInclusive<u16>>,
    /// MTU of the way to the clients, octets.
    pub mtu: u16,
}

/// Threads for transfers: more than a few cores' worth of blocks no link takes.
const THREADS_MAX: usize = 4;

/// A listener that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for tftp on {address}")]
pub struct TftpError {
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
}

/// What the server counts.
#[derive(Debug, Default)]
pub struct TftpCounters {
    /// Read requests that became transfers.
    pub transfers: Counter,
    /// Transfers that the client has in full, unconfirmed ones included.
    pub completed: Counter,
    /// Transfers that failed.
    pub failed: Counter,
    pub not_found: Counter,
    /// Requests with bad names, write requests.
    pub refused: Counter,
    /// Requests dropped at a limit.
    pub dropped: Counter,
    /// Packets that are no TFTP, or from somebody we do not serve.
    pub ignored: Counter,
    /// Octets acknowledged.
    pub bytes: Counter,
}

/// A running server.
#[derive(Clone, Debug)]
pub struct TftpHandle {
    /// The addresses listened on, with real ports.
    pub addresses: Vec<SocketAddr>,
    pub counters: Arc<TftpCounters>,
}

/// What all tasks of the server share.
struct Server {
    settings: Tftp,
    tasks: Tasks,
    /// Threads with a runtime each; transfers are dealt out to them in turn.
    threads: Vec<Handle>,
    next: AtomicUsize,
    counters: Arc<TftpCounters>,
    // A mutex: listener and transfers meet here for a map operation; never held across an await.
    live: Mutex<HashMap<SocketAddr, Live>>,
}

/// A transfer under way.
struct Live {
    /// The datagram it began with; the same once more is a repetition.
    request: Vec<u8>,
    inbox: mpsc::Sender<Vec<u8>>,
}

impl Tftp {
    /// Opens the listeners and starts to serve.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub fn start(self, tasks: &Tasks) -> Result<TftpHandle, TftpError> {
        let counters = Arc::new(TftpCounters::default());
        let listen = self.listen.clone();
        let mut addresses = Vec::new();
        let Some(first) = listen.first().copied() else { return Ok(TftpHandle { addresses, counters }) };
        // Threads that know nothing of each other, so that an acknowledgement wakes one of them only.
        let count = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX);
        let threads = (0..count).map(|_| tasks.thread("muster-tftp"));
        let threads: io::Result<Vec<Handle>> = threads.collect();
        let threads = threads.map_err(|source| TftpError { address: first, source })?;
        let listener = threads.first().cloned().expect("there is at least one");
        let _inside = listener.enter(); // the listeners' sockets and tasks are this one's
        let server = Arc::new(Server {
            settings: self,
            tasks: tasks.clone(),
            threads,
            next: AtomicUsize::new(0),
            counters: Arc::clone(&counters),
            live: Mutex::default(),
        });
        let mut sockets = Vec::new();
        for address in listen {
            let wrong = |source| TftpError { address, source };
            let socket = socket::listen(address).map_err(wrong)?;
            addresses.push(socket.local_addr().map_err(wrong)?);
            sockets.push(Arc::new(socket));
        }
        for socket in sockets {
            tasks.spawn("tftp listener", Arc::clone(&server).serve(socket));
        }
        Ok(TftpHandle { addresses, counters })
    }
}

impl Server {
    async fn serve(self: Arc<Self>, socket: Arc<UdpSocket>) {
        loop {
            let received = tokio::select! {
                () = self.tasks.stopping() => return,
                received = receive(&socket) => received, // cancel-safe: reads only when it completes
            };
            match received {
                Ok(received) => self.handle(&socket, &received),
                Err(error) => {
                    tracing::warn!(%error, "tftp socket cannot be read");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn handle(self: &Arc<Self>, socket: &Arc<UdpSocket>, received: &Received) {
        let peer = received.peer;
        if !(self.settings.allow)(peer.ip()) || peer.port() == 0 {
            return self.counters.ignored.raise();
        }
        match parse(&received.bytes) {
            Ok(Packet::Read(request)) => self.handle_request(socket, received, &request),
            Ok(Packet::Write) => {
                self.counters.refused.raise();
                reply(socket, received, &emit_error(ErrorCode::Access, "this server is read-only"));
            }
            Ok(Packet::Ack(_) | Packet::Foreign) if !self.deliver(received) => {
                self.counters.ignored.raise();
                reply(socket, received, &emit_error(ErrorCode::UnknownTransfer, "no such transfer"));
            }
            Ok(Packet::Error(_)) if !self.deliver(received) => self.counters.ignored.raise(),
            Ok(Packet::Ack(_) | Packet::Foreign | Packet::Error(_)) => {}
            Err(error) => {
                tracing::debug!(%peer, %error, "no tftp packet");
                self.counters.ignored.raise();
            }
        }
    }

    /// Hands a packet to the sender's transfer; false if there is none. A full inbox drops: the client
    /// repeats itself.
    fn deliver(&self, received: &Received) -> bool {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = live.get(&received.peer) else { return false };
        // Dropped if full: an error would end a transfer that only has too much to read.
        let _ = found.inbox.try_send(received.bytes.clone());
        true
    }

    fn handle_request(self: &Arc<Self>, socket: &Arc<UdpSocket>, received: &Received, request: &Request<'_>) {
        let started = now();
        let report = Report {
            server: Arc::clone(self),
            client: received.peer,
            file: printable(request.name),
            started,
        };
        let content = match wanted(request.name) {
            Err(refusal) => {
                reply(socket, received, &emit_error(ErrorCode::Access, refusal.sentence()));
                return report.close(Fate::Refused, (0, false));
            }
            Ok(Wanted::Loader(name)) => self.settings.loaders.get(&name),
            Ok(Wanted::Virtual(file)) => {
                let (client, local) = (received.peer.ip(), received.local);
                (self.settings.virtual_files)(&VirtualRequest { file, client, local })
            }
        };
        let Some(content) = content else {
            reply(socket, received, &emit_error(ErrorCode::NotFound, "file not found"));
            report.log_miss(request.name);
            return report.close(Fate::NotFound, (0, false));
        };
        let (content, size) = match request.mode {
            Mode::Octet => (content.clone(), Some(content.len() as u64)),
            Mode::Netascii if content.len() > TFTP_NETASCII_BYTES_MAX => {
                reply(socket, received, &emit_error(ErrorCode::Undefined, "ask in binary (octet) mode"));
                return report.close(Fate::Refused, (0, false));
            }
            Mode::Netascii => (netascii(&content).into(), None),
        };
        let terms = Terms::agree(&request.options, size, self.settings.mtu);
        let Some(inbox) = self.admit(received) else { return };
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        let thread = &self.threads[turn];
        let _inside = thread.enter(); // the transfer's socket and task are this one's
        let exit = if self.settings.single_port {
            Ok(Exit::shared(Arc::clone(socket), received))
        } else {
            socket::connect(received, self.settings.ports.clone()).map(Exit::own)
        };
        match exit {
            Ok(exit) => {
                self.counters.transfers.raise();
                let transfer = Transfer::start(content, terms, started);
                let session = Session { transfer, exit, inbox, request: received.bytes.clone() };
                let server = Arc::clone(self);
                self.tasks.spawn("tftp transfer", async move { server.run(session, report).await });
            }
            Err(error) => {
                tracing::warn!(client = %received.peer, %error, "no socket for a tftp transfer");
                self.counters.dropped.raise();
                self.forget(received.peer, &received.bytes);
            }
        }
    }

    /// Makes room for a transfer; None if this is a repetition or a limit is reached.
    fn admit(&self, received: &Received) -> Option<mpsc::Receiver<Vec<u8>>> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = live.get(&received.peer)
            && known.request == received.bytes
            && !known.inbox.is_closed()
        {
            // A full inbox drops the repetition: there is enough to do already.
            let _ = known.inbox.try_send(received.bytes.clone());
            return None;
        }
        let of_client = live.keys().filter(|peer| peer.ip() == received.peer.ip()).count();
        if live.len() >= TFTP_TRANSFERS_MAX || of_client >= TFTP_TRANSFERS_PER_CLIENT_MAX {
            tracing::debug!(client = %received.peer, "tftp limit reached, request dropped");
            self.counters.dropped.raise();
            return None;
        }
        let (sender, inbox) = mpsc::channel(TFTP_INBOX_PACKETS);
        // Another request from the same port ends the transfer before: its inbox closes.
        live.insert(received.peer, Live { request: received.bytes.clone(), inbox: sender });
        Some(inbox)
    }

    async fn run(self: Arc<Self>, mut session: Session, report: Report) {
        let outcome = tokio::select! {
            () = self.tasks.stopping() => Outcome::Lost,
            outcome = session.run() => outcome, // dropped as a whole on stop
        };
        self.forget(report.client, &session.request);
        let bytes = session.transfer.acknowledged_bytes();
        report.close(Fate::Ended(outcome), (bytes, session.transfer.is_opened()));
    }

    fn forget(&self, peer: SocketAddr, request: &[u8]) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if live.get(&peer).is_some_and(|known| known.request == request) {
            live.remove(&peer);
        }
    }
}

/// Where a request's end is told.
struct Report {
    server: Arc<Server>,
    client: SocketAddr,
    file: String,
    started: Timestamp,
}

impl Report {
    fn log_miss(&self, name: &[u8]) {
        let (client, file) = (self.client, &self.file);
        if is_expected_miss(name) {
            tracing::debug!(%client, file, "tftp file not found, as expected");
        } else {
            tracing::warn!(%client, file, "tftp file not found");
        }
    }

    fn close(self, fate: Fate, (bytes, opened): (u64, bool)) {
        let Report { server, client, file, started } = self;
        let counters = &server.counters;
        let duration = now().since(started);
        counters.bytes.add(bytes);
        match fate {
            Fate::Ended(Outcome::Done | Outcome::Unconfirmed) => {
                counters.completed.raise();
                tracing::info!(%client, file, bytes, ms = duration.0, "tftp file sent");
            }
            Fate::Ended(Outcome::Probed) => tracing::debug!(%client, file, "tftp size probe"),
            Fate::Ended(outcome @ (Outcome::Aborted(_) | Outcome::Lost)) => {
                counters.failed.raise();
                tracing::info!(%client, file, bytes, ?outcome, "tftp transfer ended early");
            }
            Fate::NotFound => counters.not_found.raise(),
            Fate::Refused => counters.refused.raise(),
        }
        (server.settings.on_event)(TftpEvent { client, file, bytes, started, duration, fate, opened });
    }
}

/// A foreign name for logs and events: no control characters, bounded.
fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(256).map(|c| if c.is_control() { '?' } else { c }).collect()
}
