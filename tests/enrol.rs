//! TPMs from their first sight to the secrets: a real daemon, its own command line, and machines whose TPM is swtpm.
//! The outcomes are those of the catalogue: T19, T20, T30, T32, T36 to T38 at the level of the routes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "enrol/site.rs"]
mod site;
mod swtpm;

use std::fs;

use muster::base::Level;
use muster::engine::attest::binding;
use serde_json::{Value, json};

use crate::site::{EK_P384, EK_RSA, Machine, Measured, Site, given};

#[test]
fn a_tpm_waits_is_approved_by_its_code_and_gets_what_asks_for_it_also_after_a_restart() {
    let mut site = Site::start("");
    let mut machine = Machine::new(1, EK_RSA);
    let code = machine.code();
    let boot = machine.boot(&site);
    assert_eq!(given(&boot.contents), ["munge"], "no TPM is known yet");
    let (status, told) = machine.attest(&site, &boot).unwrap_err();
    assert_eq!(status, 403);
    assert!(told.contains(&code), "the node prints its code: {told}");
    let waits = site.tpm("nid001");
    assert_eq!((waits["state"].as_str(), waits["code"].as_str()), (Some("pending"), Some(&*code)));
    assert_eq!((waits["vendor"].as_str(), waits["address"].as_str()), (Some("IBM"), Some("127.0.0.11")));
    let why = site.muster(&["trust", "show", "nid001"]);
    assert!(why.contains(&format!("muster trust tpm approve nid001 --code {code}")), "{why}");

    // What waits is on the disk.
    site.kill();
    site.restart();
    let wrong = site.refused(&["trust", "tpm", "approve", "nid001", "--code", "AAAA-BBBB-CCCC-DDDD"]);
    assert!(wrong.contains("the code is another one"), "{wrong}");
    site.refused(&["trust", "tpm", "approve", "rack"]); // a group is @rack
    let unasked = site.refused(&["trust", "tpm", "approve", "@rack"]);
    assert!(unasked.contains(&code) && unasked.contains("say --yes"), "{unasked}");
    assert_eq!(site.tpm("nid001")["state"], "pending");
    site.muster(&["trust", "tpm", "approve", "nid001", "--code", &code.to_lowercase()]);
    let enrolled = site.tpm("nid001");
    assert_eq!((enrolled["state"].as_str(), enrolled["how"].as_str()), (Some("enrolled"), Some("approved")));

    site.kill();
    site.restart();
    let mut machine = machine.reset();
    let boot = machine.boot(&site);
    assert_eq!(given(&boot.contents), [""; 0], "its TPM is known and must answer first");
    let needs: Vec<Level> = boot.contents.choice.withheld.iter().map(|one| one.needs).collect();
    assert_eq!(needs, [Level::TpmPcr, Level::Tpm, Level::Tpm], "deep, host-key, munge");
    let honest = machine.honest(&boot);
    machine.measure(&boot, &honest);
    let contents = machine.attest(&site, &boot).unwrap();
    assert_eq!(given(&contents), ["deep", "host-key", "munge"], "level 2p: {}", site.tpm("nid001"));
    assert!(contents.choice.items.iter().any(|item| item.id == "cloud-init-jwt"));
    assert_eq!(site.tpm("nid001")["level"], "2p");

    // T32: what was used up is on the disk; T30: and in the TPM.
    site.kill();
    site.restart();
    let again = machine.boot(&site);
    let (status, told) = machine.attest(&site, &again).unwrap_err();
    assert!(status == 403 && told.contains("has had its secrets; the node must boot anew"), "{told}");
    let mut machine = machine.reset();
    let next = machine.boot(&site);
    let honest = machine.honest(&next);
    machine.measure(&next, &honest);
    machine.tpm.measure(15, binding::latch());
    let (status, told) = machine.attest(&site, &next).unwrap_err();
    assert!(status == 403 && told.contains("PCR 15 is not zero"), "{told}");
    let mut machine = machine.reset();
    let last = machine.boot(&site);
    let honest = machine.honest(&last);
    machine.measure(&last, &honest);
    assert_eq!(given(&machine.attest(&site, &last).unwrap()).len(), 3);
}

#[test]
fn t19_t20_another_tpm_in_a_nodes_place_and_one_tpm_for_two_nodes_are_refused_with_alarms() {
    let site = Site::start("");
    let (mut own, mut other) = (Machine::new(1, EK_RSA), Machine::new(1, EK_P384));
    let list = site.folder.path().join("list.csv");
    fs::write(&list, format!("node,ek_fp\nnid001,{}\n", own.print())).unwrap();
    let list = list.to_str().unwrap();
    site.muster(&["trust", "tpm", "preload", list, "--dry-run"]);
    assert_eq!(site.tpm("nid001")["state"], "none");
    site.muster(&["trust", "tpm", "preload", list]);
    assert_eq!(
        (site.tpm("nid001")["state"].clone(), site.tpm("nid001")["how"].clone()),
        (json!("enrolled"), json!("listed"))
    );

    let boot = other.boot(&site);
    assert_eq!(given(&boot.contents), [""; 0], "whoever took its address gets nothing");
    let (status, told) = other.attest(&site, &boot).unwrap_err();
    assert_eq!((status, told.as_str()), (403, "ek-mismatch: node nid001 is enrolled with another TPM"));
    let flag = site.tpm("nid001")["flag"].as_str().unwrap().to_owned();
    assert!(flag.contains("another TPM than the enrolled one") && flag.contains(&other.code()), "{flag}");

    let mut copy = Machine::new(2, EK_RSA);
    let boot = copy.boot(&site);
    let (status, told) = copy.attest(&site, &boot).unwrap_err();
    assert_eq!((status, told.as_str()), (409, "this TPM is enrolled for another node"));
    let flags: Vec<String> = ["nid001", "nid002"].map(|node| site.tpm(node)["flag"].to_string()).to_vec();
    assert!(flags[0].contains("its TPM is shown by nid002"), "{flags:?}");
    assert!(flags[1].contains("shows the TPM of nid001"), "{flags:?}");
    let alarms = site.alarms();
    assert!(alarms.contains("ek-mismatch") && alarms.contains("its TPM is shown by nid002"), "{alarms}");
    let stolen = site.refused(&["trust", "tpm", "anew", "nid002", "--ek", &own.print().to_string()]);
    assert!(stolen.contains("this TPM is the one of nid001"), "{stolen}");
    let twice = format!("nid001,{}\nnid002,{}\n", own.print(), own.print());
    fs::write(list, twice).unwrap();
    assert!(site.refused(&["trust", "tpm", "preload", list]).contains("tpms[1], nid002"), "all or nothing");
    // Its own machine is none the worse for it.
    let boot = own.boot(&site);
    let honest = own.honest(&boot);
    own.measure(&boot, &honest);
    assert_eq!(given(&own.attest(&site, &boot).unwrap()).len(), 3);
}

#[test]
fn t36_t37_t38_what_was_booted_is_proven_recorded_or_refused_with_the_pcr_named() {
    let site = Site::start("[[trust.group]]\nname = \"strict\"\npcr = \"enforce\"");
    let mut machine = Machine::new(1, EK_RSA);
    let list = json!([{"node": "nid001", "ek": machine.print().to_string()}]).to_string();
    let file = site.folder.path().join("list.json");
    fs::write(&file, list).unwrap();
    site.muster(&["trust", "tpm", "preload", file.to_str().unwrap()]);
    site.muster(&["group", "add", "strict", "nid001"]);
    assert_eq!(site.tpm("nid001")["pcr"], "enforce");

    type Change = fn(&mut Measured);
    let altered: [(Change, &str); 4] = [
        (|boot| boot.initrd.as_mut().unwrap()[0] ^= 1, "PCR 9: the initrd is not the one that we gave"),
        (|boot| boot.initrd = None, "PCR 9: the loader does not measure the initrd"),
        (|boot| boot.any = false, "PCR 0 is zero: this firmware measures nothing"),
        (|boot| boot.firmware = [9; 32], ""),
    ];
    for (change, wanted) in altered {
        machine = machine.reset();
        let boot = machine.boot(&site);
        let mut measured = machine.honest(&boot);
        change(&mut measured);
        machine.measure(&boot, &measured);
        match machine.attest(&site, &boot) {
            Err((403, told)) => assert!(!wanted.is_empty() && told.contains(wanted), "{wanted}: {told}"),
            Err((status, told)) => panic!("{status}: {told}"),
            Ok(contents) => assert!(wanted.is_empty() && given(&contents).len() == 3, "{wanted}"),
        }
    }
    // The last one was noted as this machine's firmware; another one is refused until somebody says that it is right.
    let drifted = |machine: &mut Machine| {
        let boot = machine.boot(&site);
        let honest = machine.honest(&boot);
        machine.measure(&boot, &honest);
        machine.attest(&site, &boot)
    };
    machine = machine.reset();
    let (status, told) = drifted(&mut machine).unwrap_err();
    assert!(status == 403 && told == "PCR 0: differs from the value of the enrolment", "{told}");
    site.muster(&["trust", "tpm", "unpin", "nid001"]);
    machine = machine.reset();
    assert_eq!(given(&drifted(&mut machine).unwrap()).len(), 3);

    // Where it is only recorded, an altered initrd leads to level 2 and no further, and is an alarm.
    site.muster(&["group", "rm", "strict"]);
    machine = machine.reset();
    let boot = machine.boot(&site);
    let mut measured = machine.honest(&boot);
    measured.initrd.as_mut().unwrap()[0] ^= 1;
    machine.measure(&boot, &measured);
    let contents = machine.attest(&site, &boot).unwrap();
    assert_eq!(given(&contents), ["host-key", "munge"]);
    assert_eq!(contents.choice.withheld[0].id, "deep");
    let tpm = site.tpm("nid001");
    assert_eq!(tpm["findings"], json!(["PCR 9: the initrd is not the one that we gave"]));
    assert!(site.alarms().contains("attested at level 2: PCR 9"), "{}", site.alarms());
}

#[test]
fn a_lost_node_gets_nothing_and_what_it_had_is_named_and_rotated() {
    let site = Site::start("");
    site.muster(&["secret", "set", "munge-key", "--generate", "munge"]);
    let mut machine = Machine::new(1, EK_RSA);
    let boot = machine.boot(&site);
    assert!(machine.attest(&site, &boot).is_err());
    site.muster(&["trust", "tpm", "approve", "@rack", "--yes"]);
    let mut machine = machine.reset();
    let boot = machine.boot(&site);
    let honest = machine.honest(&boot);
    machine.measure(&boot, &honest);
    machine.attest(&site, &boot).unwrap();
    // The session is long forgotten when somebody asks.
    site.muster(&["trust", "void"]);
    site.muster(&["node", "rename", "nid001", "lost"]);
    let names = |held: &Value| -> Vec<String> {
        let of = |one: &Value| {
            format!("{} {} {}", one["secret"].as_str().unwrap(), one["version"], one["current"])
        };
        held.as_array().unwrap().iter().map(of).collect()
    };
    let before = site.json(&["trust", "held", "lost"]);
    let had = ["munge 1 true", "munge-key 1 true", "deep 1 true", "host-key 1 true"];
    assert_eq!(names(&before), had, "what it got in its first boot, then what its TPM brought");

    let told = site.muster(&["node", "revoke", "lost", "--rotate"]);
    assert!(told.contains("lost is revoked") && told.contains("munge-key"), "{told}");
    let after = site.json(&["trust", "held", "lost"]);
    assert!(names(&after).contains(&"munge-key 1 false".to_owned()), "{after}");
    assert!(names(&after).contains(&"munge 1 true".to_owned()), "only an administrator has its value");
    assert_eq!(site.json(&["secret", "show", "munge-key"])["version"], 2);

    site.muster(&["node", "rename", "lost", "nid001"]);
    let mut machine = machine.reset();
    let boot = machine.boot(&site);
    assert_eq!(given(&boot.contents), [""; 0]);
    assert!(boot.contents.choice.withheld.iter().all(|one| one.reason == "this node is revoked"));
    assert!(!boot.contents.choice.items.iter().any(|item| item.id == "cloud-init-jwt"));
    let (status, told) = machine.attest(&site, &boot).unwrap_err();
    assert_eq!((status, told.as_str()), (403, "the TPM of node nid001 is revoked"));
    let mut thief = Machine::new(2, EK_RSA);
    let boot = thief.boot(&site);
    assert_eq!(thief.attest(&site, &boot).unwrap_err().0, 409, "nor under another name");
    // An administrator found it again. What it had, it still has had.
    site.muster(&["trust", "tpm", "anew", "nid001", "--ek", &machine.print().to_string()]);
    let mut machine = machine.reset();
    let boot = machine.boot(&site);
    let honest = machine.honest(&boot);
    machine.measure(&boot, &honest);
    assert_eq!(given(&machine.attest(&site, &boot).unwrap()).len(), 4);
    // With its node, everything about it goes.
    site.muster(&["node", "rm", "nid001"]);
    let boot = thief.boot(&site);
    assert_eq!(thief.attest(&site, &boot).unwrap_err().0, 403, "now it waits, as any TPM does");
    assert_eq!(site.tpm("nid002")["state"], "pending");
}

#[test]
fn a_window_lets_in_what_is_shown_while_it_is_open_and_a_list_alone_nothing_else() {
    let mut site = Site::start("enrol = \"preload\"\n[[trust.group]]\nname = \"rack\"\nenrol = \"window\"");
    let mut machine = Machine::new(1, EK_RSA);
    let boot = machine.boot(&site);
    assert_eq!(machine.attest(&site, &boot).unwrap_err().0, 403, "the window is shut");
    site.muster(&["group", "set", "other"]);
    assert!(site.refused(&["trust", "tpm", "window", "other"]).contains("trust.enrol says otherwise"));
    assert!(site.refused(&["trust", "tpm", "window", "rack", "--minutes", "1000"]).contains("minutes"));
    site.muster(&["trust", "tpm", "window", "rack", "--minutes", "5"]);
    site.kill();
    site.restart();
    assert!(site.muster(&["trust", "tpm", "window"]).contains("no window is open"), "a restart shuts it");
    site.muster(&["trust", "tpm", "window", "rack", "--minutes", "5"]);
    let honest = machine.honest(&boot);
    machine.measure(&boot, &honest);
    assert_eq!(given(&machine.attest(&site, &boot).unwrap()).len(), 3, "in the same boot");
    assert_eq!(site.tpm("nid001")["how"], "window");
    site.muster(&["trust", "tpm", "window", "rack", "--shut"]);
    let mut second = Machine::new(2, EK_P384);
    let boot = second.boot(&site);
    assert!(second.attest(&site, &boot).is_err());
    site.muster(&["group", "remove", "rack", "nid002"]);
    let code = second.code();
    let refused = site.refused(&["trust", "tpm", "approve", "nid002", "--code", &code]);
    assert!(refused.contains("from a list alone"), "{refused}");
}

#[test]
fn a_restored_store_forgets_what_waited_and_exports_are_lists() {
    let mut site = Site::start("");
    let mut machine = Machine::new(1, EK_RSA);
    let boot = machine.boot(&site);
    assert!(machine.attest(&site, &boot).is_err());
    site.kill();
    let (store, backup) = (site.folder.path().join("data/muster.redb"), site.folder.path().join("backup"));
    fs::copy(&store, &backup).unwrap();
    site.restart();
    machine.boot(&site);
    site.kill();
    fs::copy(&backup, &store).unwrap();
    site.restart();
    assert_eq!(site.tpm("nid001")["state"], "none");
    let code = machine.code();
    let refused = site.refused(&["trust", "tpm", "approve", "nid001", "--code", &code]);
    assert!(refused.contains("no TPM waits"), "{refused}");
    let boot = machine.boot(&site);
    assert!(machine.attest(&site, &boot).is_err());
    site.muster(&["trust", "tpm", "approve", "nid001", "--code", &code]);

    let list = site.folder.path().join("tpms.json");
    fs::write(&list, site.muster(&["--json", "trust", "tpm", "list"])).unwrap();
    let other = Site::start("");
    other.muster(&["trust", "tpm", "preload", list.to_str().unwrap()]);
    assert_eq!(other.tpm("nid001")["code"], json!(code));
    assert_eq!(other.tpm("nid001")["state"], "enrolled");
}
