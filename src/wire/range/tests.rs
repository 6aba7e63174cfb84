use proptest::prelude::*;

use crate::wire::range::{RangeRequest, none_match, parse_range};

#[test]
fn ranges_are_read_as_rfc_9110_says() {
    let bytes = |first, last| RangeRequest::Bytes { first, last };
    for (header, want) in [
        ("bytes=0-0", bytes(0, 0)),
        ("bytes=5-", bytes(5, 99)),
        ("bytes=-10", bytes(90, 99)),
        ("bytes=-1000", bytes(0, 99)),
        ("bytes=90-99999999999999999999999", bytes(90, 99)),
        ("bytes=100-", RangeRequest::Unsatisfiable),
        ("bytes=-0", RangeRequest::Unsatisfiable),
        ("bytes=99999999999999999999999-", RangeRequest::Unsatisfiable),
        ("bytes=9-5", RangeRequest::Whole),
        ("bytes=0-1,5-6", RangeRequest::Whole),
        ("lines=0-1", RangeRequest::Whole),
        ("bytes=", RangeRequest::Whole),
        ("bytes=-", RangeRequest::Whole),
        ("bytes=a-b", RangeRequest::Whole),
    ] {
        assert_eq!(parse_range(header, 100), want, "{header}");
    }
    assert_eq!(parse_range("bytes=0-", 0), RangeRequest::Unsatisfiable);
    assert_eq!(parse_range("bytes=-5", 0), RangeRequest::Unsatisfiable);
}

#[test]
fn validators_compare_weakly() {
    assert!(none_match("\"a\", W/\"b\"", "\"b\""));
    assert!(none_match("*", "\"b\""));
    assert!(!none_match("\"a\"", "\"b\""));
}

proptest! {
    #[test]
    fn a_granted_range_lies_inside(header in "bytes=[0-9]{0,4}-[0-9]{0,4}", size in 0u64..5000) {
        if let RangeRequest::Bytes { first, last } = parse_range(&header, size) {
            prop_assert!(first <= last && last < size);
        }
    }
}
