//! Who downloads what, how fast, and when the storm is over.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::context::Context;
use crate::model::Snapshot;
use crate::transport::http::streams::traffic::{StreamFacts, Traffic};

/// The downloads of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrafficBody {
    /// Image and part, or the path of a file.
    pub file: String,
    /// Downloads under way.
    pub running: usize,
    /// Downloads that stand in line.
    pub waiting: usize,
    /// Whole downloads since the start of the head.
    pub done: u64,
    /// Downloads that broke off.
    pub broken: u64,
    /// Octets per second of all.
    pub rate: u64,
    /// Seconds until those under way and in line are over; none while nothing moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over_in_s: Option<u64>,
    pub streams: Vec<StreamBody>,
}

/// One download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamBody {
    /// The node's name, or its address if it is not declared.
    pub who: String,
    /// Octets that left, and that are to leave.
    pub sent: u64,
    pub total: u64,
    /// Octets per second.
    pub rate: u64,
    /// RFC 3339.
    pub since: String,
    /// It stands in line.
    pub waiting: bool,
}

/// `GET /images/traffic`.
pub(crate) async fn traffic(State(context): State<Context>) -> Json<Vec<TrafficBody>> {
    let snapshot = context.snapshot.load();
    Json(context.streams.traffic().into_iter().map(|traffic| body(&snapshot, traffic)).collect())
}

fn body(snapshot: &Snapshot, traffic: Traffic) -> TrafficBody {
    let Traffic { label, streams, done, broken, rate, over_in } = traffic;
    let waiting = streams.iter().filter(|stream| stream.waiting).count();
    TrafficBody {
        file: label,
        running: streams.len().saturating_sub(waiting),
        waiting,
        done,
        broken,
        rate,
        over_in_s: over_in.map(|left| left.0.div_ceil(1000)),
        streams: streams.into_iter().map(|stream| one(snapshot, &stream)).collect(),
    }
}

fn one(snapshot: &Snapshot, stream: &StreamFacts) -> StreamBody {
    let StreamFacts { peer, sent, total, rate, since, waiting } = stream;
    let who = snapshot.node_behind(*peer).map_or_else(|| peer.to_string(), |node| node.name.to_string());
    let (sent, total, rate, waiting) = (*sent, *total, *rate, *waiting);
    StreamBody { who, sent, total, rate, since: since.rfc3339(), waiting }
}
