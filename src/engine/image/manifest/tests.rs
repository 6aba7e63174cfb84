use std::collections::BTreeMap;

use crate::base::{Digest, Timestamp};
use crate::engine::image::manifest::{emit, version};
use crate::model::Arch;
use crate::model::image::{Delivery, File, Image, Root, RootFormat};

fn image() -> Image {
    let file = |n: u8| File { digest: Digest([n; 32]), size: u64::from(n) * 1000 };
    Image {
        name: "compute".parse().unwrap(),
        version: Digest([0; 32]),
        created: Timestamp(1_795_341_600_000),
        arch: Some(Arch::X86_64),
        kernel_version: Some("6.1.0-28-amd64".to_owned()),
        kernel: file(1),
        initrds: vec![file(2), file(3)],
        root: Some(Root { file: file(4), format: RootFormat::Squashfs, delivery: Delivery::Verified }),
        params: "console=ttyS0 ro".to_owned(),
        origin: "oci:./layout".to_owned(),
        labels: BTreeMap::from([("by".to_owned(), "ci".to_owned())]),
    }
}

/// Versions are digests of this text: if this test fails, every image of every site would change its name.
#[test]
fn what_was_once_a_manifest_stays_the_same() {
    let text = format!(
        "muster-manifest 1\n\
         image compute\n\
         created 2026-11-22T10:00:00.000Z\n\
         arch x86_64\n\
         kernel-version 6.1.0-28-amd64\n\
         kernel sha256:{} 1000\n\
         initrd sha256:{} 2000\n\
         initrd sha256:{} 3000\n\
         root sha256:{} 4000 squashfs\n\
         delivery verified\n\
         params console=ttyS0 ro\n\
         origin oci:./layout\n\
         label by=ci\n",
        "01".repeat(32),
        "02".repeat(32),
        "03".repeat(32),
        "04".repeat(32)
    );
    assert_eq!(emit(&image()), text);
}

#[test]
fn the_version_tells_images_apart_and_nothing_else() {
    let one = image();
    let carried = Image { version: Digest([9; 32]), ..one.clone() };
    assert_eq!(version(&one), version(&carried));
    let other = Image { params: "console=ttyS1 ro".to_owned(), ..one.clone() };
    assert_ne!(version(&one), version(&other));
}
