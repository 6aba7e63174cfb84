//! What the rooms around sessions ask of the engine that knows TPMs.

use serde_json::Value;
use zeroize::Zeroizing;

use crate::base::{Level, Timestamp};
use crate::model::{BootSession, Node};

/// Begins attestations.
pub trait Attestor: Send + Sync {
    /// Looks at what a node shows of its TPM (the body of `/node/v1/attest/start`) and makes a challenge.
    /// `dice` is 128 octets of randomness for this challenge alone.
    ///
    /// # Errors
    /// Why there is none.
    fn start(&self, ask: &Ask<'_>, message: &Value, dice: &Zeroizing<[u8; 128]>)
    -> Result<Challenge, Denied>;
}

/// Who attests.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub node: &'a Node,
    pub session: &'a BootSession,
    /// The node's key of this boot.
    pub key: &'a [u8; 32],
    /// The name of this attestation, by which the answer refers to it.
    pub id: &'a str,
    pub now: Timestamp,
}

/// A challenge that is out.
pub struct Challenge {
    /// What the node is told, without `attest_id` and `ttl`, which are added.
    pub told: Value,
    pub pending: Box<dyn Pending>,
}

/// What the head keeps until the node's answer comes. In memory alone: after a restart the node starts again.
pub trait Pending: Send + Sync {
    /// Judges the answer (the body of `/node/v1/attest/finish`). Called once.
    ///
    /// # Errors
    /// Why it does not count.
    fn finish(self: Box<Self>, ask: &Ask<'_>, message: &Value) -> Result<Proof, Denied>;
}

/// What an answer proved.
pub struct Proof {
    pub level: Level,
    /// The credential that the TPM unpacked; bundles are sealed with it from now on.
    pub secret: Zeroizing<[u8; 32]>,
}

/// Why an attestation ends.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Denied {
    /// Of HTTP: 403, 409 or 422.
    pub status: u16,
    /// For the node's console and the session's events; holds nothing secret.
    pub text: String,
    /// Somebody should look at it.
    pub alarm: bool,
}
