//! A file, or a part of it, out of one connection: the head by hand, the body by sendfile(2), which copies nothing
//! through this process.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::time::{Duration, UNIX_EPOCH};

use axum::http::{HeaderMap, StatusCode};
use nix::errno::Errno;
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, send};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::base::limits::{READER_BYTES_MIN, READER_SPAN, READER_STALL};
use crate::base::{Digest, Timestamp};
use crate::transport::clock::{now, steady};
use crate::transport::http::file::{OpenedFile, answer_head};
use crate::transport::http::head::Head;
use crate::transport::http::streams::{RetryAfter, Stream, Streams};

/// One call of sendfile: long enough that calls cost nothing, short enough that a file that must come from the
/// disk keeps its thread for some milliseconds only, and that streams take turns under a rate limit.
const CHUNK_BYTES: u64 = 512 << 10;

/// What a path leads to.
pub struct FileFound {
    pub file: OpenedFile,
    /// By whose ending the media type is told.
    pub name: String,
    /// What people call it, in traffic and events.
    pub label: String,
    pub digest: Option<Digest>,
}

/// Answers one request. True: the connection may go on.
///
/// # Errors
/// The client went away or is too slow, or the file became shorter.
pub(crate) async fn answer(
    tcp: &TcpStream,
    peer: IpAddr,
    head: &Head,
    found: FileFound,
    streams: &Streams,
) -> io::Result<bool> {
    let FileFound { file, name, label, digest } = found;
    let (builder, part) = answer_head(head.request(), file.size, &file.etag, &name);
    let (mut parts, ()) = builder.body(()).map_err(io::Error::other)?.into_parts();
    let Some((first, length)) = part.filter(|(_, length)| *length > 0 && !head.bodiless) else {
        write_all(tcp, &written(parts.status, &parts.headers, head.keep_alive), MsgFlags::empty()).await?;
        return Ok(head.keep_alive);
    };
    let stream = streams.open(peer, &label, digest, length);
    let turn = tokio::select! {
        turn = stream.turn(head.manner) => turn,
        () = gone(tcp) => return Err(io::ErrorKind::ConnectionReset.into()),
    };
    if let Err(RetryAfter(seconds)) = turn {
        parts.headers.clear();
        parts.headers.insert("content-length", 0.into());
        parts.headers.insert("retry-after", seconds.into());
        let busy = written(StatusCode::SERVICE_UNAVAILABLE, &parts.headers, head.keep_alive);
        write_all(tcp, &busy, MsgFlags::empty()).await?;
        return Ok(head.keep_alive);
    }
    // The head leaves together with the first octets.
    write_all(
        tcp,
        &written(parts.status, &parts.headers, head.keep_alive),
        MsgFlags::from_bits_retain(libc::MSG_MORE),
    )
    .await?;
    body(tcp, &file.into_std(), first, length, &stream).await?;
    Ok(head.keep_alive)
}

/// Resolves when the client has closed its side. What it sends meanwhile is its next request.
async fn gone(tcp: &TcpStream) {
    match tcp.peek(&mut [0; 1]).await {
        Ok(0) | Err(_) => {}
        Ok(_) => std::future::pending().await,
    }
}

/// Status line and fields as octets (RFC 9112 section 4).
fn written(status: StatusCode, headers: &HeaderMap, keep_alive: bool) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut octets = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in headers {
        octets.extend_from_slice(name.as_str().as_bytes());
        octets.extend_from_slice(b": ");
        octets.extend_from_slice(value.as_bytes());
        octets.extend_from_slice(b"\r\n");
    }
    if !keep_alive {
        octets.extend_from_slice(b"connection: close\r\n");
    }
    octets.extend_from_slice(format!("date: {}\r\n\r\n", date()).as_bytes());
    octets
}

/// The time as HTTP says it.
fn date() -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(now().0))
}

async fn write_all(tcp: &TcpStream, mut octets: &[u8], flags: MsgFlags) -> io::Result<()> {
    let flags = flags | MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    while !octets.is_empty() {
        writable(tcp).await?;
        match tcp.try_io(Interest::WRITABLE, || send(tcp.as_raw_fd(), octets, flags).map_err(io::Error::from))
        {
            Ok(count) => octets = octets.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn writable(tcp: &TcpStream) -> io::Result<()> {
    tokio::time::timeout(Duration::from_millis(READER_STALL.0), tcp.writable())
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn body(tcp: &TcpStream, file: &File, first: u64, length: u64, stream: &Stream) -> io::Result<()> {
    let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
    let mut offset = i64::try_from(first).map_err(too_large)?;
    let (mut left, mut granted) = (length, 0);
    let mut patience = Patience::new(steady());
    while left > 0 {
        let want = left.min(CHUNK_BYTES);
        if granted == 0 {
            if stream.is_paced() {
                stream.pace(want).await;
                // Waiting for the pace is not the reader's fault.
                patience = Patience::new(steady());
            }
            granted = want;
        }
        writable(tcp).await?;
        let count = usize::try_from(granted.min(left)).map_err(too_large)?;
        let sent = tcp.try_io(Interest::WRITABLE, || {
            sendfile64(tcp, file, Some(&mut offset), count).map_err(io::Error::from)
        });
        match sent {
            // Somebody truncated a file of the image root.
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                let count = u64::try_from(count).unwrap_or(left).min(left);
                left = left.saturating_sub(count);
                granted = granted.saturating_sub(count);
                stream.sent(count);
                patience.on_taken(count, steady())?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Watches that a reader is not slower than any machine.
struct Patience {
    since: Timestamp,
    taken: u64,
}

impl Patience {
    fn new(now: Timestamp) -> Patience {
        Patience { since: now, taken: 0 }
    }

    fn on_taken(&mut self, octets: u64, now: Timestamp) -> io::Result<()> {
        self.taken = self.taken.saturating_add(octets);
        if now.since(self.since) < READER_SPAN {
            return Ok(());
        }
        if self.taken < READER_BYTES_MIN {
            return Err(io::ErrorKind::TimedOut.into());
        }
        *self = Patience::new(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use crate::base::Timestamp;
    use crate::base::limits::{READER_BYTES_MIN, READER_SPAN};
    use crate::transport::http::send::Patience;

    #[test]
    fn a_reader_that_takes_a_little_now_and_then_is_given_up_and_one_that_is_merely_slow_is_not() {
        let second = |number: u64| Timestamp(number * 1000);
        let mut slow = Patience::new(second(0));
        for number in 1..3600 {
            slow.on_taken(READER_BYTES_MIN / READER_SPAN.as_secs() + 1, second(number)).unwrap();
        }
        let mut dead = Patience::new(second(0));
        let gave_up = (1..3600).find(|number| dead.on_taken(1, second(*number)).is_err());
        assert_eq!(gave_up, Some(READER_SPAN.as_secs()));
        let kind = Patience::new(second(0)).on_taken(1, second(3600)).unwrap_err().kind();
        assert_eq!(kind, ErrorKind::TimedOut);
    }
}
