use proptest::prelude::*;

use crate::base::hostlist::{HostlistError, expand, fold};

#[test]
fn ranges_keep_their_width() {
    assert_eq!(expand("nid[001-003,012]").unwrap(), ["nid001", "nid002", "nid003", "nid012"]);
    assert_eq!(expand("r[1-2]n[8-9]x").unwrap(), ["r1n8x", "r1n9x", "r2n8x", "r2n9x"]);
    assert_eq!(expand("login").unwrap(), ["login"]);
}

#[test]
fn malformed_lists_are_refused() {
    for bad in ["nid[", "nid]", "nid]1[", "nid[1"] {
        assert!(matches!(expand(bad), Err(HostlistError::Brackets(_))), "{bad}");
    }
    for bad in ["nid[]", "nid[a]", "nid[3-1]", "nid[1-]", "nid[9999999999]"] {
        assert!(matches!(expand(bad), Err(HostlistError::Range(..))), "{bad}");
    }
    assert!(matches!(expand("n[0-999999]"), Err(HostlistError::TooMany(_))));
    assert!(matches!(expand("n[0-999][0-999]"), Err(HostlistError::TooMany(_))));
}

#[test]
fn names_fold_to_the_shortest_list() {
    assert_eq!(fold(["nid002", "nid001", "login", "nid004", "nid1"]), "login,nid1,nid[001-002,004]");
    assert_eq!(fold(["x1000c0s0b0n0", "x1000c0s0b0n1"]), "x1000c0s0b0n[0-1]");
    assert_eq!(fold([]), "");
}

#[test]
fn what_is_too_long_for_a_number_stays_a_name() {
    assert_eq!(fold(["n999999999", "n1000000000"]), "n1000000000,n999999999");
    assert_eq!(fold(["n18446744073709551615", "n18446744073709551614"]).split(',').count(), 2);
}

proptest! {
    #[test]
    fn folding_and_expanding_is_the_identity(numbers in prop::collection::btree_set(0usize..3000, 1..200)) {
        let names: Vec<String> = numbers.iter().map(|n| format!("nid{n:04}")).collect();
        let folded = fold(names.iter().map(String::as_str));
        prop_assert_eq!(expand(&folded).unwrap(), names);
    }

    #[test]
    fn no_text_makes_it_panic(text in ".{0,40}") {
        let _ = expand(&text);
        let _ = fold([text.as_str()]);
    }
}
