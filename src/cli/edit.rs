//! Editing one thing as JSON in the editor that the person is used to.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use axum::http::Method;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::table;
use crate::cli::write::Writer;

/// Told by the daemon, not for people to set.
const TOLD: [&str; 2] = ["effective_xname", "members"];

/// Lets a person edit what a path names, and puts it back. Refused if somebody else changed it meanwhile: their
/// change would be lost.
pub(crate) fn edit(writer: &Writer<'_>, path: &str) -> anyhow::Result<()> {
    let before: Value = writer.client.get(path)?;
    let text = format!("{}\n", serde_json::to_string_pretty(&editable(before.clone()))?);
    let file = Draft::new(&text)?;
    run_editor(&file.0)?;
    let edited = std::fs::read_to_string(&file.0)?;
    if edited == text {
        return table::print("nothing was changed\n");
    }
    let put = || {
        let body: Value = serde_json::from_str(&edited).context("this is no JSON any more")?;
        unchanged(writer.client, path, &before)?;
        writer.send::<Value>(Method::PUT, path, &body)
    };
    match put() {
        Ok(Some(after)) if writer.global.json => table::json(&after),
        Ok(Some(_)) => table::print("changed\n"),
        Ok(None) => Ok(()),
        Err(error) => {
            let kept = file.keep();
            Err(error.context(format!("nothing was changed; your text is kept in {}", kept.display())))
        }
    }
}

fn editable(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|key, _| !TOLD.contains(&key.as_str()));
    }
    value
}

fn unchanged(client: &Client, path: &str, before: &Value) -> anyhow::Result<()> {
    let now: Value = client.get(path)?;
    ensure!(editable(now) == editable(before.clone()), "somebody else changed it meanwhile");
    Ok(())
}

fn run_editor(file: &Path) -> anyhow::Result<()> {
    let set = |name| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    // Through a shell, as others do it: the variable may hold options.
    let mut command = std::process::Command::new("sh");
    let status = command.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(file).status();
    let status = status.with_context(|| format!("cannot run {editor}; set EDITOR"))?;
    if !status.success() {
        bail!("{editor} ended with {status}: nothing was changed");
    }
    Ok(())
}

/// A file of this person's alone, gone in the end unless it is kept.
struct Draft(PathBuf);

impl Draft {
    fn new(text: &str) -> anyhow::Result<Draft> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        let path = std::env::temp_dir().join(format!("muster-{:016x}.json", u64::from_be_bytes(random)));
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let draft = Draft(path);
        file.write_all(text.as_bytes())?;
        Ok(draft)
    }

    fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // A file that is gone already is no failure.
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
