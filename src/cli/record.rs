//! `muster record`: boot attempts, what was seen in them, and their packets.

use std::path::PathBuf;

use anyhow::Context as _;
use axum::http::Method;
use clap::Subcommand;

use crate::api::v1::types::record::{RecordBody, RecordLineBody};
use crate::cli::client::{Client, escape};
use crate::cli::watch::Watch;
use crate::cli::{Global, table};

/// See boot attempts: every step with its time, what was remarkable, the packets of those that failed
#[derive(Debug, Subcommand)]
pub(crate) enum Record {
    /// List the latest attempt of each machine, or all attempts of one
    #[command(after_help = "\
Examples:
  muster record list
  muster record list --outcome failed --watch
  muster record list nid007")]
    List {
        /// All attempts of this node, or of the machine with this hardware address
        node: Option<String>,
        /// Only with this outcome: failed, up, settled, under way, waits, left, dropped
        #[arg(long, conflicts_with = "node")]
        outcome: Option<String>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Show an attempt step by step
    #[command(after_help = "\
Examples:
  muster record show nid007
  muster record show nid007 1795402800123")]
    Show {
        node: String,
        /// Which attempt, from the list; without it the latest
        number: Option<String>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Write an attempt as JSON, or its packets as a capture
    #[command(after_help = "\
The capture holds the DHCP packets of the machine and the head's replies; Wireshark and muster replay read it.

Examples:
  muster record export nid007 > nid007.json
  muster record export nid007 --pcap nid007.pcap")]
    Export {
        node: String,
        /// Which attempt, from the list; without it the latest
        number: Option<String>,
        /// Write the packets there
        #[arg(long, value_name = "FILE")]
        pcap: Option<PathBuf>,
    },
}

impl Record {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            Record::List { node, outcome, watch } => watch.show(|| {
                let path = match (&node, &outcome) {
                    (Some(node), _) => format!("/records/{}", escape(node)),
                    (None, Some(outcome)) => format!("/records?outcome={}", escape(outcome)),
                    (None, None) => "/records".to_owned(),
                };
                let records: Vec<RecordLineBody> = client.get(&path)?;
                if global.json { table::json_text(&records) } else { Ok(list(&records)) }
            }),
            Record::Show { node, number, watch } => watch.show(|| {
                let record: RecordBody = client.get(&path(&node, number.as_deref()))?;
                if global.json { table::json_text(&record) } else { Ok(shown(&record)) }
            }),
            Record::Export { node, number, pcap: None } => {
                let record: RecordBody = client.get(&path(&node, number.as_deref()))?;
                table::json(&record)
            }
            Record::Export { node, number, pcap: Some(file) } => {
                let path = format!("{}/packets", path(&node, number.as_deref()));
                let octets = client.bare(Method::GET, &path)?;
                std::fs::write(&file, octets).with_context(|| format!("cannot write {}", file.display()))
            }
        }
    }
}

fn path(node: &str, number: Option<&str>) -> String {
    // An id from the list names its interface too.
    let number = number.map(|number| number.rsplit('/').next().unwrap_or(number));
    format!("/records/{}/{}", escape(node), escape(number.unwrap_or("latest")))
}

fn list(records: &[RecordLineBody]) -> String {
    let row = |record: &RecordLineBody| {
        vec![
            record.node.clone().unwrap_or_else(|| record.mac.clone()),
            record.id.rsplit('/').next().unwrap_or_default().to_owned(),
            record.started.clone(),
            record.outcome.clone(),
            table::dash(record.reached.as_ref()),
            table::dash(record.image.as_ref()),
            table::dash(record.summary.as_ref()),
        ]
    };
    let rows: Vec<Vec<String>> = records.iter().map(row).collect();
    let header = ["node", "number", "started", "outcome", "reached", "image", "why"];
    table::grid(&header, &rows, "no machine has booted yet")
}

fn shown(record: &RecordBody) -> String {
    let clean = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let who = record.node.clone().unwrap_or_else(|| record.mac.clone());
    let client = &record.client;
    let machine = [client.arch.as_deref(), client.firmware.as_deref(), client.vendor_class.as_deref()];
    let machine: Vec<&str> = machine.into_iter().flatten().collect();
    let mut text = format!(
        "{who}  {}  {}\n{}  {}  {}\n",
        record.outcome,
        record.id,
        record.mac,
        clean(&machine.join(", ")),
        record.addresses.join(" ")
    );
    if let Some(told) = &record.told {
        text.push_str(&format!("boots {}  by {}\n", clean(&told.image), clean(&told.rule)));
    }
    let row = |step: &crate::api::v1::types::record::RecordStepBody| {
        vec![
            step.first.clone(),
            step.ms.to_string(),
            step.phase.clone(),
            step.fate.clone(),
            step.tries.to_string(),
            step.what.clone(),
            step.result.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = record.steps.iter().map(row).collect();
    text.push_str(&table::grid(
        &["at", "ms", "step", "fate", "tries", "what", "result"],
        &rows,
        "nothing was seen",
    ));
    for (sign, seen) in &record.signs {
        text.push_str(&format!("  {sign:<18} {:>3}  {}\n", seen.count, clean(&seen.text)));
    }
    for line in &record.logs {
        text.push_str(&format!("  {}  <{}> {}\n", line.at, line.severity, clean(&line.text)));
    }
    if let Some(verdict) = &record.verdict {
        text.push_str(&format!("{} ({}): {}\n", verdict.summary, verdict.sure, clean(&verdict.cause)));
        text.push_str(&format!("check: {}\n", verdict.check));
    }
    text.push_str(&format!("siblings: {}\n", record.siblings));
    text
}
