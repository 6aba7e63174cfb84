//! Subscriptions, and that notifications really arrive.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use muster::api::openchami::smd::notify;
use muster::base::limits::WEBHOOK_QUEUE_MESSAGES;
use muster::transport::egress::Egress;
use muster::transport::tasks::Tasks;
use muster::transport::webhook::{Manners, Target, Webhooks};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::head::{Head, SITE};
use crate::smd_rest::{A, B, head_with};

/// The receivers of these tests are on this machine, where the daemon does not call by itself.
fn here() -> Egress {
    Egress::new(vec!["127.0.0.0/8".parse().unwrap()])
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
#[expect(clippy::disallowed_methods, reason = "it ends with the runtime of its test")]
pub(crate) async fn receiver(answers: &[u16]) -> (String, mpsc::Receiver<Value>) {
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

pub(crate) async fn next(inbox: &mut mpsc::Receiver<Value>) -> Value {
    let mut got = tokio::time::timeout(Duration::from_secs(20), inbox.recv()).await.unwrap().unwrap();
    let time = got.as_object_mut().unwrap().remove("Timestamp").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    got
}

fn notified(head: &Head) -> (Webhooks, Tasks) {
    let tasks = Tasks::new();
    let quick = Manners { first_pause: Duration::from_millis(5), attempts: 3, ..Manners::default() };
    let webhooks = Webhooks::start(quick, here(), &tasks);
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
    assert_eq!(next(&mut inbox).await, json!({"Components": ["x3000c0s2b0", B], "Enabled": true}));
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
    let webhooks = Webhooks::start(Manners::default(), here(), &tasks);
    // It takes connections and never answers.
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target: Target = format!("http://{}/", deaf.local_addr().unwrap()).parse().unwrap();
    let (url, mut inbox) = receiver(&[]).await;
    let sent = 3 * WEBHOOK_QUEUE_MESSAGES;
    for _ in 0..sent {
        webhooks.send(target.clone(), Bytes::from_static(b"{}")).await;
    }
    let all_but_one_queue = (sent - WEBHOOK_QUEUE_MESSAGES - 1) as u64;
    let dropped = async {
        while webhooks.counters.dropped.value() < all_but_one_queue {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), dropped).await.unwrap();
    webhooks.send(url.parse().unwrap(), Bytes::from_static(br#"{"Timestamp":"Z"}"#)).await;
    assert_eq!(next(&mut inbox).await, json!({}));
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_receiver_for_whom_nobody_vouches_gets_nothing() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target: Target =
        format!("https://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
    let tasks = Tasks::new();
    let webhooks = Webhooks::start(Manners { attempts: 1, ..Manners::default() }, here(), &tasks);
    webhooks.send(target, Bytes::from_static(b"{}")).await;
    let (stream, _) = listener.accept().await.unwrap();
    assert!(acceptor.accept(stream).await.is_err(), "the handshake must fail");
    let failed = async {
        while webhooks.counters.failed.value() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), failed).await.unwrap();
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_target_is_served_again_after_its_task_has_ended() {
    let tasks = Tasks::new();
    let idle = Manners { idle: Duration::from_millis(1), ..Manners::default() };
    let webhooks = Webhooks::start(idle, here(), &tasks);
    let (url, mut inbox) = receiver(&[]).await;
    for number in 0..20 {
        let body = json!({"Timestamp": "Z", "number": number}).to_string();
        webhooks.send(url.parse().unwrap(), Bytes::from(body)).await;
        assert_eq!(next(&mut inbox).await, json!({ "number": number }));
        tokio::time::sleep(Duration::from_millis(number % 4)).await; // around the moment in which it ends
    }
    assert_eq!((webhooks.counters.failed.value(), webhooks.counters.dropped.value()), (0, 0));
    tasks.stop(Duration::from_secs(5)).await;
}
