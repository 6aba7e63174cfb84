//! The JSON of nodes' TPMs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1::trust::SessionBody;
use crate::engine::attest::enrol::TpmPolicy;
use crate::model::identity::{Dossier, Held, Identity, Make, Pending};
use crate::model::secret::{Scope, What};
use crate::model::{Inventory, Node, SecretKey};
use crate::transport::dossiers::Window;

/// A node's TPM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TpmBody {
    pub node: String,
    /// `none`, `pending`, `enrolled` or `revoked`.
    pub state: String,
    /// SHA-256 of the endorsement key's SubjectPublicKeyInfo, base 16: of the enrolled one, or of the one that
    /// waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek: Option<String>,
    /// Its first 80 bits, as the node prints them on its console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How it was let in: `approved`, `listed` or `window`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// RFC 3339: when it was let in or revoked, or first shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// By the TPM's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// By its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manufacturer: Option<String>,
    /// `ok`: its certificate leads to one of `trust.ek_issuers`; `unknown`; `none`; or what is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek_chain: Option<String>,
    /// Where a TPM that waits was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its last attestation, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attested: Option<String>,
    /// The level that it reached then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// What did not fit then, and was noted.
    pub findings: Vec<String>,
    /// Something that somebody should look at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// What counts for this node: `approve`, `preload` or `window`.
    pub enrol: String,
    /// `off`, `record` or `enforce`.
    pub pcr: String,
}

/// What is told of a node's TPM.
pub(crate) struct Told<'a> {
    pub(crate) identity: Option<&'a Identity>,
    pub(crate) pending: Option<Pending>,
    pub(crate) dossier: Dossier,
    pub(crate) policy: TpmPolicy,
}

impl TpmBody {
    pub(crate) fn new(node: &Node, told: Told<'_>) -> TpmBody {
        let Told { identity, pending, dossier, policy } = told;
        let state = match (identity, &pending) {
            (Some(identity), _) if identity.revoked => "revoked",
            (Some(_), _) => "enrolled",
            (None, Some(_)) => "pending",
            (None, None) => "none",
        };
        let ek = identity.and_then(|one| one.ek).or_else(|| pending.as_ref().map(|one| one.ek));
        let at = identity.map(|one| one.at).or_else(|| pending.as_ref().map(|one| one.first));
        let make = pending.as_ref().map(|one| one.make.clone()).or(dossier.make);
        let Make { vendor, firmware, manufacturer, chain } = make.unwrap_or_default();
        let said = |text: String| Some(text).filter(|text| !text.is_empty());
        TpmBody {
            node: node.name.to_string(),
            state: state.to_owned(),
            ek: ek.map(|ek| ek.to_string()),
            code: ek.map(|ek| ek.code()),
            how: identity.filter(|one| one.ek.is_some()).map(|one| one.how.as_str().to_owned()),
            by: identity.map(|one| one.by.clone()),
            at: at.map(|at| at.rfc3339()),
            vendor: said(vendor),
            firmware: said(firmware),
            manufacturer,
            ek_chain: said(chain),
            address: pending.and_then(|one| one.from).map(|from| from.to_string()),
            attested: dossier.last.as_ref().map(|last| last.at.rfc3339()),
            level: dossier.last.as_ref().map(|last| last.level.to_string()),
            findings: dossier.last.map(|last| last.findings).unwrap_or_default(),
            flag: dossier.flag.map(|flag| format!("{}: {}", flag.at.rfc3339(), flag.text)),
            enrol: policy.enrol.as_str().to_owned(),
            pcr: policy.pcr.as_str().to_owned(),
        }
    }
}

/// TPMs to let in, each by the code that somebody compared with the node's console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveBody {
    pub tpms: Vec<CodeBody>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CodeBody {
    pub node: String,
    /// The code, or the whole fingerprint.
    pub code: String,
}

/// Keys of nodes, known before these boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PreloadBody {
    pub tpms: Vec<ListedBody>,
}

/// One of them: a fingerprint or a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListedBody {
    pub node: String,
    /// SHA-256 of the SubjectPublicKeyInfo, base 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek: Option<String>,
    /// Of the endorsement key, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// A node's new key; without one it shows its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolAnewBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ek: Option<String>,
}

/// A value of a secret that a node had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldBody {
    /// As `muster secret` calls it.
    pub secret: String,
    pub version: u64,
    /// When the node got it first, RFC 3339.
    pub at: String,
    /// `site`, `group` or `node`: who else has it. None: the secret is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// It is in use: whoever has it can use it.
    pub current: bool,
    /// The head can make a new value by itself.
    pub generated: bool,
}

impl HeldBody {
    pub(crate) fn new(held: &Held, key: Option<&SecretKey>, inventory: &Inventory) -> HeldBody {
        let secret = key.and_then(|key| inventory.secrets.get(key));
        let scope = secret.map(|secret| match secret.key.scope {
            Scope::Site => "site",
            Scope::Group(_) => "group",
            Scope::Node(_) => "node",
        });
        let newest = secret.and_then(|secret| secret.current());
        HeldBody {
            secret: key.map_or_else(|| held.secret.clone(), |key| key.shown(inventory)),
            version: held.version,
            at: held.at.rfc3339(),
            scope: scope.map(str::to_owned),
            current: newest.is_some_and(|newest| newest.number == held.version),
            generated: secret.is_some_and(|one| matches!(one.what, What::MungeKey | What::SshHostKey)),
        }
    }
}

/// A node that is revoked, and what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevokedBody {
    pub tpm: TpmBody,
    /// Boot sessions that were ended by it.
    pub ended: Vec<SessionBody>,
    /// Values of secrets that the node had, the oldest first.
    pub held: Vec<HeldBody>,
}

/// How long a window is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenWindowBody {
    pub minutes: u32,
}

/// A group whose TPMs are let in for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WindowBody {
    pub group: String,
    /// RFC 3339.
    pub until: String,
    pub by: String,
}

impl From<&Window> for WindowBody {
    fn from(window: &Window) -> WindowBody {
        let Window { group, until, by } = window;
        WindowBody { group: group.to_string(), until: until.rfc3339(), by: by.clone() }
    }
}
