//! The door end to end: the real daemon, asked over HTTPS by real curl and by the command line from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::Duration;

use serde_json::Value;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

struct Head {
    folder: tempfile::TempDir,
    daemon: Child,
    plain: u16,
    secure: u16,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Head {
    fn start() -> Head {
        Head::with(|_| String::new())
    }

    /// With more in the section `[https]`, of what lies in the folder.
    fn with(more: impl FnOnce(&Path) -> String) -> Head {
        let folder = tempfile::tempdir().unwrap();
        let (plain, secure) = (free_port(), free_port());
        let more = more(folder.path());
        let config = format!(
            "[cluster]\nname = \"demo-2\"\ndomain = \"demo.example\"\n[http]\nlisten = [\"127.0.0.1:{plain}\"]\n\
             [https]\nlisten = [\"127.0.0.1:{secure}\"]\n{more}\n[tftp]\nlisten = []\n[dns]\nlisten = []\n\
             [loaders]\ndirectories = []\n[log]\nlevel = \"warn\"\n"
        );
        fs::write(folder.path().join("muster.toml"), config).unwrap();
        let daemon = muster(folder.path()).arg("serve").spawn().unwrap();
        let head = Head { folder, daemon, plain, secure };
        for _ in 0..500 {
            if muster(head.folder.path()).arg("status").output().unwrap().status.success() {
                return head;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the daemon does not answer");
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = muster(self.folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The command line from outside: neither socket nor data directory.
    fn outside(&self, token: &str, cacert: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(MUSTER);
        command.args(["--data-dir", "/nonexistent", "--url", &format!("https://127.0.0.1:{}", self.secure)]);
        command.env("MUSTER_TOKEN", token).env("MUSTER_CACERT", cacert).args(arguments).output().unwrap()
    }

    /// curl's output, by the head's name, with its authority. `{}` in an argument stands for the head's URL.
    fn curl(&self, arguments: &[&str]) -> String {
        let base = format!("https://demo.example:{}", self.secure);
        let resolve = format!("demo.example:{}:127.0.0.1", self.secure);
        let words = arguments.iter().map(|word| word.replace("{}", &base));
        let authority = self.folder.path().join("data/ca.crt");
        let mut command = Command::new("curl");
        command
            .args(["-sS", "--max-time", "20", "--resolve", &resolve, "--cacert"])
            .arg(authority)
            .args(words);
        let output = command.output().unwrap_or_else(|error| panic!("{error}: apt-get install curl"));
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn muster(folder: &Path) -> Command {
    let mut command = Command::new(MUSTER);
    command.arg("--config").arg(folder.join("muster.toml")).arg("--data-dir").arg(folder.join("data"));
    command
}

const CODE: [&str; 4] = ["-o", "/dev/null", "-w", "%{http_code} %{http_version} %{ssl_verify_result}"];

#[test]
fn curl_comes_in_by_name_and_with_a_token() {
    let head = Head::start();
    let code = |more: &[&str]| head.curl(&[&CODE[..], more].concat());
    assert_eq!(code(&["{}/hsm/v2/State/Components"]), "200 1.1 0");
    assert_eq!(code(&["{}/hsm/v2/groups"]), "401 1.1 0");
    assert_eq!(code(&["--tlsv1.2", "--tls-max", "1.2", "{}/boot.ipxe"]), "200 1.1 0");
    assert_eq!(head.curl(&["{}/hsm/v2/groups"]), "no token found");
    for algorithm in ["EdDSA", "RS256"] {
        let token = head.ok(&["token", "issue", "--role", "operator", "--ttl", "10m", "--alg", algorithm]);
        let bearer = format!("Authorization: Bearer {}", token.trim());
        assert_eq!(code(&["-H", &bearer, "{}/hsm/v2/groups"]), "200 1.1 0", "{algorithm}");
        let body = "{\"label\":\"compute\"}";
        let made = code(&["-H", &bearer, "-d", body, "{}/hsm/v2/groups"]);
        assert_eq!(made, if algorithm == "EdDSA" { "201 1.1 0" } else { "409 1.1 0" });
        assert_eq!(code(&["-H", &bearer, "{}/api/v1/tokens"]), "403 1.1 0");
        head.ok(&["token", "revoke", token.trim()]);
        assert_eq!(head.curl(&["-H", &bearer, "{}/hsm/v2/groups"]), "token is revoked");
    }
    // Scripts that come over TLS name the port of plain HTTP.
    assert!(head.curl(&["{}/boot.ipxe"]).contains(&format!(":{}/boot/script", head.plain)));
    let client = head.ok(&["token", "client", "add", "deploy", "--role", "viewer"]);
    let basic = format!("deploy:{}", client.trim());
    let answer = head.curl(&["-u", &basic, "-d", "grant_type=client_credentials", "{}/oauth2/token"]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let bearer = format!("Authorization: Bearer {}", answer["access_token"].as_str().unwrap());
    assert_eq!(code(&["-H", &bearer, "{}/hsm/v2/groups"]), "200 1.1 0");
}

#[test]
fn a_client_that_does_not_know_the_authority_goes_away() {
    let head = Head::start();
    let url = format!("https://127.0.0.1:{}/boot.ipxe", head.secure);
    let output = Command::new("curl").args(["-s", "--max-time", "20", &url]).output().unwrap();
    assert_eq!(output.status.code(), Some(60), "curl's code for a certificate that it cannot check");
    let output = head.outside("", "/etc/hostname", &["status"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("/etc/hostname"), "{output:?}");
}

#[test]
fn the_command_line_works_from_outside_with_a_token() {
    let head = Head::start();
    let root = head.folder.path().join("root.crt");
    fs::write(&root, head.ok(&["ca"])).unwrap();
    let root = root.to_str().unwrap();
    let token = head.ok(&["token", "issue", "--role", "operator", "--subject", "laptop"]);
    let output = head.outside(&token, root, &["group", "set", "gpu"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(head.ok(&["group", "list"]).contains("gpu"));
    assert!(head.ok(&["token", "list"]).contains("laptop"));
    let refused = |token: &str, arguments: &[&str]| {
        let output = head.outside(token, root, arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused("", &["group", "list"]).contains("no token found"));
    assert!(refused("x.y.z", &["group", "list"]).contains("Unauthorized (--token, or MUSTER_TOKEN)"));
    assert!(refused(&token, &["token", "list"]).contains("this needs the role admin"));
    let id = head.ok(&["--json", "token", "list"]);
    let id: Value = serde_json::from_str(&id).unwrap();
    head.ok(&["token", "revoke", id[0]["id"].as_str().unwrap()]);
    assert!(refused(&token, &["group", "list"]).contains("token is revoked"));
}

#[test]
fn the_environment_of_ochami_is_set_by_one_line() {
    let head = Head::start();
    let binary = Path::new(MUSTER).display();
    let folder = head.folder.path().display();
    let script = format!(
        "eval \"$({binary} --config {folder}/muster.toml --data-dir {folder}/data env --ttl 10m)\" && \
         test \"$ACCESS_TOKEN\" = \"$DEMO_2_ACCESS_TOKEN\" && echo $SMD_URL $BSS_URL $CLOUD_INIT_URL $CLOUD_INIT_SECURE_URL && \
         curl -sS --max-time 20 --cacert $CACERT -H \"Authorization: Bearer $DEMO_2_ACCESS_TOKEN\" $SMD_URL/groups"
    );
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let base = format!("https://127.0.0.1:{}", head.secure);
    let urls = format!("{base}/hsm/v2 {base}/boot/v1 {base}/cloud-init {base}/cloud-init-secure\n");
    assert_eq!(text, format!("{urls}[]"));
}

#[test]
fn keys_stay_and_are_closed_across_a_restart() {
    let mut head = Head::start();
    let (token, root) = (head.ok(&["token", "issue", "--role", "viewer"]), head.ok(&["ca"]));
    let data = head.folder.path().join("data");
    for file in fs::read_dir(data.join("keys")).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
    head.daemon.kill().unwrap();
    head.daemon.wait().unwrap();
    head.daemon = muster(head.folder.path()).arg("serve").spawn().unwrap();
    let up = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        muster(head.folder.path()).arg("status").output().unwrap().status.success()
    });
    assert!(up && head.ok(&["ca"]) == root);
    let bearer = format!("Authorization: Bearer {}", token.trim());
    assert_eq!(head.curl(&["-H", &bearer, "{}/hsm/v2/groups"]), "[]");
}

/// A certificate of the site's own for this name, in the files that the configuration names.
fn write_own(folder: &Path, name: &str) {
    let pair = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    fs::write(folder.join("own.crt"), pair.cert.pem()).unwrap();
    fs::write(folder.join("own.key"), pair.signing_key.serialize_pem()).unwrap();
}

#[test]
fn a_certificate_of_the_sites_own_is_read_again_at_sighup_and_a_bad_one_changes_nothing() {
    let head = Head::with(|folder| {
        write_own(folder, "demo.example");
        format!("certificate = {:?}\nkey = {:?}", folder.join("own.crt"), folder.join("own.key"))
    });
    let own = head.folder.path().join("own.crt");
    let kept = head.folder.path().join("kept.crt");
    let believed = |root: &Path| {
        let url = format!("https://demo.example:{}/boot.ipxe", head.secure);
        let resolve = format!("demo.example:{}:127.0.0.1", head.secure);
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "--max-time", "20", "--resolve", &resolve, "--cacert"]);
        curl.arg(root).arg(url).status().unwrap().success()
    };
    let hangup = || {
        let id = head.daemon.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    };
    assert!(believed(&own));
    fs::copy(&own, &kept).unwrap();
    // Half written: the one before goes on.
    fs::write(&own, "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    hangup();
    std::thread::sleep(Duration::from_millis(500));
    assert!(believed(&kept));
    write_own(head.folder.path(), "demo.example");
    assert!(!believed(&own));
    hangup();
    // At once, and not only when the files are looked at the next time, which takes half a minute.
    let taken = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        believed(&own)
    });
    assert!(taken && !believed(&kept));
}

#[test]
fn the_authority_is_replaced_by_one_command_and_nobody_is_locked_out() {
    let head = Head::start();
    let (old, pem) = (head.folder.path().join("old.crt"), head.ok(&["ca"]));
    fs::write(&old, &pem).unwrap();
    let roots = |text: &str| text.matches("BEGIN CERTIFICATE").count();
    let believed = |root: &Path| {
        let url = format!("https://127.0.0.1:{}/boot.ipxe", head.secure);
        let mut curl = Command::new("curl");
        curl.args(["-s", "-o", "/dev/null", "--max-time", "20", "--cacert"]).arg(root).arg(url);
        curl.status().unwrap().success()
    };
    assert!(roots(&pem) == 1 && believed(&old));
    assert_eq!(head.ok(&["ca", "fingerprint"]).lines().count(), 2, "ECDSA and RSA");
    assert!(head.ok(&["key", "rotate", "ca"]).contains("take over at"));
    let both = head.ok(&["ca"]);
    assert!(roots(&both) == 2 && both.starts_with(&pem));
    assert_eq!(head.ok(&["ca", "fingerprint"]).lines().count(), 4);
    assert_eq!(roots(&head.ok(&["ca", "--all"])), 4);
    let new = head.folder.path().join("new.crt");
    fs::write(&new, both.strip_prefix(&pem).unwrap()).unwrap();
    assert!(believed(&old) && !believed(&new), "a day's notice");
    let whole = head.folder.path().join("whole.crt");
    fs::write(&whole, &both).unwrap();
    assert!(head.ok(&["key", "rotate", "ca"]).contains("the new authorities sign"));
    let switched = (0..200).any(|_| {
        assert!(believed(&whole), "who knows both notices nothing");
        std::thread::sleep(Duration::from_millis(50));
        believed(&new)
    });
    assert!(switched && !believed(&old));
    assert_eq!(roots(&head.ok(&["ca"])), 2, "the former one is published for what it signed");
    // The command line finds what it needs in the data directory.
    assert_eq!(roots(&fs::read_to_string(head.folder.path().join("data/ca.crt")).unwrap()), 2);
    assert!(head.ok(&["key", "rotate", "ca", "--end"]).contains("led astray no longer"));
    assert_eq!(roots(&head.ok(&["ca"])), 1);
}

#[test]
fn the_keys_of_the_site_and_of_its_nodes_are_replaced_and_the_audit_log_is_still_believed() {
    let head = Head::start();
    let keys = |path: &str| head.curl(&[&format!("{{}}{path}")]).matches("BEGIN PUBLIC KEY").count();
    head.ok(&["node", "set", "nid001", "--mac", "02:00:00:00:00:01"]);
    head.ok(&["audit", "checkpoint"]);
    assert_eq!(keys("/site.pub"), 1);
    assert!(head.ok(&["key", "rotate", "site"]).contains("takes over at"));
    assert_eq!((keys("/site.pub"), keys("/site.pub?all")), (2, 1));
    assert!(head.ok(&["key", "rotate", "site"]).contains("the new site key signs"));
    assert_eq!((keys("/site.pub"), keys("/site.pub?all")), (2, 2));
    head.ok(&["audit", "checkpoint"]);
    assert!(head.ok(&["audit", "verify"]).contains("are in order"));
    let list = || -> Value { serde_json::from_str(&head.curl(&["{}/node/v1/keyset"])).unwrap() };
    let read = |list: &Value| -> Value {
        let text = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            list["keyset"].as_str().unwrap(),
        );
        serde_json::from_slice(&text.unwrap()).unwrap()
    };
    let before = list();
    assert_eq!(before["also"].as_array().unwrap().len(), 1, "nodes that booted before know the former key");
    assert!(head.ok(&["key", "rotate", "node"]).contains("count for an hour"));
    let (before, after) = (read(&before), read(&list()));
    assert_eq!((before["keys"].as_array().unwrap().len(), after["keys"].as_array().unwrap().len()), (2, 4));
    assert!(after["epoch"].as_u64() > before["epoch"].as_u64());
    assert!(head.ok(&["key", "rotate", "node", "--end"]).contains("must boot again"));
    assert_eq!(read(&list())["keys"].as_array().unwrap().len(), 2);
    assert!(head.ok(&["key", "rotate", "site", "--end"]).contains("must boot again"));
    assert_eq!((keys("/site.pub"), list()["also"].is_null()), (1, true));
    assert!(head.ok(&["audit", "verify"]).contains("are in order"));
}
