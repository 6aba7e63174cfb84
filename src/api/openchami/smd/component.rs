//! Components as SMD shows them, and where they stand here: nodes and BMCs of the inventory, documents for all
//! other hardware.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::openchami::draft::{self, Draft};
use crate::api::openchami::smd::endpoint;
use crate::api::problem::Problem;
use crate::base::xname::kind::is_controller;
use crate::base::{NodeName, Xname};
use crate::model::profile::AssignmentKey;
use crate::model::{Arch, Assignment, Bmc, Change, Inventory, Nid, Node, NodeId, Selector, Snapshot};

/// Where components live that are neither nodes nor BMCs.
pub(crate) const SHELF: &str = "smd.component";

/// The annotation of nodes and BMCs in which the fields lie that our model has no place for.
pub(crate) const NOTE: &str = "smd.component";

/// The annotation of nodes that bear a name we made up.
const MADE_UP: &str = "smd.made-up-name";

/// The name follows the node's number.
const BY_NUMBER: &str = "number";

/// Discovery told the name; it stays when the number changes.
const BY_DISCOVERY: &str = "discovery";

/// The annotation of nodes that some client calls by the xname of their BMC.
const CALLED_BY_BMC: &str = "smd.called-by-bmc";

/// The content of an annotation that says: deleted in SMD's eyes, though the thing itself is still there.
pub(crate) const GONE: &str = "null";

/// Keys of the JSON form, for bodies in any case.
pub(crate) const KEYS: [&str; 24] = [
    "ID",
    "Type",
    "State",
    "Flag",
    "Enabled",
    "SoftwareStatus",
    "Role",
    "SubRole",
    "NID",
    "Subtype",
    "NetType",
    "Arch",
    "Class",
    "ReservationDisabled",
    "Locked",
    "Components",
    "Component",
    "Force",
    "ComponentIDs",
    "ExtendedInfo",
    "NIDRanges",
    "Partition",
    "Group",
    "Message",
];

/// One piece of hardware. Field for field SMD's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Component {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(rename = "State", skip_serializing_if = "String::is_empty")]
    pub(crate) state: String,
    #[serde(rename = "Flag", skip_serializing_if = "String::is_empty")]
    pub(crate) flag: String,
    #[serde(rename = "Enabled", skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    #[serde(rename = "SoftwareStatus", skip_serializing_if = "String::is_empty")]
    pub(crate) software_status: String,
    #[serde(rename = "Role", skip_serializing_if = "String::is_empty")]
    pub(crate) role: String,
    #[serde(rename = "SubRole", skip_serializing_if = "String::is_empty")]
    pub(crate) sub_role: String,
    #[serde(rename = "NID", skip_serializing_if = "Option::is_none", deserialize_with = "number")]
    pub(crate) nid: Option<u32>,
    #[serde(rename = "Subtype", skip_serializing_if = "String::is_empty")]
    pub(crate) subtype: String,
    #[serde(rename = "NetType", skip_serializing_if = "String::is_empty")]
    pub(crate) net_type: String,
    #[serde(rename = "Arch", skip_serializing_if = "String::is_empty")]
    pub(crate) arch: String,
    #[serde(rename = "Class", skip_serializing_if = "String::is_empty")]
    pub(crate) class: String,
    #[serde(rename = "ReservationDisabled", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reservation_disabled: bool,
    #[serde(rename = "Locked", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) locked: bool,
}

/// SMD takes NIDs as numbers and as texts; an empty text is none.
pub(crate) fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    use serde::de::Error;
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) if text.is_empty() => Ok(None),
        serde_json::Value::String(text) => {
            text.parse().map(Some).map_err(|_| D::Error::custom("NID is no number"))
        }
        value => serde_json::from_value(value).map(Some).map_err(|_| D::Error::custom("NID is no number")),
    }
}

/// The component of a node; None if it was deleted in SMD's eyes.
pub(crate) fn of_node(node: &Node) -> Option<Component> {
    let kept = note(&node.annotations)?;
    let arch = match node.arch {
        Some(Arch::X86_64 | Arch::X86) => "X86",
        Some(Arch::Arm64 | Arch::Arm32) => "ARM",
        Some(Arch::RiscV64 | Arch::LoongArch64) => "Other",
        None => "",
    };
    Some(Component {
        id: node.effective_xname().to_string(),
        kind: "Node".to_owned(),
        role: node.role.clone().unwrap_or_else(|| "Compute".to_owned()),
        nid: node.nid.map(|nid| nid.0).or(kept.nid),
        arch: if kept.arch.is_empty() { arch.to_owned() } else { kept.arch.clone() },
        ..kept
    })
}

/// The component of a BMC; None if it was deleted in SMD's eyes.
pub(crate) fn of_bmc(bmc: &Bmc, xname: &Xname) -> Option<Component> {
    let kept = note(&bmc.annotations)?;
    let kind = if kept.kind.is_empty() { xname.kind().unwrap_or("NodeBMC").to_owned() } else { kept.kind };
    Some(Component { id: xname.to_string(), kind, ..kept })
}

/// What is kept about something; what was declared here and never seen by SMD is there, and nothing is known
/// about its power.
fn note(annotations: &BTreeMap<String, String>) -> Option<Component> {
    let fresh = || Component {
        state: "Populated".to_owned(),
        flag: "OK".to_owned(),
        enabled: Some(true),
        ..Component::default()
    };
    match annotations.get(NOTE) {
        None => Some(fresh()),
        Some(text) => serde_json::from_str(text).ok()?,
    }
}

/// All components, by xname.
pub(crate) fn all(inventory: &Inventory) -> BTreeMap<Xname, Component> {
    let mut all = BTreeMap::new();
    for (id, component) in draft::shelf::<Component>(inventory, SHELF) {
        all.extend(id.parse().map(|xname: Xname| (xname, component)));
    }
    let names = draft::bmc_xnames(inventory);
    for (name, xname) in names {
        let component = inventory.bmcs.get(&name).and_then(|bmc| of_bmc(bmc, &xname));
        all.extend(component.map(|component| (xname, component)));
    }
    let nodes = inventory.nodes.values();
    all.extend(nodes.filter_map(|node| Some((node.effective_xname(), of_node(node)?))));
    all
}

/// One component of a snapshot.
pub(crate) fn one(snapshot: &Snapshot, xname: &Xname) -> Option<Component> {
    if let Some(node) = snapshot.by_xname(xname) {
        return of_node(node);
    }
    if let Some(document) = snapshot.inventory.document(SHELF, xname.as_str()) {
        return draft::read(document);
    }
    let names = draft::bmc_xnames(&snapshot.inventory);
    let (name, _) = names.into_iter().find(|(_, own)| own == xname)?;
    of_bmc(snapshot.inventory.bmcs.get(&name)?, xname)
}

/// One component of a draft.
pub(crate) fn find(draft: &Draft<'_>, xname: &Xname) -> Option<Component> {
    if let Some(node) = draft.node(xname) {
        return of_node(&node);
    }
    if let Some(bmc) = draft.bmc(xname) {
        return of_bmc(&bmc, xname);
    }
    draft.document(SHELF, xname.as_str())
}

/// Writes a component to where it belongs; makes the node or BMC if there is none.
///
/// # Errors
/// It cannot be: the name is used up.
pub(crate) fn put(draft: &mut Draft<'_>, xname: &Xname, component: &Component) -> Result<(), Problem> {
    let kind = xname.kind().unwrap_or_default();
    if kind == "Node" || draft.node(xname).is_some() {
        return put_node(draft, xname, component);
    }
    if is_controller(kind) || draft.bmc(xname).is_some() {
        put_bmc(draft, xname, component);
    } else {
        draft.put_document(SHELF, xname.as_str(), component);
    }
    Ok(())
}

fn put_node(draft: &mut Draft<'_>, xname: &Xname, component: &Component) -> Result<(), Problem> {
    let mut node = match draft.node(xname) {
        Some(node) => Node::clone(&node),
        None => {
            let id = NodeId(draft.next.next_node);
            let name = made_up_name(draft, xname, component.nid, None)
                .ok_or_else(|| Problem::conflict(format!("no name is left for {xname}")))?;
            let mut node = Node::new(id, name);
            // A synthesised xname comes back with the number that it stands for, or not at all.
            node.xname = (xname.synthetic_number() != Some(id.0)).then(|| xname.clone());
            node.annotations.insert(MADE_UP.to_owned(), BY_NUMBER.to_owned());
            node
        }
    };
    let nid = component.nid.map(Nid);
    let free = nid.filter(|nid| node.nid == Some(*nid) || !draft.is_numbered(*nid));
    if node.nid != free
        && node.annotations.get(MADE_UP).is_some_and(|how| how == BY_NUMBER)
        && let Some(name) = made_up_name(draft, xname, free.map(|nid| nid.0), Some(&node.name))
    {
        node.name = name;
    }
    node.nid = free;
    // A role that nobody set stays unset: SMD's default is not a decision of the site.
    if node.role.is_some() || component.role != "Compute" {
        node.role = Some(component.role.clone()).filter(|role| !role.is_empty());
    }
    let kept = Component {
        id: String::new(),
        kind: String::new(),
        role: String::new(),
        nid: component.nid.filter(|_| free.is_none()),
        ..component.clone()
    };
    node.annotations.insert(NOTE.to_owned(), text(&kept));
    draft.put_node(node);
    Ok(())
}

/// `nid007` if the number is given and the name free or the node's own, else the xname.
fn made_up_name(
    draft: &Draft<'_>,
    xname: &Xname,
    nid: Option<u32>,
    own: Option<&NodeName>,
) -> Option<NodeName> {
    let by_number = nid.map(|nid| format!("{}{nid:03}", draft.snapshot.site.short_name));
    let names = by_number.into_iter().chain([xname.to_string(), format!("node-{xname}")]);
    let is_own = |name: &str| own.is_some_and(|own| own.as_str() == name);
    names.filter(|name| is_own(name) || !draft.is_named(name)).find_map(|name| name.parse().ok())
}

/// Gives a node the name by which its discovery knows it, if nobody gave it one before.
pub(crate) fn rename(draft: &mut Draft<'_>, xname: &Xname, name: &str) {
    let Some(node) = draft.node(xname).filter(|node| node.annotations.contains_key(MADE_UP)) else { return };
    let Ok(name) = name.parse::<NodeName>() else { return };
    if name != node.name && !draft.is_named(name.as_str()) {
        let mut node = Node { name, ..Node::clone(&node) };
        node.annotations.insert(MADE_UP.to_owned(), BY_DISCOVERY.to_owned());
        draft.put_node(node);
    }
}

/// The node that is meant where a client calls a node by the xname of its BMC, as some inventory files do.
pub(crate) fn node_below(bmc: &Xname) -> Option<Xname> {
    bmc.is_bmc().then(|| format!("{bmc}n0").parse().ok()).flatten()
}

/// Remembers that clients call this node by its BMC's xname.
pub(crate) fn call_by_bmc(draft: &mut Draft<'_>, node: &Xname) {
    if let Some(node) = draft.node(node).filter(|node| !node.annotations.contains_key(CALLED_BY_BMC)) {
        let mut node = Node::clone(&node);
        node.annotations.insert(CALLED_BY_BMC.to_owned(), "true".to_owned());
        draft.put_node(node);
    }
}

/// What a client means by an xname: itself, or the node that goes by its BMC's.
pub(crate) fn meant(draft: &Draft<'_>, xname: &Xname) -> Xname {
    let node = node_below(xname)
        .filter(|below| draft.node(below).is_some_and(|node| node.annotations.contains_key(CALLED_BY_BMC)));
    node.unwrap_or_else(|| xname.clone())
}

fn put_bmc(draft: &mut Draft<'_>, xname: &Xname, component: &Component) {
    let mut bmc = bmc_or_new(draft, xname);
    let own = xname.kind().is_none_or(|kind| kind == component.kind);
    let kind = if own { String::new() } else { component.kind.clone() };
    let kept = Component { id: String::new(), kind, ..component.clone() };
    bmc.annotations.insert(NOTE.to_owned(), text(&kept));
    draft.put_bmc(bmc);
}

/// The BMC of this xname, or a new one that is called by its xname and is no Redfish endpoint yet.
pub(crate) fn bmc_or_new(draft: &Draft<'_>, xname: &Xname) -> Bmc {
    if let Some(bmc) = draft.bmc(xname) {
        return Bmc { xname: Some(xname.clone()), ..Bmc::clone(&bmc) };
    }
    let name = [xname.to_string(), format!("bmc-{xname}")].into_iter().find(|name| !draft.is_named(name));
    let name = name.unwrap_or_else(|| format!("bmc-{xname}"));
    let gone = [NOTE, endpoint::NOTE];
    Bmc {
        name: name.parse().expect("an xname is a host label"),
        xname: Some(xname.clone()),
        mac: None,
        address: None,
        fqdn: None,
        annotations: gone.map(|key| (key.to_owned(), GONE.to_owned())).into(),
    }
}

/// Removes a component. What hung on it waits for its return: interfaces, memberships, boot assignments.
pub(crate) fn remove(draft: &mut Draft<'_>, xname: &Xname) -> bool {
    if find(draft, xname).is_none() {
        return false;
    }
    crate::api::openchami::smd::reservations::end(draft, xname);
    if let Some(node) = draft.node(xname) {
        keep_assignment(draft, xname, node.id);
        draft.apply(Change::RemoveNode(node.id));
        return true;
    }
    if draft.bmc(xname).is_some() {
        let bmc = bmc_or_new(draft, xname);
        hide(draft, &bmc, NOTE);
        return true;
    }
    draft.remove_document(SHELF, xname.as_str())
}

fn keep_assignment(draft: &mut Draft<'_>, xname: &Xname, id: NodeId) {
    let key = AssignmentKey { selector: Selector::Node(id), lasting: true };
    if let Some(boot) = draft.next.assignments.get(&key).map(|held| held.boot.clone()) {
        let selector = Selector::Xname(xname.clone());
        draft.apply(Change::PutAssignment(Arc::new(Assignment { selector, once: false, boot })));
    }
}

/// Marks what an annotation stands for as deleted; a BMC of which nothing is left goes.
pub(crate) fn hide(draft: &mut Draft<'_>, bmc: &Bmc, key: &str) {
    let mut bmc = bmc.clone();
    bmc.annotations.insert(key.to_owned(), GONE.to_owned());
    let shown = |key: &str| bmc.annotations.get(key).is_none_or(|text| text != GONE);
    if bmc.mac.is_some() || shown(NOTE) || shown(endpoint::NOTE) {
        draft.put_bmc(bmc);
        return;
    }
    draft.apply(Change::RemoveBmc(bmc.name));
}

fn text(component: &Component) -> String {
    serde_json::to_string(component).expect("components hold nothing that JSON cannot")
}
