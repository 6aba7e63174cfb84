//! What firmware was measured to need (November 2026: edk2 2025.02, SeaBIOS 1.16.3, iPXE of 2019 and May
//! 2025) and what the site may ask for, each fact a test.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod site;

use std::net::Ipv4Addr;
use std::sync::Arc;

use muster::base::{Digest, Mac, Millis, Timestamp};
use muster::engine::dhcp::imagine::{Client, Imagined};
use muster::engine::dhcp::{
    Answer, Boot, Ingress, LoaderRule, NetworkRule, NoBoot, Observed, Reason, Request, Route, Verdict,
    respond, watch,
};
use muster::model::{
    Arch, Bmc, BootPolicy, Change, DhcpMode, Firmware, Inventory, LeaseKey, LeaseTable, LoaderTls, Network,
    Revision, Site, Snapshot, Stage, UnknownPolicy,
};
use muster::wire::dhcp::{Message, MessageType, code};
use proptest::prelude::*;
use site::{Head, boot_network, broadcast, mac, network, node, reply, route, snapshot, unicast};

const NOW: Timestamp = Timestamp(1_000_000);
const SCRIPT: &str = "http://192.0.2.254:8081/boot/script?mac=00-00-5e-00-53-01&uuid=${uuid}&arch=${buildarch}&platform=${platform}";

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn imagined(client: Client, number: u16) -> Imagined {
    let uuid = Some("11223344-5566-7788-99aa-bbccddeeff00".parse().unwrap());
    Imagined { client, arch: Arch::X86_64, mac: mac(number), uuid, xid: 0xfeed }
}

fn head_with(alter: impl FnOnce(&mut Network)) -> Head {
    let mut lan = boot_network();
    alter(&mut lan);
    Head::new(snapshot(vec![lan], vec![node(1, mac(1), &["192.0.2.1"])]))
}

fn head() -> Head {
    head_with(|_| {})
}

fn discover(head: &mut Head, client: Client) -> Answer {
    let client = imagined(client, 1);
    head.answer(client.discover(), client.ingress("eth1"), NOW)
}

fn text(message: &Message, code: u8) -> Option<String> {
    message.options.get(code).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn silent(answer: &Answer) -> Reason {
    match answer.verdict {
        Verdict::Silence(reason) => reason,
        Verdict::Reply { .. } => panic!("a reply: {:?}", answer.explanation),
    }
}

#[test]
fn pxe_firmware_gets_a_file_and_neither_60_nor_43() {
    for (client, file, sname) in
        [(Client::UefiPxe, "snponly.efi", ""), (Client::BiosRom, "undionly.kpxe", "192.0.2.254")]
    {
        let offer = reply(&discover(&mut head(), client));
        assert!(!offer.options.contains(code::VENDOR_CLASS) && !offer.options.contains(code::VENDOR));
        assert_eq!(String::from_utf8(offer.file.clone()).unwrap(), file);
        assert_eq!(text(&offer, code::BOOT_FILE).unwrap(), format!("{file}\0"), "one NUL for old firmware");
        assert_eq!(text(&offer, code::TFTP_SERVER).as_deref(), Some("192.0.2.254"));
        assert_eq!(text(&offer, code::ROOT_PATH).as_deref(), Some("192.0.2.254"));
        assert_eq!((offer.siaddr, offer.sname), (ip("192.0.2.254"), sname.as_bytes().to_vec()));
        let asker = imagined(client, 1).discover();
        assert_eq!(offer.options.get(code::UUID), asker.options.get(code::UUID), "97 is echoed");
        assert!(!offer.options.contains(13), "a wrong boot file size would fail");
    }
}

#[test]
fn http_firmware_must_hear_its_vendor_class_and_a_url() {
    let offer = reply(&discover(&mut head(), Client::UefiHttp));
    assert_eq!(text(&offer, code::VENDOR_CLASS).as_deref(), Some("HTTPClient"));
    let url = "http://192.0.2.254:8081/loaders/snponly.efi";
    assert_eq!(text(&offer, code::BOOT_FILE).as_deref(), Some(url));
    assert_eq!(offer.file, url.as_bytes(), "file and 67 never differ");
}

#[test]
fn ipxe_gets_its_script_in_67_alone_and_need_not_wait_for_proxies() {
    for client in [Client::Ipxe, Client::IpxeRom] {
        let offer = reply(&discover(&mut head(), client));
        assert_eq!(text(&offer, code::BOOT_FILE).as_deref(), Some(SCRIPT));
        assert!(offer.file.is_empty(), "iPXE would prefer it to 67");
        assert_eq!(offer.options.get(code::IPXE), Some(&[0xb0, 1, 1][..]));
        assert_eq!(text(&offer, code::ROOT_PATH).as_deref(), Some("192.0.2.254"));
        assert!(!offer.options.contains(code::VENDOR_CLASS));
    }
}

#[test]
fn a_system_gets_network_settings_and_no_boot_data() {
    let mut head = head_with(|lan| {
        lan.ntp = vec![ip("192.0.2.250")];
        lan.routers = vec![ip("192.0.2.253")];
    });
    let answer = discover(&mut head, Client::System);
    let offer = reply(&answer);
    assert_eq!(text(&offer, code::HOST_NAME).as_deref(), Some("nid001"));
    assert_eq!(text(&offer, code::DOMAIN).as_deref(), Some("cluster.internal"));
    for (code, address) in [
        (1, "255.255.255.0"),
        (3, "192.0.2.253"),
        (6, "192.0.2.254"),
        (28, "192.0.2.255"),
        (42, "192.0.2.250"),
    ] {
        assert_eq!(offer.options.address(code), Some(ip(address)), "option {code}");
    }
    assert!([17, 43, 60, 66, 67, 121, 119, 175].iter().all(|code| !offer.options.contains(*code)));
    assert_eq!(answer.explanation.boot, Some(Boot::None(NoBoot::System)));
}

#[test]
fn options_are_sent_when_asked_for() {
    let mut head = head_with(|lan| {
        lan.routers = vec![ip("192.0.2.253")];
        lan.mtu = Some(9000);
        lan.domain = Some("a.example".to_owned());
    });
    let mut message = imagined(Client::System, 1).discover();
    message.options.set(code::PARAMETER_LIST, [26, 119, 121]);
    message.options.set(code::FQDN, [4, 0, 0, 0]);
    let offer = reply(&head.answer(message, broadcast(mac(1)), NOW));
    assert_eq!(offer.options.number(26), Some(9000));
    assert_eq!(offer.options.get(119), Some(&b"\x01a\x07example\x00"[..]));
    assert_eq!(offer.options.get(121), Some(&[0, 192, 0, 2, 253][..]), "RFC 3442: 3 would be ignored");
    assert_eq!(offer.options.get(81), Some(&b"\x07\xff\xff\x06nid001\x01a\x07example\x00"[..]));
    assert!(!offer.options.contains(28) && !offer.options.contains(42));
}

#[test]
fn edk2_is_answered_by_broadcast_and_an_ipxe_rom_by_a_frame_to_itself() {
    assert_eq!(route(&discover(&mut head(), Client::UefiPxe)), Route::Broadcast);
    let rom = route(&discover(&mut head(), Client::IpxeRom));
    assert_eq!(rom, Route::Unicast { mac: mac(1), address: ip("192.0.2.1"), port: 68 });
}

#[test]
fn an_answer_explains_itself() {
    let answer = discover(&mut head(), Client::UefiPxe);
    let told = answer.explanation.boot.as_ref().unwrap().to_string();
    assert_eq!(told, "loader snponly.efi by TFTP (for this class of firmware)");
    assert_eq!(route(&answer).to_string(), "broadcast");
    let (address, rule) = answer.explanation.address.unwrap();
    assert_eq!((address, rule.sentence()), (ip("192.0.2.1"), "declared for this machine"));
    assert_eq!(answer.explanation.network.unwrap().1.sentence(), "the request came over its link");
    assert_eq!(answer.explanation.machine.as_deref(), Some("nid001"));
    assert_eq!(code::name(answer.explanation.options[0].0), "message type");
}

#[test]
fn secs_is_never_policy() {
    let client = imagined(Client::UefiPxe, 1);
    let answers: Vec<_> = [0, 256, 0xffff]
        .map(|secs| head().answer(Message { secs, ..client.discover() }, client.ingress("eth1"), NOW).verdict)
        .into();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

fn classify(message: Message) -> Request {
    Request::new(message, broadcast(mac(1)))
}

#[test]
fn ipxe_is_recognised_before_its_vendor_class() {
    let mut chained = imagined(Client::Ipxe, 1).discover();
    for vendor in ["PXEClient", "HTTPClient", "PXEClient:Arch:00000:UNDI:002001"] {
        chained.options.set(code::VENDOR_CLASS, vendor);
        let request = classify(chained.clone());
        assert_eq!((request.stage, request.firmware, request.arch_code), (Stage::Ipxe, Firmware::Uefi, 7));
    }
}

#[test]
fn an_ipxe_that_cannot_run_our_script_is_foreign() {
    // The features: 0x13 HTTP, 0x18 bzImage, 0x24 EFI image.
    for (arch, features, stage) in [
        (0u16, &[0x13, 1, 1, 0x18, 1, 1][..], Stage::Ipxe),
        (0, &[0x13, 1, 1, 0x24, 1, 1], Stage::ForeignIpxe),
        (0, &[0x18, 1, 1], Stage::ForeignIpxe),
        (7, &[0x13, 1, 1, 0x24, 1, 1], Stage::Ipxe),
        (7, &[0x13, 1, 1, 0x18, 1, 1], Stage::ForeignIpxe),
        (7, &[0x13, 1, 0, 0x24, 1, 1], Stage::ForeignIpxe),
    ] {
        let mut message = imagined(Client::Ipxe, 1).discover();
        message.options.set(code::ARCH, arch.to_be_bytes());
        message.options.set(code::IPXE, features);
        assert_eq!(classify(message).stage, stage, "{arch} {features:x?}");
    }
}

#[test]
fn the_architecture_comes_from_93_then_from_the_vendor_class() {
    let mut message = imagined(Client::UefiPxe, 1).discover();
    message.options.set(code::ARCH, [0xff, 0xff, 0, 11]);
    assert_eq!(classify(message.clone()).arch, Some(Arch::Arm64), "the first that is known");
    message.options.remove(code::ARCH);
    assert_eq!(classify(message.clone()).arch_code, 7);
    message.options.set(code::VENDOR_CLASS, *b"PXEClient");
    assert_eq!((classify(message.clone()).arch_code, classify(message).firmware), (0, Firmware::Bios));
    let mut pi =
        Imagined { mac: Mac([0xdc, 0xa6, 0x32, 1, 2, 3]), ..imagined(Client::BiosRom, 1) }.discover();
    pi.options.set(code::ARCH, [0, 0]);
    assert_eq!(
        (classify(pi.clone()).firmware, classify(pi).arch),
        (Firmware::RaspberryPi, Some(Arch::Arm64))
    );
}

#[test]
fn firmware_without_a_loader_is_told_nothing_and_the_reason_is_known() {
    for (arch, why) in
        [(6u16, NoBoot::UnsupportedArch), (15, NoBoot::UnsupportedArch), (99, NoBoot::UnknownFirmware)]
    {
        let mut message = imagined(Client::UefiPxe, 1).discover();
        message.options.set(code::ARCH, arch.to_be_bytes());
        let answer = head().answer(message, broadcast(mac(1)), NOW);
        assert_eq!(answer.explanation.boot, Some(Boot::None(why)));
        assert!(reply(&answer).file.is_empty());
    }
}

#[test]
fn a_raspberry_pi_is_told_that_it_is_welcome() {
    let pi = Mac([0xb8, 0x27, 0xeb, 1, 2, 3]);
    let message = Imagined { mac: pi, ..imagined(Client::BiosRom, 1) }.discover();
    let offer = reply(&head().answer(message, broadcast(pi), NOW));
    let vendor = offer.options.get(code::VENDOR).unwrap();
    assert!(vendor.windows(17).any(|window| window == b"Raspberry Pi Boot"));
    assert_eq!(offer.siaddr, ip("192.0.2.254"));
}

#[test]
fn a_foreign_ipxe_is_handed_ours_once_and_then_not_for_a_while() {
    let mut head = head();
    let client = imagined(Client::ForeignIpxe, 1);
    let offer = discover(&mut head, Client::ForeignIpxe);
    assert!(!offer.chained, "an OFFER is no promise");
    let request = client.request(&reply(&offer));
    let mut ack = |after: u64| head.answer(request.clone(), client.ingress("eth1"), Timestamp(NOW.0 + after));
    assert!(ack(0).chained);
    let repeated = ack(250);
    assert_eq!((reply(&repeated).file.as_slice(), repeated.chained), (&b"undionly.kpxe"[..], false));
    let looping = ack(30_000);
    assert_eq!(looping.explanation.boot, Some(Boot::None(NoBoot::ChainLoop)));
    assert!(reply(&looping).file.is_empty() && !looping.chained);
    assert!(ack(120_000).chained, "a later boot is no loop");
}

#[test]
fn firmware_ipxe_and_system_share_one_address_whatever_they_call_themselves() {
    let mut head = head();
    let mut given = Vec::new();
    for (client, id) in [
        (Client::UefiPxe, None),
        (Client::Ipxe, None),
        (Client::System, None),
        (Client::System, Some([0xff, 1, 2, 3, 4, 0, 2, 0, 0, 9])),
    ] {
        let client = imagined(client, 50);
        let mut message = client.discover();
        id.inspect(|id| message.options.set(code::CLIENT_ID, *id));
        let offer = reply(&head.answer(message, client.ingress("eth1"), NOW));
        given.push(reply(&head.answer(client.request(&offer), client.ingress("eth1"), NOW)).yiaddr);
    }
    assert!(given.iter().all(|address| *address == given[0]), "{given:?}");
    assert_eq!(head.leases.len(), 1);
}

#[test]
fn leases_are_short_for_the_unknown_and_for_firmware_in_pools() {
    let lan = boot_network();
    let mut head =
        Head::new(snapshot(vec![lan], vec![node(1, mac(1), &["192.0.2.1"]), node(2, mac(2), &[])]));
    for (client, number, seconds) in [
        (Client::UefiPxe, 1, 3600),
        (Client::UefiPxe, 2, 300),
        (Client::Ipxe, 2, 300),
        (Client::System, 2, 3600),
        (Client::System, 3, 300),
    ] {
        let client = imagined(client, number);
        let answer = head.answer(client.discover(), client.ingress("eth1"), NOW);
        assert_eq!(answer.explanation.lease, Some(Millis::from_secs(seconds)), "{client:?}");
    }
}

#[test]
fn unknown_machines_are_seen_under_every_policy_and_ignored_only_if_told_so() {
    let policies = [
        UnknownPolicy::Hold,
        UnknownPolicy::Discover,
        UnknownPolicy::Boot("rescue".parse().unwrap()),
        UnknownPolicy::Ignore,
    ];
    for policy in policies {
        let mut head = head_with(|lan| lan.unknown = policy.clone());
        let client = imagined(Client::Ipxe, 77);
        let answer = head.answer(client.discover(), client.ingress("eth1"), NOW);
        let seen = answer.sighting.clone().unwrap();
        assert_eq!((seen.mac, seen.firmware, seen.arch), (mac(77), Firmware::Uefi, Some(Arch::X86_64)));
        assert_eq!(seen.uuid.unwrap().to_string(), "11223344-5566-7788-99aa-bbccddeeff00");
        if policy == UnknownPolicy::Ignore {
            assert_eq!(silent(&answer), Reason::UnknownIgnored);
        } else {
            assert!(text(&reply(&answer), code::BOOT_FILE).unwrap().contains("mac=00-00-5e-00-53-4d"));
        }
    }
    assert_eq!(discover(&mut head(), Client::Ipxe).sighting, None, "a declared machine is no sighting");
}

#[test]
fn a_node_may_be_ignored_or_left_to_its_disk_or_given_its_own_loader() {
    let with = |alter: fn(&mut muster::model::Node)| {
        let mut declared = node(1, mac(1), &["192.0.2.1"]);
        alter(&mut declared);
        Head::new(snapshot(vec![boot_network()], vec![declared]))
    };
    let mut ignored = with(|node| node.policy = BootPolicy::Ignore);
    assert_eq!(silent(&discover(&mut ignored, Client::UefiPxe)), Reason::NodeIgnored);
    let mut local = with(|node| node.policy = BootPolicy::LocalDisk);
    for client in [Client::UefiPxe, Client::UefiHttp, Client::ForeignIpxe] {
        let offer = reply(&discover(&mut local, client));
        assert_eq!(offer.yiaddr, ip("192.0.2.1"));
        assert!(offer.file.is_empty() && !offer.options.contains(code::BOOT_FILE));
    }
    assert!(
        reply(&discover(&mut local, Client::Ipxe)).options.contains(code::BOOT_FILE),
        "the script says: leave"
    );
    let mut shim = with(|node| node.loader = Some("shimx64.efi".to_owned()));
    let answer = discover(&mut shim, Client::UefiPxe);
    let expected = Boot::File { name: "shimx64.efi".to_owned(), rule: LoaderRule::Node };
    assert_eq!(answer.explanation.boot, Some(expected));
}

#[test]
fn a_bmc_gets_its_address_and_nothing_to_boot() {
    let bmc = |address: Option<Ipv4Addr>| {
        let mut inventory = Inventory::default();
        inventory.apply(&Change::PutBmc(Arc::new(Bmc {
            name: "bmc1".parse().unwrap(),
            xname: None,
            mac: Some(mac(1)),
            address,
            fqdn: None,
            annotations: Default::default(),
        })));
        let site = Site { networks: vec![boot_network()], ..Site::default() };
        Head::new(Snapshot::compile(Revision(1), Arc::new(site), Arc::new(inventory)))
    };
    for (declared, given) in [(Some(ip("192.0.2.9")), "192.0.2.9"), (None, "192.0.2.16")] {
        let answer = discover(&mut bmc(declared), Client::UefiPxe);
        let offer = reply(&answer);
        assert_eq!((offer.yiaddr, text(&offer, code::HOST_NAME).as_deref()), (ip(given), Some("bmc1")));
        assert_eq!(answer.explanation.boot, Some(Boot::None(NoBoot::Management)));
        assert_eq!(answer.sighting, None);
    }
}

#[test]
fn a_pool_that_is_empty_says_so() {
    let mut head = head_with(|lan| lan.ranges = vec!["192.0.2.16".parse().unwrap()]);
    let ask = |head: &mut Head, number| {
        let client = imagined(Client::System, number);
        head.answer(client.discover(), client.ingress("eth1"), NOW)
    };
    assert_eq!(reply(&ask(&mut head, 8)).yiaddr, ip("192.0.2.16"));
    assert_eq!(silent(&ask(&mut head, 9)), Reason::PoolEmpty);
}

// --- networks -------------------------------------------------------------------------------------------

fn networks() -> Head {
    let far = network("far", "", "198.51.100.0/24", "198.51.100.10-198.51.100.20");
    let mut off = network("off", "eth9", "203.0.113.1/24", "");
    off.dhcp = DhcpMode::Off;
    let bmc = network("bmc", "eth1", "198.51.101.1/24", "");
    let nodes = vec![node(1, mac(1), &["192.0.2.1", "198.51.100.1"]), node(2, mac(2), &["198.51.101.2"])];
    Head::new(snapshot(vec![boot_network(), far, off, bmc], nodes))
}

fn located(message: Message, ingress: Ingress) -> Option<(String, NetworkRule)> {
    networks().answer(message, ingress, NOW).explanation.network.map(|(name, rule)| (name.to_string(), rule))
}

#[test]
fn the_network_is_chosen_by_82_5_then_118_then_relay_then_link() {
    let message = imagined(Client::System, 1).discover();
    let found = |message: &Message| located(message.clone(), broadcast(mac(1)));
    assert_eq!(found(&message), Some(("boot".to_owned(), NetworkRule::Link)));
    let mut relayed = Message { giaddr: ip("198.51.100.3"), ..message.clone() };
    assert_eq!(found(&relayed), Some(("far".to_owned(), NetworkRule::Relay)));
    relayed.options.set(code::SUBNET_SELECTION, [192, 0, 2, 0]);
    assert_eq!(found(&relayed), Some(("boot".to_owned(), NetworkRule::SubnetSelection)));
    relayed.options.set(code::RELAY, [5, 4, 198, 51, 100, 0]);
    assert_eq!(found(&relayed), Some(("far".to_owned(), NetworkRule::LinkSelection)));
    let second = imagined(Client::System, 2).discover();
    assert_eq!(
        found(&second),
        Some(("bmc".to_owned(), NetworkRule::Declared)),
        "two networks share the link"
    );
    let nowhere = Message { giaddr: ip("203.0.114.1"), ..message.clone() };
    assert_eq!(silent(&networks().answer(nowhere, broadcast(mac(1)), NOW)), Reason::NoNetwork);
    let mut ingress = broadcast(mac(1));
    ingress.interface = Arc::from("eth9");
    assert_eq!(silent(&networks().answer(message, ingress, NOW)), Reason::DhcpOff);
}

#[test]
fn a_renewal_from_behind_a_router_belongs_to_its_own_network() {
    let message =
        Message { ciaddr: ip("198.51.100.1"), ..with_type(imagined(Client::System, 1).discover(), 3) };
    let ingress = unicast(mac(200), "198.51.100.1:68", "192.0.2.254:67");
    let answer = networks().answer(message, ingress, NOW);
    assert_eq!(answer.explanation.network.clone().unwrap().1, NetworkRule::ClientAddress);
    assert_eq!(reply(&answer).message_type(), Some(MessageType::Ack));
    assert_eq!(route(&answer), Route::Routed("198.51.100.1:68".parse().unwrap()));
}

fn with_type(mut message: Message, kind: u8) -> Message {
    message.options.set(code::MESSAGE_TYPE, [kind]);
    message
}

#[test]
fn option_82_is_echoed_last_and_believed_only_from_relays() {
    let client = imagined(Client::System, 1);
    let mut message = client.discover();
    let raw = [1, 2, 7, 7, 11, 4, 192, 0, 2, 99, 19, 0, 1, 2, 8, 8];
    message.options.set(code::RELAY, raw);
    let direct = networks().answer(message.clone(), client.ingress("eth1"), NOW);
    assert_eq!(reply(&direct).server_id(), Some(ip("192.0.2.254")), "no relay, no override");
    message.giaddr = ip("198.51.100.3");
    let answer = networks().answer(message, unicast(mac(9), "198.51.100.3:40067", "192.0.2.254:67"), NOW);
    let offer = reply(&answer);
    assert_eq!(offer.options.get(code::RELAY), Some(&raw[..]));
    assert_eq!(answer.explanation.options.last().map(|(code, _)| *code), Some(code::RELAY));
    assert_eq!(offer.server_id(), Some(ip("192.0.2.99")), "RFC 5107");
    assert_eq!(route(&answer), Route::Routed("198.51.100.3:40067".parse().unwrap()), "RFC 8357");
    let Verdict::Reply { source, .. } = answer.verdict else { panic!("silence") };
    assert_eq!(source, "192.0.2.254:67".parse().unwrap());
}

#[test]
fn infiniband_clients_are_broadcast_to_and_known_by_their_port() {
    let port = Mac([0x00, 0x00, 0x5e, 0x00, 0x53, 0x01]);
    let mut message = imagined(Client::System, 1).discover();
    (message.htype, message.hlen, message.chaddr) = (32, 0, [0; 16]);
    message.options.set(code::CLIENT_ID, [0x20, 0, 0, 0x5e, 3, 0, 0, 0x53, 1]);
    let answer = head().answer(message.clone(), broadcast(port), NOW);
    assert_eq!((reply(&answer).yiaddr, route(&answer)), (ip("192.0.2.1"), Route::Broadcast));
    message.options.set(code::CLIENT_ID, [1, 2, 3]);
    assert_eq!(Request::new(message.clone(), broadcast(port)).key(), Some(LeaseKey::ClientId(vec![1, 2, 3])));
    message.options.remove(code::CLIENT_ID);
    assert_eq!(silent(&head().answer(message, broadcast(port), NOW)), Reason::NoIdentity);
}

// --- beside another server ------------------------------------------------------------------------------

fn proxy() -> Head {
    head_with(|lan| lan.dhcp = DhcpMode::Proxy)
}

#[test]
fn a_proxy_offers_boot_data_without_an_address() {
    for (client, file) in [
        (Client::UefiPxe, "snponly.efi"),
        (Client::BiosRom, "undionly.kpxe"),
        (Client::ForeignIpxe, "undionly.kpxe"),
    ] {
        let answer = discover(&mut proxy(), client);
        let offer = reply(&answer);
        assert_eq!((offer.yiaddr, offer.siaddr), (ip("0.0.0.0"), ip("192.0.2.254")));
        assert_eq!(offer.message_type(), Some(MessageType::Offer));
        assert_eq!(text(&offer, code::VENDOR_CLASS).as_deref(), Some("PXEClient"));
        assert_eq!(offer.options.get(code::VENDOR), Some(&[6, 1, 8, 255][..]));
        assert_eq!(offer.file, file.as_bytes());
        assert!([1, 3, 6, 51, 58, 59].iter().all(|code| !offer.options.contains(*code)));
        assert_eq!(answer.lease, None);
    }
    let http = reply(&discover(&mut proxy(), Client::UefiHttp));
    assert_eq!(text(&http, code::VENDOR_CLASS).as_deref(), Some("HTTPClient"));
    let ipxe = reply(&discover(&mut proxy(), Client::Ipxe));
    assert_eq!(text(&ipxe, code::VENDOR_CLASS).as_deref(), Some("PXEClient"));
    assert_eq!(text(&ipxe, code::BOOT_FILE).as_deref(), Some(SCRIPT));
}

#[test]
fn a_proxy_leaves_addresses_to_the_other_server() {
    let client = imagined(Client::UefiPxe, 1);
    let request = with_type(client.discover(), 3);
    assert_eq!(silent(&proxy().answer(request, client.ingress("eth1"), NOW)), Reason::ProxyLeasesNothing);
    assert_eq!(silent(&discover(&mut proxy(), Client::System)), Reason::ProxyNothingToOffer);
}

#[test]
fn port_4011_is_answered_from_4011_to_where_it_came_from() {
    for mut head in [proxy(), head()] {
        let mut request = with_type(imagined(Client::UefiPxe, 1).discover(), 3);
        (request.ciaddr, request.flags) = (ip("192.0.2.77"), 0);
        request.options.set(code::VENDOR, [71, 4, 0, 0, 0, 1, 255]);
        let answer = head.answer(request, unicast(mac(1), "192.0.2.77:4011", "192.0.2.254:4011"), NOW);
        let ack = reply(&answer);
        assert_eq!((ack.message_type(), ack.yiaddr), (Some(MessageType::Ack), ip("0.0.0.0")));
        assert_eq!((ack.siaddr, ack.file.as_slice()), (ip("192.0.2.254"), &b"snponly.efi"[..]));
        assert_eq!(text(&ack, code::VENDOR_CLASS).as_deref(), Some("PXEClient"));
        assert_eq!(ack.options.get(code::VENDOR), Some(&[71, 4, 0, 0, 0, 1, 255][..]), "its boot item");
        assert!(!ack.options.contains(51));
        let Verdict::Reply { route, source, .. } = answer.verdict else { panic!("silence") };
        assert_eq!(source.port(), 4011);
        assert_eq!(route, Route::Unicast { mac: mac(1), address: ip("192.0.2.77"), port: 4011 });
    }
}

#[test]
fn another_server_is_noticed_where_we_should_be_alone() {
    let client = imagined(Client::UefiPxe, 1);
    let mut offer = reply(&discover(&mut head(), Client::UefiPxe));
    let ingress = unicast(mac(66), "192.0.2.66:67", "255.255.255.255:68");
    let ours = unicast(mac(254), "192.0.2.254:67", "255.255.255.255:68");
    assert_eq!(watch(&offer, &ours, &head().snapshot), None);
    offer.options.set(code::SERVER_ID, [192, 0, 2, 66]);
    let seen = watch(&offer, &ingress, &head().snapshot).unwrap();
    assert_eq!((seen.server, seen.mac, seen.client), (ip("192.0.2.66"), mac(66), Some(mac(1))));
    assert_eq!((seen.kind, seen.offered), (Some(MessageType::Offer), Some(ip("192.0.2.1"))));
    assert_eq!(watch(&offer, &ingress, &proxy().snapshot), None, "a proxy expects one");
    assert_eq!(watch(&client.discover(), &ingress, &head().snapshot), None);
}

#[test]
fn what_is_no_dhcp_request_is_dropped_by_name() {
    let mut bootp = imagined(Client::System, 1).discover();
    bootp.options.remove(code::MESSAGE_TYPE);
    assert_eq!(silent(&head().answer(bootp, broadcast(mac(1)), NOW)), Reason::PlainBootp);
    let offer = reply(&discover(&mut head(), Client::System));
    assert_eq!(silent(&head().answer(offer, broadcast(mac(1)), NOW)), Reason::NotARequest);
    let lease_query = with_type(imagined(Client::System, 1).discover(), 10);
    assert_eq!(silent(&head().answer(lease_query, broadcast(mac(1)), NOW)), Reason::UnexpectedType);
    let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len(), "counters have names of their own");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever stands in header and options: no panic, and what is answered can be read and is in bounds.
    #[test]
    fn respond_never_panics(
        header in prop::collection::vec(any::<u8>(), 236),
        kind in 0u8..12,
        options in prop::collection::vec(any::<u8>(), 0..1500),
        port in prop::sample::select(vec![67u16, 4011]),
        plain in any::<bool>(),
        proxied in any::<bool>(),
    ) {
        let mut bytes = header;
        bytes[0] = 1;
        bytes[2] %= 17;
        if plain {
            bytes[1..3].copy_from_slice(&[1, 6]);
            bytes[12..28].fill(0);
        }
        bytes.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind]);
        bytes.extend(options);
        let message = Message::parse(&bytes).unwrap();
        let mut ingress = broadcast(mac(5));
        ingress.destination.set_port(port);
        let request = Request::new(message, ingress);
        let head = if proxied { proxy() } else { networks() };
        let observed = Observed { leases: &LeaseTable::default(), chained: None, anchored: false };
        let answer = respond(&request, &head.snapshot, &observed, NOW);
        if let Verdict::Reply { message, .. } = answer.verdict {
            prop_assert!((300..=1472).contains(&message.len()));
            prop_assert_eq!(Message::parse(&message).unwrap().xid, request.message.xid);
        }
    }
}

// --- loaders over TLS -----------------------------------------------------------------------------------

/// A head whose loaders are to use TLS, with this many roots.
fn secure_head(always: bool, roots: u8) -> Head {
    let roots = (0..roots).map(|octet| Digest([octet; 32])).collect();
    let loader_tls = Some(LoaderTls { port: 8443, always, roots });
    let site = Site { networks: vec![boot_network()], loader_tls, ..Site::default() };
    let mut inventory = Inventory::default();
    inventory.apply(&Change::PutNode(Arc::new(node(1, mac(1), &["192.0.2.1"]))));
    Head::new(Snapshot::compile(Revision(1), Arc::new(site), Arc::new(inventory)))
}

/// The whole exchange of one client; its ACK.
fn exchange(head: &mut Head, client: Client) -> Answer {
    let client = imagined(client, 1);
    let offer = reply(&discover(head, client.client));
    head.answer(client.request(&offer), client.ingress("eth1"), NOW)
}

fn boot_of(answer: &Answer) -> Boot {
    answer.explanation.boot.clone().unwrap()
}

#[test]
fn firmware_is_told_whom_its_loader_shall_trust() {
    for (client, trusts) in [
        (Client::UefiPxe, true),
        (Client::BiosRom, true),
        (Client::UefiHttp, true),
        // In its own answer it would come too late.
        (Client::Ipxe, false),
        (Client::System, false),
    ] {
        let answer = exchange(&mut secure_head(false, 2), client);
        let sent = reply(&answer).options.get(code::IPXE).map(<[u8]>::to_vec);
        let wanted = [&[0x5a, 64][..], &[0; 32], &[1; 32]].concat();
        assert_eq!(sent == Some(wanted), trusts, "{client:?}: {sent:?}");
        assert_eq!(answer.anchored, trusts, "{client:?}");
    }
    let many = reply(&exchange(&mut secure_head(false, 20), Client::UefiPxe));
    assert_eq!(many.options.get(code::IPXE).unwrap().len(), 2 + 7 * 32);
    assert!(!reply(&exchange(&mut head(), Client::UefiPxe)).options.contains(code::IPXE));
}

#[test]
fn ipxe_uses_tls_if_it_can_and_was_told_whom_to_trust() {
    let secure = SCRIPT.replace("http://192.0.2.254:8081", "https://192.0.2.254:8443");
    let plain = Boot::Script { url: SCRIPT.to_owned() };
    let mut head = secure_head(false, 1);
    // Out of a ROM: nobody told it.
    assert_eq!(boot_of(&exchange(&mut head, Client::Ipxe)), plain);
    let _ = exchange(&mut head, Client::UefiPxe);
    assert_eq!(boot_of(&exchange(&mut head, Client::Ipxe)), Boot::Script { url: secure.clone() });
    // One that was built without.
    assert_eq!(boot_of(&exchange(&mut head, Client::IpxeRom)), plain);
    // The site insists.
    let mut head = secure_head(true, 1);
    assert_eq!(boot_of(&exchange(&mut head, Client::Ipxe)), Boot::Script { url: secure });
    assert_eq!(boot_of(&exchange(&mut head, Client::IpxeRom)), Boot::None(NoBoot::NoHttps));
    let loader = |head: &mut Head| match boot_of(&exchange(head, Client::UefiHttp)) {
        Boot::Url { url, .. } => url,
        other => panic!("{other:?}"),
    };
    assert_eq!(loader(&mut head), "https://192.0.2.254:8443/loaders/snponly.efi");
    assert_eq!(loader(&mut secure_head(false, 1)), "http://192.0.2.254:8081/loaders/snponly.efi");
}
