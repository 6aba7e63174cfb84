//! `muster import` and `muster export`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write as _};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use crate::api::v1::types::ReportBody;
use crate::base::hostlist::fold;
use crate::cli::client::Client;
use crate::cli::foreign::From;
use crate::cli::write::DryRun;
use crate::cli::{Global, table};

/// Declare nodes from a file, or take over a live OpenCHAMI site: all of it, or nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Reads OpenCHAMI's nodes.yaml in all of its forms, Warewulf's nodes.conf, CSV (name,mac,ip,…), and what
`muster export` writes. Which it is shows in the text.

A live site gives its nodes, BMCs, interfaces and groups (SMD), boot parameters (BSS), and cloud-init groups,
defaults and instance ids. What would change is checked first; repeating it changes nothing.

Examples:
  muster import nodes.yaml
  muster import --dry-run nodes.csv
  muster import --prune nodes.yaml        also remove what the file does not name (shown first)
  muster import /etc/warewulf/nodes.conf
  muster import --from https://demo.openchami.cluster:8443 --from-token $DEMO_ACCESS_TOKEN --dry-run
  muster import --from-smd http://old-head:27779 --from-bss http://old-head:27778")]
pub(crate) struct Import {
    /// The file, or - for standard input
    #[arg(required_unless_present_any = ["from", "from_smd", "from_bss", "from_cloud_init"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    dry: DryRun,
    /// Remove nodes and BMCs that the file does not name
    #[arg(long, requires = "file")]
    prune: bool,
    /// Prune without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    site: From,
}

/// Print the inventory as a file that imports back to the same state
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster export > site.yaml")]
pub(crate) struct Export {
    /// A file instead of standard output
    file: Option<PathBuf>,
}

impl Import {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let Import { file, dry: DryRun { dry_run }, prune, yes, site } = self;
        let Some(file) = file else { return site.run(dry_run, client, global) };
        let text = if file.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        } else {
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?
        };
        let flag = if prune { "&prune" } else { "" };
        if prune && !dry_run && !yes {
            let preview: ReportBody =
                client.post_text(&format!("/inventory/import?dry_run{flag}"), text.clone())?;
            confirm(&preview)?;
        }
        let dry = if dry_run { "dry_run" } else { "" };
        let report: ReportBody = client.post_text(&format!("/inventory/import?{dry}{flag}"), text)?;
        if global.json { table::json(&report) } else { print(&report) }
    }
}

/// Shows what pruning removes and asks. Without a terminal nobody can answer: refused.
fn confirm(preview: &ReportBody) -> anyhow::Result<()> {
    if preview.removed.is_empty() {
        return Ok(());
    }
    eprintln!("would be removed: {}", fold(preview.removed.iter().map(String::as_str)));
    if !std::io::stdin().is_terminal() {
        bail!(
            "--prune would remove {} thing(s); say --yes to do it without being asked",
            preview.removed.len()
        );
    }
    eprint!("Remove {}? [y/N] ", preview.removed.len());
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("y") { Ok(()) } else { bail!("nothing was changed") }
}

/// A report in a few lines.
pub(crate) fn print(report: &ReportBody) -> anyhow::Result<()> {
    let mut text = String::new();
    let line = |verb: &str, names: &[&str], of: &str| {
        format!("{verb} {}{of}: {}\n", names.len(), fold(names.iter().copied()))
    };
    for (verb, names) in [("added", &report.added), ("removed", &report.removed)] {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if !names.is_empty() {
            text.push_str(&line(verb, &names, ""));
        }
    }
    // What changed in the same way is told in one line.
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in &report.changed {
        let fields = report.fields.get(name).map(|fields| format!(" ({})", fields.join(", ")));
        alike.entry(fields.unwrap_or_default()).or_default().push(name);
    }
    for (fields, names) in &alike {
        text.push_str(&line("changed", names, fields));
    }
    if report.unchanged > 0 {
        text.push_str(&format!("unchanged {}\n", report.unchanged));
    }
    if text.is_empty() {
        text.push_str("nothing to do\n");
    }
    report.notes.iter().for_each(|note| text.push_str(&format!("note: {note}\n")));
    if report.dry_run {
        text.push_str("this was a dry run: nothing was changed\n");
    }
    table::print(&text)
}

impl Export {
    pub(crate) fn run(self, client: &Client) -> anyhow::Result<()> {
        let text = client.get_text("/inventory/export")?;
        match self.file {
            None => table::print(&text),
            Some(file) => {
                std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
            }
        }
    }
}
