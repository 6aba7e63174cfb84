//! SMD beside components: service values, node and power maps, locks and reservations, subscriptions with their
//! notifications, hardware inventory. Shapes and texts are those of `openchami/smd` v2.

mod daemon;
mod hardware;
mod locks;
mod subscriptions;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::head::{Head, SITE};

const COMPONENTS: &str = "/State/Components";

/// Two nodes.
const A: &str = "x3000c0s1b0n0";
const B: &str = "x3000c0s2b0n0";

async fn head_with(ids: &[&str]) -> Head {
    let head = Head::below("/hsm/v2", SITE);
    if !ids.is_empty() {
        let list: Vec<Value> = ids.iter().map(|id| json!({"ID": id, "State": "Ready"})).collect();
        head.json("POST", COMPONENTS, json!({ "Components": list })).await.is(204);
    }
    head
}

#[tokio::test]
async fn service_tells_that_it_works_and_which_words_it_knows() {
    let head = head_with(&[]).await;
    let ready = head.get("/service/ready").await.ok();
    assert_eq!(ready, json!({"code": 0, "message": "HSM is healthy"}));
    head.get("/service/liveness").await.is(204);
    let all = head.get("/service/values").await.ok();
    let keys: Vec<&String> = all.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["Arch", "Class", "Flag", "NetType", "Role", "State", "SubRole", "Type"]);
    assert_eq!(
        head.get("/service/values/ARCH").await.ok(),
        json!({"Arch": ["X86", "ARM", "UNKNOWN", "Other"]})
    );
    assert!(all["Type"].as_array().unwrap().contains(&json!("NodeBMC")));
    head.get("/service/values/colour").await.refused(404);
}

#[tokio::test]
async fn a_closed_store_is_not_ready() {
    let head = head_with(&[]).await;
    head.context.store.close().await;
    let text = head.get("/service/ready").await.refused(503);
    assert!(text.contains("HSM is not healthy"), "{text}");
    head.get("/service/liveness").await.is(204);
}

#[tokio::test]
async fn node_maps_give_new_nodes_their_numbers_and_roles() {
    let head = head_with(&[]).await;
    let maps = json!({"NodeMaps": [
        {"ID": "x3000c0s01b0n0", "NID": 1, "Role": "management", "SubRole": "WORKER", "NodeInfo": {"id": null}},
        {"ID": "x3000c0s2b0n0", "NID": 2},
    ]});
    let made = head.json("POST", "/Defaults/NodeMaps", maps).await.ok();
    assert_eq!(made, json!({"code": 0, "message": "Created or modified 2 entries"}));
    let one = json!({"ID": "x3000c0s1b0n0", "NID": 1, "Role": "Management", "SubRole": "Worker",
                     "NodeInfo": {"id": null}});
    assert_eq!(head.get("/Defaults/NodeMaps/X3000c0s1b0n0").await.ok(), one);
    let new = json!({"Components": [{"ID": "x3000c0s1b0n0", "State": "On"}, {"ID": "x3000c0s2b0n0", "State": "On"}]});
    head.json("POST", COMPONENTS, new).await.is(204);
    let first = head.get("/State/Components/x3000c0s1b0n0").await.ok();
    assert_eq!(
        (&first["NID"], &first["Role"], &first["SubRole"]),
        (&json!(1), &json!("Management"), &json!("Worker"))
    );
    let second = head.get("/State/Components/x3000c0s2b0n0").await.ok();
    assert_eq!((&second["NID"], &second["Role"]), (&json!(2), &json!("Compute")));

    for (body, status, text) in [
        (json!({"ID": "x3000c0s3b0n0", "NID": 2}), 409, "has the same NID: 2 of x3000c0s2b0n0"),
        (
            json!({"NodeMaps": [{"ID": "x3000c0s3b0n0", "NID": 3}, {"ID": "x3000c0s4b0n0", "NID": 3}]}),
            409,
            "NID",
        ),
        (
            json!({"NodeMaps": [{"ID": "x3000c0s3b0n0", "NID": 3}, {"ID": "x3000c0s4b0", "NID": 4}]}),
            400,
            "idx 1",
        ),
        (json!({"ID": "x3000c0s3b0n0", "NID": -1}), 400, "out of range"),
        (json!({"ID": "x3000c0s3b0n0", "NID": 3, "Role": "king"}), 400, "king"),
        (json!({"ID": "x3000c0s3b0n0", "NID": "three"}), 500, "error decoding JSON"),
    ] {
        let found = head.json("POST", "/Defaults/NodeMaps", body.clone()).await.refused(status);
        assert!(found.contains(text), "{body}: {found}");
    }
    head.get("/Defaults/NodeMaps/x3000c0s3b0n0").await.refused(404); // nothing was half applied

    let put = head.json("PUT", "/Defaults/NodeMaps/x3000c0s2b0n0", json!({"NID": 7})).await.ok();
    assert_eq!(put, json!({"ID": "x3000c0s2b0n0", "NID": 7}));
    head.json("PUT", "/Defaults/NodeMaps/x3000c0s2b0n0", json!({"ID": "x3000c0s9b0n0", "NID": 7}))
        .await
        .refused(400);
    head.json("PUT", "/Defaults/NodeMaps/x3000c0s2b0n0", json!({"NID": 1})).await.refused(409);
    assert_eq!(head.get("/Defaults/NodeMaps").await.ok()["NodeMaps"].as_array().unwrap().len(), 2);
    let gone = head.send("DELETE", "/Defaults/NodeMaps/x3000c0s1b0n0", "").await.ok();
    assert_eq!(gone["message"], "deleted 1 entry");
    head.send("DELETE", "/Defaults/NodeMaps/x3000c0s1b0n0", "").await.refused(404);
    head.send("DELETE", "/Defaults/NodeMaps", "").await.ok();
    assert!(
        head.send("DELETE", "/Defaults/NodeMaps", "").await.refused(404).contains("no entries to delete")
    );
}

#[tokio::test]
async fn power_maps_say_what_feeds_what() {
    let head = head_with(&[]).await;
    let list = json!([{"ID": "x3000c0s01b0n0", "POWEREDBY": ["x3000m0p00v1"]}, {"id": "x3000c0s2b0n0", "poweredBy": ["x3000m0p0v2"]}]);
    let made = head.json("POST", "/sysinfo/powermaps", list).await.ok();
    assert_eq!(made["message"], "Created or modified 2 entries");
    let first = json!({"id": "x3000c0s1b0n0", "poweredBy": ["x3000m0p0v1"]});
    assert_eq!(head.get("/sysinfo/powermaps/x3000c0s1b0n0").await.ok(), first);
    assert_eq!(head.get("/sysinfo/powermaps").await.ok()[0], first);
    let put = head
        .json("PUT", "/sysinfo/powermaps/x3000c0s1b0n0", json!({"poweredBy": ["x3000m0p0v9"]}))
        .await
        .ok();
    assert_eq!(put["poweredBy"], json!(["x3000m0p0v9"]));
    for (body, status) in [
        (json!([{"id": "x3000c0s5b0n0"}]), 400),
        (json!([{"id": "foo", "poweredBy": ["x3000m0p0v1"]}]), 400),
        (json!([{"id": "x3000c0s5b0n0", "poweredBy": ["FAKE"]}]), 400),
        (json!({"id": "x3000c0s5b0n0", "poweredBy": ["x3000m0p0v1"]}), 500),
    ] {
        head.json("POST", "/sysinfo/powermaps", body).await.refused(status);
    }
    assert_eq!(head.send("DELETE", "/sysinfo/powermaps", "").await.ok()["message"], "deleted 2 entries");
    head.get("/sysinfo/powermaps/x3000c0s1b0n0").await.refused(404);
}

/// Every route of ours that takes a POST.
const POSTS: [&str; 16] = [
    "/Defaults/NodeMaps",
    "/sysinfo/powermaps",
    "/Subscriptions/SCN",
    "/Inventory/Hardware",
    "/locks/lock",
    "/locks/unlock",
    "/locks/repair",
    "/locks/disable",
    "/locks/status",
    "/locks/reservations",
    "/locks/reservations/release",
    "/locks/reservations/remove",
    "/locks/service/reservations",
    "/locks/service/reservations/renew",
    "/locks/service/reservations/release",
    "/locks/service/reservations/check",
];

#[tokio::test]
async fn no_body_breaks_a_route() {
    let head = head_with(&[A]).await;
    let bodies = ["", "{", "null", "[]", "7", "[[]]", "[null]", "{\"ComponentIDs\":[null]}", "\u{fffd}"];
    let before = head.revision().await;
    for path in POSTS {
        for body in bodies {
            let answer = head.send("POST", path, body).await;
            let harmless = path == "/sysinfo/powermaps" && body == "[]";
            assert_eq!(answer.status.is_success(), harmless, "{path} {body:?}: {}", answer.text());
        }
    }
    assert_eq!(head.revision().await, before);
    assert_eq!(head.send("PUT", "/locks/lock", "{}").await.allow, "POST");
}

/// JSON that is nearly right: known keys and words in wrong places.
fn nearly_right() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        A,
        B,
        "x3000c0s1b0",
        "FAKE",
        "",
        "flexible",
        "rigid",
        "Ready",
        "Node",
        "Compute",
        "http://192.0.2.9/",
        "Empty",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..20).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "ComponentIDs",
        "ProcessingModel",
        "ReservationDuration",
        "ReservationKeys",
        "DeputyKeys",
        "ID",
        "Key",
        "id",
        "State",
        "Type",
        "Role",
        "NID",
        "NodeMaps",
        "NodeInfo",
        "poweredBy",
        "Subscriber",
        "Url",
        "States",
        "Enabled",
        "Op",
        "Hardware",
        "PopulatedFRU",
        "FRUID",
        "Status",
        "Ordinal",
        "NodeFRUInfo",
        "SerialNumber",
        "Nodes",
    ]);
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from);
        let object = prop::collection::btree_map(key.clone(), inner, 0..5)
            .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
        prop_oneof![list, object]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is sent, the answer is one that SMD knows, and what can be read before can be read after.
    #[test]
    fn nearly_right_bodies_are_done_or_refused(bodies in prop::collection::vec(nearly_right(), POSTS.len())) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let head = head_with(&[A, B]).await;
            for (path, body) in POSTS.into_iter().zip(bodies) {
                let revision = head.revision().await;
                let answer = head.json("POST", path, body.clone()).await;
                let (status, text) = (answer.status.as_u16(), answer.text());
                let is_known = matches!(status, 200 | 400 | 409) || text.contains("error decoding JSON");
                assert!(is_known, "{path} {body}: {status} {text}");
                assert!(status == 200 || head.revision().await == revision, "{path} {body}: half applied");
            }
            for path in ["/locks/status", "/Defaults/NodeMaps", "/sysinfo/powermaps", "/Subscriptions/SCN",
                         "/Inventory/Hardware", "/Inventory/HardwareByFRU", "/Inventory/Hardware/History",
                         "/Inventory/Hardware/Query/all"] {
                head.get(path).await.ok();
            }
        });
    }
}
