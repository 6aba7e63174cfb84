//! The middleware before every route: finds out who calls, and whether that is enough.

use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::auth::table::{Need, need};
use crate::api::auth::{Caller, Door, forwarded, records};
use crate::api::node::is_by_socket;
use crate::api::problem::Problem;
use crate::api::v1;
use crate::engine::token::{Refusal, Verified};
use crate::model::Role;
use crate::transport::clock::now;
use crate::transport::http::Peer;

/// Lets a request through with its `Caller`, or answers 401 or 403.
pub(crate) async fn guard(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    // Whoever put no peer there is no listener of ours; nothing is known about the caller then.
    let peer = request.extensions().get::<Peer>().copied();
    // What a node gets depends on where it is: there, nobody speaks for it.
    if let Some(Peer::Tcp { remote, local }) = peer
        && !is_by_socket(request.uri().path())
        && let Some(client) = forwarded::client(remote.ip(), request.headers(), &door.0.policy.proxies)
    {
        let remote = SocketAddr::new(client, 0);
        request.extensions_mut().insert(Peer::Tcp { remote, local: door.reached_at(local) });
    }
    let (method, path) = (request.method(), request.uri().path());
    let caller = if peer == Some(Peer::Local) || !door.0.policy.closed {
        Ok(Caller { subject: "root".to_owned(), role: Some(Role::Admin) })
    } else {
        match need(method, path) {
            Need::Open => Ok(Caller { subject: String::new(), role: None }),
            Need::At(role) => door.admit(request.headers(), role),
        }
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => {
            tracing::debug!(%method, path, ?peer, ?denied, "a request was denied");
            denied.answer(path)
        }
    }
}

/// Why a request is not let through.
#[derive(Clone, Copy, Debug)]
enum Denied {
    NoToken,
    Token(Refusal),
    Role { has: Role, needs: Role },
}

impl Door {
    /// Where a node reaches the head by plain HTTP, if `local` is where a proxy reached it.
    fn reached_at(&self, local: SocketAddr) -> SocketAddr {
        let snapshot = self.0.context.snapshot.load();
        let site = &snapshot.site;
        let head = site.head.or_else(|| site.networks.iter().find_map(crate::model::Network::head));
        match head.filter(|_| local.ip().to_canonical().is_loopback()) {
            Some(head) => SocketAddr::new(head.into(), site.http_port),
            None => local,
        }
    }

    fn admit(&self, headers: &HeaderMap, needs: Role) -> Result<Caller, Denied> {
        let token = bearer(headers).ok_or(Denied::NoToken)?;
        let verified = self.0.trust.load().verify(token, now()).map_err(Denied::Token)?;
        let inventory = &self.0.context.snapshot.load().inventory;
        let role = records::standing(inventory, &verified).ok_or(Denied::Token(Refusal::Revoked))?;
        if role < needs {
            return Err(Denied::Role { has: role, needs });
        }
        let Verified { subject, .. } = verified;
        Ok(Caller { subject, role: Some(role) })
    }
}

/// The token of a request. Two headers are none: proxies and servers disagree about which one counts.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let (line, None) = (lines.next()?, lines.next()) else { return None };
    let (scheme, token) = line.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Denied {
    /// The answer: a problem document of our own API, plain text where the replaced services sent it.
    fn answer(self, path: &str) -> Response {
        let status = match self {
            Denied::NoToken | Denied::Token(_) => StatusCode::UNAUTHORIZED,
            Denied::Role { .. } => StatusCode::FORBIDDEN,
        };
        let text = match self {
            Denied::NoToken => "no token found".to_owned(),
            Denied::Token(refusal) => refusal.to_string(),
            Denied::Role { has, needs } => format!("this needs the role {needs}; the token's is {has}"),
        };
        let own = path.strip_prefix(v1::PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let mut response = if own {
            let hint = match self {
                Denied::NoToken => "; get one with muster token issue on the head",
                Denied::Token(_) | Denied::Role { .. } => "",
            };
            Problem::new(status, format!("{text}{hint}")).into_response()
        } else {
            (status, text.clone()).into_response()
        };
        // RFC 6750 section 3: a client that sent nothing is told no error.
        let challenge = match self {
            Denied::NoToken => "Bearer realm=\"muster\"".to_owned(),
            Denied::Token(_) => {
                format!("Bearer realm=\"muster\", error=\"invalid_token\", error_description=\"{text}\"")
            }
            Denied::Role { needs, .. } => {
                format!("Bearer realm=\"muster\", error=\"insufficient_scope\", scope=\"{needs}\"")
            }
        };
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
