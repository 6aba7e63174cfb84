//! BSS and PCS, held to what their clients send and expect.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::head::{Head, SITE, mac};

const PARAMETERS: &str = "/boot/v1/bootparameters";
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// x1000c0s0b0n0, number 1, `compute` by group, with one interface at 192.0.2.1.
async fn head() -> Head {
    let head = Head::start(SITE);
    let node = json!({
        "name": "nid001", "nid": 1, "xname": "x1000c0s0b0n0", "groups": ["blue"],
        "interfaces": [{"mac": mac(1), "addresses": ["192.0.2.1"]}],
    });
    head.json("POST", "/api/v1/nodes", node).await.ok();
    head
}

fn nothing() -> Value {
    let home = json!({"pub_key_dsa": "", "pub_key_rsa": "", "pub_key_ecdsa": "", "instance_id": "",
                      "hostname": "", "fqdn": ""});
    json!({"meta-data": null, "user-data": null, "phone-home": home})
}

async fn all(head: &Head) -> Value {
    head.get(PARAMETERS).await.ok()
}

#[tokio::test]
async fn an_empty_list_is_null_and_an_entry_comes_back_whole() {
    let head = head().await;
    let answer = head.get(PARAMETERS).await;
    assert_eq!((answer.text().as_str(), answer.kind.as_str()), ("null", "application/json; charset=UTF-8"));
    let body = json!({"macs": [mac(1)], "params": "ro", "kernel": "http://192.0.2.9/k",
                      "initrd": "http://192.0.2.9/i", "cloud-init": nothing()});
    let added = head.json("POST", PARAMETERS, body.clone()).await;
    assert_eq!((added.status.as_u16(), added.bytes.len()), (201, 0));
    assert_eq!(added.headers["bss-referral-token"].len(), 36);
    assert_eq!(all(&head).await, json!([body]));
    assert_eq!(head.get("/apis/bss/boot/v1/bootparameters").await.ok(), json!([body]));
}

/// Each request on a head that holds parameters of the MACs 1 and 2 only.
#[tokio::test]
async fn every_verb_answers_with_its_status_and_words() {
    let table: &[(&str, &str, u16, &str)] = &[
        ("POST", r#"{"macs":["00:00:5e:00:53:03"],"kernel":"k"}"#, 201, ""),
        ("POST", r#"{"MACS":["00:00:5E:00:53:03"],"Kernel":"k","x":1}"#, 201, ""),
        ("POST", r#"{"macs":["00:00:5e:00:53:03","00:00:5e:00:53:01"],"kernel":"k"}"#, 201, ""),
        (
            "POST",
            r#"{"macs":["00:00:5E:00:53:01"],"kernel":"k"}"#,
            400,
            "Bad Request: postgres.Add: data already",
        ),
        ("POST", r#"{"macs":["00:00:5e:00:53:03"]}"#, 400, "kernel: is required"),
        ("POST", r#"{"kernel":"k"}"#, 400, "need at least one of hosts, macs, nids"),
        ("POST", r#"{"macs":["00-00-5e-00-53-03"],"kernel":"k"}"#, 400, "macs: invalid MAC address"),
        ("POST", r#"{"hosts":["FAKE"],"kernel":"k"}"#, 400, "invalid xname"),
        ("POST", r#"{"hosts":["x0c0s1b0"],"macs":["bad"],"kernel":"k"}"#, 201, ""),
        ("POST", r#"{"nids":[-1],"kernel":"k"}"#, 400, "nids[0]"),
        ("POST", r#"{"nids":[7],"kernel":"k || reboot"}"#, 400, "kernel: "),
        ("POST", "nonsense", 400, "error decoding JSON"),
        ("POST", "[]", 400, "error decoding JSON"),
        ("PUT", r#"{"macs":["00:00:5e:00:53:01"],"params":"rw"}"#, 200, ""),
        ("PUT", r#"{"hosts":["@blue"],"kernel":"k"}"#, 200, ""),
        ("PUT", r#"{"hosts":["@green"],"kernel":"k"}"#, 400, "no group is called"),
        ("PUT", r#"{"macs":["00:00:5e:00:53:01"]}"#, 400, "at least one of params, kernel, initrd"),
        ("PATCH", r#"{"macs":["00:00:5E:00:53:01"],"params":"rw"}"#, 200, ""),
        (
            "PATCH",
            r#"{"macs":["00:00:5e:00:53:01","00:00:5e:00:53:03"],"params":"rw"}"#,
            404,
            "Not Found: postgres.Update: data does not exist: mac:00:00:5e:00:53:03",
        ),
        ("PATCH", r#"{"macs":["00:00:5e:00:53:01"]}"#, 404, "Not Found: postgres.Update: nothing to update"),
        ("PATCH", r#"{"nids":[1],"params":"rw"}"#, 404, "does not exist"),
        ("DELETE", r#"{"macs":["00:00:5E:00:53:01"]}"#, 200, ""),
        ("DELETE", r#"{"kernel":"k1"}"#, 200, ""),
        ("DELETE", r#"{"kernel":"k1","params":"other"}"#, 400, "postgres.Delete"),
        ("DELETE", r#"{"hosts":["x1000c0s0b0n0"]}"#, 400, "postgres.Delete"),
        ("DELETE", "", 400, "error decoding JSON"),
        ("OPTIONS", "", 405, "does not take this method"),
    ];
    for (method, body, status, words) in table {
        let head = head().await;
        let seed = json!({"macs": [mac(1), mac(2)], "kernel": "k1", "params": "ro"});
        head.json("POST", PARAMETERS, seed).await.is(201);
        let before = all(&head).await;
        let answer = head.send(method, PARAMETERS, (*body).to_owned()).await;
        if *status < 300 {
            assert_eq!(answer.is(*status), "", "{method} {body}");
        } else {
            let text = answer.refused(*status);
            assert!(text.contains(words), "{method} {body}: {text}");
            assert_eq!(all(&head).await, before, "{method} {body}: a refusal changes nothing");
        }
    }
}

#[tokio::test]
async fn what_differs_stands_apart_and_what_is_the_same_again_together() {
    let head = head().await;
    let seed = json!({"macs": [mac(1), mac(2), mac(3)], "kernel": "k", "params": "ro"});
    head.json("PUT", PARAMETERS, seed).await.is(200);
    assert_eq!(all(&head).await.as_array().unwrap().len(), 1);
    head.json("PATCH", PARAMETERS, json!({"macs": [mac(2)], "params": "rw"})).await.is(200);
    let split = all(&head).await;
    assert_eq!(split[0]["macs"], json!([mac(1), mac(3)]));
    assert_eq!(split[1], json!({"macs": [mac(2)], "kernel": "k", "params": "rw", "cloud-init": nothing()}));
    head.json("PATCH", PARAMETERS, json!({"macs": [mac(2)], "params": "ro"})).await.is(200);
    assert_eq!(all(&head).await[0]["macs"], json!([mac(1), mac(2), mac(3)]));
    head.send("DELETE", PARAMETERS, json!({"kernel": "k"}).to_string()).await.is(200);
    assert_eq!(all(&head).await, Value::Null);
}

#[tokio::test]
async fn a_selection_shows_just_what_was_asked_for() {
    let head = head().await;
    head.json("PUT", PARAMETERS, json!({"macs": [mac(1), mac(2), mac(3)], "kernel": "k"})).await.is(200);
    head.json("PUT", PARAMETERS, json!({"hosts": ["x1000c0s0b0n0"], "kernel": "k"})).await.is(200);
    head.json("PUT", PARAMETERS, json!({"nids": [7], "kernel": "k7"})).await.is(200);
    let macs = |list: &Value| list[0]["macs"].clone();
    let one = head.get(&format!("{PARAMETERS}?mac=00%3A00%3A5E%3A00%3A53%3A02")).await.ok();
    assert_eq!((macs(&one), one[0].get("hosts")), (json!([mac(2)]), None));
    for query in [format!("mac={},{}", mac(1), mac(3)), format!("mac={}&mac={}", mac(1), mac(3))] {
        let two = head.get(&format!("{PARAMETERS}?{query}")).await.ok();
        assert_eq!(macs(&two), json!([mac(1), mac(3)]), "{query}");
    }
    let body = json!({"macs": [mac(3)], "nids": [7]}).to_string();
    let two = head.send("GET", PARAMETERS, body).await.ok();
    assert_eq!((macs(&two), &two[1]["nids"]), (json!([mac(3)]), &json!([7])));
    for name in ["x1000c0s0b0n0", "X1000C0S0B0N00", "nid001"] {
        let one = head.get(&format!("{PARAMETERS}?name={name}")).await.ok();
        assert_eq!(one[0]["hosts"], json!(["x1000c0s0b0n0"]), "{name}");
    }
    for query in ["mac=00:00:5e:00:53:09", "nid=8", "name=FAKE", "mac=nonsense"] {
        let text = head.get(&format!("{PARAMETERS}?{query}")).await.refused(404);
        assert!(text.contains("Cannot find boot parameters for requested"), "{text}");
    }
    head.get(&format!("{PARAMETERS}?nid=x")).await.refused(400);
}

#[tokio::test]
async fn tags_and_groups_are_hosts_too() {
    let head = head().await;
    for (host, shown) in [
        ("Default", "Default"),
        ("compute", "Compute"),
        ("Unknown-aarch64", "Unknown-arm64"),
        ("Unknown", "Unknown"),
        ("blue", "@blue"),
        ("@blue", "@blue"),
        ("nid001", "x1000c0s0b0n0"),
    ] {
        head.json("PUT", PARAMETERS, json!({"hosts": [host], "kernel": "k"})).await.is(200);
        assert_eq!(all(&head).await[0]["hosts"], json!([shown]), "{host}");
        head.get(&format!("{PARAMETERS}?name={host}")).await.ok();
        head.json("DELETE", PARAMETERS, json!({"hosts": [host]})).await.is(200);
        assert_eq!(all(&head).await, Value::Null, "{host}");
    }
}

#[tokio::test]
async fn both_apis_see_one_truth() {
    let head = head().await;
    let kernel = json!({"kernel": "images/vmlinuz", "initrds": ["a", "b"], "params": "quiet"});
    head.json("PUT", "/api/v1/boot", json!({"whom": {"set": "nid001"}, "target": kernel})).await.ok();
    let shown = all(&head).await;
    assert_eq!(
        (&shown[0]["hosts"], &shown[0]["initrd"], &shown[0]["kernel"]),
        (&json!(["x1000c0s0b0n0"]), &json!("a"), &json!("images/vmlinuz"))
    );
    let change = json!({"hosts": ["x1000c0s0b0n0"], "params": "ro", "initrd": "a"});
    head.json("PATCH", PARAMETERS, change).await.is(200);
    let native = head.get("/api/v1/boot").await.ok();
    let target = json!({"kernel": "images/vmlinuz", "initrds": ["a", "b"], "params": "ro"});
    assert_eq!(native[0]["target"], target, "the second initrd stays: {native}");
    // What has no form in BSS is not there, until parameters take its place.
    let local = json!({"whom": {"set": "nid001"}, "target": {"local": true}});
    head.json("PUT", "/api/v1/boot", local).await.ok();
    assert_eq!(all(&head).await, Value::Null);
    head.json("PATCH", PARAMETERS, json!({"hosts": ["nid001"], "params": "x"})).await.refused(404);
    head.json("POST", PARAMETERS, json!({"hosts": ["nid001"], "kernel": "k"})).await.is(201);
    assert_eq!(head.get("/api/v1/boot").await.ok()[0]["target"]["kernel"], "k");
}

#[tokio::test]
async fn our_own_script_boots_the_parameters_too() {
    let head = head().await;
    head.json("PUT", PARAMETERS, json!({"macs": [mac(1)], "kernel": "http://192.0.2.9/k", "params": "ro"}))
        .await
        .is(200);
    let script = head.ask_from(NODE, "GET", &format!("/boot/script?mac={}", mac(1)), "").await.is(200);
    assert!(script.contains("kernel --name kernel http://192.0.2.9/k ro "), "{script}");
}

#[tokio::test]
async fn the_script_is_the_reference_s_byte_for_byte() {
    let head = head().await;
    let base = "http://192.0.2.254:8081/boot-images";
    let params = format!(
        "nomodeset ro root=live:{base}/rootfs ip=dhcp console=ttyS0,115200 \
         ds=nocloud-net;s=http://192.0.2.254:8081/cloud-init"
    );
    let body = json!({"macs": [mac(1)], "kernel": format!("{base}/vmlinuz"),
                      "initrd": format!("{base}/initrd.img"), "params": params});
    head.json("PUT", PARAMETERS, body).await.is(200);
    let path = format!("/boot/v1/bootscript?mac={}", mac(1).to_uppercase().replace(':', "%3A"));
    let answer = head.ask_from(NODE, "GET", &path, "").await;
    assert_eq!(answer.kind, "text/plain; charset=UTF-8");
    assert_eq!(answer.is(200), include_str!("../golden/bss/compute.ipxe"));
    let data = head.ask_from(NODE, "GET", &format!("{path}&json=1"), "").await.ok();
    assert_eq!(data["Kernel"], json!({"Path": format!("{base}/vmlinuz"), "Params": ""}));
    let line = data["Params"].as_str().unwrap();
    assert!(line.starts_with("kernel initrd=initrd nomodeset ro ") && line.ends_with("53-01"), "{line}");
    assert_eq!(data["CloudInit"], nothing());
}

#[tokio::test]
async fn mac_counts_before_name_before_nid_and_one_is_needed() {
    let head = head().await;
    for (field, value, kernel) in [
        ("macs", json!([mac(1)]), "by-mac"),
        ("hosts", json!(["nid001"]), "by-name"),
        ("nids", json!([9]), "by-nid"),
    ] {
        head.json("PUT", PARAMETERS, json!({field: value, "kernel": format!("http://192.0.2.9/{kernel}")}))
            .await
            .is(200);
    }
    let script = "/boot/v1/bootscript";
    for (query, wanted) in [
        (format!("nid=9&name=nid001&mac={}", mac(1)), "by-mac"),
        ("nid=9&name=x1000c0s0b0n0".to_owned(), "by-name"),
        ("nid=9".to_owned(), "by-nid"),
    ] {
        let text = head.ask_from(NODE, "GET", &format!("{script}?{query}"), "").await.is(200);
        assert!(text.contains(wanted), "{query}: {text}");
    }
    for query in ["", "?nid=x", "?nid=-1", "?mac=", "?arch=x86_64"] {
        let text = head.get(&format!("{script}{query}")).await.refused(400);
        assert!(text.contains("Need a mac=, name=, or nid= parameter"), "{query}: {text}");
    }
    head.get(&format!("{script}?mac=nonsense")).await.refused(400);
}

#[tokio::test]
async fn unknown_machines_wait_with_a_reason_except_where_they_are_ignored() {
    let stranger = Ipv4Addr::new(192, 0, 2, 200);
    let path = format!("/boot/v1/bootscript?mac={}", mac(0x77));
    let head = Head::start(SITE);
    let text = head.ask_from(stranger, "GET", &path, "").await.is(200);
    assert!(
        text.contains("waits: undeclared machine on network boot") && text.contains("sleep 10"),
        "{text}"
    );
    let again = head.ask_from(stranger, "GET", &format!("{path}&arch=x86_64&retry=2"), "").await.is(200);
    assert!(again.contains("sleep 40") && again.contains("&retry=3 ||"), "{again}");
    let body = json!({"hosts": ["Unknown-x86_64"], "kernel": "http://192.0.2.9/discover"});
    head.json("PUT", PARAMETERS, body).await.is(200);
    let text = head.ask_from(stranger, "GET", &path, "").await.is(200);
    assert_eq!(text.lines().count(), 2, "asks for the family: {text}");
    let text = head.ask_from(stranger, "GET", &format!("{path}&arch=x86_64"), "").await.is(200);
    assert!(text.contains("kernel --name kernel http://192.0.2.9/discover"), "{text}");
    let ignoring = Head::start(&format!("{SITE}unknown = \"ignore\"\n"));
    let text = ignoring.ask_from(stranger, "GET", &path, "").await.refused(404);
    assert!(text.contains("no configuration available for unknown hosts"), "{text}");
}

#[tokio::test]
async fn a_one_shot_is_used_up_by_the_machine_and_not_by_who_looks() {
    let head = head().await;
    let once =
        json!({"whom": {"set": "nid001"}, "once": true, "target": {"kernel": "http://192.0.2.9/once"}});
    head.json("PUT", "/api/v1/boot", once).await.ok();
    let path = format!("/boot/v1/bootscript?mac={}", mac(1));
    assert!(head.get(&format!("{path}&json=1")).await.is(200).contains("once"));
    let client = head.send_with("GET", &path, &[("user-agent", "ochami/v0.6.1")], "").await;
    assert!(client.is(200).contains("once"));
    assert!(head.ask_from(NODE, "GET", &path, "").await.is(200).contains("once"));
    assert!(head.ask_from(NODE, "GET", &path, "").await.is(200).contains("nothing is assigned"));
}

#[tokio::test]
async fn a_token_that_a_client_brings_is_kept_and_one_we_make_up_is_not() {
    let head = head().await;
    let script = format!("/boot/v1/bootscript?mac={}", mac(1));
    head.json("POST", PARAMETERS, json!({"macs": [mac(1)], "kernel": "http://192.0.2.9/k"})).await.is(201);
    assert!(!head.get(&script).await.is(200).contains("bss_referral_token"));
    let body = json!({"macs": [mac(1)], "kernel": "http://192.0.2.9/k"}).to_string();
    let token = "11223344-5566-7788-99aa-bbccddeeff00";
    head.send_with("PUT", PARAMETERS, &[("bss-referral-token", token)], body).await.is(200);
    assert!(head.get(&script).await.is(200).contains(&format!(" bss_referral_token={token} ")));
}

#[tokio::test]
async fn hosts_and_state_are_those_of_the_inventory() {
    let head = head().await;
    let hosts = head.get("/boot/v1/hosts").await.ok();
    assert_eq!(hosts.as_array().unwrap().len(), 1);
    let host = &hosts[0];
    assert_eq!(
        (&host["ID"], &host["NID"], &host["MAC"]),
        (&json!("x1000c0s0b0n0"), &json!(1), &json!([mac(1)]))
    );
    assert_eq!((&host["Type"], &host["EndpointEnabled"]), (&json!("Node"), &json!(true)));
    assert!(host["FQDN"].as_str().unwrap().starts_with("nid001."), "{host}");
    for (query, count) in [
        (format!("mac={}", mac(1)), 1),
        ("name=x1000c0s0b0n0".to_owned(), 1),
        ("nid=1,2".to_owned(), 1),
        ("nid=2".to_owned(), 0),
    ] {
        let found = head.get(&format!("/boot/v1/hosts?{query}")).await.ok();
        assert_eq!(found.as_array().unwrap().len(), count, "{query}");
    }
    head.send("POST", "/boot/v1/hosts", "").await.is(204);
    head.json("PUT", PARAMETERS, json!({"nids": [1], "kernel": "k"})).await.is(200);
    let dump = head.get("/boot/v1/dumpstate").await.ok();
    assert_eq!((&dump["Components"], &dump["Params"]), (&hosts, &all(&head).await));
    head.send("POST", "/boot/v1/scn", r#"{"Components":["x1"],"State":"Ready"}"#).await.is(200);
    head.send("POST", "/boot/v1/scn", "nonsense").await.refused(400);
}

#[tokio::test]
async fn the_services_speak_for_themselves() {
    let head = head().await;
    for (path, key) in [
        ("status", "bss-status"),
        ("status/all", "bss-storage-backend"),
        ("version", "bss-version"),
        ("hsm", "bss-status-hsm"),
        ("storage/status", "bss-storage-backend"),
        ("etcd", "bss-status-etcd"),
    ] {
        let body = head.get(&format!("/boot/v1/service/{path}")).await.ok();
        assert!(body.get(key).is_some(), "{path}: {body}");
    }
}

#[tokio::test]
async fn nodes_read_their_data_by_their_address_and_phone_home() {
    let head = head().await;
    let global =
        json!({"hosts": ["Global"], "cloud-init": {"meta-data": {"a": {"b": 1, "c": 1}, "ID": null}}});
    head.json("PUT", PARAMETERS, global).await.is(200);
    let own = json!({"meta-data": {"a": {"b": 2}}, "user-data": {"packages": ["vim"]}});
    head.json("PUT", PARAMETERS, json!({"hosts": ["nid001"], "kernel": "k", "cloud-init": own}))
        .await
        .is(200);
    let data = head.ask_from(NODE, "GET", "/meta-data", "").await.ok();
    assert_eq!((&data["a"], &data["Global"]["a"]["b"]), (&json!({"b": 2, "c": 1}), &json!(1)));
    assert_eq!(data["local-hostname"], "nid001");
    assert_eq!(head.ask_from(NODE, "GET", "/meta-data?key=a.b", "").await.text(), "2");
    head.ask_from(NODE, "GET", "/meta-data?key=a.x", "").await.refused(404);
    head.ask_from(Ipv4Addr::new(192, 0, 2, 77), "GET", "/meta-data", "").await.refused(404);
    let user = head.ask_from(NODE, "GET", "/user-data", "").await.is(200);
    assert!(user.starts_with("#cloud-config\n") && user.contains("\"vim\""), "{user}");
    for (body, host) in [(r#"{"hostname":"h1","fqdn":"h1.x"}"#, "h1"), ("hostname=h+2&fqdn=h%2e", "h 2")] {
        head.ask_from(NODE, "POST", "/phone-home", body).await.is(200);
        let shown = head.get(&format!("{PARAMETERS}?name=nid001")).await.ok();
        assert_eq!(shown[0]["cloud-init"]["phone-home"]["hostname"], host);
        assert_eq!(shown[0]["cloud-init"]["user-data"], json!({"packages": ["vim"]}));
    }
    let long = format!("hostname={}", "x".repeat(70_000));
    head.ask_from(NODE, "POST", "/phone-home", long).await.refused(400);
    head.ask_from(NODE, "GET", &format!("/boot/v1/bootscript?mac={}", mac(1)), "").await.is(200);
    let history = head.get("/boot/v1/endpoint-history?name=x1000c0s0b0n0").await.ok();
    let seen: Vec<&str> =
        history.as_array().unwrap().iter().map(|one| one["endpoint"].as_str().unwrap()).collect();
    assert_eq!(seen, ["bootscript", "user-data"]);
    assert!(history[0]["last_epoch"].as_u64().unwrap() > 1_600_000_000);
    let one = head.get("/boot/v1/endpoint-history?endpoint=user-data").await.ok();
    assert_eq!(one.as_array().unwrap().len(), 1);
    assert_eq!(head.get("/boot/v1/endpoint-history?name=x1").await.ok(), json!([]));
}

#[tokio::test]
async fn power_control_says_that_it_cannot() {
    let head = head().await;
    head.get("/liveness").await.is(204);
    head.get("/readiness").await.is(204);
    assert!(head.get("/health").await.ok()["TaskRunner"].is_object());
    let body = json!({"operation": "Force-Off", "taskDeadlineMinutes": null,
                      "location": [{"xname": "x1000c0s0b0n0"}, {"xname": "x1c0s0b0n0"}]});
    let started = head.json("POST", "/transitions", body).await.ok();
    assert_eq!(started["operation"], "force-off");
    let id = started["transitionID"].as_str().unwrap();
    let shown = head.get(&format!("/transitions/{id}")).await.ok();
    assert_eq!(shown["transitionStatus"], "completed");
    let counts =
        json!({"total": 2, "new": 0, "in-progress": 0, "failed": 1, "succeeded": 0, "un-supported": 1});
    assert_eq!(shown["taskCounts"], counts);
    let status: Vec<&str> =
        shown["tasks"].as_array().unwrap().iter().map(|task| task["taskStatus"].as_str().unwrap()).collect();
    assert_eq!(status, ["unsupported", "failed"]);
    assert_eq!(head.get("/transitions").await.ok()["transitions"][0]["transitionID"], id);
    let aborted = head.send("DELETE", &format!("/transitions/{id}"), "").await;
    assert!(aborted.is(202).contains("abortStatus"));
    head.send("DELETE", "/transitions/none", "").await.refused(404);
    for bad in [
        r#"{"operation":"explode","location":[{"xname":"x1000c0s0b0n0"}]}"#,
        r#"{"operation":"on","location":[]}"#,
        r#"{"operation":"on","location":[{"xname":"FAKE"}]}"#,
        "x",
    ] {
        head.send("POST", "/transitions", bad).await.refused(400);
    }
    let power = head.get("/power-status?xname=x1000c0s0b0n0").await.ok();
    let one = &power["status"][0];
    assert_eq!((&one["powerState"], &one["managementState"]), (&json!("undefined"), &json!("unavailable")));
    assert!(one["error"].as_str().unwrap().contains("no driver"));
    assert_eq!(head.get("/power-status?powerStateFilter=on").await.ok()["status"], json!([]));
    head.get("/power-status?powerStateFilter=purple").await.refused(400);
    let posted = json!({"xname": ["x1c0s0b0n0"], "powerStateFilter": "undefined"});
    let power = head.json("POST", "/power-status", posted).await.ok();
    assert_eq!(power["status"][0]["error"], "component not found");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What is put for a hardware address in any case is found, changed and deleted in any case.
    #[test]
    fn the_case_of_a_mac_never_matters(octets in any::<[u8; 6]>(), upper in any::<[u64; 4]>()) {
        let spelled = |seed: u64| {
            let lower = octets.map(|octet| format!("{octet:02x}")).join(":");
            let letters = lower.chars().enumerate().map(|(at, letter)| {
                if seed >> at & 1 == 1 { letter.to_ascii_uppercase() } else { letter }
            });
            letters.collect::<String>()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let head = Head::start(SITE);
            let [put, get, patch, delete] = upper.map(spelled);
            head.json("PUT", PARAMETERS, json!({"macs": [put], "kernel": "k"})).await.is(200);
            let shown = head.get(&format!("{PARAMETERS}?mac={get}")).await.ok();
            assert_eq!(shown[0]["macs"], json!([put.to_lowercase()]));
            head.json("PATCH", PARAMETERS, json!({"macs": [patch], "kernel": "k2"})).await.is(200);
            assert_eq!(all(&head).await.as_array().unwrap().len(), 1);
            head.json("DELETE", PARAMETERS, json!({"macs": [delete]})).await.is(200);
            assert_eq!(all(&head).await, Value::Null);
        });
    }
}
