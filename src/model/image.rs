//! Images: kernel, initrds, root and parameters as one versioned unit, so that they never disagree. Their files
//! are named by content and lie with the transport; here stands what belongs together.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::base::name::NameError;
use crate::base::{Digest, ImageName, ImageTag, Timestamp};
use crate::model::Arch;

/// The tag that is meant where none is given.
pub const DEFAULT_TAG: &str = "latest";

/// How many earlier versions a tag remembers.
pub const TAG_HISTORY_MAX: usize = 16;

/// One version of an image. Immutable: another version is another value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    pub name: ImageName,
    /// The SHA-256 of its manifest.
    pub version: Digest,
    pub created: Timestamp,
    pub arch: Option<Arch>,
    /// As `uname -r` says it on the node.
    pub kernel_version: Option<String>,
    pub kernel: File,
    pub initrds: Vec<File>,
    pub root: Option<Root>,
    /// Kernel parameters, before those of the assignment.
    pub params: String,
    /// What it was made from, for people: `registry.example/site/compute@sha256:…`.
    pub origin: String,
    pub labels: BTreeMap<String, String>,
}

/// A file by its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct File {
    pub digest: Digest,
    /// Octets.
    pub size: u64,
}

/// The root file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Root {
    pub file: File,
    pub format: RootFormat,
    pub delivery: Delivery,
}

/// What kind of file system a root is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootFormat {
    Squashfs,
    Erofs,
}

/// How the initrd brings the root to the node.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// dracut's livenet: `root=live:URL`.
    #[default]
    Live,
    /// Debian's live-boot: `boot=live fetch=URL`.
    Fetch,
    /// The hook of muster, which checks the digest before the root is used.
    Verified,
    /// On demand by network block device: the node fetches only what it touches.
    Nbd,
    /// The parameters of the image say it all.
    Params,
}

/// A name for a version that may move.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag {
    pub key: TagKey,
    pub version: Digest,
    pub since: Timestamp,
    /// What it named before, the latest first.
    pub before: Vec<(Digest, Timestamp)>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ImageKey {
    pub name: ImageName,
    pub version: Digest,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TagKey {
    pub name: ImageName,
    pub tag: ImageTag,
}

/// An image as an assignment or a person names it: `compute:prod`, `compute` (its tag `latest`), or pinned to a
/// version: `compute@sha256:…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ImageRef {
    Tag(TagKey),
    Version(ImageKey),
}

/// Says why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageRefError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{0:?} names no image version (expected NAME@sha256:DIGEST)")]
    Version(String),
}

impl Image {
    #[must_use]
    pub fn key(&self) -> ImageKey {
        ImageKey { name: self.name.clone(), version: self.version }
    }

    /// All of its files: kernel, initrds, root.
    pub fn files(&self) -> impl Iterator<Item = File> {
        let root = self.root.map(|root| root.file);
        [self.kernel].into_iter().chain(self.initrds.iter().copied()).chain(root)
    }

    /// Octets of all its files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files().map(|file| file.size).sum()
    }
}

impl Tag {
    /// The tag after it was moved: what it named before is remembered, the oldest forgotten.
    #[must_use]
    pub fn moved(&self, version: Digest, now: Timestamp) -> Tag {
        let mut before = vec![(self.version, self.since)];
        before.extend(self.before.iter().filter(|(old, _)| *old != version).copied());
        before.truncate(TAG_HISTORY_MAX);
        Tag { key: self.key.clone(), version, since: now, before }
    }
}

impl RootFormat {
    pub const ALL: [RootFormat; 2] = [RootFormat::Squashfs, RootFormat::Erofs];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RootFormat::Squashfs => "squashfs",
            RootFormat::Erofs => "erofs",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<RootFormat> {
        RootFormat::ALL.into_iter().find(|format| format.as_str() == name)
    }
}

impl Delivery {
    pub const ALL: [Delivery; 5] =
        [Delivery::Live, Delivery::Fetch, Delivery::Verified, Delivery::Nbd, Delivery::Params];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Delivery::Live => "live",
            Delivery::Fetch => "fetch",
            Delivery::Verified => "verified",
            Delivery::Nbd => "nbd",
            Delivery::Params => "params",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Delivery> {
        Delivery::ALL.into_iter().find(|delivery| delivery.as_str() == name)
    }
}

impl ImageRef {
    #[must_use]
    pub fn name(&self) -> &ImageName {
        match self {
            ImageRef::Tag(key) => &key.name,
            ImageRef::Version(key) => &key.name,
        }
    }
}

impl FromStr for ImageRef {
    type Err = ImageRefError;

    fn from_str(text: &str) -> Result<Self, ImageRefError> {
        if let Some((name, version)) = text.split_once('@') {
            let version = version.parse().map_err(|_| ImageRefError::Version(text.to_owned()))?;
            return Ok(ImageRef::Version(ImageKey { name: name.parse()?, version }));
        }
        text.parse().map(ImageRef::Tag).map_err(ImageRefError::Name)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageRef::Tag(key) => key.fmt(f),
            ImageRef::Version(key) => key.fmt(f),
        }
    }
}

/// `NAME:TAG`, or `NAME` for its tag `latest`.
impl FromStr for TagKey {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (name, tag) = text.split_once(':').unwrap_or((text, DEFAULT_TAG));
        Ok(TagKey { name: name.parse()?, tag: tag.parse()? })
    }
}

impl fmt::Display for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

impl fmt::Display for ImageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use crate::base::{Digest, Timestamp};
    use crate::model::image::{ImageRef, TAG_HISTORY_MAX, Tag};

    #[test]
    fn references_read_what_they_write() {
        let pinned = format!("compute@sha256:{}", "0a".repeat(32));
        for (text, written) in [
            ("compute", "compute:latest"),
            ("compute:2026-11-22", "compute:2026-11-22"),
            ("compute_x.y:Prod", "compute_x.y:prod"),
            (pinned.as_str(), pinned.as_str()),
        ] {
            let reference: ImageRef = text.parse().unwrap();
            assert_eq!(reference.to_string(), written);
        }
        for bad in
            ["", ":prod", "compute:", "a/b", "compute@prod", "compute:a:b", "../x", "traffic", "sha256:x"]
        {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_remembers_what_it_named_but_not_for_ever() {
        let digest = |n: u8| Digest([n; 32]);
        let mut tag =
            Tag { key: "a:b".parse().unwrap(), version: digest(0), since: Timestamp(0), before: Vec::new() };
        for n in 1..40 {
            tag = tag.moved(digest(n), Timestamp(u64::from(n)));
        }
        assert_eq!(tag.before.len(), TAG_HISTORY_MAX);
        assert_eq!(tag.before[0], (digest(38), Timestamp(38)));
        // Going back and forth between two versions does not push the others out.
        for n in [38, 39, 38, 39] {
            tag = tag.moved(digest(n), Timestamp(99));
        }
        assert_eq!(tag.before[1].0, digest(37));
    }
}
