//! A small HTTP client: the command line is a client of the REST API like any other, over the Unix socket
//! where no token is needed, or over HTTPS with one.

mod stream;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Bytes;
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::api::problem::Problem;
use crate::api::v1;
use crate::cli::progress::Metered;
use crate::transport::vault::certificate_path;

/// How long the daemon may take for an answer. An import of 100,000 nodes takes some seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// Ports that a URL without one means.
const PORTS: [(&str, u16); 2] = [("http", 8081), ("https", 8443)];

/// Where systems keep the certificate authorities that they trust.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Asks one daemon.
pub(crate) struct Client(Target);

enum Target {
    Unix(PathBuf),
    Tcp(Remote),
}

/// A daemon elsewhere.
struct Remote {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    token: Option<HeaderValue>,
}

impl Client {
    pub(crate) fn unix(socket: PathBuf) -> Client {
        Client(Target::Unix(socket))
    }

    /// A daemon at a URL. `roots`: files of certificate authorities; those that are not there are left out.
    ///
    /// # Errors
    /// The URL, the token or the files cannot be used.
    pub(crate) fn remote(url: &str, token: Option<&str>, roots: &[PathBuf]) -> anyhow::Result<Client> {
        let parsed = url.parse::<Uri>().with_context(|| format!("--url: {url:?}"))?;
        let scheme = parsed.scheme_str().unwrap_or_default();
        let port = PORTS.iter().find(|(name, _)| *name == scheme).map(|(_, port)| *port);
        let (Some(port), Some(host)) = (port, parsed.host()) else {
            bail!("--url: {url:?}: expected https://HOST[:PORT], or http://HOST[:PORT]");
        };
        if !matches!(parsed.path(), "" | "/") {
            bail!("--url: {url:?}: only the head's address is wanted, without a path");
        }
        let token = token.map(|token| HeaderValue::from_str(&format!("Bearer {}", token.trim()))).transpose();
        let mut token = token.ok().context("the token holds characters that no token has")?;
        token.iter_mut().for_each(|token| token.set_sensitive(true));
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if scheme == "http" && token.is_some() && !near {
            eprintln!(
                "muster: the token crosses the network where everybody can read it; use https://{host}"
            );
        }
        let tls = if scheme == "https" { Some(connector(roots)?) } else { None };
        Ok(Client(Target::Tcp(Remote { host, port: parsed.port_u16().unwrap_or(port), tls, token })))
    }

    /// The text at a path outside of the API.
    pub(crate) fn fetch(&self, path: &str) -> anyhow::Result<String> {
        let (status, body) = self.ask(Method::GET, path, Vec::new(), "")?;
        if status.is_success() {
            Ok(String::from_utf8_lossy(&body).into_owned())
        } else {
            Err(refusal(status, &body))
        }
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
        let mut request = self.request(method, path, Metered::new(Bytes::from(body), "planning"))?;
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_str(kind)?);
        self.deliver(request)
    }

    /// A request below the API's prefix whose caller shows progress itself; `range` says where the body belongs.
    pub(crate) fn part(
        &self,
        method: Method,
        path: &str,
        range: Option<&str>,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = self.request(method, &format!("{}{path}", v1::PREFIX), Metered::hidden(body))?;
        let headers = request.headers_mut();
        let kind = if range.is_some() { "application/octet-stream" } else { "application/json" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(range) = range {
            headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(range)?);
        }
        self.deliver(request)
    }

    fn deliver(&self, request: Request<Metered>) -> anyhow::Result<(StatusCode, Bytes)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let exchange = async { exchange(self.open().await?, request).await };
        let patient = async { tokio::time::timeout(PATIENCE, exchange).await };
        runtime.block_on(patient).context("the daemon does not answer")?
    }

    /// A request with what every request to this daemon carries.
    fn request(&self, method: Method, path: &str, body: Metered) -> anyhow::Result<Request<Metered>> {
        let mut request = Request::builder().method(method).uri(path).body(body)?;
        let headers = request.headers_mut();
        match &self.0 {
            Target::Unix(_) => {
                headers.insert(header::HOST, HeaderValue::from_static("muster"));
            }
            Target::Tcp(remote) => {
                headers.insert(header::HOST, HeaderValue::from_str(&remote.authority())?);
                headers.extend(remote.token.clone().map(|token| (header::AUTHORIZATION, token)));
            }
        }
        Ok(request)
    }

    /// A connection to the daemon.
    async fn open(&self) -> anyhow::Result<Box<dyn Wire>> {
        match &self.0 {
            Target::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                Ok(Box::new(stream.map_err(|error| no_daemon(path, error))?))
            }
            Target::Tcp(remote) => remote.connect().await,
        }
    }
}

/// What carries requests: a socket, with or without TLS around it.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for S {}

impl Remote {
    fn authority(&self) -> String {
        let Remote { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    async fn connect(&self) -> anyhow::Result<Box<dyn Wire>> {
        let stream = tokio::net::TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.with_context(|| format!("cannot reach {}", self.authority()))?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.host.clone())?;
        let stream = tls.connect(name, stream).await.with_context(|| {
            format!(
                "no TLS with {}. Does its certificate come from an authority that is known here? \
                 (muster ca on the head prints its root, for --cacert)",
                self.authority()
            )
        })?;
        Ok(Box::new(stream))
    }
}

/// Trusts the authorities of these files, or, if there are none, those of the system.
fn connector(files: &[PathBuf]) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for file in files {
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| anyhow::anyhow!("--cacert {}: {error}", file.display()))?;
        let (added, _) = roots.add_parsable_certificates(certificates);
        anyhow::ensure!(added > 0, "--cacert {}: holds no certificate", file.display());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

/// Files of the authorities that the system trusts, and the head's own where this is the head.
pub(crate) fn known_roots(data_dir: &Path) -> Vec<PathBuf> {
    let system = SYSTEM_ROOTS.iter().map(PathBuf::from).find(|path| path.exists());
    let own = certificate_path(data_dir);
    // A data directory that may not be entered is somebody else's, and no failure.
    let own = std::fs::File::open(&own).is_ok().then_some(own);
    system.into_iter().chain(own).collect()
}

/// Why the socket leads to nobody, and what to look at.
fn no_daemon(socket: &Path, error: std::io::Error) -> anyhow::Error {
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
pub(crate) fn refusal(status: StatusCode, body: &Bytes) -> anyhow::Error {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
        return anyhow::anyhow!("the daemon refuses: {status}");
    };
    if status == StatusCode::UNAUTHORIZED {
        return anyhow::anyhow!("{} (--token, or MUSTER_TOKEN)", problem.detail);
    }
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
