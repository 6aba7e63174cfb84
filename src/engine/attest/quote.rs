//! Whether a quote is the TPM's, for this challenge, and of a machine that just started.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RsaParameters, UnparsedPublicKey,
};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::engine::attest::keys::{qualified_name, sec1};
use crate::engine::attest::spki::rsa_public_key;
use crate::wire::WireError;
use crate::wire::tpm::{Attest, Curve, Hash, Key, Public, Scheme, Selection, Signature};

/// PCRs that a node quotes, unless another latch is configured: firmware, its drivers, loaders, Secure Boot, what
/// they loaded, and the latch.
pub const PCRS: [u8; 6] = [0, 2, 4, 7, 9, LATCH];

/// The PCR that a node extends when it has its secrets.
pub const LATCH: u8 = 15;

/// PCRs in which firmware without measurements leaves zeros; then any other PCR can be forged.
const MEASURED: [u8; 2] = [0, 4];

/// Values of PCRs of the SHA-256 bank.
pub type PcrValues = BTreeMap<u8, [u8; 32]>;

/// What a quote must be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The attestation key, as it was shown before the challenge, never one that came with the quote.
    pub ak: &'a Public,
    pub extra_data: &'a [u8; 32],
    pub pcrs: &'a [u8],
    pub starts: Starts,
}

/// What is known of the TPM's counter of starts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Starts {
    /// Of the last boot in which the node got secrets.
    pub delivered: Option<u32>,
    /// That an earlier attestation in this same session showed.
    pub session: Option<u32>,
}

/// Why a quote does not count.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuoteError {
    #[error("quote: {0}")]
    Malformed(#[from] WireError),
    #[error("quote: not for this challenge (extraData differs)")]
    ExtraData,
    #[error("quote: signed by another key than the attestation key (qualifiedSigner differs)")]
    Signer,
    #[error("quote: not of the sha256 bank's PCRs {wanted:?} and no others, but {found}")]
    Selection { wanted: Vec<u8>, found: String },
    #[error("quote: values of PCRs {found:?} were sent, {wanted:?} were asked for")]
    Values { wanted: Vec<u8>, found: Vec<u8> },
    #[error("quote: the values that were sent are not those that the TPM signed")]
    PcrDigest,
    #[error("quote: the signature is not the attestation key's")]
    Signature,
    #[error("quote: start {found} of the TPM has had its secrets; the node must boot anew (last: {last})")]
    Used { found: u32, last: u32 },
    #[error(
        "quote: start {found} of the TPM lies before start {last}, which had secrets: an old quote or another TPM"
    )]
    Back { found: u32, last: u32 },
    #[error("quote: start {found} of the TPM within a session that began in start {begun}")]
    Restarted { found: u32, begun: u32 },
    #[error("PCR {0} is not zero: the secrets of this boot were already released")]
    Latched(u8),
    #[error(
        "PCR {0} is zero: this firmware measures nothing into the sha256 bank, so its PCRs prove nothing"
    )]
    Unmeasured(u8),
}

impl QuoteError {
    /// Whether somebody should look at it: no honest node does this.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        matches!(self, QuoteError::Signature | QuoteError::Signer | QuoteError::Back { .. })
    }
}

/// What a good quote tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quoted {
    pub reset_count: u32,
    pub restart_count: u32,
    pub firmware: u64,
}

/// Checks a quote: its form, that it answers this challenge, covers exactly the wanted PCRs with these values, is
/// signed by the attestation key, and is of a start of the TPM that had no secrets yet.
///
/// # Errors
/// The first check that fails.
pub fn check(
    wanted: Wanted<'_>,
    attest: &[u8],
    signature: &[u8],
    values: &PcrValues,
) -> Result<Quoted, QuoteError> {
    let quote = Attest::parse(attest)?;
    if !bool::from(quote.extra_data.ct_eq(wanted.extra_data.as_slice())) {
        return Err(QuoteError::ExtraData);
    }
    if qualified_name(wanted.ak).is_some_and(|name| name != quote.qualified_signer) {
        return Err(QuoteError::Signer);
    }
    let asked = Selection::sha256(wanted.pcrs);
    if quote.selection != [asked] {
        let found = quote.selection.iter().map(|one| format!("bank 0x{:04x} {:?}", one.bank, one.pcrs()));
        let found = found.collect::<Vec<_>>().join(", ");
        return Err(QuoteError::Selection { wanted: asked.pcrs(), found });
    }
    if !values.keys().copied().eq(asked.pcrs()) {
        return Err(QuoteError::Values { wanted: asked.pcrs(), found: values.keys().copied().collect() });
    }
    let mut digest = Sha256::new();
    values.values().for_each(|value| digest.update(value));
    if digest.finalize().as_slice() != quote.pcr_digest {
        return Err(QuoteError::PcrDigest);
    }
    if !verifies(wanted.ak, attest, signature)? {
        return Err(QuoteError::Signature);
    }
    check_start(wanted.starts, quote.reset_count)?;
    Ok(Quoted {
        reset_count: quote.reset_count,
        restart_count: quote.restart_count,
        firmware: quote.firmware,
    })
}

/// Holds the TPM's counter of starts to what is known. Its clock is no measure: it falls after a power cut.
fn check_start(known: Starts, found: u32) -> Result<(), QuoteError> {
    match known {
        Starts { session: Some(begun), .. } if found != begun => Err(QuoteError::Restarted { found, begun }),
        Starts { session: Some(_), .. } => Ok(()),
        Starts { delivered: Some(last), .. } if found == last => Err(QuoteError::Used { found, last }),
        Starts { delivered: Some(last), .. } if found < last => Err(QuoteError::Back { found, last }),
        _ => Ok(()),
    }
}

/// Checks that the values are of a machine that measures, and that had no secrets in this boot.
///
/// # Errors
/// Names the PCR.
pub fn check_boot(values: &PcrValues, latch: u8) -> Result<(), QuoteError> {
    let zero = |pcr: u8| values.get(&pcr).is_none_or(|value| *value == [0; 32]);
    if !zero(latch) {
        return Err(QuoteError::Latched(latch));
    }
    match MEASURED.into_iter().find(|pcr| zero(*pcr)) {
        Some(pcr) => Err(QuoteError::Unmeasured(pcr)),
        None => Ok(()),
    }
}

/// Whether the attestation key signed. The signature is a TPMT_SIGNATURE or what `tpm2_quote -f plain` writes: DER
/// of ECDSA, bare octets of RSA. The algorithm is the key's, never the signature's.
fn verifies(ak: &Public, message: &[u8], signature: &[u8]) -> Result<bool, QuoteError> {
    let scheme = ak.scheme.ok_or(QuoteError::Signature)?;
    match (&ak.key, scheme) {
        (Key::Ecc { curve: Curve::P256, x, y }, Scheme::Ecdsa(hash)) => {
            let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&sec1(x, y)).ok();
            let signature = match ecdsa(signature, hash)? {
                Ecdsa::Der(der) => p256::ecdsa::Signature::from_der(der).ok(),
                Ecdsa::Numbers(r, s) => p256::ecdsa::Signature::from_slice(&numbers::<32>(&r, &s)?).ok(),
            };
            let digest = hash.digest(&[message]);
            Ok(key
                .zip(signature)
                .is_some_and(|(key, signature)| key.verify_prehash(&digest, &signature).is_ok()))
        }
        (Key::Ecc { curve: Curve::P384, x, y }, Scheme::Ecdsa(hash)) => {
            let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(&sec1(x, y)).ok();
            let signature = match ecdsa(signature, hash)? {
                Ecdsa::Der(der) => p384::ecdsa::Signature::from_der(der).ok(),
                Ecdsa::Numbers(r, s) => p384::ecdsa::Signature::from_slice(&numbers::<48>(&r, &s)?).ok(),
            };
            let digest = hash.digest(&[message]);
            Ok(key
                .zip(signature)
                .is_some_and(|(key, signature)| key.verify_prehash(&digest, &signature).is_ok()))
        }
        (Key::Rsa { modulus, .. }, Scheme::RsaSsa(hash) | Scheme::RsaPss(hash)) => {
            let pss = matches!(scheme, Scheme::RsaPss(_));
            let bare = signature.len() == modulus.len();
            let parsed = if bare { None } else { Some(Signature::parse(signature)?) };
            let signature = match &parsed {
                None => signature,
                Some(Signature::RsaSsa { hash: said, signature }) if !pss && *said == hash => signature,
                Some(Signature::RsaPss { hash: said, signature }) if pss && *said == hash => signature,
                Some(_) => return Ok(false),
            };
            let algorithm: &RsaParameters = match (pss, hash) {
                (false, Hash::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
                (false, Hash::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
                (true, Hash::Sha256) => &RSA_PSS_2048_8192_SHA256,
                (true, Hash::Sha384) => &RSA_PSS_2048_8192_SHA384,
            };
            let key = UnparsedPublicKey::new(algorithm, rsa_public_key(&ak.key));
            Ok(key.verify(message, signature).is_ok())
        }
        _ => Ok(false),
    }
}

enum Ecdsa<'a> {
    Der(&'a [u8]),
    Numbers(Vec<u8>, Vec<u8>),
}

fn ecdsa(signature: &[u8], hash: Hash) -> Result<Ecdsa<'_>, QuoteError> {
    if signature.first() == Some(&0x30) {
        return Ok(Ecdsa::Der(signature)); // a TPMT_SIGNATURE begins with zero
    }
    match Signature::parse(signature)? {
        Signature::Ecdsa { hash: said, r, s } if said == hash => Ok(Ecdsa::Numbers(r, s)),
        _ => Err(QuoteError::Signature),
    }
}

/// Both numbers in full length, one after another.
fn numbers<const N: usize>(r: &[u8], s: &[u8]) -> Result<Vec<u8>, QuoteError> {
    let mut out = Vec::new();
    for number in [r, s] {
        let missing = N.checked_sub(number.len()).ok_or(QuoteError::Signature)?;
        out.resize(out.len().saturating_add(missing), 0);
        out.extend_from_slice(number);
    }
    Ok(out)
}
