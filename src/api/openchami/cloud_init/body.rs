//! Bodies of requests, which may be JSON or YAML, one object or a list; and bodies of answers.

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::api::problem::{FieldProblem, Problem};
use crate::engine::cloud_init::yaml;

/// Entries in one request: every group or node of a site, and no more than its body has room for.
const ENTRIES_MAX: usize = 200_000;

/// Reads a body.
///
/// # Errors
/// Status 422 with the line of the mistake.
pub(crate) fn value(bytes: &Bytes) -> Result<Value, Problem> {
    let refuse = |line: usize, text: String| {
        let problem = FieldProblem {
            subject: String::new(),
            field: "body".to_owned(),
            text: text.clone(),
            line: Some(line).filter(|line| *line > 0),
        };
        let detail = format!("the body is neither JSON nor YAML: line {line}: {text}");
        Problem { problems: vec![problem], ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    };
    let error = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => refuse(error.line(), error.to_string()),
    };
    let Ok(text) = std::str::from_utf8(bytes) else { return Err(error) };
    if text.trim_start().starts_with(['{', '[']) {
        return Err(error);
    }
    match yaml::parse(text) {
        Ok(Some(value)) if value.is_object() || value.is_array() => Ok(value),
        Ok(_) => Err(error),
        Err(problem) => Err(refuse(problem.line, problem.text)),
    }
}

/// Reads a body of one entry or a list of them.
pub(crate) fn values(bytes: &Bytes) -> Result<Vec<Value>, Problem> {
    match value(bytes)? {
        Value::Array(items) if items.len() <= ENTRIES_MAX => Ok(items),
        Value::Array(_) => Err(Problem::field("body", format!("more than {ENTRIES_MAX} entries"))),
        one => Ok(vec![one]),
    }
}

/// Reads a body of just one entry, alone or in a list.
pub(crate) fn one(bytes: &Bytes) -> Result<Value, Problem> {
    let mut values = values(bytes)?;
    match (values.pop(), values.is_empty()) {
        (Some(value), true) => Ok(value),
        _ => Err(Problem::field("body", "one entry is needed")),
    }
}

/// An entry's field, by its key in any case and with dashes, underscores or neither.
pub(crate) fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_'], "");
    let object = value.as_object()?;
    let found = object
        .get(key)
        .or_else(|| object.iter().find(|(name, _)| plain(name) == plain(key)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

pub(crate) fn text(body: impl Into<axum::body::Body>) -> Response {
    served("text/plain; charset=utf-8", body)
}

pub(crate) fn yaml(body: impl Into<axum::body::Body>) -> Response {
    served("application/x-yaml", body)
}

/// No cache in between may keep what a node is served.
fn served(kind: &'static str, body: impl Into<axum::body::Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::OK, headers, body.into()).into_response()
}

/// JSON as people read it, which is how these routes always answered.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    let text = serde_json::to_string_pretty(value).expect("a JSON value is JSON");
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}
