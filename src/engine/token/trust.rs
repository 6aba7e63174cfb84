//! Whose tokens count, and whether this is one of them.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::{Map, Value};

use crate::base::Timestamp;
use crate::base::limits::{FOREIGN_KEYS_MAX, TOKEN_BYTES_MAX, TOKEN_LEEWAY};
use crate::engine::token::AUDIENCE;
use crate::model::Role;

/// Claims that must be there. Of their values only our own tokens' `aud` is looked at: any key of ours speaks for this
/// head, and an empty `aud` counts as present, as it does at the replaced services.
const REQUIRED: [&str; 3] = ["sub", "iss", "aud"];

/// The keys whose signatures count.
#[derive(Clone, Default)]
pub struct Trust {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
    /// The role of every bearer; none: the token's own claim tells.
    role: Option<Role>,
}

/// What a good token says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    pub subject: String,
    pub role: Role,
    /// `jti`: by this the token is revoked.
    pub id: Option<String>,
    /// The registered client that got it.
    pub client: Option<String>,
    /// The user who made it.
    pub user: Option<String>,
    /// Areas of the APIs to which it is limited; empty: none.
    pub areas: Vec<String>,
    /// True if a key of this head signed it.
    pub own: bool,
    pub issued: Timestamp,
    pub expires: Timestamp,
}

/// Why a token does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    TooLong,
    /// Not three parts of base64url, not JSON, or with more in its header than `alg`, `typ` and `kid`.
    Malformed,
    UnknownKey,
    /// Not the algorithm of its key.
    Algorithm,
    Signature,
    Expired,
    NotYet,
    Missing(&'static str),
    /// A claim of the wrong type.
    Claim(&'static str),
    /// Signed by us, but not for the APIs.
    NoRole,
    Revoked,
}

/// Says why a foreign key cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    #[error("is not a JSON Web Key Set (RFC 7517)")]
    Format,
    #[error("holds more than {FOREIGN_KEYS_MAX} keys")]
    TooMany,
    #[error("key {0}: has no kid")]
    NoId(usize),
    #[error("key {0}: is neither RSA, P-256, P-384 nor Ed25519 for signatures")]
    Kind(String),
}

impl Trust {
    /// Trusts this head's own keys.
    #[must_use]
    pub fn own(keys: &[Jwk]) -> Trust {
        Trust { keys: keys.iter().filter_map(|jwk| key(jwk, None)).collect() }
    }

    /// The same with other keys of this head.
    #[must_use]
    pub fn with_own(&self, keys: &[Jwk]) -> Trust {
        let mut next = Trust::own(keys);
        next.keys.extend(self.keys.iter().filter(|key| key.role.is_some()).cloned());
        next
    }

    /// Trusts another issuer's key set too; every bearer of its tokens has the same role.
    ///
    /// # Errors
    /// A key cannot be used: half a key set would refuse some of its tokens and nobody would know why.
    pub fn add(&mut self, set: &str, role: Role) -> Result<(), KeyError> {
        let set: Value = serde_json::from_str(set).map_err(|_| KeyError::Format)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyError::Format)?;
        if keys.len() > FOREIGN_KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        for (index, value) in keys.iter().enumerate() {
            // Keys for encryption stand in the same set.
            if value.get("use").is_some_and(|purpose| purpose == "enc") {
                continue;
            }
            let Some(id) = value.get("kid").and_then(Value::as_str) else {
                return Err(KeyError::NoId(index));
            };
            let jwk =
                serde_json::from_value::<Jwk>(value.clone()).map_err(|_| KeyError::Kind(id.to_owned()))?;
            let key = key(&jwk, Some(role)).ok_or_else(|| KeyError::Kind(id.to_owned()))?;
            // Of two keys with one name the first counts: ours.
            self.keys.push(key);
        }
        Ok(())
    }

    /// Judges a token. Whether it is revoked is the caller's to look up.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, Refusal> {
        let (claims, key) = self.checked(token)?;
        judge(&claims, key, now)
    }

    /// The keys of a provider of logins. Those that are of no use here are left out: it has them for others.
    ///
    /// # Errors
    /// It is no key set, or one without end.
    pub fn of_provider(set: &Value) -> Result<Trust, KeyError> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeyError::Format)?;
        if keys.len() > FOREIGN_KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        let usable = |value: &&Value| value.get("use").is_none_or(|purpose| purpose == "sig");
        let keys = keys.iter().filter(usable).filter_map(|value| {
            let jwk = serde_json::from_value::<Jwk>(value.clone()).ok()?;
            key(&jwk, Some(Role::Viewer))
        });
        Ok(Trust { keys: keys.collect() })
    }

    /// The claims of a token that one of these keys signed. Nothing is said about what they hold.
    ///
    /// # Errors
    /// None did.
    pub fn signed_claims(&self, token: &str) -> Result<Map<String, Value>, Refusal> {
        self.checked(token).map(|(claims, _)| claims)
    }

    fn checked(&self, token: &str) -> Result<(Map<String, Value>, &Key), Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
        if !is_plain(&header) {
            return Err(Refusal::Malformed);
        }
        let id = header.kid.as_deref().ok_or(Refusal::UnknownKey)?;
        let key = self.keys.iter().find(|key| key.id == id).ok_or(Refusal::UnknownKey)?;
        if header.alg != key.algorithm {
            return Err(Refusal::Algorithm);
        }
        // Only the signature is the library's to check: it reads the clock itself, and takes times of a wrong
        // type for absent.
        let mut validation = Validation::new(key.algorithm);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let data = jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation);
        Ok((data.map_err(|_| Refusal::Signature)?.claims, key))
    }
}

/// True if the header holds nothing that could point to another key or change the meaning.
fn is_plain(header: &Header) -> bool {
    let typ = header.typ.as_deref().unwrap_or("JWT");
    let Header { cty, jku, jwk, x5u, x5c, x5t, x5t_s256, crit, enc, zip, url, nonce, extras, .. } = header;
    (typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt"))
        && [cty, jku, x5u, x5t, x5t_s256, url, nonce].iter().all(|field| field.is_none())
        && jwk.is_none()
        && x5c.is_none()
        && crit.is_none()
        && enc.is_none()
        && zip.is_none()
        && extras.inner().is_empty()
}

fn judge(claims: &Map<String, Value>, key: &Key, now: Timestamp) -> Result<Verified, Refusal> {
    let issued = time(claims, "iat")?;
    let not_before = time(claims, "nbf")?;
    let expires = time(claims, "exp")?.ok_or(Refusal::Missing("exp"))?;
    if now.since(expires) > TOKEN_LEEWAY {
        return Err(Refusal::Expired);
    }
    if [issued, not_before].into_iter().flatten().any(|at| at.since(now) > TOKEN_LEEWAY) {
        return Err(Refusal::NotYet);
    }
    if let Some(name) = REQUIRED.into_iter().find(|name| claims.get(*name).is_none_or(Value::is_null)) {
        return Err(Refusal::Missing(name));
    }
    // Foreign issuers name audiences of their own; whose tokens count is decided by whose keys are listed.
    if key.role.is_none() && !is_for_us(&claims["aud"]) {
        return Err(Refusal::Claim("aud"));
    }
    let text = |name| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let subject = text("sub").ok_or(Refusal::Claim("sub"))?;
    // A limit that cannot be read must not be no limit.
    let areas = match claims.get("muster_areas") {
        None => Vec::new(),
        Some(areas) => texts(areas).ok_or(Refusal::Claim("muster_areas"))?,
    };
    let role = key.role.or_else(|| highest(claims.get("roles"))).ok_or(Refusal::NoRole)?;
    Ok(Verified {
        subject,
        role,
        id: text("jti"),
        client: text("client_id"),
        user: text("muster_user"),
        areas,
        own: key.role.is_none(),
        issued: issued.or(not_before).unwrap_or(Timestamp(0)),
        expires,
    })
}

/// True for an audience that we are part of (RFC 7519 section 4.1.3), and for an empty list, which limits nothing.
fn is_for_us(audience: &Value) -> bool {
    match audience {
        Value::String(one) => one == AUDIENCE,
        Value::Array(all) => all.is_empty() || all.iter().any(|one| one == AUDIENCE),
        _ => false,
    }
}

/// A list of at least one text.
fn texts(value: &Value) -> Option<Vec<String>> {
    let texts: Option<Vec<String>> =
        value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect();
    texts.filter(|texts| !texts.is_empty())
}

/// The highest of the roles that we know.
fn highest(roles: Option<&Value>) -> Option<Role> {
    roles?.as_array()?.iter().filter_map(|role| role.as_str()?.parse::<Role>().ok()).max()
}

/// A time: whole seconds. Anything else in its place is a mistake or an attempt, not an absent claim.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_u64().ok_or(Refusal::Claim(name))?;
    Ok(Some(Timestamp(seconds.saturating_mul(1000))))
}

/// A key with the one algorithm that it is good for. Shared secrets are not: whoever checks could sign.
fn key(jwk: &Jwk, role: Option<Role>) -> Option<Key> {
    let named = jwk.common.key_algorithm;
    let algorithm = match (&jwk.algorithm, named) {
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::RS384)) => Algorithm::RS384,
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::RS512)) => Algorithm::RS512,
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::PS256)) => Algorithm::PS256,
        (AlgorithmParameters::EllipticCurve(curve), None | Some(KeyAlgorithm::ES256))
            if curve.curve == EllipticCurve::P256 =>
        {
            Algorithm::ES256
        }
        (AlgorithmParameters::EllipticCurve(curve), None | Some(KeyAlgorithm::ES384))
            if curve.curve == EllipticCurve::P384 =>
        {
            Algorithm::ES384
        }
        (AlgorithmParameters::OctetKeyPair(_), None | Some(KeyAlgorithm::EdDSA)) => Algorithm::EdDSA,
        _ => return None,
    };
    let id = jwk.common.key_id.clone()?;
    Some(Key { id, algorithm, key: DecodingKey::from_jwk(jwk).ok()?, role })
}

impl fmt::Display for Refusal {
    /// What the bearer is told: the texts of the replaced services, and no more than they tell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Expired => f.write_str("token is expired"),
            Refusal::NotYet => f.write_str("token is not valid yet"),
            Refusal::Missing(name) => write!(f, "missing required claim {name}"),
            Refusal::Revoked => f.write_str("token is revoked"),
            Refusal::TooLong
            | Refusal::Malformed
            | Refusal::UnknownKey
            | Refusal::Algorithm
            | Refusal::Signature
            | Refusal::Claim(_)
            | Refusal::NoRole => f.write_str("Unauthorized"),
        }
    }
}
