//! Every request that three generations of the real `ochami` client send, replayed from what a recording server
//! wrote down (`tests/fixtures/openchami-cli`): each command finds what it needs, and each answer has the status
//! and the shape that the client reads.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::head::{Answer, Head};

const SITE: &str = "[cluster]\nname = \"demo\"\n[[network]]\nname = \"boot\"\ninterface = \"eth1\"\n\
                    address = \"172.16.0.254/24\"\nrange = [\"172.16.0.200-172.16.0.250\"]\n";

/// One recorded request.
#[derive(Clone, Debug)]
struct Sent {
    method: String,
    path: String,
    body: String,
}

/// The commands of a log with their requests, in order.
fn commands(version: &str) -> Vec<(String, Vec<Sent>)> {
    let path = format!("{}/tests/fixtures/openchami-cli/{version}.log", env!("CARGO_MANIFEST_DIR"));
    let mut commands: Vec<(String, Vec<Sent>)> = Vec::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            commands.push((heading.to_owned(), Vec::new()));
            continue;
        }
        let (request, body) = line.split_once(" body=").unwrap();
        let mut words = request.split(' ');
        let mut word = || words.next().unwrap().to_owned();
        let (method, path) = (word(), word());
        let body = body.replace("<uuid>", "11223344-5566-4788-99aa-bbccddeeff00");
        commands.last_mut().unwrap().1.push(Sent { method, path, body });
    }
    commands
}

const VERSIONS: [&str; 3] = ["v0.0.13", "v0.3.3", "v0.6.1"];

/// What a site has before a command runs, unless the command is about to make it.
async fn furnish(head: &Head, command: &str) {
    let send = async |method: &str, path: &str, body: Value| {
        let answer = head.send(method, path, body.to_string()).await;
        assert!(answer.status.is_success(), "{method} {path}: {} {}", answer.status, answer.text());
    };
    if command.starts_with("discover") {
        return;
    }
    let node = json!({"ID": "x1000c1s7b1n0", "State": "On", "Enabled": true, "NID": 1});
    let other = json!({"ID": "x1000c0s0b0n0", "State": "On", "Enabled": true, "NID": 2});
    let third = json!({"ID": "x1000c1s7b0n0", "State": "On", "Enabled": true, "NID": 3});
    send("POST", "/hsm/v2/State/Components", json!({"Components": [node, other, third]})).await;
    let port = json!({"MACAddress": "ec:e7:a7:05:a1:fc", "ComponentID": "x1000c1s7b1n0",
                      "IPAddresses": [{"IPAddress": "172.16.0.1"}]});
    send("POST", "/hsm/v2/Inventory/EthernetInterfaces", port).await;
    if !command.starts_with("smd rfe add") {
        let endpoint = json!({"ID": "x1000c1s7b1", "MACAddr": "de:ca:fc:0f:ee:e1"});
        send("POST", "/hsm/v2/Inventory/RedfishEndpoints", endpoint).await;
    }
    if command != "smd group add compute" {
        let ids = if command.starts_with("smd group member") { json!([]) } else { json!(["x1000c0s0b0n0"]) };
        send("POST", "/hsm/v2/groups", json!({"label": "compute", "members": {"ids": ids}})).await;
    }
    if !command.starts_with("bss boot params add") {
        let macs = ["ec:e7:a7:05:a1:fc", "aa:bb:cc:dd:ee:ff", "aa:bb:cc:dd:ee:00"];
        let boot = json!({"macs": macs, "kernel": "http://h/k", "initrd": "http://h/i", "params": "ro"});
        send("PUT", "/boot/v1/bootparameters", boot).await;
    }
    if !command.starts_with("cloud-init group add") {
        let file = json!({"content": "#cloud-config\nruncmd: [echo hi]\n", "encoding": "plain"});
        send("PUT", "/cloud-init/admin/groups/compute", json!({"name": "compute", "file": file})).await;
    }
    if !command.contains("config add") {
        for tree in ["/cloud-init", "/cloud-init-secure"] {
            let entry =
                json!({"userdata": {"runcmd": ["echo hi"]}, "metadata": {"a": "b"}, "vendordata": null});
            send("POST", tree, json!({"name": "compute", "cloud-init": entry})).await;
        }
    }
}

/// What the client reads out of an answer.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Nothing, or what it does not look at.
    Any,
    Empty,
    /// JSON with this path of keys; the value under it is a list.
    List(&'static [&'static str]),
    /// A JSON object with these keys.
    Keys(&'static [&'static str]),
    /// `[{"URI": …}]`.
    Uris,
    Text(&'static str),
}

fn check(what: &str, answer: &Answer, shape: Shape) {
    match shape {
        Shape::Any => {}
        Shape::Empty => assert!(answer.bytes.is_empty(), "{what}: {}", answer.text()),
        Shape::List(path) => {
            let json = answer.json();
            let found = path.iter().fold(&json, |value, key| &value[key]);
            let list = found.as_array().unwrap_or_else(|| panic!("{what}: no list: {json}"));
            assert!(!list.is_empty(), "{what}: an empty list");
        }
        Shape::Keys(keys) => {
            let json = answer.json();
            keys.iter().for_each(|key| assert!(json.get(key).is_some(), "{what}: no {key}: {json}"));
        }
        Shape::Uris => assert!(answer.json()[0]["URI"].is_string(), "{what}: {}", answer.text()),
        Shape::Text(part) => assert!(answer.text().contains(part), "{what}: {}", answer.text()),
    }
}

/// What each kind of request is answered with, by method and path up to the part that names one thing.
fn expected(sent: &Sent) -> (u16, Shape) {
    use Shape::{Any, Empty, Keys, List, Text, Uris};
    let path = sent.path.split('?').next().unwrap();
    let component = &["ID", "Type", "State", "Enabled", "Role", "NID"];
    match (sent.method.as_str(), path) {
        ("GET", "/hsm/v2/service/ready") => (200, Keys(&["code", "message"])),
        ("GET", "/hsm/v2/service/values") => {
            (200, Keys(&["Arch", "Class", "Flag", "NetType", "Role", "SubRole", "State", "Type"]))
        }
        ("GET", "/hsm/v2/State/Components") => (200, List(&["Components"])),
        ("POST", "/hsm/v2/State/Components") => (204, Empty),
        ("PUT", _) if path.starts_with("/hsm/v2/State/Components/") => (204, Empty),
        ("PATCH", "/hsm/v2/State/Components/BulkNID") => (204, Empty),
        ("GET", _) if path.starts_with("/hsm/v2/State/Components/") => (200, Keys(component)),
        ("GET", "/hsm/v2/Inventory/EthernetInterfaces") => (200, List(&[])),
        // An interface that its RedfishEndpoint brought already, posted once more by an older client.
        ("POST", "/hsm/v2/Inventory/EthernetInterfaces") => (201, Keys(&["URI"])),
        ("GET", "/hsm/v2/Inventory/RedfishEndpoints") => (200, List(&["RedfishEndpoints"])),
        ("POST", "/hsm/v2/Inventory/RedfishEndpoints") => (201, Uris),
        ("DELETE", "/hsm/v2/Inventory/RedfishEndpoints") => (200, Keys(&["code", "message"])),
        ("GET", "/hsm/v2/Inventory/ComponentEndpoints") => (200, Keys(&["ComponentEndpoints"])),
        ("GET", "/hsm/v2/groups") => (200, List(&[])),
        ("POST", "/hsm/v2/groups") => (201, Uris),
        ("GET", "/hsm/v2/groups/compute/members") => (200, Keys(&["ids"])),
        ("POST", "/hsm/v2/groups/compute/members") => (201, Uris),
        ("PUT", "/hsm/v2/groups/compute/members") => (201, Uris),
        ("DELETE", "/hsm/v2/groups/compute") => (200, Keys(&["code", "message"])),
        ("GET", "/boot/v1/bootparameters") => (200, List(&[])),
        ("POST", "/boot/v1/bootparameters") => (201, Empty),
        ("PUT" | "PATCH" | "DELETE", "/boot/v1/bootparameters") => (200, Empty),
        ("GET", "/boot/v1/bootscript") => {
            (200, Text("#!ipxe\nkernel --name kernel http://h/k initrd=initrd ro"))
        }
        ("GET", "/boot/v1/hosts") => (200, List(&[])),
        ("GET", "/boot/v1/dumpstate") => (200, List(&["Params"])),
        ("GET", "/boot/v1/endpoint-history") => (200, Any),
        ("GET", "/boot/v1/service/status") => (200, Keys(&["bss-status"])),
        ("GET", "/boot/v1/service/status/all") => {
            (200, Keys(&["bss-status", "bss-version", "bss-status-hsm"]))
        }
        ("GET", "/cloud-init/admin/cluster-defaults") => (200, Keys(&[])),
        ("POST", "/cloud-init/admin/cluster-defaults") => (201, Any),
        ("GET", "/cloud-init/admin/groups/compute") => (200, Keys(&["name", "file"])),
        ("PUT", "/cloud-init/admin/groups/compute") => (201, Any),
        ("POST", "/cloud-init/admin/groups") => (201, Any),
        ("PUT", "/cloud-init/admin/instance-info/x1000c0s0b0n0") => (201, Any),
        ("GET", "/cloud-init/admin/impersonation/x1000c0s0b0n0/meta-data") => (200, Text("instance-id: i-")),
        ("GET", "/cloud-init/admin/impersonation/x1000c0s0b0n0/vendor-data") => {
            (200, Text("#include\nhttp://"))
        }
        ("GET", "/cloud-init/admin/impersonation/x1000c0s0b0n0/compute.yaml") => (200, Text("#cloud-config")),
        ("GET", "/cloud-init/version") => (200, Keys(&[])),
        ("GET", "/cloud-init") => (200, Keys(&["compute"])),
        ("GET", "/cloud-init/compute") => (200, Keys(&["name", "cloud-init"])),
        ("POST", "/cloud-init" | "/cloud-init-secure") => (200, Text("\"compute\"")),
        ("PUT", "/cloud-init/compute") => (200, Text("\"compute\"")),
        ("DELETE", "/cloud-init/compute") => (200, Keys(&["status"])),
        ("GET", _) if path.ends_with("compute/user-data") => (200, Text("#cloud-config\nruncmd:")),
        ("GET", _) if path.starts_with("/cloud-init/x1000c1s7b0n0/") => (200, Any),
        ("GET", "/readiness" | "/liveness") => (204, Empty),
        ("POST", "/transitions") => (200, Keys(&["transitionID", "operation"])),
        other => panic!("no expectation for {other:?}"),
    }
}

#[tokio::test]
async fn each_recorded_command_is_answered_as_its_client_expects() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for version in VERSIONS {
        for (command, requests) in commands(version) {
            let head = Head::start(SITE);
            furnish(&head, &command).await;
            for sent in requests {
                let what = format!("{version}: {command}: {} {}", sent.method, sent.path);
                let answer = head.send(&sent.method, &sent.path, sent.body.clone()).await;
                let (status, shape) = expected(&sent);
                assert_eq!(answer.status.as_u16(), status, "{what}: {}", answer.text());
                check(&what, &answer, shape);
                *seen.entry(version).or_default() += 1;
            }
        }
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [37, 30, 18], "requests replayed of each version");
}

/// A discovery repeated, and repeated with `--overwrite`, ends where it began.
#[tokio::test]
async fn what_is_discovered_twice_is_there_once() {
    for version in VERSIONS {
        let head = Head::start(SITE);
        let discoveries: Vec<_> =
            commands(version).into_iter().filter(|(command, _)| command.starts_with("discover")).collect();
        assert!(!discoveries.is_empty());
        for (command, requests) in discoveries.iter().chain(&discoveries) {
            for sent in requests {
                let answer = head.send(&sent.method, &sent.path, sent.body.clone()).await;
                let fine = answer.status.is_success() || answer.status == 409;
                assert!(fine, "{version}: {command}: {} {}", sent.path, answer.text());
            }
            let nodes = head.get("/hsm/v2/State/Components?type=Node").await.ok();
            assert_eq!(nodes["Components"].as_array().unwrap().len(), 1, "{version}: {command}");
            assert_eq!(nodes["Components"][0]["NID"], 1, "{version}: {command}");
            let ports = head.get("/hsm/v2/Inventory/EthernetInterfaces").await.ok();
            let macs: Vec<_> =
                ports.as_array().unwrap().iter().map(|port| port["MACAddress"].clone()).collect();
            assert_eq!(macs, ["de:ca:fc:0f:ee:e1", "ec:e7:a7:05:a1:fc"], "{version}: {command}");
            let snapshot = head.context.snapshot.load();
            let node = snapshot.by_address([172, 16, 0, 1].into()).map(|machine| machine.name().to_owned());
            assert!(node.is_some(), "{version}: {command}: DHCP knows the node's address");
        }
    }
}
