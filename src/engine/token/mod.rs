//! Tokens of those who use the APIs: JSON Web Tokens in a strict profile.
//!
//! Three parts, signed with EdDSA or, for clients that know nothing else, RS256. The header holds `alg`, `typ`
//! and `kid` only; the key is chosen by `kid`, and the algorithm is the key's, never the header's. What a
//! token's bearer may do stands in the claim `roles` (a list; the highest counts); `scope` repeats it in words
//! that OAuth clients show. `sub`, `iss` and `aud` must be there, as the replaced services demand it.
//!
//! **Absent:** private keys (`transport/vault`), and the list of revoked tokens (documents in the inventory).

mod claims;
mod login;
pub mod oidc;
mod throttle;
pub mod totp;
mod trust;

pub use claims::{AUDIENCE, Claims};
pub use login::Logins;
pub use throttle::Throttle;
pub use trust::{KeyError, Refusal, Trust, Verified};

use std::fmt;
use std::str::FromStr;

/// How a token of ours is signed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// Ed25519, RFC 8037. RFC 9864 names it `Ed25519`; the libraries of the replaced stack know the old name.
    #[default]
    EdDsa,
    /// RSA with SHA-256.
    Rs256,
}

impl Algorithm {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Algorithm::EdDsa, Algorithm::Rs256];
        known.into_iter().find(|one| one.name().eq_ignore_ascii_case(text)).ok_or("is none of EdDSA, RS256")
    }
}

#[cfg(test)]
mod tests;
