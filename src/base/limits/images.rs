//! Bounds of uploads, blobs and images.

use crate::base::Millis;

/// Uploads at a time: some people who import images, with room. Each holds its space on the disk.
pub const UPLOADS_MAX: usize = 64;

/// How long an upload may rest before it is forgotten: over a night, and until somebody comes back.
pub const UPLOAD_IDLE: Millis = Millis::from_secs(86_400);

/// Ranges in which one upload may come: 2 TB in pieces of 8 MiB. Each costs 24 octets in its log.
pub const UPLOAD_PIECES_MAX: usize = 262_144;

/// How long the body of an upload may bring nothing; then what came is kept and the client goes on anew.
pub const UPLOAD_SILENCE: Millis = Millis::from_secs(60);

/// Pieces of a body that wait for the disk: with some 16 to 64 KiB each they stay below a MiB for each upload.
pub const UPLOAD_QUEUE_PIECES: usize = 16;

/// Ranges that one answer names as missing; when these are sent, the next answer names more.
pub const MISSING_RANGES_MAX: usize = 1000;

/// Largest blob: larger than any root image, small enough that no sum of sizes overflows.
pub const BLOB_BYTES_MAX: u64 = 1 << 44;

/// Chunks that one upload may declare: 128 GiB of average ones. A larger file is sent without.
pub const UPLOAD_CHUNKS_MAX: usize = 524_288;

/// A list of chunks beside a blob: that of the largest blob in average chunks would take 2.4 GB, and nobody
/// has one; that of 400 GiB fits.
pub const CHUNK_LIST_BYTES_MAX: u64 = 64 << 20;

/// How often a blob is checked in the background.
pub const SCRUB_SPAN: Millis = Millis::from_secs(7 * 86_400);

/// What one image may unpack to unless its importer says otherwise: twice the largest root file system seen at a
/// site, and still a fraction of a head's disk.
pub const IMAGE_UNPACKED_BYTES: u64 = 64 << 30;

/// How many times larger than its packed form an image's part may become. gzip ends at 1,032; layers of real
/// distributions are below 6, disk images that are mostly holes below 100.
pub const IMAGE_EXPANSION_MAX: u64 = 200;

/// Octets below which the expansion is not looked at: small archives of empty files pack very well.
pub const IMAGE_EXPANSION_FREE_BYTES: u64 = 64 << 20;

/// Entries of all layers together: ten times the largest image seen, about 2 GB while they are merged.
pub const IMAGE_ENTRIES_MAX: u64 = 10_000_000;

/// Extension records (long names, extended attributes) of one archive entry. Linux allows 64 kB for all
/// attributes of a file on ext4 and 64 kB for one elsewhere.
pub const IMAGE_ENTRY_RECORDS_BYTES_MAX: u64 = 1 << 20;

/// Extension records of an image together: what stands in memory of a folder while layers are merged.
pub const IMAGE_RECORDS_BYTES_MAX: u64 = 1 << 30;

/// Length of a path in an image, and of a link's target: PATH_MAX of Linux.
pub const IMAGE_PATH_BYTES_MAX: usize = 4096;

/// Length of one name in a path: NAME_MAX of Linux, and SquashFS ends at 256.
pub const IMAGE_NAME_BYTES_MAX: usize = 255;

/// Folders within folders: merging goes down by recursion. No distribution is deeper than 40.
pub const IMAGE_DEPTH_MAX: usize = 256;

/// Symbolic links that are followed to a kernel: as many as Linux follows (path_resolution(7)).
pub const IMAGE_LINKS_FOLLOWED_MAX: usize = 40;

/// Layers of one image. Container engines end at 127.
pub const OCI_LAYERS_MAX: usize = 512;

/// An OCI manifest, index or configuration. The distribution specification asks registries for 4 MiB.
pub const OCI_DOCUMENT_BYTES_MAX: u64 = 4 << 20;

/// Indexes within indexes on the way to an image. Usual are one and, in a layout, two.
pub const OCI_INDEX_DEPTH_MAX: usize = 4;

/// How often a broken download goes on where it stopped before it is given up.
pub const DOWNLOAD_ATTEMPTS_MAX: u32 = 5;

/// Octets of a kernel that are searched for its version: the largest uncompressed kernels have 80 MB.
pub const KERNEL_SEARCH_BYTES_MAX: u64 = 256 << 20;
