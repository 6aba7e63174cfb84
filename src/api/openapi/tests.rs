use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use tower::ServiceExt;

use crate::api::context::{Context, PhoneHomes, Services, Turn};
use crate::api::node::NodeTrust;
use crate::api::openapi::{OPERATIONS, document};
use crate::api::v1::router;
use crate::base::Timestamp;
use crate::model::{Revision, SnapshotCell};
use crate::store::{Store, memory};
use crate::transport::audit::Audit;
use crate::transport::blobs::{Blobs, Settings};
use crate::transport::dhcp::Handle;
use crate::transport::journal::Journal;
use crate::transport::sessions::SessionPolicy;
use crate::transport::vault::{Chest, SiteKey, SshAuthority};

/// `UPDATE_GOLDEN=1` writes it anew; the difference is then read by people.
#[test]
fn the_document_is_the_one_that_was_agreed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/openapi.json");
    let made = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).unwrap();
        std::fs::write(path, &made).unwrap();
    }
    let agreed = std::fs::read_to_string(path).unwrap();
    assert!(agreed == made, "the API's description changed; look at it with UPDATE_GOLDEN=1 and git diff");
}

#[tokio::test]
async fn every_operation_is_routed_and_every_schema_exists() {
    let (store, _) = Store::open(memory()).unwrap();
    let (_, published) = tokio::sync::watch::channel(Revision(0));
    let journal = Journal::new(Timestamp(0));
    let folder = tempfile::tempdir().unwrap();
    let keys = tempfile::tempdir().unwrap();
    let chest = Arc::new(Chest::open(keys.path(), None).unwrap());
    let snapshot = Arc::new(SnapshotCell::default());
    let trust =
        NodeTrust::trial(folder.path(), &store, &journal, &snapshot, SessionPolicy::default()).unwrap();
    let site = SiteKey::open(&chest, keys.path(), &keys.path().join("site.pub")).unwrap();
    let audit = Audit::new(store.clone(), Arc::new(site), Vec::new());
    let context = Context::from(Services {
        audit,
        snapshot,
        trust: Arc::new(trust),
        published,
        store,
        dhcp: Handle::pair().0,
        started: Timestamp(0),
        turn: Turn::default(),
        calls: PhoneHomes::default(),
        recorder: crate::transport::recorder::Recorder::idle(),
        about: Arc::default(),
        journal: journal.clone(),
        images: crate::api::images::ImageUse::default(),
        streams: crate::transport::http::Streams::new(&Default::default(), Arc::new(|_| ())),
        blobs: Blobs::open(folder.path(), Settings::default()).unwrap(),
        ssh: Arc::new(SshAuthority::open(&chest, keys.path()).unwrap()),
        chest,
    });
    let router = router(context);
    for operation in OPERATIONS {
        let method = Method::from_bytes(operation.method.to_uppercase().as_bytes()).unwrap();
        let path = operation
            .path
            .replace("{name}", "a")
            .replace("{address}", "192.0.2.1")
            .replace("{digest}", "a")
            .replace("{id}", "a")
            .replace("{secret}", "a")
            .replace("{number}", "latest")
            .replace("{mac}", "00:00:5e:00:53:01");
        let request = Request::builder().method(method).uri(&path).body(Body::from("{")).unwrap();
        if operation.path == "/events" {
            journal.close(); // else the stream never ends
        }
        let response = router.clone().oneshot(request).await.unwrap();
        let place = format!("{} {}", operation.method, operation.path);
        assert_ne!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{place}");
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("there is nothing at"), "{place}");
    }
    let document = document();
    let text = document.to_string();
    let named = text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap());
    for name in named {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
    let paths = document["paths"].as_object().unwrap();
    let described: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(described, OPERATIONS.len(), "an operation stands in the table twice");
}
