//! The DNS server against `dig`, and in front of a second instance of itself. On loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use muster::model::{Change, Interface, Inventory, Node, NodeId, Revision, Site, Snapshot, SnapshotCell};
use muster::transport::dns::{Dns, DnsHandle};
use muster::transport::tasks::Tasks;
use tokio::net::UdpSocket;

/// A server for `domain` with `nid001` (one address) and `big` (200 addresses).
fn serve(domain: &str, forward: Vec<SocketAddr>, tasks: &Tasks) -> DnsHandle {
    let mut inventory = Inventory::default();
    for (id, name, count) in [(1, "nid001", 1), (2, "big", 200)] {
        let mut node = Node::new(NodeId(id), name.parse().unwrap());
        let third = id + 99;
        node.interfaces.push(Interface {
            name: None,
            mac: format!("00:00:5e:00:53:0{id}").parse().unwrap(),
            addresses: (1..=count).map(|last| format!("198.51.{third}.{last}").parse().unwrap()).collect(),
        });
        inventory.apply(&Change::PutNode(Arc::new(node)));
    }
    let site = Site { domain: domain.to_owned(), ..Site::default() };
    let snapshot = Snapshot::compile(Revision(5), Arc::new(site), Arc::new(inventory));
    let snapshot = Arc::new(SnapshotCell::new(snapshot));
    Dns {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        forward,
        snapshot,
        recorder: muster::transport::recorder::Recorder::idle(),
    }
    .start(tasks)
    .unwrap()
}

async fn dig(server: &DnsHandle, arguments: &str) -> String {
    let port = server.addresses[0].port().to_string();
    let mut command = Command::new("dig");
    command.args(["-r", "@127.0.0.1", "-p", &port, "+time=5", "+tries=1"]).args(arguments.split(' '));
    let run = move || command.output().unwrap_or_else(|error| panic!("{error}; package dnsutils"));
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dig_finds_machines_forward_reverse_over_udp_and_tcp() {
    let tasks = Tasks::new();
    let server = serve("here.internal", Vec::new(), &tasks);
    for (arguments, expected) in [
        ("+short nid001.here.internal", "198.51.100.1\n"),
        ("+short +tcp nid001.here.internal", "198.51.100.1\n"),
        ("+short -x 198.51.100.1", "nid001.here.internal.\n"),
        ("+short x9999c0s1b0n0.here.internal", "198.51.100.1\n"),
        ("+short here.internal NS", "head.here.internal.\n"),
        ("+short nid001.here.internal ANY", "\"RFC8482\" \"\"\n"),
        ("+short nid001.here.internal AAAA", ""),
    ] {
        assert_eq!(dig(&server, arguments).await, expected, "{arguments}");
    }
    for (arguments, status) in [
        ("absent.here.internal", "NXDOMAIN"),
        ("nid001.here.internal AAAA", "NOERROR"),
        ("example.org", "REFUSED"),
        ("-c CH version.bind TXT", "REFUSED"),
        ("+opcode=NOTIFY nid001.here.internal", "NOTIMP"),
        ("+edns=1 +noednsnegotiation nid001.here.internal", "BADVERS"),
        ("here.internal AXFR +tcp +noall +comments", "failed"),
    ] {
        let text = dig(&server, arguments).await;
        let has_status = text.contains(&format!("status: {status}")) || text.contains(status);
        assert!(has_status, "{arguments}: {text}");
    }
    let case = dig(&server, "+noall +answer NiD001.HERE.internal").await;
    assert!(case.starts_with("NiD001.HERE.internal.\t60\tIN\tA\t198.51.100.1"), "{case}");
    tasks.stop(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_are_cut_and_fetched_over_tcp() {
    let tasks = Tasks::new();
    let server = serve("here.internal", Vec::new(), &tasks);
    for size in ["+noedns", "+bufsize=4096"] {
        let cut = dig(&server, &format!("+ignore {size} big.here.internal")).await;
        assert!(cut.contains("flags: qr aa tc rd") && cut.contains("ANSWER: 0"), "{cut}");
        let whole = dig(&server, &format!("+short {size} big.here.internal")).await;
        assert_eq!(whole.lines().count(), 200);
    }
    tasks.stop(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_questions_go_to_the_next_upstream_that_answers_and_are_remembered() {
    let tasks = Tasks::new();
    let upstream = serve("there.internal", Vec::new(), &tasks);
    let dead = UdpSocket::bind("127.0.0.1:0").await.unwrap(); // hears, never answers
    let forward = vec![dead.local_addr().unwrap(), upstream.addresses[0]];
    let server = serve("here.internal", forward, &tasks);
    assert_eq!(dig(&server, "+short nid001.there.internal").await, "198.51.100.1\n");
    assert_eq!(dig(&server, "+short NID001.there.internal").await, "198.51.100.1\n");
    assert!(dig(&server, "absent.there.internal").await.contains("status: NXDOMAIN"));
    assert!(dig(&server, "absent.there.internal").await.contains("status: NXDOMAIN"));
    assert_eq!(dig(&server, "+short big.there.internal").await.lines().count(), 200);
    assert_eq!((server.counters.forwarded.value(), server.counters.cached.value()), (3, 3));
    let text = dig(&server, "example.org").await; // the upstream refuses: nobody helps
    assert!(text.contains("status: SERVFAIL"), "{text}");
    assert!(dig(&server, "+norecurse example.net").await.contains("status: REFUSED"));
    tasks.stop(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rubbish_gets_formerr_or_nothing_and_harms_nobody() {
    let tasks = Tasks::new();
    let server = serve("here.internal", Vec::new(), &tasks);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server.addresses[0]).await.unwrap();
    socket.send(b"short").await.unwrap();
    socket.send(&[0xff; 40]).await.unwrap(); // a response: never answered
    socket.send(&[0x12, 0x34, 1, 0, 0, 9, 0, 0, 0, 0, 0, 0]).await.unwrap(); // nine questions, none there
    let mut buffer = [0; 512];
    let length =
        tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.unwrap().unwrap();
    assert_eq!((&buffer[..2], buffer[3] & 15, length), (&[0x12, 0x34][..], 1, 12));
    assert_eq!(server.counters.malformed.value(), 3);
    assert_eq!(dig(&server, "+short nid001.here.internal").await, "198.51.100.1\n");
    tasks.stop(Duration::from_secs(2)).await;
}
