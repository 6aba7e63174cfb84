//! What is remembered about those who may come in: users and their sessions, tokens that administrators gave,
//! those that were revoked, and the clients that may fetch their own. Documents in the inventory, so that they are durable, on every head, and looked up
//! in the snapshot without a lock.
//!
//! A client's tokens are not remembered one by one, they live an hour and no longer than their client.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::api::openchami::draft::{Draft, read, shelf};
use crate::api::problem::Problem;
use crate::base::limits::{TOKEN_LEEWAY, TOKEN_RECORDS_MAX};
use crate::base::{Millis, Timestamp};
use crate::engine::token::Verified;
use crate::model::{Inventory, Role};

/// The shelf of tokens, by `jti`.
pub(crate) const TOKENS: &str = "token";

/// The shelf of clients, by their names.
pub(crate) const CLIENTS: &str = "token.client";

/// The shelf of users, by their names.
pub(crate) const USERS: &str = "user";

/// The shelf of sessions, by the digests of their cookies: what is stored logs nobody in.
pub(crate) const SESSIONS: &str = "user.session";

/// A user with a password. Times are milliseconds since 1970.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    pub role: String,
    /// PHC string of argon2id.
    pub hash: String,
    pub created: u64,
    /// When password or role were changed last.
    pub changed: u64,
    /// The key of one-time codes, sealed by the vault for this user, base64; none: a password is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<String>,
}

/// A login that lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    pub user: String,
    pub created: u64,
    pub expires: u64,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
    /// The role of somebody whom another issuer knows; none: the user is ours, and the user's own role counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// A token that was given or revoked. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Empty if it was revoked without being known.
    pub subject: String,
    pub role: String,
    pub algorithm: String,
    pub issued: u64,
    pub expires: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub areas: Vec<String>,
    /// The user who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// A client that may fetch tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRecord {
    pub role: String,
    pub algorithm: String,
    #[serde(default)]
    pub description: String,
    /// SHA-256 of the secret, in hex. A plain digest will do: secrets are 256 random bits that we make, and
    /// nobody guesses those by trying.
    pub digest: String,
    pub created: u64,
}

/// The role in which a good token stands now; None if it was revoked, or its client is gone.
#[must_use]
pub fn standing(inventory: &Inventory, token: &Verified) -> Option<Role> {
    if let Some(document) = token.id.as_deref().and_then(|id| inventory.document(TOKENS, id)) {
        // A record that cannot be read may be that of a revoked token.
        let record: TokenRecord = read(document)?;
        if record.revoked.is_some() {
            return None;
        }
    }
    if let Some(user) = token.user.as_deref().filter(|_| token.own) {
        let UserRecord { role, created, .. } = read(inventory.document(USERS, user)?)?;
        // The token of a user who went does not come back with another one of his name.
        let is_old = token.issued.0 / 1000 < created / 1000;
        let role = role.parse::<Role>().ok()?;
        return (!is_old).then(|| role.min(token.role));
    }
    let Some(client) = token.client.as_deref().filter(|_| token.own) else { return Some(token.role) };
    let record: ClientRecord = read(inventory.document(CLIENTS, client)?)?;
    // A client that was removed and added again gets new tokens; its old ones stay dead.
    let is_old = token.issued.0 / 1000 < record.created / 1000;
    let role = record.role.parse::<Role>().ok()?;
    (!is_old).then(|| role.min(token.role))
}

/// Ends the sessions that this is true of.
pub(crate) fn end_sessions(draft: &mut Draft<'_>, mut of: impl FnMut(&str, &SessionRecord) -> bool) {
    let ended = shelf::<SessionRecord>(&draft.next, SESSIONS).into_iter();
    let ended: Vec<String> = ended.filter(|(id, record)| of(id, record)).map(|(id, _)| id).collect();
    for id in ended {
        draft.remove_document(SESSIONS, &id);
    }
}

/// Removes records of tokens that have ended anyway, and tells whether there is room for one more.
pub(crate) fn make_room(draft: &mut Draft<'_>, now: Timestamp) -> Result<(), Problem> {
    let records = shelf::<TokenRecord>(&draft.next, TOKENS);
    let ended = |record: &TokenRecord| Timestamp(record.expires) + TOKEN_LEEWAY + Millis(1) < now;
    let (dead, alive): (Vec<_>, Vec<_>) = records.into_iter().partition(|(_, record)| ended(record));
    for (id, _) in dead {
        draft.remove_document(TOKENS, &id);
    }
    full(alive.len(), "tokens")
}

/// Refuses one more than can be remembered.
pub(crate) fn full(count: usize, what: &str) -> Result<(), Problem> {
    if count < TOKEN_RECORDS_MAX {
        return Ok(());
    }
    Err(Problem::conflict(format!("there are {TOKEN_RECORDS_MAX} {what}, and more are not remembered")))
}
