//! What the audit log says of nodes: what each was given in which boot session, and what was refused to whom.
//!
//! What is given is on the disk before it leaves. A refusal proves nobody's name: it stands under the address, with
//! the node that has it, and is counted, because every machine on the boot network can cause as many as it likes.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::api::context::Context;
use crate::api::node::pack::Packed;
use crate::api::problem::{Problem, Said};
use crate::api::who::Who;
use crate::model::audit::{Entry, Outcome, Via};
use crate::model::snapshot::Machine;
use crate::model::{SessionId, Snapshot};
use crate::transport::http::Peer;

/// Names of secrets and their versions, and what was kept back; no values.
pub(crate) fn contents(packed: &Packed) -> String {
    let given: Vec<String> =
        packed.deliveries.iter().map(|one| format!("{} version {}", one.secret, one.version)).collect();
    let given = if given.is_empty() { "no secrets".to_owned() } else { given.join(", ") };
    match packed.withheld.as_slice() {
        [] => given,
        kept => format!("{given}; withheld: {}", kept.join(", ")),
    }
}

/// An entry about something that a node, known by what it showed, does from this address.
pub(crate) fn entry(node: &str, from: impl Into<IpAddr>, session: SessionId, detail: &str) -> Entry {
    let mut who = Who::asks();
    (who.actor, who.via, who.ip) = (format!("node {node}"), Via::Node, Some(from.into()));
    who.entry(format!("boot session {session}"), Outcome::Done, detail)
}

/// Notes every refusal of the routes below.
pub(crate) async fn refusals(State(context): State<Context>, request: Request, next: Next) -> Response {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let peer = request.extensions().get::<Peer>().copied();
    let answer = next.run(request).await;
    if answer.status().is_client_error() || answer.status().is_server_error() {
        let said = answer.extensions().get::<Said>().map_or("", |Said(text)| text);
        let detail = format!("{}: {said}", answer.status().as_u16());
        refused(&context, asked, peer, &detail);
    }
    answer
}

/// Notes that this was refused to whoever has the peer's address.
pub(crate) fn refused(context: &Context, asked: String, peer: Option<Peer>, detail: &str) {
    let from = peer.and_then(|peer| peer.address());
    let object = from.and_then(|from| of_address(&context.snapshot.load(), from)).unwrap_or_default();
    let who = Who::new(String::new(), Via::Node, from.map(Into::into), asked);
    context.audit.put_counted(who.entry(object, Outcome::Refused, detail));
}

fn of_address(snapshot: &Snapshot, from: std::net::Ipv4Addr) -> Option<String> {
    match snapshot.by_address(from)? {
        Machine::Node { node, .. } => Some(format!("node {}", node.name)),
        Machine::Bmc(bmc) => Some(format!("bmc {}", bmc.name)),
    }
}

/// Writes down what is given, before it is.
///
/// # Errors
/// The store cannot take it.
pub(crate) async fn given(context: &Context, entry: Entry) -> Result<(), Problem> {
    Ok(context.audit.note(entry).await?)
}
