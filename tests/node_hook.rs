//! What a node's initramfs does with the root of an image (`image/node`): under both shells that initramfs have,
//! against a server that breaks off, is busy, and lies.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::Digest as _;

/// How one request is answered.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Good,
    /// The connection ends after so many octets of the body.
    Cut(usize),
    Busy,
    /// Whole, but not what it should be.
    Altered,
    /// Knows no ranges.
    Plain,
}

struct Server {
    base: String,
    /// Ranges that were asked for the root.
    asked: Arc<Mutex<Vec<String>>>,
}

fn root() -> Vec<u8> {
    (0..3_000_000_u32).map(|n| u8::try_from(n % 249).unwrap()).collect()
}

fn hex(octets: &[u8]) -> String {
    sha2::Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
}

impl Server {
    /// Serves the root in these moods, one for each request, then the last for ever; and texts by their paths.
    fn start(moods: &[Mood], texts: Vec<(String, String)>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (asked, mut moods) = (Arc::new(Mutex::new(Vec::new())), VecDeque::from(moods.to_vec()));
        let heard = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mood = answer(stream.unwrap(), &moods, &texts, &heard);
                if mood && moods.len() > 1 {
                    moods.pop_front();
                }
            }
        });
        Server { base, asked }
    }
}

/// Answers one request; true if it was for the root.
fn answer(
    mut stream: TcpStream,
    moods: &VecDeque<Mood>,
    texts: &[(String, String)],
    asked: &Mutex<Vec<String>>,
) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        if stream.read_exact(&mut octet).is_err() {
            return false;
        }
        head.push(octet[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap();
    if path != "/root.squashfs" {
        let text = texts.iter().find(|(known, _)| known == path).map(|(_, text)| text.as_str());
        let (status, text) = text.map_or(("404 Not Found", ""), |text| ("200 OK", text));
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        return false;
    }
    let plain = matches!(moods.front(), Some(Mood::Plain));
    let range = head.lines().find_map(|line| line.strip_prefix("Range: bytes=")).filter(|_| !plain);
    let first: usize = range.map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
    asked.lock().unwrap().push(range.unwrap_or("whole").to_owned());
    let mut body = root();
    let keep = match moods.front().unwrap() {
        Mood::Busy => {
            let _ = stream.write_all(
                b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
            );
            return true;
        }
        Mood::Good | Mood::Plain => usize::MAX,
        Mood::Cut(count) => *count,
        Mood::Altered => {
            body[1_234_567] ^= 1;
            usize::MAX
        }
    };
    let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
    let part = &body[first..];
    let (last, size) = (body.len() - 1, body.len());
    let place = range.map_or_else(String::new, |_| format!("Content-Range: bytes {first}-{last}/{size}\r\n"));
    let _ = write!(stream, "HTTP/1.1 {status}\r\n{place}Content-Length: {}\r\n\r\n", part.len());
    let _ = stream.write_all(&part[..keep.min(part.len())]); // the client may be gone
    true
}

struct Node {
    folder: tempfile::TempDir,
    shell: &'static [&'static str],
}

impl Node {
    fn new(shell: &'static [&'static str]) -> Node {
        Node { folder: tempfile::tempdir().unwrap(), shell }
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("site.pub")
    }

    /// Runs what the initramfs runs, with this kernel line.
    fn boot(&self, line: &str) -> Output {
        let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("image/node/muster-fetch.sh");
        let script = format!(". {}; muster_root", library.display());
        Command::new(self.shell[0])
            .args(&self.shell[1..])
            .args(["-c", &script])
            .env("MUSTER_CMDLINE", line)
            .env("MUSTER_DIR", self.folder.path().join("run"))
            .env("MUSTER_KEY", self.key())
            .env("MUSTER_CONSOLE", "/dev/stderr")
            .env("MUSTER_TMPFS", "no") // no machine of its own
            .env("MUSTER_PAUSE", "0")
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}: apt-get install dash busybox curl", self.shell[0]))
    }

    #[track_caller]
    fn has_the_root(&self, output: &Output) {
        assert!(output.status.success(), "{}", said(output));
        assert!(fs::read(self.folder.path().join("run/hold/root")).unwrap() == root());
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

const SHELLS: [&[&str]; 2] = [&["dash"], &["busybox", "sh"]];

fn line(server: &Server, more: &str) -> String {
    let (digest, size) = (hex(&root()), root().len());
    format!(
        "quiet root=muster muster.root={}/root.squashfs muster.sha256={digest} muster.size={size} {more}",
        server.base
    )
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    for shell in SHELLS {
        let server =
            Server::start(&[Mood::Cut(1_000_000), Mood::Busy, Mood::Cut(500_000), Mood::Good], Vec::new());
        let node = Node::new(shell);
        let output = node.boot(&line(&server, ""));
        node.has_the_root(&output);
        assert_eq!(*server.asked.lock().unwrap(), ["whole", "1000000-", "1000000-", "1500000-"]);
        assert!(
            said(&output).contains("the download stands at 1000000 of 3000000 bytes"),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn a_server_without_ranges_is_asked_for_the_whole_again() {
    let server = Server::start(&[Mood::Cut(1_000_000), Mood::Plain], Vec::new());
    let node = Node::new(SHELLS[0]);
    node.has_the_root(&node.boot(&line(&server, "")));
    assert_eq!(*server.asked.lock().unwrap(), ["whole", "whole", "whole"]);
}

#[test]
fn an_altered_root_is_fetched_again_and_never_booted() {
    for shell in SHELLS {
        let node = Node::new(shell);
        let once = Server::start(&[Mood::Altered, Mood::Good], Vec::new());
        let output = node.boot(&line(&once, ""));
        node.has_the_root(&output);
        assert!(said(&output).contains("WRONG: "), "{}", said(&output));
        let always = Server::start(&[Mood::Altered], Vec::new());
        let node = Node::new(shell);
        let output = node.boot(&line(&always, ""));
        assert!(!output.status.success());
        assert!(said(&output).contains("REFUSED: an altered root is not booted"), "{}", said(&output));
        assert_eq!(always.asked.lock().unwrap().len(), 3);
        assert!(!node.folder.path().join("run/hold/root").exists());
    }
}

#[test]
fn a_kernel_line_that_does_not_say_what_the_root_must_be_is_refused() {
    let server = Server::start(&[Mood::Good], Vec::new());
    let good = line(&server, "");
    let digest = hex(&root());
    for shell in SHELLS {
        for bad in [
            good.replace("muster.sha256=", "other="),
            good.replace("muster.size=3000000", "muster.size=many"),
            good.replace(&digest, &digest[1..]),
            good.replace(&digest, &format!("x{}", &digest[1..])),
            "root=muster".to_owned(),
        ] {
            let output = Node::new(shell).boot(&bad);
            assert!(
                !output.status.success() && said(&output).contains("REFUSED"),
                "{bad}: {}",
                said(&output)
            );
        }
    }
    assert!(server.asked.lock().unwrap().is_empty(), "nothing is fetched before it is known what it must be");
}

#[test]
fn with_the_sites_key_only_a_signed_root_is_booted() {
    let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let manifest =
        |digest: &str| format!("muster-manifest 1\nimage compute\nroot sha256:{digest} 3000000 squashfs\n");
    let sign = |key: &SigningKey, text: &str| {
        use base64::Engine as _;
        let signature = key.sign(text.as_bytes()).to_bytes();
        format!("{}\n", base64::engine::general_purpose::STANDARD.encode(signature))
    };
    let good = manifest(&hex(&root()));
    let wrong = manifest(&hex(b"another root"));
    // As the head gives it while it replaces its key: two in one file.
    let next = SigningKey::from_bytes(&[3; 32]);
    let pem = |key: &SigningKey| key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    let keys = pem(&key) + pem(&next).trim_end();
    for shell in SHELLS {
        for (text, signature, refusal) in [
            (good.clone(), sign(&key, &good), None),
            (good.clone(), sign(&next, &good), None),
            (good.clone(), sign(&other, &good), Some("is not signed with")),
            (format!("{good}label a=b\n"), sign(&key, &good), Some("is not signed with")),
            (wrong.clone(), sign(&key, &wrong), Some("names another root")),
            (good.clone(), "nonsense".to_owned(), Some("is not signed with")),
        ] {
            let version = hex(text.as_bytes());
            let (at, sig) = (
                format!("/images/compute/{version}/manifest"),
                format!("/images/compute/{version}/manifest.sig"),
            );
            let server = Server::start(&[Mood::Good], vec![(at.clone(), text), (sig, signature)]);
            let node = Node::new(shell);
            fs::write(node.key(), &keys).unwrap();
            let output = node.boot(&line(&server, &format!("muster.manifest={}{at}", server.base)));
            match refusal {
                None => node.has_the_root(&output),
                Some(why) => {
                    assert!(!output.status.success() && said(&output).contains(why), "{}", said(&output));
                    assert!(server.asked.lock().unwrap().is_empty(), "refused before it is fetched");
                }
            }
        }
        let server = Server::start(&[Mood::Good], Vec::new());
        let node = Node::new(shell);
        fs::write(node.key(), pem(&key)).unwrap();
        let output = node.boot(&line(&server, ""));
        assert!(!output.status.success() && said(&output).contains("wants a manifest"), "{}", said(&output));
    }
}

#[test]
fn the_scripts_are_clean() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("image/node");
    for (shell, file) in [
        ("sh", "muster-fetch.sh"),
        ("sh", "dracut/90muster/parse-muster.sh"),
        ("sh", "dracut/90muster/online-muster.sh"),
        ("sh", "dracut/90muster/layers-muster.sh"),
        ("sh", "dracut/90muster/mount-muster.sh"),
        ("sh", "dracut/90muster/muster-generator.sh"),
        ("bash", "dracut/90muster/module-setup.sh"),
        ("sh", "dracut/91muster-node/network-muster-node.sh"),
        ("sh", "dracut/91muster-node/secrets-muster.sh"),
        ("bash", "dracut/91muster-node/module-setup.sh"),
        ("sh", "muster-curl.sh"),
        ("sh", "initramfs-tools/hooks/muster"),
        ("sh", "initramfs-tools/hooks/muster-node"),
        ("sh", "initramfs-tools/scripts/muster-node"),
        ("dash", "initramfs-tools/scripts/muster"),
    ] {
        let output = Command::new("shellcheck")
            .args(["--severity=warning", "-s", shell])
            .arg(folder.join(file))
            .output()
            .unwrap_or_else(|error| panic!("{error}: apt-get install shellcheck"));
        assert!(output.status.success(), "{file}: {}", said(&output));
    }
}
