//! What a node that boots says and gets: `/node/v1` and the archive with its grant.
//!
//! Who a node is follows from two things alone: the address of the socket, which must be the one that fetched the
//! script of the session, and what it shows (a nonce, a key, a token). No header counts, not even those of a
//! proxy that is trusted elsewhere: `api/auth/guard.rs` leaves the peer of these paths as it is.
//!
//! Whatever is wrong about a session's name or a peer's address is answered alike, so that nobody can ask who
//! boots.

mod attest;
mod claim;
mod grant;
mod key;
pub(crate) mod measure;
mod pack;
pub mod secure;
pub mod supply;
mod told;

use std::net::SocketAddrV4;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::DeserializeOwned;

use crate::api::context::Context;
use crate::api::problem::{Problem, in_our_form};
use crate::base::Level;
use crate::base::limits::{NODE_MESSAGE_BYTES_MAX, NODE_PROOF_BYTES_MAX};
use crate::engine::boot::url;
use crate::engine::trust::contents::{Choice, Item, Withheld};
use crate::engine::trust::token::{NodeClaims, Purpose};
use crate::engine::trust::{Attestor, NoSecrets, Refusal, Secrets};
use crate::model::{BootSession, Node, NodeId, SessionId, Snapshot, SnapshotCell};
use crate::store::Store;
use crate::transport::clock::now;
use crate::transport::dossiers::Dossiers;
use crate::transport::http::Peer;
use crate::transport::journal::Journal;
use crate::transport::sessions::{ChangeError, SessionPolicy, Sessions, Witness};
use crate::transport::vault::{Chest, NodeKeys, SiteKey, VaultError};

pub use attest::Challenges;

/// Ports below are root's.
const PRIVILEGED_PORTS: u16 = 1024;

/// What the configuration says of nodes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodePolicy {
    /// Every node gets a boot session, not only those that have secrets.
    pub always: bool,
    /// Only root of a node may claim for it.
    pub privileged_port: bool,
    /// Our own URL, as tokens name it.
    pub issuer: String,
    /// The port where nodes may ask over TLS.
    pub tls: Option<u16>,
}

/// What these routes reach, and the boot script too.
pub struct NodeTrust {
    pub sessions: Arc<Sessions>,
    /// What is remembered of nodes beyond their sessions.
    pub dossiers: Arc<Dossiers>,
    pub keys: Arc<NodeKeys>,
    pub secrets: Arc<dyn Secrets>,
    /// None: this head cannot attest, and says so.
    pub attestor: Option<Arc<dyn Attestor>>,
    pub policy: NodePolicy,
    pub challenges: Challenges,
}

impl NodeTrust {
    /// For a site without secrets and without TPMs.
    #[must_use]
    pub fn new(
        sessions: Arc<Sessions>,
        dossiers: Arc<Dossiers>,
        keys: Arc<NodeKeys>,
        policy: NodePolicy,
    ) -> NodeTrust {
        let challenges = Challenges::default();
        NodeTrust {
            sessions,
            dossiers,
            keys,
            secrets: Arc::new(NoSecrets),
            attestor: None,
            policy,
            challenges,
        }
    }

    /// The same for tests and trials: keys in this folder, and nothing that outlives the process.
    ///
    /// # Errors
    /// The keys cannot be made.
    pub fn trial(
        folder: &Path,
        store: &Store,
        journal: &Journal,
        snapshot: &Arc<SnapshotCell>,
        policy: SessionPolicy,
    ) -> Result<NodeTrust, VaultError> {
        let chest = Chest::open(folder, None)?;
        let site = SiteKey::open(&chest, folder, &folder.join("site.pub"))?;
        let keys = NodeKeys::open(&chest, folder, Arc::new(site))?;
        let (store, journal, snapshot) = (store.clone(), journal.clone(), Arc::clone(snapshot));
        let (own, told, cell) = (store.clone(), journal.clone(), Arc::clone(&snapshot));
        let none = (Vec::new(), 0);
        let sessions = Arc::new(Sessions::new(none, store, journal, snapshot, Witness::none(), policy));
        let dossiers = Dossiers::new(Vec::new(), own, told, cell, Arc::clone(&sessions));
        let issuer = "https://trial.example:8443".to_owned();
        let policy = NodePolicy { always: false, privileged_port: false, issuer, tls: None };
        Ok(NodeTrust::new(sessions, Arc::new(dossiers), Arc::new(keys), policy))
    }

    /// Whether this node boots with a session.
    #[must_use]
    pub fn wants(&self, snapshot: &Snapshot, node: &Node) -> bool {
        self.policy.always || self.secrets.wants(snapshot, node)
    }

    /// Why this node gets nothing at this level, whatever its secrets ask for.
    fn bar(&self, snapshot: &Snapshot, node: &Node, level: Level) -> Option<Bar> {
        let identity = snapshot.inventory.identities.get(&node.id)?;
        if identity.revoked {
            return Some(Bar::Revoked);
        }
        let waits = level < Level::Tpm && self.attestor.is_some() && self.dossiers.policy(node).tpm_first;
        waits.then_some(Bar::Tpm)
    }
}

/// Why a node gets nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bar {
    /// An administrator took its trust from it.
    Revoked,
    /// Its TPM is known, and whoever claims in its name has not shown it. A machine that took its address never
    /// will.
    Tpm,
}

impl Bar {
    /// All that a node would get, withheld.
    fn nothing(self, choice: Choice) -> Choice {
        let reason = match self {
            Bar::Revoked => "this node is revoked",
            Bar::Tpm => "the TPM of this node is known, and must answer first",
        };
        let mut withheld = choice.withheld;
        for Item { id, .. } in choice.items {
            if !withheld.iter().any(|one| one.id == id) {
                withheld.push(Withheld { id, needs: Level::Address, reason: String::new() });
            }
        }
        for one in &mut withheld {
            (one.needs, one.reason) = (one.needs.max(Level::Tpm), reason.to_owned());
        }
        Choice { items: Vec::new(), withheld, after: Vec::new() }
    }
}

/// The routes of this room.
pub fn router(context: Context) -> Router {
    let messages = Router::new()
        .route("/claim", post(claim::claim))
        .route("/attest/start", post(attest::start))
        .route("/attest/finish", post(attest::finish).layer(DefaultBodyLimit::max(NODE_PROOF_BYTES_MAX)))
        .route("/sealed", post(claim::sealed))
        .route("/keyset", get(claim::keyset))
        .layer(DefaultBodyLimit::max(NODE_MESSAGE_BYTES_MAX))
        .layer(axum::middleware::map_response(in_our_form));
    Router::new()
        .nest(url::NODE, messages)
        .route(&format!("{}/{{session}}/{}", url::SESSIONS, url::GRANT), get(grant::archive))
        .layer(axum::middleware::from_fn_with_state(context.clone(), told::refusals))
        .with_state(context)
}

/// Whether identity on this path is the socket's alone.
#[must_use]
pub fn is_by_socket(path: &str) -> bool {
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    below("/node") || below(url::SESSIONS)
}

/// The socket of the node that asks.
fn socket(trust: &NodeTrust, peer: Peer) -> Result<SocketAddrV4, Problem> {
    let Peer::Tcp { remote, .. } = peer else {
        return Err(Problem::bad_request("a node is known by its address, and this way of asking has none"));
    };
    let from = peer.address().ok_or_else(unknown)?;
    if trust.policy.privileged_port && remote.port() >= PRIVILEGED_PORTS {
        let text = "this head takes claims from ports of root (below 1024) only: trust.privileged_port";
        return Err(Problem::new(StatusCode::FORBIDDEN, text));
    }
    Ok(SocketAddrV4::new(from, remote.port()))
}

/// The one answer for what there is not, and for what is not for this address.
fn unknown() -> Problem {
    Problem::not_found(Refusal::Unknown.to_string())
}

/// Who bears the token of this request: a node whose session is live, at the session's address.
fn bearer(
    trust: &NodeTrust,
    headers: &HeaderMap,
    from: SocketAddrV4,
) -> Result<(NodeClaims, BootSession), Problem> {
    let denied =
        || Problem::new(StatusCode::UNAUTHORIZED, "the token is none of a boot session that is open");
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(denied()) };
    let token = line.to_str().ok().and_then(|line| line.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).ok_or_else(denied)?.1;
    let claims = trust.keys.verify(token.trim(), Purpose::Node, now()).ok_or_else(denied)?;
    let session = trust.sessions.get(claims.session).ok_or_else(denied)?;
    let own = session.node == claims.node && session.channel.address == Some(*from.ip());
    let live = session.is_live(trust.sessions.epoch(), now());
    if own && live { Ok((claims, session)) } else { Err(denied()) }
}

/// The node of a session, in this snapshot.
fn node_of(snapshot: &Snapshot, id: NodeId) -> Result<Arc<Node>, Problem> {
    snapshot.node(id).cloned().ok_or_else(unknown)
}

fn session_id(text: &str) -> Result<SessionId, Problem> {
    text.parse().map_err(|_| unknown())
}

fn read<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::field("body", error.to_string()))
}

/// Octets of a field, in either alphabet of base64, with padding or without: shells and libraries differ.
fn octets<const N: usize>(field: &str, text: &str) -> Result<[u8; N], Problem> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    let decoded = GeneralPurpose::new(&alphabet, config).decode(text).ok();
    let decoded = decoded.and_then(|octets| octets.try_into().ok());
    decoded.ok_or_else(|| Problem::field(field, format!("must be {N} octets in base64")))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let status = match refusal {
            Refusal::Unknown => StatusCode::NOT_FOUND,
            Refusal::Ended(_) | Refusal::Late => StatusCode::GONE,
            Refusal::Nonce | Refusal::Held(_) => StatusCode::FORBIDDEN,
            Refusal::OtherKey | Refusal::Early(_) => StatusCode::CONFLICT,
        };
        Problem::new(status, refusal.to_string())
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Problem {
        match error {
            ChangeError::Refused(refusal) => refusal.into(),
            ChangeError::Store(error) => error.into(),
            ChangeError::Busy => Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        }
    }
}

/// An answer that no cache keeps.
fn answer(body: impl Into<axum::body::Body>, kind: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], body.into()).into_response()
}
