//! Nodes whose image has no helper: `image/node/muster-curl.sh` with real curl over TLS, and with tpm2-tools and a
//! simulated TPM, against every route of a head.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod head;
mod swtpm;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster::app::config::Config;
use muster::app::https;
use muster::base::Level;
use muster::base::limits::SESSION_LIFE;
use muster::engine::attest::attestor::{Boot, Enrolments, Seen, Shown, Standing, TpmAttestor};
use muster::engine::attest::quote::{Starts, check_boot};
use muster::engine::attest::{EkFingerprint, Expected, Mode, QuoteError};
use muster::engine::trust::Secrets;
use muster::engine::trust::attestor::{Ask, Denied};
use muster::engine::trust::contents::{Choice, Item, Withheld};
use muster::model::boot_session::Channel;
use muster::model::{BootSession, Node, NodeId, SessionId, SessionState, Snapshot};
use muster::transport::clock::now;
use muster::transport::http::Http;
use muster::transport::tasks::Tasks;
use muster::transport::vault::Vault;
use serde_json::{Value, json};
use tokio::sync::watch;
use zeroize::Zeroizing;

use head::{Head, SITE, mac};
use swtpm::Swtpm;

const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "sh"]];
const NODE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Every octet there is, which no shell may lose.
fn munge() -> Vec<u8> {
    (0..=255).rev().chain(0..=255).collect()
}

/// nid001 has a munge key at level 1 and another secret at level 2.
struct Shelf;

impl Secrets for Shelf {
    fn wants(&self, _: &Snapshot, _: &Node) -> bool {
        true
    }

    fn choose(&self, _: &Snapshot, _: &Node, level: Level) -> Choice {
        let item = |id: &str, path: &str, owner: &str, data: Vec<u8>| Item {
            id: id.to_owned(),
            version: 3,
            path: Some(path.to_owned()),
            mode: 0o400,
            owner: owner.to_owned(),
            credential: None,
            data: Zeroizing::new(data),
        };
        let mut choice = Choice::default();
        choice.items.push(item("munge", "/etc/munge/munge.key", "munge:munge", munge()));
        choice.items.push(item("keytab", "/etc/krb5.keytab", "nobody-here", b"keytab".to_vec()));
        if level >= Level::Tpm {
            choice.items.push(item("deep", "/etc/deep/key", "root:root", b"for a TPM\n".to_vec()));
        } else {
            let reason = "asks for a TPM".to_owned();
            choice.withheld.push(Withheld { id: "deep".to_owned(), needs: Level::Tpm, reason });
        }
        choice
    }
}

/// Enrols the first TPM that is shown.
#[derive(Default)]
struct Book(Mutex<Option<EkFingerprint>>);

impl Enrolments for Book {
    fn standing(&self, _: NodeId) -> Standing {
        self.0.lock().unwrap().map_or(Standing::Unknown, Standing::Enrolled)
    }

    fn holder(&self, _: &EkFingerprint) -> Option<NodeId> {
        None
    }

    fn shown(&self, _: &Ask<'_>, shown: &Shown) -> Standing {
        *self.0.lock().unwrap() = Some(shown.ek);
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

/// A head that is served on this machine's loopback, plain and over TLS.
struct Served {
    head: Head,
    vault: Arc<Vault>,
    plain: SocketAddr,
    tls: u16,
    folder: tempfile::TempDir,
    _tasks: Tasks,
}

impl Served {
    async fn start() -> Served {
        let tls = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let head = Head::trusting(SITE, |trust| {
            trust.secrets = Arc::new(Shelf);
            trust.attestor = Some(Arc::new(TpmAttestor::new(Arc::new(Book::default()), Vec::new(), 15)));
            trust.policy.tls = Some(tls);
        });
        let interface = json!({"mac": mac(1), "addresses": ["192.0.2.1"]});
        head.json("POST", "/api/v1/nodes", json!({"name": "nid001", "interfaces": [interface]})).await.ok();
        let (tasks, folder) = (Tasks::new(), tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("data")).unwrap();
        let vault = Arc::new(Vault::open(&folder.path().join("data"), now()).unwrap());
        let http = Http::new(head.router());
        let plain = http.listen("127.0.0.1:0".parse().unwrap(), &tasks).unwrap();
        let config = Config::parse(&format!("{SITE}[https]\nlisten = [\"127.0.0.1:{tls}\"]\n")).unwrap();
        let told = watch::channel(Arc::new(config.site.clone())).0;
        https::start(&config, &vault, &http, None, told, &tasks).unwrap();
        fs::write(folder.path().join("ca.pem"), vault.authority.pem()).unwrap();
        Served { head, vault, plain, tls, folder, _tasks: tasks }
    }

    /// nid001 boots, as if it had this machine's loopback address, until it has its grant in a folder of its own.
    async fn boot(&self, name: &str) -> (SessionId, PathBuf) {
        let trust = &self.head.context.trust;
        let node = self.head.context.snapshot.load().by_name("nid001").unwrap().id;
        let mac = mac(1).parse().unwrap();
        trust.sessions.boots(node, Channel { mac, address: None, relay: None, uuid: None, arch: None });
        let session = trust.sessions.of(node).pop().unwrap().id;
        let served =
            trust.sessions.change(session, |session| Ok(session.script(NODE, None, SESSION_LIFE, now())));
        assert!(served.await.unwrap());
        let url = format!("http://{}/b/{session}/boot.cpio", self.plain);
        let archive = blocking(move || Command::new("curl").args(["-sSf", &url]).output().unwrap()).await;
        assert!(archive.status.success(), "{}", said(&archive));
        let text = String::from_utf8_lossy(&archive.stdout).into_owned();
        let (start, end) = (text.find("{\"").unwrap(), text.find("\"}\n").unwrap());
        let folder = self.folder.path().join(name);
        fs::create_dir_all(folder.join("root/etc")).unwrap();
        fs::write(folder.join("boot.json"), &text[start..end + 3]).unwrap();
        fs::write(folder.join("root/etc/passwd"), "root:x:0:0::/:\nmunge:x:991:988::/:\n").unwrap();
        fs::write(folder.join("root/etc/group"), "root:x:0:\nmunge:x:988:\n").unwrap();
        (session, folder)
    }

    /// Runs the script as an initramfs would.
    async fn run(&self, shell: &'static [&'static str], node: &Path, tpm: Option<u16>) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("image/node/muster-curl.sh");
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(script).arg(node.join("root"));
        command
            .env("MUSTER_CA", self.folder.path().join("ca.pem"))
            .env("MUSTER_GRANT", node.join("boot.json"));
        command.env("MUSTER_STATE", node.join("state")).env("MUSTER_EVENT_LOG", "/nonexistent");
        match tpm {
            Some(port) => {
                command.env("TPM2TOOLS_TCTI", format!("swtpm:host=127.0.0.1,port={port}"));
                command.env("MUSTER_TPM", "by TCTI")
            }
            None => command.env("MUSTER_TPM", "none"),
        };
        blocking(move || command.output().unwrap()).await
    }

    fn session(&self, id: SessionId) -> BootSession {
        self.head.context.trust.sessions.get(id).unwrap()
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

/// Mode, owner and content of a file.
#[track_caller]
fn is(file: &Path, mode: u32, owner: (u32, u32), content: &[u8]) {
    let found = fs::metadata(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!((found.permissions().mode() & 0o7777, (found.uid(), found.gid())), (mode, owner));
    assert_eq!(fs::read(file).unwrap(), content, "{}", file.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_curl_alone_gets_its_secrets_over_tls() {
    let served = Served::start().await;
    for (index, shell) in SHELLS.into_iter().enumerate() {
        let (session, node) = served.boot(&format!("n{index}")).await;
        let output = served.run(shell, &node, None).await;
        let said = said(&output);
        assert!(output.status.success(), "{shell:?}: {said}");
        is(&node.join("root/etc/munge/munge.key"), 0o400, (991, 988), &munge());
        is(&node.join("root/etc/krb5.keytab"), 0o400, (0, 0), b"keytab");
        assert!(said.contains("keytab is for root alone: the image has no nobody-here"), "{said}");
        assert!(said.contains("deep is withheld, it needs level 2: asks for a TPM"), "{said}");
        assert!(!node.join("root/etc/deep").exists() && !node.join("boot.json").exists(), "{said}");
        assert!(!node.join("state").exists(), "the key of the boot is gone");
        let session = served.session(session);
        assert_eq!((session.state, session.level), (SessionState::Sealed, Level::Grant));
        let mut given: Vec<&str> = session.deliveries.iter().map(|one| one.secret.as_str()).collect();
        given.sort_unstable();
        assert_eq!(given, ["keytab", "munge"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_tpm2_tools_attests_and_closes_the_door_behind_it() {
    let served = Served::start().await;
    for (index, shell) in SHELLS.into_iter().enumerate() {
        let mut tpm = Swtpm::start("state");
        tpm.measure(0, [1; 32]);
        tpm.measure(4, [2; 32]);
        tpm.stream = None; // the tools' turn
        let (session, node) = served.boot(&format!("n{index}")).await;
        let output = served.run(shell, &node, Some(tpm.port)).await;
        assert!(output.status.success(), "{shell:?}: {}", said(&output));
        is(&node.join("root/etc/deep/key"), 0o400, (0, 0), b"for a TPM\n");
        is(&node.join("root/etc/munge/munge.key"), 0o400, (991, 988), &munge());
        let session = served.session(session);
        assert_eq!((session.state, session.level), (SessionState::Sealed, Level::Tpm));
        assert_eq!(check_boot(&tpm.values(), 15), Err(QuoteError::Latched(15)));
    }
}

/// curl's status and answer.
async fn post(served: &Served, base: String, body: Value) -> (String, Value) {
    let ca = served.folder.path().join("ca.pem");
    let output = blocking(move || {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-w", "\n%{http_code}", "-H", "Content-Type: application/json", "--cacert"])
            .arg(ca);
        curl.args(["-d", &body.to_string(), &format!("{base}/node/v1/claim")]).output().unwrap()
    });
    let output = output.await;
    let text = String::from_utf8(output.stdout).unwrap();
    let (answer, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), serde_json::from_str(answer).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_the_clear_is_for_tls_alone_and_only_for_the_first_key() {
    let served = Served::start().await;
    let (session, node) = served.boot("n").await;
    let grant: Value = serde_json::from_slice(&fs::read(node.join("boot.json")).unwrap()).unwrap();
    let secure = format!("https://127.0.0.1:{}", served.tls);
    assert_eq!(grant["tls"], json!(secure));
    let nonce = grant["nonce"].clone();
    let body = |key: u8| json!({"session": session.to_string(), "nonce": nonce, "node_key": STANDARD.encode([key; 32])});

    let (status, problem) = post(&served, format!("http://{}", served.plain), body(7)).await;
    assert_eq!(status, "403", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("over TLS alone"), "{problem}");
    assert_eq!(served.session(session).state, SessionState::Scripted, "nothing is used up by it");
    let mut both = body(7);
    both["node_pub"] = json!(STANDARD.encode([8; 32]));
    assert_eq!(post(&served, secure.clone(), both).await.0, "422");

    let (status, first) = post(&served, secure.clone(), body(7)).await;
    assert_eq!((status.as_str(), &first["level"]), ("200", &json!("1")), "{first}");
    assert_eq!(first["secrets"][0]["data_b64"], json!(STANDARD.encode(munge())));
    let kept = served.session(session).claim.unwrap().reply;
    let kept = String::from_utf8(kept).unwrap();
    assert!(kept.contains("\"ct\"") && !kept.contains(&STANDARD.encode(munge())[..40]), "kept sealed");

    // The answer was lost: the same key gets the same again, another one ends the session.
    let (status, again) = post(&served, secure.clone(), body(7)).await;
    assert_eq!((status.as_str(), &again), ("200", &first));
    assert_eq!(post(&served, secure.clone(), body(9)).await.0, "409");
    assert_eq!(served.session(session).state, SessionState::Revoked);
    assert_eq!(post(&served, secure, body(7)).await.0, "410");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_the_image_does_not_know_is_told_nothing() {
    let served = Served::start().await;
    let (session, node) = served.boot("n").await;
    let stranger = tempfile::tempdir().unwrap();
    let other = Vault::open(stranger.path(), now()).unwrap();
    assert_ne!(other.authority.pem(), served.vault.authority.pem());
    fs::write(served.folder.path().join("ca.pem"), other.authority.pem()).unwrap();
    // Nobody wakes up in ten times three seconds.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("image/node/muster-curl.sh");
    let quick = fs::read_to_string(script).unwrap().replace("sleep 3", ":");
    let script = served.folder.path().join("quick.sh");
    fs::write(&script, quick).unwrap();
    let mut command = Command::new("dash");
    command.arg(script).arg(node.join("root")).env("MUSTER_CA", served.folder.path().join("ca.pem"));
    command.env("MUSTER_GRANT", node.join("boot.json")).env("MUSTER_STATE", node.join("state"));
    let output = blocking(move || command.env("MUSTER_TPM", "none").output().unwrap()).await;
    assert!(!output.status.success() && said(&output).contains("certificate"), "{}", said(&output));
    assert_eq!(served.session(session).state, SessionState::Scripted);
    assert!(!node.join("root/etc/munge").exists());
}
