//! The serde forms of the audit log.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::base::{Digest, Timestamp};
use crate::model::audit::{Checkpoint, Entry, Line};
use crate::store::record::declared::read;

#[derive(Serialize, Deserialize)]
pub struct LineForm {
    seq: u64,
    at: u64,
    actor: String,
    via: String,
    action: String,
    object: String,
    outcome: String,
    ip: Option<IpAddr>,
    detail: String,
    prev: String,
    hash: String,
}

#[derive(Serialize, Deserialize)]
pub struct CheckpointForm {
    seq: u64,
    hash: String,
    at: u64,
    /// 128 hexadecimal digits.
    signature: String,
}

impl From<&Line> for LineForm {
    fn from(line: &Line) -> Self {
        let Line { seq, entry, prev, hash } = line;
        let Entry { at, actor, via, action, object, outcome, ip, detail } = entry;
        LineForm {
            seq: *seq,
            at: at.0,
            actor: actor.clone(),
            via: via.name().to_owned(),
            action: action.clone(),
            object: object.clone(),
            outcome: outcome.name().to_owned(),
            ip: *ip,
            detail: detail.clone(),
            prev: prev.hex(),
            hash: hash.hex(),
        }
    }
}

impl TryFrom<LineForm> for Line {
    type Error = String;

    fn try_from(form: LineForm) -> Result<Self, String> {
        let LineForm { seq, at, actor, via, action, object, outcome, ip, detail, prev, hash } = form;
        let (via, outcome) = (read("via", &via)?, read("outcome", &outcome)?);
        let entry = Entry { at: Timestamp(at), actor, via, action, object, outcome, ip, detail };
        Ok(Line { seq, entry, prev: read("prev", &prev)?, hash: read("hash", &hash)? })
    }
}

impl From<&Checkpoint> for CheckpointForm {
    fn from(checkpoint: &Checkpoint) -> Self {
        let Checkpoint { seq, hash, at, signature } = checkpoint;
        let (first, second) = signature.split_at(32);
        let half = |half: &[u8]| Digest(half.try_into().expect("a half of 64 octets has 32")).hex();
        let signature = half(first) + &half(second);
        CheckpointForm { seq: *seq, hash: hash.hex(), at: at.0, signature }
    }
}

impl TryFrom<CheckpointForm> for Checkpoint {
    type Error = String;

    fn try_from(form: CheckpointForm) -> Result<Self, String> {
        let CheckpointForm { seq, hash, at, signature } = form;
        let (first, second) = signature.split_at_checked(64).ok_or("signature: too short")?;
        let halves: [Digest; 2] = [read("signature", first)?, read("signature", second)?];
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&halves[0].0);
        signature[32..].copy_from_slice(&halves[1].0);
        Ok(Checkpoint { seq, hash: read("hash", &hash)?, at: Timestamp(at), signature })
    }
}
