//! Stored content and uploads, over the API and below it: what was acknowledged is there after a restart, what is
//! not as declared is refused, and what is corrupt is never served.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test waits for a process and makes files old")]

mod head;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use serde_json::{Value, json};

use head::{Head, SITE};
use muster::api::v1::PREFIX;
use muster::base::Digest;
use muster::transport::blobs::chunks::{Chunk, digest_of, survey};
use muster::transport::blobs::{BlobError, Blobs, Reserve, Settings, Verdict};

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut dice = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| dice.u8(..)).take(length).collect()
}

fn settings(quota: u64) -> Settings {
    let quota = std::num::NonZeroU64::new(quota);
    Settings { quota, reserve: Reserve::Bytes(0), scrub: None }
}

fn open(folder: &Path) -> Blobs {
    Blobs::open(folder, settings(0)).unwrap()
}

fn store(blobs: &Blobs, octets: &[u8]) -> Digest {
    blobs.ingest(&mut &octets[..], None).unwrap().digest
}

fn place(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join("sha256").join(&digest.hex()[..2]).join(digest.hex())
}

/// Every file below, but for lists of chunks of blobs that are there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn declare(octets: &[u8]) -> Value {
    json!({"digest": digest_of(octets).to_string(), "size": octets.len()})
}

fn with_chunks(octets: &[u8]) -> Value {
    let chunks = survey(octets, |_| {}).unwrap().1;
    let chunk = |Chunk { digest, size }: &Chunk| json!({"digest": digest.to_string(), "size": size});
    let mut body = declare(octets);
    body["chunks"] = chunks.iter().map(chunk).collect();
    body
}

/// Sends these octets of the whole.
async fn send(head: &Head, id: &str, octets: &[u8], first: usize, end: usize) -> head::Answer {
    let range = format!("bytes {first}-{}/{}", end - 1, octets.len());
    let part = octets[first..end].to_vec();
    head.send_with("PATCH", &format!("/uploads/{id}"), &[("content-range", &range)], part).await
}

/// Sends what is missing and completes. Answers how many bytes went over the wire.
async fn finish(head: &Head, mut upload: Value, octets: &[u8]) -> usize {
    let id = upload["id"].as_str().unwrap().to_owned();
    let mut sent = 0;
    while let Some(range) = upload["missing"].as_array().unwrap().first().cloned() {
        let at = |name: &str| usize::try_from(range[name].as_u64().unwrap()).unwrap();
        let (first, end) = (at("first"), (at("last") + 1).min(at("first") + (1 << 20)));
        upload = send(head, &id, octets, first, end).await.ok();
        sent += end - first;
    }
    let done = head.send("POST", &format!("/uploads/{id}/complete"), "").await.ok();
    assert_eq!(done["state"], "present", "{done}");
    sent
}

fn read_back(blobs: &Blobs, folder: &Path, digest: &Digest) -> Vec<u8> {
    assert_eq!(blobs.file(digest).unwrap().etag, format!("\"{}\"", digest.hex()));
    fs::read(place(folder, digest)).unwrap()
}

#[test]
fn what_is_taken_in_is_found_again_and_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let octets = noise(3 << 20, 1);
    let digest = store(&open(folder.path()), &octets);
    assert_eq!(digest, digest_of(&octets));
    let blobs = open(folder.path());
    assert_eq!(read_back(&blobs, folder.path(), &digest), octets);
    let mode = fs::metadata(place(folder.path(), &digest)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
    assert_eq!(blobs.info(&digest).unwrap().size, 3 << 20);
    assert_eq!((blobs.list().len(), blobs.usage().unwrap().bytes), (1, 3 << 20));
    let empty = store(&blobs, b"");
    assert_eq!(blobs.file(&empty).unwrap().size, 0);
}

#[test]
fn what_is_not_as_declared_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = open(folder.path());
    let octets = noise(100_000, 2);
    let digest = digest_of(&octets);
    let mut altered = octets.clone();
    altered[50_000] ^= 1;
    for (sent, size) in [(&octets[..99_999], 100_000), (&octets[..], 99_999), (&altered[..], 100_000)] {
        let refused = blobs.ingest(&mut &sent[..], Some((digest, size)));
        assert!(matches!(refused, Err(BlobError::OtherSize { .. } | BlobError::OtherContent { .. })));
    }
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
    assert!(blobs.info(&digest).is_none() && blobs.file(&digest).is_err());
}

#[test]
fn what_is_left_of_a_dead_ingest_is_swept_away() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    for name in ["ingest-7", "x", "00000000-0000-4000-8000-000000000000.part"] {
        fs::write(folder.path().join("tmp").join(name), "half").unwrap();
    }
    drop(open(folder.path()));
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn planted_links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let secret = noise(1000, 3);
    let digest = digest_of(&secret);
    fs::write(outside.path().join(digest.hex()), &secret).unwrap();
    let shelf = place(folder.path(), &digest);
    // A link in the place of the file, of its directory, and one put there after the index was made.
    fs::create_dir_all(shelf.parent().unwrap()).unwrap();
    symlink(outside.path().join(digest.hex()), &shelf).unwrap();
    assert!(open(folder.path()).info(&digest).is_none());
    fs::remove_dir_all(shelf.parent().unwrap()).unwrap();
    symlink(outside.path(), shelf.parent().unwrap()).unwrap();
    let blobs = open(folder.path());
    assert!(blobs.info(&digest).is_none() && blobs.file(&digest).is_err());
    assert!(blobs.ingest(&mut &secret[..], None).is_err(), "nothing is written through a link");
    fs::remove_file(shelf.parent().unwrap()).unwrap();
    store(&blobs, &secret);
    fs::remove_file(&shelf).unwrap();
    symlink(outside.path().join(digest.hex()), &shelf).unwrap();
    assert!(blobs.file(&digest).is_err());
}

#[tokio::test]
async fn a_corrupt_blob_is_found_set_aside_and_healed_by_its_bad_chunk_alone() {
    let head = Head::below(PREFIX, SITE);
    let (blobs, folder) = (head.context.blobs.clone(), head.folder.path().to_owned());
    let octets = noise(8 << 20, 4);
    let (digest, other) = (store(&blobs, &octets), store(&blobs, b"another"));
    let path = place(&folder, &digest);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut altered = octets.clone();
    altered[4 << 20] ^= 1;
    fs::write(&path, &altered).unwrap();
    let missing = digest_of(b"nothing");
    let found = blobs.verify(vec![digest, other, missing], None).await.unwrap();
    let wanted = [(digest, Verdict::Corrupt), (other, Verdict::Good), (missing, Verdict::Missing)];
    assert_eq!(found, wanted);
    assert_eq!((blobs.progress().blobs_done, blobs.progress().corrupt), (3, 1));
    // After a restart it is known still.
    let again = Blobs::open(&folder, settings(0)).unwrap();
    for blobs in [&blobs, &again] {
        assert!(blobs.file(&digest).is_err() && blobs.info(&digest).unwrap().corrupt);
    }
    let status = head.get("/status").await.ok();
    let said = |finding: &Value| finding["text"].as_str().unwrap().contains("1 stored files are corrupt");
    assert!(status["findings"].as_array().unwrap().iter().any(said), "{status}");
    assert_eq!(head.get("/blobs?state=corrupt").await.ok().as_array().unwrap().len(), 1);
    let begun = head.json("POST", "/uploads", with_chunks(&octets)).await.ok();
    let sent = finish(&head, begun, &octets).await;
    assert!((1..=1 << 20).contains(&sent), "{sent} bytes were sent to heal one");
    assert_eq!(read_back(&blobs, &folder, &digest), octets);
    assert_eq!(head.get("/blobs?state=corrupt").await.ok(), json!([]));
    assert_eq!(fs::read_dir(folder.join("corrupt")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_background_checks_what_was_not_checked_for_a_week_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let digests = [1, 2, 3].map(|seed| store(&open(folder.path()), &noise(600_000, 20 + seed)));
    let [old, old_corrupt, recent] = digests;
    for digest in [old, old_corrupt] {
        let list = folder.path().join("chunks").join(&digest.hex()[..2]).join(digest.hex());
        let week = std::time::Duration::from_secs(8 * 86_400);
        let file = fs::File::options().write(true).open(list).unwrap();
        file.set_modified(std::time::SystemTime::now() - week).unwrap();
    }
    for digest in [old_corrupt, recent] {
        let path = place(folder.path(), &digest);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, noise(600_000, 30)).unwrap();
    }
    let scrub = std::num::NonZeroU64::new(1 << 30);
    let blobs = Blobs::open(folder.path(), Settings { scrub, ..settings(0) }).unwrap();
    let tasks = muster::transport::tasks::Tasks::new();
    blobs.start(&tasks);
    while blobs.progress().blobs_done < 2 || blobs.progress().running {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let corrupt = |digest: &Digest| blobs.info(digest).unwrap().corrupt;
    assert_eq!(digests.map(|digest| corrupt(&digest)), [false, true, false]);
    assert_eq!((blobs.progress().blobs, blobs.progress().bytes_done), (2, 1_200_000));
    tasks.stop(std::time::Duration::from_secs(5)).await;
    // What was checked is known after a restart, and is not due again.
    let age = open(folder.path()).info(&old).unwrap().checked;
    assert!(muster::transport::clock::now().since(age).as_secs() < 600);
}

#[tokio::test]
async fn an_interrupted_upload_goes_on_after_a_restart() {
    let octets = noise(5 << 20, 5);
    let head = Head::below(PREFIX, SITE);
    let begun = head.json("POST", "/uploads", declare(&octets)).await;
    assert_eq!(begun.status.as_u16(), 201);
    let begun = begun.ok();
    let id = begun["id"].as_str().unwrap().to_owned();
    send(&head, &id, &octets, 3 << 20, 4 << 20).await.ok();
    // A body that breaks off: what came of it counts.
    let pieces = vec![Ok(Bytes::copy_from_slice(&octets[..300_000])), Err(std::io::Error::other("gone"))];
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    let range = format!("bytes 0-{}/{}", (1 << 20) - 1, octets.len());
    let path = format!("/uploads/{id}");
    head.send_with("PATCH", &path, &[("content-range", &range)], body).await.refused(400);
    let folder = Arc::clone(&head.folder);
    drop(head);
    let head = Head::below_on(PREFIX, folder, SITE);
    let known = head.get(&path).await.ok();
    let wanted =
        json!([{"first": 300_000, "last": (3 << 20) - 1}, {"first": 4 << 20, "last": (5 << 20) - 1}]);
    assert_eq!(known["missing"], wanted);
    let complete = format!("{path}/complete");
    assert!(head.send("POST", &complete, "").await.refused(409).contains("missing"));
    let again = head.json("POST", "/uploads", declare(&octets)).await.ok();
    assert_eq!(again["id"], begun["id"], "the same content is the same upload");
    assert_eq!(finish(&head, again, &octets).await, (4 << 20) - 300_000);
    assert_eq!(read_back(&head.context.blobs, head.folder.path(), &digest_of(&octets)), octets);
    head.get(&path).await.refused(404);
    let known = head.send("HEAD", &format!("/blobs/{}", digest_of(&octets)), "").await;
    assert!(known.status == 200 && known.bytes.is_empty());
    let present = head.json("POST", "/uploads", declare(&octets)).await.ok();
    assert_eq!((&present["present"], &present["id"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn of_a_near_identical_image_only_the_differing_chunks_are_sent() {
    let head = Head::below(PREFIX, SITE);
    let old = noise(16 << 20, 6);
    let first = head.json("POST", "/uploads", with_chunks(&old)).await.ok();
    assert_eq!(finish(&head, first, &old).await, old.len());
    let mut new = old.clone();
    new.splice(5 << 20..5 << 20, *b"a security update");
    new[12 << 20] ^= 0xff;
    let begun = head.json("POST", "/uploads", with_chunks(&new)).await.ok();
    let sent = finish(&head, begun, &new).await;
    assert!(sent <= 4 << 20, "{sent} bytes of {} were sent", new.len());
    assert_eq!(read_back(&head.context.blobs, head.folder.path(), &digest_of(&new)), new);
}

#[tokio::test]
async fn altered_content_is_refused_and_nothing_is_left() {
    let head = Head::below(PREFIX, SITE);
    let octets = noise(2 << 20, 7);
    let begun = head.json("POST", "/uploads", declare(&octets)).await.ok();
    let id = begun["id"].as_str().unwrap();
    let mut altered = octets.clone();
    altered[1 << 20] ^= 1;
    send(&head, id, &altered, 0, altered.len()).await.ok();
    let said = head.send("POST", &format!("/uploads/{id}/complete"), "").await.refused(422);
    assert!(said.contains("was declared; nothing was kept"), "{said}");
    assert_eq!(files(head.folder.path()), Vec::<PathBuf>::new());
    let failed = head.get(&format!("/uploads/{id}")).await.ok();
    assert_eq!(failed["state"], "failed");
    let begun = head.json("POST", "/uploads", declare(&octets)).await.ok();
    assert_ne!(begun["id"], *id);
    finish(&head, begun, &octets).await;
}

#[tokio::test]
async fn two_clients_that_send_the_same_content_share_the_work() {
    let head = Arc::new(Head::below(PREFIX, SITE));
    let octets = Arc::new(noise(12 << 20, 8));
    let client = || {
        let (head, octets) = (Arc::clone(&head), Arc::clone(&octets));
        async move {
            let mut upload = head.json("POST", "/uploads", declare(&octets)).await.ok();
            let id = upload["id"].as_str().unwrap().to_owned();
            while let Some(range) = upload["missing"].as_array().unwrap().first().cloned() {
                let first = usize::try_from(range["first"].as_u64().unwrap()).unwrap();
                upload = send(&head, &id, &octets, first, (first + (1 << 20)).min(octets.len())).await.ok();
            }
            let mut done = head.send("POST", &format!("/uploads/{id}/complete"), "").await;
            while done.status == 200 && done.json()["state"] == "checking" {
                done = head.get(&format!("/uploads/{id}")).await;
            }
            // The other one may have been faster: then the upload is gone and the blob is there.
            assert!(matches!(done.status.as_u16(), 200 | 404), "{}", done.text());
            head.get(&format!("/blobs/{}", digest_of(&octets))).await.ok();
        }
    };
    tokio::join!(client(), client());
    assert_eq!(read_back(&head.context.blobs, head.folder.path(), &digest_of(&octets)), *octets);
    assert_eq!(head.get("/uploads").await.ok(), json!([]));
    assert_eq!(fs::read_dir(head.folder.path().join("tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn wrong_requests_are_refused_with_their_field() {
    let head = Head::below(PREFIX, SITE);
    let octets = noise(1000, 9);
    for (body, status, word) in [
        (json!({"digest": "sha256:12", "size": 1}), 422, "\"field\":\"digest\""),
        (json!({"digest": digest_of(b"").to_string(), "size": 1_u64 << 60}), 422, "at most"),
        (json!({"digest": digest_of(b"").to_string(), "size": -1}), 400, "size"),
        (
            json!({"digest": digest_of(b"").to_string(), "size": 9, "chunks": [{"digest": "x", "size": 9}]}),
            422,
            "chunks[0].digest",
        ),
        (
            json!({"digest": digest_of(b"").to_string(), "size": 9, "chunks": [{"digest": digest_of(b"").to_string(), "size": 8}]}),
            422,
            "have 8 bytes",
        ),
        (
            json!({"digest": digest_of(b"").to_string(), "size": 9, "chunks": [{"digest": digest_of(b"").to_string(), "size": 0}]}),
            422,
            "chunks[0].size",
        ),
        (json!({"digest": digest_of(b"").to_string(), "size": 2_u64 << 30}), 507, "muster image gc"),
    ] {
        let said = head.json("POST", "/uploads", body.clone()).await.refused(status);
        assert!(said.contains(word), "{body}: {said}");
    }
    for id in ["..", "%2e%2e", "..%2f..%2fmuster.redb", "a%00b", "x.part"] {
        for (method, path) in
            [("GET", "uploads"), ("PATCH", "uploads"), ("DELETE", "uploads"), ("GET", "blobs")]
        {
            let answer = head.send(method, &format!("/{path}/{id}"), "").await;
            assert!(
                matches!(answer.status.as_u16(), 400 | 404 | 422),
                "{method} {path}/{id}: {}",
                answer.text()
            );
        }
    }
    let begun = head.json("POST", "/uploads", declare(&octets)).await.ok();
    let path = format!("/uploads/{}", begun["id"].as_str().unwrap());
    for (range, status) in
        [("bytes 0-1000/1000", 416), ("bytes 0-9/999", 416), ("0-9", 400), ("bytes 0-9/1000", 400)]
    {
        // Eight octets: fewer than any of these ranges has.
        head.send_with("PATCH", &path, &[("content-range", range)], "01234567").await.refused(status);
    }
    head.send_with("PATCH", &path, &[("content-range", "bytes 0-3/1000")], "01234567").await.refused(400);
    assert_eq!(head.send("DELETE", &path, "").await.status.as_u16(), 204);
    head.send("DELETE", &path, "").await.refused(404);
    assert_eq!(files(head.folder.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn removed_blobs_are_read_to_their_end_and_uploads_are_spared() {
    let head = Head::below(PREFIX, SITE);
    let blobs = &head.context.blobs;
    let octets = noise(1 << 20, 10);
    let digest = store(blobs, &octets);
    let mut reader = fs::File::open(place(head.folder.path(), &digest)).unwrap();
    assert_eq!(blobs.remove(&[digest, digest_of(b"none")]).unwrap().len(), 1);
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert_eq!(read, octets);
    assert!(blobs.file(&digest).is_err());
    assert_eq!(files(head.folder.path()), Vec::<PathBuf>::new());
    let begun = head.json("POST", "/uploads", declare(&octets)).await.ok();
    assert!(blobs.remove(&[digest]).unwrap().is_empty());
    finish(&head, begun, &octets).await;
}

#[test]
fn the_quota_counts_blobs_and_uploads() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path(), settings(1 << 20)).unwrap();
    store(&blobs, &noise(700_000, 11));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let begin = |size: u64| runtime.block_on(blobs.begin(digest_of(&size.to_be_bytes()), size, Vec::new()));
    begin(200_000).unwrap();
    let refused = begin(200_000 + 1).unwrap_err();
    assert!(refused.is_full(), "{refused}");
    assert!(
        refused.to_string().contains("200001 bytes are needed, the quota of 1048576 leaves 148576"),
        "{refused}"
    );
    begin(148_000).unwrap();
}

/// Set in the process that has a small file system to fill.
const SMALL: &str = "MUSTER_TEST_SMALL_DISK";

#[test]
fn on_a_full_disk_uploads_are_refused_and_what_is_stored_is_served() {
    let Some(folder) = std::env::var_os(SMALL).map(PathBuf::from) else {
        let folder = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        let script = "mount -t tmpfs -o size=8m none \"$0\" && exec \"$1\" --exact --nocapture \
                      on_a_full_disk_uploads_are_refused_and_what_is_stored_is_served";
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(folder.path()).arg(own).env(SMALL, folder.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let blobs = open(&folder);
    let octets = noise(3 << 20, 12);
    let stored = store(&blobs, &noise(2 << 20, 13));
    let begun = runtime.block_on(blobs.begin(digest_of(&octets), 3 << 20, Vec::new())).unwrap();
    let muster::transport::blobs::Begun::Upload(upload, true) = begun else { panic!("{begun:?}") };
    // Too large for what is left: refused before a byte is written.
    let refused = runtime.block_on(blobs.begin(digest_of(b"x"), 4 << 20, Vec::new())).unwrap_err();
    assert!(refused.to_string().contains("muster image gc"), "{refused}");
    // Somebody else fills the disk to the last byte.
    let mut filler = fs::File::create(folder.join("filler")).unwrap();
    while filler.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
    let refused = blobs.ingest(&mut &noise(1 << 20, 14)[..], None).unwrap_err();
    assert!(refused.is_full(), "{refused}");
    assert_eq!(read_back(&blobs, &folder, &stored), noise(2 << 20, 13));
    // The upload has its space, but for its log, which needs a page.
    let body = || futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from(octets.clone()))]);
    let sent = runtime.block_on(blobs.receive(upload.id, 0..3 << 20, body()));
    assert!(sent.as_ref().is_err_and(BlobError::is_full), "{sent:?}");
    drop(filler);
    fs::remove_file(folder.join("filler")).unwrap();
    runtime.block_on(blobs.receive(upload.id, 0..3 << 20, body())).unwrap();
    runtime.block_on(blobs.complete(upload.id)).unwrap();
    assert_eq!(read_back(&blobs, &folder, &digest_of(&octets)), octets);
    assert!(fs::read_dir(folder.join("tmp")).unwrap().next().is_none());
}

/// A daemon of its own, on its Unix socket alone.
struct Daemon {
    child: std::process::Child,
    socket: PathBuf,
}

impl Daemon {
    fn start(folder: &Path) -> Daemon {
        let config = folder.join("muster.toml");
        let off = "listen = []\n";
        let text =
            format!("[http]\n{off}[https]\n{off}[tftp]\n{off}[dns]\n{off}[images]\nreserve = \"1MB\"\n");
        fs::write(&config, text).unwrap();
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_muster"));
        command.arg("--config").arg(&config).arg("--data-dir").arg(folder.join("data")).arg("serve");
        let child = command.stdout(std::process::Stdio::null()).stderr(log).spawn().unwrap();
        let daemon = Daemon { child, socket: folder.join("data/muster.sock") };
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while daemon.ask("GET", "/status", "", &[]).is_none() {
            assert!(std::time::Instant::now() < limit, "{}", fs::read_to_string(folder.join("log")).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        daemon
    }

    /// Status and JSON of an answer; none if the daemon went away.
    fn ask(&self, method: &str, path: &str, fields: &str, body: &[u8]) -> Option<(u16, Value)> {
        ask(&self.socket, method, path, fields, body).ok()
    }

    /// `kill -9`.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn ask(socket: &Path, method: &str, path: &str, fields: &str, body: &[u8]) -> std::io::Result<(u16, Value)> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    let head = format!(
        "{method} {PREFIX}{path} HTTP/1.1\r\nhost: muster\r\nconnection: close\r\ncontent-length: {}\r\n{fields}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let json = serde_json::from_str(body).map_err(std::io::Error::other)?;
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, json))
}

/// Sends what is missing and completes, until the daemon goes away. Answers the last that it said.
fn send_until_death(socket: &Path, octets: &[u8]) -> Option<Value> {
    let mut told;
    let mut upload = ask(socket, "POST", "/uploads", "", declare(octets).to_string().as_bytes()).ok()?.1;
    while upload["present"] == false {
        told = Some(upload.clone());
        let path = format!("/uploads/{}", upload["id"].as_str().unwrap());
        let answer = match upload["missing"].as_array().unwrap().first() {
            Some(range) => {
                let first = usize::try_from(range["first"].as_u64().unwrap()).unwrap();
                let end = (first + (1 << 20)).min(octets.len());
                let field = format!("content-range: bytes {first}-{}/{}\r\n", end - 1, octets.len());
                ask(socket, "PATCH", &path, &field, &octets[first..end])
            }
            None => ask(socket, "POST", &format!("{path}/complete"), "", b""),
        };
        let Ok((status, json)) = answer else { return told };
        assert_eq!(status, 200, "{json}");
        upload = json;
    }
    Some(upload)
}

#[test]
fn a_daemon_that_is_killed_during_uploads_keeps_what_it_acknowledged() {
    const ROUNDS: u64 = 25;
    let folder = tempfile::tempdir().unwrap();
    let seed = u64::from(std::process::id());
    eprintln!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let (mut content, mut whole, mut resumed) = (0, Vec::new(), 0);
    let mut octets = noise(24 << 20, content);
    // How many bytes of the present content were acknowledged.
    let mut promised = 0;
    for round in 0..ROUNDS {
        let daemon = Daemon::start(folder.path());
        let (_, begun) = daemon.ask("POST", "/uploads", "", declare(&octets).to_string().as_bytes()).unwrap();
        let received = begun["received"].as_u64().unwrap();
        assert!(received >= promised, "round {round}: {received} bytes are left of {promised}");
        resumed += u64::from(received > 0 && begun["present"] == false);
        for digest in &whole {
            let (status, blob) = daemon.ask("GET", &format!("/blobs/{digest}"), "", &[]).unwrap();
            assert_eq!((status, &blob["size"]), (200, &json!(24 << 20)), "round {round}");
        }
        let (socket, sent) = (daemon.socket.clone(), octets.clone());
        let client = std::thread::spawn(move || send_until_death(&socket, &sent));
        std::thread::sleep(std::time::Duration::from_millis(dice.u64(5..250)));
        daemon.kill();
        let told = client.join().unwrap();
        promised = told.as_ref().map_or(promised, |told| told["received"].as_u64().unwrap());
        if told.is_some_and(|told| told["present"] == true) {
            whole.push(declare(&octets)["digest"].as_str().unwrap().to_owned());
            (content, promised) = (content + 1, 0);
            octets = noise(24 << 20, content);
        }
    }
    eprintln!("{} blobs, {resumed} uploads resumed", whole.len());
    assert!(!whole.is_empty() && resumed > 3, "{} blobs, {resumed} resumed: this shows little", whole.len());
    // Whatever bears the name of a blob has its content.
    let blobs = open(&folder.path().join("data/blobs"));
    for info in blobs.list() {
        let content = fs::read(place(&folder.path().join("data/blobs"), &info.digest)).unwrap();
        assert_eq!(digest_of(&content), info.digest);
    }
    assert!(whole.iter().all(|digest| blobs.has(&digest.parse().unwrap())));
}
