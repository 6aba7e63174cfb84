//! Reads and writes the fields of entries: keys in any case, with dashes or underscores.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::Document;

/// Says which field of an entry cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {text}")]
pub struct Wrong {
    pub field: String,
    pub text: String,
}

/// An object's fields by their keys in lower case with dashes. Empty texts and nulls are as good as absent.
pub(crate) struct Fields<'a>(BTreeMap<String, &'a Value>);

impl<'a> Fields<'a> {
    pub(crate) fn of(value: &'a Value, what: &str) -> Result<Fields<'a>, Wrong> {
        let object = value.as_object().ok_or_else(|| wrong(what, "must be an object"))?;
        let given = object.iter().filter(|(_, value)| !value.is_null());
        Ok(Fields(given.map(|(key, value)| (key.to_ascii_lowercase().replace('_', "-"), value)).collect()))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(&key.replace('_', "-")).copied()
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, Wrong> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(wrong(key, "must be a text")),
        }
    }

    pub(crate) fn number(&self, key: &str, max: u64) -> Result<Option<u64>, Wrong> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok()).filter(|number| *number <= max);
        number.map(Some).ok_or_else(|| wrong(key, &format!("must be a number up to {max}")))
    }

    pub(crate) fn texts(&self, key: &str) -> Result<Vec<String>, Wrong> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::String(one)) => Ok(vec![one.clone()]),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<String>> = items.iter().map(text).collect();
                texts.ok_or_else(|| wrong(key, "must be a list of texts"))
            }
            Some(_) => Err(wrong(key, "must be a list of texts")),
        }
    }

    pub(crate) fn map(&self, key: &str) -> Result<Map<String, Value>, Wrong> {
        match self.get(key) {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map.clone()),
            Some(_) => Err(wrong(key, "must be an object")),
        }
    }
}

/// Writes an entry: what is absent is left out.
pub(crate) fn write(texts: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Map<String, Value> {
    texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), json!(text?)))).collect()
}

/// A URL that paths can be put behind.
pub(crate) fn base_url(field: &str, url: &str) -> Result<String, Wrong> {
    let known = url.starts_with("http://") || url.starts_with("https://");
    if !known || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(wrong(
            field,
            &format!("{url:?} is no URL; give one such as http://172.16.0.254:8081/cloud-init"),
        ));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

/// A document's JSON. Only `write` makes them.
pub(crate) fn kept(document: &Document) -> Option<Value> {
    serde_json::from_str(&document.body).ok()
}

pub(crate) fn wrong(field: &str, text: &str) -> Wrong {
    Wrong { field: field.to_owned(), text: text.to_owned() }
}
