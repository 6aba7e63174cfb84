//! `muster check`: is the configuration right?

use clap::Args;

use crate::cli::{Global, serve, table};

/// Check the configuration and print every mistake with its line
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  muster --config ./muster.toml check")]
pub(crate) struct Check {}

impl Check {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<()> {
        let config = serve::load(global)?;
        let mut text = format!("{}: good\n", global.config.display());
        if config.site.networks.is_empty() {
            text.push_str("no network is configured: DHCP will answer nobody\n");
        }
        for network in &config.site.networks {
            let addresses: u64 = network.ranges.iter().map(|range| range.size()).sum();
            let link = network.interface.as_deref().unwrap_or("relays only");
            text.push_str(&format!(
                "network {}: {} on {link}, {addresses} dynamic addresses, unknown machines: {}\n",
                network.name, network.address, network.unknown
            ));
        }
        if let Some(folder) = config.images.as_ref().filter(|folder| !folder.is_dir()) {
            anyhow::bail!("images.root: {} is not a directory", folder.display());
        }
        table::print(&text)
    }
}
