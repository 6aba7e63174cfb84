//! `/api/v1/audit`: the audit log's lines and its signed checkpoints. Lines come with all that their digests
//! cover, so that a reader can check the chain and need not believe the head.

use std::net::IpAddr;
use std::str::FromStr;

use axum::extract::{RawQuery, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::v1::types::read;
use crate::base::limits::AUDIT_PAGE_LINES_MAX;
use crate::base::{Digest, Timestamp};
use crate::model::audit::{Checkpoint, Entry, Line, Query};

/// The routes of the audit log, below `PREFIX`.
pub fn router() -> Router<Context> {
    Router::new()
        .route("/audit", get(list))
        .route("/audit/checkpoints", get(checkpoints))
        .route("/audit/checkpoint", post(sign))
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLineBody {
    pub seq: u64,
    /// Milliseconds since 1970; the digest covers this one.
    pub at: u64,
    /// The same for people (RFC 3339).
    pub time: String,
    pub actor: String,
    /// `socket`, `token`, `session`, `client`, `node`, `nobody` or `head`.
    pub via: String,
    pub action: String,
    pub object: String,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    #[schemars(with = "Option<String>")]
    pub ip: Option<IpAddr>,
    pub detail: String,
    /// SHA-256 of the line before, 64 digits.
    pub prev: String,
    pub hash: String,
}

/// Some lines of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditPageBody {
    pub lines: Vec<AuditLineBody>,
    /// Where the next page goes on: the `after` of a question with `after`, else its `before`. None: no more.
    pub next: Option<u64>,
}

/// A signed checkpoint of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointBody {
    /// The line up to which the log is signed.
    pub seq: u64,
    /// Its digest.
    pub hash: String,
    /// Milliseconds since 1970.
    pub at: u64,
    /// Ed25519 of the site key (`/site.pub`), 128 hexadecimal digits.
    pub signature: String,
}

impl From<Line> for AuditLineBody {
    fn from(line: Line) -> Self {
        let Line { seq, entry, prev, hash } = line;
        let Entry { at, actor, via, action, object, outcome, ip, detail } = entry;
        let (via, outcome) = (via.name().to_owned(), outcome.name().to_owned());
        let (prev, hash) = (prev.hex(), hash.hex());
        let time = at.rfc3339();
        AuditLineBody { seq, at: at.0, time, actor, via, action, object, outcome, ip, detail, prev, hash }
    }
}

/// Reads a field of what a head answered.
fn field<T: FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{name}: {text:?} {error}"))
}

impl TryFrom<AuditLineBody> for Line {
    type Error = String;

    fn try_from(body: AuditLineBody) -> Result<Self, String> {
        let AuditLineBody { seq, at, time: _, actor, via, action, object, outcome, ip, detail, prev, hash } =
            body;
        let (via, outcome) = (field("via", &via)?, field("outcome", &outcome)?);
        let entry = Entry { at: Timestamp(at), actor, via, action, object, outcome, ip, detail };
        Ok(Line { seq, entry, prev: field("prev", &prev)?, hash: field("hash", &hash)? })
    }
}

impl From<&Checkpoint> for CheckpointBody {
    fn from(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { seq, hash, at, signature } = checkpoint;
        let signature = signature.iter().map(|octet| format!("{octet:02x}")).collect();
        CheckpointBody { seq: *seq, hash: hash.hex(), at: at.0, signature }
    }
}

impl TryFrom<&CheckpointBody> for Checkpoint {
    type Error = String;

    fn try_from(body: &CheckpointBody) -> Result<Self, String> {
        let CheckpointBody { seq, hash, at, signature } = body;
        let halves = signature.split_at_checked(64).ok_or("signature: too short")?;
        let (first, second): (Digest, Digest) =
            (field("signature", halves.0)?, field("signature", halves.1)?);
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&first.0);
        signature[32..].copy_from_slice(&second.0);
        Ok(Checkpoint { seq: *seq, hash: field("hash", hash)?, at: Timestamp(*at), signature })
    }
}

/// `GET /audit`: the newest lines first; with `after`, those behind a line in rising order.
pub(crate) async fn list(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
) -> Result<Json<AuditPageBody>, Problem> {
    let raw = raw.as_deref();
    let text = |name| query::field(raw, name).filter(|text| !text.is_empty());
    let number = |name| text(name).map(|text| read::<u64>(name, &text)).transpose();
    let time = |name| text(name).map(|given| when(name, &given)).transpose();
    let wanted = Query {
        after: number("after")?,
        before: number("before")?,
        limit: query::limit(raw, AUDIT_PAGE_LINES_MAX)?,
        actor: text("actor"),
        action: text("action"),
        object: text("object"),
        outcome: text("outcome").map(|text| read("outcome", &text)).transpose()?,
        since: time("since")?,
        until: time("until")?,
    };
    let page = context.audit.page(wanted).await?;
    Ok(Json(AuditPageBody { lines: page.lines.into_iter().map(Into::into).collect(), next: page.next }))
}

fn when(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let wanted = || Problem::field(name, format!("{text:?} is no time such as 2026-03-01T08:00:00Z"));
    Timestamp::parse(text).ok_or_else(wanted)
}

/// `GET /audit/checkpoints`: every checkpoint that is kept, the oldest first.
pub(crate) async fn checkpoints(State(context): State<Context>) -> Json<Vec<CheckpointBody>> {
    Json(context.audit.checkpoints().iter().map(Into::into).collect())
}

/// `POST /audit/checkpoint`: signs the log as it is now.
pub(crate) async fn sign(State(context): State<Context>) -> Result<Json<CheckpointBody>, Problem> {
    let signed = context.audit.sign().await?;
    let signed =
        signed.ok_or_else(|| Problem::conflict("the audit log is empty; there is nothing to sign"))?;
    Ok(Json((&signed).into()))
}
