//! JSON of images, their tags, and what removing the unused ones comes to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::image::{File, Root};
use crate::model::{Image, Inventory, Tag};

/// One version of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageBody {
    pub name: String,
    /// The SHA-256 of its manifest: `sha256:…`.
    pub version: String,
    /// The tags that name it now.
    pub tags: Vec<String>,
    /// RFC 3339.
    pub created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_version: Option<String>,
    pub kernel: FileBody,
    pub initrds: Vec<FileBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<RootBody>,
    pub params: String,
    pub origin: String,
    pub labels: BTreeMap<String, String>,
    /// Octets of all files.
    pub size: u64,
}

/// A file by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileBody {
    /// `sha256:…`.
    pub digest: String,
    /// Octets.
    pub size: u64,
}

/// A root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RootBody {
    pub digest: String,
    pub size: u64,
    /// `squashfs` or `erofs`.
    pub format: String,
    /// How the initrd brings it: `live`, `fetch`, `verified`, `nbd` or `params`.
    pub delivery: String,
}

/// `POST /images`: a version made of files that the head has already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewImageBody {
    pub name: String,
    /// Moved to the new version, or made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_version: Option<String>,
    /// Digest of the kernel.
    pub kernel: String,
    /// Digests of the initrds, in their order.
    #[serde(default)]
    pub initrds: Vec<String>,
    /// Digest of the root file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// `live` (dracut), `fetch` (live-boot), `verified` (muster's hook), `nbd`, or `params`, whose `{root}` is filled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    #[serde(default)]
    pub params: String,
    /// What it was made from, for people.
    #[serde(default)]
    pub origin: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageTagBody {
    /// `NAME:TAG`.
    pub tag: String,
    pub version: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// What it named before, the latest first.
    pub before: Vec<TagBeforeBody>,
}

/// What a tag named before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagBeforeBody {
    pub version: String,
    pub since: String,
}

/// `PUT /image-tags/{tag}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveTagBody {
    /// What it is to name: `NAME:TAG`, `NAME@VERSION`, or the first digits of a version.
    pub image: String,
}

/// What `gc` removed, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GarbageBody {
    /// True if nothing was removed.
    pub dry_run: bool,
    /// Versions that are gone.
    pub images: Vec<String>,
    /// Files that are gone.
    pub files: Vec<FileBody>,
    /// Octets of those files.
    pub bytes: u64,
    /// What is kept, and why.
    pub kept: BTreeMap<String, String>,
}

/// How two versions differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageDiffBody {
    pub from: String,
    pub to: String,
    /// Fields with another value: what it was, what it is.
    pub fields: BTreeMap<String, [String; 2]>,
    /// Octets of the new version that the old one has not.
    pub new_bytes: u64,
}

impl From<File> for FileBody {
    fn from(file: File) -> Self {
        let File { digest, size } = file;
        FileBody { digest: digest.to_string(), size }
    }
}

impl From<Root> for RootBody {
    fn from(root: Root) -> Self {
        let Root { file: File { digest, size }, format, delivery } = root;
        RootBody {
            digest: digest.to_string(),
            size,
            format: format.as_str().to_owned(),
            delivery: delivery.as_str().to_owned(),
        }
    }
}

impl ImageBody {
    pub(crate) fn new(image: &Image, inventory: &Inventory) -> ImageBody {
        let size = image.size();
        let Image {
            name,
            version,
            created,
            arch,
            kernel_version,
            kernel,
            initrds,
            root,
            params,
            origin,
            labels,
        } = image;
        let named = inventory.tags.values().filter(|tag| tag.key.name == *name && tag.version == *version);
        ImageBody {
            name: name.to_string(),
            version: version.to_string(),
            tags: named.map(|tag| tag.key.tag.to_string()).collect(),
            created: created.rfc3339(),
            arch: arch.map(|arch| arch.as_str().to_owned()),
            kernel_version: kernel_version.clone(),
            kernel: (*kernel).into(),
            initrds: initrds.iter().map(|file| FileBody::from(*file)).collect(),
            root: root.map(RootBody::from),
            params: params.clone(),
            origin: origin.clone(),
            labels: labels.clone(),
            size,
        }
    }
}

impl From<&Tag> for ImageTagBody {
    fn from(tag: &Tag) -> Self {
        let Tag { key, version, since, before } = tag;
        let before = before
            .iter()
            .map(|(version, since)| TagBeforeBody { version: version.to_string(), since: since.rfc3339() });
        ImageTagBody {
            tag: key.to_string(),
            version: version.to_string(),
            since: since.rfc3339(),
            before: before.collect(),
        }
    }
}
