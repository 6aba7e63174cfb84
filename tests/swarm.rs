//! A small swarm with real packets: every firmware, losses and broken downloads, from the first DISCOVER to
//! cloud-init, against the real daemon in a network namespace.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod netns;

use std::fs;
use std::process::Command;

use netns::{Lab, MUSTER};
use serde_json::Value;

const SCENARIO: &str = "\
nodes = 50
give_up_s = 50
attempts = 9
loss = \"2%\"
cut = \"5%\"
[start]
within_s = 1
[firmware]
bios = 1
uefi = 1
uefi-http = 1
ipxe-rom = 1
[think]
loader = \"1-20\"
kernel = \"1-20\"
system = \"1\"
";

/// The head's files: loaders small enough that losses of 2 % cost a BIOS seconds, not minutes.
fn lay_out(lab: &Lab) {
    let file = |name: &str, length: usize| {
        let path = lab.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![7; length]).unwrap();
    };
    for name in ["loaders/snponly.efi", "loaders/undionly.kpxe", "loaders/ipxe.efi"] {
        file(name, 40_000);
    }
    file("www/vmlinuz", 300_000);
    file("www/initrd", 300_000);
    file("www/root.squashfs", 2_000_000);
    fs::write(lab.path("storm.toml"), SCENARIO).unwrap();
}

/// Runs a swarm of the lab's scenario; its report.
fn swarm(lab: &Lab, more: &str) -> Value {
    let file = lab.path("storm.toml");
    let pid = lab.daemon_pid();
    let (_, text) = lab.client(&format!(
        "{MUSTER} swarm --json --scenario {} --lab-interface eth0 --server-pid {pid} {more} 2>/dev/null",
        file.display()
    ));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn stage<'a>(report: &'a Value, name: &str) -> &'a Value {
    let stages = report["stages"].as_array().unwrap();
    stages.iter().find(|one| one["stage"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"))
}

#[test]
fn fifty_machines_of_every_firmware_boot_through_losses() {
    if netns::is_skipped() {
        return;
    }
    let mut lab = Lab::new();
    lay_out(&lab);
    let folder = |name: &str| lab.path(name).display().to_string();
    let (images, loaders) = (folder("www"), folder("loaders"));
    lab.configure(&format!("[images]\nroot = \"{images}\"\n[loaders]\ndirectories = [\"{loaders}\"]"));
    lab.serve();
    let mut nodes = "name,mac,ip\n".to_owned();
    for number in 0..50 {
        nodes.push_str(&format!("nid{number:03},02:53:57:00:00:{number:02x},192.0.2.{}\n", number + 1));
    }
    fs::write(lab.path("nodes.csv"), nodes).unwrap();
    lab.ask(&["import", lab.path("nodes.csv").to_str().unwrap()]);
    let params = "root=live:{images}/root.squashfs";
    lab.ask(&["boot", "set", "*", "--kernel", "vmlinuz", "--initrd", "initrd", "--params", params]);

    let report = swarm(&lab, "");
    assert_eq!((report["up"].as_u64(), report["failed"].as_u64()), (Some(50), Some(0)), "{report:#}");
    assert_eq!(stage(&report, "root")["done"], 50, "each has its root");
    let root = stage(&report, "root")["bytes"].as_u64().unwrap();
    assert_eq!(root, 50 * 2_000_000, "a broken root goes on by range: no octet comes twice");
    assert_eq!(stage(&report, "cloud-init")["done"], 200, "four documents each");
    assert!(stage(&report, "loader")["retries"].as_u64() > Some(0), "packets were lost: {report:#}");
    assert!(report["servers"][0]["peak_rss_bytes"].as_u64() > Some(1 << 20));
    let (_, routes) = lab.client("ip route show table all");
    assert!(!routes.contains("192.0.2."), "addresses are given back: {routes}");

    // Without a server nobody comes up, and the command says so.
    lab.kill();
    fs::write(lab.path("alone.toml"), "nodes = 30\ngive_up_s = 1\n[start]\nwithin_s = 0\n").unwrap();
    let file = lab.path("alone.toml").display().to_string();
    let command = format!("{MUSTER} swarm --json --scenario {file} --lab-interface eth0 2>/dev/null");
    let (good, text) = lab.client(&command);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert!(!good && report["failed"] == 30, "{report:#}");
    assert_eq!(report["failures"][0]["reason"], "not up in time", "{report:#}");
}

#[test]
fn a_swarm_refuses_a_network_that_may_be_real() {
    if netns::is_skipped() {
        return;
    }
    let lab = Lab::new();
    // A link in the namespace of this test, which the swarm cannot tell from a site's.
    let name = format!("sw{}", std::process::id() % 100_000);
    let made = netns::sh(&format!("ip link add {name} type veth peer name eth9 netns {}", lab.client));
    assert!(made.status.success());
    let run =
        |more: &[&str]| Command::new(MUSTER).args(["swarm", "--nodes", "1"]).args(more).output().unwrap();
    let refused = run(&["--interface", &name]);
    let wrong = run(&["--interface", &name, "--lab-interface", "eth7"]);
    let missing = run(&["--interface", "no-such-link"]);
    netns::sh(&format!("ip link del {name}"));
    for (output, wanted) in [
        (refused, "may be a real network"),
        (wrong, "may be a real network"),
        (missing, "there is no interface"),
    ] {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(wanted), "{error}");
    }
}
