//! What the table of operations is made of, and query fields that several share.

/// One operation of the API.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub method: &'static str,
    /// Below the API's prefix.
    pub path: &'static str,
    pub summary: &'static str,
    /// Query fields with their meaning.
    pub query: &'static [(&'static str, &'static str)],
    /// Schema of the request's body.
    pub body: Option<&'static str>,
    /// Schema of the answer; none: 204 without a body.
    pub answer: Option<&'static str>,
}

pub(crate) const SET: (&str, &str) = ("set", "Node set: nid[001-009,012], @group, *, joined by , ! &");
pub(crate) const ONCE: (&str, &str) = ("once", "Only the one-shot");
pub(crate) const DRY_RUN: (&str, &str) = ("dry_run", "Change nothing; answer what would change");
pub(crate) const LIMIT: (&str, &str) = ("limit", "At most so many");
pub(crate) const AFTER: (&str, &str) =
    ("after", "Those behind the one with this key, the last of the page before");
pub(crate) const NETWORK: (&str, &str) = ("network", "Only on this network");

pub(crate) const FROM: (&str, &str) =
    ("from", "The version to compare with: NAME:TAG, NAME@VERSION or first digits");
pub(crate) const TO: (&str, &str) = ("to", "The other version");
pub(crate) const NEWEST: (&str, &str) =
    ("newest", "How many of the newest versions of each image stay in any case");

/// What lists of one kind take.
pub(crate) const PAGE: &[(&str, &str)] = &[AFTER, LIMIT];
pub(crate) const OF_IMAGE: &[(&str, &str)] = &[("name", "Only of this image"), AFTER, LIMIT];
pub(crate) const OF_SECRET: &[(&str, &str)] = &[("name", "Only of this name"), AFTER, LIMIT];
pub(crate) const OF_RECORDS: &[(&str, &str)] = &[
    SET,
    ("outcome", "Only with this outcome: under way, waits, up, settled, left, dropped or failed"),
    AFTER,
    LIMIT,
];
pub(crate) const REVEAL: &[(&str, &str)] = &[("version", "Not the newest value but this one")];
pub(crate) const OF_AUDIT: &[(&str, &str)] = &[
    ("after", "Only lines behind this number, in rising order"),
    ("before", "Only lines before this number; the newest come first"),
    LIMIT,
    ("actor", "Only of this actor"),
    ("action", "Only those with this in their action"),
    ("object", "Only those with this in their object"),
    ("outcome", "Only with this outcome: done, refused or failed"),
    ("since", "Only from this time on (RFC 3339)"),
    ("until", "Only before this time (RFC 3339)"),
];
pub(crate) const OF_TPMS: &[(&str, &str)] =
    &[SET, ("state", "Only those that are none, pending, enrolled or revoked"), AFTER, LIMIT];
pub(crate) const ON_NETWORK: &[(&str, &str)] = &[NETWORK, AFTER, LIMIT];
pub(crate) const OF_NODES: &[(&str, &str)] = &[
    SET,
    ("group", "Only members of this group"),
    ("role", "Only of this role"),
    ("arch", "Only of this processor family"),
    ("policy", "Only with this boot policy: serve, ignore or local"),
    ("bmc", "Only behind this BMC"),
    NETWORK,
    AFTER,
    LIMIT,
];

pub(crate) const fn op(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    query: &'static [(&'static str, &'static str)],
    body: Option<&'static str>,
    answer: Option<&'static str>,
) -> Operation {
    Operation { method, path, summary, query, body, answer }
}

impl Operation {
    /// True if it may change something.
    #[must_use]
    pub fn writes(&self) -> bool {
        self.method != "get"
    }

    /// The kind of thing that it is about.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        let first = self.path.trim_start_matches('/').split('/').next().unwrap_or_default();
        first.split('.').next().unwrap_or_default()
    }

    /// Its name in programs: `put_nodes_name`.
    #[must_use]
    pub fn id(&self) -> String {
        let words = self.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.fold(self.method.to_owned(), |id, word| format!("{id}_{word}"))
    }
}
