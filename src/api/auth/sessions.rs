//! Sessions of people: a login gives the browser a cookie, of which the head remembers only a digest.
//!
//! A session ends twelve hours after it began, or when nothing was asked for half an hour. When it was used last
//! stands in memory: after a restart of the head the half hour begins anew, the twelve do not.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::api::auth::browser::{COOKIE, cookie};
use crate::api::auth::oidc::ELSEWHERE;
use crate::api::auth::records::{SESSIONS, SessionRecord, USERS, UserRecord, end_sessions};
use crate::api::auth::types::{LoginBody, ProveBody, SessionBody, WhoBody};
use crate::api::auth::{Caller, Door};
use crate::api::openchami::draft::{Draft, read, shelf};
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::who::Who;
use crate::base::limits::{LOGIN_IDLE, LOGIN_LIFE, REAUTH_SPAN, SESSIONS_PER_USER_MAX};
use crate::base::{Digest, Timestamp};
use crate::model::audit::{Outcome, Via};
use crate::model::{Inventory, Role, Snapshot};
use crate::transport::clock::{now, steady};
use crate::transport::http::Peer;
use crate::transport::vault::{PasswordError, random_name};

/// When sessions were used last, and when they last showed a password, by the clock that nobody sets. No more than
/// there are sessions: each belongs to one that was found in the inventory, and those of ended ones go at the next
/// login.
#[derive(Debug)]
pub(crate) struct Seen {
    since: Timestamp,
    // A mutex, because it is one insertion; never held across an await.
    last: Mutex<HashMap<String, Use>>,
}

#[derive(Clone, Copy, Debug)]
struct Use {
    at: Timestamp,
    /// None: not since the head started, or never to us.
    proved: Option<Timestamp>,
}

impl Seen {
    pub(crate) fn new() -> Seen {
        Seen { since: steady(), last: Mutex::default() }
    }

    /// Whether it showed a password lately; None if it was used too long ago. It is used now.
    fn on_use(&self, id: &str, now: Timestamp) -> Option<bool> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.get(id).copied().unwrap_or(Use { at: self.since, proved: None });
        if now.since(before.at) >= LOGIN_IDLE {
            return None;
        }
        last.insert(id.to_owned(), Use { at: now, ..before });
        Some(before.proved.is_some_and(|at| now.since(at) < REAUTH_SPAN))
    }

    fn begin(&self, id: &str, inventory: &Inventory, is_fresh: bool, now: Timestamp) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|id, _| inventory.document(SESSIONS, id).is_some());
        last.insert(id.to_owned(), Use { at: now, proved: is_fresh.then_some(now) });
    }

    /// It showed a password now.
    fn prove(&self, id: &str, now: Timestamp) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(id.to_owned(), Use { at: now, proved: Some(now) });
    }
}

/// A session that stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Session {
    pub(crate) user: String,
    pub(crate) role: Role,
    /// True if it showed a password in the last minutes.
    pub(crate) is_fresh: bool,
}

/// A session to be made.
pub(crate) struct Begin<'a> {
    pub(crate) name: &'a str,
    /// The user as he was looked at; None: somebody whom another issuer knows.
    pub(crate) user: Option<&'a UserRecord>,
    pub(crate) role: Role,
    pub(crate) from: Option<IpAddr>,
    /// Of the request: a session that the browser had before ends.
    pub(crate) headers: &'a HeaderMap,
    pub(crate) is_fresh: bool,
}

/// Why a cookie gives no session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NoSession {
    /// There is none, or it has ended long ago.
    Unknown,
    /// It was not used for long. It is to be removed.
    Idle(String),
}

/// What a cookie is called in the store.
fn digest(value: &str) -> String {
    Digest(Sha256::digest(value.as_bytes()).into()).hex()
}

impl Door {
    /// The session whose cookie this is.
    pub(crate) fn session(&self, value: &str) -> Result<Session, NoSession> {
        let inventory = &self.0.context.snapshot.load().inventory;
        let id = digest(value);
        let found = || {
            let record: SessionRecord = read(inventory.document(SESSIONS, &id)?)?;
            if Timestamp(record.expires) <= now() {
                return None;
            }
            if let Some(role) = &record.role {
                // With the other issuer out of the configuration its people are out too.
                self.0.oidc.get()?;
                return Some((record.user, role.parse::<Role>().ok()?));
            }
            let user: UserRecord = read(inventory.document(USERS, &record.user)?)?;
            let role = user.role.parse::<Role>().ok()?;
            (record.created >= user.changed).then_some((record.user, role))
        };
        let (user, role) = found().ok_or(NoSession::Unknown)?;
        match self.0.seen.on_use(&id, steady()) {
            Some(is_fresh) => Ok(Session { user, role, is_fresh }),
            None => Err(NoSession::Idle(id)),
        }
    }

    /// Removes a session that ended by itself.
    pub(crate) async fn forget_session(&self, id: &str) {
        let forget = |snapshot: &Snapshot| {
            let mut draft = Draft::new(snapshot);
            draft.remove_document(SESSIONS, id);
            Ok(draft.finish())
        };
        if let Err(problem) = self.0.context.change_noted("not used for long", forget).await {
            tracing::warn!(detail = problem.detail, "an idle session could not be removed; it stays idle");
        }
    }

    /// Says that a name, a password and, where one is needed, a one-time code are good, or why not. Counts what is
    /// wrong.
    pub(crate) async fn admit_user(
        &self,
        name: &str,
        password: Zeroizing<String>,
        code: Option<&str>,
        from: Option<IpAddr>,
    ) -> Result<UserRecord, Response> {
        let who = Who::asks();
        let refused = |detail: &str| {
            let entry = who.entry(format!("user {name}"), Outcome::Refused, detail);
            self.0.context.audit.put_counted(entry);
        };
        let logins = || self.0.logins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(wait)) = from.map(|from| logins().on_try(name, from, now())) {
            refused("too many wrong passwords");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong passwords; wait");
            let wait = [(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1))];
            return Err((wait, problem).into_response());
        }
        let snapshot = self.0.context.snapshot.load();
        let record: Option<UserRecord> =
            snapshot.inventory.document(USERS, name).and_then(|found| read(found));
        let hash = record.as_ref().map(|record| record.hash.clone());
        let fits = self.0.passwords.fits(hash, password).await.map_err(|error| {
            let status = match error {
                PasswordError::Busy => StatusCode::SERVICE_UNAVAILABLE,
                PasswordError::Failed => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Problem::new(status, error.to_string()).into_response()
        })?;
        let Some(record) = record.filter(|_| fits) else {
            refused("wrong name or password");
            let text = "no user has this name and password";
            return Err(Problem::new(StatusCode::UNAUTHORIZED, text).into_response());
        };
        if let Some(sealed) = &record.totp {
            self.check_code(name, sealed, code).map_err(|problem| {
                refused(&problem.detail);
                problem.into_response()
            })?;
        }
        if let Some(from) = from {
            logins().on_right(name, from, now());
        }
        Ok(record)
    }

    /// Begins a session, and gives the line by which the browser keeps it.
    pub(crate) async fn begin_session(&self, order: Begin<'_>) -> Result<HeaderValue, Response> {
        let Begin { name, user, role, from, headers, is_fresh } = order;
        let value = Zeroizing::new(random_name().map_err(|error| {
            tracing::error!(%error, "no session can be made");
            let text = "no session can be made; see the log";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
        })?);
        let (id, old, now) = (digest(&value), cookie(headers).map(digest), now());
        let expires = now + LOGIN_LIFE;
        let begin = |snapshot: &Snapshot| {
            let mut draft = Draft::new(snapshot);
            // Somebody may have removed the user, or changed the password, while it was looked at.
            if user.is_some() && draft.document::<UserRecord>(USERS, name).as_ref() != user {
                let text = "the user was changed meanwhile; log in again";
                return Err(Problem::new(StatusCode::UNAUTHORIZED, text));
            }
            end_sessions(&mut draft, |id, known| {
                Timestamp(known.expires) <= now || old.as_deref() == Some(id)
            });
            let mut mine = shelf::<SessionRecord>(&draft.next, SESSIONS);
            mine.retain(|(_, known)| known.user == name);
            mine.sort_by_key(|(_, known)| known.created);
            let too_many = (mine.len() + 1).saturating_sub(SESSIONS_PER_USER_MAX);
            for (id, _) in mine.into_iter().take(too_many) {
                draft.remove_document(SESSIONS, &id);
            }
            // Not before the user was changed last, even if the clock went back meanwhile.
            let created = now.0.max(user.map_or(0, |user| user.changed));
            let role = user.is_none().then(|| role.to_string());
            let session =
                SessionRecord { user: name.to_owned(), created, expires: expires.0, ip: from, role };
            draft.put_document(SESSIONS, &id, &session);
            Ok(draft.finish())
        };
        let mut who = Who::asks();
        (who.actor, who.via) = (name.to_owned(), Via::Session);
        let made = who.around(self.0.context.change_noted("logged in", begin)).await;
        let snapshot = made.map_err(IntoResponse::into_response)?;
        self.0.seen.begin(&id, &snapshot.inventory, is_fresh, steady());
        let line = Zeroizing::new(format!(
            "{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={}",
            *value,
            LOGIN_LIFE.as_secs()
        ));
        let mut line = HeaderValue::from_str(&line).expect("a name of ours is plain text");
        line.set_sensitive(true);
        Ok(line)
    }
}

/// From where somebody came, for counting; None over the Unix socket, where nobody waits for anybody.
pub(crate) fn address(peer: Option<Extension<Peer>>) -> Option<IpAddr> {
    match peer {
        Some(Extension(Peer::Tcp { remote, .. })) => Some(remote.ip()),
        Some(Extension(Peer::Local)) => None,
        None => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
    }
}

/// `POST /login`: a cookie for a name and a password. A session that the browser had before ends.
pub(crate) async fn login(
    State(door): State<Door>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Response> {
    let LoginBody { name, password, code } = query::body(&bytes).map_err(IntoResponse::into_response)?;
    let (from, password) = (address(peer), Zeroizing::new(password));
    let record = door.admit_user(&name, password, code.as_deref(), from).await?;
    let role = record.role.parse::<Role>().map_err(|_| {
        Problem::new(StatusCode::FORBIDDEN, "the user has no role that is known here").into_response()
    })?;
    let begin = Begin { name: &name, user: Some(&record), role, from, headers: &headers, is_fresh: true };
    let line = door.begin_session(begin).await?;
    let body = WhoBody { name, role: record.role, via: Via::Session.name().to_owned() };
    let mut answer = ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response();
    answer.headers_mut().insert(header::SET_COOKIE, line);
    Ok(answer)
}

/// `POST /reauth`: whoever is logged in shows the password once more, for what needs one that is fresh. Somebody of
/// another issuer does that there: `GET /oidc/login?fresh=true`.
pub(crate) async fn prove(
    State(door): State<Door>,
    caller: Option<Extension<Caller>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Response> {
    let ProveBody { password, code } = query::body(&bytes).map_err(IntoResponse::into_response)?;
    let password = Zeroizing::new(password);
    let session = caller.map(|Extension(caller)| caller).filter(|caller| caller.via == Via::Session);
    let (Some(Caller { subject: name, .. }), Some(id)) = (session, cookie(&headers).map(digest)) else {
        let text = "only who logged in with a password has one to show";
        return Err(Problem::new(StatusCode::FORBIDDEN, text).into_response());
    };
    if name.starts_with(ELSEWHERE) {
        let text = "this password is for another issuer: GET /api/v1/oidc/login?fresh=true";
        return Err(Problem::new(StatusCode::FORBIDDEN, text).into_response());
    }
    door.admit_user(&name, password, code.as_deref(), address(peer)).await?;
    let entry = Who::asks().entry(format!("user {name}"), Outcome::Done, "showed the password again");
    door.0.context.audit.put(entry);
    door.0.seen.prove(&id, steady());
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `POST /logout`: the session ends, here and in the browser.
pub(crate) async fn logout(State(door): State<Door>, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(id) = cookie(&headers).map(digest) {
        let end = |snapshot: &Snapshot| {
            let mut draft = Draft::new(snapshot);
            draft.remove_document(SESSIONS, &id);
            Ok(draft.finish())
        };
        door.0.context.change_noted("logged out", end).await?;
    }
    let line = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, line)]).into_response())
}

/// `GET /whoami`: for whom the head takes the caller.
pub(crate) async fn whoami(caller: Option<Extension<Caller>>) -> Response {
    let Some(Extension(Caller { subject, role, via, .. })) = caller else {
        return Problem::new(StatusCode::UNAUTHORIZED, "nobody that is known").into_response();
    };
    let role = role.map(|role| role.to_string()).unwrap_or_default();
    let body = WhoBody { name: subject, role, via: via.name().to_owned() };
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// `GET /sessions`: those that have not ended, newest first.
pub(crate) async fn list(State(door): State<Door>) -> Json<Vec<SessionBody>> {
    let snapshot = door.0.context.snapshot.load();
    let mut records = shelf::<SessionRecord>(&snapshot.inventory, SESSIONS);
    records.retain(|(_, record)| Timestamp(record.expires) > now());
    records.sort_by_key(|(_, record)| std::cmp::Reverse(record.created));
    let body = |(id, record)| {
        let SessionRecord { user, created, expires, ip, role: _ } = record;
        let [created, expires] = [created, expires].map(|at| Timestamp(at).rfc3339());
        SessionBody { id, user, created, expires, ip }
    };
    Json(records.into_iter().map(body).collect())
}

/// `DELETE /sessions/{id}`: ends one, from the next request on.
pub(crate) async fn end(State(door): State<Door>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let change = |snapshot: &Snapshot| {
        let mut draft = Draft::new(snapshot);
        if !draft.remove_document(SESSIONS, &id) {
            return Err(Problem::not_found(format!("there is no session {id}")));
        }
        Ok(draft.finish())
    };
    door.0.context.change_noted("ended", change).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use crate::api::auth::sessions::Seen;
    use crate::base::limits::{LOGIN_IDLE, REAUTH_SPAN};
    use crate::base::{Millis, Timestamp};

    #[test]
    fn a_session_that_is_not_used_ends_and_one_that_is_used_goes_on() {
        let seen = Seen { since: Timestamp(1000), last: Default::default() };
        let mut now = Timestamp(1000);
        for _ in 0..10 {
            now = now + Millis(LOGIN_IDLE.0 - 1);
            assert!(seen.on_use("a", now).is_some());
        }
        assert_eq!(seen.on_use("a", now + LOGIN_IDLE), None);
        assert_eq!(seen.on_use("b", now), None, "not used since the head started");
    }

    #[test]
    fn a_password_is_fresh_for_some_minutes_whatever_is_done_meanwhile() {
        let seen = Seen { since: Timestamp(0), last: Default::default() };
        assert_eq!(seen.on_use("a", Timestamp(1)), Some(false), "a session from before the head started");
        seen.prove("a", Timestamp(1000));
        let end = Timestamp(1000) + REAUTH_SPAN;
        assert_eq!(seen.on_use("a", Timestamp(end.0 - 1)), Some(true));
        assert_eq!(seen.on_use("a", end), Some(false), "use does not make it fresh");
        assert_eq!(seen.on_use("b", Timestamp(2)), Some(false), "each session for itself");
    }
}
