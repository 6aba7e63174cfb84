//! Jinja templates as cloud-init renders them on a node: the same variables and aliases, the same text for a
//! variable that is missing, values printed as Python prints them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use serde_json::{Map, Value as Json};

use crate::base::limits::TEMPLATE_STEPS_MAX;
use crate::engine::cloud_init::secure::{Form, SecretContext};

/// What cloud-init prints for a missing variable, in front of its name.
pub const MISSING: &str = "CI_MISSING_JINJA_VAR/";

/// Names that Jinja itself defines at the top.
const GLOBALS: [&str; 6] = ["range", "dict", "namespace", "debug", "loop", SECRET];

/// The function by which templates ask for secrets.
const SECRET: &str = "secret";

/// Why a template does not render, and where.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: {text}")]
pub struct TemplateError {
    /// Line of the file, from one; the line `## template: jinja` is the first.
    pub line: usize,
    pub text: String,
}

/// The template below its first line; none: the file is no Jinja template.
#[must_use]
pub fn template(text: &str) -> Option<&str> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let kind = first.strip_prefix("##")?.trim_start();
    let name = kind.get(..9).filter(|word| word.eq_ignore_ascii_case("template:"))?;
    let jinja = kind.strip_prefix(name)?.trim().eq_ignore_ascii_case("jinja");
    jinja.then_some(rest)
}

/// Checks the syntax of what `template` found.
///
/// # Errors
/// The first mistake with its line in the file.
pub fn check(source: &str) -> Result<(), TemplateError> {
    environment(None).template_from_str(source).map(drop).map_err(|error| explain(&error))
}

/// The line of the file in which what `template` found first speaks of secrets; none: it asks for none.
#[must_use]
pub fn asks_for_secrets(source: &str) -> Option<usize> {
    let line = source.lines().position(|line| line.contains(SECRET))?;
    let environment = environment(None);
    let template = environment.template_from_str(source).ok()?;
    template.undeclared_variables(false).contains(SECRET).then_some(line.saturating_add(2))
}

/// Renders what `template` found.
///
/// # Errors
/// What makes cloud-init ignore the file.
pub fn render(source: &str, variables: &Map<String, Json>) -> Result<String, TemplateError> {
    let root = Value::from_object(Known::new(variables, true));
    environment(None).render_str(source, root).map_err(|error| explain(&error))
}

/// The same for who may have secrets.
///
/// # Errors
/// As `render`, and a secret that is not given.
pub fn render_with(
    source: &str,
    variables: &Map<String, Json>,
    secrets: &SecretContext,
) -> Result<String, TemplateError> {
    let root = Value::from_object(Known::new(variables, true));
    environment(Some(secrets)).render_str(source, root).map_err(|error| explain(&error))
}

fn environment(secrets: Option<&SecretContext>) -> Environment<'static> {
    let secrets = secrets.cloned();
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_trim_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(TEMPLATE_STEPS_MAX));
    environment.set_formatter(print);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function(SECRET, move |name: String, form: Option<String>| {
        let refused = |text: String| Error::new(ErrorKind::InvalidOperation, text);
        let context = secrets.as_ref();
        let context =
            context.ok_or_else(|| refused("secrets are given on the secure path alone".to_owned()))?;
        let form = Form::named(form.as_deref()).map_err(refused)?;
        (context.0)(&name, form).map(|value| Value::from(value.as_str())).map_err(refused)
    });
    // A missing variable is a value here, so that it can bear its name.
    environment.add_test("defined", |value: &Value| !is_missing(value));
    environment.add_test("undefined", is_missing);
    for name in ["default", "d"] {
        environment.add_filter(name, |value: Value, other: Option<Value>, lax: Option<bool>| {
            let falsy = lax.unwrap_or(false) && !value.is_true();
            if is_missing(&value) || falsy { other.unwrap_or_else(|| Value::from("")) } else { value }
        });
    }
    environment
}

fn is_missing(value: &Value) -> bool {
    value.is_undefined() || value.downcast_object_ref::<Missing>().is_some()
}

fn explain(error: &Error) -> TemplateError {
    let line = error.line().unwrap_or(1).saturating_add(1);
    let text = match error.kind() {
        ErrorKind::OutOfFuel => "the template takes too many steps".to_owned(),
        kind => error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
    };
    TemplateError { line, text }
}

/// A mapping as cloud-init gives it to templates: every key with an operator in it is also there with
/// underscores, what stands below `v1` is also there itself, and what is absent is a missing variable with a
/// name. Found when it is asked for: as copies, a few nested keys would fill the memory.
#[derive(Debug)]
struct Known {
    entries: BTreeMap<String, Value>,
    /// Spelling with underscores, and the key.
    aliases: BTreeMap<String, String>,
    is_root: bool,
}

fn known(value: &Json) -> Value {
    match value {
        Json::Object(map) => Value::from_object(Known::new(map, false)),
        Json::Array(items) => items.iter().map(known).collect(),
        other => Value::from_serialize(other),
    }
}

/// True for `v1`, `v2` …
fn is_version(key: &str) -> bool {
    key.strip_prefix('v').is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()))
}

impl Known {
    fn new(map: &Map<String, Json>, is_root: bool) -> Known {
        let alias = |key: &String| (key.replace(['-', '.'], "_"), key.clone());
        Known {
            entries: map.iter().map(|(key, value)| (key.clone(), known(value))).collect(),
            aliases: map.keys().map(alias).filter(|(alias, key)| alias != key).collect(),
            is_root,
        }
    }

    fn find(&self, name: &str) -> Option<Value> {
        let own = self.entries.get(name).or_else(|| self.entries.get(self.aliases.get(name)?));
        own.cloned().or_else(|| self.versions().find_map(|inner| inner.find(name)))
    }

    fn versions(&self) -> impl Iterator<Item = &Known> {
        let versions = self.entries.iter().filter(|(key, _)| is_version(key));
        versions.filter_map(|(_, value)| value.downcast_object_ref::<Known>())
    }

    /// Every name by which something is found, each once.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for key in self.entries.keys() {
            names.push(key.clone());
            let alias = key.replace(['-', '.'], "_");
            names.extend(Some(alias).filter(|alias| alias != key && !self.entries.contains_key(alias)));
        }
        names.extend(self.versions().flat_map(Known::names));
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

impl Object for Known {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let name = key.as_str()?;
        match self.find(name) {
            Some(value) => Some(value),
            None if self.is_root && GLOBALS.contains(&name) => None,
            None => Some(Value::from_object(Missing(name.to_owned()))),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.names().into_iter().map(Value::from).collect())
    }

    fn call_method(self: &Arc<Self>, _: &State<'_, '_>, method: &str, _: &[Value]) -> Result<Value, Error> {
        // Python's methods of dictionaries come from the callback for unknown ones.
        Err(Error::new(ErrorKind::UnknownMethod, format!("a mapping has no method {method}")))
    }
}

/// A variable that is not there. It prints its name, is false and empty; what is asked of it is an error.
#[derive(Debug)]
struct Missing(String);

impl Object for Missing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let text = format!("{:?} is not defined, so that it has no {key}", self.0);
        Some(Value::from(Error::new(ErrorKind::UndefinedError, text)))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Empty
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MISSING}{}", self.0)
    }
}

/// Prints a value as Python does.
fn print(out: &mut Output<'_>, _: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    if is_missing(value) || value.as_str().is_some() {
        return Ok(write!(out, "{value}")?);
    }
    let mut text = String::new();
    python(&mut text, value, 0)?;
    Ok(write!(out, "{text}")?)
}

/// Nesting that is printed; values come from documents that are bounded in depth themselves.
const DEPTH_MAX: usize = 64;

fn python(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::new(ErrorKind::InvalidOperation, "the value is nested too deeply"));
    }
    let deeper = depth.saturating_add(1);
    match value.kind() {
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::None => out.push_str("None"),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            out.push(quote);
            out.push_str(&text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t"));
            out.push(quote);
        }
        ValueKind::Seq => {
            out.push('[');
            for (index, item) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                python(out, &item, deeper)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                python(out, &key, deeper)?;
                out.push_str(": ");
                python(out, &value.get_item(&key)?, deeper)?;
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::engine::cloud_init::template::{check, render, template};

    fn rendered(source: &str) -> Result<String, String> {
        let variables = json!({
            "ds": {"meta_data": {"instance-id": "i-1", "keys": ["a", "b"], "on": true, "groups": {"x-y": {"k": 1}}}},
            "v1": {"local_hostname": "nid001", "cloud-name": "nocloud"},
        });
        render(source, variables.as_object().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn variables_have_the_aliases_that_cloud_init_gives() {
        for (source, wanted) in [
            ("{{ ds.meta_data.instance_id }} {{ ds['meta_data']['instance-id'] }}\n", "i-1 i-1\n"),
            ("{{ v1.local_hostname }} {{ local_hostname }} {{ cloud_name }}", "nid001 nid001 nocloud"),
            ("{{ ds.meta_data.groups['x-y'].k }} {{ ds.meta_data.groups.x_y.k }}", "1 1"),
            ("{{ ds.meta_data.keys }} {{ ds.meta_data.on }}", "['a', 'b'] True"),
            ("{% for k in ds.meta_data['keys'] %}\n- {{ k }}\n{% endfor %}\nend\n", "- a\n- b\nend\n"),
            ("{% for k, v in ds.meta_data.groups.items() %}{{ k }}={{ v.k }};{% endfor %}", "x-y=1;x_y=1;"),
            ("{% for i in range(3) %}{{ loop.index }}{% endfor %}", "123"),
        ] {
            assert_eq!(rendered(source).as_deref(), Ok(wanted), "{source}");
        }
    }

    #[test]
    fn a_missing_variable_prints_its_name_and_is_false() {
        for (source, wanted) in [
            (
                "{{ nothing }} {{ ds.meta_data.absent }}",
                "CI_MISSING_JINJA_VAR/nothing CI_MISSING_JINJA_VAR/absent",
            ),
            ("{{ nothing | default('x') }}{% if nothing is defined %}a{% else %}b{% endif %}", "xb"),
            ("{% if nothing %}a{% else %}b{% endif %}{% for x in nothing %}c{% endfor %}", "b"),
        ] {
            assert_eq!(rendered(source).as_deref(), Ok(wanted), "{source}");
        }
        let error = rendered("a\n{{ nothing.more }}\n").unwrap_err();
        assert!(error.contains("line 3") && error.contains("nothing"), "{error}");
    }

    #[test]
    fn mistakes_and_endless_templates_are_told_with_their_line() {
        let error = check("#cloud-config\na: {{ b\n").unwrap_err();
        assert!(error.line == 3 || error.line == 4, "{error}");
        let endless = "{% for i in range(10000) %}{% for i in range(10000) %}x{% endfor %}{% endfor %}";
        assert!(rendered(endless).unwrap_err().contains("too many steps"));
    }

    #[test]
    fn nested_keys_with_aliases_cost_no_more_than_they_say() {
        let mut value = json!(1);
        for _ in 0..100 {
            value = json!({"a-b": value.clone(), "v1": value});
            if value.to_string().len() > 100_000 {
                break;
            }
        }
        for _ in 0..100 {
            value = json!({"c-d": value});
        }
        assert!(render("{{ c_d.c_d is defined }}", value.as_object().unwrap()).is_ok());
    }

    #[test]
    fn the_first_line_makes_a_template() {
        assert_eq!(template("## template: jinja\n#cloud-config\n"), Some("#cloud-config\n"));
        assert_eq!(template("##Template:JINJA"), Some(""));
        for text in ["#cloud-config\n## template: jinja\n", "## template: basic\n", "## é", ""] {
            assert_eq!(template(text), None, "{text}");
        }
    }
}
