//! Checks of nodes' TPMs: a key is of one node, and that node is there.

use crate::model::validate::{Problem, Subject};
use crate::model::{Identity, Inventory};

/// What is wrong with one identity.
pub(crate) fn identity(inventory: &Inventory, identity: &Identity) -> Vec<Problem> {
    let name = |id| match inventory.nodes.get(&id) {
        Some(node) => node.name.to_string(),
        None => format!("node {}", id.0),
    };
    let mut problems = Vec::new();
    let mut report = |field: &str, text: String| {
        let subject = Subject::Tpm(name(identity.node));
        problems.push(Problem { subject, field: field.to_owned(), text });
    };
    if !inventory.nodes.contains_key(&identity.node) {
        report("node", "there is no such node".to_owned());
    }
    if let Some(ek) = &identity.ek
        && let Some(holder) = inventory.holder(ek).filter(|holder| *holder != identity.node)
    {
        report("ek", format!("{ek} is also the key of {}", name(holder)));
    }
    if identity.ek.is_none() && !identity.revoked {
        report("ek", "is needed".to_owned());
    }
    problems
}

/// Problems that a change causes. Of two nodes that get one key, the first lost it to the second.
pub(crate) fn caused(before: &Inventory, next: &Inventory) -> Vec<Problem> {
    let put = before.identities.difference(&next.identities).put;
    let mut problems: Vec<Problem> = put.iter().flat_map(|(_, _, one)| identity(next, one)).collect();
    // One that had its key before and was not touched loses it too.
    for (_, _, one) in &put {
        let former = one.ek.and_then(|ek| before.holder(&ek)).filter(|holder| *holder != one.node);
        let robbed =
            former.and_then(|holder| next.identities.get(&holder)).filter(|other| other.ek == one.ek);
        problems.extend(robbed.into_iter().flat_map(|other| identity(next, other)));
    }
    problems.sort();
    problems.dedup();
    problems
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::base::Timestamp;
    use crate::model::identity::{EkFingerprint, Enrolled, Identity};
    use crate::model::validate::identities::caused;
    use crate::model::{Change, Inventory, Node, NodeId};

    fn of(node: u64, ek: Option<u8>) -> Change {
        let ek = ek.map(|octet| EkFingerprint([octet; 32]));
        let (node, how, by, at) = (NodeId(node), Enrolled::Approved, String::new(), Timestamp(0));
        Change::PutIdentity(Arc::new(Identity { node, ek, revoked: false, how, by, at }))
    }

    fn after(inventory: &Inventory, changes: &[Change]) -> (Inventory, Vec<String>) {
        let mut next = inventory.clone();
        changes.iter().for_each(|change| next.apply(change));
        let problems = caused(inventory, &next).iter().map(ToString::to_string).collect();
        (next, problems)
    }

    #[test]
    fn a_key_is_of_one_node_and_goes_with_it() {
        let mut site = Inventory::default();
        for id in [1, 2] {
            let name = format!("nid00{id}").parse().unwrap();
            site.apply(&Change::PutNode(Arc::new(Node::new(NodeId(id), name))));
        }
        let (one, none) = after(&site, &[of(1, Some(7))]);
        assert_eq!((none.len(), one.holder(&EkFingerprint([7; 32]))), (0, Some(NodeId(1))));
        let (_, problems) = after(&one, &[of(2, Some(7))]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("TPM of nid001: ek: "), "{problems:?}");
        assert!(problems[0].ends_with("is also the key of nid002"), "{problems:?}");
        let (_, problems) = after(&site, &[of(1, Some(7)), of(2, Some(7))]);
        assert_eq!(problems.len(), 1, "both at once: {problems:?}");
        // A key may go from one node to another in one change, in either order.
        for changes in [[of(1, Some(8)), of(2, Some(7))], [of(2, Some(7)), of(1, Some(8))]] {
            let (moved, problems) = after(&one, &changes);
            assert_eq!(problems, [""; 0]);
            assert_eq!(moved.holder(&EkFingerprint([7; 32])), Some(NodeId(2)));
            assert_eq!(moved.holder(&EkFingerprint([8; 32])), Some(NodeId(1)));
        }
        assert!(!after(&site, &[of(3, Some(7))]).1.is_empty() && !after(&site, &[of(1, None)]).1.is_empty());
        let (gone, _) = after(&one, &[Change::RemoveNode(NodeId(1))]);
        assert!(gone.identities.is_empty() && gone.holder(&EkFingerprint([7; 32])).is_none());
    }
}
