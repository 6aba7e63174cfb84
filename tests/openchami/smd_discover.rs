//! SMD: Redfish endpoints, and discovery as every generation of `ochami` and as magellan do it.

use serde_json::{Value, json};

use crate::head::{Answer, Head, SITE, mac};
use crate::smd_core::{COMPONENTS, PORTS, Row, check, component, smd};
use muster::model::snapshot::Machine;

const ENDPOINTS: &str = "/Inventory/RedfishEndpoints";
const CHILDREN: &str = "/Inventory/ComponentEndpoints";

/// One node of an inventory file, as `ochami discover static` reads it.
#[derive(Clone, Copy)]
struct Entry {
    xname: &'static str,
    bmc: &'static str,
    nid: u32,
    bmc_mac: u32,
}

impl Entry {
    fn mac(&self) -> String {
        mac(self.nid).to_uppercase()
    }

    fn ip(&self) -> String {
        format!("192.0.2.{}", self.nid)
    }

    fn name(&self) -> String {
        format!("de{:02}", self.nid)
    }

    fn component(&self) -> Value {
        json!({"ID": self.xname, "Type": "Node", "State": "On", "Enabled": true, "NID": self.nid})
    }

    fn system(&self, generation: Generation) -> Value {
        let mut system = json!({
            "uri": format!("http://127.0.0.1:28931/redfish/v1/Systems/{}", self.xname),
            "uuid": format!("00000000-0000-4000-8000-{:012}", self.nid), "name": self.name(),
            "ethernet_interfaces": [{"mac": self.mac(), "ip": self.ip(), "name": self.xname,
                "description": format!("Interface 0 for {}", self.name())}],
        });
        if generation == Generation::V6 {
            system["actions"] = json!(["On", "ForceOff", "GracefulShutdown"]);
        }
        system
    }

    fn port(&self) -> Value {
        json!({"ID": "", "ComponentID": self.xname, "Type": "Node", "MACAddress": self.mac(),
            "Description": format!("Interface 0 for {}", self.name()),
            "IPAddresses": [{"IPAddress": self.ip(), "Network": "management"},
                {"IPAddress": format!("10.0.0.{}", self.nid), "Network": "hsn"}]})
    }
}

/// Generations of the client: the first sends an endpoint for each node, and interfaces by themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Generation {
    V0,
    V6,
    V6Version1,
}

fn endpoint(bmc: &str, mac_number: u32, systems: Vec<Value>) -> Value {
    let uuid = "11111111-0000-4000-8000-000000000000";
    json!({
        "ID": bmc, "Type": "NodeBMC", "Name": "bmc", "UUID": uuid, "MACAddr": mac(mac_number),
        "IPAddress": "172.16.0.101", "DiscoveryInfo": {"LastAttempt": "0001-01-01T00:00:00Z"},
        "SchemaVersion": 1, "Systems": systems,
        "Managers": [{"uri": format!("http://127.0.0.1:28931/redfish/v1/Managers/{bmc}"), "uuid": uuid,
            "name": bmc, "description": "", "type": "NodeBMC", "actions": null,
            "ethernet_interfaces": [{"name": bmc, "description": format!("Interface for BMC {bmc}"),
                "mac": mac(mac_number), "ip": "172.16.0.101"}]}],
    })
}

/// The endpoints that a generation posts for these entries.
fn endpoints(entries: &[Entry], generation: Generation) -> Vec<Value> {
    let mut bodies: Vec<(&str, u32, Vec<Value>)> = Vec::new();
    for entry in entries {
        let system = entry.system(generation);
        match bodies.iter_mut().find(|(bmc, ..)| *bmc == entry.bmc) {
            Some((_, _, systems)) if generation != Generation::V0 => systems.push(system),
            _ => bodies.push((entry.bmc, entry.bmc_mac, vec![system])),
        }
    }
    bodies.into_iter().map(|(bmc, number, systems)| endpoint(bmc, number, systems)).collect()
}

/// Posts, and where that conflicts and the client overwrites, does as it does. Tells the statuses.
async fn post(head: &Head, path: &str, body: Value, overwrite: Option<(&str, String)>) -> Vec<u16> {
    let status = |answer: Answer| {
        assert!(answer.status.is_success() || answer.status == 409, "{path}: {}", answer.text());
        answer.status.as_u16()
    };
    let mut statuses = vec![status(head.json("POST", path, body.clone()).await)];
    if let Some((method, path)) = overwrite.filter(|_| statuses == [409]) {
        statuses.push(status(head.json(method, &path, body).await));
    }
    statuses
}

/// `ochami discover static`, request by request. Tells the statuses of endpoints, interfaces, groups.
async fn discover(head: &Head, entries: &[Entry], generation: Generation, overwrite: bool) -> [Vec<u16>; 3] {
    let again = |method: &'static str, path: String| overwrite.then_some((method, path));
    if overwrite {
        for entry in entries {
            let body = json!({"Component": entry.component(), "Force": true});
            head.json("PUT", &format!("{COMPONENTS}/{}", entry.xname), body).await.is(204);
        }
        let all = entries.iter().map(|entry| json!({"ID": entry.xname, "Type": "", "NID": entry.nid}));
        let body = json!({"Components": all.collect::<Vec<_>>()});
        head.json("PATCH", &format!("{COMPONENTS}/BulkNID"), body).await.is(204);
    } else {
        let all: Vec<Value> = entries.iter().map(Entry::component).collect();
        head.json("POST", COMPONENTS, json!({"Components": all})).await.is(204);
    }
    let mut statuses = [vec![], vec![], vec![]];
    for body in endpoints(entries, generation) {
        let path = format!("{ENDPOINTS}/{}", body["ID"].as_str().unwrap());
        statuses[0].extend(post(head, ENDPOINTS, body, again("PUT", path)).await);
    }
    for entry in entries.iter().filter(|_| generation != Generation::V6) {
        let id = entry.mac().to_lowercase().replace(':', "");
        let path = format!("{PORTS}/{id}");
        statuses[1].extend(post(head, PORTS, entry.port(), again("PATCH", path)).await);
    }
    let ids: Vec<&str> = entries.iter().map(|entry| entry.xname).collect();
    let group = json!({"label": "compute", "description": "The compute group", "members": {"ids": ids}});
    statuses[2].extend(post(head, "/groups", group, again("PATCH", "/groups/compute".to_owned())).await);
    statuses
}

/// All that SMD shows, without the times.
async fn shown(head: &Head) -> Value {
    let mut ports = head.get(PORTS).await.ok();
    for port in ports.as_array_mut().unwrap() {
        port["LastUpdate"].take();
    }
    json!({
        "components": head.get(COMPONENTS).await.ok(), "ports": ports,
        "endpoints": head.get(ENDPOINTS).await.ok(), "children": head.get(CHILDREN).await.ok(),
        "groups": head.get("/groups").await.ok(),
    })
}

/// The node and its BMC are what DHCP, boot and power know.
fn check_known(head: &Head, entry: &Entry, node: &str) {
    check_known_as(head, entry, node, &entry.name());
}

fn check_known_as(head: &Head, entry: &Entry, node: &str, name: &str) {
    let snapshot = head.context.snapshot.load();
    let Some(Machine::Node { node: found, interface }) = snapshot.by_mac(mac(entry.nid).parse().unwrap())
    else {
        panic!("{} is unknown", entry.mac());
    };
    assert_eq!(found.effective_xname().as_str(), node);
    assert_eq!((found.name.as_str(), found.nid.unwrap().0), (name, entry.nid));
    assert_eq!(interface.addresses[0].to_string(), entry.ip());
    assert!(found.groups.contains("compute"), "{node}");
    let bmc = snapshot.inventory.bmcs.get(found.bmc.as_ref().unwrap()).unwrap();
    assert_eq!(bmc.xname.as_ref().unwrap().as_str(), entry.bmc, "{node}");
}

const ONE: Entry = Entry { xname: "x1000c1s7b1n0", bmc: "x1000c1s7b1", nid: 1, bmc_mac: 101 };
const SECOND: Entry = Entry { xname: "x1000c1s7b2n0", bmc: "x1000c1s7b2", nid: 2, bmc_mac: 102 };
const SHARED: Entry = Entry { xname: "x1000c1s7b1n1", bmc: "x1000c1s7b1", nid: 3, bmc_mac: 101 };
const SAME_MAC: Entry = Entry { xname: "x1000c1s8b0n0", bmc: "x1000c1s8b0", nid: 4, bmc_mac: 101 };
const LONELY: Entry = Entry { xname: "x1000c1s9b0n1", bmc: "x1000c1s9b0", nid: 5, bmc_mac: 105 };
const ALL: [Generation; 3] = [Generation::V0, Generation::V6, Generation::V6Version1];

#[tokio::test]
async fn static_discovery_of_every_generation_works_twice_and_overwrites() {
    let entries = [ONE, SECOND, SHARED, SAME_MAC, LONELY];
    for generation in ALL {
        let head = smd();
        let [first, ports, groups] = discover(&head, &entries, generation, false).await;
        // The first generation posts a shared BMC once for each of its nodes.
        let posted = if generation == Generation::V0 { vec![201, 201, 409, 201, 201] } else { vec![201; 4] };
        assert_eq!((first, groups), (posted.clone(), vec![201]), "{generation:?}");
        assert_eq!(ports, vec![201; if generation == Generation::V6 { 0 } else { 5 }], "{generation:?}");
        for entry in entries {
            // The endpoint that told this node's name was refused.
            let untold = generation == Generation::V0 && entry.nid == SHARED.nid;
            let name = if untold { "nid003".to_owned() } else { entry.name() };
            check_known_as(&head, &entry, entry.xname, &name);
        }
        let before = shown(&head).await;
        assert_eq!(before["ports"].as_array().unwrap().len(), 5 + 3, "{generation:?}: {}", before["ports"]);

        let [again, ports, groups] = discover(&head, &entries, generation, false).await;
        assert_eq!((again, groups), (vec![409; posted.len()], vec![409]), "{generation:?}");
        assert!(ports.iter().all(|status| *status == 201), "{generation:?}: {ports:?}");
        assert_eq!(shown(&head).await, before, "{generation:?}");

        let mut wanted = before;
        for _ in 0..2 {
            let [over, ports, groups] = discover(&head, &entries, generation, true).await;
            assert_eq!(over, [409, 200].repeat(posted.len()), "{generation:?}");
            assert_eq!(groups, [409, 204], "{generation:?}");
            assert!(
                ports.iter().all(|status| matches!(status, 201 | 409 | 200)),
                "{generation:?}: {ports:?}"
            );
            entries.iter().for_each(|entry| check_known(&head, entry, entry.xname));
            let after = shown(&head).await;
            if generation == Generation::V0 {
                // A shared BMC is now known with both of its nodes, and the second is discovered.
                for part in ["children", "components"] {
                    wanted[part] = after[part].clone();
                }
            }
            for part in ["components", "ports", "endpoints", "children", "groups"] {
                assert_eq!(after[part], wanted[part], "{generation:?}: {part}");
            }
            assert_eq!(after["children"]["ComponentEndpoints"].as_array().unwrap().len(), 5 + 4);
        }
    }
}

#[tokio::test]
async fn overwriting_an_empty_site_is_a_first_discovery() {
    for generation in ALL {
        let head = smd();
        let [first, _, groups] = discover(&head, &[ONE, SECOND], generation, true).await;
        assert_eq!((first, groups), (vec![201, 201], vec![201]), "{generation:?}");
        check_known(&head, &ONE, ONE.xname);
        check_known(&head, &SECOND, SECOND.xname);
    }
}

#[tokio::test]
async fn an_inventory_that_calls_nodes_by_their_bmc_means_the_nodes() {
    for generation in ALL {
        for overwrite in [false, true] {
            let head = smd();
            let entry = Entry { xname: "x1000c0s0b1", bmc: "x1000c0s0b1", nid: 1, bmc_mac: 101 };
            discover(&head, &[entry], generation, overwrite).await;
            check_known(&head, &entry, "x1000c0s0b1n0");
            discover(&head, &[entry], generation, true).await;
            check_known(&head, &entry, "x1000c0s0b1n0");
            assert_eq!(head.get("/groups/compute/members").await.ok(), json!({"ids": ["x1000c0s0b1n0"]}));
            assert_eq!(head.get(&format!("{COMPONENTS}/x1000c0s0b1")).await.ok()["Type"], "NodeBMC");
        }
    }
}

#[tokio::test]
async fn discovery_shows_what_was_posted_in_the_shape_of_smd() {
    let head = smd();
    discover(&head, &[ONE], Generation::V6, false).await;
    let node = head.get(&format!("{COMPONENTS}/{}", ONE.xname)).await.ok();
    let wanted =
        json!({"ID": ONE.xname, "Type": "Node", "State": "On", "Enabled": true, "Role": "Compute", "NID": 1});
    assert_eq!(node, wanted);
    assert_eq!(
        head.get(&format!("{COMPONENTS}/{}", ONE.bmc)).await.ok(),
        json!({"ID": ONE.bmc, "Type": "NodeBMC", "Enabled": true})
    );
    let wanted = json!({"ID": ONE.bmc, "Type": "NodeBMC", "Name": "bmc", "Hostname": ONE.bmc, "Domain": "",
        "FQDN": ONE.bmc, "Enabled": true, "UUID": "11111111-0000-4000-8000-000000000000", "User": "",
        "Password": "", "MACAddr": mac(101), "IPAddress": "172.16.0.101", "RediscoverOnUpdate": false,
        "DiscoveryInfo": {"LastDiscoveryStatus": "NotYetQueried"}});
    assert_eq!(head.get(&format!("{ENDPOINTS}/{}", ONE.bmc)).await.ok(), wanted);
    let path = format!("/redfish/v1/Systems/{}", ONE.xname);
    let wanted = json!({"ID": ONE.xname, "Type": "Node", "RedfishType": "ComputerSystem", "RedfishSubtype": "",
        "UUID": "00000000-0000-4000-8000-000000000001", "OdataID": path, "RedfishEndpointID": ONE.bmc,
        "Enabled": true, "RedfishEndpointFQDN": ONE.bmc, "RedfishURL": format!("127.0.0.1:28931{path}"),
        "ComponentEndpointType": "ComponentEndpointComputerSystem",
        "RedfishSystemInfo": {"Name": "de01",
            "Actions": {"#ComputerSystem.Reset": {
                "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "GracefulShutdown"],
                "target": format!("{path}/Actions/ComputerSystem.Reset")}},
            "EthernetNICInfo": [{"RedfishId": "", "@odata.id": "", "Description": "Interface 0 for de01",
                "InterfaceEnabled": true, "MACAddress": ONE.mac()}]}});
    assert_eq!(head.get(&format!("{CHILDREN}/{}", ONE.xname)).await.ok(), wanted);
    let mut port = head.get(&format!("{PORTS}/00005e005301")).await.ok();
    port["LastUpdate"].take();
    let wanted = json!({"ID": "00005e005301", "Description": "Interface 0 for de01", "MACAddress": mac(1),
        "LastUpdate": null, "ComponentID": ONE.xname, "Type": "Node", "IPAddresses": [{"IPAddress": "192.0.2.1"}]});
    assert_eq!(port, wanted);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table of requests and answers")]
async fn endpoints_are_checked_filtered_patched_and_deleted() {
    let head = smd();
    let plain = |id: &str| json!({"ID": id});
    let one = format!("{ENDPOINTS}/x0c0s0b0");
    let secret = json!({"ID": "X0C0S00B0", "name": "b", "Hostname": "bmc0", "Domain": "example.org", "User": "root",
        "Password": "s3cr3t", "MacRequired": true, "UUID": "u-1", "MACAddr": "00-00-5E-00-53-70"});
    let rows: Vec<Row<'_>> = vec![
        ("GET", ENDPOINTS, Value::Null, 200, r#"{"RedfishEndpoints":[]}"#),
        ("POST", ENDPOINTS, json!({}), 400, "No xname ID found"),
        ("POST", ENDPOINTS, plain("foo"), 400, "foo is not a valid locational xname ID"),
        (
            "POST",
            ENDPOINTS,
            plain("x0c0s0b0n0"),
            400,
            "xname ID x0c0s0b0n0 has wrong type for RF endpoint: Node",
        ),
        ("POST", ENDPOINTS, json!({"ID": "x0c0s0b0", "IPAddress": "300.1.1.1"}), 400, "invalid IPAddress"),
        ("POST", ENDPOINTS, json!({"ID": "x0c0s0b0", "MACAddr": "zz"}), 400, "invalid MACAddr"),
        ("POST", ENDPOINTS, json!({"ID": "x0c0s0b0", "Hostname": "a.b"}), 400, "Hostname a.b"),
        (
            "POST",
            ENDPOINTS,
            json!({"ID": "x0c0s0b0", "Hostname": "a", "Domain": "b", "FQDN": "a.c"}),
            400,
            "FQDN a.c",
        ),
        ("POST", ENDPOINTS, json!({"ID": 7}), 500, "error decoding JSON ID"),
        ("POST", ENDPOINTS, json!({"RedfishEndpoints": [plain("x0c0s1b0"), plain("foo")]}), 400, "foo"),
        (
            "POST",
            ENDPOINTS,
            json!({"RedfishEndpoints": [plain("x0c0s1b0"), plain("x0c0s1b0")]}),
            409,
            "x0c0s1b0",
        ),
        ("GET", ENDPOINTS, Value::Null, 200, r#"{"RedfishEndpoints":[]}"#),
        ("POST", ENDPOINTS, secret, 201, r#"[{"URI":"/hsm/v2/Inventory/RedfishEndpoints/x0c0s0b0"}]"#),
        (
            "POST",
            ENDPOINTS,
            plain("x0c0s0b0"),
            409,
            "operation would conflict with an existing RedfishEndpoint",
        ),
        ("POST", ENDPOINTS, json!({"ID": "x0c0s1b0", "FQDN": "BMC0.example.org"}), 409, "FQDN"),
        (
            "POST",
            ENDPOINTS,
            json!({"RedfishEndpoints": [plain("x0c0s1b0"), {"FQDN": "x0c0r1b0.example.org"}]}),
            201,
            "x0c0r1b0",
        ),
        ("POST", ENDPOINTS, json!({"ID": "x0c0s2b0", "FQDN": "192.0.2.77", "Enabled": false}), 201, "URI"),
        (
            "PATCH",
            &one,
            json!({"IPAddress": "192.0.2.70", "Enabled": false}),
            200,
            r#""IPAddress":"192.0.2.70""#,
        ),
        ("PATCH", &one, json!({"ID": "x0c0s1b0"}), 400, "not the same"),
        ("PATCH", "/Inventory/RedfishEndpoints/x9c0s0b0", json!({}), 404, "no such xname."),
        ("PUT", "/Inventory/RedfishEndpoints/x0c0s3b0", json!({"Name": "new"}), 200, r#""Name":"new""#),
        ("PUT", "/Inventory/RedfishEndpoints/x0c0s3b0n0", json!({}), 400, "wrong type"),
        ("GET", "/Inventory/RedfishEndpoints/x9c0s0b0", Value::Null, 404, "no such xname."),
        ("GET", "/Inventory/RedfishEndpoints?type=x", Value::Null, 400, "invalid type filter"),
    ];
    check(&head, &rows).await;
    let wanted = json!({"ID": "x0c0s0b0", "Type": "NodeBMC", "Name": "b", "Hostname": "bmc0",
        "Domain": "example.org", "FQDN": "bmc0.example.org", "Enabled": false, "UUID": "u-1", "User": "root",
        "Password": "", "MACRequired": true, "MACAddr": mac(0x70), "IPAddress": "192.0.2.70",
        "RediscoverOnUpdate": false, "DiscoveryInfo": {"LastDiscoveryStatus": "NotYetQueried"}});
    assert_eq!(head.get(&one).await.ok(), wanted);
    let snapshot = head.context.snapshot.load();
    assert!(!format!("{:?}", snapshot.inventory).contains("s3cr3t"), "a password is kept nowhere");
    let Some(Machine::Bmc(bmc)) = snapshot.by_mac(mac(0x70).parse().unwrap()) else { panic!("no BMC") };
    assert_eq!(
        (bmc.address.unwrap().to_string().as_str(), bmc.fqdn.as_deref()),
        ("192.0.2.70", Some("bmc0.example.org"))
    );
    for (query, wanted) in [
        ("", vec!["x0c0r1b0", "x0c0s0b0", "x0c0s1b0", "x0c0s2b0", "x0c0s3b0"]),
        ("?id=X0c0s0b00&id=x0c0s1b0", vec!["x0c0s0b0", "x0c0s1b0"]),
        ("?macaddr=00005E005370", vec!["x0c0s0b0"]),
        ("?ipaddress=192.0.2.70", vec!["x0c0s0b0"]),
        ("?fqdn=BMC0.example.org", vec!["x0c0s0b0"]),
        ("?type=!NodeBMC", vec!["x0c0r1b0"]),
        ("?uuid=u-1", vec!["x0c0s0b0"]),
        ("?laststatus=DiscoverOK", vec![]),
        ("/Query/x0c0s0", vec!["x0c0s0b0"]),
        ("/Query/all?type=RouterBMC", vec!["x0c0r1b0"]),
    ] {
        let all = head.get(&format!("{ENDPOINTS}{query}")).await.ok();
        let ids = all["RedfishEndpoints"].as_array().unwrap().iter().map(|one| one["ID"].as_str().unwrap());
        assert_eq!(ids.collect::<Vec<_>>(), wanted, "{query}");
    }
    check(
        &head,
        &[
            ("DELETE", &one, Value::Null, 200, "deleted 1 entry"),
            ("DELETE", &one, Value::Null, 404, "no such xname."),
            ("DELETE", ENDPOINTS, Value::Null, 200, "deleted 4 entries"),
            ("DELETE", ENDPOINTS, Value::Null, 404, "no entries to delete"),
        ],
    )
    .await;
}

#[tokio::test]
async fn deleted_endpoints_leave_empty_slots() {
    let head = smd();
    discover(&head, &[ONE, SHARED, SECOND], Generation::V6, false).await;
    let state = async |xname: &str| head.get(&format!("{COMPONENTS}/{xname}")).await.ok()["State"].clone();
    head.send("DELETE", &format!("{ENDPOINTS}/{}", ONE.bmc), "").await.is(200);
    for (xname, wanted) in
        [(ONE.xname, "Empty"), (SHARED.xname, "Empty"), (ONE.bmc, "Empty"), (SECOND.xname, "On")]
    {
        assert_eq!(state(xname).await, wanted, "{xname}");
    }
    let left = head.get(CHILDREN).await.ok();
    assert_eq!(left["ComponentEndpoints"].as_array().unwrap().len(), 2);
    check(
        &head,
        &[
            (
                "GET",
                &format!("{CHILDREN}?type=node&redfish_ep={}", SECOND.bmc),
                Value::Null,
                200,
                SECOND.xname,
            ),
            (
                "GET",
                &format!("{CHILDREN}?redfish_type=!Manager&id={}", SECOND.bmc),
                Value::Null,
                200,
                r#"{"ComponentEndpoints":[]}"#,
            ),
            ("DELETE", &format!("{CHILDREN}/{}", SECOND.xname), Value::Null, 200, "deleted 1 entry"),
            ("DELETE", &format!("{CHILDREN}/{}", SECOND.xname), Value::Null, 404, "no such xname."),
            (
                "GET",
                &format!("{COMPONENTS}/{}", SECOND.xname),
                Value::Null,
                200,
                r#""State":"Empty","Flag":"OK""#,
            ),
            ("DELETE", CHILDREN, Value::Null, 200, "deleted 1 entry"),
            ("DELETE", CHILDREN, Value::Null, 404, "no entries to delete"),
            ("GET", "/Inventory/ServiceEndpoints", Value::Null, 200, r#"{"ServiceEndpoints":[]}"#),
            (
                "GET",
                "/Inventory/ServiceEndpoints/UpdateService",
                Value::Null,
                200,
                r#"{"ServiceEndpoints":[]}"#,
            ),
            (
                "GET",
                "/Inventory/ServiceEndpoints/UpdateService/RedfishEndpoints/x0c0s0b0",
                Value::Null,
                404,
                "no such service",
            ),
            ("DELETE", "/Inventory/ServiceEndpoints", Value::Null, 404, "no entries to delete"),
        ],
    )
    .await;
    // The interfaces stay, and a discovery fills the slots again.
    discover(&head, &[ONE, SHARED, SECOND], Generation::V6, false).await;
    for entry in [ONE, SHARED] {
        assert_eq!(state(entry.xname).await, "On");
        check_known(&head, &entry, entry.xname);
    }
}

#[tokio::test]
async fn magellan_brings_systems_that_are_known_by_their_place() {
    let head = smd();
    let nic = |number: u32| {
        json!({"uri": "https://192.0.2.70/redfish/v1/Systems/Self/EthernetInterfaces/1",
        "mac": mac(number), "ip": "", "name": "NIC", "description": "System NIC", "enabled": true})
    };
    let hsn = json!({"mac": "Not Available", "name": "HSN"});
    let system = |uuid: &str, nics: Value| {
        json!({"uri": "https://192.0.2.70/redfish/v1/Systems/Self", "uuid": uuid,
        "name": "System", "system_type": "Physical", "ethernet_interfaces": nics, "actions": ["On"],
        "power": {"state": "On"}, "links": {"chassis": ["/redfish/v1/Chassis/Self"]}, "trusted_modules": null})
    };
    let body = json!({"ID": "x0c0s0b0", "Type": "", "Name": "", "FQDN": "192.0.2.70", "User": "root",
        "MACRequired": true, "RediscoverOnUpdate": false, "SchemaVersion": 1,
        "Systems": [system("a", json!([nic(1), hsn])), system("a", json!([nic(1)])), system("b", json!([nic(2)]))],
        "Managers": [{"uri": "https://192.0.2.70/redfish/v1/Managers/BMC", "uuid": "m", "name": "BMC",
            "type": "BMC", "ethernet_interfaces": [{"mac": mac(3), "ip": "192.0.2.70"}]}]});
    head.json("POST", ENDPOINTS, body.clone()).await.is(201);
    let snapshot = head.context.snapshot.load();
    for (number, xname, nid) in [(1, "x0c0s0b0n0", 1), (2, "x0c0s0b0n1", 2)] {
        let Some(Machine::Node { node, .. }) = snapshot.by_mac(mac(number).parse().unwrap()) else {
            panic!()
        };
        assert_eq!((node.effective_xname().as_str(), node.nid.unwrap().0), (xname, nid));
        assert!(node.bmc.is_some());
        assert_ne!(node.name.as_str(), "system", "a name that all systems bear is none");
    }
    // Another BMC counts from one, too: no number is given twice.
    let mut other = body.clone();
    (other["ID"], other["FQDN"]) = (json!("x0c0s1b0"), json!("192.0.2.71"));
    (other["Systems"], other["Managers"]) = (json!([system("c", json!([nic(1)]))]), json!([]));
    let text = head.json("POST", ENDPOINTS, other.clone()).await.refused(409);
    assert!(text.contains("Systems[0].ethernet_interfaces[0]") && text.contains("x0c0s0b0n0"), "{text}");
    head.get(&format!("{ENDPOINTS}/x0c0s1b0")).await.refused(404);
    other["Systems"] = json!([system("c", json!([nic(4)]))]);
    head.json("POST", ENDPOINTS, other).await.is(201);
    assert_eq!(head.get(&format!("{COMPONENTS}/x0c0s1b0n0")).await.ok()["NID"], 16384 + 32);
    let child = head.get(&format!("{CHILDREN}/x0c0s0b0n0")).await.ok();
    assert_eq!(child["RedfishURL"], "192.0.2.70/redfish/v1/Systems/Self");
    assert_eq!(child["RedfishSystemInfo"]["PowerURL"], "/redfish/v1/Chassis/Power");
    assert_eq!(
        child["RedfishSystemInfo"]["EthernetNICInfo"][0]["@odata.id"],
        "/redfish/v1/Systems/Self/EthernetInterfaces/1"
    );
    // A replacement takes what it names: another interface, and the old one is gone.
    let mut moved = body;
    moved["Systems"] = json!([system("a", json!([nic(4)]))]);
    head.json("PUT", &format!("{ENDPOINTS}/x0c0s0b0"), moved).await.is(200);
    let snapshot = head.context.snapshot.load();
    let Some(Machine::Node { node, .. }) = snapshot.by_mac(mac(4).parse().unwrap()) else { panic!() };
    assert_eq!(node.effective_xname().as_str(), "x0c0s0b0n0");
    assert!(snapshot.by_mac(mac(1).parse().unwrap()).is_none());
    assert!(snapshot.by_mac(mac(2).parse().unwrap()).is_some(), "a system that is not named stays");
}

#[tokio::test]
async fn raw_redfish_documents_and_outlets_are_taken_too() {
    let head = smd();
    let raw = json!({"ID": "x0c0s0b0", "FQDN": "bmc.example.org", "Systems": [{
        "Data": {"@odata.id": "/redfish/v1/Systems/1", "SystemType": "Physical", "UUID": "u", "Status": {"State": "Enabled"}},
        "EthernetInterfaces": [{"Id": "1", "@odata.id": "/redfish/v1/Systems/1/EthernetInterfaces/1",
            "Description": "d", "MACAddress": "00:00:5E:00:53:01", "InterfaceEnabled": true}]}]});
    head.json("POST", ENDPOINTS, raw).await.is(201);
    let wanted = json!({"ID": "x0c0s0b0", "Type": "Node", "Enabled": true});
    assert_eq!(head.get(&format!("{COMPONENTS}/x0c0s0b0")).await.ok(), wanted);
    let child = head.get(&format!("{CHILDREN}/x0c0s0b0")).await.ok();
    assert_eq!(
        (&child["Type"], &child["Enabled"], &child["UUID"]),
        (&json!("Node"), &json!(true), &json!("u"))
    );
    assert_eq!(child["RedfishSystemInfo"]["EthernetNICInfo"][0]["MACAddress"], mac(1));

    let outlets = json!([{"original_id": "AB3", "id_suffix": "p1v3", "name": "three", "state": "On", "socket_type": "Cx"},
        {"id": "BA35", "name": "old", "state": "OFF"}]);
    let pdu = |outlets: Value| {
        json!({"ID": "x3000m0", "Type": "Node", "FQDN": "x3000m0-rts.mock:8083",
        "Hostname": "x3000m0-rts.mock:8083", "Enabled": true, "PDUInventory": {"Model": "m", "Outlets": outlets}})
    };
    head.json("POST", ENDPOINTS, pdu(json!([{"id": "nothing"}]))).await.refused(400);
    head.json("POST", ENDPOINTS, pdu(outlets)).await.is(201);
    for (id, kind, state, enabled) in [
        ("x3000m0", "CabinetPDUController", "On", true),
        ("x3000m0p1v3", "CabinetPDUPowerConnector", "On", true),
        ("x3000m0p0v35", "CabinetPDUPowerConnector", "Off", false),
    ] {
        let one = head.get(&format!("{COMPONENTS}/{id}")).await.ok();
        assert_eq!(
            (&one["Type"], &one["State"], &one["Enabled"]),
            (&json!(kind), &json!(state), &json!(enabled)),
            "{id}"
        );
        assert_eq!(head.get(&format!("{CHILDREN}/{id}")).await.ok()["RedfishEndpointID"], "x3000m0", "{id}");
    }
    let outlet = head.get(&format!("{CHILDREN}/x3000m0p1v3")).await.ok();
    assert_eq!(outlet["RedfishURL"], "x3000m0-rts.mock:8083/jaws/monitor/outlets/AB3");
}

#[tokio::test]
async fn a_discovery_is_complete_at_once_and_says_that_nothing_is_queried() {
    let head = smd();
    head.json("POST", ENDPOINTS, json!({"ID": "x0c0s0b0"})).await.is(201);
    check(
        &head,
        &[
            (
                "GET",
                "/Inventory/DiscoveryStatus",
                Value::Null,
                200,
                r#"[{"ID":0,"Status":"NotStarted","LastUpdateTime":"0001-01-01T00:00:00Z"}]"#,
            ),
            ("POST", "/Inventory/Discover", json!({"xnames": ["x0c0s9b0"], "force": true}), 404, "x0c0s9b0"),
            ("POST", "/Inventory/Discover", json!({"xnames": ["foo"]}), 400, "invalid xname"),
            (
                "POST",
                "/Inventory/Discover",
                json!({"xnames": ["x0c0s0b0"]}),
                200,
                r#"[{"URI":"/hsm/v2/Inventory/DiscoveryStatus/0"}]"#,
            ),
            ("GET", "/Inventory/DiscoveryStatus/0", Value::Null, 200, r#""Status":"Complete""#),
            ("GET", "/Inventory/DiscoveryStatus/0", Value::Null, 200, "not queried"),
            ("GET", "/Inventory/DiscoveryStatus/1", Value::Null, 404, "no such discovery"),
            ("GET", "/Inventory/DiscoveryStatus/x", Value::Null, 400, "invalid discovery status ID"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_bmc_declared_natively_is_an_endpoint() {
    let head = Head::start(SITE);
    let bmc =
        json!({"name": "bmc-login", "mac": mac(9), "address": "192.0.2.9", "fqdn": "bmc-login.example.org"});
    head.json("PUT", "/api/v1/bmcs/bmc-login", bmc).await.ok();
    let node = json!({"name": "login", "bmc": "bmc-login", "interfaces": [{"mac": mac(5)}]});
    head.json("PUT", "/api/v1/nodes/login", node).await.ok();
    let all = head.get(&format!("/hsm/v2{ENDPOINTS}")).await.ok();
    let one = &all["RedfishEndpoints"][0];
    assert_eq!(
        (&one["FQDN"], &one["MACAddr"], &one["IPAddress"]),
        (&json!("bmc-login.example.org"), &json!(mac(9)), &json!("192.0.2.9"))
    );
    let xname = one["ID"].as_str().unwrap();
    assert!(xname.starts_with("x9999c0s") && xname.ends_with("b0"), "{xname}");
    let patched =
        head.json("PATCH", &format!("/hsm/v2{ENDPOINTS}/{xname}"), json!({"User": "root"})).await.ok();
    assert_eq!((&patched["User"], &patched["ID"]), (&json!("root"), &json!(xname)));
    head.json("POST", &format!("/hsm/v2{COMPONENTS}"), json!({"Components": [component("x0c0s0b0n0", 1)]}))
        .await
        .is(204);
    assert_eq!(head.get("/api/v1/nodes/login").await.ok()["bmc"], "bmc-login");
}
