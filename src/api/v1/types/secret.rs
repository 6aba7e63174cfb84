//! Secrets in JSON. A value comes in, and goes out by `reveal` only.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::problem::Problem;
use crate::model::secret::{Scope, Target, Version, What};
use crate::model::{Inventory, Secret};

/// A secret without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretBody {
    /// By which paths name it: `munge`, `munge@group:compute`, `munge@node:nid001`.
    pub key: String,
    pub name: String,
    /// `site`, `group:NAME` or `node:NAME`.
    pub scope: String,
    /// `0` address, `1` boot grant, `2` TPM, `2p` TPM and what was booted.
    pub min_level: String,
    pub what: WhatBody,
    /// `next-boot`, `push` or `coordinated`.
    pub rotate: String,
    /// The number of the newest version; none: host keys that nodes get on demand.
    pub version: Option<u64>,
    /// When it was made, and by whom.
    pub updated: Option<String>,
    pub by: Option<String>,
}

/// What a secret is on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WhatBody {
    File(SecretFileBody),
    Env(SecretEnvBody),
    SshHostKey,
    MungeKey,
    #[default]
    Opaque,
}

/// Where a file is written, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretFileBody {
    pub path: String,
    #[serde(default = "root")]
    pub owner: String,
    #[serde(default = "root")]
    pub group: String,
    /// Octal; others than owner and group have none.
    #[serde(default = "owner_only")]
    pub mode: String,
}

/// The line `NAME=value` in a file of environment variables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretEnvBody {
    pub file: String,
    pub name: String,
}

/// A secret to be made or replaced. Without `value` and `generate` the versions that are there stay.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecretBody {
    #[serde(default = "granted")]
    pub min_level: String,
    #[serde(default)]
    pub what: WhatBody,
    /// `next-boot`, but for munge's key, which changes everywhere at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotate: Option<String>,
    /// In base64. One that is the current one already makes no new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Has the head make a value, if there is none.
    #[serde(default)]
    pub generate: bool,
}

/// A new value of a secret that is there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVersionBody {
    /// In base64; none: the head makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A version without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretVersionBody {
    pub number: u64,
    pub created: String,
    pub by: String,
}

/// A value, for those who may see it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RevealedBody {
    pub key: String,
    pub version: u64,
    /// In base64.
    pub value: String,
    /// What a node makes of its host keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<HostFileBody>,
}

/// A file of a node's host keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostFileBody {
    /// Below `/etc/ssh`.
    pub name: String,
    pub mode: String,
    pub content: String,
}

fn root() -> String {
    "root".to_owned()
}

fn owner_only() -> String {
    "0400".to_owned()
}

fn granted() -> String {
    "1".to_owned()
}

impl SecretBody {
    #[must_use]
    pub fn new(secret: &Secret, inventory: &Inventory) -> SecretBody {
        let Secret { key, min_level, what, rotate, versions: _ } = secret;
        let current = secret.current();
        let shown = key.shown(inventory);
        let scope = match &key.scope {
            Scope::Site => "site".to_owned(),
            Scope::Group(_) | Scope::Node(_) => {
                shown.split_once('@').map(|(_, scope)| scope.to_owned()).unwrap_or_default()
            }
        };
        SecretBody {
            key: shown,
            name: key.name.to_string(),
            scope,
            min_level: min_level.to_string(),
            what: what.into(),
            rotate: rotate.as_str().to_owned(),
            version: current.map(|version| version.number),
            updated: current.map(|version| version.created.rfc3339()),
            by: current.map(|version| version.by.clone()),
        }
    }
}

impl From<&What> for WhatBody {
    fn from(what: &What) -> Self {
        match what.clone() {
            What::File(Target { path, owner, group, mode }) => {
                WhatBody::File(SecretFileBody { path, owner, group, mode: format!("{mode:04o}") })
            }
            What::Env { file, name } => WhatBody::Env(SecretEnvBody { file, name }),
            What::SshHostKey => WhatBody::SshHostKey,
            What::MungeKey => WhatBody::MungeKey,
            What::Opaque => WhatBody::Opaque,
        }
    }
}

impl WhatBody {
    /// # Errors
    /// The mode is no octal number.
    pub fn what(self) -> Result<What, Problem> {
        Ok(match self {
            WhatBody::File(SecretFileBody { path, owner, group, mode }) => {
                let wrong = |_| Problem::field("what.file.mode", format!("{mode:?} is no octal number"));
                let mode = u16::from_str_radix(&mode, 8).map_err(wrong)?;
                What::File(Target { path, owner, group, mode })
            }
            WhatBody::Env(SecretEnvBody { file, name }) => What::Env { file, name },
            WhatBody::SshHostKey => What::SshHostKey,
            WhatBody::MungeKey => What::MungeKey,
            WhatBody::Opaque => What::Opaque,
        })
    }
}

impl From<&Version> for SecretVersionBody {
    fn from(version: &Version) -> Self {
        let Version { number, created, by, sealed: _ } = version;
        SecretVersionBody { number: *number, created: created.rfc3339(), by: by.clone() }
    }
}
