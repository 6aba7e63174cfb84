use std::sync::Arc;

use crate::engine::boot::{Decision, Outcome, Request, decide};
use crate::model::network::tests::network;
use crate::model::profile::Boot;
use crate::model::{
    Assignment, BootPolicy, BootTarget, Change, Group, Interface, Inventory, Node, NodeId, Profile, Revision,
    Selector, Site, Snapshot, UnknownPolicy,
};

fn linux(kernel: &str) -> BootTarget {
    BootTarget::Linux { kernel: kernel.to_owned(), initrds: Vec::new(), params: String::new() }
}

fn assign(selector: Selector, once: bool, kernel: &str) -> Change {
    Change::PutAssignment(Arc::new(Assignment { selector, once, boot: Boot::Target(linux(kernel)) }))
}

fn group(name: &str, priority: i32) -> Change {
    Change::PutGroup(Arc::new(Group { priority, ..Group::new(name.parse().unwrap()) }))
}

const MAC: &str = "00:00:5e:00:53:01";

fn node(policy: BootPolicy) -> Change {
    let mut node = Node::new(NodeId(1), "nid001".parse().unwrap());
    node.interfaces.push(Interface { name: None, mac: MAC.parse().unwrap(), addresses: Vec::new() });
    node.groups = ["a", "b"].map(|name| name.parse().unwrap()).into();
    node.role = Some("Compute".to_owned());
    node.policy = policy;
    Change::PutNode(Arc::new(node))
}

fn check(unknown: UnknownPolicy, mac: &str, changes: &[Change]) -> Decision {
    let mut network = network("192.0.2.200-192.0.2.250");
    network.unknown = unknown;
    let site = Site { networks: vec![network], ..Site::default() };
    let mut inventory = Inventory::default();
    changes.iter().for_each(|change| inventory.apply(change));
    let snapshot = Snapshot::compile(Revision(1), Arc::new(site), Arc::new(inventory));
    let address = Some("192.0.2.200".parse().unwrap());
    let request = Request { mac: Some(mac.parse().unwrap()), address, uuid: None, arch: None, attempt: 0 };
    decide(&snapshot, &request)
}

fn kernel(decision: &Decision) -> &str {
    match &decision.outcome {
        Outcome::Boot(BootTarget::Linux { kernel, .. }) => kernel,
        other => panic!("not a kernel: {other:?}"),
    }
}

#[test]
fn the_most_specific_assignment_wins_and_a_one_shot_before_all() {
    let mac = Selector::Mac(MAC.parse().unwrap());
    let ranked = [
        assign(Selector::Default, false, "default"),
        assign(Selector::Role("compute".to_owned()), false, "role"),
        assign(Selector::Group("a".parse().unwrap()), false, "group a"),
        assign(Selector::Group("b".parse().unwrap()), false, "group b"),
        assign(Selector::Node(NodeId(1)), false, "node"),
        assign(mac, false, "mac"),
        assign(Selector::Group("a".parse().unwrap()), true, "once"),
    ];
    let names = ["default", "role", "group a", "group b", "node", "mac", "once"];
    let mut changes = vec![node(BootPolicy::Serve), group("a", 0), group("b", 5)];
    for (assignment, name) in ranked.into_iter().zip(names) {
        changes.push(assignment);
        let decision = check(UnknownPolicy::Hold, MAC, &changes);
        assert_eq!(kernel(&decision), name);
        assert_eq!(decision.consumes.is_some(), name == "once");
    }
}

#[test]
fn the_node_s_switch_comes_before_every_assignment() {
    let all = assign(Selector::Default, false, "default");
    let local = check(UnknownPolicy::Hold, MAC, &[node(BootPolicy::LocalDisk), all.clone()]);
    assert_eq!(local.outcome, Outcome::Boot(BootTarget::LocalDisk));
    assert_eq!(check(UnknownPolicy::Hold, MAC, &[node(BootPolicy::Ignore), all]).outcome, Outcome::Refuse);
}

#[test]
fn a_node_without_an_assignment_waits() {
    let decision = check(UnknownPolicy::Ignore, MAC, &[node(BootPolicy::Serve)]);
    assert_eq!(decision.outcome, Outcome::Hold);
    assert!(decision.rule.to_string().starts_with("nothing is assigned"));
}

#[test]
fn unknown_machines_follow_their_network_s_policy() {
    let rescue = "rescue".parse().unwrap();
    let profile = |name: &str, kernel: &str| {
        let (name, target) = (name.parse().unwrap(), linux(kernel));
        Change::PutProfile(Arc::new(Profile { name, description: String::new(), target }))
    };
    let profiles = [profile("rescue", "rescue"), profile("discover", "probe")];
    let stranger = "00:00:5e:00:53:99";
    assert_eq!(check(UnknownPolicy::Hold, stranger, &[]).outcome, Outcome::Hold);
    assert_eq!(check(UnknownPolicy::Ignore, stranger, &[]).outcome, Outcome::Refuse);
    assert_eq!(kernel(&check(UnknownPolicy::Discover, stranger, &profiles)), "probe");
    assert_eq!(kernel(&check(UnknownPolicy::Boot(rescue), stranger, &profiles)), "rescue");
    // A default assignment is for declared nodes only.
    let all = assign(Selector::Default, false, "default");
    assert_eq!(check(UnknownPolicy::Hold, stranger, &[all]).outcome, Outcome::Hold);
    let one = assign(Selector::Mac(stranger.parse().unwrap()), false, "mine");
    assert_eq!(kernel(&check(UnknownPolicy::Hold, stranger, &[one])), "mine");
}
