//! A capture in, verdicts out: what this head would have answered to each packet, without a network.

use crate::base::{Mac, Timestamp};
use crate::engine::dhcp::{Foreign, Ingress, Observed, Request, respond, watch};
use crate::engine::explain::{outcome, reasons};
use crate::model::{LeaseTable, Snapshot};
use crate::wire::dhcp::{Message, code};
use crate::wire::frame::datagram;
use crate::wire::pcap::Frame;

/// Ports on which machines speak DHCP to a server.
const SERVER_PORTS: [u16; 2] = [67, 4011];

/// What was decided about one frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Number of the frame in the capture, from one, as Wireshark counts.
    pub number: usize,
    pub at: Timestamp,
    /// Whose message it is.
    pub mac: Option<Mac>,
    /// What it is.
    pub packet: String,
    /// What this head makes of it.
    pub verdict: String,
    pub reasons: Vec<String>,
}

/// Replays a capture that was taken on one of the head's links. Leases evolve from frame to frame.
#[must_use]
pub fn replay(frames: &[Frame], snapshot: &Snapshot, interface: &str, mut leases: LeaseTable) -> Vec<Line> {
    let numbered = frames.iter().enumerate();
    numbered
        .map(|(index, frame)| {
            let number = index.saturating_add(1);
            let (mac, packet, verdict, reasons) = judge(frame, snapshot, interface, &mut leases);
            Line { number, at: frame.at, mac, packet, verdict, reasons }
        })
        .collect()
}

type Judged = (Option<Mac>, String, String, Vec<String>);

fn judge(frame: &Frame, snapshot: &Snapshot, interface: &str, leases: &mut LeaseTable) -> Judged {
    let plain = |packet: &str, verdict: String| (None, packet.to_owned(), verdict, Vec::new());
    // A capture taken on the sender's side holds checksums that its card had yet to fill in.
    let datagram = match datagram(&frame.bytes, false) {
        Ok(Some(datagram)) => datagram,
        Ok(None) => return plain("not UDP over IPv4", "not looked at".to_owned()),
        Err(error) => return plain("damaged", format!("dropped: {error}")),
    };
    let ports = [datagram.source.port(), datagram.destination.port()];
    if ports.contains(&69) {
        return plain("TFTP request", "served by name".to_owned());
    }
    if !ports.iter().any(|port| SERVER_PORTS.contains(port)) {
        let packet = format!("UDP {} to {}", datagram.source, datagram.destination);
        return plain(&packet, "not DHCP".to_owned());
    }
    let message = match Message::parse(datagram.payload) {
        Ok(message) => message,
        Err(error) => return plain("DHCP", format!("dropped: {error}")),
    };
    let mac = message.mac();
    let kind = message.message_type().map_or_else(|| "BOOTP".to_owned(), code::kind);
    let ingress = Ingress {
        interface: interface.into(),
        source_mac: datagram.source_mac,
        source: datagram.source,
        destination: datagram.destination,
    };
    if !message.request {
        let packet = format!("{kind} of {}", message.server_id().unwrap_or(*datagram.source.ip()));
        let verdict =
            watch(&message, &ingress, snapshot).map_or_else(|| "a server's, as expected".to_owned(), rogue);
        return (mac, packet, verdict, Vec::new());
    }
    let request = Request::new(message, ingress);
    let packet = format!("{kind} by {} ({})", request.stage.as_str(), request.firmware.as_str());
    let answer = respond(&request, snapshot, &Observed { leases, chained: None, anchored: false }, frame.at);
    let (verdict, why) = (outcome(&answer), reasons(&answer.explanation));
    if let Some(change) = answer.lease {
        leases.apply(change);
    }
    (mac, packet, verdict, why)
}

fn rogue(foreign: Foreign) -> String {
    let offered = foreign.offered.map_or_else(String::new, |address| format!(" offers {address}"));
    format!("foreign server {} ({}){offered} on network {}", foreign.server, foreign.mac, foreign.network)
}
