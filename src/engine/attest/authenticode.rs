//! The Authenticode digest of a PE file: by it firmware measures a loader or a kernel into PCR 4 ("Windows
//! Authenticode Portable Executable Signature Format", 2008, "Calculating the PE Image Hash").
//!
//! The whole file counts but for three places that signing changes: the checksum, the entry of the certificate
//! table, and that table at the end.

use sha2::{Digest as _, Sha256};

use crate::base::Digest;
use crate::wire::WireError;
use crate::wire::tpm::Reader;

/// Where the offset of the PE header stands, and where the header of a bzImage with an EFI stub has it too.
const PE_OFFSET_AT: usize = 0x3c;
/// Octets of the COFF header behind the signature "PE\0\0".
const COFF_BYTES: usize = 20;
/// From the optional header's begin to its checksum.
const CHECKSUM_AT: usize = 64;
/// From the optional header's begin to its number of directories: PE32 and PE32+.
const DIRECTORIES_AT: [(u16, usize); 2] = [(0x10b, 92), (0x20b, 108)];
/// The certificate table is the fifth directory.
const CERTIFICATES: usize = 4;
const DIRECTORY_BYTES: usize = 8;

/// Computes the digest of a PE file, SHA-256.
///
/// Sections are hashed in the order of the file. That is their order in every file a firmware starts: edk2 sorts
/// them, and hashes what lies between them as part of none; files with gaps are refused, so that both agree.
///
/// # Errors
/// It is no PE file, or one whose parts do not follow one another.
pub fn digest(file: &[u8]) -> Result<Digest, WireError> {
    let pe = usize::try_from(at(file, PE_OFFSET_AT, "PE offset")?.u32_le("PE offset")?).unwrap_or(usize::MAX);
    let mut coff = at(file, pe, "PE header")?;
    if coff.take(4, "PE signature")? != b"PE\0\0" {
        return Err(WireError::Invalid("PE signature"));
    }
    coff.u16_le("machine")?;
    let sections = coff.u16_le("number of sections")?;
    coff.take(12, "COFF header")?;
    let optional_size = usize::from(coff.u16_le("size of the optional header")?);
    let optional = pe.saturating_add(4).saturating_add(COFF_BYTES);
    let magic = at(file, optional, "optional header")?.u16_le("optional header")?;
    let (_, directories) = DIRECTORIES_AT
        .into_iter()
        .find(|(known, _)| *known == magic)
        .ok_or(WireError::Invalid("optional header"))?;
    let directories = optional.saturating_add(directories);
    let headers_size = at(file, optional.saturating_add(60), "size of headers")?.u32_le("size of headers")?;
    let headers_size = usize::try_from(headers_size).unwrap_or(usize::MAX);
    let checksum = optional.saturating_add(CHECKSUM_AT);
    let count = at(file, directories, "directories")?.u32_le("number of directories")?;
    let has_certificates = usize::try_from(count).is_ok_and(|count| count > CERTIFICATES);
    let certificates = directories.saturating_add(4).saturating_add(CERTIFICATES * DIRECTORY_BYTES);

    let mut hash = Sha256::new();
    hash.update(part(file, 0, checksum)?);
    let table = if has_certificates {
        hash.update(part(file, checksum.saturating_add(4), certificates)?);
        hash.update(part(file, certificates.saturating_add(DIRECTORY_BYTES), headers_size)?);
        let mut entry = at(file, certificates, "certificate table")?;
        entry.u32_le("certificate table")?;
        usize::try_from(entry.u32_le("size of the certificate table")?).unwrap_or(usize::MAX)
    } else {
        hash.update(part(file, checksum.saturating_add(4), headers_size)?);
        0
    };

    let list = optional.saturating_add(optional_size);
    let mut end = headers_size;
    for (start, size) in section_places(file, list, sections)? {
        if start != end {
            return Err(WireError::Invalid("places of sections: they leave a gap or overlap"));
        }
        end = start.saturating_add(size);
        hash.update(part(file, start, end)?);
    }
    // What lies behind the sections, without the certificates, which come last.
    let tail = file.len().checked_sub(table).filter(|tail| *tail >= end);
    hash.update(part(file, end, tail.ok_or(WireError::Invalid("size of the certificate table"))?)?);
    Ok(Digest(hash.finalize().into()))
}

/// Where the sections with content lie, in the order of the file.
fn section_places(file: &[u8], list: usize, count: u16) -> Result<Vec<(usize, usize)>, WireError> {
    let mut headers = at(file, list, "sections")?;
    let mut places = Vec::new();
    for _ in 0..count {
        let mut section = Reader::new(headers.take(40, "section")?);
        section.take(16, "section")?;
        let size = usize::try_from(section.u32_le("size of a section")?).unwrap_or(usize::MAX);
        let start = usize::try_from(section.u32_le("place of a section")?).unwrap_or(usize::MAX);
        if size > 0 {
            places.push((start, size));
        }
    }
    places.sort_unstable();
    Ok(places)
}

fn at<'a>(file: &'a [u8], offset: usize, field: &'static str) -> Result<Reader<'a>, WireError> {
    file.get(offset..).map(Reader::new).ok_or(WireError::Truncated(field))
}

fn part(file: &[u8], from: usize, to: usize) -> Result<&[u8], WireError> {
    file.get(from..to).ok_or(WireError::Truncated("PE file"))
}

#[cfg(test)]
mod tests;
