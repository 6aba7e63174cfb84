//! `/.well-known/acme-challenge/TOKEN`: how an outside certificate authority sees that a name is this head's (RFC 8555
//! section 8.3). Before all other routes, and there only while such a certificate is configured: the authority has
//! no token of ours, and what it reads is worth nothing to anybody else.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use crate::transport::acme::AcmeState;

const PREFIX: &str = "/.well-known/acme-challenge/";

/// Puts this before all other routes.
pub fn before(routes: Router, state: Arc<AcmeState>) -> Router {
    routes.layer(from_fn_with_state(state, challenges))
}

async fn challenges(State(state): State<Arc<AcmeState>>, request: Request, next: Next) -> Response {
    let Some(token) = request.uri().path().strip_prefix(PREFIX) else { return next.run(request).await };
    match state.challenges.answer(token).filter(|_| *request.method() == Method::GET) {
        Some(answer) => ([(header::CONTENT_TYPE, "application/octet-stream")], answer).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
