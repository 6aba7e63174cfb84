//! HTTP for one machine, as small as firmware's: one connection, one request at a time. Bodies that nobody reads
//! are thrown away by the kernel (`MSG_TRUNC`), so that a swarm takes little of the computer it loads.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::base::limits::SWARM_DOCUMENT_BYTES_MAX;
use crate::engine::swarm::dice::Throw;
use crate::engine::swarm::{Dice, Fetch, Fetched, Reason, Stage};

/// Longer than a server keeps a download in line.
const IDLE: Duration = Duration::from_secs(40);
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// What is thrown away at a time.
const GULP_BYTES: usize = 1 << 20;
/// What a reader of documents takes at a time.
const SIP_BYTES: usize = 4 << 10;

thread_local! {
    /// Never touched: with `MSG_TRUNC` the kernel only wants to know its length.
    static GULP: RefCell<Vec<u8>> = RefCell::new(vec![0; GULP_BYTES]);
}

/// A machine's connection, kept for its next request.
#[derive(Debug, Default)]
pub(in crate::transport::swarm) struct Lane(Option<(SocketAddrV4, TcpStream)>);

/// What a response's head says.
struct Head {
    status: u16,
    length: Option<u64>,
    retry_after: Option<u64>,
    keep: bool,
    /// Octets of the body that came with the head.
    early: Vec<u8>,
}

/// What went wrong, or came, on one connection.
struct Answer {
    result: Result<(), Reason>,
    bytes: u64,
    body: Vec<u8>,
    retry_after: Option<u64>,
}

pub(in crate::transport::swarm) async fn fetch(
    fetch: &Fetch,
    (server, path): (SocketAddrV4, &str),
    from: Option<Ipv4Addr>,
    (dice, cut): (Dice, u32),
    lane: &mut Lane,
) -> Fetched {
    let cut = dice.hits(Throw::Cut, fetch.serial, cut).then(|| dice.throw(Throw::CutAt, fetch.serial));
    if fetch.stage == Stage::Loader {
        // edk2 asks for the size first, on the connection of the download.
        let head = talk(fetch, ("HEAD", server, path), from, None, lane).await;
        if let Err(reason) = head.result {
            return Fetched { retry_after: head.retry_after, ..Fetched::failed(reason) };
        }
    }
    let verb = if fetch.stage == Stage::PhoneHome { "POST" } else { "GET" };
    let Answer { result, bytes, body, retry_after } =
        talk(fetch, (verb, server, path), from, cut, lane).await;
    Fetched { result, bytes, body, retry_after, retries: 0 }
}

async fn talk(
    fetch: &Fetch,
    (verb, server, path): (&str, SocketAddrV4, &str),
    from: Option<Ipv4Addr>,
    cut: Option<u64>,
    lane: &mut Lane,
) -> Answer {
    let request = request(fetch, verb, server, path);
    let kept = lane.0.take().filter(|(other, _)| *other == server).map(|(_, stream)| stream);
    let mut opened = None;
    if let Some(mut stream) = kept {
        // The server may have closed it meanwhile; then the request goes out on a new one.
        opened = ask(&mut stream, &request).await.ok().map(|head| (stream, head));
    }
    let opened = match opened {
        Some(opened) => Ok(opened),
        None => open(server, from, &request).await,
    };
    match opened {
        Ok((stream, head)) => receive(fetch, verb, (server, stream), head, (cut, lane)).await,
        Err(reason) => Answer { result: Err(reason), bytes: 0, body: Vec::new(), retry_after: None },
    }
}

async fn open(
    server: SocketAddrV4,
    from: Option<Ipv4Addr>,
    request: &str,
) -> Result<(TcpStream, Head), Reason> {
    let local = |error: io::Error| Reason::Local(error.kind().to_string());
    let socket = TcpSocket::new_v4().map_err(local)?;
    if let Some(address) = from {
        socket.bind(SocketAddrV4::new(address, 0).into()).map_err(local)?;
    }
    let mut stream = match timeout(IDLE, socket.connect(server.into())).await {
        Err(_) => return Err(Reason::Silent),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(Reason::Refused),
        Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => return Err(Reason::Silent),
        Ok(Err(error)) => return Err(local(error)),
        Ok(Ok(stream)) => stream,
    };
    let head = ask(&mut stream, request).await?;
    Ok((stream, head))
}

fn request(fetch: &Fetch, verb: &str, server: SocketAddrV4, path: &str) -> String {
    let agent = match fetch.stage {
        Stage::Loader => "UefiHttpBoot/1.0",
        Stage::Script | Stage::Kernel | Stage::Initrd => "iPXE/1.21.1",
        Stage::CloudInit | Stage::PhoneHome => "Cloud-Init/25.1",
        _ => "curl/8.14.1",
    };
    let mut text =
        format!("{verb} {path} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n");
    if fetch.offset > 0 {
        text.push_str(&format!("Range: bytes={}-\r\n", fetch.offset));
    }
    if verb == "POST" {
        let body = "hostname=swarm&fqdn=swarm&instance_id=swarm";
        let length = body.len();
        text.push_str(&format!(
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
    } else {
        text.push_str("\r\n");
    }
    text
}

/// Sends a request and reads the head of its answer.
async fn ask(stream: &mut TcpStream, request: &str) -> Result<Head, Reason> {
    stream.write_all(request.as_bytes()).await.map_err(|_| Reason::Broken)?;
    let mut buffer = Vec::with_capacity(SIP_BYTES);
    loop {
        let mut sip = [0; SIP_BYTES];
        let count = match timeout(IDLE, stream.read(&mut sip)).await {
            Err(_) => return Err(Reason::Silent),
            Ok(Err(_) | Ok(0)) => return Err(Reason::Broken),
            Ok(Ok(count)) => count,
        };
        buffer.extend_from_slice(sip.get(..count).unwrap_or_default());
        if let Some(head) = parse(&buffer)? {
            return Ok(head);
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(Reason::NotHttp);
        }
    }
}

/// Reads a head; None if more of it is to come.
fn parse(buffer: &[u8]) -> Result<Option<Head>, Reason> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(status) = response.parse(buffer) else { return Err(Reason::NotHttp) };
    let httparse::Status::Complete(end) = status else { return Ok(None) };
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok().map(str::trim)
    };
    if value("transfer-encoding").is_some() {
        return Err(Reason::NotHttp); // boot servers name the length: old firmware cannot do without
    }
    Ok(Some(Head {
        status: response.code.ok_or(Reason::NotHttp)?,
        length: value("content-length").and_then(|text| text.parse().ok()),
        retry_after: value("retry-after").and_then(|text| text.parse().ok()),
        keep: !value("connection").is_some_and(|text| text.eq_ignore_ascii_case("close")),
        early: buffer.get(end..).unwrap_or_default().to_vec(),
    }))
}

/// Reads the body, or throws it away, up to the point where chance cuts the line.
async fn receive(
    fetch: &Fetch,
    verb: &str,
    (server, mut stream): (SocketAddrV4, TcpStream),
    head: Head,
    (cut, lane): (Option<u64>, &mut Lane),
) -> Answer {
    let good = (200..300).contains(&head.status);
    let length = if verb == "HEAD" || head.status == 204 { Some(0) } else { head.length };
    let total = length.unwrap_or(u64::MAX);
    let cut = cut.filter(|_| good && total > 0).and_then(|throw| throw.checked_rem(total));
    let stop = cut.unwrap_or(total);
    let keep = matches!(fetch.stage, Stage::Script | Stage::CloudInit);
    let mut body = head.early;
    let mut bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let mut ended = Ok(());
    while bytes < stop && ended.is_ok() {
        let left = usize::try_from(stop - bytes).unwrap_or(usize::MAX);
        let read = match keep {
            true if body.len() >= SWARM_DOCUMENT_BYTES_MAX => break,
            true => timeout(IDLE, stream.read_buf(&mut body)).await,
            false => timeout(IDLE, throw_away(&stream, left)).await,
        };
        match read {
            Err(_) => ended = Err(Reason::Silent),
            Ok(Ok(0)) if length.is_none() => break,
            Ok(Ok(0) | Err(_)) => ended = Err(Reason::Broken),
            Ok(Ok(count)) => bytes += u64::try_from(count).unwrap_or(u64::MAX),
        }
    }
    if cut.is_some() && ended.is_ok() {
        ended = Err(Reason::Broken);
    }
    if head.keep && bytes == total && ended.is_ok() {
        lane.0 = Some((server, stream));
    }
    let result = if good { ended } else { Err(Reason::Http(head.status)) };
    let retry_after = head.retry_after.filter(|_| !good);
    Answer {
        result,
        bytes: if good { bytes } else { 0 },
        body: if keep { body } else { Vec::new() },
        retry_after,
    }
}

/// Has the kernel drop what has come, at most `left` octets; their number.
async fn throw_away(stream: &TcpStream, left: usize) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        let dropped = stream.try_io(Interest::READABLE, || {
            GULP.with_borrow_mut(|gulp| {
                let room = gulp.get_mut(..left.min(GULP_BYTES)).unwrap_or_default();
                recv(stream.as_raw_fd(), room, MsgFlags::MSG_TRUNC).map_err(io::Error::from)
            })
        });
        match dropped {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}
