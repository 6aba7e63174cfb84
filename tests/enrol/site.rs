//! A daemon of its own with two nodes, each at an address of the loopback network, and machines that boot as them:
//! real TPMs in swtpm, whose firmware this file plays.

#![allow(clippy::disallowed_methods, reason = "a test that waits for a process needs a clock")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use getrandom::SysRng;
use hpke::rand_core::UnwrapErr;
use muster::engine::attest::policy::{command_line_digest, initrd_digest};
use muster::engine::attest::{EkFingerprint, authenticode, binding};
use muster::engine::trust::contents::Contents;
use muster::engine::trust::grant::Grant;
use muster::engine::trust::keyset::{Anchor, Keyset};
use muster::engine::trust::sealed::{Bundle, Expected, Psk, make_keys};
use muster::wire::tpm::command::Handle;
use muster::wire::tpm::{Credential, Public, template};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use socket2::{Domain, Socket, Type};
use zeroize::Zeroizing;

use crate::swtpm::Swtpm;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

pub(crate) struct Site {
    pub(crate) folder: tempfile::TempDir,
    daemon: Child,
    port: u16,
}

fn lab(name: &str) -> PathBuf {
    let cache = std::env::var("MUSTER_LAB_CACHE").unwrap_or("/var/cache/muster-lab".to_owned());
    Path::new(&cache).join(name)
}

fn muster(folder: &Path) -> Command {
    let mut command = Command::new(MUSTER);
    command.arg("--config").arg(folder.join("muster.toml")).arg("--data-dir").arg(folder.join("data"));
    command
}

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

impl Site {
    /// `trust` stands in the section of this name.
    pub(crate) fn start(trust: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let images = folder.path().join("images");
        fs::create_dir(&images).unwrap();
        fs::copy(lab("vmlinuz"), images.join("vmlinuz")).expect("tests/vm/setup fetches it");
        fs::write(images.join("initrd"), vec![7; 10_000]).unwrap();
        let config = format!(
            "[http]\nlisten = [\"127.0.0.1:{port}\"]\n[https]\nlisten = []\n[tftp]\nlisten = []\n\
             [dns]\nlisten = []\n[loaders]\ndirectories = [{:?}]\n[images]\nroot = {images:?}\n\
             [log]\nlevel = \"warn\"\n[trust]\nsessions = \"always\"\n{trust}\n",
            lab("loaders")
        );
        fs::write(folder.path().join("muster.toml"), config).unwrap();
        let daemon = serve(folder.path());
        let site = Site { folder, daemon, port };
        for number in [1, 2] {
            let (name, mac) = (format!("nid00{number}"), format!("02:00:00:00:00:0{number}"));
            let address = format!("127.0.0.1{number}");
            site.muster(&["node", "set", &name, "--mac", &mac, "--ip", &address, "--group", "rack"]);
            site.muster(&["boot", "set", &name, "--kernel", "vmlinuz", "--initrd", "initrd"]);
        }
        site.secret("munge", "1");
        site.secret("host-key", "2");
        site.secret("deep", "2p");
        site
    }

    fn secret(&self, name: &str, level: &str) {
        let file = self.folder.path().join(name);
        fs::write(&file, format!("the value of {name}, in {} octets", "x".repeat(64))).unwrap();
        let path = format!("/etc/{name}");
        let file = file.to_str().unwrap();
        self.muster(&["secret", "set", name, "--level", level, "--path", &path, "--file", file]);
    }

    pub(crate) fn try_muster(&self, arguments: &[&str]) -> Result<String, String> {
        let output = muster(self.folder.path()).args(arguments).stdin(Stdio::null()).output().unwrap();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    #[track_caller]
    pub(crate) fn muster(&self, arguments: &[&str]) -> String {
        self.try_muster(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        self.try_muster(arguments).err().unwrap_or_else(|| panic!("{arguments:?} is not refused"))
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.muster(&[&["--json"], arguments].concat())).unwrap()
    }

    pub(crate) fn tpm(&self, node: &str) -> Value {
        self.json(&["trust", "tpm", "show", node])
    }

    pub(crate) fn kill(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.daemon = serve(self.folder.path());
    }

    /// Alarms of the journal, one in each line.
    pub(crate) fn alarms(&self) -> String {
        let events = self.muster(&["--json", "events", "--kind", "trust"]);
        events.lines().filter(|line| line.contains("\"alarm\"")).collect::<Vec<_>>().join("\n")
    }

    /// Status and body of a request from this address.
    fn ask(&self, from: Ipv4Addr, method: &str, path: &str, token: &str, body: &str) -> (u16, Vec<u8>) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)).into()).unwrap();
        let mut stream = TcpStream::from(socket);
        let (length, bearer) = (body.len(), if token.is_empty() { "" } else { "Authorization: Bearer " });
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: head\r\nConnection: close\r\n{bearer}{token}{}\
             Content-Length: {length}\r\n\r\n",
            if token.is_empty() { "" } else { "\r\n" }
        );
        stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// What firmware, loader and kernel measure in a boot.
#[derive(Clone)]
pub(crate) struct Measured {
    pub(crate) firmware: [u8; 32],
    pub(crate) initrd: Option<[u8; 32]>,
    /// False: nothing is measured at all.
    pub(crate) any: bool,
}

/// A machine: its TPM, and which of its endorsement keys it shows.
pub(crate) struct Machine {
    pub(crate) tpm: Swtpm,
    ek: Handle,
    /// A machine with another key has another TPM, as far as the head can see.
    pub(crate) address: Ipv4Addr,
    node: u8,
    log: Vec<u8>,
}

/// A boot session of a machine, claimed.
pub(crate) struct Boot {
    grant: Grant,
    private: Zeroizing<[u8; 32]>,
    public: [u8; 32],
    pub(crate) contents: Contents,
    /// The initrds as the machine got them, joined.
    archive: Vec<u8>,
    command_line: String,
}

pub(crate) const EK_RSA: Handle = 0x8101_0001;
pub(crate) const EK_P384: Handle = 0x8101_0016;

impl Machine {
    pub(crate) fn new(node: u8, ek: Handle) -> Machine {
        let (tpm, log) = (Swtpm::start("state"), Vec::new());
        Machine { tpm, ek, address: Ipv4Addr::new(127, 0, 0, 10 + node), node, log }
    }

    pub(crate) fn print(&mut self) -> EkFingerprint {
        EkFingerprint::of(&self.tpm.public(self.ek))
    }

    pub(crate) fn code(&mut self) -> String {
        self.print().code()
    }

    /// Off and on.
    pub(crate) fn reset(self) -> Machine {
        Machine { tpm: self.tpm.cut_power(), log: Vec::new(), ..self }
    }

    /// Asks for its script, its grant, and claims.
    pub(crate) fn boot(&mut self, site: &Site) -> Boot {
        let name = format!("nid00{}", self.node);
        let _ = site.try_muster(&["trust", "revoke", &name]); // what a boot before left open
        site.muster(&["node", "arm", &name]);
        let get = |path: &str| {
            let (status, body) = site.ask(self.address, "GET", path, "", "");
            assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
            body
        };
        let script = format!("/boot/script?mac=02-00-00-00-00-0{}", self.node);
        let script = String::from_utf8(get(&script)).unwrap();
        let url = script.split_whitespace().find(|word| word.contains("/b/"));
        let url = url.unwrap_or_else(|| panic!("{script}"));
        let archive = get(&url[url.find("/b/").unwrap()..]);
        let text = String::from_utf8_lossy(&archive);
        let (start, end) = (text.find("{\"").unwrap(), text.find("\"}\n").unwrap());
        let grant = Grant::parse(text[start..end + 3].as_bytes()).unwrap();
        let (private, public) = make_keys(&mut UnwrapErr(SysRng));
        let line = script.lines().find_map(|line| line.strip_prefix("kernel --name kernel ")).unwrap();
        let line = line.strip_suffix(" || goto retry").unwrap();
        let command_line = format!("kernel {}", line.split_once(' ').unwrap().1);
        let body = json!({
            "session": grant.session.to_string(), "nonce": URL_SAFE_NO_PAD.encode(*grant.nonce),
            "node_pub": STANDARD.encode(public),
        });
        let (status, reply) = site.ask(self.address, "POST", "/node/v1/claim", "", &body.to_string());
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&reply));
        let initrd = get("/images/initrd");
        let mut boot = Boot { grant, private, public, contents: Contents::default(), archive, command_line };
        boot.contents = boot.open(site, self.address, &reply, None);
        boot.archive =
            [initrd.clone(), vec![0; initrd.len().next_multiple_of(4096) - initrd.len()], boot.archive]
                .concat();
        boot
    }

    /// What an honest machine measures of this boot.
    pub(crate) fn honest(&self, boot: &Boot) -> Measured {
        let initrd = initrd_digest(&[&boot.archive]);
        Measured { firmware: [1; 32], initrd: Some(initrd.0), any: true }
    }

    /// Plays firmware, loader and kernel: measures, and writes the log of it.
    pub(crate) fn measure(&mut self, boot: &Boot, measured: &Measured) {
        let mut log = header();
        if measured.any {
            let file = |name: &str| authenticode::digest(&fs::read(lab(name)).unwrap()).unwrap().0;
            let tag = |text: &str| {
                let mut data = 0x8F3B_22EC_u32.to_le_bytes().to_vec();
                data.extend((u32::try_from(text.len()).unwrap() + 1).to_le_bytes());
                data.extend(text.as_bytes());
                data.push(0);
                data
            };
            let action = b"Calling EFI Application from Boot Option".to_vec();
            let mut events = vec![
                (0, 8, measured.firmware, Vec::new()),
                (2, 8, [2; 32], Vec::new()),
                (7, 8, [3; 32], Vec::new()),
                (4, 0x8000_0007, Sha256::digest(&action).into(), action),
                (4, 4, Sha256::digest([0; 4]).into(), vec![0; 4]),
                (4, 0x8000_0003, file("loaders/ipxe-amd64.efi"), Vec::new()),
                (4, 0x8000_0003, file("vmlinuz"), Vec::new()),
                (9, 6, command_line_digest(&boot.command_line).0, tag("LOADED_IMAGE::LoadOptions")),
            ];
            events.extend(measured.initrd.map(|digest| (9, 6, digest, tag("Linux initrd"))));
            for (pcr, kind, digest, data) in events {
                self.tpm.measure(pcr, digest);
                log.extend(u32::from(pcr).to_le_bytes());
                log.extend(u32::to_le_bytes(kind));
                log.extend(1_u32.to_le_bytes());
                log.extend(0x000b_u16.to_le_bytes());
                log.extend(digest);
                log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
                log.extend(data);
            }
        }
        self.log = log;
    }

    /// The two messages of an attestation. What is refused comes with its status and words.
    pub(crate) fn attest(&mut self, site: &Site, boot: &Boot) -> Result<Contents, (u16, String)> {
        let (ek, public) = (self.ek, self.tpm.public(self.ek));
        let (ak, ak_public) = self.tpm.created(&template::ak_p256());
        let attested = self.attest_with(site, boot, (ek, &public), (ak, &ak_public));
        self.tpm.send(&muster::wire::tpm::command::Command::flush(ak));
        attested
    }

    fn attest_with(
        &mut self,
        site: &Site,
        boot: &Boot,
        ek: (Handle, &Public),
        ak: (Handle, &Public),
    ) -> Result<Contents, (u16, String)> {
        let body = json!({
            "ek_pub": STANDARD.encode(ek.1.emit()), "ak_pub": STANDARD.encode(ak.1.emit()),
            "node_pub": STANDARD.encode(boot.public), "tpm": {"vendor": "IBM", "fw": "1.2"},
        });
        let told = self.post(site, boot, "/node/v1/attest/start", &body)?;
        let told: Value = serde_json::from_slice(&told).unwrap();
        let octets = |name: &str| STANDARD.decode(told[name].as_str().unwrap()).unwrap();
        let credential =
            Credential { id_object: octets("id_object"), encrypted_secret: octets("enc_secret") };
        let secret = self.tpm.activate(ak.0, ek, &credential).unwrap();
        let secret: [u8; 32] = secret.try_into().unwrap();
        let id = told["attest_id"].as_str().unwrap();
        let nonce: [u8; 32] = octets("quote_nonce").try_into().unwrap();
        let extra_data = binding::extra_data(&nonce, id, &boot.public);
        let (attest, signature) = self.tpm.quote(ak.0, &extra_data);
        let values: serde_json::Map<String, Value> = self
            .tpm
            .values()
            .into_iter()
            .map(|(pcr, value)| (pcr.to_string(), json!(STANDARD.encode(value))))
            .collect();
        let body = json!({
            "attest_id": id, "proof": STANDARD.encode(binding::proof(&secret, id, &extra_data)),
            "attest": STANDARD.encode(attest), "sig": STANDARD.encode(signature), "pcr_values": values,
            "eventlog": STANDARD.encode(&self.log),
        });
        let reply = self.post(site, boot, "/node/v1/attest/finish", &body)?;
        Ok(boot.open(site, self.address, &reply, Some(Psk { id, secret: &secret })))
    }

    fn post(&self, site: &Site, boot: &Boot, path: &str, body: &Value) -> Result<Vec<u8>, (u16, String)> {
        let (status, reply) = site.ask(self.address, "POST", path, &boot.contents.token, &body.to_string());
        if status == 200 {
            return Ok(reply);
        }
        let told: Value = serde_json::from_slice(&reply).unwrap_or(Value::Null);
        Err((status, told["detail"].as_str().unwrap_or("").to_owned()))
    }
}

impl Boot {
    fn open(&self, site: &Site, from: Ipv4Addr, reply: &[u8], psk: Option<Psk<'_>>) -> Contents {
        let json = |octets: &[u8]| serde_json::from_slice::<Value>(octets).unwrap();
        let anchor = Anchor { root: &self.grant.root, least_epoch: 0, now: None };
        let keyset = site.ask(from, "GET", "/node/v1/keyset", "", "").1;
        let keys = Keyset::open(&json(&keyset), anchor).unwrap();
        let session = self.grant.session.to_string();
        let expected = Expected { session: &session, least_seq: 0 };
        let bundle = Bundle::from_json(&json(reply)).unwrap();
        Contents::parse(&bundle.open(&keys, &self.private, psk, expected).unwrap().1).unwrap()
    }
}

/// Names of what a bundle holds, but for tokens.
pub(crate) fn given(contents: &Contents) -> Vec<&str> {
    let items = contents.choice.items.iter().map(|item| item.id.as_str());
    items.filter(|id| *id != "cloud-init-jwt").collect()
}

/// The first event of a log with one bank, SHA-256 (TCG_EfiSpecIDEvent).
fn header() -> Vec<u8> {
    let mut data = b"Spec ID Event03\0".to_vec();
    data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    data.extend(1_u32.to_le_bytes());
    data.extend([0x0b, 0, 32, 0, 0]);
    let mut log = 0_u32.to_le_bytes().to_vec();
    log.extend(3_u32.to_le_bytes());
    log.extend([0; 20]);
    log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    log.extend(data);
    log
}
