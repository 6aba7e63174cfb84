//! YAML to a plain tree with line numbers. Own tree-building over the parser's events, because a document
//! from outside must be bounded: in depth, in size, and in what its aliases expand to.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::engine::inventory::ImportProblem;

/// Nesting that is read; the forms need six levels.
const DEPTH_MAX: usize = 32;

/// Values in one document, aliases expanded: 100,000 nodes have about 3 million.
const NODES_MAX: usize = 20_000_000;

/// A value and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Yaml {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Value {
    Null,
    /// A scalar as it is written, and whether it was quoted.
    Scalar(String, bool),
    List(Vec<Yaml>),
    /// Keys in the order of the document.
    Map(Vec<(String, Yaml)>),
}

/// A collection that is still being read.
struct Open {
    line: usize,
    anchor: usize,
    items: Vec<Yaml>,
    is_map: bool,
}

/// Parses the first document. None: it is empty.
pub(crate) fn parse(text: &str) -> Result<Option<Yaml>, ImportProblem> {
    let mut stack: Vec<Open> = Vec::new();
    let mut anchors: BTreeMap<usize, Yaml> = BTreeMap::new();
    let mut count = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| problem(error.marker().line(), error.info()))?;
        let line = span.start.line();
        let (anchor, finished) = match event {
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) if stack.len() < DEPTH_MAX => {
                let is_map = matches!(event, Event::MappingStart(..));
                stack.push(Open { line, anchor, items: Vec::new(), is_map });
                continue;
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                return Err(problem(line, &format!("nested deeper than {DEPTH_MAX} levels")));
            }
            Event::SequenceEnd | Event::MappingEnd => match stack.pop() {
                Some(open) => (open.anchor, close(open)?),
                None => continue,
            },
            Event::Scalar(text, style, anchor, _) => (anchor, scalar(line, &text, style)),
            Event::Alias(id) => match anchors.get(&id) {
                Some(value) => (0, value.clone()),
                None => return Err(problem(line, "an alias names nothing")),
            },
            Event::DocumentEnd => return Ok(None),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => continue,
        };
        count = count.saturating_add(if anchors.is_empty() { 1 } else { size(&finished) });
        if count > NODES_MAX {
            return Err(problem(line, "the document holds more values than are read"));
        }
        if anchor > 0 {
            anchors.insert(anchor, finished.clone());
        }
        match stack.last_mut() {
            Some(open) => open.items.push(finished),
            None => return Ok(Some(finished)),
        }
    }
    Ok(None)
}

fn problem(line: usize, text: &str) -> ImportProblem {
    ImportProblem { line, field: String::new(), text: text.to_owned() }
}

fn scalar(line: usize, text: &str, style: ScalarStyle) -> Yaml {
    let quoted = style != ScalarStyle::Plain;
    let null = !quoted && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    Yaml { line, value: if null { Value::Null } else { Value::Scalar(text.to_owned(), quoted) } }
}

fn close(open: Open) -> Result<Yaml, ImportProblem> {
    let line = open.line;
    if !open.is_map {
        return Ok(Yaml { line, value: Value::List(open.items) });
    }
    let mut pairs: Vec<(String, Yaml)> = Vec::new();
    let mut items = open.items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        let name = match key.value {
            Value::Scalar(name, _) => name,
            Value::Null => "null".to_owned(),
            Value::List(_) | Value::Map(_) => return Err(problem(key.line, "a key must be a word")),
        };
        if pairs.iter().any(|(known, _)| *known == name) {
            return Err(problem(key.line, &format!("the key {name:?} stands here twice")));
        }
        pairs.push((name, value));
    }
    Ok(Yaml { line, value: Value::Map(pairs) })
}

/// Number of values below, for the bound on aliases.
fn size(yaml: &Yaml) -> usize {
    let below: usize = match &yaml.value {
        Value::Null | Value::Scalar(..) => 0,
        Value::List(items) => items.iter().map(size).fold(0, usize::saturating_add),
        Value::Map(pairs) => pairs.iter().map(|(_, value)| size(value)).fold(0, usize::saturating_add),
    };
    below.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use crate::engine::inventory::yaml::{Value, parse};

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "[".repeat(100);
        let level = |name: char, inner: &str| format!("{name}: &{name} [{}]\n", [inner; 10].join(", "));
        let bomb: String = ('b'..='i').fold(level('a', "x"), |bomb, name| {
            let inner = char::from_u32(u32::from(name).saturating_sub(1)).unwrap();
            bomb + &level(name, &format!("*{inner}"))
        });
        for (text, why) in [
            (deep.as_str(), "nested"),
            (bomb.as_str(), "more values"),
            ("a: 1\na: 2\n", "twice"),
            ("? [a]\n: b\n", "a key must be a word"),
            ("a: *nothing\n", ""),
            ("a: [1\n", ""),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.text.contains(why), "{text:?}: {error}");
        }
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("~").unwrap().unwrap().value, Value::Null);
    }
}
