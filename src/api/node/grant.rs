//! The archive with a session's grant.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use zeroize::Zeroizing;

use crate::api::boot::{Caller, reach};
use crate::api::context::Context;
use crate::api::node::measure::measured;
use crate::api::node::{answer, told};
use crate::api::problem::Problem;
use crate::engine::trust::grant::Grant;
use crate::engine::trust::keyset::fingerprint;
use crate::engine::trust::nonce_hash;
use crate::model::SessionId;
use crate::transport::clock::now;
use crate::transport::http::Peer;
use crate::transport::sessions::ChangeError;
use crate::transport::vault::random;

/// Each answer holds a nonce of its own, made for it: the session keeps the hash, and nobody the nonce.
pub(crate) async fn archive(
    State(context): State<Context>,
    Extension(peer): Extension<Peer>,
    method: Method,
    Path(session): Path<String>,
) -> Response {
    let served = if method == Method::GET { serve(&context, peer, &session).await } else { Err(None) };
    match served {
        Ok(archive) => answer(Bytes::from_owner(archive), "application/x-cpio"),
        // To a loader, whose console shows the status alone.
        Err(None) => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
        Err(Some(problem)) => problem.into_response(),
    }
}

async fn serve(context: &Context, peer: Peer, session: &str) -> Result<Zeroizing<Vec<u8>>, Option<Problem>> {
    let trust = &context.trust;
    let from = peer.address().ok_or(None)?;
    let session: SessionId = session.parse().map_err(|_| None)?;
    let made = random::<32>().map_err(|error| {
        tracing::error!(%error, "a nonce cannot be made");
        Some(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no randomness"))
    })?;
    let nonce = Zeroizing::new(made);
    let hash = nonce_hash(nonce.as_slice());
    let root = fingerprint(&trust.keys.root());
    let reach = reach(context, Caller { peer, is_secure: false });
    let tls = trust.policy.tls.map(|port| format!("https://{}:{port}", reach.head));
    let archive = Grant { session, nonce, head: reach.base(), tls, root }.archive();
    // Only for who gets it: hashing the initrds of an image for the first time is work.
    let known = trust.sessions.get(session).filter(|known| known.channel.address == Some(from));
    let measured = match known.and_then(|known| known.given) {
        Some(given) => measured(context, &given, &archive).await,
        None => (None, None),
    };
    let granted = trust.sessions.change(session, |session| {
        session.grant(from, hash, measured, now())?;
        Ok(session.node)
    });
    match granted.await {
        Ok(node) => {
            let snapshot = context.snapshot.load();
            let name = snapshot.node(node).map_or_else(String::new, |node| node.name.to_string());
            let entry = told::entry(&name, from, session, "a grant was made");
            told::given(context, entry).await.map_err(Some)?;
            Ok(archive)
        }
        Err(ChangeError::Refused(_)) => Err(None),
        Err(error) => Err(Some(error.into())),
    }
}
