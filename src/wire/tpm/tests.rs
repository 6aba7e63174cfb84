use proptest::prelude::*;

use crate::base::limits::EVENT_LOG_EVENTS_MAX;
use crate::wire::WireError;
use crate::wire::tpm::command::{Answer, AnswerError, Code, Command};
use crate::wire::tpm::template;
use crate::wire::tpm::vectors::vector;
use crate::wire::tpm::{
    Attest, Credential, Curve, EventKind, EventLog, Hash, Key, Public, Reader, Scheme, Selection, Signature,
};

const KEYS: [&str; 7] = [
    "ek_rsa2048.tpm2b",
    "ek_ecc_p256.tpm2b",
    "ek_ecc_p384.tpm2b",
    "ak_primary_noda_p256.tpm2b",
    "neg/ak_openssl_software_key.tpm2b",
    "neg/ak_null_hierarchy_unrestricted.tpm2b",
    "quote/unrestricted_key.tpm2b",
];

#[test]
fn public_areas_are_written_as_they_were_read() {
    for name in KEYS {
        let octets = vector(name);
        assert_eq!(Public::parse(&octets).unwrap().emit(), octets, "{name}");
    }
}

#[test]
fn a_public_area_that_is_cut_or_has_something_behind_it_is_refused() {
    for name in KEYS {
        let octets = vector(name);
        for length in 0..octets.len() {
            assert!(Public::parse(&octets[..length]).is_err(), "{name} cut at {length}");
            // The same with a length that fits.
            let mut cut = octets[..length].to_vec();
            if let Some(inner) = length.checked_sub(2) {
                cut[..2].copy_from_slice(&u16::try_from(inner).unwrap().to_be_bytes());
                assert!(Public::parse(&cut).is_err(), "{name} cut at {length}");
            }
        }
        assert!(Public::parse(&[&octets[..], &[0]].concat()).is_err());
        let mut longer = [&octets[..], &[0]].concat();
        longer[1] += 1;
        assert!(Public::parse(&longer).is_err());
        longer[..2].fill(0xff);
        assert_eq!(Public::parse(&longer), Err(WireError::Truncated("public area")));
    }
}

#[test]
fn templates_are_octet_by_octet_those_of_the_tcg() {
    let hex = |octets: Vec<u8>| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let a = hex(template::POLICY_A_SHA256.to_vec());
    let zeros = |count: usize| "00".repeat(count);
    let rsa = format!("0001000b000300b20020{a}0006008000430010080000000000{}{}", "0100", zeros(256));
    assert_eq!(hex(template::ek_rsa2048().area()), rsa);
    let ecc =
        format!("0023000b000300b20020{a}00060080004300100003001000{}{}0020{}", "20", zeros(32), zeros(32));
    assert_eq!(hex(template::ek_p256().area()), ecc);
    let b =
        "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12";
    let p384 = format!("0023000c000300f20030{b}0006010000430010000400100000{}", "0000");
    assert_eq!(hex(template::ek_p384().area()), p384);
    assert_eq!(hex(template::ak_p256().area()), "0023000b00050472000000100018000b0003001000000000");
    assert_eq!(
        hex(template::policy_b(Hash::Sha256)),
        "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0"
    );
}

#[test]
fn quotes_and_signatures_are_written_as_they_were_read() {
    for name in ["good", "good_tss", "latched", "fewer_pcrs", "stale_nonce", "next_boot"] {
        let octets = vector(&format!("quote/{name}.attest"));
        let quote = Attest::parse(&octets).unwrap();
        assert_eq!(quote.emit(), octets, "{name}");
        for length in 0..octets.len() {
            assert!(Attest::parse(&octets[..length]).is_err());
        }
    }
    let quote = Attest::parse(&vector("quote/next_boot.attest")).unwrap();
    assert_eq!((quote.reset_count, quote.clock, quote.safe), (7, 0x2b6a0, true));
    assert_eq!(quote.selection, [Selection::sha256(&[0, 4, 7, 9, 15])]);
    let octets = vector("quote/good_tss.sig");
    let signature = Signature::parse(&octets).unwrap();
    assert!(matches!(signature, Signature::Ecdsa { hash: Hash::Sha256, .. }));
    assert_eq!(signature.emit(), octets);
}

#[test]
fn files_of_tpm2_tools_are_read_and_written() {
    for name in ["cred_rsa2048", "cred_ecc_p256", "cred_ecc_p384", "ref_tpm2tools_ecc_p384"] {
        let octets = vector(&format!("{name}.blob"));
        assert_eq!(Credential::parse_tools_blob(&octets).unwrap().tools_blob(), octets);
    }
    for name in ["magic", "version2", "truncated"] {
        assert!(Credential::parse_tools_blob(&vector(&format!("neg/{name}.blob"))).is_err(), "{name}");
    }
}

#[test]
fn an_event_log_of_real_firmware_is_read_with_its_tags() {
    let octets = vector("eventlog/a.binary_bios_measurements");
    let log = EventLog::parse(&octets).unwrap();
    let tags: Vec<&[u8]> = log.events.iter().filter_map(|event| event.tag()).collect();
    assert_eq!(tags, [b"LOADED_IMAGE::LoadOptions".as_slice(), b"Linux initrd"]);
    let ran = log.events.iter().filter(|event| event.kind == EventKind::BootServicesApplication);
    assert_eq!(ran.count(), 3);
    let whole = (0..octets.len()).filter(|length| EventLog::parse(&octets[..*length]).is_ok()).count();
    assert_eq!(whole, log.events.len(), "a cut log is whole only where an event ends");
}

#[test]
fn an_event_log_of_too_many_events_is_refused() {
    let octets = vector("eventlog/a.binary_bios_measurements");
    let header = (0..octets.len()).find(|length| EventLog::parse(&octets[..*length]).is_ok()).unwrap();
    let event = [&[0, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0x0b, 0][..], &[7; 32], &[0, 0, 0, 0]].concat();
    let log = |events: usize| [&octets[..header], &event.repeat(events)].concat();
    assert_eq!(EventLog::parse(&log(EVENT_LOG_EVENTS_MAX)).unwrap().events.len(), EVENT_LOG_EVENTS_MAX);
    assert_eq!(EventLog::parse(&log(EVENT_LOG_EVENTS_MAX + 1)), Err(WireError::Invalid("number of events")));
    assert_eq!(EventLog::parse(&vec![0; (1 << 20) + 1]), Err(WireError::Invalid("size of the event log")));
}

#[test]
fn a_refusal_of_the_tpm_is_told_in_words() {
    let refused = |code: u32| {
        let octets = [&[0x80, 1, 0, 0, 0, 10][..], &code.to_be_bytes()].concat();
        Answer::parse(&octets).unwrap_err()
    };
    assert_eq!(refused(0x921), AnswerError::Code(Code::LOCKOUT));
    assert!(refused(0x921).to_string().contains("TPM lockout"));
    assert_eq!(refused(0x84).to_string(), "TPM code 0x84");
    assert!(Answer::parse(&[0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0]).is_err(), "a size that is not true");
}

#[test]
fn a_command_has_its_size_and_an_area_for_each_authorisation() {
    let octets = Command::pcr_extend(15, &[1; 32]);
    let octets = octets.octets();
    assert_eq!(octets.len(), usize::from(octets[5]));
    assert_eq!(octets[..10], [0x80, 2, 0, 0, 0, 65, 0, 0, 1, 0x82]);
    assert_eq!(octets[10..27], [0, 0, 0, 15, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    assert_eq!(Command::flush(0x8000_0000).octets(), [0x80, 1, 0, 0, 0, 14, 0, 0, 1, 0x65, 0x80, 0, 0, 0]);
}

fn publics() -> impl Strategy<Value = Public> {
    let hash = prop_oneof![Just(Hash::Sha256), Just(Hash::Sha384)];
    let scheme = prop_oneof![Just(None), hash.clone().prop_map(|hash| Some(Scheme::Ecdsa(hash)))];
    let curve = prop_oneof![Just(Curve::P256), Just(Curve::P384)];
    let octets = || prop::collection::vec(any::<u8>(), 0..=32);
    (hash, any::<u32>(), any::<bool>(), scheme, curve, octets(), octets()).prop_map(
        |(name_alg, attributes, policy, scheme, curve, x, y)| Public {
            name_alg,
            attributes,
            policy: if policy { vec![3; name_alg.size()] } else { vec![] },
            symmetric_bits: policy.then_some(256),
            scheme,
            key: Key::Ecc { curve, x, y },
        },
    )
}

proptest! {
    #[test]
    fn any_octets_are_read_by_every_reader_without_a_panic(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Selection::parse_list(&mut Reader::new(&octets));
        let _ = EventLog::parse(&octets);
        let read = |answer: Answer<'_>| {
            let _ = (answer.clone().created(), answer.clone().public(), answer.clone().quote());
            let _ = (answer.clone().pcrs(), answer.clone().nv_size(), answer.clone().property(1));
            let _ = (answer.clone().handle(), answer.sized());
        };
        let _ = Answer::parse(&octets).map(read);
        let mut answer = [&[0x80, 2, 0, 0, 0, 0, 0, 0, 0, 0][..], &octets].concat();
        let size = u32::try_from(answer.len()).unwrap().to_be_bytes();
        answer[2..6].copy_from_slice(&size);
        let _ = Answer::parse(&answer).map(read);
        for read in [Public::parse(&octets).map(|it| it.emit()), Attest::parse(&octets).map(|it| it.emit())] {
            prop_assert!(read.is_err() || read.as_ref() == Ok(&octets));
        }
    }

    #[test]
    fn what_was_altered_is_refused_or_written_as_it_was_read(
        which in 0..KEYS.len(), at: prop::sample::Index, octet: u8,
    ) {
        let mut octets = vector(KEYS[which]);
        let at = at.index(octets.len());
        octets[at] = octet;
        if let Ok(public) = Public::parse(&octets) {
            prop_assert_eq!(public.emit(), octets);
        }
    }

    #[test]
    fn an_altered_quote_is_refused_or_written_as_it_was_read(at: prop::sample::Index, octet: u8) {
        let mut octets = vector("quote/good.attest");
        let at = at.index(octets.len());
        octets[at] = octet;
        if let Ok(quote) = Attest::parse(&octets) {
            prop_assert_eq!(quote.emit(), octets);
        }
    }

    #[test]
    fn every_public_area_is_read_as_it_was_written(public in publics()) {
        prop_assert_eq!(Public::parse(&public.emit()), Ok(public));
    }

    #[test]
    fn selections_are_read_as_they_were_written(pcrs in prop::collection::btree_set(0_u8..24, 0..24)) {
        let pcrs: Vec<u8> = pcrs.into_iter().collect();
        let one = Selection::sha256(&pcrs);
        prop_assert_eq!(one.pcrs(), pcrs);
        let mut out = Vec::new();
        Selection::emit_list(&[one, one], &mut out);
        prop_assert_eq!(Selection::parse_list(&mut Reader::new(&out)), Ok(vec![one, one]));
    }
}
