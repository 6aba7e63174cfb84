//! Public areas of keys: TPM2B_PUBLIC and TPMT_PUBLIC (part 2, section 12.2).

use crate::wire::WireError;
use crate::wire::tpm::{ALG_NULL, ENDORSEMENT, Hash, Reader, put_sized};

/// Octets of the largest modulus, RSA-4096.
const MODULUS_BYTES_MAX: usize = 512;

const ALG_RSA: u16 = 0x0001;
const ALG_AES: u16 = 0x0006;
const ALG_RSASSA: u16 = 0x0014;
const ALG_RSAPSS: u16 = 0x0016;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
const ALG_CFB: u16 = 0x0043;

/// Bits of TPMA_OBJECT (part 2, section 8.3.2).
pub mod attributes {
    pub const FIXED_TPM: u32 = 1 << 1;
    pub const FIXED_PARENT: u32 = 1 << 4;
    pub const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    pub const USER_WITH_AUTH: u32 = 1 << 6;
    pub const ADMIN_WITH_POLICY: u32 = 1 << 7;
    pub const NO_DA: u32 = 1 << 10;
    pub const RESTRICTED: u32 = 1 << 16;
    pub const DECRYPT: u32 = 1 << 17;
    pub const SIGN: u32 = 1 << 18;
}

/// A public area.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Public {
    /// By which the key is named.
    pub name_alg: Hash,
    /// TPMA_OBJECT.
    pub attributes: u32,
    /// The digest of the policy; empty or of `name_alg`'s size.
    pub policy: Vec<u8>,
    /// Bits of the AES key, in CFB mode, with which a storage key protects its children. None: TPM_ALG_NULL.
    pub symmetric_bits: Option<u16>,
    /// None: TPM_ALG_NULL.
    pub scheme: Option<Scheme>,
    pub key: Key,
}

/// How a key signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme {
    RsaSsa(Hash),
    RsaPss(Hash),
    Ecdsa(Hash),
}

/// The key itself. In a template its unique part is empty or zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    Rsa {
        bits: u16,
        /// 0 stands for 65537.
        exponent: u32,
        modulus: Vec<u8>,
    },
    Ecc {
        curve: Curve,
        x: Vec<u8>,
        y: Vec<u8>,
    },
}

/// A curve that we compute on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Curve {
    P256,
    P384,
}

impl Curve {
    /// TPM_ECC_CURVE.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Curve::P256 => 0x0003,
            Curve::P384 => 0x0004,
        }
    }

    /// Octets of a coordinate.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }
}

impl Scheme {
    fn parts(self) -> (u16, Hash) {
        match self {
            Scheme::RsaSsa(hash) => (ALG_RSASSA, hash),
            Scheme::RsaPss(hash) => (ALG_RSAPSS, hash),
            Scheme::Ecdsa(hash) => (ALG_ECDSA, hash),
        }
    }
}

impl Public {
    /// Reads a TPM2B_PUBLIC and nothing behind it.
    ///
    /// # Errors
    /// Names the field that is cut off, too long, or of a kind that no key of ours has.
    pub fn parse(octets: &[u8]) -> Result<Public, WireError> {
        let mut outer = Reader::new(octets);
        let mut area = Reader::new(outer.sized(usize::from(u16::MAX), "public area")?);
        outer.end("octets behind the public area")?;
        let kind = area.u16("type")?;
        let name_alg = hash(&mut area, "nameAlg")?;
        let attributes = area.u32("objectAttributes")?;
        let policy = area.sized(name_alg.size(), "authPolicy")?.to_vec();
        if !policy.is_empty() && policy.len() != name_alg.size() {
            return Err(WireError::Invalid("authPolicy"));
        }
        let symmetric_bits = symmetric(&mut area)?;
        let scheme = scheme(&mut area, kind)?;
        let key = match kind {
            ALG_RSA => rsa(&mut area)?,
            ALG_ECC => ecc(&mut area)?,
            _ => return Err(WireError::Invalid("type")),
        };
        area.end("octets at the end of the public area")?;
        Ok(Public { name_alg, attributes, policy, symmetric_bits, scheme, key })
    }

    /// As a TPM2B_PUBLIC.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_sized(&mut out, &self.area());
        out
    }

    /// As a TPMT_PUBLIC: without the length in front.
    #[must_use]
    pub fn area(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let put = |out: &mut Vec<u8>, number: u16| out.extend_from_slice(&number.to_be_bytes());
        put(&mut out, if matches!(self.key, Key::Rsa { .. }) { ALG_RSA } else { ALG_ECC });
        put(&mut out, self.name_alg.id());
        out.extend_from_slice(&self.attributes.to_be_bytes());
        put_sized(&mut out, &self.policy);
        match self.symmetric_bits {
            None => put(&mut out, ALG_NULL),
            Some(bits) => [ALG_AES, bits, ALG_CFB].into_iter().for_each(|number| put(&mut out, number)),
        }
        match self.scheme.map(Scheme::parts) {
            None => put(&mut out, ALG_NULL),
            Some((alg, hash)) => [alg, hash.id()].into_iter().for_each(|number| put(&mut out, number)),
        }
        match &self.key {
            Key::Rsa { bits, exponent, modulus } => {
                put(&mut out, *bits);
                out.extend_from_slice(&exponent.to_be_bytes());
                put_sized(&mut out, modulus);
            }
            Key::Ecc { curve, x, y } => {
                [curve.id(), ALG_NULL].into_iter().for_each(|number| put(&mut out, number));
                put_sized(&mut out, x);
                put_sized(&mut out, y);
            }
        }
        out
    }

    /// The key's name (part 1, section 16): its hash algorithm, and the digest of the area.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        [&self.name_alg.id().to_be_bytes()[..], &self.name_alg.digest(&[&self.area()])].concat()
    }

    /// The qualified name of this key as a primary key of the endorsement hierarchy (part 1, section 26.5).
    #[must_use]
    pub fn endorsement_name(&self) -> Vec<u8> {
        let digest = self.name_alg.digest(&[&ENDORSEMENT.to_be_bytes(), &self.name()]);
        [&self.name_alg.id().to_be_bytes()[..], &digest].concat()
    }
}

fn hash(area: &mut Reader<'_>, field: &'static str) -> Result<Hash, WireError> {
    Hash::from_id(area.u16(field)?).ok_or(WireError::Invalid(field))
}

/// TPMT_SYM_DEF_OBJECT.
fn symmetric(area: &mut Reader<'_>) -> Result<Option<u16>, WireError> {
    match area.u16("symmetric")? {
        ALG_NULL => Ok(None),
        ALG_AES => {
            let bits = area.u16("symmetric key bits")?;
            if !matches!(bits, 128 | 192 | 256) || area.u16("symmetric mode")? != ALG_CFB {
                return Err(WireError::Invalid("symmetric"));
            }
            Ok(Some(bits))
        }
        _ => Err(WireError::Invalid("symmetric")),
    }
}

/// TPMT_RSA_SCHEME or TPMT_ECC_SCHEME.
fn scheme(area: &mut Reader<'_>, kind: u16) -> Result<Option<Scheme>, WireError> {
    let found = match (kind, area.u16("scheme")?) {
        (_, ALG_NULL) => return Ok(None),
        (ALG_RSA, ALG_RSASSA) => Scheme::RsaSsa,
        (ALG_RSA, ALG_RSAPSS) => Scheme::RsaPss,
        (ALG_ECC, ALG_ECDSA) => Scheme::Ecdsa,
        _ => return Err(WireError::Invalid("scheme")),
    };
    Ok(Some(found(hash(area, "scheme hash")?)))
}

fn rsa(area: &mut Reader<'_>) -> Result<Key, WireError> {
    let bits = area.u16("keyBits")?;
    let exponent = area.u32("exponent")?;
    let modulus = area.sized(MODULUS_BYTES_MAX, "modulus")?.to_vec();
    Ok(Key::Rsa { bits, exponent, modulus })
}

fn ecc(area: &mut Reader<'_>) -> Result<Key, WireError> {
    let id = area.u16("curveID")?;
    let curve = [Curve::P256, Curve::P384].into_iter().find(|curve| curve.id() == id);
    let curve = curve.ok_or(WireError::Invalid("curveID"))?;
    if area.u16("kdf")? != ALG_NULL {
        return Err(WireError::Invalid("kdf"));
    }
    let x = area.sized(curve.size(), "x")?.to_vec();
    let y = area.sized(curve.size(), "y")?.to_vec();
    Ok(Key::Ecc { curve, x, y })
}
