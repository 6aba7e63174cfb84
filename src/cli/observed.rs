//! `muster network`, `lease`, `discover`, `status`.

use axum::http::Method;
use clap::{Args, Subcommand};

use crate::api::v1::observed::{NetworkBody, RogueBody};
use crate::api::v1::status::{Severity, StatusBody};
use crate::api::v1::types::{LeaseBody, SightingBody};
use crate::cli::client::{Client, escape};
use crate::cli::{Global, table};

/// See networks and how full their pools are (muster.toml configures them)
#[derive(Debug, Subcommand)]
pub(crate) enum Network {
    /// List networks
    List,
    /// Show a network
    Show { name: String },
}

/// See and end leases of pool addresses
#[derive(Debug, Subcommand)]
pub(crate) enum Lease {
    /// List leases
    List {
        /// Dead ones too: who returns gets the same address
        #[arg(long)]
        all: bool,
    },
    /// End a lease
    Free { address: String },
}

/// Machines that ask but were never declared, and other DHCP servers
#[derive(Debug, Subcommand)]
pub(crate) enum Discover {
    /// List unknown machines
    #[command(after_help = "To declare one:\n  muster node set NAME --mac MAC --ip ADDRESS --group GROUP")]
    List,
    /// List other DHCP servers that were heard on our networks
    Servers,
}

/// Show how the head is
#[derive(Debug, Args)]
pub(crate) struct Status {}

impl Network {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let networks: Vec<NetworkBody> = match self {
            Network::List => client.get("/networks")?,
            Network::Show { name } => vec![client.get(&format!("/networks/{}", escape(&name)))?],
        };
        if global.json { table::json(&networks) } else { list(&networks) }
    }
}

fn list(networks: &[NetworkBody]) -> anyhow::Result<()> {
    let row = |network: &NetworkBody| {
        vec![
            network.name.clone(),
            network.interface.clone().unwrap_or_else(|| "relayed".to_owned()),
            network.address.clone(),
            network.dhcp.clone(),
            table::dash(Some(network.ranges.join(",")).filter(|text| !text.is_empty())),
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
    table::rows(&header, &rows, "no networks: DHCP answers nobody ([[network]] in muster.toml)")
}

impl Lease {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            Lease::List { all } => {
                let mut leases: Vec<LeaseBody> = client.get("/leases")?;
                let now = crate::transport::clock::now().rfc3339();
                // RFC 3339 in UTC sorts like time.
                leases.retain(|lease| all || (lease.expires > now && lease.state != "released"));
                if global.json {
                    return table::json(&leases);
                }
                let row = |lease: &LeaseBody| {
                    let LeaseBody { address, client, network, state, starts: _, expires, host_name } =
                        lease.clone();
                    vec![address.to_string(), client, network, state, expires, table::dash(host_name)]
                };
                let rows: Vec<Vec<String>> = leases.iter().map(row).collect();
                table::rows(
                    &["address", "client", "network", "state", "expires", "calls itself"],
                    &rows,
                    "no leases",
                )
            }
            Lease::Free { address } => {
                client.bare(Method::DELETE, &format!("/leases/{}", escape(&address)))?;
                table::print(&format!("{address} is free\n"))
            }
        }
    }
}

impl Discover {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        match self {
            Discover::List => {
                let seen: Vec<SightingBody> = client.get("/sightings")?;
                if global.json {
                    return table::json(&seen);
                }
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
                let header =
                    ["mac", "network", "firmware", "arch", "asked", "last", "uuid", "circuit", "class"];
                table::rows(&header, &rows, "no unknown machines")
            }
            Discover::Servers => {
                let rogues: Vec<RogueBody> = client.get("/rogues")?;
                if global.json {
                    return table::json(&rogues);
                }
                let row = |rogue: &RogueBody| {
                    let RogueBody { network, server, mac, first: _, last, replies } = rogue.clone();
                    vec![server.to_string(), mac, network, replies.to_string(), last]
                };
                let rows: Vec<Vec<String>> = rogues.iter().map(row).collect();
                table::rows(&["server", "mac", "network", "replies", "last"], &rows, "no other DHCP servers")
            }
        }
    }
}

impl Status {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let status: StatusBody = client.get("/status")?;
        if global.json {
            return table::json(&status);
        }
        let StatusBody {
            cluster,
            version,
            started,
            uptime_s,
            revision,
            nodes,
            groups,
            profiles,
            leases,
            sightings,
            ..
        } = &status;
        table::print(&format!(
            "muster {version}, cluster {cluster}, up {} since {started}\n\
             revision {revision}: {nodes} nodes, {groups} groups, {profiles} profiles\n\
             {leases} leases, {sightings} unknown machines\n",
            span(*uptime_s),
        ))?;
        if !status.networks.is_empty() {
            list(&status.networks)?;
        }
        status.findings.iter().try_for_each(|found| {
            let severity = match found.severity {
                Severity::Error => "ERROR",
                Severity::Warning => "WARNING",
                Severity::Info => "INFO",
            };
            table::print(&format!("{severity}: {}: {}\n  {}\n", found.what, found.text, found.fix))
        })
    }
}

/// A span for people: its two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}
