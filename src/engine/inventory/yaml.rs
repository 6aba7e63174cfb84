//! YAML to a plain tree with line numbers. Own tree-building over the parser's events, because a document
//! from outside must be bounded: in depth, in size, and in what its aliases expand to.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::engine::inventory::ImportProblem;

/// Nesting that is read; the forms need six levels.
const DEPTH_MAX: usize = 32;

/// Values in one document, keys and expanded aliases counted: 100,000 nodes with their BMCs have about 4
/// million. Each takes up to 100 octets, so that the worst document takes less than 1 GB.
const VALUES_MAX: usize = 8_000_000;

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

/// What was read so far.
#[derive(Default)]
struct Tree {
    stack: Vec<Open>,
    /// Values that aliases may name, with the number of values in each.
    anchors: BTreeMap<usize, (Yaml, usize)>,
    count: usize,
    values_max: usize,
    root: Option<Yaml>,
}

/// Parses a stream of one document. None: it is empty.
///
/// # Errors
/// The first thing that is no YAML, or beyond a limit, or a second document.
pub(crate) fn parse(text: &str) -> Result<Option<Yaml>, ImportProblem> {
    parse_within(text, VALUES_MAX)
}

/// The same for documents that hold at most `values_max` values.
///
/// # Errors
/// As `parse`.
pub(crate) fn parse_within(text: &str, values_max: usize) -> Result<Option<Yaml>, ImportProblem> {
    let mut tree = Tree { values_max, ..Tree::default() };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| problem(error.marker().line(), error.info()))?;
        tree.event(event, span.start.line())?;
    }
    Ok(tree.root)
}

impl Tree {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), ImportProblem> {
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) if self.stack.len() >= DEPTH_MAX => {
                Err(problem(line, &format!("nested deeper than {DEPTH_MAX} levels")))
            }
            Event::SequenceStart(anchor, _) => {
                self.stack.push(Open { line, anchor, items: Vec::new(), is_map: false });
                Ok(())
            }
            Event::MappingStart(anchor, _) => {
                self.stack.push(Open { line, anchor, items: Vec::new(), is_map: true });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(open) => {
                    let anchor = open.anchor;
                    self.finish(close(open)?, anchor)
                }
                None => Ok(()),
            },
            Event::Scalar(text, style, anchor, _) => self.finish(scalar(line, &text, style), anchor),
            Event::Alias(id) => {
                let Some((_, size)) = self.anchors.get(&id) else {
                    return Err(problem(line, "an alias names nothing"));
                };
                // Counted before it is copied: the copy is what a bomb is made of.
                self.count(*size, line)?;
                let copy = self.anchors.get(&id).map(|(value, _)| value.clone());
                copy.map_or(Ok(()), |copy| self.finish(copy, 0))
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd => Ok(()),
            Event::DocumentStart(_) | Event::DocumentEnd => Ok(()),
        }
    }

    fn finish(&mut self, value: Yaml, anchor: usize) -> Result<(), ImportProblem> {
        self.count(1, value.line)?;
        if anchor > 0 {
            let size = size(&value);
            self.count(size, value.line)?;
            self.anchors.insert(anchor, (value.clone(), size));
        }
        match self.stack.last_mut() {
            Some(open) => open.items.push(value),
            None if self.root.is_none() => self.root = Some(value),
            // A lone `---` at the end begins an empty document.
            None if value.value == Value::Null => {}
            None => return Err(problem(value.line, "a second document begins here; only one is read")),
        }
        Ok(())
    }

    fn count(&mut self, more: usize, line: usize) -> Result<(), ImportProblem> {
        self.count = self.count.saturating_add(more);
        if self.count > self.values_max {
            let max = self.values_max;
            return Err(problem(line, &format!("the document holds more than {max} values")));
        }
        Ok(())
    }
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
    let mut lines: Vec<usize> = Vec::new();
    let mut items = open.items.into_iter();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        let name = match key.value {
            Value::Scalar(name, _) => name,
            Value::Null => "null".to_owned(),
            Value::List(_) | Value::Map(_) => return Err(problem(key.line, "a key must be a word")),
        };
        lines.push(key.line);
        pairs.push((name, value));
    }
    // Sorted, so that a mapping of a million keys is no way to keep the head busy for hours.
    let mut keys: Vec<(&str, usize)> = pairs.iter().map(|(name, _)| name.as_str()).zip(lines).collect();
    keys.sort_unstable();
    let twice = keys.iter().zip(keys.iter().skip(1)).find(|((one, _), (two, _))| one == two);
    if let Some(((name, first), (_, second))) = twice {
        return Err(problem(*second, &format!("the key {name:?} stands here twice (line {first})")));
    }
    Ok(Yaml { line, value: Value::Map(pairs) })
}

/// Number of values, this one included.
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
            (bomb.as_str(), "more than 8000000 values"),
            ("a: 1\nb: 2\na: 2\n", "line 3: the key \"a\" stands here twice (line 1)"),
            ("? [a]\n: b\n", "a key must be a word"),
            ("a: *nothing\n", ""),
            ("a: [1\n", ""),
            ("a: &a [*a]\n", ""),
            ("a: 1\n---\nb: 2\n", "line 3: a second document"),
            ("{\"a\": 1} {\"b\": 2}\n", "line 1: "),
            ("a: 1\n]\n", "line 2: "),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("~").unwrap().unwrap().value, Value::Null);
        assert!(parse("---\na: 1\n---\n").unwrap().is_some(), "a lone marker at the end is no document");
    }

    #[test]
    fn an_alias_stands_for_what_its_anchor_holds() {
        let plain = parse("a: [1, 2]\nb: [1, 2]\n").unwrap().unwrap();
        let alias = parse("a: &x [1, 2]\nb: *x\n").unwrap().unwrap();
        let values = |yaml: crate::engine::inventory::yaml::Yaml| {
            match yaml.value {
                Value::Map(pairs) => {
                    pairs.into_iter().map(|(key, value)| (key, format!("{:?}", value.value)))
                }
                other => panic!("{other:?}"),
            }
            .map(|(key, text)| (key, text.replace("line: 2", "line: 1")))
            .collect::<Vec<_>>()
        };
        assert_eq!(values(plain), values(alias));
    }
}
