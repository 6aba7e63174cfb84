//! One TFTP download as firmware does it: the request that only asks for the size, windows, losses. What comes
//! is counted and thrown away, except where the machine wants to read it.

use std::collections::VecDeque;

use crate::base::limits::SWARM_DOCUMENT_BYTES_MAX;
use crate::engine::swarm::dice::Throw;
use crate::engine::swarm::report::Reason;
use crate::engine::swarm::scenario::Firmware;
use crate::engine::swarm::{Dice, Micros, Moment};
use crate::wire::tftp::client::{Answer, emit_ack, emit_read, parse};
use crate::wire::tftp::{BLOCK_BYTES_DEFAULT, ErrorCode, TransferOption, emit_error};

/// edk2 waits so long, and asks so often (measured; MdeModulePkg's Mtftp4 has the same numbers).
const WAIT: Micros = Micros::from_secs(3);
const TRIES: u32 = 6;

/// RFC 1350 has no code for it; edk2 sends this after its request for the size (RFC 2347's).
const REFUSED_OPTIONS: u16 = 8;

/// How a client asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manner {
    block: u16,
    window: u16,
    /// A request before, which only asks for the size and is broken off with an error of this code.
    probe: Option<u16>,
}

impl Manner {
    /// Options as each firmware was seen to send them.
    #[must_use]
    pub fn of(firmware: Firmware) -> Manner {
        match firmware {
            Firmware::Bios => Manner { block: 1456, window: 1, probe: Some(0) },
            Firmware::Uefi | Firmware::UefiHttp => {
                Manner { block: 1468, window: 4, probe: Some(REFUSED_OPTIONS) }
            }
            Firmware::IpxeRom => Manner::IPXE,
        }
    }

    pub const IPXE: Manner = Manner { block: 1432, window: 1, probe: None };
}

/// A packet to send, and from where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outgoing {
    /// To port 69 from a new port: a transfer begins.
    Request(Vec<u8>),
    /// To the port that the server answers from.
    Reply(Vec<u8>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Probing,
    Opening,
    Receiving,
    Over,
}

/// The download.
#[derive(Debug)]
pub struct Download {
    name: String,
    manner: Manner,
    dice: Dice,
    /// Millionths of packets that are lost.
    loss: u32,
    /// Tells throws of one transfer from those of another.
    serial: u64,
    state: State,
    block: u16,
    window: u16,
    /// Blocks received in order; the counter on the wire is its last 16 bits.
    blocks: u64,
    /// Blocks since the last ACK.
    since_ack: u16,
    gap_told: bool,
    tries: u32,
    deadline: Moment,
    sent: u64,
    heard: u64,
    out: VecDeque<Outgoing>,
    pub bytes: u64,
    pub retries: u64,
    pub body: Vec<u8>,
    keep: bool,
    failure: Option<Reason>,
}

impl Download {
    /// A download of `name`; `serial` counts the transfers of this machine. With `keep` the content is kept.
    #[must_use]
    pub fn new(name: &str, manner: Manner, keep: bool, chance: (Dice, u32, u64), now: Moment) -> Download {
        let (dice, loss, serial) = chance;
        let mut download = Download {
            name: name.to_owned(),
            manner,
            dice,
            loss,
            serial,
            state: if manner.probe.is_some() { State::Probing } else { State::Opening },
            block: BLOCK_BYTES_DEFAULT,
            window: 1,
            blocks: 0,
            since_ack: 0,
            gap_told: false,
            tries: 1,
            deadline: now.after(WAIT),
            sent: 0,
            heard: 0,
            out: VecDeque::new(),
            bytes: 0,
            retries: 0,
            body: Vec::new(),
            keep,
            failure: None,
        };
        download.request();
        download
    }

    /// The next packet to send.
    pub fn poll_packet(&mut self) -> Option<Outgoing> {
        self.out.pop_front()
    }

    /// When `on_timeout` wants to be called.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        (self.state != State::Over).then_some(self.deadline)
    }

    /// None while it runs.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<(), Reason>> {
        (self.state == State::Over).then(|| self.failure.clone().map_or(Ok(()), Err))
    }

    /// Nothing came in time: the last packet goes out again.
    pub fn on_timeout(&mut self, now: Moment) {
        if self.state == State::Over || now < self.deadline {
            return;
        }
        if self.tries >= TRIES {
            return self.end(Some(Reason::Silent));
        }
        self.tries = self.tries.saturating_add(1);
        self.retries = self.retries.saturating_add(1);
        self.deadline = now.after(WAIT);
        match self.state {
            State::Probing | State::Opening => self.request(),
            State::Receiving => self.acknowledge(),
            State::Over => {}
        }
    }

    /// A datagram of the transfer.
    pub fn on_packet(&mut self, bytes: &[u8], now: Moment) {
        self.heard = self.heard.saturating_add(1);
        if self.state == State::Over || self.is_lost(Throw::TftpIn, self.heard) {
            return;
        }
        let Ok(answer) = parse(bytes) else { return };
        match answer {
            Answer::Error(code) => self.end(Some(Reason::Tftp(code))),
            Answer::Options(options) => self.on_options(&options, now),
            Answer::Data { block, payload } => self.on_data(block, payload, now),
        }
    }

    fn on_options(&mut self, options: &[TransferOption], now: Moment) {
        match self.state {
            State::Probing => self.open(now),
            State::Opening => {
                for option in options {
                    match *option {
                        TransferOption::BlockSize(size) => self.block = size.min(self.manner.block),
                        TransferOption::Window(blocks) => self.window = blocks.clamp(1, self.manner.window),
                        TransferOption::Size(_) | TransferOption::Timeout(_) => {}
                    }
                }
                self.state = State::Receiving;
                self.progress(now);
                self.acknowledge();
            }
            // The ACK of the OACK was lost.
            State::Receiving if self.blocks == 0 => self.acknowledge(),
            State::Receiving | State::Over => {}
        }
    }

    fn on_data(&mut self, block: u16, payload: &[u8], now: Moment) {
        match self.state {
            // A server without options sends at once.
            State::Probing => return self.open(now),
            State::Opening => self.state = State::Receiving,
            State::Receiving => {}
            State::Over => return,
        }
        let expected = self.blocks.wrapping_add(1);
        if block != u16::from_be_bytes(low(expected)) {
            // RFC 7440 section 4: the last block in order is told once; what follows the gap is no news.
            if !self.gap_told && self.window > 1 {
                self.gap_told = true;
                self.retries = self.retries.saturating_add(1);
                self.acknowledge();
            }
            return;
        }
        self.blocks = expected;
        self.gap_told = false;
        self.since_ack = self.since_ack.saturating_add(1);
        self.bytes = self.bytes.saturating_add(u64::try_from(payload.len()).unwrap_or(u64::MAX));
        if self.keep && self.body.len() < SWARM_DOCUMENT_BYTES_MAX {
            self.body.extend_from_slice(payload);
        }
        self.progress(now);
        let last = payload.len() < usize::from(self.block);
        if last || self.since_ack >= self.window {
            self.acknowledge();
        }
        if last {
            self.end(None);
        }
    }

    /// Breaks the request for the size off and begins the transfer proper.
    fn open(&mut self, now: Moment) {
        if let Some(code) = self.manner.probe {
            let mut error = emit_error(ErrorCode::Undefined, "aborted");
            error.splice(2..4, code.to_be_bytes());
            self.send(Throw::TftpOut, Outgoing::Reply(error));
        }
        self.state = State::Opening;
        self.progress(now);
        self.request();
    }

    fn request(&mut self) {
        let mut options = Vec::new();
        // edk2 and BIOS ROMs ask for the size before, iPXE in the same request.
        if self.state == State::Probing || self.manner.probe.is_none() {
            options.push(TransferOption::Size(0));
        }
        if self.state == State::Opening || self.manner.window > 1 {
            options.push(TransferOption::BlockSize(self.manner.block));
        }
        if self.manner.window > 1 {
            options.push(TransferOption::Window(self.manner.window));
        }
        let packet = emit_read(&self.name, &options);
        self.send(Throw::TftpOut, Outgoing::Request(packet));
    }

    fn acknowledge(&mut self) {
        self.since_ack = 0;
        let packet = emit_ack(u16::from_be_bytes(low(self.blocks)));
        self.send(Throw::TftpOut, Outgoing::Reply(packet.to_vec()));
    }

    fn send(&mut self, throw: Throw, packet: Outgoing) {
        self.sent = self.sent.saturating_add(1);
        if !self.is_lost(throw, self.sent) {
            self.out.push_back(packet);
        }
    }

    fn is_lost(&self, throw: Throw, count: u64) -> bool {
        self.dice.hits(throw, self.serial << 32 | count, self.loss)
    }

    fn progress(&mut self, now: Moment) {
        self.tries = 1;
        self.deadline = now.after(WAIT);
    }

    fn end(&mut self, failure: Option<Reason>) {
        self.state = State::Over;
        self.failure = failure;
    }
}

/// The last 16 bits.
fn low(value: u64) -> [u8; 2] {
    let [.., high, low] = value.to_be_bytes();
    [high, low]
}
