//! What `muster cloud-init render` and `reports` print.

use anyhow::Context as _;
use serde_json::Value;

use crate::api::v1::cloud_init::{CallBody, PartBody, PreviewBody, RemarkBody};
use crate::cli::{Global, table};

pub(crate) fn reports(calls: &[CallBody]) -> anyhow::Result<()> {
    let row = |call: &CallBody| {
        let keys: Vec<&str> = call.keys.keys().map(String::as_str).collect();
        let kinds = table::dash(Some(keys.join(",")).filter(|text| !text.is_empty()));
        vec![call.node.clone(), call.at.clone(), call.instance_id.clone(), call.hostname.clone(), kinds]
    };
    let rows: Vec<Vec<String>> = calls.iter().map(row).collect();
    table::rows(&["node", "at", "instance-id", "hostname", "host keys"], &rows, "no node has phoned home")
}

/// Prints a preview: all of it, one document as it is, or the values.
pub(crate) fn render(
    preview: &PreviewBody,
    document: Option<&str>,
    values: bool,
    global: &Global,
) -> anyhow::Result<()> {
    if let Some(name) = document {
        let found = preview.documents.iter().find(|part| part.name == name);
        let part = found.with_context(|| {
            let names: Vec<&str> = preview.documents.iter().map(|part| part.name.as_str()).collect();
            format!("node {} gets no {name}; it gets {}", preview.node, names.join(", "))
        })?;
        if global.json {
            return table::json(part);
        }
        warn(&part.name, &part.remarks);
        let text = part.text.as_deref().with_context(|| format!("{name} does not render"))?;
        return table::print(text);
    }
    if global.json {
        return if values { table::json(&preview.values) } else { table::json(preview) };
    }
    if !values {
        for part in &preview.documents {
            show_part(part)?;
        }
    }
    let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let rows: Vec<Vec<String>> = preview
        .values
        .iter()
        .map(|value| vec![value.path.clone(), cell(&value.value), value.source.clone()])
        .collect();
    table::rows(&["ds.meta_data.…", "value", "source"], &rows, "no values")
}

fn show_part(part: &PartBody) -> anyhow::Result<()> {
    let how = if part.template { ", a template, as the node will render it" } else { "" };
    let mut text = format!("--- {}{how}\n", part.name);
    for remark in &part.remarks {
        text.push_str(&format!("!!! {}\n", sentence(remark)));
    }
    let body = part.text.as_deref().unwrap_or_default();
    text.push_str(body);
    text.push_str(if body.is_empty() || body.ends_with('\n') { "\n" } else { "\n\n" });
    table::print(&text)
}

fn sentence(remark: &RemarkBody) -> String {
    let line = remark.line.map(|line| format!("line {line}: ")).unwrap_or_default();
    format!("{line}{}", remark.text)
}

/// Tells on standard error what is odd about a file.
pub(crate) fn warn(name: &str, remarks: &[RemarkBody]) {
    for remark in remarks {
        eprintln!("muster: {name}: {}", sentence(remark));
    }
}
