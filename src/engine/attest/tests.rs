#![allow(clippy::arithmetic_side_effects, reason = "the numbers of a test are small")]

use std::collections::BTreeMap;

use p256::ecdsa::signature::Signer as _;
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::base::Digest;
use crate::engine::attest::binding::{extra_data, latch, proof, proves};
use crate::engine::attest::chain::{self, Chain, ChainError};
use crate::engine::attest::credential::{self, CredentialError};
use crate::engine::attest::keys::{
    AkError, EkError, EkFingerprint, KeyError, check_ak, check_ek, qualified_name,
};
use crate::engine::attest::policy::{
    Expected, Mode, Outcome, command_line_digest, initrd_digest, judge, open_door, replay,
};
use crate::engine::attest::quote::{self, PcrValues, QuoteError, Starts, Wanted};
use crate::wire::tpm::attributes::{
    DECRYPT, FIXED_PARENT, FIXED_TPM, RESTRICTED, SENSITIVE_DATA_ORIGIN, SIGN,
};
use crate::wire::tpm::vectors::vector;
use crate::wire::tpm::{Attest, EventLog, Key, Public, Selection, Signature, template};

fn public(name: &str) -> Public {
    Public::parse(&vector(name)).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn digest(text: &str) -> Digest {
    text.parse().unwrap()
}

/// Dice that show these octets once.
fn loaded(octets: Vec<u8>) -> impl FnMut(&mut [u8]) {
    let mut left = octets.into_iter();
    move |into| into.iter_mut().for_each(|octet| *octet = left.next().expect("no more dice"))
}

#[test]
fn every_octet_of_every_credential_vector_is_reproduced() {
    let names =
        ["rsa2048", "ecc_p256", "ecc_p384", "ecc_p256_edge_z", "ecc_p256_edge_ex", "ecc_p256_edge_ey"];
    for name in names {
        let json: Value = serde_json::from_slice(&vector(&format!("cred_{name}.json"))).unwrap();
        let field = |name: &str| unhex(json[name].as_str().unwrap());
        let ek = Public::parse(&field("ek_pub_tpm2b")).unwrap();
        assert_eq!(ek.name(), field("ek_name"), "{name}");
        let secret: [u8; 32] = field("secret").try_into().unwrap();
        let ak_name = field("ak_name");
        let mut dice = loaded(field("injected_random"));
        let made = credential::compute(&ek, &ak_name, &secret, &mut dice).unwrap();
        assert_eq!(*made.seed, field("seed"), "{name}");
        assert_eq!(*made.symmetric_key, field("sym_key"), "{name}");
        assert_eq!(*made.hmac_key, field("hmac_key"), "{name}");
        assert_eq!(made.encrypted_identity, field("enc_identity"), "{name}");
        assert_eq!(made.outer_hmac, field("outer_hmac"), "{name}");
        let made = credential::make(&ek, &ak_name, &secret, &mut loaded(field("injected_random"))).unwrap();
        assert_eq!(made.id_object, field("tpm2b_id_object_body"), "{name}");
        assert_eq!(made.encrypted_secret, field("tpm2b_encrypted_secret_body"), "{name}");
        assert_eq!(made.tools_blob(), vector(&format!("cred_{name}.blob")), "{name}");
    }
}

#[test]
fn a_credential_asks_for_other_dice_a_few_times_and_then_says_so() {
    let ek = public("ek_ecc_p256.tpm2b");
    let mut thrown = 0;
    let mut dice = |into: &mut [u8]| {
        thrown += 1;
        into.fill(0xff); // beyond the order of the curve
    };
    assert_eq!(credential::make(&ek, &[], &[0; 32], &mut dice), Err(CredentialError::Dice));
    assert_eq!(thrown, 8);
    let mut throws = 0;
    let mut dice = |into: &mut [u8]| {
        throws += 1;
        into.fill(if throws == 1 { 0xff } else { 7 });
    };
    assert!(credential::make(&ek, &[], &[0; 32], &mut dice).is_ok());
}

#[test]
fn endorsement_keys_of_the_three_kinds_pass_and_have_the_fingerprint_of_their_certificate() {
    for (key, certificate) in
        [("ek_rsa2048", "ekcert/ek_rsa2048.der"), ("ek_ecc_p384", "ekcert/ek_ecc_p384.der")]
    {
        let ek = public(&format!("{key}.tpm2b"));
        assert_eq!(check_ek(&ek), Ok(()));
        let read = chain::read(&vector(certificate), &EkFingerprint::of(&ek), &[]).unwrap();
        assert_eq!(read.chain, Chain::Unknown);
    }
    assert_eq!(check_ek(&public("ek_ecc_p256.tpm2b")), Ok(()));
}

#[test]
fn the_code_of_a_key_is_its_first_eighty_bits_in_four_groups() {
    let mut octets = [0xff; 32];
    octets[..10].copy_from_slice(&[0, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6, 0x35, 0xcf]);
    let code = EkFingerprint(octets).code();
    assert_eq!(code, "ABCD-EFGH-IJKL-MNOP");
    octets[10] = 0;
    assert_eq!(EkFingerprint(octets).code(), code, "what comes after does not show");
    octets[9] = 0;
    assert_ne!(EkFingerprint(octets).code(), code);
}

#[test]
fn a_public_area_that_is_no_endorsement_key_is_refused_by_the_field_that_is_wrong() {
    let rsa = public("ek_rsa2048.tpm2b");
    let altered = |alter: &dyn Fn(&mut Public)| {
        let mut ek = rsa.clone();
        alter(&mut ek);
        check_ek(&ek).unwrap_err()
    };
    // Bit 6, userWithAuth, is what the high range has and the low range has not.
    for bit in (0..32).filter(|bit| *bit != 6) {
        let error = altered(&|ek| ek.attributes ^= 1 << bit);
        assert!(matches!(error, EkError::Attributes(_)), "bit {bit}");
    }
    assert_eq!(check_ek(&Public { attributes: rsa.attributes | 1 << 6, ..rsa.clone() }), Ok(()));
}

#[test]
fn policies_ciphers_schemes_and_numbers_of_endorsement_keys_are_checked() {
    let rsa = public("ek_rsa2048.tpm2b");
    let ecc = public("ek_ecc_p256.tpm2b");
    let alter = |from: &Public, alter: &dyn Fn(&mut Public)| {
        let mut ek = from.clone();
        alter(&mut ek);
        check_ek(&ek)
    };
    let number = |from: &Public, change: &dyn Fn(&mut u16, &mut u32, &mut Vec<u8>)| {
        alter(from, &|ek| {
            let Key::Rsa { bits, exponent, modulus } = &mut ek.key else { panic!("no RSA") };
            change(bits, exponent, modulus);
        })
    };
    assert_eq!(alter(&rsa, &|ek| ek.policy[0] ^= 1), Err(EkError::Policy));
    assert_eq!(alter(&rsa, &|ek| ek.policy.clear()), Err(EkError::Policy));
    assert_eq!(alter(&rsa, &|ek| ek.symmetric_bits = None), Err(EkError::Symmetric));
    assert_eq!(alter(&rsa, &|ek| ek.symmetric_bits = Some(192)), Err(EkError::Symmetric));
    let ecdsa = template::ak_p256().scheme;
    assert_eq!(alter(&ecc, &|ek| ek.scheme = ecdsa), Err(EkError::Scheme));
    assert_eq!(number(&rsa, &|_, e, _| *e = 3), Err(KeyError::Exponent(3).into()));
    assert_eq!(number(&rsa, &|_, e, _| *e = 65537), Ok(()));
    assert_eq!(number(&rsa, &|_, _, n| *n.last_mut().unwrap() &= 0xfe), Err(KeyError::Modulus.into()));
    assert_eq!(number(&rsa, &|_, _, n| n[0] = 0), Err(KeyError::Modulus.into()));
    let short = |bits: &mut u16, _: &mut u32, n: &mut Vec<u8>| {
        *bits = 1024;
        n.truncate(128);
    };
    assert_eq!(number(&rsa, &short), Err(KeyError::Bits(1024).into()));
    assert_eq!(number(&rsa, &|bits, _, _| *bits = 3072), Err(KeyError::Modulus.into()));
    let point = |change: &dyn Fn(&mut Vec<u8>, &mut Vec<u8>)| {
        alter(&ecc, &|ek| {
            let Key::Ecc { x, y, .. } = &mut ek.key else { panic!("no curve") };
            change(x, y);
        })
    };
    assert_eq!(point(&|x, _| x[5] ^= 1), Err(KeyError::Point.into()));
    assert_eq!(point(&|x, _| x.clear()), Err(KeyError::Point.into()));
    let infinity = |x: &mut Vec<u8>, y: &mut Vec<u8>| {
        x.fill(0);
        y.fill(0);
    };
    assert_eq!(point(&infinity), Err(KeyError::Point.into()));
    // A coordinate that the other lends an octet to still makes 65 octets.
    let shifted = |x: &mut Vec<u8>, y: &mut Vec<u8>| y.insert(0, x.pop().unwrap());
    assert_eq!(point(&shifted), Err(KeyError::Point.into()));
}

#[test]
fn keys_that_a_tpm_would_also_serve_are_no_attestation_keys() {
    let ak = public("ak_primary_noda_p256.tpm2b");
    assert_eq!(check_ak(&ak), Ok(()));
    assert_eq!(check_ak(&public("neg/ak_openssl_software_key.tpm2b")), Err(AkError::Lacks("fixedTPM")));
    assert_eq!(
        check_ak(&public("neg/ak_null_hierarchy_unrestricted.tpm2b")),
        Err(AkError::Lacks("fixedTPM"))
    );
    assert_eq!(check_ak(&public("quote/unrestricted_key.tpm2b")), Err(AkError::Lacks("restricted")));
    let with = |attributes: u32| check_ak(&Public { attributes, ..ak.clone() });
    for (bit, name) in [
        (FIXED_TPM, "fixedTPM"),
        (FIXED_PARENT, "fixedParent"),
        (SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
        (RESTRICTED, "restricted"),
        (SIGN, "sign"),
    ] {
        assert_eq!(with(ak.attributes & !bit), Err(AkError::Lacks(name)));
    }
    assert_eq!(with(ak.attributes | DECRYPT), Err(AkError::Decrypts));
    assert_eq!(check_ak(&Public { symmetric_bits: Some(128), ..ak.clone() }), Err(AkError::Symmetric));
    assert_eq!(check_ak(&Public { scheme: None, ..ak.clone() }), Err(AkError::Scheme));
    assert!(matches!(check_ak(&template::ak_p256()), Err(AkError::Key(KeyError::Point))));
}

#[test]
fn names_are_computed_and_are_the_tpms_own() {
    let ak = public("ak_primary_noda_p256.tpm2b");
    assert_eq!(ak.name(), vector("ak_primary_noda_p256.name"));
    let quoted = Attest::parse(&vector("quote/good.attest")).unwrap();
    assert_eq!(qualified_name(&ak), Some(quoted.qualified_signer));
    assert_eq!(qualified_name(&public("quote/unrestricted_key.tpm2b")), None, "not of our template");
}

/// The vectors' quotes are of a bare TPM: all PCRs are zero, but 15 where it says so.
const VECTOR_PCRS: [u8; 5] = [0, 4, 7, 9, 15];

fn zeros() -> PcrValues {
    VECTOR_PCRS.into_iter().map(|pcr| (pcr, [0; 32])).collect()
}

fn check_vector(name: &str, signature: &str, starts: Starts, values: &PcrValues) -> Result<u32, QuoteError> {
    let ak = public("ak_primary_noda_p256.tpm2b");
    let nonce: [u8; 32] = vector("quote/nonce.bin").try_into().unwrap();
    let wanted = Wanted { ak: &ak, extra_data: &nonce, pcrs: &VECTOR_PCRS, starts };
    let attest = vector(&format!("quote/{name}.attest"));
    quote::check(wanted, &attest, &vector(&format!("quote/{signature}")), values)
        .map(|quoted| quoted.reset_count)
}

#[test]
fn a_good_quote_counts_in_both_forms_of_its_signature() {
    assert_eq!(check_vector("good", "good.sig_plain.der", Starts::default(), &zeros()), Ok(6));
    assert_eq!(check_vector("good_tss", "good_tss.sig", Starts::default(), &zeros()), Ok(6));
    assert_eq!(
        check_vector("good", "good_tss.sig", Starts::default(), &zeros()),
        Err(QuoteError::Signature),
        "of another quote"
    );
}

#[test]
fn a_quote_that_no_tpm_made_or_of_another_kind_is_refused() {
    let bad = check_vector("bad_magic", "good.sig_plain.der", Starts::default(), &zeros()).unwrap_err();
    assert_eq!(bad.to_string(), "quote: invalid magic");
    let ak = public("ak_primary_noda_p256.tpm2b");
    let nonce: [u8; 32] = vector("quote/nonce.bin").try_into().unwrap();
    let wanted = Wanted { ak: &ak, extra_data: &nonce, pcrs: &VECTOR_PCRS, starts: Starts::default() };
    let mut time = vector("quote/good.attest");
    time[5] = 0x19;
    let bad = quote::check(wanted, &time, &vector("quote/good.sig_plain.der"), &zeros()).unwrap_err();
    assert_eq!(bad.to_string(), "quote: invalid type");
    let mut longer = vector("quote/good.attest");
    longer.push(0);
    let bad = quote::check(wanted, &longer, &vector("quote/good.sig_plain.der"), &zeros()).unwrap_err();
    assert_eq!(bad.to_string(), "quote: invalid octets behind the quote");
}

#[test]
fn a_quote_for_another_challenge_is_refused() {
    let bad = check_vector("stale_nonce", "stale_nonce.sig_plain.der", Starts::default(), &zeros());
    assert_eq!(bad, Err(QuoteError::ExtraData));
}

#[test]
fn a_quote_of_other_pcrs_is_refused() {
    let bad =
        check_vector("fewer_pcrs", "fewer_pcrs.sig_plain.der", Starts::default(), &zeros()).unwrap_err();
    assert!(matches!(bad, QuoteError::Selection { .. }), "{bad}");
    let mut more = zeros();
    more.insert(2, [0; 32]);
    let bad = check_vector("good", "good.sig_plain.der", Starts::default(), &more).unwrap_err();
    assert!(matches!(bad, QuoteError::Values { .. }), "{bad}");
}

#[test]
fn values_that_the_tpm_did_not_sign_are_refused() {
    for pcr in VECTOR_PCRS {
        let mut values = zeros();
        values.insert(pcr, [1; 32]);
        let bad = check_vector("good", "good.sig_plain.der", Starts::default(), &values);
        assert_eq!(bad, Err(QuoteError::PcrDigest));
    }
}

#[test]
fn a_copied_quote_signed_by_an_unrestricted_key_is_refused() {
    let bad = check_vector("good", "forged.sig_plain.der", Starts::default(), &zeros()).unwrap_err();
    assert_eq!(bad, QuoteError::Signature);
    assert!(bad.is_alarm());
}

#[test]
fn a_latched_boot_is_refused_and_cannot_be_hidden() {
    let hidden = check_vector("latched", "latched.sig_plain.der", Starts::default(), &zeros());
    assert_eq!(hidden, Err(QuoteError::PcrDigest), "zeros in place of what the latch left");
    let mut values = zeros();
    values.insert(15, crate::wire::tpm::extend(&[0; 32], &latch()));
    assert_eq!(quote::check_boot(&values, 15), Err(QuoteError::Latched(15)));
}

#[test]
fn the_latch_is_what_shells_compute_too() {
    // printf muster-secrets-released | sha256sum
    assert_eq!(Digest(latch()), digest("7a39f52166e91b639bcc2c293acc98531a0851c6b88c3c3512d17c7d5ff5790d"));
}

#[test]
fn secrets_go_out_once_in_each_start_of_a_tpm() {
    let starts = |delivered, session| Starts { delivered, session };
    let good = |starts| check_vector("good", "good.sig_plain.der", starts, &zeros());
    let next = |starts| check_vector("next_boot", "next_boot.sig_plain.der", starts, &zeros());
    assert_eq!(good(starts(Some(5), None)), Ok(6));
    assert_eq!(good(starts(Some(6), None)), Err(QuoteError::Used { found: 6, last: 6 }));
    assert_eq!(next(starts(Some(6), None)), Ok(7));
    let back = good(starts(Some(7), None)).unwrap_err();
    assert_eq!(back, QuoteError::Back { found: 6, last: 7 });
    assert!(back.is_alarm());
    assert_eq!(good(starts(Some(6), Some(6))), Ok(6), "the same session asks again");
    assert_eq!(next(starts(Some(6), Some(6))), Err(QuoteError::Restarted { found: 7, begun: 6 }));
}

#[test]
fn firmware_that_measures_nothing_is_refused() {
    let values = |zero: u8| -> PcrValues {
        let value = |pcr| if pcr == zero || pcr == 15 { [0; 32] } else { [1; 32] };
        quote::PCRS.into_iter().map(|pcr| (pcr, value(pcr))).collect()
    };
    assert_eq!(quote::check_boot(&values(0), 15), Err(QuoteError::Unmeasured(0)));
    assert_eq!(quote::check_boot(&values(4), 15), Err(QuoteError::Unmeasured(4)));
    assert_eq!(quote::check_boot(&values(7), 15), Ok(()));
    assert_eq!(quote::check_boot(&values(7), 9), Err(QuoteError::Latched(9)), "another latch is configured");
    assert_eq!(quote::check_boot(&BTreeMap::new(), 15), Err(QuoteError::Unmeasured(0)));
}

/// A software key where a TPM would be: to sign quotes that no vector holds.
struct SoftTpm {
    key: p256::ecdsa::SigningKey,
    ak: Public,
}

impl SoftTpm {
    fn new() -> SoftTpm {
        let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let mut ak = template::ak_p256();
        let (x, y) = (point.x().unwrap().to_vec(), point.y().unwrap().to_vec());
        ak.key = Key::Ecc { curve: crate::wire::tpm::Curve::P256, x, y };
        SoftTpm { key, ak }
    }

    fn quote(
        &self,
        extra_data: &[u8; 32],
        selection: Vec<Selection>,
        values: &PcrValues,
    ) -> (Vec<u8>, Vec<u8>) {
        let all: Vec<u8> = values.values().flatten().copied().collect();
        let attest = Attest {
            qualified_signer: self.ak.endorsement_name(),
            extra_data: extra_data.to_vec(),
            clock: 1,
            reset_count: 9,
            restart_count: 0,
            safe: true,
            firmware: 3,
            selection,
            pcr_digest: Sha256::digest(all).to_vec(),
        };
        let attest = attest.emit();
        let signature: p256::ecdsa::Signature = self.key.sign(&attest);
        let (r, s) = signature.split_bytes();
        let signature =
            Signature::Ecdsa { hash: crate::wire::tpm::Hash::Sha256, r: r.to_vec(), s: s.to_vec() };
        (attest, signature.emit())
    }
}

#[test]
fn a_quote_is_bound_to_the_key_that_the_bundle_is_sealed_to() {
    let tpm = SoftTpm::new();
    let values: PcrValues = quote::PCRS.into_iter().map(|pcr| (pcr, [pcr; 32])).collect();
    let selection = vec![Selection::sha256(&quote::PCRS)];
    let (nonce, a, b) = ([1; 32], [2; 32], [3; 32]);
    let (attest, signature) = tpm.quote(&extra_data(&nonce, "id", &a), selection, &values);
    let check = |node_key: &[u8; 32], id: &str| {
        let extra_data = extra_data(&nonce, id, node_key);
        let wanted =
            Wanted { ak: &tpm.ak, extra_data: &extra_data, pcrs: &quote::PCRS, starts: Starts::default() };
        quote::check(wanted, &attest, &signature, &values).map(|quoted| quoted.reset_count)
    };
    assert_eq!(check(&a, "id"), Ok(9));
    assert_eq!(check(&b, "id"), Err(QuoteError::ExtraData));
    assert_eq!(check(&a, "ie"), Err(QuoteError::ExtraData));
}

#[test]
fn a_signed_quote_with_another_bank_besides_or_instead_is_refused() {
    let tpm = SoftTpm::new();
    let values: PcrValues = quote::PCRS.into_iter().map(|pcr| (pcr, [pcr; 32])).collect();
    let sha256 = Selection::sha256(&quote::PCRS);
    let sha1 = Selection { bank: 4, ..sha256 };
    for selection in [vec![sha1], vec![sha256, sha1], vec![sha1, sha256], vec![sha256, sha256], vec![]] {
        let (attest, signature) = tpm.quote(&[1; 32], selection.clone(), &values);
        let wanted =
            Wanted { ak: &tpm.ak, extra_data: &[1; 32], pcrs: &quote::PCRS, starts: Starts::default() };
        let bad = quote::check(wanted, &attest, &signature, &values).unwrap_err();
        assert!(matches!(bad, QuoteError::Selection { .. }), "{selection:?}: {bad}");
    }
}

#[test]
fn no_bit_of_a_proof_may_differ() {
    let (secret, extra) = ([5; 32], [6; 32]);
    let right = proof(&secret, "id", &extra);
    assert!(proves(&right, &secret, "id", &extra));
    for bit in 0..256 {
        let mut wrong = right;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(!proves(&wrong, &secret, "id", &extra));
    }
    assert!(!proves(&right[..31], &secret, "id", &extra));
    assert!(!proves(&[], &secret, "id", &extra));
    assert!(!proves(&right, &[4; 32], "id", &extra));
    assert!(!proves(&right, &secret, "ie", &extra));
}

fn log_and_values(name: &str) -> (Vec<u8>, PcrValues, Value) {
    let log = vector(&format!("eventlog/{name}.binary_bios_measurements"));
    let json: Value = serde_json::from_slice(&vector(&format!("eventlog/{name}.json"))).unwrap();
    let value = |pcr: u8| digest(json["pcrs"][pcr.to_string()].as_str().unwrap()).0;
    let values = quote::PCRS.into_iter().map(|pcr| (pcr, value(pcr))).collect();
    (log, values, json)
}

/// What a head expects that served what the log `name` tells of.
fn expected(name: &str) -> Expected {
    let (log, _, json) = log_and_values(name);
    let log = EventLog::parse(&log).unwrap();
    let measured = |pcr| log.events.iter().filter(move |event| event.pcr == pcr);
    let mut ran = measured(4).filter(|event| event.data.len() != 4 && !event.data.starts_with(b"Calling"));
    let mut next = || ran.next().map(|event| Digest(event.sha256)).unwrap();
    let (loader, kernel) = (next(), next());
    let initrd = measured(9).find(|event| event.tag() == Some(b"Linux initrd".as_slice()));
    Expected {
        loaders: vec![Digest([9; 32]), loader],
        kernel: Some(kernel),
        command_line: json["cmdline"].as_str().unwrap().to_owned(),
        initrd: Some(initrd.map_or(Digest([1; 32]), |event| Digest(event.sha256))),
        pinned: vec![],
    }
}

#[test]
fn event_logs_of_real_firmware_lead_to_the_quoted_values() {
    for name in ["a", "h", "f"] {
        let (log, _, json) = log_and_values(name);
        let replayed = replay(&EventLog::parse(&log).unwrap());
        for pcr in [0, 1, 2, 3, 4, 5, 7, 9] {
            assert_eq!(
                Digest(replayed[pcr]),
                digest(json["pcrs"][pcr.to_string()].as_str().unwrap()),
                "{name} {pcr}"
            );
        }
    }
}

#[test]
fn a_node_that_booted_what_it_was_given_is_proven() {
    for name in ["a", "h"] {
        let (log, values, _) = log_and_values(name);
        assert_eq!(judge(Mode::Enforce, &expected(name), &values, Some(&log)), Outcome::Proven, "{name}");
        assert_eq!(judge(Mode::Record, &expected(name), &values, Some(&log)), Outcome::Proven, "{name}");
        assert_eq!(judge(Mode::Off, &expected(name), &values, Some(&log)), Outcome::Unchecked, "{name}");
    }
}

fn findings(expected: &Expected, values: &PcrValues, log: Option<&[u8]>) -> String {
    let Outcome::Refused(findings) = judge(Mode::Enforce, expected, values, log) else {
        panic!("not refused")
    };
    assert_eq!(judge(Mode::Record, expected, values, log), Outcome::Recorded(findings.clone()));
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_differs_is_named_with_its_pcr() {
    let (log, values, _) = log_and_values("a");
    let altered = |alter: &dyn Fn(&mut Expected)| {
        let mut expected = expected("a");
        alter(&mut expected);
        findings(&expected, &values, Some(&log))
    };
    let found = altered(&|expected| expected.initrd = Some(Digest([1; 32])));
    assert_eq!(found, "PCR 9: the initrd is not the one that we gave");
    let found = altered(&|expected| expected.command_line.push(' '));
    assert_eq!(found, "PCR 9: the kernel's command line is not the one that we gave");
    let found = altered(&|expected| expected.kernel = Some(Digest([1; 32])));
    assert!(found.contains("PCR 4: an application ran that we did not serve (sha256:c830f84c"), "{found}");
    assert!(found.contains("PCR 4: this boot's kernel did not run"), "{found}");
    let found = altered(&|expected| expected.loaders = vec![Digest([1; 32])]);
    assert!(found.contains("(sha256:f61a8d4a") && found.contains("none of the loaders"), "{found}");
    let found = altered(&|expected| expected.pinned = vec![(7, Digest([1; 32]))]);
    assert_eq!(found, "PCR 7: differs from the value of the enrolment");
    let found = altered(&|expected| expected.kernel = None);
    assert_eq!(found, "the head does not know the digest of this boot's kernel");
    assert_eq!(
        findings(&expected("a"), &values, None),
        "no event log was sent: the machine did not boot by UEFI, or its kernel shows none"
    );
}

#[test]
fn a_foreign_application_is_found_under_whatever_name_the_log_gives_it() {
    let (log, values, _) = log_and_values("a");
    let mut expected = expected("a");
    let foreign = expected.loaders.pop().unwrap();
    let at = log.windows(32).position(|octets| octets == foreign.0).unwrap();
    // PCR, type, number of digests and algorithm stand in front of the digest.
    for kind in [0x4_u32, 0x6, 0x8000_0007, 0x8000_0008, 0xd] {
        let mut log = log.clone();
        log[at - 10..at - 6].copy_from_slice(&kind.to_le_bytes());
        let found = findings(&expected, &values, Some(&log));
        assert!(
            found.contains("PCR 4: an application ran that we did not serve (sha256:f61a8d4a"),
            "{found}"
        );
    }
    // As an event that is not extended it does not lead to the value.
    let mut hidden = log;
    hidden[at - 10..at - 6].copy_from_slice(&3_u32.to_le_bytes());
    assert!(findings(&expected, &values, Some(&hidden)).contains("PCR 4: the event log does not lead"));
}

#[test]
fn an_old_loader_that_does_not_measure_the_initrd_is_named() {
    let (log, values, _) = log_and_values("f");
    let found = findings(&expected("f"), &values, Some(&log));
    assert!(found.contains("PCR 9: the loader does not measure the initrd"), "{found}");
}

#[test]
fn a_log_that_was_made_up_does_not_lead_to_the_values() {
    let (log, mut values, _) = log_and_values("a");
    let of_another_boot = log_and_values("h");
    let found = findings(&expected("a"), &of_another_boot.1, Some(&log));
    assert!(found.contains("PCR 9: the event log does not lead to the quoted value"), "{found}");
    // Extended by an initrd that was never measured, to look like the other.
    values.insert(9, [3; 32]);
    assert!(findings(&expected("a"), &values, Some(&log)).contains("PCR 9"));
    let cut = &log[..log.len() - 1];
    assert!(findings(&expected("a"), &values, Some(cut)).contains("event log: truncated"));
}

#[test]
fn each_octet_of_an_initrd_and_its_place_counts() {
    let (one, two) = (vec![1; 5000], vec![2; 10]);
    let whole = initrd_digest(&[&one, &two]);
    let filled = [one.as_slice(), &[0; 3192], &two].concat();
    assert_eq!(whole, Digest(Sha256::digest(&filled).into()));
    assert_ne!(whole, initrd_digest(&[&two, &one]));
    assert_eq!(initrd_digest(&[&one]), Digest(Sha256::digest(&one).into()), "the last is not filled");
    let (_, _, json) = log_and_values("a");
    let (log, _, _) = log_and_values("a");
    let log = EventLog::parse(&log).unwrap();
    let options =
        log.events.iter().find(|event| event.tag() == Some(b"LOADED_IMAGE::LoadOptions".as_slice()));
    assert_eq!(command_line_digest(json["cmdline"].as_str().unwrap()), Digest(options.unwrap().sha256));
}

#[test]
fn command_lines_that_open_a_door_are_not_enforced() {
    for (line, door) in [
        ("vmlinuz console=ttyS0 rd.shell", Some("rd.shell")),
        ("vmlinuz rd.break=pre-mount", Some("rd.break")),
        ("vmlinuz init=/bin/sh", Some("init=")),
        ("vmlinuz rdinit=/bin/sh", Some("rdinit=")),
        ("vmlinuz systemd.debug-shell=1", Some("systemd.debug-shell")),
        ("vmlinuz single", Some("single")),
        ("vmlinuz initrd=initrd.img singleton=1 rd.shells myinit=3", None),
    ] {
        assert_eq!(open_door(line), door, "{line}");
    }
}

#[test]
fn a_certificate_is_held_to_its_key_its_use_and_its_issuers() {
    let ek = public("ek_rsa2048.tpm2b");
    let print = EkFingerprint::of(&ek);
    let der = vector("ekcert/ek_rsa2048.der");
    let issuers: Vec<Vec<u8>> = ["ekcert/issuercert.pem", "ekcert/swtpm-localca-rootca-cert.pem"]
        .into_iter()
        .map(|name| {
            let text = vector(name);
            let (_, pem) = x509_parser::pem::parse_x509_pem(&text).unwrap();
            pem.contents
        })
        .collect();
    let read = chain::read(&der, &print, &issuers).unwrap();
    assert_eq!(read.chain, Chain::Known);
    assert!(read.manufacturer.is_some_and(|name| name.starts_with("id:")));
    assert_eq!(chain::read(&der, &print, &issuers[1..]).unwrap().chain, Chain::Unknown);
    assert_eq!(chain::read(&der, &EkFingerprint([0; 32]), &issuers), Err(ChainError::OtherKey));
    let filled = [der.as_slice(), &[0xff; 40]].concat();
    assert!(chain::read(&filled, &print, &issuers).is_ok(), "the rest of an NV index");
    assert_eq!(chain::read(&[&der[..], &[1]].concat(), &print, &issuers), Err(ChainError::Malformed));
    let mut forged = der.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(chain::read(&forged, &print, &issuers), Err(ChainError::Signature));
    assert_eq!(chain::read(&issuers[0], &EkFingerprint([0; 32]), &[]), Err(ChainError::OtherKey));
}

proptest! {
    #[test]
    fn a_credential_is_another_one_each_time(a: [u8; 32], b: [u8; 32]) {
        prop_assume!(a != b);
        let ek = public("ek_ecc_p256.tpm2b");
        let make = |scalar: [u8; 32]| credential::make(&ek, b"name", &[1; 32], &mut |into| into.copy_from_slice(&scalar));
        if let (Ok(a), Ok(b)) = (make(a), make(b)) {
            prop_assert_ne!(&a.id_object, &b.id_object);
            prop_assert_ne!(&a.encrypted_secret, &b.encrypted_secret);
        }
    }

    #[test]
    fn any_certificate_gets_a_verdict(octets: Vec<u8>) {
        prop_assert!(chain::read(&octets, &EkFingerprint([0; 32]), &[]).is_err());
    }

    #[test]
    fn an_altered_log_never_proves_a_boot(at in 0_usize..2615, bit in 0_u8..8) {
        let (mut log, values, _) = log_and_values("a");
        let good = expected("a");
        log[at] ^= 1 << bit;
        // A bit of an event's text may change without effect; what is proven is still what was expected.
        if judge(Mode::Enforce, &good, &values, Some(&log)) == Outcome::Proven {
            let replayed = replay(&EventLog::parse(&log).unwrap());
            for pcr in [0, 2, 4, 7, 9] {
                prop_assert_eq!(replayed.get(usize::from(pcr)), values.get(&pcr));
            }
        }
    }
}
