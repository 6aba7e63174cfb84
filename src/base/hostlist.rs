//! Host lists: `nid[001-003,012]` to names, and names back to the shortest list.
//! The notation of ClusterShell, Slurm and powerman.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::base::limits::NODESET_NAMES_MAX;

/// Longer runs of digits are not numbers but part of a name, in both directions.
const DIGITS_MAX: usize = 9;

/// Says why a host list could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostlistError {
    #[error("{0:?}: unbalanced brackets")]
    Brackets(String),
    #[error("{0:?}: {1:?} is not a number or a range FIRST-LAST")]
    Range(String, String),
    #[error("{0:?} names more than {NODESET_NAMES_MAX} nodes")]
    TooMany(String),
}

/// Expands one pattern without commas outside of brackets. Several bracket groups multiply.
///
/// # Errors
/// Unbalanced brackets, malformed ranges, or more names than `NODESET_NAMES_MAX`.
pub fn expand(pattern: &str) -> Result<Vec<String>, HostlistError> {
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some(open) = rest.find('[') {
        let close = rest.find(']').filter(|close| *close > open);
        let close = close.ok_or_else(|| HostlistError::Brackets(pattern.to_owned()))?;
        let numbers = numbers(pattern, &rest[open + 1..close])?;
        if names.len().saturating_mul(numbers.len()) > NODESET_NAMES_MAX {
            return Err(HostlistError::TooMany(pattern.to_owned()));
        }
        let literal = &rest[..open];
        names = names
            .iter()
            .flat_map(|name| numbers.iter().map(move |number| format!("{name}{literal}{number}")))
            .collect();
        rest = &rest[close + 1..];
    }
    if rest.contains(']') {
        return Err(HostlistError::Brackets(pattern.to_owned()));
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

/// The inside of one bracket: `001-003,012`. The width of a range's first number pads all of them.
fn numbers(pattern: &str, inside: &str) -> Result<Vec<String>, HostlistError> {
    let mut out = Vec::new();
    for part in inside.split(',').map(str::trim) {
        let wrong = || HostlistError::Range(pattern.to_owned(), part.to_owned());
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let parse = |text: &str| {
            let digits =
                !text.is_empty() && text.len() <= DIGITS_MAX && text.bytes().all(|b| b.is_ascii_digit());
            if digits { text.parse::<usize>().map_err(|_| wrong()) } else { Err(wrong()) }
        };
        let (from, to) = (parse(first)?, parse(last)?);
        if to < from {
            return Err(wrong());
        }
        if to - from >= NODESET_NAMES_MAX || out.len() + (to - from) >= NODESET_NAMES_MAX {
            return Err(HostlistError::TooMany(pattern.to_owned()));
        }
        let width = first.len();
        out.extend((from..=to).map(|number| format!("{number:0width$}")));
    }
    Ok(out)
}

/// Folds names into the shortest list: `nid001,nid002,nid004,login` becomes `login,nid[001-002,004]`.
/// Names are grouped by what stands before and after their last number and by its width.
#[must_use]
pub fn fold<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut groups: BTreeMap<(&str, &str, usize), Vec<u32>> = BTreeMap::new();
    let mut plain: Vec<&str> = Vec::new();
    for name in names {
        match split_number(name) {
            Some((prefix, digits, suffix)) if digits.len() <= DIGITS_MAX => match digits.parse() {
                Ok(number) => groups.entry((prefix, suffix, digits.len())).or_default().push(number),
                Err(_) => plain.push(name),
            },
            Some(_) | None => plain.push(name),
        }
    }
    plain.sort_unstable();
    plain.dedup();
    let mut parts: Vec<String> = plain.into_iter().map(str::to_owned).collect();
    for ((prefix, suffix, width), mut numbers) in groups {
        numbers.sort_unstable();
        numbers.dedup();
        parts.push(fold_group(prefix, suffix, width, &numbers));
    }
    parts.join(",")
}

fn fold_group(prefix: &str, suffix: &str, width: usize, numbers: &[u32]) -> String {
    let mut inside = String::new();
    let mut index = 0;
    while let Some(&first) = numbers.get(index) {
        let mut last = first;
        while numbers.get(index + 1) == Some(&(last + 1)) {
            index += 1;
            last += 1;
        }
        index += 1;
        let comma = if inside.is_empty() { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = if first == last {
            write!(inside, "{comma}{first:0width$}")
        } else {
            write!(inside, "{comma}{first:0width$}-{last:0width$}")
        };
    }
    if numbers.len() == 1 {
        format!("{prefix}{inside}{suffix}")
    } else {
        format!("{prefix}[{inside}]{suffix}")
    }
}

/// Splits at the last run of digits: prefix, digits, suffix.
fn split_number(name: &str) -> Option<(&str, &str, &str)> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = name[..end]
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| at + name[at..].chars().next().map_or(1, char::len_utf8));
    Some((&name[..start], &name[start..end], &name[end..]))
}

#[cfg(test)]
mod tests;
