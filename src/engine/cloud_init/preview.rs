//! What a node will see: each document it fetches, templates rendered with the node's own variables, and the
//! source of every value.

use serde_json::{Map, Value, json};

use crate::engine::cloud_init::check::{Remark, SECURE_ONLY, check, check_rendered};
use crate::engine::cloud_init::meta::{MetaData, Origin};
use crate::engine::cloud_init::secure::SecretContext;
use crate::engine::cloud_init::template::{self, MISSING};
use crate::engine::cloud_init::view::View;

/// Variables that cloud-init takes from the operating system of the node.
const ON_THE_NODE: [&str; 9] = [
    "distro",
    "distro_release",
    "distro_version",
    "kernel_release",
    "machine",
    "platform",
    "python_version",
    "system_platform",
    "variant",
];

/// One document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// As in its URL: `meta-data`, `compute.yaml` …
    pub name: String,
    /// What cloud-init works with; for a template, what it becomes. None: cloud-init will ignore it.
    pub text: Option<String>,
    pub is_template: bool,
    /// What is wrong with it.
    pub remarks: Vec<Remark>,
}

/// All that a node will see.
#[derive(Clone, PartialEq, Debug)]
pub struct Preview {
    pub instance_id: String,
    pub parts: Vec<Part>,
    pub origins: Vec<Origin>,
}

/// Makes the documents of one node.
#[must_use]
pub fn preview(view: &View<'_>) -> Preview {
    let meta = view.meta_data();
    let variables = variables(&meta);
    let mut parts = vec![
        plain("meta-data", meta.yaml()),
        part("user-data", &view.user_data(), &variables),
        part("vendor-data", view.vendor_data().as_bytes(), &variables),
        plain("network-config", view.network_config()),
    ];
    for group in view.groups() {
        let content = view.group_file(group.as_str()).unwrap_or_default();
        parts.push(part(&format!("{group}.yaml"), &content, &variables));
    }
    Preview { instance_id: view.instance_id(), parts, origins: meta.origins }
}

fn plain(name: &str, text: String) -> Part {
    Part { name: name.to_owned(), text: Some(text), is_template: false, remarks: Vec::new() }
}

fn part(name: &str, content: &[u8], variables: &Map<String, Value>) -> Part {
    let name = name.to_owned();
    let text = String::from_utf8_lossy(content).into_owned();
    let Some(source) = template::template(&text) else {
        let checked = check(content);
        let remarks = [checked.problems, checked.warnings].concat();
        return Part { name, text: Some(text), is_template: false, remarks };
    };
    let asks = template::asks_for_secrets(source);
    let rendered = match asks {
        Some(_) => template::render_with(source, variables, &SecretContext::placeholders()),
        None => template::render(source, variables),
    };
    match rendered {
        Ok(text) => {
            let checked = check_rendered(&text);
            let mut remarks = [checked.problems, checked.warnings].concat();
            remarks.extend(asks.map(|line| Remark { line: Some(line), text: SECURE_ONLY.to_owned() }));
            remarks.extend(missing(&text));
            Part { name, text: Some(text), is_template: true, remarks }
        }
        Err(error) => {
            let text = format!("cloud-init will ignore this file: {}", error.text);
            let remarks = vec![Remark { line: Some(error.line), text }];
            Part { name, text: None, is_template: true, remarks }
        }
    }
}

/// The variables that were missing, each with the line of its first place.
fn missing(text: &str) -> Vec<Remark> {
    let mut found: Vec<Remark> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for rest in line.split(MISSING).skip(1) {
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || "_-".contains(*c)).collect();
            let text = format!("the variable {name:?} is missing");
            if !found.iter().any(|known| known.text == text) {
                found.push(Remark { line: Some(index.saturating_add(1)), text });
            }
        }
    }
    found
}

/// The instance data that cloud-init makes of this meta-data on a node.
fn variables(meta: &MetaData) -> Map<String, Value> {
    let mut root = known_variables(meta);
    if let Some(fields) = root.get_mut("v1").and_then(Value::as_object_mut) {
        fields.extend(ON_THE_NODE.map(|name| (name.to_owned(), json!(format!("<{name} of the node>")))));
        fields.insert("platform".to_owned(), json!("nocloud"));
    }
    root
}

/// The same without what only the node knows.
pub(crate) fn known_variables(meta: &MetaData) -> Map<String, Value> {
    let all = meta.value();
    let text = |key: &str| all.get(key).cloned().unwrap_or(Value::Null);
    // A host name ends at its first dot, as in `DataSource.get_hostname`.
    let hostname = all.get("local-hostname").and_then(Value::as_str).and_then(|name| name.split('.').next());
    let keys = all.get("public-keys").or_else(|| all.get("public_keys"));
    let keys = match keys {
        Some(Value::Array(keys)) => json!(keys),
        Some(Value::String(keys)) => json!(keys.lines().collect::<Vec<_>>()),
        _ => json!([]),
    };
    let v1 = json!({
        "availability_zone": text("availability-zone"), "region": text("region"),
        "cloud_id": "nocloud", "cloud_name": "unknown", "instance_id": text("instance-id"),
        "local_hostname": hostname, "public_ssh_keys": keys, "subplatform": "seed-dir",
    });
    let mut root = Map::new();
    root.insert("ds".to_owned(), json!({"meta_data": all}));
    root.insert("v1".to_owned(), v1);
    root
}
