//! The scanner and the layout of replies, with `dhcproto` as second opinion where it can be one.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]

use std::net::Ipv4Addr;

use dhcproto::{Decodable, Decoder};
use proptest::prelude::*;

use crate::base::Mac;
use crate::wire::WireError;
use crate::wire::dhcp::{Message, MessageType, Reply, code};

/// A client's message with these options after the cookie.
fn message(options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 240];
    bytes[..4].copy_from_slice(&[1, 1, 6, 0]);
    bytes[4..8].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
    bytes[28..34].copy_from_slice(&[0, 0, 0x5e, 0, 0x53, 1]);
    bytes[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    bytes.extend_from_slice(options);
    bytes
}

fn parse(options: &[u8]) -> Message {
    Message::parse(&message(options)).unwrap()
}

#[test]
fn a_header_that_could_mislead_is_refused() {
    let refused = |at: usize, value: u8| {
        let mut bytes = message(&[53, 1, 1, 255]);
        bytes[at] = value;
        Message::parse(&bytes).unwrap_err()
    };
    assert_eq!(refused(0, 3), WireError::Invalid("op"));
    assert_eq!(refused(2, 17), WireError::Invalid("hlen"));
    assert_eq!(refused(2, 255), WireError::Invalid("hlen"));
    assert_eq!(refused(236, 0), WireError::Invalid("cookie"));
    assert_eq!(Message::parse(&message(&[])[..200]), Err(WireError::Truncated("header")));
    assert_eq!(Message::parse(&message(&[])[..238]), Err(WireError::Truncated("cookie")));
}

#[test]
fn a_bad_option_hides_no_other() {
    // 12 is no UTF-8, 54 has a wrong length, 94 and 80 too: `dhcproto` stops or panics at each of them.
    let parsed = parse(&[
        12, 2, 0xff, 0xfe, 54, 1, 9, 94, 1, 1, 80, 1, 0, 81, 1, 0, 37, 1, 64, 43, 0, 93, 4, 0, 7, 0, 9, 53,
        1, 1, 255,
    ]);
    assert_eq!(parsed.message_type(), Some(MessageType::Discover));
    assert_eq!(parsed.server_id(), None);
    assert_eq!(parsed.architectures(), [7, 9]);
    assert_eq!(parsed.options.get(code::VENDOR), Some(&[][..]));
    assert_eq!(parsed.host_name().unwrap(), "\u{fffd}\u{fffd}");
}

#[test]
fn a_truncated_option_ends_the_scan_and_keeps_what_came_before() {
    let parsed = parse(&[53, 1, 3, 0, 0, 50, 4, 192, 0, 2, 7, 60, 200, b'P']);
    assert_eq!(parsed.requested_address(), Some(Ipv4Addr::new(192, 0, 2, 7)));
    assert_eq!(parsed.vendor_class(), None);
    assert_eq!(parse(&[53]).message_type(), None);
}

#[test]
fn instances_of_one_option_are_joined_even_apart_rfc_3396() {
    let parsed = parse(&[43, 2, 1, 2, 53, 1, 1, 43, 2, 3, 4, 255, 43, 1, 9]);
    assert_eq!(parsed.options.get(code::VENDOR), Some(&[1, 2, 3, 4][..]));
}

#[test]
fn options_in_file_and_sname_count_when_option_52_lends_them() {
    let mut bytes = message(&[53, 1, 1, 43, 1, 1, 52, 1, 3, 255]);
    bytes[108..114].copy_from_slice(&[43, 1, 2, 12, 1, b'f']);
    bytes[114] = 255;
    bytes[44..47].copy_from_slice(&[43, 1, 3]);
    bytes[47] = 255;
    let parsed = Message::parse(&bytes).unwrap();
    assert_eq!(parsed.options.get(code::VENDOR), Some(&[1, 2, 3][..]));
    assert_eq!(parsed.host_name().as_deref(), Some("f"));
    assert!(parsed.file.is_empty() && parsed.sname.is_empty());
    bytes[248] = 0; // not lent: the same octets are a file name and a server name
    assert_eq!(bytes[246..249], [52, 1, 0]);
    let parsed = Message::parse(&bytes).unwrap();
    assert_eq!(parsed.options.get(code::VENDOR), Some(&[1][..]));
    assert_eq!(parsed.file[..3], [43, 1, 2]);
}

#[test]
fn user_classes_are_read_in_both_encodings() {
    assert_eq!(parse(b"\x4d\x04iPXE\xff").user_classes(), [b"iPXE".to_vec()]);
    assert_eq!(parse(b"\x4d\x05\x04iPXE\xff").user_classes(), [b"iPXE".to_vec()]);
    assert_eq!(parse(b"\x4d\x07\x04iPXE\x01x\xff").user_classes(), [b"iPXE".to_vec(), b"x".to_vec()]);
    for told in [&b"\x4d\x04iPXE\xff"[..], b"\x4d\x05\x04iPXE\xff", b"\x4d\x04gPXE\xff", b"\xaf\x00\xff"] {
        assert!(parse(told).is_ipxe());
    }
    assert!(!parse(b"\x4d\x04hPXE\xff").is_ipxe());
}

#[test]
fn ipxe_features_are_flags_that_may_be_off() {
    let features = parse(&[175, 9, 0x13, 1, 1, 0x14, 1, 0, 0x24, 1, 1, 255]).ipxe_features();
    assert!(features.http && features.efi && !features.https && !features.bzimage);
}

#[test]
fn the_machine_identifier_reads_as_people_write_it() {
    let wire: Vec<u8> = [0x61, 17, 0, 0x44, 0x33, 0x22, 0x11, 0x66, 0x55, 0x88, 0x77, 0x99, 0xaa, 0xbb, 0xcc]
        .into_iter()
        .chain([0xdd, 0xee, 0xff, 0, 255])
        .collect();
    assert_eq!(parse(&wire).uuid().unwrap().to_string(), "11223344-5566-7788-99aa-bbccddeeff00");
    let none: Vec<u8> = [0x61, 17].into_iter().chain([0; 17]).chain([255]).collect();
    assert_eq!(parse(&none).uuid(), None);
}

#[test]
fn relay_sub_options_are_understood() {
    let info = parse(&[82, 18, 1, 2, 7, 8, 5, 4, 192, 0, 2, 0, 11, 4, 192, 0, 2, 1, 19, 0, 255])
        .relay_info()
        .unwrap();
    assert_eq!(info.circuit(), Some(&[7, 8][..]));
    assert_eq!(info.link_selection(), Some(Ipv4Addr::new(192, 0, 2, 0)));
    assert_eq!(info.server_override(), Some(Ipv4Addr::new(192, 0, 2, 1)));
    assert!(info.wants_source_port());
    assert_eq!(info.remote(), None);
}

/// A reply with these options.
fn reply(options: &[(u8, Vec<u8>)]) -> Message {
    let mut message = parse(&[255]);
    message.request = false;
    for (code, value) in options {
        message.options.set(*code, value.clone());
    }
    message
}

#[test]
fn a_reply_puts_53_and_54_first_and_82_last_as_it_came() {
    let relay = vec![1, 1, 9, 1, 1, 9, 77]; // a duplicate and junk: the relay wants it back as it is
    let message = reply(&[
        (code::RELAY, relay.clone()),
        (code::BOOT_FILE, b"snponly.efi\0".to_vec()),
        (code::SERVER_ID, vec![192, 0, 2, 254]),
        (code::MESSAGE_TYPE, vec![2]),
    ]);
    let bytes = Reply { message, bytes_max: 548 }.emit();
    assert_eq!(bytes[240..249], [53, 1, 2, 54, 4, 192, 0, 2, 254]);
    let end = bytes.iter().rposition(|octet| *octet == 255).unwrap();
    assert_eq!(bytes[end - 7..end], relay);
    assert_eq!(bytes.len(), 300, "padded for old relays");
}

#[test]
fn a_reply_that_grows_too_large_loses_its_last_options_but_never_82() {
    let mut options: Vec<(u8, Vec<u8>)> = vec![(code::MESSAGE_TYPE, vec![5]), (code::SERVER_ID, vec![1; 4])];
    options.push((code::RELAY, vec![3; 100]));
    options.extend((200..206).map(|code| (code, vec![1; 60])));
    let bytes = Reply { message: reply(&options), bytes_max: 548 }.emit();
    assert!(bytes.len() <= 548, "{}", bytes.len());
    let parsed = Message::parse(&bytes).unwrap();
    assert_eq!(parsed.options.get(code::RELAY), Some(&[3; 100][..]));
    assert!(parsed.options.contains(202) && !parsed.options.contains(203));
}

#[test]
fn a_huge_relay_option_crowds_out_everything_but_53_and_54() {
    let options = |relay: usize| {
        vec![
            (code::MESSAGE_TYPE, vec![5]),
            (code::SERVER_ID, vec![1; 4]),
            (code::BOOT_FILE, vec![1; 60]),
            (code::RELAY, vec![3; relay]),
        ]
    };
    let codes = |relay: usize| {
        let bytes = Reply { message: reply(&options(relay)), bytes_max: 548 }.emit();
        assert!(bytes.len() <= 1472);
        Message::parse(&bytes).unwrap().options.iter().map(|(code, _)| code).collect::<Vec<_>>()
    };
    assert_eq!(codes(10), [53, 54, 67, 82]);
    assert_eq!(codes(500), [53, 54, 82]);
    assert_eq!(codes(1300), [53, 54, 67], "no client would take it");
}

#[test]
fn the_room_follows_option_57_within_reason() {
    assert_eq!(Reply::room(None, 1500), 548);
    assert_eq!(Reply::room(Some(0), 1500), 548);
    assert_eq!(Reply::room(Some(1472), 1500), 1444);
    assert_eq!(Reply::room(Some(65280), 1500), 1472, "edk2's swapped octets");
    assert_eq!(Reply::room(Some(65280), 9000), 1472, "edk2 drops longer ones");
    assert_eq!(Reply::room(Some(1472), 576), 548);
}

#[test]
fn a_long_option_is_split_and_read_back_rfc_3396() {
    let long: Vec<u8> = (0..=255).cycle().take(600).collect();
    let message = reply(&[(code::MESSAGE_TYPE, vec![2]), (120, long.clone())]);
    let bytes = Reply { message, bytes_max: 1472 }.emit();
    assert_eq!(Message::parse(&bytes).unwrap().options.get(120), Some(&long[..]));
}

#[test]
fn dhcproto_reads_our_replies_alike() {
    let mut message = reply(&[(code::MESSAGE_TYPE, vec![2]), (code::SERVER_ID, vec![192, 0, 2, 254])]);
    message.yiaddr = Ipv4Addr::new(192, 0, 2, 10);
    message.file = b"snponly.efi".to_vec();
    let bytes = Reply { message: message.clone(), bytes_max: 548 }.emit();
    let second = dhcproto::v4::Message::decode(&mut Decoder::new(&bytes)).unwrap();
    assert_eq!(second.yiaddr(), message.yiaddr);
    assert_eq!(second.xid(), message.xid);
    assert_eq!(second.opts().msg_type(), Some(MessageType::Offer));
    assert_eq!(second.chaddr(), message.mac().unwrap().0);
    assert_eq!(second.fname().unwrap().split(|octet| *octet == 0).next(), Some(&b"snponly.efi"[..]));
    assert_eq!(message.mac(), Some(Mac([0, 0, 0x5e, 0, 0x53, 1])));
}

proptest! {
    #[test]
    fn any_bytes_parse_or_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _refused_or_not = Message::parse(&bytes);
    }

    /// Random options behind a good header: all accessors hold, and what we emit reads back the same.
    #[test]
    fn what_was_read_is_emitted_and_read_the_same(options in prop::collection::vec(any::<u8>(), 0..300)) {
        let parsed = parse(&options);
        let _all = (parsed.message_type(), parsed.user_classes(), parsed.architectures(), parsed.relay_info());
        let _more = (parsed.ipxe_features(), parsed.uuid(), parsed.vendor_class(), parsed.mac());
        if !parsed.options.contains(code::OVERLOAD) {
            prop_assert_eq!(Message::parse(&parsed.emit()).unwrap(), parsed);
        }
    }
}
