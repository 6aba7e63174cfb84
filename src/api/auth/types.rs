//! JSON of the routes about users, sessions and tokens.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What a token to be issued is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueBody {
    /// Who will bear it.
    pub subject: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// Life in seconds; 8 hours if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// `EdDSA` or `RS256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// What it is for, to tell it from others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Areas of the APIs to which it is limited, such as `images`; none: all that the role may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub areas: Vec<String>,
}

/// A token, as far as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBody {
    /// Its `jti`.
    pub id: String,
    pub subject: String,
    pub role: String,
    pub algorithm: String,
    /// RFC 3339.
    pub issued: String,
    pub expires: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub areas: Vec<String>,
    /// The user who made it, with whom it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The token itself: only in the answer that issues it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// A client to be registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewClientBody {
    /// Letters, digits, `-`, `_` and `.`.
    pub id: String,
    pub role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientBody {
    pub id: String,
    pub role: String,
    pub algorithm: String,
    #[serde(default)]
    pub description: String,
    /// RFC 3339.
    pub created: String,
    /// Only in the answer that registers it; it cannot be shown again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// What `/token` and `/oauth2/token` give (RFC 6749 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessBody {
    pub access_token: String,
    /// Seconds.
    pub expires_in: u64,
    pub scope: String,
    /// Always `bearer`, in lower case as hydra wrote it.
    pub token_type: String,
}

/// A user, without a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserBody {
    pub name: String,
    pub role: String,
    /// RFC 3339.
    pub created: String,
    /// When password or role were changed last.
    pub changed: String,
    /// True if a one-time code is needed besides the password.
    #[serde(default)]
    pub totp: bool,
}

/// A user to be made. No `Debug`: it holds a password, like those below.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUserBody {
    /// Small letters, digits, `-`, `_`, `.` and `@`.
    pub name: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// At least 12 characters.
    pub password: String,
}

/// What is to change of a user.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserPatchBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// A user's own new password.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnPasswordBody {
    pub old: String,
    pub new: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A name and a password.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginBody {
    pub name: String,
    pub password: String,
    /// The one-time code, of a user who has a key for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A password once more, of whoever is logged in.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProveBody {
    pub password: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A key of one-time codes: only in the answer that makes it. No `Debug`.
#[derive(Serialize, Deserialize)]
pub struct TotpBody {
    pub user: String,
    /// Base32, to be typed into an app.
    pub key: String,
    /// The same as a link, which apps read from a picture.
    pub link: String,
}

/// For whom the head takes a caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoBody {
    pub name: String,
    pub role: String,
    /// `socket`, `session`, `token` or, with authentication off, `nobody`.
    pub via: String,
}

/// A login that lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionBody {
    /// Digest of the cookie, with which nobody logs in.
    pub id: String,
    pub user: String,
    /// RFC 3339.
    pub created: String,
    pub expires: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<IpAddr>,
}

/// The first visit.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimBody {
    /// What the head's console shows; over the Unix socket it may be left out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// The first administrator's.
    pub name: String,
    pub password: String,
}

/// A head that was claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedBody {
    pub name: String,
    pub role: String,
    /// SHA-256 of the authority's certificate, as browsers show it.
    pub ca_sha256: String,
}
