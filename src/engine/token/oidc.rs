//! What another issuer's ID token says of a person (OpenID Connect Core 1.0), and which role follows from it.
//!
//! The values that bind a login to one browser (state, nonce, PKCE verifier) all follow from one random text that this
//! browser keeps: whoever has not that text can neither begin a login for somebody else nor end one.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::base::Timestamp;
use crate::base::limits::{OIDC_FRESH, OIDC_GROUPS_MAX, OIDC_NAME_CHARS_MAX, TOKEN_LEEWAY};
use crate::engine::token::{Refusal, Trust};
use crate::model::Role;

/// Which groups of the provider have which role here. Nobody has one by default.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Roles {
    pub viewers: Vec<String>,
    pub operators: Vec<String>,
    pub admins: Vec<String>,
}

/// What a login expects.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub issuer: &'a str,
    /// Our name at the provider.
    pub client: &'a str,
    pub nonce: &'a str,
    pub now: Timestamp,
}

/// Why an ID token does not count.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdError {
    #[error("the provider's key for this token is not known")]
    UnknownKey,
    #[error("the token is not the provider's, or is none")]
    Token,
    #[error("the token is of another issuer")]
    Issuer,
    #[error("the token is for another client")]
    Audience,
    #[error("the token is of another login")]
    Nonce,
    #[error("the token has expired, or is not valid yet; is the clock right?")]
    Time,
    #[error("the claim {0} is missing, or is not what it should be")]
    Claim(String),
}

/// A value that follows from what the browser keeps.
#[must_use]
pub fn derived(kept: &str, what: &str) -> String {
    let digest = Sha256::new_with_prefix(b"muster-oidc-v1\0").chain_update(what).chain_update([0]);
    URL_SAFE_NO_PAD.encode(digest.chain_update(kept).finalize())
}

/// What the provider is shown of a verifier: `S256` of RFC 7636 section 4.2.
#[must_use]
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// True if the two texts are the same. How long it takes tells nothing.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// Judges an ID token (OpenID Connect Core 1.0 section 3.1.3.7), and gives its claims.
///
/// # Errors
/// Why it does not count.
pub fn judge(keys: &Trust, token: &str, expected: Expected<'_>) -> Result<Map<String, Value>, IdError> {
    let claims = keys.signed_claims(token).map_err(|refusal| match refusal {
        Refusal::UnknownKey => IdError::UnknownKey,
        _ => IdError::Token,
    })?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(IdError::Issuer);
    }
    let for_us = match claims.get("aud") {
        Some(Value::String(one)) => one == expected.client,
        // With several, the one it was given to must be us.
        Some(Value::Array(many)) => {
            many.iter().any(|one| one == expected.client)
                && (many.len() == 1 || text("azp") == Some(expected.client))
        }
        _ => false,
    };
    if !for_us || claims.get("azp").is_some_and(|party| party != expected.client) {
        return Err(IdError::Audience);
    }
    if !text("nonce").is_some_and(|nonce| same(nonce, expected.nonce)) {
        return Err(IdError::Nonce);
    }
    let time = |name: &str| match claims.get(name).and_then(Value::as_u64) {
        Some(seconds) => Ok(Timestamp(seconds.saturating_mul(1000))),
        None => Err(IdError::Claim(name.to_owned())),
    };
    let (issued, expires) = (time("iat")?, time("exp")?);
    if expected.now.since(expires) > TOKEN_LEEWAY || issued.since(expected.now) > TOKEN_LEEWAY {
        return Err(IdError::Time);
    }
    if claims.get("nbf").is_some() && time("nbf")?.since(expected.now) > TOKEN_LEEWAY {
        return Err(IdError::Time);
    }
    if text("sub").is_none_or(str::is_empty) {
        return Err(IdError::Claim("sub".to_owned()));
    }
    Ok(claims)
}

/// The name of a person, from the claim that the configuration names. It goes into logs and pages: what could move a
/// cursor or pass for something else there is no name.
///
/// # Errors
/// The claim is missing, or no name.
pub fn name(claims: &Map<String, Value>, claim: &str) -> Result<String, IdError> {
    let name = claims.get(claim).and_then(Value::as_str).unwrap_or_default();
    let is_plain = name.chars().all(|c| c.is_ascii_graphic());
    if name.is_empty() || name.chars().count() > OIDC_NAME_CHARS_MAX || !is_plain {
        return Err(IdError::Claim(claim.to_owned()));
    }
    Ok(name.to_owned())
}

/// When the person was asked for a password last, by the provider's word, if that was just now.
#[must_use]
pub fn proved(claims: &Map<String, Value>, now: Timestamp) -> Option<Timestamp> {
    let seconds = claims.get("auth_time").and_then(Value::as_u64)?;
    let at = Timestamp(seconds.saturating_mul(1000));
    (now.since(at) < OIDC_FRESH && at.since(now) <= TOKEN_LEEWAY).then_some(at)
}

impl Roles {
    /// The highest role of somebody in these groups: a text or a list of texts. None: none at all.
    #[must_use]
    pub fn of(&self, groups: Option<&Value>) -> Option<Role> {
        let groups: Vec<&str> = match groups? {
            Value::String(one) => vec![one],
            Value::Array(many) => many.iter().take(OIDC_GROUPS_MAX).filter_map(Value::as_str).collect(),
            _ => return None,
        };
        let among = |wanted: &[String]| wanted.iter().any(|wanted| groups.contains(&wanted.as_str()));
        let roles =
            [(&self.admins, Role::Admin), (&self.operators, Role::Operator), (&self.viewers, Role::Viewer)];
        roles.into_iter().find(|(wanted, _)| among(wanted)).map(|(_, role)| role)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _};
    use serde_json::{Value, json};

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use crate::base::Timestamp;
    use crate::engine::token::Trust;
    use crate::engine::token::oidc::{Expected, IdError, Roles, challenge, derived, judge, name, proved};
    use crate::model::Role;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn expected() -> Expected<'static> {
        Expected { issuer: "https://idp.example", client: "muster", nonce: "n", now: NOW }
    }

    fn good() -> Value {
        json!({
            "iss": "https://idp.example", "aud": "muster", "sub": "1", "nonce": "n",
            "iat": 1_800_000_000, "exp": 1_800_000_060, "auth_time": 1_799_999_900,
        })
    }

    /// Signs claims and judges them.
    fn judged(claims: &Value) -> Result<(), IdError> {
        let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.der_bytes());
        let set = json!({"keys": [
            {"kty": "RSA", "kid": "odd", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"},
            {"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x},
        ]});
        let keys = Trust::of_provider(&set).unwrap();
        let header = Header { kid: Some("k".to_owned()), ..Header::new(Algorithm::EdDSA) };
        let token = encode(&header, claims, &EncodingKey::from_ed_der(&pair.serialize_der())).unwrap();
        judge(&keys, &token, expected()).map(drop)
    }

    #[test]
    fn a_token_counts_for_this_login_of_this_client_alone() {
        assert_eq!(judged(&good()), Ok(()));
        let with = |name: &str, value: Value| {
            let mut claims = good();
            claims[name] = value;
            judged(&claims)
        };
        assert_eq!(with("iss", json!("https://idp.example/")), Err(IdError::Issuer));
        assert_eq!(with("aud", json!("other")), Err(IdError::Audience));
        assert_eq!(with("aud", json!(["muster"])), Ok(()));
        assert_eq!(with("aud", json!(["muster", "other"])), Err(IdError::Audience), "nobody says for whom");
        assert_eq!(with("azp", json!("other")), Err(IdError::Audience));
        assert_eq!(with("nonce", json!("m")), Err(IdError::Nonce));
        assert_eq!(with("nonce", Value::Null), Err(IdError::Nonce));
        assert_eq!(with("exp", json!(1_799_999_000)), Err(IdError::Time));
        assert_eq!(with("iat", json!(1_800_001_000)), Err(IdError::Time));
        assert_eq!(with("nbf", json!(1_800_001_000)), Err(IdError::Time));
        for (name, value) in [("exp", json!("1800000060")), ("iat", Value::Null), ("sub", json!(""))] {
            assert_eq!(with(name, value), Err(IdError::Claim(name.to_owned())));
        }
    }

    #[test]
    fn a_token_of_another_key_or_none_does_not_count() {
        let keys = Trust::of_provider(&json!({"keys": []})).unwrap();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"k"}"#);
        for bad in ["", "a.b.c", &format!("{header}.e30.")] {
            assert_eq!(judge(&keys, bad, expected()).map(drop), Err(IdError::Token), "{bad}");
        }
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#);
        assert_eq!(judge(&keys, &format!("{header}.e30.AA"), expected()).map(drop), Err(IdError::UnknownKey));
    }

    #[test]
    fn groups_give_the_highest_role_and_nobody_has_one_by_himself() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let roles =
            Roles { viewers: list(&["all"]), operators: list(&["ops"]), admins: list(&["root", "hpc"]) };
        let of = |groups: Value| roles.of(Some(&groups));
        assert_eq!(of(json!(["all", "hpc", "ops"])), Some(Role::Admin));
        assert_eq!(of(json!(["all", "ops"])), Some(Role::Operator));
        assert_eq!(of(json!("all")), Some(Role::Viewer));
        assert_eq!(
            (of(json!([])), of(json!(["Root"])), of(json!({"all": true})), of(json!(1))),
            (None, None, None, None)
        );
        assert_eq!((roles.of(None), Roles::default().of(Some(&json!(["", "admin"])))), (None, None));
    }

    #[test]
    fn names_are_plain_and_a_fresh_login_is_a_recent_one() {
        let claims = |value: Value| json!({"preferred_username": value}).as_object().unwrap().clone();
        let of = |value: Value| name(&claims(value), "preferred_username").ok();
        assert_eq!(of(json!("alice@example.org")).as_deref(), Some("alice@example.org"));
        for bad in
            [json!(""), json!("a b"), json!("\u{202e}ecila"), json!("x".repeat(200)), json!(7), Value::Null]
        {
            assert_eq!(of(bad.clone()), None, "{bad}");
        }
        let at = |seconds: Value| proved(json!({"auth_time": seconds}).as_object().unwrap(), NOW);
        assert_eq!(at(json!(1_799_999_900)), Some(Timestamp(1_799_999_900_000)));
        assert_eq!(
            (at(json!(1_799_999_000)), at(json!(1_800_009_000)), at(json!("1799999900"))),
            (None, None, None)
        );
    }

    /// RFC 7636 appendix B.
    #[test]
    fn a_challenge_is_that_of_the_rfc() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        let all = ["state", "nonce", "verifier"].map(|what| derived("kept", what));
        assert!(all.iter().all(|one| one.len() == 43) && all[0] != all[1] && all[1] != all[2]);
        assert_ne!(derived("kept", "state"), derived("kepu", "state"));
    }
}
