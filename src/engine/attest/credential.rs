//! MakeCredential (TCG library specification, part 1, section 24) without a TPM: packs 32 octets so that only the
//! TPM with a certain endorsement key unpacks them, and only beside a key of a certain name.

use aes::{Aes128, Aes256};
use cfb_mode::cipher::KeyIvInit as _;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

use crate::engine::attest::keys::{EkError, KeyError, check_ek, sec1};
use crate::wire::tpm::{Credential, Curve, Hash, Key, Public};

/// Fills octets with randomness.
pub type Dice<'a> = &'a mut dyn FnMut(&mut [u8]);

/// Ephemeral keys that are tried. One is beyond its curve's order once in four thousand million times.
const SCALARS_MAX: usize = 8;

/// Why there is no credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CredentialError {
    #[error(transparent)]
    Ek(#[from] EkError),
    #[error("the source of randomness gives nothing that makes a key")]
    Dice,
}

/// What MakeCredential computes, all of it.
#[cfg_attr(not(test), expect(dead_code, reason = "the steps between are there for the tests with vectors"))]
pub(crate) struct Made {
    pub(crate) seed: Zeroizing<Vec<u8>>,
    pub(crate) symmetric_key: Zeroizing<Vec<u8>>,
    pub(crate) hmac_key: Zeroizing<Vec<u8>>,
    pub(crate) encrypted_identity: Vec<u8>,
    pub(crate) outer_hmac: Vec<u8>,
    pub(crate) encrypted_secret: Vec<u8>,
}

/// Packs `secret` for the TPM of `ek`, to be unpacked beside the key named `ak_name`.
///
/// # Errors
/// `ek` is no endorsement key; or `dice` are loaded.
pub fn make(
    ek: &Public,
    ak_name: &[u8],
    secret: &[u8; 32],
    dice: Dice<'_>,
) -> Result<Credential, CredentialError> {
    let made = compute(ek, ak_name, secret, dice)?;
    let length = u16::try_from(made.outer_hmac.len()).unwrap_or(0).to_be_bytes();
    let id_object = [&length[..], &made.outer_hmac, &made.encrypted_identity].concat();
    Ok(Credential { id_object, encrypted_secret: made.encrypted_secret })
}

pub(crate) fn compute(
    ek: &Public,
    ak_name: &[u8],
    secret: &[u8; 32],
    dice: Dice<'_>,
) -> Result<Made, CredentialError> {
    check_ek(ek)?;
    let hash = ek.name_alg;
    let (seed, encrypted_secret) = match &ek.key {
        Key::Rsa { modulus, .. } => rsa_seed(hash, modulus, dice)?,
        Key::Ecc { curve: Curve::P256, x, y } => p256_seed(hash, x, y, dice)?,
        Key::Ecc { curve: Curve::P384, x, y } => p384_seed(hash, x, y, dice)?,
    };
    let bits = ek.symmetric_bits.ok_or(EkError::Symmetric)?;
    let symmetric_key = kdfa(hash, &seed, b"STORAGE\0", ak_name, usize::from(bits / 8));
    let hmac_key = kdfa(hash, &seed, b"INTEGRITY\0", &[], hash.size());
    let mut identity = Zeroizing::new(vec![0, 32]);
    identity.extend_from_slice(secret);
    let encrypted_identity = cfb(&symmetric_key, &identity)?;
    let outer_hmac = mac(hash, &hmac_key, &[&encrypted_identity, ak_name]);
    Ok(Made { seed, symmetric_key, hmac_key, encrypted_identity, outer_hmac, encrypted_secret })
}

type Seed = (Zeroizing<Vec<u8>>, Vec<u8>);

/// RSAES-OAEP (RFC 8017 section 7.1.1) of a random seed, with the label that part 1 section B.10.3 gives.
fn rsa_seed(hash: Hash, modulus: &[u8], dice: Dice<'_>) -> Result<Seed, CredentialError> {
    let mut seed = Zeroizing::new(vec![0; hash.size()]);
    let mut mask_seed = Zeroizing::new(vec![0; hash.size()]);
    dice(&mut seed);
    dice(&mut mask_seed);
    let zeros = modulus.len().saturating_sub(hash.size().saturating_mul(3)).saturating_sub(2);
    let label = hash.digest(&[b"IDENTITY\0"]);
    let mut block = Zeroizing::new([label.as_slice(), &vec![0; zeros], &[1], &seed].concat());
    xor(&mut block, &mgf1(hash, &mask_seed, modulus.len()));
    xor(&mut mask_seed, &mgf1(hash, &block, hash.size()));
    let encoded = Zeroizing::new([&[0], mask_seed.as_slice(), &block].concat());
    Ok((seed, rsa_public(modulus, &encoded)?))
}

/// `message ^ 65537 mod modulus`.
fn rsa_public(modulus: &[u8], message: &[u8]) -> Result<Vec<u8>, EkError> {
    let bits = u32::try_from(modulus.len().saturating_mul(8)).unwrap_or(0);
    let number = |octets| BoxedUint::from_be_slice(octets, bits).map_err(|_| KeyError::Modulus);
    let modulus = Option::from(Odd::new(number(modulus)?)).ok_or(KeyError::Modulus)?;
    let base = BoxedMontyForm::new(number(message)?, &BoxedMontyParams::new(modulus));
    Ok(base.pow(&BoxedUint::from(65537_u32)).retrieve().to_be_bytes().into_vec())
}

/// MGF1 (RFC 8017 section B.2.1).
fn mgf1(hash: Hash, seed: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::new());
    for counter in 0_u32.. {
        if out.len() >= length {
            break;
        }
        out.extend_from_slice(&hash.digest(&[seed, &counter.to_be_bytes()]));
    }
    out.truncate(length);
    out
}

fn xor(into: &mut [u8], mask: &[u8]) {
    into.iter_mut().zip(mask).for_each(|(octet, mask)| *octet ^= mask);
}

/// Diffie-Hellman with an ephemeral key (part 1, section C.6.1).
macro_rules! ecc_seed {
    ($name:ident, $curve:ident, $bytes:literal) => {
        fn $name(hash: Hash, x: &[u8], y: &[u8], dice: Dice<'_>) -> Result<Seed, CredentialError> {
            let ek = $curve::PublicKey::from_sec1_bytes(&sec1(x, y))
                .map_err(|_| EkError::from(KeyError::Point))?;
            let ours = (0..SCALARS_MAX).find_map(|_| {
                let mut scalar = Zeroizing::new([0; $bytes]);
                dice(scalar.as_mut_slice());
                $curve::SecretKey::from_slice(scalar.as_slice()).ok()
            });
            let ours = ours.ok_or(CredentialError::Dice)?;
            let shared = ours.diffie_hellman(&ek);
            let point = ours.public_key().to_sec1_bytes();
            // The encoded point: 4, and the two coordinates in full length.
            let (our_x, our_y) =
                point.get(1..).unwrap_or_default().split_at_checked($bytes).unwrap_or_default();
            let seed = kdfe(hash, shared.raw_secret_bytes(), b"IDENTITY\0", our_x, x);
            let length = u16::try_from(our_x.len()).unwrap_or(0).to_be_bytes();
            Ok((seed, [&length, our_x, &length, our_y].concat()))
        }
    };
}

ecc_seed!(p256_seed, p256, 32);
ecc_seed!(p384_seed, p384, 48);

/// KDFe (part 1, section 11.4.10.3), for a result of the hash's own size: one round. The label has its zero.
fn kdfe(hash: Hash, z: &[u8], label: &[u8], party_u: &[u8], party_v: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(hash.digest(&[&1_u32.to_be_bytes(), z, label, party_u, party_v]))
}

/// KDFa (part 1, section 11.4.10.2), with an empty second context. The label has its zero.
fn kdfa(hash: Hash, key: &[u8], label: &[u8], context: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let bits = u32::try_from(length.saturating_mul(8)).unwrap_or(0).to_be_bytes();
    // One round: no key of ours is longer than its hash.
    let mut out = Zeroizing::new(mac(hash, key, &[&1_u32.to_be_bytes(), label, context, &bits]));
    out.truncate(length);
    out
}

fn mac(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    macro_rules! with {
        ($hash:ty) => {{
            let mut mac = Hmac::<$hash>::new_from_slice(key).expect("HMAC takes keys of any length");
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().to_vec()
        }};
    }
    match hash {
        Hash::Sha256 => with!(Sha256),
        Hash::Sha384 => with!(Sha384),
    }
}

/// AES in CFB mode with full blocks and an IV of zeros.
fn cfb(key: &[u8], plain: &[u8]) -> Result<Vec<u8>, EkError> {
    let mut out = plain.to_vec();
    match key.len() {
        16 => cfb_mode::Encryptor::<Aes128>::new_from_slices(key, &[0; 16])
            .map_err(|_| EkError::Symmetric)?
            .encrypt(&mut out),
        32 => cfb_mode::Encryptor::<Aes256>::new_from_slices(key, &[0; 16])
            .map_err(|_| EkError::Symmetric)?
            .encrypt(&mut out),
        _ => return Err(EkError::Symmetric),
    }
    Ok(out)
}

/// What a TPM with this P-256 endorsement key makes of a credential.
#[cfg(test)]
pub(crate) fn unpack(
    ek: &p256::SecretKey,
    credential: &Credential,
    ak_name: &[u8],
) -> Option<Zeroizing<[u8; 32]>> {
    let hash = Hash::Sha256;
    let (x, y) = (credential.encrypted_secret.get(2..34)?, credential.encrypted_secret.get(36..68)?);
    let theirs = p256::PublicKey::from_sec1_bytes(&sec1(x, y)).ok()?;
    let own = ek.public_key().to_sec1_bytes();
    let shared = ek.diffie_hellman(&theirs);
    let seed = kdfe(hash, shared.raw_secret_bytes(), b"IDENTITY\0", x, own.get(1..33)?);
    let (outer, encrypted) = credential.id_object.get(2..)?.split_at_checked(32)?;
    let key = kdfa(hash, &seed, b"INTEGRITY\0", &[], 32);
    if mac(hash, &key, &[encrypted, ak_name]) != outer {
        return None;
    }
    let key = kdfa(hash, &seed, b"STORAGE\0", ak_name, 16);
    let mut plain = encrypted.to_vec();
    cfb_mode::Decryptor::<Aes128>::new_from_slices(&key, &[0; 16]).ok()?.decrypt(&mut plain);
    plain.strip_prefix(&[0, 32])?.try_into().ok().map(Zeroizing::new)
}
