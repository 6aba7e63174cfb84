//! One suite for all backends, and what only a file can do: survive.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use muster::base::{Mac, Timestamp};
use muster::model::{
    Change, ChangeSet, Group, Interface, Inventory, Lease, LeaseKey, LeaseState, Node, NodeId, Revision,
};
use muster::store::{Backend, Observation, Store, StoreError, memory, open_redb};

fn node(id: u64) -> Change {
    let mut node = Node::new(NodeId(id), format!("nid{id:06}").parse().unwrap());
    let [.., a, b, c] = id.to_be_bytes();
    node.interfaces.push(Interface { name: None, mac: Mac([2, 0, 0, a, b, c]), addresses: Vec::new() });
    node.groups.insert("compute".parse().unwrap());
    Change::PutNode(Arc::new(node))
}

fn lease(last: u8) -> Lease {
    Lease {
        address: [192, 0, 2, last].into(),
        key: LeaseKey::Mac(Mac([0, 0, 0x5e, 0, 0x53, last])),
        network: "boot".parse().unwrap(),
        state: LeaseState::Bound,
        starts: Timestamp(1),
        expires: Timestamp(2),
        host_name: None,
    }
}

fn set(base: u64, changes: Vec<Change>) -> ChangeSet {
    ChangeSet { base: Revision(base), changes }
}

async fn suite(backend: Box<dyn Backend>) {
    let (store, loaded) = Store::open(backend).unwrap();
    assert_eq!((loaded.revision, loaded.inventory), (Revision(0), Inventory::default()));
    let mut declared = store.declared();
    assert_eq!(store.commit(set(0, vec![node(1), node(2)])).await.unwrap(), Revision(1));
    assert!(declared.has_changed().unwrap());
    {
        let now = declared.borrow_and_update();
        assert_eq!((now.0, now.1.nodes.len(), now.1.groups.len()), (Revision(1), 2, 1));
    }
    let stale = store.commit(set(0, vec![Change::RemoveNode(NodeId(1))])).await;
    assert!(matches!(stale, Err(StoreError::Conflict { planned: 0, current: 1 })));
    let removal = Change::RemoveGroup("compute".parse().unwrap());
    assert_eq!(store.commit(set(1, vec![removal])).await.unwrap(), Revision(2));
    assert!(declared.borrow_and_update().1.nodes.values().all(|node| node.groups.is_empty()));
    store.observe(vec![Observation::PutLease(lease(1))]).unwrap().await.unwrap().unwrap();
    store.close().await;
    assert!(matches!(store.commit(set(2, Vec::new())).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn a_store_in_memory_keeps_the_rules() {
    suite(memory()).await;
}

#[tokio::test]
async fn a_store_in_a_file_keeps_the_rules_and_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/muster.redb");
    suite(open_redb(&path).unwrap()).await;
    let (store, loaded) = Store::open(open_redb(&path).unwrap()).unwrap();
    assert_eq!(loaded.revision, Revision(2));
    assert_eq!(loaded.inventory, *store.declared().borrow().1);
    assert_eq!((loaded.inventory.nodes.len(), loaded.inventory.groups.len()), (2, 0));
    assert_eq!((loaded.inventory.next_node, loaded.leases), (3, vec![lease(1)]));
    let group = Change::PutGroup(Arc::new(Group::new("x".parse().unwrap())));
    assert_eq!(store.commit(set(2, vec![group])).await.unwrap(), Revision(3));
}

#[tokio::test]
async fn one_process_holds_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("muster.redb");
    let (_store, _) = Store::open(open_redb(&path).unwrap()).unwrap();
    let second = open_redb(&path).err().expect("the file is locked").to_string();
    assert!(second.contains("another process"), "{second}");
}

#[test]
fn a_foreign_file_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("muster.redb");
    std::fs::write(&path, b"this is somebody's poem, not a store").unwrap();
    let error = open_redb(&path).and_then(|mut backend| backend.load()).err().unwrap().to_string();
    assert!(error.contains("muster.redb"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"this is somebody's poem, not a store");
}

#[tokio::test]
async fn ten_thousand_nodes_are_one_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("muster.redb");
    let (store, _) = Store::open(open_redb(&path).unwrap()).unwrap();
    store.commit(set(0, (0..10_000).map(node).collect())).await.unwrap();
    assert_eq!((store.counters.commits.value(), store.counters.writes.value()), (1, 10_000));
    store.close().await;
    let (_, loaded) = Store::open(open_redb(&path).unwrap()).unwrap();
    assert_eq!(loaded.inventory.nodes.len(), 10_000);
}

#[tokio::test]
async fn a_storm_of_leases_shares_commits() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(open_redb(&folder.path().join("muster.redb")).unwrap()).unwrap();
    let waiting: Vec<_> =
        (0..200).map(|last| store.observe(vec![Observation::PutLease(lease(last))]).unwrap()).collect();
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    assert!(
        store.counters.commits.value() < 100,
        "{} commits for 200 leases",
        store.counters.commits.value()
    );
}

/// A file system of 4 MB that is unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        if std::env::var_os("MUSTER_SKIP_NAMESPACE").is_some() {
            eprintln!("SKIPPED: MUSTER_SKIP_NAMESPACE is set; a full disk takes a mount of its own");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "muster-test"])
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "run this test as root, or set MUSTER_SKIP_NAMESPACE=1");
        Some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_the_store_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let path = disk.0.path().join("muster.redb");
    let (store, _) = Store::open(open_redb(&path).unwrap()).unwrap();
    assert_eq!(store.commit(set(0, vec![node(1)])).await.unwrap(), Revision(1));
    let ballast = disk.0.path().join("ballast");
    let _ = std::fs::write(&ballast, vec![0; 8 << 20]); // as much as fits
    let refused = store.commit(set(1, (2..5000).map(node).collect())).await;
    assert!(matches!(refused, Err(StoreError::Full | StoreError::Io { .. })), "{refused:?}");
    std::fs::remove_file(&ballast).unwrap();
    let revision = store.declared().borrow().0;
    assert_eq!(store.commit(set(revision.0, vec![node(6000)])).await.unwrap(), revision.next());
    store.observe(vec![Observation::PutLease(lease(9))]).unwrap().await.unwrap().unwrap();
    let declared = store.declared().borrow().1.clone();
    assert!(declared.nodes.contains_key(&NodeId(1)) && declared.nodes.contains_key(&NodeId(6000)));
    store.close().await;
    let loaded = open_redb(&path).unwrap().load().unwrap();
    assert_eq!((loaded.inventory.nodes.len(), loaded.leases), (declared.nodes.len(), vec![lease(9)]));
}
