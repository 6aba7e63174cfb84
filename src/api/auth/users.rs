//! `/api/v1/users`: people who log in with a password. Administrators make them; over the Unix socket everybody
//! is one, so that nobody is locked out of a head that he can touch.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use zeroize::Zeroizing;

use crate::api::auth::claim::{CLAIMED, DOOR, is_claimed};
use crate::api::auth::records::{USERS, UserRecord, end_sessions};
use crate::api::auth::sessions::address;
use crate::api::auth::types::{NewUserBody, OwnPasswordBody, UserBody, UserPatchBody};
use crate::api::auth::{Caller, Door};
use crate::api::openchami::draft::{Draft, read, shelf};
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::base::Timestamp;
use crate::base::limits::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, USERS_MAX};
use crate::model::audit::Via;
use crate::model::{Role, Snapshot};
use crate::transport::clock::now;
use crate::transport::http::Peer;

/// Longest name of a user: that of a Linux account, twice over.
const NAME_BYTES_MAX: usize = 63;

/// `GET /users`.
pub(crate) async fn list(State(door): State<Door>) -> Json<Vec<UserBody>> {
    let snapshot = door.0.context.snapshot.load();
    let records = shelf::<UserRecord>(&snapshot.inventory, USERS).into_iter();
    Json(records.map(|(name, record)| body(name, &record)).collect())
}

/// `GET /users/{name}`.
pub(crate) async fn show(
    State(door): State<Door>,
    Path(name): Path<String>,
) -> Result<Json<UserBody>, Problem> {
    let snapshot = door.0.context.snapshot.load();
    let record = snapshot.inventory.document(USERS, &name).and_then(|document| read(document));
    let record = record.ok_or_else(|| unknown(&name))?;
    Ok(Json(body(name, &record)))
}

pub(crate) fn body(name: String, record: &UserRecord) -> UserBody {
    let UserRecord { role, hash: _, created, changed, totp } = record;
    let [created, changed] = [created, changed].map(|at| Timestamp(*at).rfc3339());
    UserBody { name, role: role.clone(), created, changed, totp: totp.is_some() }
}

pub(crate) fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no user {name}"))
}

/// `POST /users`.
pub(crate) async fn add(State(door): State<Door>, bytes: Bytes) -> Result<Response, Problem> {
    let NewUserBody { name, role, password } = query::body(&bytes)?;
    let made = door.add_user(&name, role.as_str(), Zeroizing::new(password)).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

impl Door {
    /// Makes a user. Refused if there is one of this name.
    pub(crate) async fn add_user(
        &self,
        name: &str,
        role: &str,
        password: Zeroizing<String>,
    ) -> Result<UserBody, Problem> {
        self.make_user(name, role, password, false).await
    }

    /// Makes the first user, with whom the head is claimed. Of several who try at once one succeeds.
    pub(crate) async fn add_first_user(
        &self,
        name: &str,
        role: &str,
        password: Zeroizing<String>,
    ) -> Result<UserBody, Problem> {
        self.make_user(name, role, password, true).await
    }

    async fn make_user(
        &self,
        name: &str,
        role: &str,
        password: Zeroizing<String>,
        claims: bool,
    ) -> Result<UserBody, Problem> {
        check_name(name)?;
        check_password(name, &password)?;
        let role = parse_role(role)?.to_string();
        let hash = self.hash(password).await?;
        let at = now().0;
        let record = UserRecord { role, hash, created: at, changed: at, totp: None };
        let add = |snapshot: &Snapshot| {
            let mut draft = Draft::new(snapshot);
            if claims && is_claimed(&draft.next) {
                return Err(Problem::conflict("somebody else claimed this head meanwhile"));
            }
            if draft.next.document(USERS, name).is_some() {
                return Err(Problem::conflict(format!("name: there is a user {name} already")));
            }
            if draft.next.shelf(USERS).count() >= USERS_MAX {
                return Err(Problem::conflict(format!("there are {USERS_MAX} users, and no room for more")));
            }
            draft.put_document(USERS, name, &record);
            if claims {
                // Remembered by itself: a head whose users all went does not stand open again.
                draft.put_document(DOOR, CLAIMED, &at);
            }
            Ok(draft.finish())
        };
        self.0.context.change_noted(&format!("as {}", record.role), add).await?;
        Ok(body(name.to_owned(), &record))
    }

    async fn hash(&self, password: Zeroizing<String>) -> Result<String, Problem> {
        self.0.passwords.hash(password).await.map_err(|error| {
            tracing::error!(%error, "a password could not be hashed");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        })
    }

    /// Changes a user, and ends his sessions: what they were is not what they would be.
    async fn alter_user(
        &self,
        name: &str,
        role: Option<Role>,
        hash: Option<String>,
    ) -> Result<UserBody, Problem> {
        let at = now().0;
        let mut made = None;
        let what = match (role, &hash) {
            (Some(role), None) => format!("role {role}"),
            (Some(role), Some(_)) => format!("role {role}, password"),
            (None, _) => "password".to_owned(),
        };
        let alter = |snapshot: &Snapshot| {
            let mut draft = Draft::new(snapshot);
            let old: UserRecord = draft.document(USERS, name).ok_or_else(|| unknown(name))?;
            let record = UserRecord {
                role: role.map_or(old.role, |role| role.to_string()),
                hash: hash.clone().unwrap_or(old.hash),
                created: old.created,
                changed: at,
                totp: old.totp,
            };
            draft.put_document(USERS, name, &record);
            end_sessions(&mut draft, |_, session| session.user == name);
            made = Some(body(name.to_owned(), &record));
            Ok(draft.finish())
        };
        self.0.context.change_noted(&what, alter).await?;
        Ok(made.expect("a change that succeeds was planned"))
    }
}

/// `PATCH /users/{name}`: a new role, a new password, or both.
pub(crate) async fn alter(
    State(door): State<Door>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<UserBody>, Problem> {
    let UserPatchBody { role, password } = query::body(&bytes)?;
    let password = password.map(Zeroizing::new);
    if role.is_none() && password.is_none() {
        return Err(Problem::field("role", "neither a role nor a password is given"));
    }
    let role = role.as_deref().map(parse_role).transpose()?;
    if door.0.context.snapshot.load().inventory.document(USERS, &name).is_none() {
        return Err(unknown(&name));
    }
    let hash = match password {
        Some(password) => {
            check_password(&name, &password)?;
            Some(door.hash(password).await?)
        }
        None => None,
    };
    Ok(Json(door.alter_user(&name, role, hash).await?))
}

/// `DELETE /users/{name}`: sessions and tokens end with the user.
pub(crate) async fn remove(
    State(door): State<Door>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let remove = |snapshot: &Snapshot| {
        let mut draft = Draft::new(snapshot);
        if !draft.remove_document(USERS, &name) {
            return Err(unknown(&name));
        }
        end_sessions(&mut draft, |_, session| session.user == name);
        Ok(draft.finish())
    };
    door.0.context.change_noted("removed", remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /password`: a user's own, for whoever knows the old one. All of the user's sessions end.
pub(crate) async fn own_password(
    State(door): State<Door>,
    caller: Option<Extension<Caller>>,
    peer: Option<Extension<Peer>>,
    bytes: Bytes,
) -> Result<Response, Response> {
    let refuse = |problem: Problem| problem.into_response();
    let OwnPasswordBody { old, new, code } = query::body(&bytes).map_err(refuse)?;
    let (old, new) = (Zeroizing::new(old), Zeroizing::new(new));
    let caller = caller.map(|Extension(caller)| caller).filter(|caller| caller.via == Via::Session);
    let name = caller.map(|caller| caller.subject).ok_or_else(|| {
        refuse(Problem::new(StatusCode::FORBIDDEN, "only who logged in with a password has one to change"))
    })?;
    check_password(&name, &new).map_err(refuse)?;
    door.admit_user(&name, old, code.as_deref(), address(peer)).await?;
    let hash = door.hash(new).await.map_err(refuse)?;
    door.alter_user(&name, None, Some(hash)).await.map_err(refuse)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn parse_role(text: &str) -> Result<Role, Problem> {
    text.parse().map_err(|error| Problem::field("role", format!("{text:?} {error}")))
}

fn check_name(name: &str) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | '@');
    let good = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(plain);
    if !good || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(Problem::field("name", "must be small letters, digits, -, _, . and @, at most 63"));
    }
    // In the audit log that is whoever came over the Unix socket.
    if name == "root" {
        return Err(Problem::field("name", "root is whoever uses the Unix socket; choose another name"));
    }
    Ok(())
}

fn check_password(name: &str, password: &str) -> Result<(), Problem> {
    if password.chars().count() < PASSWORD_CHARS_MIN || password.len() > PASSWORD_BYTES_MAX {
        let wanted = format!(
            "must have at least {PASSWORD_CHARS_MIN} characters and at most {PASSWORD_BYTES_MAX} bytes"
        );
        return Err(Problem::field("password", wanted));
    }
    let first = password.chars().next();
    if password.to_lowercase().contains(name) && name.len() >= 4 || password.chars().all(|c| Some(c) == first)
    {
        return Err(Problem::field(
            "password",
            "is too easy to guess: it holds the name, or one character only",
        ));
    }
    Ok(())
}
