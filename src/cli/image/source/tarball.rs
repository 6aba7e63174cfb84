//! A tarball may be an OCI layout, a folder of artefacts or a root file system. Its names tell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::ensure;

use crate::cli::image::source::blob::Blob;
use crate::cli::image::source::files::{Part, choose, classify, finish};
use crate::cli::image::source::flatten::{extract, gather};
use crate::cli::image::source::layout::Layout;
use crate::cli::image::source::rootfs::{Layers, make_from};
use crate::cli::image::source::scratch::Scratch;
use crate::cli::image::source::tree::{Source, Tree};
use crate::cli::image::source::{Options, Prepared, layout};
use crate::cli::progress::Steps;

/// What `docker save` and `podman save` write beside layers, where they do not write a layout.
const DOCKER_MARK: &str = "manifest.json";

/// An image from a tarball.
pub(crate) fn open(
    path: &Path,
    options: &Options,
    scratch: &Scratch,
    steps: &Steps,
) -> anyhow::Result<Prepared> {
    let mut layers = vec![Blob::of(path)?];
    let tree = gather(&mut layers, 0, options.unpacked_max(), steps)?;
    if tree.file(layout::MARK.as_bytes()).is_some() {
        return Layout::archive(path, scratch, options)?.open(None, options, scratch, steps);
    }
    let digest = layers[0].digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    let origin = format!("{}{digest}", path.display());
    if let Some(names) = artefacts(&tree) {
        return pick(&names, &layers[0], origin, options, scratch);
    }
    ensure!(
        tree.file(DOCKER_MARK.as_bytes()).is_none() || tree.is_folder(b"usr"),
        "{origin} is of Docker's own format: save it as an OCI archive (podman save --format oci-archive)"
    );
    let image = Layers { layers, origin, ..Layers::default() };
    make_from(&tree, image, options, scratch, steps)
}

/// The files of the one folder that holds a kernel and a root image side by side; a root file system has no such.
fn artefacts(tree: &Tree) -> Option<Vec<(String, Source)>> {
    let (_, leaves) = tree.all();
    let mut folders: BTreeMap<PathBuf, Vec<(String, Source)>> = BTreeMap::new();
    for (_, path) in leaves {
        let Ok(path) = String::from_utf8(path) else { continue };
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if classify(name).is_some()
            && let Some((_, source)) = tree.file(path.as_bytes())
        {
            folders.entry(folder.into()).or_default().push((name.to_owned(), source));
        }
    }
    let has = |names: &[(String, Source)], wanted| {
        names.iter().any(|(name, _)| classify(name).is_some_and(|(part, ..)| part == wanted))
    };
    folders.into_values().find(|names| has(names, Part::Root) && has(names, Part::Kernel))
}

/// Copies the artefacts of one version out.
fn pick(
    names: &[(String, Source)],
    archive: &Blob,
    origin: String,
    options: &Options,
    scratch: &Scratch,
) -> anyhow::Result<Prepared> {
    options.without_files()?;
    let named: Vec<(String, (String, Source))> =
        names.iter().map(|(name, source)| (name.clone(), (name.clone(), *source))).collect();
    let (version, parts) = choose(&named, options.kernel_version.as_deref())?;
    let mut prepared = Prepared { origin, kernel_version: version, ..Prepared::default() };
    let mut wanted = BTreeMap::new();
    for (part, (name, source)) in parts {
        // What is packed for transport keeps its name, by which it is unpacked.
        let suffix = if name.ends_with(".zst") { ".zst" } else { "" };
        let (file, path) = scratch.create(&format!("artefact{suffix}"))?;
        wanted.insert(source, file);
        match part {
            Part::Kernel => prepared.kernel = Some(path),
            Part::Initrd => prepared.initrds.push(path),
            Part::Root => prepared.root = Some(path),
        }
    }
    extract(archive, &mut wanted, options.unpacked_max())?;
    finish(prepared, options, scratch)
}
