//! RFC 2131, the server's MUSTs: each a test, named after its paragraph, or a reason why not.
//!
//! Not tested here: section 4.1 "MUST broadcast at most to the client's subnet" is the kernel's and the frame
//! builder's; section 4.3.1 "SHOULD probe the reused address" is the probed stock (`lease_table`).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod site;

use std::net::Ipv4Addr;

use muster::base::{Millis, Timestamp};
use muster::engine::dhcp::imagine::{Client, Imagined};
use muster::engine::dhcp::{Answer, Ingress, Reason, Route, Verdict};
use muster::model::{Arch, LeaseState};
use muster::wire::dhcp::{Message, MessageType, code};
use site::{Head, boot_network, broadcast, mac, network, node, reply, route, snapshot, unicast};

const NOW: Timestamp = Timestamp(1_000_000);

fn head() -> Head {
    let nodes = vec![node(1, mac(1), &["192.0.2.1"]), node(2, mac(2), &[])];
    let mut lan = boot_network();
    lan.routers = vec![Ipv4Addr::new(192, 0, 2, 253)];
    Head::new(snapshot(
        vec![lan, network("far", "", "198.51.100.0/24", "198.51.100.10-198.51.100.20")],
        nodes,
    ))
}

/// A system's message of this kind.
fn message(number: u16, kind: u8) -> Message {
    let client =
        Imagined { client: Client::System, arch: Arch::X86_64, mac: mac(number), uuid: None, xid: 0xfeed };
    let mut message = client.discover();
    message.options.set(code::MESSAGE_TYPE, [kind]);
    message
}

fn with(mut message: Message, options: &[(u8, Ipv4Addr)]) -> Message {
    for (code, address) in options {
        message.options.set(*code, address.octets());
    }
    message
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn ask(head: &mut Head, message: &Message, ingress: Ingress) -> Answer {
    head.answer(message.clone(), ingress, NOW)
}

fn silent(answer: &Answer) -> Reason {
    match answer.verdict {
        Verdict::Silence(reason) => reason,
        Verdict::Reply { .. } => panic!("a reply: {:?}", answer.explanation),
    }
}

/// DISCOVER, OFFER, REQUEST, ACK; the address.
fn boot(head: &mut Head, number: u16) -> Ipv4Addr {
    let offer = reply(&ask(head, &message(number, 1), broadcast(mac(number))));
    let request = with(message(number, 3), &[(50, offer.yiaddr), (54, offer.server_id().unwrap())]);
    let ack = reply(&ask(head, &request, broadcast(mac(number))));
    assert_eq!((ack.message_type(), ack.yiaddr), (Some(MessageType::Ack), offer.yiaddr));
    ack.yiaddr
}

#[test]
fn table_3_the_header_of_offer_ack_and_nak() {
    let mut head = head();
    let mut discover = message(1, 1);
    (discover.secs, discover.hops, discover.flags) = (9, 3, 0x8000);
    discover.ciaddr = ip("192.0.2.77"); // a buggy client's; ignored here
    let offer = reply(&ask(&mut head, &discover, broadcast(mac(1))));
    assert!(!offer.request);
    assert_eq!((offer.htype, offer.hlen, offer.hops, offer.secs), (1, 6, 0, 0));
    assert_eq!((offer.xid, offer.flags, offer.chaddr), (0xfeed, 0x8000, discover.chaddr));
    assert_eq!((offer.ciaddr, offer.yiaddr, offer.giaddr), (ip("0.0.0.0"), ip("192.0.2.1"), ip("0.0.0.0")));
    assert_eq!(offer.server_id(), Some(ip("192.0.2.254")));
    for absent in [50, 55, 57, 60] {
        assert!(!offer.options.contains(absent), "MUST NOT carry option {absent}");
    }
    let mut renew = message(1, 3);
    renew.ciaddr = ip("192.0.2.1");
    let ack = reply(&ask(&mut head, &renew, unicast(mac(1), "192.0.2.1:68", "192.0.2.254:67")));
    assert_eq!((ack.ciaddr, ack.yiaddr), (ip("192.0.2.1"), ip("192.0.2.1")));
    let nak = reply(&ask(&mut head, &with(message(1, 3), &[(50, ip("198.51.100.7"))]), broadcast(mac(1))));
    assert_eq!(nak.message_type(), Some(MessageType::Nak));
    let zero = ip("0.0.0.0");
    assert_eq!((nak.ciaddr, nak.yiaddr, nak.siaddr), (zero, zero, zero));
    assert!(nak.options.contains(54) && !nak.options.contains(51) && !nak.options.contains(1));
}

#[test]
fn section_4_1_routes() {
    let mut head = head();
    let discover = message(1, 1);
    let answer = ask(&mut head, &discover, broadcast(mac(1)));
    assert_eq!(route(&answer), Route::Unicast { mac: mac(1), address: ip("192.0.2.1"), port: 68 });
    let flagged = Message { flags: 0x8000, ..discover.clone() };
    assert_eq!(route(&ask(&mut head, &flagged, broadcast(mac(1)))), Route::Broadcast);
    let other_link = Message { htype: 32, hlen: 6, ..discover.clone() };
    assert_eq!(route(&ask(&mut head, &other_link, broadcast(mac(1)))), Route::Broadcast);
    // Through a relay, the broadcast flag is the relay's business.
    let relayed = Message { giaddr: ip("198.51.100.1"), flags: 0x8000, ..message(2, 1) };
    let answer = ask(&mut head, &relayed, broadcast(mac(99)));
    assert_eq!(route(&answer), Route::Routed("198.51.100.1:67".parse().unwrap()));
    assert_eq!(reply(&answer).giaddr, relayed.giaddr);
    // A NAK through a relay sets the flag, so that the relay broadcasts it.
    let astray = Message { giaddr: ip("198.51.100.1"), ..with(message(2, 3), &[(50, ip("192.0.2.20"))]) };
    let nak = ask(&mut head, &astray, broadcast(mac(99)));
    assert_eq!(route(&nak), Route::Routed("198.51.100.1:67".parse().unwrap()));
    assert!(reply(&nak).wants_broadcast());
    // A renewal is answered to ciaddr, the frame to where it came from.
    let renew = Message { ciaddr: ip("192.0.2.1"), ..message(1, 3) };
    let answer = ask(&mut head, &renew, unicast(mac(1), "192.0.2.1:68", "192.0.2.254:67"));
    assert_eq!(route(&answer), Route::Unicast { mac: mac(1), address: ip("192.0.2.1"), port: 68 });
}

#[test]
fn section_4_3_1_an_offer_is_kept_and_repeated() {
    let mut head = head();
    let first = reply(&ask(&mut head, &message(3, 1), broadcast(mac(3)))).yiaddr;
    let other = reply(&ask(&mut head, &message(4, 1), broadcast(mac(4)))).yiaddr;
    let again = reply(&ask(&mut head, &message(3, 1), broadcast(mac(3)))).yiaddr;
    assert_eq!(first, again);
    assert_ne!(first, other);
    let held = head.leases.get(first).unwrap();
    assert_eq!((held.state, held.expires), (LeaseState::Held, NOW + Millis::from_secs(30)));
    let released = {
        boot(&mut head, 3);
        Message { ciaddr: first, ..message(3, 7) }
    };
    assert_eq!(
        silent(&ask(&mut head, &released, unicast(mac(3), "192.0.2.16:68", "192.0.2.254:67"))),
        Reason::Released
    );
    let wanted = with(message(5, 1), &[(50, ip("192.0.2.30"))]);
    assert_eq!(reply(&ask(&mut head, &wanted, broadcast(mac(5)))).yiaddr, ip("192.0.2.30"));
    assert_eq!(boot(&mut head, 3), first, "its previous address, now released");
}

#[test]
fn section_4_3_1_times_are_given_with_a_lease() {
    let mut head = head();
    let offer = reply(&ask(&mut head, &message(1, 1), broadcast(mac(1))));
    let seconds = |code| u32::from_be_bytes(offer.options.get(code).unwrap().try_into().unwrap());
    assert_eq!((seconds(51), seconds(58), seconds(59)), (3600, 1800, 3150));
}

#[test]
fn section_4_3_2_selecting_another_server_frees_our_offer() {
    let mut head = head();
    let offered = reply(&ask(&mut head, &message(3, 1), broadcast(mac(3)))).yiaddr;
    let request = with(message(3, 3), &[(50, ip("192.0.2.99")), (54, ip("192.0.2.200"))]);
    assert_eq!(silent(&ask(&mut head, &request, broadcast(mac(3)))), Reason::OtherServerChosen);
    assert_eq!(head.leases.get(offered), None);
}

#[test]
fn section_4_3_2_selecting_is_never_refused() {
    let mut head = head();
    let taken = boot(&mut head, 3);
    let request = with(message(4, 3), &[(50, taken), (54, ip("192.0.2.254"))]);
    assert_eq!(silent(&ask(&mut head, &request, broadcast(mac(4)))), Reason::OfferGone);
}

#[test]
fn section_4_3_2_init_reboot() {
    let mut head = head();
    let own = boot(&mut head, 3);
    let reboot = |number, address| with(message(number, 3), &[(50, address)]);
    let kind = |answer: &Answer| reply(answer).message_type();
    assert_eq!(kind(&ask(&mut head, &reboot(3, own), broadcast(mac(3)))), Some(MessageType::Ack));
    assert_eq!(kind(&ask(&mut head, &reboot(1, ip("192.0.2.1")), broadcast(mac(1)))), Some(MessageType::Ack));
    for (number, address) in [
        (3, ip("198.51.100.7")), // wrong network
        (4, own),                // another's lease
        (4, ip("192.0.2.1")),    // declared for another
        (4, ip("192.0.2.254")),  // the head's
        (4, ip("192.0.2.100")),  // in the network, in no pool
        (1, ip("192.0.2.20")),   // another is declared
    ] {
        let answer = ask(&mut head, &reboot(number, address), broadcast(mac(number)));
        assert_eq!(kind(&answer), Some(MessageType::Nak), "{address} for {number}");
        assert_eq!(answer.lease, None);
        assert_eq!(route(&answer), Route::Broadcast);
    }
}

#[test]
fn section_4_3_2_renewing_and_rebinding_extend_the_lease() {
    let mut head = head();
    let own = boot(&mut head, 2);
    let renew = Message { ciaddr: own, ..message(2, 3) };
    let later = NOW + Millis::from_secs(1800);
    for ingress in [unicast(mac(2), &format!("{own}:68"), "192.0.2.254:67"), broadcast(mac(2))] {
        let answer = head.answer(renew.clone(), ingress, later);
        assert_eq!(reply(&answer).message_type(), Some(MessageType::Ack));
        assert_eq!(head.leases.get(own).unwrap().expires, later + Millis::from_secs(3600));
    }
    // A client that was moved to another network rebinds there with its old address: no.
    let moved = Message { ciaddr: ip("198.51.100.10"), ..message(2, 3) };
    assert_eq!(reply(&ask(&mut head, &moved, broadcast(mac(2)))).message_type(), Some(MessageType::Nak));
}

#[test]
fn a_leased_address_that_is_now_declared_for_another_is_never_renewed() {
    let mut head = head();
    let own = boot(&mut head, 3);
    let text = own.to_string();
    head.snapshot = snapshot(vec![boot_network()], vec![node(9, mac(9), &[&text])]);
    let renew = Message { ciaddr: own, ..message(3, 3) };
    let answer = ask(&mut head, &renew, unicast(mac(3), &format!("{own}:68"), "192.0.2.254:67"));
    assert_eq!(reply(&answer).message_type(), Some(MessageType::Nak));
    let selecting = with(message(3, 3), &[(50, own), (54, ip("192.0.2.254"))]);
    assert_eq!(silent(&ask(&mut head, &selecting, broadcast(mac(3)))), Reason::OfferGone);
    assert_ne!(boot(&mut head, 3), own);
}

#[test]
fn a_declared_address_is_given_when_its_former_holders_lease_has_ended() {
    let mut head = head();
    let own = boot(&mut head, 3);
    let text = own.to_string();
    head.snapshot = snapshot(vec![boot_network()], vec![node(9, mac(9), &[&text])]);
    let meanwhile = boot(&mut head, 9);
    assert_ne!(meanwhile, own, "number 3 still lives there");
    let renew = Message { ciaddr: meanwhile, ..message(9, 3) };
    let answer = ask(&mut head, &renew, broadcast(mac(9)));
    assert_eq!(reply(&answer).message_type(), Some(MessageType::Ack));
    assert_eq!(answer.explanation.squatter.map(|lease| lease.address), Some(own));
    let later = head.leases.get(own).unwrap().expires;
    let nak = head.answer(renew, broadcast(mac(9)), later);
    assert_eq!(reply(&nak).message_type(), Some(MessageType::Nak), "it shall move now");
    assert_eq!(reply(&head.answer(message(9, 1), broadcast(mac(9)), later)).yiaddr, own);
}

#[test]
fn a_machine_that_is_declared_after_its_offer_still_gets_it_and_then_moves() {
    let mut head = head();
    let offered = reply(&ask(&mut head, &message(3, 1), broadcast(mac(3)))).yiaddr;
    head.snapshot = snapshot(vec![boot_network()], vec![node(3, mac(3), &["192.0.2.3"])]);
    let request = with(message(3, 3), &[(50, offered), (54, ip("192.0.2.254"))]);
    assert_eq!(reply(&ask(&mut head, &request, broadcast(mac(3)))).yiaddr, offered);
    let renew = Message { ciaddr: offered, ..message(3, 3) };
    let answer = ask(&mut head, &renew, unicast(mac(3), &format!("{offered}:68"), "192.0.2.254:67"));
    assert_eq!(reply(&answer).message_type(), Some(MessageType::Nak));
    assert_eq!(boot(&mut head, 3), ip("192.0.2.3"));
    assert_eq!(head.leases.get(offered).unwrap().state, LeaseState::Released, "the pool has it back");
}

#[test]
fn section_4_3_3_a_declined_address_rests_longer_the_second_time() {
    let mut head = head();
    for (quarantine, number) in [(600, 3), (3600, 4)] {
        let own = boot(&mut head, number);
        let now = head.leases.get(own).unwrap().starts;
        let stranger = with(message(8, 4), &[(50, own), (54, ip("192.0.2.254"))]);
        assert_eq!(silent(&ask(&mut head, &stranger, broadcast(mac(8)))), Reason::DeclineNotIts);
        let decline = with(message(number, 4), &[(50, own), (54, ip("192.0.2.254"))]);
        assert_eq!(silent(&ask(&mut head, &decline, broadcast(mac(number)))), Reason::Declined);
        let declined = head.leases.get(own).unwrap();
        assert_eq!(
            (declined.state, declined.expires),
            (LeaseState::Declined, now + Millis::from_secs(quarantine))
        );
        assert_ne!(boot(&mut head, number), own);
        // Let the quarantine end, so that the next machine is given the same address again.
        head.leases.remove(own);
    }
    let decline = with(message(1, 4), &[(50, ip("192.0.2.1"))]);
    assert_eq!(silent(&ask(&mut head, &decline, broadcast(mac(1)))), Reason::DeclinedDeclared);
}

#[test]
fn section_4_3_4_only_the_holder_releases() {
    let mut head = head();
    let own = boot(&mut head, 3);
    let ingress = || unicast(mac(3), &format!("{own}:68"), "192.0.2.254:67");
    let strange = Message { ciaddr: own, ..message(4, 7) };
    assert_eq!(silent(&ask(&mut head, &strange, ingress())), Reason::ReleaseNotIts);
    let elsewhere = Message { ciaddr: own, ..with(message(3, 7), &[(54, ip("192.0.2.9"))]) };
    assert_eq!(silent(&ask(&mut head, &elsewhere, ingress())), Reason::ReleaseNotIts);
    assert_eq!(head.leases.get(own).unwrap().state, LeaseState::Bound);
}

#[test]
fn section_4_3_5_inform_gets_options_without_address_and_times() {
    let mut head = head();
    let inform = Message { ciaddr: ip("192.0.2.77"), ..message(5, 8) };
    let answer = ask(&mut head, &inform, unicast(mac(5), "192.0.2.77:68", "255.255.255.255:67"));
    let ack = reply(&answer);
    assert_eq!((ack.message_type(), ack.yiaddr), (Some(MessageType::Ack), ip("0.0.0.0")));
    assert!([51, 58, 59].iter().all(|code| !ack.options.contains(*code)));
    assert_eq!(ack.options.address(1), Some(ip("255.255.255.0")));
    assert_eq!(route(&answer), Route::Unicast { mac: mac(5), address: ip("192.0.2.77"), port: 68 });
    assert_eq!(answer.lease, None);
    let outside = Message { ciaddr: ip("203.0.113.7"), ..message(5, 8) };
    assert_eq!(silent(&ask(&mut head, &outside, broadcast(mac(5)))), Reason::InformOutside);
}

#[test]
fn section_2_no_reply_is_shorter_than_bootp_or_longer_than_the_client_allows() {
    let mut head = head();
    for size in [0u16, 300, 576, 1472, 65280] {
        let mut discover = message(1, 1);
        discover.options.set(code::MAX_SIZE, size.to_be_bytes());
        let answer = ask(&mut head, &discover, broadcast(mac(1)));
        let Verdict::Reply { message, .. } = answer.verdict else { panic!("silence") };
        assert!(
            message.len() >= 300 && message.len() <= usize::from(size.max(576)) - 28,
            "{}",
            message.len()
        );
    }
}
