use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{DecodingKey, EncodingKey, Validation};
use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

use crate::base::{Millis, Timestamp};
use crate::engine::token::{Claims, KeyError, Refusal, Trust, Verified};
use crate::model::Role;

const NOW: Timestamp = Timestamp(1_795_402_800_000);
const SECONDS: u64 = NOW.0 / 1000;

/// A key of which both halves are at hand.
struct Pair {
    key: KeyPair,
    jwk: Jwk,
}

fn pair() -> Pair {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let decoding = DecodingKey::from_ed_der(key.der_bytes());
    let mut jwk = Jwk::from_decoding_key(&decoding, Some(jsonwebtoken::Algorithm::EdDSA)).unwrap();
    jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).unwrap());
    Pair { key, jwk }
}

impl Pair {
    fn kid(&self) -> &str {
        self.jwk.common.key_id.as_deref().unwrap()
    }

    fn trust(&self) -> Trust {
        Trust::own(std::slice::from_ref(&self.jwk))
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn header(&self) -> Value {
        json!({"alg": "EdDSA", "typ": "JWT", "kid": self.kid()})
    }

    /// The verdict on the usual token after `edit`.
    fn judge(&self, edit: impl FnOnce(&mut Value)) -> Result<Verified, Refusal> {
        let mut claims = claims().to_json();
        edit(&mut claims);
        self.trust().verify(&self.sign(&self.header(), &claims), NOW)
    }
}

fn claims() -> Claims {
    Claims {
        issuer: "https://demo.example:8443".to_owned(),
        cluster: "demo".to_owned(),
        subject: "alice".to_owned(),
        role: Role::Operator,
        issued: NOW,
        life: Millis::from_secs(600),
        id: "one".to_owned(),
        client: None,
        user: None,
        areas: Vec::new(),
    }
}

#[test]
fn a_good_token_says_who_and_what() {
    let verified = pair().judge(|_| {}).unwrap();
    let wanted = Verified {
        subject: "alice".to_owned(),
        role: Role::Operator,
        id: Some("one".to_owned()),
        client: None,
        user: None,
        areas: Vec::new(),
        own: true,
        issued: NOW,
        expires: NOW + Millis::from_secs(600),
    };
    assert_eq!(verified, wanted);
}

#[test]
fn times_are_checked_with_a_minute_of_leeway() {
    let pair = pair();
    for (claim, seconds, wanted) in [
        ("exp", SECONDS - 59, None),
        ("exp", SECONDS - 61, Some(Refusal::Expired)),
        ("nbf", SECONDS + 59, None),
        ("nbf", SECONDS + 61, Some(Refusal::NotYet)),
        ("iat", SECONDS + 59, None),
        ("iat", SECONDS + 61, Some(Refusal::NotYet)),
        ("exp", u64::MAX, None),
    ] {
        assert_eq!(pair.judge(|claims| claims[claim] = json!(seconds)).err(), wanted, "{claim} {seconds}");
    }
}

#[test]
fn a_time_that_is_no_whole_number_is_not_as_good_as_absent() {
    let pair = pair();
    for claim in ["exp", "nbf", "iat"] {
        for value in [json!("1"), json!(1.5), json!(-1), json!(null), json!([]), json!(1e300)] {
            let verdict = pair.judge(|claims| claims[claim] = value.clone());
            assert_eq!(verdict, Err(Refusal::Claim(claim)), "{claim} {value}");
        }
    }
}

#[test]
fn required_claims_must_be_there_and_an_empty_audience_is() {
    let pair = pair();
    for claim in ["sub", "iss", "aud", "exp"] {
        let verdict = pair.judge(|claims| drop(claims.as_object_mut().unwrap().remove(claim)));
        assert_eq!(verdict, Err(Refusal::Missing(claim)));
        assert_eq!(Refusal::Missing(claim).to_string(), format!("missing required claim {claim}"));
    }
    for good in [json!([]), json!("openchami"), json!(["openchami", "demo"])] {
        assert!(pair.judge(|claims| claims["aud"] = good.clone()).is_ok(), "{good}");
    }
    for other in [json!("muster:node"), json!(["demo"]), json!(7), json!({}), json!("")] {
        assert_eq!(pair.judge(|claims| claims["aud"] = other.clone()), Err(Refusal::Claim("aud")), "{other}");
    }
    assert_eq!(pair.judge(|claims| claims["sub"] = json!(7)), Err(Refusal::Claim("sub")));
}

#[test]
fn the_highest_known_role_counts_and_none_is_none() {
    let pair = pair();
    let role = |roles: Value| pair.judge(|claims| claims["roles"] = roles).map(|verified| verified.role);
    assert_eq!(role(json!(["viewer", "admin", "emperor", 7])), Ok(Role::Admin));
    for roles in [json!([]), json!("admin"), json!(["Admin"]), json!(null), json!({"admin": true})] {
        assert_eq!(role(roles.clone()), Err(Refusal::NoRole), "{roles}");
    }
}

#[test]
fn the_header_cannot_choose_how_it_is_checked() {
    let pair = pair();
    let (kid, claims) = (pair.kid(), claims().to_json());
    let mallory = self::pair();
    for (header, wanted) in [
        (json!({"alg": "none", "kid": kid}), Refusal::Malformed),
        (json!({"alg": "HS256", "kid": kid}), Refusal::Algorithm),
        (json!({"alg": "RS256", "kid": kid}), Refusal::Algorithm),
        (json!({"alg": "EdDSA"}), Refusal::UnknownKey),
        (json!({"alg": "EdDSA", "kid": "other"}), Refusal::UnknownKey),
        (json!({"alg": "EdDSA", "kid": kid, "crit": ["exp"]}), Refusal::Malformed),
        (json!({"alg": "EdDSA", "kid": kid, "jku": "https://192.0.2.9/"}), Refusal::Malformed),
        (json!({"alg": "EdDSA", "kid": kid, "jwk": mallory.jwk}), Refusal::Malformed),
        (json!({"alg": "EdDSA", "kid": kid, "x5c": ["MA=="]}), Refusal::Malformed),
        (json!({"alg": "EdDSA", "kid": kid, "b64": false}), Refusal::Malformed),
        (json!({"alg": "EdDSA", "kid": kid, "typ": "dpop+jwt"}), Refusal::Malformed),
    ] {
        assert_eq!(pair.trust().verify(&pair.sign(&header, &claims), NOW), Err(wanted), "{header}");
    }
    let forged = mallory.sign(&pair.header(), &claims);
    assert_eq!(pair.trust().verify(&forged, NOW), Err(Refusal::Signature));
}

#[test]
fn a_public_key_used_as_a_shared_secret_signs_nothing() {
    let pair = pair();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some(pair.kid().to_owned());
    let key = EncodingKey::from_secret(pair.key.der_bytes());
    let token = jsonwebtoken::encode(&header, &claims().to_json(), &key).unwrap();
    assert_eq!(pair.trust().verify(&token, NOW), Err(Refusal::Algorithm));
}

#[test]
fn cut_and_altered_tokens_are_refused() {
    let pair = pair();
    let (trust, token) = (pair.trust(), pair.sign(&pair.header(), &claims().to_json()));
    for end in 0..token.len() {
        assert!(trust.verify(&token[..end], NOW).is_err(), "cut at {end}");
    }
    for at in 0..token.len() {
        let mut octets = token.clone().into_bytes();
        octets[at] = if octets[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(octets).unwrap();
        assert!(trust.verify(&altered, NOW).is_err(), "altered at {at}");
    }
    for text in [format!("{token}."), format!("{token}.x"), format!(".{token}"), "a.b.c".to_owned()] {
        assert!(trust.verify(&text, NOW).is_err(), "{text}");
    }
}

#[test]
fn a_huge_token_is_not_even_read() {
    let pair = pair();
    let mut claims = claims().to_json();
    claims["filler"] = json!("x".repeat(10_000));
    let token = pair.sign(&pair.header(), &claims);
    assert_eq!(pair.trust().verify(&token, NOW), Err(Refusal::TooLong));
}

#[test]
fn tokens_of_a_foreign_issuer_get_the_role_of_the_configuration() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let (x, y) = key.der_bytes()[1..].split_at(32);
    let encode = |octets: &[u8]| URL_SAFE_NO_PAD.encode(octets);
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "hydra", "x": encode(x), "y": encode(y)});
    let encryption = json!({"kty": "EC", "crv": "P-256", "use": "enc", "x": encode(x), "y": encode(y)});
    let own = pair();
    let mut trust = own.trust();
    trust.add(&json!({"keys": [encryption, jwk]}).to_string(), Role::Viewer).unwrap();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    header.kid = Some("hydra".to_owned());
    let signing = EncodingKey::from_ec_der(&key.serialize_der());
    let claims = json!({
        "iss": "http://hydra", "sub": "tool", "aud": [], "exp": SECONDS + 60, "roles": ["admin"], "scp": ["openid"],
    });
    let token = jsonwebtoken::encode(&header, &claims, &signing).unwrap();
    let verified = trust.verify(&token, NOW).unwrap();
    assert_eq!((verified.role, verified.own, verified.subject.as_str()), (Role::Viewer, false, "tool"));
    assert!(own.trust().verify(&token, NOW).is_err());
}

#[test]
fn a_key_set_that_cannot_be_used_says_which_key() {
    let secret = json!({"kty": "oct", "kid": "shared", "k": "c2VjcmV0"});
    for (set, wanted) in [
        ("nonsense".to_owned(), KeyError::Format),
        (json!({"keys": {}}).to_string(), KeyError::Format),
        (json!({"keys": [secret]}).to_string(), KeyError::Kind("shared".to_owned())),
        (json!({"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}).to_string(), KeyError::NoId(0)),
        (json!({"keys": vec![json!({"kid": "a"}); 65]}).to_string(), KeyError::TooMany),
    ] {
        assert_eq!(Trust::default().add(&set, Role::Viewer), Err(wanted), "{set}");
    }
}

#[test]
fn another_implementation_takes_our_tokens() {
    let pair = pair();
    let mut claims = claims();
    // This one reads the clock.
    claims.life = Millis(u64::MAX / 4);
    let token = pair.sign(&pair.header(), &claims.to_json());
    let mut validation = Validation::new(jsonwebtoken::Algorithm::EdDSA);
    validation.set_audience(&["openchami"]);
    validation.set_issuer(&["https://demo.example:8443"]);
    let key = DecodingKey::from_ed_der(pair.key.der_bytes());
    assert!(jsonwebtoken::decode::<Value>(&token, &key, &validation).is_ok());
}

proptest! {
    #[test]
    fn any_text_gets_a_verdict(text in "\\PC{0,300}", dots in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
        let trust = pair().trust();
        prop_assert!(trust.verify(&text, NOW).is_err());
        prop_assert!(trust.verify(&dots, NOW).is_err());
    }
}
