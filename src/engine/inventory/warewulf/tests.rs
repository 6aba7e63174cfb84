use std::sync::Arc;

use proptest::prelude::*;

use crate::engine::boot::{Outcome, Program, Request, decide};
use crate::engine::inventory::{Mode, Plan, export, plan, read};
use crate::model::{Inventory, Revision, Site, Snapshot};

const SITE: &str = r"
nodeprofiles:
  default:
    comment: This profile is automatically included for each node
    image name: rockylinux-9
    runtime overlay: [hosts, ssh.authorized_keys]
    system overlay: [wwinit, wwclient]
    kernel:
      args: [quiet, crashkernel=no]
    init: /sbin/init
    network devices:
      default:
        netmask: 255.255.252.0
        gateway: 192.0.2.1
    ipmi: {username: admin, password: hunter2, netmask: 255.255.255.0}
  gpu:
    profiles: [default]
    comment: accelerators
    tags: {vendor: acme}
    kernel: {args: [nomodeset, ~quiet]}
nodes:
  n1:
    profiles: [default]
    cluster name: demo
    tags: {rack: r1}
    network devices:
      default: {device: eth0, hwaddr: '00:00:5E:00:53:01', ipaddr: 192.0.2.11}
      ib: {type: InfiniBand, device: ib0, hwaddr: '80:00:02:08:fe:80:00:00:00:00:00:00:00:00:00:00:00:00:00:01', ipaddr: 198.51.100.11}
    ipmi: {ipaddr: 192.0.2.101}
  n2:
    profiles: [gpu]
    primary network: fast
    network devices:
      default: {device: eth0, hwaddr: '00:00:5e:00:53:02', ipaddr: 192.0.2.12}
      fast: {device: eth1, hwaddr: '00:00:5e:00:53:03'}
  n3.demo.example:
    profiles: [default]
    network devices:
      default: {ipaddr: 192.0.2.13}
";

fn planned(text: &str) -> Result<Plan, Vec<String>> {
    let lines = |problems: crate::engine::inventory::Problems| {
        problems.list.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let document = read(text, "nid").map_err(lines)?;
    plan(&Inventory::default(), &Site::default(), &document, Mode::default()).map_err(lines)
}

fn imported(text: &str) -> (Inventory, Vec<String>) {
    let plan = planned(text).unwrap();
    let mut inventory = Inventory::default();
    plan.changes.iter().for_each(|change| inventory.apply(change));
    (inventory, plan.report.notes)
}

/// The kernel parameters that a machine boots with, once the site says which kernel.
fn params(inventory: &Inventory, mac: &str) -> String {
    let mut inventory = inventory.clone();
    let kernel = "assignments: [{default: true, kernel: vmlinuz, params: 'of the default'}]";
    let document = read(kernel, "nid").unwrap();
    let plan = plan(&inventory, &Site::default(), &document, Mode::default()).unwrap();
    plan.changes.iter().for_each(|change| inventory.apply(change));
    let snapshot = Snapshot::compile(Revision(1), Arc::new(Site::default()), Arc::new(inventory));
    let request =
        Request { mac: Some(mac.parse().unwrap()), address: None, uuid: None, arch: None, attempt: 0 };
    match decide(&snapshot, &request).outcome {
        Outcome::Boot(Program::Linux { kernel, params, .. }) => {
            assert_eq!(kernel, "vmlinuz");
            params
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nodes_profiles_devices_and_bmcs_come_over() {
    let (inventory, _) = imported(SITE);
    let node = |name: &str| inventory.nodes.values().find(|node| node.name.as_str() == name).unwrap();
    let groups = |name| node(name).groups.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(groups("n1"), ["default"]);
    assert_eq!(groups("n2"), ["default", "gpu"], "a profile brings those that it names");
    let ports = |name| {
        let ports = node(name).interfaces.iter();
        ports
            .map(|port| {
                format!("{} {} {:?}", port.name.clone().unwrap_or_default(), port.mac, port.addresses)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ports("n1"), ["eth0 00:00:5e:00:53:01 [192.0.2.11]"], "no port without an Ethernet address");
    let n2 = ["eth1 00:00:5e:00:53:03 []", "eth0 00:00:5e:00:53:02 [192.0.2.12]"];
    assert_eq!(ports("n2"), n2, "the primary network boots");
    assert!(ports("n3").is_empty());
    let note = |name, key| node(name).annotations.get(key).map(String::as_str).map(str::to_owned);
    assert_eq!(note("n3", "warewulf.network.default.ipaddr").as_deref(), Some("192.0.2.13"));
    assert_eq!(note("n3", "warewulf.name").as_deref(), Some("n3.demo.example"));
    assert_eq!(note("n1", "warewulf.tag.rack").as_deref(), Some("r1"));
    assert_eq!(note("n1", "warewulf.image").as_deref(), Some("rockylinux-9"), "from the profile");
    assert_eq!(note("n1", "warewulf.cluster").as_deref(), Some("demo"));
    let bmc = inventory.bmcs.get(node("n1").bmc.as_ref().unwrap()).unwrap();
    assert_eq!((bmc.name.as_str(), bmc.address.unwrap().to_string().as_str()), ("n1-bmc", "192.0.2.101"));
    assert_eq!(node("n2").bmc, None);
    let gpu = inventory.groups.get("gpu").unwrap();
    assert_eq!(gpu.description, "accelerators");
    assert_eq!(gpu.annotations["warewulf.tag.vendor"], "acme");
    assert!(!export(&inventory).contains("hunter2"), "a password is nothing for annotations");
}

#[test]
fn kernel_arguments_are_those_that_warewulf_would_give() {
    let (inventory, _) = imported(SITE);
    assert_eq!(params(&inventory, "00:00:5e:00:53:01"), "quiet crashkernel=no");
    assert_eq!(params(&inventory, "00:00:5e:00:53:03"), "crashkernel=no nomodeset", "~ takes one away");
    // Before 4.6: one text, which replaces; and a profile for those that name none.
    let old = "WW_INTERNAL: 45\nnodeprofiles:\n  default: {kernel args: a b}\n  other: {kernel: {args: c}}\nnodes:\n\
               \x20 n1: {network devices: {default: {hwaddr: '00:00:5e:00:53:01'}}}\n\
               \x20 n2: {profiles: [default, other], network devices: {default: {hwaddr: '00:00:5e:00:53:02'}}}\n";
    let (inventory, _) = imported(old);
    assert_eq!(params(&inventory, "00:00:5e:00:53:01"), "a b");
    assert_eq!(params(&inventory, "00:00:5e:00:53:02"), "c");
}

#[test]
fn arguments_of_a_whole_group_are_assigned_once() {
    let nodes: String = (1..=9)
        .map(|n| {
            format!(
                "  n{n}: {{profiles: [p], network devices: {{default: {{hwaddr: '00:00:5e:00:53:0{n}'}}}}}}\n"
            )
        })
        .collect();
    let (inventory, _) = imported(&format!("nodeprofiles:\n  p: {{kernel: {{args: [x]}}}}\nnodes:\n{nodes}"));
    let keys: Vec<String> = inventory.assignments.keys().map(|key| key.selector.to_string()).collect();
    assert_eq!(keys, ["group p"]);
    assert_eq!(params(&inventory, "00:00:5e:00:53:07"), "x");
}

#[test]
fn what_is_not_carried_over_is_told() {
    let (_, notes) = imported(SITE);
    let all = notes.join("\n");
    for part in [
        "3 node(s) boot the image rockylinux-9",
        "n3: default has no hardware address yet: its address 192.0.2.13",
        "n1: ib has no hardware address yet",
        "netmask 255.255.252.0 gateway 192.0.2.1",
        "init (1), ipmi.password (1), ipmi.username (1), runtime overlay (1), system overlay (1)",
    ] {
        assert!(all.contains(part), "{part} in:\n{all}");
    }
}

#[test]
fn mistakes_are_named_with_line_and_field() {
    let found = planned(
        "nodeprofiles:\n  'bad name': {}\nnodes:\n  n_1: {}\n  n2:\n    network devices:\n      default:\n        \
         hwaddr: nope\n        ipaddr: 192.0.2\n  n3: {profiles: [missing, {}]}\nbogus: 1\n",
    )
    .unwrap_err();
    for (part, found) in [
        ("line 2: nodeprofiles.bad name: ", &found[0]),
        ("line 4: nodes.n_1: ", &found[1]),
        ("line 8: nodes.n2.network devices.default.hwaddr: \"nope\" is not a MAC address", &found[2]),
        ("line 9: nodes.n2.network devices.default.ipaddr: \"192.0.2\"", &found[3]),
        ("line 10: nodes.n3.profiles: expected a value", &found[4]),
        ("line 11: bogus: unknown field", &found[5]),
    ] {
        assert!(found.starts_with(part), "{part}: {found}");
    }
    // Two nodes that came to one name, and one address twice.
    let twice = "nodeprofiles: {}\nnodes:\n  n1.a: {}\n  n1.b: {}\n";
    assert!(planned(twice).is_err());
}

#[test]
fn profiles_in_a_ring_end() {
    let ring =
        "nodeprofiles:\n  a: {profiles: [b]}\n  b: {profiles: [a]}\nnodes:\n  n1: {profiles: [a, ~b]}\n";
    let (inventory, _) = imported(ring);
    let groups: Vec<String> =
        inventory.nodes.values().flat_map(|n| &n.groups).map(ToString::to_string).collect();
    assert_eq!(groups, ["a"]);
    let many: String = (0..200).map(|n| format!("  p{n}: {{profiles: [p{}]}}\n", n + 1)).collect();
    let found = planned(&format!("nodeprofiles:\n{many}nodes:\n  n1: {{profiles: [p0]}}\n")).unwrap_err();
    assert!(found[0].contains("more than 100 profiles"), "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_document_makes_it_panic(text in "(nodeprofiles: |nodes: |network devices: |profiles: |kernel: |args: |ipmi: |\\{|\\}|\\[|\\]|a|,|~| |: |\n  ){0,40}") {
        let text = format!("nodeprofiles:\n{text}");
        if let Ok(document) = read(&text, "nid") {
            let _ = plan(&Inventory::default(), &Site::default(), &document, Mode { prune: true });
        }
    }

    #[test]
    fn what_came_over_is_exported_and_comes_back(args in "[ -~]{0,20}", tag in "[ -~]{0,10}") {
        let text = SITE.replace("nomodeset", &format!("{:?}", args.replace(['\\', '"', '|', '&', ';'], "")))
            .replace("acme", &format!("{:?}", tag.replace(['\\', '"'], "")));
        if let Ok(plan) = planned(&text) {
            let mut before = Inventory::default();
            plan.changes.iter().for_each(|change| before.apply(change));
            let document = read(&export(&before), "nid").unwrap();
            let again = crate::engine::inventory::plan(&before, &Site::default(), &document, Mode { prune: true });
            prop_assert_eq!(again.unwrap().changes, vec![]);
        }
    }
}
