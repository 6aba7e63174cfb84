//! What `/cloud-init/openapi.json` tells: the paths of this service. A test walks the table against the router.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::api::openchami::cloud_init::{PREFIX, body};

/// Method, path below the prefix, what it does, what it answers on success.
pub(crate) const OPERATIONS: &[(&str, &str, &str, u16)] = &[
    ("get", "/user-data", "The node's user-data", 200),
    ("get", "/meta-data", "The node's meta-data", 200),
    ("get", "/vendor-data", "The node's vendor-data: an include of its groups' files", 200),
    ("get", "/network-config", "The node's network-config, version 2", 200),
    ("get", "/{id}.yaml", "The file of a group that the node is in", 200),
    ("get", "/{id}/{document}", "A document of a node or entry by its name", 200),
    ("post", "/phone-home/{id}", "A node reports that its installation is done", 200),
    ("post", "/wg-init", "WireGuard enrolment; this head has no tunnel", 501),
    ("get", "/version", "What answers here", 200),
    ("get", "/openapi.json", "This document", 200),
    ("get", "/admin/cluster-defaults", "Defaults of the site", 200),
    ("post", "/admin/cluster-defaults", "Merge into the defaults of the site", 201),
    ("get", "/admin/groups", "Every group's data by name", 200),
    ("post", "/admin/groups", "Add a group's data, or several", 201),
    ("get", "/admin/groups/{name}", "One group's data", 200),
    ("put", "/admin/groups/{name}", "Add or replace a group's data", 201),
    ("delete", "/admin/groups/{name}", "Remove a group's data", 200),
    ("get", "/admin/instance-info/{id}", "A node's instance info", 200),
    ("put", "/admin/instance-info/{id}", "Replace a node's instance info", 201),
    ("get", "/admin/impersonation/{id}/{document}", "A document as the node would get it", 200),
    ("get", "/", "Every entry of the first generation", 200),
    ("post", "/", "Add an entry of the first generation", 200),
    ("get", "/{id}", "An entry of the first generation; a node's merged", 200),
    ("put", "/{id}", "Add or replace sections of an entry", 200),
    ("delete", "/{id}", "Remove an entry", 200),
];

pub(crate) async fn show() -> Response {
    body::json(StatusCode::OK, &document())
}

fn document() -> Value {
    let mut paths = Map::new();
    for (method, path, summary, status) in OPERATIONS {
        let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.split('}').next());
        let parameters: Vec<Value> = names
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
            .collect();
        let entry = paths.entry((*path).to_owned()).or_insert_with(|| json!({}));
        entry[*method] = json!({
            "summary": summary,
            "parameters": parameters,
            "responses": {status.to_string(): {"description": "Done"}, "default": {"description": "Refused"}},
        });
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "cloud-init", "version": env!("CARGO_PKG_VERSION")},
        "servers": [{"url": PREFIX}],
        "paths": paths,
    })
}
