//! `muster explain`: asks the daemon, or, where none runs, the store and the configuration.

use std::sync::Arc;

use clap::Args;

use crate::api::v1::explain::{StepBody, query};
use crate::api::v1::types::NodeBody;
use crate::app::daemon;
use crate::cli::client::escape;
use crate::cli::{Global, client, serve, table};
use crate::engine::explain::explain;
use crate::model::lease::LeaseChange;
use crate::model::{LeaseTable, Snapshot};
use crate::store::{Store, open_redb};
use crate::transport::clock::now;

/// Print what a machine would get at each stage of its boot, and why
#[derive(Debug, Args)]
#[command(after_help = "\
Nothing is sent, held or used up. Works with a running daemon, and without one from DATA_DIR.

Examples:
  muster explain nid007
  muster explain --mac 52:54:00:be:ef:01
  muster explain --mac 52:54:00:be:ef:01 --firmware uefi-http --arch arm64")]
pub(crate) struct Explain {
    /// The node, by name or xname
    #[arg(required_unless_present = "mac", conflicts_with = "mac")]
    node: Option<String>,
    /// The machine, declared or not
    #[arg(long)]
    mac: Option<String>,
    /// x86_64, arm64, …
    #[arg(long)]
    arch: Option<String>,
    /// Who asks first: bios, uefi, uefi-http, ipxe-rom, foreign-ipxe
    #[arg(long)]
    firmware: Option<String>,
    /// Where it is plugged in, if it is not declared
    #[arg(long)]
    network: Option<String>,
}

impl Explain {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<()> {
        let running =
            global.url.is_some() || std::os::unix::net::UnixStream::connect(serve::socket(global)).is_ok();
        let steps = if running { self.ask(global)? } else { self.work_out(global)? };
        if global.json {
            return table::json(&steps);
        }
        let mut text = String::new();
        for (index, step) in steps.iter().enumerate() {
            text.push_str(&format!("{}. {}: {}\n", index + 1, step.stage, step.outcome));
            step.reasons.iter().for_each(|reason| text.push_str(&format!("     {reason}\n")));
            let lines = step.script.iter().flat_map(|script| script.lines());
            lines.for_each(|line| text.push_str(&format!("     | {line}\n")));
        }
        table::print(&text)
    }

    fn ask(&self, global: &Global) -> anyhow::Result<Vec<StepBody>> {
        let client = client(global)?;
        let mac = match &self.node {
            None => self.mac.clone(),
            Some(name) => {
                let node: NodeBody = client.get(&format!("/nodes/{}", escape(name)))?;
                Some(node.interfaces.first().map(|first| first.mac.clone()).ok_or_else(|| silent(name))?)
            }
        };
        let words = [
            ("mac", mac.as_ref()),
            ("arch", self.arch.as_ref()),
            ("firmware", self.firmware.as_ref()),
            ("network", self.network.as_ref()),
        ];
        let query: Vec<String> =
            words.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", escape(value?)))).collect();
        client.get(&format!("/explain?{}", query.join("&")))
    }

    /// Without a daemon: the same function over what is on disk.
    fn work_out(&self, global: &Global) -> anyhow::Result<Vec<StepBody>> {
        let config = serve::load(global)?;
        let path = daemon::store_path(&global.data_dir);
        let loaded =
            if path.exists() { Store::open(open_redb(&path)?)?.1 } else { crate::store::Loaded::default() };
        let mut leases = LeaseTable::default();
        loaded.leases.into_iter().for_each(|lease| leases.apply(LeaseChange::Bind(lease)));
        let snapshot = Snapshot::compile(loaded.revision, Arc::new(config.site), Arc::new(loaded.inventory));
        let mac = match &self.node {
            None => self.mac.clone().unwrap_or_default(),
            Some(name) => {
                let node =
                    snapshot.find(name).ok_or_else(|| anyhow::anyhow!("no node is called {name:?}"))?;
                node.interfaces.first().ok_or_else(|| silent(name))?.mac.to_string()
            }
        };
        let words = (self.arch.as_deref(), self.firmware.as_deref(), self.network.as_deref());
        let query =
            query(&mac, words.0, words.1, words.2).map_err(|problem| anyhow::anyhow!(problem.detail))?;
        let steps = explain(&snapshot, &leases, &query, now()).map_err(|why| anyhow::anyhow!(why))?;
        Ok(steps.into_iter().map(StepBody::from).collect())
    }
}

fn silent(name: &str) -> anyhow::Error {
    anyhow::anyhow!("{name} has no interface: nothing asks for it (muster node set {name} --mac …)")
}
