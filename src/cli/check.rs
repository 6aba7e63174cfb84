//! `muster check`: is the configuration right?

use clap::Args;
use serde_json::json;

use crate::app::config::Config;
use crate::cli::{Global, serve, table};

/// Check the configuration and print every mistake with its line
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster check
  muster --config ./muster.toml check
  muster --json check | jq -r '.problems[]'
  muster check --links")]
pub(crate) struct Check {
    /// Print only the links that the networks are on and the head's addresses there, one pair on a line
    #[arg(long)]
    links: bool,
}

impl Check {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<()> {
        let config = match serve::read(global)? {
            Ok(config) => config,
            Err(problems) => {
                if global.json {
                    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    table::json(&json!({ "good": false, "problems": problems }))?;
                }
                return Err(serve::refused(global, &problems));
            }
        };
        if let Some(folder) = config.images.as_ref().filter(|folder| !folder.is_dir()) {
            anyhow::bail!("images.root: {} is not a directory", folder.display());
        }
        if self.links {
            return table::print(&links(&config));
        }
        if global.json {
            let networks: Vec<&str> =
                config.site.networks.iter().map(|network| network.name.as_str()).collect();
            return table::json(&json!({ "good": true, "problems": [], "networks": networks }));
        }
        table::print(&text(global, &config))
    }
}

/// For what sets up the machine's links, such as the appliance's first boot.
fn links(config: &Config) -> String {
    let on = |network: &crate::model::Network| {
        Some(format!("{} {}\n", network.interface.as_ref()?, network.address))
    };
    config.site.networks.iter().filter_map(on).collect()
}

fn text(global: &Global, config: &Config) -> String {
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
    text
}
