//! Logging in at another issuer, against a real one: `oidc-provider` of npm, pinned, in a process of its own on the
//! loopback. This test is the browser: it follows redirects, keeps cookies and fills in the provider's forms.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod head;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Lines};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use reqwest::{Client, Method, Url, redirect};
use serde_json::{Value, json};
use tower::ServiceExt;
use zeroize::Zeroizing;

use head::{Head, SITE};
use muster::api::auth::oidc::Login;
use muster::api::auth::{Door, Policy};
use muster::app::routes::{self, Parts};
use muster::engine::token::Trust;
use muster::engine::token::oidc::Roles;
use muster::transport::clock::now;
use muster::transport::egress::Egress;
use muster::transport::http::{Peer, Secure};
use muster::transport::loaders::Loaders;
use muster::transport::oidc::{Credentials, Provider};
use muster::transport::vault::Vault;

const PACKAGE: &str = "oidc-provider";
/// The last that runs on the Node.js of Debian.
const VERSION: &str = "8.8.1";
const CLIENT_SECRET: &str = "a secret with + & % in it";
const HOST: (&str, &str) = ("host", "demo.example:8443");

/// The provider's folder, with its package, which is fetched once.
fn installed() -> PathBuf {
    // Tests of one process take turns; npm itself keeps processes apart.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc");
    let manifest = folder.join("node_modules").join(PACKAGE).join("package.json");
    let there = std::fs::read(&manifest).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    if there.is_none_or(|manifest| manifest["version"] != VERSION) {
        std::fs::create_dir_all(&folder).unwrap();
        let made = Command::new("npm")
            .args(["install", "--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
            .arg(&folder)
            .arg(format!("{PACKAGE}@{VERSION}"))
            .output()
            .expect("npm is missing: apt-get install npm");
        assert!(made.status.success(), "npm: {}", String::from_utf8_lossy(&made.stderr));
    }
    folder
}

/// A provider that runs. It ends when its standard input does, with this.
struct Running {
    issuer: String,
    child: Child,
    /// Kept open: a provider that cannot speak any more dies of it.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start() -> Running {
        let folder = installed();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc/provider.mjs");
        // Beside its packages, where node looks for them.
        let own =
            folder.join(format!("provider-{}-{:?}.mjs", std::process::id(), std::thread::current().id()));
        std::fs::copy(source, &own).unwrap();
        let mut child = Command::new("node")
            .arg(&own)
            .env("CLIENT_SECRET", CLIENT_SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node is missing: apt-get install nodejs");
        // What it says of itself before that is for its developers.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| line.unwrap().trim().parse::<u16>().ok());
        std::fs::remove_file(own).unwrap();
        let port = port.expect("the provider says on which port it is");
        Running { issuer: format!("http://127.0.0.1:{port}"), child, _said: lines }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A head with its door.
struct Site {
    router: Router,
    head: Head,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    /// Cookies that it sets, name and value.
    fn cookies(&self) -> Vec<(String, String)> {
        let lines = self.headers.get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap());
        let pairs = lines.map(|line| line.split(';').next().unwrap().split_once('=').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The cookie of a session.
    fn session(&self) -> Option<String> {
        let own = |(name, value): &(String, String)| name == "__Host-muster" && !value.is_empty();
        self.cookies().into_iter().find(own).map(|(name, value)| format!("{name}={value}"))
    }
}

impl Site {
    fn with(issuer: Option<&str>, secret: &str) -> Site {
        let head = Head::start(SITE);
        let folder = tempfile::tempdir().unwrap();
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
        if let Some(issuer) = issuer {
            let egress = Egress::new(vec!["127.0.0.1/32".parse().unwrap()]);
            door.offer_oidc(Login {
                provider: Provider::new(issuer, egress).unwrap(),
                credentials: Credentials {
                    id: "muster".to_owned(),
                    secret: Some(Zeroizing::new(secret.to_owned())),
                },
                scopes: vec!["profile".to_owned()],
                user_claim: "preferred_username".to_owned(),
                groups_claim: "groups".to_owned(),
                roles: Roles {
                    viewers: vec!["staff".to_owned()],
                    operators: Vec::new(),
                    admins: vec!["hpc-admins".to_owned()],
                },
            });
        }
        let loaders = Arc::new(Loaders::open(Vec::new(), None));
        let site_key = Arc::clone(&vault.site);
        let router = door.before(routes::router(&Parts { context, loaders, images: None, site_key }));
        Site { router, head, _folder: folder }
    }

    async fn send(&self, secure: bool, cookie: &str, request: (&str, &str), body: Value) -> Answer {
        let remote = SocketAddr::from(([192, 0, 2, 7], 40_000));
        let peer = Peer::Tcp { remote, local: SocketAddr::from(([192, 0, 2, 254], 8443)) };
        let mut made =
            Request::builder().method(request.0).uri(request.1).extension(peer).header(HOST.0, HOST.1);
        if secure {
            made = made.extension(Secure);
        }
        if !cookie.is_empty() {
            made = made.header("cookie", cookie).header("sec-fetch-site", "same-origin");
        }
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let response = self.router.clone().oneshot(made.body(body).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: head.status.as_u16(), headers: head.headers, text }
    }

    async fn get(&self, cookie: &str, path: &str) -> Answer {
        self.send(true, cookie, ("GET", path), Value::Null).await
    }

    /// Begins a login: where the provider is, and what the browser keeps.
    async fn begin(&self, query: &str) -> (Url, String) {
        let answer = self.get("", &format!("/api/v1/oidc/login{query}")).await;
        assert_eq!(answer.status, 302, "{}", answer.text);
        let line = answer.headers[header::SET_COOKIE].to_str().unwrap();
        for wanted in ["__Host-muster-oidc=", "; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
            assert!(line.contains(wanted), "{line}");
        }
        let kept = line.split(';').next().unwrap().to_owned();
        (answer.headers[header::LOCATION].to_str().unwrap().parse().unwrap(), kept)
    }

    /// Somebody logs in, all the way: the path by which he comes back, the cookie, and the last answer.
    async fn login(&self, name: &str, query: &str) -> (String, String, Answer) {
        let (url, kept) = self.begin(query).await;
        let back = through(url, name).await;
        let path = format!("{}?{}", back.path(), back.query().unwrap());
        let answer = self.get(&kept, &path).await;
        (path, kept, answer)
    }
}

/// Goes through the provider's pages as this person, and says where they send the browser in the end.
async fn through(start: Url, name: &str) -> Url {
    let client =
        Client::builder().redirect(redirect::Policy::none()).timeout(Duration::from_secs(20)).no_proxy();
    let client = client.build().unwrap();
    let mut cookies: BTreeMap<String, String> = BTreeMap::new();
    let (mut url, mut form) = (start, None::<String>);
    for _ in 0..20 {
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let line: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = client.request(method, url.clone()).header("cookie", line.join("; "));
        if let Some(form) = form.take() {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        }
        let answer = request.send().await.unwrap();
        for line in answer.headers().get_all("set-cookie") {
            let (name, value) = line.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            cookies.insert(name.to_owned(), value.to_owned());
        }
        if let Some(place) = answer.headers().get("location") {
            url = url.join(place.to_str().unwrap()).unwrap();
            if url.host_str() == Some("demo.example") {
                return url;
            }
            continue;
        }
        let page = answer.text().await.unwrap();
        form = Some(if page.contains("value=\"login\"") {
            format!("prompt=login&login={name}&password=any")
        } else {
            assert!(page.contains("value=\"consent\""), "{url}: {page}");
            "prompt=consent".to_owned()
        });
    }
    panic!("the provider goes in circles at {url}")
}

#[tokio::test]
async fn a_person_of_another_issuer_comes_in_with_the_role_of_the_groups_and_out_again() {
    let provider = Running::start();
    let site = Site::with(Some(&provider.issuer), CLIENT_SECRET);
    let (_, _, answer) = site.login("alice", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let session = answer.session().unwrap();
    assert!(
        answer.cookies().contains(&("__Host-muster-oidc".to_owned(), String::new())),
        "the way is forgotten"
    );
    let who = site.get(&session, "/api/v1/whoami").await;
    let who: Value = serde_json::from_str(&who.text).unwrap();
    assert_eq!(who, json!({"name": "oidc:alice", "role": "admin", "via": "session"}));
    assert_eq!(site.send(true, &session, ("PUT", "/api/v1/groups/compute"), json!({})).await.status, 201);
    let log = site.head.get("/api/v1/audit?actor=oidc:alice").await.ok();
    assert_eq!(log["lines"].as_array().unwrap().len(), 2, "a login and a change: {log}");
    // The provider said not when the password was given: it is not fresh, and there is none to show here.
    let reveal = ("POST", "/api/v1/secrets/none/reveal");
    assert_eq!(site.send(true, &session, reveal, Value::Null).await.status, 401);
    let shown = site.send(true, &session, ("POST", "/api/v1/reauth"), json!({"password": "any"})).await;
    assert_eq!(shown.status, 403, "{}", shown.text);
    let (_, _, answer) = site.login("alice", "?fresh=true").await;
    let fresh = answer.session().unwrap();
    assert_eq!(
        site.send(true, &fresh, reveal, Value::Null).await.status,
        404,
        "let in; there is no such secret"
    );
    let token = json!({"subject": "x", "role": "viewer"});
    assert_eq!(site.send(true, &fresh, ("POST", "/api/v1/tokens"), token).await.status, 403);
    let (_, _, answer) = site.login("carol", "").await;
    let viewer = answer.session().unwrap();
    assert_eq!(site.get(&viewer, "/api/v1/nodes").await.status, 200);
    assert_eq!(site.send(true, &viewer, ("PUT", "/api/v1/groups/other"), json!({})).await.status, 403);
    assert_eq!(site.send(true, &viewer, ("POST", "/api/v1/logout"), Value::Null).await.status, 204);
    assert_eq!(site.get(&viewer, "/api/v1/nodes").await.status, 401);
}

#[tokio::test]
async fn who_has_no_role_and_whose_login_it_is_not_stays_outside() {
    let provider = Running::start();
    let mut site = Site::with(Some(&provider.issuer), CLIENT_SECRET);
    let (_, _, answer) = site.login("bob", "").await;
    assert_eq!((answer.status, answer.session()), (403, None), "{}", answer.text);
    assert!(answer.text.contains("oidc:bob is in no group"), "{}", answer.text);
    // The same way back twice: a code counts once.
    let (path, kept, answer) = site.login("alice", "").await;
    assert_eq!(answer.status, 200);
    let again = site.get(&kept, &path).await;
    assert_eq!((again.status, again.session()), (502, None), "{}", again.text);
    // The way back of one browser in another one, or in none.
    let (url, kept) = site.begin("").await;
    let back = through(url, "alice").await;
    let path = format!("{}?{}", back.path(), back.query().unwrap());
    let (_, other) = site.begin("").await;
    for strange in ["", "__Host-muster-oidc=", other.as_str()] {
        let answer = site.get(strange, &path).await;
        assert_eq!((answer.status, answer.session()), (400, None), "{strange}: {}", answer.text);
    }
    // Five that failed are enough from one address; the way itself is as good as before, at a head that knows nothing.
    assert_eq!(site.get(&kept, &path).await.status, 429);
    let first = std::mem::replace(&mut site, Site::with(Some(&provider.issuer), CLIENT_SECRET));
    let denied = path.split("code=").next().unwrap().to_owned() + "error=access_denied";
    assert_eq!(site.get(&kept, &denied).await.status, 400, "without its state");
    let foreign =
        path.replace(&provider.issuer.replace(':', "%3A").replace('/', "%2F"), "https%3A%2F%2Fother.example");
    assert_ne!(foreign, path, "the provider names itself (RFC 9207): {path}");
    assert_eq!(site.get(&kept, &foreign).await.status, 502);
    assert_eq!(site.get(&kept, &path).await.status, 200, "none of that used it up");
    assert_eq!(site.send(false, &kept, ("GET", &path), Value::Null).await.status, 403, "not in the clear");
    let log = first.head.get("/api/v1/audit?object=login&outcome=refused").await.ok();
    let lines = log["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 1, "the first of an address; the others are counted: {log}");
    assert!(lines[0]["detail"].as_str().unwrap().contains("oidc:bob"), "{log}");
}

#[tokio::test]
async fn without_the_provider_the_heads_own_users_come_in() {
    let provider = Running::start();
    let wrong = Site::with(Some(&provider.issuer), "another secret");
    let (_, _, answer) = wrong.login("alice", "").await;
    assert_eq!((answer.status, answer.session()), (502, None), "{}", answer.text);
    drop(provider);
    let site = Site::with(Some("http://127.0.0.1:9"), CLIENT_SECRET);
    let answer = site.get("", "/api/v1/oidc/login").await;
    assert_eq!(answer.status, 502, "{}", answer.text);
    let password = "correct horse battery";
    let user = json!({"name": "root2", "role": "admin", "password": password});
    site.head.json("GET", "/api/v1/nodes", Value::Null).await.ok();
    let peer = Request::builder().method("POST").uri("/api/v1/users").extension(Peer::Local);
    let made = site.router.clone().oneshot(peer.body(Body::from(user.to_string())).unwrap()).await.unwrap();
    assert_eq!(made.status().as_u16(), 201);
    let login = json!({"name": "root2", "password": password});
    assert_eq!(site.send(true, "", ("POST", "/api/v1/login"), login).await.status, 200);
    let nowhere = Site::with(None, "");
    assert_eq!(nowhere.get("", "/api/v1/oidc/login").await.status, 404);
    assert_eq!(nowhere.get("", "/api/v1/oidc/callback?code=a&state=b").await.status, 404);
    assert_eq!(site.send(false, "", ("GET", "/api/v1/oidc/login"), Value::Null).await.status, 403);
}

/// An issuer that means the head itself is not called.
#[tokio::test]
async fn a_provider_is_called_where_the_configuration_lets_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let provider = Provider::new(&issuer, Egress::new(Vec::new())).unwrap();
    let error = provider.about().await.unwrap_err();
    assert!(error.to_string().contains("loopback"), "{error}");
    assert!(listener.accept().is_err(), "nobody came");
}
