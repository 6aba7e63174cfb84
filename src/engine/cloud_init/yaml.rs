//! YAML that every generation of cloud-init reads: emitted in one plain style, and read into JSON values with
//! bounds on size and aliases.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

use crate::base::limits::CLOUD_INIT_VALUES_MAX;
use crate::engine::inventory::yaml::{Value as Node, Yaml, parse_within};

/// Says where a text is no YAML.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct YamlError {
    pub line: usize,
    pub text: String,
}

/// Reads one document. None: it is empty.
///
/// # Errors
/// The first thing that is no YAML, or beyond a bound.
pub fn parse(text: &str) -> Result<Option<Value>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match parse_within(text, CLOUD_INIT_VALUES_MAX) {
        Ok(root) => Ok(root.map(value)),
        Err(problem) => Err(YamlError { line: problem.line, text: problem.text }),
    }
}

fn value(yaml: Yaml) -> Value {
    match yaml.value {
        Node::Null => Value::Null,
        Node::Scalar(text, true) => Value::String(text),
        Node::Scalar(text, false) => plain(text),
        Node::List(items) => Value::Array(items.into_iter().map(value).collect()),
        Node::Map(pairs) => Value::Object(pairs.into_iter().map(|(key, yaml)| (key, value(yaml))).collect()),
    }
}

/// A scalar without quotes, after the core schema (YAML 1.2.2 section 10.3.2).
fn plain(text: String) -> Value {
    match text.as_str() {
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let radix = |prefix: &str, radix: u32| u64::from_str_radix(text.strip_prefix(prefix)?, radix).ok();
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Value::Number(number.into());
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(&text);
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        // A leading zero is kept: `0644` is a file mode, and must come back so.
        let number =
            text.parse::<i64>().ok().map(Number::from).or_else(|| text.parse::<u64>().ok().map(Number::from));
        let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        match number {
            Some(number) if !leading_zero => return Value::Number(number),
            None if !leading_zero && digits.chars().all(|c| c.is_ascii_digit() || "eE.+-".contains(c)) => {
                if let Some(number) = text.parse::<f64>().ok().and_then(Number::from_f64) {
                    return Value::Number(number);
                }
            }
            Some(_) | None => {}
        }
    }
    Value::String(text)
}

/// Writes a mapping as a document, in the order given. An empty one is `{}`.
#[must_use]
pub fn emit<'a>(entries: impl IntoIterator<Item = (&'a String, &'a Value)>) -> String {
    let mut out = String::new();
    map(&mut out, entries, 0);
    if out.is_empty() {
        out.push_str("{}\n");
    }
    out
}

fn map<'a>(out: &mut String, entries: impl IntoIterator<Item = (&'a String, &'a Value)>, depth: usize) {
    for (key, value) in entries {
        indent(out, depth);
        scalar(out, key);
        out.push(':');
        below(out, value, depth, 1);
    }
}

/// A value behind `key:` (deeper by `step`) or `-`.
fn below(out: &mut String, value: &Value, depth: usize, step: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            map(out, fields, depth.saturating_add(step));
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            list(out, items, depth.saturating_add(step.saturating_sub(1)));
        }
        other => {
            out.push(' ');
            leaf(out, other);
            out.push('\n');
        }
    }
}

fn list(out: &mut String, items: &[Value], depth: usize) {
    for item in items {
        indent(out, depth);
        out.push('-');
        match item {
            // The first key stands beside the dash.
            Value::Object(fields) if !fields.is_empty() => {
                let mut inner = String::new();
                map(&mut inner, fields, depth.saturating_add(1));
                out.push(' ');
                out.push_str(inner.trim_start());
            }
            other => below(out, other, depth, 2),
        }
    }
}

fn leaf(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => {
            let _ = write!(out, "{number}"); // a String takes everything
        }
        Value::String(text) => scalar(out, text),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

/// A text, in quotes unless no reader can take it for anything else.
fn scalar(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            // What PyYAML takes for unprintable or for the end of a line.
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                let _ = write!(out, "\\u{:04x}", u32::from(c)); // a String takes everything
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Words that YAML 1.1 takes for flags or nothing.
const WORDS: [&str; 12] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf", "none"];

fn is_plain(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let body = text.chars().all(|c| c.is_ascii_alphanumeric() || " _./:@+-".contains(c));
    first
        && body
        && !text.contains(": ")
        && !text.ends_with([':', ' '])
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// The document as a mapping; none: it is something else.
#[must_use]
pub fn mapping(value: Option<Value>) -> Option<Map<String, Value>> {
    match value {
        None | Some(Value::Null) => Some(Map::new()),
        Some(Value::Object(map)) => Some(map),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::engine::cloud_init::yaml::{emit, parse};

    #[test]
    fn documents_are_written_plainly() {
        let value = json!({"a": [{"b": 1, "c": [true, "yes"]}, [1, [2]], {}], "d": {"e": "x: y", "f": null}, "g": "0644"});
        let wanted = "a:\n- b: 1\n  c:\n  - true\n  - \"yes\"\n-\n  - 1\n  -\n    - 2\n- {}\nd:\n  e: \"x: y\"\n  f: null\ng: \"0644\"\n";
        assert_eq!(emit(value.as_object().unwrap()), wanted);
    }

    #[test]
    fn scalars_are_what_they_look_like() {
        let read =
            parse("a: 1\nb: -2.5\nc: 0644\nd: yes\ne: true\nf: ~\ng: '1'\nh: 0x1f\ni: 1.2.3\n").unwrap();
        let wanted = json!({"a": 1, "b": -2.5, "c": "0644", "d": "yes", "e": true, "f": null, "g": "1", "h": 31, "i": "1.2.3"});
        assert_eq!(read, Some(wanted));
        assert_eq!(parse("a:\n  - b\n c").unwrap_err().line, 3);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~\n\t]{0,12}".prop_map(Value::from),
            "\\PC{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z#:0-9 -]{1,6}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in any_value()) {
            let value = json!({"root": value});
            prop_assert_eq!(parse(&emit(value.as_object().unwrap())).unwrap(), Some(value));
        }
    }
}
