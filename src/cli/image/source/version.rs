//! Which of two kernel versions is newer, as package tools order them.

use std::cmp::Ordering;

/// Numbers by value, letters by the alphabet; a number is newer than a word (`6.1.0` is newer than `6.1-rc1`), and
/// more is newer than less.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (parts(one), parts(other));
    let mut pairs = one.iter().zip(&other).map(|(one, other)| match (number(one), number(other)) {
        (Some(one), Some(other)) => one.len().cmp(&other.len()).then(one.cmp(other)),
        (one_number, other_number) => one_number.is_some().cmp(&other_number.is_some()).then(one.cmp(other)),
    });
    pairs.find(|order| order.is_ne()).unwrap_or_else(|| one.len().cmp(&other.len()))
}

/// Digits without leading noughts.
fn number(part: &str) -> Option<&str> {
    part.starts_with(|c: char| c.is_ascii_digit()).then(|| part.trim_start_matches('0'))
}

/// Runs of digits and runs of letters; everything else only divides.
fn parts(version: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for piece in version.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut rest = piece;
        while let Some(first) = rest.chars().next() {
            let kind = first.is_ascii_digit();
            let end = rest.find(|c: char| c.is_ascii_digit() != kind).unwrap_or(rest.len());
            parts.push(&rest[..end]);
            rest = &rest[end..];
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use crate::cli::image::source::version::compare;

    #[test]
    fn versions_are_ordered_as_package_tools_do() {
        let ordered = [
            "5.14.0-70.13.1.el9_0.x86_64",
            "5.14.0-362.8.1.el9_3.x86_64",
            "5.14.0-503.el9.x86_64",
            "6.1-rc1",
            "6.1.0-9-amd64",
            "6.1.0-18-amd64",
            "6.10.0",
        ];
        for (index, older) in ordered.iter().enumerate() {
            assert!(compare(older, older).is_eq());
            for newer in &ordered[index + 1..] {
                assert!(compare(older, newer).is_lt(), "{older} {newer}");
                assert!(compare(newer, older).is_gt(), "{newer} {older}");
            }
        }
    }
}
