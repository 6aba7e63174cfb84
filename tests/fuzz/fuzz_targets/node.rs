//! Any bytes as what a head and a node that boots say to each other: grants, lists of keys, sealed bundles and what is
//! in them, tokens. A verdict, no panic, and nothing counts that nobody signed.
#![no_main]

use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use muster::base::Timestamp;
use muster::engine::trust::contents::Contents;
use muster::engine::trust::grant::Grant;
use muster::engine::trust::keyset::{Anchor, Key, Keyset, Use, fingerprint};
use muster::engine::trust::sealed::{Bundle, Expected, Psk};
use muster::engine::trust::token::{NodeClaims, Purpose};
use serde_json::Value;

const NOW: Timestamp = Timestamp(1_795_402_800_000);

fuzz_target!(|data: &[u8]| {
    let Some((kind, octets)) = data.split_first() else { return };
    let site = SigningKey::from_bytes(&[1; 32]);
    let public = site.verifying_key();
    match kind % 5 {
        0 => {
            let Ok(grant) = Grant::parse(octets) else { return };
            // What is read is made again the same, inside its archive.
            let archive = grant.archive();
            assert!(archive.windows(6).any(|part| part == b"070701"));
        }
        1 => {
            let Ok(contents) = Contents::parse(octets) else { return };
            assert!(Contents::parse(&contents.emit()).is_ok(), "what is read can be written");
        }
        2 => {
            let Ok(value) = serde_json::from_slice::<Value>(octets) else { return };
            let root = fingerprint(public.as_bytes());
            let anchor = Anchor { root: &root, least_epoch: 1, now: Some(NOW.0 / 1000) };
            assert!(Keyset::open(&value, anchor).is_err(), "the root signed nothing");
        }
        3 => {
            let Ok(value) = serde_json::from_slice::<Value>(octets) else { return };
            let Ok(bundle) = Bundle::from_json(&value) else { return };
            let key = Key { kid: "env".to_owned(), used: Use::Envelope, public: public.to_bytes() };
            let keys = Keyset { epoch: 1, not_after: u64::MAX, keys: vec![key] };
            let expected = Expected { session: "aaaaaaaaaaaaaaaaaaaaaaaaaa", least_seq: 0 };
            let psk = Psk { id: "attest-1", secret: &[5; 32] };
            assert!(bundle.open(&keys, &[4; 32], None, expected).is_err());
            let expected = Expected { session: "aaaaaaaaaaaaaaaaaaaaaaaaaa", least_seq: 0 };
            assert!(bundle.open(&keys, &[4; 32], Some(psk), expected).is_err());
        }
        _ => {
            let Ok(text) = std::str::from_utf8(octets) else { return };
            // The header is in order, so that what follows is read.
            let token = format!("eyJhbGciOiJFZERTQSIsImtpZCI6ImsiLCJ0eXAiOiJKV1QifQ.{text}");
            for purpose in [Purpose::Node, Purpose::CloudInit] {
                assert_eq!(NodeClaims::verify(&token, ("k", &public), purpose, NOW), None);
                assert_eq!(NodeClaims::verify(text, ("k", &public), purpose, NOW), None);
            }
        }
    }
});
