//! Names that a person may have meant, beside the refusal of a name that is not there.

use serde_json::Value;

use crate::cli::client::Client;

/// What the daemon says of a name that is not there, and where names of its kind are listed.
const KINDS: [(&str, &str); 6] = [
    ("no node is called \"", "/nodes"),
    ("no group is called \"", "/groups"),
    ("no profile is called \"", "/profiles"),
    ("no BMC is called \"", "/bmcs"),
    ("no secret is called \"", "/secrets"),
    ("no network is called \"", "/networks"),
];

/// Names that are offered at most.
const OFFERED: usize = 3;

/// A sentence with the nearest names, if the refusal is about a name and something is near.
pub(crate) fn nearest(client: &Client, refusal: &str) -> Option<String> {
    let (name, path) = KINDS.iter().find_map(|(words, path)| {
        let rest = refusal.split_once(words)?.1;
        Some((rest.split_once('"')?.0, *path))
    })?;
    let things: Vec<Value> = client.get(path).ok()?;
    let names = things.iter().filter_map(|thing| thing["name"].as_str());
    let near = near(name, names);
    match near.as_slice() {
        [] if things.is_empty() => None,
        [] => Some(format!("see: muster {} list", singular(path))),
        near => Some(format!("did you mean {}?", near.join(", "))),
    }
}

fn singular(path: &str) -> &str {
    path.trim_start_matches('/').trim_end_matches('s')
}

/// The names most like `wanted`, the nearest first. With a third of its letters wrong it is another name.
fn near<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let wanted = wanted.to_ascii_lowercase();
    let far = wanted.chars().count().div_ceil(3).max(1);
    let mut scored: Vec<(usize, &str)> = names
        .map(|name| (strsim::damerau_levenshtein(&wanted, &name.to_ascii_lowercase()), name))
        .filter(|(distance, _)| *distance <= far)
        .collect();
    scored.sort();
    scored.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use crate::cli::hint::near;

    #[test]
    fn a_slip_of_the_finger_is_seen_through() {
        let names = ["nid001", "nid002", "nid010", "login", "compute"];
        assert_eq!(near("nid01", names.into_iter()), ["nid001", "nid010", "nid002"], "the nearest first");
        assert_eq!(near("LOIGN", names.into_iter()), ["login"]);
        assert!(near("storage", names.into_iter()).is_empty());
        assert!(near("", names.into_iter()).is_empty());
    }
}
