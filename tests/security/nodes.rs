//! What strangers on the boot network send in place of a node: headers, guesses, old tokens, junk.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use muster::base::Timestamp;
use muster::model::SessionState;
use serde_json::{Value, json};

use crate::boot::{Boot, MARKER, NODE, OTHER, at, begins, grant_path, head, node_id, peer, script_path};
use crate::head::{Head, SITE};

/// Names under which proxies tell of others, and names by which a request is turned into another one.
const HEADERS: [&str; 16] = [
    "x-forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-originating-ip",
    "x-remote-ip",
    "x-remote-addr",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-forwarded",
    "forwarded-for",
    "client-ip",
    "x-forwarded-host",
    "x-host",
    "via",
];

fn alarms(text: &str) -> bool {
    text.contains("\"kind\":\"trust\"") || text.contains("trust")
}

async fn events(head: &Head) -> String {
    head.get("/api/v1/events?kind=trust&follow=0").await.text()
}

#[tokio::test]
async fn t05_after_its_time_a_session_is_expired_and_its_claim_is_gone() {
    let head = head().await;
    let boot = Boot::begin(&head, 1).await;
    let past = |session: &mut muster::model::BootSession| {
        session.expires = Timestamp(session.made.0 + 1);
        Ok(())
    };
    head.context.trust.sessions.change(boot.grant.session, past).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let refused = boot.claim().await.is(410);
    assert!(!refused.contains(MARKER), "{refused}");
    assert_eq!(boot.session().state, SessionState::Expired);
    assert!(boot.session().deliveries.is_empty());
    let path = format!("/b/{}/boot.cpio", boot.grant.session);
    head.ask_from(NODE, "GET", &path, "").await.is(404);
}

/// Every path on which a node is known by its address, asked by nid001 with headers that say nid002, and the other
/// way round.
#[tokio::test]
async fn t07_no_header_on_any_path_of_nodes_makes_one_node_another() {
    let head = head().await;
    let (own, other) = (Boot::begin(&head, 1).await, OTHER.to_string());
    let token = own.claimed().await.token;
    let bearer = format!("Bearer {token}");
    let forwarded = format!("for={other};host=evil.test;proto=https");
    let mut lies: Vec<(&str, &str)> = HEADERS.iter().map(|name| (*name, other.as_str())).collect();
    lies.extend([("forwarded", forwarded.as_str()), ("host", "192.0.2.2:8081")]);
    lies.extend([("x-original-url", "/api/v1/nodes"), ("x-http-method-override", "DELETE")]);
    let session = json!({"session": own.grant.session.to_string()}).to_string();
    let grant = format!("/b/{}/boot.cpio", own.grant.session);
    let requests: Vec<(&str, String, String)> = [
        ("GET", "/boot/script?mac=unknown", ""),
        ("GET", "/meta-data", ""),
        ("GET", "/user-data", ""),
        ("GET", "/cloud-init/meta-data", ""),
        ("GET", "/cloud-init/user-data", ""),
        ("GET", "/cloud-init/vendor-data", ""),
        ("GET", "/node/v1/keyset", ""),
        ("GET", grant.as_str(), ""),
        ("POST", "/node/v1/sealed", session.as_str()),
        ("POST", "/node/v1/attest/finish", r#"{"attest_id":"x"}"#),
        ("POST", "/node/v1/claim", "{}"),
    ]
    .into_iter()
    .chain(
        [("GET", script_path(1), ""), ("GET", script_path(2), "")]
            .iter()
            .map(|(m, p, b)| (*m, p.as_str(), *b)),
    )
    .map(|(method, path, body)| (method, path.to_owned(), body.to_owned()))
    .collect();
    // A stranger with the node's token and all headers that name the node gets nowhere.
    let named = NODE.to_string();
    for path in ["/node/v1/attest/start", "/node/v1/attest/finish", "/node/v1/sealed"] {
        let mut fields: Vec<(&str, &str)> = HEADERS.iter().map(|name| (*name, named.as_str())).collect();
        fields.push(("authorization", bearer.as_str()));
        let answer = head.request(peer(OTHER), "POST", path, &fields, session.clone().into()).await;
        // The same is asked of each: the token is for another address.
        assert_eq!(answer.status.as_u16(), 401, "{path}: {}", answer.text());
    }
    for (method, path, body) in &requests {
        let ask = async |fields: &[(&str, &str)]| {
            let answer = head.request(peer(NODE), method, path, fields, body.clone().into()).await;
            (answer.status, answer.bytes)
        };
        let honest = ask(&[]).await;
        for lie in &lies {
            assert_eq!(ask(&[*lie]).await, honest, "{method} {path} with {lie:?}");
        }
        assert_eq!(ask(&lies).await, honest, "{method} {path} with all of them");
    }
    assert_eq!(own.session().state, SessionState::Claimed);
    let meta = head.ask_from(NODE, "GET", "/cloud-init/meta-data", "").await.is(200);
    assert!(meta.contains("nid001") && !meta.contains("nid002"), "{meta}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t09_however_many_guess_at_once_five_guesses_are_judged() {
    let head = head().await;
    let boot = Boot::begin(&head, 1).await;
    let bodies: Vec<Value> = (0..60_u8)
        .map(|number| {
            let mut body = boot.claim_body();
            body["nonce"] = json!(URL_SAFE_NO_PAD.encode([number; 32]));
            body
        })
        .collect();
    let guesses = bodies.iter().map(|body| head.ask_from(NODE, "POST", "/node/v1/claim", body.to_string()));
    let statuses: Vec<u16> = join_all(guesses).await.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 5, "{statuses:?}");
    assert!(statuses.iter().all(|status| [403, 410, 503].contains(status)), "{statuses:?}");
    assert_eq!((boot.session().state, boot.session().wrong), (SessionState::Revoked, 5));
    boot.claim().await.is(410);
    assert!(boot.session().events.iter().any(|event| event.alarm), "{:?}", boot.session().events);
    assert!(alarms(&events(&head).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t10_of_many_fetches_at_once_three_get_a_grant() {
    let head = head().await;
    begins(&head, 1);
    let script = head.ask_from(NODE, "GET", &script_path(1), "").await.is(200);
    let path = grant_path(&script).unwrap();
    let fetches = (0..40).map(|_| head.ask_from(NODE, "GET", &path, ""));
    let answers = join_all(fetches).await;
    let good: BTreeSet<&[u8]> =
        answers.iter().filter(|answer| answer.status.as_u16() == 200).map(|answer| &*answer.bytes).collect();
    assert_eq!(good.len(), 3, "three archives, each with a nonce of its own");
    assert!(answers.iter().all(|answer| [200, 404, 503].contains(&answer.status.as_u16())));
}

#[tokio::test]
async fn t12_without_a_power_event_the_script_is_served_and_the_claim_is_refused() {
    let head = at(&format!("{SITE}[trust]\narm_on = \"power\"\n"), |_| ()).await;
    let boot = Boot::begin(&head, 1).await;
    let refused = boot.claim().await.refused(403);
    assert!(refused.contains("power"), "{refused}");
    assert!(boot.session().deliveries.is_empty());
    // Switched on by the head, it gets what it asks for.
    head.context.trust.sessions.powered(node_id(&head, 2));
    Boot::begin(&head, 2).await.claim().await.ok();
}

#[tokio::test]
async fn t13_a_grant_of_the_boot_before_raises_an_alarm_that_operators_see() {
    let head = head().await;
    let old = Boot::begin(&head, 1).await;
    let new = Boot::begin(&head, 1).await;
    old.claim().await.is(410);
    let told = events(&head).await;
    assert!(told.contains("possible-mac-spoof"), "{told}");
    assert_eq!(new.session().state, SessionState::Scripted, "the node itself goes on");
    new.claim().await.ok();
}

/// The class of CVE-2026-6420: what must be random comes from the head's dice, in each of its answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t34_ten_thousand_challenges_of_a_head_are_all_different() {
    let head = head().await;
    let boot = Boot::begin(&head, 1).await;
    let token = boot.claimed().await.token;
    let body = boot.start_body();
    let (mut ids, mut dice) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..200 {
        for answer in join_all((0..50).map(|_| boot.with_token(&token, "/node/v1/attest/start", &body))).await
        {
            let told = answer.ok();
            ids.insert(told["attest_id"].as_str().unwrap().to_owned());
            let octets = STANDARD.decode(told["dice"].as_str().unwrap()).unwrap();
            // Each quarter alone, as each makes another value of a challenge.
            for part in octets.chunks(32) {
                dice.insert(part.to_vec());
            }
        }
    }
    assert_eq!((ids.len(), dice.len()), (10_000, 40_000));
    let mean = dice.iter().flatten().map(|octet| u64::from(octet.count_ones())).sum::<u64>();
    let bits = 40_000_u64 * 256;
    assert!(mean.abs_diff(bits / 2) < bits / 1000, "{mean} of {bits} bits are set");
}

#[tokio::test]
async fn t41_a_token_ends_with_its_session_however_that_ends() {
    let head = head().await;
    let start = async |boot: &Boot<'_>, token: &str| {
        boot.with_token(token, "/node/v1/attest/start", &boot.start_body()).await.status.as_u16()
    };
    // Superseded by the next boot.
    let first = Boot::begin(&head, 1).await;
    let token = first.claimed().await.token;
    assert_eq!(start(&first, &token).await, 200);
    let second = Boot::begin(&head, 1).await;
    assert_eq!(start(&first, &token).await, 401, "superseded");
    // Revoked by an operator.
    let token = second.claimed().await.token;
    assert_eq!(start(&second, &token).await, 200);
    head.json("POST", "/api/v1/trust/nodes/nid001/revoke", json!({})).await.ok();
    assert_eq!(start(&second, &token).await, 401, "revoked");
    // Voided with all others.
    let third = Boot::begin(&head, 1).await;
    let token = third.claimed().await.token;
    head.json("POST", "/api/v1/trust/void", json!({})).await.ok();
    assert_eq!(start(&third, &token).await, 401, "voided");
    // A node's token is none of its neighbour's, whatever session the neighbour has.
    let (own, next) = (Boot::begin(&head, 1).await, Boot::begin(&head, 2).await);
    let token = own.claimed().await.token;
    assert_eq!(start(&next, &token).await, 401, "a neighbour's");
    assert_eq!(start(&own, &token).await, 200);
    head.send("DELETE", "/api/v1/nodes/nid001", "").await.ok();
    assert_ne!(start(&own, &token).await, 200, "the node is no more");
}

/// Any octets, and good messages with any octet changed: a refusal that names no secret, and nothing has happened.
#[tokio::test]
async fn junk_on_the_paths_of_nodes_is_refused_and_changes_nothing() {
    let head = head().await;
    let boot = Boot::begin(&head, 1).await;
    let other = Boot::begin(&head, 2).await;
    let token = other.claimed().await.token;
    let bearer = format!("Bearer {token}");
    let before = boot.session();
    let good = boot.claim_body().to_string().into_bytes();
    let nested = "[".repeat(60_000).into_bytes();
    let mut random = fastrand::Rng::with_seed(6);
    let mut bodies = vec![Vec::new(), nested, b"null".to_vec(), br#"{"session":[],"nonce":{}}"#.to_vec()];
    for _ in 0..150 {
        bodies.push((0..random.usize(..300)).map(|_| random.u8(..)).collect());
        // The nonce and the key stay as they are: changed, they are guesses, and counted.
        let mut altered = good.clone();
        altered.truncate(random.usize(..good.len()));
        bodies.push(altered);
        let mut session = boot.claim_body();
        let name: String = (0..random.usize(..60)).map(|_| random.char(..)).collect();
        session["session"] = json!(name);
        bodies.push(session.to_string().into_bytes());
    }
    for body in &bodies {
        for path in ["/node/v1/claim", "/node/v1/attest/start", "/node/v1/attest/finish", "/node/v1/sealed"] {
            for (address, fields) in [(NODE, &[][..]), (OTHER, &[("authorization", bearer.as_str())][..])] {
                let answer = head.request(peer(address), "POST", path, fields, body.clone().into()).await;
                let status = answer.status.as_u16();
                assert!((400..500).contains(&status), "{path}: {status} {}", answer.text());
                assert!(!answer.text().contains(MARKER) && !answer.text().contains(&token));
            }
        }
    }
    assert_eq!(boot.session(), before);
    let names = ["", "a", "..", "%00", "%2e%2e", "aaaaaaaaaaaaaaaaaaaaaaaaaa", "ÄÄ", &"x".repeat(5000)];
    for name in names {
        let name: String = name
            .bytes()
            .map(|octet| if octet.is_ascii() { (octet as char).to_string() } else { format!("%{octet:02x}") })
            .collect();
        let answer = head.ask_from(NODE, "GET", &format!("/b/{name}/boot.cpio"), "").await;
        assert_eq!(answer.status.as_u16(), 404, "{name}: {}", answer.text());
    }
    boot.claim().await.ok();
}
