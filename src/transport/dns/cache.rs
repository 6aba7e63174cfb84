//! What upstream servers said, for as long as they allow. A map of our own: one mutex, one bound, the clock
//! as an argument; a crate would bring threads and a clock of its own.

use std::collections::HashMap;

use crate::base::limits::{DNS_CACHE_LIFE_MAX, DNS_DENIAL_LIFE_MAX};
use crate::base::{Millis, Timestamp};
use crate::wire::dns::{DNSClass, Message, Name, RData, RecordType};

/// What makes two questions the same.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key {
    name: Name,
    kind: RecordType,
    class: DNSClass,
    dnssec_ok: bool,
    checking_disabled: bool,
}

#[derive(Debug)]
struct Entry {
    reply: Message,
    stored: Timestamp,
    expires: Timestamp,
}

/// A bounded memory.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: HashMap<Key, Entry>,
    entries_max: usize,
}

impl Key {
    /// None for a message without a question.
    pub(crate) fn of(query: &Message) -> Option<Key> {
        let question = query.queries.first()?;
        Some(Key {
            name: question.name().to_lowercase(),
            kind: question.query_type(),
            class: question.query_class(),
            dnssec_ok: query.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok),
            checking_disabled: query.metadata.checking_disabled,
        })
    }
}

impl Cache {
    pub(crate) fn new(entries_max: usize) -> Cache {
        Cache { entries: HashMap::new(), entries_max }
    }

    /// The remembered reply, its TTLs lowered by its age.
    pub(crate) fn look_up(&mut self, key: &Key, now: Timestamp) -> Option<Message> {
        let entry = self.entries.get(key)?;
        if now >= entry.expires || now < entry.stored {
            self.entries.remove(key);
            return None;
        }
        let age = u32::try_from(now.since(entry.stored).as_secs()).unwrap_or(u32::MAX);
        let mut reply = entry.reply.clone();
        let sections = [&mut reply.answers, &mut reply.authorities, &mut reply.additionals];
        for record in sections.into_iter().flatten() {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(reply)
    }

    /// Remembers a reply; one without a lifetime is not kept. A full memory first loses what has expired,
    /// then whatever comes first in the map's order, which nobody outside can foresee.
    pub(crate) fn remember(&mut self, key: Key, reply: Message, now: Timestamp) {
        let life = life(&reply);
        if life == Millis(0) || reply.metadata.truncation {
            return;
        }
        if self.entries.len() >= self.entries_max {
            self.entries.retain(|_, entry| now < entry.expires);
        }
        if self.entries.len() >= self.entries_max {
            let mut left = self.entries_max.saturating_sub(self.entries_max / 8); // rarely, so in bulk
            self.entries.retain(|_, _| {
                let stays = left > 0;
                left = left.saturating_sub(1);
                stays
            });
        }
        self.entries.insert(key, Entry { reply, stored: now, expires: now + life });
    }
}

/// The shortest TTL of the answers; of a denial the SOA's, RFC 2308 section 5.
fn life(reply: &Message) -> Millis {
    let shortest = reply.answers.iter().map(|record| record.ttl).min();
    let denial = reply.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    });
    match (shortest, denial) {
        (Some(ttl), _) => Millis::from_secs(ttl.into()).min(DNS_CACHE_LIFE_MAX),
        (None, Some(ttl)) => Millis::from_secs(ttl.into()).min(DNS_DENIAL_LIFE_MAX),
        (None, None) => Millis(0),
    }
}

#[cfg(test)]
mod tests {
    use crate::base::{Millis, Timestamp};
    use crate::transport::dns::cache::{Cache, Key};
    use crate::wire::dns::{A, Message, Name, Query, RData, Record, RecordType, SOA};

    const NOW: Timestamp = Timestamp(1_000_000);

    fn query(name: &str) -> Message {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        query
    }

    fn record(ttl: u32, data: RData) -> Record {
        Record::from_rdata(Name::from_ascii("example.org.").unwrap(), ttl, data)
    }

    #[test]
    fn answers_age_and_expire_and_case_does_not_matter() {
        let mut cache = Cache::new(8);
        let mut reply = query("example.org.");
        reply.add_answer(record(30, RData::A(A::new(192, 0, 2, 1))));
        cache.remember(Key::of(&reply).unwrap(), reply, NOW);
        let key = Key::of(&query("EXAMPLE.org.")).unwrap();
        let found = cache.look_up(&key, NOW + Millis(10_500)).unwrap();
        assert_eq!(found.answers[0].ttl, 20);
        assert!(cache.look_up(&key, NOW + Millis(30_000)).is_none());
        assert!(cache.entries.is_empty());
    }

    #[test]
    fn denials_live_as_long_as_their_soa_says() {
        let mut cache = Cache::new(8);
        let root = Name::root();
        let mut reply = query("absent.example.org.");
        let key = Key::of(&reply).unwrap();
        cache.remember(key.clone(), reply.clone(), NOW);
        assert!(cache.look_up(&key, NOW).is_none(), "a denial without SOA is not kept");
        let soa = SOA::new(root.clone(), root, 1, 1, 1, 1, 5);
        reply.add_authorities([record(900, RData::SOA(soa))]);
        cache.remember(key.clone(), reply, NOW);
        assert!(cache.look_up(&key, NOW + Millis(4999)).is_some());
        assert!(cache.look_up(&key, NOW + Millis(5000)).is_none());
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut cache = Cache::new(16);
        for number in 0..100 {
            let mut reply = query(&format!("n{number}.example.org."));
            reply.add_answer(record(30, RData::A(A::new(192, 0, 2, 1))));
            cache.remember(Key::of(&reply).unwrap(), reply, NOW);
            assert!(cache.entries.len() <= 16);
        }
    }
}
