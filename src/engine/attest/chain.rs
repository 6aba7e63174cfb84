//! What an endorsement key's certificate says: whose TPM it is, and whether a root that the administrator gave
//! signed it. Informative unless a site demands it, since makers' roots are scattered.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::engine::attest::keys::EkFingerprint;

/// tcg-kp-EKCertificate (EK Credential Profile, section 3.2.16).
const EK_USE: &str = "2.23.133.8.1";
/// tcg-at-tpmManufacturer, in the subject's alternative name.
const MANUFACTURER: &str = "2.23.133.2.1";

/// Certificates between a TPM's and its root.
const CHAIN_MAX: usize = 6;

/// What a chain is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chain {
    /// It ends in a root of the administrator's.
    Known,
    /// It does not; nothing is wrong with it.
    Unknown,
}

impl Chain {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Chain::Known => "ok",
            Chain::Unknown => "unknown",
        }
    }
}

/// What a certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EkCertificate {
    /// As in the certificate, such as `id:49465800`.
    pub manufacturer: Option<String>,
    pub chain: Chain,
}

/// Why a certificate counts for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChainError {
    #[error("certificate of the endorsement key: malformed, or octets behind it")]
    Malformed,
    #[error("certificate of the endorsement key: it is of another key")]
    OtherKey,
    #[error("certificate of the endorsement key: not made for endorsement keys")]
    Use,
    #[error("certificate of the endorsement key: the signature of its issuer, which is known, does not hold")]
    Signature,
}

/// Reads the certificate of the key with this fingerprint. `issuers` are the administrator's certificates, roots
/// and those between, in DER; dates are not looked at, since a TPM outlives its certificate's and proves itself by
/// its key.
///
/// # Errors
/// It is of another key, for another use, or forged.
pub fn read(der: &[u8], ek: &EkFingerprint, issuers: &[Vec<u8>]) -> Result<EkCertificate, ChainError> {
    let (rest, leaf) = X509Certificate::from_der(der).map_err(|_| ChainError::Malformed)?;
    // Some TPMs fill the rest of the NV index.
    if rest.iter().any(|octet| !matches!(octet, 0 | 0xff)) {
        return Err(ChainError::Malformed);
    }
    if EkFingerprint::of_spki(leaf.public_key().raw) != *ek {
        return Err(ChainError::OtherKey);
    }
    let uses = leaf.extended_key_usage().map_err(|_| ChainError::Malformed)?;
    if uses.is_some_and(|uses| !uses.value.other.iter().any(|one| one.to_id_string() == EK_USE)) {
        return Err(ChainError::Use);
    }
    let issuers: Vec<X509Certificate<'_>> =
        issuers.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, one)| one)).collect();
    Ok(EkCertificate { manufacturer: manufacturer(&leaf), chain: follow(&leaf, &issuers)? })
}

/// The key that a certificate of an endorsement key is of, for a list of TPMs that are not there yet.
///
/// # Errors
/// It is no such certificate.
pub fn key_of(der: &[u8]) -> Result<EkFingerprint, ChainError> {
    let (_, leaf) = X509Certificate::from_der(der).map_err(|_| ChainError::Malformed)?;
    let key = EkFingerprint::of_spki(leaf.public_key().raw);
    read(der, &key, &[]).map(|_| key)
}

fn follow(leaf: &X509Certificate<'_>, issuers: &[X509Certificate<'_>]) -> Result<Chain, ChainError> {
    let mut at = leaf;
    for _ in 0..CHAIN_MAX {
        let named = || issuers.iter().filter(|one| one.subject() == at.issuer() && one.is_ca());
        if named().next().is_none() {
            return Ok(Chain::Unknown);
        }
        let issuer = named().find(|one| at.verify_signature(Some(one.public_key())).is_ok());
        at = issuer.ok_or(ChainError::Signature)?;
        if at.subject() == at.issuer() {
            return Ok(Chain::Known);
        }
    }
    Ok(Chain::Unknown)
}

fn manufacturer(leaf: &X509Certificate<'_>) -> Option<String> {
    use x509_parser::extensions::GeneralName;
    let names = leaf.subject_alternative_name().ok().flatten()?;
    names.value.general_names.iter().find_map(|name| {
        let GeneralName::DirectoryName(name) = name else { return None };
        let mut parts = name.iter_attributes();
        let found = parts.find(|part| part.attr_type().to_id_string() == MANUFACTURER)?;
        found.as_str().ok().map(str::to_owned)
    })
}
