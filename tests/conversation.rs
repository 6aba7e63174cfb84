//! Captures of real firmware and models of clients talk to the head in memory: what each is told, and that
//! each reaches its boot script. No socket, no sleep, virtual time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod site;

use std::fs;
use std::path::Path;

use muster::base::{Mac, Millis, Timestamp};
use muster::engine::dhcp::imagine::Client;
use muster::engine::dhcp::{Answer, Boot, Route, Verdict};
use muster::model::DhcpMode;
use muster::wire::dhcp::Message;
use muster::wire::pcap;
use site::client::Machine;
use site::wire::{Trouble, Wire};
use site::{Head, datagram, network, node, snapshot};

/// One line on one client packet: what came, who spoke, what goes out and where.
fn line(message: &Message, answer: &Answer) -> String {
    let explanation = &answer.explanation;
    let told = format!(
        "{:?} {} {}",
        message.message_type().unwrap(),
        explanation.stage.unwrap().as_str(),
        explanation.firmware.unwrap().as_str()
    );
    let verdict = match &answer.verdict {
        Verdict::Silence(reason) => return format!("{told}: silence, {}", reason.name()),
        Verdict::Reply { route, source, .. } => {
            let route = match route {
                Route::Broadcast => "broadcast".to_owned(),
                Route::Unicast { address, port, .. } => format!("unicast {address}:{port}"),
                Route::Routed(to) => format!("routed {to}"),
            };
            format!("{:?} {route} from {}", explanation.reply.unwrap(), source.port())
        }
    };
    let boot = match explanation.boot.as_ref().unwrap() {
        Boot::File { name, .. } => name.clone(),
        Boot::Url { url, .. } | Boot::Script { url } => url.chars().take(60).collect(),
        Boot::RaspberryPi => "raspberry pi".to_owned(),
        Boot::None(why) => why.name().to_owned(),
    };
    format!("{told}: {verdict}, {boot}")
}

/// Plays the client packets of a capture to a head in its server's place; one line for each.
fn replay(file: &str, mode: DhcpMode, machine: u8, address: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    let frames = pcap::parse(&fs::read(path).unwrap()).unwrap();
    let mut lan = network("lab", "br0", "10.77.0.1/24", "10.77.0.100-10.77.0.199");
    lan.dhcp = mode;
    let machine = node(1, Mac([0x52, 0x54, 0, 0xaa, 0, machine]), &[address]);
    let mut head = Head::new(snapshot(vec![lan], vec![machine]));
    let mut lines = Vec::new();
    for frame in frames {
        let Some((ingress, payload)) = datagram(&frame.bytes, "br0") else { continue };
        if !matches!(ingress.destination.port(), 67 | 4011) || ingress.source_mac.oui() != [0x52, 0x54, 0] {
            continue;
        }
        let message = Message::parse(&payload).unwrap();
        if !message.request {
            continue;
        }
        let answer = head.answer(message.clone(), ingress, frame.at);
        lines.push(line(&message, &answer));
    }
    lines
}

/// Capture, how we speak there, last octet of the machine's MAC, its address, and a line for each packet.
type Replay = (&'static str, DhcpMode, u8, &'static str, &'static [&'static str]);

const SCRIPT: &str = "http://10.77.0.1:8081/boot/script?mac=52-54-00-aa-00-0";

const REPLAYS: [Replay; 12] = [
    (
        "bios.pcap",
        DhcpMode::Authoritative,
        1,
        "10.77.0.102",
        &[
            "Discover iPXE BIOS: Offer unicast 10.77.0.102:68 from 67, script",
            "Discover iPXE BIOS: Offer unicast 10.77.0.102:68 from 67, script",
            "Request iPXE BIOS: Ack unicast 10.77.0.102:68 from 67, script",
        ],
    ),
    (
        "uefipxe.pcap",
        DhcpMode::Authoritative,
        2,
        "10.77.0.103",
        &[
            "Discover firmware UEFI: Offer broadcast from 67, snponly.efi",
            "Request firmware UEFI: Ack broadcast from 67, snponly.efi",
            "Discover iPXE UEFI: Offer broadcast from 67, script",
            "Discover iPXE UEFI: Offer broadcast from 67, script",
            "Request iPXE UEFI: Ack broadcast from 67, script",
            "Discover firmware UEFI HTTP: Offer broadcast from 67, http://10.77.0.1:8081/loaders/snponly.efi",
            "Discover firmware UEFI HTTP: Offer broadcast from 67, http://10.77.0.1:8081/loaders/snponly.efi",
            "Discover firmware UEFI HTTP: Offer broadcast from 67, http://10.77.0.1:8081/loaders/snponly.efi",
            "Discover firmware UEFI HTTP: Offer broadcast from 67, http://10.77.0.1:8081/loaders/snponly.efi",
        ],
    ),
    (
        "uefihttp.pcap",
        DhcpMode::Authoritative,
        2,
        "10.77.0.103",
        &[
            "Discover firmware UEFI HTTP: Offer broadcast from 67, http://10.77.0.1:8081/loaders/snponly.efi",
            "Request firmware UEFI HTTP: Ack broadcast from 67, http://10.77.0.1:8081/loaders/snponly.efi",
            "Discover iPXE UEFI: Offer broadcast from 67, script",
            "Discover iPXE UEFI: Offer broadcast from 67, script",
            "Request iPXE UEFI: Ack broadcast from 67, script",
        ],
    ),
    (
        "sbpxe.pcap",
        DhcpMode::Authoritative,
        2,
        "10.77.0.103",
        &[
            "Discover firmware UEFI: Offer broadcast from 67, snponly.efi",
            "Request firmware UEFI: Ack broadcast from 67, snponly.efi",
        ],
    ),
    (
        "e1_binl.pcap",
        DhcpMode::Authoritative,
        3,
        "10.77.0.150",
        &[
            "Discover firmware UEFI: Offer broadcast from 67, snponly.efi",
            "Request firmware UEFI: Ack broadcast from 67, snponly.efi",
            "Request firmware UEFI: Ack unicast 10.77.0.150:4011 from 4011, snponly.efi",
            "Request firmware UEFI: Ack unicast 10.77.0.150:4011 from 4011, snponly.efi",
            "Request firmware UEFI: Ack unicast 10.77.0.150:4011 from 4011, snponly.efi",
            "Request firmware UEFI: Ack unicast 10.77.0.150:4011 from 4011, snponly.efi",
        ],
    ),
    (
        "e5_proxy4011.pcap",
        DhcpMode::Proxy,
        3,
        "10.77.0.150",
        &[
            "Discover firmware UEFI: Offer broadcast from 67, snponly.efi",
            "Request firmware UEFI: silence, proxy_leases_nothing",
            "Request firmware UEFI: Ack unicast 10.77.0.150:4011 from 4011, snponly.efi",
            "Request firmware UEFI: Ack unicast 10.77.0.150:4011 from 4011, snponly.efi",
            "Request firmware UEFI: Ack unicast 10.77.0.150:4011 from 4011, snponly.efi",
            "Request firmware UEFI: Ack unicast 10.77.0.150:4011 from 4011, snponly.efi",
        ],
    ),
    (
        "e5b_proxy4011_dummy.pcap",
        DhcpMode::Proxy,
        3,
        "10.77.0.150",
        &[
            "Discover firmware UEFI: Offer broadcast from 67, snponly.efi",
            "Request firmware UEFI: silence, proxy_leases_nothing",
            "Request firmware UEFI: Ack unicast 10.77.0.150:4011 from 4011, snponly.efi",
            "Discover iPXE UEFI: Offer broadcast from 67, script",
            "Request iPXE UEFI: silence, proxy_leases_nothing",
            "Discover iPXE UEFI: Offer broadcast from 67, script",
            "Request iPXE UEFI: silence, proxy_leases_nothing",
            "Discover iPXE UEFI: Offer broadcast from 67, script",
            "Request iPXE UEFI: silence, proxy_leases_nothing",
        ],
    ),
    (
        "e6_httpproxy.pcap",
        DhcpMode::Proxy,
        3,
        "10.77.0.150",
        &[
            "Discover firmware UEFI HTTP: Offer broadcast from 67, http://10.77.0.1:8081/loaders/snponly.efi",
            "Request firmware UEFI HTTP: silence, proxy_leases_nothing",
            "Discover iPXE UEFI: Offer broadcast from 67, script",
            "Discover iPXE UEFI: Offer broadcast from 67, script",
            "Discover iPXE UEFI: Offer broadcast from 67, script",
            "Discover iPXE UEFI: Offer broadcast from 67, script",
        ],
    ),
    (
        "e9_forceuni.pcap",
        DhcpMode::Authoritative,
        3,
        "10.77.0.150",
        &[
            "Discover firmware UEFI: Offer broadcast from 67, snponly.efi",
            "Discover firmware UEFI: Offer broadcast from 67, snponly.efi",
            "Discover firmware UEFI: Offer broadcast from 67, snponly.efi",
        ],
    ),
    (
        "e10_nak.pcap",
        DhcpMode::Authoritative,
        3,
        "10.77.0.150",
        &[
            "Discover firmware UEFI: Offer broadcast from 67, snponly.efi",
            "Request firmware UEFI: Ack broadcast from 67, snponly.efi",
        ],
    ),
    (
        "e11_bios_nopxe.pcap",
        DhcpMode::Authoritative,
        4,
        "10.77.0.150",
        &[
            "Discover iPXE BIOS: Offer unicast 10.77.0.150:68 from 67, script",
            "Request iPXE BIOS: Ack unicast 10.77.0.150:68 from 67, script",
        ],
    ),
    (
        "e12_bios_proxy.pcap",
        DhcpMode::Proxy,
        4,
        "10.77.0.150",
        &[
            "Discover iPXE BIOS: Offer broadcast from 67, script",
            "Request iPXE BIOS: silence, proxy_leases_nothing",
        ],
    ),
];

#[test]
fn each_captured_packet_gets_its_verdict() {
    for (file, mode, machine, address, expected) in REPLAYS {
        let script = format!("{SCRIPT}{machine}&uuid");
        let lines: Vec<String> =
            replay(file, mode, machine, address).iter().map(|line| line.replace(&script, "script")).collect();
        assert_eq!(lines, expected, "{file}");
    }
}

/// Boots one machine of these stages over a bad wire, for several seeds.
fn boots(stages: &[Client]) {
    for seed in 1..=20 {
        let machine = Machine::new(site::mac(1), stages, Timestamp(1_000_000));
        let lan = network("boot", "eth1", "198.18.0.1/16", "198.18.8.0-198.18.8.15");
        let trouble = Trouble { lost: 30, doubled: 20, delay_ms: 900 };
        let mut wire = Wire::new(snapshot(vec![lan], vec![]), vec![machine], trouble, seed * 7919);
        let late = wire.run(Millis::from_secs(900));
        assert!(late.is_empty(), "seed {seed}: {stages:?} has no script");
        let machine = wire.machines.values().next().unwrap();
        assert_eq!(machine.abandoned, 0, "seed {seed}: a NAK in SELECTING");
        let url = machine.script.as_ref().unwrap();
        assert!(url.starts_with("http://198.18.0.1:8081/boot/script?mac=00-00-5e-00-53-01&"), "{url}");
    }
}

#[test]
fn a_bios_rom_reaches_its_script_over_a_bad_wire() {
    boots(&[Client::BiosRom, Client::IpxeRom]);
}

#[test]
fn ovmf_reaches_its_script_over_a_bad_wire() {
    boots(&[Client::UefiPxe, Client::Ipxe]);
}

#[test]
fn ovmf_reaches_its_script_by_http_over_a_bad_wire() {
    boots(&[Client::UefiHttp, Client::Ipxe]);
}

#[test]
fn an_ipxe_rom_reaches_its_script_over_a_bad_wire() {
    boots(&[Client::IpxeRom]);
}

#[test]
fn a_foreign_ipxe_is_given_ours_and_reaches_its_script_over_a_bad_wire() {
    boots(&[Client::ForeignIpxe, Client::Ipxe]);
}
