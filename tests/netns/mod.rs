//! Two network namespaces with a wire between them: a head that runs the real daemon, and a place for clients.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The daemon under test.
pub const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// Where the head is on the wire.
pub const HEAD: &str = "192.0.2.254";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The namespaces and a work folder. Dropping it ends every process inside by its pid and removes all.
pub struct Lab {
    pub head: String,
    pub client: String,
    pub folder: tempfile::TempDir,
    daemon: Option<Child>,
}

/// True if tests with namespaces are switched off on purpose; says so.
pub fn is_skipped() -> bool {
    let skipped = std::env::var_os("MUSTER_SKIP_NAMESPACE").is_some();
    if skipped {
        eprintln!("SKIPPED: MUSTER_SKIP_NAMESPACE is set; network namespaces are not tested");
    }
    skipped
}

pub fn sh(command: &str) -> Output {
    Command::new("sh").args(["-c", command]).output().expect("a shell is there")
}

fn must(command: &str) {
    let output = sh(command);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command}: {error}\nThese tests make network namespaces: run them as root with iproute2, \
         or set MUSTER_SKIP_NAMESPACE=1"
    );
}

/// Fails with the package's name if a program is missing.
pub fn need(program: &str, package: &str) {
    assert!(
        sh(&format!("command -v {program}")).status.success(),
        "{program} is missing: apt-get install {package}"
    );
}

impl Lab {
    pub fn new() -> Lab {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let head = format!("mt{}-{number}h", std::process::id());
        let client = format!("mt{}-{number}c", std::process::id());
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab { head, client, folder, daemon: None };
        let (h, c) = (&lab.head, &lab.client);
        must(&format!(
            "ip netns add {h} && ip netns add {c} && mkdir -p /etc/netns/{c} && : > /etc/netns/{c}/resolv.conf"
        ));
        must(&format!("ip -n {h} link set lo up && ip -n {c} link set lo up"));
        lab.plug();
        lab
    }

    /// Puts the wire in: `eth0` in both namespaces.
    pub fn plug(&self) {
        let (h, c) = (&self.head, &self.client);
        must(&format!(
            "ip -n {h} link add eth0 type veth peer name eth0 netns {c} && ip -n {h} link set eth0 up && \
             ip -n {c} link set eth0 address 02:00:00:00:00:01 up"
        ));
    }

    /// Pulls it out.
    pub fn unplug(&self) {
        must(&format!("ip -n {} link del eth0", self.head));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One authoritative network on `eth0`; `more` goes into its block.
    pub fn configure(&self, more: &str) {
        let text = format!(
            "[cluster]\ndomain = \"lab.example\"\n[http]\nlisten = [\"{HEAD}:8081\"]\n[https]\nlisten = []\n\
             [tftp]\nlisten = [\"{HEAD}:69\"]\n[dns]\nlisten = [\"{HEAD}:53\"]\n[log]\nlevel = \"debug\"\n\
             [[network]]\nname = \"boot\"\ninterface = \"eth0\"\naddress = \"{HEAD}/24\"\nmanage = true\n{more}\n"
        );
        fs::write(self.path("muster.toml"), text).unwrap();
    }

    /// Starts the daemon and waits until it answers.
    pub fn serve(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let child = self
            .muster_in_head(&["serve"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("ip netns exec starts the daemon");
        self.daemon = Some(child);
        let answered = wait(Duration::from_secs(20), || self.muster(&["status"]).status.success());
        assert!(answered, "the daemon does not answer:\n{}", self.log());
    }

    fn muster_in_head(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.head, MUSTER, "--config"]).arg(self.path("muster.toml"));
        command.arg("--data-dir").arg(self.path("data")).args(arguments);
        command
    }

    /// Pid of the daemon (`ip netns exec` becomes it).
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon was started").id()
    }

    /// Ends the daemon as a power loss would.
    pub fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// Runs a command of the daemon's command line.
    pub fn muster(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(MUSTER);
        command.arg("--config").arg(self.path("muster.toml")).arg("--data-dir").arg(self.path("data"));
        command.args(arguments).output().expect("the daemon's binary runs")
    }

    /// The same, which must succeed; its output.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = self.muster(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a shell command where the clients are; its output and whether it succeeded.
    pub fn client(&self, command: &str) -> (bool, String) {
        let output =
            Command::new("ip").args(["netns", "exec", &self.client, "sh", "-c", command]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Declares a node.
    pub fn declare(&self, name: &str, mac: &str, address: &str) {
        self.ask(&["node", "set", name, "--mac", mac, "--ip", address]);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

/// Waits until something holds, with a deadline.
pub fn wait(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a test's deadline")]
    let clock = Instant::now;
    let start = clock();
    while clock().duration_since(start) < patience {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the daemon's log\n{}", lines.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        self.kill();
        for namespace in [&self.client, &self.head] {
            sh(&format!(
                "for p in $(ip netns pids {namespace}); do kill -9 $p; done; ip netns del {namespace}"
            ));
        }
        let _ = fs::remove_dir_all(format!("/etc/netns/{}", self.client));
    }
}
