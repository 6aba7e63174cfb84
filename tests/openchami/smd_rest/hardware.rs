//! Hardware inventory: places, parts, and their past.

use serde_json::{Value, json};

use crate::smd_rest::{A, head_with};

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
