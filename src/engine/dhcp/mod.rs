//! What to answer to a DHCP message: one function over the message, the snapshot and the lease table.
//!
//! Absent on purpose: rapid commit (80), which no PXE ROM sends; 108 (IPv6-only), which would take a booting
//! machine its IPv4; lease times wished by clients (51), which RFC 2131 section 4.3.1 lets a server ignore.

mod address;
mod answer;
mod boot;
mod case;
pub mod imagine;
mod network;
mod options;
mod reason;
mod reply;
mod request;
mod watch;

pub use crate::engine::boot::loader::LoaderRule;
pub use answer::{AddressRule, Answer, Boot, Explanation, NetworkRule, Refusal, Route, Verdict};
pub use reason::{NoBoot, Reason};
pub use request::{Ingress, PXE_PORT, Request};
pub use watch::{Foreign, watch};

use std::net::Ipv4Addr;

use crate::base::Timestamp;
use crate::engine::dhcp::case::Case;
use crate::engine::dhcp::reply::Draft;
use crate::model::lease::LeaseChange;
use crate::model::{DhcpMode, LeaseState, LeaseTable, Snapshot, Stage};
use crate::wire::dhcp::{Message, MessageType};

/// What the shell has seen so far and the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    pub leases: &'a LeaseTable,
    /// When our iPXE was last handed to this machine's foreign iPXE.
    pub chained: Option<Timestamp>,
    /// True: the answer that named the loader to this machine's firmware told it whom to trust.
    pub anchored: bool,
}

/// Outcome of one message: silence, or a draft, each with what it does to the lease table.
type Outcome = (Result<Draft, Reason>, Option<LeaseChange>);

/// Decides the answer to one message of a client.
pub fn respond(request: &Request, snapshot: &Snapshot, observed: &Observed<'_>, now: Timestamp) -> Answer {
    let kind = request.message.message_type();
    let opened = match kind {
        _ if !request.message.request => Err(Reason::NotARequest),
        None => Err(Reason::PlainBootp),
        Some(_) => Case::open(request, snapshot, observed, now),
    };
    let explanation = Explanation {
        request: kind,
        stage: Some(request.stage),
        firmware: Some(request.firmware),
        ..Explanation::default()
    };
    match (opened, kind) {
        (Ok(case), Some(kind)) => {
            let outcome = match case.unwanted() {
                Some(reason) => (Err(reason), None),
                None => decide(&case, kind),
            };
            conclude(&case, outcome, explanation)
        }
        (Err(reason), _) => silence(reason, explanation),
        (Ok(_), None) => silence(Reason::PlainBootp, explanation),
    }
}

fn decide(case: &Case<'_>, kind: MessageType) -> Outcome {
    match (case.network.dhcp, kind) {
        (_, MessageType::Request | MessageType::Inform) if case.request.is_proxy_port() => {
            (boot_server(case), None)
        }
        (DhcpMode::Proxy, _) => (proxy(case, kind), None),
        (DhcpMode::Off, _) => (Err(Reason::DhcpOff), None),
        (DhcpMode::Authoritative, MessageType::Discover) => on_discover(case),
        (DhcpMode::Authoritative, MessageType::Request) => on_request(case),
        (DhcpMode::Authoritative, MessageType::Decline) => on_decline(case),
        (DhcpMode::Authoritative, MessageType::Release) => on_release(case),
        (DhcpMode::Authoritative, MessageType::Inform) => (on_inform(case), None),
        (DhcpMode::Authoritative, _) => (Err(Reason::UnexpectedType), None),
    }
}

fn on_discover(case: &Case<'_>) -> Outcome {
    match address::choose(case) {
        None => (Err(Reason::PoolEmpty), None),
        Some(given) => (Ok(reply::lease(case, MessageType::Offer, &given)), address::hold(case, &given)),
    }
}

/// REQUEST in its four states (RFC 2131 section 4.3.2), told apart by options 50 and 54 and `ciaddr`.
fn on_request(case: &Case<'_>) -> Outcome {
    let message = &case.request.message;
    let ciaddr = Some(message.ciaddr).filter(|address| !address.is_unspecified());
    match (message.server_id(), message.requested_address(), ciaddr) {
        (Some(server), _, _) if !case.is_ours(server) => (Err(Reason::OtherServerChosen), forget(case)),
        (Some(_), Some(requested), _) => on_select(case, requested),
        (_, requested, ciaddr) => match ciaddr.or(requested) {
            None => (Err(Reason::NothingRequested), None),
            Some(address) => match address::judge(case, address) {
                Ok(given) => acknowledge(case, &given),
                Err(refusal) => (Ok(reply::nak(case, address, refusal)), None),
            },
        },
    }
}

/// SELECTING: never a NAK, at which edk2 gives up PXE for good (measured). If the machine was declared
/// since the OFFER, the offered pool address still holds for this lease.
fn on_select(case: &Case<'_>, requested: Ipv4Addr) -> Outcome {
    let judged = match address::judge(case, requested) {
        Err(Refusal::AnotherDeclared) => address::judge_pooled(case, requested),
        judged => judged,
    };
    match judged {
        Ok(given) => acknowledge(case, &given),
        Err(_) => (Err(Reason::OfferGone), None),
    }
}

fn acknowledge(case: &Case<'_>, given: &address::Assigned) -> Outcome {
    (Ok(reply::lease(case, MessageType::Ack, given)), address::bind(case, given))
}

/// The client took another server's offer: what we held for it is free.
fn forget(case: &Case<'_>) -> Option<LeaseChange> {
    let held = case.observed.leases.find(&case.network.name, &case.key)?;
    (held.state == LeaseState::Held).then_some(LeaseChange::Forget(held.address))
}

fn on_decline(case: &Case<'_>) -> Outcome {
    let Some(address) = case.request.message.requested_address() else {
        return (Err(Reason::NothingRequested), None);
    };
    if address::declared(case) == Some(address) {
        return (Err(Reason::DeclinedDeclared), None);
    }
    match holds(case, address) {
        true => (Err(Reason::Declined), Some(address::quarantine(case, address))),
        false => (Err(Reason::DeclineNotIts), None),
    }
}

fn on_release(case: &Case<'_>) -> Outcome {
    let message = &case.request.message;
    let ours = message.server_id().is_none_or(|server| case.is_ours(server));
    match ours && holds(case, message.ciaddr) {
        true => (Err(Reason::Released), Some(LeaseChange::Release(message.ciaddr))),
        false => (Err(Reason::ReleaseNotIts), None),
    }
}

fn holds(case: &Case<'_>, address: Ipv4Addr) -> bool {
    case.observed.leases.get(address).is_some_and(|lease| {
        let held = match lease.state {
            LeaseState::Held | LeaseState::Bound => true,
            LeaseState::Released | LeaseState::Declined => false,
        };
        held && lease.key == case.key
    })
}

fn on_inform(case: &Case<'_>) -> Result<Draft, Reason> {
    let told = Some(case.request.message.ciaddr).filter(|address| !address.is_unspecified());
    let told = told.unwrap_or(*case.request.ingress.source.ip());
    if !case.network.address.is_host(told) {
        return Err(Reason::InformOutside);
    }
    Ok(reply::inform(case, told))
}

/// Beside another server: boot data in an OFFER without an address (PXE 2.1 section 2.2.2).
fn proxy(case: &Case<'_>, kind: MessageType) -> Result<Draft, Reason> {
    match kind {
        MessageType::Discover => boot_data(case, MessageType::Offer),
        MessageType::Inform => boot_data(case, MessageType::Ack),
        _ => Err(Reason::ProxyLeasesNothing),
    }
}

/// Port 4011, whoever gives the addresses: a boot server's ACK.
fn boot_server(case: &Case<'_>) -> Result<Draft, Reason> {
    boot_data(case, MessageType::Ack)
}

fn boot_data(case: &Case<'_>, kind: MessageType) -> Result<Draft, Reason> {
    match boot::decide(case) {
        Boot::None(_) => Err(Reason::ProxyNothingToOffer),
        boot => Ok(reply::boot_only(case, kind, boot)),
    }
}

fn silence(reason: Reason, explanation: Explanation) -> Answer {
    Answer {
        verdict: Verdict::Silence(reason),
        lease: None,
        sighting: None,
        chained: false,
        anchored: false,
        explanation,
    }
}

/// Puts outcome and explanation together.
fn conclude(case: &Case<'_>, (outcome, lease): Outcome, mut explanation: Explanation) -> Answer {
    explanation.network = Some((case.network.name.clone(), case.network_rule));
    explanation.machine = case.machine.map(|machine| machine.name().to_owned());
    explanation.squatter = address::squatter(case).cloned();
    let sighting = case.sighting();
    let draft = match outcome {
        Ok(draft) => draft,
        Err(reason) => {
            // Why there was no boot data to offer, the explanation tells.
            explanation.boot = (reason == Reason::ProxyNothingToOffer).then(|| boot::decide(case));
            return Answer { lease, sighting, ..silence(reason, explanation) };
        }
    };
    // An OFFER is no promise, except in proxy mode, where it is all that we say.
    let last_word = draft.kind == MessageType::Ack || draft.address.is_none();
    let chained = last_word && draft.boot.as_ref().is_some_and(|boot| boot::chains(case, boot));
    let message = draft.reply.emit();
    explanation.reply = Some(draft.kind);
    explanation.address = draft.address;
    explanation.lease = draft.lease;
    explanation.boot = draft.boot;
    explanation.options = sent_options(&message);
    let anchored =
        last_word && case.request.stage == Stage::Firmware && options::anchors(&explanation.options);
    let verdict = Verdict::Reply { message, route: draft.route, source: draft.source };
    Answer { verdict, lease, sighting, chained, anchored, explanation }
}

/// The options as they stand in the bytes: after the size limit took its share.
fn sent_options(message: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let sent = Message::parse(message);
    sent.map(|sent| sent.options.iter().map(|(code, value)| (code, value.to_vec())).collect())
        .unwrap_or_default()
}
