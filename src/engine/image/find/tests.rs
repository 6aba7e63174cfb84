use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::{Digest, Timestamp};
use crate::engine::image::find::{Found, Kind, find};
use crate::model::image::{File, Image, Root, RootFormat, Tag};
use crate::model::{Change, Inventory};

const VERSION: Digest = Digest([0xff; 32]);

fn inventory() -> Inventory {
    let file = |n: u8| File { digest: Digest([n; 32]), size: u64::from(n) };
    let image = Image {
        name: "compute".parse().unwrap(),
        version: VERSION,
        created: Timestamp(0),
        arch: None,
        kernel_version: Some("6.1.0-28-amd64".to_owned()),
        kernel: file(1),
        initrds: vec![file(2), file(3)],
        root: Some(Root { file: file(4), format: RootFormat::Squashfs, delivery: Default::default() }),
        params: String::new(),
        origin: String::new(),
        labels: BTreeMap::new(),
    };
    let tag = Tag {
        key: "compute:prod".parse().unwrap(),
        version: VERSION,
        since: Timestamp(0),
        before: Vec::new(),
    };
    let mut inventory = Inventory::default();
    inventory.apply(&Change::PutImage(Arc::new(image)));
    inventory.apply(&Change::PutTag(Arc::new(tag)));
    inventory
}

/// The first octet of what is found, and what it is.
fn check(path: &str) -> Result<(u8, Kind), Found> {
    match find(&inventory(), path) {
        Found::File { file, kind, .. } => Ok((file.digest.0[0], kind)),
        other => Err(other),
    }
}

#[test]
fn machines_ask_by_content_under_any_name() {
    let content = |n: &str, name: &str| check(&format!("sha256/{}{name}", n.repeat(32)));
    assert_eq!(content("01", "/vmlinuz"), Ok((1, Kind::Kernel)));
    assert_eq!(content("03", ""), Ok((3, Kind::Initrd(1))));
    assert_eq!(content("04", "/x.squashfs"), Ok((4, Kind::Root)));
    // What no image has is not served, though it may lie in the store: an upload under way is nobody's to read.
    assert!(matches!(content("05", "/vmlinuz"), Err(Found::Missing(_))));
    assert!(matches!(check("sha256/nonsense/vmlinuz"), Err(Found::Missing(_))));
}

#[test]
fn people_ask_by_image_and_tag_and_the_tutorials_names_are_understood() {
    for (file, want) in [
        ("vmlinuz", (1, Kind::Kernel)),
        ("vmlinuz-6.1.0-28-amd64", (1, Kind::Kernel)),
        ("initrd.img", (2, Kind::Initrd(0))),
        ("initrd-1.img", (3, Kind::Initrd(1))),
        ("initramfs-6.1.0-28-amd64.img", (2, Kind::Initrd(0))),
        ("initrd.img-6.1.0-28-amd64", (2, Kind::Initrd(0))),
        ("rootfs", (4, Kind::Root)),
        ("rootfs.squashfs", (4, Kind::Root)),
        ("rootfs-6.1.0-28-amd64", (4, Kind::Root)),
        ("rootfs-6.1.0-28-amd64.squashfs", (4, Kind::Root)),
    ] {
        assert_eq!(check(&format!("compute/prod/{file}")), Ok(want), "{file}");
        assert_eq!(check(&format!("compute/{}/{file}", VERSION.hex())), Ok(want), "{file}");
    }
    assert!(matches!(check("compute/prod/manifest"), Err(Found::Manifest(_))));
    assert!(matches!(check("compute/prod/manifest.sig"), Err(Found::Signature(_))));
}

#[test]
fn what_does_not_belong_together_or_is_not_there_is_said() {
    for (path, want) in [
        ("compute/prod/vmlinuz-6.1.0-99", "compute:prod has kernel 6.1.0-28-amd64, not 6.1.0-99"),
        ("compute/test/vmlinuz", "there is no image compute:test"),
        ("compute/prod/initrd-2.img", "compute:prod has no initrd"),
        ("compute/prod/passwd", "images have no file \"passwd\": ask for vmlinuz, initrd.img, rootfs"),
    ] {
        assert_eq!(check(path), Err(Found::Missing(want.to_owned())), "{path}");
    }
}

#[test]
fn other_paths_are_left_to_the_image_root() {
    for path in ["", "vmlinuz", "other/prod/vmlinuz", "compute/vmlinuz", "a/b/c/d", "UPPER CASE/x/y"] {
        assert_eq!(check(path), Err(Found::NotOurs), "{path}");
    }
}
