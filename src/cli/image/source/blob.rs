//! One packed file as OCI names it, read as a stream: its size and digest are held to, what it unpacks to is
//! bounded, and gzip and zstd are told apart by their first octets, since media types are often wrong.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::base::Digest;
use crate::base::limits::{IMAGE_EXPANSION_FREE_BYTES, IMAGE_EXPANSION_MAX};

const BUFFER_BYTES: usize = 256 << 10;

/// What is left of the bounds of one image; shared by its layers.
pub(crate) struct Quota {
    pub(crate) unpacked_max: u64,
    pub(crate) unpacked: Cell<u64>,
    pub(crate) entries: Cell<u64>,
    pub(crate) records: Cell<u64>,
}

impl Quota {
    pub(crate) fn new(unpacked_max: u64) -> Quota {
        Quota { unpacked_max, unpacked: Cell::new(0), entries: Cell::new(0), records: Cell::new(0) }
    }
}

/// A packed file, or a part of a file, on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    /// What errors call it.
    pub(crate) label: String,
    pub(crate) file: PathBuf,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    /// Of the packed octets. None: nobody promised anything.
    pub(crate) digest: Option<Digest>,
    /// Of the unpacked octets.
    pub(crate) diff_id: Option<Digest>,
}

impl Blob {
    /// A whole file.
    pub(crate) fn of(file: &Path) -> anyhow::Result<Blob> {
        let metadata = std::fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
        ensure!(metadata.is_file(), "{} is no file", file.display());
        let label = file.display().to_string();
        Ok(Blob {
            label,
            file: file.to_owned(),
            offset: 0,
            size: metadata.len(),
            digest: None,
            diff_id: None,
        })
    }

    fn open(&self) -> anyhow::Result<io::Take<File>> {
        let open = || {
            let mut file = File::open(&self.file)?;
            file.seek(SeekFrom::Start(self.offset))?;
            io::Result::Ok(file.take(self.size))
        };
        open().with_context(|| format!("cannot read {}", self.file.display()))
    }

    /// Whether reading it as it is would not give its content.
    pub(crate) fn is_packed(&self) -> anyhow::Result<bool> {
        let mut start = Vec::new();
        self.open()?.take(6).read_to_end(&mut start).with_context(|| self.label.clone())?;
        Ok(PACKED_MAGICS.iter().any(|magic| start.starts_with(magic)))
    }

    /// The digest of the octets as they are, held to the expected one.
    pub(crate) fn digest_packed(&self) -> anyhow::Result<Digest> {
        let octets = Cell::new(0);
        let mut packed = Hashing::new(self.open()?, &octets, true);
        io::copy(&mut packed, &mut io::sink()).with_context(|| format!("cannot read {}", self.label))?;
        self.held_to(octets.get(), packed.digest())
    }

    fn held_to(&self, octets: u64, digest: Digest) -> anyhow::Result<Digest> {
        ensure!(octets == self.size, "{} has {octets} octets, expected {}", self.label, self.size);
        match self.digest {
            Some(expected) if expected != digest => {
                bail!("{} is damaged: its digest is {digest}, expected {expected}", self.label)
            }
            _ => Ok(digest),
        }
    }

    /// Hands the unpacked octets to `read` and says the digest of the packed ones.
    ///
    /// # Errors
    /// What `read` says; but a wrong digest comes first, since it explains the rest.
    pub(crate) fn visit<T>(
        &self,
        quota: &Quota,
        read: impl FnOnce(&mut dyn Read) -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Digest)> {
        let packed_octets = Cell::new(0);
        let mut packed = Hashing::new(self.open()?, &packed_octets, true);
        let unpacked_octets = Cell::new(0);
        let outcome = (|| {
            let plain = Bounded {
                inner: unpack(&mut packed)?,
                packed: &packed_octets,
                unpacked: &unpacked_octets,
                quota,
            };
            let mut plain = Hashing::new(plain, &unpacked_octets, self.diff_id.is_some());
            let value = read(&mut plain)?;
            io::copy(&mut plain, &mut io::sink())?;
            anyhow::Ok((value, plain.digest()))
        })();
        io::copy(&mut packed, &mut io::sink()).with_context(|| format!("cannot read {}", self.label))?;
        let digest = self.held_to(packed_octets.get(), packed.digest())?;
        let (value, plain) = outcome.with_context(|| self.label.clone())?;
        if let Some(expected) = self.diff_id.filter(|expected| *expected != plain) {
            bail!("{} unpacks to {plain}, the configuration says {expected}", self.label);
        }
        Ok((value, digest))
    }

    /// The packed octets as they are, checked.
    pub(crate) fn read(&self, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
        ensure!(self.size <= bytes_max, "{} has {} octets, at most {bytes_max}", self.label, self.size);
        let mut bytes = Vec::new();
        self.open()?.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", self.label))?;
        check(&self.label, &bytes, self.size, self.digest)?;
        Ok(bytes)
    }
}

/// Holds octets to what was promised of them.
pub(crate) fn check(label: &str, bytes: &[u8], size: u64, digest: Option<Digest>) -> anyhow::Result<()> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    ensure!(length == size, "{label} has {length} octets, expected {size}");
    let found = digest_of(bytes);
    match digest {
        Some(expected) if expected != found => {
            bail!("{label} is damaged: its digest is {found}, expected {expected}")
        }
        _ => Ok(()),
    }
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

/// How a file is packed, by its first octets.
///
/// # Errors
/// A packing that is not read here, by name.
fn unpack<'a>(packed: impl Read + 'a) -> anyhow::Result<Box<dyn Read + 'a>> {
    let mut packed = BufReader::with_capacity(BUFFER_BYTES, packed);
    let start = packed.fill_buf()?;
    if start.starts_with(GZIP_MAGIC) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(packed)));
    }
    if start.starts_with(ZSTD_MAGIC) {
        return Ok(Box::new(zstd::stream::read::Decoder::with_buffer(packed)?));
    }
    for (magic, name) in [(XZ_MAGIC, "xz"), (BZIP2_MAGIC, "bzip2")] {
        ensure!(!start.starts_with(magic), "{name} is not read here: unpack it first, or pack it with zstd");
    }
    Ok(Box::new(packed))
}

/// How a frame of zstd begins (RFC 8878 section 3.1.1).
pub(crate) const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";
const BZIP2_MAGIC: &[u8] = b"BZh";
const PACKED_MAGICS: [&[u8]; 4] = [ZSTD_MAGIC, GZIP_MAGIC, XZ_MAGIC, BZIP2_MAGIC];

/// Counts and hashes what passes.
struct Hashing<'a, R> {
    inner: R,
    octets: &'a Cell<u64>,
    sum: Option<Sha256>,
}

impl<'a, R> Hashing<'a, R> {
    fn new(inner: R, octets: &'a Cell<u64>, wanted: bool) -> Hashing<'a, R> {
        Hashing { inner, octets, sum: wanted.then(Sha256::new) }
    }

    /// Of everything that has passed; of nothing if it was not wanted.
    fn digest(self) -> Digest {
        Digest(self.sum.unwrap_or_default().finalize().into())
    }
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.octets.set(self.octets.get().saturating_add(octets(length)));
        if let Some(sum) = &mut self.sum {
            sum.update(&buffer[..length]);
        }
        Ok(length)
    }
}

/// Stops what unpacks without end.
struct Bounded<'a, R> {
    inner: R,
    packed: &'a Cell<u64>,
    unpacked: &'a Cell<u64>,
    quota: &'a Quota,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        let all = self.quota.unpacked.get().saturating_add(octets(length));
        self.quota.unpacked.set(all);
        if all > self.quota.unpacked_max {
            let text = format!(
                "the image unpacks to more than {} octets (--max-unpacked allows more)",
                self.quota.unpacked_max
            );
            return Err(io::Error::other(text));
        }
        let own = self.unpacked.get();
        let allowed = self.packed.get().saturating_mul(IMAGE_EXPANSION_MAX);
        if own > IMAGE_EXPANSION_FREE_BYTES && own > allowed {
            let text =
                format!("unpacks to more than {IMAGE_EXPANSION_MAX} times its size: no file system does");
            return Err(io::Error::other(text));
        }
        Ok(length)
    }
}

fn octets(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
