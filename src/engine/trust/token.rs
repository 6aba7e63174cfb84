//! Tokens that nodes bear: JSON Web Tokens (EdDSA) that name a boot session, and count as long as it lives.
//!
//! They are apart from the tokens of people (`engine/token`): another audience, no roles, and a verifier of their
//! own that takes one algorithm. `cnf.jkt` names the node's key (RFC 7800, RFC 9278 by way of RFC 7638): a token
//! alone opens nothing that is not sealed to that key, except the secure cloud-init documents, whose clients
//! know no more than a bearer token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};

use crate::base::limits::{NODE_TOKEN_LIFE, SECURE_TOKEN_LIFE};
use crate::base::{Level, Millis, Timestamp};
use crate::model::{NodeId, SessionId};

/// Longest token that is read.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// How far clocks may be apart.
const LEEWAY_S: u64 = 60;

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// `/node/v1`.
    Node,
    /// The node's documents below `/cloud-init-secure`.
    CloudInit,
}

/// What a token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeClaims {
    pub purpose: Purpose,
    pub node: NodeId,
    pub session: SessionId,
    pub level: Level,
    /// Thumbprint of the node's key.
    pub key: [u8; 32],
    /// Seconds since 1970.
    pub issued: u64,
    pub expires: u64,
}

/// What goes into a token besides.
#[derive(Clone, Copy, Debug)]
pub struct Issuance<'a> {
    pub issuer: &'a str,
    /// The node's name, for people who read it.
    pub name: &'a str,
    /// The token's own name.
    pub id: &'a str,
}

impl Purpose {
    #[must_use]
    pub fn audience(self) -> &'static str {
        match self {
            Purpose::Node => "muster:node",
            Purpose::CloudInit => "cloud-init",
        }
    }

    fn life(self) -> Millis {
        match self {
            Purpose::Node => NODE_TOKEN_LIFE,
            Purpose::CloudInit => SECURE_TOKEN_LIFE,
        }
    }
}

impl NodeClaims {
    /// The claims of a token that is made now.
    #[must_use]
    pub fn new(
        purpose: Purpose,
        node: NodeId,
        session: SessionId,
        level: Level,
        key: [u8; 32],
        now: Timestamp,
    ) -> NodeClaims {
        let (issued, life) = (now.0 / 1000, purpose.life());
        let expires = issued.saturating_add(life.as_secs());
        NodeClaims { purpose, node, session, level, key, issued, expires }
    }

    /// The claims as JSON, ready to be signed.
    #[must_use]
    pub fn to_json(&self, made: Issuance<'_>) -> Value {
        let mut claims = json!({
            "iss": made.issuer, "sub": format!("node:{}", self.node.0), "aud": self.purpose.audience(),
            "sid": self.session.to_string(), "lvl": self.level.as_str(), "cnf": {"jkt": URL_SAFE_NO_PAD.encode(self.key)},
            "name": made.name, "jti": made.id, "iat": self.issued, "nbf": self.issued, "exp": self.expires,
        });
        if let (Purpose::CloudInit, Value::Object(fields)) = (self.purpose, &mut claims) {
            fields.insert("scope".to_owned(), json!("cloud-init:read"));
        }
        claims
    }

    /// Reads a token that was signed with this key of this name. None: it is not ours, not for this purpose or
    /// not for now; which of these is nobody's business.
    #[must_use]
    pub fn verify(
        token: &str,
        (kid, key): (&str, &VerifyingKey),
        purpose: Purpose,
        now: Timestamp,
    ) -> Option<NodeClaims> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, body) = message.split_once('.')?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        // Exactly these: a header that asks for more (`crit`, `jku`, `jwk` …) is not ours.
        if header != json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}) {
            return None;
        }
        let signature: [u8; 64] = decode(signature)?.try_into().ok()?;
        key.verify_strict(message.as_bytes(), &Signature::from_bytes(&signature)).ok()?;
        let body: Value = serde_json::from_slice(&decode(body)?).ok()?;
        let claims = NodeClaims::read(&body, purpose)?;
        let now = now.0 / 1000;
        let early = claims.issued > now.saturating_add(LEEWAY_S);
        let late = now > claims.expires.saturating_add(LEEWAY_S);
        (!early && !late).then_some(claims)
    }

    fn read(body: &Value, purpose: Purpose) -> Option<NodeClaims> {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let number = |name: &str| body.get(name).and_then(Value::as_u64);
        if text("aud") != Some(purpose.audience()) || number("nbf")? != number("iat")? {
            return None;
        }
        Some(NodeClaims {
            purpose,
            node: NodeId(text("sub")?.strip_prefix("node:")?.parse().ok()?),
            session: text("sid")?.parse().ok()?,
            level: text("lvl")?.parse().ok()?,
            key: URL_SAFE_NO_PAD.decode(body.get("cnf")?.get("jkt")?.as_str()?).ok()?.try_into().ok()?,
            issued: number("iat")?,
            expires: number("exp")?,
        })
    }
}

#[cfg(test)]
mod tests;
