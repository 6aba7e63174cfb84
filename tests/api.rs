//! The REST API route by route, against a memory store and the daemon's own publisher: what is done, what is
//! refused and with which words, and what happens when many change the inventory at once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod head;

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};

use head::{Head, SITE, mac};
use muster::api::v1::PREFIX;

#[tokio::test]
async fn a_node_is_made_shown_changed_and_removed() {
    let head = Head::below(PREFIX, SITE);
    head.declare(2).await;
    for name in ["nid001", "NID001", "x9999c0s0b0n0", "00:00:5e:00:53:01"] {
        assert_eq!(head.get(&format!("/nodes/{name}")).await.ok()["name"], "nid001", "{name}");
    }
    assert_eq!(head.json("POST", "/nodes", json!({"name": " NID009 "})).await.ok()["name"], "nid009");
    assert_eq!(head.send("DELETE", "/nodes/nid009", "").await.status, StatusCode::NO_CONTENT);
    assert!(head.json("POST", "/nodes", json!({"name": "nid001"})).await.refused(409).contains("nid001"));
    let patched =
        head.json("PATCH", "/nodes/nid001", json!({"role": "Compute", "policy": "local"})).await.ok();
    assert_eq!((&patched["role"], &patched["policy"]), (&json!("Compute"), &json!("local")));
    assert_eq!(patched["interfaces"][0]["mac"], mac(1), "a patch leaves the rest alone");
    let back = head.json("PATCH", "/nodes/nid001", json!({"role": null, "policy": null})).await.ok();
    assert_eq!((&back["role"], &back["policy"]), (&Value::Null, &json!("serve")));
    let revision = head.revision().await;
    assert_eq!(
        head.json("PUT", "/nodes/nid001", back.clone()).await.ok(),
        back,
        "what is read can be written"
    );
    assert_eq!(head.revision().await, revision, "and changes nothing");
    let renamed = head.json("PATCH", "/nodes/nid001", json!({"name": "front"})).await.ok();
    assert_eq!((&renamed["name"], &renamed["nid"]), (&json!("front"), &json!(1)));
    assert_eq!(head.send("DELETE", "/nodes/front", "").await.status, StatusCode::NO_CONTENT);
    assert!(head.get("/nodes/front").await.refused(404).contains("no node is called \\\"front\\\""));
    assert!(head.send("DELETE", "/nodes/front", "").await.refused(404).contains("front"));
}

#[tokio::test]
async fn refusals_name_the_field_and_change_nothing() {
    let head = Head::below(PREFIX, SITE);
    head.declare(2).await;
    let revision = head.revision().await;
    for (patch, status, word) in [
        (json!({"macs": []}), 400, "unknown field `macs`"),
        (json!({"interfaces": [{"mac": "zz"}]}), 422, "\"field\":\"interfaces[0].mac\""),
        (json!({"interfaces": [{"mac": mac(2)}]}), 422, "is also used by node nid00"),
        (
            json!({"interfaces": [{"mac": mac(1), "addresses": ["198.51.100.1"]}]}),
            422,
            "outside every network",
        ),
        (json!({"interfaces": [{"mac": mac(1), "addresses": ["192.0.2.254"]}]}), 422, "the head's own"),
        (json!({"bmc": "nobody"}), 422, "\"field\":\"bmc\""),
        (json!({"nid": "many"}), 400, "\"field\":\"nid\""),
        (json!({"interfaces": [{"mac": 7}]}), 400, "\"field\":\"interfaces[0].mac\""),
        (json!({"arch": "z80"}), 422, "\"field\":\"arch\""),
        (json!({"uuid": "1"}), 422, "\"field\":\"uuid\""),
        (json!({"xname": "y1"}), 422, "\"field\":\"xname\""),
        (json!({"policy": "maybe"}), 422, "serve, ignore, local"),
        (json!([]), 400, "a patch is a JSON object"),
    ] {
        let said = head.json("PATCH", "/nodes/nid001", patch.clone()).await.refused(status);
        assert!(said.contains(word), "{patch}: {said}");
    }
    assert!(head.send("POST", "/nodes", "{\n\"name\": nid").await.refused(400).contains("\"line\":2"));
    assert_eq!(head.revision().await, revision);
}

#[tokio::test]
async fn a_path_names_what_is_made_there() {
    let head = Head::below(PREFIX, SITE);
    let said = head.json("PUT", "/nodes/nid001", json!({"name": "nid002"})).await.refused(422);
    assert!(said.contains("\"field\":\"name\""), "{said}");
    assert_eq!(head.get("/nodes").await.ok(), json!([]));
    // A patch alone does not make a node: a mistyped name must not declare a machine that is not there.
    head.declare(1).await;
    assert!(head.json("PATCH", "/nodes/nid01", json!({"role": "x"})).await.refused(404).contains("nid01"));
    let made = json!({"interfaces": [{"mac": mac(7)}]});
    assert_eq!(head.json("PATCH", "/nodes/nid007", made).await.ok()["name"], "nid007");
}

#[tokio::test]
async fn node_sets_choose_and_pages_follow_each_other() {
    let head = Head::below(PREFIX, SITE);
    head.declare(5).await;
    let names = |list: Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(head.get("/nodes?set=@odd!nid003").await.ok()), ["nid001", "nid005"]);
    assert_eq!(names(head.get("/nodes?set=nid%5B001-002%5D").await.ok()), ["nid001", "nid002"]);
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = names(head.get(&format!("/nodes?limit=2&after={after}")).await.ok());
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = last.clone();
        seen.extend(page);
    }
    assert_eq!(seen, ["nid001", "nid002", "nid003", "nid004", "nid005"]);
    assert!(head.get("/nodes?limit=few").await.refused(422).contains("\"field\":\"limit\""));
    for set in ["nid999", "@nobody", "nid[1", "nid001,", "", "%zz", "%ff"] {
        let said = head.get(&format!("/nodes?set={set}")).await.refused(422);
        assert!(said.contains("\"field\":\"set\""), "{set}: {said}");
    }
}

#[tokio::test]
async fn a_set_is_changed_as_a_whole_or_not_at_all() {
    let head = Head::below(PREFIX, SITE);
    head.declare(5).await;
    let revision = head.revision().await;
    let report = head.json("PATCH", "/nodes?set=@odd", json!({"role": "Compute"})).await.ok();
    assert_eq!(report["changed"], json!(["nid001", "nid003", "nid005"]));
    assert_eq!(report["revision"], revision + 1, "one transaction");
    let again = head.json("PATCH", "/nodes?set=*", json!({"role": "Compute"})).await.ok();
    assert_eq!((&again["unchanged"], &again["changed"]), (&json!(3), &json!(["nid002", "nid004"])));
    head.json("PATCH", "/nodes?set=*", json!({"nid": 7})).await.refused(422);
    assert_eq!(head.get("/nodes/nid001").await.ok()["nid"], 1);
    // Nobody means all nodes by a set that is missing, empty or garbled.
    for query in ["", "?set=", "?set=%zz", "?sets=nid001"] {
        head.send("DELETE", &format!("/nodes{query}"), "").await.refused(422);
        head.json("PATCH", &format!("/nodes{query}"), json!({"role": "x"})).await.refused(422);
    }
    let report = head.send("DELETE", "/nodes?set=@odd", "").await.ok();
    assert_eq!(report["removed"], json!(["nid001", "nid003", "nid005"]));
    assert_eq!(head.get("/nodes").await.ok().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn groups_and_their_members_come_and_go() {
    let head = Head::below(PREFIX, SITE);
    head.declare(3).await;
    assert_eq!(head.get("/groups/odd").await.ok()["members"], json!(["nid001", "nid003"]));
    let gpu = head.send("POST", "/groups/gpu/members?set=nid%5B001-002%5D", "").await.ok();
    assert_eq!(gpu["members"], json!(["nid001", "nid002"]));
    assert_eq!(
        head.send("DELETE", "/groups/gpu/members?set=nid001", "").await.ok()["members"],
        json!(["nid002"])
    );
    assert_eq!(head.json("PATCH", "/groups/gpu", json!({"priority": 5})).await.ok()["priority"], 5);
    let put = head.json("PUT", "/groups/empty", json!({"description": "nobody"})).await.ok();
    assert_eq!((&put["name"], &put["members"]), (&json!("empty"), &json!([])));
    assert_eq!(head.get("/groups").await.ok().as_array().unwrap().len(), 3);
    assert!(head.json("PUT", "/groups/gpu", json!({"prio": 1})).await.refused(400).contains("`prio`"));
    head.json("PUT", "/groups/-", json!({})).await.refused(422);
    head.send("POST", "/groups/gpu/members", "").await.refused(422);
    head.send("DELETE", "/groups/none/members?set=nid001", "").await.refused(404);
    assert_eq!(head.send("DELETE", "/groups/gpu", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(head.get("/nodes/nid002").await.ok()["groups"], json!([]));
    head.get("/groups/gpu").await.refused(404);
}

#[tokio::test]
async fn bmcs_and_profiles_stay_while_something_names_them() {
    let head = Head::below(PREFIX, SITE);
    head.declare(1).await;
    let bmc =
        head.json("PUT", "/bmcs/bmc01", json!({"mac": mac(0xe1), "address": "198.51.100.7"})).await.ok();
    assert_eq!(bmc["name"], "bmc01");
    head.json("PATCH", "/nodes/nid001", json!({"bmc": "bmc01"})).await.ok();
    assert!(head.send("DELETE", "/bmcs/bmc01", "").await.refused(422).contains("no BMC is called bmc01"));
    head.json("PUT", "/bmcs/bmc02", json!({"mac": mac(1)})).await.refused(422);
    assert!(head.json("PUT", "/bmcs/bmc02", json!({"ip": "x"})).await.refused(400).contains("`ip`"));
    head.get("/bmcs/none").await.refused(404);
    assert_eq!(head.get("/bmcs").await.ok().as_array().unwrap().len(), 1);
    let rescue =
        json!({"description": "", "target": {"kernel": "vmlinuz", "initrds": ["i"], "params": "quiet"}});
    assert_eq!(head.json("PUT", "/profiles/rescue", rescue).await.ok()["target"]["kernel"], "vmlinuz");
    let assigned = json!({"whom": {"set": "@odd"}, "profile": "rescue"});
    assert_eq!(head.json("PUT", "/boot", assigned).await.ok()["added"], json!(["group odd"]));
    assert!(
        head.send("DELETE", "/profiles/rescue", "")
            .await
            .refused(422)
            .contains("no profile is called rescue")
    );
    head.send("DELETE", "/boot?set=@odd", "").await.ok();
    assert_eq!(head.send("DELETE", "/profiles/rescue", "").await.status, StatusCode::NO_CONTENT);
    head.get("/profiles/rescue").await.refused(404);
    for target in
        [json!({}), json!({"kernel": "k", "local": true}), json!({"params": "p"}), json!({"kernel": "a\nb"})]
    {
        let said = head.json("PUT", "/profiles/bad", json!({"target": target.clone()})).await.refused(422);
        assert!(said.contains("\"field\":\"target"), "{target}: {said}");
    }
}

#[tokio::test]
async fn boot_is_assigned_by_precedence_and_taken_back() {
    let head = Head::below(PREFIX, SITE);
    head.declare(2).await;
    let assign = |whom: Value, kernel: &str, once: bool| json!({"whom": whom, "once": once, "target": {"kernel": kernel}});
    assert_eq!(head.get("/boot?set=nid001").await.ok()[0]["outcome"], "hold");
    for (whom, kernel) in [
        (json!({"default": true}), "default"),
        (json!({"set": "@odd"}), "group"),
        (json!({"set": "nid001"}), "node"),
        (json!({"mac": mac(1)}), "mac"),
    ] {
        head.json("PUT", "/boot", assign(whom.clone(), kernel, false)).await.ok();
        assert_eq!(head.get("/boot?set=nid001").await.ok()[0]["target"]["kernel"], kernel);
        let again = head.json("PUT", "/boot", assign(whom, kernel, false)).await.ok();
        assert_eq!(again["unchanged"], 1);
    }
    head.json("PUT", "/boot", assign(json!({"set": "nid001"}), "once", true)).await.ok();
    let once = head.get("/boot?set=nid001").await.ok();
    assert_eq!(once[0]["target"]["kernel"], "once");
    assert!(
        once[0]["rule"].as_str().unwrap().contains("nid001"),
        "a person reads names: {}",
        once[0]["rule"]
    );
    assert_eq!(head.send("DELETE", "/boot?set=nid001&once", "").await.ok()["removed"], json!(["nid001"]));
    assert_eq!(head.get("/boot?set=nid001").await.ok()[0]["target"]["kernel"], "mac");
    head.send("DELETE", &format!("/boot?mac={}", mac(1)), "").await.ok();
    head.send("DELETE", "/boot?set=nid001", "").await.ok();
    head.send("DELETE", "/boot?set=@odd", "").await.ok();
    assert_eq!(head.get("/boot?set=nid002").await.ok()[0]["target"]["kernel"], "default");
    head.send("DELETE", "/boot?default", "").await.ok();
    assert_eq!(head.get("/boot").await.ok()[0]["outcome"], "hold");
    for (body, word) in [
        (json!({"whom": {}, "profile": "a"}), "whom"),
        (json!({"whom": {"set": "nid001", "default": true}, "profile": "a"}), "whom"),
        (json!({"whom": {"set": "nid001"}}), "profile"),
        (json!({"whom": {"set": "nid001"}, "profile": "none"}), "no profile is called none"),
        (json!({"whom": {"set": "@none"}, "target": {"local": true}}), "no group is called"),
        (json!({"whom": {"mac": "x"}, "target": {"local": true}}), "\"field\":\"mac\""),
    ] {
        let said = head.json("PUT", "/boot", body.clone()).await.refused(422);
        assert!(said.contains(word), "{body}: {said}");
    }
    head.send("DELETE", "/boot", "").await.refused(422);
}

#[tokio::test]
async fn what_is_observed_is_told_and_leases_end() {
    let head = Head::below(PREFIX, SITE);
    head.declare(1).await;
    let network = head.get("/networks/boot").await.ok();
    for (field, count) in
        [("pool", 4), ("bound", 1), ("held", 0), ("declined", 0), ("free", 3), ("declared", 1)]
    {
        assert_eq!(network[field], count, "{field}");
    }
    assert_eq!(head.get("/networks").await.ok(), json!([network]));
    head.get("/networks/none").await.refused(404);
    assert_eq!(head.get("/leases").await.ok()[0]["client"], mac(0xee));
    assert_eq!(head.get("/sightings").await.ok()[0]["requests"], 3);
    assert_eq!(head.get("/rogues").await.ok()[0]["server"], "192.0.2.9");
    let status = head.get("/status").await.ok();
    assert_eq!(
        (&status["nodes"], &status["leases"], &status["sightings"]),
        (&json!(1), &json!(1), &json!(1))
    );
    let finding = &status["findings"][0];
    assert_eq!((&finding["what"], &finding["severity"]), (&json!("network boot"), &json!("warning")));
    assert!(finding["text"].as_str().unwrap().contains("192.0.2.9"), "{finding}");
    assert_eq!(head.send("DELETE", "/leases/192.0.2.200", "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(head.get("/leases").await.ok(), json!([]));
    head.send("DELETE", "/leases/192.0.2.200", "").await.refused(404);
    assert!(head.send("DELETE", "/leases/mine", "").await.refused(422).contains("\"field\":\"address\""));
    let steps = head.get(&format!("/explain?mac={}", mac(1))).await.ok();
    assert!(steps.to_string().contains("192.0.2.1"), "{steps}");
    assert!(head.get("/explain").await.refused(422).contains("\"field\":\"mac\""));
    assert!(head.get("/openapi.json").await.ok()["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[tokio::test]
async fn whatever_is_refused_is_refused_as_a_problem() {
    let head = Head::below(PREFIX, SITE);
    assert!(head.get("/nothing").await.refused(404).contains("/nothing"));
    let wrong = head.send("POST", "/status", "").await;
    assert!(wrong.allow.contains("GET"), "RFC 9110 section 15.5.6 wants the methods: {:?}", wrong.allow);
    wrong.refused(405);
    // What axum itself refuses before a handler runs.
    head.send("POST", "/nodes", vec![b' '; 5 << 20]).await.refused(413);
    head.send("POST", "/inventory/import", vec![b' '; 65 << 20]).await.refused(413);
    head.send("POST", "/inventory/import", vec![b'n', 0xff, 0xfe]).await.refused(400);
    head.get("/nodes/%ff").await.refused(400);
    head.send("DELETE", "/leases/%ff", "").await.refused(400);
}

#[tokio::test]
async fn ten_thousand_nodes_are_imported_at_once_and_exported_again() {
    let head = Head::below(
        PREFIX,
        "[[network]]\nname = \"boot\"\ninterface = \"eth1\"\naddress = \"10.0.0.1/16\"\n",
    );
    let row = |n: u32| {
        let (high, low) = (n / 200 + 1, n % 200 + 1);
        format!("nid{n:05},02:00:00:00:{high:02x}:{low:02x},10.0.{high}.{low}\n")
    };
    let text = format!("name,mac,ip\n{}", (1..=10_000).map(row).collect::<String>());
    let dry = head.send("POST", "/inventory/import?dry_run", text.clone()).await.ok();
    assert_eq!((dry["added"].as_array().unwrap().len(), &dry["dry_run"]), (10_000, &json!(true)));
    assert_eq!(head.get("/status").await.ok()["nodes"], 0);
    let report = head.send("POST", "/inventory/import", text.clone()).await.ok();
    assert_eq!((report["added"].as_array().unwrap().len(), &report["revision"]), (10_000, &json!(1)));
    assert_eq!(head.get("/status").await.ok()["nodes"], 10_000, "what was written can be read");
    let exported = head.get("/inventory/export").await;
    assert_eq!(exported.kind, "application/yaml");
    let again = head.send("POST", "/inventory/import?prune", exported.bytes).await.ok();
    assert_eq!((&again["unchanged"], &again["revision"]), (&json!(10_000), &json!(1)));
    // All problems at once, each with its line.
    let broken = text.replace("10.0.1.2\n", "10.0.1\n").replace("nid00007", "nid 7");
    let refused = head.send("POST", "/inventory/import", broken).await;
    let problems = refused.json()["problems"].clone();
    let lines: Vec<u64> =
        problems.as_array().unwrap().iter().map(|one| one["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [2, 8], "{problems}");
    refused.refused(422);
    let one = "name,mac,ip\nnid00001,02:00:00:00:01:02,10.0.1.2\n";
    let pruned = head.send("POST", "/inventory/import?dry_run&prune", one).await.ok();
    assert_eq!(pruned["removed"].as_array().unwrap().len(), 9_999);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_changes_at_once_all_arrive() {
    let head = Arc::new(Head::below(PREFIX, SITE));
    head.declare(1).await;
    let mut changes = tokio::task::JoinSet::new();
    for number in 0..200 {
        let head = Arc::clone(&head);
        changes.spawn(async move {
            let patch = json!({"annotations": {format!("k{number}"): "v"}});
            head.json("PATCH", "/nodes/nid001", patch).await.status
        });
    }
    let statuses = changes.join_all().await;
    let refused = statuses.iter().filter(|status| !status.is_success()).count();
    let kept = head.get("/nodes/nid001").await.ok()["annotations"].as_object().unwrap().len();
    assert_eq!((refused, kept), (0, 200), "refused, kept");
}

#[tokio::test]
async fn a_list_where_fields_belong_is_refused() {
    let head = Head::below(PREFIX, SITE);
    for (method, path, body, field) in [
        ("PUT", "/nodes/nid001", json!(["nid001", null]), "body"),
        ("PUT", "/boot", json!({"whom": [null, null], "target": {"local": true}}), "whom"),
        ("PUT", "/cloud-init/defaults", json!([null]), "body"),
    ] {
        let said = head.json(method, path, body).await.refused(422);
        assert!(said.contains(&format!("\"field\":\"{field}\"")), "{path}: {said}");
    }
}
