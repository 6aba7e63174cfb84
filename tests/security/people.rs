//! What people's browsers and weak accounts may not do, on every listener; and what a head without an owner does.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use muster::api::auth::{Door, Policy};
use muster::api::openchami::smd::notify;
use muster::app::routes::{self, Parts};
use muster::base::Millis;
use muster::engine::token::{Algorithm, Claims, Trust};
use muster::model::Role;
use muster::transport::clock::now;
use muster::transport::egress::Egress;
use muster::transport::loaders::Loaders;
use muster::transport::tasks::Tasks;
use muster::transport::vault::Vault;
use muster::transport::webhook::{Manners, Webhooks};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use crate::boot::{OTHER, peer};
use crate::daemon::{Daemon, MUSTER};
use crate::head::{Head, SITE};
use crate::netns::{Lab, is_skipped, need};

const PASSWORD: &str = "correct horse battery";

/// Status and cookie of an answer to curl.
fn curl(head: &Daemon, url: &str, arguments: &[&str]) -> (u16, Option<String>) {
    let mut command = Command::new("curl");
    command.args(["-sS", "-o", "/dev/null", "-D", "-", "--cacert"]).arg(head.path("ca.crt"));
    let output = command.args(arguments).arg(url).output().expect("apt-get install curl");
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let cookie = text
        .lines()
        .find_map(|line| line.to_ascii_lowercase().starts_with("set-cookie: ").then(|| &line[12..]));
    let cookie = cookie.map(|line| line.split(';').next().unwrap().to_owned());
    (text.split(' ').nth(1).unwrap().parse().unwrap(), cookie)
}

/// T46, DNS rebinding and pages elsewhere, at the listeners themselves.
#[test]
fn t46_on_every_listener_a_foreign_name_or_page_gets_nothing() {
    let head = Daemon::start("");
    fs::write(head.path("ca.crt"), head.ok(&["ca"], b"")).unwrap();
    head.ok(&["user", "add", "alice", "--role", "admin"], format!("{PASSWORD}\n").as_bytes());
    let (plain, secure) =
        (format!("http://127.0.0.1:{}", head.http), format!("https://127.0.0.1:{}", head.https));
    let login = json!({"name": "alice", "password": PASSWORD}).to_string();
    let evil = ["-H", "Host: evil.test"];
    let logs_in = ["-H", "Sec-Fetch-Site: same-origin", "-H", "Content-Type: application/json", "-d", &login];
    let login_at = format!("{secure}/api/v1/login");
    assert_eq!(curl(&head, &login_at, &[&evil[..], &logs_in].concat()), (421, None), "not even a login");
    let (status, cookie) = curl(&head, &login_at, &logs_in);
    assert_eq!(status, 200);
    let cookie = format!("Cookie: {}", cookie.unwrap());
    let with = ["-H", cookie.as_str()];
    assert_eq!(curl(&head, &format!("{secure}/api/v1/nodes"), &with).0, 200, "the session is good");
    for base in [&plain, &secure] {
        for path in [
            "/api/v1/nodes",
            "/api/v1/users",
            "/boot.ipxe",
            "/hsm/v2/groups",
            "/cloud-init/admin/groups",
            "/",
        ] {
            let url = format!("{base}{path}");
            assert_eq!(curl(&head, &url, &[&evil[..], &with].concat()).0, 421, "{url} with a cookie");
        }
        for path in ["/api/v1/groups/x", "/api/v1/login", "/api/v1/claim", "/api/v1/tokens"] {
            for method in ["PUT", "POST", "PATCH", "DELETE"] {
                let url = format!("{base}{path}");
                let asked = [&evil[..], &["-X", method, "-d", "{}"]].concat();
                assert_eq!(curl(&head, &url, &asked).0, 421, "{method} {url}");
            }
        }
        // A name that reads like ours, or that a proxy would take for ours.
        for name in [
            "demo.example.evil.test",
            "evil.test#demo.example",
            "127.0.0.1.evil.test",
            "evil.test, demo.example",
            "",
        ] {
            let host = format!("Host: {name}");
            let host = if name.is_empty() { "Host;".to_owned() } else { host };
            let asked = ["-X", "PUT", "-d", "{}", "-H", host.as_str(), "-H", cookie.as_str()];
            let status = curl(&head, &format!("{base}/api/v1/groups/x"), &asked).0;
            assert!([400, 421].contains(&status), "{base} as {name:?}: {status}");
        }
        // Pages elsewhere, at our own name: the cookie is not theirs to use, whatever they put beside it.
        for more in [
            &["-H", "Sec-Fetch-Site: cross-site"][..],
            &["-H", "Sec-Fetch-Site: same-site"],
            &["-H", "Sec-Fetch-Site: none"],
            &["-H", "Origin: https://evil.test"],
            &["-H", "Origin: null"],
            &["-H", "Origin: https://evil.test", "-u", "alice:x"],
            &["-H", "Sec-Fetch-Site: cross-site", "-H", "Authorization: Bearer x"],
            &["-H", "Sec-Fetch-Site: cross-site", "-H", "X-HTTP-Method-Override: GET"],
            &[],
        ] {
            let asked = [&["-X", "PUT", "-d", "{}", "-H", cookie.as_str()], more].concat();
            let status = curl(&head, &format!("{base}/api/v1/groups/x"), &asked).0;
            assert!([401, 403].contains(&status), "{base} {more:?}: {status}");
        }
    }
    assert_eq!(String::from_utf8(head.ok(&["group", "list", "--json"], b"")).unwrap().trim(), "[]");
}

/// Who may do a thing: nobody, viewer, operator, admin.
type Row = (&'static str, &'static str, [bool; 4]);

const ALL: [bool; 4] = [false, true, true, true];
const OPERATORS: [bool; 4] = [false, false, true, true];
const ADMINS: [bool; 4] = [false, false, false, true];

/// The table of roles, written down a second time from what people are for, and not from the table of routes.
const ROLES: [Row; 36] = [
    // Looking.
    ("GET", "/api/v1/nodes", ALL),
    ("GET", "/api/v1/status", ALL),
    ("GET", "/api/v1/leases", ALL),
    ("GET", "/api/v1/images", ALL),
    ("GET", "/api/v1/secrets", ALL),
    ("GET", "/api/v1/trust/sessions", ALL),
    ("GET", "/api/v1/events?follow=0", ALL),
    ("GET", "/hsm/v2/groups", ALL),
    ("GET", "/cloud-init/admin/groups", ALL),
    ("GET", "/boot/v1/bootparameters", ALL),
    ("POST", "/power-status", ALL),
    ("POST", "/api/v1/password", ALL),
    // Running the machines.
    ("POST", "/api/v1/nodes", OPERATORS),
    ("DELETE", "/api/v1/nodes/x", OPERATORS),
    ("PUT", "/api/v1/boot", OPERATORS),
    ("PUT", "/api/v1/groups/x", OPERATORS),
    ("DELETE", "/api/v1/leases/192.0.2.1", OPERATORS),
    ("POST", "/api/v1/uploads", OPERATORS),
    ("POST", "/api/v1/inventory/import", OPERATORS),
    ("POST", "/api/v1/trust/nodes/x/arm", OPERATORS),
    ("POST", "/api/v1/trust/nodes/x/revoke", OPERATORS),
    ("POST", "/transitions", OPERATORS),
    ("PUT", "/hsm/v2/State/Components/x", OPERATORS),
    ("POST", "/boot/v1/bootparameters", OPERATORS),
    ("POST", "/cloud-init/admin/groups", OPERATORS),
    // Running the head.
    ("GET", "/api/v1/users", ADMINS),
    ("POST", "/api/v1/users", ADMINS),
    ("DELETE", "/api/v1/users/x", ADMINS),
    ("GET", "/api/v1/sessions", ADMINS),
    ("POST", "/api/v1/tokens", ADMINS),
    ("GET", "/api/v1/audit", ADMINS),
    ("POST", "/api/v1/keys/token/rotate", ADMINS),
    ("POST", "/api/v1/trust/void", ADMINS),
    ("PUT", "/api/v1/secrets/x", ADMINS),
    ("DELETE", "/api/v1/secrets/x", ADMINS),
    ("POST", "/api/v1/secrets/x/reveal", ADMINS),
];

#[tokio::test]
async fn t49_each_role_may_do_what_it_is_for_and_nothing_more() {
    let (head, folder) = (Head::start(SITE), tempfile::tempdir().unwrap());
    let vault = Arc::new(Vault::open(folder.path(), now()).unwrap());
    let policy = Policy {
        closed: true,
        proxies: Vec::new(),
        open_token: None,
        issuer: "https://demo.example:8443".to_owned(),
        cluster: "demo".to_owned(),
        hosts: BTreeSet::new(),
        claim: None,
    };
    let context = head.context.clone();
    let door = Door::new(context.clone(), Arc::clone(&vault), Trust::own(&vault.public()), policy);
    let site_key = Arc::clone(&vault.site);
    let loaders = Arc::new(Loaders::open(Vec::new(), None));
    let router = door.before(routes::router(&Parts { context, loaders, images: None, site_key }));
    let token = |role| {
        let claims = Claims {
            issuer: "https://demo.example:8443".to_owned(),
            cluster: "demo".to_owned(),
            subject: "somebody".to_owned(),
            role,
            issued: now(),
            life: Millis::from_secs(600),
            id: "one".to_owned(),
            client: None,
            user: None,
            areas: Vec::new(),
        };
        format!("Bearer {}", vault.sign(Algorithm::EdDsa, &claims).unwrap())
    };
    let callers = [None, Some(token(Role::Viewer)), Some(token(Role::Operator)), Some(token(Role::Admin))];
    for (method, path, wanted) in ROLES {
        let mut got = [false; 4];
        for (caller, may) in callers.iter().zip(&mut got) {
            let mut request = Request::builder().method(method).uri(path).extension(peer(OTHER));
            if let Some(bearer) = caller {
                request = request.header("authorization", bearer);
            }
            let answer = router.clone().oneshot(request.body(Body::from("{")).unwrap()).await.unwrap();
            *may = !answer.headers().contains_key("www-authenticate");
            // Who is let in is let in to something: a route that is not there would show nothing.
            let handled = ![405, 501].contains(&answer.status().as_u16());
            let known = answer.status().as_u16() != 404 || path.contains("/x") || path.contains("192.0.2.1");
            assert!(!*may || handled && known, "{method} {path}: {}", answer.status());
        }
        assert_eq!(got, wanted, "{method} {path}: nobody, viewer, operator, admin");
    }
}

/// T48 through the one way by which others name URLs to the daemon: subscriptions to state changes.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "it ends with the runtime of its test")]
async fn t48_a_subscription_cannot_make_the_head_call_itself() {
    let listener = TcpListener::bind("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let quick = Manners { first_pause: Duration::from_millis(5), attempts: 2, ..Manners::default() };
    // `targets`: of several spellings of one address the message goes out once.
    let send = async |egress: Egress, hosts: &[&str], targets: u64| {
        let (head, tasks) = (Head::start(SITE), Tasks::new());
        let webhooks = Webhooks::start(quick, egress, &tasks);
        notify::start(&head.context, webhooks.clone(), &tasks);
        for host in hosts {
            let url = format!("http://{host}:{port}/scn");
            let body = json!({"Subscriber": "mallory", "Url": url, "States": ["Ready"], "Enabled": true, "Roles": ["Storage"]});
            head.json("POST", "/hsm/v2/Subscriptions/SCN", body).await.ok();
        }
        let node =
            json!({"name": "one", "xname": "x1000c0s0b0n0", "interfaces": [{"mac": "00:00:5e:00:53:01"}]});
        head.json("PUT", "/api/v1/nodes/one", node).await.ok();
        for _ in 0..500 {
            let done = webhooks.counters.failed.value() + webhooks.counters.delivered.value();
            if done >= targets {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (webhooks.counters.failed.value(), calls.swap(0, Ordering::SeqCst))
    };
    let own = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "localhost",
        "0.0.0.0",
        "[::]",
        "user:password@127.0.0.1",
    ];
    let (failed, called) = send(Egress::new(Vec::new()), &own, 7).await;
    assert_eq!((failed, called), (7, 0));
    // With the loopback allowed the same subscription does call: the silence was the guard's.
    let (_, called) = send(Egress::new(vec!["127.0.0.0/8".parse().unwrap()]), &["127.0.0.1"], 1).await;
    assert!(called > 0);
}

/// T49, DHCP of a head without an owner; and T46, names that machines give themselves.
#[test]
fn t46_t49_dhcp_is_silent_until_the_claim_and_a_machines_name_moves_no_cursor() {
    if is_skipped() {
        return;
    }
    need("udhcpc", "udhcpc");
    let mut lab = Lab::new();
    lab.configure("range = [\"192.0.2.16-192.0.2.31\"]\n[auth]\nclaim = \"required\"");
    lab.serve();
    // ESC ] 0 ; x BEL, and what a page would run.
    let name: String = "\u{1b}]0;x\u{7}<img onerror=1>".bytes().map(|octet| format!("{octet:02x}")).collect();
    let ask = format!("udhcpc -i eth0 -n -q -f -t 3 -T 1 -s /bin/true -x 0x0c:{name}");
    let (found, said) = lab.client(&ask);
    assert!(!found, "a head without an owner answers: {said}");
    let claim = format!(
        "echo '{PASSWORD}' | {MUSTER} --config {} --data-dir {} claim --name alice",
        lab.path("muster.toml").display(),
        lab.path("data").display()
    );
    let claimed = crate::netns::sh(&claim);
    assert!(claimed.status.success(), "{claimed:?}");
    assert!(crate::netns::wait(Duration::from_secs(20), || lab.client(&ask).0), "{}", lab.log());
    for arguments in [&["lease", "list"][..], &["discover", "list"], &["events"], &["status"]] {
        let output = lab.muster(arguments);
        let text = [output.stdout, output.stderr].concat();
        let controls: Vec<&u8> =
            text.iter().filter(|octet| octet.is_ascii_control() && **octet != b'\n').collect();
        assert!(controls.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&text));
    }
    let leases: Value = serde_json::from_str(&lab.ask(&["lease", "list", "--json"])).unwrap();
    assert_eq!(leases[0]["host_name"], name, "what is no text is shown in hexadecimal");
}
