//! The key that a node makes for its boot, and in what form it is answered.
//!
//! The helper shows the public half, and gets bundles that only it can open. An image without the helper has curl and
//! no HPKE: it sends the private half, and gets the bundle's content in the clear. That is for TLS alone, where curl
//! has checked who the head is and nobody listens. Everything else is the same for both: what is kept for a repeated
//! question is a bundle sealed to the key, and the head forgets the key with the answer.

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::api::node::{NodeTrust, answer, octets};
use crate::api::problem::Problem;
use crate::engine::trust::keyset::{Anchor, Keyset, fingerprint};
use crate::engine::trust::sealed::{Bundle, Expected, public_of};
use crate::model::SessionId;
use crate::transport::clock::now;

/// The key of who asks.
pub(crate) struct NodeKey {
    pub(crate) public: [u8; 32],
    /// Only if the answer is to be in the clear.
    private: Option<Zeroizing<[u8; 32]>>,
}

impl NodeKey {
    /// From the fields `node_pub` and `node_key` of a message, of which it holds one.
    ///
    /// # Errors
    /// It holds both or none, a field is malformed, or a private key came where others may listen.
    pub(crate) fn read(
        public: Option<&str>,
        private: Option<&str>,
        is_secure: bool,
    ) -> Result<NodeKey, Problem> {
        match (public, private) {
            (Some(public), None) => Ok(NodeKey { public: octets("node_pub", public)?, private: None }),
            (None, Some(_)) if !is_secure => {
                let text = "node_key is taken over TLS alone; show node_pub here, or ask by https";
                Err(Problem::new(StatusCode::FORBIDDEN, text))
            }
            (None, Some(private)) => {
                let private = Zeroizing::new(octets("node_key", private)?);
                Ok(NodeKey { public: public_of(&private), private: Some(private) })
            }
            (Some(_), Some(_)) => Err(Problem::field("node_key", "excludes node_pub")),
            (None, None) => Err(Problem::field("node_pub", "is missing")),
        }
    }

    /// The same from a message of an attestation.
    ///
    /// # Errors
    /// As in [`NodeKey::read`].
    pub(crate) fn of(message: &Value, is_secure: bool) -> Result<NodeKey, Problem> {
        let text = |name: &str| message.get(name).and_then(Value::as_str);
        NodeKey::read(text("node_pub"), text("node_key"), is_secure)
    }

    /// Answers with this bundle, or with what is in it.
    ///
    /// # Errors
    /// The bundle is not one that this key opens.
    pub(crate) fn answer(
        &self,
        trust: &NodeTrust,
        session: SessionId,
        reply: Vec<u8>,
    ) -> Result<Response, Problem> {
        let Some(private) = &self.private else { return Ok(answer(reply, "application/json")) };
        let broken = |error: &dyn std::fmt::Display| {
            tracing::error!(%session, %error, "a bundle of our own cannot be opened");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer cannot be opened; see the log")
        };
        let bundle: Value = serde_json::from_slice(&reply).map_err(|error| broken(&error))?;
        let bundle = Bundle::from_json(&bundle).map_err(|error| broken(&error))?;
        let root = fingerprint(&trust.keys.root());
        let anchor = Anchor { root: &root, least_epoch: 0, now: None };
        let keys = Keyset::open(&trust.keys.keyset(trust.sessions.epoch(), now()), anchor);
        let keys = keys.map_err(|error| broken(&error))?;
        let name = session.to_string();
        let expected = Expected { session: &name, least_seq: 0 };
        let opened = bundle.open(&keys, private, None, expected);
        let (header, plain) = opened.map_err(|error| broken(&error))?;
        // The node's public key, by which an attestation is bound to this boot: a shell cannot compute it.
        let public = STANDARD.encode(self.public);
        let begin = format!("{{\"node_pub\":\"{public}\",\"level\":\"{}\",", header.level.as_str());
        let rest = plain.strip_prefix(b"{").unwrap_or(&plain);
        let mut out = Zeroizing::new(Vec::with_capacity(begin.len().saturating_add(rest.len())));
        out.extend_from_slice(begin.as_bytes());
        out.extend_from_slice(rest);
        Ok(answer(axum::body::Bytes::from_owner(out), "application/json"))
    }
}
