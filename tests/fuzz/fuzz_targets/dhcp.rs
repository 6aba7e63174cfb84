//! Any bytes as a DHCP message on any of three links: an answer parses again, nothing panics.
#![no_main]

mod site;

use libfuzzer_sys::fuzz_target;
use muster::base::{Mac, Timestamp};
use muster::engine::dhcp::{Ingress, Observed, Request, Verdict, respond, watch};
use muster::model::LeaseTable;
use muster::wire::dhcp::Message;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let Ok(message) = Message::parse(bytes) else { return };
    let again = Message::parse(&message.emit()).expect("what we emit parses");
    assert_eq!(again.message_type(), message.message_type());
    let port = if choice & 4 == 0 { 67 } else { 4011 };
    let ingress = Ingress {
        interface: ["eth0", "eth1", "eth2"][usize::from(choice & 3) % 3].into(),
        source_mac: Mac([2, 0, 0, 0, 0, 9]),
        source: "0.0.0.0:68".parse().expect("an address"),
        destination: std::net::SocketAddrV4::new([255, 255, 255, 255].into(), port),
    };
    let _ = watch(&message, &ingress, &site::SITE);
    let mut leases = LeaseTable::default();
    let request = Request::new(message, ingress);
    for _ in 0..2 {
        let observed = Observed { leases: &leases, chained: None, anchored: false };
        let answer = respond(&request, &site::SITE, &observed, Timestamp(1_000_000));
        if let Verdict::Reply { message, .. } = &answer.verdict {
            assert!((300..=1472).contains(&message.len()), "{} octets", message.len());
            assert!(!Message::parse(message).expect("our replies parse").request);
        }
        answer.lease.into_iter().for_each(|change| leases.apply(change));
    }
});
