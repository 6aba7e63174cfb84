//! A small HTTP client: the command line is a client of the REST API like any other, over the Unix socket
//! where no token is needed.

mod stream;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Bytes;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::api::problem::Problem;
use crate::api::v1;
use crate::cli::progress::Metered;

/// How long the daemon may take for an answer. An import of 100,000 nodes takes some seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// Asks one daemon.
pub(crate) struct Client(Target);

enum Target {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Client {
    pub(crate) fn unix(socket: PathBuf) -> Client {
        Client(Target::Unix(socket))
    }

    pub(crate) fn tcp(url: &str) -> anyhow::Result<Client> {
        let Some(host) = url.strip_prefix("http://") else {
            bail!("--url: {url:?}: only http:// is known so far, for daemons with authentication off");
        };
        let host = host.trim_end_matches('/');
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:8081") };
        Ok(Client(Target::Tcp(host)))
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        decode(&self.send(Method::GET, path, Vec::new(), "")?)
    }

    /// None if what the path names is not there.
    pub(crate) fn get_if_there<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<Option<T>> {
        match self.exchange(Method::GET, path, Vec::new(), "")? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) if status.is_success() => decode(&body).map(Some),
            (status, body) => Err(refusal(status, &body)),
        }
    }

    /// The answer as text.
    pub(crate) fn get_text(&self, path: &str) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&self.send(Method::GET, path, Vec::new(), "")?).into_owned())
    }

    pub(crate) fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        decode(&self.send(method, path, serde_json::to_vec(body)?, "application/json")?)
    }

    pub(crate) fn post_text<T: DeserializeOwned>(&self, path: &str, body: String) -> anyhow::Result<T> {
        decode(&self.send(Method::POST, path, body.into_bytes(), "text/plain")?)
    }

    /// A request whose answer is empty or does not matter.
    pub(crate) fn bare(&self, method: Method, path: &str) -> anyhow::Result<Bytes> {
        self.send(method, path, Vec::new(), "")
    }

    fn send(&self, method: Method, path: &str, body: Vec<u8>, kind: &str) -> anyhow::Result<Bytes> {
        let (status, body) = self.exchange(method, path, body, kind)?;
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        kind: &str,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        self.ask(method, &format!("{}{path}", v1::PREFIX), body, kind)
    }

    /// A request by its whole path, to interfaces beside the API too.
    pub(crate) fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        kind: &str,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = self.request(method, path, body)?;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_str(kind)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let exchange = async { exchange(self.open().await?, request).await };
        let patient = async { tokio::time::timeout(PATIENCE, exchange).await };
        runtime.block_on(patient).context("the daemon does not answer")?
    }

    fn request(&self, method: Method, path: &str, body: Vec<u8>) -> anyhow::Result<Request<Metered>> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "muster");
        Ok(request.body(Metered::new(Bytes::from(body), "planning"))?)
    }

    /// A connection to the daemon.
    async fn open(&self) -> anyhow::Result<Box<dyn Wire>> {
        match &self.0 {
            Target::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                Ok(Box::new(stream.map_err(|error| no_daemon(path, error))?))
            }
            Target::Tcp(host) => {
                let stream = tokio::net::TcpStream::connect(host).await;
                Ok(Box::new(stream.with_context(|| format!("cannot reach {host}"))?))
            }
        }
    }
}

/// What carries requests: a socket, with or without TLS around it.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

/// Why the socket leads to nobody, and what to look at.
fn no_daemon(socket: &std::path::Path, error: std::io::Error) -> anyhow::Error {
    let socket = socket.display();
    let text = match error.kind() {
        std::io::ErrorKind::PermissionDenied => format!(
            "you may not use {socket}: be root, or a member of the group muster (usermod -aG muster $USER, and \
             log in again)"
        ),
        std::io::ErrorKind::ConnectionRefused => {
            format!("the daemon that made {socket} is gone: see journalctl -u muster, or run muster serve")
        }
        _ => format!(
            "no daemon answers at {socket}. Is it running (muster serve)? Is --data-dir the daemon's (or \
             --socket)? See systemctl status muster"
        ),
    };
    anyhow::Error::from(error).context(text)
}

async fn exchange(stream: Box<dyn Wire>, request: Request<Metered>) -> anyhow::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, body))
    };
    // The connection is driven beside the request and ends with it.
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = answer.as_mut() => answer,
        ended = connection.as_mut() => {
            ended?;
            answer.await
        }
    }
}

fn decode<T: DeserializeOwned>(body: &Bytes) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("the daemon's answer is not understood (another version?)")
}

/// The API's problem as text: the cause, then each problem on a line.
fn refusal(status: StatusCode, body: &Bytes) -> anyhow::Error {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return anyhow::anyhow!("the daemon refuses: {status}");
    };
    let lines: Vec<String> = problem
        .problems
        .iter()
        .filter(|one| problem.problems.len() > 1 || one.line.is_some() || !problem.detail.contains(&one.text))
        .map(|one| {
            let line = one.line.map(|line| format!("line {line}: ")).unwrap_or_default();
            let place: Vec<&str> = [one.subject.as_str(), one.field.as_str()]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect();
            let place = place.join(": ");
            let colon = if place.is_empty() { "" } else { ": " };
            format!("\n  {line}{place}{colon}{}", one.text)
        })
        .collect();
    anyhow::anyhow!("{}{}", problem.detail, lines.concat())
}

/// Escapes a query value.
pub(crate) fn escape(text: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':' | b',');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
