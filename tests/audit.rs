//! The audit log: what is in it, what is not, and that nobody changes it unseen. The lines of a redb file are
//! changed behind the store's back, as somebody with the disk in his hands would do it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod head;

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use getrandom::SysRng;
use hpke::rand_core::UnwrapErr;
use redb::{Database, ReadableDatabase as _, TableDefinition};
use serde_json::{Value, json};

use muster::base::{Millis, Timestamp};
use muster::engine::audit::{Keep, Walk};
use muster::engine::trust::grant::Grant;
use muster::engine::trust::sealed::make_keys;
use muster::model::audit::{Breach, Checkpoint, Entry, Line, Outcome, Query, Via};
use muster::model::boot_session::Channel;
use muster::store::{Store, open_redb};
use muster::transport::audit::Audit;
use muster::transport::tasks::Tasks;
use muster::transport::vault::{Chest, SiteKey};

const LINES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit");

fn entry(index: usize) -> Entry {
    Entry {
        at: Timestamp(1000),
        actor: "alice".to_owned(),
        via: Via::Token,
        action: "PUT /api/v1/nodes".to_owned(),
        object: format!("node nid{index:03}"),
        outcome: Outcome::Done,
        ip: None,
        detail: String::new(),
    }
}

fn site_key(folder: &Path) -> Arc<SiteKey> {
    let chest = Chest::open(folder, None).unwrap();
    Arc::new(SiteKey::open(&chest, folder, &folder.join("site.pub")).unwrap())
}

async fn all(store: &Store) -> Vec<Line> {
    let (mut lines, mut after) = (Vec::new(), 0);
    loop {
        let page = store.audit(Query { after: Some(after), limit: 7, ..Query::default() }).await.unwrap();
        lines.extend(page.lines);
        match page.next {
            Some(next) => after = next,
            None => return lines,
        }
    }
}

/// What a walk along the log of this file finds, if it is held against these checkpoints.
async fn walked(path: &Path, checkpoints: &[Checkpoint]) -> Result<u64, Breach> {
    let (store, loaded) = Store::open(open_redb(path).unwrap()).unwrap();
    let lines = all(&store).await;
    store.close().await;
    let mut walk = Walk::new(loaded.checkpoints.iter().chain(checkpoints).copied())?;
    lines.iter().try_for_each(|line| walk.on(line))?;
    walk.end().map(|tip| tip.seq)
}

/// A file with a log of twenty lines, of which the first fifteen are signed.
async fn written(folder: &Path) -> (std::path::PathBuf, Checkpoint) {
    let path = folder.join("muster.redb");
    let (store, _) = Store::open(open_redb(&path).unwrap()).unwrap();
    let audit = Audit::new(store.clone(), site_key(folder), Vec::new());
    for index in 0..15 {
        audit.note(entry(index)).await.unwrap();
    }
    let signed = audit.sign().await.unwrap().unwrap();
    for index in 15..20 {
        audit.note(entry(index)).await.unwrap();
    }
    store.close().await;
    (path, signed)
}

fn with_lines(path: &Path, act: impl FnOnce(&mut redb::Table<'_, u64, &'static [u8]>)) {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    act(&mut transaction.open_table(LINES).unwrap());
    transaction.commit().unwrap();
}

fn row(path: &Path, seq: u64) -> Vec<u8> {
    let database = Database::open(path).unwrap();
    let table = database.begin_read().unwrap().open_table(LINES).unwrap();
    table.get(seq).unwrap().unwrap().value().to_vec()
}

#[tokio::test]
async fn a_log_that_was_changed_on_the_disk_is_found_at_its_first_wrong_line() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = written(folder.path()).await;
    assert_eq!(walked(&path, &[]).await, Ok(20));
    let copy = folder.path().join("copy.redb");
    for (wanted, act) in [
        (
            Breach::Edited { seq: 7 },
            Box::new(|path: &Path| {
                let text = String::from_utf8(row(path, 7)).unwrap().replace("alice", "mallo");
                with_lines(path, |lines| drop(lines.insert(7, text.as_bytes()).unwrap()));
            }) as Box<dyn Fn(&Path)>,
        ),
        (
            Breach::Gap { expected: 7, found: 8 },
            Box::new(|path: &Path| with_lines(path, |lines| drop(lines.remove(7).unwrap()))),
        ),
        (
            Breach::Gap { expected: 7, found: 8 },
            Box::new(|path: &Path| {
                let (seventh, eighth) = (row(path, 7), row(path, 8));
                with_lines(path, |lines| {
                    lines.insert(7, eighth.as_slice()).unwrap();
                    lines.insert(8, seventh.as_slice()).unwrap();
                });
            }),
        ),
        (
            Breach::Truncated { last: 14, signed: 15 },
            Box::new(|path: &Path| with_lines(path, |lines| lines.retain_in(15.., |_, _| false).unwrap())),
        ),
    ] {
        std::fs::copy(&path, &copy).unwrap();
        act(&copy);
        assert_eq!(walked(&copy, &[]).await, Err(wanted));
    }
}

#[tokio::test]
async fn an_end_that_was_cut_off_with_its_checkpoints_is_found_by_one_kept_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (path, signed) = written(folder.path()).await;
    with_lines(&path, |lines| lines.retain_in(10.., |_, _| false).unwrap());
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let checkpoints: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("audit_checkpoints");
    transaction.open_table(checkpoints).unwrap().retain(|_, _| false).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert_eq!(walked(&path, &[]).await, Ok(9), "the log alone cannot tell");
    assert_eq!(walked(&path, &[signed]).await, Err(Breach::Truncated { last: 9, signed: 15 }));
    // Written on from there, it is another log.
    let (store, loaded) = Store::open(open_redb(&path).unwrap()).unwrap();
    let audit = Audit::new(store.clone(), site_key(folder.path()), loaded.checkpoints);
    for index in 0..10 {
        audit.note(entry(index)).await.unwrap();
    }
    store.close().await;
    assert_eq!(walked(&path, &[signed]).await, Err(Breach::Rewritten { seq: 15 }));
}

#[tokio::test]
async fn what_goes_by_age_leaves_a_signed_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = written(folder.path()).await;
    let (store, loaded) = Store::open(open_redb(&path).unwrap()).unwrap();
    let audit = Audit::new(store.clone(), site_key(folder.path()), loaded.checkpoints);
    let tasks = Tasks::new();
    audit.start(Keep { lines: 1, life: Millis::from_secs(86_400) }, &tasks);
    tasks.stop(Duration::from_secs(5)).await; // its last look signs the end and lets the rest go
    let lines = all(&store).await;
    assert_eq!(lines.first().map(|line| line.seq), Some(16), "{lines:?}");
    store.close().await;
    assert_eq!(walked(&path, &[]).await, Ok(20));
    let (store, _) = Store::open(open_redb(&path).unwrap()).unwrap();
    let noted = Audit::new(store.clone(), site_key(folder.path()), Vec::new()).note(entry(20)).await;
    store.close().await;
    noted.unwrap();
    assert_eq!(walked(&path, &[]).await, Ok(21), "numbers go on");
}

#[tokio::test]
async fn a_page_says_where_the_next_one_begins() {
    let head = head::Head::below("/api/v1", head::SITE);
    head.declare(5).await;
    let page = head.get("/audit?limit=2").await.ok();
    assert_eq!((&page["lines"][0]["seq"], &page["next"]), (&json!(5), &json!(4)));
    let page = head.get("/audit?limit=2&before=4").await.ok();
    assert_eq!((&page["lines"][0]["object"], &page["next"]), (&json!("node nid003"), &json!(2)));
    let page = head.get("/audit?after=3").await.ok();
    assert_eq!((&page["lines"][0]["seq"], &page["next"]), (&json!(4), &json!(null)));
    assert_eq!(head.get("/audit?object=nid003").await.ok()["lines"].as_array().unwrap().len(), 1);
    assert_eq!(head.get("/audit?outcome=refused").await.ok()["lines"], json!([]));
    for wrong in ["outcome=perhaps", "since=yesterday", "limit=0", "after=-1", "actors=alice"] {
        head.get(&format!("/audit?{wrong}")).await.refused(422);
    }
    let signed = head.json("POST", "/audit/checkpoint", json!(null)).await.ok();
    assert_eq!(signed["seq"], 5);
    assert_eq!(head.get("/audit/checkpoints").await.ok(), json!([signed]));
}

const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const MARKER: &str = "marker-of-a-value-that-no-line-holds";

/// A head with nid001 and nid002, and a secret for whoever redeems a grant.
async fn with_secret() -> head::Head {
    let head = head::Head::vaulted(head::SITE);
    for index in [1, 2] {
        let interface = json!({"mac": head::mac(index), "addresses": [format!("192.0.2.{index}")]});
        let node = json!({"name": format!("nid{index:03}"), "interfaces": [interface]});
        head.json("POST", "/api/v1/nodes", node).await.ok();
    }
    let target = json!({"kernel": "k", "initrds": ["i"], "params": "quiet"});
    head.json("PUT", "/api/v1/boot", json!({"whom": {"set": "nid001"}, "target": target})).await.ok();
    let value = STANDARD.encode(MARKER);
    for (name, level) in [("disk", "1"), ("seal", "2")] {
        let secret = json!({"min_level": level, "what": "opaque", "value": value});
        head.json("PUT", &format!("/api/v1/secrets/{name}"), secret).await.ok();
    }
    head
}

/// nid001 boots until it has its grant.
async fn grant(head: &head::Head) -> Grant {
    let id = head.context.snapshot.load().by_name("nid001").unwrap().id;
    let mac = head::mac(1).parse().unwrap();
    head.context
        .trust
        .sessions
        .boots(id, Channel { mac, address: None, relay: None, uuid: None, arch: None });
    let path = format!("/boot/script?mac={}", head::mac(1).replace(':', "-"));
    let script = head.ask_from(NODE, "GET", &path, "").await.is(200);
    let word = script.split_whitespace().find(|word| word.contains("/b/")).unwrap().to_owned();
    let archive = head.ask_from(NODE, "GET", word.strip_prefix("http://192.0.2.254:8081").unwrap(), "").await;
    let text = String::from_utf8_lossy(&archive.bytes).into_owned();
    let (start, end) = (text.find("{\"").unwrap(), text.find("\"}\n").unwrap());
    Grant::parse(&text.as_bytes()[start..end + 3]).unwrap()
}

async fn claim(head: &head::Head, from: Ipv4Addr, grant: &Grant) -> head::Answer {
    let (_, public) = make_keys(&mut UnwrapErr(SysRng));
    let body = json!({
        "session": grant.session.to_string(), "nonce": STANDARD.encode(*grant.nonce),
        "node_pub": STANDARD.encode(public),
    });
    head.ask_from(from, "POST", "/node/v1/claim", body.to_string()).await
}

/// Lines of the log with this in their details, the oldest first.
async fn lines(head: &head::Head, detail: &str) -> Vec<Line> {
    let mut lines = all(&head.context.store).await;
    for line in &lines {
        let text = format!("{line:?}");
        assert!(!text.contains(MARKER) && !text.contains(&STANDARD.encode(MARKER)), "{text}");
    }
    lines.retain(|line| line.entry.detail.contains(detail));
    lines
}

#[tokio::test]
async fn what_a_node_is_given_and_refused_stands_in_the_log() {
    let head = with_secret().await;
    let granted = grant(&head).await;
    claim(&head, OTHER, &granted).await.is(404);
    claim(&head, OTHER, &granted).await.is(404);
    claim(&head, NODE, &granted).await.ok();
    let object = format!("boot session {}", granted.session);
    for detail in ["a grant was made", "claimed at level 1: disk version 1; withheld: seal"] {
        let [line] = lines(&head, detail).await.try_into().unwrap();
        let Entry { actor, via, object: of, outcome, ip, .. } = line.entry;
        assert_eq!((actor.as_str(), of.as_str()), ("node nid001", object.as_str()), "{detail}");
        assert_eq!((via, outcome, ip), (Via::Node, Outcome::Done, Some(NODE.into())), "{detail}");
    }
    let [line] = lines(&head, "404: ").await.try_into().expect("the second refusal is counted, not written");
    let Entry { actor, via, action, object, outcome, ip, .. } = line.entry;
    assert_eq!((actor.as_str(), action.as_str()), ("", "POST /node/v1/claim"), "nobody proved a name");
    assert_eq!((via, outcome, ip), (Via::Node, Outcome::Refused, Some(OTHER.into())));
    assert_eq!(object, "node nid002", "whose address it is");
    // Another key for a claimed session: somebody is not who he says.
    claim(&head, NODE, &granted).await.is(409);
    assert_eq!(lines(&head, "409: ").await.len(), 1);
}

#[tokio::test]
async fn what_operators_do_to_boot_sessions_and_secrets_stands_in_the_log() {
    let head = with_secret().await;
    let session = grant(&head).await.session;
    head.json("POST", "/api/v1/trust/nodes/nid001/arm", json!(null)).await.ok();
    head.json("POST", "/api/v1/trust/nodes/nid001/revoke", json!(null)).await.ok();
    head.json("POST", "/api/v1/trust/void", json!(null)).await.ok();
    for (detail, object) in [
        (format!("armed boot session {session}"), "node nid001"),
        (format!("revoked boot session {session}"), "node nid001"),
        ("are void".to_owned(), "boot sessions"),
    ] {
        let [line] = lines(&head, &detail).await.try_into().unwrap();
        assert_eq!((line.entry.object.as_str(), line.entry.outcome), (object, Outcome::Done));
    }
    let revealed: Value = head.json("POST", "/api/v1/secrets/disk/reveal", json!(null)).await.ok();
    assert_eq!(revealed["value"], STANDARD.encode(MARKER));
    let [line] = lines(&head, "revealed version 1").await.try_into().unwrap();
    assert_eq!((line.entry.object.as_str(), line.entry.outcome), ("secret disk", Outcome::Done));
    head.json("POST", "/api/v1/secrets/none/reveal", json!(null)).await.refused(404);
    head.json("POST", "/api/v1/secrets/none/reveal", json!(null)).await.refused(404);
    let refused: Vec<Line> = lines(&head, "").await;
    let refused: Vec<&Entry> =
        refused.iter().map(|line| &line.entry).filter(|entry| entry.outcome == Outcome::Refused).collect();
    // Of one address within a minute: the first is a line, the others are counted.
    let [first] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!(first.object, "secret none");
    let put = lines(&head, "").await.into_iter().filter(|line| line.entry.object == "secret disk").count();
    assert_eq!(put, 2, "it was put and revealed");
}
