//! The list of the head's public keys, signed by the site key. A node knows the site key's fingerprint from its
//! grant, and all other keys from this list.
//!
//! ```text
//! {"v":1, "keyset":b64(JSON), "root":b64(32), "sig":b64(64), "also":[{"root","sig"}]}
//! keyset = {"epoch":u64, "not_after":seconds, "keys":[{"kid","role","alg":"Ed25519","pub":b64(32)}]}
//! sig    = Ed25519(site key, "muster-keyset-v1\0" ‖ keyset)
//! ```
//!
//! `also` is there while the site key is replaced: a node that booted before knows the former one alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Keys of one list: each use has one, and one more while it changes.
const KEYS_MAX: usize = 16;

/// Site keys that sign one list.
const ROOTS_MAX: usize = 4;

/// Longest list in its signed form.
const KEYSET_BYTES_MAX: usize = 16 << 10;

/// What a key signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Sealed bundles.
    Envelope,
    /// Tokens of nodes.
    Token,
}

/// A public key, Ed25519.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    pub kid: String,
    pub used: Use,
    pub public: [u8; 32],
}

/// A list that counts until `not_after`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyset {
    /// Never falls: a list of a smaller one is an old list.
    pub epoch: u64,
    /// Seconds since 1970.
    pub not_after: u64,
    pub keys: Vec<Key>,
}

/// Why a list is not believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeysetError {
    #[error("the list of the head's keys: {0} is missing or malformed")]
    Malformed(&'static str),
    #[error("the list of keys is signed by another root than the one that this node was given")]
    Root,
    #[error("the signature of the list of keys is wrong")]
    Signature,
    #[error("the list of keys is of epoch {found}, older than {least}")]
    Old { found: u64, least: u64 },
    #[error("the list of keys has expired")]
    Expired,
}

/// What a node must know beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Anchor<'a> {
    /// Fingerprint of the site key, from the grant.
    pub root: &'a [u8; 32],
    /// The greatest epoch that was seen in this boot.
    pub least_epoch: u64,
    /// Seconds since 1970 by a clock that is right; None: the node's clock is not set, and expiry not checked.
    pub now: Option<u64>,
}

impl Use {
    const ALL: [Use; 2] = [Use::Envelope, Use::Token];

    fn as_str(self) -> &'static str {
        match self {
            Use::Envelope => "env",
            Use::Token => "tok",
        }
    }
}

/// How the site key is named: SHA-256 of its 32 octets.
#[must_use]
pub fn fingerprint(root: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(root).into()
}

impl Keyset {
    /// The list in its signed form; `root` is the public half of the key behind `sign`.
    #[must_use]
    pub fn sign(&self, root: &[u8; 32], sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Value {
        let keys: Vec<Value> = self
            .keys
            .iter()
            .map(|key| {
                let public = STANDARD.encode(key.public);
                json!({"kid": key.kid, "role": key.used.as_str(), "alg": "Ed25519", "pub": public})
            })
            .collect();
        let keyset = json!({"epoch": self.epoch, "not_after": self.not_after, "keys": keys}).to_string();
        let signature = sign(&signed(keyset.as_bytes()));
        json!({
            "v": 1,
            "keyset": STANDARD.encode(keyset),
            "root": STANDARD.encode(root),
            "sig": STANDARD.encode(signature),
        })
    }

    /// The signed form with one more site key's word for it.
    #[must_use]
    pub fn countersigned(
        mut value: Value,
        sign: impl FnOnce(&[u8]) -> Option<([u8; 32], [u8; 64])>,
    ) -> Value {
        let keyset = value.get("keyset").and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
        if let Some((root, signature)) = keyset.and_then(|keyset| sign(&signed(&keyset)))
            && let Some(fields) = value.as_object_mut()
        {
            let also = json!([{"root": STANDARD.encode(root), "sig": STANDARD.encode(signature)}]);
            fields.insert("also".to_owned(), also);
        }
        value
    }

    /// Reads a signed list.
    ///
    /// # Errors
    /// It is not what the site key signed, or not for now.
    pub fn open(value: &Value, anchor: Anchor<'_>) -> Result<Keyset, KeysetError> {
        if value.get("v").and_then(Value::as_u64) != Some(1) {
            return Err(KeysetError::Malformed("v"));
        }
        let octets = field(value, "keyset")?;
        let (root, signature) = believed(value, anchor.root)?;
        let root = VerifyingKey::from_bytes(&root).map_err(|_| KeysetError::Root)?;
        let signature = Signature::from_bytes(&signature);
        root.verify_strict(&signed(&octets), &signature).map_err(|_| KeysetError::Signature)?;
        let keyset = Keyset::read(&octets)?;
        if keyset.epoch < anchor.least_epoch {
            return Err(KeysetError::Old { found: keyset.epoch, least: anchor.least_epoch });
        }
        if anchor.now.is_some_and(|now| now >= keyset.not_after) {
            return Err(KeysetError::Expired);
        }
        Ok(keyset)
    }

    /// The key of this name and use.
    #[must_use]
    pub fn find(&self, kid: &str, used: Use) -> Option<&[u8; 32]> {
        self.keys.iter().find(|key| key.kid == kid && key.used == used).map(|key| &key.public)
    }

    fn read(octets: &[u8]) -> Result<Keyset, KeysetError> {
        let value: Value = serde_json::from_slice(octets).map_err(|_| KeysetError::Malformed("keyset"))?;
        let number =
            |name: &'static str| value.get(name).and_then(Value::as_u64).ok_or(KeysetError::Malformed(name));
        let listed = value.get("keys").and_then(Value::as_array).filter(|keys| keys.len() <= KEYS_MAX);
        let mut keys = Vec::new();
        for key in listed.ok_or(KeysetError::Malformed("keys"))? {
            let text = |name: &str| key.get(name).and_then(Value::as_str);
            // A use or an algorithm of a later muster is none of ours.
            let used = Use::ALL.into_iter().find(|used| text("role") == Some(used.as_str()));
            let (Some(used), Some("Ed25519")) = (used, text("alg")) else { continue };
            let public = text("pub").and_then(|text| STANDARD.decode(text).ok());
            let public = public.and_then(|octets| octets.try_into().ok());
            let (Some(kid), Some(public)) = (text("kid"), public) else {
                return Err(KeysetError::Malformed("keys"));
            };
            keys.push(Key { kid: kid.to_owned(), used, public });
        }
        Ok(Keyset { epoch: number("epoch")?, not_after: number("not_after")?, keys })
    }
}

fn field(value: &Value, name: &'static str) -> Result<Vec<u8>, KeysetError> {
    let text = value.get(name).and_then(Value::as_str).filter(|text| text.len() <= KEYSET_BYTES_MAX);
    text.and_then(|text| STANDARD.decode(text).ok()).ok_or(KeysetError::Malformed(name))
}

/// The site key of this fingerprint among those that signed, and its signature.
fn believed(value: &Value, wanted: &[u8; 32]) -> Result<([u8; 32], [u8; 64]), KeysetError> {
    let also = value.get("also").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for signer in std::iter::once(value).chain(also.iter().take(ROOTS_MAX)) {
        let root: [u8; 32] = field(signer, "root")?.try_into().map_err(|_| KeysetError::Malformed("root"))?;
        let signature = field(signer, "sig")?.try_into().map_err(|_| KeysetError::Malformed("sig"))?;
        if bool::from(fingerprint(&root).ct_eq(wanted)) {
            return Ok((root, signature));
        }
    }
    Err(KeysetError::Root)
}

fn signed(keyset: &[u8]) -> Vec<u8> {
    [b"muster-keyset-v1\0", keyset].concat()
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::{Value, json};

    use crate::engine::trust::keyset::{Anchor, Key, Keyset, KeysetError, Use, fingerprint};

    fn keyset() -> Keyset {
        let key = |kid: &str, used, octet| Key { kid: kid.to_owned(), used, public: [octet; 32] };
        Keyset { epoch: 3, not_after: 2000, keys: vec![key("a", Use::Envelope, 1), key("b", Use::Token, 2)] }
    }

    fn signed_by(key: &SigningKey) -> Value {
        keyset().sign(key.verifying_key().as_bytes(), |message| key.sign(message).to_bytes())
    }

    fn open(value: &Value, key: &SigningKey, least_epoch: u64, now: u64) -> Result<Keyset, KeysetError> {
        let root = fingerprint(key.verifying_key().as_bytes());
        Keyset::open(value, Anchor { root: &root, least_epoch, now: Some(now) })
    }

    #[test]
    fn a_list_is_believed_by_its_root_its_epoch_and_its_time() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let value = signed_by(&key);
        assert_eq!(open(&value, &key, 3, 1999), Ok(keyset()));
        assert_eq!(open(&value, &key, 4, 1999), Err(KeysetError::Old { found: 3, least: 4 }));
        assert_eq!(open(&value, &key, 3, 2000), Err(KeysetError::Expired));
        let mallory = SigningKey::from_bytes(&[8; 32]);
        assert_eq!(open(&signed_by(&mallory), &key, 3, 1999), Err(KeysetError::Root));
        // The right root's name over another one's signature.
        let mut forged = signed_by(&mallory);
        forged["root"] = value["root"].clone();
        assert_eq!(open(&forged, &key, 3, 1999), Err(KeysetError::Signature));
        let unset = Anchor { root: &fingerprint(key.verifying_key().as_bytes()), least_epoch: 0, now: None };
        assert!(Keyset::open(&value, unset).is_ok(), "a node without a clock checks no time");
    }

    #[test]
    fn a_key_is_found_by_name_and_use_only() {
        let keyset = keyset();
        assert_eq!(keyset.find("a", Use::Envelope), Some(&[1; 32]));
        assert_eq!(keyset.find("a", Use::Token), None);
        assert_eq!(keyset.find("c", Use::Envelope), None);
    }

    #[test]
    fn a_node_that_booted_before_the_site_key_was_replaced_believes_the_former_one() {
        let (key, former) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let word =
            |message: &[u8]| Some((former.verifying_key().to_bytes(), former.sign(message).to_bytes()));
        let value = Keyset::countersigned(signed_by(&key), word);
        assert_eq!(open(&value, &key, 3, 0), Ok(keyset()));
        assert_eq!(open(&value, &former, 3, 0), Ok(keyset()));
        assert_eq!(open(&value, &SigningKey::from_bytes(&[9; 32]), 3, 0), Err(KeysetError::Root));
        let mut forged = value.clone();
        forged["also"][0]["sig"] = value["sig"].clone();
        assert_eq!(open(&forged, &former, 3, 0), Err(KeysetError::Signature));
        assert_eq!(open(&forged, &key, 3, 0), Ok(keyset()));
        assert_eq!(Keyset::countersigned(signed_by(&key), |_| None), signed_by(&key));
    }

    #[test]
    fn whatever_is_cut_or_altered_is_refused() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let value = signed_by(&key);
        for name in ["v", "keyset", "root", "sig"] {
            for bad in [json!(null), json!(7), json!(""), json!("AAAA"), json!("*")] {
                let mut altered = value.clone();
                altered[name] = bad.clone();
                assert!(open(&altered, &key, 0, 0).is_err(), "{name} {bad}");
            }
        }
    }
}
