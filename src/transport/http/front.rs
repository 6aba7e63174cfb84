//! The front of plain listeners: requests for files are answered by `send` on threads of their own, everything
//! else by hyper. A connection changes sides as its requests do.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use crate::base::limits::READER_STALL;
use crate::transport::http::head::{Head, Said, read};
use crate::transport::http::listener::{END_GRACE, HEAD_PATIENCE, Http, Peer, answer};
use crate::transport::http::relay::{Answered, Relay, State, UnderWay};
use crate::transport::http::send::{self, FileFound};
use crate::transport::http::streams::Streams;
use crate::transport::tasks::Tasks;

/// One read of a head.
const READ_BYTES: usize = 4 << 10;

/// Finds the file that a path means. None: the router answers. May wait for a disk.
pub type Find = Arc<dyn Fn(&str, Peer) -> Option<FileFound> + Send + Sync>;

/// What the front needs to answer requests for files.
#[derive(Clone)]
pub struct Files {
    /// Paths below these may mean files.
    pub prefixes: &'static [&'static str],
    pub find: Find,
    pub streams: Streams,
    /// Where files are sent: a disk that is slow, or a thousand streams, must not delay packets.
    pub runtime: Handle,
}

/// A connection of a plain listener.
struct Connection {
    server: Http,
    files: Files,
    peer: Peer,
    /// Room for one connection, as long as it lasts.
    _permit: OwnedSemaphorePermit,
    tasks: Tasks,
}

/// What comes next on a connection.
enum Next {
    File(Box<Head>),
    Other,
    /// Nothing any more.
    End,
}

/// Serves a connection until it ends.
pub(crate) fn serve(
    server: &Http,
    files: &Files,
    stream: TcpStream,
    peer: Peer,
    permit: OwnedSemaphorePermit,
    tasks: &Tasks,
) {
    // A socket that will not have it is watched by `send` alone.
    let _ = setsockopt(&stream, TcpUserTimeout, &u32::try_from(READER_STALL.0).unwrap_or(u32::MAX));
    let connection = Connection {
        server: server.clone(),
        files: files.clone(),
        peer,
        _permit: permit,
        tasks: tasks.clone(),
    };
    tasks.spawn("http-connection", connection.general(stream, Vec::new(), false));
}

impl Connection {
    /// Everything but files. `routed`: the request that was read already is hyper's, whatever its path.
    async fn general(self, mut stream: TcpStream, mut held: Vec<u8>, mut routed: bool) {
        loop {
            let next = if routed { Next::Other } else { self.next(&mut stream, &mut held).await };
            match next {
                Next::End => return,
                Next::File(_) => return self.into_files(stream, held),
                Next::Other => match self.hyper(stream, std::mem::take(&mut held), routed).await {
                    Some(released) => (stream, held) = released,
                    None => return,
                },
            }
            routed = false;
        }
    }

    fn into_files(self, stream: TcpStream, held: Vec<u8>) {
        let Ok(stream) = stream.into_std() else { return };
        let (tasks, runtime) = (self.tasks.clone(), self.files.runtime.clone());
        let home = Handle::current();
        tasks.spawn_on(&runtime, "http-files", async move {
            let Ok(stream) = TcpStream::from_std(stream) else { return };
            let stop = self.tasks.token();
            tokio::select! {
                () = self.send_files(stream, held, home) => {}
                () = async { stop.cancelled().await; tokio::time::sleep(END_GRACE).await } => {}
            }
        });
    }

    fn into_general(self, stream: TcpStream, held: Vec<u8>, routed: bool, home: &Handle) {
        let Ok(stream) = stream.into_std() else { return };
        let tasks = self.tasks.clone();
        tasks.spawn_on(home, "http-connection", async move {
            if let Ok(stream) = TcpStream::from_std(stream) {
                self.general(stream, held, routed).await;
            }
        });
    }

    async fn send_files(self, mut stream: TcpStream, mut held: Vec<u8>, home: Handle) {
        loop {
            let head = match self.next(&mut stream, &mut held).await {
                Next::File(head) => head,
                Next::Other => return self.into_general(stream, held, false, &home),
                Next::End => return,
            };
            let Some(found) = (self.files.find)(&head.path, self.peer) else {
                return self.into_general(stream, held, true, &home);
            };
            held.drain(..head.length.min(held.len()));
            self.server.counters.requests.raise();
            let Peer::Tcp { remote, .. } = self.peer else { return };
            tracing::debug!(peer = %remote, path = head.path, label = found.label, "file");
            match send::answer(&stream, remote.ip(), &head, found, &self.files.streams).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.server.counters.broken.raise();
                    tracing::debug!(peer = ?self.peer, path = head.path, %error, "a file was not sent whole");
                    return;
                }
            }
        }
    }

    /// Waits for the next head.
    async fn next(&self, stream: &mut TcpStream, held: &mut Vec<u8>) -> Next {
        let reading = async {
            loop {
                match read(held, self.files.prefixes) {
                    Said::File(head) => return Next::File(head),
                    Said::Other { .. } => return Next::Other,
                    Said::More => {}
                }
                held.reserve(READ_BYTES);
                match stream.read_buf(held).await {
                    Ok(0) if held.is_empty() => return Next::End,
                    Ok(0) => return Next::Other, // hyper says what is wrong with half a head
                    Ok(_) => {}
                    Err(_) => return Next::End,
                }
            }
        };
        tokio::select! {
            next = tokio::time::timeout(HEAD_PATIENCE, reading) => next.unwrap_or(Next::End),
            () = self.tasks.stopping() => Next::End,
        }
    }

    /// Lets hyper serve until a file is asked for: the connection and what was read of that request. None: it
    /// has ended. `routed`: the first request is hyper's in any case.
    async fn hyper(&self, stream: TcpStream, held: Vec<u8>, routed: bool) -> Option<(TcpStream, Vec<u8>)> {
        let state = Arc::new(State::default());
        let relay = Relay::new(stream, held, routed, self.files.prefixes, Arc::clone(&state));
        let (router, counters, peer) = (self.server.router(), Arc::clone(&self.server.counters), self.peer);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            counters.requests.raise();
            let under_way = UnderWay::new(&state);
            let answering = answer(router.clone(), peer, request);
            // Boxed: a connection that gives its parts back must be movable.
            let answered: Pin<Box<dyn Future<Output = Result<Response<Answered>, Infallible>> + Send>> =
                Box::pin(async move {
                    let response = answering.await?;
                    Ok(response.map(|body| Answered::new(body, under_way)))
                });
            answered
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
        let mut connection = builder.serve_connection(TokioIo::new(relay), service);
        let stop = self.tasks.token();
        let ended = tokio::select! {
            ended = std::future::poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
            () = stop.cancelled() => {
                Pin::new(&mut connection).graceful_shutdown();
                let rest = std::future::poll_fn(|context| connection.poll_without_shutdown(context));
                tokio::time::timeout(END_GRACE, rest).await.unwrap_or(Ok(()))
            }
        };
        let released = connection.into_parts().io.into_inner().released();
        if let (None, Err(error)) = (&released, ended) {
            self.server.counters.broken.raise();
            tracing::debug!(peer = ?self.peer, %error, "http connection broke off");
        }
        released
    }
}

/// Threads on which files are sent, apart from those of packets and requests. They end with the daemon.
///
/// # Errors
/// The system has no more threads to give.
pub fn threads(tasks: &Tasks) -> std::io::Result<Handle> {
    let count = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
    // Streams have their grace; what is left then is cut off with the runtime.
    tasks.threads("muster-files", count, END_GRACE + Duration::from_secs(1))
}
