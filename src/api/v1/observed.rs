//! What the head observes: networks with their pools, leases, unknown machines, other servers.

use std::net::Ipv4Addr;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::nodes::network as network_named;
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::{LeaseBody, ReportBody, SightingBody, known, read};
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

/// `GET /networks`, by name.
pub(crate) async fn networks(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let (snapshot, leases) = (context.snapshot.load(), leases_of(&context).await);
    let all = snapshot.site.networks.iter().map(|network| (network.name.to_string(), network));
    page(&uri, all, |network| network_body(&snapshot, network, &leases))
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

/// `GET /leases?network=…&state=…`, by address.
pub(crate) async fn leases(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let network = network_named(&context.snapshot.load(), uri.query())?;
    let state = query::field(uri.query(), "state");
    let states = LeaseState::ALL.map(LeaseState::as_str);
    if let Some(word) = state.as_ref().filter(|word| !states.contains(&word.as_str())) {
        return Err(known("state", word, &states));
    }
    let leases = context.dhcp.leases().await.map_err(|NotRunning| off())?;
    let wanted = leases.iter().filter(|lease| {
        network.as_ref().is_none_or(|name| lease.network == *name)
            && state.as_ref().is_none_or(|state| lease.state.as_str() == state)
    });
    page(&uri, wanted.map(|lease| (lease.address, lease)), LeaseBody::from)
}

/// Ends a lease. The client notices when it renews.
pub(crate) async fn free(
    State(context): State<Context>,
    Path(address): Path<String>,
    terms: Terms,
) -> Result<Response, Problem> {
    let address: Ipv4Addr = read("address", &address)?;
    let missing = || Problem::not_found(format!("nobody has a lease of {address}"));
    let leases = context.dhcp.leases().await.map_err(|NotRunning| off())?;
    let lease = leases.iter().find(|lease| lease.address == address && lease.state != LeaseState::Released);
    let lease = lease.ok_or_else(missing)?;
    terms.hold(Some(&LeaseBody::from(lease)))?;
    if terms.dry_run {
        let revision = context.snapshot.load().revision.0;
        let removed = vec![format!("lease {address}")];
        return Ok(
            Json(ReportBody { removed, revision, dry_run: true, ..ReportBody::default() }).into_response()
        );
    }
    match context.dhcp.free(address).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(false) => Err(missing()),
        Err(NotRunning) => Err(off()),
    }
}

/// `GET /sightings?network=…`, by hardware address.
pub(crate) async fn sightings(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let network = network_named(&context.snapshot.load(), uri.query())?;
    let seen = context.dhcp.sightings().await.map_err(|NotRunning| off())?;
    let wanted = seen.iter().filter(|seen| network.as_ref().is_none_or(|name| seen.network == *name));
    page(&uri, wanted.map(|seen| (seen.mac, seen)), SightingBody::from)
}

/// `GET /rogues?network=…`, by the servers' addresses.
pub(crate) async fn rogues(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let network = network_named(&context.snapshot.load(), uri.query())?;
    let rogues = context.dhcp.rogues().await.map_err(|NotRunning| off())?;
    let wanted = rogues.iter().filter(|rogue| network.as_ref().is_none_or(|name| rogue.network == *name));
    page(&uri, wanted.map(|rogue| (rogue.server, rogue)), |rogue| RogueBody {
        network: rogue.network.to_string(),
        server: rogue.server,
        mac: rogue.mac.to_string(),
        first: rogue.first.rfc3339(),
        last: rogue.last.rfc3339(),
        replies: rogue.replies,
    })
}

fn off() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "dhcp is not running")
}
