//! JSON as the replaced services, which are written in Go, read and write it: keys in any case, unknown keys
//! ignored, null as good as absent, no content type needed.

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::api::problem::Problem;

/// Reads a body whose keys are `keys`, in any case and at any depth.
///
/// # Errors
/// Status 500, as SMD answers: the body is no JSON, or a value has the wrong type.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &Bytes, keys: &[&str]) -> Result<T, Problem> {
    read(bytes, |value| canonical(value, keys))
}

/// The same for bodies that carry what is not ours to read: fields that are `foreign` come through as they are.
///
/// # Errors
/// As `decode`.
pub(crate) fn decode_around<T: DeserializeOwned>(
    bytes: &Bytes,
    keys: &[&str],
    foreign: fn(&str) -> bool,
) -> Result<T, Problem> {
    read(bytes, |value| canonical_around(value, keys, foreign))
}

fn read<T: DeserializeOwned>(bytes: &Bytes, tidy: impl FnOnce(Value) -> Value) -> Result<T, Problem> {
    let wrong = |error: &dyn std::fmt::Display| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("error decoding JSON {error}"))
    };
    let value: Value = serde_json::from_slice(bytes).map_err(|error| wrong(&error))?;
    serde_path_to_error::deserialize(tidy(value)).map_err(|error| wrong(&error))
}

/// The value with known keys in their canonical spelling and without nulls in objects. Of keys that differ
/// only in case, the last counts.
pub(crate) fn canonical(value: Value, keys: &[&str]) -> Value {
    canonical_around(value, keys, |_| false)
}

fn canonical_around(value: Value, keys: &[&str], foreign: fn(&str) -> bool) -> Value {
    match value {
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| canonical_around(item, keys, foreign)).collect())
        }
        Value::Object(fields) => {
            let mut out = Map::new();
            for (key, field) in fields {
                let known = keys.iter().find(|known| known.eq_ignore_ascii_case(&key));
                let key = known.map_or(key, |known| (*known).to_owned());
                if field.is_null() {
                    continue;
                }
                let field = if foreign(&key) { field } else { canonical_around(field, keys, foreign) };
                out.insert(key, field);
            }
            Value::Object(out)
        }
        other => other,
    }
}

/// A body of JSON.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(body).expect("answers hold nothing that JSON cannot");
    (status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// `{"code":0,"message":…}`.
pub(crate) fn message(text: &str) -> Response {
    answer(StatusCode::OK, &json!({"code": 0, "message": text}))
}

/// How many were deleted; 404 if none.
pub(crate) fn deleted(count: usize) -> Result<Response, Problem> {
    match count {
        0 => Err(Problem::not_found("no entries to delete")),
        1 => Ok(message("deleted 1 entry")),
        _ => Ok(message(&format!("deleted {count} entries"))),
    }
}

/// 201 with the URIs of what was made and, of the first, a `Location`.
pub(crate) fn created(uris: &[String]) -> Response {
    let list: Vec<Value> = uris.iter().map(|uri| json!({"URI": uri})).collect();
    located(uris.first(), answer(StatusCode::CREATED, &list))
}

/// 201 with one URI, not in an array.
pub(crate) fn created_one(uri: &String) -> Response {
    located(Some(uri), answer(StatusCode::CREATED, &json!({"URI": uri})))
}

fn located(uri: Option<&String>, mut response: Response) -> Response {
    if let Some(Ok(value)) = uri.map(|uri| uri.parse()) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use serde_json::json;

    use crate::api::openchami::go::{canonical, decode_around};

    #[test]
    fn keys_are_found_in_any_case_and_nulls_are_absent() {
        let given = json!({"id": "a", "MacRequired": true, "x": null, "List": [{"Id": "b", "own": 1}]});
        let wanted = json!({"ID": "a", "MACRequired": true, "List": [{"ID": "b", "own": 1}]});
        assert_eq!(canonical(given, &["ID", "MACRequired"]), wanted);
    }

    #[test]
    fn what_is_foreign_comes_through_untouched() {
        let body = Bytes::from_static(br#"{"nodeinfo":{"id":"a","none":null},"id":"b"}"#);
        let read: serde_json::Value =
            decode_around(&body, &["ID", "NodeInfo"], |key| key == "NodeInfo").unwrap();
        assert_eq!(read, json!({"NodeInfo": {"id": "a", "none": null}, "ID": "b"}));
    }

    #[test]
    fn of_keys_that_differ_in_case_the_last_counts() {
        let given: serde_json::Value = serde_json::from_str(r#"{"id":"a","ID":"b"}"#).unwrap();
        assert_eq!(canonical(given, &["ID"]), json!({"ID": "b"}));
    }
}
