//! Groups: named sets of nodes that lend boot settings and, later, data.

use std::collections::BTreeMap;

use crate::base::GroupName;

/// What a group lends to its members. Membership itself stands in `Node::groups`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    pub name: GroupName,
    pub description: String,
    /// Where two groups of one node disagree, the higher priority wins; then the name that sorts first.
    pub priority: i32,
    /// File name of the loader for members, below the node's own.
    pub loader: Option<String>,
    pub annotations: BTreeMap<String, String>,
}

impl Group {
    #[must_use]
    pub fn new(name: GroupName) -> Group {
        Group { name, description: String::new(), priority: 0, loader: None, annotations: BTreeMap::new() }
    }
}
