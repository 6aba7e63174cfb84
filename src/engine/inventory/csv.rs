//! CSV with a header line: one node per line.

use std::collections::BTreeMap;

use crate::engine::inventory::yaml::{Value, Yaml};
use crate::engine::inventory::{Document, Problems, nodes};

/// Columns, and the field of form B that each is. `name` and `mac` suffice.
const COLUMNS: [(&str, &str); 15] = [
    ("name", "name"),
    ("mac", "mac"),
    ("ip", "ipaddr"),
    ("nid", "nid"),
    ("xname", "xname"),
    ("groups", "groups"),
    ("group", "groups"),
    ("bmc", "bmc"),
    ("bmc_mac", "bmc_mac"),
    ("bmc_ip", "bmc_ip"),
    ("arch", "arch"),
    ("role", "role"),
    ("uuid", "uuid"),
    ("policy", "policy"),
    ("loader", "loader"),
];

/// Reads a table. Each line becomes a node as form C writes it, so that all rules are the same.
pub(crate) fn read(text: &str, short_name: &str, problems: &mut Problems) -> Document {
    let lines = Lines(text.lines().collect());
    let mut reader = ::csv::ReaderBuilder::new()
        .flexible(true)
        .trim(::csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let (columns, top) = match reader.headers() {
        Ok(header) => {
            (header.iter().map(str::to_ascii_lowercase).collect::<Vec<_>>(), lines.of(header.position()))
        }
        Err(error) => {
            problems.add(lines.of(error.position()), "", error.to_string());
            return Document::default();
        }
    };
    let field = |column: &str| COLUMNS.iter().find(|(name, _)| *name == column).map(|(_, field)| *field);
    for column in columns.iter().filter(|column| field(column).is_none()) {
        let known = COLUMNS.map(|(name, _)| name).join(", ");
        problems.add(top, column.clone(), format!("unknown column; known are {known}"));
    }
    // `group` and `groups` are one field: a second column of it would hide the first.
    for (_, wanted) in COLUMNS.iter().filter(|(name, _)| *name != "group") {
        if let Some(second) = columns.iter().filter(|column| field(column) == Some(wanted)).nth(1) {
            problems.add(top, second.clone(), "this column stands here twice");
        }
    }
    for needed in ["name", "mac"].iter().filter(|needed| !columns.iter().any(|column| column == *needed)) {
        problems.add(top, *needed, "this column is needed");
    }
    let mut items = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = lines.of(record.position());
                if record.len() != columns.len() {
                    let text = format!("{} fields, but the header has {}", record.len(), columns.len());
                    problems.add(line, "", text);
                    continue;
                }
                let pairs = columns.iter().zip(record.iter());
                items.push(row(line, pairs.filter_map(|(column, cell)| Some((field(column)?, cell)))));
            }
            Err(error) => {
                problems.add(lines.of(error.position()), "", error.to_string());
            }
        }
    }
    let root = Yaml { line: 1, value: Value::List(items) };
    nodes::document(&root, short_name, problems)
}

/// Empty cells say nothing.
fn row<'a>(line: usize, cells: impl Iterator<Item = (&'static str, &'a str)>) -> Yaml {
    let scalar = |text: &str| Yaml { line, value: Value::Scalar(text.to_owned(), true) };
    let mut pairs: BTreeMap<&str, Yaml> = BTreeMap::new();
    for (field, cell) in cells.filter(|(field, cell)| !cell.is_empty() || *field == "mac") {
        let value = if field == "groups" {
            let words = cell.split([';', ' ']).filter(|word| !word.is_empty());
            Yaml { line, value: Value::List(words.map(scalar).collect()) }
        } else {
            scalar(cell)
        };
        pairs.insert(field, value);
    }
    let pairs = pairs.into_iter().map(|(field, value)| (field.to_owned(), value)).collect();
    Yaml { line, value: Value::Map(pairs) }
}

/// Where the lines of a table stand. The reader's own places are those of the comments before a record.
struct Lines<'t>(Vec<&'t str>);

impl Lines<'_> {
    /// The line of what begins at or after a place, from one.
    fn of(&self, position: Option<&::csv::Position>) -> usize {
        let line = position.map_or(1, |position| usize::try_from(position.line()).unwrap_or(usize::MAX));
        let rest = self.0.iter().skip(line.saturating_sub(1));
        let silent = rest.take_while(|line| line.trim().is_empty() || line.starts_with('#')).count();
        line.saturating_add(silent)
    }
}
