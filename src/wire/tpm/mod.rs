//! TPM 2.0 structures as octets (TCG "Trusted Platform Module Library", part 2, revision 1.59), the event log of a
//! TCG firmware (PC Client Platform Firmware Profile, section 10) and the commands that a node sends (part 3).
//!
//! Own code: the crates that know these structures wrap a C library that neither the head nor a node carries. Read
//! is only what attestation needs. Every reader is strict, so that one value has one text in octets: what was read
//! is written again octet by octet, and a name computed from it is the TPM's own.

mod attest;
pub mod command;
mod credential;
mod eventlog;
mod pcr;
mod public;
mod read;
mod signature;
pub mod template;

use sha2::{Digest as _, Sha256, Sha384};

pub use attest::{Attest, QUOTE};
pub use credential::{Credential, TOOLS_BLOB_BYTES_MAX};
pub use eventlog::{Event, EventKind, EventLog};
pub use pcr::{PCRS, Selection};
pub use public::{Curve, Key, Public, Scheme, attributes};
pub use read::Reader;
pub use signature::Signature;

/// The endorsement hierarchy (TPM_RH_ENDORSEMENT, part 2 section 7.4).
pub const ENDORSEMENT: u32 = 0x4000_000b;

/// TPM_ALG_NULL, part 2 section 6.3.
const ALG_NULL: u16 = 0x0010;

/// A hash algorithm (TPMI_ALG_HASH). Others stand in no template that we know.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hash {
    Sha256,
    Sha384,
}

impl Hash {
    /// TPM_ALG_ID.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Hash::Sha256 => 0x000b,
            Hash::Sha384 => 0x000c,
        }
    }

    #[must_use]
    pub fn from_id(id: u16) -> Option<Hash> {
        [Hash::Sha256, Hash::Sha384].into_iter().find(|hash| hash.id() == id)
    }

    /// Octets of a digest.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
        }
    }

    /// The digest of the parts one after another.
    #[must_use]
    pub fn digest(self, parts: &[&[u8]]) -> Vec<u8> {
        fn of<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut hash = D::new();
            parts.iter().for_each(|part| hash.update(part));
            hash.finalize().to_vec()
        }
        match self {
            Hash::Sha256 => of::<Sha256>(parts),
            Hash::Sha384 => of::<Sha384>(parts),
        }
    }
}

/// What a PCR of the SHA-256 bank becomes when `digest` is extended into it (part 1 section 17.2).
#[must_use]
pub fn extend(value: &[u8; 32], digest: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(value).chain_update(digest).finalize().into()
}

/// Appends a TPM2B: a length of two octets, and the octets.
///
/// The caller holds `octets` far below 64 KiB; what is longer is cut, so that the length is always true.
fn put_sized(out: &mut Vec<u8>, octets: &[u8]) {
    let length = u16::try_from(octets.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(octets.get(..usize::from(length)).unwrap_or(octets));
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;
