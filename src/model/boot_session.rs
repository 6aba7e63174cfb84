//! Boot sessions: one boot of one node, from the moment the head believes in it until nothing more is given out.
//! Observed state; what may become of a session decides `engine/trust/session.rs`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

use crate::base::{Digest, Level, Mac, Timestamp, Uuid, base32};
use crate::model::{Arch, NodeId};

/// A session's name: random, no secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub [u8; 16]);

/// The text names no session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is no name of a boot session: 26 letters and digits of base32")]
pub struct SessionIdError;

/// Where a session is in its life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SessionState {
    /// The node began to boot.
    Armed,
    /// It has its script, and may fetch the grant.
    Scripted,
    /// It redeemed the grant.
    Claimed,
    /// Its TPM answered.
    Attested,
    /// It has what it gets after that.
    Delivered,
    /// Done: nothing more is given out.
    Sealed,
    Expired,
    Revoked,
    /// The node began to boot again.
    Superseded,
}

/// Who says that the node boots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArmedBy {
    /// The node itself, by a PXE exchange.
    Dhcp,
    /// This head, which switched it on.
    Power,
    Operator,
}

/// Why a session gives out nothing although its node boots, until an operator releases it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// The node's certificate was in use a moment ago: it is up, and somebody else boots with its address.
    Alive,
    /// Policy wants a power event of this head, and there was none.
    NoPower,
    /// Policy wants an operator.
    NoOperator,
}

/// By which way the node boots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Channel {
    pub mac: Mac,
    /// The address that counts: the one that fetched the script. None before that.
    pub address: Option<Ipv4Addr>,
    pub relay: Option<Ipv4Addr>,
    pub uuid: Option<Uuid>,
    pub arch: Option<Arch>,
}

/// An answer that was given, to be given again to the same asker.
#[derive(Clone, PartialEq, Eq)]
pub struct Answered {
    /// SHA-256 of what makes the asker the same: the node's key, or the whole request.
    pub of: [u8; 32],
    pub to: SocketAddrV4,
    pub at: Timestamp,
    /// The answer as it left: sealed to the node's key, so that whoever reads it here learns nothing.
    pub reply: Vec<u8>,
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answered({} octets to {} at {})", self.reply.len(), self.to, self.at.rfc3339())
    }
}

/// What a node was given to boot, by which its TPM's measurements are judged.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Given {
    /// As in `/proc/cmdline`. Empty: the head cannot tell it.
    pub command_line: String,
    /// The kernel and the initrds of the image, as the script names them.
    pub kernel: String,
    pub initrds: Vec<String>,
    /// By which firmware measures the kernel.
    pub kernel_digest: Option<Digest>,
    /// Of all initrds with the archive of each grant that was served, in their order; after the claim of that one
    /// alone. None: it cannot be told.
    pub initrd_digests: Vec<Option<Digest>>,
}

/// A secret that was given out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    pub secret: String,
    pub version: u64,
    pub at: Timestamp,
    pub to: Ipv4Addr,
    /// SHA-256 of the bundle in which it left.
    pub bundle: [u8; 32],
}

/// Something that happened in a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionEvent {
    pub at: Timestamp,
    /// Somebody should look at it.
    pub alarm: bool,
    pub text: String,
}

/// One boot of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootSession {
    pub id: SessionId,
    pub node: NodeId,
    pub state: SessionState,
    pub armed_by: ArmedBy,
    pub held: Option<Held>,
    pub channel: Channel,
    /// The security epoch in which it was made; in another one it counts no more.
    pub epoch: u64,
    /// Rises with each write of any session: which of two states is the later one.
    pub sequence: u64,
    pub made: Timestamp,
    pub expires: Timestamp,
    /// SHA-256 of the nonces that were served, oldest first. The nonces themselves are nowhere.
    pub grants: Vec<[u8; 32]>,
    /// None: its script was none of ours that boots Linux.
    pub given: Option<Box<Given>>,
    /// Wrong nonces so far.
    pub wrong: u8,
    pub claim: Option<Answered>,
    pub attestation: Option<Answered>,
    /// The level that was reached; `Address` before a claim.
    pub level: Level,
    /// Secrets that need a higher level than this one were named to the node.
    pub withheld: Vec<String>,
    pub deliveries: Vec<Delivery>,
    pub events: Vec<SessionEvent>,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&base32::encode(&self.0))
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        let octets = base32::decode(text).ok_or(SessionIdError)?;
        octets.try_into().map(SessionId).map_err(|_| SessionIdError)
    }
}

impl SessionState {
    pub const ALL: [SessionState; 9] = [
        SessionState::Armed,
        SessionState::Scripted,
        SessionState::Claimed,
        SessionState::Attested,
        SessionState::Delivered,
        SessionState::Sealed,
        SessionState::Expired,
        SessionState::Revoked,
        SessionState::Superseded,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SessionState::Armed => "armed",
            SessionState::Scripted => "scripted",
            SessionState::Claimed => "claimed",
            SessionState::Attested => "attested",
            SessionState::Delivered => "delivered",
            SessionState::Sealed => "sealed",
            SessionState::Expired => "expired",
            SessionState::Revoked => "revoked",
            SessionState::Superseded => "superseded",
        }
    }

    /// True if nothing can become of it any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            SessionState::Sealed
            | SessionState::Expired
            | SessionState::Revoked
            | SessionState::Superseded => true,
            SessionState::Armed
            | SessionState::Scripted
            | SessionState::Claimed
            | SessionState::Attested
            | SessionState::Delivered => false,
        }
    }
}

impl ArmedBy {
    pub const ALL: [ArmedBy; 3] = [ArmedBy::Dhcp, ArmedBy::Power, ArmedBy::Operator];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ArmedBy::Dhcp => "dhcp",
            ArmedBy::Power => "power",
            ArmedBy::Operator => "operator",
        }
    }
}

impl Held {
    pub const ALL: [Held; 3] = [Held::Alive, Held::NoPower, Held::NoOperator];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Held::Alive => "possible-mac-spoof",
            Held::NoPower => "no-power-event",
            Held::NoOperator => "not-armed",
        }
    }
}
