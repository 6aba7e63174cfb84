//! Attestation: a challenge for the node's TPM, the judgement of its answer, and what the node gets for it. What
//! is right and wrong about a TPM knows the [`Attestor`](crate::engine::trust::Attestor) alone.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

use crate::api::boot::Caller;
use crate::api::context::Context;
use crate::api::enrol::let_in_by_window;
use crate::api::node::claim::noted;
use crate::api::node::key::NodeKey;
use crate::api::node::pack::{Packed, Parcel};
use crate::api::node::{NodeTrust, answer, bearer, node_of, octets, read, socket, told};
use crate::api::problem::Problem;
use crate::base::limits::{ATTESTATIONS_AT_ONCE, CHALLENGE_LIFE};
use crate::base::{Timestamp, base32};
use crate::engine::trust::attestor::{Ask, Denied, Pending, Proof};
use crate::engine::trust::sealed::Psk;
use crate::engine::trust::session::Answered;
use crate::engine::trust::token::NodeClaims;
use crate::engine::trust::{Attestor, Refusal, key_hash};
use crate::model::{BootSession, Node, SessionId};
use crate::transport::clock::now;
use crate::transport::http::Peer;
use crate::transport::vault::random;

/// How long an attestation waits for its turn before the node is told to ask again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Challenges that are out, one for each session, and the turns of those who are judged. In memory alone: after a
/// restart the node begins again, with another challenge.
pub struct Challenges {
    open: Mutex<HashMap<SessionId, Open>>,
    turns: Semaphore,
}

struct Open {
    id: String,
    key: [u8; 32],
    made: Timestamp,
    pending: Box<dyn Pending>,
}

impl Default for Challenges {
    fn default() -> Challenges {
        Challenges { open: Mutex::default(), turns: Semaphore::new(ATTESTATIONS_AT_ONCE) }
    }
}

impl Challenges {
    /// Puts a challenge out; the one before it is worth nothing any more.
    fn put(&self, session: SessionId, challenge: Open, now: Timestamp) {
        let mut open = self.lock();
        open.retain(|_, open| now.since(open.made) <= CHALLENGE_LIFE);
        open.insert(session, challenge);
    }

    /// Takes a challenge in. It is used up by that, whatever the answer is worth.
    fn take(&self, session: SessionId, id: &str, now: Timestamp) -> Option<Open> {
        let mut open = self.lock();
        open.get(&session).filter(|known| known.id == id && now.since(known.made) <= CHALLENGE_LIFE)?;
        open.remove(&session)
    }

    /// The session is over.
    pub(crate) fn forget(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        let busy =
            || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many nodes attest at once; ask again");
        match tokio::time::timeout(PATIENCE, self.turns.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attestor(trust: &NodeTrust) -> Result<Arc<dyn Attestor>, Problem> {
    let none = || Problem::new(StatusCode::NOT_IMPLEMENTED, "this head does not attest TPMs");
    trust.attestor.clone().ok_or_else(none)
}

/// Notes a refusal in the session, and turns it into an answer.
async fn denied(trust: &NodeTrust, session: SessionId, denied: Denied) -> Problem {
    let Denied { status, text, alarm } = denied;
    let note = trust.sessions.change(session, |session| {
        session.note(now(), alarm, format!("attestation refused: {text}"));
        Ok(())
    });
    if let Err(error) = note.await {
        tracing::warn!(%session, %error, "a refused attestation is not written down");
    }
    Problem::new(StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN), text)
}

/// One that is judged: who asks, and with what.
struct Asked {
    node: Arc<Node>,
    session: BootSession,
    key: [u8; 32],
    id: String,
    message: Value,
    now: Timestamp,
}

impl Asked {
    fn ask(&self) -> Ask<'_> {
        Ask { node: &self.node, session: &self.session, key: &self.key, id: &self.id, now: self.now }
    }
}

pub(crate) async fn start(
    State(context): State<Context>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let trust = &context.trust;
    let attestor = attestor(trust)?;
    let from = socket(trust, peer)?;
    let (claims, session) = bearer(trust, &headers, from)?;
    let message: Value = read(&bytes)?;
    let key: [u8; 32] = octets("node_pub", message.get("node_pub").and_then(Value::as_str).unwrap_or(""))?;
    if key_hash(&key) != claims.key {
        return Err(Problem::field("node_pub", "is not the key that claimed this boot session"));
    }
    let (id, epoch, now) = (session.id, trust.sessions.epoch(), now());
    trust.sessions.change(id, |session| session.may_attest(&claims.key, *from.ip(), epoch, now)).await?;
    let broken = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no randomness");
    let dice = Zeroizing::new(random::<128>().map_err(broken)?);
    let name = base32::encode(&random::<16>().map_err(broken)?);
    let node = node_of(&context.snapshot.load(), session.node)?;
    let asked = Asked { node, session, key, id: name.clone(), message, now };
    let _turn = trust.challenges.turn().await?;
    let asked = Arc::new(asked);
    let begin = || {
        let (attestor, asked, dice) = (Arc::clone(&attestor), Arc::clone(&asked), dice.clone());
        tokio::task::spawn_blocking(move || attestor.start(&asked.ask(), &asked.message, &dice))
    };
    let mut made = begin().await;
    if matches!(made, Ok(Err(_))) && let_in_by_window(&context, &asked.session).await? {
        made = begin().await;
    }
    let challenge = match made {
        Ok(Ok(challenge)) => challenge,
        Ok(Err(refused)) => return Err(denied(trust, id, refused).await),
        Err(_) => return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the attestation broke off")),
    };
    let mut told = challenge.told;
    if let Value::Object(fields) = &mut told {
        fields.insert("attest_id".to_owned(), json!(name));
        fields.insert("ttl".to_owned(), json!(CHALLENGE_LIFE.as_secs()));
    }
    trust.challenges.put(id, Open { id: name, key, made: now, pending: challenge.pending }, now);
    Ok(answer(told.to_string(), "application/json"))
}

pub(crate) async fn finish(
    State(context): State<Context>,
    Caller { peer, is_secure }: Caller,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let trust = &context.trust;
    attestor(trust)?;
    let from = socket(trust, peer)?;
    let (claims, session) = bearer(trust, &headers, from)?;
    let message: Value = read(&bytes)?;
    let plain = plain(&message, &claims, is_secure)?;
    let request: [u8; 32] = Sha256::digest(&bytes).into();
    let now = now();
    match session.attested_before(&request, now) {
        Ok(None) => {}
        Ok(Some(reply)) => return again(trust, session.id, &request, plain.as_ref(), reply).await,
        // Another proof in the same session, or the same one too late.
        Err(_) => return Err(Problem::conflict("this boot session was attested before")),
    }
    let id = message.get("attest_id").and_then(Value::as_str).unwrap_or("").to_owned();
    let open = trust.challenges.take(session.id, &id, now);
    let Some(Open { key, pending, .. }) = open else {
        return Err(Problem::conflict("no challenge of this attest_id is open; start again"));
    };
    let (node, session_id) = (node_of(&context.snapshot.load(), session.node)?, session.id);
    let asked = Asked { node: Arc::clone(&node), session, key, id: id.clone(), message, now };
    let judged = {
        let _turn = trust.challenges.turn().await?;
        tokio::task::spawn_blocking(move || pending.finish(&asked.ask(), &asked.message)).await
    };
    let proof = match judged {
        Ok(Ok(proof)) => proof,
        Ok(Err(refused)) => return Err(denied(trust, session_id, refused).await),
        Err(_) => return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the attestation broke off")),
    };
    let proven = Proven { id: &id, key, plain, request, from, proof, now };
    proven.deliver(&context, session_id, &node).await
}

/// The answer that was given before. Written down once more, because the first time may still be on its way.
async fn again(
    trust: &NodeTrust,
    session: SessionId,
    request: &[u8; 32],
    plain: Option<&NodeKey>,
    reply: Vec<u8>,
) -> Result<Response, Problem> {
    let now = now();
    trust.sessions.change(session, |session| session.attested_before(request, now).map(drop)).await?;
    noted(trust, session).await?;
    match plain {
        Some(asker) => asker.answer(trust, session, reply),
        None => Ok(answer(reply, "application/json")),
    }
}

/// The private key of the node, if it wants its answer in the clear.
fn plain(message: &Value, claims: &NodeClaims, is_secure: bool) -> Result<Option<NodeKey>, Problem> {
    if message.get("node_key").is_none() {
        return Ok(None);
    }
    let asker = NodeKey::of(message, is_secure)?;
    if key_hash(&asker.public) != claims.key {
        return Err(Problem::field("node_key", "is not the key that claimed this boot session"));
    }
    Ok(Some(asker))
}

/// An attestation that counts.
struct Proven<'a> {
    id: &'a str,
    key: [u8; 32],
    plain: Option<NodeKey>,
    request: [u8; 32],
    from: SocketAddrV4,
    proof: Proof,
    now: Timestamp,
}

impl Proven<'_> {
    async fn deliver(self, context: &Context, session: SessionId, node: &Node) -> Result<Response, Problem> {
        let (trust, snapshot) = (&context.trust, context.snapshot.load());
        let Proven { id, key, plain, request, from, proof: Proof { level, secret }, now } = self;
        // The secret of the credential never travels; what is opened here once more must do without.
        let psk = Some(Psk { id, secret: &secret }).filter(|_| plain.is_none());
        let parcel = Parcel { level, key, psk, to: *from.ip(), now };
        let epoch = trust.sessions.epoch();
        let reply = trust.sessions.change(session, |session| {
            session.may_attest(&key_hash(&key), *from.ip(), epoch, now)?;
            if session.attestation.is_some() {
                return Err(Refusal::Late);
            }
            Ok(parcel.pack(trust, &snapshot, node, session).map(|packed| {
                let contents = told::contents(&packed);
                let Packed { reply, deliveries, withheld } = packed;
                let answered = Answered { of: request, to: from, at: now, reply: reply.clone() };
                session.attested(level, answered, deliveries, withheld);
                (reply, contents)
            }))
        });
        let (reply, contents) = reply.await??;
        noted(trust, session).await?;
        let detail = format!("attested at level {level}: {contents}");
        told::given(context, told::entry(node.name.as_str(), *from.ip(), session, &detail)).await?;
        match plain {
            Some(asker) => asker.answer(trust, session, reply),
            None => Ok(answer(reply, "application/json")),
        }
    }
}
