//! The door: every route against the table of what it needs, tokens from their making to their end, and whom a
//! proxy speaks for. In one process; `https.rs` asks the real daemon.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod head;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};
use tower::ServiceExt;

use head::{Head, SITE};
use muster::api::auth::table::{Need, RULES, need, rule};
use muster::api::auth::{Caller, Door, Policy};
use muster::app::routes::{self, Parts};
use muster::base::{Millis, Timestamp};
use muster::engine::token::{Algorithm, Claims, Trust};
use muster::model::Role;
use muster::transport::clock::now;
use muster::transport::http::Peer;
use muster::transport::loaders::Loaders;
use muster::transport::vault::Vault;

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

/// A head with its door.
struct Guarded {
    head: Head,
    vault: Arc<Vault>,
    router: Router,
    /// Its routes without the door.
    bare: Router,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    kind: String,
    challenge: String,
    retry: Option<u64>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    /// True if the door sent it, not a handler behind it.
    fn denied(&self) -> bool {
        self.challenge.starts_with("Bearer")
    }
}

fn policy() -> Policy {
    Policy {
        closed: true,
        proxies: vec!["198.51.100.1".parse().unwrap()],
        open_token: None,
        issuer: "https://demo.example:8443".to_owned(),
        cluster: "demo".to_owned(),
        hosts: BTreeSet::from(["demo.example".to_owned()]),
        claim: None,
    }
}

impl Guarded {
    fn start() -> Guarded {
        Guarded::with(policy(), Router::new())
    }

    fn with(policy: Policy, more: Router) -> Guarded {
        let head = Head::start(SITE);
        let folder = tempfile::tempdir().unwrap();
        let vault = Arc::new(Vault::open(folder.path(), now()).unwrap());
        let context = head.context.clone();
        let door = Door::new(context.clone(), Arc::clone(&vault), Trust::own(&vault.public()), policy);
        let loaders = Arc::new(Loaders::open(Vec::new(), None));
        let site_key = Arc::clone(&vault.site);
        let bare = routes::router(&Parts { context, loaders, images: None, site_key }).merge(more);
        Guarded { head, vault, router: door.before(bare.clone()), bare, _folder: folder }
    }

    async fn ask(
        &self,
        peer: Peer,
        headers: &[(&str, &str)],
        method: &Method,
        path: &str,
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).extension(peer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let field = |name| head.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        // A stream of events has no end; that it began says enough.
        let endless = field(header::CONTENT_TYPE).starts_with("text/event-stream");
        let body = if endless { Body::empty() } else { body };
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: head.status,
            kind: field(header::CONTENT_TYPE),
            challenge: field(header::WWW_AUTHENTICATE),
            retry: field(header::RETRY_AFTER).parse().ok(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    /// From the network, with this token if it is not empty.
    async fn net(&self, token: &str, method: Method, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("Authorization", &bearer)] };
        self.ask(tcp("192.0.2.77"), headers, &method, path, body).await
    }

    /// Over the Unix socket.
    async fn local(&self, method: Method, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(Peer::Local, &[], &method, path, &body).await
    }

    fn token(&self, algorithm: Algorithm, edit: impl FnOnce(&mut Claims)) -> String {
        let mut claims = Claims {
            issuer: "https://demo.example:8443".to_owned(),
            cluster: "demo".to_owned(),
            subject: "alice".to_owned(),
            role: Role::Viewer,
            issued: now(),
            life: Millis::from_secs(600),
            id: "one".to_owned(),
            client: None,
            user: None,
            areas: Vec::new(),
        };
        edit(&mut claims);
        self.vault.sign(algorithm, &claims).unwrap()
    }

    fn of(&self, role: Role) -> String {
        self.token(Algorithm::EdDsa, |claims| claims.role = role)
    }

    /// Has the head issue a token.
    async fn issue(&self, role: &str) -> Value {
        let made =
            self.local(Method::POST, "/api/v1/tokens", json!({"subject": "alice", "role": role})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json()
    }

    /// Registers a client and gives its secret.
    async fn client(&self, id: &str, role: &str) -> String {
        let made = self.local(Method::POST, "/api/v1/token-clients", json!({"id": id, "role": role})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json()["secret"].as_str().unwrap().to_owned()
    }

    async fn by_basic(&self, from: &str, id: &str, secret: &str) -> Answer {
        let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
        let body = "grant_type=client_credentials&scope=openid+smd.read";
        self.ask(tcp(from), &[("Authorization", &basic)], &Method::POST, "/oauth2/token", body).await
    }

    async fn nodes(&self, token: &str) -> u16 {
        self.net(token, Method::GET, "/api/v1/nodes", "").await.status.as_u16()
    }
}

fn tcp(from: &str) -> Peer {
    let remote = SocketAddr::new(from.parse().unwrap(), 40_000);
    Peer::Tcp { remote, local: SocketAddr::from(([192, 0, 2, 254], 8081)) }
}

/// Every path of a router, as its debugging form shows them; axum has no other way to list them.
fn paths(router: &Router) -> BTreeSet<String> {
    let text = format!("{router:?}");
    text.split('"').filter(|text| text.starts_with('/')).map(str::to_owned).collect()
}

/// A path that a route takes: a value in the place of each parameter.
fn example(route: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "x".to_owned() } else { part.to_owned() };
    route.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_is_known_to_the_table() {
    let guarded = Guarded::start();
    let paths = paths(&guarded.bare);
    assert!(paths.len() > 50 && paths.contains("/hsm/v2/State/Components"), "{paths:?}");
    // Fallbacks stand at the root and in a private parameter: they are what takes unknown paths.
    for path in paths.iter().filter(|path| *path != "/" && !path.contains("__private")) {
        let path = example(path);
        assert!(METHODS.iter().any(|method| rule(method, &path).is_some()), "{path} is not in the table");
    }
}

#[tokio::test]
async fn every_route_asks_for_just_what_the_table_says() {
    let guarded = Guarded::start();
    let mut paths: BTreeSet<String> = paths(&guarded.bare).iter().map(|path| example(path)).collect();
    paths.extend(RULES.iter().map(|rule| rule.path.replace("/**", "/x").replace("{}", "x")));
    paths.insert("/nowhere".to_owned());
    let tokens = ROLES.map(|role| (role, guarded.of(role)));
    let mut closed = 0;
    for (path, method) in paths.iter().flat_map(|path| METHODS.iter().map(move |method| (path, method))) {
        let needs = need(method, path);
        let answer = guarded.net("", method.clone(), path, "").await;
        assert_eq!(answer.denied(), needs != Need::Open, "{method} {path}: {}", answer.status);
        if answer.denied() {
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
            closed += 1;
        }
        for (role, token) in &tokens {
            let answer = guarded.net(token, method.clone(), path, "").await;
            let low = matches!(needs, Need::At(least) if *role < least);
            assert_eq!(answer.denied(), low, "{method} {path} as {role}: {}", answer.text);
            assert!(!low || answer.status == StatusCode::FORBIDDEN, "{method} {path}: {}", answer.status);
        }
    }
    assert!(closed > 300, "{closed}");
}

/// A list to think about: whoever adds a line opens a path to every machine on the boot network.
#[test]
fn no_more_is_open_than_this() {
    let open = RULES.iter().filter(|rule| rule.need == Need::Open).map(|rule| rule.path);
    let wanted = "/api/v1/claim /api/v1/login /api/v1/oidc/login /api/v1/oidc/callback /api/v1/openapi.json / /ui/login /ui/claim /ui/assets/** /boot.ipxe /boot/script /loaders/** /images/** /openchami/** \
        /b/{}/boot.cpio /node/v1/claim /node/v1/attest/start /node/v1/attest/finish /node/v1/sealed /node/v1/keyset /token /oauth2/token /oauth/token \
        /keys /.well-known/jwks.json /.well-known/openid-configuration /ca.crt /ca.pem /ca.sha256 /site.pub /hsm/v2/service/ready \
        /hsm/v2/service/liveness /hsm/v2/service/values/** /hsm/v2/State/Components \
        /hsm/v2/Inventory/EthernetInterfaces /boot/v1/bootscript /boot/v1/hosts /boot/v1/dumpstate /boot/v1/service/** \
        /boot/v1/endpoint-history /boot/v1/scn /meta-data /user-data /phone-home /liveness /readiness /health \
        /cloud-init/phone-home/** /cloud-init/wg-init /cloud-init/**";
    assert_eq!(open.collect::<Vec<_>>(), wanted.split_whitespace().collect::<Vec<_>>());
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_replaced_services() {
    let guarded = Guarded::start();
    let hour = Millis::from_secs(3600);
    let expired = guarded.token(Algorithm::EdDsa, |claims| claims.issued = now() - hour);
    let early = guarded.token(Algorithm::EdDsa, |claims| claims.issued = now() + hour);
    for (token, wanted) in [
        ("", "no token found"),
        (expired.as_str(), "token is expired"),
        (early.as_str(), "token is not valid yet"),
        ("nonsense", "Unauthorized"),
    ] {
        let answer = guarded.net(token, Method::GET, "/hsm/v2/groups", "").await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (401, wanted));
        assert!(answer.kind.starts_with("text/plain"), "{}", answer.kind);
        let answer = guarded.net(token, Method::GET, "/api/v1/nodes", "").await;
        assert_eq!((answer.status.as_u16(), answer.kind.as_str()), (401, "application/problem+json"));
        assert!(answer.json()["detail"].as_str().unwrap().starts_with(wanted));
        assert_eq!(answer.challenge.contains("invalid_token"), !token.is_empty(), "{}", answer.challenge);
    }
    let low = guarded.net(&guarded.of(Role::Viewer), Method::POST, "/hsm/v2/groups", "{}").await;
    assert_eq!(
        (low.status.as_u16(), low.text.as_str()),
        (403, "this needs the role operator; the token's is viewer")
    );
}

#[tokio::test]
async fn a_token_comes_in_one_header_and_in_its_form() {
    let guarded = Guarded::start();
    let token = guarded.of(Role::Viewer);
    let (plain, other, basic) = (
        format!("Bearer {token}"),
        format!("bearer  {token} "),
        format!("Basic {}", STANDARD.encode(&token)),
    );
    let check = async |headers: &[(&str, &str)]| {
        guarded.ask(tcp("192.0.2.77"), headers, &Method::GET, "/api/v1/nodes", "").await.status.as_u16()
    };
    assert_eq!(check(&[("Authorization", &plain)]).await, 200);
    assert_eq!(check(&[("authorization", &other)]).await, 200);
    assert_eq!(check(&[("Authorization", &basic)]).await, 401);
    assert_eq!(check(&[("Authorization", &token)]).await, 401);
    assert_eq!(check(&[("Authorization", &plain), ("Authorization", &plain)]).await, 401);
    let rs256 = guarded.token(Algorithm::Rs256, |_| {});
    assert_eq!(guarded.nodes(&rs256).await, 200);
    let query = format!("/api/v1/nodes?access_token={token}");
    assert_eq!(guarded.net("", Method::GET, &query, "").await.status.as_u16(), 401, "URLs stand in logs");
}

#[tokio::test]
async fn an_issued_token_is_listed_works_and_ends_at_once_when_revoked() {
    let guarded = Guarded::start();
    let made = guarded.issue("operator").await;
    let (id, token) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(guarded.nodes(token).await, 200);
    let list = guarded.local(Method::GET, "/api/v1/tokens", Value::Null).await.json();
    assert_eq!(
        (&list[0]["id"], &list[0]["role"], list[0].get("token")),
        (&made["id"], &json!("operator"), None)
    );
    let path = format!("/api/v1/tokens/{id}");
    assert_eq!(
        guarded.net(token, Method::DELETE, &path, "").await.status.as_u16(),
        403,
        "an operator revokes none"
    );
    for _ in 0..2 {
        assert_eq!(guarded.local(Method::DELETE, &path, Value::Null).await.status.as_u16(), 204);
    }
    let answer = guarded.net(token, Method::GET, "/hsm/v2/groups", "").await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (401, "token is revoked"));
    // One that was never recorded can be revoked too.
    let stranger = guarded.token(Algorithm::EdDsa, |claims| claims.id = "stranger".to_owned());
    assert_eq!(guarded.nodes(&stranger).await, 200);
    guarded.local(Method::DELETE, "/api/v1/tokens/stranger", Value::Null).await;
    assert_eq!(guarded.nodes(&stranger).await, 401);
}

#[tokio::test]
async fn records_of_tokens_that_ended_make_room() {
    let guarded = Guarded::start();
    let old = json!({"subject": "old", "role": "viewer", "algorithm": "EdDSA", "issued": 0, "expires": 1000, "revoked": 1});
    let document = muster::model::Document {
        key: muster::model::DocumentKey::new("token", "old"),
        body: old.to_string(),
    };
    let put = muster::model::Change::PutDocument(Arc::new(document));
    guarded.head.context.change(|_| Ok(vec![put.clone()])).await.unwrap();
    guarded.issue("viewer").await;
    let list = guarded.local(Method::GET, "/api/v1/tokens", Value::Null).await.json();
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
}

#[tokio::test]
async fn what_cannot_be_issued_is_refused_with_its_field() {
    let guarded = Guarded::start();
    for (body, field) in [
        (json!({"subject": "a", "role": "emperor"}), "role"),
        (json!({"subject": "", "role": "viewer"}), "subject"),
        (json!({"subject": "a\u{1b}[2J", "role": "viewer"}), "subject"),
        (json!({"subject": "a", "role": "viewer", "ttl": 0}), "ttl"),
        (json!({"subject": "a", "role": "viewer", "ttl": u64::MAX}), "ttl"),
        (json!({"subject": "a", "role": "viewer", "algorithm": "none"}), "algorithm"),
    ] {
        let answer = guarded.local(Method::POST, "/api/v1/tokens", body).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["problems"][0]["field"]), (422, &json!(field)));
    }
    let answer =
        guarded.local(Method::POST, "/api/v1/token-clients", json!({"id": "a b", "role": "viewer"})).await;
    assert_eq!(answer.status.as_u16(), 422, "{}", answer.text);
    guarded.client("tool", "viewer").await;
    let again =
        guarded.local(Method::POST, "/api/v1/token-clients", json!({"id": "tool", "role": "admin"})).await;
    assert_eq!(again.status.as_u16(), 409);
}

#[tokio::test]
async fn a_client_fetches_tokens_that_end_with_it() {
    let guarded = Guarded::start();
    let secret = guarded.client("deploy", "operator").await;
    let answer = guarded.by_basic("192.0.2.77", "deploy", &secret).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    let body = answer.json();
    assert_eq!((&body["expires_in"], &body["token_type"]), (&json!(3600), &json!("bearer")));
    assert!(body["scope"].as_str().unwrap().contains("operator"));
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(guarded.nodes(token).await, 200);
    for path in ["/token", "/oauth2/token", "/oauth/token"] {
        let form = format!("client_id=deploy&client_secret={secret}&grant_type=client_credentials");
        assert_eq!(guarded.net("", Method::POST, path, &form).await.status.as_u16(), 200, "{path}");
    }
    let list = guarded.local(Method::GET, "/api/v1/token-clients", Value::Null).await;
    assert!(!list.text.contains(&secret) && !list.text.contains("digest"), "{}", list.text);
    guarded.local(Method::DELETE, "/api/v1/token-clients/deploy", Value::Null).await;
    assert_eq!(guarded.nodes(token).await, 401);
    assert_eq!(guarded.by_basic("192.0.2.78", "deploy", &secret).await.status.as_u16(), 401);
    // Added again under the same name and with less, it does not give the old token its life back.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let secret = guarded.client("deploy", "viewer").await;
    assert_eq!(guarded.nodes(token).await, 401);
    let fresh = guarded.by_basic("192.0.2.78", "deploy", &secret).await.json();
    assert_eq!(guarded.nodes(fresh["access_token"].as_str().unwrap()).await, 200);
}

#[tokio::test]
async fn whoever_guesses_secrets_waits_and_nobody_else() {
    let guarded = Guarded::start();
    let secret = guarded.client("deploy", "viewer").await;
    for id in ["deploy", "nobody", "deploy", "nobody", "deploy"] {
        let answer = guarded.by_basic("192.0.2.66", id, "wrong").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (401, &json!("invalid_client")));
    }
    let answer = guarded.by_basic("192.0.2.66", "deploy", &secret).await;
    assert_eq!(answer.status.as_u16(), 429, "{}", answer.text);
    assert!((1..=61).contains(&answer.retry.unwrap()));
    assert_eq!(guarded.by_basic("192.0.2.67", "deploy", &secret).await.status.as_u16(), 200);
    let form = format!("client_id=deploy&client_secret={secret}");
    let local = guarded.ask(Peer::Local, &[], &Method::POST, "/oauth2/token", &form).await;
    assert_eq!(local.status.as_u16(), 200, "nobody locks the owner out");
}

#[tokio::test]
async fn oauth_refuses_what_it_does_not_do() {
    let guarded = Guarded::start();
    let secret = guarded.client("deploy", "viewer").await;
    let form = format!("client_id=deploy&client_secret={secret}&grant_type=password");
    let answer = guarded.net("", Method::POST, "/oauth2/token", &form).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!("unsupported_grant_type")));
    assert_eq!(guarded.net("", Method::POST, "/oauth2/token", "").await.status.as_u16(), 401);
    assert_eq!(guarded.net("", Method::GET, "/oauth2/token", "").await.status.as_u16(), 405);
    let huge = "x".repeat(20_000);
    assert_eq!(guarded.net("", Method::POST, "/oauth2/token", &huge).await.status.as_u16(), 413);
}

#[tokio::test]
async fn a_token_is_given_to_strangers_only_if_the_configuration_says_so() {
    let guarded = Guarded::start();
    for method in [Method::GET, Method::POST] {
        let answer = guarded.net("", method, "/token", "").await;
        assert_eq!(answer.status.as_u16(), 401);
        assert!(answer.text.contains("muster token client add"), "{}", answer.text);
    }
    // A token that is stolen or low cannot make itself a new or higher one.
    assert_eq!(guarded.net(&guarded.of(Role::Viewer), Method::GET, "/token", "").await.status.as_u16(), 401);
    let own = guarded.local(Method::GET, "/token", Value::Null).await.json();
    let own = own["access_token"].as_str().unwrap().to_owned();
    assert_eq!(guarded.net(&own, Method::GET, "/api/v1/tokens", "").await.status.as_u16(), 200);
    let open = Guarded::with(Policy { open_token: Some(Role::Viewer), ..policy() }, Router::new());
    let token =
        open.net("", Method::GET, "/token", "").await.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(open.nodes(&token).await, 200);
    assert_eq!(open.net(&token, Method::DELETE, "/api/v1/nodes", "").await.status.as_u16(), 403);
}

#[tokio::test]
async fn others_can_check_our_tokens_with_the_published_keys() {
    let guarded = Guarded::start();
    let keys = guarded.net("", Method::GET, "/keys", "").await;
    assert_eq!(keys.text, guarded.net("", Method::GET, "/.well-known/jwks.json", "").await.text);
    assert!(!keys.text.contains("\"d\""), "{}", keys.text);
    let set: JwkSet = serde_json::from_str(&keys.text).unwrap();
    for (algorithm, name) in [
        (Algorithm::EdDsa, jsonwebtoken::Algorithm::EdDSA),
        (Algorithm::Rs256, jsonwebtoken::Algorithm::RS256),
    ] {
        let token = guarded.token(algorithm, |_| {});
        let kid = jsonwebtoken::decode_header(&token).unwrap().kid.unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(set.find(&kid).unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(name);
        validation.set_audience(&["openchami"]);
        let claims = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap().claims;
        assert_eq!((&claims["sub"], &claims["roles"]), (&json!("alice"), &json!(["viewer"])));
    }
    let discovery = guarded.net("", Method::GET, "/.well-known/openid-configuration", "").await.json();
    assert_eq!(discovery["jwks_uri"], "https://demo.example:8443/.well-known/jwks.json");
    assert_eq!(discovery["issuer"], "https://demo.example:8443");
    let root = guarded.net("", Method::GET, "/ca.crt", "").await;
    assert_eq!(root.text, guarded.vault.authority.pem());
}

#[tokio::test]
async fn tokens_outlive_a_rotation_of_their_keys_unless_it_ends_them() {
    let guarded = Guarded::start();
    let rotate = async |body: Value| guarded.local(Method::POST, "/api/v1/keys/token/rotate", body).await;
    let issue = async || guarded.issue("viewer").await["token"].as_str().unwrap().to_owned();
    let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let first = issue().await;
    assert_eq!(rotate(Value::Null).await.status.as_u16(), 200);
    let second = issue().await;
    assert_ne!(kid(&first), kid(&second));
    assert_eq!((guarded.nodes(&first).await, guarded.nodes(&second).await), (200, 200));
    let set: JwkSet = serde_json::from_str(&guarded.net("", Method::GET, "/keys", "").await.text).unwrap();
    assert!(set.keys.len() == 4 && set.find(&kid(&first)).is_some() && set.find(&kid(&second)).is_some());
    // A restart knows former keys too, and forgets those whose last token has ended.
    let again = |at| Trust::own(&Vault::open(guarded._folder.path(), at).unwrap().public());
    assert!(again(now()).verify(&first, now()).is_ok());
    let later = now() + Millis::from_secs(366 * 86_400);
    assert_eq!(Vault::open(guarded._folder.path(), later).unwrap().public().len(), 2);
    assert_eq!(rotate(json!({"end": true})).await.status.as_u16(), 200);
    let third = issue().await;
    assert_eq!((guarded.nodes(&first).await, guarded.nodes(&second).await), (401, 401));
    assert_eq!(guarded.nodes(&third).await, 200);
    assert!(again(now()).verify(&third, now()).is_ok() && again(now()).verify(&second, now()).is_err());
    let low = guarded.net(&guarded.of(Role::Operator), Method::POST, "/api/v1/keys/token/rotate", "").await;
    assert_eq!(low.status.as_u16(), 403);
    for (path, status) in [("/api/v1/keys/sight/rotate", 404), ("/api/v1/keys/kek/rotate", 422)] {
        let answer = guarded.local(Method::POST, path, json!({"end": true})).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn with_authentication_off_everybody_is_administrator() {
    let guarded = Guarded::with(Policy { closed: false, ..policy() }, Router::new());
    assert_eq!(guarded.net("", Method::GET, "/api/v1/tokens", "").await.status.as_u16(), 200);
    assert_eq!(
        guarded.net("nonsense", Method::DELETE, "/hsm/v2/State/Components", "").await.status.as_u16(),
        404
    );
    assert_eq!(guarded.net("", Method::GET, "/token", "").await.status.as_u16(), 200);
}

/// Tells whom a handler takes for its peer and its caller.
async fn who(peer: axum::Extension<Peer>, caller: axum::Extension<Caller>) -> String {
    format!("{} {:?} {}", peer.address().unwrap(), caller.role, caller.subject)
}

#[tokio::test]
async fn a_forwarding_header_counts_only_from_a_trusted_proxy() {
    let guarded = Guarded::with(policy(), Router::new().route("/images/who", get(who)));
    let check = async |from: &str, line: &str| {
        let headers: &[(&str, &str)] =
            &[("X-Forwarded-For", line), ("X-Real-IP", "192.0.2.1"), ("Forwarded", "for=192.0.2.1")];
        guarded.ask(tcp(from), headers, &Method::GET, "/images/who", "").await.text
    };
    assert_eq!(check("198.51.100.1", "192.0.2.7").await, "192.0.2.7 None ");
    assert_eq!(check("198.51.100.1", "192.0.2.1, 192.0.2.7").await, "192.0.2.7 None ");
    for spoofed in ["192.0.2.1", "127.0.0.1", "198.51.100.1", "", "x"] {
        assert_eq!(check("203.0.113.9", spoofed).await, "203.0.113.9 None ", "{spoofed}");
    }
    assert_eq!(check("198.51.100.1", "nonsense").await, "198.51.100.1 None ");
    // Through the proxy, nobody becomes the Unix socket.
    let headers: &[(&str, &str)] = &[("X-Forwarded-For", "127.0.0.1")];
    let answer = guarded.ask(tcp("198.51.100.1"), headers, &Method::GET, "/api/v1/nodes", "").await;
    assert_eq!(answer.status.as_u16(), 401);
}

#[tokio::test]
async fn behind_a_proxy_on_the_head_nodes_are_sent_to_the_heads_own_address() {
    let mut policy = policy();
    policy.proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let guarded = Guarded::with(policy, Router::new());
    let local = SocketAddr::from(([127, 0, 0, 1], 8080));
    let peer = Peer::Tcp { remote: SocketAddr::from(([127, 0, 0, 1], 40_000)), local };
    let answer = guarded.ask(peer, &[("X-Forwarded-For", "192.0.2.7")], &Method::GET, "/boot.ipxe", "").await;
    assert!(answer.text.contains("http://192.0.2.254:8081/boot/script"), "{}", answer.text);
}

#[tokio::test]
async fn callers_are_told_apart() {
    let guarded = Guarded::with(policy(), Router::new().route("/hsm/v2/service/who", get(who)));
    let token = guarded.token(Algorithm::EdDsa, |claims| {
        (claims.role, claims.issued) = (Role::Operator, Timestamp(now().0 - 1000));
    });
    let answer = guarded.net(&token, Method::GET, "/hsm/v2/service/who", "").await;
    assert_eq!(answer.text, "192.0.2.77 Some(Operator) alice");
}

#[tokio::test]
async fn whoever_does_something_is_in_the_audit_log_and_no_secret_is() {
    let guarded = Guarded::start();
    let issued = guarded.issue("operator").await;
    let token = issued["token"].as_str().unwrap();
    let secret = guarded.client("deploy", "viewer").await;
    let group = r#"{"description":"all"}"#;
    guarded.net(token, Method::PUT, "/api/v1/groups/compute", group).await;
    guarded.net(token, Method::PUT, "/api/v1/groups/rehearsed?dry_run", group).await;
    guarded.net(token, Method::DELETE, "/api/v1/leases/192.0.2.200", "").await;
    guarded.net(token, Method::GET, "/api/v1/nodes", "").await;
    guarded.net(token, Method::POST, "/hsm/v2/State/Components/Query", r#"{"ComponentIDs":[]}"#).await;
    for _ in 0..50 {
        guarded.net("", Method::GET, "/api/v1/nodes", "").await;
        guarded.net(token, Method::GET, "/api/v1/audit", "").await;
    }
    guarded.by_basic("192.0.2.9", "deploy", "wrong").await;
    guarded.by_basic("192.0.2.8", "deploy", &secret).await;
    let log = guarded.local(Method::GET, "/api/v1/audit?after=0", Value::Null).await;
    assert!(!log.text.contains(token) && !log.text.contains(&secret), "{}", log.text);
    let lines: Vec<String> = log.json()["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            let object = text("object").split(' ').take(2).collect::<Vec<_>>().join(" ");
            let object = if object.starts_with("token ") { "token …".to_owned() } else { object };
            [text("actor"), text("via"), text("ip"), text("outcome"), text("action"), object].join("|")
        })
        .collect();
    assert_eq!(
        lines,
        [
            "root|socket|-|done|POST /api/v1/tokens|token …",
            "root|socket|-|done|POST /api/v1/token-clients|token.client deploy",
            "alice|token|192.0.2.77|done|PUT /api/v1/groups/compute|group compute",
            "alice|token|192.0.2.77|done|DELETE /api/v1/leases/192.0.2.200|",
            "|nobody|192.0.2.77|refused|GET /api/v1/nodes|",
            "|nobody|192.0.2.9|refused|POST /oauth2/token|client deploy",
            "deploy|client|192.0.2.8|done|POST /oauth2/token|token …",
        ]
    );
}
