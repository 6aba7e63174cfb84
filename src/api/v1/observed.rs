//! What the head observes: networks with their pools, leases, unknown machines, other servers.

use std::net::Ipv4Addr;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::types::{LeaseBody, SightingBody, read};
use crate::model::{DhcpMode, Lease, LeaseState, Network, Snapshot};
use crate::transport::clock::now;
use crate::transport::dhcp::NotRunning;

/// A network and how full it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkBody {
    pub name: String,
    pub interface: Option<String>,
    pub address: String,
    pub dhcp: String,
    pub ranges: Vec<String>,
    pub unknown: String,
    /// Addresses in the ranges.
    pub pool: u64,
    pub bound: u64,
    pub held: u64,
    pub declined: u64,
    pub free: u64,
    /// Addresses declared for machines.
    pub declared: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RogueBody {
    pub network: String,
    pub server: Ipv4Addr,
    pub mac: String,
    pub first: String,
    pub last: String,
    pub replies: u64,
}

pub(crate) async fn networks(State(context): State<Context>) -> Json<Vec<NetworkBody>> {
    let (snapshot, leases) = (context.snapshot.load(), leases_of(&context).await);
    Json(snapshot.site.networks.iter().map(|network| network_body(&snapshot, network, &leases)).collect())
}

pub(crate) async fn network(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<NetworkBody>, Problem> {
    let (snapshot, leases) = (context.snapshot.load(), leases_of(&context).await);
    let network = snapshot.site.networks.iter().find(|network| network.name.as_str() == name);
    let network = network.ok_or_else(|| Problem::not_found(format!("no network is called {name:?}")))?;
    Ok(Json(network_body(&snapshot, network, &leases)))
}

pub(crate) fn network_body(snapshot: &Snapshot, network: &Network, leases: &[Lease]) -> NetworkBody {
    let now = now();
    let count = |state: LeaseState| {
        let live = leases.iter().filter(|lease| lease.network == network.name && lease.is_live(now));
        u64::try_from(live.filter(|lease| lease.state == state).count()).unwrap_or(u64::MAX)
    };
    let pool: u64 = network.ranges.iter().map(|range| range.size()).sum();
    let addresses = || {
        let nodes = snapshot.inventory.nodes.values().flat_map(|node| &node.interfaces);
        let bmcs = snapshot.inventory.bmcs.values().filter_map(|bmc| bmc.address);
        nodes.flat_map(|interface| interface.addresses.iter().copied()).chain(bmcs)
    };
    let declared = addresses().filter(|address| network.address.contains(*address)).count();
    let taken = addresses().filter(|address| network.is_dynamic(*address)).count();
    let (bound, held, declined) =
        (count(LeaseState::Bound), count(LeaseState::Held), count(LeaseState::Declined));
    let used = bound + held + declined + u64::try_from(taken).unwrap_or(u64::MAX);
    NetworkBody {
        name: network.name.to_string(),
        interface: network.interface.clone(),
        address: network.address.to_string(),
        dhcp: match network.dhcp {
            DhcpMode::Authoritative => "authoritative",
            DhcpMode::Proxy => "proxy",
            DhcpMode::Off => "off",
        }
        .to_owned(),
        ranges: network.ranges.iter().map(ToString::to_string).collect(),
        unknown: network.unknown.to_string(),
        pool,
        bound,
        held,
        declined,
        free: pool.saturating_sub(used),
        declared: u64::try_from(declared).unwrap_or(u64::MAX),
    }
}

/// Leases; none where DHCP does not run.
pub(crate) async fn leases_of(context: &Context) -> Vec<Lease> {
    context.dhcp.leases().await.unwrap_or_default()
}

pub(crate) async fn leases(State(context): State<Context>) -> Result<Json<Vec<LeaseBody>>, Problem> {
    Ok(Json(context.dhcp.leases().await.map_err(|NotRunning| off())?.iter().map(LeaseBody::from).collect()))
}

/// Ends a lease. The client notices when it renews.
pub(crate) async fn free(
    State(context): State<Context>,
    Path(address): Path<String>,
) -> Result<StatusCode, Problem> {
    let address: Ipv4Addr = read("address", &address)?;
    match context.dhcp.free(address).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Problem::not_found(format!("nobody has a lease of {address}"))),
        Err(NotRunning) => Err(off()),
    }
}

pub(crate) async fn sightings(State(context): State<Context>) -> Result<Json<Vec<SightingBody>>, Problem> {
    Ok(Json(
        context.dhcp.sightings().await.map_err(|NotRunning| off())?.iter().map(SightingBody::from).collect(),
    ))
}

pub(crate) async fn rogues(State(context): State<Context>) -> Result<Json<Vec<RogueBody>>, Problem> {
    let rogues = context.dhcp.rogues().await.map_err(|NotRunning| off())?;
    let bodies = rogues.into_iter().map(|rogue| RogueBody {
        network: rogue.network.to_string(),
        server: rogue.server,
        mac: rogue.mac.to_string(),
        first: rogue.first.rfc3339(),
        last: rogue.last.rfc3339(),
        replies: rogue.replies,
    });
    Ok(Json(bodies.collect()))
}

fn off() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "dhcp is not running")
}
