//! What a token of ours says.

use serde_json::{Value, json};

use crate::base::{Millis, Timestamp};
use crate::model::Role;

/// Whom our tokens are for.
pub const AUDIENCE: &str = "openchami";

/// The claims of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// URL of the head that issues it.
    pub issuer: String,
    /// The cluster.
    pub cluster: String,
    /// Who bears it.
    pub subject: String,
    pub role: Role,
    pub issued: Timestamp,
    pub life: Millis,
    /// The token's own name, by which it is revoked.
    pub id: String,
    /// The registered client that got it; none: an administrator gave it.
    pub client: Option<String>,
    /// The user who made it for himself or a program; it ends with the user and grants no more than he may.
    pub user: Option<String>,
    /// Areas of the APIs to which it is limited; empty: all that the role may.
    pub areas: Vec<String>,
}

impl Claims {
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.issued.plus(self.life)
    }

    /// Scopes as OAuth clients show them. They grant nothing; `roles` does.
    #[must_use]
    pub fn scope(&self) -> String {
        format!("openid smd.read {}", self.role)
    }

    /// The claims as JSON. Times are whole seconds, as RFC 7519 section 2 wants them.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let seconds = |at: Timestamp| at.0 / 1000;
        let mut claims = json!({
            "iss": self.issuer,
            "sub": self.subject,
            "aud": [AUDIENCE, self.cluster],
            "exp": seconds(self.expires()),
            "nbf": seconds(self.issued),
            "iat": seconds(self.issued),
            "jti": self.id,
            "roles": [self.role.name()],
            "scope": self.scope(),
            "cluster_id": self.cluster,
        });
        let areas = Some(&self.areas).filter(|areas| !areas.is_empty());
        let more = [
            ("client_id", self.client.as_ref().map(|client| json!(client))),
            ("muster_user", self.user.as_ref().map(|user| json!(user))),
            ("muster_areas", areas.map(|areas| json!(areas))),
        ];
        if let Value::Object(fields) = &mut claims {
            let more = more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
            fields.extend(more);
        }
        claims
    }
}
