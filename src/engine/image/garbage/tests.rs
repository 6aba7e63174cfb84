#![allow(clippy::arithmetic_side_effects, reason = "the numbers of a test are small")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::{Digest, Millis, Timestamp};
use crate::engine::image::garbage::{Plan, Policy, Reason, Uses, plan, referenced};
use crate::model::image::{File, Image, Tag};
use crate::model::profile::{Assignment, Boot, Selector};
use crate::model::{BootTarget, Change, Inventory};

const DAY: u64 = 86_400_000;

/// Version `n` of `compute`, made on day `n`, whose kernel is shared by all and whose initrd is its own.
fn image(n: u8) -> Image {
    let file = |k: u8| File { digest: Digest([k; 32]), size: 1 };
    Image {
        name: "compute".parse().unwrap(),
        version: Digest([n; 32]),
        created: Timestamp(u64::from(n) * DAY),
        arch: None,
        kernel_version: None,
        kernel: file(0xff),
        initrds: vec![file(0x80 + n)],
        root: None,
        params: String::new(),
        origin: String::new(),
        labels: BTreeMap::new(),
    }
}

fn inventory() -> Inventory {
    let mut inventory = Inventory::default();
    (1..=9).for_each(|n| inventory.apply(&Change::PutImage(Arc::new(image(n)))));
    let first = Tag {
        key: "compute:prod".parse().unwrap(),
        version: Digest([1; 32]),
        since: Timestamp(0),
        before: Vec::new(),
    };
    let tag = first.moved(Digest([2; 32]), Timestamp(0)).moved(Digest([3; 32]), Timestamp(0));
    inventory.apply(&Change::PutTag(Arc::new(tag)));
    let pinned = format!("compute@{}", Digest([4; 32])).parse().unwrap();
    let boot = Boot::Target(BootTarget::Image { image: pinned, params: String::new() });
    inventory.apply(&Change::PutAssignment(Arc::new(Assignment {
        selector: Selector::Default,
        once: false,
        boot,
    })));
    inventory
}

fn check(uses: &Uses, policy: Policy) -> Plan {
    plan(&inventory(), uses, policy, Timestamp(10 * DAY))
}

fn gone(plan: &Plan) -> Vec<u8> {
    plan.gone.iter().map(|image| image.version.0[0]).collect()
}

const NONE: Policy = Policy { newest: 0, younger: Millis(0) };

#[test]
fn what_a_tag_a_rollback_or_an_assignment_needs_is_kept() {
    let plan = check(&Uses::default(), NONE);
    assert_eq!(gone(&plan), [1, 5, 6, 7, 8, 9]);
    let reasons: Vec<String> = plan.kept.values().map(ToString::to_string).collect();
    assert_eq!(
        reasons,
        [
            "a rollback of compute:prod would need it",
            "tag compute:prod",
            "the assignment for default is pinned to it"
        ]
    );
}

#[test]
fn what_machines_use_is_kept() {
    let uses = Uses {
        streaming: BTreeSet::from([Digest([0x85; 32])]),
        booted: BTreeMap::from([(Digest([6; 32]), "nid001".to_owned())]),
    };
    let plan = check(&uses, NONE);
    assert_eq!(gone(&plan), [1, 7, 8, 9]);
    assert_eq!(plan.kept[&image(5).key()], Reason::Streaming);
    assert_eq!(plan.kept[&image(6).key()].to_string(), "nid001 booted it");
}

#[test]
fn the_newest_and_the_young_are_kept_as_the_policy_says() {
    let plan = check(&Uses::default(), Policy { newest: 2, younger: Millis(3 * DAY + 1) });
    assert_eq!(gone(&plan), [1, 5, 6]);
    assert_eq!(plan.kept[&image(9).key()], Reason::Newest);
    assert_eq!(plan.kept[&image(7).key()], Reason::Young);
}

#[test]
fn shared_content_stays_while_one_image_has_it() {
    let mut inventory = inventory();
    (2..=9).for_each(|n| inventory.apply(&Change::RemoveImage(image(n).key())));
    assert_eq!(referenced(&inventory), BTreeSet::from([Digest([0xff; 32]), Digest([0x81; 32])]));
}
