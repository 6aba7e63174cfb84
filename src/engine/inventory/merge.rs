//! What is there and what a document says about it, to what shall be. What is not mentioned stays.

use std::collections::BTreeMap;

use crate::base::BmcName;
use crate::engine::inventory::Field;
use crate::engine::inventory::document::{
    BmcDeclaration, GroupDeclaration, InterfaceDeclaration, Interfaces, NodeDeclaration, ProfileDeclaration,
};
use crate::model::{Bmc, Group, Interface, Node, NodeId, Profile};

pub(crate) fn bmc(name: &BmcName, declared: &BmcDeclaration, old: Option<&Bmc>) -> Bmc {
    let BmcDeclaration { line: _, name: _, named: _, xname, mac, address, fqdn, annotations } =
        declared.clone();
    let mut bmc = old.cloned().unwrap_or_else(|| Bmc {
        name: name.clone(),
        xname: None,
        mac: None,
        address: None,
        fqdn: None,
        annotations: BTreeMap::new(),
    });
    bmc.name = name.clone();
    set(&mut bmc.xname, xname);
    set(&mut bmc.mac, mac);
    set(&mut bmc.address, address);
    set(&mut bmc.fqdn, fqdn);
    bmc.annotations.extend(annotations);
    bmc
}

pub(crate) fn group(declared: &GroupDeclaration, old: Option<&Group>) -> Group {
    let GroupDeclaration { line: _, name, description, priority, loader, annotations } = declared.clone();
    let mut group = old.cloned().unwrap_or_else(|| Group::new(name));
    group.description = description.unwrap_or(group.description);
    group.priority = priority.unwrap_or(group.priority);
    set(&mut group.loader, loader);
    group.annotations.extend(annotations);
    group
}

pub(crate) fn profile(declared: &ProfileDeclaration, old: Option<&Profile>) -> Profile {
    let ProfileDeclaration { line: _, name, description, target } = declared.clone();
    let description = description.or_else(|| old.map(|old| old.description.clone()));
    Profile { name, description: description.unwrap_or_default(), target }
}

/// A node but for its BMC, which takes a look around.
pub(crate) fn node(id: NodeId, declared: &NodeDeclaration, old: Option<&Node>) -> Node {
    let NodeDeclaration {
        line: _,
        name,
        xname,
        nid,
        uuid,
        arch,
        role,
        groups,
        interfaces,
        bmc: _,
        policy,
        loader,
        annotations,
    } = declared.clone();
    let mut node = old.cloned().unwrap_or_else(|| Node::new(id, name.clone()));
    node.name = name;
    set(&mut node.xname, xname);
    set(&mut node.nid, nid);
    set(&mut node.uuid, uuid);
    set(&mut node.arch, arch);
    set(&mut node.role, role);
    set(&mut node.loader, loader);
    node.groups = groups.unwrap_or(node.groups);
    node.policy = policy.unwrap_or(node.policy);
    node.annotations.extend(annotations);
    if let Some(said) = interfaces {
        node.interfaces = ports(node.interfaces, said);
    }
    node
}

/// The list replaces what was there, port by port known by its hardware address. One port alone is the port of
/// that address, else the one that the node boots from, whose hardware was replaced.
fn ports(mut old: Vec<Interface>, said: Interfaces) -> Vec<Interface> {
    match said {
        Interfaces::All(list) => list
            .into_iter()
            .map(|said| {
                let known = old.iter().find(|port| port.mac == said.mac).cloned();
                port(known, said)
            })
            .collect(),
        Interfaces::One(said) => {
            let at = old.iter().position(|port| port.mac == said.mac).unwrap_or(0);
            match old.get_mut(at) {
                Some(known) => *known = port(Some(known.clone()), said),
                None => old.push(port(None, said)),
            }
            old
        }
    }
}

fn port(old: Option<Interface>, said: InterfaceDeclaration) -> Interface {
    let InterfaceDeclaration { name, mac, addresses } = said;
    let mut port = old.unwrap_or(Interface { name: None, mac, addresses: Vec::new() });
    port.mac = mac;
    set(&mut port.name, name);
    port.addresses = addresses.unwrap_or(port.addresses);
    port
}

/// Puts what a document says into a field.
fn set<T>(field: &mut Option<T>, said: Field<T>) {
    if let Some(said) = said {
        *field = said;
    }
}
