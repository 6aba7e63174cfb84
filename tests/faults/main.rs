//! Faults that are injected, and what the recorder names. Each row of the table is staged with the head's own
//! answers; the table is kept in `README.md` beside this file (`UPDATE_GOLDEN=1` writes it anew).
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../site/mod.rs"]
mod site;
mod stage;
mod told_apart;

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use muster::engine::dhcp::imagine::Client;
use muster::engine::record::{TftpFate, What, why};
use muster::model::boot_record::{Outcome, Sure};
use muster::model::{BootTarget, DhcpMode, UnknownPolicy};
use muster::wire::dhcp::{MessageType, code};
use stage::{MIB, Stage, for_other, ip, mac, relayed, target};

/// One fault: its number among the thirty field failures (0: beyond them), what is injected, the rules that name it
/// rightly, and the stage after it.
type Row = (u8, &'static str, &'static [&'static str], fn() -> Stage);

const OTHER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

fn other_offers(stage: &mut Stage) {
    let offered = Some(ip(77));
    let what = What::OtherServer { server: OTHER, mac: mac(999), kind: Some(MessageType::Offer), offered };
    stage.saw(mac(1), what);
}

fn asks_again(stage: &mut Stage, client: Client) {
    for pause in [4, 8, 16] {
        stage.wait(pause);
        stage.discover(client, mac(1));
    }
    stage.wait(120);
}

fn linux(params: &str) -> BootTarget {
    let BootTarget::Linux { kernel, initrds, .. } = target() else { unreachable!() };
    BootTarget::Linux { kernel, initrds, params: params.to_owned() }
}

fn with_loader(file: &'static str) -> Stage {
    Stage::with(|_| (), target(), move |node| node.loader = Some(file.to_owned()))
}

const ROWS: &[Row] = &[
    (
        1,
        "another server sends option 60 without 43, so that firmware asks port 4011",
        &["proxy-port"],
        || {
            let mut stage = Stage::new();
            stage.anew();
            let offer = stage.discover(Client::UefiPxe, mac(1)).unwrap();
            other_offers(&mut stage);
            let imagined = stage.imagined(Client::UefiPxe, mac(1));
            stage.send(imagined.request(&offer), imagined.ingress("eth1"));
            stage.wait(1);
            stage.send(imagined.request(&offer), site::unicast(mac(1), "192.0.2.1:4011", "192.0.2.254:4011"));
            stage.wait(200);
            stage
        },
    ),
    (2, "the head's own reply does not leave (its link refuses it)", &["not-sent"], || {
        let mut stage = Stage::new();
        stage.discover(Client::UefiPxe, mac(1));
        stage.saw(mac(1), What::NotSent);
        asks_again(&mut stage, Client::UefiPxe);
        stage
    }),
    (3, "a foreign iPXE comes back after it was handed ours", &["chain-loop"], || {
        let mut stage = Stage::new();
        let address = stage.dora(Client::ForeignIpxe, mac(1));
        stage.tftp(address, "undionly.kpxe", MIB, TftpFate::Done);
        stage.wait(15);
        stage.anew();
        stage.discover(Client::ForeignIpxe, mac(1));
        stage
    }),
    (4, "UEFI HTTP boot never takes the offer", &["http-boot-deaf"], || {
        let mut stage = Stage::new();
        stage.discover(Client::UefiHttp, mac(1));
        asks_again(&mut stage, Client::UefiHttp);
        stage
    }),
    (5, "UEFI HTTP boot takes its address and refuses a plain URL", &["http-refused"], || {
        let mut stage = Stage::new();
        stage.dora(Client::UefiHttp, mac(1));
        stage.wait(200);
        stage
    }),
    (6, "a second DHCP server wins the race", &["other-server"], || {
        let mut stage = Stage::new();
        let offer = stage.discover(Client::UefiPxe, mac(1)).unwrap();
        other_offers(&mut stage);
        let imagined = stage.imagined(Client::UefiPxe, mac(1));
        stage.send(for_other(imagined.request(&offer), OTHER), imagined.ingress("eth1"));
        stage.wait(200);
        stage
    }),
    (7, "firmware ignores offers beside another server's", &["proxy-unheard"], || {
        let mut stage = Stage::with(|network| network.dhcp = DhcpMode::Proxy, target(), |_| ());
        stage.discover(Client::UefiPxe, mac(1));
        asks_again(&mut stage, Client::UefiPxe);
        stage
    }),
    (8, "shim takes its second loader from another server", &["shim-elsewhere"], || {
        let mut stage = with_loader("shimx64.efi");
        stage.loader(mac(1), Client::UefiPxe, "shimx64.efi");
        stage.wait(200);
        stage
    }),
    (
        9,
        "the system gets another address than iPXE had, from a server that goes by client identifiers",
        &["address-changed"],
        || {
            let mut stage = Stage::new();
            stage.started(mac(1));
            let offer = stage.discover(Client::System, mac(1)).unwrap();
            other_offers(&mut stage);
            let imagined = stage.imagined(Client::System, mac(1));
            stage.send(for_other(imagined.request(&offer), OTHER), imagined.ingress("eth1"));
            stage.wait(900);
            stage
        },
    ),
    (10, "spanning tree keeps the port silent; firmware is first heard after 32 s", &["link-late"], || {
        let mut stage = Stage::new();
        let imagined = stage.imagined(Client::UefiPxe, mac(1));
        let mut late = imagined.discover();
        late.secs = 32;
        stage.send(late, imagined.ingress("eth1"));
        stage.wait(200);
        stage
    }),
    (11, "iPXE resets the link, and the port waits for LACP", &["link-lost"], || {
        let mut stage = Stage::new();
        let address = stage.loader(mac(1), Client::UefiPxe, "snponly.efi");
        stage.tftp(address, "autoexec.ipxe", 300, TftpFate::Done);
        stage.wait(200);
        stage
    }),
    (12, "iPXE's own driver hangs in \"initialising devices\"", &["driver-hangs"], || {
        let mut stage = with_loader("ipxe.efi");
        stage.loader(mac(1), Client::UefiPxe, "ipxe.efi");
        stage.wait(200);
        stage
    }),
    (13, "a loader for arm64 is set for an x86_64 machine", &["wrong-arch"], || {
        let mut stage = with_loader("ipxe-arm64.efi");
        stage.loader(mac(1), Client::UefiPxe, "ipxe-arm64.efi");
        stage.wait(200);
        stage
    }),
    (14, "Secure Boot refuses iPXE", &["secure-boot"], || {
        let mut stage = Stage::new();
        stage.loader(mac(1), Client::UefiPxe, "snponly.efi");
        stage.wait(8);
        stage.anew();
        stage.discover(Client::UefiPxe, mac(1));
        stage
    }),
    (15, "shim refuses a revoked GRUB", &["sbat-revoked"], || {
        let mut stage = with_loader("shimx64.efi");
        let address = stage.loader(mac(1), Client::UefiPxe, "shimx64.efi");
        stage.tftp(address, "grubx64.efi", 2 * MIB, TftpFate::Done);
        stage.tftp(address, "mmx64.efi", 0, TftpFate::NotFound);
        stage.wait(200);
        stage
    }),
    (16, "a firewall drops answers from ports other than 69", &["tftp-blocked"], || {
        let mut stage = Stage::new();
        let address = stage.dora(Client::UefiPxe, mac(1));
        for _ in 0..3 {
            stage.wait(10);
            stage.tftp(address, "snponly.efi", 0, TftpFate::Lost { opened: false });
        }
        stage.wait(200);
        stage
    }),
    (17, "a size probe, which is no error", &["up"], || {
        let mut stage = Stage::new();
        stage.up(mac(1));
        stage
    }),
    (18, "the path's MTU is smaller than TFTP's blocks", &["tftp-mtu"], || {
        let mut stage = Stage::new();
        let address = stage.dora(Client::UefiPxe, mac(1));
        for _ in 0..2 {
            stage.wait(10);
            stage.tftp(address, "snponly.efi", 0, TftpFate::Lost { opened: true });
        }
        stage.wait(200);
        stage
    }),
    (19, "TFTP at 100 kB/s: slow, and no failure", &["up"], || {
        let mut stage = Stage::new();
        let address = stage.dora(Client::UefiPxe, mac(1));
        let duration = muster::base::Millis(10_000);
        let seen = muster::engine::record::TftpSeen {
            file: "snponly.efi".to_owned(),
            bytes: MIB,
            duration,
            fate: TftpFate::Done,
        };
        stage.saw_at(address, What::Tftp(seen));
        stage.wait(3);
        let address = stage.dora(Client::Ipxe, mac(1));
        stage.script(mac(1), 0);
        stage.file(address, "debian/vmlinuz", MIB, MIB);
        stage.saw_at(address, What::PhoneHome);
        stage
    }),
    (20, "a virtual card leaves UDP checksums unfinished", &["damaged-frames"], || {
        let mut stage = Stage::new();
        for pause in [4, 8, 16, 120] {
            stage.saw(mac(1), What::Damaged("UDP checksum"));
            stage.wait(pause);
        }
        stage
    }),
    (21, "the relay loses the head's offers", &["relay-lost-reply"], || {
        let mut stage = Stage::new();
        for pause in [4, 8, 16, 120] {
            let (message, ingress) = relayed(stage.imagined(Client::UefiPxe, mac(1)).discover(), ip(250));
            stage.send(message, ingress).unwrap();
            stage.wait(pause);
        }
        stage
    }),
    (22, "iPXE meets a certificate whose root it lacks", &["tls-root-unknown"], || {
        let mut stage = Stage::new();
        stage.loader(mac(1), Client::UefiPxe, "snponly.efi");
        let address = stage.dora(Client::Ipxe, mac(1));
        stage.saw_at(address, What::Asked("ca.ipxe.org.".to_owned()));
        stage.wait(200);
        stage
    }),
    (23, "an initrd of 900 MiB does not fit", &["initrd-too-big"], || {
        let mut stage = Stage::new();
        let address = stage.scripted(mac(1));
        stage.file(address, "debian/vmlinuz", 8 * MIB, 8 * MIB);
        stage.file(address, "debian/initrd.img", 900 * MIB, 900 * MIB);
        stage.wait(1000);
        stage
    }),
    (24, "a UEFI kernel is not told of its initrd", &["initrd-not-named-panic"], || {
        let mut stage = Stage::new();
        let address = stage.loader(mac(1), Client::UefiPxe, "snponly.efi");
        stage.dora(Client::Ipxe, mac(1));
        // A script of another tool: the same target without the word.
        let request = muster::engine::boot::Request {
            mac: Some(mac(1)),
            address: None,
            uuid: None,
            arch: None,
            attempt: 0,
        };
        let decision = muster::engine::boot::decide(&stage.snapshot, &request);
        let script = "#!ipxe\nkernel http://192.0.2.254:8081/images/debian/vmlinuz root=/dev/ram0\nboot\n";
        let seen = muster::engine::record::ScriptSeen::of(&decision, Some(script), 200, 0);
        stage.saw(mac(1), What::Script(Box::new(seen)));
        stage.file(address, "debian/vmlinuz", 8 * MIB, 8 * MIB);
        stage.file(address, "debian/initrd.img", 40 * MIB, 40 * MIB);
        stage.wait(3);
        stage.log(address, "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)");
        stage
    }),
    (25, "the system asks by the port that did not boot", &["wrong-port"], || {
        let mut stage = Stage::new();
        stage.started(mac(1));
        stage.dora(Client::System, mac(101));
        stage.wait(900);
        stage
    }),
    (26, "the root breaks off at the same place each time: too little memory", &["cut-off-memory"], || {
        let mut stage = Stage::new();
        let address = stage.started(mac(1));
        stage.dora(Client::System, mac(1));
        for _ in 0..3 {
            stage.wait(20);
            stage.file(address, "debian/rootfs.squashfs", 512 * MIB, 800 * MIB);
        }
        stage.wait(900);
        stage
    }),
    (27, "cloud-init does not find its data source, and its siblings do", &["no-cloud-init"], || {
        let mut stage = Stage::new();
        stage.up(mac(2));
        stage.rooted(mac(1));
        stage.wait(1000);
        stage
    }),
    (28, "nothing is heard at all", &["never-heard"], Stage::new),
    (29, "an InfiniBand port asks under an address that nobody declared", &["infiniband-unknown"], || {
        let mut stage = Stage::new();
        for pause in [4, 8, 16, 120] {
            let imagined = stage.imagined(Client::UefiPxe, mac(1));
            let mut message = imagined.discover();
            (message.htype, message.hlen, message.chaddr) = (32, 0, [0; 16]);
            message.options.set(code::CLIENT_ID, [0x20, 0, 0, 0x5e, 0xff, 0xfe, 0, 0x53, 0x99]);
            stage.send(message, imagined.ingress("eth1"));
            stage.wait(pause);
        }
        stage
    }),
    (30, "firmware asks for the loader's size by HTTP and goes no further", &["head-only"], || {
        let mut stage = Stage::new();
        let address = stage.dora(Client::UefiHttp, mac(1));
        let what = What::Loader { file: "snponly.efi".to_owned(), status: 200, bytes: 0, head: true };
        stage.saw_at(address, what);
        stage.wait(200);
        stage
    }),
    (0, "the kernel that is named is not there", &["kernel-missing"], || {
        let mut stage = Stage::new();
        let address = stage.scripted(mac(1));
        let what = What::FileRefused { path: "debian/vmlinuz".to_owned(), status: 404 };
        stage.saw_at(address, what);
        stage
    }),
    (0, "the initrd is cut off, and the machine gives up", &["initrd-cut-off"], || {
        let mut stage = Stage::new();
        let address = stage.scripted(mac(1));
        stage.file(address, "debian/vmlinuz", 8 * MIB, 8 * MIB);
        stage.file(address, "debian/initrd.img", 11 * MIB, 40 * MIB);
        stage.wait(400);
        stage
    }),
    (0, "the parameter ip= is malformed", &["bad-ip-word"], || {
        let mut stage =
            Stage::with(|_| (), linux("root=live:{images}/debian/rootfs.squashfs ip=dchp"), |_| ());
        stage.started(mac(1));
        stage.wait(1000);
        stage
    }),
    (0, "the initrd lacks the card's driver; nothing is logged", &["kernel-silent"], || {
        let mut stage = Stage::new();
        stage.started(mac(1));
        stage.wait(1000);
        stage
    }),
    (0, "init=/nonexistent, with netconsole", &["panic-no-init"], || {
        let mut stage = Stage::new();
        let address = stage.rooted(mac(1));
        stage.log(address, "Kernel panic - not syncing: Requested init /nonexistent failed (error -2).");
        stage
    }),
    (0, "cloud-init cannot read its YAML", &["cloud-init-error"], || {
        let mut stage = Stage::new();
        let address = stage.rooted(mac(1));
        stage.document(address, "meta-data");
        stage.document(address, "user-data");
        stage.log(
            address,
            "cloud-init[712]: util.py[WARNING]: Failed loading yaml blob. Invalid format at line 3",
        );
        stage
    }),
    (0, "an image does not match its digest on the node", &["digest-wrong"], || {
        let mut stage = Stage::new();
        let address = stage.started(mac(1));
        stage.log(address, "muster-root: rootfs.squashfs does not match its digest");
        stage
    }),
    (0, "a declared node asks by a port that is not declared", &["second-mac"], || {
        let mut stage = Stage::new();
        let mut imagined = stage.imagined(Client::UefiPxe, mac(1));
        imagined.mac = mac(77);
        imagined.uuid = Some("11223344-5566-7788-99aa-bbccddeeff00".parse().unwrap());
        stage.send(imagined.discover(), imagined.ingress("eth1"));
        stage
    }),
    (0, "iPXE cannot start the kernel (wrong architecture)", &["kernel-not-started"], || {
        let mut stage = Stage::new();
        let address = stage.scripted(mac(1));
        for attempt in 1..3 {
            stage.file(address, "debian/vmlinuz", 8 * MIB, 8 * MIB);
            stage.file(address, "debian/initrd.img", 40 * MIB, 40 * MIB);
            stage.wait(4);
            stage.script(mac(1), attempt);
        }
        stage
    }),
    (0, "somebody resets the machine some minutes after its loader came", &["loader-silent"], || {
        let mut stage = Stage::new();
        stage.loader(mac(1), Client::UefiPxe, "snponly.efi");
        stage.now = stage.now + muster::base::Millis::from_secs(300);
        stage.anew();
        stage.discover(Client::UefiPxe, mac(1));
        stage
    }),
    (0, "the pool is empty", &["pool-empty"], || {
        let mut stage = Stage::with(|network| network.ranges.clear(), target(), |_| ());
        stage.discover(Client::UefiPxe, mac(77));
        stage
    }),
    (0, "an undeclared machine on a network that ignores them", &["unknown-ignored"], || {
        let mut stage = Stage::with(|network| network.unknown = UnknownPolicy::Ignore, target(), |_| ());
        stage.discover(Client::UefiPxe, mac(77));
        stage
    }),
    (0, "the system starts, crashes and restarts before it is up", &["restarted"], || {
        let mut stage = Stage::new();
        stage.started(mac(1));
        stage.dora(Client::System, mac(1));
        stage.wait(30);
        stage.anew();
        stage.discover(Client::UefiPxe, mac(1));
        stage
    }),
];

/// Which machine a row is about: the one whose attempt was told of.
fn named(stage: &Stage) -> (String, Sure, Vec<String>) {
    let failed = stage.book.latest().filter(|record| record.mac != mac(2)).filter_map(|record| {
        let (rule, sure, _) = stage.verdict(record.mac)?;
        Some((
            rule,
            sure,
            record.verdict.as_ref().map(|verdict| verdict.evidence.clone()).unwrap_or_default(),
        ))
    });
    if let Some(found) = failed.max() {
        return found;
    }
    match stage.book.of(mac(1)) {
        None => (why::never("nid001").rule.unwrap(), Sure::Possible, Vec::new()),
        Some((record, _)) => (record.outcome.to_string(), Sure::Certain, Vec::new()),
    }
}

#[test]
fn the_recorder_names_what_was_injected() {
    let mut table = "\
# What was injected, and what the recorder names

Written by `cargo test --test faults` (`UPDATE_GOLDEN=1` writes it anew). Numbers are those of the thirty failures of
the field that the rules of `src/engine/record/rules` began with; a dash is one more.

DHCP answers and scripts are the head's own; what machines do is a model of each failure, made by whoever wrote the
rules. The table shows that the evidence leads to the name, not that real firmware leaves just this evidence.

| # | injected | named | how sure | right |
|---|---|---|---|---|
"
    .to_owned();
    let (mut right, mut confidently_wrong) = (0, Vec::new());
    for (number, injected, wanted, staged) in ROWS {
        let stage = staged();
        let (rule, sure, _) = named(&stage);
        let fits = wanted.contains(&rule.as_str());
        if !fits && sure != Sure::Possible {
            confidently_wrong.push(format!("{injected}: {rule} ({sure})"));
        }
        right += usize::from(fits && *number > 0);
        let shown = if *number > 0 { number.to_string() } else { "–".to_owned() };
        writeln!(table, "| {shown} | {injected} | {rule} | {sure} | {} |", if fits { "yes" } else { "no" })
            .unwrap();
    }
    writeln!(table, "\n{right} of 30 right, {} confidently wrong.", confidently_wrong.len()).unwrap();
    println!("{table}");
    assert!(confidently_wrong.is_empty(), "{confidently_wrong:#?}");
    assert!(right >= 25, "{table}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/README.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), table, "UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn a_verdict_is_told_in_five_lines_with_evidence_and_siblings() {
    let mut stage = Stage::new();
    for number in 3..=7 {
        stage.up(mac(number));
    }
    let address = stage.scripted(mac(1));
    stage.saw_at(address, What::FileRefused { path: "debian/vmlinuz".to_owned(), status: 404 });
    let why = stage.why(mac(1));
    assert_eq!((why.who.as_str(), why.outcome), ("nid001", Some(Outcome::Failed)));
    assert_eq!(why.step, "fetching the kernel");
    assert!(why.evidence[0].contains("debian/vmlinuz: status 404"), "{:?}", why.evidence);
    assert!(why.evidence.iter().any(|line| line.starts_with("last completed: fetching the boot script")));
    assert_eq!(why.siblings, "of 5 siblings 5 are up");
    assert!(!why.cause.is_empty() && !why.check.is_empty());
    let causes = why::grouped(stage.book.latest());
    assert_eq!((causes.len(), causes[0].who.as_slice()), (1, ["nid001".to_owned()].as_slice()));
}

#[test]
fn a_whole_rack_is_one_cause() {
    let mut stage = Stage::new();
    for number in 1..=12 {
        stage.loader(mac(number), Client::UefiPxe, "snponly.efi");
        stage.wait(5);
        stage.anew();
        stage.discover(Client::UefiPxe, mac(number));
    }
    // Each is at its next attempt; what is asked about is the one that failed.
    let before: Vec<_> = (1..=12).filter_map(|number| stage.book.of(mac(number))?.1).collect();
    let causes = why::grouped(before.into_iter());
    assert_eq!((causes.len(), causes[0].rule.as_str(), causes[0].who.len()), (1, "secure-boot", 12));
}
