//! What to answer to a DHCP message.

mod answer;
mod network;
mod reason;
mod request;
mod watch;

pub use answer::{AddressRule, Answer, Boot, Explanation, LoaderRule, NetworkRule, Refusal, Route, Verdict};
pub use reason::{NoBoot, Reason};
pub use request::{Ingress, PXE_PORT, Request};
pub use watch::{Foreign, watch};

use crate::base::Timestamp;
use crate::model::{LeaseTable, Snapshot};
use crate::wire::dhcp::MessageType;

/// What the shell has seen so far and the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    pub leases: &'a LeaseTable,
    /// When our iPXE was last handed to this machine's foreign iPXE.
    pub chained: Option<Timestamp>,
}

/// Decides the answer to one message of a client.
pub fn respond(request: &Request, snapshot: &Snapshot, _observed: &Observed<'_>, _now: Timestamp) -> Answer {
    let kind = request.message.message_type();
    let reason = match kind {
        _ if !request.message.request => Reason::NotARequest,
        None => Reason::PlainBootp,
        Some(MessageType::Offer) => Reason::UnexpectedType,
        Some(_) if network::locate(request, snapshot).is_none() => Reason::NoNetwork,
        Some(_) => Reason::DhcpOff,
    };
    Answer {
        verdict: Verdict::Silence(reason),
        lease: None,
        sighting: None,
        chained: false,
        explanation: Explanation { request: kind, ..Explanation::default() },
    }
}
