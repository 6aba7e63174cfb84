//! Cleans the paths that firmware and loaders send: shim asks for `/loaders//grubx64.efi`, others escape
//! what needs no escape. What comes out names something below a root, or nothing.

/// Longest path that is looked at; nothing that boots has a longer one.
const PATH_BYTES_MAX: usize = 1024;

/// Decodes `%xx`, collapses slashes and dots, and returns the path without a leading slash. None for paths
/// with `..`, control characters, bad escapes, non-UTF-8, or beyond the length limit.
#[must_use]
pub fn clean(path: &str) -> Option<String> {
    if path.len() > PATH_BYTES_MAX {
        return None;
    }
    let decoded = percent_decode(path)?;
    let mut parts = Vec::new();
    for part in decoded.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => return None,
            _ => parts.push(part),
        }
    }
    let cleaned = parts.join("/");
    (!cleaned.is_empty() && !cleaned.chars().any(char::is_control)).then_some(cleaned)
}

/// Decodes `%xx` escapes (RFC 3986 section 2.1). None if an escape is malformed or the result is not UTF-8.
#[must_use]
pub fn percent_decode(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let digit = |octet: u8| char::from(octet).to_digit(16);
            let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
            octets.push(u8::try_from(high << 4 | low).ok()?);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests {
    use crate::engine::image::path::clean;

    #[test]
    fn odd_but_honest_paths_are_cleaned() {
        assert_eq!(clean("//sb//grubx64.efi").as_deref(), Some("sb/grubx64.efi"));
        assert_eq!(clean("/a/./b%2Dc").as_deref(), Some("a/b-c"));
        assert_eq!(clean("\\efi\\boot").as_deref(), Some("efi/boot"));
    }

    #[test]
    fn paths_that_climb_or_lie_are_refused() {
        for path in ["/", "", "/../x", "/a/%2e%2e/b", "/a%00b", "/a%", "/a%zz", "/%ff", "/a\nb", "/..\\x"] {
            assert_eq!(clean(path), None, "{path:?}");
        }
        assert_eq!(clean(&"a".repeat(1025)), None);
    }
}
