use std::sync::Arc;

use crate::model::change::Change;
use crate::model::network::tests::network;
use crate::model::validate::validate;
use crate::model::{Interface, Inventory, Node, NodeId, Site};

fn node(id: u64, name: &str, mac: &str, address: &str) -> Change {
    let mut node = Node::new(NodeId(id), name.parse().unwrap());
    let addresses = vec![address.parse().unwrap()];
    node.interfaces.push(Interface { name: None, mac: mac.parse().unwrap(), addresses });
    Change::PutNode(Arc::new(node))
}

#[test]
fn every_problem_is_reported_with_its_field() {
    let site = Site { networks: vec![network("192.0.2.200-192.0.2.250")], ..Site::default() };
    let mut inventory = Inventory::default();
    inventory.apply(&node(1, "nid001", "00:00:5e:00:53:01", "192.0.2.1"));
    assert_eq!(validate(&inventory, &site), []);
    inventory.apply(&node(2, "nid001", "00:00:5e:00:53:01", "192.0.2.1"));
    inventory.apply(&node(3, "nid003", "ff:ff:ff:ff:ff:ff", "198.51.100.1"));
    inventory.apply(&node(4, "nid004", "00:00:5e:00:53:04", "192.0.2.254"));
    let texts: Vec<String> = validate(&inventory, &site).iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "node nid001: name: nid001 is also used by node nid001",
            "node nid001: interfaces[0].mac: 00:00:5e:00:53:01 is also used by node nid001",
            "node nid001: interfaces[0].addresses: 192.0.2.1 is also used by node nid001",
            "node nid003: interfaces[0].mac: ff:ff:ff:ff:ff:ff is not the address of one station",
            "node nid003: interfaces[0].addresses: 198.51.100.1 is outside every network",
            "node nid004: interfaces[0].addresses: 192.0.2.254 is the head's own on boot",
        ]
    );
}
