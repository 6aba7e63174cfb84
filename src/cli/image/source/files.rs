//! Artefacts by their names, as OpenCHAMI's image builders leave them in a folder: `vmlinuz-<version>`,
//! `initramfs-<version>.img`, `rootfs-<version>[.squashfs]`, and the same without a version.
//!
//! A name that goes on with `.zst` says that the artefact was packed for transport, and is unpacked: iPXE takes no
//! packed kernel, dracut no packed root. Only the name counts. An `initramfs-<version>.img` that begins with zstd's
//! magic is a packed cpio archive, which the kernel unpacks itself, and stays as it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use crate::cli::image::source::blob::{Blob, Quota, ZSTD_MAGIC};
use crate::cli::image::source::kernel;
use crate::cli::image::source::scratch::Scratch;
use crate::cli::image::source::version::compare;
use crate::cli::image::source::{Options, Prepared};
use crate::model::Arch;

/// Names within an image or a folder; the version stands between. The first that fits counts.
pub(crate) const KERNELS: [(&str, &str); 2] = [("vmlinuz", ""), ("Image", "")];
pub(crate) const INITRDS: [(&str, &str); 5] =
    [("initramfs", ".img"), ("initramfs", ""), ("initrd.img", ""), ("initrd", ".img"), ("initrd", "")];
const ROOTS: [(&str, &str); 4] =
    [("rootfs", ".squashfs"), ("rootfs", ".erofs"), ("rootfs", ".img"), ("rootfs", "")];

/// How packing for transport is named.
const PACKED: &str = ".zst";

/// Initramfs images beside the one that boots: for crash dumps, and for a broken system.
const SPECIAL: [&str; 2] = ["rescue", "kdump"];

/// What an artefact is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Kernel,
    Initrd,
    Root,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Part::Kernel => "kernel (vmlinuz-VERSION)",
            Part::Initrd => "initramfs (initramfs-VERSION.img)",
            Part::Root => "root image (rootfs-VERSION)",
        }
    }
}

/// What a file name says: the part, its kernel version if it has one, and whether it is packed for transport.
pub(crate) fn classify(name: &str) -> Option<(Part, Option<&str>, bool)> {
    let (plain, packed) = name.strip_suffix(PACKED).map_or((name, false), |plain| (plain, true));
    let tables: [(Part, &[(&str, &str)]); 3] =
        [(Part::Kernel, &KERNELS), (Part::Initrd, &INITRDS), (Part::Root, &ROOTS)];
    tables.into_iter().find_map(|(part, table)| Some((part, version_of(plain, table)?, packed)))
}

/// The version in a name of a table; None: the name is not of it. Some(None): there is none in it.
pub(crate) fn version_of<'a>(name: &'a str, table: &[(&str, &str)]) -> Option<Option<&'a str>> {
    if SPECIAL.iter().any(|word| name.contains(word)) {
        return None;
    }
    table.iter().find_map(|(prefix, suffix)| {
        let middle = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        match middle.strip_prefix('-') {
            Some(version) => (!version.is_empty()).then_some(Some(version)),
            None => middle.is_empty().then_some(None),
        }
    })
}

/// The artefacts of one version, by what they are for.
pub(crate) type Chosen<T> = (Option<String>, BTreeMap<Part, T>);

/// Artefacts by their version, each with whether it is packed, its name and its place.
type Sets<'a, T> = BTreeMap<Option<String>, BTreeMap<Part, (bool, &'a str, &'a T)>>;

/// Chooses the artefacts that belong together from names in one folder. Without `wanted` the newest version is
/// taken; it must be whole, since a half-copied new version must not turn into an old one without a word.
///
/// # Errors
/// What is missing, and what there is instead; two files for one purpose.
pub(crate) fn choose<T: Clone>(names: &[(String, T)], wanted: Option<&str>) -> anyhow::Result<Chosen<T>> {
    let mut sets = sets(names)?;
    let bare = sets.remove(&None).unwrap_or_default();
    let mut versions: Vec<String> = sets.keys().flatten().cloned().collect();
    versions.sort_by(|one, other| compare(one, other));
    let version = match wanted {
        Some(wanted) if versions.iter().any(|version| version == wanted) => Some(wanted.to_owned()),
        Some(wanted) if !versions.is_empty() => {
            bail!("there is no version {wanted}; there is {}", versions.join(", "))
        }
        _ => versions.last().cloned(),
    };
    let mut set = sets.remove(&version).unwrap_or_default();
    // Names without a version go with the only one that there is.
    if versions.len() <= 1 {
        bare.into_iter().for_each(|(part, place)| {
            set.entry(part).or_insert(place);
        });
    }
    if let Some(part) = [Part::Kernel, Part::Initrd, Part::Root].iter().find(|part| !set.contains_key(part)) {
        let of = version.map(|version| format!(" for version {version}")).unwrap_or_default();
        versions
            .retain(|version| sets.get(&Some(version.clone())).is_some_and(|other| other.contains_key(part)));
        let there = match versions.is_empty() {
            true => String::new(),
            false => format!("; there is one for {} (--kernel-version chooses)", versions.join(", ")),
        };
        bail!("there is no {}{of}{there}", part.as_str());
    }
    Ok((version, set.into_iter().map(|(part, (_, _, place))| (part, place.clone())).collect()))
}

/// Of one artefact in both forms, the plain one is taken: it needs no work.
fn sets<T>(names: &[(String, T)]) -> anyhow::Result<Sets<'_, T>> {
    let mut sets = Sets::new();
    for (name, place) in names {
        let Some((part, version, packed)) = classify(name) else { continue };
        let set = sets.entry(version.map(str::to_owned)).or_default();
        match set.get(&part) {
            Some((own, other, _)) if *own == packed => {
                bail!("{other} and {name} are both {}: leave one", part.as_str())
            }
            Some(_) if packed => {}
            _ => {
                set.insert(part, (packed, name, place));
            }
        }
    }
    Ok(sets)
}

/// An image from a folder.
pub(crate) fn folder(path: &Path, options: &Options, scratch: &Scratch) -> anyhow::Result<Prepared> {
    options.without_files()?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        let entry = entry?;
        // A name that is no text is none of ours.
        if let Ok(name) = entry.file_name().into_string()
            && entry.path().is_file()
        {
            names.push((name, entry.path()));
        }
    }
    names.sort();
    let chosen = choose(&names, options.kernel_version.as_deref());
    let (version, mut parts) = chosen.with_context(|| path.display().to_string())?;
    let mut prepared = Prepared { origin: path.display().to_string(), ..Prepared::default() };
    prepared.kernel = parts.remove(&Part::Kernel);
    prepared.initrds.extend(parts.remove(&Part::Initrd));
    prepared.root = parts.remove(&Part::Root);
    prepared.kernel_version = version;
    finish(prepared, options, scratch)
}

/// Unpacks what was packed for transport, and holds names, octets and wishes to one another.
pub(crate) fn finish(
    mut prepared: Prepared,
    options: &Options,
    scratch: &Scratch,
) -> anyhow::Result<Prepared> {
    let quota = Quota::new(options.unpacked_max());
    for path in prepared.files_mut() {
        *path = plain(path, &quota, scratch)?;
    }
    if let Some(root) = &prepared.root {
        check_root(root)?;
    }
    let Some(kernel) = &prepared.kernel else { return Ok(prepared) };
    let facts = kernel::facts(kernel)?;
    if let (Some(named), Some(own)) = (&prepared.kernel_version, &facts.version) {
        ensure!(named == own, "the kernel is named {named} and says that it is {own}");
    }
    let own = prepared.kernel_version.or(facts.version);
    if let (Some(wanted), Some(own)) = (&options.kernel_version, &own) {
        ensure!(wanted == own, "the kernel is {own}, not {wanted}");
    }
    prepared.kernel_version = own.or_else(|| options.kernel_version.clone());
    let known = [options.arch, prepared.arch, facts.arch];
    let known: Vec<Arch> = known.into_iter().flatten().collect();
    if let [first, others @ ..] = &known[..]
        && let Some(other) = others.iter().find(|other| *other != first)
    {
        bail!("the kernel is for {}, not for {}", other.as_str(), first.as_str());
    }
    prepared.arch = facts.arch.or(prepared.arch).or(options.arch);
    Ok(prepared)
}

/// The artefact as nodes need it.
fn plain(path: &Path, quota: &Quota, scratch: &Scratch) -> anyhow::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !name.ends_with(PACKED) {
        return Ok(path.to_owned());
    }
    let mut magic = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(magic == ZSTD_MAGIC, "{} is named {PACKED} and is not packed with zstd", path.display());
    let (mut file, target) = scratch.create("artefact")?;
    Blob::of(path)?.visit(quota, |stream| Ok(io::copy(stream, &mut file)?))?;
    Ok(target)
}

/// File systems that dracut and live-boot mount, by what stands where in them.
const ROOT_MAGICS: [(u64, &[u8]); 3] = [
    (0, b"hsqs"),
    // EROFS_SUPER_MAGIC_V1, in the super block at 1,024.
    (1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
    // ext2 to ext4: s_magic.
    (1024 + 56, &[0x53, 0xef]),
];

fn check_root(path: &Path) -> anyhow::Result<()> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    for (offset, magic) in ROOT_MAGICS {
        let mut found = vec![0; magic.len()];
        file.seek(SeekFrom::Start(offset))?;
        // A file that ends before is no such file system.
        if file.read_exact(&mut found).is_ok() && found == magic {
            return Ok(());
        }
    }
    bail!("{} is no squashfs, erofs or ext image", path.display())
}
