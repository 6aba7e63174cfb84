//! Any bytes as a capture, and as a frame.
#![no_main]

mod site;

use libfuzzer_sys::fuzz_target;
use muster::engine::replay::replay;
use muster::model::LeaseTable;
use muster::wire::{frame, pcap};

fuzz_target!(|data: &[u8]| {
    let _ = frame::datagram(data, true);
    let _ = frame::datagram(data, false);
    if let Ok(frames) = pcap::parse(data) {
        let frames = &frames[..frames.len().min(64)];
        let _ = replay(frames, &site::SITE, "eth0", LeaseTable::default());
    }
});
