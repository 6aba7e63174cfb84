//! The OpenAPI 3.1 document. Operations come from one table, which a test walks against the router; schemas are
//! derived from the types that the handlers read and write, so that they cannot name a field that is not there.

mod operation;
mod table;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

pub use operation::Operation;
pub use table::OPERATIONS;

use crate::api::problem::Problem;
use crate::api::v1;
use crate::api::v1::types;
use crate::base::limits::PAGE_ITEMS_MAX;

/// Where schemas lie in the document.
const SCHEMAS: &str = "#/components/schemas/";

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = describe(operation);
    }
    let description = "The head of a cluster.\n\n\
        Lists come in a stable order and in pages: `limit` sets their size, `after` names the thing behind which \
        one starts, and the header `Link` with `rel=\"next\"` leads to the next page.\n\n\
        Every thing has an `ETag`, a digest of its JSON. A write with `If-Match` is refused with 412 if the thing \
        was changed meanwhile; changes of other things do not matter. `If-None-Match: *` refuses to replace. Reports \
        and writes to many things are tagged with the revision of the inventory (`\"r7\"`).\n\n\
        `dry_run` on a write changes nothing and answers 200 with a report of what would change.\n\n\
        Over the Unix socket no token is needed.";
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "muster",
            "version": env!("CARGO_PKG_VERSION"),
            "description": description,
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": v1::PREFIX}],
        "security": [{"token": []}, {}],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    })
}

/// Tags in the order of their first operation.
fn tags() -> Vec<Value> {
    let mut names: Vec<&str> = Vec::new();
    for operation in OPERATIONS {
        if !names.contains(&operation.tag()) {
            names.push(operation.tag());
        }
    }
    names.into_iter().map(|name| json!({"name": name})).collect()
}

fn describe(operation: &Operation) -> Value {
    let mut described = json!({
        "summary": operation.summary,
        "operationId": operation.id(),
        "tags": [operation.tag()],
        "parameters": parameters(operation),
        "responses": responses(operation),
    });
    if let Some(body) = operation.body {
        described["requestBody"] = json!({"required": true, "content": content(body, operation.method)});
    }
    described
}

fn parameters(operation: &Operation) -> Vec<Value> {
    let in_path = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| {
            let schema = json!({"type": "string", "minLength": 1});
            json!({"name": name, "in": "path", "required": true, "schema": schema})
        })
        .collect();
    parameters.extend(operation.query.iter().map(
        |(name, meaning)| json!({"name": name, "in": "query", "description": meaning, "schema": shape(name)}),
    ));
    let header = |name: &str, meaning: &str| json!({"name": name, "in": "header", "description": meaning, "schema": {"type": "string"}});
    if operation.body == Some("octets") {
        let mut range = header("Content-Range", "Where the bytes belong: `bytes FIRST-LAST/SIZE`");
        range["required"] = json!(true);
        parameters.push(range);
    } else if operation.tag() == "uploads" && operation.writes() {
        // Content is named by what it is: there is nothing that another could have changed.
    } else if operation.writes() {
        parameters.push(header("If-Match", "Only if the thing still has one of these tags"));
        parameters.push(header("If-None-Match", "`*`: only if it is not there"));
    } else if operation.path == "/events" {
        parameters.push(header("Last-Event-ID", "Goes on behind the event with this id"));
    } else {
        parameters.push(header("If-None-Match", "Answers 304 if this is the tag still"));
    }
    parameters
}

/// True if a query field says yes or no.
pub(crate) fn is_flag(name: &str) -> bool {
    matches!(name, "dry_run" | "prune" | "once" | "default" | "follow")
}

/// The schema of a query field: the same name means the same everywhere.
fn shape(name: &str) -> Value {
    match name {
        name if is_flag(name) => {
            json!({"type": "string", "enum": ["", "1", "true", "0", "false"]})
        }
        "limit" => json!({"type": "integer", "minimum": 1, "maximum": PAGE_ITEMS_MAX}),
        _ => json!({"type": "string"}),
    }
}

fn responses(operation: &Operation) -> Value {
    let tag = json!({"ETag": {"description": "Tag of what was answered", "schema": {"type": "string"}}});
    let mut responses = Map::new();
    let mut answer = |status: &str, schema: Option<&str>, text: &str| {
        let mut answer = json!({"description": text});
        if let Some(schema) = schema {
            answer["content"] = content(schema, "");
            answer["headers"] = tag.clone();
        }
        responses.insert(status.to_owned(), answer);
    };
    let shown = operation.answer.filter(|name| *name != "Report");
    match (operation.writes(), shown) {
        // With `dry_run`, the report.
        (true, None) if operation.answer.is_none() => {
            answer("204", None, "Done");
            answer("200", Some("Report"), "What a dry run would do");
        }
        (true, Some(name)) => {
            answer("200", Some(&format!("{name}|Report")), "Done; with `dry_run`, what would be done");
            answer("201", Some(name), "Made");
        }
        _ => answer("200", operation.answer, "Done"),
    }
    if !operation.writes() {
        answer("304", None, "The client has it already");
    }
    let mut refusals = vec![
        ("400", "The request cannot be read"),
        ("401", "A token is needed"),
        ("403", "The token's role does not suffice"),
        ("404", "There is no such thing"),
        ("422", "A value cannot be; the problem names its field"),
        ("503", "Too much waits, or DHCP does not run"),
    ];
    if operation.writes() {
        refusals.extend([
            ("409", "There is one already, or others change too fast"),
            ("412", "The thing is not as `If-Match` or `If-None-Match` wants it"),
            ("413", "The body is too long"),
            ("415", "The body is of no known type"),
            ("500", "The store failed; nothing was changed"),
            ("507", "The disk is full; nothing was changed"),
        ]);
    }
    for (status, text) in refusals {
        let schema = json!({"$ref": format!("{SCHEMAS}Problem")});
        let content = json!({"application/problem+json": {"schema": schema}});
        responses.insert(status.to_owned(), json!({"description": text, "content": content}));
    }
    Value::Object(responses)
}

/// The media type and schema of a name in the table: `text`, `[Node]`, `Node`, `Node|Report`.
fn content(name: &str, method: &str) -> Value {
    let reference = |name: &str| json!({"$ref": format!("{SCHEMAS}{name}")});
    let list = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let (kind, schema) = match (name, list) {
        ("octets", _) => ("application/octet-stream", json!({"type": "string", "format": "binary"})),
        ("text", _) => ("text/plain", json!({"type": "string"})),
        ("yaml", _) => ("application/yaml", json!({"type": "object"})),
        ("any", _) => ("application/json", json!({"type": "object"})),
        (_, Some("Event")) => {
            let stream = json!({"schema": {"type": "string"}});
            let list = json!({"schema": {"type": "array", "items": reference("Event")}});
            return json!({"text/event-stream": stream, "application/json": list});
        }
        (_, Some(item)) => ("application/json", json!({"type": "array", "items": reference(item)})),
        // A patch holds any part of the thing, with null for what is to go.
        _ if method == "patch" => {
            let patch = json!({"schema": {"type": "object", "description": format!("Any part of a {name} (RFC 7396)")}});
            return json!({"application/json": patch, "application/merge-patch+json": patch});
        }
        (_, None) => {
            let either: Vec<Value> = name.split('|').map(reference).collect();
            let schema = if let [one] = either.as_slice() { one.clone() } else { json!({"anyOf": either}) };
            ("application/json", schema)
        }
    };
    json!({kind: {"schema": schema}})
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

/// The bodies that the table names.
const BODIES: &[fn(&mut SchemaGenerator)] = &[
    add::<types::NodeBody>,
    add::<types::BmcBody>,
    add::<types::GroupBody>,
    add::<types::ProfileBody>,
    add::<types::AssignBody>,
    add::<types::BootBody>,
    add::<types::ReportBody>,
    add::<types::LeaseBody>,
    add::<types::SightingBody>,
    add::<v1::audit::AuditPageBody>,
    add::<v1::audit::CheckpointBody>,
    add::<v1::batch::BatchBody>,
    add::<v1::blobs::BlobBody>,
    add::<v1::uploads::NewUploadBody>,
    add::<v1::uploads::UploadBody>,
    add::<v1::events::EventBody>,
    add::<v1::explain::StepBody>,
    add::<v1::interfaces::OwnedBody>,
    add::<v1::observed::NetworkBody>,
    add::<v1::observed::RogueBody>,
    add::<v1::status::StatusBody>,
    add::<v1::cloud_init::DefaultsBody>,
    add::<v1::cloud_init::GroupDataBody>,
    add::<v1::cloud_init::NodeDataBody>,
    add::<v1::cloud_init::PreviewBody>,
    add::<v1::cloud_init::CallBody>,
    add::<types::ImageBody>,
    add::<types::NewImageBody>,
    add::<types::ImageTagBody>,
    add::<types::MoveTagBody>,
    add::<types::ImageDiffBody>,
    add::<types::GarbageBody>,
    add::<v1::traffic::TrafficBody>,
    add::<types::SecretBody>,
    add::<types::NewSecretBody>,
    add::<types::NewVersionBody>,
    add::<types::SecretVersionBody>,
    add::<types::RevealedBody>,
    add::<types::record::RecordLineBody>,
    add::<types::record::RecordBody>,
    add::<types::record::WhyBody>,
    add::<types::record::CauseBody>,
    add::<v1::trust::SessionBody>,
    add::<v1::trust::NodeTrustBody>,
    add::<v1::trust::EpochBody>,
    add::<types::tpm::TpmBody>,
    add::<types::tpm::ApproveBody>,
    add::<types::tpm::PreloadBody>,
    add::<types::tpm::EnrolAnewBody>,
    add::<types::tpm::HeldBody>,
    add::<types::tpm::RevokedBody>,
    add::<types::tpm::OpenWindowBody>,
    add::<types::tpm::WindowBody>,
    add::<Problem>,
];

/// The schemas of all bodies, by their names in the table.
fn schemas() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    for add in BODIES {
        add(&mut generator);
    }
    let mut renamed = Map::new();
    for (name, mut schema) in generator.take_definitions(false) {
        rename(&mut schema);
        renamed.insert(public(&name).to_owned(), schema);
    }
    Value::Object(renamed)
}

/// Types are called `NodeBody` here, and `Node` where people read them.
fn public(name: &str) -> &str {
    name.strip_suffix("Body").unwrap_or(name)
}

fn rename(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                *reference = public(reference).to_owned();
            }
            fields.values_mut().for_each(rename);
        }
        Value::Array(items) => items.iter_mut().for_each(rename),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
