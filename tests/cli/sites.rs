//! Sites that move here: a live OpenCHAMI, played by a server on loopback that answers what the real services
//! answer, and a Warewulf.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::head::{Head, MUSTER, NODES, text};
use crate::server::Server;

/// Paths that need no token on an old site, beside those of BSS and cloud-init that machines fetch.
const OPEN: [&str; 2] = ["/hsm/v2/State/Components", "/hsm/v2/Inventory/EthernetInterfaces"];

/// What an old site of the second generation holds, by path.
fn site() -> BTreeMap<&'static str, Value> {
    let component = |id: &str, nid: u32| json!({"ID": id, "Type": "Node", "State": "On", "Flag": "OK", "Enabled": true, "Role": "Compute", "NID": nid, "Arch": "X86"});
    let interface = |mac: &str, owner: &str, address: &str| {
        json!({"ID": mac.replace(':', ""), "Description": "", "MACAddress": mac, "LastUpdate": "2025-08-08T13:23:00.201283Z",
               "ComponentID": owner, "Type": "Node", "IPAddresses": [{"IPAddress": address, "Network": "management"}]})
    };
    BTreeMap::from([
        (
            "/hsm/v2/State/Components",
            json!({"Components": [
                component("x1000c0s0b0n0", 1), component("x1000c0s1b0n0", 2),
                {"ID": "x1000c0s0b0", "Type": "NodeBMC", "Enabled": true}, {"ID": "x1000c0s1b0", "Type": "NodeBMC", "Enabled": true},
            ]}),
        ),
        (
            "/hsm/v2/Inventory/EthernetInterfaces",
            json!([
                interface("00:00:5e:00:53:01", "x1000c0s0b0n0", "192.0.2.1"),
                interface("00:00:5e:00:53:02", "x1000c0s1b0n0", "192.0.2.2"),
                interface("00:00:5e:00:53:11", "x1000c0s0b0", "192.0.2.101"),
            ]),
        ),
        (
            "/hsm/v2/Inventory/RedfishEndpoints",
            json!({"RedfishEndpoints": [
                {"ID": "x1000c0s0b0", "Type": "NodeBMC", "Hostname": "x1000c0s0b0", "FQDN": "x1000c0s0b0", "Enabled": true},
            ]}),
        ),
        (
            "/hsm/v2/groups",
            json!([{"label": "compute", "description": "The compute group", "tags": ["t1"],
            "members": {"ids": ["x1000c0s0b0n0", "x1000c0s1b0n0"]}}]),
        ),
        ("/hsm/v2/partitions", json!([])),
        (
            "/boot/v1/bootparameters",
            json!([{"macs": ["00:00:5e:00:53:01", "00:00:5e:00:53:02"], "params": "console=ttyS0",
            "kernel": "http://192.0.2.254:8080/vmlinuz", "initrd": "http://192.0.2.254:8080/initrd",
            "cloud-init": {"meta-data": null, "user-data": null, "phone-home": {}}}]),
        ),
        (
            "/cloud-init/admin/cluster-defaults",
            json!({"cluster-name": "demo", "short-name": "de", "nid-length": 4}),
        ),
        (
            "/cloud-init/admin/groups",
            json!({"compute": {"name": "compute", "file": {"content": "#cloud-config\n", "encoding": "plain", "filename": "c"}}}),
        ),
    ])
}

/// The same site as a server. Token or not, as the real gateway has it.
fn old_site(documents: BTreeMap<&'static str, Value>) -> Server {
    Server::start(answers(documents))
}

fn answers(
    documents: BTreeMap<&'static str, Value>,
) -> impl Fn(&Method, &str, bool) -> (StatusCode, String) + Send + Sync {
    move |_, path, known| {
        if let Some(xname) = path.strip_prefix("/cloud-init/admin/impersonation/") {
            let Some(xname) = xname.strip_suffix("/meta-data") else {
                return (StatusCode::NOT_FOUND, String::new());
            };
            let yaml = format!("instance-id: i-{xname}\nlocal-hostname: login-{}\n", &xname[8..9]);
            let there = xname == "x1000c0s1b0n0" && documents.contains_key("/cloud-init/admin/groups");
            return if there {
                (StatusCode::OK, yaml)
            } else {
                (StatusCode::UNPROCESSABLE_ENTITY, String::new())
            };
        }
        match documents.get(path) {
            Some(_) if !known && !OPEN.contains(&path) => {
                (StatusCode::UNAUTHORIZED, "no token found".to_owned())
            }
            Some(document) => (StatusCode::OK, document.to_string()),
            None => (StatusCode::NOT_FOUND, "404 page not found".to_owned()),
        }
    }
}

const TOKEN: [&str; 2] = ["--from-token", "good.one.here"];

#[test]
fn smd_of_an_old_site_is_taken_over_all_or_nothing() {
    let head = Head::start();
    let only_smd = site().into_iter().filter(|(path, _)| path.starts_with("/hsm")).collect();
    let old = old_site(only_smd);
    let url = old.url();
    let import = [&["import", "--from", &url][..], &TOKEN].concat();
    let said = head.ok(&[&import[..], &["--dry-run"]].concat());
    assert!(said.contains("found 2 nodes, 1 BMCs, 3 interfaces, 1 groups"), "{said}");
    assert!(said.contains("BSS was not found") && said.contains("nothing was changed"), "{said}");
    assert_eq!(head.json(&["node", "list"]), json!([]));
    let said = head.ok(&import);
    assert!(said.contains("added 4: ") && said.contains("nid[001-002]"), "{said}");
    let node = head.json(&["node", "show", "x1000c0s0b0n0"]);
    assert_eq!(node["name"], "nid001");
    assert_eq!(node["interfaces"][0]["addresses"][0], "192.0.2.1");
    assert_eq!((node["bmc"].as_str(), node["groups"][0].as_str()), (Some("x1000c0s0b0"), Some("compute")));
    assert_eq!(head.json(&["bmc", "show", "x1000c0s0b0"])["mac"], "00:00:5e:00:53:11", "from its interface");
    let revision = head.json(&["status"])["revision"].clone();
    assert!(head.ok(&import).contains("unchanged"));
    assert_eq!(head.json(&["status"])["revision"], revision, "a second time changes nothing");
}

#[test]
fn half_a_site_is_no_site() {
    let head = Head::start();
    let old = old_site(site());
    let said = head.refused(&["import", "--from", &old.url()]);
    assert!(
        said.contains("/hsm/v2/Inventory/RedfishEndpoints answers 401") && said.contains("give --from-token"),
        "{said}"
    );
    let said = head.refused(&["import", "--from", &old.url(), "--from-token", "bad"]);
    assert!(said.contains("the token is not accepted") && !said.contains("bad\""), "{said}");
    let failing = Server::start(|_, path, _| match path {
        "/hsm/v2/State/Components" => (StatusCode::OK, "{\"Components\":[]}".to_owned()),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "postgres is gone".to_owned()),
    });
    let said = head.refused(&["import", "--from", &failing.url()]);
    assert!(said.contains("answers 500"), "{said}");
    let gone = old.url();
    drop(old);
    let said = head.refused(&["import", "--from", &gone]);
    assert!(said.contains("none of the services is there") && said.contains("cannot be reached"), "{said}");
    assert_eq!(head.json(&["node", "list"]), json!([]));
    assert_eq!(head.run(&["import"]).status.code(), Some(2), "from where?");
    assert_eq!(head.run(&["import", "x.yaml", "--from", &gone]).status.code(), Some(2));
}

#[test]
fn boot_parameters_and_cloud_init_are_sent_to_the_same_interfaces_here() {
    // The daemon is played, too: what arrives is looked at.
    let daemon = Server::start(|_, path, _| {
        let report = json!({"added": [], "changed": [], "removed": [], "unchanged": 4, "dry_run": path.contains("dry_run"), "revision": 1});
        if path.starts_with("/api/v1/inventory/import") {
            (StatusCode::OK, report.to_string())
        } else {
            (StatusCode::OK, String::new())
        }
    });
    let old = old_site(site());
    let run = |extra: &[&str]| {
        let (daemon, old) = (daemon.url(), old.url());
        let mut command = std::process::Command::new(MUSTER);
        command.args(["--url", &daemon, "import", "--from", &old]).args(TOKEN).args(extra);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        text(&output)
    };
    let said = run(&["--dry-run"]);
    for part in ["1 boot parameters", "1 cloud-init defaults", "1 cloud-init groups", "1 instance ids"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(daemon.log.lock().unwrap().len(), 1, "a dry run sends the document and nothing else");
    daemon.log.lock().unwrap().clear();
    run(&[]);
    let log = daemon.log.lock().unwrap().clone();
    let heads: Vec<&str> = log.iter().map(|(head, _)| head.as_str()).collect();
    assert_eq!(
        heads,
        [
            "POST /api/v1/inventory/import?dry_run",
            "POST /api/v1/inventory/import",
            "PUT /boot/v1/bootparameters",
            "POST /cloud-init/admin/cluster-defaults",
            "PUT /cloud-init/admin/groups/compute",
            "PUT /cloud-init/admin/instance-info/x1000c0s1b0n0",
        ]
    );
    let names: Vec<&str> =
        log[1].1["nodes"].as_array().unwrap().iter().filter_map(|node| node["name"].as_str()).collect();
    assert_eq!(names, ["de0001", "login-1"], "by its number as cloud-init did, and by what it was told");
    assert_eq!(log[2].1["macs"], json!(["00:00:5e:00:53:01", "00:00:5e:00:53:02"]));
    assert_eq!(log[2].1["params"], "console=ttyS0");
    assert_eq!(log[4].1["file"]["content"], "#cloud-config\n");
    assert_eq!(log[5].1["instance-id"], "i-x1000c0s1b0n0");
}

#[test]
fn a_site_of_the_first_generation_gives_its_cloud_init_entries() {
    let mut documents = site();
    documents.retain(|path, _| !path.starts_with("/cloud-init/admin"));
    documents.insert(
        "/cloud-init",
        json!({"compute": {"name": "compute", "cloud-init": {"userdata": {"write_files": []}}}}),
    );
    documents.insert(
        "/cloud-init-secure",
        json!({"compute": {"name": "compute", "cloud-init": {"userdata": {"secret": 1}}}}),
    );
    let old = old_site(documents);
    let daemon = Server::start(|_, _, _| {
        let report = json!({"added": [], "changed": [], "removed": [], "unchanged": 4, "dry_run": false, "revision": 1});
        (StatusCode::OK, report.to_string())
    });
    let (to, from) = (daemon.url(), old.url());
    let output = std::process::Command::new(MUSTER)
        .args(["--url", &to, "import", "--from-cloud-init", &from, "--from-smd", &from])
        .args(TOKEN)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let log = daemon.log.lock().unwrap().clone();
    let sent: Vec<&str> = log.iter().skip(2).map(|(head, _)| head.as_str()).collect();
    assert_eq!(sent, ["PUT /cloud-init/compute", "PUT /cloud-init-secure/compute"]);
    assert_eq!(log[3].1["cloud-init"]["userdata"]["secret"], 1);
}

#[test]
fn a_warewulf_is_taken_over() {
    let head = Head::start();
    let nodes = "nodeprofiles:\n  default: {image name: rocky-9, kernel: {args: [quiet]}}\nnodes:\n  n1:\n    profiles: [default]\n    \
                 network devices:\n      default: {hwaddr: '00:00:5e:00:53:01', ipaddr: 192.0.2.1}\n";
    let output = head.import(nodes, &[]);
    let said = text(&output);
    assert!(output.status.success() && said.contains("note: 1 node(s) boot the image rocky-9"), "{said}");
    assert_eq!(head.json(&["node", "show", "n1"])["groups"][0], "default");
    assert_eq!(head.json(&["boot", "show", "n1"])[0]["outcome"], "hold", "no kernel yet");
    head.ok(&["boot", "set", "--default", "--kernel", "vmlinuz", "--initrd", "initrd.img"]);
    let boot = head.json(&["boot", "show", "n1"])[0].clone();
    assert_eq!(
        (boot["target"]["kernel"].as_str(), boot["target"]["params"].as_str()),
        (Some("vmlinuz"), Some("quiet"))
    );
    assert!(text(&head.import(nodes, &[])).contains("unchanged"), "again, and nothing changes");
}

#[test]
fn the_certificate_of_an_old_site_is_checked() {
    let head = Head::start();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let old = Server::with(Some(Arc::new(config)), answers(site()));
    let root = head.folder.path().join("root.pem");
    std::fs::write(&root, made.cert.pem()).unwrap();
    let url = old.url();
    let import = [&["import", "--dry-run", "--from", &url][..], &TOKEN].concat();
    let said = head.refused(&import);
    assert!(said.contains("--from-cacert"), "{said}");
    let trusted = [&import[..], &["--from-cacert", root.to_str().unwrap()]].concat();
    assert!(head.ok(&trusted).contains("found 2 nodes"));
    assert!(head.ok(&[&import[..], &["--from-insecure"]].concat()).contains("found 2 nodes"));
    let empty = head.refused(&[&import[..], &["--from-cacert", head.config.to_str().unwrap()]].concat());
    assert!(empty.contains("holds no certificate"), "{empty}");
}

#[test]
fn a_head_takes_over_another_head() {
    let (old, url) = Head::open();
    assert!(old.import(NODES, &[]).status.success());
    let new = Head::start();
    // The whole of it, BSS and cloud-init too, is in the test below.
    new.ok(&["import", "--from-smd", &url]);
    for name in ["nid001", "nid002"] {
        let (before, after) = (old.json(&["node", "show", name]), new.json(&["node", "show", name]));
        for field in ["nid", "groups", "effective_xname"] {
            assert_eq!(before[field], after[field], "{name}: {field}");
        }
        let ports = |node: &Value| {
            let ports = node["interfaces"].as_array().unwrap().iter();
            ports.map(|port| (port["mac"].clone(), port["addresses"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(ports(&before), ports(&after), "{name}");
    }
    assert_eq!(new.json(&["node", "list"]).as_array().unwrap().len(), 3);
}

#[test]
fn a_head_takes_over_all_of_another_head() {
    let (old, url) = Head::open();
    assert!(old.import(NODES, &[]).status.success());
    old.ok(&["boot", "set", "nid001", "--kernel", "http://192.0.2.254/vmlinuz", "--params", "quiet"]);
    let new = Head::start();
    let said = new.ok(&["import", "--from", &url]);
    assert!(said.contains("boot parameters") && said.contains("instance ids"), "{said}");
    let names = |head: &Head| -> Vec<Value> {
        head.json(&["node", "list"]).as_array().unwrap().iter().map(|node| node["name"].clone()).collect()
    };
    assert_eq!(names(&old), names(&new), "names as cloud-init tells them");
    let boot = |head: &Head| head.json(&["boot", "show", "nid001"])[0]["target"].clone();
    assert_eq!(boot(&old), boot(&new));
    let revision = new.json(&["status"])["revision"].clone();
    new.ok(&["import", "--from", &url]);
    assert_eq!(new.json(&["status"])["revision"], revision, "again, and nothing changes");
}
