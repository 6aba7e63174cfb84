//! A write in the making: a copy of the inventory on which operations work one after the other, each seeing
//! those before it. A request for one thing and a batch of thousands go the same way.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::{BmcBody, GroupBody, InterfaceBody, NodeBody, ProfileBody, read};
use crate::base::{GroupName, Mac, NodeName};
use crate::model::{Bmc, Change, Group, Interface, Inventory, Node, NodeId, Profile, Snapshot};

/// A write in the making.
pub(crate) struct Work<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) next: Inventory,
    pub(crate) changes: Vec<Change>,
    /// Nodes whose value differs from the snapshot's: its indices do not hold for them.
    touched: BTreeSet<NodeId>,
    names: HashMap<String, NodeId>,
}

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// What the thing is called now.
    pub(crate) name: String,
    /// True if it was not there before.
    pub(crate) made: bool,
}

impl<'a> Work<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Work<'a> {
        let next = Inventory::clone(&snapshot.inventory);
        Work { snapshot, next, changes: Vec::new(), touched: BTreeSet::new(), names: HashMap::new() }
    }

    pub(crate) fn apply(&mut self, change: Change) {
        match &change {
            Change::PutNode(node) => {
                self.touched.insert(node.id);
                self.names.insert(node.name.to_string(), node.id);
            }
            Change::RemoveNode(id) => drop(self.touched.insert(*id)),
            // Members lose the group.
            Change::RemoveGroup(name) => {
                self.touched.extend(self.next.members(name).map(|node| node.id));
            }
            _ => {}
        }
        self.next.apply(&change);
        self.changes.push(change);
    }

    /// A node by name, xname or hardware address.
    pub(crate) fn find(&self, text: &str) -> Option<Arc<Node>> {
        let lower = text.to_ascii_lowercase();
        let made = self.names.get(&lower).and_then(|id| self.next.nodes.get(id));
        let made = made.filter(|node| node.name.as_str() == lower);
        let known = || match self.snapshot.find(text) {
            Some(node) if self.touched.contains(&node.id) => {
                self.next.nodes.get(&node.id).filter(|now| called(now, text))
            }
            found => found,
        };
        // Only what this write altered, and only by its other names.
        let other =
            || self.touched.iter().filter_map(|id| self.next.nodes.get(id)).find(|node| called(node, text));
        made.or_else(known).or_else(other).cloned()
    }

    fn node(&self, text: &str) -> Result<Arc<Node>, Problem> {
        self.find(text).ok_or_else(|| Problem::not_found(format!("no node is called {text:?}")))
    }

    /// The nodes of a set. One name may be of a node that this write made; operators know what was there before.
    pub(crate) fn resolve(&self, text: &str) -> Result<BTreeSet<NodeId>, Problem> {
        match self.find(text.trim()) {
            Some(node) => Ok(BTreeSet::from([node.id])),
            None => query::resolve(self.snapshot, text),
        }
    }

    fn put_changed(&mut self, node: Node) {
        let same = self.next.nodes.get(&node.id).is_some_and(|old| **old == node);
        if !same {
            self.apply(Change::PutNode(Arc::new(node)));
        }
    }

    /// Makes a node that must not be there.
    pub(crate) fn create_node(&mut self, body: NodeBody) -> Result<Done, Problem> {
        let name: NodeName = read("name", &body.name)?;
        if self.find(name.as_str()).is_some() {
            return Err(Problem::conflict(format!("there is a node {name}")));
        }
        let node = body.node(NodeId(self.next.next_node))?;
        self.put_changed(node);
        Ok(Done { name: name.to_string(), made: true })
    }

    /// Makes a node or replaces all of it. The path names it; the body of a node that is there may rename it.
    pub(crate) fn put_node(&mut self, path: &str, body: NodeBody, terms: &Terms) -> Result<Done, Problem> {
        let old = self.find(path);
        terms.hold(old.as_deref().map(NodeBody::from).as_ref())?;
        let name: NodeName = read("name", &body.name)?;
        let id = match &old {
            Some(node) => node.id,
            None if read::<NodeName>("name", path)? == name => NodeId(self.next.next_node),
            None => return Err(Problem::field("name", format!("is {name}, but the path says {path:?}"))),
        };
        self.put_changed(body.node(id)?);
        Ok(Done { name: name.to_string(), made: old.is_none() })
    }

    /// A merge patch. Makes the node if it is new and the patch gives it an interface: a mistyped name must not
    /// declare a machine that is not there.
    pub(crate) fn merge_node(&mut self, path: &str, patch: &Value, terms: &Terms) -> Result<Done, Problem> {
        let old = self.find(path);
        terms.hold(old.as_deref().map(NodeBody::from).as_ref())?;
        let makes = patch.get("interfaces").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        let base = match &old {
            Some(node) => Node::clone(node),
            None if makes => Node::new(NodeId(self.next.next_node), read("name", path)?),
            None => {
                let text = format!("no node is called {path:?}; a new one needs an interface with its mac");
                return Err(Problem::not_found(text));
            }
        };
        let node = query::merged(&NodeBody::from(&base), patch)?.node(base.id)?;
        let name = node.name.to_string();
        self.put_changed(node);
        Ok(Done { name, made: old.is_none() })
    }

    pub(crate) fn remove_node(&mut self, path: &str, terms: &Terms) -> Result<Done, Problem> {
        let node = self.node(path)?;
        terms.hold(Some(&NodeBody::from(node.as_ref())))?;
        self.apply(Change::RemoveNode(node.id));
        Ok(Done { name: node.name.to_string(), made: false })
    }

    /// Gives a node an interface, or replaces the one with this hardware address.
    pub(crate) fn put_interface(
        &mut self,
        path: &str,
        mac: &str,
        body: InterfaceBody,
        terms: &Terms,
    ) -> Result<Done, Problem> {
        let mut node = Node::clone(self.node(path)?.as_ref());
        let mac: Mac = read("mac", mac)?;
        let at = node.interfaces.iter().position(|interface| interface.mac == mac);
        let old = at.and_then(|at| node.interfaces.get_mut(at));
        terms.hold(old.as_deref().map(InterfaceBody::from).as_ref())?;
        let new = Interface { name: body.name, mac: read("mac", &body.mac)?, addresses: body.addresses };
        match old {
            Some(old) => *old = new,
            None if new.mac == mac => node.interfaces.push(new),
            None => return Err(Problem::field("mac", format!("is {}, but the path says {mac}", new.mac))),
        }
        let name = body.mac;
        self.put_changed(node);
        Ok(Done { name, made: at.is_none() })
    }

    pub(crate) fn remove_interface(&mut self, path: &str, mac: &str, terms: &Terms) -> Result<Done, Problem> {
        let mut node = Node::clone(self.node(path)?.as_ref());
        let mac: Mac = read("mac", mac)?;
        let old = node.interfaces.iter().find(|interface| interface.mac == mac);
        let old =
            old.ok_or_else(|| Problem::not_found(format!("node {} has no interface {mac}", node.name)))?;
        terms.hold(Some(&InterfaceBody::from(old)))?;
        node.interfaces.retain(|interface| interface.mac != mac);
        self.put_changed(node);
        Ok(Done { name: mac.to_string(), made: false })
    }

    pub(crate) fn put_bmc(&mut self, path: &str, body: BmcBody, terms: &Terms) -> Result<Done, Problem> {
        let bmc = body.bmc(path)?;
        let old = self.next.bmcs.get(&bmc.name).cloned();
        terms.hold(old.as_deref().map(BmcBody::from).as_ref())?;
        let done = Done { name: bmc.name.to_string(), made: old.is_none() };
        if old.is_none_or(|old| *old != bmc) {
            self.apply(Change::PutBmc(Arc::new(bmc)));
        }
        Ok(done)
    }

    pub(crate) fn merge_bmc(&mut self, path: &str, patch: &Value, terms: &Terms) -> Result<Done, Problem> {
        let old = self.bmc(path)?;
        self.put_bmc(path, query::merged(&BmcBody::from(old.as_ref()), patch)?, terms)
    }

    pub(crate) fn remove_bmc(&mut self, path: &str, terms: &Terms) -> Result<Done, Problem> {
        let old = self.bmc(path)?;
        terms.hold(Some(&BmcBody::from(old.as_ref())))?;
        self.apply(Change::RemoveBmc(old.name.clone()));
        Ok(Done { name: old.name.to_string(), made: false })
    }

    fn bmc(&self, path: &str) -> Result<Arc<Bmc>, Problem> {
        let found = self.next.bmcs.get(path.to_ascii_lowercase().as_str()).cloned();
        found.ok_or_else(|| Problem::not_found(format!("no BMC is called {path:?}")))
    }

    pub(crate) fn put_group(&mut self, path: &str, body: GroupBody, terms: &Terms) -> Result<Done, Problem> {
        let group = body.group(path)?;
        self.replace_group(group, terms)
    }

    /// A merge patch; makes the group if it is not there.
    pub(crate) fn merge_group(&mut self, path: &str, patch: &Value, terms: &Terms) -> Result<Done, Problem> {
        let name: GroupName = read("name", path)?;
        let old = self.next.groups.get(&name).cloned();
        let old = old.unwrap_or_else(|| Arc::new(Group::new(name.clone())));
        let merged = query::merged(&GroupBody::of(&old, Vec::new()), patch)?.group(name.as_str())?;
        self.replace_group(merged, terms)
    }

    fn replace_group(&mut self, group: Group, terms: &Terms) -> Result<Done, Problem> {
        let old = self.next.groups.get(&group.name).cloned();
        terms.hold(old.as_deref().map(|old| self.group_body(old)).as_ref())?;
        let done = Done { name: group.name.to_string(), made: old.is_none() };
        if old.is_none_or(|old| *old != group) {
            self.apply(Change::PutGroup(Arc::new(group)));
        }
        Ok(done)
    }

    /// Removes the group; its members stay, without it.
    pub(crate) fn remove_group(&mut self, path: &str, terms: &Terms) -> Result<Done, Problem> {
        let old = self.group(path)?;
        terms.hold(Some(&self.group_body(&old)))?;
        self.apply(Change::RemoveGroup(old.name.clone()));
        Ok(Done { name: old.name.to_string(), made: false })
    }

    pub(crate) fn group(&self, path: &str) -> Result<Arc<Group>, Problem> {
        let found = self.next.groups.get(path.to_ascii_lowercase().as_str()).cloned();
        found.ok_or_else(|| Problem::not_found(format!("no group is called {path:?}")))
    }

    fn group_body(&self, group: &Group) -> GroupBody {
        // A walk over all nodes is paid only where a batch has altered some.
        if self.touched.is_empty() {
            return GroupBody::shown(self.snapshot, group);
        }
        GroupBody::of(group, self.next.members(&group.name).map(|node| node.name.to_string()).collect())
    }

    /// Puts nodes into a group, or takes them out of it.
    pub(crate) fn members(
        &mut self,
        path: &str,
        nodes: &[Arc<Node>],
        within: bool,
        terms: &Terms,
    ) -> Result<Done, Problem> {
        let old = self.next.groups.get(path.to_ascii_lowercase().as_str()).cloned();
        if old.is_none() && !within {
            self.group(path)?;
        }
        let name: GroupName = read("name", path)?;
        terms.hold(old.as_deref().map(|old| self.group_body(old)).as_ref())?;
        if old.is_none() {
            self.apply(Change::PutGroup(Arc::new(Group::new(name.clone()))));
        }
        for node in nodes {
            let mut node = Node::clone(node);
            let altered = if within { node.groups.insert(name.clone()) } else { node.groups.remove(&name) };
            if altered {
                self.apply(Change::PutNode(Arc::new(node)));
            }
        }
        Ok(Done { name: name.to_string(), made: old.is_none() })
    }

    pub(crate) fn put_profile(
        &mut self,
        path: &str,
        body: ProfileBody,
        terms: &Terms,
    ) -> Result<Done, Problem> {
        let ProfileBody { name: _, description, target } = body;
        let profile = Profile { name: read("name", path)?, description, target: target.target()? };
        let old = self.next.profiles.get(&profile.name).cloned();
        terms.hold(old.as_deref().map(ProfileBody::from).as_ref())?;
        let done = Done { name: profile.name.to_string(), made: old.is_none() };
        if old.is_none_or(|old| *old != profile) {
            self.apply(Change::PutProfile(Arc::new(profile)));
        }
        Ok(done)
    }

    pub(crate) fn merge_profile(
        &mut self,
        path: &str,
        patch: &Value,
        terms: &Terms,
    ) -> Result<Done, Problem> {
        let old = self.profile(path)?;
        self.put_profile(path, query::merged(&ProfileBody::from(old.as_ref()), patch)?, terms)
    }

    /// Refused later, while an assignment names the profile.
    pub(crate) fn remove_profile(&mut self, path: &str, terms: &Terms) -> Result<Done, Problem> {
        let old = self.profile(path)?;
        terms.hold(Some(&ProfileBody::from(old.as_ref())))?;
        self.apply(Change::RemoveProfile(old.name.clone()));
        Ok(Done { name: old.name.to_string(), made: false })
    }

    fn profile(&self, path: &str) -> Result<Arc<Profile>, Problem> {
        let found = self.next.profiles.get(path.to_ascii_lowercase().as_str()).cloned();
        found.ok_or_else(|| Problem::not_found(format!("no profile is called {path:?}")))
    }
}

/// True if a person may call the node so.
fn called(node: &Node, text: &str) -> bool {
    node.name.as_str().eq_ignore_ascii_case(text)
        || text.parse().is_ok_and(|xname| node.effective_xname() == xname)
        || text.parse().is_ok_and(|mac: Mac| node.interfaces.iter().any(|interface| interface.mac == mac))
}
