//! Templates of the keys that attestation uses: endorsement keys of the TCG (EK Credential Profile 2.5, annex B),
//! and our attestation key.

use crate::wire::tpm::attributes::{
    ADMIN_WITH_POLICY, DECRYPT, FIXED_PARENT, FIXED_TPM, NO_DA, RESTRICTED, SENSITIVE_DATA_ORIGIN, SIGN,
    USER_WITH_AUTH,
};
use crate::wire::tpm::command::Handle;
use crate::wire::tpm::{Curve, Hash, Key, Public, Scheme};

/// PolicySecret(endorsement), SHA-256: who may use the endorsement hierarchy may use the key.
pub const POLICY_A_SHA256: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd,
    0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// The same in SHA-384.
pub const POLICY_A_SHA384: [u8; 48] = [
    0x8b, 0xbf, 0x22, 0x66, 0x53, 0x7c, 0x17, 0x1c, 0xb5, 0x6e, 0x40, 0x3c, 0x4d, 0xc1, 0xd4, 0xb6, 0x4f,
    0x43, 0x26, 0x11, 0xdc, 0x38, 0x6e, 0x6f, 0x53, 0x20, 0x50, 0xc3, 0x27, 0x8c, 0x93, 0x0e, 0x14, 0x3e,
    0x8b, 0xb1, 0x13, 0x38, 0x24, 0xcc, 0xb4, 0x31, 0x05, 0x38, 0x71, 0xc6, 0xdb, 0x53,
];
/// PolicyAuthorizeNV(0x01c07f01), SHA-256: the owner's branch, which we never take.
pub const POLICY_C_SHA256: [u8; 32] = [
    0x37, 0x67, 0xe2, 0xed, 0xd4, 0x3f, 0xf4, 0x5a, 0x3a, 0x7e, 0x1e, 0xae, 0xfc, 0xef, 0x78, 0x64, 0x3d,
    0xca, 0x96, 0x46, 0x32, 0xe7, 0xaa, 0xd8, 0x2c, 0x67, 0x3a, 0x30, 0xd8, 0x63, 0x3f, 0xde,
];
/// PolicyAuthorizeNV(0x01c07f02), SHA-384.
pub const POLICY_C_SHA384: [u8; 48] = [
    0xd6, 0x03, 0x2c, 0xe6, 0x1f, 0x2f, 0xb3, 0xc2, 0x40, 0xeb, 0x3c, 0xf6, 0xa3, 0x32, 0x37, 0xef, 0x2b,
    0x6a, 0x16, 0xf4, 0x29, 0x3c, 0x22, 0xb4, 0x55, 0xe2, 0x61, 0xcf, 0xfd, 0x21, 0x7a, 0xd5, 0xb4, 0x94,
    0x7c, 0x2d, 0x73, 0xe6, 0x30, 0x05, 0xee, 0xd2, 0xdc, 0x2b, 0x35, 0x93, 0xd1, 0x65,
];

/// TPM_CC_PolicyOR.
const POLICY_OR: u32 = 0x171;

/// Attributes of an endorsement key of the low range: used by policy alone.
pub const EK_LOW: u32 =
    FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | ADMIN_WITH_POLICY | RESTRICTED | DECRYPT;
/// Of the high range: by password too.
pub const EK_HIGH: u32 = EK_LOW | USER_WITH_AUTH;

/// The two branches of PolicyB: PolicyA, which we satisfy, and PolicyC.
#[must_use]
pub fn policy_branches(hash: Hash) -> [&'static [u8]; 2] {
    match hash {
        Hash::Sha256 => [&POLICY_A_SHA256, &POLICY_C_SHA256],
        Hash::Sha384 => [&POLICY_A_SHA384, &POLICY_C_SHA384],
    }
}

/// PolicyB: PolicyOR over the branches (part 3, section 23.6).
#[must_use]
pub fn policy_b(hash: Hash) -> Vec<u8> {
    let [a, c] = policy_branches(hash);
    hash.digest(&[&vec![0; hash.size()], &POLICY_OR.to_be_bytes(), a, c])
}

/// The template L-1: RSA-2048.
#[must_use]
pub fn ek_rsa2048() -> Public {
    Public {
        name_alg: Hash::Sha256,
        attributes: EK_LOW,
        policy: POLICY_A_SHA256.to_vec(),
        symmetric_bits: Some(128),
        scheme: None,
        key: Key::Rsa { bits: 2048, exponent: 0, modulus: vec![0; 256] },
    }
}

/// The template L-2: P-256.
#[must_use]
pub fn ek_p256() -> Public {
    Public { key: Key::Ecc { curve: Curve::P256, x: vec![0; 32], y: vec![0; 32] }, ..ek_rsa2048() }
}

/// The template H-3: P-384.
#[must_use]
pub fn ek_p384() -> Public {
    Public {
        name_alg: Hash::Sha384,
        attributes: EK_HIGH,
        policy: policy_b(Hash::Sha384),
        symmetric_bits: Some(256),
        scheme: None,
        key: Key::Ecc { curve: Curve::P384, x: Vec::new(), y: Vec::new() },
    }
}

/// Where an endorsement key may already stand, and where its certificate: low and high range.
pub const EK_PLACES: [(Handle, Handle); 4] = [
    (0x8101_0001, 0x01c0_0002), // RSA-2048
    (0x8101_0016, 0x01c0_0016), // P-384
    (0x8101_0014, 0x01c0_0014), // P-256, high range
    (0x8101_0002, 0x01c0_000a), // P-256, low range
];

/// Our attestation key: the same key in each boot, so that a node without a disk keeps nothing. `noDA`, since
/// other keys stop working after some dirty power cuts.
#[must_use]
pub fn ak_p256() -> Public {
    Public {
        name_alg: Hash::Sha256,
        attributes: FIXED_TPM
            | FIXED_PARENT
            | SENSITIVE_DATA_ORIGIN
            | USER_WITH_AUTH
            | NO_DA
            | RESTRICTED
            | SIGN,
        policy: Vec::new(),
        symmetric_bits: None,
        scheme: Some(Scheme::Ecdsa(Hash::Sha256)),
        key: Key::Ecc { curve: Curve::P256, x: Vec::new(), y: Vec::new() },
    }
}
