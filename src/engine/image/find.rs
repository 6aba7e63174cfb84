//! Which file of the store a path below the images means. Machines ask by content; people, and parameters that
//! were written for OpenCHAMI's image server, by image and tag.

use std::sync::Arc;

use crate::base::Digest;
use crate::engine::image::names;
use crate::model::image::File;
use crate::model::{Image, ImageKey, ImageRef, Inventory, TagKey};

/// What a path means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A file by its content, and the image that it belongs to.
    File { image: Arc<Image>, file: File, kind: Kind },
    /// The text that says what an image is.
    Manifest(Arc<Image>),
    /// The signature of that text.
    Signature(Arc<Image>),
    /// It names an image, or content; but there is none such, for this reason.
    Missing(String),
    /// It names no image.
    NotOurs,
}

/// Which part of an image a file is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    Kernel,
    Initrd(usize),
    Root,
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Kernel => "kernel",
            Kind::Initrd(_) => "initrd",
            Kind::Root => "root",
        }
    }
}

/// Finds what a cleaned path (`engine::image::path::clean`, without the leading slash) means.
#[must_use]
pub fn find(inventory: &Inventory, path: &str) -> Found {
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(names::CONTENT), Some(digest), _, None) => by_content(inventory, digest),
        (Some(name), Some(version), Some(file), None) => by_name(inventory, name, version, file),
        _ => Found::NotOurs,
    }
}

fn by_content(inventory: &Inventory, digest: &str) -> Found {
    let Ok(digest) = digest.parse::<Digest>() else {
        return Found::Missing(format!("{digest} is no SHA-256"));
    };
    match inventory.images.values().find_map(|image| Some((image, kind_of(image, &digest)?))) {
        Some((image, (kind, file))) => Found::File { image: Arc::clone(image), file, kind },
        None => Found::Missing("no image has such content".to_owned()),
    }
}

fn kind_of(image: &Image, digest: &Digest) -> Option<(Kind, File)> {
    let initrds = image.initrds.iter().enumerate().map(|(index, file)| (Kind::Initrd(index), *file));
    let root = image.root.map(|root| (Kind::Root, root.file));
    let mut all = [(Kind::Kernel, image.kernel)].into_iter().chain(initrds).chain(root);
    all.find(|(_, file)| file.digest == *digest)
}

/// A file of an image by its tag or version. A kernel version in the file's name must be the image's: a kernel
/// and a root that do not belong together never leave the head.
fn by_name(inventory: &Inventory, name: &str, version: &str, file: &str) -> Found {
    let Ok(name) = name.parse() else { return Found::NotOurs };
    if inventory.versions(&name).next().is_none() {
        return Found::NotOurs;
    }
    let reference = match (version.parse::<Digest>(), version.parse()) {
        (Ok(version), _) => ImageRef::Version(ImageKey { name, version }),
        (Err(_), Ok(tag)) => ImageRef::Tag(TagKey { name, tag }),
        (Err(_), Err(_)) => return Found::Missing(format!("{version:?} is neither a tag nor a version")),
    };
    let Some(image) = inventory.image(&reference) else {
        return Found::Missing(format!("there is no image {reference}"));
    };
    let image = Arc::clone(image);
    match file {
        names::MANIFEST => return Found::Manifest(image),
        names::SIGNATURE => return Found::Signature(image),
        _ => {}
    }
    let Some((kind, kernel_version)) = kind_by_name(file) else {
        return Found::Missing(format!("images have no file {file:?}: ask for vmlinuz, initrd.img, rootfs"));
    };
    if let (Some(asked), Some(has)) = (kernel_version, &image.kernel_version)
        && asked != has
    {
        return Found::Missing(format!("{reference} has kernel {has}, not {asked}"));
    }
    let found = match kind {
        Kind::Kernel => Some(image.kernel),
        Kind::Initrd(index) => image.initrds.get(index).copied(),
        Kind::Root => image.root.map(|root| root.file),
    };
    match found {
        Some(file) => Found::File { image, file, kind },
        None => Found::Missing(format!("{reference} has no {}", kind.as_str())),
    }
}

/// Reads `vmlinuz-6.1.0`, `initramfs-6.1.0.img`, `rootfs-6.1.0.squashfs` and their short forms: the kind, and
/// the kernel version if the name has one.
fn kind_by_name(file: &str) -> Option<(Kind, Option<&str>)> {
    let after = |prefix: &str| file.strip_prefix(prefix).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
    if let Some(rest) = after("vmlinuz") {
        return Some((Kind::Kernel, nonempty(rest)));
    }
    for prefix in ["initramfs", "initrd.img", "initrd"] {
        let Some(rest) = after(prefix) else { continue };
        let rest = rest.strip_suffix(".img").unwrap_or(rest);
        // `initrd-1.img` is the second initrd of an image that has several.
        if prefix == "initrd"
            && let Ok(index) = rest.parse::<usize>()
        {
            return Some((Kind::Initrd(index), None));
        }
        return Some((Kind::Initrd(0), nonempty(rest)));
    }
    let rest = after("rootfs")?;
    let rest = [".squashfs", ".erofs"].iter().find_map(|end| rest.strip_suffix(end)).unwrap_or(rest);
    Some((Kind::Root, nonempty(rest)))
}

fn nonempty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
