//! Packs what a node gets at its level: chosen, written, sealed to its key, and noted.

use std::net::Ipv4Addr;

use axum::http::StatusCode;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::api::node::NodeTrust;
use crate::api::problem::Problem;
use crate::base::limits::{BUNDLE_BYTES_MAX, NODE_TOKEN_LIFE};
use crate::base::{Level, Timestamp};
use crate::engine::trust::contents::{Contents, Item};
use crate::engine::trust::key_hash;
use crate::engine::trust::sealed::{Header, Psk};
use crate::engine::trust::token::{Issuance, NodeClaims, Purpose};
use crate::model::boot_session::Delivery;
use crate::model::{BootSession, Node, Snapshot};
use crate::transport::vault::random_name;

/// Where the tutorial's units look for the token of the secure documents; `/var/run` is `/run`.
const CLOUD_INIT_TOKEN: &str = "/run/cloud-init-jwt";

/// What is packed for whom.
pub(crate) struct Parcel<'a> {
    pub(crate) level: Level,
    pub(crate) key: [u8; 32],
    /// The attestation's secret.
    pub(crate) psk: Option<Psk<'a>>,
    pub(crate) to: Ipv4Addr,
    pub(crate) now: Timestamp,
}

/// A parcel that is ready to go.
pub(crate) struct Packed {
    pub(crate) reply: Vec<u8>,
    pub(crate) deliveries: Vec<Delivery>,
    /// Names of the secrets that need a higher level.
    pub(crate) withheld: Vec<String>,
}

impl Parcel<'_> {
    /// # Errors
    /// The key takes nothing, or the node has more secrets than a bundle holds.
    pub(crate) fn pack(
        &self,
        trust: &NodeTrust,
        snapshot: &Snapshot,
        node: &Node,
        session: &BootSession,
    ) -> Result<Packed, Problem> {
        let bar = trust.bar(snapshot, node, self.level);
        let mut choice = match bar {
            None => trust.secrets.choose(snapshot, node, self.level),
            Some(bar) => bar.nothing(trust.secrets.choose(snapshot, node, Level::Address)),
        };
        let mut chosen: Vec<(String, u64)> = match trust.secrets.values(snapshot, node, self.level) {
            _ if bar.is_some() => Vec::new(),
            Some(values) => values,
            None => choice.items.iter().map(|item| (item.id.clone(), item.version)).collect(),
        };
        chosen.dedup(); // host keys are one secret in several files
        let withheld: Vec<String> = choice.withheld.iter().map(|one| one.id.clone()).collect();
        // At each level anew: the token says how far the node is, and takes the place of the one before.
        if bar.is_none() {
            choice.items.push(self.cloud_init(trust, node, session)?);
        }
        let token = self.token(Purpose::Node, trust, node, session)?;
        let plain = Contents { choice, token, server_time: self.now.0 / 1000 }.emit();
        if plain.len() > BUNDLE_BYTES_MAX {
            let octets = plain.len();
            tracing::error!(node = node.name.as_str(), octets, "the secrets of a node do not fit a bundle");
            let text = format!("the secrets of {} are more than {BUNDLE_BYTES_MAX} octets", node.name);
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, text));
        }
        let issued = self.now.0 / 1000;
        let header = Header {
            kid: String::new(),
            cluster: snapshot.site.name.clone(),
            node: node.name.to_string(),
            session: session.id.to_string(),
            seq: if self.level == Level::Grant { 1 } else { 2 },
            level: self.level,
            issued,
            expires: issued.saturating_add(NODE_TOKEN_LIFE.as_secs()),
            psk_id: self.psk.map(|psk| psk.id.to_owned()),
        };
        let bundle = trust.keys.seal(header, self.psk, &self.key, &plain);
        let bundle = bundle.map_err(|error| Problem::field("node_pub", error.to_string()))?;
        let reply = bundle.to_json().to_string().into_bytes();
        let sum: [u8; 32] = Sha256::digest(&reply).into();
        let delivery =
            |(secret, version)| Delivery { secret, version, at: self.now, to: self.to, bundle: sum };
        Ok(Packed { reply, deliveries: chosen.into_iter().map(delivery).collect(), withheld })
    }

    /// The token by which cloud-init on the node reads its secure documents, as the tutorial's units want it.
    fn cloud_init(&self, trust: &NodeTrust, node: &Node, session: &BootSession) -> Result<Item, Problem> {
        let token = self.token(Purpose::CloudInit, trust, node, session)?;
        Ok(Item {
            id: "cloud-init-jwt".to_owned(),
            version: 1,
            path: Some(CLOUD_INIT_TOKEN.to_owned()),
            mode: 0o600,
            owner: "root:root".to_owned(),
            credential: None,
            data: Zeroizing::new(token.into_bytes()),
        })
    }

    fn token(
        &self,
        purpose: Purpose,
        trust: &NodeTrust,
        node: &Node,
        session: &BootSession,
    ) -> Result<String, Problem> {
        let claims = NodeClaims::new(purpose, node.id, session.id, self.level, key_hash(&self.key), self.now);
        let made = random_name().and_then(|id| {
            let issuance = Issuance { issuer: &trust.policy.issuer, name: node.name.as_str(), id: &id };
            trust.keys.token(&claims, issuance)
        });
        made.map_err(|error| {
            tracing::error!(%error, "a node's token could not be made");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the token could not be made; see the log")
        })
    }
}
