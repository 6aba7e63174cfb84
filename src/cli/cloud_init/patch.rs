//! What `muster cloud-init … set` changes: only what was said.

use std::path::Path;

use anyhow::Context as _;
use axum::http::Method;
use base64::Engine as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::cli::client::Client;
use crate::cli::cloud_init::Content;

/// A merge patch, field by field. Empty texts clear.
#[derive(Default)]
pub(crate) struct Patch(pub(crate) Map<String, Value>);

impl Patch {
    pub(crate) fn text(&mut self, key: &str, text: Option<String>) {
        let value = text.map(|text| if text.is_empty() { Value::Null } else { json!(text) });
        self.0.extend(value.map(|value| (key.to_owned(), value)));
    }

    pub(crate) fn content(&mut self, content: Content) -> anyhow::Result<()> {
        if let Some(path) = content.file {
            let value = if path.is_empty() { Value::Null } else { file(Path::new(&path))? };
            self.0.insert("file".to_owned(), value);
        }
        if let Some(level) = content.min_level {
            let file = self.0.entry("file").or_insert_with(|| json!({}));
            let fields = file.as_object_mut().context("--min-level: a file that is removed has no level")?;
            fields.insert("min_level".to_owned(), json!(level.as_str()));
        }
        let mut meta = Map::new();
        for pair in content.meta {
            let (key, value) =
                pair.split_once('=').with_context(|| format!("--meta {pair}: KEY=VALUE is needed"))?;
            let value = match value {
                "" => Value::Null,
                text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            };
            meta.insert(key.to_owned(), value);
        }
        if !meta.is_empty() {
            self.0.insert("meta_data".to_owned(), Value::Object(meta));
        }
        Ok(())
    }

    pub(crate) fn send<T: Serialize + DeserializeOwned>(
        self,
        client: &Client,
        path: &str,
    ) -> anyhow::Result<T> {
        client.json(Method::PATCH, path, &Value::Object(self.0))
    }
}

/// Text as it is; anything else in base64.
fn file(path: &Path) -> anyhow::Result<Value> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let filename = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(match String::from_utf8(bytes) {
        Ok(text) => json!({"content": text, "filename": filename, "encoding": "plain"}),
        Err(error) => {
            let text = base64::engine::general_purpose::STANDARD.encode(error.as_bytes());
            json!({"content": text, "filename": filename, "encoding": "base64"})
        }
    })
}
