//! Reads `muster.toml` key by key and keeps every problem with its line: a file with five mistakes gets five
//! messages, not one after the other. (serde stops at the first.)

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One mistake in the configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConfigProblem {
    /// From one; 0 if it belongs to no line.
    pub line: usize,
    /// Path of the key: `network[0].range`.
    pub key: String,
    pub text: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.key.as_str()) {
            (0, "") => f.write_str(&self.text),
            (0, key) => write!(f, "{key}: {}", self.text),
            (line, "") => write!(f, "line {line}: {}", self.text),
            (line, key) => write!(f, "line {line}: {key}: {}", self.text),
        }
    }
}

/// A value and the line it stands on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) line: usize,
}

/// Collects problems; knows where lines begin.
pub(crate) struct Problems<'a> {
    text: &'a str,
    pub(crate) list: Vec<ConfigProblem>,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(text: &'a str) -> Problems<'a> {
        Problems { text, list: Vec::new() }
    }

    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    pub(crate) fn add(&mut self, line: usize, key: impl Into<String>, text: impl Into<String>) {
        self.list.push(ConfigProblem { line, key: key.into(), text: text.into() });
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Parses the document; syntax errors become problems, and what could be read is returned.
    pub(crate) fn document(&mut self) -> DeTable<'a> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let line = error.span().map_or(0, |span| self.line_of(span.start));
            self.add(line, "", error.message());
        }
        table.into_inner()
    }
}

/// A table whose keys are taken one by one; what is left at the end is unknown.
pub(crate) struct Section<'t, 'a> {
    table: Option<&'t DeTable<'a>>,
    path: String,
    known: BTreeSet<&'static str>,
    pub(crate) line: usize,
}

impl<'t, 'a> Section<'t, 'a> {
    pub(crate) fn root(table: &'t DeTable<'a>) -> Section<'t, 'a> {
        Section { table: Some(table), path: String::new(), known: BTreeSet::new(), line: 0 }
    }

    pub(crate) fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'a>>> {
        self.known.insert(key);
        self.table?.get(key)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'a>>, wanted: &str, problems: &mut Problems<'_>) {
        let line = problems.line_of(value.span().start);
        problems.add(
            line,
            self.path(key),
            format!("expected {wanted}, found {}", value.get_ref().type_str()),
        );
    }

    /// A table below this one; empty if it is not there.
    pub(crate) fn section(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Section<'t, 'a> {
        let value = self.take(key);
        let table = value.and_then(|value| value.get_ref().as_table());
        if let Some(value) = value.filter(|_| table.is_none()) {
            self.wrong(key, value, "a table", problems);
        }
        let line = value.map_or(0, |value| problems.line_of(value.span().start));
        Section { table, path: self.path(key), known: BTreeSet::new(), line }
    }

    /// An array of tables.
    pub(crate) fn sections(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Vec<Section<'t, 'a>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong(key, value, &format!("tables, written as [[{key}]]"), problems);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let line = problems.line_of(item.span().start);
            let path = format!("{}[{index}]", self.path(key));
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(Section { table: Some(table), path, known: BTreeSet::new(), line })
                }
                None => problems.add(line, path, format!("expected a table, written as [[{key}]]")),
            }
        }
        sections
    }

    pub(crate) fn text(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<At<String>> {
        let value = self.take(key)?;
        let line = problems.line_of(value.span().start);
        match value.get_ref().as_str() {
            Some(text) => Some(At { value: text.to_owned(), line }),
            None => {
                self.wrong(key, value, "a string", problems);
                None
            }
        }
    }

    /// A string that is read as `T`.
    pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<At<T>> {
        let At { value, line } = self.text(key, problems)?;
        match value.parse() {
            Ok(value) => Some(At { value, line }),
            Err(error) => {
                let error: T::Err = error;
                problems.add(line, self.path(key), format!("{value:?}: {error}"));
                None
            }
        }
    }

    /// A list of strings, or one string, each read as `T`. None: the key is not there.
    pub(crate) fn list<T: FromStr<Err: fmt::Display>>(
        &mut self,
        key: &'static str,
        problems: &mut Problems<'_>,
    ) -> Option<Vec<At<T>>> {
        let value = self.take(key)?;
        let items: Vec<&Spanned<DeValue<'a>>> = match value.get_ref() {
            DeValue::Array(array) => array.iter().collect(),
            _ => vec![value],
        };
        let mut out = Vec::new();
        for item in items {
            let line = problems.line_of(item.span().start);
            match item.get_ref().as_str().map(|text| (text, text.parse::<T>())) {
                Some((_, Ok(value))) => out.push(At { value, line }),
                Some((text, Err(error))) => problems.add(line, self.path(key), format!("{text:?}: {error}")),
                None => self.wrong(key, item, "a string", problems),
            }
        }
        Some(out)
    }

    pub(crate) fn flag(&mut self, key: &'static str, problems: &mut Problems<'_>) -> Option<bool> {
        let value = self.take(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong(key, value, "true or false", problems);
        }
        flag
    }

    /// A whole number between `low` and `high`.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        (low, high): (u64, u64),
        problems: &mut Problems<'_>,
    ) -> Option<u64> {
        let value = self.take(key)?;
        let Some(number) = value.get_ref().as_integer() else {
            self.wrong(key, value, "a number", problems);
            return None;
        };
        let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let good = number.filter(|number| (low..=high).contains(number));
        if good.is_none() {
            let line = problems.line_of(value.span().start);
            problems.add(line, self.path(key), format!("must be between {low} and {high}"));
        }
        good
    }

    /// Reports what nobody asked for, with the known key that is spelled most alike.
    pub(crate) fn finish(self, problems: &mut Problems<'_>) {
        let Some(table) = self.table else { return };
        for (key, value) in table.iter().filter(|(key, _)| !self.known.contains(key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let line = problems.line_of(key.span().start.min(value.span().start));
            let near = self.known.iter().map(|known| (distance(known, name), *known)).min();
            let hint = near.filter(|(far, _)| *far <= 2).map(|(_, known)| format!("; did you mean {known}?"));
            problems.add(line, self.path(name), format!("unknown key{}", hint.unwrap_or_default()));
        }
    }
}

/// Edit distance (insertions, deletions, replacements).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
