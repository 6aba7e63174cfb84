//! The OpenAPI 3.1 document, from one table of operations. Schemas are read off examples made of the real
//! types, so that they cannot name a field that is not there; a test walks the table against the router.

use serde_json::{Map, Value, json};

/// One operation of the API.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub method: &'static str,
    /// Below the API's prefix.
    pub path: &'static str,
    pub summary: &'static str,
    /// Query fields with their meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// Schema of the request's body.
    pub body: Option<&'static str>,
    /// Schema of the answer; none: 204 without a body.
    pub answer: Option<&'static str>,
}

const SET: (&str, &str) = ("set", "Node set: nid[001-009,012], @group, *, joined by , ! &");
const ONCE: (&str, &str) = ("once", "Only the one-shot");

/// Every operation, in the order of the document.
pub const OPERATIONS: &[Operation] = &[
    op(
        "get",
        "/nodes",
        "List nodes",
        &[SET, ("after", "Names behind this one"), ("limit", "At most so many")],
        None,
        Some("[Node]"),
    ),
    op("post", "/nodes", "Create a node", &[], Some("Node"), Some("Node")),
    op(
        "patch",
        "/nodes",
        "Merge a patch into each node of a set, in one transaction",
        &[SET],
        Some("Node"),
        Some("Report"),
    ),
    op("delete", "/nodes", "Remove the nodes of a set, in one transaction", &[SET], None, Some("Report")),
    op("get", "/nodes/{name}", "Show a node, by name, xname or MAC", &[], None, Some("Node")),
    op("put", "/nodes/{name}", "Create or replace a node", &[], Some("Node"), Some("Node")),
    op(
        "patch",
        "/nodes/{name}",
        "Merge a patch into a node (RFC 7396); makes a new one if it brings an interface",
        &[],
        Some("Node"),
        Some("Node"),
    ),
    op("delete", "/nodes/{name}", "Remove a node", &[], None, None),
    op("get", "/bmcs", "List BMCs", &[], None, Some("[Bmc]")),
    op("get", "/bmcs/{name}", "Show a BMC", &[], None, Some("Bmc")),
    op("put", "/bmcs/{name}", "Create or replace a BMC", &[], Some("Bmc"), Some("Bmc")),
    op("delete", "/bmcs/{name}", "Remove a BMC that no node names", &[], None, None),
    op("get", "/groups", "List groups", &[], None, Some("[Group]")),
    op("get", "/groups/{name}", "Show a group", &[], None, Some("Group")),
    op("put", "/groups/{name}", "Create or replace a group", &[], Some("Group"), Some("Group")),
    op(
        "patch",
        "/groups/{name}",
        "Merge a patch into a group; makes it if it is new",
        &[],
        Some("Group"),
        Some("Group"),
    ),
    op("delete", "/groups/{name}", "Remove a group; its members stay", &[], None, None),
    op("post", "/groups/{name}/members", "Put nodes into a group", &[SET], None, Some("Group")),
    op("delete", "/groups/{name}/members", "Take nodes out of a group", &[SET], None, Some("Group")),
    op("get", "/profiles", "List profiles", &[], None, Some("[Profile]")),
    op("get", "/profiles/{name}", "Show a profile", &[], None, Some("Profile")),
    op("put", "/profiles/{name}", "Create or replace a profile", &[], Some("Profile"), Some("Profile")),
    op("delete", "/profiles/{name}", "Remove a profile that no assignment names", &[], None, None),
    op("get", "/boot", "What nodes boot now, and the rule that decides it", &[SET], None, Some("[Boot]")),
    op("put", "/boot", "Assign a profile or a target", &[], Some("Assign"), Some("Report")),
    op(
        "delete",
        "/boot",
        "Take assignments back",
        &[SET, ("mac", "One interface"), ("role", "Nodes of a role"), ("default", "Every node"), ONCE],
        None,
        Some("Report"),
    ),
    op("get", "/networks", "List networks and how full their pools are", &[], None, Some("[Network]")),
    op("get", "/networks/{name}", "Show a network", &[], None, Some("Network")),
    op("get", "/leases", "List leases of pool addresses, dead ones too", &[], None, Some("[Lease]")),
    op("delete", "/leases/{address}", "End a lease", &[], None, None),
    op("get", "/sightings", "List machines that ask but were never declared", &[], None, Some("[Sighting]")),
    op("get", "/rogues", "List other DHCP servers that were heard", &[], None, Some("[Rogue]")),
    op("get", "/status", "How the head is", &[], None, Some("Status")),
    op(
        "get",
        "/explain",
        "What a machine would get at each stage of its boot, and why",
        &[
            ("mac", "The machine"),
            ("arch", "x86_64, arm64 …"),
            ("firmware", "bios, uefi, uefi-http, ipxe-rom, foreign-ipxe"),
            ("network", "Where it is plugged in"),
        ],
        None,
        Some("[Step]"),
    ),
    op(
        "post",
        "/inventory/import",
        "Import a document: all of it or nothing",
        &[("dry_run", "Change nothing"), ("prune", "Remove what it does not name")],
        Some("text"),
        Some("Report"),
    ),
    op("get", "/inventory/export", "The inventory as a document that imports back", &[], None, Some("text")),
];

const fn op(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: Option<&'static str>,
    answer: Option<&'static str>,
) -> Operation {
    Operation { method, path, summary, query, body, answer }
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = describe(operation);
    }
    let schemas: Map<String, Value> =
        examples().into_iter().map(|(name, example)| (name.to_owned(), schema(&example))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "muster",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The head of a cluster. Over the Unix socket no token is needed.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": crate::api::v1::PREFIX}],
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn describe(operation: &Operation) -> Value {
    let in_path = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    parameters.extend(operation.query.iter().map(|(name, meaning)| {
        json!({"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}})
    }));
    let success = match operation.answer {
        Some(answer) => json!({"description": "Done", "content": content(answer)}),
        None => json!({"description": "Done"}),
    };
    let status = match (operation.answer, operation.method) {
        (None, _) => "204",
        (Some("Node"), "post") => "201",
        (Some(_), _) => "200",
    };
    let problem = json!({"description": "Refused, with field and place", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}});
    let mut described = json!({
        "summary": operation.summary,
        "operationId": format!("{} {}", operation.method, operation.path),
        "parameters": parameters,
        "responses": {status: success, "default": problem},
    });
    if let Some(body) = operation.body {
        described["requestBody"] = json!({"required": true, "content": content(body)});
    }
    described
}

/// The media type and schema of a name in the table: `text`, `[Node]`, `Node`.
fn content(name: &str) -> Value {
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        _ if name == "text" => json!({"text/plain": {"schema": {"type": "string"}}}),
        Some(item) => json!({"application/json": {"schema": {"type": "array", "items": reference(item)}}}),
        None => json!({"application/json": {"schema": reference(name)}}),
    }
}

/// A schema that the example satisfies, with the example beside it.
fn schema(example: &Value) -> Value {
    match example {
        Value::Null => json!({}),
        Value::Bool(_) => json!({"type": "boolean"}),
        Value::Number(_) => json!({"type": "integer"}),
        Value::String(_) => json!({"type": "string", "examples": [example]}),
        Value::Array(items) => {
            json!({"type": "array", "items": items.first().map_or_else(|| json!({}), schema)})
        }
        Value::Object(fields) => {
            let properties: Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), schema(value))).collect();
            json!({"type": "object", "properties": properties})
        }
    }
}

/// An example of each schema, as JSON of the type that the handlers use.
#[must_use]
pub fn examples() -> Vec<(&'static str, Value)> {
    let node = json!({
        "name": "nid001", "xname": "x1000c0s0b0n0", "effective_xname": "x1000c0s0b0n0", "nid": 1,
        "uuid": "11223344-5566-7788-99aa-bbccddeeff00", "arch": "x86_64", "role": "Compute", "groups": ["compute"],
        "interfaces": [{"name": "management", "mac": "52:54:00:be:ef:01", "addresses": ["172.16.0.1"]}],
        "bmc": "bmc01", "policy": "serve", "loader": "snponly.efi", "annotations": {},
    });
    let target =
        json!({"kernel": "compute/vmlinuz", "initrds": ["compute/initrd.img"], "params": "console=ttyS0"});
    let network = json!({
        "name": "boot", "interface": "eth1", "address": "172.16.0.254/24", "dhcp": "authoritative",
        "ranges": ["172.16.0.200-172.16.0.250"], "unknown": "hold", "pool": 51, "bound": 3, "held": 0, "declined": 0,
        "free": 48, "declared": 9,
    });
    let time = "2026-11-23T22:00:00.000Z";
    vec![
        ("Node", node),
        (
            "Bmc",
            json!({"name": "bmc01", "xname": "x1000c0s0b0", "mac": "de:ca:fc:0f:fe:e1", "address": "172.16.0.101", "fqdn": "bmc01.example", "annotations": {}}),
        ),
        (
            "Group",
            json!({"name": "compute", "description": "", "priority": 0, "loader": "snponly.efi", "annotations": {}, "members": ["nid001"]}),
        ),
        ("Profile", json!({"name": "rescue", "description": "", "target": target})),
        ("Assign", json!({"whom": {"set": "@compute"}, "once": false, "target": target})),
        (
            "Boot",
            json!({"node": "nid001", "outcome": "boot", "rule": "assignment for group compute", "target": target}),
        ),
        (
            "Report",
            json!({"added": ["nid001"], "changed": [""], "removed": [""], "unchanged": 0, "fields": {"nid001": ["role"]}, "dry_run": false, "revision": 7}),
        ),
        ("Network", network.clone()),
        (
            "Lease",
            json!({"address": "172.16.0.200", "client": "52:54:00:be:ef:99", "network": "boot", "state": "bound", "starts": time, "expires": time, "host_name": "x"}),
        ),
        (
            "Sighting",
            json!({"mac": "52:54:00:be:ef:99", "network": "boot", "first": time, "last": time, "requests": 3, "firmware": "UEFI", "arch": "x86_64", "vendor_class": "PXEClient", "uuid": "11223344-5566-7788-99aa-bbccddeeff00", "circuit": "port 7", "host_name": "x"}),
        ),
        (
            "Rogue",
            json!({"network": "boot", "server": "172.16.0.9", "mac": "52:54:00:be:ef:09", "first": time, "last": time, "replies": 2}),
        ),
        (
            "Step",
            json!({"stage": "uefi", "outcome": "OFFER 172.16.0.1", "reasons": ["network boot"], "script": "#!ipxe\n"}),
        ),
        (
            "Status",
            json!({"cluster": "demo", "version": "0.1.0", "started": time, "uptime_s": 60, "revision": 7, "nodes": 9, "groups": 1, "profiles": 1, "leases": 3, "sightings": 1, "bmcs": 2, "loaders": 3, "networks": [network], "listeners": [{"protocol": "http", "address": "0.0.0.0:8081"}], "findings": [{"what": "loaders", "severity": "error", "text": "no loaders were found", "fix": "apt-get install ipxe"}]}),
        ),
        (
            "Problem",
            json!({"type": "about:blank", "title": "Unprocessable Entity", "status": 422, "detail": "mac: is needed", "problems": [{"subject": "node nid001", "field": "mac", "text": "is needed", "line": 3}]}),
        ),
    ]
}

#[cfg(test)]
mod tests;
