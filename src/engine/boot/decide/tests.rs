#![allow(clippy::arithmetic_side_effects, reason = "the numbers of a test are small")]

use std::sync::Arc;

use crate::base::{Digest, Timestamp};
use crate::engine::boot::{Decision, Outcome, Program, Request, Rule, decide};
use crate::engine::image::manifest::version;
use crate::model::image::{Delivery, File, Root, RootFormat};
use crate::model::network::tests::network;
use crate::model::profile::Boot;
use crate::model::{
    Assignment, BootPolicy, BootTarget, Change, Group, Image, Interface, Inventory, Nid, Node, NodeId,
    Profile, Revision, Selector, Site, Snapshot, Tag, UnknownPolicy,
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
        Outcome::Boot(Program::Linux { kernel, .. }) => kernel,
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
    assert_eq!(local.outcome, Outcome::Boot(Program::LocalDisk));
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

fn partial(kernel: &str, params: &str) -> BootTarget {
    BootTarget::Linux { kernel: kernel.to_owned(), initrds: Vec::new(), params: params.to_owned() }
}

fn run(kernel: &str, params: &str) -> Program {
    Program::Linux { kernel: kernel.to_owned(), initrds: Vec::new(), params: params.to_owned() }
}

fn assign_target(selector: Selector, target: BootTarget) -> Change {
    Change::PutAssignment(Arc::new(Assignment { selector, once: false, boot: Boot::Target(target) }))
}

#[test]
fn what_a_linux_target_lacks_comes_from_the_next_assignment_that_has_it() {
    let mac = Selector::Mac(MAC.parse().unwrap());
    let only_params = assign_target(mac.clone(), partial("", "mine"));
    let group = assign_target(Selector::Group("a".parse().unwrap()), partial("kernel", "group"));
    let all = assign_target(Selector::Default, partial("other", "default"));
    let node = node(BootPolicy::Serve);
    let outcome = |changes: &[Change]| check(UnknownPolicy::Hold, MAC, changes).outcome;
    let both = [node.clone(), only_params.clone(), group, all.clone()];
    assert_eq!(outcome(&both), Outcome::Boot(run("kernel", "mine")));
    assert_eq!(outcome(&[node.clone(), only_params.clone(), all]), Outcome::Boot(run("other", "mine")));
    assert_eq!(outcome(&[node, only_params]), Outcome::Hold);
}

#[test]
fn xname_and_nid_stand_between_node_and_group_and_need_no_declaration() {
    let ranked = [
        assign(Selector::Group("a".parse().unwrap()), false, "group"),
        assign(Selector::Nid(Nid(7)), false, "nid"),
        assign(Selector::Xname("x9999c0s1b0n0".parse().unwrap()), false, "xname"),
        assign(Selector::Node(NodeId(1)), false, "node"),
    ];
    let Change::PutNode(mut node) = node(BootPolicy::Serve) else { unreachable!() };
    Arc::make_mut(&mut node).nid = Some(Nid(7));
    for (count, wanted) in [(1, "group"), (2, "nid"), (3, "xname"), (4, "node")] {
        let mut changes = vec![Change::PutNode(Arc::clone(&node))];
        changes.extend_from_slice(&ranked[..count]);
        assert_eq!(kernel(&check(UnknownPolicy::Hold, MAC, &changes)), wanted);
    }
}

#[test]
fn what_is_assigned_to_unknown_machines_never_reaches_those_that_are_ignored() {
    let stranger = "00:00:5e:00:53:99";
    let any = assign(Selector::Unknown(None), false, "any");
    assert_eq!(kernel(&check(UnknownPolicy::Hold, stranger, std::slice::from_ref(&any))), "any");
    assert_eq!(check(UnknownPolicy::Ignore, stranger, &[any]).outcome, Outcome::Refuse);
}

/// An image whose files' digests begin with this octet, and the change that makes it.
fn image(name: &str, n: u8, delivery: Delivery) -> (Digest, Change) {
    let file = |k: u8| File { digest: Digest([n + k; 32]), size: 1000 };
    let mut image = Image {
        name: name.parse().unwrap(),
        version: Digest([0; 32]),
        created: Timestamp(0),
        arch: None,
        kernel_version: None,
        kernel: file(0),
        initrds: vec![file(1)],
        root: Some(Root { file: file(2), format: RootFormat::Squashfs, delivery }),
        params: "of-image".to_owned(),
        origin: String::new(),
        labels: std::collections::BTreeMap::new(),
    };
    image.version = version(&image);
    (image.version, Change::PutImage(Arc::new(image)))
}

fn tag(key: &str, version: Digest) -> Change {
    let key = key.parse().unwrap();
    Change::PutTag(Arc::new(Tag { key, version, since: Timestamp(0), before: Vec::new() }))
}

fn boots(image: &str) -> Change {
    let image = image.parse().unwrap();
    let target = BootTarget::Image { image, params: "of-assignment".to_owned() };
    assign_target(Selector::Node(NodeId(1)), target)
}

#[test]
fn an_image_is_booted_by_the_names_of_its_content() {
    let (version, put) = image("compute", 0x10, Delivery::Live);
    let changes = [node(BootPolicy::Serve), put, tag("compute:prod", version), boots("compute:prod")];
    let decision = check(UnknownPolicy::Hold, MAC, &changes);
    let (kernel, initrd, root) = ("10".repeat(32), "11".repeat(32), "12".repeat(32));
    let want = Program::Linux {
        kernel: format!("sha256/{kernel}/vmlinuz"),
        initrds: vec![format!("sha256/{initrd}/initrd.img")],
        params: format!("root=live:{{images}}/sha256/{root}/rootfs.squashfs of-image of-assignment"),
    };
    assert_eq!(decision.outcome, Outcome::Boot(want));
    assert_eq!(decision.image, Some(("compute:prod".parse().unwrap(), version)));
    let told = decision.to_string();
    assert_eq!(told, format!("assignment for node nid001, image compute:prod ({})", version.short()));
}

#[test]
fn a_moved_tag_moves_its_nodes_and_leaves_the_pinned_ones() {
    let (old, put_old) = image("compute", 0x10, Delivery::Live);
    let (new, put_new) = image("compute", 0x20, Delivery::Live);
    let both =
        [node(BootPolicy::Serve), put_old, put_new, tag("compute:prod", old), tag("compute:prod", new)];
    let with = |target: &str| {
        let changes = [both.as_slice(), &[boots(target)]].concat();
        check(UnknownPolicy::Hold, MAC, &changes)
    };
    assert_eq!(with("compute:prod").image.unwrap().1, new);
    assert_eq!(with(&format!("compute@{old}")).image.unwrap().1, old);
    let gone = with("compute:test");
    assert_eq!(
        (gone.outcome, gone.rule),
        (Outcome::Hold, Rule::ImageMissing("compute:test".parse().unwrap()))
    );
}

#[test]
fn each_delivery_tells_the_initrd_where_the_root_is() {
    let root = "12".repeat(32);
    let url = format!("{{images}}/sha256/{root}/rootfs.squashfs");
    for (delivery, want) in [
        (Delivery::Fetch, format!("boot=live fetch={url} of-image of-assignment")),
        (Delivery::Nbd, format!("root=nbd:{{head}}:{root}:squashfs:ro of-image of-assignment")),
        (Delivery::Params, "of-image of-assignment".to_owned()),
    ] {
        let (version, put) = image("compute", 0x10, delivery);
        let changes = [node(BootPolicy::Serve), put, tag("compute:latest", version), boots("compute")];
        match check(UnknownPolicy::Hold, MAC, &changes).outcome {
            Outcome::Boot(Program::Linux { params, .. }) => assert_eq!(params, want),
            other => panic!("{other:?}"),
        }
    }
    let (version, put) = image("compute", 0x10, Delivery::Verified);
    let changes = [node(BootPolicy::Serve), put, tag("compute:latest", version), boots("compute")];
    let outcome = check(UnknownPolicy::Hold, MAC, &changes).outcome;
    let Outcome::Boot(Program::Linux { params, .. }) = outcome else { panic!("{outcome:?}") };
    let words: Vec<&str> = params.split(' ').collect();
    let manifest = format!("muster.manifest={{images}}/compute/{}/manifest", version.hex());
    let (url, digest) = (format!("muster.root={url}"), format!("muster.sha256={root}"));
    assert_eq!(words[..5], ["root=muster", &url, &digest, "muster.size=1000", &manifest]);
}
