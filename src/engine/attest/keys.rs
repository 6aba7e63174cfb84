//! Which public areas may be an endorsement key and an attestation key at all.
//!
//! A TPM also unpacks credentials for keys that somebody made in software and loaded into it, and signs a forged
//! quote with a key that is not restricted. Only the attributes tell such keys from a TPM's own.

use sha2::{Digest as _, Sha256};

use crate::base::base32;
use crate::engine::attest::spki::spki;
pub use crate::model::EkFingerprint;
use crate::wire::tpm::attributes::{
    DECRYPT, FIXED_PARENT, FIXED_TPM, RESTRICTED, SENSITIVE_DATA_ORIGIN, SIGN,
};
use crate::wire::tpm::template::{EK_HIGH, EK_LOW, POLICY_A_SHA256, POLICY_A_SHA384, ak_p256, policy_b};
use crate::wire::tpm::{Curve, Hash, Key, Public, Scheme};

/// Octets of the fingerprint that people compare: 80 bits are 16 letters.
const CODE_BYTES: usize = 10;

impl EkFingerprint {
    /// Of a SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn of_spki(der: &[u8]) -> EkFingerprint {
        EkFingerprint(Sha256::digest(der).into())
    }

    /// Of a public area that [`check_ek`] let pass.
    #[must_use]
    pub fn of(ek: &Public) -> EkFingerprint {
        EkFingerprint::of_spki(&spki(&ek.key))
    }

    /// What the node prints and the operator compares: its first 80 bits as four groups of four letters.
    #[must_use]
    pub fn code(&self) -> String {
        let (head, _) = self.0.split_at(CODE_BYTES);
        let letters = base32::encode(head).to_ascii_uppercase();
        let groups: Vec<&str> =
            letters.as_bytes().chunks(4).filter_map(|group| std::str::from_utf8(group).ok()).collect();
        groups.join("-")
    }
}

/// Why a public area is no endorsement key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EkError {
    #[error(
        "endorsement key: attributes 0x{0:08x} are not those of an endorsement key (0x000300b2, 0x000300f2)"
    )]
    Attributes(u32),
    #[error("endorsement key: its policy is none of the TCG's (PolicyA, PolicyB)")]
    Policy,
    #[error("endorsement key: protects its children with neither AES-128 nor AES-256")]
    Symmetric,
    #[error("endorsement key: has a signing scheme")]
    Scheme,
    #[error("endorsement key: {0}")]
    Key(#[from] KeyError),
}

/// Why a public area is no attestation key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AkError {
    #[error("attestation key: lacks the attribute {0}")]
    Lacks(&'static str),
    #[error("attestation key: must not decrypt")]
    Decrypts,
    #[error("attestation key: a signing key has no symmetric cipher")]
    Symmetric,
    #[error("attestation key: signs by no scheme that we check (ECDSA, RSASSA, RSAPSS)")]
    Scheme,
    #[error("attestation key: {0}")]
    Key(#[from] KeyError),
}

/// Why a key's numbers are no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    #[error("RSA of {0} bits, not 2048, 3072 or 4096")]
    Bits(u16),
    #[error("RSA exponent {0}, not 65537")]
    Exponent(u32),
    #[error("the RSA modulus is even or not of full length")]
    Modulus,
    #[error("the point is not on its curve")]
    Point,
}

/// Holds a public area to what an endorsement key is.
///
/// # Errors
/// Names the first field that is wrong.
pub fn check_ek(ek: &Public) -> Result<(), EkError> {
    if ek.attributes != EK_LOW && ek.attributes != EK_HIGH {
        return Err(EkError::Attributes(ek.attributes));
    }
    let a: &[u8] = match ek.name_alg {
        Hash::Sha256 => &POLICY_A_SHA256,
        Hash::Sha384 => &POLICY_A_SHA384,
    };
    if ek.policy != a && ek.policy != policy_b(ek.name_alg) {
        return Err(EkError::Policy);
    }
    if !matches!(ek.symmetric_bits, Some(128 | 256)) {
        return Err(EkError::Symmetric);
    }
    if ek.scheme.is_some() {
        return Err(EkError::Scheme);
    }
    Ok(check_key(&ek.key)?)
}

/// Holds a public area to what an attestation key is.
///
/// # Errors
/// Names the first field that is wrong.
pub fn check_ak(ak: &Public) -> Result<(), AkError> {
    let needed = [
        (FIXED_TPM, "fixedTPM"),
        (FIXED_PARENT, "fixedParent"),
        (SENSITIVE_DATA_ORIGIN, "sensitiveDataOrigin"),
        (RESTRICTED, "restricted"),
        (SIGN, "sign"),
    ];
    if let Some((_, name)) = needed.iter().find(|(bit, _)| ak.attributes & bit == 0) {
        return Err(AkError::Lacks(name));
    }
    if ak.attributes & DECRYPT != 0 {
        return Err(AkError::Decrypts);
    }
    if ak.symmetric_bits.is_some() {
        return Err(AkError::Symmetric);
    }
    match (&ak.key, ak.scheme) {
        (Key::Ecc { .. }, Some(Scheme::Ecdsa(_))) => {}
        (Key::Rsa { .. }, Some(Scheme::RsaSsa(_) | Scheme::RsaPss(_))) => {}
        _ => return Err(AkError::Scheme),
    }
    Ok(check_key(&ak.key)?)
}

/// The name by which a quote of this key must call its signer, where we know it: keys of our template stand in the
/// endorsement hierarchy.
#[must_use]
pub fn qualified_name(ak: &Public) -> Option<Vec<u8>> {
    let template = ak_p256();
    let ours = Public { key: template.key.clone(), ..ak.clone() } == template
        && matches!(ak.key, Key::Ecc { curve: Curve::P256, .. });
    ours.then(|| ak.endorsement_name())
}

fn check_key(key: &Key) -> Result<(), KeyError> {
    match key {
        Key::Rsa { bits, exponent, modulus } => {
            if !matches!(bits, 2048 | 3072 | 4096) {
                return Err(KeyError::Bits(*bits));
            }
            if !matches!(exponent, 0 | 65537) {
                return Err(KeyError::Exponent(*exponent));
            }
            let full =
                modulus.len() == usize::from(*bits / 8) && modulus.first().is_some_and(|top| *top >= 0x80);
            let odd = modulus.last().is_some_and(|octet| octet & 1 == 1);
            if full && odd { Ok(()) } else { Err(KeyError::Modulus) }
        }
        Key::Ecc { curve, x, y } => {
            let whole = x.len() == curve.size() && y.len() == curve.size();
            let point = sec1(x, y);
            let on_curve = whole
                && match curve {
                    Curve::P256 => p256::PublicKey::from_sec1_bytes(&point).is_ok(),
                    Curve::P384 => p384::PublicKey::from_sec1_bytes(&point).is_ok(),
                };
            if on_curve { Ok(()) } else { Err(KeyError::Point) }
        }
    }
}

/// A point as SEC 1 writes it, not compressed.
pub(crate) fn sec1(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}
