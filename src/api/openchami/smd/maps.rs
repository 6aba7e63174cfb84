//! Node maps: the numbers and roles that nodes get when they are first seen.

use serde::{Deserialize, Serialize};

use crate::api::openchami::draft;
use crate::base::Xname;
use crate::model::Inventory;

/// Where node maps live.
pub(crate) const SHELF: &str = "smd.nodemap";

/// What a node gets when it is first seen. Field for field SMD's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NodeMap {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "NID")]
    pub(crate) nid: u32,
    #[serde(rename = "Role", skip_serializing_if = "String::is_empty")]
    pub(crate) role: String,
    #[serde(rename = "SubRole", skip_serializing_if = "String::is_empty")]
    pub(crate) sub_role: String,
}

impl NodeMap {
    pub(crate) fn role_or_default(&self) -> String {
        if self.role.is_empty() { "Compute".to_owned() } else { self.role.clone() }
    }
}

/// The map of a node.
pub(crate) fn of_node(inventory: &Inventory, xname: &Xname) -> Option<NodeMap> {
    draft::read(inventory.document(SHELF, xname.as_str())?)
}
