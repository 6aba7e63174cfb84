//! The middleware before every route: finds out who calls, and whether that is enough.

use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::auth::browser::Foreign;
use crate::api::auth::sessions::{NoSession, Session};
use crate::api::auth::table::{Need, need, needs_fresh};
use crate::api::auth::{Caller, Door, areas, browser, forwarded, records};
use crate::api::node::is_by_socket;
use crate::api::page;
use crate::api::problem::Problem;
use crate::api::v1;
use crate::api::who::Who;
use crate::base::limits::REAUTH_SPAN;
use crate::engine::token::{Refusal, Verified};
use crate::model::Role;
use crate::model::audit::{Outcome, Via};
use crate::transport::clock::now;
use crate::transport::http::{Peer, Secure};

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
    let needs = need(method, path);
    let is_secure = request.extensions().get::<Secure>().is_some();
    let waits = peer != Some(Peer::Local) && door.waits_for_claim(path);
    let caller = if waits {
        Err(Denied::Unclaimed)
    } else if let Err(foreign) = browser::check(method, path, request.headers(), &door.0.policy.hosts)
        && peer != Some(Peer::Local)
    {
        Err(Denied::Foreign(foreign))
    } else if peer == Some(Peer::Local) || !door.0.policy.closed {
        let via = if peer == Some(Peer::Local) { Via::Socket } else { Via::Nobody };
        Ok(Caller { subject: "root".to_owned(), role: Some(Role::Admin), via })
    } else {
        match needs {
            Need::Open => Ok(Caller { subject: String::new(), role: None, via: Via::Nobody }),
            Need::At(role) => door.admit((method, path), request.headers(), role, is_secure).await,
        }
    };
    let ip = match request.extensions().get::<Peer>() {
        Some(Peer::Tcp { remote, .. }) => Some(remote.ip().to_canonical()),
        Some(Peer::Local) | None => None,
    };
    let asked = format!("{method} {path}");
    match caller {
        Ok(caller) => {
            let who = Who::new(caller.subject.clone(), caller.via, ip, asked);
            let writes = needs >= Need::At(Role::Operator) && is_write(method, path);
            request.extensions_mut().insert(caller);
            let asked = request.uri().path().to_owned();
            let answer = browser::protect(&asked, who.clone().around(next.run(request)).await);
            if writes && answer.status().is_success() && !who.is_noted() {
                door.0.context.audit.put(who.entry("", Outcome::Done, ""));
            }
            answer
        }
        Err(denied) => {
            tracing::debug!(%method, path, ?peer, ?denied, "a request was denied");
            let who = Who::new(String::new(), Via::Nobody, ip, asked);
            door.0.context.audit.put_counted(who.entry("", Outcome::Refused, denied.text()));
            let answer = denied.answer(path);
            let answer = if page::is_page(path) {
                page::door::dressed(answer, &door, &request, &denied.text())
            } else {
                answer
            };
            browser::protect(path, answer)
        }
    }
}

/// True for what changes something. Pieces of an upload are not told one by one; its beginning and its end are.
fn is_write(method: &Method, path: &str) -> bool {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let is_piece = *method == Method::PATCH && path.starts_with("/api/v1/uploads/");
    !(reads || is_piece)
}

/// Why a request is not let through.
#[derive(Clone, Copy, Debug)]
enum Denied {
    NoToken,
    Token(Refusal),
    Role {
        has: Role,
        needs: Role,
    },
    /// The token is for other areas of the APIs.
    Area,
    /// The session of a cookie has ended.
    Session,
    /// It stands, but showed no password for some minutes.
    Stale,
    Foreign(Foreign),
    /// The head has no owner yet.
    Unclaimed,
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

    /// Lets in whoever bears a good token or, over TLS, has a session.
    async fn admit(
        &self,
        (method, path): (&Method, &str),
        headers: &HeaderMap,
        needs: Role,
        is_secure: bool,
    ) -> Result<Caller, Denied> {
        if !headers.contains_key(header::AUTHORIZATION)
            && is_secure
            && let Some(value) = browser::cookie(headers)
        {
            return match self.session(value) {
                Ok(Session { role: has, .. }) if has < needs => Err(Denied::Role { has, needs }),
                Ok(session) if !session.is_fresh && needs_fresh(method, path) => Err(Denied::Stale),
                Ok(Session { user, role, .. }) => {
                    Ok(Caller { subject: user, role: Some(role), via: Via::Session })
                }
                Err(NoSession::Unknown) => Err(Denied::Session),
                Err(NoSession::Idle(id)) => {
                    self.forget_session(&id).await;
                    Err(Denied::Session)
                }
            };
        }
        let token = bearer(headers).ok_or(Denied::NoToken)?;
        let verified = self.0.trust.load().verify(token, now()).map_err(Denied::Token)?;
        let inventory = &self.0.context.snapshot.load().inventory;
        let role = records::standing(inventory, &verified).ok_or(Denied::Token(Refusal::Revoked))?;
        if role < needs {
            return Err(Denied::Role { has: role, needs });
        }
        if verified.own && !areas::reach(&verified.areas, path) {
            return Err(Denied::Area);
        }
        let Verified { subject, .. } = verified;
        Ok(Caller { subject, role: Some(role), via: Via::Token })
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
    fn text(self) -> String {
        match self {
            Denied::NoToken => "no token found".to_owned(),
            Denied::Token(refusal) => refusal.to_string(),
            Denied::Role { has, needs } => format!("this needs the role {needs}; the token's is {has}"),
            Denied::Area => "this token is not for this area of the API".to_owned(),
            Denied::Session => "the session has ended; log in again".to_owned(),
            Denied::Stale => {
                let minutes = REAUTH_SPAN.as_secs() / 60;
                format!("this needs a password of the last {minutes} minutes; show it again (/api/v1/reauth)")
            }
            Denied::Foreign(foreign) => foreign.text().to_owned(),
            Denied::Unclaimed => "this head is not claimed yet; run muster claim on it".to_owned(),
        }
    }

    /// The answer: a problem document of our own API, plain text where the replaced services sent it.
    fn answer(self, path: &str) -> Response {
        let status = match self {
            Denied::NoToken | Denied::Token(_) | Denied::Session | Denied::Stale => StatusCode::UNAUTHORIZED,
            Denied::Unclaimed => StatusCode::SERVICE_UNAVAILABLE,
            Denied::Foreign(Foreign::Host) => StatusCode::MISDIRECTED_REQUEST,
            Denied::Role { .. } | Denied::Area | Denied::Foreign(_) => StatusCode::FORBIDDEN,
        };
        let text = self.text();
        let own = path.strip_prefix(v1::PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let mut response = if own {
            let hint = match self {
                Denied::NoToken => "; get one with muster token issue on the head",
                _ => "",
            };
            Problem::new(status, format!("{text}{hint}")).into_response()
        } else {
            (status, text.clone()).into_response()
        };
        // RFC 6750 section 3: a client that sent nothing is told no error.
        let challenge = match self {
            Denied::NoToken | Denied::Session | Denied::Foreign(_) | Denied::Unclaimed => {
                "Bearer realm=\"muster\"".to_owned()
            }
            // RFC 9470 section 3.
            Denied::Stale => format!(
                "Bearer realm=\"muster\", error=\"insufficient_user_authentication\", \
                 error_description=\"{text}\", max_age=\"{}\"",
                REAUTH_SPAN.as_secs()
            ),
            Denied::Token(_) => {
                format!("Bearer realm=\"muster\", error=\"invalid_token\", error_description=\"{text}\"")
            }
            Denied::Role { needs, .. } => {
                format!("Bearer realm=\"muster\", error=\"insufficient_scope\", scope=\"{needs}\"")
            }
            Denied::Area => "Bearer realm=\"muster\", error=\"insufficient_scope\"".to_owned(),
        };
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
