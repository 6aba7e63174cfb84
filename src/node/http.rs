//! As much of HTTP/1.1 as a node needs to talk to its head: one request on one connection, a body with a length.
//!
//! Without TLS: what is secret comes sealed to this node's key and signed by the head, whatever carries it.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use zeroize::Zeroizing;

/// A head answers within milliseconds, and within seconds while a thousand nodes boot.
const PATIENCE: Duration = Duration::from_secs(30);

/// Octets of an answer's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Octets of an answer: the largest bundle in base64, twice.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Fields of an answer's head.
const FIELDS_MAX: usize = 64;

/// An answer: its status and its body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The body of an answer that is good. Otherwise what the head says is wrong.
    pub(crate) fn good(self) -> Result<Value> {
        let value: Option<Value> = serde_json::from_slice(&self.body).ok();
        if self.status != 200 {
            let said = ["detail", "title"].iter().find_map(|name| value.as_ref()?.get(name)?.as_str());
            bail!("the head answers {}: {}", self.status, printable(said.unwrap_or("no reason given")));
        }
        value.context("the head's answer is no JSON")
    }
}

/// One line that moves no cursor: what came over the network goes to a console.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).take(500).collect()
}

/// Sends a request to `base` (`http://host:port`) and reads the answer.
pub(crate) fn request(
    base: &str,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&[u8]>,
) -> Result<Answer> {
    let authority = base.strip_prefix("http://").context("the head's URL does not begin with http://")?;
    let authority = authority.trim_end_matches('/');
    ensure!(
        !authority.contains(['/', '@', '?', '#', '\r', '\n', ' ']),
        "the head's URL has more than an address"
    );
    let target = if authority.rsplit(']').next().unwrap_or("").contains(':') {
        authority.to_owned()
    } else {
        format!("{authority}:80")
    };
    let address =
        target.to_socket_addrs().with_context(|| format!("the head {authority} has no address"))?.next();
    let address = address.with_context(|| format!("the head {authority} has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).context("the head cannot be reached")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head =
        Zeroizing::new(format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n"));
    if let Some(token) = token {
        ensure!(token.bytes().all(|letter| letter.is_ascii_graphic()), "the token is malformed");
        head.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    if let Some(body) = body {
        head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).context("the head hung up")?;
    stream.write_all(body.unwrap_or_default()).context("the head hung up")?;
    receive(stream)
}

fn receive(stream: TcpStream) -> Result<Answer> {
    let mut octets = Zeroizing::new(Vec::new());
    let mut stream = stream.take(u64::try_from(HEAD_BYTES_MAX + ANSWER_BYTES_MAX)?);
    let mut chunk = Zeroizing::new([0; 16 << 10]);
    loop {
        if let Some((status, begin, length)) = parse(&octets)? {
            ensure!(length <= ANSWER_BYTES_MAX, "the head's answer is too long");
            while octets.len() < begin + length {
                let count = stream.read(chunk.as_mut_slice()).context("the head's answer stopped")?;
                ensure!(count > 0, "the head's answer is cut off");
                octets.extend_from_slice(&chunk[..count]);
            }
            return Ok(Answer { status, body: Zeroizing::new(octets[begin..begin + length].to_vec()) });
        }
        ensure!(octets.len() < HEAD_BYTES_MAX, "the head's answer has no end of its head");
        let count = stream.read(chunk.as_mut_slice()).context("the head does not answer")?;
        ensure!(count > 0, "the head hung up without an answer");
        octets.extend_from_slice(&chunk[..count]);
    }
}

/// The status, where the body begins, and its length. None: the head of the answer is not whole yet.
fn parse(octets: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(begin) = answer.parse(octets).context("the head's answer is no HTTP")?
    else {
        return Ok(None);
    };
    let status = answer.code.unwrap_or(0);
    let mut lengths = answer.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = match (lengths.next(), lengths.next()) {
        (None, _) if status == 204 => 0,
        (Some(field), None) => std::str::from_utf8(field.value)?.trim().parse()?,
        _ => bail!("the head's answer has no length"),
    };
    Ok(Some((status, begin, length)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use crate::http::{printable, request};

    /// A server that answers one request with these octets; returns its URL.
    fn server(answer: &'static [u8]) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 4096];
            let count = stream.read(&mut asked).unwrap();
            stream.write_all(answer).unwrap();
            String::from_utf8_lossy(&asked[..count]).into_owned()
        });
        (url, thread)
    }

    #[test]
    fn an_answer_is_read_to_its_length() {
        let (url, thread) = server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}more");
        let answer = request(&url, "GET", "/node/v1/keyset", Some("a.b"), None).unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()));
        let asked = thread.join().unwrap();
        assert!(asked.starts_with("GET /node/v1/keyset HTTP/1.1\r\n") && asked.contains("Bearer a.b\r\n"));
    }

    #[test]
    fn a_refusal_is_told_with_the_heads_reason() {
        let (url, _) = server(b"HTTP/1.1 403 No\r\ncontent-length: 19\r\n\r\n{\"detail\":\"\x1b[2Jno\"}");
        let error = request(&url, "GET", "/", None, None).unwrap().good().unwrap_err().to_string();
        assert!(error.starts_with("the head answers 403"), "{error}");
        assert!(!error.contains('\x1b'));
        assert_eq!(printable("a\x1b\nb"), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn answers_that_are_cut_off_or_none_are_refused() {
        for bad in [
            b"".as_slice(),
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        ] {
            let (url, _) = server(bad);
            assert!(request(&url, "GET", "/", None, None).is_err());
        }
        assert!(request("https://192.0.2.1", "GET", "/", None, None).is_err());
        assert!(request("http://u@192.0.2.1", "GET", "/", None, None).is_err());
    }
}
