//! What people see: tables on terminals and in pipes, colours, watching, suggestions, editors, man pages.

#![allow(clippy::disallowed_methods, reason = "a test that waits for a process needs a clock")]

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::head::{Head, MUSTER, NODES, command, text};

/// A node whose row is far wider than any terminal.
const WIDE: &str = "nodes:
- {name: wide, groups: [a-group-with-a-long-name, another-group-with-a-long-name, and-one-more-group-of-them], \
interfaces: [{mac_addr: '02:00:00:00:00:09', ip_addrs: [{ip_addr: 192.0.2.9}, {ip_addr: 192.0.2.10}]}, {mac_addr: '02:00:00:00:00:0a'}]}
";

/// What a command prints on a terminal of this width, with these variables.
fn on_terminal(head: &Head, width: usize, variables: &str, arguments: &str) -> String {
    let (config, data) = (head.config.display(), head.folder.path().join("data"));
    let line = format!(
        "stty cols {width} rows 24; {variables} {MUSTER} --config {config} --data-dir {} {arguments}",
        data.display()
    );
    let mut script = Command::new("script");
    let output =
        script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR").output();
    let output = output.expect("script (of bsdutils, which every Debian has) makes a terminal");
    String::from_utf8(output.stdout).unwrap()
}

fn without_colours(text: &str) -> String {
    ["\x1b[1m", "\x1b[0m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m"]
        .iter()
        .fold(text.to_owned(), |text, code| text.replace(code, ""))
}

#[test]
fn tables_fit_the_terminal_and_are_whole_in_a_pipe() {
    let head = Head::start();
    assert!(head.import(NODES, &[]).status.success() && head.import(WIDE, &[]).status.success());
    for width in [80, 100, 132] {
        let shown = without_colours(&on_terminal(&head, width, "", "node list"));
        let longest = shown.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
        assert!(longest <= width && shown.contains('…'), "{width}: {longest}\n{shown}");
        assert!(shown.contains("nid001"), "{shown}");
    }
    let piped = head.ok(&["node", "list"]);
    assert!(
        piped.contains("and-one-more-group-of-them") && !piped.contains('…') && !piped.contains('\x1b'),
        "{piped}"
    );
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let head = Head::start();
    head.import(NODES, &[]);
    assert!(on_terminal(&head, 100, "", "node list").contains("\x1b[1mNAME\x1b[0m"));
    for refused in ["NO_COLOR=1", "TERM=dumb"] {
        let shown = on_terminal(&head, 100, refused, "node list");
        assert!(shown.contains("NAME") && !shown.contains('\x1b'), "{refused}: {shown:?}");
    }
    assert!(
        on_terminal(&head, 100, "NO_COLOR=", "node list").contains('\x1b'),
        "an empty value refuses nothing"
    );
}

#[test]
fn a_watch_shows_what_changed() {
    let head = Head::start();
    head.import(NODES, &[]);
    let mut watch = command(&head.config, head.folder.path())
        .args(["node", "list", "nid001", "--watch", "0.1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = watch.stdout.take().unwrap();
    let mut seen = String::new();
    let mut wait_for = |part: &str| {
        let end = Instant::now() + Duration::from_secs(20);
        while !seen.contains(part) {
            assert!(Instant::now() < end, "{part} is not in {seen}");
            let mut some = [0; 4096];
            let read = out.read(&mut some).unwrap();
            assert!(read > 0, "the watch ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&some[..read]));
        }
    };
    wait_for("nid001");
    head.ok(&["node", "set", "nid001", "--ip", "192.0.2.77"]);
    wait_for("192.0.2.77");
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(!seen.contains('\x1b'), "a pipe is not redrawn");
    let shown = on_terminal(&head, 100, "timeout 2", "node list --watch 0.5");
    assert!(shown.matches("\x1b[H").count() >= 2 && shown.contains("Ctrl-C ends"), "{shown:?}");
    let wrong = head.run(&["node", "list", "--watch", "@compute"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("a node set stands before --watch"), "{}", text(&wrong));
}

#[test]
fn a_watch_ends_when_nobody_reads() {
    let head = Head::start();
    let mut watch = command(&head.config, head.folder.path())
        .args(["status", "--watch", "0.1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(watch.stdout.take());
    let end = Instant::now() + Duration::from_secs(20);
    while watch.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "it goes on without a reader");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_mistyped_name_is_answered_with_the_nearest() {
    let head = Head::start();
    head.import(NODES, &[]);
    assert!(head.refused(&["node", "show", "nid01"]).contains("did you mean nid001, nid002?"));
    assert!(head.refused(&["group", "show", "comptue"]).contains("did you mean compute?"));
    assert!(head.refused(&["boot", "set", "@comput", "--local"]).contains("did you mean compute?"));
    assert!(head.refused(&["node", "show", "entirely-else"]).contains("see: muster node list"));
    let wrong = head.run(&["nod"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong).contains("'node'"), "{}", text(&wrong));
}

#[test]
fn nodes_are_added_renamed_and_edited() {
    let head = Head::start();
    head.import(NODES, &[]);
    head.ok(&["node", "add", "nid003", "--mac", "02:00:00:00:00:04", "--nid", "3", "--group", "compute"]);
    assert_eq!(head.json(&["node", "show", "nid003"])["nid"], 3);
    assert!(
        head.refused(&["node", "add", "nid003", "--mac", "02:00:00:00:00:05"])
            .contains("there is a node nid003")
    );
    head.ok(&["node", "rename", "nid003", "login2"]);
    assert_eq!(head.json(&["node", "show", "login2"])["nid"], 3);
    assert_eq!(head.json(&["node", "show", "nid[001-002]"]).as_array().unwrap().len(), 2, "a set");
    let edit = |editor: &str, arguments: &[&str]| {
        command(&head.config, head.folder.path()).args(arguments).env("VISUAL", editor).output().unwrap()
    };
    let edited = edit("sed -i s/192.0.2.1\\\"/192.0.2.55\\\"/", &["node", "edit", "nid001"]);
    assert!(edited.status.success(), "{}", text(&edited));
    assert_eq!(head.json(&["node", "show", "nid001"])["interfaces"][0]["addresses"][0], "192.0.2.55");
    assert!(text(&edit("true", &["node", "edit", "nid001"])).contains("nothing was changed"));
    assert_eq!(edit("false", &["node", "edit", "nid001"]).status.code(), Some(1));
    let broken = edit("sed -i s/{//", &["group", "edit", "compute"]);
    let said = text(&broken);
    assert!(!broken.status.success() && said.contains("your text is kept in "), "{said}");
    let kept = said.split("kept in ").nth(1).unwrap().split(':').next().unwrap();
    std::fs::remove_file(kept).unwrap();
    head.ok(&["profile", "set", "p", "--kernel", "k"]);
    assert!(edit("sed -i s/\\\"k\\\"/\\\"other\\\"/", &["profile", "edit", "p"]).status.success());
    assert_eq!(head.json(&["profile", "show", "p"])["target"]["kernel"], "other");
}

#[test]
fn what_somebody_else_changed_is_not_overwritten_by_an_editor() {
    let head = Head::start();
    head.import(NODES, &[]);
    let (config, data) = (head.config.display(), head.folder.path().join("data"));
    let other = format!(
        "{MUSTER} --config {config} --data-dir {} node set nid001 --role Service >/dev/null && sed -i s/compute/gpu/",
        data.display()
    );
    let mut edit = command(&head.config, head.folder.path());
    let output = edit.args(["node", "edit", "nid001"]).env("VISUAL", other).output().unwrap();
    let said = text(&output);
    assert!(!output.status.success() && said.contains("somebody else changed it meanwhile"), "{said}");
    let node = head.json(&["node", "show", "nid001"]);
    assert_eq!((node["role"].as_str(), node["groups"][0].as_str()), (Some("Service"), Some("compute")));
    std::fs::remove_file(said.split("kept in ").nth(1).unwrap().split(':').next().unwrap()).unwrap();
}

#[test]
fn bmcs_are_declared_changed_and_removed() {
    let head = Head::start();
    head.import(NODES, &[]);
    head.ok(&["bmc", "set", "nid001-bmc", "--mac", "02:00:00:00:01:01", "--ip", "192.0.2.101"]);
    head.ok(&["bmc", "set", "nid001-bmc", "--xname", "x1000c0s0b0"]);
    head.ok(&["node", "set", "nid001", "--bmc", "nid001-bmc"]);
    let bmc = head.json(&["bmc", "show", "nid001-bmc"]);
    assert_eq!((bmc["address"].as_str(), bmc["xname"].as_str()), (Some("192.0.2.101"), Some("x1000c0s0b0")));
    assert!(head.ok(&["bmc", "list"]).contains("02:00:00:00:01:01"));
    head.ok(&["bmc", "set", "nid001-bmc", "--ip", ""]);
    assert!(head.json(&["bmc", "show", "nid001-bmc"])["address"].is_null());
    assert!(
        head.refused(&["bmc", "rm", "nid001-bmc"]).contains("no BMC is called nid001-bmc"),
        "a node has it"
    );
    head.ok(&["node", "set", "nid001", "--bmc", ""]);
    head.ok(&["bmc", "rm", "nid001-bmc"]);
    assert!(head.ok(&["bmc", "list"]).contains("no BMCs"));
}

#[test]
fn man_pages_and_completions_are_made_of_the_commands() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(MUSTER).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    run(&["man", folder.path().to_str().unwrap()]);
    let page = std::fs::read_to_string(folder.path().join("muster-node-set.1")).unwrap();
    assert!(
        page.contains(".TH muster-node-set 1") && page.contains("boot the local disk from now on"),
        "{page}"
    );
    assert!(folder.path().join("muster.1").exists());
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&["completions", shell]);
        assert!(completions.contains("discover") && completions.contains("dry-run"), "{shell}");
    }
}
