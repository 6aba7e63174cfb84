//! Any bytes as TFTP packets: names stay below the root, a transfer driven by any ACKs keeps its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster::base::{Millis, Timestamp};
use muster::engine::tftp::catalog::{normalise, wanted};
use muster::engine::tftp::transfer::{Terms, Transfer};
use muster::wire::tftp::{Packet, parse};

fuzz_target!(|data: &[u8]| {
    let (request, rest) = data.split_at(data.len().min(200));
    let Ok(Packet::Read(request)) = parse(request) else { return };
    if let Ok(name) = normalise(request.name) {
        assert!(!name.starts_with('/') && !name.split('/').any(|part| part == ".."), "{name}");
    }
    let _ = wanted(request.name);
    let content = vec![7_u8; 100_000];
    let terms = Terms::agree(&request.options, Some(100_000), 1500);
    let mut now = Timestamp(1000);
    let mut transfer = Transfer::start(content, terms, now);
    for pair in rest.chunks_exact(2).take(500) {
        let block = u16::from_be_bytes([pair[0], pair[1]]);
        let mut sent = 0;
        while transfer.poll_send().is_some() {
            sent += 1;
            assert!(sent <= 70, "a window is bounded");
        }
        match block & 0xc000 {
            0xc000 => transfer.on_error(block & 15),
            0x8000 => {
                now = transfer.next_deadline().unwrap_or(now) + Millis(1);
                transfer.on_deadline(now);
            }
            _ => transfer.on_ack(block & 0x3ff, now),
        }
        if transfer.outcome().is_some() {
            return;
        }
    }
});
