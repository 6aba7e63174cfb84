//! One TFTP download as an automaton: options, windows, losses, wrap-around. The block counter is 64 bits
//! wide inside and 16 on the wire.

use crate::base::limits::{TFTP_BLOCK_BYTES_MAX, TFTP_SENDS_MAX, TFTP_WINDOW_MAX};
use crate::base::{Millis, Timestamp};
use crate::wire::tftp::{BLOCK_BYTES_DEFAULT, TransferOption, emit_oack};

/// First wait for an acknowledgement; each further one is half as long again.
const RETRY_FIRST: Millis = Millis(700);
/// Longest wait for an acknowledgement.
const RETRY_MAX: Millis = Millis(5000);
/// After a sign of loss the window is sent again unless progress comes within this span. An echo of an old
/// acknowledgement is overtaken by the new one in this time, so that it causes no flood.
const GAP_WAIT: Millis = Millis(30);
/// IPv4, UDP and TFTP headers around one block.
const HEADERS_BYTES: u16 = 32;
const BLOCK_BYTES_MIN: u16 = 8;

/// What client and server agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Terms {
    pub block_bytes: u16,
    pub window: u16,
    retry_first: Millis,
    /// The OACK; None if the client asked for nothing that we know, and DATA 1 comes first.
    oack: Option<Vec<u8>>,
}

impl Terms {
    /// Answers the client's wishes. A block never exceeds the route's `mtu` in octets: ROMs cannot reassemble
    /// fragments. `size` is None where it is not known as the client counts (netascii): RFC 2349 then has us
    /// leave the option out.
    #[must_use]
    pub fn agree(wishes: &[TransferOption], size: Option<u64>, mtu: u16) -> Terms {
        let fits = mtu.saturating_sub(HEADERS_BYTES).clamp(BLOCK_BYTES_MIN, TFTP_BLOCK_BYTES_MAX);
        let mut terms =
            Terms { block_bytes: BLOCK_BYTES_DEFAULT, window: 1, retry_first: RETRY_FIRST, oack: None };
        let mut accepted = Vec::new();
        for wish in wishes {
            match *wish {
                TransferOption::BlockSize(asked) => {
                    terms.block_bytes = asked.clamp(BLOCK_BYTES_MIN, fits);
                    accepted.push(TransferOption::BlockSize(terms.block_bytes));
                }
                TransferOption::Size(_) => accepted.extend(size.map(TransferOption::Size)),
                TransferOption::Timeout(seconds) => {
                    terms.retry_first = Millis::from_secs(u64::from(seconds));
                    accepted.push(*wish);
                }
                TransferOption::Window(asked) => {
                    terms.window = asked.clamp(1, TFTP_WINDOW_MAX);
                    accepted.push(TransferOption::Window(terms.window));
                }
            }
        }
        terms.oack = (!accepted.is_empty()).then(|| emit_oack(&accepted));
        terms
    }
}

/// How a transfer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The client has it all.
    Done,
    /// All was sent, the last acknowledgement never came: some ROMs start what they loaded at once.
    Unconfirmed,
    /// The client only wanted the size (edk2: error 8, Intel ROMs: error 0, both right after the OACK).
    Probed,
    /// The client gave up with this error code.
    Aborted(u16),
    /// The client fell silent.
    Lost,
}

/// One datagram to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment<'a> {
    /// A complete packet.
    Options(&'a [u8]),
    Data {
        block: u16,
        payload: &'a [u8],
    },
}

/// The sending side of one download.
#[derive(Debug)]
pub struct Transfer<C> {
    content: C,
    terms: Terms,
    /// The first block that is not acknowledged; 0 while the OACK is not.
    base: u64,
    /// The next block to send; above it nothing is in flight.
    next: u64,
    /// How often the current window was sent.
    sends: u32,
    retry: Millis,
    deadline: Timestamp,
    sent: Timestamp,
    /// What the last acknowledged window took.
    round_trip: Millis,
    has_gap: bool,
    outcome: Option<Outcome>,
}

impl<C: AsRef<[u8]>> Transfer<C> {
    /// Begins; `poll_send` yields the first packets.
    #[must_use]
    pub fn start(content: C, terms: Terms, now: Timestamp) -> Transfer<C> {
        let mut transfer = Transfer {
            content,
            terms,
            base: 0,
            next: 0,
            sends: 0,
            retry: RETRY_FIRST,
            deadline: now,
            sent: now,
            round_trip: Millis(0),
            has_gap: false,
            outcome: None,
        };
        transfer.rewind(now);
        transfer
    }

    /// True if the client has acknowledged something: the options, or a block.
    #[must_use]
    pub fn is_opened(&self) -> bool {
        self.base > self.first()
    }

    /// The client asked again with the same request. If it has acknowledged nothing, the answer was lost
    /// and is repeated; else it has begun anew (a ROM that was reset), and so do we.
    pub fn on_request_again(&mut self, now: Timestamp) {
        if self.outcome.is_some() {
            return;
        }
        if self.base == self.first() { self.resend(now) } else { self.rewind(now) }
    }

    /// The client acknowledges a block. Only what lies in the window counts: answering older ones would
    /// start the sorcerer's apprentice (RFC 1123 section 4.2.3.1).
    pub fn on_ack(&mut self, block: u16, now: Timestamp) {
        if self.outcome.is_some() {
            return;
        }
        if self.base == 0 {
            if block == 0 {
                self.advance(1, now);
            }
            return;
        }
        let behind = self.base.saturating_sub(1);
        let step = u64::from(block.wrapping_sub(wire_number(behind)));
        if step > self.next.saturating_sub(self.base) {
            return;
        }
        if step == 0 {
            self.on_repeated_ack(now);
            return;
        }
        let acked = behind.saturating_add(step);
        self.round_trip = now.since(self.sent);
        if acked == self.last_block() {
            self.base = acked.saturating_add(1);
            self.outcome = Some(Outcome::Done);
        } else {
            self.advance(acked.saturating_add(1), now);
        }
    }

    /// The last window's acknowledgement came once more: with windows (RFC 7440 section 4) a sign that the
    /// first block of this one was lost, or an echo. Waits shortly, once per window, before it sends again.
    fn on_repeated_ack(&mut self, now: Timestamp) {
        if self.terms.window > 1 && !self.has_gap {
            self.has_gap = true;
            let patience = GAP_WAIT.max(Millis(self.round_trip.0.saturating_mul(2)));
            self.deadline = self.deadline.min(now.plus(patience));
        }
    }

    /// The client reports an error, which ends the transfer.
    pub fn on_error(&mut self, code: u16) {
        let probed = self.base == 0 && matches!(code, 0 | 8);
        self.outcome.get_or_insert(if probed { Outcome::Probed } else { Outcome::Aborted(code) });
    }

    /// Time has passed. Does nothing before the deadline.
    pub fn on_deadline(&mut self, now: Timestamp) {
        if self.outcome.is_some() || now < self.deadline {
            return;
        }
        self.retry = Millis(self.retry.0.saturating_mul(3).saturating_div(2)).min(RETRY_MAX);
        self.resend(now);
    }

    /// When to call `on_deadline`; None once the transfer has ended.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.outcome.is_none().then_some(self.deadline)
    }

    /// The next packet to send now; None if it is the client's turn.
    pub fn poll_send(&mut self) -> Option<Segment<'_>> {
        if self.base == 0 {
            return self.poll_options().map(Segment::Options);
        }
        self.poll_blocks(1).next().map(|(block, payload)| Segment::Data { block, payload })
    }

    /// The OACK, if it is to be sent now.
    pub fn poll_options(&mut self) -> Option<&[u8]> {
        if self.outcome.is_some() || self.base > 0 || self.next > 0 {
            return None;
        }
        self.next = 1;
        self.terms.oack.as_deref()
    }

    /// Blocks to send now, at most so many, with their numbers on the wire: for those who send many in one call.
    /// They count as sent. None if it is the client's turn.
    pub fn poll_blocks(&mut self, most: u16) -> impl ExactSizeIterator<Item = (u16, &[u8])> {
        let first = self.next;
        if self.outcome.is_none() && self.base > 0 {
            let window = self.base.saturating_add(u64::from(self.terms.window));
            let end =
                window.min(self.last_block().saturating_add(1)).min(first.saturating_add(u64::from(most)));
            self.next = end.max(first);
        }
        let count = u16::try_from(self.next.saturating_sub(first)).unwrap_or(most);
        let transfer = &*self;
        (0..count).map(move |index| {
            let block = first.saturating_add(u64::from(index));
            (wire_number(block), transfer.payload(block))
        })
    }

    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Octets that the client has acknowledged.
    #[must_use]
    pub fn acknowledged_bytes(&self) -> u64 {
        let blocks = self.base.saturating_sub(1);
        blocks.saturating_mul(u64::from(self.terms.block_bytes)).min(self.size())
    }

    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    fn size(&self) -> u64 {
        u64::try_from(self.content.as_ref().len()).unwrap_or(u64::MAX)
    }

    /// The short block that ends the file; empty if the size is a multiple of the block size.
    fn last_block(&self) -> u64 {
        self.size().checked_div(u64::from(self.terms.block_bytes)).unwrap_or(0).saturating_add(1)
    }

    fn payload(&self, block: u64) -> &[u8] {
        let content = self.content.as_ref();
        let size = u64::from(self.terms.block_bytes);
        let start = usize::try_from(block.saturating_sub(1).saturating_mul(size)).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::from(self.terms.block_bytes)).min(content.len());
        content.get(start..end).unwrap_or_default()
    }

    /// Where a transfer begins: at the OACK, else at block 1.
    fn first(&self) -> u64 {
        u64::from(self.terms.oack.is_none())
    }

    fn rewind(&mut self, now: Timestamp) {
        self.advance(self.first(), now);
    }

    /// The window now begins at `base`.
    fn advance(&mut self, base: u64, now: Timestamp) {
        self.base = base;
        self.retry = self.terms.retry_first;
        self.sends = 0;
        self.has_gap = false;
        self.resend(now);
    }

    fn resend(&mut self, now: Timestamp) {
        if self.sends >= TFTP_SENDS_MAX {
            let all_sent = self.base > 0 && self.next > self.last_block();
            self.outcome = Some(if all_sent { Outcome::Unconfirmed } else { Outcome::Lost });
            return;
        }
        self.sends = self.sends.saturating_add(1);
        self.next = self.base;
        self.sent = now;
        self.deadline = now.plus(self.retry);
    }
}

/// The low 16 bits: what the wire carries, wrapping from 65535 to 0.
fn wire_number(block: u64) -> u16 {
    u16::try_from(block & 0xffff).expect("sixteen bits fit sixteen bits")
}

#[cfg(test)]
mod tests;
