//! The swarm's machines in virtual time: against our own TFTP automaton, against hand-made servers, and against
//! their own seed.
#![allow(clippy::arithmetic_side_effects, reason = "the numbers of a test are small")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::base::{Mac, Timestamp};
use crate::engine::swarm::dice::{self, Throw};
use crate::engine::swarm::report::Histogram;
use crate::engine::swarm::scenario::{Override, Share, Thinks};
use crate::engine::swarm::script::{Run, Want};
use crate::engine::swarm::tftp::{Download, Manner, Outgoing};
use crate::engine::swarm::{
    Dice, Fetch, Fetched, Firmware, Machine, Micros, Moment, Pace, Passed, Reason, Report, Scenario, Source,
    Stage, Step,
};
use crate::engine::tftp::transfer::{Segment, Terms, Transfer};
use crate::wire::dhcp::{Message, MessageType, code};
use crate::wire::tftp::{Packet, data_header, parse};

fn scenario(firmware: Firmware, seed: u64) -> Scenario {
    Scenario {
        nodes: 10,
        seed,
        first_mac: Mac([2, 0x53, 0x57, 0, 0, 0xff]),
        pace: Pace::Within(Micros::from_secs(30)),
        duration: None,
        mix: vec![(firmware, 1)],
        thinks: Thinks::default(),
        loss: Share::default(),
        cut: Share::default(),
        attempts: 2,
        patience: Micros::from_secs(600),
        stages: Stage::ALL
            .into_iter()
            .map(|(stage, _)| stage)
            .filter(|stage| *stage != Stage::Boot)
            .collect(),
        urls: Vec::new(),
    }
}

/// Answers one DHCP message as a plain server would.
fn answer(message: &Message) -> Message {
    let kind = if message.message_type() == Some(MessageType::Discover) { 2 } else { 5 };
    let mut reply = Message { request: false, yiaddr: Ipv4Addr::new(192, 0, 2, 9), ..message.clone() };
    reply.options = Default::default();
    reply.options.set(code::MESSAGE_TYPE, [kind]);
    reply.options.set(code::SERVER_ID, [192, 0, 2, 1]);
    reply.options.set(code::SUBNET_MASK, [255, 255, 255, 0]);
    let class = message.options.text(code::VENDOR_CLASS).unwrap_or_default();
    let file = match (message.options.contains(code::IPXE), class.starts_with("HTTPClient")) {
        (true, _) => "http://192.0.2.1/script?mac=${netX/mac:hexhyp}",
        (_, true) => "http://192.0.2.1/loader.efi",
        _ => "loader.efi",
    };
    reply.options.set(code::BOOT_FILE, file);
    reply.siaddr = Ipv4Addr::new(192, 0, 2, 1);
    reply
}

/// Drives a machine to its end; `serve` plays everything that is fetched. What it passed, and what it fetched.
fn boot(
    scenario: Scenario,
    mut serve: impl FnMut(&Fetch) -> Fetched,
    mut hears: impl FnMut(u64) -> bool,
) -> (Vec<Passed>, Vec<(Stage, String, u64)>) {
    let mut now = Moment::default();
    let mut machine = Machine::new(Arc::new(scenario), 0, 0, now);
    let (mut passed, mut fetches, mut sent, mut pending) = (Vec::new(), Vec::new(), 0, Vec::new());
    for _ in 0..10_000 {
        match machine.poll(now) {
            Step::Over => return (passed, fetches),
            Step::Send(message) => {
                sent += 1;
                if hears(sent) {
                    pending.push(answer(&message));
                }
            }
            Step::Hold(..) | Step::Retried { .. } => {}
            Step::Passed(one) => passed.push(one),
            Step::Fetch(fetch) => {
                now = now.max(fetch.not_before);
                let place = match &fetch.source {
                    Source::Http { path, .. } => path.clone(),
                    Source::Tftp { name, .. } => name.clone(),
                };
                fetches.push((fetch.stage, place, fetch.offset));
                let fetched = serve(&fetch);
                now = now.after(Micros(1000));
                machine.on_fetched(fetched, now);
            }
            Step::Wait => match pending.pop() {
                Some(message) => machine.on_dhcp(&message, now),
                None => now = now.max(machine.next_deadline()),
            },
        }
    }
    panic!("the machine neither boots nor gives up");
}

fn good(body: &str) -> Fetched {
    Fetched { result: Ok(()), bytes: 1000, body: body.into(), retry_after: None, retries: 0 }
}

const SCRIPT: &str = "#!ipxe\necho muster: nid1\n\
    kernel --name kernel http://192.0.2.1/vmlinuz root=live:http://192.0.2.1/root ds=nocloud;s=http://192.0.2.1/ci/ || goto retry\n\
    initrd --name initrd http://192.0.2.1/initrd || goto retry\nboot || goto retry\n\
    :retry\nsleep 2\nchain --autofree --replace http://192.0.2.1/script?try=1 || goto retry\n";

/// What a sound server gives.
fn sound(fetch: &Fetch) -> Fetched {
    match (&fetch.source, fetch.stage) {
        (_, Stage::Script) => good(SCRIPT),
        (Source::Http { path, .. }, Stage::CloudInit) if path.ends_with("/user-data") => {
            good("#cloud-config\nphone_home:\n  url: \"http://192.0.2.1/home\"\n")
        }
        _ => good(""),
    }
}

#[test]
fn each_firmware_goes_the_whole_way_as_the_server_tells() {
    for (firmware, name) in Firmware::ALL {
        let (passed, fetches) = boot(scenario(firmware, 1), sound, |_| true);
        let places: Vec<&str> = fetches.iter().map(|(_, place, _)| place.as_str()).collect();
        let loader: &[&str] = match firmware {
            Firmware::Bios | Firmware::Uefi => &["loader.efi"],
            Firmware::UefiHttp => &["/loader.efi"],
            Firmware::IpxeRom => &[],
        };
        let rest = [
            "/script?mac=02-53-57-00-00-ff",
            "/vmlinuz",
            "/initrd",
            "/root",
            "/ci/network-config",
            "/ci/meta-data",
            "/ci/user-data",
            "/ci/vendor-data",
            "/home",
        ];
        assert_eq!(places, [loader, &rest[..]].concat(), "{name}");
        let boot = passed.last().unwrap();
        assert_eq!((boot.stage, &boot.result), (Stage::Boot, &Ok(())), "{name}");
        let exchanges = passed
            .iter()
            .filter(|one| matches!(one.stage, Stage::Dhcp | Stage::IpxeDhcp | Stage::SystemDhcp));
        assert_eq!(exchanges.count(), if firmware == Firmware::IpxeRom { 2 } else { 3 }, "{name}");
    }
}

#[test]
fn a_broken_root_goes_on_where_it_stopped() {
    let mut breaks = 2;
    let serve = |fetch: &Fetch| {
        if fetch.stage == Stage::Root && breaks > 0 {
            breaks -= 1;
            return Fetched { result: Err(Reason::Broken), ..good("") };
        }
        sound(fetch)
    };
    let (passed, fetches) = boot(scenario(Firmware::Uefi, 1), serve, |_| true);
    let offsets: Vec<u64> = fetches.iter().filter(|one| one.0 == Stage::Root).map(|one| one.2).collect();
    assert_eq!(offsets, [0, 1000, 2000]);
    assert_eq!(passed.iter().filter(|one| one.stage == Stage::Root).count(), 1, "a stage passes once");
    assert_eq!(passed.last().unwrap().result, Ok(()));
}

#[test]
fn a_server_that_asks_for_patience_gets_it_and_a_script_catches_the_rest() {
    let mut refusals = 3;
    let serve = |fetch: &Fetch| {
        if fetch.stage == Stage::Kernel && refusals > 0 {
            refusals -= 1;
            let retry_after = (refusals > 0).then_some(7);
            return Fetched { retry_after, ..Fetched::failed(Reason::Http(503)) };
        }
        sound(fetch)
    };
    let (passed, fetches) = boot(scenario(Firmware::IpxeRom, 1), serve, |_| true);
    let places: Vec<&str> = fetches.iter().take(6).map(|(_, place, _)| place.as_str()).collect();
    // Twice after Retry-After, then the script's own way: a pause and a new script.
    let script = "/script?mac=02-53-57-00-00-ff";
    assert_eq!(places, [script, "/vmlinuz", "/vmlinuz", "/vmlinuz", "/script?try=1", "/vmlinuz"]);
    let boot = passed.last().unwrap();
    assert!(boot.result.is_ok() && boot.took >= Micros::from_secs(16), "{boot:?}");
}

#[test]
fn silence_is_borne_as_firmware_bears_it_and_named() {
    let (passed, _) = boot(scenario(Firmware::Uefi, 1), sound, |_| false);
    // 4 + 8 + 16 + 32 seconds, a pause of 5, and all again.
    let boot = passed.last().unwrap();
    assert_eq!((&boot.result, boot.took), (&Err(Reason::NoOffer), Micros::from_secs(125)));
    let (passed, _) = boot_with_ear_for(3);
    let dhcp = passed.first().unwrap();
    assert_eq!((dhcp.retries, dhcp.took), (2, Micros::from_secs(12)), "third DISCOVER after 4 + 8 s");
}

fn boot_with_ear_for(first: u64) -> (Vec<Passed>, Vec<(Stage, String, u64)>) {
    boot(scenario(Firmware::Uefi, 1), sound, move |count| count >= first)
}

#[test]
fn stages_can_be_left_out_and_urls_replaced() {
    let mut only = scenario(Firmware::Uefi, 1);
    only.stages = vec![Stage::Dhcp];
    let (passed, fetches) = boot(only, sound, |_| true);
    assert_eq!((passed.len(), fetches.len()), (2, 0), "an address and no more");
    let mut files = scenario(Firmware::Uefi, 1);
    files.stages = vec![Stage::Kernel, Stage::Root];
    let url = |stage, url: &str| (stage, url.parse::<Override>().unwrap());
    files.urls = vec![url(Stage::Kernel, "http://192.0.2.7/k"), url(Stage::Root, "http://192.0.2.7/r/{mac}")];
    let (passed, fetches) = boot(files, sound, |_| true);
    let places: Vec<&str> = fetches.iter().map(|(_, place, _)| place.as_str()).collect();
    assert_eq!(places, ["/k", "/r/02:53:57:00:00:ff"]);
    assert_eq!(passed.last().unwrap().result, Ok(()));
}

#[test]
fn the_same_seed_gives_the_same_plan_and_another_does_not() {
    let plan = |seed| {
        let mut scenario = scenario(Firmware::Uefi, seed);
        scenario.mix = vec![(Firmware::Bios, 1), (Firmware::Uefi, 3)];
        let one = |machine| {
            let lost = (0..50).map(|count| scenario.dice(machine).hits(Throw::DhcpOut, count, 20_000));
            (scenario.firmware(machine), scenario.start(machine), lost.collect::<Vec<bool>>())
        };
        (0..2000).map(one).collect::<Vec<_>>()
    };
    assert_eq!(plan(7), plan(7));
    assert_ne!(plan(7), plan(8));
    let bios = plan(7).iter().filter(|one| one.0 == Firmware::Bios).count();
    assert!((400..600).contains(&bios), "{bios} of 2000 at a weight of a quarter");
    let lost: usize = plan(7).iter().map(|one| one.2.iter().filter(|lost| **lost).count()).sum();
    assert!((1700..2300).contains(&lost), "{lost} of 100,000 at 2 %");
    let starts: Vec<Moment> = plan(7).iter().map(|one| one.1).collect();
    assert!(starts.iter().all(|start| *start < Moment(30_000_000)));
    let early = starts.iter().filter(|start| **start < Moment(15_000_000)).count();
    assert!((900..1100).contains(&early), "{early} of 2000 in the first half");
}

#[test]
fn hardware_addresses_count_up_and_back() {
    let first = Mac([2, 0, 0, 0, 0xff, 0xfe]);
    assert_eq!(dice::mac(first, 2), Mac([2, 0, 0, 1, 0, 0]));
    for machine in [0, 1, 2, 70_000] {
        assert_eq!(dice::machine(first, dice::mac(first, machine)), Some(machine));
    }
    assert_eq!(dice::machine(first, Mac([2, 0, 0, 0, 0xff, 0xfd])), None);
}

/// One download of `size` octets between both automata, with losses on the client's side; milliseconds it took.
fn download(manner: Manner, size: usize, loss: u32, seed: u64) -> (Download, u64) {
    let content = vec![7_u8; size];
    let mut now = 0_u64;
    let micros = |now: u64| Moment(now * 1000);
    let mut client = Download::new("f", manner, true, (Dice::new(seed, 1), loss, 1), micros(now));
    let mut server: Option<Transfer<Vec<u8>>> = None;
    while client.outcome().is_none() {
        assert!(now < 3_600_000, "it comes to no end");
        while let Some(packet) = client.poll_packet() {
            let (Outgoing::Request(bytes) | Outgoing::Reply(bytes)) = packet;
            match (parse(&bytes).unwrap(), &mut server) {
                (Packet::Read(request), _) => {
                    let terms = Terms::agree(&request.options, u64::try_from(size).ok(), 1500);
                    server = Some(Transfer::start(content.clone(), terms, Timestamp(now)));
                }
                (Packet::Ack(block), Some(server)) => server.on_ack(block, Timestamp(now)),
                (Packet::Error(code), Some(server)) => server.on_error(code),
                other => panic!("{other:?}"),
            }
        }
        let mut packets = Vec::new();
        if let Some(server) = &mut server {
            server.on_deadline(Timestamp(now));
            while let Some(segment) = server.poll_send() {
                packets.push(match segment {
                    Segment::Options(bytes) => bytes.to_vec(),
                    Segment::Data { block, payload } => [&data_header(block)[..], payload].concat(),
                });
            }
        }
        now += 1;
        packets.iter().for_each(|packet| client.on_packet(packet, micros(now)));
        client.on_timeout(micros(now));
    }
    (client, now)
}

#[test]
fn tftp_brings_every_octet_whatever_the_manner_and_the_loss() {
    for firmware in [Firmware::Bios, Firmware::Uefi, Firmware::IpxeRom] {
        // A multiple of each block's size ends with an empty one; 100 MB wrap the counter's 16 bits.
        for (size, loss) in [(0, 0), (1, 0), (1468 * 1456 * 2, 0), (300_000, 50_000), (100_000_000, 0)] {
            let (client, took) = download(Manner::of(firmware), size, loss, 3);
            assert_eq!(client.outcome(), Some(Ok(())), "{firmware} {size}");
            assert_eq!(client.bytes, u64::try_from(size).unwrap(), "{firmware} {size}");
            assert_eq!(client.retries > 0, loss > 0, "{firmware} {size}: {} retries", client.retries);
            assert!(loss == 0 || took > 100, "losses take time");
        }
    }
}

#[test]
fn tftp_gives_up_on_silence_and_tells_an_error() {
    let mut lone = Download::new("f", Manner::IPXE, false, (Dice::new(1, 1), 0, 1), Moment::default());
    let mut requests = 0;
    while lone.outcome().is_none() {
        requests += std::iter::from_fn(|| lone.poll_packet()).count();
        let deadline = lone.next_deadline().unwrap();
        lone.on_timeout(deadline);
    }
    assert_eq!((requests, lone.outcome()), (6, Some(Err(Reason::Silent))));
    let mut told = Download::new("f", Manner::IPXE, false, (Dice::new(1, 1), 0, 1), Moment::default());
    told.on_packet(&[0, 5, 0, 1, b'x', 0], Moment::default());
    assert_eq!(told.outcome(), Some(Err(Reason::Tftp(1))));
}

#[test]
fn scripts_run_as_ipxe_would() {
    let settings =
        || BTreeMap::from([("platform".to_owned(), "efi".to_owned()), ("ip".to_owned(), "1".to_owned())]);
    let mut run = Run::new(SCRIPT, settings()).unwrap();
    assert_eq!(run.resume(true), Want::Kernel("http://192.0.2.1/vmlinuz".into()));
    assert_eq!(run.resume(false), Want::Sleep(2));
    assert_eq!(run.resume(true), Want::Chain("http://192.0.2.1/script?try=1".into()));
    assert_eq!(run.resume(false), Want::Sleep(2), "a loop with a pause may go on for ever");
    for (text, want) in [
        (
            "#!ipxe\niseq ${platform} pcbios && sanboot --drive 0x80 ||\nexit",
            "it gives the machine back to its firmware",
        ),
        ("#!ipxe\n:a\ngoto a", "it runs in circles"),
        ("#!ipxe\nisset ${netX/ip} || goto nowhere\niseq a b", "a command failed"),
        ("#!ipxe\ngoto nowhere", "a command failed"),
        ("#!ipxe\necho done", "it ends without a boot"),
        ("#!ipxe\nboot", "a command failed"),
    ] {
        assert_eq!(Run::new(text, settings()).unwrap().resume(true), Want::Leave(want), "{text}");
    }
    assert!(Run::new("<html>", settings()).is_none() && Run::new("", settings()).is_none());
}

#[test]
fn percentiles_are_right_to_two_per_cent() {
    let mut histogram = Histogram::default();
    (1..=100_000).for_each(|micros| histogram.add(Micros(micros)));
    for (permille, exact) in [(1, 100_u64), (500, 50_000), (990, 99_000), (1000, 100_000)] {
        let Micros(found) = histogram.permille(permille);
        assert!(found >= exact && found <= exact + exact / 50, "{permille}: {found} for {exact}");
    }
    assert_eq!(Histogram::default().permille(990), Micros(0));
    let mut extreme = Histogram::default();
    extreme.add(Micros(u64::MAX));
    assert_eq!(extreme.permille(500), Micros(u64::MAX));
}

#[test]
fn a_report_keeps_failures_by_stage_and_reason() {
    let mut report = Report::default();
    for result in [Ok(()), Err(Reason::Silent), Err(Reason::Silent), Err(Reason::Http(503))] {
        report.add(Passed { stage: Stage::Boot, took: Micros(5), bytes: 10, retries: 1, result });
    }
    assert_eq!((report.boots(), report.bytes()), ((1, 3), 40));
    assert_eq!(report.failures[&(Stage::Boot, Reason::Silent)], 2);
}
