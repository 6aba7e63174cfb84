use std::collections::BTreeSet;

use crate::base::nodeset::{NodeSet, NodeSetError, Term};

fn check(text: &str) -> Vec<String> {
    let site = ["login", "nid001", "nid002", "nid003"];
    let set: NodeSet = text.parse().unwrap();
    let members = set.evaluate(|term| -> Result<BTreeSet<String>, ()> {
        Ok(match term {
            Term::All => site.map(str::to_owned).into(),
            Term::Group(_) => ["nid002", "nid003"].map(str::to_owned).into(),
            Term::Names(names) => names.iter().cloned().collect(),
        })
    });
    members.unwrap().into_iter().collect()
}

#[test]
fn operators_apply_from_left_to_right() {
    assert_eq!(check("nid[001-002],login"), ["login", "nid001", "nid002"]);
    assert_eq!(check("*!nid001"), ["login", "nid002", "nid003"]);
    assert_eq!(check("nid[001-003] & @compute ! nid003"), ["nid002"]);
    assert_eq!(check("nid001!nid001,login"), ["login"]);
}

#[test]
fn missing_operands_are_refused() {
    for bad in ["", ",", "a,,b", "a!", "&a", " "] {
        assert!(matches!(bad.parse::<NodeSet>(), Err(NodeSetError::Empty(_))), "{bad:?}");
    }
    assert!(matches!("@a b".parse::<NodeSet>(), Err(NodeSetError::Group(_))));
    assert!(matches!("a[1".parse::<NodeSet>(), Err(NodeSetError::Hostlist(_))));
}
