//! One NBD connection: the handshake against the clock, then requests in their order until the client leaves.
//! Content goes from the page cache to the socket by sendfile(2) and is never copied through this process.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, send};
use tokio::io::{AsyncReadExt as _, BufReader, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::base::Timestamp;
use crate::base::counter::Counter;
use crate::base::limits::{NBD_HANDSHAKE_MAX, NBD_NAMES_MAX, NBD_OPTION_BYTES_MAX, NBD_OPTIONS_MAX};
use crate::engine::nbd::{Next, Touched, Verdict, answer, answer_export, answer_malformed, judge};
use crate::transport::clock::now;
use crate::transport::nbd::{Ended, Export, Server};
use crate::wire::nbd::{
    ClientOption, OPTION_HEAD_BYTES, REQUEST_BYTES, emit_greeting, emit_reply, parse_client_flags,
    parse_option, parse_option_head, parse_request,
};

/// Requests that are read in one call: a client's whole queue of some dozen.
const READ_BYTES: usize = 4096;

/// One call of sendfile. Long enough that calls cost nothing, short enough that connections take turns.
const CHUNK_BYTES: usize = 512 << 10;

/// A client that takes nothing for so long, though its kernel lives, holds a place that others need.
const STALL: Duration = Duration::from_secs(120);

/// More follows at once: the kernel waits for it to fill a segment.
const MORE: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_MORE);

/// One connection.
pub(crate) struct Session {
    server: Arc<Server>,
    client: SocketAddr,
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

impl Session {
    pub(crate) fn new(server: &Arc<Server>, stream: TcpStream, client: SocketAddr) -> Session {
        let (from, to) = stream.into_split();
        Session { server: Arc::clone(server), client, from: BufReader::with_capacity(READ_BYTES, from), to }
    }

    /// Runs to the end.
    pub(crate) async fn run(mut self) {
        let patience = Duration::from_millis(NBD_HANDSHAKE_MAX.0);
        let agreed = tokio::time::timeout(patience, self.agree()).await;
        let agreed = agreed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let export = match agreed {
            Ok(Some(export)) => export,
            Ok(None) => return, // it only wanted to know something
            Err(error) => {
                tracing::debug!(client = %self.client, %error, "nbd handshake failed");
                return self.server.counters.handshakes_failed.raise();
            }
        };
        tracing::debug!(client = %self.client, image = export.label, "nbd export in use");
        let mut usage = Usage::begin(&self, export);
        match self.serve(&mut usage).await {
            Ok(()) => usage.parted = true,
            Err(error) => {
                self.server.counters.broken.raise();
                tracing::debug!(client = %self.client, %error, "nbd connection broke off");
            }
        }
    }

    /// The handshake. None: the client took its leave without an export.
    async fn agree(&mut self) -> io::Result<Option<Export>> {
        self.write(&emit_greeting(), MsgFlags::empty()).await?;
        let mut flags = [0; 4];
        self.from.read_exact(&mut flags).await?;
        let flags = parse_client_flags(flags).map_err(io::Error::other)?;
        for _ in 0..NBD_OPTIONS_MAX {
            let mut head = [0; OPTION_HEAD_BYTES];
            self.from.read_exact(&mut head).await?;
            let head = parse_option_head(&head).map_err(io::Error::other)?;
            if head.length > NBD_OPTION_BYTES_MAX {
                return Err(io::Error::other("the option is too long"));
            }
            let mut data = vec![0; usize::try_from(head.length).map_err(io::Error::other)?];
            self.from.read_exact(&mut data).await?;
            let mut chosen = None;
            let answer = match parse_option(head.kind, &data) {
                Ok(
                    option @ (ClientOption::ExportName(name)
                    | ClientOption::Info(name)
                    | ClientOption::Go(name)),
                ) => {
                    chosen = self.find(name).await;
                    answer_export(&option, chosen.as_ref().map(|export| export.size), flags.no_zeroes)
                }
                Ok(ClientOption::List) => answer(&ClientOption::List, &self.names().await),
                Ok(option) => answer(&option, &[]),
                Err(_) => answer_malformed(head.kind),
            };
            self.write(&answer.bytes, MsgFlags::empty()).await?;
            match answer.next {
                Next::Option => {}
                Next::Requests => return Ok(chosen),
                Next::HangUp => return Ok(None),
            }
        }
        Err(io::Error::other("the handshake has too many options"))
    }

    async fn find(&self, name: &str) -> Option<Export> {
        let (open, name, address) =
            (Arc::clone(&self.server.settings.open), name.to_owned(), self.client.ip().to_canonical());
        let wanted = name.clone();
        // A name may lead to a slow disk.
        let found = tokio::task::spawn_blocking(move || open(&name, address)).await.ok().flatten();
        if found.is_none() {
            self.server.counters.not_found.raise();
            tracing::info!(client = %self.client, name = wanted.escape_debug().to_string(), "no such nbd export");
        }
        found
    }

    async fn names(&self) -> Vec<String> {
        let (names, address) = (Arc::clone(&self.server.settings.names), self.client.ip().to_canonical());
        let mut names = tokio::task::spawn_blocking(move || names(address)).await.unwrap_or_default();
        names.truncate(NBD_NAMES_MAX);
        names
    }

    /// Carries out requests until the client leaves.
    async fn serve(&mut self, usage: &mut Usage) -> io::Result<()> {
        loop {
            let mut bytes = [0; REQUEST_BYTES];
            // A machine that is up may ask nothing for days; the kernel watches whether it lives.
            self.from.read_exact(&mut bytes).await?;
            let request = parse_request(&bytes).map_err(io::Error::other)?;
            usage.requests = usage.requests.saturating_add(1);
            self.server.counters.requests.raise();
            match judge(&request, usage.export.size) {
                Verdict::Read { offset, length } => {
                    // The reply's head leaves together with the first octets behind it.
                    self.write(&emit_reply(request.cookie, None), MORE).await?;
                    self.send_file(&usage.export.file, offset, length).await?;
                    usage.sent(offset, length, &self.server.counters.bytes);
                }
                Verdict::Done => self.write(&emit_reply(request.cookie, None), MsgFlags::empty()).await?,
                Verdict::Refuse { error, payload } => {
                    self.skip(payload).await?;
                    self.server.counters.denied.raise();
                    self.write(&emit_reply(request.cookie, Some(error)), MsgFlags::empty()).await?;
                }
                Verdict::Leave => return Ok(()),
                Verdict::HangUp => return Err(io::Error::other("the payload is too long")),
            }
        }
    }

    async fn skip(&mut self, octets: u32) -> io::Result<()> {
        let mut payload = (&mut self.from).take(u64::from(octets));
        let mut nowhere = tokio::io::sink();
        let count = in_time(tokio::io::copy(&mut payload, &mut nowhere)).await?;
        if count == u64::from(octets) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    async fn write(&self, bytes: &[u8], flags: MsgFlags) -> io::Result<()> {
        let tcp = self.to.as_ref();
        let mut rest = bytes;
        while !rest.is_empty() {
            let attempt = || {
                send(tcp.as_raw_fd(), rest, flags | MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)
                    .map_err(io::Error::from)
            };
            let sent = in_time(tcp.async_io(Interest::WRITABLE, attempt)).await?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    async fn send_file(&self, file: &File, offset: u64, length: u32) -> io::Result<()> {
        let tcp = self.to.as_ref();
        let mut at = i64::try_from(offset).map_err(io::Error::other)?;
        let mut left = usize::try_from(length).map_err(io::Error::other)?;
        while left > 0 {
            let attempt = || match sendfile64(tcp, file, Some(&mut at), left.min(CHUNK_BYTES)) {
                Err(Errno::EINTR) => Err(io::ErrorKind::Interrupted.into()),
                sent => sent.map_err(io::Error::from),
            };
            match in_time(tcp.async_io(Interest::WRITABLE, attempt)).await {
                // Somebody made the file shorter. The reply has begun, so that no error can be said any more.
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => left = left.saturating_sub(sent),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(STALL, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// An export in use. Its end is told when it is dropped: also if the daemon stops.
struct Usage {
    server: Arc<Server>,
    client: SocketAddr,
    export: Export,
    since: Timestamp,
    read: u64,
    touched: Touched,
    requests: u64,
    parted: bool,
}

impl Usage {
    fn begin(session: &Session, export: Export) -> Usage {
        let touched = Touched::new(export.size);
        let (server, client) = (Arc::clone(&session.server), session.client);
        Usage { server, client, export, since: now(), read: 0, touched, requests: 0, parted: false }
    }

    fn sent(&mut self, offset: u64, length: u32, bytes: &Counter) {
        self.read = self.read.saturating_add(u64::from(length));
        self.touched.mark(offset, length);
        bytes.add(u64::from(length));
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        (self.server.settings.on_end)(Ended {
            client: self.client,
            label: std::mem::take(&mut self.export.label),
            size: self.export.size,
            read: self.read,
            touched: self.touched.octets(),
            requests: self.requests,
            duration: now().since(self.since),
            parted: self.parted,
        });
    }
}
