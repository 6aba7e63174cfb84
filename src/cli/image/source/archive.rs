//! The entries of a tar stream, each checked before anybody sees it. Nothing is unpacked to disk.

use std::io::{self, Read};

use anyhow::{Context as _, bail, ensure};
use tar::{EntryType, Header};

use crate::base::limits::{
    IMAGE_DEPTH_MAX, IMAGE_ENTRIES_MAX, IMAGE_ENTRY_RECORDS_BYTES_MAX, IMAGE_NAME_BYTES_MAX,
    IMAGE_PATH_BYTES_MAX, IMAGE_RECORDS_BYTES_MAX,
};
use crate::cli::image::source::blob::Quota;
use crate::cli::image::source::pax::Records;

const BLOCK_BYTES: u64 = 512;

/// One entry.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Which of its archive, from nought.
    pub(crate) index: u64,
    /// From the root of the image, without `/` at either end; empty: the root itself.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) meta: Meta,
    /// Octets that follow.
    pub(crate) size: u64,
    /// It has attributes that a root image cannot hold.
    pub(crate) left_out: bool,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File,
    /// Never followed, so it may point anywhere.
    Symlink(Vec<u8>),
    /// To a path of the image, in the form of [`Entry::path`].
    Hardlink(Vec<u8>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
}

/// What is known of a file beside its name and octets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970.
    pub(crate) mtime: u64,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

/// Shows every entry with its octets.
///
/// # Errors
/// Broken archives, bounds of `quota`, entries that no root image could hold, by name; and what `each` says.
pub(crate) fn walk(
    stream: &mut dyn Read,
    quota: &Quota,
    each: &mut dyn FnMut(Entry, &mut dyn Read) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut index = 0;
    let mut records = Records::default();
    while let Some(header) = header(stream)? {
        quota.entries.set(quota.entries.get() + 1);
        ensure!(
            quota.entries.get() <= IMAGE_ENTRIES_MAX,
            "the image has more than {IMAGE_ENTRIES_MAX} entries"
        );
        let size = header.entry_size().context("an entry's size is no number")?;
        match header.entry_type() {
            EntryType::XHeader => records.add(&extension(stream, size, quota)?)?,
            // Defaults for the rest of the archive. git writes a comment; nobody was seen to write more.
            EntryType::XGlobalHeader => {
                let mut global = Records::default();
                global.add(&extension(stream, size, quota)?)?;
                let Records { path, link, size, uid, gid, mtime: _, xattrs, left_out: _, sparse } = global;
                let harmless = path.is_none() && link.is_none() && size.is_none() && xattrs.is_empty();
                ensure!(
                    harmless && uid.is_none() && gid.is_none() && !sparse,
                    "a global pax header changes every entry: not read here"
                );
            }
            EntryType::GNULongName => records.path = Some(long(extension(stream, size, quota)?)),
            EntryType::GNULongLink => records.link = Some(long(extension(stream, size, quota)?)),
            _ => {
                let entry = entry(index, &header, size, std::mem::take(&mut records))?;
                index += 1;
                let padding = entry.size.wrapping_neg() % BLOCK_BYTES;
                let mut body = Body { stream, left: entry.size };
                let name = String::from_utf8_lossy(&entry.path).into_owned();
                each(entry, &mut body).with_context(|| name.clone())?;
                io::copy(&mut body, &mut io::sink()).context(name)?;
                io::copy(&mut Body { stream, left: padding }, &mut io::sink())?;
            }
        }
    }
    Ok(())
}

/// The next header; None at the end, which is a block of zeros or, as some write it, nothing at all.
fn header(stream: &mut dyn Read) -> anyhow::Result<Option<Header>> {
    let mut header = Header::new_old();
    let block = header.as_mut_bytes();
    let mut filled = 0;
    while filled < block.len() {
        match stream.read(&mut block[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => bail!("the archive ends within a header"),
            length => filled += length,
        }
    }
    if block.iter().all(|octet| *octet == 0) {
        return Ok(None);
    }
    // The sum is taken with blanks in its own place (POSIX.1-2008, pax, ustar Interchange Format).
    let own: u32 = block[148..156].iter().map(|octet| u32::from(*octet)).sum();
    let sum: u32 = block.iter().map(|octet| u32::from(*octet)).sum::<u32>() - own + 8 * u32::from(b' ');
    ensure!(header.cksum().ok() == Some(sum), "this is no tar archive, or a damaged one");
    Ok(Some(header))
}

/// The octets of a header that describes the next one.
fn extension(stream: &mut dyn Read, size: u64, quota: &Quota) -> anyhow::Result<Vec<u8>> {
    ensure!(
        size <= IMAGE_ENTRY_RECORDS_BYTES_MAX,
        "an entry has {size} octets of extension records, at most {IMAGE_ENTRY_RECORDS_BYTES_MAX}"
    );
    quota.records.set(quota.records.get() + size);
    ensure!(
        quota.records.get() <= IMAGE_RECORDS_BYTES_MAX,
        "the image has more than {IMAGE_RECORDS_BYTES_MAX} octets of extension records"
    );
    let mut bytes = Vec::new();
    Body { stream, left: size }.read_to_end(&mut bytes)?;
    io::copy(&mut Body { stream, left: size.wrapping_neg() % BLOCK_BYTES }, &mut io::sink())?;
    Ok(bytes)
}

/// A long name of GNU's ends with a zero octet.
fn long(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|octet| *octet == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

fn entry(index: u64, header: &Header, size: u64, records: Records) -> anyhow::Result<Entry> {
    let raw = records.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let shown = String::from_utf8_lossy(&raw).into_owned();
    let path = clean(&raw).with_context(|| format!("entry {shown:?}"))?;
    let link = records.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
    let check = || {
        let kind = kind(header, &raw, link)?;
        let id = |name, value: io::Result<u64>| {
            let value = value.with_context(|| format!("its {name} is no number"))?;
            u32::try_from(value).with_context(|| format!("its {name} {value} is too large"))
        };
        let meta = Meta {
            mode: header.mode().context("its mode is no number")? & 0o7777,
            uid: id("owner", records.uid.map_or_else(|| header.uid(), Ok))?,
            gid: id("group", records.gid.map_or_else(|| header.gid(), Ok))?,
            mtime: records.mtime.unwrap_or_else(|| header.mtime().unwrap_or(0)),
            xattrs: records.xattrs,
        };
        ensure!(!records.sparse, "it is stored with holes (tar --sparse): not read here");
        ensure!(!path.is_empty() || kind == Kind::Folder, "the root is no folder");
        // What has no octets says so, whatever its header claims: bsdtar repeats a file's size at its links.
        let size = if kind == Kind::File { records.size.unwrap_or(size) } else { 0 };
        Ok(Entry { index, path, kind, meta, size, left_out: records.left_out })
    };
    check().with_context(|| format!("entry {shown:?}"))
}

fn kind(header: &Header, path: &[u8], link: Option<Vec<u8>>) -> anyhow::Result<Kind> {
    let device = || -> anyhow::Result<(u32, u32)> {
        let (major, minor) = (header.device_major()?, header.device_minor()?);
        Ok((major.context("it has no device number")?, minor.context("it has no device number")?))
    };
    let target = || {
        let target = link.filter(|target| !target.is_empty()).context("it links to nothing")?;
        ensure!(
            target.len() <= IMAGE_PATH_BYTES_MAX,
            "its target is longer than {IMAGE_PATH_BYTES_MAX} octets"
        );
        ensure!(!target.contains(&0), "its target contains a zero octet");
        anyhow::Ok(target)
    };
    Ok(match header.entry_type() {
        EntryType::Directory => Kind::Folder,
        // Before POSIX, folders were files whose names end so.
        EntryType::Regular if path.ends_with(b"/") => Kind::Folder,
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Symlink => Kind::Symlink(target()?),
        EntryType::Link => Kind::Hardlink(clean(&target()?).context("its target")?),
        EntryType::Char => device().map(|(major, minor)| Kind::CharDevice(major, minor))?,
        EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice(major, minor))?,
        EntryType::Fifo => Kind::Fifo,
        EntryType::GNUSparse => bail!("it is stored with holes (tar --sparse): not read here"),
        other => bail!("its type {:?} is not read here", char::from(other.as_byte())),
    })
}

/// A path from the image's root. A leading `/` is that root, as every container engine has it.
///
/// # Errors
/// `..`, and what Linux could not hold.
fn clean(raw: &[u8]) -> anyhow::Result<Vec<u8>> {
    ensure!(raw.len() <= IMAGE_PATH_BYTES_MAX, "longer than {IMAGE_PATH_BYTES_MAX} octets");
    ensure!(!raw.contains(&0), "contains a zero octet");
    let names: Vec<&[u8]> =
        raw.split(|octet| *octet == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
    ensure!(!names.contains(&&b".."[..]), "contains \"..\"");
    ensure!(names.len() <= IMAGE_DEPTH_MAX, "deeper than {IMAGE_DEPTH_MAX} folders");
    ensure!(
        names.iter().all(|name| name.len() <= IMAGE_NAME_BYTES_MAX),
        "a name is longer than {IMAGE_NAME_BYTES_MAX} octets"
    );
    Ok(names.join(&b'/'))
}

/// Exactly so many octets of a stream.
struct Body<'a> {
    stream: &'a mut dyn Read,
    left: u64,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let length = self.stream.read(&mut buffer[..wanted])?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends within an entry"));
        }
        self.left -= u64::try_from(length).unwrap_or(self.left);
        Ok(length)
    }
}
