//! The serde forms of nodes' TPMs: what is declared of them, and what the head saw of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::base::{Digest, Level, Timestamp};
use crate::model::identity::{Attested, Dossier, Enrolled, Flag, Held, Identity, Make, Pending, TpmStart};
use crate::model::{NodeId, SessionId};
use crate::store::record::declared::{read, read_some, text};

#[derive(Serialize, Deserialize)]
pub struct IdentityForm {
    node: u64,
    ek: Option<String>,
    revoked: bool,
    how: String,
    by: String,
    at: u64,
}

#[derive(Serialize, Deserialize)]
pub struct DossierForm {
    node: u64,
    pending: Option<PendingForm>,
    make: Option<MakeForm>,
    start: Option<StartForm>,
    pinned: BTreeMap<u8, String>,
    last: Option<AttestedForm>,
    flag: Option<FlagForm>,
    held: Vec<HeldForm>,
}

#[derive(Serialize, Deserialize)]
struct PendingForm {
    ek: String,
    make: MakeForm,
    first: u64,
    last: u64,
    from: Option<Ipv4Addr>,
    session: String,
    epoch: u64,
    others: u32,
}

#[derive(Serialize, Deserialize)]
struct MakeForm {
    vendor: String,
    firmware: String,
    manufacturer: Option<String>,
    chain: String,
}

#[derive(Serialize, Deserialize)]
struct StartForm {
    ek: String,
    count: u32,
    session: String,
}

#[derive(Serialize, Deserialize)]
struct AttestedForm {
    at: u64,
    level: String,
    findings: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct FlagForm {
    at: u64,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct HeldForm {
    secret: String,
    version: u64,
    at: u64,
}

impl From<&Identity> for IdentityForm {
    fn from(identity: &Identity) -> Self {
        let Identity { node, ek, revoked, how, by, at } = identity;
        let (how, by) = (how.as_str().to_owned(), by.clone());
        IdentityForm { node: node.0, ek: text(ek.as_ref()), revoked: *revoked, how, by, at: at.0 }
    }
}

impl TryFrom<IdentityForm> for Identity {
    type Error = String;

    fn try_from(form: IdentityForm) -> Result<Self, String> {
        let IdentityForm { node, ek, revoked, how, by, at } = form;
        let known = Enrolled::ALL.into_iter().find(|known| known.as_str() == how);
        Ok(Identity {
            node: NodeId(node),
            ek: read_some("ek", ek.as_ref())?,
            revoked,
            how: known.ok_or_else(|| format!("how: {how:?}"))?,
            by,
            at: Timestamp(at),
        })
    }
}

impl From<&Dossier> for DossierForm {
    fn from(dossier: &Dossier) -> Self {
        let Dossier { node, pending, make, start, pinned, last, flag, held } = dossier;
        DossierForm {
            node: node.0,
            pending: pending.as_ref().map(PendingForm::from),
            make: make.as_ref().map(MakeForm::from),
            start: start.map(|TpmStart { ek, count, session }| StartForm {
                ek: ek.to_string(),
                count,
                session: session.to_string(),
            }),
            pinned: pinned.iter().map(|(pcr, digest)| (*pcr, digest.hex())).collect(),
            last: last.as_ref().map(|Attested { at, level, findings }| AttestedForm {
                at: at.0,
                level: level.to_string(),
                findings: findings.clone(),
            }),
            flag: flag.as_ref().map(|Flag { at, text }| FlagForm { at: at.0, text: text.clone() }),
            held: held
                .iter()
                .map(|Held { secret, version, at }| HeldForm {
                    secret: secret.clone(),
                    version: *version,
                    at: at.0,
                })
                .collect(),
        }
    }
}

impl TryFrom<DossierForm> for Dossier {
    type Error = String;

    fn try_from(form: DossierForm) -> Result<Self, String> {
        let DossierForm { node, pending, make, start, pinned, last, flag, held } = form;
        let start = start.map(|StartForm { ek, count, session }| {
            Ok::<_, String>(TpmStart {
                ek: read("start.ek", &ek)?,
                count,
                session: read::<SessionId>("start.session", &session)?,
            })
        });
        let last = last.map(|AttestedForm { at, level, findings }| {
            Ok::<_, String>(Attested {
                at: Timestamp(at),
                level: read::<Level>("last.level", &level)?,
                findings,
            })
        });
        let pinned = pinned.iter().map(|(pcr, digest)| Ok((*pcr, read::<Digest>("pinned", digest)?)));
        let held = held.into_iter().map(|HeldForm { secret, version, at }| Held {
            secret,
            version,
            at: Timestamp(at),
        });
        Ok(Dossier {
            node: NodeId(node),
            pending: pending.map(Pending::try_from).transpose()?,
            make: make.map(Make::from),
            start: start.transpose()?,
            pinned: pinned.collect::<Result<_, String>>()?,
            last: last.transpose()?,
            flag: flag.map(|FlagForm { at, text }| Flag { at: Timestamp(at), text }),
            held: held.collect(),
        })
    }
}

impl From<&Pending> for PendingForm {
    fn from(pending: &Pending) -> Self {
        let Pending { ek, make, first, last, from, session, epoch, others } = pending;
        PendingForm {
            ek: ek.to_string(),
            make: MakeForm::from(make),
            first: first.0,
            last: last.0,
            from: *from,
            session: session.to_string(),
            epoch: *epoch,
            others: *others,
        }
    }
}

impl TryFrom<PendingForm> for Pending {
    type Error = String;

    fn try_from(form: PendingForm) -> Result<Self, String> {
        let PendingForm { ek, make, first, last, from, session, epoch, others } = form;
        Ok(Pending {
            ek: read("pending.ek", &ek)?,
            make: make.into(),
            first: Timestamp(first),
            last: Timestamp(last),
            from,
            session: read("pending.session", &session)?,
            epoch,
            others,
        })
    }
}

impl From<&Make> for MakeForm {
    fn from(make: &Make) -> Self {
        let Make { vendor, firmware, manufacturer, chain } = make.clone();
        MakeForm { vendor, firmware, manufacturer, chain }
    }
}

impl From<MakeForm> for Make {
    fn from(form: MakeForm) -> Self {
        let MakeForm { vendor, firmware, manufacturer, chain } = form;
        Make { vendor, firmware, manufacturer, chain }
    }
}
