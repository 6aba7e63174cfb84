//! A key's SubjectPublicKeyInfo (RFC 5280 section 4.1) from its public area: the form in which a certificate of the
//! same key holds it.

use crate::wire::tpm::{Curve, Key};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
/// rsaEncryption (RFC 3279 section 2.3.1) and its NULL.
const RSA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
/// ecPublicKey (RFC 5480 section 2.1.1).
const EC: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// secp256r1 and secp384r1.
const P256: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const P384: &[u8] = &[0x06, 5, 0x2b, 0x81, 4, 0, 0x22];

/// The SubjectPublicKeyInfo in DER. The key has been checked.
pub(crate) fn spki(key: &Key) -> Vec<u8> {
    let (algorithm, key) = match key {
        Key::Rsa { .. } => (RSA.to_vec(), rsa_public_key(key)),
        Key::Ecc { curve, x, y } => {
            let curve = match curve {
                Curve::P256 => P256,
                Curve::P384 => P384,
            };
            ([EC, curve].concat(), [&[4], x.as_slice(), y].concat())
        }
    };
    let bits = [&[0], key.as_slice()].concat(); // no unused bits
    der(SEQUENCE, &[der(SEQUENCE, &algorithm), der(BIT_STRING, &bits)].concat())
}

/// RSAPublicKey (RFC 8017 section A.1.1) in DER; of another key nothing.
pub(crate) fn rsa_public_key(key: &Key) -> Vec<u8> {
    let Key::Rsa { exponent, modulus, .. } = key else { return Vec::new() };
    let exponent = if *exponent == 0 { 65537 } else { *exponent };
    der(SEQUENCE, &[integer(modulus), integer(&exponent.to_be_bytes())].concat())
}

/// A positive number without leading zeros, but one where the first bit is set.
fn integer(octets: &[u8]) -> Vec<u8> {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let significant = octets.get(zeros..).unwrap_or_default();
    let sign: &[u8] = if significant.first().is_none_or(|first| first & 0x80 != 0) { &[0] } else { &[] };
    der(INTEGER, &[sign, significant].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|octet| **octet == 0).count().min(length.len().saturating_sub(1));
    let length = length.get(zeros..).unwrap_or_default();
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x80 | u8::try_from(length.len()).unwrap_or(0));
    }
    out.extend_from_slice(length);
    out.extend_from_slice(content);
    out
}
