//! Queries of the replaced services: keys in any case, repeated values joined by "or", different keys by "and", a
//! leading `!` negates.

use std::collections::BTreeMap;

use crate::engine::image::path::percent_decode;

/// The fields of one query, by lower-case key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    pub(crate) fn parse(raw: Option<&str>) -> Query {
        let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in raw.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = percent_decode(key).unwrap_or_default().to_ascii_lowercase();
            fields.entry(key).or_default().push(percent_decode(value).unwrap_or_default());
        }
        Query(fields)
    }

    /// From the fields of a JSON object: texts, numbers and flags, alone or in lists.
    pub(crate) fn of_json(object: &serde_json::Map<String, serde_json::Value>) -> Query {
        use serde_json::Value;
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let values = |value: &Value| match value {
            Value::Array(items) => items.iter().filter_map(text).collect(),
            other => text(other).into_iter().collect(),
        };
        Query(object.iter().map(|(key, value)| (key.to_ascii_lowercase(), values(value))).collect())
    }

    /// The values of a key; empty if it is not there.
    pub(crate) fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn first(&self, key: &str) -> Option<&str> {
        self.all(key).first().map(String::as_str)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// True for `=true` and `=1`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.first(key).is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1"))
    }

    /// Replaces the values of a key.
    pub(crate) fn set(&mut self, key: &str, values: Vec<String>) {
        self.0.insert(key.to_owned(), values);
    }

    /// True if `value` is among the values of the key, none is given, or only others are negated.
    pub(crate) fn admits(&self, key: &str, value: &str) -> bool {
        self.admits_any(key, &[value])
    }

    /// The same for something that has several values, such as the groups of a node.
    pub(crate) fn admits_any(&self, key: &str, values: &[&str]) -> bool {
        let wanted = self.all(key);
        let is = |text: &str| values.iter().any(|value| value.eq_ignore_ascii_case(text));
        let mut positive = wanted.iter().filter(|text| !text.starts_with('!')).peekable();
        let negative = wanted.iter().filter_map(|text| text.strip_prefix('!'));
        (positive.peek().is_none() || positive.any(|text| is(text))) && !negative.into_iter().any(is)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::api::openchami::query::Query;

    #[test]
    fn values_are_joined_and_negated() {
        let query = Query::parse(Some("State=Ready&state=On&role=!Service&x=%21a"));
        assert!(
            query.admits("state", "ready") && query.admits("state", "ON") && !query.admits("state", "Off")
        );
        assert!(query.admits("role", "Compute") && !query.admits("role", "service"));
        assert!(query.admits("missing", "anything") && !query.admits("x", "a"));
    }

    proptest! {
        /// What a value admits, its negation refuses, and the other way round.
        #[test]
        fn a_negation_admits_just_what_the_value_refuses(wanted in "[a-z]{1,3}", value in "[a-zA-Z]{1,3}") {
            let plain = Query::parse(Some(&format!("k={wanted}")));
            let negated = Query::parse(Some(&format!("k=!{wanted}")));
            prop_assert_eq!(plain.admits("k", &value), wanted.eq_ignore_ascii_case(&value));
            prop_assert_eq!(negated.admits("k", &value), !plain.admits("k", &value));
        }
    }
}
