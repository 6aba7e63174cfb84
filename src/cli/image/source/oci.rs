//! From a name in a registry or a layout to the layers of one image: indexes, manifests and configurations of the
//! OCI image specification 1.1 and of Docker's schema 2, which have the same form.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use oci_client::manifest::{
    IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE, IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE,
    IMAGE_LAYER_MEDIA_TYPE, IMAGE_LAYER_NONDISTRIBUTABLE_GZIP_MEDIA_TYPE,
    IMAGE_LAYER_NONDISTRIBUTABLE_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE,
    ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageIndex,
    OciImageManifest,
};
use serde::Deserialize;
use serde_json::Value;

use crate::base::limits::{OCI_DOCUMENT_BYTES_MAX, OCI_INDEX_DEPTH_MAX, OCI_LAYERS_MAX};
use crate::base::{Digest, Timestamp};
use crate::cli::image::source::blob::Blob;
use crate::cli::image::source::rootfs::Layers;
use crate::model::Arch;

/// Documents that stand for an image, in the order of preference when asking for one.
pub(crate) const DOCUMENTS: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];

/// Layers that are file systems. zstd came after the library's list.
const LAYERS: [&str; 7] = [
    IMAGE_LAYER_MEDIA_TYPE,
    IMAGE_LAYER_GZIP_MEDIA_TYPE,
    "application/vnd.oci.image.layer.v1.tar+zstd",
    IMAGE_DOCKER_LAYER_TAR_MEDIA_TYPE,
    IMAGE_DOCKER_LAYER_GZIP_MEDIA_TYPE,
    IMAGE_LAYER_NONDISTRIBUTABLE_MEDIA_TYPE,
    IMAGE_LAYER_NONDISTRIBUTABLE_GZIP_MEDIA_TYPE,
];

/// The label by which an image brings kernel parameters along.
const CMDLINE_LABEL: &str = "muster.cmdline";

/// Where blobs come from; what they give is checked against size and digest here or by them.
pub(crate) trait Store {
    /// A manifest or an index, whole and checked.
    fn document(&self, digest: Digest, size: u64) -> anyhow::Result<Vec<u8>>;
    /// Anything else. Its octets are checked when they are read.
    fn blob(&self, label: String, digest: Digest, size: u64) -> anyhow::Result<Blob>;
}

/// A manifest or an index.
pub(crate) enum Document {
    Index(OciImageIndex),
    Image(Box<OciImageManifest>, Digest),
}

impl Document {
    pub(crate) fn parse(bytes: &[u8], digest: Digest) -> anyhow::Result<Document> {
        let value: Value = serde_json::from_slice(bytes).context("the manifest is no JSON")?;
        ensure!(value["schemaVersion"] == 2, "the manifest's schemaVersion is not 2");
        if value.get("manifests").is_some() {
            return serde_json::from_value(value).map(Document::Index).context("malformed index");
        }
        let manifest = serde_json::from_value(value).context("malformed manifest")?;
        Ok(Document::Image(Box::new(manifest), digest))
    }
}

/// What of a configuration concerns us.
#[derive(Deserialize)]
struct Config {
    created: Option<String>,
    architecture: Option<String>,
    os: Option<String>,
    config: Option<Execution>,
    rootfs: Rootfs,
}

#[derive(Deserialize)]
struct Execution {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Rootfs {
    diff_ids: Vec<String>,
}

/// Follows indexes to one image and fetches its layers. `wanted`: None takes the only one, or this machine's.
/// Origin is left to the caller, who knows where the image came from; its digest is returned.
pub(crate) fn resolve(
    store: &dyn Store,
    mut document: Document,
    wanted: Option<Arch>,
) -> anyhow::Result<(Layers, Digest)> {
    for _ in 0..OCI_INDEX_DEPTH_MAX {
        let index = match document {
            Document::Image(manifest, digest) => return Ok((image(store, &manifest)?, digest)),
            Document::Index(index) => index,
        };
        let entry = pick(&index.manifests, wanted)?;
        let (digest, size) = named(&entry.digest, entry.size)?;
        ensure!(
            size <= OCI_DOCUMENT_BYTES_MAX,
            "the manifest {digest} has {size} octets, at most {OCI_DOCUMENT_BYTES_MAX}"
        );
        document = Document::parse(&store.document(digest, size)?, digest)?;
    }
    bail!("indexes within indexes, more than {OCI_INDEX_DEPTH_MAX}")
}

/// Digest and size of a descriptor.
fn named(digest: &str, size: i64) -> anyhow::Result<(Digest, u64)> {
    let parsed = digest.starts_with("sha256:").then(|| digest.parse().ok()).flatten();
    let parsed = parsed.with_context(|| format!("digest {digest:?}: only sha256 is read here"))?;
    Ok((parsed, u64::try_from(size).with_context(|| format!("{digest} has a size of {size}"))?))
}

/// Chooses from an index.
fn pick(entries: &[ImageIndexEntry], wanted: Option<Arch>) -> anyhow::Result<&ImageIndexEntry> {
    let is_image = |entry: &&ImageIndexEntry| {
        let linux = entry.platform.as_ref().is_none_or(|platform| platform.os.to_string() == "linux");
        linux && DOCUMENTS.contains(&&*entry.media_type)
    };
    let images: Vec<&ImageIndexEntry> = entries.iter().filter(is_image).collect();
    let arch_of =
        |entry: &ImageIndexEntry| entry.platform.as_ref().map(|platform| platform.architecture.to_string());
    let arch = wanted.or_else(|| Arch::from_name(std::env::consts::ARCH));
    let fits = |entry: &&ImageIndexEntry| {
        arch_of(entry).and_then(|name| Arch::from_name(&name)).is_some_and(|own| Some(own) == arch)
    };
    match (images.iter().copied().find(fits), &images[..]) {
        (Some(entry), _) => Ok(entry),
        (None, [only]) if wanted.is_none() || only.platform.is_none() => Ok(*only),
        (None, []) => bail!("the index names no image for Linux"),
        (None, others) => {
            let others: Vec<String> =
                others.iter().map(|entry| arch_of(entry).unwrap_or_else(|| "unnamed".to_owned())).collect();
            let arch = arch.map_or(std::env::consts::ARCH, Arch::as_str);
            bail!("there is no image for {arch} (--arch); there is {}", others.join(", "))
        }
    }
}

/// Fetches one image.
fn image(store: &dyn Store, manifest: &OciImageManifest) -> anyhow::Result<Layers> {
    ensure!(
        manifest.layers.len() <= OCI_LAYERS_MAX,
        "the image has {} layers, at most {OCI_LAYERS_MAX}",
        manifest.layers.len()
    );
    let (digest, size) = named(&manifest.config.digest, manifest.config.size)?;
    let config = store.blob("the image's configuration".to_owned(), digest, size)?;
    let config: Config = serde_json::from_slice(&config.read(OCI_DOCUMENT_BYTES_MAX)?)
        .context("this is no image of a file system: its configuration names no rootfs")?;
    let os = config.os.as_deref().filter(|os| !os.is_empty() && *os != "linux");
    ensure!(os.is_none(), "the image is for {}", os.unwrap_or_default());
    ensure!(
        config.rootfs.diff_ids.len() == manifest.layers.len(),
        "the manifest has {} layers, the configuration {}",
        manifest.layers.len(),
        config.rootfs.diff_ids.len()
    );
    let arch = match config.architecture.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => {
            Some(Arch::from_name(name).with_context(|| format!("the image is for {name}: unknown here"))?)
        }
        None => None,
    };
    let created = config.created.as_deref().and_then(Timestamp::parse);
    let mut labels = config.config.and_then(|config| config.labels).unwrap_or_default();
    let mut layers = Vec::new();
    for (number, (layer, diff_id)) in manifest.layers.iter().zip(&config.rootfs.diff_ids).enumerate() {
        layers.push(fetch(store, number + 1, layer, diff_id)?);
    }
    let cmdline = labels.remove(CMDLINE_LABEL);
    let created = created.map_or(0, seconds);
    Ok(Layers { layers, created, arch, labels, cmdline, origin: String::new() })
}

fn fetch(store: &dyn Store, number: usize, layer: &OciDescriptor, diff_id: &str) -> anyhow::Result<Blob> {
    let label = format!("layer {number} ({})", layer.digest);
    ensure!(LAYERS.contains(&&*layer.media_type), "{label} is {}: no file system", layer.media_type);
    let (digest, size) = named(&layer.digest, layer.size)?;
    let (diff_id, _) = named(diff_id, 0).context("the configuration's diff_ids")?;
    let mut blob = store.blob(label, digest, size)?;
    blob.diff_id = Some(diff_id);
    Ok(blob)
}

fn seconds(time: Timestamp) -> u64 {
    time.0 / 1000
}
