//! A daemon of its own for each test, and the real binary to ask it with.
#![allow(unreachable_pub, reason = "the test files of one binary share it")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

pub const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

pub const NODES: &str = "nodes:
- {name: nid001, nid: 1, groups: [compute], interfaces: [{mac_addr: '02:00:00:00:00:01', ip_addrs: [{ip_addr: 192.0.2.1}]}]}
- {name: nid002, nid: 2, groups: [compute], interfaces: [{mac_addr: '02:00:00:00:00:02', ip_addrs: [{ip_addr: 192.0.2.2}]}]}
- {name: login, interfaces: [{mac_addr: '02:00:00:00:00:03', ip_addrs: [{ip_addr: 192.0.2.3}]}]}
";

/// A head without networks: no DHCP, HTTP on a port of its own, nothing else.
pub struct Head {
    pub folder: tempfile::TempDir,
    daemon: Child,
    pub config: PathBuf,
}

impl Head {
    pub fn start() -> Head {
        Head::configured("[http]\nlisten = [\"127.0.0.1:0\"]\n")
    }

    /// A head that answers everybody on this host at the URL that comes with it.
    pub fn open() -> (Head, String) {
        // A port that was free a moment ago: the daemon's own is not told.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let http = format!("[auth]\nmode = \"off\"\n[http]\nlisten = [\"127.0.0.1:{port}\"]\n");
        (Head::configured(&http), format!("http://127.0.0.1:{port}"))
    }

    /// A head with this much of a configuration.
    pub fn configured(http: &str) -> Head {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("muster.toml");
        let quiet =
            "[https]\nlisten = []\n[tftp]\nlisten = []\n[dns]\nlisten = []\n[log]\nlevel = \"error\"\n";
        fs::write(&config, format!("{http}{quiet}")).unwrap();
        let daemon = command(&config, folder.path()).arg("serve").spawn().unwrap();
        let head = Head { folder, daemon, config };
        head.wait();
        head
    }

    /// Until the daemon answers.
    fn wait(&self) {
        for _ in 0..500 {
            if self.run(&["group", "list"]).status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the daemon does not answer");
    }

    /// Ends the daemon without warning and starts it again on its files.
    pub fn restart(&mut self) {
        self.stop();
        self.daemon = command(&self.config, self.folder.path()).arg("serve").spawn().unwrap();
        self.wait();
    }

    /// Ends the daemon; its files stay.
    pub fn stop(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        command(&self.config, self.folder.path()).args(arguments).output().unwrap()
    }

    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[&["--json"], arguments].concat())).unwrap()
    }

    /// What a refused command prints.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    pub fn import(&self, text: &str, options: &[&str]) -> Output {
        let mut child = command(&self.config, self.folder.path())
            .args(["import", "-"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

pub fn command(config: &Path, data: &Path) -> Command {
    let mut command = Command::new(MUSTER);
    command.arg("--config").arg(config).arg("--data-dir").arg(data.join("data"));
    command
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}
