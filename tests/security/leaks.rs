//! What is left of secrets where they do not belong: files, logs, memory that others can read.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use getrandom::SysRng;
use hpke::rand_core::UnwrapErr;
use muster::engine::trust::contents::Contents;
use muster::engine::trust::keyset::{Anchor, Keyset};
use muster::engine::trust::sealed::{Bundle, Expected, make_keys};
use serde_json::{Value, json};

use crate::boot::boot_json;
use crate::daemon::{Daemon, MUSTER, files};

/// Whoever has no account here.
const NOBODY: u32 = 65534;
const PASSWORD: &str = "correct horse battery";

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A value in every form in which a program might have written it down.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let texts = [STANDARD.encode(value), URL_SAFE_NO_PAD.encode(value), hex(value), format!("{value:?}")];
    let texts = texts.map(|text| text.trim_end_matches('=').trim_matches(['[', ']']).as_bytes().to_vec());
    texts.into_iter().chain([value.to_vec()]).collect()
}

#[track_caller]
fn holds_none(octets: &[u8], needles: &[(&str, Vec<u8>)], place: &str) {
    for (name, needle) in needles {
        let found = octets.windows(needle.len()).any(|window| window == needle.as_slice());
        assert!(!found, "{place} holds the {name}");
    }
}

/// Asks for all that tells of nodes and of what happened.
fn answers_hold_none(head: &Daemon, needles: &[(&str, Vec<u8>)]) {
    for path in [
        "trust/sessions",
        "trust/nodes/nid001",
        "secrets",
        "secrets/word",
        "events?follow=0",
        "audit",
        "status",
    ] {
        let answer = Command::new("curl")
            .args(["-sS", "--unix-socket"])
            .arg(head.path("data/muster.sock"))
            .arg(format!("http://head/api/v1/{path}"))
            .output()
            .expect("apt-get install curl");
        assert!(answer.status.success() && answer.stdout.len() > 2, "{path}");
        holds_none(&answer.stdout, needles, path);
    }
}

/// T16 and T45 on the head: a node boots, takes its secrets and closes the door; somebody logs in, somebody
/// reveals. Neither the head's files, nor a copy of its store, nor its log at the finest level, nor anything that it
/// tells holds what only the node was to know.
#[test]
fn t16_t45_files_log_and_answers_hold_nothing_of_what_a_node_was_given() {
    let mut head = Daemon::start("");
    let marker = b"the-marker-that-only-the-node-may-see";
    head.ok(&["node", "set", "nid001", "--mac", "02:00:00:00:00:01", "--ip", "127.0.0.1"], b"");
    head.ok(&["boot", "set", "nid001", "--kernel", "vmlinuz", "--initrd", "initrd"], b"");
    head.ok(&["secret", "set", "word", "--path", "/etc/word"], marker);
    head.ok(&["secret", "set", "munge", "--generate", "munge"], b"");
    head.ok(&["user", "add", "alice", "--role", "admin"], format!("{PASSWORD}\n").as_bytes());
    head.ok(&["node", "arm", "nid001"], b"");
    let get = |path: &str| {
        let (status, body) = head.http("GET", path.as_bytes(), "", b"");
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        body
    };
    let script = String::from_utf8(get("/boot/script?mac=02-00-00-00-00-01")).unwrap();
    let url = script.split_whitespace().find(|word| word.contains("/b/")).unwrap();
    let grant = boot_json(&get(&url[url.find("/b/").unwrap()..]));
    let (private, public) = make_keys(&mut UnwrapErr(SysRng));
    let claim = json!({
        "session": grant.session.to_string(), "nonce": URL_SAFE_NO_PAD.encode(*grant.nonce),
        "node_pub": STANDARD.encode(public),
    });
    let (status, reply) = head.http("POST", b"/node/v1/claim", "", claim.to_string().as_bytes());
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&reply));
    let parse = |octets: &[u8]| serde_json::from_slice::<Value>(octets).unwrap();
    let anchor = Anchor { root: &grant.root, least_epoch: 0, now: None };
    let keys = Keyset::open(&parse(&get("/node/v1/keyset")), anchor).unwrap();
    let session = grant.session.to_string();
    let expected = Expected { session: &session, least_seq: 0 };
    let opened = Bundle::from_json(&parse(&reply)).unwrap().open(&keys, &private, None, expected);
    let contents = Contents::parse(&opened.unwrap().1).unwrap();
    let item = |id: &str| contents.choice.items.iter().find(|item| item.id == id).unwrap().data.to_vec();
    assert_eq!(item("word"), marker, "the node has it, so that there is something to look for");
    let (munge, jwt) = (item("munge"), item("cloud-init-jwt"));
    let bearer = format!("Authorization: Bearer {}\r\n", contents.token);
    let seal = json!({"session": session}).to_string();
    assert_eq!(head.http("POST", b"/node/v1/sealed", &bearer, seal.as_bytes()).0, 204);
    let login = json!({"name": "alice", "password": PASSWORD}).to_string();
    let _ = head.http("POST", b"/api/v1/login", "", login.as_bytes());
    assert_eq!(head.ok(&["secret", "show", "word", "--reveal"], b""), marker);

    let mut needles = vec![
        ("token of the node", contents.token.clone().into_bytes()),
        ("token of cloud-init", jwt),
        ("password", PASSWORD.as_bytes().to_vec()),
    ];
    for (name, value) in
        [("secret", &marker[..]), ("munge key", &munge[..24]), ("end of the munge key", &munge[1000..])]
    {
        needles.extend(forms(value).into_iter().map(|form| (name, form)));
    }
    needles.extend(forms(&*grant.nonce).into_iter().map(|form| ("nonce", form)));
    needles.extend(forms(&*private).into_iter().map(|form| ("private key", form)));
    holds_none(&reply, &needles, "the answer to the claim");
    answers_hold_none(&head, &needles);
    holds_none(&head.ok(&["export"], b""), &needles, "an export");
    fs::copy(head.path("data/muster.redb"), head.path("data/backup.redb")).unwrap();
    head.kill();
    let log = fs::read(head.path("log")).unwrap();
    assert!(log.len() > 10_000, "the log is at its finest level");
    let all = files(head.folder.path());
    assert!(all.len() > 10 && all.iter().any(|path| path.ends_with("muster.redb")), "{all:?}");
    for path in all {
        holds_none(&fs::read(&path).unwrap(), &needles, &path.display().to_string());
    }
}

/// T16, the attempt at a core dump: the daemon runs as a user whose limits allow one, and who may look at his own
/// processes. He sees nothing of this one.
#[test]
fn t16_the_memory_of_the_daemon_is_closed_to_its_own_user() {
    // Where everybody may run it.
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = place.path().join("muster");
    fs::copy(MUSTER, &binary).unwrap();
    let program = format!(
        "ulimit -c unlimited; shift; exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups {} \"$@\"",
        binary.display()
    );
    let mut head = Daemon::through(&["sh", "-c", &program, "sh"], "", |folder| {
        fs::create_dir(folder.join("data")).unwrap();
        chown(folder.join("data"), Some(NOBODY), Some(NOBODY)).unwrap();
        chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    });
    let pid = head.process.id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains(&format!("Uid:\t{NOBODY}\t{NOBODY}")), "{status}");
    // The kernel gives what is not dumpable to root.
    assert_eq!(fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(), 0);
    let look = |file: &str| {
        let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "head", "-c", "1"];
        Command::new("setpriv").args(user).arg(format!("/proc/{pid}/{file}")).output().unwrap()
    };
    for file in ["mem", "environ", "maps", "auxv"] {
        let looked = look(file);
        let said = String::from_utf8_lossy(&looked.stderr);
        assert!(!looked.status.success() && said.contains("Permission denied"), "{file}: {said}");
    }
    assert!(look("cmdline").status.success(), "its name is no secret");
    let before = files(head.folder.path()).len();
    assert!(Command::new("kill").args(["-ABRT", &pid.to_string()]).status().unwrap().success());
    let status = head.process.wait().unwrap();
    assert!(status.signal() == Some(6) && !status.core_dumped(), "{status:?}");
    let after = files(head.folder.path());
    assert!(after.len() <= before && !after.iter().any(|path| path.ends_with("core")), "{after:?}");
}

/// Started under a mask that gives everything to everybody, the daemon still keeps its files to itself.
#[test]
fn whatever_the_mask_only_what_is_public_can_be_read_by_others() {
    let head = Daemon::through(&["sh", "-c", "umask 0; exec \"$@\"", "sh"], "", |_| ());
    head.ok(&["node", "set", "nid001", "--mac", "02:00:00:00:00:01"], b"");
    head.ok(&["secret", "set", "word"], b"x");
    let is_public = |name: &str| name == "site.pub" || name.ends_with(".crt");
    let mut seen = Vec::new();
    let mut pending = vec![head.path("data")];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            let (name, mode) =
                (entry.file_name().into_string().unwrap(), metadata.permissions().mode() & 0o777);
            let others = match &*name {
                "muster.sock" => 0o660,
                _ if is_public(&name) => 0o644,
                _ if metadata.is_dir() => 0o700,
                _ => 0o600,
            };
            assert_eq!(mode & !others, 0, "{}: {mode:o}", path.display());
            if is_public(&name) {
                assert_eq!(mode, 0o644, "{}: what is public can be read", path.display());
            }
            if metadata.is_dir() {
                pending.push(path);
            }
            seen.push(name);
        }
    }
    for name in ["muster.redb", "muster.sock", "keys", "site.pub", "ca.crt"] {
        assert!(seen.iter().any(|seen| seen == name), "{seen:?}");
    }
}
