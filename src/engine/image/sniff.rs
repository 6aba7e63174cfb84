//! What a file is, by its first octets.

use crate::model::image::RootFormat;

/// So many octets tell.
pub const HEAD_BYTES: u64 = 2048;

/// The kind of a root file system, by the magic number of its superblock: little-endian squashfs at 0, erofs at
/// 1024 (Linux `magic.h`).
#[must_use]
pub fn root_format(head: &[u8]) -> Option<RootFormat> {
    if head.starts_with(b"hsqs") {
        return Some(RootFormat::Squashfs);
    }
    head.get(1024..1028)
        .is_some_and(|magic| magic == 0xe0f5_e1e2_u32.to_le_bytes())
        .then_some(RootFormat::Erofs)
}

#[cfg(test)]
mod tests {
    use crate::engine::image::sniff::root_format;
    use crate::model::image::RootFormat;

    #[test]
    fn roots_are_told_by_their_magic_numbers() {
        assert_eq!(root_format(b"hsqs\x07\0\0\0"), Some(RootFormat::Squashfs));
        let mut erofs = vec![0; 1028];
        erofs[1024..].copy_from_slice(&[0xe2, 0xe1, 0xf5, 0xe0]);
        assert_eq!(root_format(&erofs), Some(RootFormat::Erofs));
        for other in [&b""[..], b"sqsh", b"\x1f\x8b", &erofs[..1027]] {
            assert_eq!(root_format(other), None);
        }
    }
}
