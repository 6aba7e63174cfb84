//! `muster network`, `lease`, `discover`: what the head observes.

use clap::Subcommand;

use crate::api::v1::observed::{NetworkBody, RogueBody};
use crate::api::v1::types::{LeaseBody, SightingBody};
use crate::cli::client::{Client, escape};
use crate::cli::watch::Watch;
use crate::cli::write::{DryRun, Writer};
use crate::cli::{Global, table};

/// See networks and how full their pools are (muster.toml configures them)
#[derive(Debug, Subcommand)]
pub(crate) enum Network {
    /// List networks
    #[command(after_help = "Example:\n  muster network list --watch")]
    List {
        #[command(flatten)]
        watch: Watch,
    },
    /// Show a network
    #[command(after_help = "Example:\n  muster network show boot")]
    Show {
        name: String,
        #[command(flatten)]
        watch: Watch,
    },
}

/// See and end leases of pool addresses
#[derive(Debug, Subcommand)]
pub(crate) enum Lease {
    /// List leases
    #[command(after_help = "Examples:\n  muster lease list --watch\n  muster lease list --all")]
    List {
        /// Dead ones too: who returns gets the same address
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        watch: Watch,
    },
    /// End a lease
    #[command(after_help = "Example:\n  muster lease free 172.16.0.201")]
    Free {
        address: String,
        #[command(flatten)]
        dry: DryRun,
    },
}

/// Machines that ask but were never declared, and other DHCP servers
#[derive(Debug, Subcommand)]
pub(crate) enum Discover {
    /// List unknown machines
    #[command(after_help = "\
Examples:
  muster discover list --watch
  muster node add nid007 --mac 52:54:00:be:ef:07     declare one of them")]
    List {
        #[command(flatten)]
        watch: Watch,
    },
    /// List other DHCP servers that were heard on our networks
    #[command(after_help = "Example:\n  muster discover servers")]
    Servers {
        #[command(flatten)]
        watch: Watch,
    },
}

impl Network {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            Network::List { watch } => watch.show(|| {
                let networks: Vec<NetworkBody> = client.get("/networks")?;
                if global.json { table::json_text(&networks) } else { Ok(networks_text(&networks)) }
            }),
            Network::Show { name, watch } => watch.show(|| {
                let network: NetworkBody = client.get(&format!("/networks/{}", escape(&name)))?;
                if global.json { table::json_text(&network) } else { Ok(networks_text(&[network])) }
            }),
        }
    }
}

/// Networks as a table.
pub(crate) fn networks_text(networks: &[NetworkBody]) -> String {
    let row = |network: &NetworkBody| {
        vec![
            network.name.clone(),
            network.interface.clone().unwrap_or_else(|| "relayed".to_owned()),
            network.address.clone(),
            network.dhcp.clone(),
            table::dash(Some(network.ranges.join(","))),
            network.bound.to_string(),
            network.free.to_string(),
            network.declined.to_string(),
            network.declared.to_string(),
            network.unknown.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = networks.iter().map(row).collect();
    let header =
        ["name", "link", "address", "dhcp", "range", "bound", "free", "declined", "declared", "unknown"];
    table::grid(&header, &rows, "no networks: DHCP answers nobody ([[network]] in muster.toml)")
}

impl Lease {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            Lease::List { all, watch } => watch.show(|| {
                let mut leases: Vec<LeaseBody> = client.get("/leases")?;
                let now = crate::transport::clock::now().rfc3339();
                // RFC 3339 in UTC sorts like time.
                leases.retain(|lease| all || (lease.expires > now && lease.state != "released"));
                if global.json { table::json_text(&leases) } else { Ok(leases_text(&leases)) }
            }),
            Lease::Free { address, dry } => {
                let path = format!("/leases/{}", escape(&address));
                Writer { client, global, dry }.remove(&path, &format!("lease of {address}"))
            }
        }
    }
}

fn leases_text(leases: &[LeaseBody]) -> String {
    let row = |lease: &LeaseBody| {
        let lease = lease.clone();
        vec![
            lease.address.to_string(),
            lease.client,
            lease.network,
            lease.state,
            lease.expires,
            table::dash(lease.host_name),
        ]
    };
    let rows: Vec<Vec<String>> = leases.iter().map(row).collect();
    table::grid(&["address", "client", "network", "state", "expires", "calls itself"], &rows, "no leases")
}

impl Discover {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            Discover::List { watch } => watch.show(|| {
                let seen: Vec<SightingBody> = client.get("/sightings")?;
                if global.json { table::json_text(&seen) } else { Ok(sightings_text(&seen)) }
            }),
            Discover::Servers { watch } => watch.show(|| {
                let rogues: Vec<RogueBody> = client.get("/rogues")?;
                if global.json { table::json_text(&rogues) } else { Ok(rogues_text(&rogues)) }
            }),
        }
    }
}

fn sightings_text(seen: &[SightingBody]) -> String {
    let row = |seen: &SightingBody| {
        vec![
            seen.mac.clone(),
            seen.network.clone(),
            seen.firmware.clone(),
            table::dash(seen.arch.as_ref()),
            seen.requests.to_string(),
            seen.last.clone(),
            table::dash(seen.uuid.as_ref()),
            table::dash(seen.circuit.as_ref()),
            table::dash(seen.vendor_class.as_ref()),
        ]
    };
    let rows: Vec<Vec<String>> = seen.iter().map(row).collect();
    let header = ["mac", "network", "firmware", "arch", "asked", "last", "uuid", "circuit", "class"];
    table::grid(&header, &rows, "no unknown machines")
}

fn rogues_text(rogues: &[RogueBody]) -> String {
    let row = |rogue: &RogueBody| {
        let rogue = rogue.clone();
        vec![rogue.server.to_string(), rogue.mac, rogue.network, rogue.replies.to_string(), rogue.last]
    };
    let rows: Vec<Vec<String>> = rogues.iter().map(row).collect();
    table::grid(&["server", "mac", "network", "replies", "last"], &rows, "no other DHCP servers")
}
