//! `muster replay`: a capture in, verdicts out.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::cli::{Global, serve, table};
use crate::engine::inventory::{Mode, plan, read};
use crate::engine::replay::{Line, replay};
use crate::model::{Inventory, LeaseTable, Revision, Snapshot};
use crate::wire::pcap;

/// Print what this head would have answered to each packet of a capture
#[derive(Debug, Args)]
#[command(after_help = "\
Needs no daemon and no privileges. Capture with: tcpdump -i eth1 -w boot.pcap port 67 or port 68 or port 4011

Examples:
  muster replay boot.pcap
  muster --config ./muster.toml replay --inventory nodes.yaml boot.pcap")]
pub(crate) struct Replay {
    /// The capture, pcap or pcapng
    file: PathBuf,
    /// Nodes to know, in any form that import reads
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// The link on which it was taken, if not the first network's
    #[arg(long)]
    interface: Option<String>,
    /// Say why, for each packet
    #[arg(long)]
    why: bool,
}

#[derive(Serialize)]
struct LineBody {
    number: usize,
    at: String,
    mac: Option<String>,
    packet: String,
    verdict: String,
    reasons: Vec<String>,
}

impl Replay {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<()> {
        let config = serve::load(global)?;
        let bytes =
            std::fs::read(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let frames = pcap::parse(&bytes).with_context(|| format!("{} is no capture", self.file.display()))?;
        let mut inventory = Inventory::default();
        if let Some(file) = &self.inventory {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            let planned = read(&text, &config.site.short_name)
                .and_then(|document| plan(&inventory, &config.site, &document, Mode::default()));
            let planned = planned.map_err(|problems| {
                let lines: Vec<String> =
                    problems.list.iter().map(|problem| format!("\n  {problem}")).collect();
                anyhow::anyhow!("{} has problems:{}", file.display(), lines.concat())
            })?;
            planned.changes.iter().for_each(|change| inventory.apply(change));
        }
        let first = config.site.networks.iter().find_map(|network| network.interface.clone());
        let interface = self.interface.or(first).unwrap_or_default();
        let snapshot = Snapshot::compile(Revision(0), Arc::new(config.site), Arc::new(inventory));
        let lines = replay(&frames, &snapshot, &interface, LeaseTable::default());
        if global.json {
            return table::json(&lines.into_iter().map(LineBody::from).collect::<Vec<_>>());
        }
        for line in &lines {
            let mac = table::dash(line.mac);
            table::print(&format!("{:>4}  {mac}  {}\n      → {}\n", line.number, line.packet, line.verdict))?;
            for reason in line.reasons.iter().filter(|_| self.why) {
                table::print(&format!("        {reason}\n"))?;
            }
        }
        Ok(())
    }
}

impl From<Line> for LineBody {
    fn from(line: Line) -> Self {
        let Line { number, at, mac, packet, verdict, reasons } = line;
        LineBody { number, at: at.rfc3339(), mac: mac.map(|mac| mac.to_string()), packet, verdict, reasons }
    }
}
