use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use indicatif::ProgressBar;

use crate::api::context::{Context, PhoneHomes, Services, Turn};
use crate::api::node::NodeTrust;
use crate::api::v1;
use crate::base::{Digest, Timestamp};
use crate::cli::client::Client;
use crate::cli::image::upload::upload;
use crate::model::{Revision, SnapshotCell};
use crate::store::{Store, memory};
use crate::transport::blobs::chunks::digest_of;
use crate::transport::blobs::{Blobs, Reserve, Settings};
use crate::transport::dhcp::Handle;
use crate::transport::http::Http;
use crate::transport::journal::Journal;
use crate::transport::sessions::SessionPolicy;
use crate::transport::tasks::Tasks;
use crate::transport::vault::{Chest, SshAuthority};

/// A daemon with this API alone, on a Unix socket, that counts bytes of content and fails on demand.
struct Daemon {
    folder: tempfile::TempDir,
    blobs: Blobs,
    wire: Arc<Wire>,
    runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Wire {
    bytes: AtomicU64,
    patches: AtomicU64,
    /// So many of the next ranges are answered with an error; the last but one of them is taken in.
    fail: AtomicU64,
}

async fn counted(wire: Arc<Wire>, request: Request, next: Next) -> Response {
    if request.method() != Method::PATCH {
        return next.run(request).await;
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|text| text.to_str().ok());
    wire.bytes.fetch_add(length.and_then(|text| text.parse().ok()).unwrap_or(0), Ordering::Relaxed);
    wire.patches.fetch_add(1, Ordering::Relaxed);
    let left = wire.fail.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    match left {
        // The answer is lost, the bytes are not.
        Ok(2) => {
            next.run(request).await;
            StatusCode::GATEWAY_TIMEOUT.into_response()
        }
        // The head is about to stop, and does not read the body.
        Ok(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Err(_) => next.run(request).await,
    }
}

impl Daemon {
    fn start() -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let entered = runtime.enter();
        let settings = Settings { quota: None, reserve: Reserve::Bytes(0), scrub: None };
        let blobs = Blobs::open(&folder.path().join("blobs"), settings).unwrap();
        let streams = crate::transport::http::Streams::new(&Default::default(), Arc::new(|_| ()));
        let chest = Arc::new(Chest::open(folder.path(), None).unwrap());
        let ssh = Arc::new(SshAuthority::open(&chest, folder.path()).unwrap());
        let (store, journal) = (Store::open(memory()).unwrap().0, Journal::new(Timestamp(0)));
        let snapshot = Arc::new(SnapshotCell::default());
        let trust =
            NodeTrust::trial(folder.path(), &store, &journal, &snapshot, SessionPolicy::default()).unwrap();
        let site =
            crate::transport::vault::SiteKey::open(&chest, folder.path(), &folder.path().join("site.pub"));
        let context = Context::from(Services {
            audit: crate::transport::audit::Audit::new(store.clone(), Arc::new(site.unwrap()), Vec::new()),
            ssh,
            chest,
            trust: Arc::new(trust),
            images: Default::default(),
            streams,
            snapshot,
            published: tokio::sync::watch::channel(Revision(0)).1,
            store,
            dhcp: Handle::pair().0,
            started: Timestamp(0),
            turn: Turn::default(),
            calls: PhoneHomes::default(),
            recorder: crate::transport::recorder::Recorder::idle(),
            about: Arc::default(),
            journal,
            blobs: blobs.clone(),
        });
        let wire = Arc::new(Wire::default());
        let shared = Arc::clone(&wire);
        let count = move |request: Request, next: Next| counted(Arc::clone(&shared), request, next);
        let router = Router::new().nest(v1::PREFIX, v1::router(context));
        let http = Http::new(router.layer(axum::middleware::from_fn(count)));
        http.listen_unix(&folder.path().join("socket"), &Tasks::new()).unwrap();
        drop(entered);
        Daemon { folder, blobs, wire, runtime }
    }

    fn write(&self, name: &str, octets: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, octets).unwrap();
        path
    }

    fn send(&self, path: &Path) -> anyhow::Result<Digest> {
        upload(&Client::unix(self.folder.path().join("socket")), path, &ProgressBar::hidden())
    }

    fn verified(&self, digest: Digest) -> bool {
        let found = self.runtime.block_on(self.blobs.verify(vec![digest], None)).unwrap();
        found == [(digest, crate::transport::blobs::Verdict::Good)]
    }

    fn take_bytes(&self) -> u64 {
        self.wire.bytes.swap(0, Ordering::Relaxed)
    }
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut dice = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| dice.u8(..)).take(length).collect()
}

#[test]
fn a_file_is_sent_once_and_a_similar_one_in_part() {
    let daemon = Daemon::start();
    let mut octets = noise(20 << 20, 1);
    let path = daemon.write("a", &octets);
    let digest = daemon.send(&path).unwrap();
    assert_eq!(digest, digest_of(&octets));
    assert!(daemon.verified(digest));
    assert_eq!((daemon.take_bytes(), daemon.wire.patches.load(Ordering::Relaxed)), (20 << 20, 3));
    assert_eq!(daemon.send(&path).unwrap(), digest);
    assert_eq!(daemon.take_bytes(), 0, "what is present is not sent again");
    octets.splice(7 << 20..7 << 20, *b"an update");
    let other = daemon.send(&daemon.write("b", &octets)).unwrap();
    assert!(other != digest && daemon.verified(other));
    let sent = daemon.take_bytes();
    assert!((1..=2 << 20).contains(&sent), "{sent} bytes of {} were sent", octets.len());
    assert!(daemon.verified(daemon.send(&daemon.write("empty", b"")).unwrap()));
}

#[test]
fn lost_answers_and_refused_ranges_are_made_good() {
    let daemon = Daemon::start();
    let octets = noise(12 << 20, 2);
    daemon.wire.fail.store(3, Ordering::Relaxed);
    let digest = daemon.send(&daemon.write("a", &octets)).unwrap();
    assert!(daemon.verified(digest));
    // Two ranges; the first was refused, then taken in without an answer, and the last was refused.
    assert_eq!(daemon.wire.patches.load(Ordering::Relaxed), 4);
}

#[test]
fn refusals_are_told_with_the_file() {
    let daemon = Daemon::start();
    let said = format!("{:#}", daemon.send(&daemon.folder.path().join("none")).unwrap_err());
    assert!(said.contains("none") && said.contains("No such file"), "{said}");
}
