//! Signatures: TPMT_SIGNATURE (part 2, section 11.3.4).

use crate::wire::WireError;
use crate::wire::tpm::{Hash, Reader, put_sized};

const RSASSA: u16 = 0x0014;
const RSAPSS: u16 = 0x0016;
const ECDSA: u16 = 0x0018;

/// Octets of an RSA-4096 signature.
const RSA_BYTES_MAX: usize = 512;
/// Octets of a number of P-384.
const ECC_BYTES_MAX: usize = 48;

/// A signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signature {
    RsaSsa { hash: Hash, signature: Vec<u8> },
    RsaPss { hash: Hash, signature: Vec<u8> },
    Ecdsa { hash: Hash, r: Vec<u8>, s: Vec<u8> },
}

impl Signature {
    /// Reads a TPMT_SIGNATURE and nothing behind it.
    ///
    /// # Errors
    /// It is cut off or of a kind that no attestation key makes.
    pub fn parse(octets: &[u8]) -> Result<Signature, WireError> {
        let mut from = Reader::new(octets);
        let kind = from.u16("signature algorithm")?;
        let hash = Hash::from_id(from.u16("signature hash")?).ok_or(WireError::Invalid("signature hash"))?;
        let signature = match kind {
            RSASSA => Signature::RsaSsa { hash, signature: from.sized(RSA_BYTES_MAX, "signature")?.to_vec() },
            RSAPSS => Signature::RsaPss { hash, signature: from.sized(RSA_BYTES_MAX, "signature")?.to_vec() },
            ECDSA => Signature::Ecdsa {
                hash,
                r: from.sized(ECC_BYTES_MAX, "r")?.to_vec(),
                s: from.sized(ECC_BYTES_MAX, "s")?.to_vec(),
            },
            _ => return Err(WireError::Invalid("signature algorithm")),
        };
        from.end("octets behind the signature")?;
        Ok(signature)
    }

    /// As a TPM writes it.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let (kind, hash) = match self {
            Signature::RsaSsa { hash, .. } => (RSASSA, hash),
            Signature::RsaPss { hash, .. } => (RSAPSS, hash),
            Signature::Ecdsa { hash, .. } => (ECDSA, hash),
        };
        let mut out = [kind.to_be_bytes(), hash.id().to_be_bytes()].concat();
        match self {
            Signature::RsaSsa { signature, .. } | Signature::RsaPss { signature, .. } => {
                put_sized(&mut out, signature);
            }
            Signature::Ecdsa { r, s, .. } => {
                put_sized(&mut out, r);
                put_sized(&mut out, s);
            }
        }
        out
    }
}
