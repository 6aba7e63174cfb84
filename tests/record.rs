//! Boot records over the API: what machines fetch becomes a record, a failure a verdict, and both survive a restart.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod head;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use muster::base::{Mac, Timestamp};
use muster::engine::dhcp::imagine::{Client, Imagined};
use muster::engine::dhcp::{Observed, Request, Verdict, respond};
use muster::engine::record::{DhcpSeen, Keep, What};
use muster::model::boot_record::Outcome;
use muster::model::{Arch, BootRecord, LeaseTable, SnapshotCell};
use muster::store::{Observation, Store, open_redb};
use muster::transport::clock::now;
use muster::transport::journal::Journal;
use muster::transport::recorder::{Datagram, Exchange, Parts, Recorder};
use muster::transport::tasks::Tasks;
use muster::wire::pcap;
use serde_json::{Value, json};

use head::{Head, SITE, mac};

const PREFIX: &str = "/api/v1";
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// What DHCP tells the recorder of a DISCOVER of node 1, with its packets.
fn discover(head: &Head, client: Client) {
    let hardware: Mac = mac(1).parse().unwrap();
    let machine = Imagined { client, arch: Arch::X86_64, mac: hardware, uuid: None, xid: 7 };
    let (message, ingress) = (machine.discover(), machine.ingress("eth1"));
    let asked = Datagram {
        from: (hardware, ingress.source),
        to: (Mac::BROADCAST, ingress.destination),
        payload: message.emit(),
    };
    let request = Request::new(message, ingress);
    let (snapshot, leases) = (head.context.snapshot.load(), LeaseTable::default());
    let answer =
        respond(&request, &snapshot, &Observed { leases: &leases, chained: None, anchored: false }, now());
    let Verdict::Reply { message, source, .. } = &answer.verdict else { panic!("{:?}", answer.verdict) };
    let answered = Datagram {
        from: (Mac([2; 6]), *source),
        to: (Mac::BROADCAST, "255.255.255.255:68".parse().unwrap()),
        payload: message.clone(),
    };
    let seen = What::Dhcp(Box::new(DhcpSeen::of(&request, &answer, false)));
    head.context.recorder.saw_exchange(hardware, seen, Exchange { asked, answered: Some(answered) });
}

async fn start() -> Head {
    let head = Head::below(PREFIX, SITE);
    head.declare(3).await;
    let target = json!({"kernel": "debian/vmlinuz", "initrds": [], "params": ""});
    head.json("PUT", "/boot", json!({"whom": {"default": true}, "target": target})).await.ok();
    head
}

/// Asks the routes that lie beside the API.
async fn fetch(head: &Head, path: &str) -> u16 {
    use tower::ServiceExt as _;
    let peer = muster::transport::http::Peer::Tcp {
        remote: (NODE, 40000).into(),
        local: ([192, 0, 2, 254], 8081).into(),
    };
    let request = axum::http::Request::builder().uri(path).extension(peer);
    let request = request.body(axum::body::Body::empty()).unwrap();
    head.router().oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn what_a_machine_fetches_is_one_record_and_its_failure_is_named() {
    let head = start().await;
    let never = head.get("/why/nid002").await.ok();
    assert_eq!((never["rule"].as_str(), never["outcome"].as_str()), (Some("never-heard"), None));
    discover(&head, Client::Ipxe);
    let script = format!("/boot/script?mac={}", mac(1));
    assert_eq!(fetch(&head, &script).await, 200);
    assert_eq!(fetch(&head, "/images/debian/vmlinuz").await, 404);
    let why = head.get("/why/nid001").await.ok();
    assert_eq!(
        (why["rule"].as_str(), why["sure"].as_str(), why["outcome"].as_str()),
        (Some("kernel-missing"), Some("certain"), Some("failed")),
        "{why}"
    );
    assert!(why["evidence"][0].as_str().unwrap().contains("debian/vmlinuz: status 404"), "{why}");
    let causes = head.get("/why").await.ok();
    assert_eq!((causes[0]["count"].as_u64(), causes[0]["who"][0].as_str()), (Some(1), Some("nid001")));
    assert_eq!(head.get("/why?set=nid002").await.ok(), json!([]));
    let list = head.get("/records?outcome=failed").await.ok();
    assert_eq!((list.as_array().unwrap().len(), list[0]["reached"].as_str()), (1, Some("script")));
    assert_eq!(head.get("/records?outcome=up").await.ok(), json!([]));
    head.get("/records?outcome=burning").await.refused(422);
    let record = head.get("/records/nid001/latest").await.ok();
    let phases: Vec<&str> =
        record["steps"].as_array().unwrap().iter().map(|step| step["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["ipxe", "script", "kernel"]);
    let number = record["id"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(head.get(&format!("/records/{}/{number}", mac(1))).await.ok(), record);
    head.get("/records/nid001/7").await.refused(404);
    head.get("/records/nid001/x").await.refused(422);
    head.get("/records/nobody").await.refused(404);
    let capture = head.get(&format!("/records/nid001/{number}/packets")).await;
    let frames = pcap::parse(&capture.bytes).unwrap();
    assert_eq!(frames.len(), 2, "what it asked and what it heard");
    assert!(head.context.journal.after(0, 99).events.iter().any(|event| event.kind == "boot"));
}

#[tokio::test]
async fn a_machine_that_phones_home_is_up_and_has_no_packets_any_more() {
    let head = start().await;
    discover(&head, Client::Ipxe);
    assert_eq!(fetch(&head, &format!("/boot/script?mac={}", mac(1))).await, 200);
    for document in ["meta-data", "user-data", "vendor-data"] {
        assert_eq!(fetch(&head, &format!("/cloud-init/{document}")).await, 200);
    }
    head.context.recorder.saw(Some(NODE.into()), What::PhoneHome);
    let why = head.get("/why/nid001").await.ok();
    assert_eq!((why["outcome"].as_str(), why["rule"].as_str()), (Some("up"), None), "{why}");
    let mut gone = 200;
    for _ in 0..100 {
        gone = head.get("/records/nid001/latest/packets").await.status.as_u16();
        if gone == 404 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(gone, 404);
}

fn recorder(store: &Store, boots: muster::store::Boots, tasks: &Tasks) -> Recorder {
    let (recorder, inbox) = Recorder::pair();
    let parts = Parts {
        snapshot: Arc::new(SnapshotCell::default()),
        store: store.clone(),
        journal: Journal::new(now()),
        keep: Keep::default(),
        boots,
        busy: Arc::new(Default::default),
    };
    inbox.start(parts, tasks);
    recorder
}

#[tokio::test]
async fn records_and_packets_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("muster.redb");
    let hardware = Mac([0, 0, 0x5e, 0, 0x53, 1]);
    let started = {
        let (store, loaded) = Store::open(open_redb(&path).unwrap()).unwrap();
        let tasks = Tasks::new();
        let recorder = recorder(&store, loaded.boots, &tasks);
        recorder.saw_mac(hardware, What::Damaged("UDP checksum"));
        let answer = recorder.of(vec![hardware]).await.unwrap();
        // An attempt under way is not due yet; the end of the daemon hurries it.
        tasks.stop(Duration::from_secs(5)).await;
        store.close().await;
        answer[0].record.started
    };
    let (store, loaded) = Store::open(open_redb(&path).unwrap()).unwrap();
    assert_eq!(loaded.boots.latest.len(), 1);
    let older = BootRecord { outcome: Outcome::Up, ..BootRecord::new(hardware, Timestamp(5)) };
    let packets = vec![1, 2, 3];
    let put = vec![
        Observation::PutBoot(Box::new(older.clone())),
        Observation::PutPackets(hardware, Timestamp(5), packets.clone()),
    ];
    store.observe(put).unwrap().await.unwrap().unwrap();
    store.close().await;
    let (store, loaded) = Store::open(open_redb(&path).unwrap()).unwrap();
    let (latest, starts) = &loaded.boots.latest[0];
    assert_eq!((latest.started, starts.as_slice()), (started, [Timestamp(5)].as_slice()));
    assert_eq!(loaded.boots.with_packets, [(hardware, Timestamp(5))]);
    assert_eq!(store.boots(hardware).await.unwrap()[0], older);
    assert_eq!(store.packets((hardware, Timestamp(5))).await.unwrap(), Some(packets));
    let gone = vec![Observation::RemoveBoot(hardware, Timestamp(5))];
    store.observe(gone).unwrap().await.unwrap().unwrap();
    assert_eq!(store.packets((hardware, Timestamp(5))).await.unwrap(), None);
    assert_eq!(store.boots(hardware).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_full_queue_drops_and_the_records_say_so() {
    let head = start().await;
    discover(&head, Client::Ipxe);
    let _ = head.get("/records/nid001/latest").await.ok();
    // The task does not run between these: a queue's worth and one more.
    let recorder = &head.context.recorder;
    for _ in 0..=muster::base::limits::RECORD_QUEUE_PLACES {
        recorder.saw(Some(NODE.into()), What::Asked("x".to_owned()));
    }
    assert!(recorder.counters.dropped.value() > 0);
    let mut record = Value::Null;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        recorder.saw(Some(NODE.into()), What::Asked("x".to_owned()));
        record = head.get("/records/nid001/latest").await.ok();
        if record["signs"]["gap"].is_object() {
            return;
        }
    }
    panic!("{record}");
}
