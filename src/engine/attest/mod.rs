//! Whether a node's TPM is who it is said to be, and whether the node booted what the head gave it.
//!
//! An attestation has two messages. First the node shows its endorsement key and an attestation key ([`keys`]); if
//! the former is the enrolled one, the head makes a credential that this TPM alone can unpack, and only for this
//! attestation key ([`credential`]). Then the node proves that it unpacked it ([`binding`]) and quotes its PCRs
//! with that key ([`quote`]). What the PCRs must hold is computed from what the head served ([`policy`],
//! [`authenticode`]), not collected from nodes.
//!
//! Everything fails closed, and every refusal names the check. **Absent:** randomness (an argument), sessions
//! (`engine/trust`), and which key is enrolled for whom.

pub mod attestor;
pub mod authenticode;
pub mod binding;
pub mod chain;
pub mod credential;
pub mod enrol;
pub mod keys;
pub mod policy;
pub mod quote;
mod spki;

pub use keys::{AkError, EkError, EkFingerprint, check_ak, check_ek};
pub use policy::{Expected, Finding, Mode, Outcome};
pub use quote::{PcrValues, QuoteError};

#[cfg(test)]
mod tests;
