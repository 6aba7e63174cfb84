//! Our JSON. Names are the field's; unknown fields are refused by name. Conversions are total and tested.

mod image;
pub mod record;
mod secret;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::problem::Problem;
use crate::model::{Arch, Bmc, BootPolicy, Group, Interface, Lease, Nid, Node, NodeId, Sighting, Snapshot};
pub use image::{
    FileBody, GarbageBody, ImageBody, ImageDiffBody, ImageTagBody, MoveTagBody, NewImageBody, RootBody,
    TagBeforeBody,
};
pub use secret::{
    HostFileBody, NewSecretBody, NewVersionBody, RevealedBody, SecretBody, SecretEnvBody, SecretFileBody,
    SecretVersionBody, WhatBody,
};
pub use target::{AssignBody, BootBody, ProfileBody, TargetBody, WhomBody};

/// A node. `effective_xname` is told; given back, it is not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeBody {
    pub name: String,
    #[serde(default)]
    pub xname: Option<String>,
    #[serde(default)]
    pub effective_xname: String,
    #[serde(default)]
    pub nid: Option<u32>,
    #[serde(default)]
    pub uuid: Option<String>,
    #[serde(default)]
    pub arch: Option<String>,
    #[serde(default)]
    pub role: Option<String>,
    #[serde(default)]
    pub groups: BTreeSet<String>,
    #[serde(default)]
    pub interfaces: Vec<InterfaceBody>,
    #[serde(default)]
    pub bmc: Option<String>,
    #[serde(default = "serve")]
    pub policy: String,
    #[serde(default)]
    pub loader: Option<String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterfaceBody {
    #[serde(default)]
    pub name: Option<String>,
    pub mac: String,
    #[serde(default)]
    pub addresses: Vec<Ipv4Addr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BmcBody {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub xname: Option<String>,
    #[serde(default)]
    pub mac: Option<String>,
    #[serde(default)]
    pub address: Option<Ipv4Addr>,
    #[serde(default)]
    pub fqdn: Option<String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A group. `members` is told; given back, it is not looked at: use the members route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupBody {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub priority: i32,
    #[serde(default)]
    pub loader: Option<String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub members: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseBody {
    pub address: Ipv4Addr,
    pub client: String,
    pub network: String,
    pub state: String,
    pub starts: String,
    pub expires: String,
    pub host_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SightingBody {
    pub mac: String,
    pub network: String,
    pub first: String,
    pub last: String,
    pub requests: u64,
    pub firmware: String,
    pub arch: Option<String>,
    pub vendor_class: Option<String>,
    pub uuid: Option<String>,
    pub circuit: Option<String>,
    pub host_name: Option<String>,
}

/// What changed, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportBody {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
    pub unchanged: usize,
    /// Which fields of each changed thing; only imports tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Vec<String>>,
    /// What the document says and muster cannot hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    pub dry_run: bool,
    /// The revision after the change.
    pub revision: u64,
}

fn serve() -> String {
    BootPolicy::Serve.as_str().to_owned()
}

/// Reads a field that has a text form of its own.
pub(crate) fn read<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::field(field, format!("{error}")))
}

fn read_some<T: FromStr<Err: Display>>(field: &str, text: Option<&String>) -> Result<Option<T>, Problem> {
    text.filter(|text| !text.is_empty()).map(|text| read(field, text)).transpose()
}

fn text(value: Option<&impl Display>) -> Option<String> {
    value.map(ToString::to_string)
}

impl From<&Node> for NodeBody {
    fn from(node: &Node) -> Self {
        NodeBody {
            name: node.name.to_string(),
            xname: text(node.xname.as_ref()),
            effective_xname: node.effective_xname().to_string(),
            nid: node.nid.map(|nid| nid.0),
            uuid: text(node.uuid.as_ref()),
            arch: node.arch.map(|arch| arch.as_str().to_owned()),
            role: node.role.clone(),
            groups: node.groups.iter().map(ToString::to_string).collect(),
            interfaces: node.interfaces.iter().map(InterfaceBody::from).collect(),
            bmc: text(node.bmc.as_ref()),
            policy: node.policy.as_str().to_owned(),
            loader: node.loader.clone(),
            annotations: node.annotations.clone(),
        }
    }
}

impl NodeBody {
    /// The node of this number that the body describes.
    ///
    /// # Errors
    /// Names the field whose value cannot be.
    pub fn node(self, id: NodeId) -> Result<Node, Problem> {
        let arch =
            |name: &String| Arch::from_name(name).ok_or_else(|| known("arch", name, &Arch::ALL.map(|a| a.1)));
        let policy = BootPolicy::from_name(&self.policy);
        Ok(Node {
            id,
            name: read("name", &self.name)?,
            xname: read_some("xname", self.xname.as_ref())?,
            nid: self.nid.map(Nid),
            uuid: read_some("uuid", self.uuid.as_ref())?,
            arch: self.arch.as_ref().map(arch).transpose()?,
            role: self.role.filter(|role| !role.is_empty()),
            groups: self.groups.iter().map(|group| read("groups", group)).collect::<Result<_, _>>()?,
            interfaces: self
                .interfaces
                .into_iter()
                .enumerate()
                .map(|(index, body)| {
                    let mac = read(&format!("interfaces[{index}].mac"), &body.mac)?;
                    Ok(Interface { name: body.name, mac, addresses: body.addresses })
                })
                .collect::<Result<_, Problem>>()?,
            bmc: read_some("bmc", self.bmc.as_ref())?,
            policy: policy.ok_or_else(|| known("policy", &self.policy, &BootPolicy::ALL.map(|p| p.1)))?,
            loader: self.loader.filter(|loader| !loader.is_empty()),
            annotations: self.annotations,
        })
    }
}

/// A word that is none of the known ones.
pub(crate) fn known(field: &str, word: &str, words: &[&str]) -> Problem {
    Problem::field(field, format!("{word:?} is none of {}", words.join(", ")))
}

impl From<&Interface> for InterfaceBody {
    fn from(interface: &Interface) -> Self {
        let Interface { name, mac, addresses } = interface;
        InterfaceBody { name: name.clone(), mac: mac.to_string(), addresses: addresses.clone() }
    }
}

impl From<&Bmc> for BmcBody {
    fn from(bmc: &Bmc) -> Self {
        let Bmc { name, xname, mac, address, fqdn, annotations } = bmc;
        BmcBody {
            name: name.to_string(),
            xname: text(xname.as_ref()),
            mac: text(mac.as_ref()),
            address: *address,
            fqdn: fqdn.clone(),
            annotations: annotations.clone(),
        }
    }
}

impl BmcBody {
    /// The BMC of this name that the body describes.
    ///
    /// # Errors
    /// Names the field whose value cannot be.
    pub fn bmc(self, name: &str) -> Result<Bmc, Problem> {
        Ok(Bmc {
            name: read("name", name)?,
            xname: read_some("xname", self.xname.as_ref())?,
            mac: read_some("mac", self.mac.as_ref())?,
            address: self.address,
            fqdn: self.fqdn,
            annotations: self.annotations,
        })
    }
}

impl GroupBody {
    /// The group with its members as they are in this snapshot.
    #[must_use]
    pub fn shown(snapshot: &Snapshot, group: &Group) -> GroupBody {
        let members = snapshot.members(&group.name).unwrap_or_default();
        let names = members.iter().filter_map(|id| snapshot.node(*id)).map(|node| node.name.to_string());
        GroupBody::of(group, names.collect())
    }

    #[must_use]
    pub fn of(group: &Group, members: Vec<String>) -> GroupBody {
        let Group { name, description, priority, loader, annotations } = group.clone();
        GroupBody { name: name.to_string(), description, priority, loader, annotations, members }
    }

    /// The group of this name that the body describes.
    ///
    /// # Errors
    /// The name cannot be.
    pub fn group(self, name: &str) -> Result<Group, Problem> {
        let GroupBody { name: _, description, priority, loader, annotations, members: _ } = self;
        Ok(Group { name: read("name", name)?, description, priority, loader, annotations })
    }
}

impl From<&Lease> for LeaseBody {
    fn from(lease: &Lease) -> Self {
        LeaseBody {
            address: lease.address,
            client: lease.key.to_string(),
            network: lease.network.to_string(),
            state: lease.state.as_str().to_owned(),
            starts: lease.starts.rfc3339(),
            expires: lease.expires.rfc3339(),
            host_name: lease.host_name.clone(),
        }
    }
}

impl From<&Sighting> for SightingBody {
    fn from(seen: &Sighting) -> Self {
        SightingBody {
            mac: seen.mac.to_string(),
            network: seen.network.to_string(),
            first: seen.first.rfc3339(),
            last: seen.last.rfc3339(),
            requests: seen.requests,
            firmware: seen.firmware.as_str().to_owned(),
            arch: seen.arch.map(|arch| arch.as_str().to_owned()),
            vendor_class: seen.vendor_class.clone(),
            uuid: text(seen.uuid.as_ref()),
            circuit: seen.circuit.clone(),
            host_name: seen.host_name.clone(),
        }
    }
}
