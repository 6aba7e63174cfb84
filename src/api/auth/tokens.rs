//! `/api/v1/tokens` and `/api/v1/token-clients`: tokens that administrators give and take back, and clients that
//! fetch their own.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use sha2::{Digest as _, Sha256};

use crate::api::auth::oidc::ELSEWHERE;
use crate::api::auth::records::{CLIENTS, ClientRecord, TOKENS, TokenRecord, full, make_room};
use crate::api::auth::types::{ClientBody, IssueBody, NewClientBody, TokenBody};
use crate::api::auth::{Caller, Door, Order, areas};
use crate::api::openchami::draft::{Draft, shelf};
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::base::limits::{TOKEN_AREAS_MAX, TOKEN_LIFE_MAX};
use crate::base::{Digest, Millis, Timestamp};
use crate::engine::token::Algorithm;
use crate::model::Role;
use crate::model::audit::Via;
use crate::transport::clock::now;
use crate::transport::vault::random_name;

/// Life of a token if nothing is said: a working day.
const LIFE: Millis = Millis::from_secs(8 * 3600);

/// Longest subject and description; they stand in every log line and list.
const TEXT_CHARS_MAX: usize = 128;

/// Longest id of a token that is revoked without being known; foreign issuers choose theirs.
const ID_CHARS_MAX: usize = 256;

pub(crate) async fn wrong_method(uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take this method", uri.path()))
}

/// `GET /tokens`: those that were given by administrators or revoked, newest first.
pub(crate) async fn list(State(door): State<Door>) -> Json<Vec<TokenBody>> {
    let snapshot = door.0.context.snapshot.load();
    let mut records = shelf::<TokenRecord>(&snapshot.inventory, TOKENS);
    records.sort_by_key(|(_, record)| std::cmp::Reverse(record.issued.max(record.revoked.unwrap_or(0))));
    Json(records.into_iter().map(|(id, record)| body(id, record)).collect())
}

fn body(id: String, record: TokenRecord) -> TokenBody {
    let TokenRecord { subject, role, algorithm, issued, expires, revoked, name, areas, user } = record;
    let time = |at: u64| Timestamp(at).rfc3339();
    let (issued, expires, revoked) = (time(issued), time(expires), revoked.map(time));
    TokenBody { id, subject, role, algorithm, issued, expires, revoked, name, areas, user, token: None }
}

/// `POST /tokens`. The record is on disk before the token is out, so that it can be revoked whatever happens.
pub(crate) async fn issue(
    State(door): State<Door>,
    caller: Option<Extension<Caller>>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let wanted: IssueBody = query::body(&bytes)?;
    let subject = text("subject", &wanted.subject, 1)?;
    let role = role(&wanted.role)?;
    let algorithm = algorithm(wanted.algorithm.as_deref())?;
    let life = wanted.ttl.map_or(LIFE, Millis::from_secs);
    if life.0 == 0 || life > TOKEN_LIFE_MAX {
        let days = TOKEN_LIFE_MAX.as_secs() / 86_400;
        return Err(Problem::field("ttl", format!("must be from 1 second to {days} days")));
    }
    let name = text("name", &wanted.name, 0)?;
    let areas = checked(wanted.areas)?;
    // What a user makes ends with the user. Who came over the socket or with a token is none.
    let maker = caller.as_ref().map(|Extension(caller)| caller).filter(|caller| caller.via == Via::Session);
    let user = maker.map(|maker| maker.subject.clone());
    if user.as_ref().is_some_and(|user| user.starts_with(ELSEWHERE)) {
        let text = "a token ends with its user, and whether one of another issuer is still there nobody tells the head; \
                    register a client, or make one as a user of the head";
        return Err(Problem::new(StatusCode::FORBIDDEN, text));
    }
    let now = now();
    let (client, made_by) = (None, user.clone());
    let order = Order { subject, role, life, algorithm, client, user: made_by, areas: areas.clone() };
    let (claims, token) = door.issue(order, now)?;
    let record = TokenRecord {
        subject: claims.subject.clone(),
        role: role.to_string(),
        algorithm: algorithm.to_string(),
        issued: now.0,
        expires: claims.expires().0,
        revoked: None,
        name,
        areas,
        user,
    };
    let change = |snapshot: &crate::model::Snapshot| {
        let mut draft = Draft::new(snapshot);
        make_room(&mut draft, now)?;
        draft.put_document(TOKENS, &claims.id, &record);
        Ok(draft.finish())
    };
    let detail = format!("for {} as {role}, until {}", claims.subject, claims.expires());
    door.0.context.change_noted(&detail, change).await?;
    let by = caller.map(|Extension(caller)| caller.subject).unwrap_or_default();
    tracing::info!(by, subject = claims.subject, %role, id = claims.id, "token issued");
    let made = TokenBody { token: Some(token), ..body(claims.id, record) };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(made)).into_response())
}

/// `DELETE /tokens/{id}`: revokes a token, from the next request on. One that is not known may come from a
/// client or another issuer, and is revoked too. Repeating it changes nothing.
pub(crate) async fn revoke(
    State(door): State<Door>,
    caller: Option<Extension<Caller>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if id.is_empty() || id.chars().count() > ID_CHARS_MAX || id.chars().any(char::is_control) {
        return Err(Problem::field("id", format!("must have from 1 to {ID_CHARS_MAX} characters")));
    }
    let now = now();
    let change = |snapshot: &crate::model::Snapshot| {
        let mut draft = Draft::new(snapshot);
        let known = draft.document::<TokenRecord>(TOKENS, &id);
        if known.as_ref().is_some_and(|record| record.revoked.is_some()) {
            return Ok(Vec::new());
        }
        let record = match known {
            Some(record) => record,
            None => {
                make_room(&mut draft, now)?;
                let expires = (now + TOKEN_LIFE_MAX).0;
                let unknown = String::new;
                TokenRecord {
                    subject: unknown(),
                    role: unknown(),
                    algorithm: unknown(),
                    issued: now.0,
                    expires,
                    revoked: None,
                    name: unknown(),
                    areas: Vec::new(),
                    user: None,
                }
            }
        };
        draft.put_document(TOKENS, &id, &TokenRecord { revoked: Some(now.0), ..record });
        Ok(draft.finish())
    };
    door.0.context.change_noted("revoked", change).await?;
    let by = caller.map(|Extension(caller)| caller.subject).unwrap_or_default();
    tracing::info!(by, id, "token revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /token-clients`.
pub(crate) async fn clients(State(door): State<Door>) -> Json<Vec<ClientBody>> {
    let snapshot = door.0.context.snapshot.load();
    let records = shelf::<ClientRecord>(&snapshot.inventory, CLIENTS).into_iter();
    Json(records.map(|(id, record)| client_body(id, record, None)).collect())
}

fn client_body(id: String, record: ClientRecord, secret: Option<String>) -> ClientBody {
    let ClientRecord { role, algorithm, description, created, digest: _ } = record;
    ClientBody { id, role, algorithm, description, created: Timestamp(created).rfc3339(), secret }
}

/// `POST /token-clients`. The secret is in this answer and nowhere else.
pub(crate) async fn add_client(State(door): State<Door>, bytes: Bytes) -> Result<Response, Problem> {
    let NewClientBody { id, role: wanted, algorithm: named, description } = query::body(&bytes)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if id.is_empty() || id.len() > TEXT_CHARS_MAX || !id.chars().all(plain) {
        return Err(Problem::field("id", "must be letters, digits, -, _ and ., at most 128"));
    }
    let (role, algorithm) = (role(&wanted)?, algorithm(named.as_deref())?);
    let description = text("description", &description, 0)?;
    let secret = random_name().map_err(|error| {
        tracing::error!(%error, "no secret can be made");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no secret can be made; see the log")
    })?;
    let digest = Digest(Sha256::digest(secret.as_bytes()).into()).to_string();
    let (role, algorithm) = (role.to_string(), algorithm.to_string());
    let record = ClientRecord { role, algorithm, description, digest, created: now().0 };
    let change = |snapshot: &crate::model::Snapshot| {
        let mut draft = Draft::new(snapshot);
        if draft.next.document(CLIENTS, &id).is_some() {
            return Err(Problem::conflict(format!("id: there is a client {id} already; remove it first")));
        }
        full(draft.next.shelf(CLIENTS).count(), "clients")?;
        draft.put_document(CLIENTS, &id, &record);
        Ok(draft.finish())
    };
    door.0.context.change(change).await?;
    tracing::info!(client = id, role = record.role, "token client added");
    let made = client_body(id, record, Some(secret));
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(made)).into_response())
}

/// `DELETE /token-clients/{id}`: its tokens end with it.
pub(crate) async fn remove_client(
    State(door): State<Door>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let change = |snapshot: &crate::model::Snapshot| {
        let mut draft = Draft::new(snapshot);
        if !draft.remove_document(CLIENTS, &id) {
            return Err(Problem::not_found(format!("there is no client {id}")));
        }
        Ok(draft.finish())
    };
    door.0.context.change(change).await?;
    tracing::info!(client = id, "token client removed");
    Ok(StatusCode::NO_CONTENT)
}

fn checked(areas: Vec<String>) -> Result<Vec<String>, Problem> {
    if areas.len() > TOKEN_AREAS_MAX {
        return Err(Problem::field("areas", format!("are more than {TOKEN_AREAS_MAX}")));
    }
    match areas.iter().position(|area| !areas::is_area(area)) {
        None => Ok(areas),
        Some(index) => {
            let text = format!("{:?} is none of {}", areas[index], areas::names().join(", "));
            Err(Problem::field(format!("areas[{index}]"), text))
        }
    }
}

fn role(text: &str) -> Result<Role, Problem> {
    text.parse().map_err(|error| Problem::field("role", format!("{text:?} {error}")))
}

fn algorithm(text: Option<&str>) -> Result<Algorithm, Problem> {
    let Some(text) = text else { return Ok(Algorithm::default()) };
    text.parse().map_err(|error| Problem::field("algorithm", format!("{text:?} {error}")))
}

/// A text that may stand in logs and lists.
fn text(field: &str, text: &str, least: usize) -> Result<String, Problem> {
    let count = text.chars().count();
    if count < least || count > TEXT_CHARS_MAX || text.chars().any(char::is_control) {
        let wanted =
            format!("must have from {least} to {TEXT_CHARS_MAX} characters, none of them control characters");
        return Err(Problem::field(field, wanted));
    }
    Ok(text.to_owned())
}
