#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::base::{Level, Millis, Timestamp};
use crate::engine::trust::key_hash;
use crate::engine::trust::token::{Issuance, NodeClaims, Purpose};
use crate::model::{NodeId, SessionId};

const NOW: Timestamp = Timestamp(1_795_402_800_000);

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn claims(purpose: Purpose) -> NodeClaims {
    NodeClaims::new(purpose, NodeId(5), SessionId([9; 16]), Level::Grant, [1; 32], NOW)
}

fn body(purpose: Purpose) -> Value {
    claims(purpose).to_json(Issuance { issuer: "https://demo.example:8443", name: "nid001", id: "one" })
}

fn sign(key: &SigningKey, header: &Value, body: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(header), encode(body));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes()).to_bytes()))
}

fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "JWT", "kid": "k"})
}

fn verify(token: &str, purpose: Purpose, now: Timestamp) -> Option<NodeClaims> {
    NodeClaims::verify(token, ("k", &key().verifying_key()), purpose, now)
}

#[test]
fn a_token_counts_for_its_purpose_and_its_time() {
    for (purpose, other, life) in
        [(Purpose::Node, Purpose::CloudInit, 900), (Purpose::CloudInit, Purpose::Node, 600)]
    {
        let token = sign(&key(), &header(), &body(purpose));
        assert_eq!(verify(&token, purpose, NOW), Some(claims(purpose)));
        assert_eq!(verify(&token, other, NOW), None);
        assert!(verify(&token, purpose, NOW + Millis::from_secs(life + 60)).is_some());
        assert_eq!(verify(&token, purpose, NOW + Millis::from_secs(life + 61)), None);
        assert_eq!(verify(&token, purpose, NOW - Millis::from_secs(61)), None);
    }
}

#[test]
fn the_header_cannot_choose_how_it_is_checked() {
    let body = body(Purpose::Node);
    for header in [
        json!({"alg": "none", "typ": "JWT", "kid": "k"}),
        json!({"alg": "HS256", "typ": "JWT", "kid": "k"}),
        json!({"alg": "Ed25519", "typ": "JWT", "kid": "k"}),
        json!({"alg": "EdDSA", "typ": "JWT", "kid": "other"}),
        json!({"alg": "EdDSA", "kid": "k"}),
        json!({"alg": "EdDSA", "typ": "JWT", "kid": "k", "crit": ["exp"]}),
        json!({"alg": "EdDSA", "typ": "JWT", "kid": "k", "jku": "http://192.0.2.9/"}),
    ] {
        assert_eq!(verify(&sign(&key(), &header, &body), Purpose::Node, NOW), None, "{header}");
    }
    let mallory = SigningKey::from_bytes(&[8; 32]);
    assert_eq!(verify(&sign(&mallory, &header(), &body), Purpose::Node, NOW), None);
}

#[test]
fn a_claim_that_is_missing_or_of_another_kind_is_not_as_good_as_there() {
    for claim in ["sub", "aud", "sid", "lvl", "cnf", "iat", "nbf", "exp"] {
        for bad in [json!(null), json!("7"), json!(1.5), json!([]), json!({})] {
            let mut body = body(Purpose::Node);
            body[claim] = bad.clone();
            assert_eq!(verify(&sign(&key(), &header(), &body), Purpose::Node, NOW), None, "{claim} {bad}");
        }
    }
}

#[test]
fn a_huge_token_is_not_even_read() {
    let mut body = body(Purpose::Node);
    body["filler"] = json!("x".repeat(9000));
    assert_eq!(verify(&sign(&key(), &header(), &body), Purpose::Node, NOW), None);
}

#[test]
fn the_thumbprint_is_that_of_rfc_7638() {
    // SHA-256 of {"crv":"X25519","kty":"OKP","x":"AAAA…"}, by another implementation.
    assert_eq!(URL_SAFE_NO_PAD.encode(key_hash(&[0; 32])), "pQ_Ju9rGrY8r8y1U2Bwe6AFT24F9FYzKVORewAA-TF8");
}

proptest! {
    #[test]
    fn any_text_gets_a_verdict(text in "\\PC{0,200}", dots in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,90}") {
        prop_assert_eq!(verify(&text, Purpose::Node, NOW), None);
        prop_assert_eq!(verify(&dots, Purpose::Node, NOW), None);
    }
}
