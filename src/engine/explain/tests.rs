use std::sync::Arc;

use crate::base::Timestamp;
use crate::engine::dhcp::imagine::Client;
use crate::engine::explain::{Query, explain};
use crate::model::network::tests::network;
use crate::model::profile::Boot;
use crate::model::{
    Arch, Assignment, BootTarget, Change, Interface, Inventory, LeaseTable, Node, NodeId, Revision, Selector,
    Site, Snapshot,
};

fn check(mac: &str, firmware: Client) -> Vec<(String, String)> {
    let site = Site { networks: vec![network("192.0.2.200-192.0.2.250")], ..Site::default() };
    let mut node = Node::new(NodeId(1), "nid001".parse().unwrap());
    let addresses = vec!["192.0.2.1".parse().unwrap()];
    node.interfaces.push(Interface { name: None, mac: "00:00:5e:00:53:01".parse().unwrap(), addresses });
    let target =
        BootTarget::Linux { kernel: "vmlinuz".to_owned(), initrds: Vec::new(), params: String::new() };
    let assignment = Assignment { selector: Selector::Default, once: false, boot: Boot::Target(target) };
    let mut inventory = Inventory::default();
    inventory.apply(&Change::PutNode(Arc::new(node)));
    inventory.apply(&Change::PutAssignment(Arc::new(assignment)));
    let snapshot = Snapshot::compile(Revision(1), Arc::new(site), Arc::new(inventory));
    let query =
        Query { mac: mac.parse().unwrap(), arch: Arch::X86_64, firmware: Some(firmware), network: None };
    let steps = explain(&snapshot, &LeaseTable::default(), &query, Timestamp(1000)).unwrap();
    steps.into_iter().map(|step| (step.stage, step.outcome)).collect()
}

#[test]
fn a_declared_node_is_followed_from_firmware_to_system() {
    let steps = check("00:00:5e:00:53:01", Client::UefiPxe);
    assert_eq!(steps[0].0, "uefi");
    assert!(steps[0].1.starts_with("OFFER 192.0.2.1, loader snponly.efi by TFTP"), "{}", steps[0].1);
    assert!(
        steps[1].1.contains("script http://192.0.2.254:8081/boot/script?mac=00-00-5e-00-53-01"),
        "{}",
        steps[1].1
    );
    assert_eq!(steps[2], ("script".to_owned(), "boots vmlinuz".to_owned()));
    assert!(steps[3].1.starts_with("OFFER 192.0.2.1, nothing to boot"), "{}", steps[3].1);
}

#[test]
fn an_unknown_machine_gets_a_pool_address_and_waits() {
    let steps = check("00:00:5e:00:53:99", Client::BiosRom);
    assert!(steps[0].1.starts_with("OFFER 192.0.2.200, loader undionly.kpxe"), "{}", steps[0].1);
    assert_eq!(steps[2].1, "waits and asks again");
}
