//! The audit log: who did what at the door, line by line, each line bound to the one before it.
//!
//! A line's digest covers its number, all of its fields and the digest before it, so that a line that is edited,
//! missing or out of place breaks the chain at a known number. What the chain cannot show by itself, that its end
//! was cut off or written anew, a checkpoint shows: number and digest of a line under the site key's signature,
//! kept where whoever changes the log cannot reach it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::base::limits::AUDIT_TEXT_CHARS_MAX;
use crate::base::{Digest, Timestamp};

/// What a line's digest begins with: no other digest of this program can be one of these.
const LINE_DOMAIN: &[u8] = b"muster-audit-v1\0";

/// What a checkpoint's signed message begins with.
const CHECKPOINT_DOMAIN: &[u8] = b"muster-audit-checkpoint-v1\0";

/// By which way somebody came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Via {
    /// The Unix socket.
    Socket,
    /// A bearer token.
    Token,
    /// A name and a password, or what a login gave.
    Session,
    /// A name and a secret: a registered client.
    Client,
    /// A booting or running node.
    Node,
    /// Over the network, and nobody that we know.
    Nobody,
    /// The head did it by itself.
    Head,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Done,
    Refused,
    Failed,
}

/// The text is the name of nothing that is known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is not known here")]
pub struct NameError;

/// Something that somebody did or was refused. Never holds a secret's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub at: Timestamp,
    /// Who: a user, a token's subject, a node, `root` over the Unix socket; empty if nobody knows.
    pub actor: String,
    pub via: Via,
    /// What was asked for, such as `PUT /api/v1/nodes/nid001` or `login`.
    pub action: String,
    /// What it was done to.
    pub object: String,
    pub outcome: Outcome,
    /// From where; None over the Unix socket and for the head itself.
    pub ip: Option<IpAddr>,
    pub detail: String,
}

/// Number and digest of a line: all that the next one needs. Zero before the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tip {
    pub seq: u64,
    pub hash: Digest,
}

/// An entry in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// From one, without gaps.
    pub seq: u64,
    pub entry: Entry,
    /// Digest of the line before; zeros before the first.
    pub prev: Digest,
    pub hash: Digest,
}

/// A line's number and digest, signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    pub seq: u64,
    pub hash: Digest,
    pub at: Timestamp,
    /// Ed25519 of the site key over `message`.
    pub signature: [u8; 64],
}

/// Where and how a chain is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Breach {
    #[error("line {expected} is missing; {found} stands in its place")]
    Gap { expected: u64, found: u64 },
    #[error("line {seq} was changed: its digest is not that of what it says")]
    Edited { seq: u64 },
    #[error("line {seq} does not follow from the line before it")]
    Unchained { seq: u64 },
    #[error("line {seq} is not the one that was signed: the log was written anew up to here")]
    Rewritten { seq: u64 },
    #[error("the log ends with line {last}, but line {signed} was signed: its end was cut off")]
    Truncated { last: u64, signed: u64 },
    #[error("the log begins with line {first}, and no signed checkpoint stands for what was before")]
    NoBeginning { first: u64 },
}

/// Which lines are wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    /// Only lines behind this number, in rising order; None: the newest first.
    pub after: Option<u64>,
    /// Only lines before this number.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
    pub actor: Option<String>,
    /// Part of the action.
    pub action: Option<String>,
    /// Part of the object.
    pub object: Option<String>,
    pub outcome: Option<Outcome>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// What a query found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    pub lines: Vec<Line>,
    /// Where the next page goes on: `after` or `before`, as the query went; None: there is no more.
    pub next: Option<u64>,
}

const VIAS: [(Via, &str); 7] = [
    (Via::Socket, "socket"),
    (Via::Token, "token"),
    (Via::Session, "session"),
    (Via::Client, "client"),
    (Via::Node, "node"),
    (Via::Nobody, "nobody"),
    (Via::Head, "head"),
];

const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Done, "done"), (Outcome::Refused, "refused"), (Outcome::Failed, "failed")];

impl Via {
    #[must_use]
    pub fn name(self) -> &'static str {
        VIAS.iter().find(|(via, _)| *via == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Via {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        VIAS.iter().find(|(_, name)| *name == text).map(|(via, _)| *via).ok_or(NameError)
    }
}

impl Outcome {
    #[must_use]
    pub fn name(self) -> &'static str {
        OUTCOMES.iter().find(|(outcome, _)| *outcome == self).map_or("", |(_, name)| name)
    }
}

impl FromStr for Outcome {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        OUTCOMES.iter().find(|(_, name)| *name == text).map(|(outcome, _)| *outcome).ok_or(NameError)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Default for Tip {
    fn default() -> Self {
        Tip { seq: 0, hash: Digest([0; 32]) }
    }
}

impl Tip {
    /// The line that stands behind this one. Texts are cut to what a line may hold, and lose characters that
    /// would move a terminal's cursor: they come from strangers.
    #[must_use]
    pub fn next(&self, entry: Entry) -> Line {
        let Entry { at, actor, via, action, object, outcome, ip, detail } = entry;
        let [actor, action, object, detail] = [actor, action, object, detail].map(plain);
        let entry = Entry { at, actor, via, action, object, outcome, ip, detail };
        let seq = self.seq.saturating_add(1);
        let hash = digest(seq, &entry, &self.hash);
        Line { seq, entry, prev: self.hash, hash }
    }

    /// Goes on to the next line of a chain.
    ///
    /// # Errors
    /// It is not the one that follows from this one.
    pub fn follow(&self, line: &Line) -> Result<Tip, Breach> {
        let expected = self.seq.saturating_add(1);
        if line.seq != expected {
            return Err(Breach::Gap { expected, found: line.seq });
        }
        if line.hash != digest(line.seq, &line.entry, &line.prev) {
            return Err(Breach::Edited { seq: line.seq });
        }
        if line.prev != self.hash {
            return Err(Breach::Unchained { seq: line.seq });
        }
        Ok(Tip { seq: line.seq, hash: line.hash })
    }
}

impl Line {
    #[must_use]
    pub fn tip(&self) -> Tip {
        Tip { seq: self.seq, hash: self.hash }
    }
}

impl Checkpoint {
    /// What is signed.
    #[must_use]
    pub fn message(tip: Tip, at: Timestamp) -> Vec<u8> {
        [CHECKPOINT_DOMAIN, &tip.seq.to_be_bytes(), &at.0.to_be_bytes(), &tip.hash.0].concat()
    }

    #[must_use]
    pub fn tip(&self) -> Tip {
        Tip { seq: self.seq, hash: self.hash }
    }
}

impl Query {
    /// True if this line is wanted, its number aside.
    #[must_use]
    pub fn takes(&self, line: &Line) -> bool {
        let Query { after: _, before: _, limit: _, actor, action, object, outcome, since, until } = self;
        let entry = &line.entry;
        let part = |wanted: &Option<String>, text: &str| {
            wanted.as_ref().is_none_or(|wanted| text.contains(wanted.as_str()))
        };
        actor.as_ref().is_none_or(|actor| *actor == entry.actor)
            && part(action, &entry.action)
            && part(object, &entry.object)
            && outcome.is_none_or(|outcome| outcome == entry.outcome)
            && since.is_none_or(|since| entry.at >= since)
            && until.is_none_or(|until| entry.at < until)
    }
}

/// SHA-256 over the fields, each text with its length before it, so that no two entries have the same octets.
fn digest(seq: u64, entry: &Entry, prev: &Digest) -> Digest {
    let Entry { at, actor, via, action, object, outcome, ip, detail } = entry;
    let ip = ip.map(|ip| ip.to_string()).unwrap_or_default();
    let mut hash = Sha256::new();
    hash.update(LINE_DOMAIN);
    hash.update(seq.to_be_bytes());
    hash.update(at.0.to_be_bytes());
    for text in [actor.as_str(), via.name(), action, object, outcome.name(), &ip, detail] {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.update(prev.0);
    Digest(hash.finalize().into())
}

/// A text that may stand in a line: no control characters, none that turn the direction of writing.
fn plain(text: String) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let kept = text.chars().filter(|c| !c.is_control() && !turns(*c));
    kept.take(AUDIT_TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use crate::base::limits::AUDIT_TEXT_CHARS_MAX;
    use crate::base::{Digest, Timestamp};
    use crate::model::audit::{Breach, Entry, Line, Outcome, Tip, Via};

    fn entry(object: &str) -> Entry {
        Entry {
            at: Timestamp(7),
            actor: "alice".to_owned(),
            via: Via::Token,
            action: "PUT".to_owned(),
            object: object.to_owned(),
            outcome: Outcome::Done,
            ip: Some("192.0.2.1".parse().unwrap()),
            detail: String::new(),
        }
    }

    fn chain(count: usize) -> Vec<Line> {
        let mut tip = Tip::default();
        let mut lines = Vec::new();
        for index in 0..count {
            let line = tip.next(entry(&format!("node {index}")));
            tip = line.tip();
            lines.push(line);
        }
        lines
    }

    fn walk(lines: &[Line]) -> Result<Tip, Breach> {
        lines.iter().try_fold(Tip::default(), |tip, line| tip.follow(line))
    }

    #[test]
    fn what_was_done_to_a_chain_is_found_at_its_first_wrong_line() {
        let lines = chain(9);
        assert_eq!(walk(&lines).map(|tip| tip.seq), Ok(9));
        let mut edited = lines.clone();
        edited[4].entry.actor = "mallory".to_owned();
        assert_eq!(walk(&edited), Err(Breach::Edited { seq: 5 }));
        // With its digest made good, the next line still names the old one.
        edited[4] = edited[3].tip().next(edited[4].entry.clone());
        assert_eq!(walk(&edited), Err(Breach::Unchained { seq: 6 }));
        let mut deleted = lines.clone();
        deleted.remove(4);
        assert_eq!(walk(&deleted), Err(Breach::Gap { expected: 5, found: 6 }));
        let mut swapped = lines.clone();
        swapped.swap(4, 5);
        assert_eq!(walk(&swapped), Err(Breach::Gap { expected: 5, found: 6 }));
        (swapped[4].seq, swapped[5].seq) = (5, 6);
        assert_eq!(walk(&swapped), Err(Breach::Edited { seq: 5 }));
    }

    #[test]
    fn no_octet_moves_from_one_field_to_the_next_unseen() {
        let (mut one, mut other) = (entry("ab"), entry("a"));
        (one.detail, other.detail) = ("c".to_owned(), "bc".to_owned());
        assert_ne!(Tip::default().next(one).hash, Tip::default().next(other).hash);
    }

    #[test]
    fn texts_of_strangers_are_cut_and_cannot_move_a_cursor() {
        let line = Tip::default().next(entry(&format!("\u{1b}]0;x\u{7}\u{202e}{}", "y".repeat(10_000))));
        assert!(line.entry.object.starts_with("]0;xyyy"));
        assert_eq!(line.entry.object.chars().count(), AUDIT_TEXT_CHARS_MAX);
        assert_eq!(Tip::default().follow(&line).unwrap().seq, 1);
    }

    /// The digest is a promise to those who keep checkpoints: it must not change.
    #[test]
    fn the_digest_of_a_line_is_what_it_was() {
        let line = Tip::default().next(entry("node nid001"));
        assert_eq!(line.prev, Digest([0; 32]));
        assert_eq!(line.hash.hex(), GOLDEN);
    }

    const GOLDEN: &str = "32ad6ea1a674bd0942529860482f8c12cb4db969b0c4345489efee994c8d9116";
}
