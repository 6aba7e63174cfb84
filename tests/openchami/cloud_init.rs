//! cloud-init as OpenCHAMI's clients, its tutorials and nodes ask for it.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::head::{Head, LEASED, SITE, mac};

const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const XNAME: &str = "x1000c0s0b0n0";
const GROUP: &str = "/cloud-init/admin/groups/compute";

/// A head with node nid001 (xname, nid 1, groups compute and gpu, 192.0.2.1) and node nid002 in no group, which
/// has no address.
async fn head() -> Head {
    let head = Head::start(&format!("[cluster]\nname = \"demo\"\n{SITE}"));
    for node in [
        json!({"name": "nid001", "nid": 1, "xname": XNAME, "role": "Compute", "groups": ["compute", "gpu"],
               "interfaces": [{"name": "boot", "mac": mac(1), "addresses": ["192.0.2.1"]}]}),
        json!({"name": "nid002", "nid": 2, "interfaces": [{"mac": mac(2)}]}),
    ] {
        head.json("POST", "/api/v1/nodes", node).await.ok();
    }
    head
}

async fn fetch(head: &Head, path: &str) -> String {
    head.ask_from(NODE, "GET", path, "").await.is(200)
}

/// A document as the node's cloud-init parses it.
fn yaml(text: &str) -> Value {
    muster::engine::cloud_init::yaml::parse(text).unwrap().unwrap()
}

#[tokio::test]
async fn a_node_gets_its_documents_by_its_address() {
    let head = head().await;
    assert_eq!(fetch(&head, "/cloud-init/user-data").await, "#cloud-config");
    assert_eq!(
        fetch(&head, "/cloud-init/vendor-data").await,
        "#include\nhttp://192.0.2.254:8081/cloud-init/compute.yaml\nhttp://192.0.2.254:8081/cloud-init/gpu.yaml\n"
    );
    let answer = head.ask_from(NODE, "GET", "/cloud-init/meta-data", "").await;
    assert_eq!(answer.kind, "application/x-yaml");
    let meta = yaml(&answer.is(200));
    let v1 = &meta["instance_data"]["v1"];
    assert_eq!(meta["local-hostname"], "nid001");
    assert_eq!(meta["cluster-name"], "demo");
    assert_eq!(v1["local_ipv4"], "192.0.2.1");
    assert_eq!(v1["instance_id"], meta["instance-id"]);
    assert_eq!(v1["public_keys"], json!([]));
    assert_eq!(v1["vendor_data"]["version"], "1.0");
    assert_eq!(v1["vendor_data"]["groups"]["compute"]["Description"], "");
    let network = yaml(&fetch(&head, "/cloud-init/network-config").await);
    assert_eq!(network["ethernets"]["boot"]["match"]["macaddress"], mac(1));
    assert_eq!(network["ethernets"]["boot"]["addresses"], json!(["192.0.2.1/24"]));
    // Without a slash and by name: NoCloud with s=…/cloud-init/nid001/.
    for document in ["meta-data", "user-data", "vendor-data", "network-config"] {
        let by_name = fetch(&head, &format!("/cloud-init/nid001/{document}")).await;
        assert_eq!(by_name, fetch(&head, &format!("/cloud-init/{document}")).await, "{document}");
        let head_only = head.ask_from(NODE, "HEAD", &format!("/cloud-init/{document}"), "").await;
        assert_eq!((head_only.status.as_u16(), head_only.bytes.len()), (200, 0), "{document}");
    }
}

#[tokio::test]
async fn an_address_that_no_node_has_is_told_what_to_do() {
    let head = head().await;
    for path in ["user-data", "meta-data", "vendor-data", "network-config", "compute.yaml"] {
        let answer =
            head.ask_from(Ipv4Addr::new(192, 0, 2, 77), "GET", &format!("/cloud-init/{path}"), "").await;
        let text = answer.refused(422);
        assert!(text.contains("192.0.2.77") && text.contains("muster node set"), "{text}");
    }
    let local = head.get("/cloud-init/meta-data").await.refused(422);
    assert!(local.contains("/cloud-init/NODE/meta-data"), "{local}");
    assert!(head.ask_from(LEASED, "GET", "/cloud-init/meta-data", "").await.refused(422).contains("no node"));
}

#[tokio::test]
async fn defaults_are_merged_and_only_what_is_not_empty_counts() {
    let head = head().await;
    let path = "/cloud-init/admin/cluster-defaults";
    assert_eq!(head.get(path).await.ok(), json!({}));
    let tutorial = "---\nbase-url: \"http://172.16.0.254:8081/cloud-init/\"\ncluster-name: \"demo\"\nnid-length: 3\n\
                    public-keys:\n- \"ssh-ed25519 AAAA one\"\nshort-name: \"nid\"\ncloud-provider: site\n";
    assert_eq!(head.send("POST", path, tutorial).await.status, 201);
    assert_eq!(
        head.send("POST", path, r#"{"cluster-name":"demo","nid-length":2,"region":""}"#).await.status,
        201
    );
    let wanted = json!({
        "base-url": "http://172.16.0.254:8081/cloud-init", "cluster-name": "demo", "nid-length": 2,
        "public-keys": ["ssh-ed25519 AAAA one"], "short-name": "nid", "cloud_provider": "site",
    });
    assert_eq!(head.get(path).await.ok(), wanted);
    let meta = yaml(&fetch(&head, "/cloud-init/meta-data").await);
    assert_eq!(meta["local-hostname"], "nid01");
    assert_eq!(meta["instance_data"]["v1"]["public_keys"], json!(["ssh-ed25519 AAAA one"]));
    assert_eq!(meta["instance_data"]["v1"]["cloud_name"], "site");
    assert!(
        fetch(&head, "/cloud-init/vendor-data")
            .await
            .contains("http://172.16.0.254:8081/cloud-init/gpu.yaml")
    );
    for (body, field) in [
        (r#"{"nid-length":"many"}"#, "nid-length"),
        (r#"{"base-url":"nowhere"}"#, "base-url"),
        ("[]", "body"),
        ("{", "body"),
        ("a: [", "line "),
    ] {
        let text = head.send("POST", path, body).await.refused(422);
        assert!(text.contains(field), "{body}: {text}");
    }
    assert_eq!(head.get(path).await.ok(), wanted, "a refused request changes nothing");
}

#[tokio::test]
async fn groups_are_added_replaced_listed_and_removed() {
    let head = head().await;
    let yaml_list = "- name: compute\n  description: \"compute config\"\n  meta-data:\n    syslog: 192.0.2.5\n  file:\n    encoding: plain\n    content: |\n      ## template: jinja\n      #cloud-config\n      merge_how:\n      - name: list\n        settings: [append]\n      - name: dict\n        settings: [no_replace, recurse_list]\n      users:\n        - name: root\n          ssh_authorized_keys: {{ ds.meta_data.instance_data.v1.public_keys }}\n      disable_root: false\n";
    let added = head.send("POST", "/cloud-init/admin/groups", yaml_list).await;
    assert_eq!(added.headers["location"], "/groups/compute");
    added.is(201);
    head.send("POST", "/cloud-init/admin/groups", yaml_list).await.refused(409);
    let all = head.get("/cloud-init/admin/groups").await;
    assert!(all.text().contains("\n  \"compute\": {"), "indented, as it always was");
    assert_eq!(all.ok()["compute"]["meta-data"], json!({"syslog": "192.0.2.5"}));
    let stored = fetch(&head, "/cloud-init/compute.yaml").await;
    assert!(
        stored.starts_with("## template: jinja\n#cloud-config\n") && stored.contains("{{ ds."),
        "{stored}"
    );
    // As the command line of OpenCHAMI sends it: JSON, base64, no content type.
    let put =
        r#"{"name":"compute","file":{"content":"I2Nsb3VkLWNvbmZpZwo=","filename":"","encoding":"base64"}}"#;
    head.send("PUT", GROUP, put).await.is(201);
    assert_eq!(head.get(GROUP).await.ok()["file"]["content"], "I2Nsb3VkLWNvbmZpZwo=", "as it was stored");
    assert_eq!(fetch(&head, "/cloud-init/compute.yaml").await, "#cloud-config\n");
    assert_eq!(fetch(&head, "/cloud-init/gpu.yaml").await, "#cloud-config");
    let path = "/cloud-init/io.yaml";
    head.send("PUT", "/cloud-init/admin/groups/io", "{\"file\":{\"content\":\"#cloud-config\"}}")
        .await
        .is(201);
    head.ask_from(NODE, "GET", path, "").await.refused(404);
    head.send("DELETE", GROUP, "").await.is(200);
    head.send("DELETE", GROUP, "").await.is(200);
    head.get(GROUP).await.refused(404);
}

#[tokio::test]
async fn a_file_that_no_node_could_read_is_refused_with_its_line() {
    let head = head().await;
    for (content, line) in [
        ("#cloud-config\nruncmd:\n- a\n b: [\n", "line 4"),
        ("#cloud-config\n- a\n", "line 1"),
        ("## template: jinja\n#cloud-config\na: {{ b c }}\n", "line 3"),
    ] {
        let body = json!({"name": "compute", "file": {"content": content, "encoding": "plain"}});
        for (method, path) in [("POST", "/cloud-init/admin/groups"), ("PUT", GROUP)] {
            let text = head.json(method, path, body.clone()).await.refused(422);
            assert!(text.contains("group compute") && text.contains(line), "{content}: {text}");
        }
    }
    for (body, field) in [
        ("{}", "name"),
        (r#"{"name":"a b"}"#, "name"),
        (r#"{"name":"a","file":{"content":"%%","encoding":"base64"}}"#, "file.content"),
        (r#"{"name":"a","file":{"content":"","encoding":"rot13"}}"#, "file.encoding"),
        (r#"{"name":"a","meta-data":[]}"#, "meta-data"),
        (r#"[{"name":"good"},{"name":""}]"#, "name"),
    ] {
        let text = head.send("POST", "/cloud-init/admin/groups", body).await.refused(422);
        assert!(text.contains(field), "{body}: {text}");
    }
    assert_eq!(head.get("/cloud-init/admin/groups").await.ok(), json!({}), "all or nothing");
}

#[tokio::test]
async fn instance_info_and_impersonation() {
    let head = head().await;
    let before = yaml(&fetch(&head, "/cloud-init/meta-data").await)["instance-id"].clone();
    let path = format!("/cloud-init/admin/instance-info/{XNAME}");
    let put = format!(r#"[{{"id":"{XNAME}","instance-id":"","local_hostname":"c1","instance-type":"fat"}}]"#);
    head.send("PUT", &path, put).await.is(201);
    let impersonate = async |document: &str| {
        let path = format!("/cloud-init/admin/impersonation/{XNAME}/{document}");
        head.get(&path).await.is(200)
    };
    let meta = impersonate("meta-data").await;
    assert_eq!(meta, fetch(&head, "/cloud-init/meta-data").await, "just what the node gets");
    let meta = yaml(&meta);
    assert_eq!((&meta["local-hostname"], &meta["instance-id"]), (&json!("c1"), &before));
    assert_eq!(meta["instance_data"]["v1"]["instance_type"], "fat");
    assert_eq!(impersonate("user-data").await, "#cloud-config");
    assert!(impersonate("vendor-data").await.starts_with("#include\n"));
    assert_eq!(impersonate("compute.yaml").await, "#cloud-config");
    // An instance-id that was given stays when it is not mentioned again.
    head.send("PUT", &path, r#"{"instance-id":"i-given"}"#).await.is(201);
    head.send("PUT", &path, r#"{"local-hostname":"c2"}"#).await.is(201);
    assert_eq!(yaml(&impersonate("meta-data").await)["instance-id"], "i-given");
    for path in ["x9c0s0b0n0/meta-data", "nobody/user-data"] {
        head.get(&format!("/cloud-init/admin/impersonation/{path}")).await.refused(404);
    }
    head.get(&format!("/cloud-init/admin/impersonation/{XNAME}/io.yaml")).await.refused(404);
    head.get(&format!("/cloud-init/admin/impersonation/{XNAME}/shadow")).await.refused(404);
    // Info for a node that is still to come waits for it.
    let later = "x1000c0s1b0n0";
    head.send("PUT", &format!("/cloud-init/admin/instance-info/{later}"), r#"{"hostname":"h"}"#)
        .await
        .is(201);
    let node = json!({"name": "nid003", "xname": later, "interfaces": [{"mac": mac(3)}]});
    head.json("POST", "/api/v1/nodes", node).await.ok();
    let meta = head.get(&format!("/cloud-init/admin/impersonation/{later}/meta-data")).await.is(200);
    assert_eq!(yaml(&meta)["hostname"], "h");
    head.send("PUT", "/cloud-init/admin/instance-info/nobody", "{}").await.refused(404);
}

/// What clients of the first generation send, on each of their paths.
#[tokio::test]
async fn entries_of_the_first_generation_are_kept_in_two_trees() {
    let head = head().await;
    let body = r#"{"name":"compute","cloud-init":{"userdata":{"runcmd":["echo hi"]},"metadata":{"instance-id":"test"},"vendordata":null}}"#;
    for (base, other) in [
        ("/cloud-init", "/cloud-init-secure"),
        ("/cloud-init-secure", "/cloud-init"),
        ("/cloud-init/cloud-init", "/cloud-init/cloud-init-secure"),
        ("/cloud-init/cloud-init-secure", "/cloud-init/cloud-init"),
    ] {
        let one = format!("{base}/compute");
        head.get(&one).await.refused(404);
        assert_eq!(head.send("POST", base, body).await.ok(), json!("compute"), "{base}");
        let twice = head.send("POST", base, body).await.refused(404);
        assert!(twice.contains("Data exists for this entry. Update instead"), "{twice}");
        let entry = json!({"name": "compute", "cloud-init": {"userdata": {"runcmd": ["echo hi"]}, "metadata": {"instance-id": "test"}}});
        assert_eq!(head.get(&one).await.ok(), entry);
        assert_eq!(head.get(base).await.ok(), json!({"compute": entry}));
        assert_eq!(head.get(other).await.ok(), json!({}), "{other} is a store of its own");
        let section = async |kind: &str| head.get(&format!("{one}/{kind}")).await.is(200);
        assert_eq!(section("user-data").await, "#cloud-config\nruncmd:\n- echo hi\n");
        assert_eq!(section("meta-data").await, "instance-id: test\n");
        assert_eq!(section("vendor-data").await, "");
        let update = r#"{"name":"compute","cloud-init":{"userdata":{"packages":["vim"]}}}"#;
        assert_eq!(head.send("PUT", &one, update).await.ok(), json!("compute"));
        assert_eq!(section("user-data").await, "#cloud-config\npackages:\n- vim\n");
        assert_eq!(section("meta-data").await, "instance-id: test\n", "what is not given stays");
        assert_eq!(head.send("DELETE", &one, "").await.ok(), json!({"status": "success"}));
        head.send("DELETE", &one, "").await.refused(404);
        head.get(&format!("{one}/user-data")).await.refused(404);
        // The tutorial begins with a PUT.
        assert_eq!(head.send("PUT", &one, update).await.ok(), json!("compute"));
        head.send("DELETE", &one, "").await.ok();
    }
    for name in ["admin", "user-data", "version", "phone-home", ""] {
        let body = json!({"name": name, "cloud-init": {"userdata": {}}});
        assert!(head.json("POST", "/cloud-init", body).await.refused(422).contains("name"), "{name}");
    }
    let text =
        head.send("POST", "/cloud-init", r#"{"name":"a","cloud-init":{"userdata":"x"}}"#).await.refused(422);
    assert!(text.contains("cloud-init.userdata"), "{text}");
}

#[tokio::test]
async fn a_node_gets_the_entries_of_its_groups_and_its_own_merged() {
    let head = head().await;
    let put = async |base: &str, name: &str, sections: Value| {
        let body = json!({"name": name, "cloud-init": sections});
        head.json("PUT", &format!("{base}/{name}"), body).await.ok();
    };
    let group =
        json!({"userdata": {"write_files": [{"path": "/etc/a"}], "x": 1}, "metadata": {"asset": "g"}});
    put("/cloud-init", "compute", group).await;
    put("/cloud-init", "gpu", json!({"userdata": {"x": 2}})).await;
    put("/cloud-init", XNAME, json!({"userdata": {"write_files": [{"path": "/etc/b"}]}})).await;
    put("/cloud-init", "00:00:5E:00:53:01", json!({"metadata": {"asset": "n"}})).await;
    put("/cloud-init-secure", "compute", json!({"userdata": {"secret": "s"}})).await;
    let merged = "#cloud-config\nwrite_files:\n- path: /etc/b\nx: 2\n";
    assert_eq!(fetch(&head, "/cloud-init/user-data").await, merged);
    for id in [XNAME, "nid001", "00:00:5e:00:53:01"] {
        assert_eq!(fetch(&head, &format!("/cloud-init/{id}/user-data")).await, merged, "{id}");
    }
    let meta = yaml(&fetch(&head, "/cloud-init/meta-data").await);
    assert_eq!(meta["asset"], "n", "the node's own counts");
    assert_eq!(meta["local-hostname"], "nid001", "beside what the second generation says");
    assert!(fetch(&head, "/cloud-init/vendor-data").await.starts_with("#include\n"));
    assert_eq!(fetch(&head, "/cloud-init-secure/user-data").await, "#cloud-config\nsecret: s\n");
    for empty in ["meta-data", "vendor-data"] {
        assert_eq!(
            fetch(&head, &format!("/cloud-init-secure/{empty}")).await,
            "",
            "{empty} is empty, not absent"
        );
    }
    assert_eq!(
        head.get(&format!("/cloud-init/{XNAME}")).await.ok()["cloud-init"]["metadata"],
        json!({"asset": "n"})
    );
}

#[tokio::test]
async fn a_node_that_is_done_is_recorded_by_its_address() {
    let head = head().await;
    let form =
        "pub_key_rsa=ssh-rsa+AAAA%2B%3D&pub_key_ed25519=N%2FA&instance_id=i-1&hostname=nid001&fqdn=nid001.x";
    let told = "/cloud-init/phone-home/x9c9s9b9n9";
    head.ask_from(NODE, "POST", told, form).await.is(200);
    head.ask_from(NODE, "POST", "/cloud-init/phone-home", form).await.is(200);
    head.ask_from(Ipv4Addr::new(192, 0, 2, 77), "POST", told, form).await.refused(422);
    let reports = head.get("/api/v1/cloud-init/phone-home").await.ok();
    let report = &reports[0];
    assert_eq!(reports.as_array().unwrap().len(), 1);
    assert_eq!((&report["node"], &report["count"]), (&json!("nid001"), &json!(2)));
    assert_eq!(report["keys"], json!({"rsa": "ssh-rsa AAAA+="}));
    let long = format!("hostname={}", "x".repeat(5000));
    assert!(head.ask_from(NODE, "POST", told, long).await.refused(422).contains("hostname"));
    head.ask_from(NODE, "POST", told, "x".repeat(70_000)).await.refused(413);
}

#[tokio::test]
async fn enrolment_for_a_tunnel_is_answered_and_the_tunnel_is_off() {
    let head = head().await;
    let key = json!({"public_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}).to_string();
    let text = head.ask_from(NODE, "POST", "/cloud-init/wg-init", key).await.refused(501);
    assert!(
        text.contains("no WireGuard tunnel") && text.contains("http://192.0.2.254:8081/cloud-init"),
        "{text}"
    );
    for wrong in ["", "{}", r#"{"public_key":"short"}"#] {
        head.ask_from(NODE, "POST", "/cloud-init/wg-init", wrong).await.refused(422);
    }
}

#[tokio::test]
async fn every_path_of_the_published_document_answers() {
    let head = head().await;
    assert!(head.get("/cloud-init/version").await.ok()["version"].is_string());
    let document = head.get("/cloud-init/openapi.json").await.ok();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let filled = format!("/cloud-init{path}").replace("{id}", "nid001").replace("{name}", "a");
            let filled = filled.replace("{document}", "meta-data");
            let answer = head.ask_from(NODE, &method.to_uppercase(), filled.trim_end_matches('/'), "{").await;
            assert_ne!(answer.status.as_u16(), 405, "{method} {path}");
            assert!(!answer.text().contains("there is nothing at"), "{method} {path}: {}", answer.text());
        }
    }
    assert_eq!(head.send("PATCH", "/cloud-init/version", "").await.status.as_u16(), 405);
}

#[tokio::test]
async fn our_own_api_previews_patches_and_reinstalls() {
    let head = head().await;
    let file = "## template: jinja\n#cloud-config\nntp: {servers: [{{ ds.meta_data.instance_data.v1.vendor_data.groups.compute.ntp }}]}\nx: {{ nowhere }}\n";
    let body = json!({"meta_data": {"ntp": "192.0.2.7"}, "file": {"content": file}});
    let dry = "/api/v1/cloud-init/groups/compute?dry_run";
    assert_eq!(head.json("PATCH", dry, body.clone()).await.ok()["meta_data"]["ntp"], "192.0.2.7");
    let revision = head.revision().await;
    let group = "/api/v1/cloud-init/groups/compute";
    head.get(group).await.refused(404);
    head.json("PATCH", group, body).await.ok();
    head.json("PATCH", group, json!({"description": "all of them"})).await.ok();
    assert_eq!(head.revision().await, revision + 2);
    let preview = head.get("/api/v1/cloud-init/render/nid001").await.ok();
    let documents = preview["documents"].as_array().unwrap();
    let compute = documents.iter().find(|part| part["name"] == "compute.yaml").unwrap();
    let text = compute["text"].as_str().unwrap();
    assert_eq!(text, "#cloud-config\nntp: {servers: [192.0.2.7]}\nx: CI_MISSING_JINJA_VAR/nowhere\n");
    assert!(compute["remarks"].to_string().contains("nowhere"));
    let values = preview["values"].as_array().unwrap();
    let path = "instance_data.v1.vendor_data.groups.compute.ntp";
    assert_eq!(values.iter().find(|value| value["path"] == path).unwrap()["source"], "group compute");
    let warned =
        head.json("PUT", "/api/v1/cloud-init/groups/gpu", json!({"file": {"content": "a: 1\n"}})).await.ok();
    assert!(warned["warnings"].to_string().contains("#cloud-config"), "{warned}");
    let node = "/api/v1/cloud-init/nodes/nid001";
    let own = json!({"local_hostname": "login1", "file": {"content": "#cloud-config\nx: 1\n"}, "meta_data": {"slot": 3}});
    let before = head.json("PATCH", node, own).await.ok()["effective_instance_id"].clone();
    assert_eq!(fetch(&head, "/cloud-init/user-data").await, "#cloud-config\nx: 1\n");
    assert_eq!(yaml(&fetch(&head, "/cloud-init/meta-data").await)["slot"], 3);
    let reserved = json!({"meta_data": {"instance-id": "x"}});
    assert!(head.json("PATCH", node, reserved).await.refused(422).contains("meta_data.instance-id"));
    head.json("PATCH", node, json!({"hostnaem": "x"})).await.refused(400);
    let dry = head.send("POST", "/api/v1/cloud-init/reinstall?set=@compute&dry_run", "").await.ok();
    assert_eq!((&dry["changed"], &dry["dry_run"]), (&json!(["nid001"]), &json!(true)));
    assert_eq!(head.get(node).await.ok()["effective_instance_id"], before);
    head.send("POST", "/api/v1/cloud-init/reinstall?set=@compute", "").await.ok();
    let after = head.get(node).await.ok();
    assert_ne!(after["effective_instance_id"], before);
    assert_eq!(after["local_hostname"], "login1");
    head.send("POST", "/api/v1/cloud-init/reinstall", "").await.refused(422);
    head.send("DELETE", node, "").await.is(204);
    head.send("DELETE", node, "").await.refused(404);
}
