//! CSV with a header line: one node per line.

use std::collections::BTreeMap;

use crate::engine::inventory::document::NodeDeclaration;
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
pub(crate) fn read(text: &str, problems: &mut Problems) -> Document {
    let mut reader = ::csv::ReaderBuilder::new()
        .flexible(true)
        .trim(::csv::Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let columns = match reader.headers() {
        Ok(header) => header.iter().map(str::to_ascii_lowercase).collect::<Vec<_>>(),
        Err(error) => {
            problems.add(1, "", error.to_string());
            return Document::default();
        }
    };
    let field = |column: &str| COLUMNS.iter().find(|(name, _)| *name == column).map(|(_, field)| *field);
    for column in columns.iter().filter(|column| field(column).is_none()) {
        problems.add(1, column.clone(), "unknown column");
    }
    for needed in ["name", "mac"].iter().filter(|needed| !columns.iter().any(|column| column == *needed)) {
        problems.add(1, *needed, "this column is needed");
    }
    let mut items = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line =
                    record.position().map_or(0, |position| usize::try_from(position.line()).unwrap_or(0));
                if record.len() != columns.len() {
                    let text = format!("{} fields, but the header has {}", record.len(), columns.len());
                    problems.add(line, "", text);
                    continue;
                }
                let pairs = columns.iter().zip(record.iter());
                items.push(row(line, pairs.filter_map(|(column, cell)| Some((field(column)?, cell)))));
            }
            Err(error) => {
                let line =
                    error.position().map_or(0, |position| usize::try_from(position.line()).unwrap_or(0));
                problems.add(line, "", error.to_string());
            }
        }
    }
    let root = Yaml { line: 1, value: Value::List(items) };
    let mut document = nodes::document(&root, "", problems);
    document.nodes.iter_mut().for_each(forget_empty);
    document
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

/// Annotations come from unknown fields only, which a table does not have.
fn forget_empty(node: &mut NodeDeclaration) {
    node.annotations.clear();
}
