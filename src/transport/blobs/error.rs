//! Why the store of blobs refuses or fails, in words that an operator can act on.

use crate::base::{Digest, Uuid};

/// Why something with blobs cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("there is no blob {0}")]
    NotFound(Digest),
    #[error("there is no upload {0}; it was completed, cancelled, or forgotten after a day without a byte")]
    NoUpload(Uuid),
    #[error("the content is {found}, but {declared} was declared; nothing was kept")]
    OtherContent { declared: Digest, found: Digest },
    #[error("the content has {found} bytes, but {declared} were declared; nothing was kept")]
    OtherSize { declared: u64, found: u64 },
    #[error("size: at most {0} bytes are stored as one blob")]
    TooLarge(u64),
    #[error("the upload is complete already")]
    Complete,
    #[error("the upload was refused: {0}")]
    Refused(String),
    #[error("bytes {first}-{last} are not inside of {size} bytes")]
    Outside { first: u64, last: u64, size: u64 },
    #[error("the body is not as long as Content-Range says; what came of it is kept")]
    Length,
    #[error("no byte came for {0} s; what came before is kept")]
    Silent(u64),
    #[error("another client sends to this upload now; ask what is missing, and go on")]
    Busy,
    #[error("bytes are missing still; ask which")]
    Incomplete,
    #[error("{0} uploads run already; complete or cancel one")]
    TooMany(usize),
    #[error("the upload came in too many pieces; cancel it and send larger ones")]
    TooManyPieces,
    #[error(
        "no room: {needed} bytes are needed, the quota of {quota} leaves {free}; \
         muster image gc removes what no image uses, images.quota sets the bound"
    )]
    Quota { needed: u64, free: u64, quota: u64 },
    #[error(
        "no room: {needed} bytes are needed, the disk has {free} without the reserve of {reserve}; \
         muster image gc removes what no image uses"
    )]
    Disk { needed: u64, free: u64, reserve: u64 },
    #[error("the head stops")]
    Stopping,
    #[error("the blobs cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
}

impl BlobError {
    /// True if the disk or the quota is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            BlobError::Quota { .. } | BlobError::Disk { .. } => true,
            BlobError::Io(error) => matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)),
            _ => false,
        }
    }
}

impl From<nix::Error> for BlobError {
    fn from(error: nix::Error) -> BlobError {
        BlobError::Io(error.into())
    }
}
