#![expect(clippy::arithmetic_side_effects, reason = "small numbers of the test's own")]

use std::sync::Arc;

use proptest::prelude::*;

use crate::base::Mac;
use crate::engine::inventory::{Mode, Plan, export, plan, read};
use crate::model::network::tests::network;
use crate::model::profile::Boot;
use crate::model::{
    Arch, Assignment, Bmc, BootPolicy, BootTarget, Change, Group, Interface, Inventory, Nid, Node, NodeId,
    Profile, Selector, Site,
};

fn site() -> Site {
    Site { networks: vec![network("192.0.2.200-192.0.2.250")], ..Site::default() }
}

fn import(inventory: &Inventory, text: &str, prune: bool) -> Result<Plan, Vec<String>> {
    let lines = |problems: crate::engine::inventory::Problems| {
        problems.list.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let document = read(text, "nid").map_err(lines)?;
    plan(inventory, &site(), &document, Mode { prune }).map_err(lines)
}

fn applied(text: &str) -> Inventory {
    let mut inventory = Inventory::default();
    import(&inventory.clone(), text, false)
        .unwrap()
        .changes
        .iter()
        .for_each(|change| inventory.apply(change));
    inventory
}

const FORM_A: &str = r"
bmcs:
- {name: bmc01, xname: x1000c0s0b0, mac: de:ca:fc:0f:fe:e1, ip: 192.0.2.101, fqdn: bmc01.example}
nodes:
- name: compute1
  nid: 1
  xname: x1000c0s0b0n0
  bmc: bmc01
  groups: [compute]
  interfaces:
  - mac_addr: 52:54:00:be:ef:01
    ip_addrs:
    - {name: management, ip_addr: 192.0.2.1}
";
const FORM_B: &str = r"
nodes:
- name: compute1
  nid: 1
  xname: x1000c0s0b0n0
  bmc_mac: de:ca:fc:0f:fe:e1
  bmc_ip: 192.0.2.101
  bmc_fqdn: bmc01.example
  group: compute
  interfaces:
  - mac_addr: 52:54:00:be:ef:01
    ip_addrs:
    - {network: management, ip_addr: 192.0.2.1}
";
const FORM_C: &str = r"
nodes:
- {bmc_ipaddr: 192.0.2.101, ipaddr: 192.0.2.1, mac: 52:54:00:be:ef:01, nid: 1, xname: x1000c0s0b0n0, group: compute}
";
const FORM_D: &str = r#"
version: "1.0"
nodes:
- id: compute1
  xname: x1000c0s0b0n0
  type: Node
  role: Compute
  state: Ready
  enabled: true
  nid: 1
  boot_mac: 52:54:00:be:ef:01
  ethernet_interfaces:
  - {mac_address: "52:54:00:be:ef:99", description: hsn}
  - {mac_address: "52:54:00:be:ef:01", ip_address: 192.0.2.1, description: management}
  metadata: {rack: r1}
"#;
const CSV: &str = "name,mac,ip,nid,xname,groups,bmc_ip\ncompute1,52:54:00:be:ef:01,192.0.2.1,1,x1000c0s0b0n0,compute,192.0.2.101\n";

#[test]
fn every_form_declares_the_same_node() {
    for (form, text, name) in [
        ("A", FORM_A, "compute1"),
        ("B", FORM_B, "compute1"),
        ("C", FORM_C, "nid001"),
        ("D", FORM_D, "compute1"),
        ("CSV", CSV, "compute1"),
    ] {
        let inventory = applied(text);
        let node = inventory.nodes.values().next().unwrap();
        assert_eq!((inventory.nodes.len(), node.name.as_str(), node.nid), (1, name, Some(Nid(1))), "{form}");
        assert_eq!(node.effective_xname().as_str(), "x1000c0s0b0n0", "{form}");
        let interface = &node.interfaces[0];
        assert_eq!(interface.mac, Mac([0x52, 0x54, 0, 0xbe, 0xef, 1]), "{form}");
        assert_eq!(interface.addresses, ["192.0.2.1".parse::<std::net::Ipv4Addr>().unwrap()], "{form}");
        if form != "D" {
            assert!(node.groups.contains("compute"), "{form}");
            let bmc = inventory.bmcs.get(node.bmc.as_ref().unwrap()).unwrap();
            assert_eq!(bmc.address, Some("192.0.2.101".parse().unwrap()), "{form}");
        }
        // Again: nothing changes.
        assert_eq!(import(&inventory, text, true).unwrap().changes, [], "{form}");
    }
    let d = applied(FORM_D);
    let node = d.nodes.values().next().unwrap();
    assert_eq!(node.annotations["metadata.rack"], "r1");
    assert_eq!(node.annotations["state"], "Ready");
    assert_eq!(node.interfaces[1].name.as_deref(), Some("hsn"));
}

#[test]
fn all_problems_are_reported_at_once_with_line_and_field() {
    let text = "nodes:
- name: a_b
  interfaces:
  - mac_addr: nonsense
- name: two
  nodename: x
  nid: -1
  interfaces:
  - mac_addr: 52:54:00:be:ef:02
    ip_addrs:
    - {ip_addr: 192.0.2.999}
- 17
colour: red
";
    let found = import(&Inventory::default(), text, false).unwrap_err();
    for want in [
        "line 2: nodes[0].name: \"a_b\" is not a valid node name: only letters, digits and hyphens are allowed",
        "line 4: nodes[0].interfaces[0].mac_addr: \"nonsense\" is not a MAC address",
        "line 6: nodes[1].nodename: unknown field",
        "line 7: nodes[1].nid: \"-1\": is not a whole number from 0 to 4294967295",
        "line 11: nodes[1].interfaces[0].ip_addrs[0].ip_addr: \"192.0.2.999\": invalid IPv4 address syntax",
        "line 12: nodes[2]: expected fields (key: value), found a value",
        "line 13: colour: unknown field",
    ] {
        assert!(found.iter().any(|problem| problem.starts_with(want)), "missing {want:?} in {found:#?}");
    }
    assert_eq!(found.len(), 7, "{found:#?}");
}

#[test]
fn whole_state_problems_name_both_lines() {
    let text = "nodes:
- {name: one, interfaces: [{mac_addr: '52:54:00:be:ef:01', ip_addrs: [{ip_addr: 192.0.2.1}]}]}
- {name: two, bmc: nowhere, interfaces: [{mac_addr: '52:54:00:be:ef:02'}]}
- {name: three, interfaces: [{mac_addr: '52:54:00:be:ef:01', ip_addrs: [{ip_addr: 198.51.100.1}]}]}
- {name: one}
";
    let found = import(&Inventory::default(), text, false).unwrap_err();
    assert_eq!(
        found,
        [
            "line 3: nodes[1].bmc: no BMC is called nowhere",
            "line 4: node three: interfaces[0].mac: 52:54:00:be:ef:01 is also used by node one (line 2)",
            "line 4: node three: interfaces[0].addresses: 198.51.100.1 is outside every network",
            "line 5: nodes[3].name: the node one stands on line 2 already",
        ]
    );
}

#[test]
fn what_is_not_mentioned_stays_and_pruning_removes_it() {
    let two = "nodes:\n- {name: one, role: x, interfaces: [{mac_addr: '52:54:00:be:ef:01'}]}\n- {name: two, interfaces: [{mac_addr: '52:54:00:be:ef:02'}]}\n";
    let one = "nodes:\n- {name: one, interfaces: [{mac_addr: '52:54:00:be:ef:01'}]}\n";
    let inventory = applied(two);
    assert_eq!(import(&inventory, one, false).unwrap().changes, []);
    let plan = import(&inventory, one, true).unwrap();
    assert_eq!((plan.report.removed, plan.report.unchanged), (vec!["two".to_owned()], 1));
    let renamed = "nodes:\n- {name: uno, role: null, interfaces: [{mac_addr: '52:54:00:be:ef:01'}]}\n";
    let plan = import(&inventory, renamed, false).unwrap();
    assert_eq!(plan.report.changed, ["uno"]);
    let Some(Change::PutNode(node)) = plan.changes.first() else { panic!("{:?}", plan.changes) };
    assert_eq!((node.id, node.role.as_deref()), (NodeId(0), None), "known by its hardware address");
}

#[test]
fn tables_name_their_line_and_column() {
    let found = import(&Inventory::default(), "name,mac,color\nn1,nope,red\nn2\n", false).unwrap_err();
    assert!(found[0].starts_with("line 1: color: unknown column"), "{found:?}");
    assert!(found.iter().any(|p| p.starts_with("line 3: 1 fields, but the header has 3")), "{found:?}");
    assert!(
        found.iter().any(|p| p.starts_with("line 2: [0].mac: \"nope\" is not a MAC address")),
        "{found:?}"
    );
    let found = import(&Inventory::default(), "name,ip\nn1,192.0.2.1\n", false).unwrap_err();
    assert!(found[0].contains("mac: this column is needed"), "{found:?}");
}

/// Nid, node, has a BMC, ports with name and whether they have an address.
type Part = (Option<u32>, Node, bool, Vec<(Option<String>, bool)>);

fn text() -> impl Strategy<Value = String> {
    let any = prop::collection::vec(prop::char::any(), 1..8).prop_map(String::from_iter);
    let odd = prop::sample::select(vec![
        "no",
        "a\n\"b\": [é",
        "007",
        "~",
        " x ",
        "\u{feff}\u{85}\u{2028}\0\u{7f}",
        "- a",
        "#",
    ]);
    prop_oneof!["[ -~]{1,12}", any, odd.prop_map(str::to_owned)]
}

prop_compose! {
    fn node()(
        (nid, role, loader) in (prop::option::of(0u32..9), prop::option::of(text()), prop::option::of(text())),
        (arch, policy) in (prop::option::of(0usize..6), 0usize..3),
        groups in prop::collection::btree_set(prop::sample::select(vec!["a", "b.c", "d:1"]), 0..3),
        interfaces in prop::collection::vec((prop::option::of(text()), prop::bool::ANY), 0..3),
        annotations in prop::collection::btree_map(prop_oneof![5 => text(), 1 => Just("k".repeat(2000))], text(), 0..3),
        has_bmc in prop::bool::ANY,
    ) -> Part {
        let mut node = Node::new(NodeId(0), "x".parse().unwrap());
        node.role = role;
        node.loader = loader;
        node.arch = arch.map(|index| Arch::ALL[index].0);
        node.policy = BootPolicy::ALL[policy].0;
        node.groups = groups.into_iter().map(|group| group.parse().unwrap()).collect();
        node.annotations = annotations;
        (nid, node, has_bmc, interfaces)
    }
}

/// A valid inventory out of arbitrary parts: what must be unique is numbered.
fn inventory(parts: Vec<Part>, params: &str) -> Inventory {
    let mut inventory = Inventory::default();
    for (index, (nid, mut node, has_bmc, interfaces)) in parts.into_iter().enumerate() {
        let number = u8::try_from(index).unwrap();
        node.id = NodeId(u64::from(number));
        node.name = format!("n{number}").parse().unwrap();
        node.nid = nid.map(|nid| Nid(nid * 100 + u32::from(number)));
        node.xname = nid.map(|_| format!("x1c0s{number}b0n0").parse().unwrap());
        for (port, (name, addressed)) in interfaces.into_iter().enumerate() {
            let port = u8::try_from(port).unwrap();
            let address = std::net::Ipv4Addr::new(192, 0, 2, 1 + number * 3 + port);
            let mac = Mac([2, 0, 0, 0, number, port]);
            node.interfaces.push(Interface {
                name,
                mac,
                addresses: addressed.then_some(address).into_iter().collect(),
            });
        }
        if has_bmc || number % 3 == 0 {
            let name: crate::base::BmcName = format!("bmc{number}").parse().unwrap();
            let bmc = Bmc {
                name: name.clone(),
                xname: node.xname.as_ref().and_then(crate::base::Xname::parent),
                mac: Some(Mac([6, 0, 0, 0, 0, number])),
                address: None,
                fqdn: None,
                annotations: node.annotations.clone(),
            };
            inventory.apply(&Change::PutBmc(Arc::new(bmc)));
            // Without: the node's xname points to a BMC that is not the node's.
            node.bmc = has_bmc.then_some(name);
        }
        inventory.apply(&Change::PutNode(Arc::new(node)));
    }
    let target = BootTarget::Linux {
        kernel: "k".to_owned(),
        initrds: vec!["i".to_owned()],
        params: params.to_owned(),
    };
    let profile =
        Profile { name: "p".parse().unwrap(), description: params.to_owned(), target: target.clone() };
    inventory.apply(&Change::PutProfile(Arc::new(profile)));
    let group = Group { priority: -3, description: params.to_owned(), ..Group::new("a".parse().unwrap()) };
    inventory.apply(&Change::PutGroup(Arc::new(group)));
    let boots = [
        (Selector::Default, false, Boot::Profile("p".parse().unwrap())),
        (Selector::Group("a".parse().unwrap()), true, Boot::Target(target)),
        (Selector::Mac(Mac([2; 6])), false, Boot::Target(BootTarget::LocalDisk)),
        (
            Selector::Role("r".to_owned()),
            false,
            Boot::Target(BootTarget::Chain("http://192.0.2.1/".to_owned())),
        ),
        (Selector::Node(NodeId(0)), false, Boot::Target(BootTarget::Script("#!ipxe\necho\n".to_owned()))),
    ];
    for (selector, once, boot) in boots {
        inventory.apply(&Change::PutAssignment(Arc::new(Assignment { selector, once, boot })));
    }
    inventory
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_exported_imports_to_the_same_state(parts in prop::collection::vec(node(), 1..12), params in "[ -~]{0,20}") {
        let params = params.trim().replace(['|', '&', ';', '\\'], "");
        let before = inventory(parts, &params);
        let text = export(&before);
        let document = read(&text, "nid").map_err(|p| TestCaseError::fail(format!("{p:?}\n{text}")))?;
        let bare = Site::default();
        let again = plan(&before, &bare, &document, Mode { prune: true }).unwrap();
        prop_assert_eq!(again.changes, vec![], "{}", text);
        let mut after = Inventory::default();
        let fresh = plan(&after.clone(), &bare, &document, Mode::default());
        let fresh = fresh.map_err(|p| TestCaseError::fail(format!("{p:?}\n{text}")))?;
        fresh.changes.iter().for_each(|change| after.apply(change));
        prop_assert_eq!(after, before, "{}", text);
    }

    #[test]
    fn no_document_makes_it_panic(text in "(nodes|bmcs|- |: |\\[|\\{|mac_addr|[ -~\n]){0,30}") {
        if let Ok(document) = read(&text, "nid") {
            let _ = plan(&Inventory::default(), &site(), &document, Mode { prune: true });
        }
    }
}
