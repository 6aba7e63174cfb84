//! Locks and reservations, held to the rules of Cray's HSM.

use std::sync::Arc;

use muster::model::{Change, Document, DocumentKey, Snapshot};
use serde_json::{Value, json};

use crate::head::Head;
use crate::smd_rest::{A, B, COMPONENTS, head_with};

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
    let plan = |snapshot: &Snapshot| {
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
