//! The log port: lines that machines send while they boot, by syslog or netconsole, go to their boot records. They
//! are not kept elsewhere; a log server for running systems is somebody else's.
//!
//! Bounds: what comes from outside of our networks is not read; of the rest so many lines in a second are taken, and
//! more are dropped and counted. A record keeps some dozens of them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;

use crate::base::Timestamp;
use crate::base::counter::Counter;
use crate::base::limits::{LOG_DATAGRAM_BYTES_MAX, LOG_LINES_PER_SECOND};
use crate::engine::record::What;
use crate::transport::clock::steady;
use crate::transport::recorder::Recorder;
use crate::transport::tasks::Tasks;
use crate::wire::syslog::parse;

/// The port of syslog (RFC 3164 section 2), and the only one that iPXE knows.
pub const SYSLOG_PORT: u16 = 514;

/// The receiver's settings.
#[derive(Clone)]
pub struct Logs {
    pub listen: Vec<SocketAddr>,
    /// Whose lines are read.
    pub allow: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    pub recorder: Recorder,
}

/// A port that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for logs on {address}")]
pub struct LogsError {
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
}

/// What the receiver counts.
#[derive(Debug, Default)]
pub struct LogsCounters {
    pub lines: Counter,
    /// Lines beyond what is taken in a second.
    pub dropped: Counter,
    /// Datagrams from outside of our networks.
    pub ignored: Counter,
}

/// A running receiver.
#[derive(Clone, Debug)]
pub struct LogsHandle {
    /// The addresses listened on, with real ports.
    pub addresses: Vec<SocketAddr>,
    pub counters: Arc<LogsCounters>,
}

/// Lines of this second.
struct Second {
    began: Timestamp,
    lines: u32,
}

impl Logs {
    /// Opens the ports and starts to read.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub fn start(self, tasks: &Tasks) -> Result<LogsHandle, LogsError> {
        let counters = Arc::new(LogsCounters::default());
        let mut addresses = Vec::new();
        for address in self.listen.clone() {
            let wrong = |source| LogsError { address, source };
            let socket = std::net::UdpSocket::bind(address).map_err(wrong)?;
            socket.set_nonblocking(true).map_err(wrong)?;
            let socket = UdpSocket::from_std(socket).map_err(wrong)?;
            addresses.push(socket.local_addr().map_err(wrong)?);
            let (logs, counters, stop) = (self.clone(), Arc::clone(&counters), tasks.token());
            tasks.spawn("logs", async move {
                tokio::select! {
                    () = logs.read(&socket, &counters) => {}
                    () = stop.cancelled() => {}
                }
            });
        }
        Ok(LogsHandle { addresses, counters })
    }

    async fn read(&self, socket: &UdpSocket, counters: &LogsCounters) {
        let mut buffer = [0; LOG_DATAGRAM_BYTES_MAX];
        let mut second = Second { began: steady(), lines: 0 };
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((length, from)) => {
                    self.take(buffer.get(..length).unwrap_or_default(), from.ip(), &mut second, counters);
                }
                Err(error) => {
                    tracing::warn!(%error, "the log port cannot be read");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn take(&self, datagram: &[u8], from: IpAddr, second: &mut Second, counters: &LogsCounters) {
        if !(self.allow)(from) {
            return counters.ignored.raise();
        }
        let now = steady();
        if now.since(second.began).as_secs() > 0 {
            *second = Second { began: now, lines: 0 };
        }
        for line in parse(datagram) {
            if second.lines >= LOG_LINES_PER_SECOND {
                counters.dropped.raise();
                continue;
            }
            second.lines = second.lines.saturating_add(1);
            counters.lines.raise();
            self.recorder.saw(Some(from), What::Log { severity: line.severity, text: line.text });
        }
    }
}
