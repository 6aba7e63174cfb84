//! The first visit (T49): the real daemon, which serves nobody until it has an owner, and everybody from then on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");
const PASSWORD: &str = "correct horse battery";

struct Head {
    folder: tempfile::TempDir,
    daemon: Child,
    plain: u16,
    tftp: u16,
    dns: u16,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn muster(folder: &Path) -> Command {
    let mut command = Command::new(MUSTER);
    command.arg("--config").arg(folder.join("muster.toml")).arg("--data-dir").arg(folder.join("data"));
    command.env_remove("MUSTER_TOKEN").env_remove("MUSTER_CACERT");
    command
}

impl Head {
    fn start() -> Head {
        let folder = tempfile::tempdir().unwrap();
        let (plain, tftp, dns) = (free_port(), free_port(), free_port());
        let config = format!(
            "[auth]\nclaim = \"required\"\n[http]\nlisten = [\"127.0.0.1:{plain}\"]\n[https]\nlisten = []\n\
             [tftp]\nlisten = [\"127.0.0.1:{tftp}\"]\n[dns]\nlisten = [\"127.0.0.1:{dns}\"]\n\
             [loaders]\ndirectories = []\n[log]\nlevel = \"warn\"\n"
        );
        fs::write(folder.path().join("muster.toml"), config).unwrap();
        let daemon = muster(folder.path()).arg("serve").spawn().unwrap();
        let head = Head { folder, daemon, plain, tftp, dns };
        head.wait();
        head
    }

    fn wait(&self) {
        for _ in 0..500 {
            if muster(self.folder.path()).arg("status").output().unwrap().status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the daemon does not answer");
    }

    /// Status and body of an answer over plain HTTP.
    fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.plain)).unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        (answer[9..12].parse().unwrap(), answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    fn claim_by_code(&self, code: &str) -> (u16, String) {
        let body = format!(r#"{{"code":"{code}","name":"alice","password":"{PASSWORD}"}}"#);
        self.http("POST", "/api/v1/claim", &body)
    }

    fn claim_here(&self, name: &str) -> Output {
        let mut child = muster(self.folder.path())
            .args(["claim", "--name", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn code(&self) -> String {
        fs::read_to_string(self.folder.path().join("data/claim")).unwrap()
    }

    /// True if something answers a datagram sent to this port.
    fn answers(&self, port: u16, message: &[u8]) -> bool {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        socket.send_to(message, ("127.0.0.1", port)).unwrap();
        socket.recv_from(&mut [0; 1500]).is_ok()
    }

    /// What boots machines: TFTP, DNS.
    fn protocols(&self) -> [bool; 2] {
        let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01x\x07invalid\0\0\x01\0\x01";
        [self.answers(self.tftp, b"\0\x01autoexec.ipxe\0octet\0"), self.answers(self.dns, question)]
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn a_head_without_an_owner_serves_nobody_until_it_is_claimed_by_its_code() {
    let head = Head::start();
    assert_eq!(head.protocols(), [false, false]);
    for path in
        ["/boot.ipxe", "/boot/script", "/api/v1/nodes", "/token", "/hsm/v2/State/Components", "/images/x"]
    {
        let (status, text) = head.http("GET", path, "");
        assert!(status == 503 && text.contains("muster claim"), "{path}: {status} {text}");
    }
    assert_eq!(head.http("GET", "/ca.pem", "").0, 200);
    assert!(head.http("GET", "/ca.sha256", "").1.starts_with(|c: char| c.is_ascii_hexdigit()));
    let path = head.folder.path().join("data/claim");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    let first = head.code();
    for index in 1..=10 {
        let (status, text) = head.claim_by_code("wrong");
        assert_eq!(status, 403, "{text}");
        assert_eq!(text.contains("a new one"), index == 10, "{index}: {text}");
    }
    let second = head.code();
    assert_ne!(first, second, "ten wrong codes make a new one");
    assert_eq!(head.claim_by_code(&first).0, 403);
    let (status, text) = head.claim_by_code(&second.to_uppercase());
    assert!(status == 201 && text.contains("ca_sha256"), "{status} {text}");
    // It starts again, as a head with an owner.
    std::thread::sleep(Duration::from_millis(500));
    head.wait();
    assert_eq!(head.protocols(), [true, true]);
    assert_eq!(head.http("GET", "/boot.ipxe", "").0, 200);
    assert_eq!(head.http("GET", "/api/v1/nodes", "").0, 401);
    assert!(!path.exists());
    assert_eq!(head.claim_by_code(&second).0, 409);
    let again = head.claim_here("bob");
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("claimed"), "{again:?}");
}

#[test]
fn over_the_unix_socket_a_head_is_claimed_without_a_code() {
    let head = Head::start();
    let claimed = head.claim_here("alice");
    let text = String::from_utf8_lossy(&claimed.stdout).into_owned();
    assert!(claimed.status.success() && text.contains("alice is its first administrator"), "{claimed:?}");
    std::thread::sleep(Duration::from_millis(500));
    head.wait();
    assert_eq!(head.protocols(), [true, true]);
    let users = muster(head.folder.path()).args(["user", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&users.stdout).contains("alice  admin"), "{users:?}");
    let verified = muster(head.folder.path()).args(["audit", "verify"]).output().unwrap();
    let text = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success() && text.contains("are in order"), "{verified:?}");
    let listed = muster(head.folder.path()).args(["audit", "list"]).output().unwrap();
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("POST /api/v1/claim") && !text.contains(PASSWORD), "{text}");
}
