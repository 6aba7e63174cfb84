//! Any text as a configuration, node set, host list or range.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster::app::config::Config;
use muster::base::NodeSet;
use muster::base::hostlist::fold;
use muster::wire::range::{RangeRequest, parse_range};

fuzz_target!(|text: &str| {
    let _ = Config::parse(text);
    let _ = text.parse::<NodeSet>();
    let _ = fold(text.split(' '));
    if let RangeRequest::Bytes { first, last } = parse_range(text, 1000) {
        assert!(first <= last && last < 1000);
    }
});
