//! Models of clients: what real firmware, iPXE and systems do with time and replies, as automata.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{Ipv4Addr, SocketAddrV4};

use muster::base::{Mac, Millis, Timestamp};
use muster::engine::dhcp::imagine::{Client, Imagined};
use muster::engine::dhcp::{Ingress, Route};
use muster::model::Arch;
use muster::wire::dhcp::{Message, MessageType, code};

/// A small generator (xorshift64*): one seed, one run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

/// Where a client is in its exchange.
#[derive(Clone, Debug, PartialEq)]
enum State {
    /// Powered off or between stages until then.
    Rest(Timestamp),
    Discovering {
        tries: u32,
        next: Timestamp,
    },
    Requesting {
        offer: Box<Message>,
        tries: u32,
        next: Timestamp,
    },
    Bound {
        renew: Timestamp,
    },
}

/// One machine from its firmware to its system.
pub(crate) struct Machine {
    pub(crate) mac: Mac,
    /// The stages of its boot, in order; the last one keeps its lease.
    stages: Vec<Client>,
    stage: usize,
    xid: u32,
    state: State,
    /// The address it believes to hold, and until when.
    pub(crate) held: Option<(Ipv4Addr, Timestamp)>,
    /// The URL that its iPXE was told.
    pub(crate) script: Option<String>,
    pub(crate) script_at: Option<Timestamp>,
    /// NAKs that it heard while SELECTING: edk2 would have given up.
    pub(crate) abandoned: u32,
}

/// Pause between stages: download and start of the next program.
const NEXT_STAGE: Millis = Millis(2500);
/// A stage that got nothing gives up after so many DISCOVERs; the firmware then begins anew.
const TRIES_MAX: u32 = 4;

impl Machine {
    pub(crate) fn new(mac: Mac, stages: &[Client], start: Timestamp) -> Machine {
        Machine {
            mac,
            stages: stages.to_vec(),
            stage: 0,
            xid: u32::from(mac.0[5]) | u32::from(mac.0[4]) << 8,
            state: State::Rest(start),
            held: None,
            script: None,
            script_at: None,
            abandoned: 0,
        }
    }

    fn imagined(&self) -> Imagined {
        Imagined {
            client: self.stages[self.stage],
            arch: Arch::X86_64,
            mac: self.mac,
            uuid: None,
            xid: self.xid,
        }
    }

    /// Seconds until the next DISCOVER, as measured: edk2 4, 8, 16, 32; iPXE 1, 2, 4; a system 3.
    fn pause(&self, tries: u32) -> Millis {
        match self.stages[self.stage] {
            Client::UefiPxe | Client::UefiHttp | Client::BiosRom => Millis::from_secs(4 << tries),
            Client::IpxeRom | Client::ForeignIpxe | Client::Ipxe => Millis::from_secs(1 << tries),
            Client::System => Millis::from_secs(3),
        }
    }

    fn begin_stage(&mut self, stage: usize, at: Timestamp) {
        self.stage = stage;
        self.xid = self.xid.wrapping_add(0x0001_0000);
        self.state = State::Rest(at);
    }

    /// What it sends at this moment.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Option<(Message, Ingress)> {
        self.held = self.held.filter(|(_, until)| *until > now);
        let ingress = self.imagined().ingress("eth1");
        match self.state.clone() {
            State::Rest(until) if until <= now => {
                self.state = State::Discovering { tries: 1, next: now + self.pause(0) };
                Some((self.imagined().discover(), ingress))
            }
            State::Discovering { tries, next } if next <= now => {
                if tries >= TRIES_MAX {
                    self.begin_stage(0, now + Millis::from_secs(5));
                    return None;
                }
                self.state = State::Discovering { tries: tries + 1, next: now + self.pause(tries) };
                Some((self.imagined().discover(), ingress))
            }
            State::Requesting { offer, tries, next } if next <= now => {
                if tries >= TRIES_MAX {
                    self.state = State::Rest(now);
                    return None;
                }
                let request = self.imagined().request(&offer);
                let next = now + Millis::from_secs(1 << tries);
                self.state = State::Requesting { offer, tries: tries + 1, next };
                Some((request, ingress))
            }
            State::Bound { renew } if renew <= now => self.renewal(now),
            State::Rest(_) | State::Discovering { .. } => None,
            State::Requesting { .. } | State::Bound { .. } => None,
        }
    }

    /// RENEWING by unicast; an expired lease begins anew.
    fn renewal(&mut self, now: Timestamp) -> Option<(Message, Ingress)> {
        let Some((address, _)) = self.held else {
            self.begin_stage(self.stage, now);
            return None;
        };
        self.state = State::Bound { renew: now + Millis::from_secs(10) };
        let mut message = self.imagined().discover();
        message.options.set(code::MESSAGE_TYPE, [3]);
        message.ciaddr = address;
        let ingress = Ingress {
            source: SocketAddrV4::new(address, 68),
            destination: SocketAddrV4::new(Ipv4Addr::new(198, 18, 0, 1), 67),
            ..self.imagined().ingress("eth1")
        };
        Some((message, ingress))
    }

    /// A reply that came over the wire. edk2 does not hear unicast while it has no address.
    pub(crate) fn hear(&mut self, reply: &Message, route: Route, now: Timestamp) {
        let deaf = self.imagined().discover().wants_broadcast() && route != Route::Broadcast;
        let bound = matches!(self.state, State::Bound { .. });
        if reply.xid != self.xid || reply.mac() != Some(self.mac) || (deaf && !bound) {
            return;
        }
        match (reply.message_type(), self.state.clone()) {
            (Some(MessageType::Offer), State::Discovering { .. }) => {
                self.state = State::Requesting { offer: Box::new(reply.clone()), tries: 0, next: now };
            }
            (Some(MessageType::Ack), State::Requesting { .. } | State::Bound { .. }) => {
                self.on_ack(reply, now)
            }
            (Some(MessageType::Nak), State::Requesting { .. }) => {
                self.abandoned += 1;
                self.begin_stage(0, now + Millis::from_secs(30));
            }
            (Some(MessageType::Nak), State::Bound { .. }) => {
                self.held = None;
                self.begin_stage(self.stage, now);
            }
            _ => {}
        }
    }

    fn on_ack(&mut self, ack: &Message, now: Timestamp) {
        let seconds = ack
            .options
            .get(code::LEASE_SECONDS)
            .and_then(|v| v.try_into().ok())
            .map_or(0, u32::from_be_bytes);
        let lease = Millis::from_secs(seconds.into());
        self.held = Some((ack.yiaddr, now + lease));
        let last = self.stage + 1 == self.stages.len();
        if self.stages[self.stage] == Client::Ipxe || self.stages[self.stage] == Client::IpxeRom {
            self.script = ack.options.text(code::BOOT_FILE);
            self.script_at = self.script_at.or(Some(now));
        }
        let told = !ack.file.is_empty() || ack.options.contains(code::BOOT_FILE);
        match (last, told) {
            (true, _) => self.state = State::Bound { renew: now + Millis(lease.0 / 2) },
            (false, true) => self.begin_stage(self.stage + 1, now + NEXT_STAGE),
            (false, false) => self.begin_stage(0, now + Millis::from_secs(30)),
        }
    }
}
