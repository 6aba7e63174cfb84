//! HTTP ranges and validators: the grammar of Range, If-Range and If-None-Match (RFC 9110 sections 13, 14).

/// What a Range header asks of a resource of known size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RangeRequest {
    /// No range, or one that must be ignored: another unit, several ranges, malformed (RFC 9110 14.2).
    Whole,
    /// The bytes `first..=last`, both inside the resource.
    Bytes { first: u64, last: u64 },
    /// A well-formed range that lies outside of the resource.
    Unsatisfiable,
}

/// Reads a Range header for a resource of `size` bytes. Several ranges are answered with the whole: no
/// firmware and no loader sends them, and they are a known way to make servers work hard.
#[must_use]
pub fn parse_range(header: &str, size: u64) -> RangeRequest {
    let Some(spec) = header.trim().strip_prefix("bytes=") else { return RangeRequest::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return RangeRequest::Whole };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // Numbers beyond u64 mean "beyond the end".
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let end = size.saturating_sub(1);
    match (number(first.trim()), number(last.trim()), last.trim().is_empty()) {
        (Some(first), None, true) if first < size => RangeRequest::Bytes { first, last: end },
        (Some(first), Some(last), _) if first <= last && first < size => {
            RangeRequest::Bytes { first, last: last.min(end) }
        }
        (None, Some(0), _) if first.trim().is_empty() => RangeRequest::Unsatisfiable,
        (None, Some(suffix), _) if first.trim().is_empty() && size > 0 => {
            RangeRequest::Bytes { first: size.saturating_sub(suffix), last: end }
        }
        (Some(first), None, true) if first >= size => RangeRequest::Unsatisfiable,
        (Some(first), Some(last), _) if first <= last => RangeRequest::Unsatisfiable,
        (None, Some(_), _) if first.trim().is_empty() => RangeRequest::Unsatisfiable,
        _ => RangeRequest::Whole,
    }
}

/// True if an If-None-Match header names `etag` (weak comparison, RFC 9110 section 13.1.2).
#[must_use]
pub fn none_match(header: &str, etag: &str) -> bool {
    let bare = etag.trim_start_matches("W/");
    header.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == bare)
}

#[cfg(test)]
mod tests;
