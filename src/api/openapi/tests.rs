use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;

use crate::api::context::{Context, Turn};
use crate::api::openapi::{OPERATIONS, document, examples};
use crate::api::problem::Problem;
use crate::api::v1::explain::StepBody;
use crate::api::v1::observed::{NetworkBody, RogueBody};
use crate::api::v1::router;
use crate::api::v1::status::StatusBody;
use crate::api::v1::types::{
    AssignBody, BmcBody, BootBody, GroupBody, LeaseBody, NodeBody, ProfileBody, ReportBody, SightingBody,
};
use crate::base::Timestamp;
use crate::model::{Revision, SnapshotCell};
use crate::store::{Store, memory};
use crate::transport::dhcp::Handle;
use crate::transport::journal::Journal;

/// The example is exactly what the type reads and writes: no field more, none less.
fn same<T: Serialize + DeserializeOwned>(example: &Value) {
    let value: T = serde_json::from_value(example.clone()).unwrap();
    assert_eq!(serde_json::to_value(value).unwrap(), *example);
}

#[test]
fn examples_are_what_the_types_read_and_write() {
    for (name, example) in examples() {
        match name {
            "Node" => same::<NodeBody>(&example),
            "Bmc" => same::<BmcBody>(&example),
            "Group" => same::<GroupBody>(&example),
            "Profile" => same::<ProfileBody>(&example),
            "Assign" => same::<AssignBody>(&example),
            "Boot" => same::<BootBody>(&example),
            "Report" => same::<ReportBody>(&example),
            "Network" => same::<NetworkBody>(&example),
            "Lease" => same::<LeaseBody>(&example),
            "Sighting" => same::<SightingBody>(&example),
            "Rogue" => same::<RogueBody>(&example),
            "Step" => same::<StepBody>(&example),
            "Status" => same::<StatusBody>(&example),
            "Problem" => same::<Problem>(&example),
            other => panic!("{other} has no type"),
        }
    }
}

#[tokio::test]
async fn every_operation_is_routed_and_every_schema_exists() {
    let (store, _) = Store::open(memory()).unwrap();
    let (_, published) = tokio::sync::watch::channel(Revision(0));
    let context = Context {
        snapshot: Arc::new(SnapshotCell::default()),
        published,
        store,
        dhcp: Handle::pair().0,
        started: Timestamp(0),
        turn: Turn::default(),
        about: Arc::default(),
        journal: Journal::new(Timestamp(0)),
    };
    let router = router(context);
    for operation in OPERATIONS {
        let method = Method::from_bytes(operation.method.to_uppercase().as_bytes()).unwrap();
        let path = operation.path.replace("{name}", "a").replace("{address}", "192.0.2.1");
        let request = Request::builder().method(method).uri(&path).body(Body::from("{")).unwrap();
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
