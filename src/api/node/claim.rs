//! Claims, the end of a session, and the list of the head's keys.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::Value;

use crate::api::boot::Caller;
use crate::api::context::Context;
use crate::api::node::key::NodeKey;
use crate::api::node::pack::{Packed, Parcel};
use crate::api::node::{NodeTrust, bearer, node_of, octets, read, session_id, socket, told};
use crate::api::problem::Problem;
use crate::api::secrets::ensure_host_keys;
use crate::base::Level;
use crate::engine::record::What;
use crate::engine::trust::session::Redeemed;
use crate::engine::trust::{key_hash, nonce_hash};
use crate::model::SessionId;
use crate::transport::clock::now;
use crate::transport::http::Peer;
use crate::transport::sessions::UNANSWERED;

/// A claim as a node sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimBody {
    session: String,
    /// From the grant, base64.
    nonce: String,
    /// X25519, made for this boot, base64: its public half.
    #[serde(default)]
    node_pub: Option<String>,
    /// Or its private one, over TLS, for an answer in the clear.
    #[serde(default)]
    node_key: Option<String>,
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
    caller: Caller,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let answer = claimed(&context, caller, bytes).await;
    let status = answer.as_ref().map_or_else(|problem| problem.status, |answer| answer.status().as_u16());
    context.recorder.saw(caller.peer.ip(), What::Claim { status });
    answer
}

async fn claimed(context: &Context, caller: Caller, bytes: Bytes) -> Result<Response, Problem> {
    let trust = &context.trust;
    let from = socket(trust, caller.peer)?;
    let body: ClaimBody = read(&bytes)?;
    let nonce = nonce_hash(&octets::<32>("nonce", &body.nonce)?);
    let asker = NodeKey::read(body.node_pub.as_deref(), body.node_key.as_deref(), caller.is_secure)?;
    let key = asker.public;
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
            Redeemed::Again(reply) => Ok(Ok((reply, session.node, None))),
            Redeemed::First => {
                let parcel = Parcel { level: Level::Grant, key, psk: None, to: *from.ip(), now };
                let packed = node_of(&snapshot, session.node)
                    .and_then(|node| parcel.pack(trust, &snapshot, &node, session));
                Ok(match packed {
                    Ok(packed) => {
                        let contents = told::contents(&packed);
                        let Packed { reply, deliveries, withheld } = packed;
                        session.answer_claim(reply.clone(), deliveries, withheld);
                        Ok((reply, session.node, Some(contents)))
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
    let (reply, node, contents) = reply.await??;
    noted(trust, id).await?;
    let node = node_of(&snapshot, node)?;
    let entry = |detail: &str| told::entry(node.name.as_str(), *from.ip(), id, detail);
    match contents {
        Some(contents) => told::given(context, entry(&format!("claimed at level 1: {contents}"))).await?,
        // As often as the node likes, for as long as an answer may have been lost.
        None => context.audit.put_counted(entry("was answered again")),
    }
    asker.answer(trust, id, reply)
}

/// Notes beyond the session what was given out in it. Before the answer leaves, and with each repetition of it.
pub(crate) async fn noted(trust: &NodeTrust, session: SessionId) -> Result<(), Problem> {
    match trust.sessions.get(session) {
        Some(session) => Ok(trust.dossiers.hold(session.node, &session.deliveries).await?),
        None => Ok(()),
    }
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
    let snapshot = context.snapshot.load();
    let known = snapshot.inventory.identities.get(&session.node).is_some_and(|identity| !identity.revoked);
    let seal = |session: &mut crate::model::BootSession| {
        let unanswered = known && session.awaits_attestation();
        session.seal(&claims.key, *from.ip(), epoch, now())?;
        if unanswered && trust.attestor.is_some() {
            session.note(now(), true, UNANSWERED.to_owned());
        }
        Ok(())
    };
    trust.sessions.change(id, seal).await?;
    trust.challenges.forget(id);
    context.recorder.saw(peer.ip(), What::Sealed);
    Ok(StatusCode::NO_CONTENT)
}

/// The list of the head's keys. Open: it is what makes everything else checkable.
pub(crate) async fn keyset(State(context): State<Context>) -> Json<Value> {
    let trust = &context.trust;
    Json(trust.keys.keyset(trust.sessions.epoch(), now()))
}
