//! The serde forms of declared state and their conversions, field by field. Conversions destructure in full, so that
//! a new field of the model is an error here until it is stored.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::profile::Boot;
use crate::model::{
    Arch, Assignment, Bmc, BootPolicy, BootTarget, Document, DocumentKey, Group, Interface, Nid, Node,
    NodeId, Profile, Selector,
};

type Annotations = BTreeMap<String, String>;

#[derive(Serialize, Deserialize)]
pub struct NodeForm {
    id: u64,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    interfaces: Vec<InterfaceForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bmc: Option<String>,
    policy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    loader: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: Annotations,
}

#[derive(Serialize, Deserialize)]
pub struct InterfaceForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    mac: String,
    addresses: Vec<std::net::Ipv4Addr>,
}

#[derive(Serialize, Deserialize)]
pub struct BmcForm {
    name: String,
    xname: Option<String>,
    mac: Option<String>,
    address: Option<std::net::Ipv4Addr>,
    fqdn: Option<String>,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Serialize, Deserialize)]
pub struct GroupForm {
    name: String,
    description: String,
    priority: i32,
    loader: Option<String>,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Serialize, Deserialize)]
pub struct ProfileForm {
    name: String,
    description: String,
    target: TargetForm,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TargetForm {
    Linux { kernel: String, initrds: Vec<String>, params: String },
    Image { image: String, params: String },
    Script(String),
    Chain(String),
    LocalDisk,
}

#[derive(Serialize, Deserialize)]
pub struct AssignmentForm {
    selector: SelectorForm,
    once: bool,
    boot: BootForm,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SelectorForm {
    Mac(String),
    Node(u64),
    Group(String),
    Role(String),
    Default,
    Xname(String),
    Nid(u32),
    Unknown(Option<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BootForm {
    Profile(String),
    Target(TargetForm),
}

/// Reads a field whose text form is the model's own.
pub(crate) fn read<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{field}: {error}"))
}

pub(crate) fn read_some<T: FromStr<Err: Display>>(
    field: &str,
    text: Option<&String>,
) -> Result<Option<T>, String> {
    text.map(|text| read(field, text)).transpose()
}

pub(crate) fn read_arch(text: Option<&String>) -> Result<Option<Arch>, String> {
    text.map(|text| Arch::from_name(text).ok_or_else(|| format!("arch: {text:?}"))).transpose()
}

pub(crate) fn text(value: Option<&impl Display>) -> Option<String> {
    value.map(ToString::to_string)
}

impl From<&Node> for NodeForm {
    fn from(node: &Node) -> Self {
        let Node {
            id,
            name,
            xname,
            nid,
            uuid,
            arch,
            role,
            groups,
            interfaces,
            bmc,
            policy,
            loader,
            annotations,
        } = node;
        NodeForm {
            id: id.0,
            name: name.to_string(),
            xname: text(xname.as_ref()),
            nid: nid.map(|nid| nid.0),
            uuid: text(uuid.as_ref()),
            arch: arch.map(|arch| arch.as_str().to_owned()),
            role: role.clone(),
            groups: groups.iter().map(ToString::to_string).collect(),
            interfaces: interfaces.iter().map(InterfaceForm::from).collect(),
            bmc: text(bmc.as_ref()),
            policy: policy.as_str().to_owned(),
            loader: loader.clone(),
            annotations: annotations.clone(),
        }
    }
}

impl TryFrom<NodeForm> for Node {
    type Error = String;

    fn try_from(form: NodeForm) -> Result<Self, String> {
        Ok(Node {
            id: NodeId(form.id),
            name: read("name", &form.name)?,
            xname: read_some("xname", form.xname.as_ref())?,
            nid: form.nid.map(Nid),
            uuid: read_some("uuid", form.uuid.as_ref())?,
            arch: read_arch(form.arch.as_ref())?,
            role: form.role,
            groups: form.groups.iter().map(|group| read("groups", group)).collect::<Result<_, _>>()?,
            interfaces: form.interfaces.into_iter().map(Interface::try_from).collect::<Result<_, _>>()?,
            bmc: read_some("bmc", form.bmc.as_ref())?,
            policy: BootPolicy::from_name(&form.policy)
                .ok_or_else(|| format!("policy: {:?}", form.policy))?,
            loader: form.loader,
            annotations: form.annotations,
        })
    }
}

impl From<&Interface> for InterfaceForm {
    fn from(interface: &Interface) -> Self {
        let Interface { name, mac, addresses } = interface;
        InterfaceForm { name: name.clone(), mac: mac.to_string(), addresses: addresses.clone() }
    }
}

impl TryFrom<InterfaceForm> for Interface {
    type Error = String;

    fn try_from(form: InterfaceForm) -> Result<Self, String> {
        Ok(Interface { name: form.name, mac: read("mac", &form.mac)?, addresses: form.addresses })
    }
}

impl From<&Bmc> for BmcForm {
    fn from(bmc: &Bmc) -> Self {
        let Bmc { name, xname, mac, address, fqdn, annotations } = bmc;
        BmcForm {
            name: name.to_string(),
            xname: text(xname.as_ref()),
            mac: text(mac.as_ref()),
            address: *address,
            fqdn: fqdn.clone(),
            annotations: annotations.clone(),
        }
    }
}

impl TryFrom<BmcForm> for Bmc {
    type Error = String;

    fn try_from(form: BmcForm) -> Result<Self, String> {
        Ok(Bmc {
            name: read("name", &form.name)?,
            xname: read_some("xname", form.xname.as_ref())?,
            mac: read_some("mac", form.mac.as_ref())?,
            address: form.address,
            fqdn: form.fqdn,
            annotations: form.annotations,
        })
    }
}

impl From<&Group> for GroupForm {
    fn from(group: &Group) -> Self {
        let Group { name, description, priority, loader, annotations } = group;
        GroupForm {
            name: name.to_string(),
            description: description.clone(),
            priority: *priority,
            loader: loader.clone(),
            annotations: annotations.clone(),
        }
    }
}

impl TryFrom<GroupForm> for Group {
    type Error = String;

    fn try_from(form: GroupForm) -> Result<Self, String> {
        let GroupForm { name, description, priority, loader, annotations } = form;
        Ok(Group { name: read("name", &name)?, description, priority, loader, annotations })
    }
}

impl From<&BootTarget> for TargetForm {
    fn from(target: &BootTarget) -> Self {
        match target.clone() {
            BootTarget::Linux { kernel, initrds, params } => TargetForm::Linux { kernel, initrds, params },
            BootTarget::Image { image, params } => TargetForm::Image { image: image.to_string(), params },
            BootTarget::Script(script) => TargetForm::Script(script),
            BootTarget::Chain(url) => TargetForm::Chain(url),
            BootTarget::LocalDisk => TargetForm::LocalDisk,
        }
    }
}

impl TryFrom<TargetForm> for BootTarget {
    type Error = String;

    fn try_from(form: TargetForm) -> Result<Self, String> {
        Ok(match form {
            TargetForm::Linux { kernel, initrds, params } => BootTarget::Linux { kernel, initrds, params },
            TargetForm::Image { image, params } => {
                BootTarget::Image { image: read("image", &image)?, params }
            }
            TargetForm::Script(script) => BootTarget::Script(script),
            TargetForm::Chain(url) => BootTarget::Chain(url),
            TargetForm::LocalDisk => BootTarget::LocalDisk,
        })
    }
}

impl From<&Profile> for ProfileForm {
    fn from(profile: &Profile) -> Self {
        let Profile { name, description, target } = profile;
        ProfileForm { name: name.to_string(), description: description.clone(), target: target.into() }
    }
}

impl TryFrom<ProfileForm> for Profile {
    type Error = String;

    fn try_from(form: ProfileForm) -> Result<Self, String> {
        let ProfileForm { name, description, target } = form;
        Ok(Profile { name: read("name", &name)?, description, target: target.try_into()? })
    }
}

impl From<&Assignment> for AssignmentForm {
    fn from(assignment: &Assignment) -> Self {
        let Assignment { selector, once, boot } = assignment;
        let selector = match selector {
            Selector::Mac(mac) => SelectorForm::Mac(mac.to_string()),
            Selector::Node(id) => SelectorForm::Node(id.0),
            Selector::Group(group) => SelectorForm::Group(group.to_string()),
            Selector::Role(role) => SelectorForm::Role(role.clone()),
            Selector::Default => SelectorForm::Default,
            Selector::Xname(xname) => SelectorForm::Xname(xname.to_string()),
            Selector::Nid(nid) => SelectorForm::Nid(nid.0),
            Selector::Unknown(arch) => SelectorForm::Unknown(arch.map(|arch| arch.as_str().to_owned())),
        };
        let boot = match boot {
            Boot::Profile(profile) => BootForm::Profile(profile.to_string()),
            Boot::Target(target) => BootForm::Target(target.into()),
        };
        AssignmentForm { selector, once: *once, boot }
    }
}

impl TryFrom<AssignmentForm> for Assignment {
    type Error = String;

    fn try_from(form: AssignmentForm) -> Result<Self, String> {
        let selector = match form.selector {
            SelectorForm::Mac(mac) => Selector::Mac(read("mac", &mac)?),
            SelectorForm::Node(id) => Selector::Node(NodeId(id)),
            SelectorForm::Group(group) => Selector::Group(read("group", &group)?),
            SelectorForm::Role(role) => Selector::Role(role),
            SelectorForm::Default => Selector::Default,
            SelectorForm::Xname(xname) => Selector::Xname(read("xname", &xname)?),
            SelectorForm::Nid(nid) => Selector::Nid(Nid(nid)),
            SelectorForm::Unknown(arch) => Selector::Unknown(read_arch(arch.as_ref())?),
        };
        let boot = match form.boot {
            BootForm::Profile(profile) => Boot::Profile(read("profile", &profile)?),
            BootForm::Target(target) => Boot::Target(target.try_into()?),
        };
        Ok(Assignment { selector, once: form.once, boot })
    }
}

#[derive(Serialize, Deserialize)]
pub struct DocumentForm {
    shelf: String,
    id: String,
    body: String,
}

impl From<&Document> for DocumentForm {
    fn from(document: &Document) -> Self {
        let Document { key: DocumentKey { shelf, id }, body } = document;
        DocumentForm { shelf: shelf.to_string(), id: id.to_string(), body: body.clone() }
    }
}

impl TryFrom<DocumentForm> for Document {
    type Error = String;

    fn try_from(form: DocumentForm) -> Result<Self, String> {
        let DocumentForm { shelf, id, body } = form;
        Ok(Document { key: DocumentKey::new(&shelf, &id), body })
    }
}
