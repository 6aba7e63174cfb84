//! Which secrets a node gets, and why it does not get the others.
//!
//! Of secrets with one name the most specific counts: the node's own, then its groups' (the higher priority first,
//! then the name that sorts first), then the site's. One that is hidden is not missed: a node never gets the site's
//! value because its own asks for a higher level.

use std::collections::BTreeMap;
use std::fmt;

use crate::base::{Level, SecretName};
use crate::model::secret::{Scope, What};
use crate::model::{Group, Inventory, Node, Secret, SecretKey, Site};

/// Why a node does not get a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Withheld {
    /// It asks for more than the node has reached.
    Level { needs: Level, has: Level },
    /// Host keys that were not made for this node yet.
    NotMade,
}

impl fmt::Display for Withheld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Withheld::Level { needs, has } => {
                write!(f, "it needs level {needs}, and the node has reached {has}")
            }
            Withheld::NotMade => f.write_str("host keys were not made for this node yet"),
        }
    }
}

/// The secrets that a node gets at this level, and those that it does not get, each by name.
#[must_use]
pub fn secrets_of<'a>(
    inventory: &'a Inventory,
    node: &Node,
    level: Level,
) -> (Vec<&'a Secret>, Vec<(&'a Secret, Withheld)>) {
    let (mut given, mut withheld) = (Vec::new(), Vec::new());
    for secret in named(inventory, node).into_values() {
        if secret.versions.is_empty() {
            withheld.push((secret, Withheld::NotMade));
        } else if level < secret.min_level {
            withheld.push((secret, Withheld::Level { needs: secret.min_level, has: level }));
        } else {
            given.push(secret);
        }
    }
    (given, withheld)
}

/// Orders for host keys that this node is to have and has not: each with the key that the node's own gets.
#[must_use]
pub fn missing_host_keys<'a>(inventory: &'a Inventory, node: &Node) -> Vec<(SecretKey, &'a Secret)> {
    let on_order = |secret: &&Secret| secret.what == What::SshHostKey && secret.versions.is_empty();
    let orders = named(inventory, node).into_values().filter(on_order);
    orders
        .map(|order| (SecretKey { name: order.key.name.clone(), scope: Scope::Node(node.id) }, order))
        .collect()
}

/// The names and addresses by which people reach a node by SSH.
#[must_use]
pub fn host_names(site: &Site, node: &Node) -> Vec<String> {
    let mut names = vec![node.name.to_string()];
    if !site.domain.is_empty() {
        names.push(format!("{}.{}", node.name, site.domain));
    }
    names.push(node.effective_xname().to_string());
    names.extend(node.interfaces.iter().flat_map(|one| &one.addresses).map(ToString::to_string));
    names
}

/// The secrets of a node by name, hidden ones left out.
fn named<'a>(inventory: &'a Inventory, node: &Node) -> BTreeMap<&'a SecretName, &'a Secret> {
    let mut groups: Vec<&Group> =
        node.groups.iter().filter_map(|name| inventory.groups.get(name).map(|group| &**group)).collect();
    // The names are in order already.
    groups.sort_by_key(|group| std::cmp::Reverse(group.priority));
    let scopes = std::iter::once(Scope::Node(node.id))
        .chain(groups.into_iter().map(|group| Scope::Group(group.name.clone())))
        .chain([Scope::Site]);
    let mut found = BTreeMap::new();
    for scope in scopes {
        let from = SecretKey::first(scope.clone());
        let of_scope = inventory.secrets.range_from(std::ops::Bound::Included(&from));
        for (key, secret) in of_scope.take_while(|(key, _)| key.scope == scope) {
            found.entry(&key.name).or_insert(&**secret);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::base::{Level, Timestamp};
    use crate::engine::trust::choose::{Withheld, missing_host_keys, secrets_of};
    use crate::model::secret::{Rotate, Scope, Sealed, Version, What};
    use crate::model::{Change, Group, Inventory, Node, NodeId, Secret, SecretKey};

    fn secret(name: &str, scope: Scope, min_level: Level, what: What) -> Secret {
        let sealed = Sealed(Arc::from([0; 4]));
        let version = Version { number: 1, created: Timestamp(0), by: String::new(), sealed };
        let versions = if what == What::Opaque { vec![version] } else { Vec::new() };
        let key = SecretKey { name: name.parse().unwrap(), scope };
        Secret { key, min_level, what, rotate: Rotate::NextBoot, versions }
    }

    fn group(name: &str, priority: i32) -> Group {
        Group { priority, ..Group::new(name.parse().unwrap()) }
    }

    fn of(name: &str) -> Scope {
        Scope::Group(name.parse().unwrap())
    }

    /// Node 1 in groups `a`, `b` (prior) and `c`; node 2 in none.
    fn site(secrets: Vec<Secret>) -> Inventory {
        let mut inventory = Inventory::default();
        for one in [group("a", 0), group("b", 5), group("c", 0), group("other", 9)] {
            inventory.apply(&Change::PutGroup(Arc::new(one)));
        }
        for id in [1, 2] {
            let mut node = Node::new(NodeId(id), format!("nid{id:03}").parse().unwrap());
            let groups: &[&str] = if id == 1 { &["a", "b", "c"] } else { &[] };
            node.groups = groups.iter().map(|name| name.parse().unwrap()).collect();
            inventory.apply(&Change::PutNode(Arc::new(node)));
        }
        secrets.into_iter().for_each(|one| inventory.apply(&Change::PutSecret(Arc::new(one))));
        inventory
    }

    fn given(inventory: &Inventory, id: u64, level: Level) -> Vec<String> {
        let (given, _) = secrets_of(inventory, &inventory.nodes[&NodeId(id)], level);
        given.iter().map(|secret| secret.key.row()).collect()
    }

    #[test]
    fn the_most_specific_of_one_name_counts() {
        let one = |name, scope| secret(name, scope, Level::Grant, What::Opaque);
        let mut all = vec![
            one("key", Scope::Site),
            one("key", of("a")),
            one("key", of("b")),
            one("key", of("other")),
            one("alone", Scope::Site),
            one("tie", of("c")),
            one("tie", of("a")),
        ];
        let inventory = site(all.clone());
        assert_eq!(given(&inventory, 1, Level::Grant), ["alone", "key@group:b", "tie@group:a"]);
        assert_eq!(given(&inventory, 2, Level::Grant), ["alone", "key"]);
        all.push(one("key", Scope::Node(NodeId(1))));
        assert_eq!(given(&site(all), 1, Level::Grant), ["alone", "key@node#1", "tie@group:a"]);
    }

    #[test]
    fn what_needs_a_higher_level_is_withheld_by_name_and_nothing_weaker_takes_its_place() {
        let all = vec![
            secret("munge", of("a"), Level::Tpm, What::Opaque),
            secret("munge", Scope::Site, Level::Grant, What::Opaque),
            secret("disk", of("a"), Level::TpmPcr, What::Opaque),
            secret("motd", of("a"), Level::Address, What::Opaque),
        ];
        let inventory = site(all);
        let node = &inventory.nodes[&NodeId(1)];
        for (level, wanted) in [
            (Level::Address, &["motd@group:a"][..]),
            (Level::Grant, &["motd@group:a"]),
            (Level::Tpm, &["motd@group:a", "munge@group:a"]),
            (Level::TpmPcr, &["disk@group:a", "motd@group:a", "munge@group:a"]),
        ] {
            assert_eq!(given(&inventory, 1, level), wanted, "{level}");
            let (given, withheld) = secrets_of(&inventory, node, level);
            assert_eq!(given.len() + withheld.len(), 3, "each name is told of once");
            for (secret, reason) in withheld {
                assert_eq!(reason, Withheld::Level { needs: secret.min_level, has: level });
            }
        }
        let (_, withheld) = secrets_of(&inventory, node, Level::Grant);
        assert_eq!(withheld[1].1.to_string(), "it needs level 2, and the node has reached 1");
    }

    #[test]
    fn an_order_for_host_keys_gives_nothing_until_the_node_has_its_own() {
        let order = secret("ssh", Scope::Site, Level::Grant, What::SshHostKey);
        let inventory = site(vec![order.clone()]);
        let node = &inventory.nodes[&NodeId(1)];
        assert_eq!(secrets_of(&inventory, node, Level::TpmPcr).1[0].1, Withheld::NotMade);
        let missing = missing_host_keys(&inventory, node);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].0.scope, Scope::Node(NodeId(1)));
        let own = secret("ssh", Scope::Node(NodeId(1)), Level::Grant, What::Opaque);
        let inventory = site(vec![order, own]);
        assert!(missing_host_keys(&inventory, node).is_empty());
        assert_eq!(given(&inventory, 1, Level::Grant), ["ssh@node#1"]);
    }
}
