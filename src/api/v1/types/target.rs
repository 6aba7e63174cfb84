//! JSON of boot targets, profiles and assignments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::problem::Problem;
use crate::api::v1::types::read;
use crate::engine::boot::Program;
use crate::model::profile::Boot;
use crate::model::{BootTarget, Profile};
use crate::wire::ipxe;

/// What to boot: one of `image` (with `params`), `kernel` (with `initrds` and `params`), `script`, `chain`, `local`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetBody {
    /// `NAME:TAG`, or `NAME@sha256:VERSION` to stay with a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub initrds: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub params: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProfileBody {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub target: TargetBody,
}

/// Whom an assignment is for: exactly one. A node set becomes one assignment for each node; a set that is
/// one whole group, written `@group`, becomes one for the group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WhomBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
}

/// `PUT /boot`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignBody {
    pub whom: WhomBody,
    #[serde(default)]
    pub once: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetBody>,
}

/// What one node boots now, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BootBody {
    pub node: String,
    /// `boot`, `hold` or `refuse`.
    pub outcome: String,
    pub rule: String,
    /// How the image is named that is booted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub image: Option<String>,
    /// Which version of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub target: Option<TargetBody>,
}

impl From<&BootTarget> for TargetBody {
    fn from(target: &BootTarget) -> Self {
        let empty = TargetBody::default();
        match target.clone() {
            BootTarget::Linux { kernel, initrds, params } => {
                TargetBody { kernel: Some(kernel), initrds, params, ..empty }
            }
            BootTarget::Image { image, params } => {
                TargetBody { image: Some(image.to_string()), params, ..empty }
            }
            BootTarget::Script(script) => TargetBody { script: Some(script), ..empty },
            BootTarget::Chain(url) => TargetBody { chain: Some(url), ..empty },
            BootTarget::LocalDisk => TargetBody { local: true, ..empty },
        }
    }
}

impl From<&Program> for TargetBody {
    fn from(program: &Program) -> Self {
        let empty = TargetBody::default();
        match program.clone() {
            Program::Linux { kernel, initrds, params } => {
                TargetBody { kernel: Some(kernel), initrds, params, ..empty }
            }
            Program::Script(script) => TargetBody { script: Some(script), ..empty },
            Program::Chain(url) => TargetBody { chain: Some(url), ..empty },
            Program::LocalDisk => TargetBody { local: true, ..empty },
        }
    }
}

impl TargetBody {
    /// The boot target that the body describes.
    ///
    /// # Errors
    /// Not exactly one kind is given, or iPXE could not carry the text.
    pub fn target(self) -> Result<BootTarget, Problem> {
        let TargetBody { image, kernel, initrds, params, script, chain, local } = self;
        for text in kernel.iter().chain(&initrds).chain([&params]).chain(chain.iter()) {
            ipxe::check(text).map_err(|error| Problem::field("target", error.to_string()))?;
        }
        if kernel.is_none() && !(initrds.is_empty() && (params.is_empty() || image.is_some())) {
            return Err(Problem::field("target.kernel", "is needed beside initrds and params"));
        }
        let image = image.map(|image| read("target.image", &image)).transpose()?;
        let image = image.map(|image| BootTarget::Image { image, params: params.clone() });
        let linux = kernel.map(|kernel| BootTarget::Linux { kernel, initrds, params });
        let local = local.then_some(BootTarget::LocalDisk);
        let mut given = [image, linux, script.map(BootTarget::Script), chain.map(BootTarget::Chain), local]
            .into_iter()
            .flatten();
        match (given.next(), given.next()) {
            (Some(target), None) => Ok(target),
            _ => Err(Problem::field("target", "give exactly one of image, kernel, script, chain, local")),
        }
    }
}

impl From<&Profile> for ProfileBody {
    fn from(profile: &Profile) -> Self {
        let Profile { name, description, target } = profile;
        ProfileBody { name: name.to_string(), description: description.clone(), target: target.into() }
    }
}

impl AssignBody {
    /// What is assigned.
    ///
    /// # Errors
    /// Not exactly one of profile and target is given, or it is malformed.
    pub fn boot(profile: Option<String>, target: Option<TargetBody>) -> Result<Boot, Problem> {
        match (profile, target) {
            (Some(profile), None) => Ok(Boot::Profile(read("profile", &profile)?)),
            (None, Some(target)) => Ok(Boot::Target(target.target()?)),
            _ => Err(Problem::field("profile", "give exactly one of profile and target")),
        }
    }
}
