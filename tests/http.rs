//! What booting machines fetch, fetched by real curl from the real daemon.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command};
use std::time::Duration;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

struct Head {
    folder: tempfile::TempDir,
    daemon: Child,
    base: String,
}

impl Head {
    /// A head with an image root, a loader, a declared and an ignored node.
    fn start() -> Head {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (images, loaders) = (folder.path().join("images"), folder.path().join("data/loaders"));
        fs::create_dir_all(images.join("sub")).unwrap();
        fs::create_dir_all(&loaders).unwrap();
        let big: Vec<u8> = (0..5_000_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
        fs::write(images.join("sub/root.img"), big).unwrap();
        fs::write(loaders.join("snponly.efi"), b"first loader").unwrap();
        fs::write(folder.path().join("secret"), b"secret").unwrap();
        let config = format!(
            "[http]\nlisten = [\"127.0.0.1:{port}\"]\n[https]\nlisten = []\n[tftp]\nlisten = []\n[dns]\nlisten = []\n[loaders]\ndirectories = []\n\
             [images]\nroot = \"{}\"\n[log]\nlevel = \"warn\"\n",
            images.display()
        );
        fs::write(folder.path().join("muster.toml"), config).unwrap();
        let daemon = muster(folder.path()).arg("serve").spawn().unwrap();
        let head = Head { folder, daemon, base: format!("http://127.0.0.1:{port}") };
        for _ in 0..500 {
            if muster(head.folder.path()).arg("status").output().unwrap().status.success() {
                head.muster(&["node", "set", "nid001", "--mac", "02:00:00:00:00:01"]);
                head.muster(&["node", "set", "nid002", "--mac", "02:00:00:00:00:02", "--policy", "ignore"]);
                head.muster(&["boot", "set", "nid001", "--kernel", "sub/vmlinuz"]);
                return head;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the daemon does not answer");
    }

    fn muster(&self, arguments: &[&str]) {
        let output = muster(self.folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// curl's output; `{}` in an argument stands for the head's address.
    fn curl(&self, arguments: &str) -> String {
        let words = arguments.split(' ').map(|word| word.replace("{}", &self.base));
        let output = Command::new("curl").args(["-s", "--max-time", "20"]).args(words).output();
        let output = output.unwrap_or_else(|error| panic!("{error}: apt-get install curl"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn muster(folder: &std::path::Path) -> Command {
    let mut command = Command::new(MUSTER);
    command.arg("--config").arg(folder.join("muster.toml")).arg("--data-dir").arg(folder.join("data"));
    command
}

const CODE: &str = "-o /dev/null -w %{http_code}";

#[test]
fn machines_get_their_scripts_and_others_are_told_why_not() {
    let head = Head::start();
    assert!(head.curl("{}/boot.ipxe").contains("chain --autofree --replace http://127.0.0.1:"));
    let script = head.curl("{}/boot/script?mac=02-00-00-00-00-01&uuid=&arch=x86_64");
    assert!(
        script.contains("kernel --name kernel http://127.0.0.1:") && script.contains("/images/sub/vmlinuz"),
        "{script}"
    );
    assert!(head.curl("{}//boot//script?mac=02:00:00:00:00:01").starts_with("#!ipxe"), "double slashes");
    assert!(
        head.curl("{}/boot/script?mac=02-00-00-00-00-99").contains("waits; see on the head: muster explain")
    );
    assert!(head.curl("{}/boot/script?mac=02-00-00-00-00-02").contains("the node's policy is ignore"));
    assert_eq!(head.curl(&format!("{CODE} {{}}/boot/script?mac=02-00-00-00-00-02")), "404");
    assert_eq!(head.curl(&format!("{CODE} {{}}/boot/script?mac=nonsense")), "400");
    // A path that nobody declared open is closed, also if there is nothing behind it.
    assert_eq!(head.curl(&format!("{CODE} {{}}/nothing")), "401");
    // Changing anything over TCP takes a token.
    assert_eq!(head.curl(&format!("{CODE} {{}}/api/v1/nodes")), "401");
    assert_eq!(head.curl(&format!("{CODE} -X DELETE {{}}/api/v1/nodes?set=*")), "401");
}

#[test]
fn files_come_whole_in_parts_and_only_from_below_the_root() {
    let head = Head::start();
    let file = head.folder.path().join("got");
    let got = file.display();
    head.curl(&format!("-o {got} {{}}/images/sub/root.img"));
    let want = fs::read(head.folder.path().join("images/sub/root.img")).unwrap();
    assert_eq!(fs::read(&file).unwrap(), want);
    // A download that was cut off goes on.
    fs::write(&file, &want[..1_234_567]).unwrap();
    head.curl(&format!("-C - -o {got} {{}}/images//sub/root.img"));
    assert_eq!(fs::read(&file).unwrap(), want);
    let headers = head.curl("-I {}/images/sub/root.img").to_ascii_lowercase();
    assert!(
        headers.contains("content-length: 5000000") && headers.contains("accept-ranges: bytes"),
        "{headers}"
    );
    let tag = headers.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    assert_eq!(head.curl(&format!("{CODE} -H If-None-Match:{tag} {{}}/images/sub/root.img")), "304");
    assert_eq!(head.curl(&format!("{CODE} -r 5000000- {{}}/images/sub/root.img")), "416");
    assert_eq!(head.curl("-r 0-3 {}/loaders/snponly.efi"), "firs");
    for path in
        ["/images/../secret", "/images/%2e%2e/secret", "/images/sub/../../secret", "/loaders/../../secret"]
    {
        assert!(!head.curl(&format!("--path-as-is {{}}{path}")).contains("secret\n"), "{path}");
        let code = head.curl(&format!("{CODE} --path-as-is {{}}{path}"));
        assert!(["400", "404"].contains(&code.as_str()), "{path}: {code}");
    }
    assert_eq!(head.curl(&format!("{CODE} {{}}/images/sub")), "404", "a directory is no file");
    // HEAD, then GET on the same connection, as UEFI HTTP boot does.
    let connects = head.curl("-o /dev/null -w %{num_connects} -I {}/loaders/snponly.efi --next -s -o /dev/null -w %{num_connects} {}/loaders/snponly.efi");
    assert!(connects.starts_with('1'), "{connects}");
}

#[test]
fn a_loader_that_changes_is_a_new_one_after_a_reload() {
    let head = Head::start();
    let tag = || {
        let headers = head.curl("-I {}/loaders/snponly.efi");
        headers.lines().find(|line| line.to_ascii_lowercase().starts_with("etag")).unwrap().to_owned()
    };
    let first = tag();
    fs::write(head.folder.path().join("data/loaders/snponly.efi"), b"other loader").unwrap();
    Command::new("kill").args(["-HUP", &head.daemon.id().to_string()]).status().unwrap();
    let changed = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        tag() != first
    });
    assert!(changed, "same length, other content, same ETag");
    assert_eq!(head.curl("{}/loaders/sub//snponly.efi"), "other loader");
}

#[test]
fn two_hundred_downloads_at_once_all_arrive() {
    let head = Head::start();
    let url = format!("{}/images/sub/root.img", head.base);
    let command = format!(
        "seq 200 | xargs -P 200 -I@ curl -s --max-time 60 {url} -o /dev/null -w '%{{size_download}}\\n' | sort | uniq -c"
    );
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>(),
        ["200", "5000000"]
    );
}

/// A connection of our own, on which requests are written as they come.
struct Wire(std::net::TcpStream);

impl Wire {
    fn open(head: &Head) -> Wire {
        let address = head.base.trim_start_matches("http://");
        let stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Wire(stream)
    }

    fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    fn get(&mut self, path: &str, fields: &str) {
        self.say(&format!("GET {path} HTTP/1.1\r\nHost: head\r\n{fields}\r\n"));
    }

    /// The next answer: its head, and its body by `Content-Length`.
    fn hear(&mut self, bodiless: bool) -> (String, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut octet = [0];
            self.0.read_exact(&mut octet).unwrap_or_else(|error| panic!("{error} after {}", text(&head)));
            head.push(octet[0]);
        }
        let head = text(&head).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap_or_else(|| panic!("{head}")).parse().unwrap();
        let mut body = vec![0; if bodiless { 0 } else { length }];
        self.0.read_exact(&mut body).unwrap();
        (head, body)
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn one_connection_carries_scripts_and_files_in_any_order() {
    let head = Head::start();
    let root = fs::read(head.folder.path().join("images/sub/root.img")).unwrap();
    let mut wire = Wire::open(&head);
    for _ in 0..3 {
        wire.get("/boot/script?mac=02-00-00-00-00-01", "");
        assert!(text(&wire.hear(false).1).starts_with("#!ipxe"));
        wire.get("/images/sub/root.img", "");
        let (said, body) = wire.hear(false);
        assert!(said.starts_with("http/1.1 200") && said.contains("\r\ndate: "), "{said}");
        assert!(body == root);
        wire.get("/images/sub/none", "");
        assert!(wire.hear(false).0.starts_with("http/1.1 404"));
        wire.say("HEAD /images/sub/root.img HTTP/1.1\r\nHost: head\r\n\r\n");
        assert!(wire.hear(true).0.contains("content-length: 5000000"));
        wire.get("/images/sub/root.img", "Range: bytes=10-19\r\n");
        let (said, body) = wire.hear(false);
        assert!(said.contains("content-range: bytes 10-19/5000000"), "{said}");
        assert_eq!(body, &root[10..20]);
        // Several ranges at once may be answered with the whole (RFC 9110 section 14.2).
        wire.get("/images/sub/root.img", "Range: bytes=0-1,5-6\r\n");
        let (said, body) = wire.hear(false);
        assert!(said.starts_with("http/1.1 200") && body.len() == root.len(), "{said}");
        wire.get("/images/sub/root.img", "Range: bytes=5000000-\r\n");
        assert!(wire.hear(false).0.starts_with("http/1.1 416"));
    }
    // Asked before the answer came, in one segment: answered in their order.
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: head\r\n\r\n");
    let three =
        ["/images/sub/root.img", "/boot.ipxe", "/images/sub/root.img", "/boot.ipxe"].map(ask).concat();
    wire.say(&three);
    for want in [5_000_000, 0, 5_000_000, 0] {
        let (said, body) = wire.hear(false);
        assert!(said.starts_with("http/1.1 200"), "{said}");
        assert!(if want == 0 { body.starts_with(b"#!ipxe") } else { body.len() == want });
    }
    // A head that comes in pieces.
    for piece in ["GET /im", "ages/sub/root.img HTTP/1.1\r\nHo", "st: head\r\nRange: bytes=0-0\r\n\r", "\n"] {
        wire.say(piece);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(wire.hear(false).1, root[..1]);
    wire.get("/images/sub/root.img", "Connection: close\r\nRange: bytes=0-0\r\n");
    wire.hear(false);
    assert_eq!(wire.0.read(&mut [0]).unwrap(), 0, "it was asked to close");
}

#[test]
fn a_thousand_clients_that_vanish_leave_nothing_behind() {
    let head = Head::start();
    let open = || fs::read_dir(format!("/proc/{}/fd", head.daemon.id())).unwrap().count();
    let before = open();
    for _ in 0..10 {
        let wires: Vec<Wire> = (0..100)
            .map(|_| {
                let mut wire = Wire::open(&head);
                wire.get("/images/sub/root.img", "");
                wire
            })
            .collect();
        drop(wires); // without reading: the kernel resets them
    }
    let settled = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        open() <= before + 4
    });
    assert!(settled, "{} descriptors, {before} before", open());
    let output = muster(head.folder.path()).args(["--json", "image", "traffic"]).output().unwrap();
    let traffic: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(traffic[0]["running"], 0, "{traffic}");
    assert_eq!(traffic[0]["done"].as_u64().unwrap() + traffic[0]["broken"].as_u64().unwrap(), 1000);
    assert_eq!(head.curl(&format!("{CODE} {{}}/images/sub/root.img")), "200");
}

/// A site may put a proxy before the head that carries many clients' requests over one connection.
#[test]
fn the_body_of_a_refused_request_is_never_taken_for_a_request() {
    let head = Head::start();
    let inner = "GET /images/sub/root.img HTTP/1.1\r\nHost: head\r\n\r\n";
    let posts = [
        format!("POST /api/v1/nodes HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", inner.len()),
        // A head that is longer than any, whose end looks like a request.
        format!("GET /boot.ipxe HTTP/1.1\r\nHost: head\r\nX: {}", "y".repeat(16 << 10)),
    ];
    for post in posts {
        let mut wire = Wire::open(&head);
        wire.say(&post);
        let refused = post.starts_with("POST");
        if refused {
            assert!(wire.hear(false).0.starts_with("http/1.1 401"));
        }
        std::thread::sleep(Duration::from_millis(100));
        wire.say(inner);
        let mut rest = Vec::new();
        wire.0.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let _ = wire.0.read_to_end(&mut rest); // closed, reset, or silent: whatever hyper makes of it
        assert!(!text(&rest).contains("5000000"), "{refused}: the file was sent");
    }
    // A request that has its body is answered, and files after it too.
    let mut wire = Wire::open(&head);
    wire.say("POST /nothing HTTP/1.1\r\nHost: head\r\nContent-Length: 2\r\n\r\n{}");
    wire.hear(false);
    wire.get("/images/sub/root.img", "Range: bytes=1-2\r\n");
    assert_eq!(wire.hear(false).1.len(), 2);
}
