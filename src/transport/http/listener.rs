//! Accepts connections on TCP and Unix sockets and hands requests to a router, with the peer's and the own
//! address attached. Bounded in connections and in patience.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Uri};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use crate::base::counter::Counter;
use crate::base::limits::{HTTP_CONNECTIONS_MAX, TLS_HANDSHAKE_MAX};
use crate::engine::record::What;
use crate::transport::http::front::{self, Files};
use crate::transport::recorder::Recorder;
use crate::transport::tasks::Tasks;

/// How long a client may take for the head of a request; also how long an idle connection stays open.
pub(crate) const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// How long requests under way may go on after the daemon was asked to stop.
pub(crate) const END_GRACE: Duration = Duration::from_secs(5);

/// How long a client may take for the TLS handshake.
const HANDSHAKE_PATIENCE: Duration = Duration::from_millis(TLS_HANDSHAKE_MAX.0);

/// Connections waiting to be accepted: a power-on storm of thousands connects within a second.
const BACKLOG: u32 = 4096;

/// Who is at the other end of a connection. Attached to each request as an extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// Over the Unix socket: the operating system let it in by the socket's mode.
    Local,
    Tcp {
        remote: SocketAddr,
        /// Where the head serves plain HTTP, by the address that the peer came to.
        local: SocketAddr,
    },
}

/// The request came over TLS. Attached to each such request as an extension: a browser's session counts there only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Secure;

/// What the listeners count.
#[derive(Debug, Default)]
pub struct HttpCounters {
    pub connections: Counter,
    pub requests: Counter,
    /// Connections that ended in the middle of something.
    pub broken: Counter,
    /// TLS handshakes that failed: mostly clients that do not know our authority.
    pub handshakes_failed: Counter,
}

/// One server: a router behind any number of listeners.
#[derive(Clone)]
pub struct Http {
    router: Router,
    /// Who is told of handshakes that fail.
    recorder: Option<Recorder>,
    /// None: the router answers requests for files too.
    files: Option<Files>,
    permits: Arc<Semaphore>,
    pub counters: Arc<HttpCounters>,
}

/// Says why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}")]
    Tcp {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot listen on {path}")]
    Unix {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Peer {
    /// The peer's IPv4 address, also when the listener is IPv6.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        match self {
            Peer::Local => None,
            Peer::Tcp { remote, .. } => ipv4(remote),
        }
    }

    /// The peer's address of either kind.
    #[must_use]
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        match self {
            Peer::Local => None,
            Peer::Tcp { remote, .. } => Some(remote.ip()),
        }
    }

    /// The head's address by which the peer came.
    #[must_use]
    pub fn head(&self) -> Option<(Ipv4Addr, u16)> {
        match self {
            Peer::Local => None,
            Peer::Tcp { local, .. } => ipv4(local).map(|address| (address, local.port())),
        }
    }
}

fn ipv4(address: &SocketAddr) -> Option<Ipv4Addr> {
    match address.ip().to_canonical() {
        std::net::IpAddr::V4(address) => Some(address),
        std::net::IpAddr::V6(_) => None,
    }
}

impl Http {
    #[must_use]
    pub fn new(router: Router) -> Http {
        let permits = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
        Http { router, recorder: None, files: None, permits, counters: Arc::default() }
    }

    /// The same, with files sent by `sendfile` on plain listeners.
    #[must_use]
    pub fn with_files(self, files: Files) -> Http {
        Http { files: Some(files), ..self }
    }

    /// The same, with somebody who is told of TLS handshakes that fail.
    #[must_use]
    pub fn with_recorder(self, recorder: Recorder) -> Http {
        Http { recorder: Some(recorder), ..self }
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Opens a TCP listener and serves it. Returns its address (useful with port 0).
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn listen(&self, address: SocketAddr, tasks: &Tasks) -> Result<SocketAddr, ListenError> {
        let fail = |source| ListenError::Tcp { address, source };
        let listener = bind(address).map_err(fail)?;
        let bound = listener.local_addr().map_err(fail)?;
        let (server, inner) = (self.clone(), tasks.clone());
        tasks.spawn("http", async move { server.accept_tcp(listener, &inner).await });
        Ok(bound)
    }

    /// Opens the Unix socket and serves it. A socket left by a dead daemon is replaced. Mode 0660.
    ///
    /// # Errors
    /// The path cannot be bound.
    pub fn listen_unix(&self, path: &Path, tasks: &Tasks) -> Result<(), ListenError> {
        let listener =
            bind_unix(path).map_err(|source| ListenError::Unix { path: path.to_owned(), source })?;
        let (server, inner) = (self.clone(), tasks.clone());
        tasks.spawn("http-unix", async move { server.accept_unix(listener, &inner).await });
        Ok(())
    }

    async fn accept_tcp(&self, listener: TcpListener, tasks: &Tasks) {
        loop {
            let Some(permit) = self.permit(tasks).await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = tasks.stopping() => return,
            };
            match accepted {
                Ok((stream, remote)) => {
                    // Small answers (scripts) must not wait for more to come.
                    let _ = stream.set_nodelay(true);
                    let Ok(local) = stream.local_addr() else { continue };
                    let peer = Peer::Tcp { remote, local };
                    match &self.files {
                        Some(files) => {
                            self.counters.connections.raise();
                            front::serve(self, files, stream, peer, permit, tasks);
                        }
                        None => self.serve(stream, peer, permit, tasks),
                    }
                }
                Err(error) => pause_after(&error).await,
            }
        }
    }

    /// Opens a TCP listener and serves it over TLS. `plain` is the port by which the same peers reach plain
    /// HTTP: boot scripts must not name this one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn listen_tls(
        &self,
        address: SocketAddr,
        acceptor: TlsAcceptor,
        plain: u16,
        tasks: &Tasks,
    ) -> Result<SocketAddr, ListenError> {
        let fail = |source| ListenError::Tcp { address, source };
        let listener = bind(address).map_err(fail)?;
        let bound = listener.local_addr().map_err(fail)?;
        let router = self.router.clone().layer(axum::Extension(Secure));
        let (server, inner) = (Http { router, ..self.clone() }, tasks.clone());
        tasks.spawn("https", async move { server.accept_tls(listener, acceptor, plain, &inner).await });
        Ok(bound)
    }

    async fn accept_tls(&self, listener: TcpListener, acceptor: TlsAcceptor, plain: u16, tasks: &Tasks) {
        loop {
            let Some(permit) = self.permit(tasks).await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = tasks.stopping() => return,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true); // an optimisation; the connection works without
            let Ok(mut local) = stream.local_addr() else { continue };
            local.set_port(plain);
            let (server, acceptor, inner) = (self.clone(), acceptor.clone(), tasks.clone());
            // In a task of its own: a client that says nothing must not keep others from the door.
            tasks.spawn("https-handshake", async move {
                let handshake = tokio::time::timeout(HANDSHAKE_PATIENCE, acceptor.accept(stream));
                let shaken = tokio::select! {
                    shaken = handshake => shaken,
                    () = inner.stopping() => return,
                };
                match shaken {
                    Ok(Ok(stream)) => server.serve(stream, Peer::Tcp { remote, local }, permit, &inner),
                    Ok(Err(error)) => {
                        server.counters.handshakes_failed.raise();
                        tracing::debug!(%remote, %error, "TLS handshake failed");
                        if let Some(recorder) = &server.recorder {
                            recorder.saw(Some(remote.ip()), What::TlsFailed(error.to_string()));
                        }
                    }
                    Err(_) => server.counters.handshakes_failed.raise(),
                }
            });
        }
    }

    async fn accept_unix(&self, listener: UnixListener, tasks: &Tasks) {
        loop {
            let Some(permit) = self.permit(tasks).await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = tasks.stopping() => return,
            };
            match accepted {
                Ok((stream, _)) => self.serve(stream, Peer::Local, permit, tasks),
                Err(error) => pause_after(&error).await,
            }
        }
    }

    /// Waits for room for one more connection; the kernel's backlog holds the others.
    async fn permit(&self, tasks: &Tasks) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            permit = Arc::clone(&self.permits).acquire_owned() => permit.ok(),
            () = tasks.stopping() => None,
        }
    }

    fn serve<S>(&self, stream: S, peer: Peer, permit: OwnedSemaphorePermit, tasks: &Tasks)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.counters.connections.raise();
        let (router, counters, stop) = (self.router.clone(), Arc::clone(&self.counters), tasks.token());
        tasks.spawn("http-connection", async move {
            let counted = Arc::clone(&counters);
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                counted.requests.raise();
                answer(router.clone(), peer, request)
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
            let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::time::timeout(END_GRACE, connection).await.unwrap_or(Ok(()))
                }
            };
            if let Err(error) = ended {
                counters.broken.raise();
                tracing::debug!(?peer, %error, "http connection broke off");
            }
            drop(permit);
        });
    }
}

/// Asks the router. Paths are cleaned of the double slashes that shim, GRUB and cloud-init make, and of the
/// slash at the end that some clients add.
pub(crate) async fn answer(
    mut router: Router,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<axum::response::Response, Infallible> {
    let mut request = request.map(Body::new);
    let path = request.uri().path();
    if (path.contains("//") || path.len() > 1 && path.ends_with('/'))
        && let Some(uri) = tidy(request.uri())
    {
        *request.uri_mut() = uri;
    }
    request.extensions_mut().insert(peer);
    router.call(request).await
}

fn tidy(uri: &Uri) -> Option<Uri> {
    let mut path = String::with_capacity(uri.path().len());
    for c in uri.path().chars() {
        if !(c == '/' && path.ends_with('/')) {
            path.push(c);
        }
    }
    if path.len() > 1 && path.ends_with('/') {
        path.pop();
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}{query}").parse().ok()
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket =
        if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind_unix(path: &Path) -> std::io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "another daemon answers there"));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        std::fs::create_dir_all(folder)?;
        // The socket decides who may use it; the way to it is open.
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Accepting fails when descriptors run out; spinning would make it worse.
async fn pause_after(error: &std::io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(100)).await;
}
