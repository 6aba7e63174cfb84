use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cli::foreign::convert::{Inventory, convert};
use crate::engine::inventory::{Mode, plan, read};
use crate::model::{Change, Node, Site};

fn site() -> Inventory {
    let list = |value: Value| value.as_array().unwrap().clone();
    Inventory {
        components: list(json!([
            {"ID": "x1000c0s0b0n0", "Type": "Node", "State": "Ready", "Flag": "OK", "Enabled": true, "Role": "Compute",
             "SubRole": "Worker", "NID": 1, "Arch": "X86", "Class": "River"},
            {"ID": "x1000c0s0b0n1", "Type": "Node", "State": "Off", "Role": "Service", "NID": 12},
            {"ID": "x1000c0s0b0", "Type": "NodeBMC", "Enabled": true},
            {"ID": "x1000c0s1b0", "Type": "NodeBMC", "Enabled": true},
            {"ID": "x1000c0w1", "Type": "MgmtSwitch"},
        ])),
        interfaces: list(json!([
            {"ID": "00005e005301", "MACAddress": "00:00:5e:00:53:01", "ComponentID": "x1000c0s0b0n0", "Type": "Node",
             "IPAddresses": [{"IPAddress": "192.0.2.1", "Network": "management"}, {"IPAddress": "2001:db8::1"}]},
            {"ID": "00005e005302", "MACAddress": "00:00:5E:00:53:02", "ComponentID": "X1000c0s0b0n0", "IPAddresses": []},
            {"ID": "00005e005311", "MACAddress": "00:00:5e:00:53:11", "ComponentID": "x1000c0s0b0", "Type": "NodeBMC",
             "IPAddresses": [{"IPAddress": "192.0.2.101"}]},
            {"ID": "00005e005312", "MACAddress": "00:00:5e:00:53:12", "ComponentID": "x1000c0s1b0", "Type": "NodeBMC"},
            {"ID": "00005e005399", "MACAddress": "00:00:5e:00:53:99", "ComponentID": ""},
        ])),
        endpoints: list(json!([
            {"ID": "x1000c0s0b0", "Type": "NodeBMC", "Name": "bmc01", "FQDN": "bmc01.example", "User": "root",
             "Password": "hunter2"},
        ])),
        groups: list(json!([
            {"label": "compute", "description": "The compute group", "members": {"ids": ["x1000c0s0b0n0", "x1000c0w1"]}},
            {"label": "exclusive", "exclusiveGroup": "e", "tags": ["t"], "members": {"ids": []}},
        ])),
        boot_macs: BTreeSet::from(["00:00:5e:00:53:02".parse().unwrap()]),
        host_names: BTreeMap::new(),
        naming: Some(("de".to_owned(), 4)),
    }
}

fn nodes(document: &Value) -> (Vec<Arc<Node>>, Vec<Change>) {
    let document = read(&document.to_string(), "nid").unwrap();
    let planned =
        plan(&crate::model::Inventory::default(), &Site::default(), &document, Mode::default()).unwrap();
    let nodes = planned.changes.iter().filter_map(|change| match change {
        Change::PutNode(node) => Some(Arc::clone(node)),
        _ => None,
    });
    (nodes.collect(), planned.changes.clone())
}

#[test]
fn a_site_of_smd_becomes_a_document_that_our_import_takes() {
    let converted = convert(&site());
    assert_eq!((converted.nodes, converted.bmcs, converted.groups), (2, 2, 2));
    let (nodes, changes) = nodes(&converted.document);
    let [first, second] = nodes.as_slice() else { panic!("{nodes:?}") };
    assert_eq!(first.name.as_str(), "de0001", "as cloud-init called it");
    assert_eq!(second.name.as_str(), "de0012");
    assert_eq!(first.xname.as_ref().unwrap().as_str(), "x1000c0s0b0n0");
    assert_eq!(first.groups.iter().map(ToString::to_string).collect::<Vec<_>>(), ["compute"]);
    let macs: Vec<String> = first.interfaces.iter().map(|port| port.mac.to_string()).collect();
    assert_eq!(macs, ["00:00:5e:00:53:02", "00:00:5e:00:53:01"], "the one with boot parameters first");
    assert_eq!(first.interfaces[1].addresses, ["192.0.2.1".parse::<std::net::Ipv4Addr>().unwrap()]);
    assert_eq!(first.bmc.as_ref().unwrap().as_str(), "bmc01");
    assert_eq!(second.bmc, first.bmc, "two nodes of one board");
    let kept: Value = serde_json::from_str(&first.annotations["smd.component"]).unwrap();
    assert_eq!(kept["SubRole"], "Worker");
    assert_eq!(kept["NID"], Value::Null, "what the model holds is held once");
    let bmcs: Vec<String> = changes
        .iter()
        .filter_map(|change| match change {
            Change::PutBmc(bmc) => {
                Some(format!("{} {:?} {:?} {:?}", bmc.name, bmc.mac, bmc.address, bmc.fqdn))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        bmcs,
        [
            "bmc01 Some(00:00:5e:00:53:11) Some(192.0.2.101) Some(\"bmc01.example\")",
            "x1000c0s1b0 Some(00:00:5e:00:53:12) None None"
        ],
        "what the endpoint does not say its interface does"
    );
}

#[test]
fn a_controller_that_is_only_known_by_its_interface_is_a_bmc_too() {
    let mut site = site();
    site.endpoints.clear();
    site.components.retain(|one| one["Type"] == "Node");
    let (nodes, changes) = nodes(&convert(&site).document);
    assert_eq!(nodes[0].bmc.as_ref().unwrap().as_str(), "x1000c0s0b0");
    assert_eq!(changes.iter().filter(|change| matches!(change, Change::PutBmc(_))).count(), 2);
}

#[test]
fn what_cannot_come_over_is_said() {
    let notes = convert(&site()).notes.join("\n");
    for part in [
        "1 address(es) are not IPv4",
        "1 interface(s) belong to no node and no BMC and are left out, such as 00:00:5e:00:53:99",
        "passwords of Redfish endpoints are not carried over",
    ] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
    assert!(!convert(&site()).document.to_string().contains("hunter2"));
}

#[test]
fn names_come_from_where_the_site_has_them() {
    let mut site = site();
    site.host_names.insert("x1000c0s0b0n1".to_owned(), "Login1.demo.example".to_owned());
    let (found, _) = nodes(&convert(&site).document);
    assert_eq!(found[1].name.as_str(), "login1", "what cloud-init was told");
    site.naming = None;
    let (found, _) = nodes(&convert(&site).document);
    assert_eq!(found[0].name.as_str(), "nid001", "without cloud-init, as every import does");
    site.components[0]["NID"] = Value::Null;
    let (found, _) = nodes(&convert(&site).document);
    assert_eq!(found[0].name.as_str(), "x1000c0s0b0n0");
}

#[test]
fn nonsense_is_left_out_and_panics_nowhere() {
    let odd = [
        json!(null),
        json!(7),
        json!([]),
        json!({}),
        json!({"ID": 7, "Type": []}),
        json!({"label": {}, "members": 3}),
    ];
    let site = Inventory {
        components: odd.to_vec(),
        interfaces: odd.to_vec(),
        endpoints: odd.to_vec(),
        groups: odd.to_vec(),
        ..Inventory::default()
    };
    let converted = convert(&site);
    assert_eq!((converted.nodes, converted.bmcs, converted.groups), (0, 0, 0));
}
