//! The paths under which the files of images lie: by content for machines, by image and tag for people.

use crate::base::Digest;
use crate::model::Image;
use crate::model::image::RootFormat;

/// First part of a path that names content.
pub const CONTENT: &str = "sha256";
/// A kernel's name below its image or content.
pub const KERNEL: &str = "vmlinuz";
/// The manifest's name below its image.
pub const MANIFEST: &str = "manifest";
/// The name of the manifest's signature.
pub const SIGNATURE: &str = "manifest.sig";

/// The path of a file by its content. The last part is for those who look at names: live-boot takes a root only
/// with the ending `.squashfs`.
#[must_use]
pub fn by_content(digest: &Digest, name: &str) -> String {
    format!("{CONTENT}/{}/{name}", digest.hex())
}

/// The name of an initrd: `initrd.img`, `initrd-1.img`, …
#[must_use]
pub fn initrd(index: usize) -> String {
    if index == 0 { "initrd.img".to_owned() } else { format!("initrd-{index}.img") }
}

#[must_use]
pub fn root(format: RootFormat) -> &'static str {
    match format {
        RootFormat::Squashfs => "rootfs.squashfs",
        RootFormat::Erofs => "rootfs.erofs",
    }
}

/// The path of an image's manifest.
#[must_use]
pub fn manifest(image: &Image) -> String {
    format!("{}/{}/{MANIFEST}", image.name, image.version.hex())
}
