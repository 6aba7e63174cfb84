//! The unit that systemd runs the head by: known keys only, and little left to whoever takes the daemon over.
//! Whether raw sockets work under it shows `vm/appliance`, where a machine boots from a head that runs so.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

/// What `systemd-analyze security` may find at most, in tenths: 20 is "OK" next to the 92 of a unit without any
/// restriction.
const EXPOSURE_MAX: u32 = 20;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/muster.service");

fn analyze(arguments: &[&str]) -> String {
    let output = Command::new("systemd-analyze").args(arguments).output();
    let output = output.expect("systemd-analyze is there: it is part of Debian's package systemd");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_unit_leaves_little_to_whoever_takes_the_daemon_over() {
    let table = analyze(&["security", "--offline=true", "--no-pager", UNIT]);
    let verdict = table.lines().find(|line| line.contains("Overall exposure level")).expect(&table);
    let score = verdict.split_whitespace().find_map(|word| word.parse::<f64>().ok()).expect(verdict);
    assert!((score * 10.0).round() <= f64::from(EXPOSURE_MAX), "{table}");
}

#[test]
fn the_unit_has_no_key_that_systemd_does_not_know() {
    // `security` reads the unit as the service manager does, and says what it leaves out.
    let said = analyze(&["security", "--offline=true", "--no-pager", UNIT]);
    for complaint in ["Unknown", "ignoring", "Failed to"] {
        assert!(!said.contains(complaint), "{said}");
    }
}

#[test]
fn the_daemon_may_do_what_it_does_and_no_more() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("{key} is not set")).split_whitespace().collect::<Vec<_>>()
    };
    // What app/privileges.rs always keeps; NET_ADMIN is for those who let muster set addresses.
    let kept = ["CAP_NET_RAW", "CAP_NET_BIND_SERVICE"];
    assert_eq!(value("AmbientCapabilities"), kept);
    assert_eq!(value("CapabilityBoundingSet"), kept);
    assert!(
        !unit.lines().any(|line| line == "RestrictSUIDSGID=yes"),
        "openat2 would be gone, and no head starts"
    );
    assert!(value("RestrictAddressFamilies").contains(&"AF_PACKET"), "DHCP lives on raw sockets");
    assert_eq!(value("Type"), ["notify"], "the daemon says when it serves");
}
