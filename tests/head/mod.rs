//! A head in this process: store in memory, every route, the daemon's own publisher, and a stand-in for the
//! DHCP task. Everything but wires.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use muster::api::context::{Context, PhoneHomes, Services, Turn};
use muster::api::images::ImageUse;
use muster::api::node::NodeTrust;
use muster::api::node::supply::FromVault;
use muster::app::config::Config;
use muster::app::routes;
use muster::app::{journalist, publisher};
use muster::base::{Mac, Timestamp};
use muster::model::{Firmware, Lease, LeaseKey, LeaseState, Sighting, Snapshot, SnapshotCell};
use muster::store::{Store, memory};
use muster::transport::audit::Audit;
use muster::transport::blobs::{Blobs, Reserve, Settings};
use muster::transport::clock::now;
use muster::transport::dhcp::Handle;
use muster::transport::dhcp::handle::{Command, Rogue};
use muster::transport::http::{Peer, StreamSettings, Streams};
use muster::transport::journal::Journal;
use muster::transport::loaders::Loaders;
use muster::transport::recorder::{Parts, Recorder};
use muster::transport::tasks::Tasks;
use muster::transport::vault::{Chest, SiteKey, SshAuthority};

pub const SITE: &str = "[[network]]\nname = \"boot\"\ninterface = \"eth1\"\naddress = \"192.0.2.254/24\"\n\
                    range = [\"192.0.2.200-192.0.2.203\"]\n";
pub const LEASED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);

/// A head in this process.
pub struct Head {
    router: Router,
    /// Where the paths of requests lie.
    prefix: &'static str,
    pub context: Context,
    _tasks: Tasks,
    _keys: tempfile::TempDir,
    /// Where the blobs lie.
    pub folder: Arc<tempfile::TempDir>,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub kind: String,
    pub allow: String,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text());
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }

    /// The text of an answer with this status.
    #[track_caller]
    pub fn is(self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.text()
    }

    /// The words of a refusal, which must have this status and be a problem document that repeats it.
    #[track_caller]
    pub fn refused(self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.kind, "application/problem+json", "{}", self.text());
        assert_eq!(self.json()["status"], status);
        self.text()
    }
}

impl Head {
    /// A head whose paths are below `prefix`.
    pub fn below(prefix: &'static str, site: &str) -> Head {
        Head { prefix, ..Head::start(site) }
    }

    /// The same, with the blobs of a head before, as after a restart.
    pub fn below_on(prefix: &'static str, folder: Arc<tempfile::TempDir>, site: &str) -> Head {
        Head { prefix, ..Head::on(folder, site) }
    }

    pub fn start(site: &str) -> Head {
        Head::on(Arc::new(tempfile::tempdir().unwrap()), site)
    }

    /// A head whose trust in nodes is this one.
    pub fn trusting(site: &str, change: impl FnOnce(&mut NodeTrust)) -> Head {
        Head::made(Arc::new(tempfile::tempdir().unwrap()), site, |trust, _| change(trust))
    }

    /// A head that gives nodes the secrets of its vault, as the daemon does.
    pub fn vaulted(site: &str) -> Head {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        Head::made(folder, site, |trust, vault| trust.secrets = Arc::new(vault))
    }

    fn on(folder: Arc<tempfile::TempDir>, site: &str) -> Head {
        Head::made(folder, site, |_, _| ())
    }

    fn made(
        folder: Arc<tempfile::TempDir>,
        site: &str,
        change: impl FnOnce(&mut NodeTrust, FromVault),
    ) -> Head {
        let tasks = Tasks::new();
        let (store, loaded) = Store::open(memory()).unwrap();
        let config = Config::parse(site).unwrap();
        let site = Arc::new(config.site);
        let snapshot = Snapshot::compile(loaded.revision, Arc::clone(&site), Arc::new(loaded.inventory));
        let snapshot = Arc::new(SnapshotCell::new(snapshot));
        let published = publisher::start(Arc::clone(&snapshot), store.declared(), &tasks);
        let (dhcp, mut questions) = Handle::pair();
        tasks.spawn("dhcp", async move {
            let mut leases = vec![lease(LEASED, LeaseState::Bound)];
            while let Some(question) = questions.recv().await {
                observe(question, &mut leases);
            }
        });
        let journal = Journal::new(now());
        journalist::start(Arc::clone(&snapshot), published.clone(), journal.clone(), &tasks);
        let blobs = Blobs::open(folder.path(), settings()).unwrap();
        // Apart from the blobs, and only until it is read.
        let keys = tempfile::tempdir().unwrap();
        let mut trust =
            NodeTrust::trial(keys.path(), &store, &journal, &snapshot, config.trust.sessions).unwrap();
        let chest = Arc::new(Chest::open(keys.path(), None).unwrap());
        let ssh = Arc::new(SshAuthority::open(&chest, keys.path()).unwrap());
        change(&mut trust, FromVault { chest: Arc::clone(&chest), ssh: Arc::clone(&ssh) });
        trust.sessions.start(&tasks);
        let trust = Arc::new(trust);
        let (recorder, inbox) = Recorder::pair();
        let parts = Parts {
            snapshot: Arc::clone(&snapshot),
            store: store.clone(),
            journal: journal.clone(),
            keep: muster::engine::record::Keep::default(),
            boots: loaded.boots,
            busy: Arc::new(Default::default),
        };
        inbox.start(parts, &tasks);
        let (turn, about, calls) = (Turn::default(), Arc::default(), PhoneHomes::default());
        let site_key = Arc::new(SiteKey::open(&chest, keys.path(), &keys.path().join("site.pub")).unwrap());
        let audit = Audit::new(store.clone(), Arc::clone(&site_key), Vec::new());
        let context = Context::from(Services {
            audit,
            snapshot,
            published,
            store,
            dhcp,
            started: now(),
            turn,
            calls,
            about,
            journal,
            recorder,
            images: ImageUse::default(),
            streams: Streams::new(&StreamSettings::default(), Arc::new(|_| ())),
            blobs,
            chest,
            ssh,
            trust,
        });
        let loaders = Arc::new(Loaders::open(Vec::new(), None));
        let router =
            routes::router(&routes::Parts { context: context.clone(), loaders, images: None, site_key });
        Head { router, prefix: "", context, _tasks: tasks, folder, _keys: keys }
    }

    /// Asks as somebody at this address, who reached the head at 192.0.2.254:8081.
    pub async fn ask_from(&self, peer: Ipv4Addr, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let local = SocketAddr::from(([192, 0, 2, 254], 8081));
        let peer = Peer::Tcp { remote: (peer, 40000).into(), local };
        self.ask(peer, method, path, body).await
    }

    /// Asks over the Unix socket, as it were.
    pub async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        self.ask(Peer::Local, method, path, body).await
    }

    /// The routes themselves, for answers that go on.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    async fn ask(&self, peer: Peer, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        self.request(peer, method, path, &[], body.into()).await
    }

    /// Asks with these fields in the head of the request.
    pub async fn send_with(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        self.request(Peer::Local, method, path, fields, body.into()).await
    }

    /// Asks as this peer, with these fields in the head of the request.
    pub async fn request(
        &self,
        peer: Peer,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Body,
    ) -> Answer {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.prefix)).extension(peer);
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let field = |name| head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let (status, kind, allow) = (head.status, field(header::CONTENT_TYPE), field(header::ALLOW));
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status, kind, allow, headers: head.headers, bytes }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "").await
    }

    pub async fn json(&self, method: &str, path: &str, body: Value) -> Answer {
        self.send(method, path, body.to_string()).await
    }

    pub async fn revision(&self) -> u64 {
        self.context.snapshot.load().revision.0
    }

    /// Nodes nid001, nid002, … with one interface each, of which the odd ones are in the group `odd`.
    pub async fn declare(&self, count: u32) {
        for index in 1..=count {
            let groups: &[&str] = if index % 2 == 1 { &["odd"] } else { &[] };
            let node = json!({
                "name": format!("nid{index:03}"), "nid": index, "groups": groups,
                "interfaces": [{"mac": mac(index), "addresses": [format!("192.0.2.{index}")]}],
            });
            assert_eq!(self.json("POST", "/nodes", node).await.status, StatusCode::CREATED);
        }
    }
}

/// Bounds that do not depend on how full the disk is on which tests run.
fn settings() -> Settings {
    Settings { quota: NonZeroU64::new(1 << 30), reserve: Reserve::Bytes(0), scrub: None }
}

pub fn mac(index: u32) -> String {
    format!("00:00:5e:00:53:{index:02x}")
}

pub fn lease(address: Ipv4Addr, state: LeaseState) -> Lease {
    let starts = now();
    let expires = Timestamp(starts.0 + 3_600_000);
    let key = LeaseKey::Mac(mac(0xee).parse::<Mac>().unwrap());
    Lease { address, key, network: "boot".parse().unwrap(), state, starts, expires, host_name: None }
}

/// Answers in place of the DHCP task: one lease, one unknown machine, one foreign server.
fn observe(question: Command, leases: &mut Vec<Lease>) {
    let (network, mac) = ("boot".parse().unwrap(), mac(0xee).parse().unwrap());
    match question {
        Command::Leases(reply) => drop(reply.send(leases.clone())),
        Command::Sightings(reply) => drop(reply.send(vec![Sighting {
            mac,
            first: Timestamp(0),
            last: Timestamp(0),
            requests: 3,
            network,
            vendor_class: None,
            arch: None,
            firmware: Firmware::Uefi,
            uuid: None,
            circuit: None,
            host_name: None,
        }])),
        Command::Rogues(reply) => drop(reply.send(vec![Rogue {
            network,
            server: Ipv4Addr::new(192, 0, 2, 9),
            mac,
            first: Timestamp(0),
            last: Timestamp(0),
            replies: 2,
        }])),
        Command::WhoHas(_, reply) => drop(reply.send(None)),
        Command::Free(address, reply) => {
            let before = leases.len();
            leases.retain(|lease| lease.address != address);
            let _ = reply.send(leases.len() < before);
        }
    }
}
