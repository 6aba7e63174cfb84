//! Boot sessions and power loss: the real daemon is killed around claims, its store is put back in time, and its
//! files are searched for what must not stand in them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use getrandom::SysRng;
use hpke::rand_core::UnwrapErr;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use muster::engine::trust::contents::Contents;
use muster::engine::trust::grant::Grant;
use muster::engine::trust::keyset::{Anchor, Keyset};
use muster::engine::trust::sealed::{Bundle, Expected, make_keys};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// Kills around one claim each.
const ROUNDS: u32 = 12;

struct Head {
    folder: tempfile::TempDir,
    daemon: Child,
    port: u16,
}

/// A node that has its grant.
struct Boot {
    grant: Grant,
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

fn muster(folder: &Path) -> Command {
    let mut command = Command::new(MUSTER);
    command.arg("--config").arg(folder.join("muster.toml")).arg("--data-dir").arg(folder.join("data"));
    command
}

/// The daemon in this folder, as soon as it answers.
fn serve(folder: &Path) -> Child {
    let mut daemon = muster(folder).arg("serve").stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..1000 {
        if muster(folder).arg("status").output().unwrap().status.success() {
            return daemon;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = daemon.kill();
    let _ = daemon.wait();
    panic!("the daemon does not answer");
}

/// Status and body of a request from 127.0.0.1; None if the connection broke.
fn ask(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: head\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let body = answer[end + 4..].to_vec();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    (body.len() == length).then_some((status, body))
}

impl Head {
    fn start() -> Head {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "[http]\nlisten = [\"127.0.0.1:{port}\"]\n[https]\nlisten = []\n[tftp]\nlisten = []\n[dns]\nlisten = []\n\
             [loaders]\ndirectories = []\n[trust]\nsessions = \"always\"\n[log]\nlevel = \"warn\"\n"
        );
        fs::write(folder.path().join("muster.toml"), config).unwrap();
        let daemon = serve(folder.path());
        let head = Head { folder, daemon, port };
        head.muster(&["node", "set", "nid001", "--mac", "02:00:00:00:00:01", "--ip", "127.0.0.1"]);
        head.muster(&["boot", "set", "nid001", "--kernel", "vmlinuz", "--initrd", "initrd"]);
        head
    }

    fn muster(&self, arguments: &[&str]) -> String {
        let output = muster(self.folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn kill(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    fn restart(&mut self) {
        self.daemon = serve(self.folder.path());
    }

    fn get(&self, path: &str) -> Vec<u8> {
        let (status, body) = ask(self.port, "GET", path, "").unwrap();
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        body
    }

    fn boot(&self) -> Boot {
        // What a round before left open.
        let _ = muster(self.folder.path()).args(["trust", "revoke", "nid001"]).output().unwrap();
        self.muster(&["node", "arm", "nid001"]);
        let script = String::from_utf8(self.get("/boot/script?mac=02-00-00-00-00-01")).unwrap();
        let url =
            script.split_whitespace().find(|word| word.contains("/b/")).unwrap_or_else(|| panic!("{script}"));
        let archive = self.get(&url[url.find("/b/").unwrap()..]);
        let text = String::from_utf8_lossy(&archive);
        let (start, end) = (text.find("{\"").unwrap(), text.find("\"}\n").unwrap());
        let (private, public) = make_keys(&mut UnwrapErr(SysRng));
        Boot { grant: Grant::parse(text[start..end + 3].as_bytes()).unwrap(), private, public }
    }

    fn claim(&self, boot: &Boot) -> (u16, Vec<u8>) {
        ask(self.port, "POST", "/node/v1/claim", &boot.body()).unwrap()
    }
}

impl Boot {
    fn body(&self) -> String {
        json!({
            "session": self.grant.session.to_string(), "nonce": URL_SAFE_NO_PAD.encode(*self.grant.nonce),
            "node_pub": STANDARD.encode(self.public),
        })
        .to_string()
    }

    fn other_key(&self) -> Boot {
        let grant = Grant {
            session: self.grant.session,
            nonce: self.grant.nonce.clone(),
            head: self.grant.head.clone(),
            tls: None,
            root: self.grant.root,
        };
        let (private, public) = make_keys(&mut UnwrapErr(SysRng));
        Boot { grant, private, public }
    }

    fn open(&self, head: &Head, reply: &[u8]) -> Contents {
        let json = |octets: &[u8]| serde_json::from_slice::<Value>(octets).unwrap();
        let anchor = Anchor { root: &self.grant.root, least_epoch: 0, now: None };
        let keys = Keyset::open(&json(&head.get("/node/v1/keyset")), anchor).unwrap();
        let session = self.grant.session.to_string();
        let expected = Expected { session: &session, least_seq: 0 };
        let bundle = Bundle::from_json(&json(reply)).unwrap();
        Contents::parse(&bundle.open(&keys, &self.private, None, expected).unwrap().1).unwrap()
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn t14_a_claim_survives_the_daemon_and_is_answered_to_its_key_alone() {
    let mut head = Head::start();
    let (mut answered, mut lost) = (0, 0);
    for round in 0..ROUNDS {
        let boot = head.boot();
        let (port, body) = (head.port, boot.body());
        let claim = std::thread::spawn(move || ask(port, "POST", "/node/v1/claim", &body));
        let first = if round % 3 == 0 {
            // Killed the moment after the reply.
            let reply = claim.join().unwrap();
            head.kill();
            reply
        } else {
            // Killed somewhere between the request and the reply.
            std::thread::sleep(Duration::from_micros(u64::from(round) * 700));
            head.kill();
            claim.join().unwrap()
        };
        head.restart();
        let (status, again) = head.claim(&boot);
        assert_eq!(status, 200, "round {round}: {}", String::from_utf8_lossy(&again));
        match first {
            Some((200, first)) => {
                answered += 1;
                assert_eq!(first, again, "round {round}: what was answered was not on the disk");
            }
            Some((status, _)) => panic!("round {round}: {status}"),
            None => lost += 1,
        }
        boot.open(&head, &again);
        assert_eq!(head.claim(&boot.other_key()).0, 409, "round {round}: another key was answered");
    }
    eprintln!("{answered} replies came, {lost} were lost");
    assert!(answered >= ROUNDS / 3, "the test shows nothing if no reply came");
}

#[test]
fn t15_a_restored_store_brings_no_grant_back() {
    let mut head = Head::start();
    let (used, unused) = {
        let boot = head.boot();
        head.kill();
        let store = head.folder.path().join("data/muster.redb");
        let backup = head.folder.path().join("backup.redb");
        fs::copy(&store, &backup).unwrap();
        head.restart();
        assert_eq!(head.claim(&boot).0, 200);
        head.kill();
        fs::copy(&backup, &store).unwrap();
        head.restart();
        (head.claim(&boot), head.claim(&boot.other_key()))
    };
    assert_eq!((used.0, unused.0), (410, 410), "{}", String::from_utf8_lossy(&used.1));
    let boot = head.boot();
    assert_eq!(head.claim(&boot).0, 200, "the next boot is as ever");
}

#[test]
fn t16_neither_nonce_nor_token_stands_in_the_files_of_the_head() {
    let mut head = Head::start();
    let boot = head.boot();
    let (_, reply) = head.claim(&boot);
    let contents = boot.open(&head, &reply);
    assert!(contents.token.len() > 100);
    head.kill();
    let nonce = *boot.grant.nonce;
    let needles = [
        nonce.to_vec(),
        URL_SAFE_NO_PAD.encode(nonce).into_bytes(),
        STANDARD.encode(nonce).into_bytes(),
        contents.token.clone().into_bytes(),
        contents.choice.items[0].data.to_vec(),
    ];
    let mut read = 0;
    let mut pending = vec![head.folder.path().join("data")];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let Ok(octets) = fs::read(&path) else { continue };
            read += 1;
            for needle in &needles {
                let found = octets.windows(needle.len()).any(|window| window == needle.as_slice());
                assert!(!found, "{} holds what it must not", path.display());
            }
        }
    }
    assert!(read >= 6, "only {read} files were searched");
}
