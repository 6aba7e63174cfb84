use std::sync::Arc;

use serde_json::{Value, json};

use crate::engine::cloud_init::calls::{Call, Calls};
use crate::engine::cloud_init::entry::{DEFAULTS_ID, DEFAULTS_SHELF, Defaults, GROUP_SHELF, NodeData};
use crate::engine::cloud_init::preview::preview;
use crate::engine::cloud_init::{GroupData, Tree, View, view::Section};
use crate::model::document::NODE_INSTANCE_SHELF;
use crate::model::network::tests::network;
use crate::model::{
    Change, Document, DocumentKey, Interface, Inventory, Nid, Node, NodeId, Revision, Site, Snapshot,
};

/// Node 1, in the groups `compute` and `gpu`, with a port on the boot network and one on none; the documents
/// as (shelf, id, JSON).
fn snapshot(documents: &[(&str, &str, Value)]) -> Snapshot {
    let mut node = Node::new(NodeId(1), "nid001".parse().unwrap());
    node.nid = Some(Nid(1));
    node.xname = Some("x1000c0s0b0n0".parse().unwrap());
    node.groups = ["compute", "gpu"].map(|name| name.parse().unwrap()).into();
    let mac = |last: u8| format!("00:00:5e:00:53:{last:02x}").parse().unwrap();
    node.interfaces = vec![
        Interface {
            name: Some("boot".to_owned()),
            mac: mac(1),
            addresses: vec!["192.0.2.1".parse().unwrap()],
        },
        Interface { name: None, mac: mac(2), addresses: Vec::new() },
    ];
    let mut inventory = Inventory::default();
    inventory.apply(&Change::PutNode(Arc::new(node)));
    for (shelf, id, body) in documents {
        let document = Document { key: DocumentKey::new(shelf, id), body: body.to_string() };
        inventory.apply(&Change::PutDocument(Arc::new(document)));
    }
    let mut network = network("");
    network.routers = vec!["192.0.2.253".parse().unwrap()];
    network.mtu = Some(9000);
    let site = Site { networks: vec![network], ..Site::default() };
    Snapshot::compile(Revision(1), Arc::new(site), Arc::new(inventory))
}

fn view(snapshot: &Snapshot) -> View<'_> {
    View::new(snapshot, snapshot.node(NodeId(1)).unwrap())
}

#[test]
fn meta_data_of_a_node_that_nobody_described_is_complete() {
    let snapshot = snapshot(&[]);
    let text = view(&snapshot).meta_data().yaml();
    let id = view(&snapshot).instance_id();
    let wanted = format!(
        "instance-id: {id}\nlocal-hostname: nid001\nhostname: nid001\ncluster-name: demo\ninstance_data:\n  v1:\n    cloud_provider: OpenCHAMI\n    hostname: nid001\n    instance_id: {id}\n    local_hostname: nid001\n    local_ipv4: \"192.0.2.1\"\n    public_keys: []\n    vendor_data:\n      cabinet: x1000\n      cloud_init_base_url: http://192.0.2.254:8081/cloud-init\n      cluster_name: demo\n      groups:\n        compute:\n          Description: \"\"\n        gpu:\n          Description: \"\"\n      nid: 1\n      version: \"1.0\"\n"
    );
    assert_eq!(text, wanted);
    assert!(id.len() == 10 && id.starts_with("i-"), "{id}");
}

#[test]
fn of_two_sources_the_nearer_one_wins_and_is_named() {
    let snapshot = snapshot(&[
        (
            DEFAULTS_SHELF,
            DEFAULTS_ID,
            json!({"region": "r1", "cluster-name": "demo", "nid-length": 3, "cloud_provider": "p", "base-url": "http://192.0.2.9/ci/"}),
        ),
        (
            GROUP_SHELF,
            "compute",
            json!({"name": "compute", "description": "all", "meta-data": {"syslog": "192.0.2.5"}}),
        ),
        (NODE_INSTANCE_SHELF, "x1000c0s0b0n0", json!({"region": "r2", "meta-data": {"slot": 4}})),
        (Tree::Open.shelf(), "compute", json!({"metadata": {"slot": 1, "asset": "a"}})),
    ]);
    let meta = view(&snapshot).meta_data();
    let source = |path: &str| {
        let origin =
            meta.origins.iter().find(|origin| origin.path == path).unwrap_or_else(|| panic!("{path}"));
        (origin.value.clone(), origin.source.to_string())
    };
    for (path, value, from) in [
        ("instance_data.v1.region", json!("r2"), "node"),
        ("instance_data.v1.cloud_name", json!("p"), "defaults"),
        ("local-hostname", json!("de001"), "defaults"),
        ("instance_data.v1.vendor_data.groups.compute.syslog", json!("192.0.2.5"), "group compute"),
        ("instance_data.v1.vendor_data.cloud_init_base_url", json!("http://192.0.2.9/ci"), "defaults"),
        ("instance_data.v1.vendor_data.nid", json!(1), "inventory"),
        ("asset", json!("a"), "entry compute"),
        ("slot", json!(4), "node"),
    ] {
        assert_eq!(source(path), (value, from.to_owned()), "{path}");
    }
    assert_eq!(meta.origins.iter().filter(|origin| origin.path == "slot").count(), 1);
    assert_eq!(
        view(&snapshot).vendor_data(),
        "#include\nhttp://192.0.2.9/ci/compute.yaml\nhttp://192.0.2.9/ci/gpu.yaml\n"
    );
}

#[test]
fn an_instance_id_changes_on_request_only() {
    let plain = snapshot(&[]);
    let first = view(&plain).instance_id();
    let same = snapshot(&[(NODE_INSTANCE_SHELF, "1", json!({"hostname": "x"}))]);
    assert_eq!(view(&same).instance_id(), first);
    let anew = snapshot(&[(NODE_INSTANCE_SHELF, "1", json!({"installation": 1}))]);
    assert_ne!(view(&anew).instance_id(), first);
    let given = snapshot(&[(NODE_INSTANCE_SHELF, "1", json!({"instance-id": "i-given"}))]);
    assert_eq!(view(&given).instance_id(), "i-given");
}

#[test]
fn entries_of_the_first_generation_merge_at_the_top_level() {
    let snapshot = snapshot(&[
        (Tree::Open.shelf(), "compute", json!({"userdata": {"runcmd": ["a"], "x": 1}})),
        (Tree::Open.shelf(), "gpu", json!({"userdata": {"x": 2}})),
        (Tree::Open.shelf(), "x1000c0s0b0n0", json!({"userdata": {"runcmd": ["b"]}})),
        (Tree::Secure.shelf(), "gpu", json!({"userdata": {"secret": true}})),
    ]);
    let view = view(&snapshot);
    assert_eq!(String::from_utf8(view.user_data()).unwrap(), "#cloud-config\nruncmd:\n- b\nx: 2\n");
    assert_eq!(view.secure(Section::User), "#cloud-config\nsecret: true\n");
    assert_eq!(view.secure(Section::Meta), "", "an empty document is an empty body");
    assert!(view.vendor_data().starts_with("#include\n"));
}

#[test]
fn group_files_are_for_members_only() {
    let snapshot = snapshot(&[
        (
            GROUP_SHELF,
            "compute",
            json!({"name": "compute", "file": {"content": "I2Nsb3VkLWNvbmZpZwo=", "encoding": "base64"}}),
        ),
        (GROUP_SHELF, "io", json!({"name": "io", "file": {"content": "#cloud-config\n"}})),
    ]);
    let file = |name: &str| view(&snapshot).group_file(name).map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(file("compute").as_deref(), Some("#cloud-config\n"));
    assert_eq!(file("gpu").as_deref(), Some("#cloud-config"), "a group without a file does nothing");
    assert_eq!(file("io"), None);
}

#[test]
fn every_declared_port_is_configured() {
    let snapshot = snapshot(&[]);
    let wanted = "version: 2\nethernets:\n  boot:\n    addresses:\n    - \"192.0.2.1/24\"\n    dhcp4: false\n    match:\n      macaddress: \"00:00:5e:00:53:01\"\n    mtu: 9000\n    nameservers:\n      addresses:\n      - \"192.0.2.254\"\n      search:\n      - cluster.internal\n    routes:\n    - to: \"0.0.0.0/0\"\n      via: \"192.0.2.253\"\n  port1:\n    dhcp4: true\n    match:\n      macaddress: \"00:00:5e:00:53:02\"\n";
    assert_eq!(view(&snapshot).network_config(), wanted);
}

#[test]
fn a_preview_renders_and_tells_what_is_missing() {
    let file = "## template: jinja\n#cloud-config\nwrite_files:\n- path: /etc/x\n  content: \"{{ ds.meta_data.instance_data.v1.vendor_data.groups.compute.syslog }} {{ ds.meta_data.hostname }} {{ absent }}\"\n";
    let broken = "## template: jinja\n#cloud-config\n{{ absent.more }}\n";
    let snapshot = snapshot(&[
        (
            GROUP_SHELF,
            "compute",
            json!({"name": "compute", "meta-data": {"syslog": "192.0.2.5"}, "file": {"content": file}}),
        ),
        (GROUP_SHELF, "gpu", json!({"name": "gpu", "file": {"content": broken}})),
    ]);
    let preview = preview(&view(&snapshot));
    let part = |name: &str| preview.parts.iter().find(|part| part.name == name).unwrap();
    let compute = part("compute.yaml");
    let text = compute.text.as_deref().unwrap();
    assert!(text.contains("192.0.2.5 nid001 CI_MISSING_JINJA_VAR/absent"), "{text}");
    assert!(compute.remarks.iter().any(|remark| remark.text.contains("\"absent\" is missing")));
    assert_eq!(part("gpu.yaml").text, None);
    assert_eq!(part("gpu.yaml").remarks.first().unwrap().line, Some(3));
}

#[test]
fn entries_come_back_as_they_were_given() {
    let group = json!({"name": "compute", "description": "d", "meta-data": {"A_b": [1]}, "file": {"content": "#cloud-config", "filename": "f", "encoding": "plain"}});
    assert_eq!(GroupData::read(&group, None).unwrap().write(), group);
    let defaults =
        json!({"cloud_provider": "p", "availability-zone": "z", "nid-length": 3, "public-keys": ["k"]});
    assert_eq!(Defaults::read(&defaults).unwrap().write(), defaults);
    let yaml_spelling =
        json!({"cloud-provider": "p", "Availability_Zone": "z", "nid_length": 3, "public_keys": ["k"]});
    assert_eq!(Defaults::read(&yaml_spelling).unwrap().write(), defaults);
    for (wrong, field) in [
        (json!({"nid-length": 99}), "nid-length"),
        (json!({"region": ["a"]}), "region"),
        (json!({"base-url": "demo"}), "base-url"),
        (json!({"public-keys": [1]}), "public-keys"),
    ] {
        assert_eq!(Defaults::read(&wrong).unwrap_err().field, field);
    }
    for (wrong, field) in [
        (json!({}), "name"),
        (json!({"name": "a b"}), "name"),
        (json!({"name": "a", "file": {"encoding": "gzip"}}), "file.encoding"),
        (json!({"name": "a", "file": {"encoding": "base64", "content": "%"}}), "file.content"),
    ] {
        assert_eq!(GroupData::read(&wrong, None).unwrap_err().field, field);
    }
    assert_eq!(NodeData::read(&json!([])).unwrap_err().field, "instance-info");
}

#[test]
fn defaults_merge_what_is_not_empty() {
    let mut old = Defaults::read(&json!({"region": "r", "short-name": "nid", "nid-length": 3})).unwrap();
    old.merge(Defaults::read(&json!({"region": "", "short-name": "de"})).unwrap());
    assert_eq!(old.write(), json!({"region": "r", "short-name": "de", "nid-length": 3}));
}

#[test]
fn a_node_takes_its_instance_data_along_when_it_goes() {
    let mut inventory = Inventory::clone(&snapshot(&[(NODE_INSTANCE_SHELF, "1", json!({}))]).inventory);
    inventory.apply(&Change::RemoveNode(NodeId(1)));
    assert_eq!(inventory.document(NODE_INSTANCE_SHELF, "1"), None);
}

#[test]
fn reports_are_read_and_counted() {
    let form = [("pub_key_rsa", "ssh-rsa A\n"), ("pub_key_dsa", "N/A"), ("instance_id", "i-1"), ("odd", "x")];
    let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let call = Call::read(form).unwrap();
    assert_eq!(call.keys.get("rsa").map(String::as_str), Some("ssh-rsa A"));
    assert_eq!((call.instance_id.as_str(), call.keys.len()), ("i-1", 1));
    assert_eq!(Call::read([("fqdn".to_owned(), "x".repeat(5000))]), Err("fqdn".to_owned()));
    let mut calls = Calls::default();
    calls.record(NodeId(1), call.clone(), crate::base::Timestamp(5));
    calls.record(NodeId(1), call, crate::base::Timestamp(9));
    let (_, last) = calls.iter().next().unwrap();
    assert_eq!((last.count, last.at.0), (2, 9));
}
