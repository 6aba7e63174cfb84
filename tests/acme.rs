//! A certificate from an outside authority: the real daemon and Pebble, the ACME server against which Let's Encrypt
//! tests clients.
#![allow(clippy::disallowed_methods, reason = "a test that waits for a server needs a clock")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(command: &mut Command) -> Running {
    let command = command.stdout(Stdio::null()).stdin(Stdio::null());
    Running(command.spawn().unwrap_or_else(|error| panic!("{error}: apt-get install pebble")))
}

/// Waits until this gives something.
#[track_caller]
fn wait<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(120) {
        if let Some(found) = find() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what} did not come");
}

/// The authority, which believes that every name is this machine's.
struct Pebble {
    _dns: Running,
    _pebble: Running,
    directory: String,
    management: u16,
    /// The root of its own HTTPS.
    root: PathBuf,
}

impl Pebble {
    /// `port`: where it looks for answers to its challenges, instead of 80.
    fn start(folder: &Path, port: u16) -> Pebble {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let (root, private) = (folder.join("pebble.crt"), folder.join("pebble.key"));
        fs::write(&root, params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(&private, key.serialize_pem()).unwrap();
        let [dns, control, listen, management] = [(); 4].map(|()| free_port());
        let config = format!(
            "{{\"pebble\":{{\"listenAddress\":\"127.0.0.1:{listen}\",\"managementListenAddress\":\"127.0.0.1:{management}\",\
             \"certificate\":{root:?},\"privateKey\":{private:?},\"httpPort\":{port},\"tlsPort\":1}}}}"
        );
        fs::write(folder.join("pebble.json"), config).unwrap();
        let mut server = Command::new("pebble-challtestsrv");
        server.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", ""]);
        server.args(["-tlsalpn01", "", "-dns01", &format!("127.0.0.1:{dns}")]);
        let dns_server = run(server.args(["-management", &format!("127.0.0.1:{control}")]));
        let mut pebble = Command::new("pebble");
        pebble.env("PEBBLE_VA_NOSLEEP", "1").arg("-config").arg(folder.join("pebble.json"));
        let pebble = run(pebble.args(["-dnsserver", &format!("127.0.0.1:{dns}")]));
        let directory = format!("https://localhost:{listen}/dir");
        Pebble { _dns: dns_server, _pebble: pebble, directory, management, root }
    }

    /// The root of what it certifies; also waits until it is up.
    fn issuer(&self, folder: &Path) -> PathBuf {
        let url = format!("https://localhost:{}/roots/0", self.management);
        let pem = wait("pebble", || {
            let mut curl = Command::new("curl");
            let output = curl.args(["-s", "--cacert"]).arg(&self.root).arg(&url).output().unwrap();
            output.status.success().then_some(output.stdout)
        });
        let path = folder.join("issuer.crt");
        fs::write(&path, pem).unwrap();
        path
    }
}

struct Head {
    folder: PathBuf,
    plain: u16,
    secure: u16,
    daemon: Running,
}

impl Head {
    fn start(folder: &Path, plain: u16, acme: &str) -> Head {
        let secure = free_port();
        let config = format!(
            "[cluster]\nname = \"demo\"\ndomain = \"demo.example\"\n[http]\nlisten = [\"127.0.0.1:{plain}\"]\n\
             [https]\nlisten = [\"127.0.0.1:{secure}\"]\n{acme}\n[egress]\nallow = [\"127.0.0.0/8\", \"::1/128\"]\n\
             [tftp]\nlisten = []\n[dns]\nlisten = []\n[loaders]\ndirectories = []\n[log]\nlevel = \"warn\"\n"
        );
        fs::write(folder.join("muster.toml"), config).unwrap();
        let head = Head { folder: folder.to_owned(), plain, secure, daemon: run(&mut serve(folder)) };
        head.wait();
        head
    }

    fn wait(&self) {
        // Opened last of all.
        wait("the daemon", || UnixStream::connect(self.folder.join("data/muster.sock")).ok());
    }

    fn restart(&mut self) {
        let _ = self.daemon.0.kill();
        let _ = self.daemon.0.wait();
        self.daemon = run(&mut serve(&self.folder));
        self.wait();
    }

    /// Asks over TLS by this name, trusting this root. None: not believed.
    fn curl(&self, root: &Path, name: &str) -> Option<String> {
        let url = format!("https://{name}:{}/boot.ipxe", self.secure);
        let resolve = format!("{name}:{}:127.0.0.1", self.secure);
        let mut curl = Command::new("curl");
        let output =
            curl.args(["-sS", "--resolve", &resolve, "--cacert"]).arg(root).arg(url).output().unwrap();
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// The status of an answer over plain HTTP.
    fn code(&self, path: &str) -> Option<String> {
        let url = format!("http://127.0.0.1:{}{path}", self.plain);
        let mut curl = Command::new("curl");
        let output = curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }
}

fn serve(folder: &Path) -> Command {
    let mut command = Command::new(MUSTER);
    command.arg("--config").arg(folder.join("muster.toml")).arg("--data-dir").arg(folder.join("data"));
    command.arg("serve");
    command
}

#[test]
fn a_certificate_comes_from_outside_and_stays_over_a_restart_without_the_authority() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let plain = free_port();
    let pebble = Pebble::start(folder, plain);
    let issuer = pebble.issuer(folder);
    let acme = format!(
        "[https.acme]\ndirectory = {:?}\nnames = [\"head.demo.example\", \"other.demo.example\"]\n\
         contact = [\"mailto:admin@demo.example\"]\nca = {:?}",
        pebble.directory, pebble.root
    );
    let mut head = Head::start(folder, plain, &acme);
    wait("the certificate", || head.curl(&issuer, "head.demo.example"));
    assert!(head.curl(&issuer, "other.demo.example").is_some());
    assert!(head.curl(&issuer, "demo.example").is_none(), "a name that was not ordered");
    // What is no challenge under way is not there, and the routes behind are.
    assert_eq!(head.code("/.well-known/acme-challenge/unknown").unwrap(), "404");
    assert_eq!(head.code("/boot.ipxe").unwrap(), "200");
    // Account and certificate lie sealed.
    for file in ["acme-account", "acme-certificate"] {
        let octets = fs::read(folder.join(format!("data/keys/{file}.sealed"))).unwrap();
        for clear in [&b"PRIVATE"[..], b"BEGIN", b"key_pkcs8", b"localhost"] {
            assert!(!octets.windows(clear.len()).any(|part| part == clear), "{file}");
        }
    }
    drop(pebble);
    head.restart();
    assert!(head.curl(&issuer, "head.demo.example").is_some());
}

#[test]
fn while_no_authority_answers_the_heads_own_stands_in() {
    let folder = tempfile::tempdir().unwrap();
    let acme = format!(
        "[https.acme]\ndirectory = \"https://localhost:{}/dir\"\nnames = [\"head.demo.example\"]",
        free_port()
    );
    let head = Head::start(folder.path(), free_port(), &acme);
    let own = folder.path().join("data/ca.crt");
    assert!(head.curl(&own, "demo.example").is_some());
    assert_eq!(head.code("/.well-known/acme-challenge/x").unwrap(), "404");
}
