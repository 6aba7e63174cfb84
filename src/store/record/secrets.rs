//! The serde forms of secrets. Values are sealed before they come here; what is written is base64 of that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::model::secret::{Rotate, Scope, Sealed, Target, Version, What};
use crate::model::{NodeId, Secret, SecretKey};
use crate::store::record::declared::read;

#[derive(Serialize, Deserialize)]
pub struct SecretForm {
    name: String,
    scope: ScopeForm,
    min_level: String,
    what: WhatForm,
    rotate: String,
    versions: Vec<VersionForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ScopeForm {
    Node(u64),
    Group(String),
    Site,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhatForm {
    File { path: String, owner: String, group: String, mode: u16 },
    Env { file: String, name: String },
    SshHostKey,
    MungeKey,
    Opaque,
}

#[derive(Serialize, Deserialize)]
struct VersionForm {
    number: u64,
    created: u64,
    by: String,
    sealed: String,
}

impl From<&Secret> for SecretForm {
    fn from(secret: &Secret) -> Self {
        let Secret { key: SecretKey { name, scope }, min_level, what, rotate, versions } = secret;
        SecretForm {
            name: name.to_string(),
            scope: match scope {
                Scope::Node(id) => ScopeForm::Node(id.0),
                Scope::Group(group) => ScopeForm::Group(group.to_string()),
                Scope::Site => ScopeForm::Site,
            },
            min_level: min_level.to_string(),
            what: match what.clone() {
                What::File(Target { path, owner, group, mode }) => {
                    WhatForm::File { path, owner, group, mode }
                }
                What::Env { file, name } => WhatForm::Env { file, name },
                What::SshHostKey => WhatForm::SshHostKey,
                What::MungeKey => WhatForm::MungeKey,
                What::Opaque => WhatForm::Opaque,
            },
            rotate: rotate.as_str().to_owned(),
            versions: versions.iter().map(VersionForm::from).collect(),
        }
    }
}

impl From<&Version> for VersionForm {
    fn from(version: &Version) -> Self {
        let Version { number, created, by, sealed } = version;
        let sealed = STANDARD.encode(&sealed.0);
        VersionForm { number: *number, created: created.0, by: by.clone(), sealed }
    }
}

impl TryFrom<SecretForm> for Secret {
    type Error = String;

    fn try_from(form: SecretForm) -> Result<Self, String> {
        let SecretForm { name, scope, min_level, what, rotate, versions } = form;
        Ok(Secret {
            key: SecretKey {
                name: read("name", &name)?,
                scope: match scope {
                    ScopeForm::Node(id) => Scope::Node(NodeId(id)),
                    ScopeForm::Group(group) => Scope::Group(read("scope", &group)?),
                    ScopeForm::Site => Scope::Site,
                },
            },
            min_level: read("min_level", &min_level)?,
            what: match what {
                WhatForm::File { path, owner, group, mode } => {
                    What::File(Target { path, owner, group, mode })
                }
                WhatForm::Env { file, name } => What::Env { file, name },
                WhatForm::SshHostKey => What::SshHostKey,
                WhatForm::MungeKey => What::MungeKey,
                WhatForm::Opaque => What::Opaque,
            },
            rotate: Rotate::from_name(&rotate).ok_or_else(|| format!("rotate: {rotate:?}"))?,
            versions: versions.into_iter().map(Version::try_from).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<VersionForm> for Version {
    type Error = String;

    fn try_from(form: VersionForm) -> Result<Self, String> {
        let VersionForm { number, created, by, sealed } = form;
        let sealed = STANDARD.decode(sealed).map_err(|error| format!("versions: {error}"))?;
        Ok(Version { number, created: Timestamp(created), by, sealed: Sealed(sealed.into()) })
    }
}
