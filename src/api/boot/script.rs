//! `/boot.ipxe` and the machine's own script.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::boot::{BootApi, query, reach};
use crate::api::cloud_init::node_at;
use crate::api::context::Context;
use crate::base::Mac;
use crate::engine::boot::{Decision, Outcome, Program, Request, decide, script, url};
use crate::engine::record::{ScriptSeen, What};
use crate::model::{Change, Snapshot};
use crate::transport::clock::now;
use crate::transport::http::Peer;
use crate::transport::journal::Entry;

/// The constant script that asks for the machine's own.
pub(crate) async fn entry(State(api): State<BootApi>, Extension(peer): Extension<Peer>) -> Response {
    text(StatusCode::OK, script::entry(reach(&api.context, peer)))
}

/// The script of the machine that asks.
pub(crate) async fn own(
    State(api): State<BootApi>,
    Extension(peer): Extension<Peer>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Response {
    let mut request = match query::parse(raw.as_deref().unwrap_or(""), peer.address()) {
        Ok(request) => request,
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("mac: {error}\n")),
    };
    if request.mac.is_none() {
        request.mac = mac_of(&api, &request).await;
    }
    let (snapshot, decision) = match settle(&api.context, |snapshot| decide(snapshot, &request)).await {
        Ok(settled) => settled,
        Err(answer) => return answer,
    };
    tracing::info!(
        mac = request.mac.map(tracing::field::display),
        node = decision.node.as_ref().map(|node| node.name.as_str()),
        peer = peer.address().map(tracing::field::display),
        attempt = request.attempt,
        rule = %decision,
        "boot script"
    );
    let node = decision.node.as_ref().map(|node| node.name.as_str());
    let mac = request.mac.map_or_else(String::new, |mac| mac.to_string());
    let told = format!("{} asks for its script: {decision}", node.unwrap_or(&mac));
    let entry = Entry::new(now(), "boot", told).node(node).with("mac", &mac).with("attempt", request.attempt);
    api.context.journal.write(entry.with("rule", &decision));
    let decision = match granted(&api.context, &snapshot, decision, peer).await {
        Ok(decision) => decision,
        Err(answer) => return answer,
    };
    let rendered = script::render(&decision, &request, &snapshot.site, reach(&api.context, peer));
    record(&api.context, (&request, &decision), rendered.as_ref().ok().and_then(Option::as_deref), &headers);
    match rendered {
        Ok(Some(script)) => text(StatusCode::OK, script),
        Ok(None) => text(StatusCode::NOT_FOUND, format!("not booted by this head: {decision}\n")),
        Err(error) => {
            tracing::warn!(%error, rule = %decision, "a boot target cannot be written as a script");
            text(StatusCode::INTERNAL_SERVER_ERROR, format!("{decision}: {error}\n"))
        }
    }
}

/// Tells the recorder which script left, if one did.
pub(crate) fn record(
    context: &Context,
    (request, decision): (&Request, &Decision),
    script: Option<&str>,
    headers: &HeaderMap,
) {
    let status = match (script, &decision.outcome) {
        (Some(_), _) => StatusCode::OK,
        (None, Outcome::Refuse) => StatusCode::NOT_FOUND,
        (None, _) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut seen = ScriptSeen::of(decision, script, status.as_u16(), request.attempt);
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    seen.agent = agent.map(str::to_owned);
    let what = What::Script(Box::new(seen));
    match request.mac {
        Some(mac) => context.recorder.saw_mac(mac, what),
        None => context.recorder.saw(request.address.map(IpAddr::V4), what),
    }
}

/// Adds the grant to what a node boots that is to have a session, and asks from its own address. Everything else
/// stays as it is: the node comes up without its secrets.
pub(crate) async fn granted(
    context: &Context,
    snapshot: &Snapshot,
    decision: Decision,
    peer: Peer,
) -> Result<Decision, Response> {
    let trust = &context.trust;
    let node = decision.node.clone().filter(|node| trust.wants(snapshot, node));
    let takes_one = matches!(decision.outcome, Outcome::Boot(Program::Linux { .. }));
    let (Some(node), Some(from), true) = (node, peer.address(), takes_one) else { return Ok(decision) };
    if node_at(context, snapshot, from).await.is_none_or(|there| there.id != node.id) {
        return Ok(decision);
    }
    match trust.sessions.script(node.id, from).await {
        Ok(None) => Ok(decision),
        Ok(Some(session)) => {
            let reach = reach(context, peer);
            Ok(script::granted(decision, url::grant(reach.head, reach.port, session)))
        }
        Err(error) => {
            tracing::error!(node = node.name.as_str(), %error, "a boot session does not go on");
            Err(busy())
        }
    }
}

/// iPXE waits as long as Retry-After says and asks the same URL again.
fn busy() -> Response {
    let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, "the store is busy\n".to_owned());
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    answer
}

/// Decides, and uses up a one-shot assignment before its script leaves: of two requests at once only one gets
/// it. If the store refuses, the machine is told to ask again.
pub(crate) async fn settle(
    context: &Context,
    decide: impl Fn(&Snapshot) -> Decision,
) -> Result<(Arc<Snapshot>, Decision), Response> {
    let snapshot = context.snapshot.load();
    let mut decision = decide(&snapshot);
    if let Some((_, version)) = &decision.image {
        let node = decision.node.as_ref();
        context.images.booted(*version, node.map_or("an undeclared machine", |node| node.name.as_str()));
    }
    if decision.consumes.is_none() {
        return Ok((snapshot, decision));
    }
    let used = context.change(|snapshot| {
        // Decided anew each time it is planned: somebody else may have used the one-shot up.
        decision = decide(snapshot);
        Ok(decision.consumes.iter().map(|key| Change::RemoveAssignment(key.clone())).collect())
    });
    match used.await {
        Ok(_) => Ok((snapshot, decision)),
        Err(problem) => {
            tracing::error!(?problem, "a one-shot assignment could not be used up");
            Err(busy())
        }
    }
}

/// The hardware address of a machine that did not say it, from what DHCP knows.
async fn mac_of(api: &BootApi, request: &Request) -> Option<Mac> {
    let address = request.address?;
    // Without DHCP (it may be off) the declared address alone decides.
    api.context.dhcp.who_has(address).await.ok().flatten()
}

fn text(status: StatusCode, body: String) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    (status, [kind, (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], body).into_response()
}
