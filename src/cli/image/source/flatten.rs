//! Layers to one archive: the first pass reads headers and builds the tree of what shows, the second writes that,
//! folders first, each file once, further names of it as hard links.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};

use anyhow::{Context as _, bail, ensure};
use tar::{Builder, EntryType, Header};

use crate::cli::image::source::archive::{Entry, Kind, Meta, walk};
use crate::cli::image::source::blob::{Blob, Quota};
use crate::cli::image::source::tree::{Leaves, Source, Tree};
use crate::cli::progress::Steps;

/// Where a name or a link's target ends in a plain header.
const NAME_BYTES: usize = 100;

/// The largest time that SquashFS holds.
const MTIME_MAX: u64 = u32::MAX as u64;

/// The first pass. Afterwards the digest of every layer is known and the second pass holds it to that.
pub(crate) fn gather(
    layers: &mut [Blob],
    created: u64,
    unpacked_max: u64,
    steps: &Steps,
) -> anyhow::Result<Tree> {
    let quota = Quota::new(unpacked_max);
    let mut tree = Tree::new(created);
    let count = layers.len();
    for (number, layer) in layers.iter_mut().enumerate() {
        steps.on(format!("reading layer {} of {count}", number + 1));
        let ((), digest) =
            layer.visit(&quota, |stream| walk(stream, &quota, &mut |entry, _| tree.lay(number, entry)))?;
        layer.digest = Some(digest);
    }
    Ok(tree)
}

/// The second pass. `taps` are files of the image of which a copy is wanted besides.
pub(crate) fn emit(
    layers: &[Blob],
    tree: &Tree,
    taps: &mut BTreeMap<Source, File>,
    unpacked_max: u64,
    (out, steps): (&mut dyn Write, &Steps),
) -> anyhow::Result<()> {
    let quota = Quota::new(unpacked_max);
    let (folders, leaves) = tree.all();
    let mut archive = Builder::new(out);
    for (path, meta) in folders {
        write(&mut archive, &path, &Kind::Folder, meta, (0, &mut io::empty()))?;
    }
    for (number, layer) in layers.iter().enumerate() {
        steps.on(format!("packing layer {} of {}", number + 1, layers.len()));
        let mut shown = Shown { leaves: &leaves, layer: number };
        layer.visit(&quota, |stream| {
            walk(stream, &quota, &mut |entry, body| {
                let source = Source { layer: number, index: entry.index };
                let paths = shown.take(source);
                if paths.is_empty() {
                    return Ok(());
                }
                match taps.get_mut(&source) {
                    Some(copy) => put(&mut archive, &entry, paths, &mut Tee { body, copy }),
                    None => put(&mut archive, &entry, paths, body),
                }
            })
        })?;
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

/// The leaves of one layer, in its order.
struct Shown<'a> {
    leaves: &'a Leaves,
    layer: usize,
}

impl<'a> Shown<'a> {
    /// The paths at which an entry shows.
    fn take(&mut self, source: Source) -> &'a [(Source, Vec<u8>)] {
        debug_assert_eq!(source.layer, self.layer);
        let from = self.leaves.partition_point(|(other, _)| *other < source);
        let to = self.leaves.partition_point(|(other, _)| *other <= source);
        &self.leaves[from..to]
    }
}

/// Writes one entry under all its names.
fn put<W: Write>(
    archive: &mut Builder<W>,
    entry: &Entry,
    paths: &[(Source, Vec<u8>)],
    body: &mut dyn Read,
) -> anyhow::Result<()> {
    let Some(((_, first), others)) = paths.split_first() else { return Ok(()) };
    if entry.kind != Kind::File {
        // Nothing is lost if they are many: they have no octets.
        return paths
            .iter()
            .try_for_each(|(_, path)| write(archive, path, &entry.kind, &entry.meta, (0, &mut io::empty())));
    }
    write(archive, first, &Kind::File, &entry.meta, (entry.size, body))?;
    let link = Kind::Hardlink(first.clone());
    others.iter().try_for_each(|(_, path)| write(archive, path, &link, &entry.meta, (0, &mut io::empty())))
}

fn write<W: Write>(
    archive: &mut Builder<W>,
    path: &[u8],
    kind: &Kind,
    meta: &Meta,
    (size, body): (u64, &mut dyn Read),
) -> anyhow::Result<()> {
    let Meta { mode, uid, gid, mtime, xattrs } = meta;
    let mut header = Header::new_ustar();
    header.set_mode(*mode);
    header.set_uid(u64::from(*uid));
    header.set_gid(u64::from(*gid));
    header.set_mtime((*mtime).min(MTIME_MAX));
    header.set_size(size);
    let (entry_type, target): (_, &[u8]) = match kind {
        Kind::Folder => (EntryType::Directory, b""),
        Kind::File => (EntryType::Regular, b""),
        Kind::Symlink(target) => (EntryType::Symlink, target),
        Kind::Hardlink(target) => (EntryType::Link, target),
        Kind::CharDevice(..) => (EntryType::Char, b""),
        Kind::BlockDevice(..) => (EntryType::Block, b""),
        Kind::Fifo => (EntryType::Fifo, b""),
    };
    header.set_entry_type(entry_type);
    if let Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) = kind {
        header.set_device_major(*major).context("its device number is too large")?;
        header.set_device_minor(*minor).context("its device number is too large")?;
    }
    let name = if path.is_empty() { b"./" } else { path };
    let mut records: Vec<(String, &[u8])> =
        xattrs.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), &**value)).collect();
    // Hard links have their attributes from what they link to.
    if matches!(kind, Kind::Hardlink(_)) {
        records.clear();
    }
    let ustar = header.as_ustar_mut().context("a new header is what it was made as")?;
    for (key, value, field) in [("path", name, &mut ustar.name), ("linkpath", target, &mut ustar.linkname)] {
        let plain = value.len().min(NAME_BYTES);
        field[..plain].copy_from_slice(&value[..plain]);
        if value.len() > NAME_BYTES {
            records.push((key.to_owned(), value));
        }
    }
    header.set_cksum();
    if !records.is_empty() {
        archive.append_pax_extensions(records.iter().map(|(key, value)| (&**key, *value)))?;
    }
    archive.append(&header, body)?;
    Ok(())
}

/// Copies what is read.
struct Tee<'a> {
    body: &'a mut dyn Read,
    copy: &'a mut File,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.body.read(buffer)?;
        self.copy.write_all(&buffer[..length])?;
        Ok(length)
    }
}

/// The single file of an archive at a path, copied out; for archives that hold artefacts and no root.
pub(crate) fn extract(
    layer: &Blob,
    wanted: &mut BTreeMap<Source, File>,
    unpacked_max: u64,
) -> anyhow::Result<()> {
    let quota = Quota::new(unpacked_max);
    let mut found = 0;
    layer.visit(&quota, |stream| {
        walk(stream, &quota, &mut |entry, body| {
            let Some(copy) = wanted.get_mut(&Source { layer: 0, index: entry.index }) else { return Ok(()) };
            ensure!(entry.kind == Kind::File, "no file");
            found += 1;
            io::copy(body, copy)?;
            Ok(())
        })
    })?;
    if found != wanted.len() {
        bail!("{} changed while it was read", layer.label);
    }
    Ok(())
}
