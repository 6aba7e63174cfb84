//! A registry and a file server on loopback, with their moods: logins, broken downloads, wrong octets.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::oneshot;

use crate::cli::image::source::Options;
use crate::cli::image::source::tests::{Bench, Blobs, Layer, base, bzimage, cat, digest, gzip, zst};

/// A server of files by path; it breaks off so many answers half-way.
#[derive(Default)]
struct Files {
    files: BTreeMap<String, Vec<u8>>,
    breaks: AtomicUsize,
    /// user:password in base64, which gives the token; None: everybody may read.
    login: Option<&'static str>,
    seen: Mutex<Vec<String>>,
}

const TOKEN: &str = "Bearer let-me-in";

/// TLS with a certificate that only `--ca` can trust.
struct Tls {
    listener: tokio::net::TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            // Who does not trust us hangs up.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A certificate for loopback, as PEM and as the server needs it.
fn certificate() -> (String, tokio_rustls::TlsAcceptor) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}

struct Server {
    address: SocketAddr,
    files: Arc<Files>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(files: Files) -> Server {
        Server::start_with(files, None)
    }

    fn start_with(files: Files, tls: Option<tokio_rustls::TlsAcceptor>) -> Server {
        let files = Arc::new(files);
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let state = Arc::clone(&files);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let app = Router::new().fallback(answer).with_state(state);
                let serve = async {
                    match tls {
                        Some(acceptor) => axum::serve(Tls { listener, acceptor }, app).await.unwrap(),
                        None => axum::serve(listener, app).await.unwrap(),
                    }
                };
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        Server { address: told.recv().unwrap(), files, stop: Some(stop), thread: Some(thread) }
    }

    /// A registry of one image, by tag and by digest.
    fn registry(blobs: &Blobs, manifest: &serde_json::Value, more: Files) -> Server {
        Server::start(Server::holding(blobs, manifest, more))
    }

    fn holding(blobs: &Blobs, manifest: &serde_json::Value, mut files: Files) -> Files {
        for (digest, bytes) in &blobs.0 {
            files.files.insert(format!("/v2/hpc/compute/blobs/{digest}"), bytes.clone());
            files.files.insert(format!("/v2/hpc/compute/manifests/{digest}"), bytes.clone());
        }
        let digest = manifest["digest"].as_str().unwrap();
        let bytes = files.files[&format!("/v2/hpc/compute/manifests/{digest}")].clone();
        files.files.insert("/v2/hpc/compute/manifests/9.5".to_owned(), bytes);
        files
    }

    fn seen(&self) -> Vec<String> {
        self.files.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn answer(State(files): State<Arc<Files>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let headers = request.headers();
    let text = |name: header::HeaderName| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    files.seen.lock().unwrap().push(format!("{path} {}", text(header::RANGE)));
    if let Some(login) = files.login {
        if path == "/token" {
            return if text(header::AUTHORIZATION) == format!("Basic {login}") {
                r#"{"token": "let-me-in"}"#.into_response()
            } else {
                StatusCode::UNAUTHORIZED.into_response()
            };
        }
        if text(header::AUTHORIZATION) != TOKEN {
            let host = text(header::HOST);
            let wants = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
            return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, wants)]).into_response();
        }
    }
    if path == "/v2/" {
        return StatusCode::OK.into_response();
    }
    let Some(bytes) = files.files.get(&path) else { return StatusCode::NOT_FOUND.into_response() };
    let range = text(header::RANGE);
    let from =
        range.strip_prefix("bytes=").and_then(|rest| rest.strip_suffix('-')).map(|n| n.parse().unwrap());
    let mut reply = HeaderMap::new();
    reply.insert(header::ETAG, "\"one\"".parse().unwrap());
    let start: usize = from.unwrap_or(0);
    if from.is_some() {
        let value = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
        reply.insert(header::CONTENT_RANGE, value.parse().unwrap());
    }
    let rest = Bytes::copy_from_slice(&bytes[start..]);
    reply.insert(header::CONTENT_LENGTH, rest.len().into());
    let status = if from.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let breaks = rest.len() > 4096
        && files.breaks.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
    let body = if breaks {
        let half = rest.slice(..rest.len() / 2);
        let broken = async {
            // The first half must be on its way, else nothing of the answer is.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            Err(std::io::Error::other("broken"))
        };
        Body::from_stream(stream::iter([Ok(half)]).chain(stream::once(broken)))
    } else {
        Body::from(rest)
    };
    (status, reply, body).into_response()
}

fn image() -> (Blobs, serde_json::Value) {
    let mut blobs = Blobs::default();
    let mut random = fastrand::Rng::with_seed(3);
    let noise: Vec<u8> = (0..200_000).map(|_| random.u8(..)).collect();
    let upper = Layer::new().text("etc/motd", "hello").file("usr/noise", &noise);
    let manifest = blobs.image("amd64", &[base().done(), upper.done()]);
    (blobs, manifest)
}

fn plain() -> Options {
    Options { plain_http: true, ..Options::default() }
}

#[test]
fn an_image_comes_from_a_registry_that_asks_for_nothing() {
    let bench = Bench::new();
    let (blobs, manifest) = image();
    let server = Server::registry(&blobs, &manifest, Files::default());
    for spec in ["docker://", "registry://", ""] {
        let prepared = bench.open(&format!("{spec}{}/hpc/compute:9.5", server.address), &plain()).unwrap();
        assert_eq!(cat(&prepared, "etc/motd"), "hello");
        let origin = format!("{}/hpc/compute@{}", server.address, manifest["digest"].as_str().unwrap());
        assert_eq!(prepared.origin, origin);
    }
    let digest = manifest["digest"].as_str().unwrap();
    assert!(bench.open(&format!("{}/hpc/compute@{digest}", server.address), &plain()).is_ok());
    let fresh = Bench::new();
    let said = fresh.refused_with(&format!("{}/hpc/compute:none", server.address), &plain());
    assert!(said.contains("hpc/compute:none") && said.contains("404"), "{said}");
}

#[test]
fn a_registry_that_wants_a_login_gets_a_token() {
    let bench = Bench::new();
    let (blobs, manifest) = image();
    let files = Files { login: Some("dXNlcjpwYXNz"), ..Files::default() };
    let server = Server::registry(&blobs, &manifest, files);
    let spec = format!("{}/hpc/compute:9.5", server.address);
    let said = bench.refused_with(&spec, &plain());
    assert!(said.contains("login"), "{said}");
    let folder = bench.path("docker");
    fs::create_dir(&folder).unwrap();
    let login = |auth: &str| {
        let text = format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, server.address);
        fs::write(folder.join("config.json"), text).unwrap();
    };
    let with = Options { logins: Some(folder.join("config.json")), ..plain() };
    login("dXNlcjp3cm9uZw==");
    let said = bench.refused_with(&spec, &with);
    assert!(said.contains("does not accept this login") && !said.contains("wrong"), "{said}");
    login("dXNlcjpwYXNz");
    assert_eq!(cat(&bench.open(&spec, &with).unwrap(), "etc/motd"), "hello");
}

#[test]
fn a_layer_that_breaks_off_goes_on_where_it_stopped() {
    let bench = Bench::new();
    let (blobs, manifest) = image();
    let server =
        Server::registry(&blobs, &manifest, Files { breaks: AtomicUsize::new(3), ..Files::default() });
    let spec = format!("{}/hpc/compute:9.5", server.address);
    assert_eq!(cat(&bench.open(&spec, &plain()).unwrap(), "etc/motd"), "hello");
    let resumed =
        server.seen().iter().filter(|line| line.contains("bytes=") && !line.ends_with("=0-")).count();
    assert_eq!(resumed, 3, "{:?}", server.seen());
}

#[test]
fn octets_that_a_registry_changed_are_refused() {
    let bench = Bench::new();
    let (mut blobs, manifest) = image();
    blobs.0[2].1[5000] ^= 1;
    let server = Server::registry(&blobs, &manifest, Files::default());
    let said = bench.refused_with(&format!("{}/hpc/compute:9.5", server.address), &plain());
    assert!(said.contains("layer 2 (sha256:"), "{said}");
    let (mut blobs, manifest) = image();
    blobs.0[2].1.push(0);
    let server = Server::registry(&blobs, &manifest, Files::default());
    let said = bench.refused_with(&format!("{}/hpc/compute:9.5", server.address), &plain());
    assert!(said.contains("more octets than"), "{said}");
    let (mut blobs, manifest) = image();
    blobs.0[2].1.pop();
    let server = Server::registry(&blobs, &manifest, Files::default());
    assert!(!bench.refused_with(&format!("{}/hpc/compute:9.5", server.address), &plain()).is_empty());
}

#[test]
fn archives_and_single_files_come_by_url() {
    let bench = Bench::new();
    let mut random = fastrand::Rng::with_seed(5);
    let noise: Vec<u8> = (0..100_000).map(|_| random.u8(..)).collect();
    let tar = gzip(&base().file("usr/noise", &noise).text("etc/motd", "hello").done());
    let mut files = Files { breaks: AtomicUsize::new(2), ..Files::default() };
    files.files.insert("/root.tar.gz".to_owned(), tar.clone());
    files.files.insert("/kernel".to_owned(), bzimage("6.1.0"));
    files.files.insert("/root.zst".to_owned(), zst(b"hsqs"));
    let server = Server::start(files);
    let url = |path: &str| format!("http://user:secret@{}{path}", server.address);
    let good = url(&format!("/root.tar.gz?sign=secret#sha256={}", &digest(&tar)[7..]));
    let prepared = bench.open(&good, &Options::default()).unwrap();
    assert_eq!(cat(&prepared, "etc/motd"), "hello");
    assert_eq!(prepared.origin, format!("http://{}/root.tar.gz@{}", server.address, digest(&tar)));
    let resumed = server.seen().iter().filter(|line| line.contains("bytes=")).count();
    assert_eq!(resumed, 2, "{:?}", server.seen());
    let fresh = Bench::new();
    let said = fresh.refused(&url(&format!("/root.tar.gz#sha256={}", "0".repeat(64))));
    assert!(said.contains("is damaged") && !said.contains("secret"), "{said}");
    assert!(fresh.refused(&url("/root.tar.gz#md5=1")).contains("stands sha256="));
    let said = fresh.refused(&url("/none.tar"));
    assert!(said.contains("404") && !said.contains("secret"), "{said}");
    let options =
        Options { kernel: Some(url("/kernel")), root: Some(url("/root.zst")), ..Options::default() };
    let steps = crate::cli::progress::Steps::new(None);
    let named = crate::cli::image::source::open(None, &options, bench.work.path(), &steps).unwrap();
    assert_eq!(named.kernel_version.as_deref(), Some("6.1.0"));
    assert_eq!(fs::read(named.root.unwrap()).unwrap(), b"hsqs");
    assert!(!named.origin.contains("secret"), "{}", named.origin);
}

#[test]
fn https_is_held_to_the_roots_that_are_named() {
    let bench = Bench::new();
    let (blobs, manifest) = image();
    let mut files = Server::holding(&blobs, &manifest, Files::default());
    files.files.insert("/kernel".to_owned(), bzimage("6.1.0"));
    let (pem, acceptor) = certificate();
    let server = Server::start_with(files, Some(acceptor));
    let spec = format!("{}/hpc/compute:9.5", server.address);
    let (other, _) = certificate();
    let with =
        |pem: &str| Options { ca: Some(bench.write("ca.pem", pem.as_bytes()).into()), ..Options::default() };
    let said = bench.refused_with(&spec, &with(&other));
    assert!(said.contains("--ca names the root to trust"), "{said}");
    let said = bench.refused_with(&spec, &Options::default());
    assert!(said.contains("--ca names the root to trust"), "{said}");
    assert!(bench.refused_with(&spec, &with("nothing")).contains("holds no certificate"));
    // A file of several roots is read whole.
    let both = with(&format!("{other}{pem}"));
    assert_eq!(cat(&bench.open(&spec, &both).unwrap(), "etc/motd"), "hello");
    let kernel = Options { kernel: Some(format!("https://{}/kernel", server.address)), ..both };
    let steps = crate::cli::progress::Steps::new(None);
    assert!(crate::cli::image::source::open(None, &kernel, bench.work.path(), &steps).is_ok());
}

#[test]
fn a_server_that_is_not_there_is_not_waited_for() {
    let bench = Bench::new();
    // Bound and never listened to: the kernel refuses, and nobody else gets the port.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let said = bench.refused(&format!("http://{address}/root.tar"));
    assert!(said.contains("refused"), "{said}");
    let said = bench.refused_with(&format!("{address}/hpc/compute"), &plain());
    assert!(said.contains("refused"), "{said}");
}
