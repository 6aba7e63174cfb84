//! Trust between the head and a node that boots: who may have what, proven how, and packed so that nobody else
//! can read it.
//!
//! A node reaches a [`Level`](crate::base::Level) in each boot. Its session ([`session`]) begins with a PXE
//! exchange; a one-time grant ([`grant`]) travels in an archive behind the initrd, is redeemed once for a key that
//! the node just made, and everything secret leaves in bundles that are sealed to that key and signed by the head
//! ([`sealed`]). A node believes a bundle by the head's list of keys ([`keyset`]), which the site key signs.
//!
//! **Absent:** sockets, the table of sessions (`transport/sessions`), private keys (`transport/vault`), TPM
//! structures (`engine/attest`). What stands here is all that the node's side needs too.

pub mod attestor;
pub mod choose;
pub mod contents;
pub mod grant;
pub mod keyset;
pub mod sealed;
pub mod secrets;
pub mod session;
pub mod token;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

pub use attestor::{Attestor, Pending};
pub use secrets::{NoSecrets, Secrets};
pub use session::{ArmOn, Refusal};

/// What a session remembers of a nonce.
#[must_use]
pub fn nonce_hash(nonce: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"muster-nonce-v1\0").chain_update(nonce).finalize().into()
}

/// What a session remembers of a node's X25519 key: its thumbprint (RFC 7638 section 3, with the members of RFC 8037
/// section 2), which the node's token names too.
#[must_use]
pub fn key_hash(key: &[u8; 32]) -> [u8; 32] {
    let members = format!(r#"{{"crv":"X25519","kty":"OKP","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(key));
    Sha256::digest(members).into()
}
