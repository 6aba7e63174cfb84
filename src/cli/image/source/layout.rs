//! OCI image layouts (image specification 1.1, "Image Layout Specification"): a folder with `oci-layout`,
//! `index.json` and `blobs/`, or a tar archive of one, which is read in place.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use oci_client::manifest::ImageIndexEntry;

use crate::base::Digest;
use crate::base::limits::OCI_DOCUMENT_BYTES_MAX;
use crate::cli::image::source::archive::{Kind, walk};
use crate::cli::image::source::blob::{Blob, Quota, digest_of};
use crate::cli::image::source::oci::{Document, Store, resolve};
use crate::cli::image::source::scratch::Scratch;
use crate::cli::image::source::{Options, Prepared, rootfs};
use crate::cli::progress::Steps;

/// The file that every layout has.
pub(crate) const MARK: &str = "oci-layout";
const INDEX: &str = "index.json";

/// Where tools put an image's name. containerd writes the whole reference.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

/// A layout on this machine.
pub(crate) struct Layout {
    path: PathBuf,
    place: Place,
}

enum Place {
    Folder,
    /// Where in an archive the octets of each file stand.
    Archive {
        file: PathBuf,
        parts: BTreeMap<String, (u64, u64)>,
    },
}

impl Layout {
    pub(crate) fn folder(path: &Path) -> anyhow::Result<Layout> {
        ensure!(path.join(MARK).is_file(), "{} is no OCI layout: it has no file {MARK}", path.display());
        Ok(Layout { path: path.to_owned(), place: Place::Folder })
    }

    /// A packed archive is unpacked first, since its parts are read in another order.
    pub(crate) fn archive(path: &Path, scratch: &Scratch, options: &Options) -> anyhow::Result<Layout> {
        let mut blob = Blob::of(path)?;
        if blob.is_packed()? {
            let (mut file, plain) = scratch.create("layout")?;
            blob.visit(&Quota::new(options.unpacked_max()), |stream| Ok(io::copy(stream, &mut file)?))?;
            blob = Blob { label: blob.label, ..Blob::of(&plain)? };
        }
        let quota = Quota::new(options.unpacked_max());
        let mut parts = BTreeMap::new();
        blob.visit(&quota, |stream| {
            let position = Cell::new(0);
            let mut counted = Counted { stream, position: &position };
            walk(&mut counted, &quota, &mut |entry, _| {
                if entry.kind == Kind::File
                    && let Ok(name) = String::from_utf8(entry.path)
                {
                    parts.insert(name, (position.get(), entry.size));
                }
                Ok(())
            })
        })?;
        ensure!(parts.contains_key(MARK), "{} is no OCI layout: it has no file {MARK}", path.display());
        Ok(Layout { path: path.to_owned(), place: Place::Archive { file: blob.file, parts } })
    }

    /// The image of a tag; without one, the only one there is.
    pub(crate) fn open(
        &self,
        tag: Option<&str>,
        options: &Options,
        scratch: &Scratch,
        steps: &Steps,
    ) -> anyhow::Result<Prepared> {
        let read = || {
            let bytes = self.part(INDEX, INDEX)?.read(OCI_DOCUMENT_BYTES_MAX)?;
            let mut document = Document::parse(&bytes, digest_of(&bytes))?;
            if let Document::Index(index) = &mut document {
                index.manifests = tagged(std::mem::take(&mut index.manifests), tag)?;
            }
            resolve(self, document, options.arch)
        };
        let (mut image, digest) = read().with_context(|| self.path.display().to_string())?;
        image.origin = format!("oci:{}@{digest}", self.path.display());
        rootfs::make(image, options, scratch, steps)
    }

    fn part(&self, name: &str, label: &str) -> anyhow::Result<Blob> {
        let blob = match &self.place {
            Place::Folder => Blob::of(&self.path.join(name))?,
            Place::Archive { file, parts } => {
                let (offset, size) = *parts.get(name).with_context(|| format!("{name} is missing"))?;
                Blob { offset, size, ..Blob::of(file)? }
            }
        };
        Ok(Blob { label: label.to_owned(), ..blob })
    }
}

impl Store for Layout {
    fn document(&self, digest: Digest, size: u64) -> anyhow::Result<Vec<u8>> {
        self.blob(format!("manifest {digest}"), digest, size)?.read(OCI_DOCUMENT_BYTES_MAX)
    }

    fn blob(&self, label: String, digest: Digest, size: u64) -> anyhow::Result<Blob> {
        let blob = self.part(&format!("blobs/sha256/{}", digest.hex()), &label)?;
        ensure!(blob.size == size, "{label} has {} octets, expected {size}", blob.size);
        Ok(Blob { digest: Some(digest), ..blob })
    }
}

/// The entries of an index that a tag means.
fn tagged(entries: Vec<ImageIndexEntry>, tag: Option<&str>) -> anyhow::Result<Vec<ImageIndexEntry>> {
    let names = |entry: &ImageIndexEntry| -> Vec<String> {
        let annotations = entry.annotations.iter().flatten();
        annotations.filter(|(key, _)| NAMES.contains(&&***key)).map(|(_, name)| name.clone()).collect()
    };
    let mut there: Vec<String> = entries.iter().flat_map(names).collect();
    there.sort();
    there.dedup();
    let Some(tag) = tag else {
        ensure!(there.len() <= 1 || entries.len() <= 1, "name one of its tags: {}", there.join(", "));
        return Ok(entries);
    };
    let meant = |name: &String| name == tag || name.rsplit_once(':').is_some_and(|(_, own)| own == tag);
    let found: Vec<ImageIndexEntry> =
        entries.into_iter().filter(|entry| names(entry).iter().any(meant)).collect();
    if found.is_empty() {
        bail!(
            "there is no tag {tag}; there is {}",
            if there.is_empty() { "none".into() } else { there.join(", ") }
        );
    }
    Ok(found)
}

/// Knows how far it has been read.
struct Counted<'a> {
    stream: &'a mut dyn Read,
    position: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        self.position.set(self.position.get() + u64::try_from(length).unwrap_or(u64::MAX));
        Ok(length)
    }
}
