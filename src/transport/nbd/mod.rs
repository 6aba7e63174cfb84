//! The NBD server: root images, block by block, to machines that fetch only what they touch. Read-only, over TCP.
//! What is said is `engine::nbd`'s; here are sockets, patience and counting.
//!
//! One task for each connection, on threads of their own: reading a block that is not in memory holds its thread
//! until the disk has answered, and packets must not wait for that.

mod session;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::base::Millis;
use crate::base::counter::Counter;
use crate::base::limits::{NBD_CONNECTIONS_MAX, NBD_CONNECTIONS_PER_CLIENT_MAX};
use crate::transport::nbd::session::Session;
use crate::transport::tasks::Tasks;

/// Connections waiting to be accepted: a power-on storm of thousands connects within a second.
const BACKLOG: u32 = 4096;

/// Threads beside one for each core: while these wait for the disk, others are served from memory.
const DISK_THREADS: usize = 6;

/// A machine that is switched off says no goodbye. After so long without a sign the kernel asks, then gives up.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(6);

/// How long sent data may stay unconfirmed.
const DEAD_AFTER: Duration = Duration::from_secs(90);

/// An image, open.
#[derive(Debug)]
pub struct Export {
    pub file: File,
    /// Octets of it that are served: its size when it was opened.
    pub size: u64,
    /// What people call it.
    pub label: String,
    /// Kept as long as the export is in use.
    pub held: Option<Held>,
}

/// What its owner wants kept; says nothing about itself.
pub struct Held(pub Box<dyn Send + Sync>);

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

/// Finds an export by the name that a client asks for. May wait for a disk.
pub type Open = Arc<dyn Fn(&str, IpAddr) -> Option<Export> + Send + Sync>;

/// The names that a client is told when it asks for a list. May wait for a disk.
pub type Names = Arc<dyn Fn(IpAddr) -> Vec<String> + Send + Sync>;

/// The use of one export over one connection, when it has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    pub client: SocketAddr,
    pub label: String,
    pub size: u64,
    /// Octets sent, repetitions included.
    pub read: u64,
    /// Octets of the image that were asked for at least once, in parts of at least 64 KiB.
    pub touched: u64,
    pub requests: u64,
    pub duration: Millis,
    /// False if the connection broke off. A machine that is switched off breaks off.
    pub parted: bool,
}

/// The server's settings.
#[derive(Clone)]
pub struct Nbd {
    pub listen: Vec<SocketAddr>,
    pub open: Open,
    pub names: Names,
    /// Whom to serve; others are hung up on.
    pub allow: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Called once for each export that was used, from the connection's task: must not block.
    pub on_end: Arc<dyn Fn(Ended) + Send + Sync>,
    /// The threads to run on (`threads`).
    pub runtime: Handle,
}

/// A listener that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for nbd on {address}")]
pub struct NbdError {
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
}

/// What the server counts.
#[derive(Debug, Default)]
pub struct NbdCounters {
    pub connections: Counter,
    /// Connections that were hung up on at the door: strangers, and clients with too many.
    pub refused: Counter,
    /// Handshakes that came to no export: broken off, not understood, too slow.
    pub handshakes_failed: Counter,
    /// Requests for names that lead nowhere.
    pub not_found: Counter,
    pub requests: Counter,
    /// Requests that were answered with an error.
    pub denied: Counter,
    /// Octets of content sent.
    pub bytes: Counter,
    /// Connections that broke off while an export was in use.
    pub broken: Counter,
}

/// A running server.
#[derive(Clone, Debug)]
pub struct NbdHandle {
    /// The addresses listened on, with real ports.
    pub addresses: Vec<SocketAddr>,
    pub counters: Arc<NbdCounters>,
}

/// What all tasks of the server share.
struct Server {
    settings: Nbd,
    counters: Arc<NbdCounters>,
    tasks: Tasks,
    permits: Arc<Semaphore>,
    // A mutex: one map operation when a connection comes and one when it goes; never held across an await.
    clients: Mutex<HashMap<IpAddr, usize>>,
}

/// Threads for connections, apart from those of packets and requests. They end with the daemon.
///
/// # Errors
/// The system has no more threads to give.
pub fn threads(tasks: &Tasks) -> io::Result<Handle> {
    let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    // Connections end by themselves when the daemon stops.
    tasks.threads("muster-nbd", cores.saturating_add(DISK_THREADS), Duration::ZERO)
}

impl Nbd {
    /// Opens the listeners and starts to serve.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub fn start(self, tasks: &Tasks) -> Result<NbdHandle, NbdError> {
        let counters = Arc::new(NbdCounters::default());
        let (listen, runtime) = (self.listen.clone(), self.runtime.clone());
        let server = Arc::new(Server {
            settings: self,
            counters: Arc::clone(&counters),
            tasks: tasks.clone(),
            permits: Arc::new(Semaphore::new(NBD_CONNECTIONS_MAX)),
            clients: Mutex::default(),
        });
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in listen {
            let wrong = |source| NbdError { address, source };
            let _inside = runtime.enter(); // sockets belong to the runtime that waits for them
            let listener = bind(address).map_err(wrong)?;
            addresses.push(listener.local_addr().map_err(wrong)?);
            listeners.push(listener);
        }
        for listener in listeners {
            tasks.spawn_on(&runtime, "nbd listener", Arc::clone(&server).accept(listener));
        }
        Ok(NbdHandle { addresses, counters })
    }
}

impl Server {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = self.next(&listener) => accepted, // a permit that is dropped is given back
                () = self.tasks.stopping() => return,
            };
            match accepted {
                Ok((permit, stream, client)) => self.admit(permit, stream, client),
                Err(error) => {
                    // Descriptors have run out; spinning would make it worse.
                    tracing::warn!(%error, "cannot accept an nbd connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// The next connection, once there is room for it; the kernel's backlog holds the others.
    async fn next(
        &self,
        listener: &TcpListener,
    ) -> io::Result<(OwnedSemaphorePermit, TcpStream, SocketAddr)> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, client) = listener.accept().await?;
        Ok((permit, stream, client))
    }

    fn admit(self: &Arc<Self>, permit: OwnedSemaphorePermit, stream: TcpStream, client: SocketAddr) {
        let address = client.ip().to_canonical();
        let guest = if (self.settings.allow)(address) { Guest::enter(self, address) } else { None };
        let Some(guest) = guest else {
            tracing::debug!(%client, "nbd connection is not let in");
            return self.counters.refused.raise();
        };
        self.counters.connections.raise();
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%client, %error, "an nbd connection cannot be watched for life");
        }
        let server = Arc::clone(self);
        self.tasks.spawn_on(&self.settings.runtime, "nbd connection", async move {
            let session = Session::new(&server, stream, client);
            tokio::select! {
                () = session.run() => {}
                () = server.tasks.stopping() => {} // nodes come back to the next daemon
            }
            drop((guest, permit));
        });
    }
}

/// A connection among those of its address.
struct Guest {
    server: Arc<Server>,
    address: IpAddr,
}

impl Guest {
    fn enter(server: &Arc<Server>, address: IpAddr) -> Option<Guest> {
        let mut clients = server.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(address).or_default();
        if *count >= NBD_CONNECTIONS_PER_CLIENT_MAX {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Guest { server: Arc::clone(server), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut clients = self.server.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                clients.remove(&self.address);
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Small replies leave at once, and machines that are gone are found out.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_user_timeout(Some(DEAD_AFTER))
}
