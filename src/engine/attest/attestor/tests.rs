#![allow(clippy::arithmetic_side_effects, reason = "the numbers of a test are small")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::Signer as _;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::base::{Digest, Level, Mac, Timestamp};
use crate::engine::attest::attestor::{Boot, Enrolments, Expanded, Seen, Shown, Standing, TpmAttestor};
use crate::engine::attest::keys::EkFingerprint;
use crate::engine::attest::policy::{Expected, Mode, Outcome, replay};
use crate::engine::attest::quote::{PCRS, Starts};
use crate::engine::attest::{binding, credential};
use crate::engine::trust::attestor::{Ask, Attestor as _, Challenge, Denied, Proof};
use crate::engine::trust::session::{ArmOn, Start, start};
use crate::model::boot_session::Channel;
use crate::model::{BootSession, Node, NodeId, SessionId};
use crate::wire::tpm::vectors::vector;
use crate::wire::tpm::{
    Attest, Credential, Curve, EventLog, Hash, Key, Public, Selection, Signature, template,
};

const NOW: Timestamp = Timestamp(1_795_402_800_000);
const KEY: [u8; 32] = [8; 32];

fn session() -> BootSession {
    let channel =
        Channel { mac: Mac([2, 0, 0, 0, 0, 1]), address: None, relay: None, uuid: None, arch: None };
    let order = Start {
        id: SessionId([1; 16]),
        node: NodeId(1),
        channel,
        arm_on: ArmOn::Dhcp,
        powered: None,
        alive: None,
        epoch: 1,
        life: crate::base::limits::SESSION_LIFE,
    };
    start(None, order, NOW).unwrap().0
}

/// Two keys in software: what is in a TPM, and a machine that shows it.
struct Machine {
    ek: p256::SecretKey,
    ak: p256::ecdsa::SigningKey,
    resets: u32,
    values: BTreeMap<u8, [u8; 32]>,
    log: Vec<u8>,
}

fn log_of_a_boot() -> Vec<u8> {
    vector("eventlog/a.binary_bios_measurements")
}

impl Machine {
    fn new(number: u8) -> Machine {
        let log = log_of_a_boot();
        let replayed = replay(&EventLog::parse(&log).unwrap());
        Machine {
            ek: p256::SecretKey::from_slice(&[number; 32]).unwrap(),
            ak: p256::ecdsa::SigningKey::from_slice(&[number + 100; 32]).unwrap(),
            resets: 5,
            values: PCRS.into_iter().map(|pcr| (pcr, replayed[usize::from(pcr)])).collect(),
            log,
        }
    }

    fn ek(&self) -> Public {
        Public { key: point(&self.ek.public_key().to_sec1_bytes()), ..template::ek_p256() }
    }

    fn ak(&self) -> Public {
        let octets = self.ak.verifying_key().to_sec1_point(false);
        Public { key: point(octets.as_bytes()), ..template::ak_p256() }
    }

    fn print(&self) -> EkFingerprint {
        EkFingerprint::of(&self.ek())
    }

    fn start(&self) -> Value {
        json!({
            "ek_pub": STANDARD.encode(self.ek().emit()), "ak_pub": STANDARD.encode(self.ak().emit()),
            "ak_name": "not looked at", "tpm": {"vendor": "SW\u{1b}", "fw": "1.2"},
        })
    }

    fn finish(&self, told: &Value, id: &str, key: &[u8; 32]) -> Option<Value> {
        let octets = |name: &str| STANDARD.decode(told[name].as_str().unwrap()).unwrap();
        let credential =
            Credential { id_object: octets("id_object"), encrypted_secret: octets("enc_secret") };
        assert_eq!(credential.tools_blob(), octets("tools_blob"));
        let secret = credential::unpack(&self.ek, &credential, &self.ak().name())?;
        let nonce: [u8; 32] = octets("quote_nonce").try_into().unwrap();
        let extra_data = binding::extra_data(&nonce, id, key);
        let all: Vec<u8> = self.values.values().flatten().copied().collect();
        let attest = Attest {
            qualified_signer: self.ak().endorsement_name(),
            extra_data: extra_data.to_vec(),
            clock: 1,
            reset_count: self.resets,
            restart_count: 0,
            safe: true,
            firmware: 7,
            selection: vec![Selection::sha256(&PCRS)],
            pcr_digest: Sha256::digest(all).to_vec(),
        };
        let attest = attest.emit();
        let signature: p256::ecdsa::Signature = self.ak.sign(&attest);
        let (r, s) = signature.split_bytes();
        let signature = Signature::Ecdsa { hash: Hash::Sha256, r: r.to_vec(), s: s.to_vec() };
        let values: serde_json::Map<String, Value> =
            self.values.iter().map(|(pcr, value)| (pcr.to_string(), json!(STANDARD.encode(value)))).collect();
        Some(json!({
            "attest_id": id, "proof": STANDARD.encode(binding::proof(&secret, id, &extra_data)),
            "attest": STANDARD.encode(attest), "sig": STANDARD.encode(signature.emit()),
            "pcr_values": values, "eventlog": STANDARD.encode(&self.log),
        }))
    }
}

fn point(octets: &[u8]) -> Key {
    Key::Ecc { curve: Curve::P256, x: octets[1..33].to_vec(), y: octets[33..].to_vec() }
}

/// What a head knows of the two nodes 1 and 2.
struct Book {
    standing: Mutex<BTreeMap<NodeId, Standing>>,
    conflicts: Mutex<Vec<(NodeId, NodeId)>>,
    mismatches: Mutex<Vec<NodeId>>,
    boot: Mutex<Boot>,
    attested: Mutex<Vec<(u32, Outcome)>>,
}

impl Enrolments for Book {
    fn standing(&self, node: NodeId) -> Standing {
        self.standing.lock().unwrap().get(&node).copied().unwrap_or(Standing::Unknown)
    }

    fn holder(&self, ek: &EkFingerprint) -> Option<NodeId> {
        let standing = self.standing.lock().unwrap();
        standing.iter().find(|(_, standing)| **standing == Standing::Enrolled(*ek)).map(|(node, _)| *node)
    }

    fn shown(&self, ask: &Ask<'_>, shown: &Shown) -> Standing {
        assert_eq!((shown.vendor.as_str(), shown.firmware.as_str()), ("SW", "1.2"));
        let standing = Standing::Pending(shown.ek);
        self.standing.lock().unwrap().insert(ask.node.id, standing);
        standing
    }

    fn conflict(&self, node: NodeId, holder: NodeId) {
        self.conflicts.lock().unwrap().push((node, holder));
    }

    fn boot(&self, _: &Ask<'_>) -> Boot {
        self.boot.lock().unwrap().clone()
    }

    fn mismatch(&self, node: NodeId, _: &Shown) {
        self.mismatches.lock().unwrap().push(node);
    }

    fn attested(&self, _: &Ask<'_>, seen: Seen<'_>) -> Result<(), Denied> {
        self.attested.lock().unwrap().push((seen.quoted.reset_count, seen.outcome.clone()));
        Ok(())
    }
}

struct Head {
    book: Arc<Book>,
    attestor: TpmAttestor,
}

fn head() -> Head {
    let boot = Boot { mode: Mode::Record, expected: Expected::default(), starts: Starts::default() };
    let book = Arc::new(Book {
        standing: Mutex::default(),
        conflicts: Mutex::default(),
        mismatches: Mutex::default(),
        boot: Mutex::new(boot),
        attested: Mutex::default(),
    });
    let attestor = TpmAttestor::new(Arc::clone(&book) as Arc<dyn Enrolments>, Vec::new(), 15);
    Head { book, attestor }
}

impl Head {
    fn enrol(&self, node: u64, machine: &Machine) {
        self.book.standing.lock().unwrap().insert(NodeId(node), Standing::Enrolled(machine.print()));
    }

    fn start(&self, message: &Value, dice: u8) -> Result<Challenge, Denied> {
        let (node, session) = (Node::new(NodeId(1), "n1".parse().unwrap()), session());
        let ask = Ask { node: &node, session: &session, key: &KEY, id: "attest-1", now: NOW };
        self.attestor.start(&ask, message, &Zeroizing::new([dice; 128]))
    }

    fn finish(&self, challenge: Challenge, message: &Value) -> Result<Proof, Denied> {
        let (node, session) = (Node::new(NodeId(1), "n1".parse().unwrap()), session());
        let ask = Ask { node: &node, session: &session, key: &KEY, id: "attest-1", now: NOW };
        challenge.pending.finish(&ask, message)
    }

    /// A whole attestation; `alter` changes the last message.
    fn attest(&self, machine: &Machine, alter: impl FnOnce(&mut Value)) -> Result<Level, Denied> {
        let challenge = self.start(&machine.start(), 3)?;
        let mut message = machine.finish(&challenge.told, "attest-1", &KEY).unwrap();
        alter(&mut message);
        self.finish(challenge, &message).map(|proof| proof.level)
    }
}

fn refused(result: Result<impl Sized, Denied>) -> Denied {
    match result {
        Ok(_) => panic!("not refused"),
        Err(denied) => denied,
    }
}

#[test]
fn an_enrolled_tpm_reaches_level_two_and_with_the_right_boot_more() {
    let (head, machine) = (head(), Machine::new(1));
    head.enrol(1, &machine);
    assert_eq!(head.attest(&machine, |_| {}).unwrap(), Level::Tpm);
    let log = log_of_a_boot();
    let log = EventLog::parse(&log).unwrap();
    let ran: Vec<Digest> =
        log.events.iter().filter(|event| event.pcr == 4).skip(2).map(|event| Digest(event.sha256)).collect();
    let initrd = log.events.iter().find(|event| event.tag() == Some(b"Linux initrd".as_slice()));
    let expected = Expected {
        loaders: vec![ran[0]],
        kernel: Some(ran[1]),
        command_line: "vmlinuz initrd=initrd.gz console=ttyS0 tag=one".to_owned(),
        initrd: initrd.map(|event| Digest(event.sha256)),
        pinned: Vec::new(),
    };
    *head.book.boot.lock().unwrap() =
        Boot { mode: Mode::Enforce, expected: expected.clone(), starts: Starts::default() };
    assert_eq!(head.attest(&machine, |_| {}).unwrap(), Level::TpmPcr);
    assert_eq!(head.book.attested.lock().unwrap().last(), Some(&(5, Outcome::Proven)));
    head.book.boot.lock().unwrap().expected.initrd = Some(Digest([0; 32]));
    let denied = refused(head.attest(&machine, |_| {}));
    assert_eq!((denied.status, denied.text.as_str()), (403, "PCR 9: the initrd is not the one that we gave"));
    assert_eq!(head.book.attested.lock().unwrap().len(), 2, "what is refused uses nothing up");
}

#[test]
fn another_nodes_tpm_gets_no_challenge_and_an_alarm() {
    let (head, own, other) = (head(), Machine::new(1), Machine::new(2));
    head.enrol(1, &own);
    let denied = refused(head.start(&other.start(), 3));
    assert_eq!((denied.status, denied.alarm), (403, true));
    assert!(denied.text.starts_with("ek-mismatch"), "{}", denied.text);
    assert_eq!(*head.book.mismatches.lock().unwrap(), [NodeId(1)]);
}

#[test]
fn a_tpm_that_is_enrolled_elsewhere_flags_both_nodes() {
    let (head, other) = (head(), Machine::new(2));
    head.enrol(2, &other);
    let denied = refused(head.start(&other.start(), 3));
    assert_eq!((denied.status, denied.alarm), (409, true));
    assert_eq!(*head.book.conflicts.lock().unwrap(), [(NodeId(1), NodeId(2))]);
    assert_eq!(head.book.standing(NodeId(1)), Standing::Unknown, "it is not enrolled by that");
}

#[test]
fn an_unknown_tpm_waits_for_its_approval_under_its_code() {
    let (head, machine) = (head(), Machine::new(1));
    let denied = refused(head.start(&machine.start(), 3));
    assert_eq!((denied.status, denied.alarm), (403, false));
    assert!(denied.text.ends_with(&machine.print().code()), "{}", denied.text);
    assert_eq!(head.book.standing(NodeId(1)), Standing::Pending(machine.print()));
    assert!(head.start(&machine.start(), 3).is_err(), "asking again changes nothing");
    head.enrol(1, &machine);
    assert!(head.start(&machine.start(), 3).is_ok());
    head.book.standing.lock().unwrap().insert(NodeId(1), Standing::Revoked);
    assert!(refused(head.start(&machine.start(), 3)).text.contains("revoked"));
}

#[test]
fn keys_that_are_none_are_refused_before_any_challenge() {
    let (head, machine) = (head(), Machine::new(1));
    head.enrol(1, &machine);
    for bit in [1, 4, 5, 16, 17, 18] {
        let mut message = machine.start();
        let mut ak = machine.ak();
        ak.attributes ^= 1 << bit;
        message["ak_pub"] = json!(STANDARD.encode(ak.emit()));
        let denied = refused(head.start(&message, 3));
        assert_eq!(denied.status, 422, "bit {bit}");
        assert!(denied.text.starts_with("attestation key: "), "{}", denied.text);
    }
    for (field, value) in [
        ("ek_pub", json!(null)),
        ("ek_pub", json!("*")),
        ("ek_pub", json!("A".repeat(20_000))),
        ("ek_pub", json!(STANDARD.encode([machine.ek().emit(), vec![0]].concat()))),
        ("ak_pub", json!(7)),
        ("ek_cert", json!({})),
    ] {
        let mut message = machine.start();
        message[field] = value;
        let denied = refused(head.start(&message, 3));
        assert_eq!(denied.status, 422);
        assert!(denied.text.starts_with(field), "{}", denied.text);
    }
}

#[test]
fn a_name_that_the_node_claims_is_not_looked_at() {
    let (head, own, other) = (head(), Machine::new(1), Machine::new(2));
    head.enrol(1, &own);
    // It shows the other's attestation key: the credential is for that key, and its own TPM does not unpack it.
    let mut message = own.start();
    message["ak_pub"] = json!(STANDARD.encode(other.ak().emit()));
    message["ak_name"] = json!(STANDARD.encode(own.ak().name()));
    let challenge = head.start(&message, 3).unwrap();
    assert!(own.finish(&challenge.told, "attest-1", &KEY).is_none());
}

#[test]
fn a_wrong_proof_is_refused_with_an_alarm() {
    let (head, machine) = (head(), Machine::new(1));
    head.enrol(1, &machine);
    for bit in [0, 7, 100, 255] {
        let denied = refused(head.attest(&machine, |message| {
            let mut proof = STANDARD.decode(message["proof"].as_str().unwrap()).unwrap();
            proof[bit / 8] ^= 1 << (bit % 8);
            message["proof"] = json!(STANDARD.encode(proof));
        }));
        assert_eq!((denied.status, denied.alarm), (403, true));
    }
}

#[test]
fn fields_of_the_last_message_that_are_missing_or_odd_are_named() {
    let (head, machine) = (head(), Machine::new(1));
    head.enrol(1, &machine);
    for field in ["proof", "attest", "sig", "pcr_values", "eventlog"] {
        for value in [json!(7), json!("*")] {
            let denied = refused(head.attest(&machine, |message| message[field] = value));
            assert_eq!(denied.status, 422);
            assert!(denied.text.starts_with(field), "{}", denied.text);
        }
    }
    for name in ["24", "+0", "00", "x"] {
        let denied = refused(
            head.attest(&machine, |message| message["pcr_values"][name] = json!(STANDARD.encode([0; 32]))),
        );
        assert!(denied.text.starts_with("pcr_values"), "{}", denied.text);
    }
}

#[test]
fn a_quote_for_another_key_of_the_node_is_refused() {
    let (head, machine) = (head(), Machine::new(1));
    head.enrol(1, &machine);
    let challenge = head.start(&machine.start(), 3).unwrap();
    let message = machine.finish(&challenge.told, "attest-1", &[9; 32]).unwrap();
    // The proof already tells: it covers what is quoted.
    assert_eq!(refused(head.finish(challenge, &message)).status, 403);
}

#[test]
fn a_start_of_the_tpm_that_had_its_secrets_is_refused() {
    let (head, mut machine) = (head(), Machine::new(1));
    head.enrol(1, &machine);
    head.book.boot.lock().unwrap().starts = Starts { delivered: Some(5), session: None };
    let denied = refused(head.attest(&machine, |_| {}));
    assert!(denied.text.contains("must boot anew") && !denied.alarm, "{}", denied.text);
    machine.resets = 4;
    assert!(refused(head.attest(&machine, |_| {})).alarm);
    machine.resets = 6;
    assert_eq!(head.attest(&machine, |_| {}).unwrap(), Level::Tpm);
    machine.values.insert(15, [1; 32]);
    assert!(refused(head.attest(&machine, |_| {})).text.starts_with("PCR 15 is not zero"));
}

#[test]
fn ten_thousand_challenges_are_all_different() {
    let (head, machine) = (head(), Machine::new(1));
    head.enrol(1, &machine);
    let (node, session) = (Node::new(NodeId(1), "n1".parse().unwrap()), session());
    let ask = Ask { node: &node, session: &session, key: &KEY, id: "attest-1", now: NOW };
    let mut seen = BTreeSet::new();
    // A hundred here, for its time: each is two multiplications on a curve in a build that is not optimised. The
    // others are of the part that could repeat.
    for number in 0..100_u64 {
        let mut dice = Zeroizing::new([0; 128]);
        dice[..8].copy_from_slice(&number.to_be_bytes());
        let told =
            head.attestor.start(&ask, &machine.start(), &dice).map(|challenge| challenge.told).unwrap();
        for field in ["id_object", "enc_secret", "quote_nonce"] {
            assert!(seen.insert(told[field].as_str().unwrap().to_owned()), "{field} {number}");
        }
    }
    for number in 100..10_000_u64 {
        let mut dice = [0; 128];
        dice[..8].copy_from_slice(&number.to_be_bytes());
        let mut expanded = Expanded::new(&dice);
        for _ in 0..3 {
            let mut octets = [0; 32];
            expanded.fill(&mut octets);
            assert!(seen.insert(STANDARD.encode(octets)), "{number}");
        }
    }
}

proptest! {
    /// What strangers send in place of the two messages: a verdict, and no challenge, no level, by accident.
    #[test]
    fn any_message_gets_a_verdict(field in 0_usize..9, at: proptest::sample::Index, octet: u8, junk in "\\PC{0,80}") {
        let (head, machine) = (head(), Machine::new(1));
        head.enrol(1, &machine);
        let spoil = |message: &mut Value, name: &str| {
            let Some(text) = message[name].as_str().map(str::to_owned) else { return false };
            let Ok(mut octets) = STANDARD.decode(&text) else { return false };
            let at = at.index(octets.len());
            let same = octets[at] == octet;
            octets[at] = octet;
            message[name] = json!(STANDARD.encode(octets));
            !same
        };
        let start = ["ek_pub", "ak_pub", "ek_cert", "tpm"];
        if let Some(name) = start.get(field) {
            let mut message = machine.start();
            spoil(&mut message, name);
            if head.start(&message, 3).is_ok() {
                let shown = STANDARD.decode(message["ek_pub"].as_str().unwrap()).unwrap();
                prop_assert_eq!(EkFingerprint::of(&Public::parse(&shown).unwrap()), machine.print());
            }
            message[*name] = json!(junk);
            // What a TPM says of its make and whether it has a certificate are told, and decide nothing.
            let told = ["ek_cert", "tpm"].contains(name);
            prop_assert!(told || head.start(&message, 3).is_err());
        } else {
            let name = ["proof", "attest", "sig", "pcr_values", "eventlog"][field - start.len()];
            let mut altered = false;
            let level = head.attest(&machine, |message| altered = spoil(message, name));
            // The log alone is not signed, and is not asked for by every policy.
            prop_assert!(!altered || name == "eventlog" || level.is_err(), "{name} {level:?}");
            let level = head.attest(&machine, |message| message[name] = json!(junk));
            prop_assert!(name == "eventlog" || level.is_err(), "{name} {level:?}");
        }
    }
}
