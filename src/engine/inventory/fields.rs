//! Reads the keys of one mapping, each at most once, with problems that name line and path.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::engine::inventory::yaml::{Value, Yaml};
use crate::engine::inventory::{Field, Problems};

/// A mapping that is being read.
pub(crate) struct Fields<'y> {
    pairs: &'y [(String, Yaml)],
    taken: Vec<&'static str>,
    pub(crate) path: String,
    pub(crate) line: usize,
}

impl<'y> Fields<'y> {
    /// None, with a problem: the value is no mapping.
    pub(crate) fn of(yaml: &'y Yaml, path: &str, problems: &mut Problems) -> Option<Fields<'y>> {
        match &yaml.value {
            Value::Map(pairs) => {
                Some(Fields { pairs, taken: Vec::new(), path: path.to_owned(), line: yaml.line })
            }
            Value::Null | Value::Scalar(..) | Value::List(_) => {
                problems.add(yaml.line, path, format!("expected fields (key: value), found {}", kind(yaml)));
                None
            }
        }
    }

    pub(crate) fn field(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.pairs.iter().any(|(name, _)| name == key)
    }

    /// The line on which a key's value stands, else the mapping's.
    pub(crate) fn line_of(&self, key: &str) -> usize {
        self.pairs.iter().find(|(name, _)| name == key).map_or(self.line, |(_, value)| value.line)
    }

    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'y Yaml> {
        self.taken.push(key);
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A word. Null and the empty string say that there is none.
    pub(crate) fn text(&mut self, key: &'static str, problems: &mut Problems) -> Field<String> {
        let yaml = self.take(key)?;
        match &yaml.value {
            Value::Null => Some(None),
            Value::Scalar(text, _) if text.is_empty() => Some(None),
            Value::Scalar(text, _) => Some(Some(text.clone())),
            Value::List(_) | Value::Map(_) => {
                problems.add(yaml.line, self.field(key), format!("expected a value, found {}", kind(yaml)));
                None
            }
        }
    }

    /// A word that is read as `T`.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Field<T> {
        let line = self.take(key)?.line;
        match self.text(key, problems)? {
            None => Some(None),
            Some(text) => match text.trim().parse::<T>() {
                Ok(value) => Some(Some(value)),
                Err(error) => {
                    problems.add(line, self.field(key), message(&text, &error));
                    None
                }
            },
        }
    }

    /// Several words: a list, or one word alone.
    pub(crate) fn words(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<Vec<(usize, String)>> {
        let yaml = self.take(key)?;
        let items: &[Yaml] = match &yaml.value {
            Value::Null => return Some(Vec::new()),
            Value::List(items) => items,
            Value::Scalar(..) | Value::Map(_) => std::slice::from_ref(yaml),
        };
        let mut words = Vec::new();
        for item in items {
            match &item.value {
                Value::Scalar(text, _) => words.push((item.line, text.clone())),
                Value::Null | Value::List(_) | Value::Map(_) => {
                    problems.add(
                        item.line,
                        self.field(key),
                        format!("expected a value, found {}", kind(item)),
                    );
                }
            }
        }
        Some(words)
    }

    /// Items of a list with their paths.
    pub(crate) fn items(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<Vec<(String, &'y Yaml)>> {
        let yaml = self.take(key)?;
        match &yaml.value {
            Value::Null => Some(Vec::new()),
            Value::List(items) => {
                let path = self.field(key);
                Some(
                    items
                        .iter()
                        .enumerate()
                        .map(|(index, item)| (format!("{path}[{index}]"), item))
                        .collect(),
                )
            }
            Value::Scalar(..) | Value::Map(_) => {
                problems.add(yaml.line, self.field(key), format!("expected a list, found {}", kind(yaml)));
                None
            }
        }
    }

    /// A mapping of words.
    pub(crate) fn map(&mut self, key: &'static str, problems: &mut Problems) -> BTreeMap<String, String> {
        let Some(yaml) = self.take(key) else { return BTreeMap::new() };
        let mut map = BTreeMap::new();
        match &yaml.value {
            Value::Null => {}
            Value::Map(pairs) => {
                for (name, value) in pairs {
                    match &value.value {
                        Value::Scalar(text, _) => drop(map.insert(name.clone(), text.clone())),
                        Value::Null => drop(map.insert(name.clone(), String::new())),
                        Value::List(_) | Value::Map(_) => {
                            let field = format!("{}.{name}", self.field(key));
                            problems.add(
                                value.line,
                                field,
                                format!("expected a value, found {}", kind(value)),
                            );
                        }
                    }
                }
            }
            Value::Scalar(..) | Value::List(_) => {
                problems.add(yaml.line, self.field(key), format!("expected fields, found {}", kind(yaml)));
            }
        }
        map
    }

    /// Keys nobody took, as problems.
    pub(crate) fn refuse_rest(&self, problems: &mut Problems) {
        for (name, value) in self.rest() {
            problems.add(value.line, self.field(name), "unknown field");
        }
    }

    /// Scalars nobody took, for annotations; other things are dropped as their tools drop them.
    pub(crate) fn keep_rest(&self, annotations: &mut BTreeMap<String, String>) {
        for (name, value) in self.rest() {
            if let Value::Scalar(text, _) = &value.value {
                annotations.insert(name.to_owned(), text.clone());
            }
        }
    }

    /// Keys nobody took.
    pub(crate) fn rest(&self) -> impl Iterator<Item = (&'y str, &'y Yaml)> {
        let taken = self.taken.clone();
        self.pairs
            .iter()
            .filter(move |(name, _)| !taken.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value))
    }
}

/// An error's text; those of our own types name the value already.
pub(crate) fn message(text: &str, error: &impl Display) -> String {
    let error = error.to_string();
    if error.contains(text) { error } else { format!("{text:?}: {error}") }
}

fn kind(yaml: &Yaml) -> &'static str {
    match yaml.value {
        Value::Null => "nothing",
        Value::Scalar(..) => "a value",
        Value::List(_) => "a list",
        Value::Map(_) => "fields",
    }
}
