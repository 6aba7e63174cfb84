//! JSON of the routes about tokens.

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
