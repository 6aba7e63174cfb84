//! What booting machines fetch, fetched by real curl from the real daemon.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
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
