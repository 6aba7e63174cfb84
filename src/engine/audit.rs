//! What becomes of the audit log's lines over time: which refusals are written one by one, when the log is
//! signed, what goes from its beginning.
//!
//! A stranger who is refused writes to our disk. The first refusal of an address is written at once, those that
//! follow within a span are counted, and the count is one line when the span has passed.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::base::limits::{
    AUDIT_CHECKPOINT_LINES, AUDIT_CHECKPOINT_SPAN, AUDIT_DROP_LINES_MAX, REFUSAL_ADDRESSES_MAX, REFUSAL_SPAN,
};
use crate::base::{Millis, Timestamp};
use crate::model::audit::{Breach, Checkpoint, Entry, Line, Tip};

/// How much of the log stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    pub lines: u64,
    pub life: Millis,
}

impl Default for Keep {
    /// A year's login every half a minute; a quarter, as auditors ask for it.
    fn default() -> Self {
        Keep { lines: 1_000_000, life: Millis::from_secs(90 * 86_400) }
    }
}

/// Refusals that are counted.
#[derive(Debug, Default)]
pub struct Refusals {
    spans: HashMap<Option<IpAddr>, Span>,
    /// Of addresses for which there was no room: how many, and the last.
    others: Option<(u64, Entry)>,
}

#[derive(Debug)]
struct Span {
    since: Timestamp,
    more: u64,
    last: Entry,
}

impl Refusals {
    /// A refusal. Some: to be written now. With room for no more addresses, those beyond are counted as one.
    pub fn on(&mut self, entry: Entry) -> Option<Entry> {
        if let Some(span) = self.spans.get_mut(&entry.ip) {
            span.more = span.more.saturating_add(1);
            span.last = entry;
            return None;
        }
        if self.spans.len() >= REFUSAL_ADDRESSES_MAX {
            let (count, last) = self.others.get_or_insert((0, entry.clone()));
            (*count, *last) = (count.saturating_add(1), entry);
            return None;
        }
        self.spans.insert(entry.ip, Span { since: entry.at, more: 0, last: entry.clone() });
        Some(entry)
    }

    /// What is to be written of spans that have passed. A clock that went back ends them too.
    pub fn due(&mut self, now: Timestamp) -> Vec<Entry> {
        let mut due = Vec::new();
        self.spans.retain(|_, span| {
            let lasts = now >= span.since && now.since(span.since) < REFUSAL_SPAN;
            if !lasts && span.more > 0 {
                let detail = format!("and {} more like this; the last: {}", span.more, span.last.detail);
                due.push(Entry { at: now, detail, ..span.last.clone() });
            }
            lasts
        });
        if let Some((count, last)) = self.others.take() {
            let detail = format!("{count} refusals of addresses that were too many to count apart");
            due.push(Entry { at: now, ip: None, detail, ..last });
        }
        due
    }
}

/// Walks along a log from its first line to its last, and holds it against checkpoints.
#[derive(Debug, Default)]
pub struct Walk {
    tip: Option<Tip>,
    checkpoints: BTreeMap<u64, Checkpoint>,
}

impl Walk {
    /// `checkpoints`: those whose signatures were found good.
    ///
    /// # Errors
    /// Two of them name different lines by one number.
    pub fn new(checkpoints: impl IntoIterator<Item = Checkpoint>) -> Result<Walk, Breach> {
        let mut walk = Walk::default();
        for one in checkpoints {
            if walk.checkpoints.insert(one.seq, one).is_some_and(|known| known.hash != one.hash) {
                return Err(Breach::Rewritten { seq: one.seq });
            }
        }
        Ok(walk)
    }

    /// The next line.
    ///
    /// # Errors
    /// It is not the one that belongs there.
    pub fn on(&mut self, line: &Line) -> Result<(), Breach> {
        let before = line.seq.saturating_sub(1);
        let tip = match (self.tip, self.checkpoints.get(&before)) {
            (Some(tip), _) => tip,
            (None, _) if before == 0 => Tip::default(),
            // What was before is gone, as a checkpoint says.
            (None, Some(base)) => base.tip(),
            (None, None) => return Err(Breach::NoBeginning { first: line.seq }),
        };
        let tip = tip.follow(line)?;
        if self.checkpoints.get(&tip.seq).is_some_and(|signed| signed.hash != tip.hash) {
            return Err(Breach::Rewritten { seq: tip.seq });
        }
        self.tip = Some(tip);
        Ok(())
    }

    /// There are no more lines.
    ///
    /// # Errors
    /// A checkpoint knows of some.
    pub fn end(self) -> Result<Tip, Breach> {
        let tip = self.tip.unwrap_or_default();
        let beyond = self.checkpoints.keys().next_back().copied().filter(|signed| *signed > tip.seq);
        // A log whose lines have all gone by age ends with its one checkpoint.
        match beyond {
            Some(signed) if self.tip.is_some() || self.checkpoints.len() > 1 => {
                Err(Breach::Truncated { last: tip.seq, signed })
            }
            _ => Ok(tip),
        }
    }
}

/// True if the log is to be signed now. `last`: the newest checkpoint.
#[must_use]
pub fn is_to_be_signed(tip: Tip, last: Option<&Checkpoint>, started: Timestamp, now: Timestamp) -> bool {
    let (signed, at) = last.map_or((0, started), |last| (last.seq, last.at));
    let new = tip.seq.saturating_sub(signed);
    new >= AUDIT_CHECKPOINT_LINES || new > 0 && now.since(at) >= AUDIT_CHECKPOINT_SPAN
}

/// Up to which line the log may go now, which may have gone already; None: all of it stays. Only what is signed goes, and its last checkpoint
/// stays as the beginning of what is left.
#[must_use]
pub fn droppable(checkpoints: &[Checkpoint], tip: Tip, keep: Keep, now: Timestamp) -> Option<u64> {
    let due =
        |one: &&Checkpoint| one.seq.saturating_add(keep.lines) <= tip.seq || now.since(one.at) >= keep.life;
    let first = checkpoints.first().filter(|one| due(one))?;
    // The first one may be what is left of a log that went; its lines are gone then.
    let near = |one: &&Checkpoint| one.seq <= first.seq.saturating_add(AUDIT_DROP_LINES_MAX);
    checkpoints.iter().take_while(|one| due(one) && near(one)).last().map(|one| one.seq)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use crate::base::limits::{
        AUDIT_CHECKPOINT_LINES, AUDIT_CHECKPOINT_SPAN, REFUSAL_ADDRESSES_MAX, REFUSAL_SPAN,
    };
    use crate::base::{Digest, Millis, Timestamp};
    use crate::engine::audit::{Keep, Refusals, Walk, droppable, is_to_be_signed};
    use crate::model::audit::{Breach, Checkpoint, Entry, Line, Outcome, Tip, Via};

    fn refusal(ip: u32, at: u64) -> Entry {
        Entry {
            at: Timestamp(at),
            actor: String::new(),
            via: Via::Nobody,
            action: "GET /api/v1/nodes".to_owned(),
            object: String::new(),
            outcome: Outcome::Refused,
            ip: Some(IpAddr::V4(ip.into())),
            detail: "no token".to_owned(),
        }
    }

    fn signed(seq: u64, at: u64) -> Checkpoint {
        Checkpoint { seq, hash: Digest([1; 32]), at: Timestamp(at), signature: [0; 64] }
    }

    #[test]
    fn a_flood_of_refusals_is_two_lines_a_span() {
        let mut refusals = Refusals::default();
        let written = (0..1000).filter(|at| refusals.on(refusal(1, 1000 + at)).is_some()).count();
        assert_eq!(written, 1);
        assert!(refusals.on(refusal(2, 1000)).is_some(), "another address is another line");
        assert!(refusals.due(Timestamp(1000)).is_empty());
        let due = refusals.due(Timestamp(1000) + REFUSAL_SPAN);
        assert_eq!(due.len(), 1);
        assert!(due[0].detail.starts_with("and 999 more"), "{}", due[0].detail);
        assert!(refusals.spans.is_empty());
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_counted() {
        let mut refusals = Refusals::default();
        let count = u32::try_from(REFUSAL_ADDRESSES_MAX).unwrap() + 7;
        let written = (0..count).filter(|ip| refusals.on(refusal(*ip, 1000)).is_some()).count();
        assert_eq!((written, refusals.spans.len()), (REFUSAL_ADDRESSES_MAX, REFUSAL_ADDRESSES_MAX));
        let due = refusals.due(Timestamp(1000) + REFUSAL_SPAN);
        assert!(due.last().is_some_and(|entry| entry.detail.starts_with("7 refusals")), "{due:?}");
    }

    #[test]
    fn the_log_is_signed_every_thousand_lines_and_every_hour() {
        let tip = |seq| Tip { seq, hash: Digest([2; 32]) };
        let start = Timestamp(1000);
        let is = |seq, last: Option<&Checkpoint>, at| is_to_be_signed(tip(seq), last, start, at);
        assert!(!is(0, None, start + AUDIT_CHECKPOINT_SPAN));
        assert!(!is(1, None, start));
        assert!(is(1, None, start + AUDIT_CHECKPOINT_SPAN));
        assert!(is(AUDIT_CHECKPOINT_LINES, None, start));
        let last = signed(5, 2000);
        assert!(!is(5, Some(&last), Timestamp(u64::MAX)));
        assert!(
            !is(6, Some(&last), Timestamp(2001)) && is(5 + AUDIT_CHECKPOINT_LINES, Some(&last), Timestamp(0))
        );
    }

    #[test]
    fn a_walk_finds_what_only_checkpoints_know() {
        let mut lines = Vec::new();
        let mut tip = Tip::default();
        for at in 0..9 {
            let line = tip.next(refusal(1, at));
            tip = line.tip();
            lines.push(line);
        }
        let at = |index: usize| Checkpoint { hash: lines[index].hash, ..signed(lines[index].seq, 0) };
        let walk = |checkpoints: &[Checkpoint], lines: &[Line]| {
            let mut walk = Walk::new(checkpoints.iter().copied())?;
            lines.iter().try_for_each(|line| walk.on(line))?;
            walk.end().map(|tip| tip.seq)
        };
        assert_eq!(walk(&[], &lines), Ok(9));
        assert_eq!(walk(&[at(2), at(8)], &lines), Ok(9));
        assert_eq!(walk(&[at(8)], &lines[..7]), Err(Breach::Truncated { last: 7, signed: 9 }));
        assert_eq!(walk(&[at(2)], &lines[3..]), Ok(9), "what went by age was signed");
        assert_eq!(walk(&[at(8)], &[]), Ok(0));
        assert_eq!(walk(&[at(2), at(8)], &[]), Err(Breach::Truncated { last: 0, signed: 9 }));
        assert_eq!(walk(&[at(2)], &lines[4..]), Err(Breach::NoBeginning { first: 5 }));
        // Somebody wrote the log anew from line 5 on, with all digests in order.
        let mut forged = lines[..4].to_vec();
        let mut tip = forged[3].tip();
        for at in 100..105 {
            forged.push(tip.next(refusal(1, at)));
            tip = forged.last().unwrap().tip();
        }
        assert_eq!(walk(&[], &forged), Ok(9));
        assert_eq!(walk(&[at(2), at(6)], &forged), Err(Breach::Rewritten { seq: 7 }));
        let other = Checkpoint { hash: forged[6].hash, ..at(6) };
        assert_eq!(walk(&[at(6), other], &lines), Err(Breach::Rewritten { seq: 7 }));
    }

    #[test]
    fn only_what_is_signed_goes_and_so_much_at_once() {
        let checkpoints: Vec<Checkpoint> = (1..=30).map(|index| signed(index * 1000, index)).collect();
        let tip = Tip { seq: 30_500, hash: Digest([2; 32]) };
        let keep = |lines, life| Keep { lines, life: Millis(life) };
        let now = Timestamp(100);
        assert_eq!(droppable(&checkpoints, tip, keep(u64::MAX, u64::MAX), now), None);
        assert_eq!(droppable(&checkpoints, tip, keep(27_000, u64::MAX), now), Some(3000));
        assert_eq!(droppable(&checkpoints, tip, keep(u64::MAX, 98), now), Some(2000));
        assert_eq!(droppable(&checkpoints, tip, keep(0, u64::MAX), now), Some(11_000));
        assert_eq!(droppable(&[], tip, keep(0, 0), now), None);
    }
}
