//! Requests' queries and bodies, with problems that name the field; JSON merge patches (RFC 7396).

use std::collections::BTreeSet;

use axum::body::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::problem::{FieldProblem, Problem};
use crate::engine::image::path::percent_decode;
use crate::model::{NodeId, Snapshot};

/// Reads the one query field of this name. `+` stands for itself: node sets have none, times may.
pub(crate) fn field(query: Option<&str>, name: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| percent_decode(value).unwrap_or_default())
    })
}

/// Reads every query field of this name.
pub(crate) fn fields(query: Option<&str>, name: &str) -> Vec<String> {
    let pairs = query.unwrap_or_default().split('&');
    let values = pairs.filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
    values.map(|(_, value)| percent_decode(value).unwrap_or_default()).collect()
}

/// Reads `limit`: how many things are wanted, at most and by default `max`.
pub(crate) fn limit(query: Option<&str>, max: usize) -> Result<usize, Problem> {
    let Some(text) = field(query, "limit") else { return Ok(max) };
    match text.parse() {
        Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
        _ => Err(Problem::field("limit", format!("{text:?} is no number from 1 to {max}"))),
    }
}

/// True if the query has the flag, alone or as `=true` or `=1`.
pub(crate) fn flag(query: Option<&str>, name: &str) -> bool {
    field(query, name).is_some_and(|value| !matches!(value.as_str(), "0" | "false"))
}

/// The nodes of the query's `set`. None: there is no such field.
pub(crate) fn set(snapshot: &Snapshot, query: Option<&str>) -> Result<Option<BTreeSet<NodeId>>, Problem> {
    field(query, "set").map(|text| resolve(snapshot, &text)).transpose()
}

/// The nodes of a set.
pub(crate) fn resolve(snapshot: &Snapshot, text: &str) -> Result<BTreeSet<NodeId>, Problem> {
    let set = text
        .parse()
        .map_err(|error: crate::base::nodeset::NodeSetError| Problem::field("set", error.to_string()))?;
    snapshot.resolve(&set).map_err(|error| Problem::field("set", error.to_string()))
}

/// Reads a JSON body.
pub(crate) fn body<T: DeserializeOwned + Serialize>(bytes: &Bytes) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| json_problem(&error))?;
    reader.end().map_err(|error| Problem::bad_request(error.to_string()))?;
    let given: Value = serde_json::from_slice(bytes).expect("what was read once is JSON");
    let read = serde_json::to_value(&value).expect("bodies hold nothing that JSON cannot");
    no_list_for_fields(&given, &read, "")?;
    Ok(value)
}

/// Refuses a list where fields belong: serde would take its items for the fields, in the order of our source.
fn no_list_for_fields(given: &Value, read: &Value, place: &str) -> Result<(), Problem> {
    match (given, read) {
        (Value::Array(_), Value::Object(_)) => {
            let field = if place.is_empty() { "body" } else { place };
            Err(Problem::field(field, "expected fields in braces, found a list"))
        }
        (Value::Object(given), Value::Object(read)) => given.iter().try_for_each(|(key, value)| {
            let dot = if place.is_empty() { "" } else { "." };
            let below =
                read.get(key).map(|read| no_list_for_fields(value, read, &format!("{place}{dot}{key}")));
            below.unwrap_or(Ok(()))
        }),
        (Value::Array(given), Value::Array(read)) => {
            let mut pairs = given.iter().zip(read).enumerate();
            pairs.try_for_each(|(index, (given, read))| {
                no_list_for_fields(given, read, &format!("{place}[{index}]"))
            })
        }
        _ => Ok(()),
    }
}

/// Reads a part of a body.
pub(crate) fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| json_problem(&error))
}

/// Reads a merge patch: an object.
pub(crate) fn patch(bytes: &Bytes) -> Result<Value, Problem> {
    let patch: Value = body(bytes)?;
    if patch.is_object() { Ok(patch) } else { Err(Problem::bad_request("a patch is a JSON object")) }
}

/// The value with a merge patch applied: null removes, objects merge, all else replaces.
pub(crate) fn merged<T: Serialize + DeserializeOwned>(value: &T, patch: &Value) -> Result<T, Problem> {
    let mut json = serde_json::to_value(value).expect("bodies hold nothing that JSON cannot");
    merge(&mut json, patch);
    serde_path_to_error::deserialize(json).map_err(|error| json_problem(&error))
}

fn merge(target: &mut Value, patch: &Value) {
    let (Some(fields), Value::Object(changes)) = (target.as_object_mut(), patch) else {
        *target = patch.clone();
        return;
    };
    for (key, change) in changes {
        match change {
            Value::Null => drop(fields.remove(key)),
            Value::Object(_) if fields.get(key).is_some_and(Value::is_object) => {
                fields.get_mut(key).into_iter().for_each(|field| merge(field, change));
            }
            _ => drop(fields.insert(key.clone(), change.clone())),
        }
    }
}

/// Names the field and, where the text was at hand, the line.
fn json_problem(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    let (cause, path) = (error.inner(), error.path().to_string());
    let field = if path == "." { String::new() } else { path };
    let line = Some(cause.line()).filter(|line| *line > 0);
    let detail = if field.is_empty() { cause.to_string() } else { format!("{field}: {cause}") };
    let problems = vec![FieldProblem { subject: String::new(), field, text: cause.to_string(), line }];
    Problem { problems, ..Problem::bad_request(detail) }
}
