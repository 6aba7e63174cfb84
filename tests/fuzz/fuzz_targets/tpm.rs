//! Any bytes as what a node shows of its TPM: no panic, and what is accepted is what was read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster::engine::attest::keys::EkFingerprint;
use muster::engine::attest::policy::{Expected, Mode, judge};
use muster::engine::attest::quote::{PcrValues, Starts, Wanted, check};
use muster::engine::attest::{authenticode, chain, check_ak, check_ek, credential};
use muster::wire::tpm::{Attest, Credential, EventLog, Public, Signature};

fuzz_target!(|data: &[u8]| {
    let Some((kind, octets)) = data.split_first() else { return };
    match kind % 6 {
        0 => {
            let Ok(public) = Public::parse(octets) else { return };
            assert_eq!(public.emit(), octets);
            let _ = check_ak(&public);
            if check_ek(&public).is_ok() {
                let made = credential::make(&public, b"name", &[1; 32], &mut |into| into.fill(3));
                assert!(made.is_ok(), "a checked key takes a credential");
                let _ = EkFingerprint::of(&public).code();
            }
            let wanted =
                Wanted { ak: &public, extra_data: &[0; 32], pcrs: &[0], starts: Starts::default() };
            let _ = check(wanted, octets, octets, &PcrValues::new());
        }
        1 => {
            let Ok(quote) = Attest::parse(octets) else { return };
            assert_eq!(quote.emit(), octets);
        }
        2 => {
            let Ok(signature) = Signature::parse(octets) else { return };
            assert_eq!(signature.emit(), octets);
        }
        3 => {
            let _ = EventLog::parse(octets);
            let _ = judge(Mode::Record, &Expected::default(), &PcrValues::new(), Some(octets));
        }
        4 => {
            let _ = authenticode::digest(octets);
            let _ = chain::read(octets, &EkFingerprint([0; 32]), &[]);
        }
        _ => {
            let Ok(credential) = Credential::parse_tools_blob(octets) else { return };
            assert_eq!(credential.tools_blob(), octets);
        }
    }
});
