//! A draft finds what a search through all of it would find.

use std::sync::Arc;

use proptest::prelude::*;

use crate::api::openchami::draft::{Draft, Holder};
use crate::base::{Mac, Xname};
use crate::model::validate::validate;
use crate::model::{Bmc, Change, Interface, Inventory, Nid, Node, NodeId, Revision, Site, Snapshot};

/// A change of one of eight nodes or four BMCs.
#[derive(Clone, Debug)]
enum Step {
    Node { id: u64, named: u8, nid: Option<u8>, mac: Option<u8>, bmc: Option<u8> },
    NoNode(u64),
    Bmc { named: u8, xname: Option<u8>, mac: Option<u8> },
    NoBmc(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let small = || proptest::option::of(0..12_u8);
    prop_oneof![
        4 => (0..8_u64, 0..12_u8, small(), small(), proptest::option::of(0..4_u8))
            .prop_map(|(id, named, nid, mac, bmc)| Step::Node { id, named, nid, mac, bmc }),
        1 => (0..8_u64).prop_map(Step::NoNode),
        2 => (0..4_u8, proptest::option::of(0..6_u8), small())
            .prop_map(|(named, xname, mac)| Step::Bmc { named, xname, mac }),
        1 => (0..4_u8).prop_map(Step::NoBmc),
    ]
}

fn mac(number: u8) -> Mac {
    Mac([0, 0, 0x5e, 0, 0x53, number])
}

fn bmc_xname(number: u8) -> Xname {
    format!("x1c0s{number}b0").parse().unwrap()
}

fn change(step: &Step) -> Change {
    match step {
        Step::Node { id, named, nid, mac: number, bmc } => {
            let mut node = Node::new(NodeId(*id), format!("n{named}").parse().unwrap());
            node.xname = Some(format!("x1c0s{}b0n{}", named % 6, named / 6).parse().unwrap());
            node.nid = nid.map(|nid| Nid(nid.into()));
            node.interfaces.extend(number.map(|number| Interface {
                name: None,
                mac: mac(number),
                addresses: vec![[192, 0, 2, number].into()],
            }));
            node.bmc = bmc.map(|bmc| format!("b{bmc}").parse().unwrap());
            Change::PutNode(Arc::new(node))
        }
        Step::NoNode(id) => Change::RemoveNode(NodeId(*id)),
        Step::Bmc { named, xname, mac: number } => Change::PutBmc(Arc::new(Bmc {
            name: format!("b{named}").parse().unwrap(),
            xname: xname.map(bmc_xname),
            mac: number.map(|number| mac(number | 0x80)),
            address: number.map(|number| [192, 0, 2, number | 0x80].into()),
            fqdn: None,
            annotations: Default::default(),
        })),
        Step::NoBmc(named) => Change::RemoveBmc(format!("b{named}").parse().unwrap()),
    }
}

/// True if a change leaves names, numbers and addresses unique and refers to what is there.
fn is_sound(inventory: &Inventory, change: &Change) -> bool {
    let mut next = inventory.clone();
    next.apply(change);
    validate(&next, &Site::default()).is_empty()
}

fn check(draft: &Draft<'_>) {
    let next = &draft.next;
    for number in 0..12_u8 {
        let named = |node: &&Arc<Node>| node.name.as_str() == format!("n{number}");
        assert_eq!(draft.is_named(&format!("n{number}")), next.nodes.values().any(|node| named(&node)));
        let nid = Nid(number.into());
        assert_eq!(draft.is_numbered(nid), next.nodes.values().any(|node| node.nid == Some(nid)));
        let xname: Xname = format!("x1c0s{}b0n{}", number % 6, number / 6).parse().unwrap();
        let found = next.nodes.values().find(|node| node.effective_xname() == xname);
        assert_eq!(draft.node(&xname).as_ref(), found);
        let has = |node: &&Arc<Node>| node.interfaces.iter().any(|port| port.mac == mac(number));
        let holder = next.nodes.values().find(has).map(|node| Holder::Node(node.id));
        assert_eq!(draft.holder_of_mac(mac(number)), holder);
        assert_eq!(draft.holder_of_address([192, 0, 2, number].into()), holder);
        let holder = next.bmcs.values().find(|bmc| bmc.mac == Some(mac(number | 0x80)));
        let holder = holder.map(|bmc| Holder::Bmc(bmc.name.clone()));
        assert_eq!(draft.holder_of_mac(mac(number | 0x80)), holder);
        assert_eq!(draft.holder_of_address([192, 0, 2, number | 0x80].into()), holder);
    }
    let fresh = Snapshot::compile(Revision(0), Arc::default(), Arc::new(next.clone()));
    for number in 0..6 {
        let xname = bmc_xname(number);
        let names = |draft: &Draft<'_>| draft.bmc(&xname).map(|bmc| bmc.name.clone());
        assert_eq!(names(draft), names(&Draft::new(&fresh)), "{xname}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// After any changes, half of them in the snapshot and half in the draft.
    #[test]
    fn a_draft_finds_what_a_search_finds(
        before in proptest::collection::vec(step(), 0..16),
        after in proptest::collection::vec(step(), 1..24),
    ) {
        let mut inventory = Inventory::default();
        for change in before.iter().map(change) {
            if is_sound(&inventory, &change) {
                inventory.apply(&change);
            }
        }
        let snapshot = Snapshot::compile(Revision(1), Arc::default(), Arc::new(inventory));
        let mut draft = Draft::new(&snapshot);
        for change in after.iter().map(change) {
            if is_sound(&draft.next, &change) {
                draft.apply(change);
                check(&draft);
            }
        }
    }
}
