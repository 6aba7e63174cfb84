//! Snapshots that are led on, and changes that are judged alone, against the whole done anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::prelude::*;

use crate::model::network::tests::network;
use crate::model::profile::{Assignment, AssignmentKey, Boot, Profile};
use crate::model::validate::{Problem, caused, validate};
use crate::model::{
    Bmc, BootTarget, Change, Interface, Inventory, Nid, Node, NodeId, Revision, Selector, Site, Snapshot,
};

/// So few values that changes often collide.
fn small() -> impl Strategy<Value = u8> {
    0..5_u8
}

fn name(number: u8) -> String {
    format!("n{number}")
}

fn address(number: u8) -> Ipv4Addr {
    // 192.0.2.254 is the head's own, 198.51.100.0 outside every network.
    [[192, 0, 2, 1], [192, 0, 2, 2], [192, 0, 2, 3], [192, 0, 2, 254], [198, 51, 100, 0]][usize::from(number)]
        .into()
}

fn node() -> impl Strategy<Value = Change> {
    let values = (small(), small(), small(), small(), small());
    let options = (prop::option::of(small()), prop::option::of(small()), prop::option::of(small()));
    (values, options).prop_map(|((id, called, mac, at, group), (xname, nid, bmc))| {
        let mut node = Node::new(NodeId(id.into()), name(called).parse().unwrap());
        node.interfaces.push(Interface {
            name: None,
            mac: crate::base::Mac([2, 0, 0, 0, 0, mac]),
            addresses: vec![address(at)],
        });
        node.groups.insert(name(group).parse().unwrap());
        node.xname = xname.map(|xname| format!("x1c0s0b0n{xname}").parse().unwrap());
        node.nid = nid.map(|nid| Nid(nid.into()));
        node.bmc = bmc.map(|bmc| format!("b{bmc}").parse().unwrap());
        Change::PutNode(Arc::new(node))
    })
}

fn bmc_name() -> impl Strategy<Value = String> {
    // Some are called as nodes are.
    (any::<bool>(), small())
        .prop_map(|(as_node, number)| format!("{}{number}", if as_node { "n" } else { "b" }))
}

fn bmc() -> impl Strategy<Value = Change> {
    (bmc_name(), small(), small(), prop::option::of(small())).prop_map(|(called, mac, at, xname)| {
        Change::PutBmc(Arc::new(Bmc {
            mac: Some(crate::base::Mac([2, 0, 0, 0, 0, mac])),
            address: Some(address(at)),
            xname: xname.map(|xname| format!("x1c0s0b0n{xname}").parse().unwrap()),
            name: called.parse().unwrap(),
            fqdn: None,
            annotations: BTreeMap::new(),
        }))
    })
}

fn assignment() -> impl Strategy<Value = Change> {
    (small(), small(), any::<bool>()).prop_map(|(whom, profile, by_node)| {
        let selector = if by_node {
            Selector::Node(NodeId(whom.into()))
        } else {
            Selector::Group(name(whom).parse().unwrap())
        };
        let boot = Boot::Profile(name(profile).parse().unwrap());
        Change::PutAssignment(Arc::new(Assignment { selector, once: false, boot }))
    })
}

fn change() -> impl Strategy<Value = Change> {
    let target = BootTarget::LocalDisk;
    prop_oneof![
        5 => node(),
        2 => small().prop_map(|id| Change::RemoveNode(NodeId(id.into()))),
        2 => bmc(),
        1 => bmc_name().prop_map(|called| Change::RemoveBmc(called.parse().unwrap())),
        1 => small().prop_map(move |number| Change::PutProfile(Arc::new(Profile {
            name: name(number).parse().unwrap(),
            description: String::new(),
            target: target.clone(),
        }))),
        1 => small().prop_map(|number| Change::RemoveProfile(name(number).parse().unwrap())),
        1 => small().prop_map(|number| Change::RemoveGroup(name(number).parse().unwrap())),
        2 => assignment(),
        1 => small().prop_map(|id| Change::RemoveAssignment(AssignmentKey {
            selector: Selector::Node(NodeId(id.into())),
            lasting: true,
        })),
    ]
}

/// A snapshot as its indices say it.
fn spelled(snapshot: &Snapshot) -> [String; 6] {
    [
        format!("{:?}", snapshot.by_mac),
        format!("{:?}", snapshot.by_address),
        format!("{:?}", snapshot.by_name),
        format!("{:?}", snapshot.by_xname),
        format!("{:?}", snapshot.by_nid),
        format!("{:?} {}", snapshot.members, snapshot.clashes),
    ]
}

fn texts(problems: impl IntoIterator<Item = Problem>) -> BTreeSet<String> {
    problems.into_iter().map(|problem| problem.to_string()).collect()
}

proptest! {
    /// Sound changes only, as the API lets them through: what leads on is what compiling anew gives, and what
    /// is refused is what looking at everything would refuse.
    #[test]
    fn one_step_at_a_time_is_as_good_as_all_anew(sets in prop::collection::vec(prop::collection::vec(change(), 1..4), 1..40)) {
        let site = Arc::new(Site { networks: vec![network("192.0.2.200-192.0.2.250")], ..Site::default() });
        let mut snapshot = Snapshot::compile(Revision(0), Arc::clone(&site), Arc::default());
        for set in sets {
            let mut next = Inventory::clone(&snapshot.inventory);
            set.iter().for_each(|change| next.apply(change));
            let found = texts(caused(&snapshot, &next));
            let whole = texts(validate(&next, &site));
            prop_assert_eq!(found.is_empty(), whole.is_empty(), "{:?} {:?}", found, whole);
            if found.is_empty() {
                let revision = snapshot.revision.next();
                snapshot = snapshot.advance(revision, Arc::new(next.clone()));
                let anew = Snapshot::compile(revision, Arc::clone(&site), Arc::new(next));
                prop_assert_eq!(spelled(&snapshot), spelled(&anew));
            }
        }
    }

    /// Whatever is stored, sound or not: the snapshot does not depend on the way there, and repairs are let through.
    #[test]
    fn an_unsound_inventory_is_compiled_as_a_whole(sets in prop::collection::vec(prop::collection::vec(change(), 1..4), 1..20)) {
        let site = Arc::new(Site { networks: vec![network("192.0.2.200-192.0.2.250")], ..Site::default() });
        let mut snapshot = Snapshot::compile(Revision(0), Arc::clone(&site), Arc::default());
        for set in sets {
            let mut next = Inventory::clone(&snapshot.inventory);
            set.iter().for_each(|change| next.apply(change));
            let before = texts(validate(&snapshot.inventory, &site));
            let after = texts(validate(&next, &site));
            if after.is_subset(&before) {
                prop_assert_eq!(texts(caused(&snapshot, &next)), BTreeSet::new());
            }
            let revision = snapshot.revision.next();
            snapshot = snapshot.advance(revision, Arc::new(next.clone()));
            let anew = Snapshot::compile(revision, Arc::clone(&site), Arc::new(next));
            prop_assert_eq!(snapshot.clashes, anew.clashes);
            if !snapshot.clashes {
                prop_assert_eq!(spelled(&snapshot), spelled(&anew));
            }
        }
    }
}
