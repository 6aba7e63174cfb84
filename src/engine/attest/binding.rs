//! What ties the two messages of an attestation to each other and to the node's key of this boot. The node
//! computes the same.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Octets of a proof.
pub const PROOF_BYTES: usize = 32;

/// What the node is to have quoted. Its key is in it, so that nobody in between can put another one in its place.
#[must_use]
pub fn extra_data(quote_nonce: &[u8; 32], attest_id: &str, node_key: &[u8; 32]) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"muster-quote-v1\0")
        .chain_update(quote_nonce)
        .chain_update(attest_id)
        .chain_update(Sha256::digest(node_key))
        .finalize()
        .into()
}

/// By what the node proves that its TPM unpacked the credential `secret`, which itself never travels back.
#[must_use]
pub fn proof(secret: &[u8; 32], attest_id: &str, extra_data: &[u8; 32]) -> [u8; PROOF_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(b"muster-proof-v1\0");
    mac.update(attest_id.as_bytes());
    mac.update(extra_data);
    mac.finalize().into_bytes().into()
}

/// Whether `shown` is that proof; takes the same time whatever it is.
#[must_use]
pub fn proves(shown: &[u8], secret: &[u8; 32], attest_id: &str, extra_data: &[u8; 32]) -> bool {
    proof(secret, attest_id, extra_data).ct_eq(shown).into()
}

/// What the node extends into the PCR of the latch when it has its secrets.
#[must_use]
pub fn latch() -> [u8; 32] {
    Sha256::digest(b"muster-secrets-released").into()
}
