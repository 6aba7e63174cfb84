//! Secrets from the API to the disk: what lists tell, what `reveal` gives to whom, what real OpenSSH makes of host
//! keys, and that neither the store nor the keys nor a log holds a value in the open.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod head;

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use head::{Head, SITE};
use muster::api::secrets::ensure_host_keys;
use muster::base::limits::{SECRET_BYTES_MAX, SECRET_VERSIONS_MAX, SECRETS_MAX};
use muster::base::{Level, Timestamp};
use muster::model::secret::{Rotate, Scope, Sealed, Version, What};
use muster::model::{Change, Secret, SecretKey};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

fn start() -> Head {
    Head::below("/api/v1", SITE)
}

fn value(octets: &[u8]) -> String {
    STANDARD.encode(octets)
}

async fn revealed(head: &Head, path: &str) -> Vec<u8> {
    let body = head.send("POST", &format!("/secrets/{path}/reveal"), "").await.ok();
    STANDARD.decode(body["value"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_value_comes_back_by_reveal_alone_and_its_story_is_told() {
    let head = start();
    let file = json!({"file": {"path": "/etc/app/key", "owner": "app"}});
    let body = json!({"what": file, "value": value(b"marker-one"), "min_level": "2"});
    let made = head.json("PUT", "/secrets/app", body.clone()).await;
    assert_eq!(made.status.as_u16(), 201);
    assert_eq!(made.headers["location"], "/api/v1/secrets/app");
    let shown = made.ok();
    assert_eq!(
        (&shown["scope"], &shown["min_level"], &shown["version"]),
        (&json!("site"), &json!("2"), &json!(1))
    );
    assert_eq!(
        shown["what"]["file"],
        json!({"path": "/etc/app/key", "owner": "app", "group": "root", "mode": "0400"})
    );
    // Said again, it is the same.
    assert_eq!(head.json("PUT", "/secrets/app", body).await.ok()["version"], 1);
    let next = json!({"value": value(b"marker-two")});
    assert_eq!(head.json("POST", "/secrets/app/versions", next).await.ok()["version"], 2);
    // Settings alone keep the value.
    let settings = head.json("PUT", "/secrets/app", json!({"min_level": "2p"})).await.ok();
    assert_eq!((&settings["version"], &settings["what"]), (&json!(2), &json!("opaque")));
    assert_eq!(revealed(&head, "app").await, b"marker-two");
    let old = head.send("POST", "/secrets/app/reveal?version=1", "").await;
    assert_eq!(old.headers["cache-control"], "no-store");
    assert_eq!(old.ok()["value"], value(b"marker-one"));
    head.send("POST", "/secrets/app/reveal?version=9", "").await.refused(404);
    let history = head.get("/secrets/app/versions").await.ok();
    assert_eq!(
        (&history[0]["number"], &history[1]["number"], &history[0]["by"]),
        (&json!(2), &json!(1), &json!("root"))
    );
    let events = head.get("/events?follow=0&kind=secret").await.text();
    for action in [
        "put secret app: done",
        "rotate secret app: done",
        "reveal secret app: done",
        "reveal secret app: Not Found",
    ] {
        assert!(events.contains(action), "{action}: {events}");
    }
    for path in [
        "/secrets",
        "/secrets/app",
        "/secrets/app/versions",
        "/events?follow=0",
        "/status",
        "/inventory/export",
    ] {
        let text = head.get(path).await.text();
        for known in ["marker", &value(b"marker-one"), &value(b"marker-two"), "sealed\""] {
            assert!(!text.contains(known), "{path}: {text}");
        }
    }
    assert_eq!(head.send("DELETE", "/secrets/app", "").await.status.as_u16(), 204);
    head.send("POST", "/secrets/app/reveal", "").await.refused(404);
}

#[tokio::test]
async fn preconditions_and_dry_runs_hold_for_secrets_too() {
    let head = start();
    let body = json!({"value": value(b"one")}).to_string();
    let dry = head.send("PUT", "/secrets/a?dry_run", body.clone()).await.ok();
    assert_eq!((&dry["added"], &dry["dry_run"]), (&json!(["secret a"]), &json!(true)));
    head.get("/secrets/a").await.refused(404);
    head.send("PUT", "/secrets/a", body.clone()).await.ok();
    head.send_with("PUT", "/secrets/a", &[("If-None-Match", "*")], body.clone()).await.refused(412);
    let tag = head.get("/secrets/a").await.headers["etag"].to_str().unwrap().to_owned();
    let next = json!({"value": value(b"two")}).to_string();
    head.send_with("POST", "/secrets/a/versions", &[("If-Match", &tag)], next.clone()).await.ok();
    head.send_with("POST", "/secrets/a/versions", &[("If-Match", &tag)], next).await.refused(412);
    head.send_with("DELETE", "/secrets/a", &[("If-Match", &tag)], "").await.refused(412);
    let dry = head.send("DELETE", "/secrets/a?dry_run", "").await.ok();
    assert_eq!(dry["removed"], json!(["secret a"]));
    assert_eq!(
        head.send("POST", "/secrets/a/versions?dry_run", "{}").await.ok()["fields"]["secret a"],
        json!(["value"])
    );
    assert_eq!(revealed(&head, "a").await, b"two");
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_field_and_without_the_value() {
    let head = start();
    head.declare(1).await;
    let path = |path: &str| json!({"file": {"path": path}});
    let cases = [
        ("a", json!({}), "value"),
        ("a", json!({"value": "hunter2!"}), "value"),
        ("a", json!({"value": ""}), "value"),
        ("a", json!({"value": 20_071_848}), "value"),
        ("a", json!({"value": value(&vec![7; SECRET_BYTES_MAX + 1])}), "value"),
        ("a", json!({"value": value(b"x"), "generate": true}), "generate"),
        ("a", json!({"value": value(b"x"), "min_level": "3"}), "min_level"),
        ("a", json!({"value": value(b"x"), "min_level": "0"}), "min_level"),
        ("a", json!({"value": value(b"x"), "rotate": "now"}), "rotate"),
        ("a", json!({"value": value(b"x"), "what": path("etc/key")}), "what.file.path"),
        ("a", json!({"value": value(b"x"), "what": path("/etc/../key")}), "what.file.path"),
        ("a", json!({"value": value(b"x"), "what": path("/etc/")}), "what.file.path"),
        ("a", json!({"value": value(b"x"), "what": path("/etc/a\nb")}), "what.file.path"),
        (
            "a",
            json!({"value": value(b"x"), "what": {"file": {"path": "/a", "owner": "-r"}}}),
            "what.file.owner",
        ),
        (
            "a",
            json!({"value": value(b"x"), "what": {"file": {"path": "/a", "mode": "0644"}}}),
            "what.file.mode",
        ),
        (
            "a",
            json!({"value": value(b"x"), "what": {"file": {"path": "/a", "mode": "4400"}}}),
            "what.file.mode",
        ),
        ("a", json!({"value": value(b"x"), "what": {"file": {"path": "/a", "mode": "9"}}}), "what.file.mode"),
        ("a", json!({"value": value(b"x"), "what": {"env": {"file": "/a", "name": "1A"}}}), "what.env.name"),
        ("a", json!({"value": value(b"a\nb"), "what": {"env": {"file": "/a", "name": "A"}}}), "value"),
        ("a", json!({"value": value(b"short"), "what": "munge_key"}), "value"),
        ("a", json!({"value": value(&[7; 64]), "what": "ssh_host_key"}), "value"),
        ("a@group:none", json!({"value": value(b"x")}), "scope"),
        ("a@rack:1", json!({"value": value(b"x")}), "secret"),
        ("a:b", json!({"value": value(b"x")}), "secret"),
    ];
    for (name, body, field) in cases {
        let text = head.json("PUT", &format!("/secrets/{name}"), body.clone()).await.refused(422);
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["problems"][0]["field"], field, "{body}: {text}");
        assert!(!text.contains("hunter2") && !text.contains("20071848"), "{text}");
    }
    head.json("PUT", "/secrets/a@node:nid009", json!({"value": value(b"x")})).await.refused(404);
    head.json("PUT", "/secrets/a", json!({"value": value(b"x"), "colour": "red"})).await.refused(400);
    head.json("POST", "/secrets/a/versions", json!({})).await.refused(404);
    assert_eq!(head.get("/secrets").await.ok(), json!([]));
}

#[tokio::test]
async fn a_secret_goes_with_its_node_or_group_and_keeps_its_value_through_a_new_name() {
    let head = start();
    head.declare(2).await;
    for key in ["a", "a@group:odd", "a@node:nid001", "a@node:nid002"] {
        head.json("PUT", &format!("/secrets/{key}"), json!({"value": value(key.as_bytes())})).await.ok();
    }
    let keys = async || -> Vec<String> {
        let list = head.get("/secrets").await.ok();
        list.as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys().await, ["a", "a@group:odd", "a@node:nid001", "a@node:nid002"]);
    head.json("PATCH", "/nodes/nid002", json!({"name": "login"})).await.ok();
    assert_eq!(revealed(&head, "a@node:login").await, b"a@node:nid002");
    head.send("DELETE", "/nodes/nid001", "").await.ok();
    head.send("DELETE", "/groups/odd", "").await.ok();
    assert_eq!(keys().await, ["a", "a@node:login"]);
}

#[tokio::test]
async fn versions_and_secrets_have_bounds() {
    let head = start();
    for number in 0..SECRET_VERSIONS_MAX + 3 {
        let body = json!({"value": value(number.to_string().as_bytes())});
        head.json("PUT", "/secrets/a", body).await.ok();
    }
    let history = head.get("/secrets/a/versions").await.ok();
    assert_eq!(history.as_array().unwrap().len(), SECRET_VERSIONS_MAX);
    assert_eq!(history[0]["number"], SECRET_VERSIONS_MAX + 3);
    head.send("POST", "/secrets/a/reveal?version=3", "").await.refused(404);
    let many = |from: usize, to: usize| -> Vec<Change> {
        let one = |number: usize| {
            let sealed = Sealed(Arc::from([0; 4]));
            let version = Version { number: 1, created: Timestamp(0), by: String::new(), sealed };
            let key = SecretKey { scope: Scope::Site, name: format!("s{number}").parse().unwrap() };
            let (what, rotate, versions) = (What::Opaque, Rotate::NextBoot, vec![version]);
            Change::PutSecret(Arc::new(Secret { key, min_level: Level::Grant, what, rotate, versions }))
        };
        (from..to).map(one).collect()
    };
    head.context.change(|_| Ok(many(1, SECRETS_MAX))).await.unwrap();
    let text = head.json("PUT", "/secrets/more", json!({"value": value(b"x")})).await.refused(422);
    assert!(text.contains("at most 1000"), "{text}");
    head.json("PUT", "/secrets/a", json!({"value": value(b"x")})).await.ok();
}

#[tokio::test]
async fn a_sealed_value_in_another_place_is_refused_and_named() {
    let head = start();
    for name in ["one", "other"] {
        head.json("PUT", &format!("/secrets/{name}"), json!({"value": value(name.as_bytes())})).await.ok();
    }
    let moved = |snapshot: &muster::model::Snapshot| {
        let key = |name: &str| SecretKey { scope: Scope::Site, name: name.parse().unwrap() };
        let mut secret = Secret::clone(&snapshot.inventory.secrets[&key("one")]);
        secret.versions = snapshot.inventory.secrets[&key("other")].versions.clone();
        Ok(vec![Change::PutSecret(Arc::new(secret))])
    };
    head.context.change(moved).await.unwrap();
    let text = head.send("POST", "/secrets/one/reveal", "").await.refused(500);
    assert!(text.contains("secret one 1 cannot be opened") && text.contains("moved here"), "{text}");
    assert_eq!(revealed(&head, "other").await, b"other");
}

#[tokio::test]
async fn a_secret_under_a_key_that_is_gone_is_told_and_can_be_set_again() {
    let head = start();
    head.json("PUT", "/secrets/a", json!({"value": value(b"x")})).await.ok();
    let foreign = |snapshot: &muster::model::Snapshot| {
        let secret = snapshot.inventory.secrets.values().next().unwrap();
        let mut secret = Secret::clone(secret);
        let mut sealed = secret.versions[0].sealed.0.to_vec();
        sealed[1..9].fill(0xee);
        secret.versions[0].sealed = Sealed(sealed.into());
        Ok(vec![Change::PutSecret(Arc::new(secret))])
    };
    head.context.change(foreign).await.unwrap();
    let text = head.send("POST", "/secrets/a/reveal", "").await.refused(500);
    assert!(text.contains("eeeeeeeeeeeeeeee"), "{text}");
    let findings = head.get("/status").await.ok()["findings"].to_string();
    assert!(findings.contains("1 secrets are sealed under a key that is not here"), "{findings}");
    assert_eq!(head.json("PUT", "/secrets/a", json!({"value": value(b"x")})).await.ok()["version"], 2);
    assert_eq!(revealed(&head, "a").await, b"x");
}

#[tokio::test]
async fn the_head_makes_what_munge_and_prompts_take() {
    let head = start();
    let made = head.json("PUT", "/secrets/munge", json!({"what": "munge_key", "generate": true})).await.ok();
    assert_eq!(made["rotate"], "coordinated");
    let first = revealed(&head, "munge").await;
    assert_eq!(first.len(), 1024);
    // Asked for again, the key that nodes have stays.
    head.json("PUT", "/secrets/munge", json!({"what": "munge_key", "generate": true})).await.ok();
    assert_eq!(revealed(&head, "munge").await, first);
    head.json("POST", "/secrets/munge/versions", json!({})).await.ok();
    assert_ne!(revealed(&head, "munge").await, first);
    head.json("PUT", "/secrets/word", json!({"generate": true})).await.ok();
    let word = revealed(&head, "word").await;
    assert!(word.len() == 43 && word.iter().all(u8::is_ascii_graphic));
}

fn ssh_keygen(arguments: &[&str]) -> String {
    let output = Command::new("ssh-keygen").args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{error}: apt-get install openssh-client"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[tokio::test]
async fn host_keys_are_made_once_for_each_node_and_openssh_reads_them() {
    let head = start();
    head.declare(2).await;
    let order = json!({"what": "ssh_host_key", "generate": true, "min_level": "2"});
    let made = head.json("PUT", "/secrets/ssh", order).await.ok();
    assert_eq!(made["version"], Value::Null);
    head.send("POST", "/secrets/ssh/reveal", "").await.refused(404);
    head.json("POST", "/secrets/ssh/versions", json!({})).await.refused(422);
    let id = |name: &str| head.context.snapshot.load().find(name).unwrap().id;
    ensure_host_keys(&head.context, id("nid001")).await.unwrap();
    let own = head.get("/secrets/ssh@node:nid001").await.ok();
    assert_eq!((&own["version"], &own["min_level"], &own["by"]), (&json!(1), &json!("2"), &json!("muster")));
    let revision = head.revision().await;
    ensure_host_keys(&head.context, id("nid001")).await.unwrap();
    assert_eq!(head.revision().await, revision, "they are there");
    let folder = tempfile::tempdir().unwrap();
    let write = |body: &Value| {
        for file in body["files"].as_array().unwrap() {
            let path = folder.path().join(file["name"].as_str().unwrap());
            fs::write(&path, file["content"].as_str().unwrap()).unwrap();
            let mode = u32::from_str_radix(file["mode"].as_str().unwrap(), 8).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    write(&head.send("POST", "/secrets/ssh@node:nid001/reveal", "").await.ok());
    let authority = head.get("/ssh-ca").await.text();
    fs::write(folder.path().join("ca.pub"), &authority).unwrap();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let print = |name: &str| ssh_keygen(&["-l", "-f", &place(name)]).split(' ').nth(1).unwrap().to_owned();
    let ca = print("ca.pub");
    let mut prints = Vec::new();
    for (kind, word) in [("ed25519", "ED25519"), ("ecdsa", "ECDSA")] {
        let key = format!("ssh_host_{kind}_key");
        let public = fs::read_to_string(place(&format!("{key}.pub"))).unwrap();
        assert_eq!(ssh_keygen(&["-y", "-f", &place(&key)]), public, "the halves belong together");
        assert_eq!(print(&key), print(&format!("{key}.pub")));
        prints.push(print(&key));
        let told = ssh_keygen(&["-L", "-f", &place(&format!("{key}-cert.pub"))]);
        for part in ["host certificate", word, &ca, "Key ID: \"nid001\"", "  nid001\n", "192.0.2.1\n"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(told.contains("(using ssh-ed25519)"), "{told}");
    }
    // Another node's are others; the same node's stay the same, with new certificates.
    ensure_host_keys(&head.context, id("nid002")).await.unwrap();
    write(&head.send("POST", "/secrets/ssh@node:nid002/reveal", "").await.ok());
    assert_ne!(print("ssh_host_ed25519_key"), prints[0]);
    write(&head.send("POST", "/secrets/ssh@node:nid001/reveal", "").await.ok());
    assert_eq!([print("ssh_host_ed25519_key"), print("ssh_host_ecdsa_key")], prints[..]);
}

/// The real daemon.
struct Daemon {
    folder: tempfile::TempDir,
    process: Child,
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(MUSTER);
    command.arg("--config").arg(folder.join("muster.toml")).arg("--data-dir").arg(folder.join("data"));
    command.env_remove("CREDENTIALS_DIRECTORY").current_dir(folder);
    command
}

/// A folder with a configuration.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "[cluster]\nname = \"demo\"\ndomain = \"demo.example\"\n[http]\nlisten = [\"127.0.0.1:{port}\"]\n\
         [https]\nlisten = []\n[tftp]\nlisten = []\n[dns]\nlisten = []\n[loaders]\ndirectories = []\n\
         [log]\nlevel = \"trace\"\n"
    );
    fs::write(folder.path().join("muster.toml"), config).unwrap();
    folder
}

fn serve(folder: &Path) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    command(folder).arg("serve").stderr(log).spawn().unwrap()
}

impl Daemon {
    fn start(folder: tempfile::TempDir) -> Daemon {
        let process = serve(folder.path());
        let daemon = Daemon { folder, process };
        for _ in 0..1000 {
            if daemon.run(&["secret", "list"], b"").status.success() {
                return daemon;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!(
            "the daemon does not answer: {}",
            fs::read_to_string(daemon.folder.path().join("log")).unwrap()
        );
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = command(self.folder.path());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that reads nothing may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run(arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn text(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.ok(arguments, b"")).unwrap()
    }

    /// Kills the daemon and waits for its end.
    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

fn all_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

#[track_caller]
fn nowhere(folder: &Path, needles: &[&[u8]]) {
    let mut files = Vec::new();
    all_files(folder, &mut files);
    assert!(files.iter().any(|file| file.ends_with("muster.redb")) && files.len() > 8, "{files:?}");
    for file in files {
        let octets = fs::read(&file).unwrap();
        for needle in needles {
            let found = octets.windows(needle.len()).any(|part| part == *needle);
            assert!(!found, "{} holds {:?}", file.display(), String::from_utf8_lossy(needle));
        }
    }
}

/// T16: neither store nor keys nor log hold a value, in text, base64 or as it is, and no core is dumped.
#[test]
fn nothing_on_the_disk_holds_a_value() {
    let mut daemon = Daemon::start(prepared());
    let marker = b"the-marker-that-nobody-may-find";
    let encoded = STANDARD.encode(marker);
    daemon.ok(&["secret", "set", "word", "--path", "/etc/word", "--owner", "app:app"], marker);
    daemon.ok(&["secret", "set", "munge", "--generate", "munge", "--level", "2"], b"");
    let munge = daemon.ok(&["secret", "show", "munge", "--reveal"], b"");
    assert_eq!(munge.len(), 1024);
    assert_eq!(daemon.ok(&["secret", "show", "word", "--reveal"], b""), marker);
    daemon.ok(&["secret", "rotate", "word", "--file", "-"], b"another-marker-of-the-same-kind");
    let listed = daemon.text(&["secret", "list"]);
    assert!(listed.contains("/etc/word app:app 0400") && listed.contains("munge key"), "{listed}");
    let known = daemon.text(&["ssh-ca", "print", "--hosts", "nid*"]);
    assert!(known.starts_with("@cert-authority nid* ssh-ed25519 AAAA"), "{known}");
    let status = daemon.text(&["status"]);
    assert!(status.contains("2 secrets, sealed by the file"), "{status}");
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.process.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let needles: [&[u8]; 6] = [
        marker,
        encoded.trim_end_matches('=').as_bytes(),
        b"another-marker-of-the-same-kind",
        &munge[..16],
        &munge[500..516],
        b"PRIVATE KEY",
    ];
    nowhere(daemon.folder.path(), &needles);
    let pid = daemon.process.id().to_string();
    assert!(Command::new("kill").args(["-ABRT", &pid]).status().unwrap().success());
    let status = daemon.process.wait().unwrap();
    assert!(status.signal() == Some(6) && !status.core_dumped(), "{status:?}");
    nowhere(daemon.folder.path(), &needles);
}

#[test]
fn a_head_without_its_key_encryption_key_refuses_to_start_and_says_what_is_missing() {
    let mut daemon = Daemon::start(prepared());
    daemon.ok(&["secret", "set", "word"], b"value");
    daemon.end();
    let kek = daemon.folder.path().join("data/keys/kek");
    let known = fs::read(&kek).unwrap();
    fs::remove_file(&kek).unwrap();
    let refused = |folder: &Path| {
        let output = command(folder).arg("serve").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let text = refused(daemon.folder.path());
    assert!(text.contains("the key encryption key is not here") && text.contains("muster.kek"), "{text}");
    assert!(!kek.exists(), "no other was made");
    // Given back as a credential, all is as before.
    let credentials = daemon.folder.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("muster.kek"), [9; 32]).unwrap();
    let output =
        command(daemon.folder.path()).env("CREDENTIALS_DIRECTORY", &credentials).arg("serve").output();
    let text = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(text.contains("sealed under the key encryption key") && text.contains("give it back"), "{text}");
    fs::write(credentials.join("muster.kek"), &known).unwrap();
    daemon.process = command(daemon.folder.path())
        .env("CREDENTIALS_DIRECTORY", &credentials)
        .arg("serve")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let up = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        daemon.run(&["secret", "list"], b"").status.success()
    });
    assert!(up && daemon.ok(&["secret", "show", "word", "--reveal"], b"") == b"value");
    assert!(daemon.text(&["status"]).contains("sealed by the systemd credential muster.kek"));
}

#[test]
fn a_new_key_encryption_key_seals_everything_and_the_old_one_is_gone() {
    let mut daemon = Daemon::start(prepared());
    let keys = daemon.folder.path().join("data/keys");
    daemon.ok(&["secret", "set", "word"], b"first");
    daemon.ok(&["secret", "rotate", "word", "--file", "-"], b"second");
    daemon.ok(&["secret", "set", "munge", "--generate", "munge"], b"");
    let munge = daemon.ok(&["secret", "show", "munge", "--reveal"], b"");
    let (old, sealed) = (fs::read(keys.join("kek")).unwrap(), fs::read(keys.join("ca.sealed")).unwrap());
    let authority = daemon.text(&["ssh-ca", "print"]);
    let said = daemon.text(&["key", "rotate", "kek"]);
    assert!(said.contains("2 secrets are sealed anew"), "{said}");
    assert!(fs::read(keys.join("kek")).unwrap() != old && !keys.join("kek.next").exists());
    assert_ne!(fs::read(keys.join("ca.sealed")).unwrap(), sealed);
    let check = |daemon: &Daemon| {
        assert_eq!(daemon.ok(&["secret", "show", "munge", "--reveal"], b""), munge);
        assert_eq!(daemon.ok(&["secret", "show", "word", "--reveal"], b""), b"second");
        assert_eq!(daemon.ok(&["secret", "show", "word", "--reveal", "--of", "1"], b""), b"first");
        assert_eq!(daemon.text(&["ssh-ca", "print"]), authority);
    };
    check(&daemon);
    daemon.end();
    daemon.process = serve(daemon.folder.path());
    assert!((0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        daemon.run(&["secret", "list"], b"").status.success()
    }));
    check(&daemon);
    // With the old key alone nothing opens.
    daemon.end();
    fs::write(keys.join("kek"), old).unwrap();
    let output = command(daemon.folder.path()).arg("serve").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

/// The files of a former version, in the open.
fn open_keys(keys: &Path) {
    let write = |name: &str, pem: String| {
        let path = keys.join(name);
        fs::write(&path, pem).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let ed25519 = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    write("token-ed25519.pem", ed25519());
    write("site-ed25519.pem", ed25519());
    let rsa = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    write("token-rs256.pem", rsa.serialize_pem());
    write("ca.pem", rcgen::KeyPair::generate().unwrap().serialize_pem());
}

#[test]
fn a_head_that_is_killed_while_it_takes_over_its_keys_has_all_of_them_afterwards() {
    let folder = prepared();
    let keys = folder.path().join("data/keys");
    fs::create_dir_all(&keys).unwrap();
    open_keys(&keys);
    let former: Vec<(String, String)> = ["token-ed25519", "site-ed25519", "token-rs256", "ca"]
        .map(|name| (name.to_owned(), fs::read_to_string(keys.join(format!("{name}.pem"))).unwrap()))
        .to_vec();
    let there = |name: &str, end: &str| keys.join(format!("{name}.{end}")).exists();
    let sealed = || former.iter().filter(|(name, _)| there(name, "sealed")).count();
    let mut in_between = 0;
    for round in 0..24 {
        // Begin again with the open keys, and kill when so many are taken over.
        for (name, pem) in &former {
            let path = keys.join(format!("{name}.pem"));
            fs::write(&path, pem).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let _ = fs::remove_file(keys.join(format!("{name}.sealed")));
        }
        let mut process = serve(folder.path());
        let wanted = round % 5;
        let reached = (0..100_000).any(|_| {
            std::thread::sleep(Duration::from_micros(100));
            sealed() >= wanted
        });
        process.kill().unwrap();
        process.wait().unwrap();
        assert!(reached, "round {round}");
        for (name, _) in &former {
            assert!(there(name, "pem") || there(name, "sealed"), "{name} is lost in round {round}");
        }
        if sealed() > 0 && former.iter().any(|(name, _)| there(name, "pem")) {
            in_between += 1;
        }
    }
    assert!(in_between > 0, "no kill came while keys were taken over");
    let daemon = Daemon::start(folder);
    for (name, _) in &former {
        assert!(there(name, "sealed") && !there(name, "pem"), "{name}");
    }
    nowhere(daemon.folder.path(), &[b"PRIVATE KEY"]);
    let public = fs::read_to_string(daemon.folder.path().join("data/site.pub")).unwrap();
    let site = rcgen::KeyPair::from_pem(&former[1].1).unwrap();
    let der = rcgen::PublicKeyData::subject_public_key_info(&site);
    let text: String = public.lines().filter(|line| !line.starts_with("---")).collect();
    assert_eq!(STANDARD.decode(text).unwrap(), der, "it is the key that was there");
}
