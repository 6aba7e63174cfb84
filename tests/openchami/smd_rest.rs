//! SMD beside components: service values, node and power maps, locks and reservations, subscriptions with their
//! notifications, hardware inventory. Shapes and texts are those of `openchami/smd` v2.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use muster::api::openchami::smd::notify;
use muster::model::{Change, Document, DocumentKey};
use muster::transport::tasks::Tasks;
use muster::transport::webhook::{Manners, Webhooks};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::head::{Head, SITE};

const COMPONENTS: &str = "/State/Components";

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

const A: &str = "x3000c0s1b0n0";
const B: &str = "x3000c0s2b0n0";

async fn locked(head: &Head, id: &str) -> (bool, bool, bool) {
    let status = head.json("POST", "/locks/status", json!({"ComponentIDs": [id]})).await.ok();
    let one = &status["Components"][0];
    let flag = |key: &str| one[key].as_bool().unwrap();
    (flag("Locked"), flag("Reserved"), flag("ReservationDisabled"))
}

#[tokio::test]
async fn locks_follow_the_rules_of_hsm() {
    let head = head_with(&[A, B]).await;
    let done = head.json("POST", "/locks/lock", json!({"componentids": ["X3000c0s01b0n0"]})).await.ok();
    let wanted = json!({"Counts": {"Total": 1, "Success": 1, "Failure": 0}, "Success": {"ComponentIDs": [A]}, "Failure": []});
    assert_eq!(done, wanted);
    assert_eq!(locked(&head, A).await, (true, false, false));
    assert_eq!(head.get(&format!("{COMPONENTS}/{A}")).await.ok()["Locked"], true);
    assert_eq!(
        head.get("/State/Components?locked=true").await.ok()["Components"].as_array().unwrap().len(),
        1
    );

    // Rigid, the default: one that cannot be changed stops all.
    let text = head.json("POST", "/locks/lock", json!({"ComponentIDs": [A, B]})).await.refused(400);
    assert!(text.contains("Component is Locked") && text.contains(A), "{text}");
    assert_eq!(locked(&head, B).await, (false, false, false));
    let body = json!({"ComponentIDs": [A, B, "x3000c0s9b0n0"], "ProcessingModel": "Flexible"});
    let done = head.json("POST", "/locks/lock", body).await.ok();
    assert_eq!(done["Counts"], json!({"Total": 3, "Success": 1, "Failure": 2}));
    let failures = json!([{"ID": "x3000c0s9b0n0", "Reason": "NotFound"}, {"ID": A, "Reason": "Locked"}]);
    assert_eq!(done["Failure"], failures);

    // Disabled: neither locked nor unlocked nor reserved, until it is repaired.
    head.json("POST", "/locks/disable", json!({"ComponentIDs": [A]})).await.ok();
    head.json("POST", "/locks/disable", json!({"ComponentIDs": [A]})).await.ok();
    assert_eq!(locked(&head, A).await, (true, false, true));
    let text = head.json("POST", "/locks/unlock", json!({"ComponentIDs": [A]})).await.refused(400);
    assert!(text.contains("reservations are disabled"), "{text}");
    head.json("POST", "/locks/reservations", json!({"ComponentIDs": [A]})).await.refused(400);
    head.json("POST", "/locks/repair", json!({"ComponentIDs": [A]})).await.ok();
    head.json("POST", "/locks/unlock", json!({"ComponentIDs": [A]})).await.ok();
    assert_eq!(locked(&head, A).await, (false, false, false));

    for (body, status) in [
        (json!({"ComponentIDs": ["FAKE"]}), 400),
        (json!({"ComponentIDs": ["x3000c0s9b0n0"]}), 400),
        (json!({"ComponentIDs": [A], "ProcessingModel": "brittle"}), 400),
        (json!({"State": ["Asleep"]}), 400),
        (json!({}), 400),
        (json!({"ComponentIDs": A}), 500),
        (json!("lock"), 500),
    ] {
        head.json("POST", "/locks/lock", body).await.refused(status);
    }
}

#[tokio::test]
async fn filters_choose_what_is_locked_and_what_is_shown() {
    let head = head_with(&[A, B, "x3000c0s1b0"]).await;
    let done = head.json("POST", "/locks/lock", json!({"Type": ["node"], "State": ["Ready"]})).await.ok();
    assert_eq!(done["Success"]["ComponentIDs"], json!([A, B]));
    let ids = |list: Value| -> Vec<String> {
        list["Components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["ID"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(head.get("/locks/status?locked=true").await.ok()), [A, B]);
    assert_eq!(ids(head.get("/locks/status?type=NodeBMC&locked=false").await.ok()), ["x3000c0s1b0"]);
    assert_eq!(ids(head.get("/locks/status").await.ok()).len(), 3);
    assert!(head.get("/locks/status?reserved=true").await.refused(400).contains("Component not found"));
    head.get("/locks/status?reserved=perhaps").await.refused(400);
    let body = json!({"ComponentIDs": [A, "x3000c0s9b0n0"]});
    assert_eq!(head.json("POST", "/locks/status", body).await.ok()["NotFound"], json!(["x3000c0s9b0n0"]));
}

#[tokio::test]
async fn a_reservation_by_hand_needs_a_lock_and_lasts_until_it_is_released() {
    let head = head_with(&[A, B]).await;
    let wish = json!({"ComponentIDs": [A]});
    let text = head.json("POST", "/locks/reservations", wish.clone()).await.refused(400);
    assert!(text.contains("Component is Unlocked"), "{text}");
    head.json("POST", "/locks/lock", wish.clone()).await.ok();
    let made = head.json("POST", "/locks/reservations", wish.clone()).await.ok();
    let grant = &made["Success"][0];
    let key = grant["ReservationKey"].as_str().unwrap();
    assert!(key.starts_with(&format!("{A}:rk:")) && key.len() == A.len() + 4 + 36, "{key}");
    assert_eq!(grant.get("ExpirationTime"), None);
    assert_eq!(made["Failure"], json!([]));
    assert_eq!(locked(&head, A).await, (true, true, false));
    assert!(head.json("POST", "/locks/reservations", wish.clone()).await.refused(400).contains("Reserved"));
    assert!(head.json("POST", "/locks/unlock", wish.clone()).await.refused(400).contains("Reserved"));

    // It cannot be renewed, and only its key releases it.
    let keys = |key: &str| json!({"ReservationKeys": [{"ID": A, "Key": key}], "ReservationDuration": 5});
    head.json("POST", "/locks/service/reservations/renew", keys(key)).await.refused(400);
    let deputy = grant["DeputyKey"].as_str().unwrap();
    head.json("POST", "/locks/reservations/release", keys(deputy)).await.refused(400);
    let flexible = json!({"ReservationKeys": [{"ID": A, "Key": "guess"}, {"ID": B, "Key": ""}], "ProcessingModel": "flexible"});
    let tried = head.json("POST", "/locks/reservations/release", flexible).await.ok();
    assert_eq!(tried["Counts"], json!({"Total": 2, "Success": 0, "Failure": 2}));
    let done = head.json("POST", "/locks/reservations/release", keys(&key.to_uppercase())).await.ok();
    assert_eq!(done["Success"]["ComponentIDs"], json!([A]));
    assert_eq!(locked(&head, A).await, (true, false, false));

    // An administrator needs no key; disabling ends a reservation too.
    head.json("POST", "/locks/reservations", wish.clone()).await.ok();
    assert_eq!(
        head.json("POST", "/locks/reservations/remove", wish.clone()).await.ok()["Counts"]["Success"],
        1
    );
    head.json("POST", "/locks/reservations/remove", wish.clone()).await.refused(400);
    head.json("POST", "/locks/reservations", wish.clone()).await.ok();
    head.json("POST", "/locks/disable", wish).await.ok();
    assert_eq!(locked(&head, A).await, (true, false, true));
}

#[tokio::test]
async fn a_service_reserves_unlocked_components_for_minutes() {
    let head = head_with(&[A, B]).await;
    head.json("POST", "/locks/lock", json!({"ComponentIDs": [B]})).await.ok();
    let wish = |minutes: i64| json!({"ComponentIDs": [A, B], "ProcessingModel": "flexible", "ReservationDuration": minutes});
    for minutes in [0, -1, 16] {
        head.json("POST", "/locks/service/reservations", wish(minutes)).await.refused(400);
    }
    let made = head.json("POST", "/locks/service/reservations", wish(15)).await.ok();
    assert_eq!(made["Failure"], json!([{"ID": B, "Reason": "Locked"}]));
    let grant = &made["Success"][0];
    let (deputy, key) = (grant["DeputyKey"].clone(), grant["ReservationKey"].clone());
    let first = grant["ExpirationTime"].as_str().unwrap().to_owned();

    let check = json!({"DeputyKeys": [{"ID": A, "Key": deputy}, {"ID": B, "Key": deputy}]});
    let checked = head.json("POST", "/locks/service/reservations/check", check.clone()).await.ok();
    assert_eq!(checked["Success"][0]["ID"], A);
    assert_eq!(checked["Success"][0].get("ReservationKey"), None);
    assert!(checked["Success"][0]["CreationTime"].as_str().unwrap() < first.as_str());
    assert_eq!(checked["Failure"], json!([{"ID": B, "Reason": "NotFound"}]));
    // The reservation key is no deputy key.
    let wrong = json!({"DeputyKeys": [{"ID": A, "Key": key}]});
    let checked = head.json("POST", "/locks/service/reservations/check", wrong).await.ok();
    assert_eq!(checked["Failure"][0]["Reason"], "NotFound");
    head.json("POST", "/locks/service/reservations/check", json!({"DeputyKeys": []})).await.refused(400);

    let renew = json!({"ReservationKeys": [{"ID": A, "Key": key}], "ReservationDuration": 1});
    head.json("POST", "/locks/service/reservations/renew", renew.clone()).await.ok();
    let status = head.json("POST", "/locks/status", json!({"ComponentIDs": [A]})).await.ok();
    assert!(status["Components"][0]["ExpirationTime"].as_str().unwrap() < first.as_str(), "{status}");

    // Its time runs out: it is gone, and somebody else may reserve.
    run_out(&head, A).await;
    assert_eq!(locked(&head, A).await, (false, false, false));
    assert_eq!(head.get("/State/Components?reserved=true").await.ok()["Components"], json!([]));
    let checked = head.json("POST", "/locks/service/reservations/check", check).await.ok();
    assert_eq!(checked["Success"], json!([]));
    head.json("POST", "/locks/service/reservations/renew", renew).await.refused(400);
    let again = head.json("POST", "/locks/service/reservations", wish(1)).await.ok();
    assert_ne!(again["Success"][0]["ReservationKey"], key);
    let release = json!({"ReservationKeys": [{"ID": A, "Key": again["Success"][0]["ReservationKey"]}]});
    head.json("POST", "/locks/service/reservations/release", release).await.ok();
}

/// Turns the clock of a reservation: it ended a minute after 1970 began.
async fn run_out(head: &Head, id: &str) {
    let plan = |snapshot: &muster::model::Snapshot| {
        let held = snapshot.inventory.document("smd.reservation", id).unwrap();
        let mut content: Value = serde_json::from_str(&held.body).unwrap();
        content["expires_ms"] = json!(60_000);
        let key = DocumentKey::new("smd.reservation", id);
        Ok(vec![Change::PutDocument(Arc::new(Document { key, body: content.to_string() }))])
    };
    assert!(head.context.change(plan).await.is_ok());
}

#[tokio::test]
async fn a_component_that_comes_back_is_not_reserved() {
    let head = head_with(&[A]).await;
    let wish = json!({"ComponentIDs": [A], "ReservationDuration": 5});
    head.json("POST", "/locks/service/reservations", wish).await.ok();
    head.send("DELETE", &format!("{COMPONENTS}/{A}"), "").await.ok();
    head.json("POST", COMPONENTS, json!({"Components": [{"ID": A, "State": "On"}]})).await.is(204);
    assert_eq!(locked(&head, A).await, (false, false, false));
}

#[tokio::test]
async fn subscriptions_are_kept_changed_and_removed() {
    let head = head_with(&[]).await;
    let scn = "/Subscriptions/SCN";
    assert_eq!(head.get(scn).await.ok(), json!({"SubscriptionList": []}));
    let wish = json!({"subscriber": "a@b", "url": "http://192.0.2.9:8080/scn", "states": ["ready"], "Roles": ["COMPUTE"]});
    let made = head.json("POST", scn, wish.clone()).await.ok();
    let wanted = json!({"ID": 1, "Subscriber": "a@b", "Url": "http://192.0.2.9:8080/scn", "States": ["Ready"], "Roles": ["Compute"]});
    assert_eq!(made, wanted);
    assert_eq!(head.json("POST", scn, wish).await.ok()["ID"], 2);
    assert_eq!(head.get(&format!("{scn}/1")).await.ok(), wanted);

    head.json("PATCH", &format!("{scn}/1"), json!({"Op": "add", "States": ["On"], "Enabled": true}))
        .await
        .is(204);
    head.json("PATCH", &format!("{scn}/1"), json!({"Op": "remove", "Roles": ["Compute"]})).await.is(204);
    let found = head.get(&format!("{scn}/1")).await.ok();
    assert_eq!(
        (&found["States"], &found["Enabled"], found.get("Roles")),
        (&json!(["Ready", "On"]), &json!(true), None)
    );
    let other = json!({"Subscriber": "c", "Url": "https://192.0.2.9/", "SoftwareStatus": ["up"]});
    head.json("PUT", &format!("{scn}/1"), other).await.is(204);
    assert_eq!(head.get(scn).await.ok()["SubscriptionList"][0]["SoftwareStatus"], json!(["up"]));

    let valid = json!({"Subscriber": "a", "Url": "http://192.0.2.9/", "States": ["On"]});
    let with = |key: &str, value: Value| {
        let mut body = valid.clone();
        body[key] = value;
        body
    };
    for (body, status, text) in [
        (with("Subscriber", json!("")), 400, "Missing name of subscriber"),
        (with("Url", json!("")), 400, "Missing url"),
        (with("Url", json!("ftp://192.0.2.9/")), 400, "Invalid url: the scheme must be http or https"),
        (with("Url", json!("192.0.2.9/scn")), 400, "Invalid url"),
        (with("States", json!(["Asleep"])), 400, "Asleep"),
        (with("States", json!([])), 400, "Missing trigger"),
        (with("SoftwareStatus", json!([""])), 400, "SoftwareStatus"),
        (with("States", json!("On")), 500, "error decoding JSON"),
    ] {
        let found = head.json("POST", scn, body.clone()).await.refused(status);
        assert!(found.contains(text), "{body}: {found}");
    }
    for (method, path, body, status) in [
        ("PATCH", "/1", json!({"Op": "twist", "States": ["On"]}), 400),
        ("PATCH", "/1", json!({"States": ["On"]}), 400),
        ("PATCH", "/9", json!({"Op": "add", "States": ["On"]}), 404),
        ("PUT", "/9", valid.clone(), 404),
        ("GET", "/9", json!(null), 404),
        ("GET", "/0", json!(null), 400),
        ("DELETE", "/x", json!(null), 400),
    ] {
        head.json(method, &format!("{scn}{path}"), body).await.refused(status);
    }
    assert_eq!(head.send("DELETE", &format!("{scn}/2"), "").await.ok()["message"], "Subscription deleted");
    head.send("DELETE", &format!("{scn}/2"), "").await.refused(404);
    assert_eq!(head.json("POST", scn, valid).await.ok()["ID"], 3); // no number is given twice
    assert_eq!(head.send("DELETE", scn, "").await.ok()["message"], "2 Subscriptions deleted");
}

/// A receiver on loopback: what it got, in order. Its first answers are as told, then 200.
async fn receiver(answers: &[u16]) -> (String, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/scn", listener.local_addr().unwrap());
    let (got, inbox) = mpsc::channel(64);
    let answers = Arc::new(std::sync::Mutex::new(answers.to_vec()));
    let take = move |body: Bytes| async move {
        let mut answers = answers.lock().unwrap();
        if !answers.is_empty() {
            return StatusCode::from_u16(answers.remove(0)).unwrap();
        }
        got.try_send(serde_json::from_slice(&body).unwrap()).unwrap();
        StatusCode::OK
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/scn", post(take))).await });
    (url, inbox)
}

async fn next(inbox: &mut mpsc::Receiver<Value>) -> Value {
    let mut got = tokio::time::timeout(Duration::from_secs(20), inbox.recv()).await.unwrap().unwrap();
    let time = got.as_object_mut().unwrap().remove("Timestamp").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    got
}

fn notified(head: &Head) -> (Webhooks, Tasks) {
    let tasks = Tasks::new();
    let quick = Manners { first_pause: Duration::from_millis(5), attempts: 3, ..Manners::default() };
    let webhooks = Webhooks::start(quick, &tasks).unwrap();
    notify::start(&head.context, webhooks.clone(), &tasks);
    (webhooks, tasks)
}

async fn subscribe(head: &Head, url: &str, triggers: Value) {
    let mut body = json!({"Subscriber": "test", "Url": url});
    body.as_object_mut().unwrap().extend(triggers.as_object().unwrap().clone());
    head.json("POST", "/hsm/v2/Subscriptions/SCN", body).await.ok();
}

#[tokio::test]
async fn subscribers_hear_of_what_concerns_them_whoever_changed_it() {
    let head = Head::start(SITE);
    let (_webhooks, _tasks) = notified(&head);
    let (url, mut inbox) = receiver(&[]).await;
    let (other, mut others) = receiver(&[]).await;
    subscribe(&head, &url, json!({"States": ["Ready", "Populated"], "Enabled": true, "Roles": ["Storage"]}))
        .await;
    subscribe(&head, &other, json!({"SoftwareStatus": ["Up"], "SubRoles": ["Master"]})).await;

    // A node declared through our own API.
    let node = json!({"name": "one", "xname": A, "interfaces": [{"mac": "00:00:5e:00:53:01"}]});
    head.json("PUT", "/api/v1/nodes/one", node).await.ok();
    assert_eq!(next(&mut inbox).await, json!({"Components": [A], "Enabled": true}));
    assert_eq!(next(&mut inbox).await, json!({"Components": [A], "State": "Populated", "Flag": "OK"}));

    // Two at once are one notification; what did not change is not told.
    let two = json!({"Components": [{"ID": B, "State": "Populated"}, {"ID": "x3000c0s2b0", "State": "Off"}]});
    head.json("POST", "/hsm/v2/State/Components", two).await.is(204);
    assert_eq!(next(&mut inbox).await, json!({"Components": ["x3000c0s2b0", B], "Enabled": true}).sorted(B));
    assert_eq!(next(&mut inbox).await["State"], "Populated");
    let bulk = json!({"ComponentIDs": [A, B], "State": "Ready", "Flag": "Warning", "Force": true});
    head.json("PATCH", "/hsm/v2/State/Components/BulkStateData", bulk.clone()).await.is(204);
    assert_eq!(next(&mut inbox).await, json!({"Components": [A, B], "State": "Ready", "Flag": "Warning"}));
    head.json("PATCH", "/hsm/v2/State/Components/BulkStateData", bulk).await.is(204);

    // A role set through our own API, then one that nobody asked for.
    head.json("PATCH", "/api/v1/nodes/one", json!({"role": "Storage"})).await.ok();
    assert_eq!(next(&mut inbox).await, json!({"Components": [A], "Role": "Storage"}));
    let role = json!({"ComponentIDs": [A], "Role": "Management", "SubRole": "Master"});
    head.json("PATCH", "/hsm/v2/State/Components/BulkRole", role).await.is(204);
    assert_eq!(next(&mut others).await, json!({"Components": [A], "SubRole": "Master"}));
    let software = json!({"SoftwareStatus": "up"});
    head.json("PATCH", &format!("/hsm/v2/State/Components/{B}/SoftwareStatus"), software).await.is(204);
    assert_eq!(next(&mut others).await, json!({"Components": [B], "SoftwareStatus": "up"}));
    head.json("PATCH", &format!("/hsm/v2/State/Components/{B}/Enabled"), json!({"Enabled": false}))
        .await
        .is(204);
    assert_eq!(next(&mut inbox).await, json!({"Components": [B], "Enabled": false}));
    assert!(inbox.try_recv().is_err() && others.try_recv().is_err());
}

/// Components of one notification come in the order of the inventory, which is not that of names.
trait Sorted {
    fn sorted(self, first: &str) -> Value;
}

impl Sorted for Value {
    fn sorted(mut self, first: &str) -> Value {
        self["Components"].as_array_mut().unwrap().sort_by_key(|id| id != first);
        self
    }
}

#[tokio::test]
async fn a_receiver_that_stumbles_is_asked_again_and_one_that_refuses_is_not() {
    let head = Head::start(SITE);
    let (webhooks, _tasks) = notified(&head);
    let (url, mut inbox) = receiver(&[503, 503]).await;
    let (refuses, mut refused) = receiver(&[404]).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = format!("http://{}/", gone.local_addr().unwrap());
    drop(gone);
    for url in [&url, &refuses, &down] {
        subscribe(&head, url, json!({"States": ["On", "Off"]})).await;
    }
    head.json("POST", "/hsm/v2/State/Components", json!({"Components": [{"ID": A, "State": "On"}]}))
        .await
        .is(204);
    assert_eq!(next(&mut inbox).await["State"], "On");
    head.json("PATCH", &format!("/hsm/v2/State/Components/{A}/StateData"), json!({"State": "Off"}))
        .await
        .is(204);
    assert_eq!(next(&mut inbox).await["State"], "Off");
    assert_eq!(next(&mut refused).await["State"], "Off"); // the first was refused for good
    let both_failed = async {
        while webhooks.counters.failed.value() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), both_failed).await.unwrap();
    assert_eq!((webhooks.counters.failed.value(), webhooks.counters.dropped.value()), (3, 0));
}

#[tokio::test]
async fn a_deaf_receiver_loses_messages_and_holds_up_nobody() {
    let tasks = Tasks::new();
    let webhooks = Webhooks::start(Manners::default(), &tasks).unwrap();
    // It takes connections and never answers.
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target: muster::transport::webhook::Target =
        format!("http://{}/", deaf.local_addr().unwrap()).parse().unwrap();
    let (url, mut inbox) = receiver(&[]).await;
    let sent = 3 * muster::base::limits::WEBHOOK_QUEUE_MESSAGES;
    for _ in 0..sent {
        webhooks.send(target.clone(), Bytes::from_static(b"{}"));
        tokio::task::yield_now().await;
    }
    let all_but_one_queue = (sent - muster::base::limits::WEBHOOK_QUEUE_MESSAGES - 1) as u64;
    let dropped = async {
        while webhooks.counters.dropped.value() < all_but_one_queue {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), dropped).await.unwrap();
    webhooks.send(url.parse().unwrap(), Bytes::from_static(br#"{"Timestamp":"Z"}"#));
    assert_eq!(next(&mut inbox).await, json!({}));
    tasks.stop(Duration::from_secs(5)).await;
}

fn node_hardware(serial: &str) -> Value {
    json!({"id": "x3000c0s01b0n0", "NodeLocationInfo": {"Id": null, "HostName": "one"}, "PopulatedFRU": {
        "Subtype": "River", "NodeFRUInfo": {"Manufacturer": "Acme, Inc", "PartNumber": "P-1", "SerialNumber": serial},
    }})
}

#[tokio::test]
async fn hardware_is_found_by_place_and_by_part() {
    let head = head_with(&[]).await;
    let memory = json!({"ID": "x3000c0s1b0n0d2", "PopulatedFRU": {"MemoryFRUInfo": {"CapacityMiB": 1024}}});
    let chassis = json!({"ID": "x3000c0", "PopulatedFRU": {"FRUID": "chassis/7", "ChassisFRUInfo": {}}});
    let body = json!({"hardware": [node_hardware("S1"), memory, chassis]});
    let made = head.json("POST", "/Inventory/Hardware", body).await.ok();
    assert_eq!(made, json!({"code": 0, "message": "Created 3 entries"}));
    let node = json!({
        "ID": A, "Type": "Node", "Ordinal": 0, "Status": "Populated", "HWInventoryByLocationType": "HWInvByLocNode",
        "NodeLocationInfo": {"Id": null, "HostName": "one"},
        "PopulatedFRU": {
            "FRUID": "Node.AcmeInc.P-1.S1", "Type": "Node", "Subtype": "River", "HWInventoryByFRUType": "HWInvByFRUNode",
            "NodeFRUInfo": {"Manufacturer": "Acme, Inc", "PartNumber": "P-1", "SerialNumber": "S1"},
        },
    });
    assert_eq!(head.get(&format!("/Inventory/Hardware/{A}")).await.ok(), node);
    assert_eq!(head.get("/Inventory/HardwareByFRU/Node.AcmeInc.P-1.S1").await.ok(), node["PopulatedFRU"]);
    assert_eq!(head.get("/Inventory/HardwareByFRU/chassis%2F7").await.ok()["Type"], "Chassis");
    assert_eq!(head.get("/Inventory/HardwareByFRU/FRUIDforx3000c0s1b0n0d2").await.ok()["Type"], "Memory");

    let ids = |list: Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["ID"].as_str().unwrap().to_owned()).collect()
    };
    for (query, wanted) in [
        ("", vec!["x3000c0", A, "x3000c0s1b0n0d2"]),
        ("?type=node&Type=memory", vec![A, "x3000c0s1b0n0d2"]),
        ("?type=!Node", vec!["x3000c0", "x3000c0s1b0n0d2"]),
        ("?manufacturer=acme,%20inc&partnumber=p-1&serialnumber=S1", vec![A]),
        ("?serialnumber=S2", vec![]),
        ("?fruid=chassis%2F7&id=x3000c0", vec!["x3000c0"]),
    ] {
        assert_eq!(ids(head.get(&format!("/Inventory/Hardware{query}")).await.ok()), wanted, "{query}");
    }
    assert_eq!(head.get("/Inventory/HardwareByFRU?type=Node").await.ok()[0]["FRUID"], "Node.AcmeInc.P-1.S1");
    head.get("/Inventory/Hardware?type=Toaster").await.refused(400);
    head.get("/Inventory/Hardware?id=FAKE").await.refused(400);

    for (body, status, text) in [
        (
            json!({"Hardware": [node_hardware("S2"), {"ID": "foo", "PopulatedFRU": {}}]}),
            400,
            "Hardware[1]: ID is empty",
        ),
        (json!({"Hardware": [{"ID": A}]}), 400, "PopulatedFRU must be populated"),
        (
            json!({"Hardware": [{"ID": A, "PopulatedFRU": {"FRUID": "x".repeat(600)}}]}),
            400,
            "FRUID is invalid",
        ),
        (json!({"Hardware": [{"ID": 7}]}), 500, "error decoding JSON Hardware[0]"),
        (json!({"Hardware": {}}), 500, "error decoding JSON"),
        (json!({}), 400, "Missing Hardware"),
    ] {
        let found = head.json("POST", "/Inventory/Hardware", body.clone()).await.refused(status);
        assert!(found.contains(text), "{body}: {found}");
    }
    head.get("/Inventory/HardwareByFRU/Node.AcmeInc.P-1.S2").await.refused(404); // nothing was half applied

    head.send("DELETE", "/Inventory/HardwareByFRU/Node.AcmeInc.P-1.S1", "").await.ok();
    assert_eq!(head.get(&format!("/Inventory/Hardware/{A}")).await.ok().get("PopulatedFRU"), None);
    head.send("DELETE", &format!("/Inventory/Hardware/{A}"), "").await.ok();
    head.send("DELETE", &format!("/Inventory/Hardware/{A}"), "").await.refused(404);
    assert_eq!(head.send("DELETE", "/Inventory/Hardware", "").await.ok()["message"], "deleted 2 entries");
    assert_eq!(
        head.send("DELETE", "/Inventory/HardwareByFRU", "").await.ok()["message"],
        "deleted 2 entries"
    );
    head.send("DELETE", "/Inventory/HardwareByFRU", "").await.refused(404);
}

#[tokio::test]
async fn hardware_queries_nest_what_belongs_to_a_node() {
    let head = head_with(&[]).await;
    let part = |id: &str| json!({"ID": id, "PopulatedFRU": {}});
    let mut node = node_hardware("S1");
    node["Processors"] = json!([part("x3000c0s1b0n0p0")]);
    let body = json!({"Hardware": [node, part("x3000c0"), part("x3000c0s1b0n0g0k1"), part("x3000c0s7b0n0d0"), part("x3001c0")]});
    assert_eq!(head.json("POST", "/Inventory/Hardware", body).await.ok()["message"], "Created 6 entries");

    let all = head.get("/Inventory/Hardware/Query/all").await.ok();
    assert_eq!((&all["XName"], &all["Format"]), (&json!("all"), &json!("NestNodesOnly")));
    assert_eq!(all["Nodes"][0]["Processors"][0]["ID"], "x3000c0s1b0n0p0");
    assert_eq!(all["Nodes"][0]["Drives"][0]["ID"], "x3000c0s1b0n0g0k1");
    assert_eq!(all["Memory"][0]["ID"], "x3000c0s7b0n0d0"); // its node is not known
    assert_eq!(all["Chassis"].as_array().unwrap().len(), 2);
    assert_eq!((all.get("Processors"), all.get("Drives")), (None, None));

    let flat = head.get("/Inventory/Hardware/Query/x3000?format=fullyflat").await.ok();
    assert_eq!(flat["Processors"][0]["ID"], "x3000c0s1b0n0p0");
    assert_eq!(flat["Nodes"][0].get("Processors"), None);
    assert_eq!(flat["Chassis"].as_array().unwrap().len(), 1);
    let only = head.get(&format!("/Inventory/Hardware/Query/{A}?children=false")).await.ok();
    assert_eq!((&only["Nodes"][0]["ID"], only["Nodes"][0].get("Processors")), (&json!(A), None));
    let up = head.get(&format!("/Inventory/Hardware/Query/{A}?parents=true")).await.ok();
    assert_eq!((&up["Chassis"][0]["ID"], &up["Nodes"][0]["ID"]), (&json!("x3000c0"), &json!(A)));
    for query in ["FAKE", "all?format=hierarchical", "all?children=perhaps", "all?type=Toaster"] {
        head.get(&format!("/Inventory/Hardware/Query/{query}")).await.refused(400);
    }
}

#[tokio::test]
async fn history_tells_what_came_and_went() {
    let head = head_with(&[]).await;
    let put = async |serial: &str| {
        head.json("POST", "/Inventory/Hardware", json!({"Hardware": [node_hardware(serial)]})).await.ok();
    };
    for serial in ["S1", "S1", "S1", "S2"] {
        put(serial).await;
    }
    let empty = json!({"Hardware": [{"ID": A, "Status": "Empty"}]});
    head.json("POST", "/Inventory/Hardware", empty.clone()).await.ok();
    head.json("POST", "/Inventory/Hardware", empty).await.ok();
    put("S1").await;

    let (one, two) = ("Node.AcmeInc.P-1.S1", "Node.AcmeInc.P-1.S2");
    let events = |history: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = history["History"].as_array().unwrap().iter();
        list.map(|event| (text(&event["FRUID"]), text(&event["EventType"]))).collect()
    };
    let pairs = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(part, kind)| ((*part).to_owned(), (*kind).to_owned())).collect()
    };
    let history = head.get(&format!("/Inventory/Hardware/History/{A}")).await.ok();
    assert_eq!(history["ID"], A);
    let wanted = pairs(&[
        (one, "Detected"),
        (one, "Scanned"),
        (one, "Removed"),
        (two, "Added"),
        (two, "Removed"),
        (one, "Added"),
    ]);
    assert_eq!(events(&history), wanted);

    let by_part = head.get("/Inventory/HardwareByFRU/History").await.ok();
    assert_eq!(by_part["Components"].as_array().unwrap().len(), 2);
    assert_eq!(by_part["Components"][1]["ID"], two);
    let of_part = head.get(&format!("/Inventory/HardwareByFRU/History/{two}")).await.ok();
    assert_eq!(events(&of_part), pairs(&[(two, "Added"), (two, "Removed")]));
    let by_place = head.get("/Inventory/Hardware/History?eventtype=added&eventtype=DETECTED").await.ok();
    let first = &by_place["Components"][0];
    assert_eq!(events(first), pairs(&[(one, "Detected"), (two, "Added"), (one, "Added")]));
    let time = |query: &str| format!("/Inventory/Hardware/History?{query}");
    assert_eq!(head.get(&time("endtime=2020-01-01T00:00:00Z")).await.ok(), json!({"Components": []}));
    let since = head.get(&time("starttime=2020-01-01T00:00:00Z&fruid=!x")).await.ok();
    assert_eq!(since["Components"].as_array().unwrap().len(), 1);
    for query in ["eventtype=Stolen", "starttime=yesterday", "id=FAKE"] {
        head.get(&time(query)).await.refused(400);
    }

    let gone = head.send("DELETE", &format!("/Inventory/HardwareByFRU/History/{two}"), "").await.ok();
    assert_eq!(gone["message"], "deleted 2 entries");
    let gone = head.send("DELETE", &format!("/Inventory/Hardware/History/{A}"), "").await.ok();
    assert_eq!(gone["message"], "deleted 4 entries");
    head.send("DELETE", "/Inventory/Hardware/History", "").await.refused(404);
}

#[tokio::test]
async fn no_body_breaks_a_route() {
    let head = head_with(&[A]).await;
    let posts = [
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
    let bodies = ["", "{", "null", "[]", "7", "[[]]", "[null]", "{\"ComponentIDs\":[null]}", "\u{fffd}"];
    let before = head.revision().await;
    for path in posts {
        for body in bodies {
            let answer = head.send("POST", path, body).await;
            let harmless = path == "/sysinfo/powermaps" && body == "[]";
            assert_eq!(answer.status.is_success(), harmless, "{path} {body:?}: {}", answer.text());
        }
    }
    assert_eq!(head.revision().await, before);
    assert_eq!(head.send("PUT", "/locks/lock", "{}").await.allow, "POST");
}
