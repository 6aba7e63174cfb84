//! How long decisions take: DHCP answers, boot decisions and compiling a snapshot, at 10,000 nodes.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use muster::app::config::Config;
use muster::base::{Mac, Timestamp};
use muster::engine::boot::{Request as BootRequest, decide};
use muster::engine::dhcp::imagine::{Client, Imagined};
use muster::engine::dhcp::{Ingress, Observed, Request, respond};
use muster::model::{
    Arch, Assignment, BootTarget, Change, Interface, Inventory, LeaseTable, Node, NodeId, Revision, Selector,
    Snapshot,
};
use muster::wire::dhcp::Message;

const NODES: u64 = 10_000;

fn mac(number: u64) -> Mac {
    let [.., a, b, c] = number.to_be_bytes();
    Mac([2, 0, 0, a, b, c])
}

fn site() -> (Arc<muster::model::Site>, Arc<Inventory>) {
    let text = "[[network]]\nname = \"boot\"\ninterface = \"eth1\"\naddress = \"10.0.0.1/16\"\nrange = [\"10.0.200.1-10.0.250.254\"]\n";
    let mut inventory = Inventory::default();
    for number in 0..NODES {
        let mut node = Node::new(NodeId(number), format!("nid{number:06}").parse().unwrap());
        let address = std::net::Ipv4Addr::from(0x0a00_0100 + u32::try_from(number).unwrap());
        node.interfaces.push(Interface { name: None, mac: mac(number), addresses: vec![address] });
        node.groups.insert("compute".parse().unwrap());
        inventory.apply(&Change::PutNode(Arc::new(node)));
    }
    let target = BootTarget::Linux {
        kernel: "k".to_owned(),
        initrds: vec!["i".to_owned()],
        params: "quiet".to_owned(),
    };
    let boot = muster::model::profile::Boot::Target(target);
    let selector = Selector::Group("compute".parse().unwrap());
    inventory.apply(&Change::PutAssignment(Arc::new(Assignment { selector, once: false, boot })));
    (Arc::new(Config::parse(text).unwrap().site), Arc::new(inventory))
}

fn decisions(criterion: &mut Criterion) {
    let (site, inventory) = site();
    let snapshot = Snapshot::compile(Revision(1), Arc::clone(&site), Arc::clone(&inventory));
    let leases = LeaseTable::default();
    let wire = |number: u64| {
        let machine =
            Imagined { client: Client::UefiPxe, arch: Arch::X86_64, mac: mac(number), uuid: None, xid: 7 };
        (machine.discover().emit(), machine.ingress("eth1"))
    };
    let answer = |bytes: &[u8], ingress: &Ingress| {
        let request = Request::new(Message::parse(bytes).unwrap(), ingress.clone());
        respond(
            &request,
            &snapshot,
            &Observed { leases: &leases, chained: None, anchored: false },
            Timestamp(1_000_000),
        )
    };
    let (declared, at) = wire(4711);
    criterion.bench_function("dhcp: declared node, packet to packet", |b| {
        b.iter(|| black_box(answer(black_box(&declared), &at)))
    });
    let (unknown, at) = wire(NODES + 1);
    criterion.bench_function("dhcp: unknown machine, packet to packet", |b| {
        b.iter(|| black_box(answer(black_box(&unknown), &at)))
    });
    let request = BootRequest { mac: Some(mac(4711)), address: None, uuid: None, arch: None, attempt: 0 };
    criterion
        .bench_function("boot: decide", |b| b.iter(|| black_box(decide(&snapshot, black_box(&request)))));
    criterion.bench_function("snapshot: compile 10,000 nodes", |b| {
        b.iter(|| black_box(Snapshot::compile(Revision(1), Arc::clone(&site), Arc::clone(&inventory))));
    });
}

criterion_group!(benches, decisions);
criterion_main!(benches);
