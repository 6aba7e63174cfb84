//! A server on loopback that plays what the command line talks to: an old site, or a daemon whose requests are
//! looked at.
#![allow(unreachable_pub, reason = "the test files of one binary share it")]

use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::IntoResponse;
use serde_json::Value;

/// Requests that arrived, with their bodies.
pub type Log = Arc<Mutex<Vec<(String, Value)>>>;

/// A server on loopback that ends with the test.
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    pub log: Log,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Answers what `answer` says of a path, given whether the token was good.
    pub fn start(
        answer: impl Fn(&Method, &str, bool) -> (StatusCode, String) + Send + Sync + 'static,
    ) -> Server {
        Server::with(None, answer)
    }

    pub fn with(
        tls: Option<Arc<rustls::ServerConfig>>,
        answer: impl Fn(&Method, &str, bool) -> (StatusCode, String) + Send + Sync + 'static,
    ) -> Server {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let log = Log::default();
        let (answer, seen) = (Arc::new(answer), Arc::clone(&log));
        let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
            async move {
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let path = uri.path_and_query().unwrap().to_string();
                seen.lock().unwrap().push((format!("{method} {path}"), body));
                let known =
                    headers.get(header::AUTHORIZATION).is_some_and(|token| token == "Bearer good.one.here");
                answer(&method, &path, known).into_response()
            }
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let app = Router::new().fallback(handler);
                let stopped = async { drop(stopped.await) };
                match tls {
                    None => axum::serve(listener, app).with_graceful_shutdown(stopped).await.unwrap(),
                    Some(config) => {
                        let listener = Secure { listener, acceptor: config.into() };
                        axum::serve(listener, app).with_graceful_shutdown(stopped).await.unwrap();
                    }
                }
            });
        });
        Server { address: told.recv().unwrap(), scheme, log, stop: Some(stop), thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A listener that speaks TLS, as the gateway of an old site does.
struct Secure {
    listener: tokio::net::TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for Secure {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, peer) = self.listener.accept().await.unwrap();
            // A client that does not trust us goes away in the middle.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
