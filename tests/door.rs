//! The door for people: users with passwords, sessions of browsers, pages elsewhere that would use them, and
//! tokens that users make. In one process; `https.rs` asks the real daemon.
#![allow(clippy::disallowed_methods, reason = "a test that waits for a server needs a clock")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod head;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use head::{Head, SITE};
use muster::api::auth::{Door, Policy};
use muster::app::routes::{self, Parts};
use muster::base::base32;
use muster::engine::token::Trust;
use muster::engine::token::totp;
use muster::transport::clock::now;
use muster::transport::http::{Peer, Secure};
use muster::transport::loaders::Loaders;
use muster::transport::vault::Vault;

const PASSWORD: &str = "correct horse battery";
const HOST: (&str, &str) = ("host", "demo.example:8443");
const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");

/// A head with its door.
struct Site {
    router: Router,
    head: Head,
    folder: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// The cookie that it sets, as a browser sends it back.
    #[track_caller]
    fn cookie(&self) -> String {
        let line = self.headers.get(header::SET_COOKIE).unwrap_or_else(|| panic!("no cookie: {}", self.text));
        line.to_str().unwrap().split(';').next().unwrap().to_owned()
    }
}

impl Site {
    fn start() -> Site {
        Site::on(Head::start(SITE), tempfile::tempdir().unwrap())
    }

    /// The same head after a restart of its door: what was in memory alone is gone.
    fn again(self) -> Site {
        Site::on(self.head, self.folder)
    }

    fn on(head: Head, folder: tempfile::TempDir) -> Site {
        let vault = Arc::new(Vault::open(folder.path(), now()).unwrap());
        let policy = Policy {
            closed: true,
            proxies: Vec::new(),
            open_token: None,
            issuer: "https://demo.example:8443".to_owned(),
            cluster: "demo".to_owned(),
            hosts: BTreeSet::from(["demo.example".to_owned()]),
            claim: None,
        };
        let context = head.context.clone();
        let door = Door::new(context.clone(), Arc::clone(&vault), Trust::own(&vault.public()), policy);
        let loaders = Arc::new(Loaders::open(Vec::new(), None));
        let site_key = Arc::clone(&vault.site);
        let router = door.before(routes::router(&Parts { context, loaders, images: None, site_key }));
        Site { router, head, folder }
    }

    /// A head that knows alice, who is an administrator.
    async fn with_alice() -> Site {
        let site = Site::start();
        site.add("alice", "admin").await;
        site
    }

    async fn send(
        &self,
        peer: Peer,
        secure: bool,
        fields: &[(&str, &str)],
        request: (&str, &str),
        body: &str,
    ) -> Answer {
        let mut made = Request::builder().method(request.0).uri(request.1).extension(peer);
        if secure {
            made = made.extension(Secure);
        }
        for (name, value) in fields {
            made = made.header(*name, *value);
        }
        let response =
            self.router.clone().oneshot(made.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: head.status.as_u16(), headers: head.headers, text }
    }

    /// Over TLS, from one desk.
    async fn tls(&self, fields: &[(&str, &str)], request: (&str, &str), body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(desk(7), true, fields, request, &body).await
    }

    async fn local(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(Peer::Local, false, &[], (method, path), &body).await
    }

    async fn add(&self, name: &str, role: &str) {
        let body = json!({"name": name, "role": role, "password": PASSWORD});
        let made = self.local("POST", "/api/v1/users", body).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }

    async fn login_from(&self, peer: Peer, name: &str, password: &str) -> Answer {
        let body = json!({"name": name, "password": password}).to_string();
        self.send(peer, true, &[HOST, SAME], ("POST", "/api/v1/login"), &body).await
    }

    /// The cookie of a new session.
    async fn login(&self, name: &str) -> String {
        let answer = self.login_from(desk(7), name, PASSWORD).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.cookie()
    }

    async fn nodes(&self, cookie: &str) -> u16 {
        self.tls(&[HOST, ("cookie", cookie)], ("GET", "/api/v1/nodes"), Value::Null).await.status
    }
}

fn desk(host: u8) -> Peer {
    let remote = SocketAddr::from(([192, 0, 2, host], 40_000));
    Peer::Tcp { remote, local: SocketAddr::from(([192, 0, 2, 254], 8081)) }
}

#[tokio::test]
async fn a_user_logs_in_works_and_logs_out() {
    let site = Site::with_alice().await;
    let answer = site.login_from(desk(7), "alice", PASSWORD).await;
    assert_eq!(answer.json(), json!({"name": "alice", "role": "admin", "via": "session"}));
    let line = answer.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
    for wanted in ["__Host-muster=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(line.contains(wanted), "{line}");
    }
    let cookie = answer.cookie();
    let fields = [HOST, SAME, ("cookie", cookie.as_str())];
    let who = site.tls(&fields, ("GET", "/api/v1/whoami"), Value::Null).await;
    assert_eq!(who.json(), json!({"name": "alice", "role": "admin", "via": "session"}));
    let put = site.tls(&fields, ("PUT", "/api/v1/groups/compute"), json!({})).await;
    assert_eq!(put.status, 201, "{}", put.text);
    let log = site.local("GET", "/api/v1/audit?action=groups", Value::Null).await.json();
    assert_eq!((&log["lines"][0]["actor"], &log["lines"][0]["via"]), (&json!("alice"), &json!("session")));
    assert_eq!(site.tls(&fields, ("POST", "/api/v1/logout"), Value::Null).await.status, 204);
    assert_eq!(site.nodes(&cookie).await, 401);
}

#[tokio::test]
async fn a_session_counts_over_tls_only_and_is_not_in_the_store() {
    let site = Site::with_alice().await;
    let cookie = site.login("alice").await;
    assert_eq!(site.nodes(&cookie).await, 200);
    let plain = site.send(desk(7), false, &[HOST, ("cookie", &cookie)], ("GET", "/api/v1/nodes"), "").await;
    assert_eq!(plain.status, 401, "no cookie counts on the listener of nodes");
    assert_eq!(site.nodes("__Host-muster=nonsense").await, 401);
    let value = cookie.split_once('=').unwrap().1;
    let stored = format!("{:?}", site.head.context.snapshot.load().inventory.documents);
    assert!(
        !stored.contains(value) && !stored.contains(PASSWORD) && stored.contains("$argon2id$"),
        "{stored}"
    );
    let shown = site.local("GET", "/api/v1/sessions", Value::Null).await;
    let users = site.local("GET", "/api/v1/users", Value::Null).await;
    assert!(!shown.text.contains(value) && !users.text.contains("argon2"), "{} {}", shown.text, users.text);
    let id = shown.json()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(site.nodes(&format!("__Host-muster={id}")).await, 401, "what is shown logs nobody in");
    assert_eq!(site.local("DELETE", &format!("/api/v1/sessions/{id}"), Value::Null).await.status, 204);
    assert_eq!(site.nodes(&cookie).await, 401);
}

#[tokio::test]
async fn a_login_is_a_new_session_and_the_one_before_ends() {
    let site = Site::with_alice().await;
    let first = site.login("alice").await;
    let body = json!({"name": "alice", "password": PASSWORD});
    let second = site.tls(&[HOST, SAME, ("cookie", &first)], ("POST", "/api/v1/login"), body).await.cookie();
    assert_ne!(first, second);
    assert_eq!((site.nodes(&first).await, site.nodes(&second).await), (401, 200));
}

/// T46, cross-site requests.
#[tokio::test]
async fn a_page_elsewhere_changes_nothing_with_somebodys_session() {
    let site = Site::with_alice().await;
    let cookie = site.login("alice").await;
    let token = site.local("POST", "/api/v1/tokens", json!({"subject": "ci", "role": "admin"})).await.json();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let before = site.head.revision().await;
    for more in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.test")],
        &[("origin", "null")],
        &[],
    ] {
        let fields = [&[HOST, ("cookie", cookie.as_str())], more].concat();
        let answer = site.tls(&fields, ("PUT", "/api/v1/groups/x"), json!({})).await;
        assert_eq!(answer.status, 403, "{more:?}: {}", answer.text);
        let fields = [&[HOST, ("authorization", bearer.as_str())], more].concat();
        let answer = site.tls(&fields, ("PUT", "/api/v1/groups/x?dry_run"), json!({})).await;
        assert_eq!(answer.status, 200, "{more:?}: {}", answer.text);
    }
    assert_eq!(site.head.revision().await, before);
    let log = site.local("GET", "/api/v1/audit?outcome=refused", Value::Null).await.json();
    assert_eq!(log["lines"][0]["action"], "PUT /api/v1/groups/x", "a refusal is in the log");
}

/// T46, DNS rebinding.
#[tokio::test]
async fn a_name_that_points_here_and_is_not_ours_is_misdirected() {
    let site = Site::with_alice().await;
    let cookie = site.login("alice").await;
    let evil = ("host", "evil.test:8443");
    for secure in [true, false] {
        let fields = [evil, SAME, ("cookie", cookie.as_str())];
        for request in [("GET", "/api/v1/nodes"), ("PUT", "/api/v1/groups/x"), ("GET", "/boot/script")] {
            assert_eq!(site.send(desk(7), secure, &fields, request, "{}").await.status, 421, "{request:?}");
        }
        let answer = site.send(desk(7), secure, &[evil], ("PUT", "/api/v1/groups/x"), "{}").await;
        assert_eq!(answer.status, 421);
        // Nodes and OpenCHAMI's clients call the head by whatever name they were given.
        assert_ne!(site.send(desk(7), secure, &[evil], ("GET", "/boot.ipxe"), "").await.status, 421);
        assert_ne!(site.send(desk(7), secure, &[evil], ("POST", "/hsm/v2/groups"), "{}").await.status, 421);
    }
    assert_eq!(site.local("GET", "/api/v1/nodes", Value::Null).await.status, 200);
}

/// T46, framing and what answers may do in a browser.
#[tokio::test]
async fn answers_of_the_admin_side_are_closed_to_other_pages() {
    let site = Site::with_alice().await;
    let cookie = site.login("alice").await;
    for (fields, path) in [(&[HOST][..], "/api/v1/nodes"), (&[HOST, ("cookie", &cookie)], "/api/v1/nodes")] {
        let answer = site.tls(fields, ("GET", path), Value::Null).await;
        let field =
            |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        assert!(field("content-security-policy").contains("frame-ancestors 'none'"));
        assert!(field("content-security-policy").contains("default-src 'none'"));
        assert_eq!(
            [
                "x-content-type-options",
                "referrer-policy",
                "x-frame-options",
                "cross-origin-opener-policy",
                "cross-origin-resource-policy",
                "access-control-allow-origin",
            ]
            .map(field),
            ["nosniff", "no-referrer", "DENY", "same-origin", "same-origin", ""]
        );
    }
}

#[tokio::test]
async fn sessions_and_tokens_end_with_what_they_stand_on() {
    let site = Site::with_alice().await;
    site.add("bob", "admin").await;
    let cookie = site.login("bob").await;
    let fields = [HOST, SAME, ("cookie", cookie.as_str())];
    let wanted = json!({"subject": "bobs-cron", "role": "admin", "name": "nightly"});
    let made = site.tls(&fields, ("POST", "/api/v1/tokens"), wanted).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    assert_eq!((&made["user"], &made["name"]), (&json!("bob"), &json!("nightly")));
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let by_token = async |path| {
        site.tls(&[HOST, ("authorization", bearer.as_str())], ("GET", path), Value::Null).await.status
    };
    assert_eq!((by_token("/api/v1/nodes").await, by_token("/api/v1/users").await), (200, 200));
    // A lower role: the session ends, the token is lower too.
    site.local("PATCH", "/api/v1/users/bob", json!({"role": "viewer"})).await;
    assert_eq!(site.nodes(&cookie).await, 401);
    assert_eq!((by_token("/api/v1/nodes").await, by_token("/api/v1/users").await), (200, 403));
    let cookie = site.login("bob").await;
    let users = site.tls(&[HOST, ("cookie", &cookie)], ("GET", "/api/v1/users"), Value::Null).await;
    assert_eq!((site.nodes(&cookie).await, users.status), (200, 403));
    site.local("PATCH", "/api/v1/users/bob", json!({"password": "another horse battery"})).await;
    assert_eq!(site.nodes(&cookie).await, 401);
    assert_eq!(site.login_from(desk(7), "bob", PASSWORD).await.status, 401);
    site.local("DELETE", "/api/v1/users/bob", Value::Null).await;
    assert_eq!(by_token("/api/v1/nodes").await, 401);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    site.add("bob", "admin").await;
    assert_eq!(by_token("/api/v1/nodes").await, 401, "another bob");
}

#[tokio::test]
async fn a_limited_token_reaches_its_areas_only() {
    let site = Site::start();
    let wanted = json!({"subject": "ci", "role": "operator", "areas": ["groups", "whoami"]});
    let token = site.local("POST", "/api/v1/tokens", wanted).await.json();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let ask = async |method, path| {
        site.tls(&[("authorization", bearer.as_str())], (method, path), json!({})).await.status
    };
    assert_eq!((ask("PUT", "/api/v1/groups/x").await, ask("GET", "/api/v1/whoami").await), (201, 200));
    assert_eq!((ask("GET", "/api/v1/nodes").await, ask("GET", "/hsm/v2/groups").await), (403, 403));
    assert_eq!(ask("PUT", "/api/v1/%67roups/x%2f..%2f..%2fnodes").await, 403);
    let wrong = json!({"subject": "ci", "role": "operator", "areas": ["groups", "nodez"]});
    let wrong = site.local("POST", "/api/v1/tokens", wrong).await;
    assert!(wrong.status == 422 && wrong.text.contains("areas[1]"), "{}", wrong.text);
}

#[tokio::test]
async fn a_user_changes_the_own_password_with_the_old_one() {
    let site = Site::with_alice().await;
    let cookie = site.login("alice").await;
    let fields = [HOST, SAME, ("cookie", cookie.as_str())];
    let change = async |old: &str, new: &str| {
        site.tls(&fields, ("POST", "/api/v1/password"), json!({"old": old, "new": new})).await.status
    };
    assert_eq!(change("wrong horse battery", "a new horse battery").await, 401);
    assert_eq!(change(PASSWORD, "short").await, 422);
    assert_eq!(change(PASSWORD, "a new horse battery").await, 204);
    assert_eq!(site.nodes(&cookie).await, 401);
    assert_eq!(site.login_from(desk(7), "alice", "a new horse battery").await.status, 200);
}

#[tokio::test]
async fn names_and_passwords_that_cannot_be_are_refused_by_field() {
    let site = Site::with_alice().await;
    for (body, field) in [
        (json!({"name": "Bob", "role": "admin", "password": PASSWORD}), "name"),
        (json!({"name": "root", "role": "admin", "password": PASSWORD}), "name"),
        (json!({"name": "", "role": "admin", "password": PASSWORD}), "name"),
        (json!({"name": "bob", "role": "king", "password": PASSWORD}), "role"),
        (json!({"name": "bob", "role": "admin", "password": "short"}), "password"),
        (json!({"name": "bobby", "role": "admin", "password": "bobby bobby bobby"}), "password"),
        (json!({"name": "bob", "role": "admin", "password": "aaaaaaaaaaaaaaaa"}), "password"),
        (json!({"name": "bob", "role": "admin", "password": "x1".repeat(500)}), "password"),
    ] {
        let answer = site.local("POST", "/api/v1/users", body).await;
        assert_eq!((answer.status, &answer.json()["problems"][0]["field"]), (422, &json!(field)));
    }
    let again = json!({"name": "alice", "role": "admin", "password": PASSWORD});
    assert_eq!(site.local("POST", "/api/v1/users", again).await.status, 409);
    assert_eq!(site.local("DELETE", "/api/v1/users/nobody", Value::Null).await.status, 404);
}

/// T49: a storm of logins is bounded and locks nobody out who can touch the head, or sits where he always sits.
#[tokio::test]
async fn a_storm_of_logins_neither_fills_the_head_nor_locks_its_owner_out() {
    let site = Arc::new(Site::with_alice().await);
    site.login("alice").await;
    let mut storm = tokio::task::JoinSet::new();
    for index in 0..1000_u32 {
        let site = Arc::clone(&site);
        let remote = SocketAddr::from((std::net::Ipv4Addr::from_bits(0xc633_0000 + index), 40_000));
        let peer = Peer::Tcp { remote, local: SocketAddr::from(([192, 0, 2, 254], 8081)) };
        let name = if index % 2 == 0 { "alice".to_owned() } else { format!("user{index}") };
        storm.spawn(async move { site.login_from(peer, &name, "wrong horse battery").await.status });
    }
    tokio::task::yield_now().await;
    let asked = Instant::now();
    assert_eq!(site.local("GET", "/api/v1/nodes", Value::Null).await.status, 200);
    assert!(asked.elapsed() < Duration::from_secs(2), "the socket waits for no password");
    let mut counts = std::collections::BTreeMap::new();
    while let Some(status) = storm.join_next().await {
        *counts.entry(status.unwrap()).or_insert(0) += 1;
    }
    // Two at work and thirty in line; the bound on memory is that of `Passwords`, by its own test.
    assert!(counts.keys().all(|status| [401, 429, 503].contains(status)), "{counts:?}");
    assert!(counts[&429] >= 495 && counts[&401] <= 40, "{counts:?}");
    assert_eq!(site.login_from(desk(8), "alice", PASSWORD).await.status, 429, "elsewhere she waits");
    assert_eq!(site.login_from(desk(7), "alice", PASSWORD).await.status, 200, "at her desk she does not");
}

#[tokio::test]
async fn names_that_are_not_there_take_as_long_as_wrong_passwords() {
    let site = Site::with_alice().await;
    let mut spans = [Duration::ZERO; 2];
    for round in 0..3_u8 {
        for (index, name) in ["alice", "nobody"].into_iter().enumerate() {
            let begun = Instant::now();
            let answer = site.login_from(desk(20 + round), name, "wrong horse battery").await;
            spans[index] += begun.elapsed();
            assert_eq!(answer.status, 401);
            assert!(answer.text.contains("no user has this name and password"));
        }
    }
    let ratio = spans[1].as_secs_f64() / spans[0].as_secs_f64();
    assert!((0.4..2.5).contains(&ratio), "{spans:?}");
}

/// The key of one-time codes that a user gets.
async fn code_key(site: &Site, name: &str) -> Vec<u8> {
    let made = site.local("POST", &format!("/api/v1/users/{name}/totp"), Value::Null).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let key = made.json()["key"].as_str().unwrap().to_owned();
    assert!(made.json()["link"].as_str().unwrap().contains(&key), "{}", made.text);
    base32::decode(&key).unwrap()
}

async fn login_with(site: &Site, code: Option<&str>) -> Answer {
    let mut body = json!({"name": "alice", "password": PASSWORD});
    if let Some(code) = code {
        body["code"] = json!(code);
    }
    site.tls(&[HOST, SAME], ("POST", "/api/v1/login"), body).await
}

#[tokio::test]
async fn a_user_with_a_key_needs_a_code_which_counts_once() {
    let site = Site::with_alice().await;
    let before = site.login("alice").await;
    let key = code_key(&site, "alice").await;
    assert_eq!(site.nodes(&before).await, 401, "sessions of before end");
    let users = site.local("GET", "/api/v1/users", Value::Null).await;
    assert_eq!(users.json()[0]["totp"], json!(true));
    let stored = format!("{:?}", site.head.context.snapshot.load().inventory.documents);
    let shown = base32::encode(&key);
    assert!(
        !stored.to_lowercase().contains(&shown) && !users.text.to_lowercase().contains(&shown),
        "{stored}"
    );
    let refused = login_with(&site, None).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["problems"][0]["field"], json!("code"), "{}", refused.text);
    let present = totp::step(now());
    let far = totp::code(&key, present + 100);
    assert_eq!(login_with(&site, Some(&far)).await.status, 401);
    let code = totp::code(&key, present);
    let wrong_password = json!({"name": "alice", "password": "not the password", "code": code});
    let refused = site.tls(&[HOST, SAME], ("POST", "/api/v1/login"), wrong_password).await;
    assert!(refused.status == 401 && !refused.text.contains("code"), "a code is no oracle: {}", refused.text);
    assert_eq!(login_with(&site, Some(&code)).await.status, 200);
    assert_eq!(login_with(&site, Some(&code)).await.status, 401, "somebody looked over her shoulder");
    // The vault's key is replaced; hers is what it was.
    let rotated = site.local("POST", "/api/v1/keys/kek/rotate", Value::Null).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    assert_eq!(login_with(&site, Some(&totp::code(&key, present + 1))).await.status, 200);
    assert_eq!(site.local("DELETE", "/api/v1/users/alice/totp", Value::Null).await.status, 204);
    assert_eq!(login_with(&site, None).await.status, 200);
    assert_eq!(site.local("POST", "/api/v1/users/nobody/totp", Value::Null).await.status, 404);
}

/// A password that is not fresh opens no value and makes no new way in, but everything else.
#[tokio::test]
async fn what_shows_a_value_in_a_session_needs_a_password_of_the_last_minutes() {
    let site = Site::with_alice().await;
    let put = json!({"min_level": "1", "what": "opaque", "value": "aHVudGVyMg=="});
    assert_eq!(site.local("PUT", "/api/v1/secrets/disk", put).await.status, 201);
    let cookie = site.login("alice").await;
    let reveal = ("POST", "/api/v1/secrets/disk/reveal");
    let fields = |cookie: &str| [HOST, SAME, ("cookie", cookie.to_owned().leak())];
    assert_eq!(site.tls(&fields(&cookie), reveal, Value::Null).await.status, 200, "she logged in just now");
    let site = site.again();
    assert_eq!(site.nodes(&cookie).await, 200, "the session goes on");
    let user = json!({"name": "eve", "role": "admin", "password": PASSWORD});
    let token = json!({"subject": "eve", "role": "admin"});
    for (request, body) in [
        (reveal, Value::Null),
        (("POST", "/api/v1/secrets/disk/%72eveal"), Value::Null),
        (("POST", "/api/v1/users"), user),
        (("POST", "/api/v1/users/alice/totp"), Value::Null),
        (("DELETE", "/api/v1/users/alice/totp"), Value::Null),
        (("PATCH", "/api/v1/users/alice"), json!({"password": "another password"})),
        (("POST", "/api/v1/tokens"), token),
        (("POST", "/api/v1/keys/kek/rotate"), Value::Null),
    ] {
        let refused = site.tls(&fields(&cookie), request, body).await;
        assert_eq!(refused.status, 401, "{request:?}: {}", refused.text);
        let challenge = refused.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.contains("insufficient_user_authentication"), "{request:?}: {challenge}");
    }
    let show = async |password: &str| {
        site.tls(&fields(&cookie), ("POST", "/api/v1/reauth"), json!({"password": password})).await.status
    };
    assert_eq!(show("not the password").await, 401);
    assert_eq!(site.tls(&fields(&cookie), reveal, Value::Null).await.status, 401);
    assert_eq!(show(PASSWORD).await, 204);
    let shown = site.tls(&fields(&cookie), reveal, Value::Null).await;
    assert_eq!((shown.status, &shown.json()["value"]), (200, &json!("aHVudGVyMg==")));
    // Another session of hers is not fresh by that; a token and the socket have no password to show.
    let other = site.login("alice").await;
    let site = site.again();
    assert_eq!(site.tls(&fields(&other), reveal, Value::Null).await.status, 401);
    assert_eq!(site.local("POST", "/api/v1/secrets/disk/reveal", Value::Null).await.status, 200);
    let alone = site.local("POST", "/api/v1/reauth", json!({"password": PASSWORD})).await;
    assert_eq!(alone.status, 403, "{}", alone.text);
}

#[tokio::test]
async fn a_fresh_password_of_a_user_with_a_key_takes_a_code_too() {
    let site = Site::with_alice().await;
    let key = code_key(&site, "alice").await;
    let present = totp::step(now());
    let cookie = login_with(&site, Some(&totp::code(&key, present))).await.cookie();
    let site = site.again();
    let fields = [HOST, SAME, ("cookie", cookie.as_str())];
    let show = async |body: Value| site.tls(&fields, ("POST", "/api/v1/reauth"), body).await.status;
    assert_eq!(show(json!({"password": PASSWORD})).await, 401);
    let code = totp::code(&key, present + 1);
    assert_eq!(show(json!({"password": PASSWORD, "code": code})).await, 204);
    let body = json!({"old": PASSWORD, "new": "another long password"});
    let refused = site.tls(&fields, ("POST", "/api/v1/password"), body).await;
    assert_eq!(refused.status, 401, "a password alone changes none: {}", refused.text);
}
