//! `muster-node` from its grant to the sealed end, against a head in this process and a TPM that is swtpm: what
//! the helper does with good answers, and that it writes nothing after bad ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod swtpm;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use getrandom::SysRng;
use hpke::rand_core::UnwrapErr;
use muster::base::{Level, Mac, Timestamp, base32};
use muster::engine::attest::attestor::{Boot, Enrolments, Seen, Shown, Standing, TpmAttestor};
use muster::engine::attest::quote::{Starts, check_boot};
use muster::engine::attest::{EkFingerprint, Expected, Mode, QuoteError};
use muster::engine::trust::attestor::{Ask, Attestor as _, Denied, Pending};
use muster::engine::trust::contents::{Choice, Contents, Item, Withheld};
use muster::engine::trust::keyset::{Key, Keyset, Use, fingerprint};
use muster::engine::trust::sealed::{Header, Psk, seal};
use muster::engine::trust::session::{ArmOn, Start, start};
use muster::model::boot_session::Channel;
use muster::model::{BootSession, Node, NodeId, SessionId};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::swtpm::Swtpm;

const SESSION: [u8; 16] = [5; 16];
const NONCE: [u8; 32] = [6; 32];
const SECRET: &[u8] = b"the key of munge";
const NOW: Timestamp = Timestamp(1_795_402_800_000);

/// The one TPM that is enrolled, once somebody approves.
#[derive(Default)]
struct Book {
    enrolled: Mutex<Option<EkFingerprint>>,
    approve: bool,
}

impl Enrolments for Book {
    fn standing(&self, _: NodeId) -> Standing {
        self.enrolled.lock().unwrap().map_or(Standing::Unknown, Standing::Enrolled)
    }

    fn holder(&self, _: &EkFingerprint) -> Option<NodeId> {
        None
    }

    fn shown(&self, _: &Ask<'_>, shown: &Shown) -> Standing {
        if !self.approve {
            return Standing::Pending(shown.ek);
        }
        *self.enrolled.lock().unwrap() = Some(shown.ek);
        Standing::Enrolled(shown.ek)
    }

    fn conflict(&self, _: NodeId, _: NodeId) {}

    fn boot(&self, _: &Ask<'_>) -> Boot {
        Boot { mode: Mode::Off, expected: Expected::default(), starts: Starts::default() }
    }

    fn mismatch(&self, _: NodeId, _: &Shown) {}

    fn attested(&self, _: &Ask<'_>, _: Seen<'_>) -> Result<(), Denied> {
        Ok(())
    }
}

/// How a head goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    /// The list of keys is signed by somebody else.
    Root,
    /// The bundle is signed by somebody else.
    Envelope,
    /// A bit of this field differs.
    Flip(&'static str),
    /// Sealed to another key.
    OtherKey,
    /// Made for another session.
    OtherSession,
    /// The attestation's bundle can be opened without the attestation's secret.
    Downgrade,
}

struct Head {
    fault: Fault,
    site: SigningKey,
    envelope: SigningKey,
    attestor: TpmAttestor,
    node_key: Mutex<[u8; 32]>,
    pending: Mutex<Option<Box<dyn Pending>>>,
    asked: Mutex<Vec<String>>,
}

impl Head {
    /// Answers until the test is over. Returns its URL.
    fn serve(fault: Fault, approve: bool) -> (Arc<Head>, String) {
        let book = Book { approve, ..Book::default() };
        let head = Arc::new(Head {
            fault,
            site: SigningKey::from_bytes(&[1; 32]),
            envelope: SigningKey::from_bytes(&[2; 32]),
            attestor: TpmAttestor::new(Arc::new(book), Vec::new(), 15),
            node_key: Mutex::default(),
            pending: Mutex::default(),
            asked: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let own = Arc::clone(&head);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                own.answer(stream.unwrap());
            }
        });
        (head, url)
    }

    fn answer(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let path = line.split(' ').nth(1).unwrap_or("").to_owned();
        let mut fields = BTreeMap::new();
        loop {
            let mut field = String::new();
            reader.read_line(&mut field).unwrap();
            let Some((name, value)) = field.trim().split_once(": ") else { break };
            fields.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = fields.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        self.asked.lock().unwrap().push(path.clone());
        let bears = fields.get("authorization").map(String::as_str) == Some("Bearer node.token");
        let (status, said) = match path.as_str() {
            "/node/v1/claim" => self.claim(&body),
            "/node/v1/keyset" => (200, self.keyset()),
            _ if !bears => (401, json!({"detail": "no token"})),
            "/node/v1/attest/start" => self.start(&body),
            "/node/v1/attest/finish" => self.finish(&body),
            "/node/v1/sealed" => (200, json!({})),
            _ => (404, json!({"detail": "there is no such thing"})),
        };
        let said = said.to_string();
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", said.len());
        reader.get_mut().write_all([head.as_bytes(), said.as_bytes()].concat().as_slice()).unwrap();
    }

    fn claim(&self, body: &Value) -> (u16, Value) {
        let octets = |name: &str| STANDARD.decode(body[name].as_str().unwrap()).unwrap();
        if octets("nonce") != NONCE || body["session"] != json!(base32::encode(&SESSION)) {
            return (403, json!({"detail": "the grant is wrong"}));
        }
        *self.node_key.lock().unwrap() = octets("node_pub").try_into().unwrap();
        let withheld =
            vec![Withheld { id: "munge".to_owned(), needs: Level::Tpm, reason: "asks for a TPM".to_owned() }];
        let choice =
            Choice { items: vec![item("motd", "/etc/motd", b"hello", 0o644)], withheld, after: vec![] };
        (200, self.bundle(Level::Grant, None, choice))
    }

    fn keyset(&self) -> Value {
        let public = self.envelope.verifying_key().to_bytes();
        let key = Key { kid: "env".to_owned(), used: Use::Envelope, public };
        let keyset = Keyset { epoch: 1, not_after: 1, keys: vec![key] };
        let site =
            if self.fault == Fault::Root { SigningKey::from_bytes(&[9; 32]) } else { self.site.clone() };
        keyset.sign(site.verifying_key().as_bytes(), |message| site.sign(message).to_bytes())
    }

    fn bundle(&self, level: Level, psk: Option<Psk<'_>>, choice: Choice) -> Value {
        let psk = psk.filter(|_| self.fault != Fault::Downgrade);
        let session = if self.fault == Fault::OtherSession { [4; 16] } else { SESSION };
        let header = Header {
            kid: "env".to_owned(),
            cluster: "c".to_owned(),
            node: "n1".to_owned(),
            session: base32::encode(&session),
            seq: 1,
            level,
            issued: 1,
            expires: 2,
            psk_id: psk.map(|psk| psk.id.to_owned()),
        };
        let to = match self.fault {
            Fault::OtherKey => muster::engine::trust::sealed::make_keys(&mut UnwrapErr(SysRng)).1,
            _ => *self.node_key.lock().unwrap(),
        };
        let signer = if self.fault == Fault::Envelope {
            SigningKey::from_bytes(&[9; 32])
        } else {
            self.envelope.clone()
        };
        let plain = Contents { choice, token: "node.token".to_owned(), server_time: 3 }.emit();
        let sign = |message: &[u8]| signer.sign(message).to_bytes();
        let mut bundle = seal(&header, psk, &to, &plain, sign, &mut UnwrapErr(SysRng)).unwrap().to_json();
        if let Fault::Flip(field) = self.fault {
            let mut octets = STANDARD.decode(bundle[field].as_str().unwrap()).unwrap();
            octets[20] ^= 1;
            bundle[field] = json!(STANDARD.encode(octets));
        }
        bundle
    }

    fn with_ask<T>(&self, work: impl FnOnce(&Ask<'_>) -> T) -> T {
        let (node, session) = (Node::new(NodeId(1), "n1".parse().unwrap()), session());
        let key = *self.node_key.lock().unwrap();
        work(&Ask { node: &node, session: &session, key: &key, id: "attest-1", now: NOW })
    }

    fn start(&self, body: &Value) -> (u16, Value) {
        let dice = Zeroizing::new([3; 128]);
        match self.with_ask(|ask| self.attestor.start(ask, body, &dice)) {
            Err(denied) => (denied.status, json!({"detail": denied.text})),
            Ok(challenge) => {
                *self.pending.lock().unwrap() = Some(challenge.pending);
                let mut told = challenge.told;
                told["attest_id"] = json!("attest-1");
                (200, told)
            }
        }
    }

    fn finish(&self, body: &Value) -> (u16, Value) {
        let pending = self.pending.lock().unwrap().take().unwrap();
        match self.with_ask(|ask| pending.finish(ask, body)) {
            Err(denied) => (denied.status, json!({"detail": denied.text})),
            Ok(proof) => {
                let items = vec![item("munge", "/etc/munge/munge.key", SECRET, 0o400)];
                let choice = Choice { items, withheld: vec![], after: vec![] };
                let psk = Psk { id: "attest-1", secret: &proof.secret };
                (200, self.bundle(proof.level, Some(psk), choice))
            }
        }
    }
}

fn item(id: &str, path: &str, data: &[u8], mode: u32) -> Item {
    let own = fs::metadata(env!("CARGO_TARGET_TMPDIR")).unwrap();
    Item {
        id: id.to_owned(),
        version: 3,
        path: Some(path.to_owned()),
        mode,
        owner: format!("{}:{}", own.uid(), own.gid()),
        credential: None,
        data: Zeroizing::new(data.to_vec()),
    }
}

fn session() -> BootSession {
    let channel =
        Channel { mac: Mac([2, 0, 0, 0, 0, 1]), address: None, relay: None, uuid: None, arch: None };
    let order = Start {
        id: SessionId(SESSION),
        node: NodeId(1),
        channel,
        arm_on: ArmOn::Dhcp,
        powered: None,
        alive: None,
        epoch: 1,
        life: muster::base::limits::SESSION_LIFE,
    };
    start(None, order, NOW).unwrap().0
}

/// Folders of a node, with its grant.
fn node(head: &Head, url: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("root")).unwrap();
    let root = URL_SAFE_NO_PAD.encode(fingerprint(head.site.verifying_key().as_bytes()));
    let grant = json!({
        "v": 1, "session": base32::encode(&SESSION), "nonce": URL_SAFE_NO_PAD.encode(NONCE), "head": url,
        "keyset_url": format!("{url}/node/v1/keyset"), "root_fp": root,
    });
    fs::write(folder.path().join("boot.json"), grant.to_string()).unwrap();
    folder
}

fn helper(folder: &Path, command: &str, tpm: &str) -> Output {
    let at = |name: &str| folder.join(name).into_os_string();
    let mut helper = Command::new(env!("CARGO_BIN_EXE_muster-node"));
    helper.arg(command).arg("--grant").arg(at("boot.json")).arg("--state").arg(at("state"));
    helper.arg("--root").arg(at("root")).args(["--tpm", tpm]).arg("--event-log").arg(at("none"));
    helper.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn measured() -> Swtpm {
    let mut tpm = Swtpm::start("state");
    tpm.measure(0, [1; 32]);
    tpm.measure(4, [2; 32]);
    tpm.stream = None; // the helper's turn
    tpm
}

#[test]
fn a_node_with_a_tpm_gets_its_secrets_and_closes_the_door_behind_it() {
    let mut tpm = measured();
    let (head, url) = Head::serve(Fault::None, true);
    let folder = node(&head, &url);
    let output = helper(folder.path(), "run", &format!("tcp:127.0.0.1:{}", tpm.port));
    assert!(output.status.success(), "{}", said(&output));
    let key = folder.path().join("root/etc/munge/munge.key");
    assert_eq!(fs::read(&key).unwrap(), SECRET);
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o7777, 0o400);
    assert_eq!(fs::read(folder.path().join("root/etc/motd")).unwrap(), b"hello", "what came with the claim");
    assert_eq!(head.asked.lock().unwrap().last().unwrap(), "/node/v1/sealed");
    assert_eq!(check_boot(&tpm.values(), 15), Err(QuoteError::Latched(15)));
    assert!(!folder.path().join("state/state.json").exists() && !folder.path().join("boot.json").exists());
    let said = said(&output);
    assert!(!said.contains("munge key") && !said.contains("the key of munge"), "{said}");
}

#[test]
fn a_node_without_a_tpm_gets_what_needs_none_and_says_what_is_withheld() {
    let (head, url) = Head::serve(Fault::None, true);
    let folder = node(&head, &url);
    let output = helper(folder.path(), "run", "none");
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::read(folder.path().join("root/etc/motd")).unwrap(), b"hello");
    assert!(
        said(&output).contains("munge is withheld, it needs level 2: asks for a TPM"),
        "{}",
        said(&output)
    );
    assert!(!folder.path().join("root/etc/munge").exists());
}

#[test]
fn a_tpm_that_is_not_approved_has_its_code_on_the_console() {
    let tpm = measured();
    let (head, url) = Head::serve(Fault::None, false);
    let folder = node(&head, &url);
    let output = helper(folder.path(), "run", &format!("tcp:127.0.0.1:{}", tpm.port));
    assert!(!output.status.success(), "secrets are missing, and the unit has failed");
    let said = said(&output);
    let code = said.split("this TPM's code is ").nth(1).unwrap().split_whitespace().next().unwrap();
    assert_eq!(code.len(), 19);
    assert!(said.contains(&format!("waits for its approval; its code is {code}")), "{said}");
    assert!(folder.path().join("root/etc/motd").exists(), "what needs no TPM is there");
    assert!(!folder.path().join("root/etc/munge").exists());
}

#[test]
fn the_commands_one_by_one_do_what_run_does() {
    let mut tpm = measured();
    let (head, url) = Head::serve(Fault::None, true);
    let folder = node(&head, &url);
    let device = format!("tcp:127.0.0.1:{}", tpm.port);
    assert!(!helper(folder.path(), "open", &device).status.success(), "nothing was claimed");
    for command in ["claim", "claim", "attest", "attest", "open", "seal"] {
        let output = helper(folder.path(), command, &device);
        assert!(output.status.success(), "{command}: {}", said(&output));
    }
    assert_eq!(fs::read(folder.path().join("root/etc/munge/munge.key")).unwrap(), SECRET);
    let asked = head.asked.lock().unwrap();
    assert_eq!(asked.iter().filter(|path| path.ends_with("claim")).count(), 1, "{asked:?}");
    assert_eq!(asked.iter().filter(|path| path.ends_with("finish")).count(), 1, "{asked:?}");
    assert_eq!(check_boot(&tpm.values(), 15), Err(QuoteError::Latched(15)));
    assert!(!helper(folder.path(), "open", &device).status.success(), "it is over");
}

#[test]
fn a_node_that_cannot_believe_its_head_writes_nothing() {
    for fault in [
        Fault::Root,
        Fault::Envelope,
        Fault::Flip("hdr"),
        Fault::Flip("enc"),
        Fault::Flip("ct"),
        Fault::Flip("sig"),
        Fault::OtherKey,
        Fault::OtherSession,
    ] {
        let (head, url) = Head::serve(fault, true);
        let folder = node(&head, &url);
        let output = helper(folder.path(), "run", "none");
        assert!(!output.status.success(), "{fault:?}: {}", said(&output));
        assert_eq!(fs::read_dir(folder.path().join("root")).unwrap().count(), 0, "{fault:?}");
        assert!(!head.asked.lock().unwrap().iter().any(|path| path.ends_with("sealed")), "{fault:?}");
    }
}

#[test]
fn an_attested_bundle_that_needs_no_attestation_to_open_is_refused() {
    let tpm = measured();
    let (head, url) = Head::serve(Fault::Downgrade, true);
    let folder = node(&head, &url);
    let output = helper(folder.path(), "run", &format!("tcp:127.0.0.1:{}", tpm.port));
    assert!(!output.status.success());
    assert!(said(&output).contains("not sealed by the attestation"), "{}", said(&output));
    assert_eq!(fs::read_dir(folder.path().join("root")).unwrap().count(), 0);
}

#[test]
fn a_node_without_a_grant_boots_without_a_word_of_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = helper(folder.path(), "run", "none");
    assert!(output.status.success() && said(&output).contains("no grant"), "{}", said(&output));
    assert!(!helper(folder.path(), "claim", "none").status.success());
}
