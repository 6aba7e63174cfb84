//! Whose TPM a node's is. *Declared*: the endorsement key that an administrator let in for a node, or took from it
//! ([`Identity`]). *Observed*: what a node showed, what its attestations left behind, and which secrets it ever had
//! ([`Dossier`]).
//!
//! A key belongs to one node and a node has one key. Both sides are immutable but for an administrator: a machine
//! that could register anew could take another's place.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::base::{Digest, Level, Timestamp};
use crate::model::{NodeId, SessionId};

/// An endorsement key's name among ours: SHA-256 of its SubjectPublicKeyInfo, so that a certificate and a TPM give
/// the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EkFingerprint(pub [u8; 32]);

/// The text is no fingerprint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is no fingerprint of an endorsement key: 64 digits of base 16")]
pub struct EkFingerprintError;

/// What a site declares of a node's TPM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub node: NodeId,
    /// None: the node was revoked before it had any.
    pub ek: Option<EkFingerprint>,
    /// The node gets nothing by attestation any more, and no other node gets this key.
    pub revoked: bool,
    pub how: Enrolled,
    /// Who declared it.
    pub by: String,
    pub at: Timestamp,
}

/// By which way a key was let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enrolled {
    /// Somebody compared its code.
    Approved,
    /// It stood in a list.
    Listed,
    /// It was shown while the door stood open.
    Window,
}

/// What the head remembers of a node beyond its boot sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dossier {
    pub node: NodeId,
    /// What waits for its approval.
    pub pending: Option<Pending>,
    /// What it showed last while it was enrolled.
    pub make: Option<Make>,
    /// The start of the TPM in which it last attested.
    pub start: Option<TpmStart>,
    /// What its firmware measured at the first attestation after the enrolment.
    pub pinned: BTreeMap<u8, Digest>,
    /// Its last attestation.
    pub last: Option<Attested>,
    /// Something about its TPM that somebody should look at, until the node is enrolled, or anew.
    pub flag: Option<Flag>,
    /// Values of secrets that it was given, the oldest first. Bounded by `HELD_MAX`.
    pub held: Vec<Held>,
}

/// What somebody should look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flag {
    pub at: Timestamp,
    pub text: String,
}

/// A value of a secret that was given to a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// `SecretKey::row`, or the name alone.
    pub secret: String,
    pub version: u64,
    /// When it was given first.
    pub at: Timestamp,
}

/// A TPM that was shown and that nobody let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    pub ek: EkFingerprint,
    pub make: Make,
    pub first: Timestamp,
    pub last: Timestamp,
    pub from: Option<Ipv4Addr>,
    /// In which it was shown last.
    pub session: SessionId,
    /// Of the boot session; what waited in another one is forgotten.
    pub epoch: u64,
    /// Other keys that were shown in this node's name while this one waited or before.
    pub others: u32,
}

/// What a TPM says of itself, and its certificate of it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Make {
    pub vendor: String,
    pub firmware: String,
    /// By its certificate.
    pub manufacturer: Option<String>,
    /// `ok`, `unknown`, `none`, or why its certificate counts for nothing.
    pub chain: String,
}

/// A start of a TPM that has had its secrets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TpmStart {
    /// Whose counter it is: another TPM begins anew.
    pub ek: EkFingerprint,
    pub count: u32,
    /// In which boot session.
    pub session: SessionId,
}

/// An attestation that counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attested {
    pub at: Timestamp,
    pub level: Level,
    /// What did not fit, where that is only noted.
    pub findings: Vec<String>,
}

impl Dossier {
    #[must_use]
    pub fn new(node: NodeId) -> Dossier {
        let (pending, make, start, last, flag) = (None, None, None, None, None);
        Dossier { node, pending, make, start, pinned: BTreeMap::new(), last, flag, held: Vec::new() }
    }
}

impl Enrolled {
    pub const ALL: [Enrolled; 3] = [Enrolled::Approved, Enrolled::Listed, Enrolled::Window];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Enrolled::Approved => "approved",
            Enrolled::Listed => "listed",
            Enrolled::Window => "window",
        }
    }
}

impl fmt::Display for EkFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for EkFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EkFingerprint {
    type Err = EkFingerprintError;

    fn from_str(text: &str) -> Result<Self, EkFingerprintError> {
        let bare = text.trim();
        let bare = bare.strip_prefix("sha256:").unwrap_or(bare);
        let digest: Digest = bare.parse().map_err(|_| EkFingerprintError)?;
        Ok(EkFingerprint(digest.0))
    }
}

#[cfg(test)]
mod tests {
    use crate::model::identity::EkFingerprint;

    #[test]
    fn fingerprints_read_what_they_write_and_nothing_shorter() {
        let print = EkFingerprint([0xa5; 32]);
        assert_eq!(print.to_string().parse(), Ok(print));
        assert_eq!(format!(" sha256:{print}\n").parse(), Ok(print));
        for bad in ["", "a5", &print.to_string()[1..], &format!("{print}0"), &"g".repeat(64)] {
            assert!(bad.parse::<EkFingerprint>().is_err(), "{bad}");
        }
    }
}
