use std::net::{Ipv4Addr, SocketAddrV4};

use crate::base::Mac;
use crate::transport::dhcp::frame;
use crate::transport::dhcp::raw::DHCP_FILTER;

/// Runs the filter as the kernel does. True: the frame is let in.
fn lets_in(frame: &[u8]) -> bool {
    let half = |at: usize| frame.get(at..at + 2).map(|b| u32::from(u16::from_be_bytes([b[0], b[1]])));
    let (mut a, mut x, mut at) = (0_u32, 0_usize, 0_usize);
    for _ in 0..DHCP_FILTER.len() {
        let (code, jt, jf, k) = DHCP_FILTER[at];
        let offset = k as usize;
        at += 1;
        match code {
            0x28 => match half(offset) {
                Some(value) => a = value,
                None => return false,
            },
            0x48 => match half(x + offset) {
                Some(value) => a = value,
                None => return false,
            },
            0x30 => match frame.get(offset) {
                Some(value) => a = u32::from(*value),
                None => return false,
            },
            0xb1 => match frame.get(offset) {
                Some(value) => x = usize::from(value & 15) * 4,
                None => return false,
            },
            0x15 => at += usize::from(if a == k { jt } else { jf }),
            0x45 => at += usize::from(if a & k != 0 { jt } else { jf }),
            0x06 => return k != 0,
            other => panic!("opcode {other:#x}"),
        }
    }
    panic!("the filter does not end");
}

fn udp(source: u16, destination: u16) -> Vec<u8> {
    let from = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), source);
    let to = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 254), destination);
    frame::udp((Mac([2; 6]), from), (Mac([3; 6]), to), &[0; 300])
}

#[test]
fn the_filter_lets_in_dhcp_and_nothing_else() {
    for (source, destination, wanted) in [
        (68, 67, true),
        (67, 67, true),
        (68, 4011, true),
        (67, 68, true),
        (53, 68, false),
        (68, 69, false),
        (1234, 53, false),
    ] {
        assert_eq!(lets_in(&udp(source, destination)), wanted, "{source} to {destination}");
    }
    let mut fragment = udp(68, 67);
    fragment[21] = 1;
    assert!(!lets_in(&fragment), "a later fragment has no ports");
    let mut tcp = udp(68, 67);
    tcp[23] = 6;
    assert!(!lets_in(&tcp));
    let mut ipv6 = udp(68, 67);
    ipv6[12..14].copy_from_slice(&[0x86, 0xdd]);
    assert!(!lets_in(&ipv6));
    for length in 0..44 {
        let _ = lets_in(&udp(68, 67)[..length]); // a short frame is dropped, never read past its end
    }
}

#[test]
fn of_every_capture_the_filter_lets_in_what_is_dhcp() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let (mut let_in, mut kept_out) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        for frame in crate::wire::pcap::parse(&std::fs::read(&path).unwrap()).unwrap() {
            // A second opinion from the parser: what the shell does with a frame it was given.
            let wanted = matches!(
                crate::wire::frame::datagram(&frame.bytes, false),
                Ok(Some(read)) if [67, 4011].contains(&read.destination.port())
                    || (read.source.port(), read.destination.port()) == (67, 68)
            );
            assert_eq!(lets_in(&frame.bytes), wanted, "{}: {:02x?}", path.display(), &frame.bytes[..42]);
            *(if wanted { &mut let_in } else { &mut kept_out }) += 1;
        }
    }
    assert!(let_in > 50 && kept_out > 50, "the captures hold {let_in} and {kept_out}");
}
