//! Boot sessions over HTTP: what a node fetches, claims, attests and is refused, in one process; and what is left
//! of it when the daemon is killed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod head;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use getrandom::SysRng;
use hpke::rand_core::UnwrapErr;
use serde_json::{Value, json};
use tower::ServiceExt;
use zeroize::Zeroizing;

use head::{Head, SITE, mac};
use muster::api::auth::{Door, Policy};
use muster::api::node::{NodeTrust, secure};
use muster::base::Level;
use muster::engine::token::Trust;
use muster::engine::trust::Secrets;
use muster::engine::trust::attestor::{Ask, Attestor, Challenge, Denied, Pending, Proof};
use muster::engine::trust::contents::{Choice, Contents, Item, Withheld};
use muster::engine::trust::grant::Grant;
use muster::engine::trust::keyset::{Anchor, Keyset};
use muster::engine::trust::sealed::{Bundle, Expected, Psk, make_keys};
use muster::engine::trust::token::{Issuance, NodeClaims, Purpose};
use muster::model::boot_session::Channel;
use muster::model::{BootSession, Node, NodeId, SessionState, Snapshot};
use muster::transport::clock::now;
use muster::transport::http::Peer;
use muster::transport::vault::Vault;

const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const MARKER: &[u8] = b"marker: the munge key in the clear";

/// nid001 has a munge key at level 1 and a host key at level 2; nid002 has nothing.
struct Shelf;

impl Secrets for Shelf {
    fn wants(&self, _: &Snapshot, node: &Node) -> bool {
        node.name.as_str() == "nid001"
    }

    fn choose(&self, _: &Snapshot, node: &Node, level: Level) -> Choice {
        let all = [("munge", Level::Grant), ("host-key", Level::Tpm)].into_iter();
        let all = all.filter(|_| node.name.as_str() == "nid001");
        let (given, kept): (Vec<_>, Vec<_>) = all.partition(|(_, needs)| *needs <= level);
        let item = |(id, _): (&str, Level)| Item {
            id: id.to_owned(),
            version: 3,
            path: Some(format!("/etc/{id}")),
            mode: 0o400,
            owner: "root:root".to_owned(),
            credential: None,
            data: Zeroizing::new(MARKER.to_vec()),
        };
        let withheld = |(id, needs): (&str, Level)| Withheld {
            id: id.to_owned(),
            needs,
            reason: format!("needs level {needs}"),
        };
        Choice {
            items: given.into_iter().map(item).collect(),
            withheld: kept.into_iter().map(withheld).collect(),
            after: Vec::new(),
        }
    }
}

/// Plays the engine that knows TPMs: the answer must repeat the challenge.
struct Parrot;

struct Repeat([u8; 32]);

impl Attestor for Parrot {
    fn start(
        &self,
        ask: &Ask<'_>,
        message: &Value,
        dice: &Zeroizing<[u8; 128]>,
    ) -> Result<Challenge, Denied> {
        if message["ek_pub"] != json!(ask.node.name.as_str()) {
            let text = "ek-mismatch".to_owned();
            return Err(Denied { status: 403, text, alarm: true });
        }
        let secret: [u8; 32] = dice[..32].try_into().unwrap();
        let told = json!({"secret": STANDARD.encode(secret)});
        Ok(Challenge { told, pending: Box::new(Repeat(secret)) })
    }
}

impl Pending for Repeat {
    fn finish(self: Box<Self>, _: &Ask<'_>, message: &Value) -> Result<Proof, Denied> {
        if message["proof"] != json!(STANDARD.encode(self.0)) {
            return Err(Denied { status: 403, text: "the proof is wrong".to_owned(), alarm: false });
        }
        Ok(Proof { level: Level::Tpm, secret: Zeroizing::new(self.0) })
    }
}

fn head() -> Head {
    with(|trust| trust.attestor = Some(Arc::new(Parrot)))
}

fn with(change: impl FnOnce(&mut NodeTrust)) -> Head {
    Head::trusting(SITE, |trust| {
        trust.secrets = Arc::new(Shelf);
        change(trust);
    })
}

/// A node that boots, as far as it is.
struct Boot<'a> {
    head: &'a Head,
    grant: Grant,
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

/// The file in an archive that holds one.
fn boot_json(archive: &[u8]) -> Grant {
    let text = String::from_utf8_lossy(archive);
    let (start, end) = (text.find("{\"").unwrap(), text.find("\"}\n").unwrap());
    Grant::parse(text[start..end + 3].as_bytes()).unwrap()
}

fn channel(index: u32) -> Channel {
    Channel { mac: mac(index).parse().unwrap(), address: None, relay: None, uuid: None, arch: None }
}

fn node_id(head: &Head, name: &str) -> NodeId {
    head.context.snapshot.load().by_name(name).unwrap().id
}

/// nid001 boots until it has its script.
async fn script(head: &Head) -> String {
    let id = node_id(head, "nid001");
    head.context.trust.sessions.boots(id, channel(1));
    let path = format!("/boot/script?mac={}", mac(1).replace(':', "-"));
    head.ask_from(NODE, "GET", &path, "").await.is(200)
}

/// The path of the grant that a script names.
fn grant_path(script: &str) -> Option<String> {
    let line = script.lines().find(|line| line.contains("/b/"))?;
    let url = line.split_whitespace().find(|word| word.starts_with("http://"))?;
    Some(url.strip_prefix("http://192.0.2.254:8081").unwrap().to_owned())
}

async fn prepare(head: &Head) {
    for (name, index) in [("nid001", 1), ("nid002", 2)] {
        let interface = json!({"mac": mac(index), "addresses": [format!("192.0.2.{index}")]});
        let node = json!({"name": name, "interfaces": [interface]});
        head.json("POST", "/api/v1/nodes", node).await.ok();
        let boot =
            json!({"whom": {"set": name}, "target": {"kernel": "k", "initrds": ["i"], "params": "quiet"}});
        head.json("PUT", "/api/v1/boot", boot).await.ok();
    }
}

impl<'a> Boot<'a> {
    /// nid001, booted until it has its grant.
    async fn begin(head: &'a Head) -> Boot<'a> {
        let path = grant_path(&script(head).await).unwrap();
        let archive = head.ask_from(NODE, "GET", &path, "").await;
        assert_eq!(archive.status.as_u16(), 200);
        let (private, public) = make_keys(&mut UnwrapErr(SysRng));
        Boot { head, grant: boot_json(&archive.bytes), private, public }
    }

    fn claim_body(&self) -> Value {
        json!({
            "session": self.grant.session.to_string(), "nonce": URL_SAFE_NO_PAD.encode(*self.grant.nonce),
            "node_pub": STANDARD.encode(self.public), "facts": {"kernel": "6.12"},
        })
    }

    async fn claim_from(&self, peer: Ipv4Addr, body: &Value) -> head::Answer {
        self.head.ask_from(peer, "POST", "/node/v1/claim", body.to_string()).await
    }

    async fn claim(&self) -> head::Answer {
        self.claim_from(NODE, &self.claim_body()).await
    }

    async fn with_token(&self, token: &str, path: &str, body: &Value) -> head::Answer {
        let peer = Peer::Tcp { remote: (NODE, 40000).into(), local: ([192, 0, 2, 254], 8081).into() };
        let bearer = format!("Bearer {token}");
        self.head.request(peer, "POST", path, &[("authorization", &bearer)], body.to_string().into()).await
    }

    fn session(&self) -> BootSession {
        self.head.context.trust.sessions.get(self.grant.session).unwrap()
    }

    /// Opens a bundle as the node does: by the root in the grant alone.
    async fn open(&self, bundle: &Value, psk: Option<Psk<'_>>) -> Contents {
        let keyset = self.head.ask_from(NODE, "GET", "/node/v1/keyset", "").await.ok();
        let anchor = Anchor { root: &self.grant.root, least_epoch: 0, now: Some(now().0 / 1000) };
        let keys = Keyset::open(&keyset, anchor).unwrap();
        let session = self.grant.session.to_string();
        let expected = Expected { session: &session, least_seq: 0 };
        let (_, plain) =
            Bundle::from_json(bundle).unwrap().open(&keys, &self.private, psk, expected).unwrap();
        Contents::parse(&plain).unwrap()
    }
}

fn ids(choice: &Choice) -> BTreeSet<&str> {
    choice.items.iter().map(|item| item.id.as_str()).collect()
}

#[tokio::test]
async fn t01_t02_a_node_claims_once_and_opens_what_it_gets() {
    let head = head();
    prepare(&head).await;
    let boot = Boot::begin(&head).await;
    assert_eq!(boot.session().state, SessionState::Scripted);
    let first = boot.claim().await;
    assert_eq!((first.status.as_u16(), boot.session().state), (200, SessionState::Claimed));
    assert!(!first.text().contains("munge"), "the answer shows nothing in the clear");
    let contents = boot.open(&first.json(), None).await;
    assert_eq!(ids(&contents.choice), BTreeSet::from(["munge", "cloud-init-jwt"]));
    assert_eq!(contents.choice.items[0].data.as_slice(), MARKER);
    // T39: what is not given is named, with what it would take.
    assert_eq!(contents.choice.withheld[0].id, "host-key");
    assert_eq!(boot.session().withheld, ["host-key"]);
    let again = boot.claim().await;
    assert_eq!((again.status.as_u16(), &again.bytes), (200, &first.bytes));
    assert_eq!(boot.session().deliveries.len(), 1);
    let delivery = &boot.session().deliveries[0];
    assert_eq!((delivery.secret.as_str(), delivery.version, delivery.to), ("munge", 3, NODE));
}

#[tokio::test]
async fn t03_another_key_is_refused_and_ends_the_session() {
    let head = head();
    prepare(&head).await;
    let boot = Boot::begin(&head).await;
    boot.claim().await.ok();
    let mut other = boot.claim_body();
    other["node_pub"] = json!(STANDARD.encode(make_keys(&mut UnwrapErr(SysRng)).1));
    boot.claim_from(NODE, &other).await.is(409);
    assert_eq!(boot.session().state, SessionState::Revoked);
    boot.claim().await.is(410);
    let alarm = head.get("/api/v1/events?kind=trust&follow=0").await.text();
    assert!(alarm.contains("two keys claim it"), "{alarm}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t04_of_a_hundred_claims_at_once_one_is_answered() {
    let head = head();
    prepare(&head).await;
    let boot = Boot::begin(&head).await;
    let bodies: Vec<Value> = (0..100)
        .map(|_| {
            let mut body = boot.claim_body();
            body["node_pub"] = json!(STANDARD.encode(make_keys(&mut UnwrapErr(SysRng)).1));
            body
        })
        .collect();
    let claims = bodies.iter().map(|body| boot.claim_from(NODE, body));
    let answers = futures_util::future::join_all(claims).await;
    let good = answers.iter().filter(|answer| answer.status.as_u16() == 200).count();
    let others: BTreeSet<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(good, 1, "{others:?}");
    assert!(others.is_subset(&BTreeSet::from([200, 409, 410, 503])), "{others:?}");
    assert_eq!(boot.session().state, SessionState::Revoked);
}

#[tokio::test]
async fn t06_from_another_address_a_session_is_as_good_as_none() {
    let head = head();
    prepare(&head).await;
    let boot = Boot::begin(&head).await;
    let stolen = boot.claim_from(OTHER, &boot.claim_body()).await;
    let mut invented = boot.claim_body();
    invented["session"] = json!("aaaaaaaaaaaaaaaaaaaaaaaaaa");
    let unknown = boot.claim_from(OTHER, &invented).await;
    let mut nonsense = boot.claim_body();
    nonsense["session"] = json!("../../etc");
    let malformed = boot.claim_from(OTHER, &nonsense).await;
    assert_eq!((stolen.status.as_u16(), &stolen.bytes), (404, &unknown.bytes));
    assert_eq!(malformed.bytes, unknown.bytes);
    boot.claim().await.ok();
}

#[tokio::test]
async fn t05_t13_a_session_that_is_over_gives_nothing() {
    let head = head();
    prepare(&head).await;
    let old = Boot::begin(&head).await;
    let new = Boot::begin(&head).await;
    assert_ne!(old.grant.session, new.grant.session);
    old.claim().await.is(410);
    assert!(
        old.session().events.iter().any(|event| event.alarm && event.text.contains("possible-mac-spoof"))
    );
    new.claim().await.ok();
    let voided = head.json("POST", "/api/v1/trust/void", json!({})).await.ok();
    assert_eq!(voided["epoch"], 2);
    new.claim().await.is(410);
    let newest = Boot::begin(&head).await;
    let revoked = head.json("POST", "/api/v1/trust/nodes/nid001/revoke", json!({})).await.ok();
    assert_eq!(revoked["state"], "revoked");
    newest.claim().await.is(410);
    head.json("POST", "/api/v1/trust/nodes/nid001/revoke", json!({})).await.is(409);
    let sessions = head.get("/api/v1/trust/sessions").await.ok();
    let states: Vec<&str> =
        sessions.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert!(states.contains(&"revoked") && states.contains(&"superseded"), "{states:?}");
    Boot::begin(&head).await.claim().await.ok();
}

/// The head behind its door, with a proxy that is trusted: the node's own address.
fn guarded(head: &Head, folder: &std::path::Path) -> Router {
    let vault = Arc::new(Vault::open(folder, now()).unwrap());
    let policy = Policy {
        closed: true,
        proxies: vec!["192.0.2.0/24".parse().unwrap()],
        open_token: None,
        issuer: "https://demo.example:8443".to_owned(),
        cluster: "demo".to_owned(),
        hosts: BTreeSet::new(),
        claim: None,
    };
    let trust = Trust::own(&vault.public());
    let door = Door::new(head.context.clone(), vault, trust, policy);
    secure::before(door.before(head.router()), &head.context)
}

async fn send(
    router: &Router,
    peer: Ipv4Addr,
    fields: &[(&str, &str)],
    method: &str,
    path: &str,
    body: String,
) -> (u16, HeaderMap, Vec<u8>) {
    let remote = SocketAddr::from((peer, 40000));
    let peer = Peer::Tcp { remote, local: ([192, 0, 2, 254], 8081).into() };
    let request = Request::builder().method(method).uri(path).extension(peer);
    let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap().to_vec();
    (head.status.as_u16(), head.headers, body)
}

#[tokio::test]
async fn t07_no_header_makes_one_node_another() {
    let head = head();
    prepare(&head).await;
    let folder = tempfile::tempdir().unwrap();
    let router = guarded(&head, folder.path());
    let path = grant_path(&script(&head).await).unwrap();
    let own = NODE.to_string();
    let forwarded = format!("for={NODE}");
    let headers = [("x-forwarded-for", own.as_str()), ("x-real-ip", &own), ("forwarded", &forwarded)];
    assert_eq!(send(&router, OTHER, &headers, "GET", &path, String::new()).await.0, 404);
    // And no header makes the node somebody else.
    let other = OTHER.to_string();
    let (status, _, archive) =
        send(&router, NODE, &[("x-forwarded-for", &other)], "GET", &path, String::new()).await;
    assert_eq!(status, 200);
    let (private, public) = make_keys(&mut UnwrapErr(SysRng));
    let boot = Boot { head: &head, grant: boot_json(&archive), private, public };
    let body = boot.claim_body().to_string();
    assert_eq!(send(&router, OTHER, &headers, "POST", "/node/v1/claim", body.clone()).await.0, 404);
    let (status, _, reply) =
        send(&router, NODE, &[("x-forwarded-for", &other)], "POST", "/node/v1/claim", body).await;
    assert_eq!(status, 200);
    let token = boot.open(&serde_json::from_slice(&reply).unwrap(), None).await.token;
    let bearer = format!("Bearer {token}");
    let session = json!({"session": boot.grant.session.to_string()}).to_string();
    for (path, body) in [
        (
            "/node/v1/attest/start",
            json!({"ek_pub": "nid001", "node_pub": STANDARD.encode(public)}).to_string(),
        ),
        ("/node/v1/attest/finish", json!({"attest_id": "x"}).to_string()),
        ("/node/v1/sealed", session),
    ] {
        let headers = [headers.as_slice(), &[("authorization", bearer.as_str())]].concat();
        assert_eq!(send(&router, OTHER, &headers, "POST", path, body).await.0, 401, "{path}");
    }
}

#[tokio::test]
async fn t08_with_privileged_ports_only_root_of_a_node_claims() {
    let head = with(|trust| trust.policy.privileged_port = true);
    prepare(&head).await;
    let boot = Boot::begin(&head).await;
    boot.claim().await.is(403);
    let peer = Peer::Tcp { remote: (NODE, 700).into(), local: ([192, 0, 2, 254], 8081).into() };
    let body = boot.claim_body().to_string();
    head.request(peer, "POST", "/node/v1/claim", &[], body.into()).await.ok();
}

#[tokio::test]
async fn t09_five_wrong_nonces_end_the_session() {
    let head = head();
    prepare(&head).await;
    let boot = Boot::begin(&head).await;
    let mut wrong = boot.claim_body();
    wrong["nonce"] = json!(URL_SAFE_NO_PAD.encode([0; 32]));
    for _ in 0..5 {
        boot.claim_from(NODE, &wrong).await.is(403);
    }
    boot.claim().await.is(410);
}

#[tokio::test]
async fn t10_the_grant_is_served_three_times_to_its_node_alone() {
    let head = head();
    prepare(&head).await;
    let path = grant_path(&script(&head).await).unwrap();
    assert_eq!(head.ask_from(OTHER, "GET", &path, "").await.status.as_u16(), 404);
    assert_eq!(head.ask_from(NODE, "HEAD", &path, "").await.status.as_u16(), 404, "looking costs nothing");
    let mut nonces = BTreeSet::new();
    for _ in 0..3 {
        let answer = head.ask_from(NODE, "GET", &path, "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.headers["cache-control"].to_str().unwrap()),
            (200, "no-store")
        );
        nonces.insert(*boot_json(&answer.bytes).nonce);
    }
    assert_eq!(nonces.len(), 3);
    assert_eq!(head.ask_from(NODE, "GET", &path, "").await.status.as_u16(), 404);
    let boot = Boot::begin(&head).await;
    boot.claim().await.ok();
    let path = format!("/b/{}/boot.cpio", boot.grant.session);
    assert_eq!(head.ask_from(NODE, "GET", &path, "").await.status.as_u16(), 404);
}

#[tokio::test]
async fn t11_t12_what_policy_does_not_believe_boots_without_secrets_until_an_operator_says_so() {
    let head = head();
    prepare(&head).await;
    let id = node_id(&head, "nid001");
    head.context.trust.sessions.heard(id);
    let boot = Boot::begin(&head).await;
    let refused = boot.claim().await.is(403);
    assert!(refused.contains("possible-mac-spoof"), "{refused}");
    let why = head.get("/api/v1/trust/nodes/nid001").await.ok();
    assert_eq!(why["level"], "0");
    assert!(why["why"].to_string().contains("muster node arm nid001"), "{why}");
    let armed = head.json("POST", "/api/v1/trust/nodes/nid001/arm", json!({})).await.ok();
    assert_eq!((&armed["armed_by"], &armed["held"]), (&json!("operator"), &Value::Null));
    boot.claim().await.ok();
    assert_eq!(head.get("/api/v1/trust/nodes/nid001").await.ok()["level"], "1");
}

#[tokio::test]
async fn a_node_without_secrets_keeps_its_script_and_has_no_session() {
    let head = head();
    prepare(&head).await;
    let id = node_id(&head, "nid002");
    let path = format!("/boot/script?mac={}", mac(2).replace(':', "-"));
    let script = head.ask_from(OTHER, "GET", &path, "").await.is(200);
    assert_eq!(grant_path(&script), None);
    assert!(head.context.trust.sessions.of(id).is_empty());
    // One that has secrets but asks through somebody else's address gets the ordinary script too.
    head.context.trust.sessions.boots(node_id(&head, "nid001"), channel(1));
    let path = format!("/boot/script?mac={}", mac(1).replace(':', "-"));
    assert_eq!(grant_path(&head.ask_from(OTHER, "GET", &path, "").await.is(200)), None);
    let own = head.ask_from(NODE, "GET", &path, "").await.is(200);
    let lines: Vec<&str> = own.lines().filter(|line| line.starts_with("initrd")).collect();
    assert_eq!(lines.len(), 2, "{own}");
    assert!(lines[1].starts_with("initrd --name initrd1 http://192.0.2.254:8081/b/"), "{own}");
    assert!(own.contains("initrd=initrd initrd=initrd1"), "{own}");
}

#[tokio::test]
async fn an_attested_node_gets_the_rest_and_only_its_tpm_opens_it() {
    let head = head();
    prepare(&head).await;
    let boot = Boot::begin(&head).await;
    let token = boot.open(&boot.claim().await.ok(), None).await.token;
    let start = json!({"ek_pub": "nid001", "node_pub": STANDARD.encode(boot.public)});
    let mut foreign = start.clone();
    foreign["ek_pub"] = json!("nid002");
    boot.with_token(&token, "/node/v1/attest/start", &foreign).await.is(403);
    assert!(boot.session().events.iter().any(|event| event.alarm && event.text.contains("ek-mismatch")));
    let mut other_key = start.clone();
    other_key["node_pub"] = json!(STANDARD.encode(make_keys(&mut UnwrapErr(SysRng)).1));
    boot.with_token(&token, "/node/v1/attest/start", &other_key).await.is(422);
    let challenge = boot.with_token(&token, "/node/v1/attest/start", &start).await.ok();
    let id = challenge["attest_id"].as_str().unwrap().to_owned();
    let finish = json!({"attest_id": id, "proof": challenge["secret"]});
    // T31: an answer is judged once.
    let wrong = json!({"attest_id": id, "proof": "AA=="});
    boot.with_token(&token, "/node/v1/attest/finish", &wrong).await.is(403);
    boot.with_token(&token, "/node/v1/attest/finish", &finish).await.is(409);
    let challenge = boot.with_token(&token, "/node/v1/attest/start", &start).await.ok();
    let id = challenge["attest_id"].as_str().unwrap().to_owned();
    let finish = json!({"attest_id": id, "proof": challenge["secret"]});
    let first = boot.with_token(&token, "/node/v1/attest/finish", &finish).await;
    assert_eq!(first.status.as_u16(), 200, "{}", first.text());
    let again = boot.with_token(&token, "/node/v1/attest/finish", &finish).await;
    assert_eq!(again.bytes, first.bytes);
    boot.with_token(&token, "/node/v1/attest/finish", &wrong).await.is(409);
    let secret: [u8; 32] =
        STANDARD.decode(challenge["secret"].as_str().unwrap()).unwrap().try_into().unwrap();
    let contents = boot.open(&first.json(), Some(Psk { id: &id, secret: &secret })).await;
    assert_eq!(ids(&contents.choice), BTreeSet::from(["munge", "host-key", "cloud-init-jwt"]));
    assert_eq!((boot.session().state, boot.session().level), (SessionState::Delivered, Level::Tpm));
}

#[tokio::test]
async fn t41_when_a_session_is_sealed_its_token_is_worth_nothing() {
    let head = head();
    prepare(&head).await;
    let boot = Boot::begin(&head).await;
    let token = boot.open(&boot.claim().await.ok(), None).await.token;
    let seal = json!({"session": boot.grant.session.to_string()});
    boot.with_token(&token, "/node/v1/sealed", &seal).await.is(204);
    assert_eq!(boot.session().state, SessionState::Sealed);
    let start = json!({"ek_pub": "nid001", "node_pub": STANDARD.encode(boot.public)});
    boot.with_token(&token, "/node/v1/attest/start", &start).await.is(401);
    boot.claim().await.is(410);
    for token in ["", "nonsense", "a.b.c"] {
        boot.with_token(token, "/node/v1/attest/start", &start).await.is(401);
    }
}

#[tokio::test]
async fn a_head_that_does_not_attest_says_so() {
    let head = with(|_| ());
    prepare(&head).await;
    let boot = Boot::begin(&head).await;
    let token = boot.open(&boot.claim().await.ok(), None).await.token;
    for path in ["/node/v1/attest/start", "/node/v1/attest/finish"] {
        boot.with_token(&token, path, &json!({})).await.is(501);
    }
}

#[tokio::test]
async fn the_tutorials_secure_documents_open_with_the_token_from_the_claim() {
    let head = head();
    prepare(&head).await;
    let folder = tempfile::tempdir().unwrap();
    let router = guarded(&head, folder.path());
    let boot = Boot::begin(&head).await;
    let contents = boot.open(&boot.claim().await.ok(), None).await;
    let item = contents.choice.items.iter().find(|item| item.id == "cloud-init-jwt").unwrap();
    assert_eq!((item.path.as_deref(), item.mode), (Some("/run/cloud-init-jwt"), 0o600));
    let jwt = format!("Bearer {}", String::from_utf8(item.data.to_vec()).unwrap());
    let node = format!("Bearer {}", contents.token);
    let ask = async |peer, bearer: &str, path: &str| {
        let fields: &[(&str, &str)] = if bearer.is_empty() { &[] } else { &[("authorization", bearer)] };
        send(&router, peer, fields, "GET", path, String::new()).await.0
    };
    for document in ["user-data", "meta-data", "vendor-data"] {
        assert_eq!(ask(NODE, &jwt, &format!("/cloud-init-secure/{document}")).await, 200);
    }
    assert_eq!(ask(NODE, "", "/cloud-init-secure/user-data").await, 401);
    assert_eq!(ask(NODE, &node, "/cloud-init-secure/user-data").await, 401, "each token has its purpose");
    assert_eq!(ask(OTHER, &jwt, "/cloud-init-secure/user-data").await, 401);
    for closed in [
        "/cloud-init-secure",
        "/cloud-init-secure/compute",
        "/cloud-init-secure/%75ser-data",
        "/api/v1/nodes",
    ] {
        assert_eq!(ask(NODE, &jwt, closed).await, 401, "{closed}");
    }
    let seal = json!({"session": boot.grant.session.to_string()});
    boot.with_token(&contents.token, "/node/v1/sealed", &seal).await.is(204);
    assert_eq!(
        ask(NODE, &jwt, "/cloud-init-secure/user-data").await,
        200,
        "cloud-init runs after the initramfs"
    );
    head.context.trust.sessions.boots(node_id(&head, "nid001"), channel(1));
    assert_eq!(ask(NODE, &jwt, "/cloud-init-secure/user-data").await, 401, "the node boots again");
}

#[tokio::test]
async fn what_is_no_claim_names_its_field_and_costs_no_try() {
    let head = head();
    prepare(&head).await;
    let boot = Boot::begin(&head).await;
    for (field, bad) in [("nonce", json!("AAAA")), ("nonce", json!("*")), ("node_pub", json!("AAAA"))] {
        for _ in 0..3 {
            let mut body = boot.claim_body();
            body[field] = bad.clone();
            assert!(boot.claim_from(NODE, &body).await.is(422).contains(field));
        }
    }
    // A key of small order: nothing can be sealed to it, and the grant is as good as before.
    let mut weak = boot.claim_body();
    weak["node_pub"] = json!(STANDARD.encode([0; 32]));
    boot.claim_from(NODE, &weak).await.is(422);
    assert_eq!(boot.session().state, SessionState::Scripted);
    let long = "x".repeat(70_000);
    head.ask_from(NODE, "POST", "/node/v1/claim", long).await.is(413);
    head.ask_from(NODE, "POST", "/node/v1/claim", "{}").await.is(422);
    boot.claim().await.ok();
}

/// Asks behind the door as this peer with a token.
async fn secure_get(router: &Router, peer: Ipv4Addr, jwt: &str, path: &str) -> (u16, String) {
    let request = Request::builder().uri(format!("/cloud-init-secure/{path}"));
    let peer = Peer::Tcp { remote: (peer, 40000).into(), local: ([192, 0, 2, 254], 8081).into() };
    let request = request.extension(peer).header("authorization", format!("Bearer {jwt}"));
    let answer = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

/// nid001 in groups whose files need more than an address, each in its way.
async fn with_documents(head: &Head) {
    prepare(head).await;
    for (name, level) in [("munge", "1"), ("disk", "2")] {
        let secret = json!({"min_level": level, "what": "opaque", "value": STANDARD.encode(MARKER)});
        head.json("PUT", &format!("/api/v1/secrets/{name}"), secret).await.ok();
    }
    let asks = |call: &str| {
        format!("## template: jinja\n#cloud-config\nkey: {{{{ {call} }}}}\nid: {{{{ v1.local_hostname }}}}\n")
    };
    for (group, content, level) in [
        ("compute", asks("secret('munge')") + "b64: {{ secret('munge', 'base64') }}\n", "0"),
        ("plain", "#cloud-config\nmotd: for those who were let in\n".to_owned(), "1"),
        ("vault", asks("secret('disk')"), "0"),
        ("open", "#cloud-config\nmotd: hello\n".to_owned(), "0"),
    ] {
        head.json("PUT", &format!("/api/v1/groups/{group}"), json!({"name": group})).await;
        let file = json!({"content": content, "min_level": level});
        head.json("PUT", &format!("/api/v1/cloud-init/groups/{group}"), json!({"file": file})).await.ok();
    }
    let groups = json!({"groups": ["compute", "open", "plain", "vault"]});
    head.json("PATCH", "/api/v1/nodes/nid001", groups).await.ok();
}

#[tokio::test]
async fn the_open_path_refuses_what_asks_for_secrets_or_a_level_and_leaves_it_out_of_lists() {
    let head = Head::vaulted(SITE);
    with_documents(&head).await;
    let ask = async |name: &str| head.ask_from(NODE, "GET", &format!("/cloud-init/{name}"), "").await;
    let refused = ask("compute.yaml").await.is(403);
    assert!(
        refused.contains("compute.yaml: line 3: asks for secrets") && refused.contains("secure path"),
        "{refused}"
    );
    let refused = ask("plain.yaml").await.is(403);
    assert!(refused.contains("plain.yaml") && refused.contains("needs level 1"), "{refused}");
    // OpenCHAMI's clients know no levels: what they write takes none away.
    let file = json!({"content": "#cloud-config\nmotd: new\n", "encoding": "plain"});
    let put =
        head.json("PUT", "/cloud-init/admin/groups/plain", json!({"name": "plain", "file": file})).await;
    assert!(put.status.is_success(), "{}", put.text());
    ask("plain.yaml").await.is(403);
    let vendor = ask("vendor-data").await.is(200);
    assert!(vendor.contains("/open.yaml"), "{vendor}");
    for kept in ["compute.yaml", "plain.yaml", "vault.yaml"] {
        assert!(!vendor.contains(kept), "cloud-init would fail over a part that is refused: {vendor}");
    }
    // Whatever is asked for without a token, the value is nowhere; nor in what operators see.
    let mut seen = String::new();
    for path in [
        "/cloud-init/user-data",
        "/cloud-init/meta-data",
        "/cloud-init/vendor-data",
        "/cloud-init/compute.yaml",
        "/cloud-init/vault.yaml",
        "/cloud-init/admin/groups",
        "/cloud-init/admin/impersonation/nid001/compute.yaml",
        "/cloud-init/nid001/user-data",
        "/cloud-init-secure/nid001/user-data",
        "/cloud-init/admin/groups/compute",
    ] {
        seen += &head.ask_from(NODE, "GET", path, "").await.text();
    }
    let preview = head.get("/api/v1/cloud-init/render/nid001").await.is(200);
    assert!(preview.contains("<secret munge>") && preview.contains("<secret disk>"), "{preview}");
    seen += &preview;
    let (marker, coded) = (String::from_utf8_lossy(MARKER), STANDARD.encode(MARKER));
    assert!(!seen.contains(&*marker) && !seen.contains(&coded), "{seen}");
}

#[tokio::test]
async fn templates_get_the_secrets_of_the_level_that_the_token_was_made_at() {
    let head = Head::vaulted(SITE);
    with_documents(&head).await;
    let folder = tempfile::tempdir().unwrap();
    let router = guarded(&head, folder.path());
    let boot = Boot::begin(&head).await;
    let contents = boot.open(&boot.claim().await.ok(), None).await;
    let item = contents.choice.items.iter().find(|item| item.id == "cloud-init-jwt").unwrap();
    let jwt = String::from_utf8(item.data.to_vec()).unwrap();
    let (marker, coded) = (String::from_utf8_lossy(MARKER), STANDARD.encode(MARKER));
    let (status, text) = secure_get(&router, NODE, &jwt, "compute.yaml").await;
    assert_eq!((status, text), (200, format!("#cloud-config\nkey: {marker}\nid: nid001\nb64: {coded}\n")));
    let (status, text) = secure_get(&router, NODE, &jwt, "plain.yaml").await;
    assert!(status == 200 && text.contains("let in"), "{status} {text}");
    let (status, text) = secure_get(&router, NODE, &jwt, "vault.yaml").await;
    assert_eq!(status, 403, "{text}");
    assert!(text.contains("secret disk: it needs level 2, and the node has reached 1"), "{text}");
    assert_eq!(secure_get(&router, NODE, &jwt, "vendor-data").await.0, 403, "all of it or nothing");
    assert_eq!(secure_get(&router, NODE, &jwt, "open.yaml").await.0, 404, "that one is for everybody");
    assert_eq!(secure_get(&router, OTHER, &jwt, "compute.yaml").await.0, 401);
    // The session knows what it gave away, each version once, and the refusal stands in the log.
    secure_get(&router, NODE, &jwt, "compute.yaml").await;
    let given = |name: &str| boot.session().deliveries.iter().filter(|one| one.secret == name).count();
    assert_eq!((given("munge"), given("disk")), (1, 0));
    let log = head.get("/api/v1/audit?outcome=refused").await.is(200);
    assert!(log.contains("vault.yaml") && log.contains("needs level 2"), "{log}");
    assert!(
        head.get("/api/v1/audit")
            .await
            .is(200)
            .contains("cloud-init compute.yaml at level 1: munge version 1")
    );
    // The same session after its TPM answered: another token.
    let session = boot.session();
    let claims = NodeClaims::new(Purpose::CloudInit, session.node, session.id, Level::Tpm, [7; 32], now());
    let made = Issuance { issuer: "https://demo.example:8443", name: "nid001", id: "x" };
    let higher = head.context.trust.keys.token(&claims, made).unwrap();
    assert_eq!(secure_get(&router, NODE, &higher, "vault.yaml").await.0, 200);
    let (status, archive) = secure_get(&router, NODE, &higher, "vendor-data").await;
    assert_eq!((status, archive.lines().next()), (200, Some("#cloud-config-archive")), "{archive}");
    assert_eq!(archive.matches("- {\"content\": \"#cloud-config").count(), 3, "{archive}");
    assert_eq!(given("disk"), 1);
}
