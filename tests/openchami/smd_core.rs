//! SMD: components, interfaces, groups, partitions, memberships.

use std::fmt::Write;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::head::{Head, SITE, mac};
use muster::base::{Mac, Xname};
use muster::model::snapshot::Machine;

pub(crate) const COMPONENTS: &str = "/State/Components";
pub(crate) const PORTS: &str = "/Inventory/EthernetInterfaces";

pub(crate) fn smd() -> Head {
    Head::below("/hsm/v2", SITE)
}

/// A request, the status that answers it, and a text that the answer contains (empty: no body at all).
pub(crate) type Row<'a> = (&'a str, &'a str, Value, u16, &'a str);

/// Sends requests in order. A refusal must be a problem document.
pub(crate) async fn check(head: &Head, rows: &[Row<'_>]) {
    for (method, path, body, status, text) in rows {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = head.send(method, path, body.clone()).await;
        let place = format!("{method} {path} {body}: {}", answer.text());
        assert_eq!(answer.status.as_u16(), *status, "{place}");
        if text.is_empty() {
            assert_eq!(answer.text(), "", "{place}");
        }
        assert!(answer.text().contains(text), "{place}\nlacks {text}");
        if *status >= 400 {
            assert_eq!(answer.kind, "application/problem+json", "{place}");
            let problem = answer.json();
            assert_eq!(
                (&problem["type"], &problem["status"]),
                (&json!("about:blank"), &json!(status)),
                "{place}"
            );
            assert!(problem["title"].is_string() && problem["detail"].is_string(), "{place}");
        }
    }
}

pub(crate) fn component(id: &str, nid: u32) -> Value {
    json!({"ID": id, "Type": "Node", "State": "On", "Enabled": true, "NID": nid})
}

async fn post(head: &Head, components: Value) {
    let answer = head.json("POST", COMPONENTS, json!({"Components": components})).await;
    assert_eq!(answer.is(204), "");
}

/// The xnames that a query finds.
async fn found(head: &Head, query: &str) -> Vec<String> {
    let all = head.get(&format!("{COMPONENTS}{query}")).await.ok();
    let ids = all["Components"].as_array().unwrap().iter();
    ids.map(|one| one["ID"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn components_are_added_once_and_only_forced_to_another_state() {
    let head = smd();
    check(
        &head,
        &[
            ("GET", COMPONENTS, Value::Null, 200, r#"{"Components":[]}"#),
            ("POST", COMPONENTS, json!({}), 400, "Missing Components"),
            ("POST", COMPONENTS, json!({"Components": [{}]}), 400, "Missing Component.ID"),
            ("POST", COMPONENTS, json!({"Components": [component("FAKE", 1)]}), 400, "invalid xname"),
            ("POST", COMPONENTS, json!({"Components": [{"ID": "x0c0s0b0n0"}]}), 400, "invalid State"),
            ("POST", COMPONENTS, json!({"Components": "x"}), 500, "error decoding JSON Components"),
            ("GET", "/State/Components/x0c0s0b0n0", Value::Null, 404, "no such xname."),
            ("GET", "/State/Components/foo", Value::Null, 400, "invalid xname"),
            ("DELETE", COMPONENTS, Value::Null, 404, "no entries to delete"),
            ("PUT", COMPONENTS, json!({}), 405, "does not take this method"),
        ],
    )
    .await;
    assert_eq!(
        head.send("POST", COMPONENTS, "{").await.refused(500).matches("error decoding JSON").count(),
        1
    );

    // One wrong element, and nothing is applied; keys in any case, numbers with leading zeros, unknown keys.
    let mixed = json!({"Components": [component("x0c0s0b0n0", 1), {"ID": "x0c0s1b0n0", "State": "Lost"}]});
    assert!(head.json("POST", COMPONENTS, mixed).await.refused(400).contains("Components[1]: invalid State"));
    assert_eq!(found(&head, "").await, [""; 0]);
    let odd = r#"{"components":[{"id":"X0C00s0b0N1","STATE":"on","nid":"7","Flag":null,"Own":[1]}]}"#;
    assert_eq!(head.send("POST", COMPONENTS, odd).await.is(204), "");
    let wanted = json!({"ID": "x0c0s0b0n1", "Type": "Node", "State": "On", "Flag": "OK", "Enabled": true,
        "Role": "Compute", "NID": 7});
    assert_eq!(head.get("/State/Components/x0c0s0b0n1").await.ok(), wanted);
    assert_eq!(head.get("/State/Components/X00C0S0B0N01").await.ok(), wanted);

    // Who is there is left alone; force sets state and the like, never number, role, enabled.
    let again = json!({"ID": "x0c0s0b0n1", "State": "Off", "NID": 9, "Role": "Service", "Enabled": false,
        "Arch": "arm", "Class": "river", "Flag": "alert"});
    post(&head, json!([again])).await;
    assert_eq!(head.get("/State/Components/x0c0s0b0n1").await.ok(), wanted);
    let forced = json!({"Component": again, "Force": true});
    assert_eq!(head.json("PUT", "/State/Components/x0c0s0b0n1", forced).await.is(204), "");
    let wanted = json!({"ID": "x0c0s0b0n1", "Type": "Node", "State": "Off", "Flag": "Alert", "Enabled": true,
        "Role": "Compute", "NID": 7, "Arch": "ARM", "Class": "River"});
    assert_eq!(head.get("/State/Components/x0c0s0b0n1").await.ok(), wanted);
    check(
        &head,
        &[
            (
                "PUT",
                "/State/Components/x0c0s0b0n2",
                json!({"Component": component("x0c0s0b0n1", 2)}),
                400,
                "not the same",
            ),
            ("PUT", "/State/Components/x0c0s0b0n2", json!({}), 400, "Missing Component"),
            ("PUT", "/State/Components/x0c0s0b0n2", json!({"Component": component("", 2)}), 204, ""),
            ("GET", "/State/Components/ByNID/2", Value::Null, 200, r#""ID":"x0c0s0b0n2""#),
            ("GET", "/State/Components/ByNID/3", Value::Null, 404, "no such xname."),
            ("GET", "/State/Components/ByNID/x", Value::Null, 400, "invalid NID"),
            (
                "DELETE",
                "/State/Components/x0c0s0b0n2",
                Value::Null,
                200,
                r#"{"code":0,"message":"deleted 1 entry"}"#,
            ),
            ("DELETE", "/State/Components/x0c0s0b0n2", Value::Null, 404, "no such xname."),
        ],
    )
    .await;
}

#[tokio::test]
async fn types_numbers_and_roles_have_defaults() {
    let head = smd();
    let plain = |id: &str| json!({"ID": id, "Type": "wrong", "State": "Off"});
    post(
        &head,
        json!([
            plain("x3c2s4b1n1"),
            plain("x3c2s4b1"),
            plain("x3c2s4"),
            plain("x3m0p0v1"),
            plain("x3c0r1b0")
        ]),
    )
    .await;
    for (id, kind, nid, role) in [
        ("x3c2s4b1n1", "Node", json!(4 * 16384 + 2 * 2048 + 4 * 32 + 4 + 1), json!("Compute")),
        ("x3c2s4b1", "NodeBMC", Value::Null, Value::Null),
        ("x3c2s4", "ComputeModule", Value::Null, Value::Null),
        ("x3m0p0v1", "CabinetPDUPowerConnector", Value::Null, Value::Null),
        ("x3c0r1b0", "RouterBMC", Value::Null, Value::Null),
    ] {
        let one = head.get(&format!("{COMPONENTS}/{id}")).await.ok();
        assert_eq!((&one["Type"], &one["NID"], &one["Role"]), (&json!(kind), &nid, &role), "{id}");
    }
    assert_eq!(
        head.send("DELETE", COMPONENTS, "").await.is(200),
        r#"{"code":0,"message":"deleted 5 entries"}"#
    );
    assert_eq!(found(&head, "").await, [""; 0]);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of requests and answers")]
async fn filters_join_negate_and_refuse_what_is_no_word() {
    let head = smd();
    post(
        &head,
        json!([
            {"ID": "x0c0s0b0n0", "State": "Ready", "NID": 1, "Role": "Compute"},
            {"ID": "x0c0s0b0n1", "State": "On", "NID": 2, "Role": "Service", "Flag": "Warning"},
            {"ID": "x0c0s1b0n0", "State": "Off", "NID": 30, "Role": "Management", "SubRole": "Worker", "Arch": "ARM", "Enabled": false},
            {"ID": "x0c0s1b0", "State": "On", "Class": "Hill"},
        ]),
    )
    .await;
    let group = json!({"label": "odd", "members": {"ids": ["x0c0s0b0n1", "x0c0s1b0"]}});
    head.json("POST", "/groups", group).await.is(201);
    head.json("POST", "/partitions", json!({"name": "p1", "members": {"ids": ["x0c0s0b0n0"]}})).await.is(201);
    let (a, b, c, bmc) = ("x0c0s0b0n0", "x0c0s0b0n1", "x0c0s1b0n0", "x0c0s1b0");
    for (query, wanted) in [
        ("?state=ready&State=ON", vec![a, b, bmc]),
        ("?state=!on", vec![a, c]),
        ("?type=node&state=!Ready&state=!off", vec![b]),
        ("?type=!Node", vec![bmc]),
        ("?role=service&role=management", vec![b, c]),
        ("?subrole=worker", vec![c]),
        ("?arch=arm", vec![c]),
        ("?class=hill", vec![bmc]),
        ("?flag=warning", vec![b]),
        ("?enabled=false", vec![c]),
        ("?enabled=!false&type=node", vec![a, b]),
        ("?id=X0c00s0b0n0&id=x0c0s1b0", vec![a, bmc]),
        ("?id=x0c0s0", vec![]),
        ("?id=!x0C0s0b0n0", vec![b, bmc, c]),
        ("?nid=1&nid=30", vec![a, c]),
        ("?nid=!1", vec![b, bmc, c]),
        ("?nid_start=2&nid_end=40", vec![b, c]),
        ("?nid_start=2", vec![b, c]),
        ("?nid_end=1&nid=30", vec![a, c]),
        ("?group=odd", vec![b, bmc]),
        ("?group=!odd", vec![a, c]),
        ("?group=odd&type=NodeBMC", vec![bmc]),
        ("?group=none", vec![]),
        ("?partition=p1", vec![a]),
        ("?partition=!P1", vec![b, bmc, c]),
        ("?locked=false&reserved=false&reservation_disabled=false", vec![a, b, bmc, c]),
        ("?locked=true", vec![]),
        ("?unknown=1", vec![a, b, bmc, c]),
        ("/Query/x0c0s1", vec![bmc, c]),
        ("/Query/x0c0s1?type=node", vec![c]),
        ("/Query/s0", vec![a, b, bmc, c]),
        ("/Query/p1", vec![a]),
    ] {
        let mut wanted: Vec<&str> = wanted;
        wanted.sort_unstable();
        assert_eq!(found(&head, query).await, wanted, "{query}");
    }
    for (query, word) in [
        ("state=foo", "invalid state filter: foo"),
        ("flag=!x", "invalid flag filter"),
        ("role=x", "invalid role filter"),
        ("subrole=x", "invalid subrole filter"),
        ("type=x", "invalid type filter"),
        ("arch=x", "invalid arch filter"),
        ("class=x", "invalid class filter"),
        ("nid=x", "invalid nid filter"),
        ("enabled=maybe", "invalid enabled filter"),
        ("id=foo", "invalid xname"),
    ] {
        assert!(head.get(&format!("{COMPONENTS}?{query}")).await.refused(400).contains(word), "{query}");
    }
    let short = head.get(&format!("{COMPONENTS}?id={b}&stateonly=true&nidonly=true")).await.ok();
    let wanted = json!({"ID": b, "Type": "Node", "State": "On", "Flag": "Warning", "NID": 2});
    assert_eq!(short, json!({"Components": [wanted]}));
    let short = head.get(&format!("{COMPONENTS}?id={c}&roleonly=1")).await.ok();
    assert_eq!(
        short["Components"],
        json!([{"ID": c, "Type": "Node", "Role": "Management", "SubRole": "Worker"}])
    );
    for (path, body, wanted) in [
        ("/Query", json!({"ComponentIDs": ["x0c0s1", "p1"], "type": "node"}), vec![a, c]),
        ("/Query", json!({"componentids": ["all"], "state": ["Off", "Ready"]}), vec![a, c]),
        ("/ByNID/Query", json!({"NIDRanges": ["2-29", "30"]}), vec![b, c]),
        ("/ByNID/Query", json!({"NIDRanges": ["1-30"], "partition": "p1"}), vec![a]),
    ] {
        let all = head.json("POST", &format!("{COMPONENTS}{path}"), body.clone()).await.ok();
        let ids: Vec<&str> =
            all["Components"].as_array().unwrap().iter().map(|one| one["ID"].as_str().unwrap()).collect();
        assert_eq!(ids, wanted, "{body}");
    }
    check(
        &head,
        &[
            ("POST", "/State/Components/Query", json!({}), 400, "Missing ComponentIDs"),
            ("POST", "/State/Components/ByNID/Query", json!({}), 400, "Missing NIDRanges"),
            (
                "POST",
                "/State/Components/ByNID/Query",
                json!({"NIDRanges": ["1-x"]}),
                400,
                "invalid NIDRanges: 1-x",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn patches_obey_the_transitions_of_states_one_by_one_and_in_bulk() {
    let head = smd();
    post(&head, json!([component("x0c0s0b0n0", 1), component("x0c0s0b0n1", 2)])).await;
    let one = |field: &str| format!("{COMPONENTS}/x0c0s0b0n0/{field}");
    let bulk = |field: &str| format!("{COMPONENTS}/Bulk{field}");
    let both = json!(["x0c0s0b0n0", "x0c0s0b0n1", "x0c0s0b0n9"]);
    check(
        &head,
        &[
            ("PATCH", &one("StateData"), json!({"State": "ready", "Flag": "warning"}), 204, ""),
            ("GET", "/State/Components/x0c0s0b0n0", Value::Null, 200, r#""State":"Ready","Flag":"Warning""#),
            ("PATCH", &one("StateData"), json!({"State": "On"}), 400, "Force"),
            ("PATCH", &one("StateData"), json!({"State": "Empty"}), 400, "Force"),
            ("PATCH", &one("StateData"), json!({"State": "Empty", "Force": true}), 204, ""),
            ("GET", "/State/Components/x0c0s0b0n0", Value::Null, 200, r#""State":"Empty","Flag":"OK""#),
            ("PATCH", &one("StateData"), json!({"State": "Sleepy"}), 400, "invalid State: Sleepy"),
            ("PATCH", &one("StateData"), json!({}), 400, "Missing State"),
            ("PATCH", &one("FlagOnly"), json!({"Flag": "locked"}), 204, ""),
            ("PATCH", &one("Enabled"), json!({"Enabled": false}), 204, ""),
            ("PATCH", &one("SoftwareStatus"), json!({"SoftwareStatus": "AdminStatus"}), 204, ""),
            ("PATCH", &one("Role"), json!({"Role": "application", "SubRole": "worker"}), 204, ""),
            ("PATCH", &one("NID"), json!({"NID": 77}), 204, ""),
            ("PATCH", &one("Nothing"), json!({}), 404, "nothing to patch"),
            ("PATCH", "/State/Components/x0c0s0b0n9/NID", json!({"NID": 5}), 404, "no such xname."),
            ("PATCH", "/State/Components/x0c0s0b0n0", json!({}), 405, "PATCH"),
        ],
    )
    .await;
    let wanted = json!({"ID": "x0c0s0b0n0", "Type": "Node", "State": "Empty", "Flag": "Locked", "Enabled": false,
        "SoftwareStatus": "AdminStatus", "Role": "Application", "SubRole": "Worker", "NID": 77});
    assert_eq!(head.get("/State/Components/x0c0s0b0n0").await.ok(), wanted);
    check(
        &head,
        &[
            ("PATCH", &bulk("StateData"), json!({"ComponentIDs": both, "State": "Off"}), 204, ""),
            ("GET", "/State/Components/x0c0s0b0n0", Value::Null, 200, r#""State":"Empty""#),
            ("GET", "/State/Components/x0c0s0b0n1", Value::Null, 200, r#""State":"Off""#),
            ("PATCH", &bulk("FlagOnly"), json!({"ComponentIDs": both, "Flag": "Alert"}), 204, ""),
            ("PATCH", &bulk("Enabled"), json!({"ComponentIDs": both, "Enabled": true}), 204, ""),
            ("PATCH", &bulk("SoftwareStatus"), json!({"ComponentIDs": both, "SoftwareStatus": "x"}), 204, ""),
            ("PATCH", &bulk("Role"), json!({"ComponentIDs": both, "Role": "Service"}), 204, ""),
            ("PATCH", &bulk("Enabled"), json!({"ComponentIDs": ["x0c0s0b0n9"], "Enabled": true}), 404, "no such xname."),
            ("PATCH", &bulk("Enabled"), json!({"Enabled": true}), 400, "Missing ComponentIDs"),
            ("PATCH", &bulk("Enabled"), json!({"ComponentIDs": ["bad"], "Enabled": true}), 400, "invalid xname"),
            // Numbers may be swapped.
            ("PATCH", &bulk("NID"), json!({"Components": [{"ID": "x0c0s0b0n0", "Type": "", "NID": 2}, {"ID": "x0c0s0b0n1", "NID": 77}]}), 204, ""),
            ("GET", "/State/Components/ByNID/2", Value::Null, 200, "x0c0s0b0n0"),
            ("GET", "/State/Components/ByNID/77", Value::Null, 200, "x0c0s0b0n1"),
            ("PATCH", &bulk("NID"), json!({"Components": []}), 400, "Missing Components"),
        ],
    )
    .await;
}

#[tokio::test]
async fn names_that_were_made_up_follow_the_numbers() {
    let head = smd();
    post(&head, json!([component("x0c0s0b0n0", 1), component("x0c0s0b0n1", 2)])).await;
    let swap = json!({"Components": [{"ID": "x0c0s0b0n0", "NID": 2}, {"ID": "x0c0s0b0n1", "NID": 1}]});
    head.json("PATCH", &format!("{COMPONENTS}/BulkNID"), swap).await.is(204);
    let snapshot = head.context.snapshot.load();
    for (name, xname) in [("nid001", "x0c0s0b0n1"), ("nid002", "x0c0s0b0n0")] {
        assert_eq!(snapshot.by_name(name).unwrap().effective_xname().as_str(), xname);
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of requests and answers")]
async fn interfaces_are_what_dhcp_answers_in_the_next_moment() {
    let head = smd();
    post(&head, json!([component("x0c0s0b0n0", 1)])).await;
    let id = "00005e00530a";
    let port = json!({"ID": "", "ComponentID": "X0c0s0b0n0", "Type": "", "Description": "boot",
        "MACAddress": "00-00-5E-00-53-0A", "IPAddresses": [{"IPAddress": "192.0.2.10", "Network": "NMN"}]});
    let answer = head.json("POST", PORTS, port.clone()).await;
    assert_eq!(answer.headers["location"], format!("/hsm/v2{PORTS}/{id}"));
    assert_eq!(answer.is(201), format!(r#"{{"URI":"/hsm/v2{PORTS}/{id}"}}"#));

    let snapshot = head.context.snapshot.load();
    let found = snapshot.by_mac(mac(10).parse().unwrap());
    let Some(Machine::Node { node, interface }) = found else { panic!("{found:?}") };
    assert_eq!((node.nid.unwrap().0, interface.addresses[0].to_string()), (1, "192.0.2.10".to_owned()));

    let mut shown = head.get(&format!("{PORTS}/{}", "00:00:5E:00:53:0A")).await.ok();
    let updated = shown["LastUpdate"].take();
    assert!(updated.as_str().unwrap().ends_with('Z') && !updated.as_str().unwrap().starts_with("0001"));
    let wanted = json!({"ID": id, "Description": "boot", "MACAddress": mac(10), "LastUpdate": null,
        "ComponentID": "x0c0s0b0n0", "Type": "Node",
        "IPAddresses": [{"IPAddress": "192.0.2.10", "Network": "NMN"}]});
    assert_eq!(shown, wanted);
    let one = format!("{PORTS}/{id}");
    let ips = format!("{one}/IPAddresses");
    check(
        &head,
        &[
            ("POST", PORTS, port, 201, "URI"), // the same once more is no error
            (
                "POST",
                PORTS,
                json!({"MACAddress": mac(10), "ComponentID": "x0c0s7b0n0"}),
                409,
                "same MAC address",
            ),
            ("POST", PORTS, json!({"MACAddress": "0:1"}), 400, "invalid MACAddress"),
            ("POST", PORTS, json!({"MACAddress": mac(11), "ComponentID": "foo"}), 400, "invalid xname"),
            (
                "POST",
                PORTS,
                json!({"MACAddress": mac(11), "IPAddresses": [{"IPAddress": ""}]}),
                400,
                "invalid IPAddress",
            ),
            ("PATCH", &one, json!({}), 400, "must have"),
            ("PATCH", &one, json!({"Description": "other"}), 200, r#""Description":"other""#),
            (
                "PATCH",
                &format!("{PORTS}/00005e0053ff"),
                json!({"Description": ""}),
                404,
                "no such component ethernet interface.",
            ),
            ("GET", &ips, Value::Null, 200, r#"[{"IPAddress":"192.0.2.10","Network":"NMN"}]"#),
            ("POST", &ips, json!({"IPAddress": "2001:db8::1", "Network": "HSN"}), 201, r#"{"URI":"#),
            ("POST", &ips, json!({"IPAddress": "192.0.2.10"}), 409, "existing IP address"),
            ("POST", &ips, json!({"IPAddress": "x"}), 400, "invalid IPAddress"),
            ("PATCH", &format!("{ips}/2001:db8::1"), json!({"Network": "CAN"}), 200, "updated"),
            ("PATCH", &format!("{ips}/2001:db8::1"), json!({}), 400, "must have Network"),
            ("PATCH", &format!("{ips}/192.0.2.99"), json!({"Network": "CAN"}), 404, "no such IP address"),
            ("GET", &ips, Value::Null, 200, r#"{"IPAddress":"2001:db8::1","Network":"CAN"}"#),
            ("DELETE", &format!("{ips}/2001:db8::1"), Value::Null, 200, "deleted 1 entry"),
            ("DELETE", &format!("{ips}/2001:db8::1"), Value::Null, 404, "no such IP address"),
        ],
    )
    .await;
    // An interface without a component, one whose component comes later, and filters.
    head.json("POST", PORTS, json!({"MACAddress": mac(20)})).await.is(201);
    let early = json!({"MACAddress": mac(21), "ComponentID": "x0c0s9b0n0", "IPAddresses": [{"IPAddress": "192.0.2.21"}]});
    head.json("POST", PORTS, early).await.is(201);
    assert!(head.context.snapshot.load().by_mac(mac(21).parse().unwrap()).is_none());
    post(&head, json!([component("x0c0s9b0n0", 9)])).await;
    assert!(head.context.snapshot.load().by_mac(mac(21).parse().unwrap()).is_some());
    for (query, wanted) in [
        ("", vec![10, 20, 21]),
        ("?MACAddress=00005E00530A", vec![10]),
        ("?MACAddress=!00:00:5e:00:53:0a", vec![20, 21]),
        ("?IPAddress=192.0.2.21&Type=Node", vec![21]),
        ("?ComponentID=X0c0s09b0n0", vec![21]),
        ("?Network=nmn", vec![10]),
        ("?NewerThan=2020-01-01T00:00:00Z", vec![10, 20, 21]),
        ("?OlderThan=2020-01-01T00:00:00Z", vec![]),
        ("?id=00:00:5e:00:53:14", vec![20]),
    ] {
        let all = head.get(&format!("{PORTS}{query}")).await.ok();
        let macs: Vec<&str> =
            all.as_array().unwrap().iter().map(|one| one["MACAddress"].as_str().unwrap()).collect();
        assert_eq!(macs, wanted.into_iter().map(mac).collect::<Vec<_>>(), "{query}");
    }
    check(
        &head,
        &[
            ("GET", &format!("{PORTS}?OlderThan=monday"), Value::Null, 400, "olderthan"),
            ("GET", &format!("{PORTS}?type=x"), Value::Null, 400, "invalid type filter"),
            ("DELETE", &one, Value::Null, 200, "deleted 1 entry"),
            ("DELETE", &one, Value::Null, 404, "no such component ethernet interface."),
            ("DELETE", PORTS, Value::Null, 200, "deleted 2 entries"),
            ("DELETE", PORTS, Value::Null, 404, "no entries to delete"),
        ],
    )
    .await;
    assert!(head.context.snapshot.load().by_mac(mac(10).parse().unwrap()).is_none());
}

#[tokio::test]
async fn what_hung_on_a_component_waits_for_its_return() {
    let head = smd();
    post(&head, json!([component("x0c0s0b0n0", 1)])).await;
    let port = json!({"MACAddress": mac(1), "ComponentID": "x0c0s0b0n0", "IPAddresses": [{"IPAddress": "192.0.2.1"}]});
    head.json("POST", PORTS, port).await.is(201);
    let group = json!({"label": "g", "members": {"ids": ["x0c0s0b0n0", "x0c0s5b0n0"]}});
    head.json("POST", "/groups", group).await.is(201);
    for _ in 0..2 {
        head.send("DELETE", COMPONENTS, "").await.is(200);
        assert!(head.context.snapshot.load().by_mac(mac(1).parse().unwrap()).is_none());
        assert_eq!(head.get(PORTS).await.ok()[0]["ComponentID"], "x0c0s0b0n0");
        let members = head.get("/groups/g/members").await.ok();
        assert_eq!(members, json!({"ids": ["x0c0s0b0n0", "x0c0s5b0n0"]}));
        post(&head, json!([component("x0c0s0b0n0", 1)])).await;
        let snapshot = head.context.snapshot.load();
        let node = snapshot.by_xname(&"x0c0s0b0n0".parse().unwrap()).unwrap();
        assert_eq!(node.interfaces[0].addresses[0].to_string(), "192.0.2.1");
        assert!(node.groups.contains("g"));
        assert_eq!(head.get("/groups/g/members").await.ok(), members);
    }
}

#[tokio::test]
async fn groups_have_members_that_need_not_exist() {
    let head = smd();
    post(&head, json!([component("x0c0s0b0n0", 1), component("x0c0s0b0n1", 2)])).await;
    let blue = json!({"label": "Blue", "description": "d", "tags": ["T1"], "exclusiveGroup": "Colours",
        "members": {"ids": ["x0c0s0b0n0", "x0c0s7b0n0"]}});
    let answer = head.json("POST", "/groups", blue.clone()).await;
    assert_eq!(answer.headers["location"], "/hsm/v2/groups/blue");
    assert_eq!(answer.is(201), r#"[{"URI":"/hsm/v2/groups/blue"}]"#);
    let shown = json!({"label": "blue", "description": "d", "tags": ["t1"], "exclusiveGroup": "colours",
        "members": {"ids": ["x0c0s0b0n0", "x0c0s7b0n0"]}});
    assert_eq!(head.get("/groups/blue").await.ok(), shown);
    assert_eq!(head.get("/groups").await.ok(), json!([shown]));
    let red = |ids: Value| json!({"label": "red", "exclusiveGroup": "colours", "members": {"ids": ids}});
    check(
        &head,
        &[
            ("POST", "/groups", blue, 409, "same label"),
            ("POST", "/groups", json!({"label": "a b"}), 400, "invalid group label"),
            ("POST", "/groups", json!({"label": "ok", "tags": ["?"]}), 400, "invalid tag"),
            ("POST", "/groups", json!({"label": "ok", "members": {"ids": ["foo", "x0c0s0b0n0"]}}), 400, r#"invalid xname IDs: [\"foo\"]"#),
            ("POST", "/groups", red(json!(["x0c0s0b0n1", "x0c0s7b0n0"])), 409, "x0c0s7b0n0 is already in the group blue"),
            ("GET", "/groups/red", Value::Null, 404, "No such group: red"),
            ("POST", "/groups", red(json!(["x0c0s0b0n1"])), 201, "red"),
            ("GET", "/groups/labels", Value::Null, 200, r#"["blue","red"]"#),
            ("GET", "/groups?group=RED", Value::Null, 200, r#""label":"red""#),
            ("GET", "/groups?tag=none", Value::Null, 200, "[]"),
            ("PATCH", "/groups/red", json!({"label": "x"}), 400, "must have description or tags"),
            ("PATCH", "/groups/red", json!({"description": "warm", "tags": ["x"], "own": 1}), 204, ""),
            ("PATCH", "/groups/nope", json!({"description": ""}), 404, "No such group: nope"),
            ("GET", "/groups/red", Value::Null, 200, r#""description":"warm""#),
            ("POST", "/groups/red/members", json!({"id": "x0c0s0b0n0"}), 409, "excludes red"),
            ("POST", "/groups/red/members", json!({"id": "x0c0s0b0n1"}), 409, "existing member"),
            ("POST", "/groups/red/members", json!({"id": "x0c0s8b0"}), 201, r#"[{"URI":"/hsm/v2/groups/red/members/x0c0s8b0"}]"#),
            ("POST", "/groups/nope/members", json!({"id": "x0c0s8b0"}), 404, "No such group: nope"),
            ("DELETE", "/groups/red/members/x0c0s0b0n1", Value::Null, 200, "deleted 1 entry"),
            ("DELETE", "/groups/red/members/x0c0s0b0n1", Value::Null, 404, "no member"),
            ("PUT", "/groups/red/members", json!({"label": "red", "ids": ["x0c0s9b0n0", "x0c0s0b0n1"]}), 201, "members/x0c0s9b0n0"),
            ("GET", "/groups/red/members", Value::Null, 200, r#"{"ids":["x0c0s0b0n1","x0c0s9b0n0"]}"#),
            ("PUT", "/groups/red/members", json!({"group": "red", "ids": ["bad"]}), 400, r#"invalid xname IDs: [\"bad\"]"#),
            ("PUT", "/groups/red/members", json!({"ids": ["x0c0s0b0n0"]}), 409, "excludes red"),
            ("GET", "/groups/red/members", Value::Null, 200, r#"{"ids":["x0c0s0b0n1","x0c0s9b0n0"]}"#),
            ("GET", "/memberships", Value::Null, 200, r#"[{"groupLabels":["blue"],"id":"x0c0s0b0n0","partitionName":""},{"groupLabels":["red"],"id":"x0c0s0b0n1","partitionName":""}]"#),
            ("GET", "/memberships?group=red", Value::Null, 200, "x0c0s0b0n1"),
            ("GET", "/memberships/x0c0s7b0n0", Value::Null, 404, "No such xname"),
            ("DELETE", "/groups/red", Value::Null, 200, "deleted 1 entry"),
            ("DELETE", "/groups/red", Value::Null, 404, "No such group: red"),
            ("GET", "/memberships/x0c0s0b0n1", Value::Null, 200, r#""groupLabels":[]"#),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_component_is_in_one_partition_at_most() {
    let head = smd();
    post(&head, json!([component("x0c0s0b0n0", 1)])).await;
    check(
        &head,
        &[
            ("POST", "/partitions", json!({"name": "x1"}), 400, "invalid partition name"),
            (
                "POST",
                "/partitions",
                json!({"name": "P01.2", "description": "d", "members": {"ids": ["x0c0s0b0n0"]}}),
                201,
                r#"[{"URI":"/hsm/v2/partitions/p1.2"}]"#,
            ),
            ("POST", "/partitions", json!({"name": "p1.2"}), 409, "same name"),
            (
                "POST",
                "/partitions",
                json!({"name": "p2", "members": {"ids": ["x0c0s0b0n0"]}}),
                409,
                "partition p1.2",
            ),
            ("POST", "/partitions", json!({"name": "p2", "tags": ["A"]}), 201, "p2"),
            ("GET", "/partitions/names", Value::Null, 200, r#"["p1.2","p2"]"#),
            (
                "GET",
                "/partitions/p2",
                Value::Null,
                200,
                r#"{"name":"p2","description":"","tags":["a"],"members":{"ids":[]}}"#,
            ),
            ("PATCH", "/partitions/p2", json!({}), 400, "must have description or tags"),
            ("PATCH", "/partitions/p2", json!({"description": "two"}), 204, ""),
            ("POST", "/partitions/p2/members", json!({"id": "x0c0s0b0n0"}), 409, "partition p1.2"),
            (
                "POST",
                "/partitions/p2/members",
                json!({"id": "x0c0s0b0n1"}),
                201,
                "/hsm/v2/partitions/p2/members/x0c0s0b0n1",
            ),
            ("POST", "/partitions/p2/members", json!({"id": "x0c0s0b0n1"}), 409, "existing member"),
            ("GET", "/partitions/p2/members", Value::Null, 200, r#"{"ids":["x0c0s0b0n1"]}"#),
            ("DELETE", "/partitions/p2/members/x0c0s0b0n1", Value::Null, 200, "deleted 1 entry"),
            ("DELETE", "/partitions/p2/members/x0c0s0b0n1", Value::Null, 404, "no member"),
            ("GET", "/memberships/x0c0s0b0n0", Value::Null, 200, r#""partitionName":"p1.2""#),
            ("GET", "/groups?partition=p1.2", Value::Null, 200, "[]"),
            ("DELETE", "/partitions/p1.2", Value::Null, 200, "deleted 1 entry"),
            ("DELETE", "/partitions/p1.2", Value::Null, 404, "No such partition"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_node_declared_natively_has_an_xname_that_every_route_takes() {
    let head = Head::start(SITE);
    let node = json!({"name": "login", "interfaces": [{"mac": mac(5), "addresses": ["192.0.2.5"]}]});
    head.json("PUT", "/api/v1/nodes/login", node).await.ok();
    let at = |path: &str| format!("/hsm/v2{path}");
    let all = head.get(&at(COMPONENTS)).await.ok();
    let xname = all["Components"][0]["ID"].as_str().unwrap().to_owned();
    assert!(xname.parse::<Xname>().unwrap().synthetic_number().is_some(), "{xname}");
    let ports = head.get(&at(&format!("{PORTS}?ComponentID={xname}"))).await.ok();
    assert_eq!(ports[0]["MACAddress"], mac(5));
    let nid = json!({"Components": [{"ID": xname, "NID": 12}]});
    let rows = [
        ("GET", format!("{COMPONENTS}/{xname}"), Value::Null, 200, "Populated"),
        ("GET", format!("{COMPONENTS}/Query/{xname}"), Value::Null, 200, xname.as_str()),
        ("POST", COMPONENTS.to_owned(), json!({"Components": [component(&xname, 3)]}), 204, ""),
        ("PATCH", format!("{COMPONENTS}/{xname}/Role"), json!({"Role": "Service"}), 204, ""),
        ("PATCH", format!("{COMPONENTS}/BulkNID"), nid, 204, ""),
        ("GET", format!("{COMPONENTS}/ByNID/12"), Value::Null, 200, xname.as_str()),
        ("POST", "/groups".to_owned(), json!({"label": "g", "members": {"ids": [xname]}}), 201, "g"),
        ("GET", format!("/memberships/{xname}"), Value::Null, 200, r#""groupLabels":["g"]"#),
        ("POST", PORTS.to_owned(), json!({"MACAddress": mac(6), "ComponentID": xname}), 201, "URI"),
        ("DELETE", format!("/groups/g/members/{xname}"), Value::Null, 200, "deleted 1 entry"),
    ];
    for (method, path, body, status, text) in &rows {
        check(&head, &[(method, &at(path), body.clone(), *status, text)]).await;
    }
    let native = head.get("/api/v1/nodes/login").await.ok();
    assert_eq!((&native["nid"], &native["role"]), (&json!(12), &json!("Service")));
    assert_eq!(native["interfaces"].as_array().unwrap().len(), 2);
    head.send("DELETE", &at(&format!("{COMPONENTS}/{xname}")), "").await.is(200);
    head.get("/api/v1/nodes/login").await.refused(404);
}

/// A component's number, its state and the filter's answer, drawn at random.
fn spelled(parts: [u32; 5], zeros: [usize; 5], upper: bool) -> String {
    let mut text = String::new();
    for ((letter, number), zeros) in "xcsbn".chars().zip(parts).zip(zeros) {
        write!(text, "{letter}{}{number}", "0".repeat(zeros)).unwrap();
    }
    if upper { text.to_uppercase() } else { text }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However an xname is spelled, it is the same; and the canonical form is a fixed point.
    #[test]
    fn spellings_of_an_xname_are_one_name(
        (x, c, s, b, n) in (0..10_000_u32, 0..8_u32, 0..64_u32, 0..4_u32, 0..8_u32),
        zeros in proptest::array::uniform5(0..3_usize),
        upper: bool,
    ) {
        let parts = [x, c, s, b, n];
        let canonical = spelled(parts, [0; 5], false);
        let parsed: Xname = spelled(parts, zeros, upper).parse().unwrap();
        prop_assert_eq!(parsed.as_str(), &canonical);
        prop_assert_eq!(parsed.kind(), Some("Node"));
        prop_assert_eq!(parsed.to_string().parse::<Xname>().unwrap(), parsed);
    }

    /// No text makes the parser panic, and what it accepts it accepts again, unchanged.
    #[test]
    fn any_text_is_an_xname_or_is_refused(text in "\\PC{0,24}") {
        if let Ok(xname) = text.parse::<Xname>() {
            prop_assert_eq!(xname.as_str().parse::<Xname>().unwrap(), xname);
        }
        let _ = text.parse::<Mac>();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What a filter finds and what its negation finds are all components, each once.
    #[test]
    fn a_filter_and_its_negation_part_the_components(
        states in proptest::collection::vec(0..8_usize, 1..8),
        wanted in 0..8_usize,
    ) {
        const STATES: [&str; 8] = ["Unknown", "Empty", "Populated", "Off", "On", "Standby", "Halt", "Ready"];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let head = smd();
            let all = states.iter().enumerate();
            let all = all.map(|(slot, state)| json!({"ID": format!("x1c0s{slot}b0n0"), "State": STATES[*state]}));
            post(&head, all.collect()).await;
            let word = STATES[wanted].to_lowercase();
            let mut with = found(&head, &format!("?state={word}")).await;
            let without = found(&head, &format!("?STATE=!{word}")).await;
            assert_eq!(with.len(), states.iter().filter(|state| **state == wanted).count());
            with.extend(without);
            with.sort();
            assert_eq!(with, found(&head, "").await);
        });
    }
}
