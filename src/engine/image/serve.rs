//! Plans the answer to a request for a file: whole, a range, or nothing new. `Content-Length` is always
//! known, since edk2 and iPXE crawl or fail without it.

use crate::wire::range::{RangeRequest, none_match, parse_range};

/// The headers of a request that matter for a file.
#[derive(Clone, Copy, Default, Debug)]
pub struct FileRequest<'a> {
    pub range: Option<&'a str>,
    pub if_range: Option<&'a str>,
    pub if_none_match: Option<&'a str>,
}

/// What to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// 200 with all bytes.
    Whole,
    /// 206 with the bytes `first..=last`.
    Range { first: u64, last: u64 },
    /// 304: the client has this very file.
    NotModified,
    /// 416: the range lies outside of the file.
    Unsatisfiable,
}

/// Plans the answer for a file of `size` bytes whose strong validator is `etag` (RFC 9110 section 13.2.2:
/// If-None-Match first, then Range guarded by If-Range).
#[must_use]
pub fn plan(request: FileRequest<'_>, size: u64, etag: &str) -> Plan {
    if request.if_none_match.is_some_and(|tags| none_match(tags, etag)) {
        return Plan::NotModified;
    }
    // If-Range compares strongly; a date is never equal to our validator, so the whole file follows.
    let same = request.if_range.is_none_or(|tag| tag.trim() == etag);
    match request.range.filter(|_| same).map(|range| parse_range(range, size)) {
        None | Some(RangeRequest::Whole) => Plan::Whole,
        Some(RangeRequest::Bytes { first, last }) => Plan::Range { first, last },
        Some(RangeRequest::Unsatisfiable) => Plan::Unsatisfiable,
    }
}

/// The media type for a file name. edk2 decides by it, or by the last four letters of the path, whether a
/// download is a program or a disk; it takes the type only without parameters.
#[must_use]
pub fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "efi" => "application/efi",
        "iso" => "application/vnd.efi-iso",
        "img" if name.ends_with(".efi.img") => "application/vnd.efi-img",
        "ipxe" | "cfg" | "txt" | "lst" => "text/plain",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::image::serve::{FileRequest, Plan, plan};

    #[test]
    fn conditions_come_before_ranges() {
        let request = FileRequest { range: Some("bytes=0-1"), ..FileRequest::default() };
        assert_eq!(plan(request, 10, "\"a\""), Plan::Range { first: 0, last: 1 });
        let fresh = FileRequest { if_none_match: Some("\"a\""), ..request };
        assert_eq!(plan(fresh, 10, "\"a\""), Plan::NotModified);
        let changed = FileRequest { if_range: Some("\"b\""), ..request };
        assert_eq!(plan(changed, 10, "\"a\""), Plan::Whole);
        let dated = FileRequest { if_range: Some("Sun, 22 Nov 2026 00:00:00 GMT"), ..request };
        assert_eq!(plan(dated, 10, "\"a\""), Plan::Whole);
        let beyond = FileRequest { range: Some("bytes=10-"), ..FileRequest::default() };
        assert_eq!(plan(beyond, 10, "\"a\""), Plan::Unsatisfiable);
    }
}
