//! Attestation with a real TPM: swtpm, a private one for each test, with the keys of the vectors. What the head
//! makes is unpacked by the helper's own commands and by tpm2-tools; what the TPM quotes is judged by the head.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod swtpm;

use std::fs;

use muster::engine::attest::credential::make;
use muster::engine::attest::quote::{PCRS, QuoteError, Quoted, Starts, Wanted, check, check_boot};
use muster::engine::attest::{authenticode, binding, check_ak, check_ek, policy};
use muster::wire::tpm::command::{Answer, AnswerError, Code, Command as Tpm2, Handle};
use muster::wire::tpm::{EventKind, EventLog, Hash, Public, Selection, extend, template};

use crate::swtpm::{Swtpm, fixture};

const SECRET: [u8; 32] = *b"0123456789abcdef0123456789ABCDEF";

fn dice() -> impl FnMut(&mut [u8]) {
    |into: &mut [u8]| getrandom::fill(into).unwrap()
}

/// Endorsement keys of the three kinds: two stand ready, one is made from its template.
fn endorsement_keys(tpm: &mut Swtpm) -> Vec<(Handle, Public)> {
    let ready = [0x8101_0001, 0x8101_0016].map(|handle| (handle, tpm.public(handle)));
    let (handle, public) = tpm.created(&template::ek_p256());
    [&ready[..], &[(handle, public)]].concat()
}

#[test]
fn a_tpm_unpacks_the_credentials_that_the_head_makes_for_each_kind_of_key() {
    let mut tpm = Swtpm::start("state");
    let (ak, ak_public) = tpm.created(&template::ak_p256());
    assert_eq!(check_ak(&ak_public), Ok(()));
    assert_eq!(
        ak_public.emit(),
        fs::read(fixture("ak_primary_noda_p256.tpm2b")).unwrap(),
        "the same each time"
    );
    for (handle, ek) in endorsement_keys(&mut tpm) {
        assert_eq!(check_ek(&ek), Ok(()));
        for _ in 0..5 {
            let credential = make(&ek, &ak_public.name(), &SECRET, &mut dice()).unwrap();
            assert_eq!(tpm.activate(ak, (handle, &ek), &credential).unwrap(), SECRET, "0x{handle:08x}");
        }
    }
}

#[test]
fn a_tpm_refuses_credentials_that_are_not_for_it_or_were_altered() {
    let mut tpm = Swtpm::start("state");
    let (ak, ak_public) = tpm.created(&template::ak_p256());
    let ek = (0x8101_0016, tpm.public(0x8101_0016));
    let ek = (ek.0, &ek.1);
    let good = make(ek.1, &ak_public.name(), &SECRET, &mut dice()).unwrap();
    for (part, at) in [(0, 3), (0, 60), (1, 4)] {
        let mut bad = good.clone();
        let octets = if part == 0 { &mut bad.id_object } else { &mut bad.encrypted_secret };
        octets[at] ^= 1;
        assert!(matches!(tpm.activate(ak, ek, &bad), Err(AnswerError::Code(_))), "part {part}, octet {at}");
    }
    let mut name = ak_public.name();
    name[5] ^= 1;
    let other = make(ek.1, &name, &SECRET, &mut dice()).unwrap();
    assert_eq!(
        tpm.activate(ak, ek, &other),
        Err(AnswerError::Code(Code(0x1df))),
        "for another attestation key"
    );
    assert_eq!(tpm.activate(ak, ek, &good).unwrap(), SECRET, "the TPM goes on");
}

fn judged(tpm: &mut Swtpm, ak: (Handle, &Public), starts: Starts) -> Result<Quoted, QuoteError> {
    let extra_data = binding::extra_data(&[1; 32], "attest-1", &[2; 32]);
    let (attest, signature) = tpm.quote(ak.0, &extra_data);
    let values = tpm.values();
    let wanted = Wanted { ak: ak.1, extra_data: &extra_data, pcrs: &PCRS, starts };
    let quoted = check(wanted, &attest, &signature, &values)?;
    check_boot(&values, 15)?;
    Ok(quoted)
}

#[test]
fn a_tpm_is_good_for_one_release_of_secrets_in_each_start() {
    let mut tpm = Swtpm::start("state");
    let (ak, public) = tpm.created(&template::ak_p256());
    let bare = judged(&mut tpm, (ak, &public), Starts::default());
    assert_eq!(bare, Err(QuoteError::Unmeasured(0)), "nothing measured this start");
    tpm.measure(0, [1; 32]);
    tpm.measure(4, [2; 32]);
    assert_eq!(tpm.values()[&0], extend(&[0; 32], &[1; 32]));
    let first = judged(&mut tpm, (ak, &public), Starts::default()).unwrap();
    let again = Starts { delivered: None, session: Some(first.reset_count) };
    assert_eq!(judged(&mut tpm, (ak, &public), again), Ok(first));

    tpm.measure(15, binding::latch());
    assert_eq!(judged(&mut tpm, (ak, &public), again), Err(QuoteError::Latched(15)));

    let mut tpm = tpm.cut_power();
    let (ak, same) = tpm.created(&template::ak_p256());
    assert_eq!(same, public);
    tpm.measure(0, [1; 32]);
    tpm.measure(4, [2; 32]);
    let used = Starts { delivered: Some(first.reset_count), session: None };
    let next = judged(&mut tpm, (ak, &public), used).unwrap();
    assert_eq!(next.reset_count, first.reset_count + 1);
    let used = Starts { delivered: Some(next.reset_count), session: None };
    assert!(matches!(judged(&mut tpm, (ak, &public), used), Err(QuoteError::Used { .. })));
}

#[test]
fn a_tpm_in_lockout_still_attests_with_our_keys_and_names_the_lockout_with_others() {
    let mut tpm = Swtpm::start("state_dalockout");
    let (ak, public) = tpm.created(&template::ak_p256());
    tpm.measure(0, [1; 32]);
    tpm.measure(4, [2; 32]);
    assert!(judged(&mut tpm, (ak, &public), Starts::default()).is_ok());
    let ek = tpm.public(0x8101_0001);
    let credential = make(&ek, &public.name(), &SECRET, &mut dice()).unwrap();
    assert_eq!(tpm.activate(ak, (0x8101_0001, &ek), &credential).unwrap(), SECRET);
    tpm.send(&Tpm2::flush(ak));

    let mut guarded = template::ak_p256();
    guarded.attributes &= !muster::wire::tpm::attributes::NO_DA;
    let (ak, _) = tpm.created(&guarded);
    let answer = tpm.send(&Tpm2::quote(ak, &[0; 32], Selection::sha256(&PCRS)));
    let error = Answer::parse(&answer).unwrap_err();
    assert_eq!(error, AnswerError::Code(Code::LOCKOUT));
    assert!(error.to_string().starts_with("TPM lockout"));
}

#[test]
fn the_recipe_for_tpm2_tools_attests_too() {
    let mut tpm = Swtpm::start("state");
    tpm.measure(0, [1; 32]);
    tpm.measure(4, [2; 32]);
    tpm.tool(
        "tpm2_createprimary -Q -C e -g sha256 -G ecc256:ecdsa-sha256:null -a \
         fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda -c ak.ctx",
    );
    tpm.tool("tpm2_readpublic -Q -c ak.ctx -o ak.tpm2b");
    tpm.tool("tpm2_flushcontext -t");
    tpm.tool("tpm2_readpublic -Q -c 0x81010001 -o ek.tpm2b");
    let read = |tpm: &Swtpm, name: &str| fs::read(tpm.folder.path().join(name)).unwrap();
    let (ak, ek) = (read(&tpm, "ak.tpm2b"), read(&tpm, "ek.tpm2b"));
    let (ak, ek) = (Public::parse(&ak).unwrap(), Public::parse(&ek).unwrap());
    let blob = make(&ek, &ak.name(), &SECRET, &mut dice()).unwrap().tools_blob();
    fs::write(tpm.folder.path().join("blob"), blob).unwrap();
    tpm.tool("tpm2_startauthsession --policy-session -S s");
    tpm.tool("tpm2_policysecret -Q -S s -c e");
    tpm.tool("tpm2_activatecredential -Q -c ak.ctx -C 0x81010001 -i blob -o secret -P session:s");
    tpm.tool("tpm2_flushcontext s");
    assert_eq!(read(&tpm, "secret"), SECRET);
    let extra_data = binding::extra_data(&[1; 32], "attest-1", &[2; 32]);
    let hex: String = extra_data.iter().map(|octet| format!("{octet:02x}")).collect();
    tpm.tool(&format!(
        "tpm2_quote -Q -c ak.ctx -l sha256:0,2,4,7,9,15 -q {hex} -m attest -s sig -f plain -g sha256"
    ));
    let values = tpm.values();
    let wanted = Wanted { ak: &ak, extra_data: &extra_data, pcrs: &PCRS, starts: Starts::default() };
    assert!(check(wanted, &read(&tpm, "attest"), &read(&tpm, "sig"), &values).is_ok());
    assert_eq!(ek.name_alg, Hash::Sha256);
    tpm.stream = None;
    let latch: String = binding::latch().iter().map(|octet| format!("{octet:02x}")).collect();
    tpm.tool(&format!("tpm2_pcrextend 15:sha256={latch}"));
    assert_eq!(check_boot(&tpm.values(), 15), Err(QuoteError::Latched(15)));
}

#[test]
fn the_loader_of_the_lab_has_the_digest_that_firmware_measured_of_it() {
    let cache = std::env::var("MUSTER_LAB_CACHE").unwrap_or("/var/cache/muster-lab".to_owned());
    let loader = fs::read(format!("{cache}/loaders/ipxe-amd64.efi")).expect("tests/vm/setup fetches it");
    let log = fs::read(fixture("eventlog/a.binary_bios_measurements")).unwrap();
    let log = EventLog::parse(&log).unwrap();
    let ran = log.events.iter().find(|event| event.kind == EventKind::BootServicesApplication).unwrap();
    assert_eq!(authenticode::digest(&loader).unwrap().0, ran.sha256);
    assert!(policy::measures(&loader), "it is new enough to give initrds to the kernel's own protocol");
    let other = fs::read(format!("{cache}/vmlinuz")).unwrap();
    assert!(!policy::measures(&other) && !policy::measures(b"iPXE"), "what loads nothing measures nothing");
}
