//! Claims, the end of a session, and the list of the head's keys.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::Value;

use crate::api::context::Context;
use crate::api::node::pack::{Packed, Parcel};
use crate::api::node::{answer, bearer, node_of, octets, read, session_id, socket};
use crate::api::problem::Problem;
use crate::api::secrets::ensure_host_keys;
use crate::base::Level;
use crate::engine::record::What;
use crate::engine::trust::session::Redeemed;
use crate::engine::trust::{key_hash, nonce_hash};
use crate::transport::clock::now;
use crate::transport::http::Peer;

/// A claim as a node sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimBody {
    session: String,
    /// From the grant, base64.
    nonce: String,
    /// X25519, made for this boot, base64.
    node_pub: String,
    /// What the node says of itself; nothing follows from it.
    #[serde(default, rename = "facts")]
    _facts: Value,
}

/// The end of a session as a node sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedBody {
    session: String,
}

pub(crate) async fn claim(
    State(context): State<Context>,
    Extension(peer): Extension<Peer>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let answer = claimed(&context, peer, bytes).await;
    let status = answer.as_ref().map_or_else(|problem| problem.status, |answer| answer.status().as_u16());
    context.recorder.saw(peer.ip(), What::Claim { status });
    answer
}

async fn claimed(context: &Context, peer: Peer, bytes: Bytes) -> Result<Response, Problem> {
    let trust = &context.trust;
    let from = socket(trust, peer)?;
    let body: ClaimBody = read(&bytes)?;
    let nonce = nonce_hash(&octets::<32>("nonce", &body.nonce)?);
    let key: [u8; 32] = octets("node_pub", &body.node_pub)?;
    let id = session_id(&body.session)?;
    if let Some(session) = trust.sessions.get(id) {
        // Host keys are made before the first delivery of a node that has none yet.
        ensure_host_keys(context, session.node).await?;
    }
    let snapshot = context.snapshot.load();
    let epoch = trust.sessions.epoch();
    let now = now();
    let reply = trust.sessions.change(id, |session| {
        let before = session.clone();
        match session.redeem(&nonce, &key_hash(&key), from, epoch, now)? {
            Redeemed::Again(reply) => Ok(Ok(reply)),
            Redeemed::First => {
                let parcel = Parcel { level: Level::Grant, key, psk: None, to: *from.ip(), now };
                let packed = node_of(&snapshot, session.node)
                    .and_then(|node| parcel.pack(trust, &snapshot, &node, session));
                Ok(match packed {
                    Ok(Packed { reply, deliveries, withheld }) => {
                        session.answer_claim(reply.clone(), deliveries, withheld);
                        Ok(reply)
                    }
                    Err(problem) => {
                        // Nothing was given out: the grant is as good as before.
                        *session = before;
                        Err(problem)
                    }
                })
            }
        }
    });
    Ok(answer(reply.await??, "application/json"))
}

/// The node has all it wants: nothing more is given out in this boot.
pub(crate) async fn sealed(
    State(context): State<Context>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<StatusCode, Problem> {
    let trust = &context.trust;
    let from = socket(trust, peer)?;
    let body: SealedBody = read(&bytes)?;
    let id = session_id(&body.session)?;
    let (claims, session) = bearer(trust, &headers, from)?;
    if session.id != id {
        return Err(Problem::field("session", "is not the token's"));
    }
    let epoch = trust.sessions.epoch();
    trust.sessions.change(id, |session| session.seal(&claims.key, *from.ip(), epoch, now())).await?;
    trust.challenges.forget(id);
    context.recorder.saw(peer.ip(), What::Sealed);
    Ok(StatusCode::NO_CONTENT)
}

/// The list of the head's keys. Open: it is what makes everything else checkable.
pub(crate) async fn keyset(State(context): State<Context>) -> Json<Value> {
    let trust = &context.trust;
    Json(trust.keys.keyset(trust.sessions.epoch(), now()))
}
