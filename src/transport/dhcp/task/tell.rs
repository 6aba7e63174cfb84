//! Who else hears of an exchange: the journal of leases, boot sessions of nodes that begin to boot, the recorder of
//! everything.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::base::{Mac, Timestamp};
use crate::engine::dhcp::{Answer, Request, Route, Verdict};
use crate::engine::record::{DhcpSeen, What};
use crate::model::boot_session::Channel;
use crate::model::snapshot::Machine;
use crate::model::{DhcpMode, LeaseState, Snapshot, Stage};
use crate::transport::dhcp::task::Task;
use crate::transport::journal::Entry;
use crate::transport::recorder::{Datagram, Exchange};
use crate::wire::dhcp::MessageType;

impl Task {
    /// Tells the recorder: a few moves and one copy of the reply.
    pub(in crate::transport::dhcp::task) fn record(
        &self,
        request: &Request,
        answer: &Answer,
        payload: Vec<u8>,
        snapshot: &Snapshot,
    ) {
        let Some(mac) = request.mac else { return };
        let network = answer.explanation.network.as_ref();
        let network = network.and_then(|(name, _)| snapshot.site.network(name));
        let is_proxy = network.is_some_and(|network| network.dhcp == DhcpMode::Proxy);
        let seen = What::Dhcp(Box::new(DhcpSeen::of(request, answer, is_proxy)));
        if request.stage == Stage::System {
            return self.recorder.saw_mac(mac, seen);
        }
        let ingress = &request.ingress;
        let own = self.links.mac(&ingress.interface).unwrap_or(Mac([0; 6]));
        let answered = match &answer.verdict {
            Verdict::Silence(_) => None,
            Verdict::Reply { message, route, source } => {
                let to = match route {
                    Route::Broadcast => (Mac::BROADCAST, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68)),
                    Route::Unicast { mac, address, port } => (*mac, SocketAddrV4::new(*address, *port)),
                    Route::Routed(to) => (ingress.source_mac, *to),
                };
                Some(Datagram { from: (own, *source), to, payload: message.clone() })
            }
        };
        let to = if request.is_unicast() { own } else { Mac::BROADCAST };
        let asked =
            Datagram { from: (ingress.source_mac, ingress.source), to: (to, ingress.destination), payload };
        self.recorder.saw_exchange(mac, seen, Exchange { asked, answered });
    }

    /// Tells of an address that is given. Renewals of running systems are many and say nothing new.
    pub(in crate::transport::dhcp::task) fn tell_lease(
        &self,
        mac: Option<Mac>,
        address: Ipv4Addr,
        stage: Stage,
        now: Timestamp,
    ) {
        let known = self.ledger.leases().get(address).is_some_and(|lease| lease.state == LeaseState::Bound);
        let snapshot = self.snapshot.load();
        let machine = mac.and_then(|mac| snapshot.by_mac(mac));
        if stage == Stage::System && (known || machine.is_some()) {
            return;
        }
        let mac = mac.map_or_else(String::new, |mac| mac.to_string());
        let name = machine.as_ref().map_or(mac.as_str(), Machine::name);
        let text = format!("{name} gets {address} ({})", stage.as_str());
        let node = machine.as_ref().map(Machine::name);
        let entry = Entry::new(now, "lease", text).node(node).with("mac", &mac).with("address", address);
        self.journal.write(entry.with("stage", stage.as_str()));
    }

    /// Tells of a node that begins to boot: each program that boots begins with a DISCOVER, and a system that
    /// runs does not send one as firmware does.
    pub(in crate::transport::dhcp::task) fn tell_boot(&self, request: &Request) {
        let Request { message, mac, stage, arch, .. } = request;
        let (Some(booting), Some(mac)) = (&self.booting, mac) else { return };
        if *stage == Stage::System || message.message_type() != Some(MessageType::Discover) {
            return;
        }
        if let Some(Machine::Node { node, .. }) = self.snapshot.load().by_mac(*mac) {
            let relay = Some(message.giaddr).filter(|relay| !relay.is_unspecified());
            let uuid = message.uuid();
            booting(node.id, Channel { mac: *mac, address: None, relay, uuid, arch: *arch });
        }
    }
}
