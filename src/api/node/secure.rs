//! The tutorial's way to secure documents: cloud-init on a node reads `/cloud-init-secure` with a bearer token. The
//! token comes sealed in the answer to the node's claim, and opens the documents of that node alone, read only,
//! from the address that claimed.
//!
//! It counts after the session is sealed too, for its ten minutes: cloud-init runs in the system that boots, when
//! the initramfs is done. It does not count when the session was revoked, or the node boots again.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use crate::api::cloud_init::Asker;
use crate::api::context::Context;
use crate::api::openchami::cloud_init::{SECURE_PREFIX, secure_document};
use crate::engine::record::What;
use crate::engine::trust::token::{NodeClaims, Purpose};
use crate::model::SessionState;
use crate::transport::clock::now;
use crate::transport::http::Peer;

/// Puts this before all other routes, the door included, which knows no tokens of nodes.
pub fn before(routes: Router, context: &Context) -> Router {
    routes.layer(from_fn_with_state(context.clone(), documents))
}

/// Answers a node with a token of its own; everybody else goes on to the door.
async fn documents(State(context): State<Context>, request: Request, next: Next) -> Response {
    let Some((name, claims)) = asked(&context, &request) else { return next.run(request).await };
    let peer = request.extensions().get::<Peer>().copied();
    let Some(peer) = peer.filter(|peer| stands(&context, &claims, *peer)) else {
        return next.run(request).await;
    };
    match Asker::of_peer(&context, peer).await {
        Ok(asker) if asker.node.id == claims.node => {
            tracing::info!(node = asker.node.name.as_str(), document = name, "secure cloud-init");
            let answer = secure_document(&asker, name).unwrap_or_else(|problem| problem.into_response());
            let what = What::Document { name: name.to_owned(), status: answer.status().as_u16() };
            context.recorder.saw(peer.ip(), what);
            answer
        }
        // The address is another node's by now.
        Ok(_) | Err(_) => next.run(request).await,
    }
}

/// The document that is asked for, if it is one of a node's own, and the token's claims.
fn asked(context: &Context, request: &Request) -> Option<(&'static str, NodeClaims)> {
    let name = request.uri().path().strip_prefix(SECURE_PREFIX)?.strip_prefix('/')?;
    let name = ["user-data", "meta-data", "vendor-data"].into_iter().find(|known| *known == name)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let mut lines = request.headers().get_all(header::AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    let token = Some(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"))?;
    Some((name, context.trust.keys.verify(token, Purpose::CloudInit, now())?))
}

/// Whether the session behind a token stands, is this peer's, and is of the node's present boot.
fn stands(context: &Context, claims: &NodeClaims, peer: Peer) -> bool {
    let sessions = &context.trust.sessions;
    let Some(session) = sessions.of(claims.node).pop().filter(|last| last.id == claims.session) else {
        return false;
    };
    let own = peer.address().is_some() && session.channel.address == peer.address();
    let sealed = session.state == SessionState::Sealed && session.epoch == sessions.epoch();
    own && (sealed || session.is_live(sessions.epoch(), now()))
}
