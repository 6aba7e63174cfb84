//! Which TPM is let in for which node: what a site wants of it, and what an administrator's word comes to.
//!
//! ```text
//!            shown            approve, list, window            revoke
//! none ───────────▶ pending ─────────────────────▶ enrolled ──────────▶ revoked
//!   ▲                                                 │                    │
//!   └───────────────────── enrol anew ────────────────┴────────────────────┘
//! ```
//!
//! No arrow leads from one key to another: a machine that shows another TPM stays outside until an administrator
//! enrols the node anew, as after a new mainboard.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{GroupName, Timestamp};
use crate::engine::attest::policy::Mode;
use crate::model::boot_session::ArmedBy;
use crate::model::identity::{EkFingerprint, Enrolled, Identity, Pending};
use crate::model::{BootSession, Change, Inventory, Node, NodeId};

/// By which way a site lets TPMs in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Enrol {
    /// As `Approve`, and at once while a window is open for one of the node's groups.
    Window,
    /// Somebody compares its code.
    #[default]
    Approve,
    /// It stands in a list that was given before.
    Preload,
}

impl Enrol {
    pub const ALL: [Enrol; 3] = [Enrol::Window, Enrol::Approve, Enrol::Preload];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Enrol::Window => "window",
            Enrol::Approve => "approve",
            Enrol::Preload => "preload",
        }
    }
}

impl std::str::FromStr for Enrol {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Enrol, Self::Err> {
        Enrol::ALL.into_iter().find(|way| way.as_str() == text).ok_or("is none of approve, preload, window")
    }
}

/// What a site wants of one node's TPM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TpmPolicy {
    pub enrol: Enrol,
    /// Only TPMs come in whose certificate leads to one of the administrator's.
    pub require_certificate: bool,
    /// What follows if the node did not boot what the head gave it.
    pub pcr: Mode,
    /// A node with a TPM gets nothing before the TPM answered, also what needs less.
    pub tpm_first: bool,
}

impl Default for TpmPolicy {
    fn default() -> TpmPolicy {
        TpmPolicy { enrol: Enrol::Approve, require_certificate: false, pcr: Mode::Record, tpm_first: true }
    }
}

/// What differs for the members of a group.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Override {
    pub enrol: Option<Enrol>,
    pub require_certificate: Option<bool>,
    pub pcr: Option<Mode>,
    pub tpm_first: Option<bool>,
}

/// What a site wants of all TPMs. Configured and not declared: who may change groups may not change this.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct TpmRules {
    pub site: TpmPolicy,
    pub groups: BTreeMap<GroupName, Override>,
}

impl TpmRules {
    /// What counts for a node. What its groups say comes before what the site says; of two groups the stricter
    /// one counts.
    #[must_use]
    pub fn of(&self, node: &Node) -> TpmPolicy {
        let of_groups = || node.groups.iter().filter_map(|name| self.groups.get(name));
        let strength = |mode: &Mode| match mode {
            Mode::Off => 0,
            Mode::Record => 1,
            Mode::Enforce => 2,
        };
        let TpmPolicy { enrol, require_certificate, pcr, tpm_first } = self.site;
        let certificate = of_groups().filter_map(|one| one.require_certificate).max();
        TpmPolicy {
            enrol: of_groups().filter_map(|one| one.enrol).max().unwrap_or(enrol),
            require_certificate: certificate.unwrap_or(require_certificate),
            pcr: of_groups().filter_map(|one| one.pcr).max_by_key(strength).unwrap_or(pcr),
            tpm_first: of_groups().filter_map(|one| one.tpm_first).max().unwrap_or(tpm_first),
        }
    }
}

/// Why a key is not let in.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnrolError {
    #[error("no TPM waits for approval: the node showed none yet, or the head was restored since")]
    Nothing,
    #[error("the code is another one: {0} waits; compare it with the node's console")]
    Code(String),
    #[error("another TPM is enrolled, {0}; an administrator has to enrol the node anew first")]
    Enrolled(String),
    #[error("its TPM is revoked; an administrator has to enrol the node anew first")]
    Revoked,
    #[error("this TPM is the one of {0}")]
    Taken(String),
    #[error("its group or site takes TPMs from a list alone (trust.enrol is preload)")]
    ListOnly,
    #[error(
        "the TPM's certificate does not lead to one of trust.ek_issuers ({0}), as trust.require_ek_cert asks"
    )]
    Certificate(String),
}

/// Who says it, and when.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    pub by: &'a str,
    pub at: Timestamp,
}

/// The approval of what waits for a node, by its code. None: it is enrolled already.
///
/// # Errors
/// It cannot be let in.
pub fn approve(
    inventory: &Inventory,
    node: &Node,
    pending: Option<&Pending>,
    code: &str,
    policy: TpmPolicy,
    word: Word<'_>,
) -> Result<Option<Change>, EnrolError> {
    if let Some(known) = enrolled(inventory, node.id)? {
        return if is_code(code, &known) { Ok(None) } else { Err(EnrolError::Enrolled(known.code())) };
    }
    let pending = pending.ok_or(EnrolError::Nothing)?;
    if !is_code(code, &pending.ek) {
        return Err(EnrolError::Code(pending.ek.code()));
    }
    if policy.enrol == Enrol::Preload {
        return Err(EnrolError::ListOnly);
    }
    let_in(inventory, node, pending, policy, (Enrolled::Approved, word)).map(Some)
}

/// What waits for a node whose group has its window open. `armed_by` anybody but this head or an operator is not
/// enough: a machine that took a node's address would be let in.
///
/// # Errors
/// It cannot be let in.
pub fn by_window(
    inventory: &Inventory,
    session: &BootSession,
    pending: &Pending,
    policy: TpmPolicy,
    word: Word<'_>,
) -> Result<Option<Change>, EnrolError> {
    let vouched = matches!(session.armed_by, ArmedBy::Power | ArmedBy::Operator);
    let node = inventory.nodes.get(&session.node);
    // What waits may be of a boot that nobody vouched for, and this one may show something else.
    let own = pending.session == session.id;
    let (Some(node), true, true, Enrol::Window) = (node, vouched, own, policy.enrol) else {
        return Ok(None);
    };
    if enrolled(inventory, node.id)?.is_some() {
        return Ok(None);
    }
    let_in(inventory, node, pending, policy, (Enrolled::Window, word)).map(Some)
}

fn let_in(
    inventory: &Inventory,
    node: &Node,
    pending: &Pending,
    policy: TpmPolicy,
    (how, word): (Enrolled, Word<'_>),
) -> Result<Change, EnrolError> {
    free(inventory, node.id, &pending.ek)?;
    if policy.require_certificate && pending.make.chain != "ok" {
        return Err(EnrolError::Certificate(pending.make.chain.clone()));
    }
    Ok(put(node.id, pending.ek, how, word))
}

/// A key from a list. None: it is enrolled already.
///
/// # Errors
/// It cannot be let in.
pub fn preload(
    inventory: &Inventory,
    node: &Node,
    ek: EkFingerprint,
    word: Word<'_>,
) -> Result<Option<Change>, EnrolError> {
    match enrolled(inventory, node.id)? {
        Some(known) if known == ek => Ok(None),
        Some(known) => Err(EnrolError::Enrolled(known.code())),
        None => {
            free(inventory, node.id, &ek)?;
            Ok(Some(put(node.id, ek, Enrolled::Listed, word)))
        }
    }
}

/// Forgets a node's key and its revocation. With `ek` that one is its key from now on; else it shows its own.
///
/// # Errors
/// The key is another node's.
pub fn anew(
    inventory: &Inventory,
    node: &Node,
    ek: Option<EkFingerprint>,
    word: Word<'_>,
) -> Result<Change, EnrolError> {
    match ek {
        None => Ok(Change::RemoveIdentity(node.id)),
        Some(ek) => {
            free(inventory, node.id, &ek)?;
            Ok(put(node.id, ek, Enrolled::Listed, word))
        }
    }
}

/// Takes a node's key from it. It stays known, so that no other node gets in with it. None: it is revoked already.
#[must_use]
pub fn revoke(inventory: &Inventory, node: &Node, word: Word<'_>) -> Option<Change> {
    let Word { by, at } = word;
    let (by, revoked) = (by.to_owned(), true);
    match inventory.identities.get(&node.id) {
        Some(known) if known.revoked => None,
        Some(known) => {
            Some(Change::PutIdentity(Arc::new(Identity { revoked, by, at, ..Identity::clone(known) })))
        }
        None => {
            let (how, ek) = (Enrolled::Listed, None);
            Some(Change::PutIdentity(Arc::new(Identity { node: node.id, ek, revoked, how, by, at })))
        }
    }
}

/// The key that is enrolled for a node.
fn enrolled(inventory: &Inventory, node: NodeId) -> Result<Option<EkFingerprint>, EnrolError> {
    match inventory.identities.get(&node) {
        Some(identity) if identity.revoked => Err(EnrolError::Revoked),
        Some(identity) => Ok(identity.ek),
        None => Ok(None),
    }
}

fn free(inventory: &Inventory, node: NodeId, ek: &EkFingerprint) -> Result<(), EnrolError> {
    match inventory.holder(ek).filter(|holder| *holder != node) {
        None => Ok(()),
        Some(holder) => {
            let name = inventory.nodes.get(&holder).map(|node| node.name.to_string());
            Err(EnrolError::Taken(name.unwrap_or_else(|| format!("node {}", holder.0))))
        }
    }
}

fn put(node: NodeId, ek: EkFingerprint, how: Enrolled, word: Word<'_>) -> Change {
    let Word { by, at } = word;
    Change::PutIdentity(Arc::new(Identity { node, ek: Some(ek), revoked: false, how, by: by.to_owned(), at }))
}

/// Whether a text is the code of a key, as people type it, or its fingerprint.
fn is_code(text: &str, ek: &EkFingerprint) -> bool {
    let letters = |text: &str| {
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|letter| letter.to_ascii_uppercase()).collect::<String>()
    };
    letters(text) == letters(&ek.code()) || text.parse() == Ok(*ek)
}

#[cfg(test)]
mod tests;
