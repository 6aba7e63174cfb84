//! Dry runs and events, against a daemon that is played and, where it can, the real one.

use std::process::{Command, Output};

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::head::{Head, MUSTER, NODES, text};
use crate::server::Server;

fn ask(daemon: &Server, arguments: &[&str]) -> Output {
    Command::new(MUSTER).args(["--url", &daemon.url()]).args(arguments).output().unwrap()
}

/// Every command that changes something, and the request that it makes.
const WRITES: [(&[&str], &str); 14] = [
    (&["node", "add", "n1", "--mac", "00:00:5e:00:53:01"], "POST /api/v1/nodes"),
    (&["node", "set", "n1", "--role", "x"], "PATCH /api/v1/nodes/n1"),
    (&["node", "set", "@compute", "--role", "x"], "PATCH /api/v1/nodes?set=%40compute"),
    (&["node", "rename", "n1", "n2"], "PATCH /api/v1/nodes/n1"),
    (&["node", "rm", "n[1-2]"], "DELETE /api/v1/nodes?set=n%5B1-2%5D"),
    (&["group", "set", "g", "--priority", "1"], "PATCH /api/v1/groups/g"),
    (&["group", "add", "g", "n1"], "POST /api/v1/groups/g/members?set=n1"),
    (&["group", "remove", "g", "n1"], "DELETE /api/v1/groups/g/members?set=n1"),
    (&["group", "rm", "g"], "DELETE /api/v1/groups/g"),
    (&["bmc", "set", "b", "--ip", "192.0.2.1"], "PUT /api/v1/bmcs/b"),
    (&["profile", "set", "p", "--local"], "PUT /api/v1/profiles/p"),
    (&["boot", "set", "@g", "--local"], "PUT /api/v1/boot"),
    (&["boot", "clear", "@g"], "DELETE /api/v1/boot?set=%40g"),
    (&["lease", "free", "192.0.2.7"], "DELETE /api/v1/leases/192.0.2.7"),
];

#[test]
fn every_write_can_be_tried_first() {
    let daemon = Server::start(|method, path, _| {
        let report = json!({"added": ["a"], "changed": [], "removed": [], "unchanged": 0, "dry_run": path.contains("dry_run"), "revision": 1});
        if method == "GET" {
            (StatusCode::NOT_FOUND, String::new())
        } else {
            (StatusCode::OK, report.to_string())
        }
    });
    for (arguments, request) in WRITES {
        daemon.log.lock().unwrap().clear();
        let output = ask(&daemon, &[arguments, &["--dry-run"]].concat());
        let said = text(&output);
        assert!(
            output.status.success() && said.contains("added 1: a") && said.contains("nothing was changed"),
            "{arguments:?}: {said}"
        );
        let log = daemon.log.lock().unwrap().clone();
        let written: Vec<&str> =
            log.iter().map(|(head, _)| head.as_str()).filter(|head| !head.starts_with("GET ")).collect();
        let joint = if request.contains('?') { '&' } else { '?' };
        assert_eq!(written, [format!("{request}{joint}dry_run")], "{arguments:?}");
    }
    let old = Server::start(|_, _, _| {
        let report = json!({"added": [], "changed": [], "removed": ["n1"], "unchanged": 0, "dry_run": false, "revision": 1});
        (StatusCode::OK, report.to_string())
    });
    let said = ask(&old, &["node", "rm", "n1", "--dry-run"]);
    assert!(!said.status.success() && text(&said).contains("does not know dry runs"), "{}", text(&said));
}

fn event(id: u64, node: &str, text: &str) -> Value {
    json!({"id": id, "time": "2026-01-01T00:00:00Z", "kind": "lease", "node": node, "text": text, "data": {}})
}

#[test]
fn events_are_listed_and_then_followed_from_the_last() {
    let daemon = Server::start(|_, path, _| {
        if path.contains("follow=0") {
            return (StatusCode::OK, json!([event(7, "n1", "one"), event(8, "n2", "two")]).to_string());
        }
        let stream = format!(": alive\n\nid: 9\nevent: lease\ndata: {}\n\n", event(9, "n1", "three"));
        (StatusCode::OK, stream)
    });
    let said = text(&ask(&daemon, &["events", "-f", "--kind", "lease", "--kind", "boot", "--node", "n1"]));
    let texts: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(texts, ["one", "two", "three"], "{said}");
    let heads: Vec<String> = daemon.log.lock().unwrap().iter().map(|(head, _)| head.clone()).collect();
    assert_eq!(
        heads,
        [
            "GET /api/v1/events?kind=lease&kind=boot&node=n1&follow=0",
            "GET /api/v1/events?kind=lease&kind=boot&node=n1&after=8"
        ]
    );
    let listed = text(&ask(&daemon, &["--json", "events"]));
    let ids: Vec<u64> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [7, 8], "one JSON document on each line");
}

#[test]
fn the_real_daemon_tries_and_tells() {
    let head = Head::start();
    head.import(NODES, &[]);
    let revision = head.json(&["status"])["revision"].clone();
    for arguments in [
        &["node", "add", "nid009", "--mac", "02:00:00:00:00:09"][..],
        &["node", "set", "nid001", "--role", "Service"],
        &["node", "set", "@compute", "--role", "Service"],
        &["node", "rename", "nid001", "other"],
        &["node", "rm", "nid001"],
        &["group", "set", "compute", "--priority", "3"],
        &["group", "remove", "compute", "nid001"],
        &["group", "rm", "compute"],
        &["bmc", "set", "b", "--ip", "192.0.2.101"],
        &["profile", "set", "p", "--local"],
        &["boot", "set", "@compute", "--local"],
    ] {
        let said = head.ok(&[arguments, &["--dry-run"]].concat());
        assert!(said.contains("nothing was changed"), "{arguments:?}: {said}");
    }
    assert_eq!(head.json(&["status"])["revision"], revision);
    head.ok(&["node", "set", "nid001", "--role", "Service"]);
    let told = head.ok(&["events", "--kind", "inventory", "--node", "nid001"]);
    assert!(told.contains("nid001"), "{told}");
}
