#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that overflows or overruns has failed"
)]

use std::collections::BTreeMap;

use crate::base::{Millis, Timestamp};
use crate::engine::tftp::{Outcome, Segment, Terms, Transfer};
use crate::wire::tftp::{TransferOption as Wish, emit_oack};

const START: Timestamp = Timestamp(1_000_000);
const MTU: u16 = 1500;

/// A small generator (xorshift64*), so that every run is the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

#[derive(Clone, Debug)]
enum Packet {
    Oack,
    Data(u16, Vec<u8>),
    Ack(u16),
    Request,
}

/// A client after RFC 1350 and RFC 7440, with edk2's timer.
struct Client {
    window: u16,
    block_bytes: usize,
    next: u64,
    since_ack: u16,
    content: Vec<u8>,
    is_done: bool,
    has_oack: bool,
    deadline: Timestamp,
}

impl Client {
    fn new(terms: &Terms) -> Client {
        Client {
            window: terms.window,
            block_bytes: usize::from(terms.block_bytes),
            next: 1,
            since_ack: 0,
            content: Vec::new(),
            is_done: false,
            has_oack: false,
            deadline: START + Millis(3000),
        }
    }

    fn on_packet(&mut self, packet: &Packet, now: Timestamp) -> Option<Packet> {
        self.deadline = now + Millis(3000);
        match packet {
            Packet::Oack if self.next == 1 => {
                self.has_oack = true;
                Some(Packet::Ack(0))
            }
            Packet::Data(number, payload) if *number == self.next as u16 && !self.is_done => {
                self.content.extend_from_slice(payload);
                self.next += 1;
                self.since_ack += 1;
                self.is_done = payload.len() < self.block_bytes;
                (self.is_done || self.since_ack == self.window).then(|| self.ack())
            }
            // A gap, or a repeated window whose acknowledgement was lost; copies amid a window are no news.
            Packet::Data(number, _) => {
                let is_ahead = (*number).wrapping_sub(self.next as u16) < 0x8000;
                (is_ahead || self.since_ack == 0 || self.is_done).then(|| self.ack())
            }
            Packet::Oack | Packet::Ack(_) | Packet::Request => None,
        }
    }

    fn on_deadline(&mut self, now: Timestamp) -> Packet {
        self.deadline = now + Millis(3000);
        if self.next == 1 && !self.has_oack { Packet::Request } else { self.ack() }
    }

    fn ack(&mut self) -> Packet {
        self.since_ack = 0;
        Packet::Ack((self.next - 1) as u16)
    }
}

/// What the network does to each packet, in percent.
#[derive(Clone, Copy)]
struct Weather {
    loss: u64,
    twice: u64,
    late: u64,
}

const CALM: Weather = Weather { loss: 0, twice: 0, late: 0 };

struct Report {
    outcome: Outcome,
    content: Vec<u8>,
    data_sent: u64,
    took: Millis,
}

/// Plays one download in virtual time until the server is through.
fn download(content: &[u8], wishes: &[Wish], weather: Weather, dice: &mut Dice) -> Report {
    let terms = Terms::agree(wishes, Some(content.len() as u64), MTU);
    let mut client = Client::new(&terms);
    let mut server = Transfer::start(content, terms, START);
    let (mut now, mut data_sent, mut order) = (START, 0, 0_u64);
    let mut air: BTreeMap<(Timestamp, u64), Packet> = BTreeMap::new();
    loop {
        let mut out = Vec::new();
        while let Some(segment) = server.poll_send() {
            out.push(match segment {
                Segment::Options(_) => Packet::Oack,
                Segment::Data { block, payload } => {
                    data_sent += 1;
                    Packet::Data(block, payload.to_vec())
                }
            });
        }
        let mut send = |packet: Packet, now: Timestamp, dice: &mut Dice, air: &mut BTreeMap<_, _>| {
            let copies =
                u64::from(dice.roll(100) >= weather.loss) + u64::from(dice.roll(100) < weather.twice);
            for _ in 0..copies {
                order += 1;
                let delay = if dice.roll(100) < weather.late { 1 + dice.roll(4) } else { 1 };
                air.insert((now + Millis(delay), order), packet.clone());
            }
        };
        for packet in out {
            send(packet, now, dice, &mut air);
        }
        if let Some(outcome) = server.outcome() {
            return Report { outcome, content: client.content, data_sent, took: now.since(START) };
        }
        let server_deadline = server.next_deadline().unwrap();
        let timer = server_deadline.min(client.deadline);
        if let Some(flight) = air.first_entry().filter(|flight| flight.key().0 <= timer) {
            let ((at, _), packet) = flight.remove_entry();
            now = at;
            match packet {
                Packet::Ack(block) => server.on_ack(block, now),
                Packet::Request => server.on_request_again(now),
                packet => {
                    if let Some(reply) = client.on_packet(&packet, now) {
                        send(reply, now, dice, &mut air);
                    }
                }
            }
        } else if server_deadline <= client.deadline {
            now = server_deadline;
            server.on_deadline(now);
        } else {
            now = client.deadline;
            let packet = client.on_deadline(now);
            if !client.is_done {
                send(packet, now, dice, &mut air);
            }
        }
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

/// Rows of what clients are known to ask.
fn rows() -> Vec<(&'static str, Vec<Wish>)> {
    vec![
        ("edk2", vec![Wish::BlockSize(1468), Wish::Window(4)]),
        ("shim", vec![Wish::BlockSize(512), Wish::Window(4)]),
        ("iPXE", vec![Wish::BlockSize(1432), Wish::Size(0)]),
        ("GRUB", vec![Wish::BlockSize(1024), Wish::Size(0)]),
        ("Intel ROM", vec![Wish::BlockSize(1456)]),
        ("busybox", vec![Wish::BlockSize(65464)]),
        ("RFC 1350", vec![]),
        ("wide", vec![Wish::BlockSize(1468), Wish::Window(65535)]),
    ]
}

#[test]
fn every_known_client_gets_files_of_every_length_without_a_needless_packet() {
    let mut dice = Dice(7);
    for (client, wishes) in rows() {
        let block = usize::from(Terms::agree(&wishes, None, MTU).block_bytes);
        for length in [0, 1, block - 1, block, block + 1, block * 8, 300_000] {
            let content = bytes(length);
            let report = download(&content, &wishes, CALM, &mut dice);
            assert_eq!(report.outcome, Outcome::Done, "{client} {length}");
            assert!(report.content == content, "{client} {length}");
            assert_eq!(report.data_sent, (length / block + 1) as u64, "{client} {length}");
        }
    }
}

#[test]
fn a_thousand_downloads_survive_loss_duplicates_and_reordering() {
    let content = bytes(100_000);
    let weather = Weather { loss: 20, twice: 5, late: 20 };
    let rows = rows();
    let (mut complete, mut tries) = (0, 0);
    for seed in 1..=1000_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (client, wishes) = &rows[seed as usize % rows.len()];
        // Firmware and iPXE ask anew when a download fails; nobody here needs more than 40 attempts.
        for _ in 0..40 {
            tries += 1;
            let report = download(&content, wishes, weather, &mut dice);
            match report.outcome {
                Outcome::Done => {
                    assert!(report.content == content, "{client}, seed {seed}");
                    complete += 1;
                    break;
                }
                Outcome::Unconfirmed | Outcome::Lost => {
                    let got = report.content.len();
                    assert!(report.content == content[..got], "{client}, seed {seed}");
                    if got == content.len() {
                        complete += 1;
                        break;
                    }
                }
                Outcome::Probed | Outcome::Aborted(_) => panic!("{client}, seed {seed}: nobody aborts"),
            }
        }
    }
    assert_eq!(complete, 1000);
    assert!(tries < 3000, "{tries} attempts for 1000 downloads");
}

#[test]
fn duplicated_packets_do_not_start_the_sorcerers_apprentice() {
    let content = bytes(200_000);
    for (client, wishes) in rows() {
        let blocks = content.len() as u64 / u64::from(Terms::agree(&wishes, None, MTU).block_bytes) + 1;
        let report = download(&content, &wishes, Weather { twice: 100, ..CALM }, &mut Dice(3));
        assert_eq!((report.outcome, report.data_sent), (Outcome::Done, blocks), "{client}");
        assert!(report.took < Millis(3000), "{client}: {:?}", report.took);
    }
}

#[test]
fn the_block_number_wraps_as_often_as_it_must() {
    let content = bytes(8 * 65_536 * 2 + 3);
    for window in [1, 5, 64] {
        let wishes = [Wish::BlockSize(8), Wish::Window(window)];
        let report = download(&content, &wishes, CALM, &mut Dice(1));
        assert_eq!(report.outcome, Outcome::Done);
        assert!(report.content == content);
    }
}

#[test]
fn what_is_agreed_never_exceeds_what_was_asked_or_fits() {
    let wishes = [Wish::Size(0), Wish::BlockSize(65464), Wish::Window(9999), Wish::Timeout(3)];
    let terms = Terms::agree(&wishes, Some(42), MTU);
    assert_eq!((terms.block_bytes, terms.window), (1468, 64));
    let expected = [Wish::Size(42), Wish::BlockSize(1468), Wish::Window(64), Wish::Timeout(3)];
    let mut transfer = Transfer::start(bytes(42), terms, START);
    assert_eq!(transfer.poll_send(), Some(Segment::Options(&emit_oack(&expected))));
    assert_eq!(transfer.poll_send(), None);
    assert_eq!(transfer.next_deadline(), Some(START + Millis(3000)));
    assert_eq!(Terms::agree(&wishes, Some(42), 1400).block_bytes, 1368);
    // Without a known size the option is left out; without any option there is no OACK.
    let mut bare = Transfer::start(bytes(5), Terms::agree(&[Wish::Size(0)], None, MTU), START);
    assert_eq!(bare.poll_send(), Some(Segment::Data { block: 1, payload: &bytes(5) }));
}

#[test]
fn an_error_right_after_the_options_is_a_size_probe() {
    for (code, outcome) in [(8, Outcome::Probed), (0, Outcome::Probed), (3, Outcome::Aborted(3))] {
        let terms = Terms::agree(&[Wish::Size(0)], Some(9), MTU);
        let mut transfer = Transfer::start(bytes(9), terms, START);
        while transfer.poll_send().is_some() {}
        transfer.on_error(code);
        assert_eq!(transfer.outcome(), Some(outcome));
        assert_eq!(transfer.next_deadline(), None);
        assert_eq!(transfer.poll_send(), None);
    }
    let mut transfer = Transfer::start(bytes(900), Terms::agree(&[], None, MTU), START);
    transfer.on_error(8);
    assert_eq!(transfer.outcome(), Some(Outcome::Aborted(8)));
}

/// Lets the deadlines pass and counts the packets.
fn run_out<C: AsRef<[u8]>>(transfer: &mut Transfer<C>) -> (u32, Vec<u64>) {
    let (mut packets, mut waits, mut last) = (0, Vec::new(), START);
    while let Some(deadline) = transfer.next_deadline() {
        while transfer.poll_send().is_some() {
            packets += 1;
        }
        waits.push(deadline.since(last).0);
        last = deadline;
        transfer.on_deadline(deadline);
    }
    (packets, waits)
}

#[test]
fn a_silent_client_gets_six_sends_and_no_more() {
    let terms = Terms::agree(&[Wish::Window(4)], None, MTU);
    let mut transfer = Transfer::start(bytes(100_000), terms, START);
    let (packets, waits) = run_out(&mut transfer);
    assert_eq!((packets, transfer.outcome()), (6, Some(Outcome::Lost)));
    assert_eq!(waits, [700, 1050, 1575, 2362, 3543, 5000]);

    let terms = Terms::agree(&[Wish::Window(4)], None, MTU);
    let mut transfer = Transfer::start(bytes(100_000), terms, START);
    transfer.on_ack(0, START);
    let (packets, _) = run_out(&mut transfer);
    assert_eq!((packets, transfer.outcome()), (24, Some(Outcome::Lost)));
}

#[test]
fn a_last_block_without_acknowledgement_counts_as_sent() {
    let mut transfer = Transfer::start(bytes(600), Terms::agree(&[], None, MTU), START);
    while transfer.poll_send().is_some() {}
    transfer.on_ack(1, START);
    run_out(&mut transfer);
    assert_eq!(transfer.outcome(), Some(Outcome::Unconfirmed));
    assert_eq!(transfer.acknowledged_bytes(), 512);
}

#[test]
fn an_acknowledgement_inside_the_window_restarts_behind_it() {
    let terms = Terms::agree(&[Wish::BlockSize(8), Wish::Window(4)], None, MTU);
    let mut transfer = Transfer::start(bytes(100), terms, START);
    while transfer.poll_send().is_some() {}
    transfer.on_ack(0, START);
    while transfer.poll_send().is_some() {}
    transfer.on_ack(2, START);
    let mut blocks = Vec::new();
    while let Some(Segment::Data { block, .. }) = transfer.poll_send() {
        blocks.push(block);
    }
    assert_eq!(blocks, [3, 4, 5, 6]);
    transfer.on_ack(900, START); // far outside
    assert_eq!(transfer.poll_send(), None);
}

#[test]
fn a_repeated_request_repeats_the_answer_and_a_reset_rom_starts_over() {
    let mut transfer = Transfer::start(bytes(2000), Terms::agree(&[], None, MTU), START);
    let first = Segment::Data { block: 1, payload: &bytes(512) };
    assert_eq!(transfer.poll_send(), Some(first));
    transfer.on_request_again(START);
    assert_eq!(transfer.poll_send(), Some(first));
    transfer.on_ack(1, START);
    transfer.on_ack(2, START);
    transfer.on_request_again(START);
    assert_eq!(transfer.poll_send(), Some(first));
    transfer.on_ack(1, START);
    assert!(matches!(transfer.poll_send(), Some(Segment::Data { block: 2, .. })));
}
