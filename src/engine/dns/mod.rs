//! What to answer to a DNS question: straight from the snapshot, so that no answer is ever stale.

pub mod zone;

use std::net::IpAddr;

use crate::model::Snapshot;
use crate::wire::dns::{
    A, DNSClass, Edns, HINFO, Message, MessageType, NS, Name, OpCode, PTR, Query, RData, Record, RecordType,
    ResponseCode, SOA, UDP_BYTES_MAX,
};

use crate::engine::dns::zone::{Place, locate};

/// Seconds that others may remember our answers; also for negative ones.
pub const TTL_SECONDS: u32 = 60;

/// What becomes of one query.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    Reply(Box<Message>),
    /// Not our name: for an upstream server, if there is one and the asker may use it.
    Forward,
    /// A response, not a query: never answered.
    Silence,
}

/// Answers one query. `serial` and all data are the snapshot's; letter case is kept as asked.
#[must_use]
pub fn answer(query: &Message, site: &Snapshot, asker: IpAddr) -> Answer {
    if query.metadata.message_type != MessageType::Query {
        return Answer::Silence;
    }
    if query.metadata.op_code != OpCode::Query {
        return refuse(query, ResponseCode::NotImp);
    }
    let [question] = query.queries.as_slice() else { return refuse(query, ResponseCode::FormErr) };
    if query.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return refuse(query, ResponseCode::BADVERS);
    }
    if question.query_class() != DNSClass::IN {
        return refuse(query, ResponseCode::Refused);
    }
    if matches!(question.query_type(), RecordType::AXFR | RecordType::IXFR) {
        return refuse(query, ResponseCode::Refused);
    }
    let Some((zone, place)) = locate(question.name(), site, asker) else { return Answer::Forward };
    let mut message = reply_to(query);
    message.metadata.authoritative = true;
    match (records(question, &zone, &place, site), &place) {
        (Some(found), _) if !found.is_empty() => {
            message.add_answers(found);
        }
        (_, Place::Absent) => {
            message.metadata.response_code = ResponseCode::NXDomain;
            message.add_authorities(soa(&zone, site));
        }
        (_, Place::Apex | Place::Host(_) | Place::Pointer(_) | Place::Empty) => {
            message.add_authorities(soa(&zone, site));
        }
    }
    Answer::Reply(Box::new(message))
}

/// An empty reply with the query's id, question and EDNS.
#[must_use]
pub fn reply_to(query: &Message) -> Message {
    let mut message = Message::response(query.metadata.id, query.metadata.op_code);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.checking_disabled = query.metadata.checking_disabled;
    message.add_queries(query.queries.iter().take(1).cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_BYTES_MAX);
        message.set_edns(edns);
    }
    message
}

/// An empty reply with this code.
#[must_use]
pub fn refusal(query: &Message, code: ResponseCode) -> Message {
    let mut message = reply_to(query);
    message.metadata.response_code = code;
    if let Some(edns) = message.edns.as_mut() {
        edns.set_rcode_high(code.high());
    }
    message
}

fn refuse(query: &Message, code: ResponseCode) -> Answer {
    Answer::Reply(Box::new(refusal(query, code)))
}

/// The records of the asked type; None if the place has none of it.
fn records(question: &Query, zone: &Name, place: &Place, site: &Snapshot) -> Option<Vec<Record>> {
    let record = |data| Record::from_rdata(question.name().clone(), TTL_SECONDS, data);
    match (place, question.query_type()) {
        (Place::Host(addresses), RecordType::A) => {
            Some(addresses.iter().map(|address| record(RData::A(A(*address)))).collect())
        }
        (Place::Pointer(target), RecordType::PTR) => {
            let target = Name::from_ascii(format!("{target}.{}.", site.site.domain)).ok()?;
            Some(vec![record(RData::PTR(PTR(target)))])
        }
        (Place::Apex, RecordType::SOA) => soa(zone, site).map(|soa| vec![soa]),
        (Place::Apex, RecordType::NS) => Some(vec![record(RData::NS(NS(server(site)?)))]),
        (Place::Apex | Place::Host(_) | Place::Pointer(_), RecordType::ANY) => {
            // RFC 8482 section 4.2: a small answer that says why.
            let hinfo = HINFO::new("RFC8482".to_owned(), String::new());
            Some(vec![record(RData::HINFO(hinfo))])
        }
        _ => None,
    }
}

fn server(site: &Snapshot) -> Option<Name> {
    Name::from_ascii(format!("head.{}.", site.site.domain)).ok()
}

fn soa(zone: &Name, site: &Snapshot) -> Option<Record> {
    let contact = Name::from_ascii(format!("hostmaster.{}.", site.site.domain)).ok()?;
    // The low half: serial numbers are compared modulo 2^32 (RFC 1982).
    let serial = u32::try_from(site.revision.0 & 0xffff_ffff).ok()?;
    let soa = SOA::new(server(site)?, contact, serial, 3600, 600, 86_400, TTL_SECONDS);
    Some(Record::from_rdata(zone.clone(), TTL_SECONDS, RData::SOA(soa)))
}

#[cfg(test)]
mod tests;
