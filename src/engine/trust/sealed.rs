//! Sealed bundles: what only one node can read, and only from its head.
//!
//! HPKE (RFC 9180) with X25519, HKDF-SHA256 and ChaCha20-Poly1305 to a key that the node made for this boot; after
//! an attestation in PSK mode, with the secret that only the node's TPM could unpack. Signed by the head:
//!
//! ```text
//! {"v":1, "hdr":b64(JSON), "enc":b64(32), "ct":b64, "sig":b64(64)}
//! info = "muster-sealed-v1\0" ‖ SHA-256(hdr)      aad = hdr
//! sig  = Ed25519("muster-env-v1\0" ‖ SHA-256(enc) ‖ SHA-256(ct) ‖ SHA-256(hdr))
//! ```
//!
//! The header's octets are what was signed; it is read after the signature holds, and never written again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, PskBundle, Serializable as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::base::Level;
use crate::base::limits::BUNDLE_BYTES_MAX;
use crate::engine::trust::keyset::{Keyset, Use};

type Kem = X25519HkdfSha256;

/// The one suite. Another one gets another name.
pub const SUITE: &str = "x25519-hkdf-sha256-chacha20poly1305";

/// Longest header.
const HEADER_BYTES_MAX: usize = 1024;

/// What a bundle says of itself, in the clear.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Which key of the head signed it.
    pub kid: String,
    pub cluster: String,
    pub node: String,
    pub session: String,
    /// First, second … bundle of the session.
    pub seq: u64,
    pub level: Level,
    /// Seconds since 1970.
    pub issued: u64,
    pub expires: u64,
    /// The attestation whose secret is needed to open it.
    pub psk_id: Option<String>,
}

/// A secret that both sides know, and its name.
#[derive(Clone, Copy)]
pub struct Psk<'a> {
    pub id: &'a str,
    pub secret: &'a [u8; 32],
}

/// A bundle as it travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle {
    header: Vec<u8>,
    enc: [u8; 32],
    ciphertext: Vec<u8>,
    signature: [u8; 64],
}

/// The key is none that anything can be sealed to: not 32 octets of X25519, or of small order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("is no X25519 key that anything can be sealed to")]
pub struct BadKey;

/// Why a bundle is not opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0} is missing or malformed")]
    Malformed(&'static str),
    #[error("signed with the key {0:?}, which the head's list does not hold")]
    UnknownKey(String),
    #[error("the signature is not the head's")]
    Signature,
    #[error("made for {0}")]
    NotOurs(String),
    #[error("it needs the secret of the attestation {0:?}")]
    Psk(String),
    #[error("it was not sealed to this key")]
    Sealed,
}

/// For whom a bundle must be.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub session: &'a str,
    /// Bundles below this number were opened before.
    pub least_seq: u64,
}

/// The two keys of a node for one boot: the private one, zeroised by its type, and the public one.
#[must_use]
pub fn make_keys(dice: &mut impl CryptoRng) -> (Zeroizing<[u8; 32]>, [u8; 32]) {
    let (private, public) = Kem::gen_keypair_with_rng(dice);
    (Zeroizing::new(private.to_bytes().into()), public.to_bytes().into())
}

/// The public key of a private one. Any 32 octets are one.
#[must_use]
pub fn public_of(private: &[u8; 32]) -> [u8; 32] {
    let private = <Kem as hpke::Kem>::PrivateKey::from_bytes(private).expect("a private key is of 32 octets");
    Kem::sk_to_pk(&private).to_bytes().into()
}

/// Seals to a node's key. `sign` is the head's key of use `env`, named by the header.
///
/// # Errors
/// Nothing can be sealed to this key.
pub fn seal(
    header: &Header,
    psk: Option<Psk<'_>>,
    to: &[u8; 32],
    plaintext: &[u8],
    sign: impl FnOnce(&[u8]) -> [u8; 64],
    dice: &mut impl CryptoRng,
) -> Result<Bundle, BadKey> {
    let header = header.to_json(psk.is_some()).to_string().into_bytes();
    let to = <Kem as hpke::Kem>::PublicKey::from_bytes(to).map_err(|_| BadKey)?;
    let mode = match psk {
        None => OpModeS::Base,
        Some(psk) => OpModeS::Psk(PskBundle::new(psk.secret, psk.id.as_bytes()).map_err(|_| BadKey)?),
    };
    let sealed =
        hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(&mode, &to, &info(&header), dice);
    let (enc, mut context) = sealed.map_err(|_| BadKey)?;
    let ciphertext = context.seal(plaintext, &header).map_err(|_| BadKey)?;
    let enc: [u8; 32] = enc.to_bytes().into();
    let signature = sign(&signed(&enc, &ciphertext, &header));
    Ok(Bundle { header, enc, ciphertext, signature })
}

impl Bundle {
    /// As it travels.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "v": 1,
            "hdr": STANDARD.encode(&self.header),
            "enc": STANDARD.encode(self.enc),
            "ct": STANDARD.encode(&self.ciphertext),
            "sig": STANDARD.encode(self.signature),
        })
    }

    /// Reads one. Nothing of it is believed yet.
    ///
    /// # Errors
    /// Names the field.
    pub fn from_json(value: &Value) -> Result<Bundle, OpenError> {
        if value.get("v").and_then(Value::as_u64) != Some(1) {
            return Err(OpenError::Malformed("v"));
        }
        let field = |name: &'static str, most: usize| {
            let text =
                value.get(name).and_then(Value::as_str).filter(|text| text.len() / 4 <= most.div_ceil(3));
            text.and_then(|text| STANDARD.decode(text).ok()).ok_or(OpenError::Malformed(name))
        };
        let whole = |name| move |_| OpenError::Malformed(name);
        Ok(Bundle {
            header: field("hdr", HEADER_BYTES_MAX)?,
            enc: field("enc", 32)?.try_into().map_err(whole("enc"))?,
            ciphertext: field("ct", BUNDLE_BYTES_MAX.saturating_mul(2))?,
            signature: field("sig", 64)?.try_into().map_err(whole("sig"))?,
        })
    }

    /// Opens it. `psk`: the attestation's secret, if there was one.
    ///
    /// # Errors
    /// It is not from a head whose keys are in the list, not for this session, or not for this key. Nothing of
    /// it may be used then.
    pub fn open(
        &self,
        keys: &Keyset,
        private: &[u8; 32],
        psk: Option<Psk<'_>>,
        expected: Expected<'_>,
    ) -> Result<(Header, Zeroizing<Vec<u8>>), OpenError> {
        let read: Value = serde_json::from_slice(&self.header).map_err(|_| OpenError::Malformed("hdr"))?;
        let kid = read.get("kid").and_then(Value::as_str).unwrap_or_default();
        let key = keys.find(kid, Use::Envelope).ok_or_else(|| OpenError::UnknownKey(kid.to_owned()))?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| OpenError::UnknownKey(kid.to_owned()))?;
        let message = signed(&self.enc, &self.ciphertext, &self.header);
        key.verify_strict(&message, &Signature::from_bytes(&self.signature))
            .map_err(|_| OpenError::Signature)?;
        let header = Header::from_json(&read)?;
        if header.session != expected.session {
            return Err(OpenError::NotOurs(format!("the boot session {}", header.session)));
        }
        if header.seq < expected.least_seq {
            return Err(OpenError::NotOurs(format!("an earlier moment: number {}", header.seq)));
        }
        let mode = match (&header.psk_id, psk) {
            (None, _) => OpModeR::Base,
            (Some(id), Some(psk)) if id == psk.id => {
                OpModeR::Psk(PskBundle::new(psk.secret, psk.id.as_bytes()).map_err(|_| OpenError::Sealed)?)
            }
            (Some(id), _) => return Err(OpenError::Psk(id.clone())),
        };
        let private = <Kem as hpke::Kem>::PrivateKey::from_bytes(private).map_err(|_| OpenError::Sealed)?;
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(&self.enc)
            .map_err(|_| OpenError::Malformed("enc"))?;
        let info = info(&self.header);
        let mut context =
            hpke::setup_receiver::<ChaCha20Poly1305, HkdfSha256, Kem>(&mode, &private, &enc, &info)
                .map_err(|_| OpenError::Sealed)?;
        let plain = context.open(&self.ciphertext, &self.header).map_err(|_| OpenError::Sealed)?;
        Ok((header, Zeroizing::new(plain)))
    }
}

fn info(header: &[u8]) -> Vec<u8> {
    [&b"muster-sealed-v1\0"[..], &Sha256::digest(header)].concat()
}

fn signed(enc: &[u8], ciphertext: &[u8], header: &[u8]) -> Vec<u8> {
    let [enc, ciphertext, header] = [enc, ciphertext, header].map(Sha256::digest);
    [&b"muster-env-v1\0"[..], &enc, &ciphertext, &header].concat()
}

impl Header {
    fn to_json(&self, psk: bool) -> Value {
        let mut value = json!({
            "v": 1, "suite": SUITE, "mode": if psk { "psk" } else { "base" }, "kid": self.kid,
            "cluster": self.cluster, "node": self.node, "session": self.session, "seq": self.seq,
            "level": self.level.as_str(), "iat": self.issued, "exp": self.expires,
        });
        if let (Some(id), Value::Object(fields)) = (&self.psk_id, &mut value) {
            fields.insert("psk_id".to_owned(), json!(id));
        }
        value
    }

    fn from_json(value: &Value) -> Result<Header, OpenError> {
        let bad = |_| OpenError::Malformed("hdr");
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let known = number("v") == Some(1) && text("suite").as_deref() == Some(SUITE);
        let psk_id = match (text("mode").as_deref(), text("psk_id")) {
            (Some("base"), None) => Some(None),
            (Some("psk"), Some(id)) => Some(Some(id)),
            _ => None,
        };
        let read = || {
            Some(Header {
                kid: text("kid")?,
                cluster: text("cluster")?,
                node: text("node")?,
                session: text("session")?,
                seq: number("seq")?,
                level: text("level")?.parse().ok()?,
                issued: number("iat")?,
                expires: number("exp")?,
                psk_id: psk_id?,
            })
        };
        known.then(read).flatten().ok_or(()).map_err(bad)
    }
}

#[cfg(test)]
mod tests;
