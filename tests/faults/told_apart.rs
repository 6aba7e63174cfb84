//! Which packets are of one attempt, and when another one begins.

use muster::base::{Millis, Timestamp};
use muster::engine::dhcp::imagine::Client;
use muster::engine::record::{Book, Keep, TftpFate, What, Write};
use muster::model::UnknownPolicy;
use muster::model::boot_record::{Outcome, Phase, Sign};

use crate::stage::{MIB, Stage, ip, mac, target};

#[test]
fn a_boot_from_firmware_to_phone_home_is_one_attempt_with_every_step() {
    let mut stage = Stage::new();
    stage.up(mac(1));
    let record = stage.record(mac(1));
    assert_eq!(record.outcome, Outcome::Up, "{record:#?}");
    for phase in [
        Phase::Firmware,
        Phase::Loader,
        Phase::Ipxe,
        Phase::Script,
        Phase::Kernel,
        Phase::Initrd,
        Phase::System,
        Phase::Root,
        Phase::CloudInit,
        Phase::PhoneHome,
    ] {
        assert!(record.did(phase), "{phase}: {:#?}", record.steps);
    }
    assert_eq!(stage.book.starts(mac(1)).len(), 1);
    let kernel = record.steps.iter().find(|step| step.phase == Phase::Kernel).unwrap();
    assert_eq!((kernel.bytes, kernel.of), (8 * MIB, 8 * MIB));
    assert_eq!((record.node.as_deref(), record.addresses.as_slice()), (Some("nid001"), [ip(1)].as_slice()));
    assert_eq!(record.verdict, None);
}

#[test]
fn renewals_of_a_system_that_is_up_are_counted_and_begin_nothing() {
    let mut stage = Stage::new();
    stage.up(mac(1));
    let steps = stage.record(mac(1)).steps.clone();
    for _ in 0..5 {
        stage.wait(1800);
        let imagined = stage.imagined(Client::System, mac(1));
        let mut renewal = imagined.discover();
        renewal.options.set(muster::wire::dhcp::code::MESSAGE_TYPE, [3]);
        renewal.ciaddr = ip(1);
        stage.send(renewal, crate::site::unicast(mac(1), "192.0.2.1:68", "192.0.2.254:67")).unwrap();
    }
    let record = stage.record(mac(1));
    assert_eq!((record.renewals, record.outcome), (5, Outcome::Up));
    assert_eq!(record.steps, steps);
    assert_eq!(stage.book.starts(mac(1)).len(), 1);
}

#[test]
fn a_reboot_begins_another_attempt_and_the_one_before_stays_up() {
    let mut stage = Stage::new();
    stage.up(mac(1));
    stage.wait(3600);
    stage.up(mac(1));
    assert_eq!(stage.book.starts(mac(1)).len(), 2);
    let writes = stage.book.poll_writes(stage.now, usize::MAX);
    let ups =
        writes.iter().filter(|write| matches!(write, Write::Put(record) if record.outcome == Outcome::Up));
    assert_eq!(ups.count(), 2, "{writes:#?}");
}

#[test]
fn repetitions_of_one_exchange_are_one_attempt() {
    let mut stage = Stage::new();
    stage.discover(Client::UefiPxe, mac(1));
    for pause in [4, 8, 16] {
        stage.wait(pause);
        stage.discover(Client::UefiPxe, mac(1));
    }
    let record = stage.record(mac(1));
    assert_eq!((stage.book.starts(mac(1)).len(), record.count(Sign::SameExchange)), (1, 3));
    assert_eq!(record.steps[0].tries, 4);
}

#[test]
fn firmware_that_tries_pxe_and_then_http_is_one_attempt_with_both_ways() {
    let mut stage = Stage::new();
    stage.discover(Client::UefiPxe, mac(1));
    stage.wait(30);
    stage.anew();
    stage.discover(Client::UefiHttp, mac(1));
    let record = stage.record(mac(1));
    assert_eq!(stage.book.starts(mac(1)).len(), 1);
    let ways: Vec<&str> = record.steps.iter().map(|step| step.what.as_str()).collect();
    assert_eq!(ways, ["dhcp", "dhcp, HTTP boot"]);
}

#[test]
fn firmware_that_goes_on_by_its_second_port_has_not_failed_by_the_first() {
    let mut stage = Stage::new();
    stage.discover(Client::UefiPxe, mac(1));
    stage.wait(20);
    stage.up(mac(101));
    stage.wait(600);
    assert_eq!(stage.record(mac(1)).outcome, Outcome::Dropped);
    assert_eq!(stage.record(mac(101)).outcome, Outcome::Up);
    let records = [stage.record(mac(1)), stage.record(mac(101))];
    assert_eq!(muster::engine::record::why::telling(records.into_iter()).unwrap().mac, mac(101));
}

#[test]
fn a_machine_that_was_slow_is_not_called_dead() {
    let mut stage = Stage::new();
    let address = stage.started(mac(1));
    stage.wait(1000);
    assert_eq!(stage.record(mac(1)).outcome, Outcome::Failed);
    stage.dora(Client::System, mac(1));
    let record = stage.record(mac(1));
    assert_eq!((record.outcome, record.verdict.as_ref()), (Outcome::UnderWay, None), "it lives");
    stage.file(address, "debian/rootfs.squashfs", MIB, MIB);
    stage.saw_at(address, What::PhoneHome);
    assert_eq!(stage.record(mac(1)).outcome, Outcome::Up);
}

#[test]
fn an_image_that_never_phones_home_is_not_called_failed() {
    let mut stage = Stage::new();
    let address = stage.rooted(mac(1));
    stage.document(address, "meta-data");
    stage.document(address, "user-data");
    stage.wait(4000);
    let record = stage.record(mac(1));
    assert_eq!((record.outcome, record.verdict.as_ref()), (Outcome::Settled, None));
    // Of the same image another one does: from then on silence means something.
    stage.up(mac(2));
    let address = stage.rooted(mac(3));
    stage.document(address, "meta-data");
    stage.document(address, "user-data");
    stage.wait(4000);
    let verdict = stage.record(mac(3)).verdict.as_ref().map(|verdict| verdict.rule.as_str());
    assert_eq!(verdict, Some("no-phone-home"));
}

#[test]
fn a_download_that_goes_on_is_waited_for() {
    let mut stage = Stage::new();
    let address = stage.scripted(mac(1));
    for _ in 0..60 {
        stage.now = stage.now + Millis::from_secs(30);
        stage.book.on_deadline(stage.now, |busy| busy == address);
    }
    assert_eq!(stage.record(mac(1)).outcome, Outcome::UnderWay);
    stage.wait(200);
    assert_eq!(stage.record(mac(1)).outcome, Outcome::Failed);
}

#[test]
fn siblings_teach_how_long_a_step_takes() {
    let mut stage = Stage::new();
    for _ in 0..3 {
        for number in 2..=12 {
            stage.up(mac(number));
            stage.wait(5);
        }
    }
    stage.started(mac(1));
    // Thirty-three siblings took fifteen seconds: three times that, and not the default of five minutes.
    stage.wait(60);
    assert_eq!(stage.record(mac(1)).outcome, Outcome::Failed);
}

#[test]
fn records_of_a_former_run_go_on_and_admit_what_they_missed() {
    let mut stage = Stage::new();
    stage.started(mac(1));
    stage.book.hurry();
    let writes = stage.book.poll_writes(stage.now, usize::MAX);
    let records = writes.into_iter().filter_map(|write| match write {
        Write::Put(record) => Some((*record, Vec::new())),
        Write::Forget(..) => None,
    });
    stage.wait(60);
    stage.book = Book::new(Keep::default(), records.collect(), stage.now);
    stage.wait(2000);
    let record = stage.record(mac(1));
    assert_eq!(record.outcome, Outcome::Failed);
    assert!(record.saw(Sign::Gap));
    let verdict = record.verdict.as_ref().unwrap();
    assert_eq!(
        verdict.sure,
        muster::model::boot_record::Sure::Possible,
        "it may have come while nobody looked"
    );
}

#[test]
fn attempts_are_kept_by_count_and_by_age() {
    let mut stage = Stage::new();
    let keep = Keep { attempts: 3, age: Millis::from_secs(86_400) };
    stage.book = Book::new(keep, Vec::new(), stage.now);
    let mut first = Timestamp(0);
    for number in 0..5 {
        if number == 0 {
            first = stage.now;
        }
        stage.up(mac(1));
        stage.wait(10);
    }
    assert_eq!(stage.book.starts(mac(1)).len(), 3);
    let writes = stage.book.poll_writes(stage.now, usize::MAX);
    let gone: Vec<&Write> = writes.iter().filter(|write| matches!(write, Write::Forget(..))).collect();
    assert_eq!(gone.len(), 2);
    assert!(writes.contains(&Write::Forget(mac(1), first)));
    stage.now = stage.now + Millis::from_secs(2 * 86_400);
    stage.book.sweep(stage.now);
    assert!(stage.book.of(mac(1)).is_none());
    assert_eq!(stage.book.poll_writes(stage.now, usize::MAX).len(), 3);
}

#[test]
fn a_flood_of_invented_machines_pushes_no_declared_one_out() {
    use muster::base::limits::RECORD_STRANGERS_MAX;
    let mut stage = Stage::new();
    stage.up(mac(1));
    for number in 0..u16::try_from(RECORD_STRANGERS_MAX * 2).unwrap() {
        let invented = muster::base::Mac([2, 7, 7, 7, number.to_be_bytes()[0], number.to_be_bytes()[1]]);
        stage.saw(invented, What::Damaged("UDP checksum"));
        if number % 100 == 0 {
            stage.wait(1);
        }
    }
    assert_eq!(stage.record(mac(1)).outcome, Outcome::Up);
    assert!(stage.book.latest().count() <= RECORD_STRANGERS_MAX + 1);
}

#[test]
fn a_loader_that_came_whole_is_not_taken_back_by_a_late_probe() {
    let mut stage = Stage::new();
    let address = stage.loader(mac(1), Client::UefiPxe, "snponly.efi");
    stage.tftp(address, "snponly.efi", 0, TftpFate::Lost { opened: false });
    assert!(stage.record(mac(1)).did(Phase::Loader));
}

#[test]
fn whoever_looks_at_a_script_by_hand_begins_no_boot() {
    let mut stage = Stage::new();
    stage.up(mac(1));
    stage.wait(3600);
    let (record, starts) = (stage.record(mac(1)).clone(), stage.book.starts(mac(1)));
    let seen = muster::engine::record::ScriptSeen {
        status: 200,
        attempt: 0,
        agent: Some("curl/8.5.0".to_owned()),
        node: Some("nid001".to_owned()),
        rule: "all nodes".to_owned(),
        image: None,
        target: muster::engine::record::Target::Hold,
    };
    stage.saw(mac(1), What::Script(Box::new(seen)));
    stage.log(ip(1), "systemd[1]: Started something.");
    assert_eq!((stage.record(mac(1)), stage.book.starts(mac(1))), (&record, starts));
}

#[test]
fn a_machine_that_restarts_by_its_other_port_has_failed_by_the_first_and_boots_by_the_second() {
    let mut stage = Stage::new();
    stage.started(mac(1));
    stage.wait(20);
    stage.scripted(mac(101));
    assert_eq!(stage.record(mac(1)).outcome, Outcome::Failed);
    assert!(stage.record(mac(101)).did(Phase::Script), "{:#?}", stage.record(mac(101)).steps);
    assert_eq!(stage.record(mac(101)).outcome, Outcome::UnderWay);
}

#[test]
fn what_a_machine_got_over_is_not_held_against_it() {
    let mut stage = Stage::with(|network| network.unknown = UnknownPolicy::Ignore, target(), |_| ());
    stage.discover(Client::UefiPxe, mac(77));
    assert_eq!(stage.record(mac(77)).outcome, Outcome::Failed);
    // Somebody declares it, and it goes on.
    let mut inventory = muster::model::Inventory::clone(&stage.snapshot.inventory);
    let node = crate::site::node(77, mac(77), &["192.0.2.77"]);
    inventory.apply(&muster::model::Change::PutNode(std::sync::Arc::new(node)));
    stage.snapshot = stage.snapshot.advance(muster::model::Revision(2), std::sync::Arc::new(inventory));
    stage.wait(10);
    stage.dora(Client::UefiPxe, mac(77));
    let record = stage.record(mac(77));
    assert_eq!((record.outcome, record.verdict.as_ref()), (Outcome::UnderWay, None));
    // A machine that another server's offer was sent to took ours, and fails much later for another reason.
    let other = What::OtherServer { server: ip(9), mac: mac(999), kind: None, offered: Some(ip(88)) };
    stage.saw(mac(77), other);
    stage.tftp(ip(77), "snponly.efi", MIB, TftpFate::Done);
    stage.wait(400);
    let (rule, sure, _) = stage.verdict(mac(77)).unwrap();
    assert_eq!((rule.as_str(), sure), ("loader-silent", muster::model::boot_record::Sure::Possible));
}
