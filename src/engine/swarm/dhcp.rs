//! One exchange of DHCP: DISCOVER to ACK, with the waits of its client.

use std::net::Ipv4Addr;

use crate::engine::dhcp::imagine::{Client, Imagined};
use crate::engine::swarm::report::Reason;
use crate::engine::swarm::{Micros, Moment};
use crate::wire::dhcp::{Message, MessageType};

/// The exchange.
#[derive(Debug)]
pub(in crate::engine::swarm) struct Exchange {
    imagined: Imagined,
    offer: Option<Box<Message>>,
    sends: u32,
    began: Moment,
    deadline: Moment,
    pub(in crate::engine::swarm) retries: u64,
    over: Option<Result<Box<Message>, Reason>>,
}

/// Seconds that a client waits for an answer, for each message in turn; then it gives up. edk2 and PXE ROMs
/// double from 4; iPXE from 1 up to 10; udhcpc asks three times.
fn waits(client: Client) -> &'static [u64] {
    match client {
        Client::BiosRom | Client::UefiPxe | Client::UefiHttp => &[4, 8, 16, 32],
        Client::IpxeRom | Client::ForeignIpxe | Client::Ipxe => &[1, 2, 4, 8, 10, 10],
        Client::System => &[3, 3, 3, 20, 3, 3, 3],
    }
}

impl Exchange {
    pub(in crate::engine::swarm) fn new(imagined: Imagined, now: Moment) -> Exchange {
        Exchange { imagined, offer: None, sends: 0, began: now, deadline: now, retries: 0, over: None }
    }

    pub(in crate::engine::swarm) fn next_deadline(&self) -> Moment {
        self.deadline
    }

    pub(in crate::engine::swarm) fn outcome(&self) -> Option<Result<Box<Message>, Reason>> {
        self.over.clone()
    }

    /// The message that is due, if its time has come.
    pub(in crate::engine::swarm) fn poll_message(&mut self, now: Moment) -> Option<Message> {
        if self.over.is_some() || now < self.deadline {
            return None;
        }
        let waits = waits(self.imagined.client);
        let Some(wait) = usize::try_from(self.sends).ok().and_then(|sends| waits.get(sends)) else {
            self.over = Some(Err(if self.offer.is_some() { Reason::NoAck } else { Reason::NoOffer }));
            return None;
        };
        if self.sends > 0 {
            self.retries = self.retries.saturating_add(1);
        }
        self.sends = self.sends.saturating_add(1);
        self.deadline = now.after(Micros::from_secs(*wait));
        let mut message = match &self.offer {
            Some(offer) => self.imagined.request(offer),
            None => self.imagined.discover(),
        };
        let waited = now.since(self.began).0.checked_div(1_000_000).unwrap_or(0);
        message.secs = u16::try_from(waited).unwrap_or(u16::MAX);
        Some(message)
    }

    /// A reply. What belongs to another exchange or is not awaited is passed over.
    pub(in crate::engine::swarm) fn on_message(&mut self, message: &Message, now: Moment) {
        if message.request || message.xid != self.imagined.xid || self.over.is_some() {
            return;
        }
        match (message.message_type(), &self.offer) {
            (Some(MessageType::Offer), None) if message.yiaddr != Ipv4Addr::UNSPECIFIED => {
                self.offer = Some(Box::new(message.clone()));
                self.sends = 0;
                self.deadline = now;
            }
            (Some(MessageType::Ack), Some(_)) => self.over = Some(Ok(Box::new(message.clone()))),
            (Some(MessageType::Nak), Some(_)) => {
                self.offer = None;
                self.retries = self.retries.saturating_add(1);
                self.deadline = now.after(Micros::from_secs(1));
            }
            _ => {}
        }
    }
}
