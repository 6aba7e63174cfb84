//! Boot sessions as operators see them, and what an operator may do to them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::auth::Caller;
use crate::api::context::Context;
use crate::api::node::NodeTrust;
use crate::api::problem::Problem;
use crate::api::v1::nodes;
use crate::api::v1::page::page;
use crate::api::who::Who;
use crate::base::Level;
use crate::model::audit::Outcome;
use crate::model::boot_session::{BootSession, Channel, Delivery, SessionEvent};
use crate::model::secret::Scope;
use crate::model::{Node, SecretKey, Snapshot};
use crate::transport::clock::now;

/// Whoever asks; none over the Unix socket.
pub(crate) type Asker = Option<Extension<Caller>>;

/// The routes of boot sessions, below `PREFIX`.
pub fn router() -> Router<Context> {
    Router::new()
        .route("/trust/sessions", get(sessions))
        .route("/trust/nodes/{name}", get(show))
        .route("/trust/nodes/{name}/arm", post(arm))
        .route("/trust/nodes/{name}/revoke", post(revoke))
        .route("/trust/void", post(void))
}

/// One boot of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionBody {
    pub id: String,
    pub node: String,
    /// `armed`, `scripted`, `claimed`, `attested`, `delivered`, `sealed`, `expired`, `revoked` or `superseded`.
    pub state: String,
    /// `dhcp`, `power` or `operator`.
    pub armed_by: String,
    /// Why nothing is given out, until an operator arms it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// The level that was reached: `0`, `1`, `2` or `2p`.
    pub level: String,
    pub mac: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// RFC 3339.
    pub made: String,
    pub expires: String,
    /// What was given out.
    pub delivered: Vec<DeliveryBody>,
    /// Secrets that need a higher level.
    pub withheld: Vec<String>,
    pub events: Vec<SessionEventBody>,
}

/// A secret that was given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryBody {
    pub secret: String,
    pub version: u64,
    /// RFC 3339.
    pub at: String,
    pub to: String,
}

/// Something that happened in a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionEventBody {
    /// RFC 3339.
    pub at: String,
    /// Somebody should look at it.
    pub alarm: bool,
    pub text: String,
}

/// How far a node is trusted, and why not further.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeTrustBody {
    pub node: String,
    /// The level that was reached in its last boot.
    pub level: String,
    /// What keeps it from more; empty if nothing does.
    pub why: Vec<String>,
    /// Its sessions that are remembered, the newest first.
    pub sessions: Vec<SessionBody>,
}

/// The security epoch after it was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EpochBody {
    pub epoch: u64,
}

impl SessionBody {
    pub(crate) fn new(snapshot: &Snapshot, session: &BootSession) -> SessionBody {
        let node = snapshot.node(session.node).map_or_else(String::new, |node| node.name.to_string());
        let shown = |row: &str| {
            let own = SecretKey::first(Scope::Node(session.node));
            let own = snapshot.inventory.secrets.range_from(std::ops::Bound::Included(&own));
            let mut own = own.take_while(|(key, _)| key.scope == Scope::Node(session.node));
            // Rows of other scopes are as people write them.
            own.find(|(key, _)| key.row() == row)
                .map_or_else(|| row.to_owned(), |(key, _)| key.shown(&snapshot.inventory))
        };
        let delivery = |delivery: &Delivery| DeliveryBody {
            secret: shown(&delivery.secret),
            version: delivery.version,
            at: delivery.at.rfc3339(),
            to: delivery.to.to_string(),
        };
        let event = |event: &SessionEvent| SessionEventBody {
            at: event.at.rfc3339(),
            alarm: event.alarm,
            text: event.text.clone(),
        };
        SessionBody {
            id: session.id.to_string(),
            node,
            state: session.state.as_str().to_owned(),
            armed_by: session.armed_by.as_str().to_owned(),
            held: session.held.map(|held| held.as_str().to_owned()),
            level: session.level.to_string(),
            mac: session.channel.mac.to_string(),
            address: session.channel.address.map(|address| address.to_string()),
            made: session.made.rfc3339(),
            expires: session.expires.rfc3339(),
            delivered: session.deliveries.iter().map(delivery).collect(),
            withheld: session.withheld.clone(),
            events: session.events.iter().map(event).collect(),
        }
    }
}

/// `GET /trust/sessions`, by node, the oldest of each first.
pub(crate) async fn sessions(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let snapshot = context.snapshot.load();
    let all = context.trust.sessions.all().into_iter();
    let keyed = all.map(|session| (format!("{:020}-{:020}", session.node.0, session.sequence), session));
    page(&uri, keyed, |session| SessionBody::new(&snapshot, &session))
}

/// `GET /trust/nodes/{name}`.
pub(crate) async fn show(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<NodeTrustBody>, Problem> {
    let snapshot = context.snapshot.load();
    let node = find(&snapshot, &name)?;
    let sessions = context.trust.sessions.of(node.id);
    let last = sessions.last();
    let level = last.map_or(Level::Address, |session| session.level);
    Ok(Json(NodeTrustBody {
        node: node.name.to_string(),
        level: level.to_string(),
        why: why(&context.trust, &snapshot, &node, last),
        sessions: sessions.iter().rev().map(|session| SessionBody::new(&snapshot, session)).collect(),
    }))
}

/// What keeps a node from a higher level.
fn why(trust: &NodeTrust, snapshot: &Snapshot, node: &Node, last: Option<&BootSession>) -> Vec<String> {
    let mut why = Vec::new();
    if !trust.wants(snapshot, node) {
        why.push(
            "it has no secret that needs more than its address, so it boots without a session".to_owned(),
        );
    }
    let Some(session) = last else {
        why.push("it has not begun to boot since its session was forgotten, or never".to_owned());
        return why;
    };
    if let Some(held) = session.held {
        why.push(format!("its boot is held ({}): muster node arm {}", held.as_str(), node.name));
    }
    if session.level == Level::Address {
        why.push(if session.grants.is_empty() {
            "its initramfs was not given the grant: the script was not fetched in this boot".to_owned()
        } else {
            "its initramfs has the grant and did not redeem it: is muster-node in the image?".to_owned()
        });
    }
    if session.level < Level::Tpm && !session.withheld.is_empty() {
        why.push(of_tpm(trust, snapshot, node));
    }
    why
}

/// What keeps a node from level 2.
fn of_tpm(trust: &NodeTrust, snapshot: &Snapshot, node: &Node) -> String {
    if trust.attestor.is_none() {
        return "this head does not attest TPMs".to_owned();
    }
    match snapshot.inventory.identities.get(&node.id) {
        Some(identity) if identity.revoked => {
            "it is revoked: muster trust tpm anew lets it in again".to_owned()
        }
        Some(_) => "its TPM did not answer in this boot".to_owned(),
        None => match trust.dossiers.pending(node.id) {
            Some(pending) => format!(
                "its TPM waits for approval: muster trust tpm approve {} --code {}",
                node.name,
                pending.ek.code()
            ),
            None => "it showed no TPM".to_owned(),
        },
    }
}

/// `POST /trust/nodes/{name}/arm`: an operator vouches for the boot that is going on, or for the next one.
pub(crate) async fn arm(
    State(context): State<Context>,
    caller: Asker,
    Path(name): Path<String>,
) -> Result<Json<SessionBody>, Problem> {
    let snapshot = context.snapshot.load();
    let node = find(&snapshot, &name)?;
    let Some(interface) = node.interfaces.first() else {
        return Err(Problem::conflict(format!("{} has no interface that it could boot from", node.name)));
    };
    let channel =
        Channel { mac: interface.mac, address: None, relay: None, uuid: node.uuid, arch: node.arch };
    let session = context.trust.sessions.vouch(node.id, channel, &who(caller)).await?;
    note(&context, format!("node {}", node.name), format!("armed boot session {}", session.id)).await?;
    Ok(Json(SessionBody::new(&snapshot, &session)))
}

/// `POST /trust/nodes/{name}/revoke`: ends the session that is going on.
pub(crate) async fn revoke(
    State(context): State<Context>,
    caller: Asker,
    Path(name): Path<String>,
) -> Result<Json<SessionBody>, Problem> {
    let snapshot = context.snapshot.load();
    let (node, sessions) = (find(&snapshot, &name)?, &context.trust.sessions);
    let live = sessions.of(node.id).into_iter().rfind(|session| session.is_live(sessions.epoch(), now()));
    let none = || Problem::conflict(format!("{} has no boot session that is open", node.name));
    let (id, who) = (live.ok_or_else(none)?.id, who(caller));
    let ended = sessions.change(id, |session| {
        session.revoke(format!("revoked by {who}"), false, now());
        Ok(session.clone())
    });
    let ended = ended.await?;
    note(&context, format!("node {}", node.name), format!("revoked boot session {id}")).await?;
    Ok(Json(SessionBody::new(&snapshot, &ended)))
}

/// `POST /trust/void`: everything that was given out before counts no more. For whoever restored the data directory
/// as a whole, which the head cannot see.
pub(crate) async fn void(State(context): State<Context>, caller: Asker) -> Result<Json<EpochBody>, Problem> {
    let epoch = context.trust.sessions.void();
    tracing::warn!(who = who(caller), epoch, "all boot sessions are void");
    note(&context, "boot sessions".to_owned(), format!("all before epoch {epoch} are void")).await?;
    Ok(Json(EpochBody { epoch }))
}

/// Writes down what an operator did to boot sessions; they are no declared state, whose changes note themselves.
async fn note(context: &Context, object: String, detail: String) -> Result<(), Problem> {
    Ok(context.audit.note(Who::asks().entry(object, Outcome::Done, detail)).await?)
}

fn find(snapshot: &Snapshot, name: &str) -> Result<Arc<Node>, Problem> {
    nodes::find(snapshot, name).map(Arc::clone)
}

/// Who asks, for records of it.
pub(crate) fn who(caller: Asker) -> String {
    caller
        .map(|Extension(caller)| caller.subject)
        .filter(|who| !who.is_empty())
        .unwrap_or_else(|| "root".to_owned())
}
