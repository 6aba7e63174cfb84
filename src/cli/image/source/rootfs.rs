//! A root file system, as layers or as one archive, to an image: kernel and initramfs are copied out of the stream
//! that becomes the root image.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};

use crate::cli::image::source::blob::Blob;
use crate::cli::image::source::files::{INITRDS, KERNELS, finish, version_of};
use crate::cli::image::source::flatten::{emit, gather};
use crate::cli::image::source::scratch::Scratch;
use crate::cli::image::source::squash::Squash;
use crate::cli::image::source::tree::{Source, Tree};
use crate::cli::image::source::version::compare;
use crate::cli::image::source::{Options, Prepared, fetched};
use crate::cli::progress::Steps;
use crate::model::Arch;

/// Where packages put modules; `/lib` is a link to `/usr/lib` on most systems, but not in every image.
const MODULES: [&str; 2] = ["usr/lib/modules", "lib/modules"];

/// Where a distribution's packages put kernels.
const BOOT: &str = "boot";

/// Layers and what is told of them.
#[derive(Default)]
pub(crate) struct Layers {
    pub(crate) layers: Vec<Blob>,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) arch: Option<Arch>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) cmdline: Option<String>,
    pub(crate) origin: String,
}

/// Makes the image.
pub(crate) fn make(
    mut image: Layers,
    options: &Options,
    scratch: &Scratch,
    steps: &Steps,
) -> anyhow::Result<Prepared> {
    let tree = gather(&mut image.layers, image.created, options.unpacked_max(), steps)?;
    make_from(&tree, image, options, scratch, steps)
}

/// The same once the tree is known.
pub(crate) fn make_from(
    tree: &Tree,
    image: Layers,
    options: &Options,
    scratch: &Scratch,
    steps: &Steps,
) -> anyhow::Result<Prepared> {
    ensure!(
        ["usr", "bin", "etc", "lib"].iter().any(|name| tree.is_folder(name.as_bytes())),
        "{} holds no root file system: there is neither usr nor bin, etc or lib in it",
        image.origin
    );
    let boot = Boot::find(tree, options).with_context(|| image.origin.clone())?;
    let Layers { layers, created: _, arch, labels, cmdline, origin } = image;
    let mut taps = BTreeMap::new();
    let mut prepared = Prepared { arch, labels, cmdline, origin, ..Prepared::default() };
    prepared.kernel = Some(match boot.kernel {
        Some((_, source)) => tap(source, "kernel", &mut taps, scratch)?,
        None => fetched(options.kernel.as_deref().unwrap_or_default(), options, scratch, steps)?,
    });
    prepared.initrds = match boot.initrd {
        Some((_, source)) => vec![tap(source, "initrd", &mut taps, scratch)?],
        None => options
            .initrd
            .iter()
            .map(|spec| fetched(spec, options, scratch, steps))
            .collect::<anyhow::Result<_>>()?,
    };
    let mut squash = Squash::start(options.format, tree.newest, tree.mode(), scratch)?;
    let written = emit(&layers, tree, &mut taps, options.unpacked_max(), (&mut squash, steps));
    steps.on("packing the root image");
    prepared.root = Some(squash.finish(written)?);
    prepared.kernel_version = boot.version;
    if let Some((count, first)) = &tree.left_out {
        prepared.notes.push(format!(
            "{count} entries have ACLs or attributes that a root image cannot hold; they are left out (first: {first})"
        ));
    }
    let prepared = finish(prepared, options, scratch)?;
    check_modules(tree, prepared)
}

fn tap(
    source: Source,
    name: &str,
    taps: &mut BTreeMap<Source, File>,
    scratch: &Scratch,
) -> anyhow::Result<PathBuf> {
    let (file, path) = scratch.create(name)?;
    taps.insert(source, file);
    Ok(path)
}

/// A kernel whose modules are not in its root comes up without disks and networks.
fn check_modules(tree: &Tree, mut prepared: Prepared) -> anyhow::Result<Prepared> {
    let Some(version) = &prepared.kernel_version else { return Ok(prepared) };
    let there = module_versions(tree);
    if there.is_empty() {
        prepared.notes.push("the root has no kernel modules".to_owned());
    } else if !there.contains(version) {
        let there: Vec<String> = there.into_iter().collect();
        bail!("the kernel is {version}, and the root has modules for {} only", there.join(", "));
    }
    Ok(prepared)
}

fn module_versions(tree: &Tree) -> BTreeSet<String> {
    let names = MODULES.iter().flat_map(|folder| tree.list(folder.as_bytes()));
    names.filter_map(|name| std::str::from_utf8(name).ok()).map(str::to_owned).collect()
}

/// The kernel and the initramfs of a root, by their places in it. None: the user gives one.
#[derive(Debug, Default)]
struct Boot {
    version: Option<String>,
    kernel: Option<(Vec<u8>, Source)>,
    initrd: Option<(Vec<u8>, Source)>,
}

impl Boot {
    /// # Errors
    /// What is missing, and how to make it.
    fn find(tree: &Tree, options: &Options) -> anyhow::Result<Boot> {
        if options.kernel.is_some() {
            ensure!(!options.initrd.is_empty(), "--kernel wants --initrd: they belong together");
            return Ok(Boot::default());
        }
        let mut kernels = kernels(tree);
        if let Some(wanted) = &options.kernel_version {
            let there: Vec<String> = kernels.keys().cloned().collect();
            kernels.retain(|version, _| version == wanted);
            ensure!(!kernels.is_empty(), "there is no kernel {wanted}; there is {}", listed(&there));
        }
        let newest = kernels.into_iter().max_by(|(one, _), (other, _)| compare(one, other));
        let (version, kernel) = match newest {
            Some((version, kernel)) => (Some(version), kernel),
            None => (None, bare_kernel(tree).context(NO_KERNEL)?),
        };
        let initrd = if options.initrd.is_empty() {
            Some(initrd(tree, version.as_deref()).with_context(|| no_initrd(version.as_deref()))?)
        } else {
            None
        };
        Ok(Boot { version, kernel: Some(kernel), initrd })
    }
}

const NO_KERNEL: &str = "there is no kernel: looked for /boot/vmlinuz-VERSION and \
                         /lib/modules/VERSION/vmlinuz. Install one while the image is built \
                         (dnf install kernel, apt-get install linux-image-amd64), or give --kernel and --initrd";

fn no_initrd(version: Option<&str>) -> String {
    let version = version.unwrap_or("VERSION");
    format!(
        "there is a kernel {version} and no initramfs for it: looked for /boot/initramfs-{version}.img, \
         /boot/initrd.img-{version} and /lib/modules/{version}/initramfs.img. Make one while the image is built \
         (dracut --force --no-hostonly --add 'dmsquash-live livenet network-manager' \
         /boot/initramfs-{version}.img {version}), or give --initrd"
    )
}

fn listed(versions: &[String]) -> String {
    if versions.is_empty() { "none".to_owned() } else { versions.join(", ") }
}

/// Kernels with a version, by it. One in `/boot` comes before its copy beside the modules.
fn kernels(tree: &Tree) -> BTreeMap<String, (Vec<u8>, Source)> {
    let mut found = BTreeMap::new();
    for name in tree.list(BOOT.as_bytes()) {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        if let Some(Some(version)) = version_of(name, &KERNELS)
            && let Some(file) = tree.file(format!("{BOOT}/{name}").as_bytes())
        {
            found.insert(version.to_owned(), file);
        }
    }
    for version in module_versions(tree) {
        for folder in MODULES {
            if let Some(file) = tree.file(format!("{folder}/{version}/vmlinuz").as_bytes()) {
                found.entry(version.clone()).or_insert(file);
            }
        }
    }
    found
}

/// A kernel whose name has no version: it says its version itself, if it can.
fn bare_kernel(tree: &Tree) -> Option<(Vec<u8>, Source)> {
    let names = KERNELS.iter().flat_map(|(name, _)| [format!("{BOOT}/{name}"), (*name).to_owned()]);
    names.into_iter().find_map(|path| tree.file(path.as_bytes()))
}

fn initrd(tree: &Tree, version: Option<&str>) -> Option<(Vec<u8>, Source)> {
    let mut places: Vec<String> = INITRDS
        .iter()
        .map(|(prefix, suffix)| match version {
            Some(version) => format!("{BOOT}/{prefix}-{version}{suffix}"),
            None => format!("{BOOT}/{prefix}{suffix}"),
        })
        .collect();
    if let Some(version) = version {
        places.extend(
            MODULES.iter().flat_map(|folder| {
                ["initramfs.img", "initrd"].map(|name| format!("{folder}/{version}/{name}"))
            }),
        );
    }
    places.iter().find_map(|path| tree.file(path.as_bytes()))
}
