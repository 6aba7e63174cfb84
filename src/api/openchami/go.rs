//! JSON as the replaced services, which are written in Go, read and write it: keys in any case, unknown keys
//! ignored, null as good as absent, no content type needed.

use std::fmt;

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::api::problem::Problem;

/// Reads a body whose keys are `keys`, in any case and at any depth.
///
/// # Errors
/// Status 500, as SMD answers: the body is no JSON, or a value has the wrong type.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &Bytes, keys: &[&str]) -> Result<T, Problem> {
    decode_around(bytes, keys, |_| false)
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
    let wrong = |error: &dyn fmt::Display| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("error decoding JSON {error}"))
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Canonical { keys, foreign }.deserialize(&mut reader).map_err(|error| wrong(&error))?;
    reader.end().map_err(|error| wrong(&error))?;
    serde_path_to_error::deserialize(value).map_err(|error| wrong(&error))
}

/// Reads a value with known keys in their canonical spelling and without nulls in objects. Of keys that differ
/// only in case, the last counts: that is why the order of the document matters, and why this reads text.
#[derive(Clone, Copy)]
struct Canonical<'a> {
    keys: &'a [&'a str],
    foreign: fn(&str) -> bool,
}

impl<'de> DeserializeSeed<'de> for Canonical<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Canonical<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            let known = self.keys.iter().find(|known| known.eq_ignore_ascii_case(&key));
            let key = known.map_or(key, |known| (*known).to_owned());
            let field =
                if (self.foreign)(&key) { fields.next_value()? } else { fields.next_value_seed(self)? };
            if !field.is_null() {
                out.insert(key, field);
            }
        }
        Ok(Value::Object(out))
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
    use serde_json::{Value, json};

    use crate::api::openchami::go::{decode, decode_around};

    fn read(text: &'static str, keys: &[&str]) -> Value {
        decode(&Bytes::from_static(text.as_bytes()), keys).unwrap()
    }

    #[test]
    fn keys_are_found_in_any_case_and_nulls_are_absent() {
        let given = r#"{"id":"a","MacRequired":true,"x":null,"List":[{"Id":"b","own":1.5},null,-7]}"#;
        let wanted = json!({"ID": "a", "MACRequired": true, "List": [{"ID": "b", "own": 1.5}, null, -7]});
        assert_eq!(read(given, &["ID", "MACRequired"]), wanted);
    }

    #[test]
    fn what_is_foreign_comes_through_untouched() {
        let body = Bytes::from_static(br#"{"nodeinfo":{"id":"a","none":null},"id":"b"}"#);
        let found: Value = decode_around(&body, &["ID", "NodeInfo"], |key| key == "NodeInfo").unwrap();
        assert_eq!(found, json!({"NodeInfo": {"id": "a", "none": null}, "ID": "b"}));
    }

    #[test]
    fn of_keys_that_differ_in_case_the_last_counts() {
        assert_eq!(read(r#"{"id":"a","ID":"b"}"#, &["ID"]), json!({"ID": "b"}));
        assert_eq!(read(r#"{"ID":"b","id":"a"}"#, &["ID"]), json!({"ID": "a"}));
    }

    #[test]
    fn what_is_no_json_is_status_500() {
        for text in ["", "{", "{} {}", "{\"a\":}", "nul", "[1,]"] {
            let found = decode::<Value>(&Bytes::from_static(text.as_bytes()), &[]).unwrap_err();
            assert!(found.status == 500 && found.detail.starts_with("error decoding JSON"), "{text:?}");
        }
        let deep = Bytes::from("[".repeat(100_000));
        assert_eq!(decode::<Value>(&deep, &[]).unwrap_err().status, 500);
    }
}
