//! The command line end to end: the real binary asks the real daemon over its socket.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod changes;
mod head;
mod images;
mod screen;
mod server;
mod sites;

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::head::{Head, NODES, command, text};

#[test]
fn an_import_is_all_or_nothing_and_repeats_without_effect() {
    let head = Head::start();
    let broken =
        NODES.replace("02:00:00:00:00:02", "02:00:00:00:00:01").replace("name: login", "name: log in");
    let output = head.import(&broken, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains("line 4: nodes[2].name: \"log in\" is not a valid node name"), "{said}");
    assert_eq!(head.json(&["node", "list"]), Value::Array(Vec::new()), "nothing was applied");
    assert!(text(&head.import(NODES, &["--dry-run"])).contains("nothing was changed"));
    assert!(text(&head.import(NODES, &[])).contains("added 3: login,nid[001-002]"));
    let revision = head.json(&["status"])["revision"].clone();
    assert!(text(&head.import(NODES, &[])).contains("unchanged 3"));
    assert_eq!(head.json(&["status"])["revision"], revision);
    let exported = head.ok(&["export"]);
    assert!(!text(&head.import(&exported, &["--prune"])).contains("changed 1"));
    assert_eq!(head.json(&["status"])["revision"], revision, "an export imports to the same state");
    // Pruning shows what goes and wants a yes.
    let fewer: String =
        NODES.lines().filter(|line| !line.contains("login")).map(|line| format!("{line}\n")).collect();
    let asked = head.import(&fewer, &["--prune"]);
    assert!(!asked.status.success() && text(&asked).contains("would be removed: login"), "{}", text(&asked));
    assert!(text(&head.import(&fewer, &["--prune", "--yes"])).contains("removed 1: login"));
}

#[test]
fn nodes_groups_and_boot_are_set_shown_and_taken_back() {
    let head = Head::start();
    head.import(NODES, &[]);
    let all = head.ok(&["node", "list"]);
    assert!(all.contains("nid001") && all.contains("x9999c0s0b0n0"), "{all}");
    assert_eq!(head.json(&["node", "list", "@compute!nid002"]).as_array().unwrap().len(), 1);
    head.ok(&["node", "set", "nid[001-002]", "--policy", "local", "--role", "Compute"]);
    assert_eq!(head.json(&["node", "show", "nid002"])["role"], "Compute");
    head.ok(&["node", "set", "nid[001-002]", "--policy", "serve", "--role", ""]);
    assert_eq!(
        head.json(&["node", "show", "x9999c0s1b0n0"])["role"],
        Value::Null,
        "found by its made-up xname"
    );
    head.ok(&[
        "node",
        "set",
        "nid003",
        "--mac",
        "02:00:00:00:00:04",
        "--ip",
        "192.0.2.4",
        "--group",
        "compute",
    ]);
    assert_eq!(head.json(&["group", "show", "compute"])["members"].as_array().unwrap().len(), 3);
    let said = head.refused(&["node", "set", "nid004", "--mac", "02:00:00:00:00:01"]);
    assert!(said.contains("02:00:00:00:00:01 is also used by node nid001"), "{said}");
    assert!(
        head.refused(&["node", "set", "nid003", "--policy", "maybe"])
            .contains("none of serve, ignore, local")
    );
    assert!(head.refused(&["node", "list", "nid001,nid999"]).contains("no node is called \"nid999\""));
    head.ok(&["group", "add", "gpu", "nid001"]);
    head.ok(&["group", "set", "gpu", "--priority", "5", "--loader", "ipxe-amd64.efi"]);
    head.ok(&["profile", "set", "rescue", "--kernel", "rescue/vmlinuz", "--params", "quiet"]);
    head.ok(&["boot", "set", "@compute", "--kernel", "vmlinuz", "--initrd", "initrd.img"]);
    head.ok(&["boot", "set", "nid001", "--profile", "rescue", "--once"]);
    let boots = head.json(&["boot", "show", "@compute"]);
    assert_eq!(boots[0]["rule"], "one-shot assignment for node nid001, profile rescue");
    assert_eq!(boots[1]["target"]["kernel"], "vmlinuz");
    assert!(head.refused(&["profile", "rm", "rescue"]).contains("no profile is called rescue"));
    head.ok(&["boot", "clear", "nid001"]);
    assert_eq!(head.json(&["boot", "show", "nid001"])[0]["rule"], "assignment for group compute");
    head.ok(&["node", "rm", "nid003,login"]);
    head.ok(&["group", "rm", "gpu"]);
    assert_eq!(head.json(&["node", "list"]).as_array().unwrap().len(), 2);
}

#[test]
fn wrong_use_and_missing_daemons_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("muster.toml");
    fs::write(&config, "[[network]]\nname = \"a\"\naddress = \"x\"\nbogus = 1\n").unwrap();
    let run = |arguments: &[&str]| command(&config, folder.path()).args(arguments).output().unwrap();
    assert_eq!(run(&["nonsense"]).status.code(), Some(2));
    assert_eq!(run(&["boot", "set", "--kernel", "k"]).status.code(), Some(2), "for whom?");
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    let checked = run(&["check"]);
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        text(&checked).contains("line 3: network[0].address")
            && text(&checked).contains("line 4: network[0].bogus"),
        "{}",
        text(&checked)
    );
    let problems: Value = serde_json::from_slice(&run(&["--json", "check"]).stdout).unwrap();
    assert_eq!((&problems["good"], problems["problems"].as_array().unwrap().len()), (&Value::Bool(false), 2));
    assert!(text(&run(&["node", "list"])).contains("Is it running (muster serve)?"));
    let socket = folder.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let dead = text(&run(&["--socket", socket.to_str().unwrap(), "status"]));
    assert!(dead.contains("is gone: see journalctl -u muster"), "{dead}");
    assert!(text(&run(&["completions", "bash"])).contains("_muster"));
}

#[test]
fn explain_and_replay_need_no_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("muster.toml");
    fs::write(&config, "[[network]]\nname = \"lab\"\ninterface = \"eth0\"\naddress = \"192.168.77.1/24\"\nrange = [\"192.168.77.100-192.168.77.150\"]\n").unwrap();
    let run = |arguments: &[&str]| {
        let output = command(&config, folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    assert_eq!(command(&config, folder.path()).arg("explain").output().unwrap().status.code(), Some(2));
    let explained = run(&["explain", "--mac", "02:00:00:00:00:09", "--firmware", "uefi-http"]);
    for part in [
        "OFFER 192.168.77.100, loader http://192.168.77.1:8081/loaders/snponly.efi",
        "machine: not declared",
        "waits and asks again",
    ] {
        assert!(explained.contains(part), "{part} in {explained}");
    }
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/uefipxe.pcap");
    let replayed = run(&["replay", capture.to_str().unwrap()]);
    assert!(
        replayed.contains("DISCOVER by firmware (UEFI)") && replayed.contains("OFFER 192.168.77."),
        "{replayed}"
    );
    assert!(run(&["--json", "replay", capture.to_str().unwrap()]).starts_with('['));
}

#[test]
fn a_node_keeps_its_other_interfaces_however_it_is_called() {
    let head = Head::start();
    let two = "nodes:\n- {name: nid001, interfaces: [{mac_addr: '02:00:00:00:00:01'}, {mac_addr: '02:00:00:00:00:11'}]}\n";
    assert!(head.import(two, &[]).status.success());
    for (name, address) in
        [("nid001", "192.0.2.1"), ("NID001", "192.0.2.2"), ("02:00:00:00:00:01", "192.0.2.3")]
    {
        head.ok(&["node", "set", name, "--mac", "02:00:00:00:00:01", "--ip", address]);
        let interfaces = head.json(&["node", "show", "nid001"])["interfaces"].clone();
        assert_eq!(interfaces[0]["addresses"][0], address, "{name}");
        assert_eq!(interfaces[1]["mac"], "02:00:00:00:00:11", "{name}");
    }
}

#[test]
fn a_node_is_explained_by_its_name_with_a_daemon_and_without() {
    // Reached by relays only: no link, so no privileges.
    let network =
        "[http]\nlisten = [\"127.0.0.1:0\"]\n[[network]]\nname = \"lab\"\naddress = \"192.0.2.254/24\"\n";
    let mut head = Head::configured(network);
    head.import(NODES, &[]);
    head.ok(&["node", "add", "bare"]);
    let asked = head.ok(&["explain", "nid001"]);
    assert!(asked.contains("nid001"), "{asked}");
    assert!(head.refused(&["explain", "nid01"]).contains("did you mean nid001"));
    assert!(head.refused(&["explain", "bare"]).contains("bare has no interface"));
    head.stop();
    assert_eq!(head.ok(&["explain", "nid001"]), asked, "the same from what is on disk");
    assert!(head.refused(&["explain", "bare"]).contains("bare has no interface"));
}

#[test]
fn status_says_in_one_screen_how_the_head_is() {
    let head = Head::start();
    head.import(NODES, &[]);
    let output = head.run(&["status"]);
    let shown = text(&output);
    assert!(shown.contains("for cluster ") && shown.contains("3 nodes, 1 groups, 0 profiles"), "{shown}");
    assert!(shown.lines().count() <= 24, "one screen:\n{shown}");
    let status: Value = serde_json::from_slice(&head.run(&["--json", "status"]).stdout).unwrap();
    assert_eq!(status["nodes"], 3);
    assert_eq!(output.status.success(), !shown.contains("broken"), "{shown}");
}
