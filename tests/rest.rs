//! The terms of the REST API: preconditions, dry runs, batches, pages, interfaces, events.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod head;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use head::{Answer, Head, SITE, mac};
use muster::api::v1::PREFIX;

/// Asks with one more field in the head of the request.
async fn ask(head: &Head, method: &str, path: &str, field: (&str, &str), body: Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    head.send_with(method, path, &[field], body).await
}

fn tag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_update_of_what_was_changed_meanwhile_is_refused_and_others_do_not_block() {
    let head = Head::below(PREFIX, SITE);
    head.declare(2).await;
    let read = tag(&head.get("/nodes/nid001").await);
    // Somebody changes another node: the tag still holds.
    head.json("PATCH", "/nodes/nid002", json!({"role": "other"})).await.ok();
    let mine = ask(&head, "PATCH", "/nodes/nid001", ("if-match", &read), json!({"role": "mine"})).await;
    let written = tag(&mine);
    assert_eq!(mine.ok()["role"], "mine");
    assert_eq!(tag(&head.get("/nodes/nid001").await), written, "a write tells the tag of what it wrote");
    for method in ["PATCH", "DELETE"] {
        let late = ask(&head, method, "/nodes/nid001", ("if-match", &read), json!({"role": "late"})).await;
        assert!(late.refused(412).contains(&written.replace('"', "\\\"")), "{method}");
    }
    assert_eq!(head.get("/nodes/nid001").await.ok()["role"], "mine");
    // What concerns many is tagged with the revision.
    let stale = ask(&head, "PATCH", "/nodes?set=*", ("if-match", "\"r1\""), json!({"role": "x"})).await;
    stale.refused(412);
    let now = format!("\"r{}\"", head.revision().await);
    ask(&head, "PATCH", "/nodes?set=*", ("if-match", &now), json!({"role": "x"})).await.ok();
    ask(&head, "PUT", "/groups/odd", ("if-match", "odd"), json!({})).await.refused(400);
}

#[tokio::test]
async fn what_must_be_new_is_not_replaced_and_what_is_known_is_not_sent() {
    let head = Head::below(PREFIX, SITE);
    for (kind, body) in [
        ("nodes", json!({"name": "of-nodes"})),
        ("bmcs", json!({"mac": mac(9)})),
        ("groups", json!({})),
        ("profiles", json!({"target": {"local": true}})),
    ] {
        // Nodes and BMCs share their names with DNS.
        let path = format!("/{kind}/of-{kind}");
        let made = ask(&head, "PUT", &path, ("if-none-match", "*"), body.clone()).await;
        assert_eq!(made.headers["location"], format!("{PREFIX}{path}"));
        made.is(201);
        ask(&head, "PUT", &path, ("if-none-match", "*"), body.clone()).await.refused(412);
        let revision = head.revision().await;
        let same = head.json("PUT", &path, body).await;
        let known = tag(&same);
        same.is(200);
        assert_eq!(head.revision().await, revision, "{kind}: the same again is no change");
        let again = ask(&head, "GET", &path, ("if-none-match", &known), Value::Null).await;
        assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0), "{kind}");
        head.json("PATCH", &path, json!({"annotations": {"a": "b"}, "description": "c"})).await;
    }
    let all = tag(&head.get("/nodes").await);
    assert_eq!(ask(&head, "GET", "/nodes", ("if-none-match", &all), Value::Null).await.status, 304);
    head.json("PATCH", "/nodes/of-nodes", json!({"role": "x"})).await.ok();
    assert_eq!(ask(&head, "GET", "/nodes", ("if-none-match", &all), Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_dry_run_tells_all_and_changes_nothing() {
    let head = Head::below(PREFIX, SITE);
    head.declare(2).await;
    head.json("PUT", "/profiles/rescue", json!({"target": {"local": true}})).await.ok();
    head.json("PUT", "/bmcs/b", json!({"mac": mac(9)})).await.ok();
    let before = (head.revision().await, head.get("/inventory/export").await.text());
    let node = json!({"name": "new", "interfaces": [{"mac": mac(7)}]});
    let port = json!({"mac": mac(8)});
    for (method, path, body, fate, name) in [
        ("POST", "/nodes?dry_run", node.clone(), "added", "new"),
        ("PUT", "/nodes/new?dry_run=true", node, "added", "new"),
        ("PATCH", "/nodes/nid001?dry_run=1", json!({"role": "x"}), "changed", "nid001"),
        ("PATCH", "/nodes?set=nid002&dry_run", json!({"role": "x"}), "changed", "nid002"),
        ("DELETE", "/nodes?set=nid002&dry_run", Value::Null, "removed", "nid002"),
        ("DELETE", "/nodes/nid002?dry_run", Value::Null, "removed", "nid002"),
        ("PUT", "/nodes/nid001/interfaces/00:00:5e:00:53:08?dry_run", port, "changed", "nid001"),
        ("DELETE", "/nodes/nid001/interfaces/00:00:5e:00:53:01?dry_run", Value::Null, "changed", "nid001"),
        ("PUT", "/groups/g?dry_run", json!({}), "added", "group g"),
        ("DELETE", "/groups/odd?dry_run", Value::Null, "removed", "group odd"),
        ("POST", "/groups/odd/members?set=nid002&dry_run", Value::Null, "changed", "nid002"),
        ("DELETE", "/groups/odd/members?set=nid001&dry_run", Value::Null, "changed", "nid001"),
        ("PUT", "/bmcs/c?dry_run", json!({}), "added", "bmc c"),
        ("DELETE", "/bmcs/b?dry_run", Value::Null, "removed", "bmc b"),
        ("PATCH", "/profiles/rescue?dry_run", json!({"description": "x"}), "changed", "profile rescue"),
        ("DELETE", "/profiles/rescue?dry_run", Value::Null, "removed", "profile rescue"),
        ("PUT", "/boot?dry_run", json!({"whom": {"default": true}, "profile": "rescue"}), "added", "default"),
        ("DELETE", "/leases/192.0.2.200?dry_run", Value::Null, "removed", "lease 192.0.2.200"),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let report = head.send(method, path, body).await;
        assert_eq!(report.status, 200, "{method} {path}: {}", report.text());
        let report = report.json();
        assert_eq!(
            (&report[fate], &report["dry_run"]),
            (&json!([name]), &json!(true)),
            "{method} {path}: {report}"
        );
    }
    // A dry run refuses what the real one would.
    head.json("PATCH", "/nodes/nid001?dry_run", json!({"bmc": "nobody"})).await.refused(422);
    assert_eq!((head.revision().await, head.get("/inventory/export").await.text()), before);
    assert_eq!(head.get("/leases").await.ok().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_batch_is_one_transaction_and_names_what_is_wrong_by_number() {
    let head = Head::below(PREFIX, SITE);
    head.declare(2).await;
    let revision = head.revision().await;
    let batch = json!({"operations": [
        {"op": "put", "kind": "bmc", "name": "b1", "value": {"mac": mac(0xb1)}},
        {"op": "put", "kind": "profile", "name": "p", "value": {"target": {"local": true}}},
        {"op": "put", "kind": "node", "name": "new", "value": {"name": "new", "interfaces": [{"mac": mac(7)}], "bmc": "b1"}},
        {"op": "patch", "kind": "node", "name": "new", "value": {"role": "seen by those behind"}},
        {"op": "put", "kind": "boot", "value": {"whom": {"set": "new"}, "profile": "p"}},
        {"op": "delete", "kind": "node", "name": "nid002"},
    ]});
    let dry = head.json("POST", "/batch?dry_run", batch.clone()).await.ok();
    assert_eq!((&dry["dry_run"], head.revision().await), (&json!(true), revision));
    let report = head.json("POST", "/batch", batch).await.ok();
    assert_eq!(report["added"], json!(["bmc b1", "profile p", "new", "boot of node #2"]));
    assert_eq!((&report["removed"], &report["revision"]), (&json!(["nid002"]), &json!(revision + 1)));
    assert_eq!(head.get("/nodes/new").await.ok()["role"], "seen by those behind");
    assert_eq!(head.get("/boot?set=new").await.ok()[0]["target"]["local"], true);
    let wrong = json!({"operations": [
        {"op": "put", "kind": "group", "name": "good", "value": {}},
        {"op": "put", "kind": "node", "name": "x", "value": {"name": "x", "policy": "maybe"}},
        {"op": "delete", "kind": "bmc", "name": "none"},
        {"op": "patch", "kind": "node", "name": "nid001", "value": {"role": "y"}, "if_match": "\"old\""},
    ]});
    let said = head.json("POST", "/batch", wrong).await;
    let fields: Vec<Value> =
        said.json()["problems"].as_array().unwrap().iter().map(|one| one["field"].clone()).collect();
    assert_eq!(fields, ["operations[1].value.policy", "operations[2]", "operations[3]"]);
    said.refused(422);
    // A problem of the whole names the operation that causes it.
    let clash = json!({"operations": [
        {"op": "put", "kind": "group", "name": "good", "value": {}},
        {"op": "patch", "kind": "node", "name": "nid001", "value": {"bmc": "nobody"}},
    ]});
    assert!(head.json("POST", "/batch", clash).await.refused(422).contains("operations[1].value.bmc"));
    assert_eq!(head.revision().await, revision + 1);
    head.get("/groups/good").await.refused(404);
}

#[tokio::test]
async fn lists_come_in_pages_that_link_to_the_next() {
    let head = Head::below(PREFIX, SITE);
    head.declare(5).await;
    let mut seen = Vec::new();
    let mut path = "/nodes?limit=2&policy=serve".to_owned();
    loop {
        let page = head.get(&path).await;
        let link = page.headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        let names = page.ok();
        seen.extend(names.as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()));
        let Some(link) = link else { break };
        let url = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
        path = url.strip_prefix(PREFIX).unwrap().to_owned();
        assert!(path.contains("policy=serve"), "{path}");
        assert!(seen.len() <= 5);
    }
    assert_eq!(seen, ["nid001", "nid002", "nid003", "nid004", "nid005"]);
    for limit in ["0", "-1", "x", "100001"] {
        assert!(
            head.get(&format!("/groups?limit={limit}")).await.refused(422).contains("\"field\":\"limit\"")
        );
    }
    assert!(head.get("/leases?after=x").await.refused(422).contains("\"field\":\"after\""));
    let count = |list: Value| list.as_array().unwrap().len();
    for (query, found) in [
        ("group=odd", 3),
        ("network=boot", 5),
        ("role=x", 0),
        ("policy=ignore", 0),
        ("arch=arm64", 0),
        ("set=@odd&group=odd", 3),
    ] {
        assert_eq!(count(head.get(&format!("/nodes?{query}")).await.ok()), found, "{query}");
        assert_eq!(count(head.get(&format!("/interfaces?{query}")).await.ok()), found, "{query}");
    }
    head.get("/nodes?network=none").await.refused(422);
    assert_eq!(count(head.get("/leases?state=bound").await.ok()), 1);
    assert_eq!(count(head.get("/leases?state=declined").await.ok()), 0);
    head.get("/leases?state=lost").await.refused(422);
}

#[tokio::test]
async fn interfaces_are_things_of_their_own() {
    let head = Head::below(PREFIX, SITE);
    head.declare(1).await;
    let path = format!("/nodes/nid001/interfaces/{}", mac(8));
    head.get(&path).await.refused(404);
    let body = json!({"name": "hsn0", "mac": mac(8), "addresses": ["192.0.2.8"]});
    head.json("PUT", &path, body.clone()).await.is(201);
    assert_eq!(head.get(&path).await.ok(), body);
    assert_eq!(head.get("/nodes/nid001").await.ok()["interfaces"][1], body);
    assert!(
        head.json("PUT", &path, json!({"mac": mac(9)})).await.ok()["mac"] == mac(9),
        "a body may change it"
    );
    head.json("PUT", &path, json!({"mac": mac(9)})).await.refused(422);
    assert_eq!(head.get("/interfaces").await.ok()[1]["node"], "nid001");
    let now = format!("/nodes/nid001/interfaces/{}", mac(9));
    assert_eq!(head.send("DELETE", &now, "").await.status, 204);
    head.send("DELETE", &now, "").await.refused(404);
}

#[tokio::test]
async fn what_happens_is_listed_and_streamed_and_a_reader_goes_on_where_it_was() {
    let head = Head::below(PREFIX, SITE);
    head.declare(2).await;
    let seen = loop {
        let list = head.get("/events?follow=0&kind=inventory").await.ok();
        if list.as_array().unwrap().iter().any(|event| event["node"] == "nid002") {
            break list;
        }
        tokio::task::yield_now().await;
    };
    let first = &seen[0];
    assert_eq!((&first["text"], &first["data"]["fate"]), (&json!("node nid001 added"), &json!("added")));
    assert!(head.get("/events?follow=0&kind=nothing").await.refused(422).contains("\"field\":\"kind\""));
    let only = head.get("/events?follow=0&node=nid002").await.ok();
    assert!(only.as_array().unwrap().iter().all(|event| event["node"] == "nid002"));
    // From behind the first: the rest comes, and then what happens now.
    let id = first["id"].to_string();
    let request = Request::get(format!("{PREFIX}/events?kind=inventory")).header("last-event-id", &id);
    let response = head.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body();
    head.send("DELETE", "/nodes/nid001", "").await;
    let mut text = String::new();
    while !text.contains("node nid001 removed") {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(20), stream.frame()).await.unwrap();
        text.push_str(&String::from_utf8_lossy(&frame.unwrap().unwrap().into_data().unwrap()));
    }
    assert!(text.contains("event: inventory\n") && text.contains("node nid002 added"), "{text}");
    assert!(!text.contains("node nid001 added") && !text.contains(&format!("id: {id}\n")), "{text}");
    // The end of the daemon ends the stream.
    head.context.journal.close();
    let rest = tokio::time::timeout(std::time::Duration::from_secs(20), stream.collect()).await;
    assert!(rest.is_ok(), "a stream holds the daemon up");
}

#[tokio::test]
async fn what_is_not_known_or_not_readable_is_refused_before_anything_happens() {
    let head = Head::below(PREFIX, SITE);
    head.declare(1).await;
    for query in ["sets=nid001", "set=nid001&set=nid001", "set=nid001&dry_run=yes", "set=nid001&force"] {
        assert!(
            head.send("DELETE", &format!("/nodes?{query}"), "").await.refused(422).contains("\"field\""),
            "{query}"
        );
    }
    let form = ("content-type", "application/x-www-form-urlencoded");
    ask(&head, "PATCH", "/nodes/nid001", form, json!({"role": "x"})).await.refused(415);
    let json = ("content-type", "application/merge-patch+json; charset=utf-8");
    ask(&head, "PATCH", "/nodes/nid001", json, json!({"role": "x"})).await.ok();
    assert!(head.send("POST", "/nodes", vec![b' '; 5 << 20]).await.refused(413).contains("4194304"));
}

#[tokio::test]
async fn methods_are_told_and_the_head_of_an_answer_can_be_asked_alone() {
    let head = Head::below(PREFIX, SITE);
    let options = head.send("OPTIONS", "/nodes/x", "").await;
    assert_eq!(options.status, 204);
    for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE"] {
        assert!(options.allow.contains(method), "{}", options.allow);
    }
    let asked = head.send("HEAD", "/groups", "").await;
    assert_eq!((asked.status.as_u16(), asked.bytes.len()), (200, 0));
    assert!(asked.headers.contains_key("etag"));
}
