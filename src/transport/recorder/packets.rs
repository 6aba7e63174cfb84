//! The packets of attempts: a ring for each machine, all of them within one bound. Frames are put together when
//! somebody wants the capture.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddrV4;

use crate::base::limits::{CAPTURE_BYTES_MAX, CAPTURES_BYTES_MAX};
use crate::base::{Mac, Timestamp};
use crate::transport::dhcp::frame;
use crate::wire::pcap::{Frame, emit};

/// What was said to the head, and what it answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exchange {
    pub asked: Datagram,
    pub answered: Option<Datagram>,
}

/// One datagram with all that its frame is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    pub from: (Mac, SocketAddrV4),
    pub to: (Mac, SocketAddrV4),
    pub payload: Vec<u8>,
}

/// The packets of one attempt.
#[derive(Debug)]
struct Ring {
    last: Timestamp,
    bytes: usize,
    datagrams: VecDeque<(Timestamp, Datagram)>,
}

/// All rings.
#[derive(Debug, Default)]
pub struct Packets {
    rings: HashMap<(Mac, Timestamp), Ring>,
    bytes: usize,
}

impl Packets {
    /// Keeps what was said in this attempt. The oldest packets of it go if there are too many: what it failed at
    /// stands at its end.
    pub(crate) fn keep(&mut self, mac: Mac, started: Timestamp, at: Timestamp, exchange: Exchange) {
        let Exchange { asked, answered } = exchange;
        let ring = self.rings.entry((mac, started)).or_insert_with(|| Ring {
            last: at,
            bytes: 0,
            datagrams: VecDeque::new(),
        });
        ring.last = at;
        for datagram in [Some(asked), answered].into_iter().flatten() {
            let bytes = size(&datagram);
            ring.bytes += bytes;
            self.bytes += bytes;
            ring.datagrams.push_back((at, datagram));
        }
        while ring.bytes > CAPTURE_BYTES_MAX
            && let Some((_, gone)) = ring.datagrams.pop_front()
        {
            ring.bytes -= size(&gone);
            self.bytes -= size(&gone);
        }
        if self.bytes > CAPTURES_BYTES_MAX {
            self.make_room();
        }
    }

    /// The attempts that were heard longest ago lose theirs, an eighth at a time.
    fn make_room(&mut self) {
        let mut by_age: Vec<_> = self.rings.iter().map(|(key, ring)| (ring.last, *key)).collect();
        by_age.sort_unstable();
        for (_, key) in by_age.iter().take((by_age.len() / 8).max(1)) {
            if let Some(ring) = self.rings.remove(key) {
                self.bytes -= ring.bytes;
            }
        }
    }

    /// What came up needs no packets.
    pub(crate) fn forget(&mut self, mac: Mac, started: Timestamp) {
        if let Some(ring) = self.rings.remove(&(mac, started)) {
            self.bytes -= ring.bytes;
        }
    }

    /// The packets of an attempt as a classic capture; None if there are none.
    #[must_use]
    pub fn capture(&self, mac: Mac, started: Timestamp) -> Option<Vec<u8>> {
        let ring = self.rings.get(&(mac, started))?;
        let frames: Vec<Frame> = ring
            .datagrams
            .iter()
            .map(|(at, datagram)| Frame {
                at: *at,
                bytes: frame::udp(datagram.from, datagram.to, &datagram.payload),
            })
            .collect();
        Some(emit(&frames))
    }
}

fn size(datagram: &Datagram) -> usize {
    // With its headers: Ethernet, IPv4, UDP, and pcap's own.
    datagram.payload.len() + 58
}

#[cfg(test)]
mod tests {
    use crate::base::limits::CAPTURE_BYTES_MAX;
    use crate::base::{Mac, Timestamp};
    use crate::transport::recorder::packets::{Datagram, Exchange, Packets};
    use crate::wire::pcap::parse;

    fn exchange(octet: u8) -> Exchange {
        let (client, head) = ("0.0.0.0:68".parse().unwrap(), "255.255.255.255:67".parse().unwrap());
        let asked =
            Datagram { from: (Mac([2; 6]), client), to: (Mac::BROADCAST, head), payload: vec![octet; 300] };
        Exchange { asked, answered: None }
    }

    #[test]
    fn the_end_of_an_attempt_is_kept_as_a_capture_that_reads_back() {
        let (mut packets, mac, started) = (Packets::default(), Mac([2; 6]), Timestamp(1000));
        for number in 0..200 {
            packets.keep(mac, started, Timestamp(2000 + u64::from(number)), exchange(number));
        }
        let frames = parse(&packets.capture(mac, started).unwrap()).unwrap();
        assert_eq!(frames.len(), CAPTURE_BYTES_MAX / 358);
        assert_eq!(frames.last().unwrap().at, Timestamp(2199));
        assert_eq!(*frames.last().unwrap().bytes.last().unwrap(), 199);
        assert!(packets.capture(mac, Timestamp(1)).is_none());
    }

    #[test]
    fn a_flood_of_machines_stays_within_the_bound_and_the_latest_keep_theirs() {
        let mut packets = Packets::default();
        for number in 0..300_000_u32 {
            let [a, b, c, d] = number.to_be_bytes();
            packets.keep(Mac([2, 0, a, b, c, d]), Timestamp(1), Timestamp(number.into()), exchange(7));
        }
        assert!(packets.bytes <= crate::base::limits::CAPTURES_BYTES_MAX);
        let [a, b, c, d] = 299_999_u32.to_be_bytes();
        assert!(packets.capture(Mac([2, 0, a, b, c, d]), Timestamp(1)).is_some());
    }
}
