//! Imports of whole files, one after another, as a site does it over the years: nothing is lost silently, nothing
//! is declared twice.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use muster::engine::inventory::{Document, Mode, Plan, Problems, export, plan, read};
use muster::model::{Inventory, NodeId, Site};

const FILES: [&str; 7] =
    ["form-a.yaml", "form-b.yaml", "form-c.yaml", "form-d.yaml", "nodes.csv", "form-a.json", "ours.yaml"];

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inventory");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn lines(problems: Problems) -> Vec<String> {
    problems.list.iter().map(ToString::to_string).collect()
}

fn site() -> Site {
    let text = "[[network]]\nname = \"boot\"\ninterface = \"eth1\"\naddress = \"192.0.2.254/24\"\n\
                [[network]]\nname = \"hsn\"\naddress = \"198.51.100.0/24\"\n";
    muster::app::config::Config::parse(text).unwrap().site
}

fn import(inventory: &mut Inventory, text: &str, prune: bool) -> Result<Plan, Vec<String>> {
    let document: Document = read(text, "nid").map_err(lines)?;
    let plan = plan(inventory, &site(), &document, Mode { prune }).map_err(lines)?;
    plan.changes.iter().for_each(|change| inventory.apply(change));
    Ok(plan)
}

fn imported(text: &str) -> Inventory {
    let mut inventory = Inventory::default();
    import(&mut inventory, text, false).unwrap_or_else(|problems| panic!("{problems:#?}"));
    inventory
}

/// The problems of a text on an empty inventory.
fn refused(text: &str) -> Vec<String> {
    import(&mut Inventory::default(), text, false).unwrap_err()
}

#[test]
fn every_file_declares_two_nodes_and_changes_nothing_the_second_time() {
    for name in FILES {
        let mut inventory = imported(&file(name));
        let names: Vec<&str> = inventory.nodes.values().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["compute1", "compute2"], "{name}");
        for (index, node) in inventory.nodes.values().enumerate() {
            assert_eq!(node.id, NodeId(index as u64), "{name}");
            let mac = node.interfaces[0].mac.to_string();
            assert_eq!(mac, format!("00:00:5e:00:53:{:02x}", index + 1), "{name}");
        }
        let again = import(&mut inventory, &file(name), true).unwrap();
        assert_eq!((again.changes, again.report.removed.len()), (vec![], 0), "{name}");
        assert!(again.report.unchanged >= 2, "{name}");
    }
}

#[test]
fn what_is_exported_comes_back_from_every_file() {
    for name in FILES {
        let mut inventory = imported(&file(name));
        let text = export(&inventory);
        assert_eq!(imported(&text), inventory, "{name}\n{text}");
        assert_eq!(import(&mut inventory, &text, true).unwrap().changes, [], "{name}\n{text}");
    }
}

#[test]
fn no_file_declares_again_what_another_form_declared() {
    for first in FILES {
        for second in FILES {
            let mut inventory = imported(&file(first));
            let (nodes, bmcs) = (inventory.nodes.len(), inventory.bmcs.len());
            let plan = import(&mut inventory, &file(second), false)
                .unwrap_or_else(|problems| panic!("{first} then {second}: {problems:#?}"));
            assert_eq!(inventory.nodes.len(), nodes, "{first} then {second}: {:?}", plan.report);
            assert!(inventory.bmcs.len() <= bmcs.max(2), "{first} then {second}: {:?}", inventory.bmcs);
        }
    }
}

#[test]
fn a_form_leaves_alone_what_it_has_no_room_for() {
    let mut inventory = imported(&file("form-a.yaml"));
    let before = inventory.nodes.get(&NodeId(0)).unwrap().clone();
    assert_eq!(before.interfaces.len(), 2);
    let plan = import(&mut inventory, &file("nodes.csv"), true).unwrap();
    assert_eq!(plan.changes, [], "{:?}", plan.report);
    // New hardware in the port that it boots from: its name and the other port stay.
    let csv = "name,mac\ncompute1,00:00:5e:00:53:77\n";
    let plan = import(&mut inventory, csv, false).unwrap();
    assert_eq!(plan.report.fields["compute1"], ["interfaces"]);
    let after = &inventory.nodes.get(&NodeId(0)).unwrap();
    assert_eq!(after.interfaces[0].mac.to_string(), "00:00:5e:00:53:77");
    assert_eq!(after.interfaces[0].name, before.interfaces[0].name);
    assert_eq!(after.interfaces[0].addresses, before.interfaces[0].addresses);
    assert_eq!(after.interfaces[1], before.interfaces[1]);
}

#[test]
fn an_empty_list_takes_away_and_silence_does_not() {
    let mut inventory = imported(&file("ours.yaml"));
    let silent = "nodes:\n- {name: compute1, interfaces: [{mac_addr: '00:00:5e:00:53:01'}]}\n";
    assert_eq!(import(&mut inventory, silent, false).unwrap().changes, []);
    let said = "nodes:\n- {name: compute1, role: null, groups: [], bmc: null, uuid: null, loader: null,\n   \
                interfaces: [{mac_addr: '00:00:5e:00:53:01', name: null, ip_addrs: []}]}\n";
    let plan = import(&mut inventory, said, false).unwrap();
    assert_eq!(plan.report.fields["compute1"], ["uuid", "role", "groups", "interfaces", "bmc", "loader"]);
    let node = &inventory.nodes.get(&NodeId(0)).unwrap();
    assert!(node.groups.is_empty() && node.bmc.is_none() && node.role.is_none() && node.uuid.is_none());
    assert_eq!((node.interfaces[0].name.as_ref(), node.interfaces[0].addresses.len()), (None, 0));
}

#[test]
fn a_made_up_bmc_name_never_makes_a_second_bmc() {
    let mut inventory = imported(&file("form-a.yaml"));
    let plan = import(&mut inventory, &file("form-b.yaml"), true).unwrap();
    assert_eq!((plan.report.added.len(), plan.report.removed.len()), (0, 0), "{:?}", plan.report);
    assert_eq!(inventory.nodes.get(&NodeId(0)).unwrap().bmc.as_ref().unwrap().as_str(), "bmc01");
    // The node gets another name: it keeps its number and its BMC.
    let text = file("form-b.yaml").replace("compute1", "login1");
    let plan = import(&mut inventory, &text, true).unwrap();
    assert_eq!(plan.report.fields["login1"], ["name"]);
    assert_eq!(plan.changes.len(), 1);
}

#[test]
fn a_bmc_that_gets_a_name_keeps_its_nodes() {
    let mut inventory = imported(&file("form-b.yaml"));
    // A node that the second file does not mention has the same BMC.
    let third = "nodes:\n- {name: third, bmc: compute1-bmc, interfaces: [{mac_addr: '00:00:5e:00:53:03'}]}\n";
    import(&mut inventory, third, false).unwrap();
    let plan = import(&mut inventory, &file("form-a.yaml"), false).unwrap();
    assert_eq!(plan.report.fields["bmc bmc01"], ["name"]);
    assert_eq!(plan.report.fields["third"], ["bmc"]);
    let names: Vec<_> = inventory.bmcs.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["bmc01", "bmc02"]);
    assert!(inventory.nodes.values().all(|node| inventory.bmcs.contains_key(node.bmc.as_ref().unwrap())));
}

#[test]
fn nodes_share_a_bmc_but_a_bmc_has_one_address() {
    let text = "nodes:
- {name: a, nid: 1, bmc_mac: '00:00:5e:00:53:a1', bmc_ip: 192.0.2.101, interfaces: [{mac_addr: '00:00:5e:00:53:01'}]}
- {name: b, nid: 2, bmc_mac: '00:00:5e:00:53:a1', bmc_ip: 192.0.2.101, interfaces: [{mac_addr: '00:00:5e:00:53:02'}]}
";
    let inventory = imported(text);
    assert_eq!((inventory.nodes.len(), inventory.bmcs.len()), (2, 1));
    let text = text.replacen("192.0.2.101", "192.0.2.102", 1);
    assert_eq!(
        refused(&text),
        ["line 3: nodes[1].bmc_ip: 192.0.2.101, but this BMC has 192.0.2.102 on line 2"]
    );
    let csv = "name,mac,bmc,bmc_ip\na,00:00:5e:00:53:01,ipmi-a,192.0.2.101\n";
    assert_eq!(imported(csv).bmcs.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["ipmi-a"]);
}

#[test]
fn names_win_over_hardware_when_both_move() {
    let mut inventory = imported("name,mac\none,00:00:5e:00:53:01\ntwo,00:00:5e:00:53:02\n");
    // Boards swapped.
    let swap = "name,mac\none,00:00:5e:00:53:02\ntwo,00:00:5e:00:53:01\n";
    assert_eq!(import(&mut inventory, swap, false).unwrap().report.changed, ["one", "two"]);
    // `two` goes on in another box, and its old one is called `three` now.
    let moved = "name,mac\nthree,00:00:5e:00:53:01\ntwo,00:00:5e:00:53:09\n";
    let plan = import(&mut inventory, moved, false).unwrap();
    assert_eq!((plan.report.added, plan.report.changed), (vec!["three".to_owned()], vec!["two".to_owned()]));
    assert_eq!(inventory.nodes.get(&NodeId(1)).unwrap().name.as_str(), "two");
}

#[test]
fn nothing_is_dropped_in_silence() {
    for (text, want) in [
        ("", "the document is empty"),
        ("# nothing\n", "the document is empty"),
        ("nodes: []\n---\nnodes: []\n", "line 3: a second document begins here"),
        ("nodes:\n- {name: '', interfaces: []}\n", "line 2: nodes[0].name: a node needs a name"),
        ("nodes:\n- {name: null}\n", "line 2: nodes[0].name: a node needs a name"),
        (
            "nodes:\n- {name: n, mac: '00:00:5e:00:53:01', interfaces: []}\n",
            "line 2: nodes[0].mac: unknown field",
        ),
        ("nodes:\n- name: n\n  arch: vax\n", "line 3: nodes[0].arch: \"vax\" is none of x86_64, arm64"),
        (
            "nodes:\n- name: n\n  policy: maybe\n",
            "line 3: nodes[0].policy: \"maybe\" is none of serve, ignore, local",
        ),
        ("bmcs:\n  b1: {}\n", "line 2: bmcs: expected a list, found fields"),
        (
            "name,mac,mac\nn,00:00:5e:00:53:01,00:00:5e:00:53:02\n",
            "line 1: mac: this column stands here twice",
        ),
        ("name,mac,group,groups\nn,00:00:5e:00:53:01,a,b\n", "line 1: groups: this column stands here twice"),
        (
            "#\nname,mac,bmc-ip\nn,00:00:5e:00:53:01,192.0.2.9\n",
            "line 2: bmc-ip: unknown column; known are name, mac",
        ),
        ("name,mac\n,00:00:5e:00:53:01\n", "line 2: [0].name: a node needs a name"),
        ("name,mac\nn,\n", "line 2: [0].mac: an interface needs a hardware address"),
        ("bmcs: [{name: a}, {name: A}]\n", "line 1: bmcs[1].name: the BMC a stands on line 1 already"),
        (
            "groups:\n- {name: a}\n- {name: a}\n",
            "line 3: groups[1].name: the group a stands on line 2 already",
        ),
        (
            "profiles:\n- {name: a, local: true}\n- {name: a, local: true}\n",
            "line 3: profiles[1].name: the profile a stands on line 2 already",
        ),
        (
            "assignments:\n- {default: true, local: true}\n- {default: true, chain: 'http://192.0.2.1/'}\n",
            "line 3: assignments[1]: an assignment for default stands on line 2 already",
        ),
        ("assignments:\n- {node: n, local: true}\n", "line 2: assignments[0].node: no node is called n"),
        (
            "assignments:\n- {default: true, profile: x}\n",
            "line 2: assignment for default: profile: no profile is called x",
        ),
    ] {
        let found = refused(text);
        assert!(
            found.iter().any(|problem| problem.starts_with(want)),
            "{text:?}: missing {want:?} in {found:#?}"
        );
    }
}

#[test]
fn spreadsheets_and_hand_written_lists_are_understood() {
    let inventory = imported("\u{feff}name, mac, ip, groups\r\nn1, 0000.5e00.5301, 192.0.2.1, a b\r\n");
    let node = &inventory.nodes.get(&NodeId(0)).unwrap();
    assert_eq!((node.interfaces[0].addresses.len(), node.groups.len()), (1, 2));
    let inventory = imported("- {name: n1, mac: 00:00:5e:00:53:01, ip: 192.0.2.1, rack: r7}\n");
    let node = &inventory.nodes.get(&NodeId(0)).unwrap();
    assert_eq!(node.interfaces[0].addresses, ["192.0.2.1".parse::<std::net::Ipv4Addr>().unwrap()]);
    assert_eq!(node.annotations["rack"], "r7");
    // A node of the boot service that no host name fits, and one without ports.
    let text = "version: '1.0'\nnodes:\n- {id: Node_7, nid: 7, state: Off}\n";
    let inventory = imported(text);
    let node = &inventory.nodes.get(&NodeId(0)).unwrap();
    assert_eq!((node.name.as_str(), node.annotations["id"].as_str()), ("nid007", "Node_7"));
    assert_eq!(node.annotations["state"], "Off");
}

#[test]
fn xnames_without_their_last_part_do_not_tie_bmcs_together() {
    let text = "nodes:
- {name: c1, nid: 1, xname: x1000c0s0b1, bmc_mac: '00:00:5e:00:53:a1', bmc_ip: 192.0.2.101, interfaces: [{mac_addr: '00:00:5e:00:53:01'}]}
- {name: c2, nid: 2, xname: x1000c0s0b2, bmc_mac: '00:00:5e:00:53:a2', bmc_ip: 192.0.2.102, interfaces: [{mac_addr: '00:00:5e:00:53:02'}]}
";
    assert_eq!(imported(text).bmcs.len(), 2);
}

#[test]
fn pruning_touches_only_what_the_document_speaks_of() {
    let mut inventory = imported(&file("ours.yaml"));
    let groups_only = "groups:\n- {name: compute}\n";
    assert_eq!(import(&mut inventory, groups_only, true).unwrap().changes, []);
    let nodes_only = "nodes:\n- {name: compute1}\n";
    let plan = import(&mut inventory, nodes_only, true).unwrap();
    assert_eq!(plan.report.removed, ["compute2"]);
    assert_eq!((inventory.bmcs.len(), inventory.profiles.len()), (1, 1));
    assert_eq!(inventory.nodes.get(&NodeId(0)).unwrap().bmc.as_ref().unwrap().as_str(), "bmc01");
    let everything = "bmcs: []\ngroups: []\nprofiles: []\nassignments: []\nnodes: []\n";
    import(&mut inventory, everything, true).unwrap();
    let mut empty = Inventory::default();
    empty.next_node = 2;
    assert_eq!(inventory, empty);
}

#[test]
fn a_clash_with_what_is_there_names_the_line_that_causes_it() {
    let mut inventory =
        imported("name,mac,ip\none,00:00:5e:00:53:01,192.0.2.1\nzwei,00:00:5e:00:53:02,192.0.2.2\n");
    let clash = "name,mac,ip,nid\nnew,00:00:5e:00:53:03,192.0.2.1,1\none,00:00:5e:00:53:01,192.0.2.2,1\n";
    let found = import(&mut inventory, clash, false).unwrap_err();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found.iter().all(|problem| problem.starts_with("line 2: ") || problem.starts_with("line 3: ")));
    assert!(found.iter().any(|problem| problem.contains("192.0.2.2 is also used by node")), "{found:#?}");
    assert!(
        found.iter().any(|problem| problem.contains("nid 1 is also used by node one (line 3)")),
        "{found:#?}"
    );
}

#[test]
fn problems_beyond_the_limit_are_counted() {
    let rows: String = (0..3000).map(|row| format!("n{row},nonsense\n")).collect();
    let problems = read(&format!("name,mac\n{rows}"), "nid").unwrap_err();
    assert_eq!(problems.list.len() + problems.more, 3000);
    assert_eq!(problems.list.len(), muster::base::limits::PROBLEMS_MAX);
    assert!(problems.list.is_sorted_by_key(|problem| problem.line));
}
