//! The head's own certificate authority, and the certificates that it gives to this head's HTTPS listeners.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize, SanType, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::base::{Digest, Millis, Timestamp};
use crate::transport::vault::{Chest, VaultError, file, keyfile};

/// Life of the authority: as long as a head is in use. Replacing it means telling every client.
const ROOT_LIFE: Millis = Millis::from_secs(10 * 365 * 86_400);

/// Life of a serving certificate. Apple's and Mozilla's clients refuse more than 398 days; a stolen key is
/// worth a month at most.
const LEAF_LIFE: Millis = Millis::from_secs(30 * 86_400);

/// How long before now a certificate begins: clocks of nodes that just booted are behind.
const BACKDATE: Millis = Millis::from_secs(86_400);

/// 2025-01-01: an earlier clock is not set yet, and must not make a certificate that has ended before it is.
const EARLIEST: Timestamp = Timestamp(1_735_689_600_000);

/// Of which kind the keys of an authority and of its certificates are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// ECDSA on P-256: small and fast.
    P256,
    /// RSA of 2048 bits, for firmware and for iPXE before 2025-12-19, which know nothing else.
    Rsa2048,
}

/// The authority.
pub struct Authority {
    kind: Kind,
    key: KeyPair,
    pem: String,
}

/// A serving certificate with its key, both DER. The key is never written down.
pub struct Leaf {
    pub certificate: Vec<u8>,
    /// The authority's own: iPXE knows it by its digest alone, and must be shown it.
    pub root: Vec<u8>,
    /// PKCS #8.
    pub key: Vec<u8>,
    pub names: BTreeSet<String>,
    pub begins: Timestamp,
    pub ends: Timestamp,
}

impl Authority {
    /// Reads the authority, or makes it.
    pub(crate) fn open(
        kind: Kind,
        (chest, folder): (&Chest, &Path),
        certificate: &Path,
        now: Timestamp,
    ) -> Result<Authority, VaultError> {
        let make = |error: rcgen::Error| VaultError::Make(error.to_string());
        let read = |pem: &str| KeyPair::from_pem(pem).map_err(|error| error.to_string());
        let pair = keyfile::open(chest, folder, kind.file(), read, || {
            let pair = kind.generate().map_err(make)?;
            let pem = Zeroizing::new(pair.serialize_pem());
            Ok((pair, pem))
        })?;
        let pem = match file::read(certificate)? {
            Some(pem) => pem,
            // First start, or somebody removed it: the key is what counts.
            None => {
                let pem = root(&pair, now).self_signed(&pair).map_err(make)?.pem();
                file::write(certificate, pem.as_bytes(), 0o644)?;
                pem
            }
        };
        Ok(Authority { kind, key: pair, pem })
    }

    /// The root certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Makes a serving certificate for these names and addresses, with a key of its own.
    ///
    /// # Errors
    /// A name cannot stand in a certificate.
    pub fn issue(&self, names: &BTreeSet<String>, now: Timestamp) -> Result<Leaf, VaultError> {
        let make = |error: rcgen::Error| VaultError::Make(error.to_string());
        let now = now.max(EARLIEST);
        let (begins, ends) = (now - BACKDATE, now + LEAF_LIFE);
        let mut params = CertificateParams::default();
        span(&mut params, begins, ends);
        for name in names {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into().map_err(make)?),
            });
        }
        // Who it is for stands in the names; a common name longer than 64 octets would be no certificate.
        params.distinguished_name = named("muster head");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let root_der = CertificateDer::from_pem_slice(self.pem.as_bytes());
        let root_der = root_der.map_err(|error| VaultError::Make(error.to_string()))?.to_vec();
        let key = self.kind.generate().map_err(make)?;
        let issuer = Issuer::new(root(&self.key, now), &self.key);
        let certificate = params.signed_by(&key, &issuer).map_err(make)?.der().to_vec();
        Ok(Leaf { certificate, root: root_der, key: key.serialize_der(), names: names.clone(), begins, ends })
    }
}

impl Kind {
    /// Name of the key's file.
    fn file(self) -> &'static str {
        match self {
            Kind::P256 => "ca",
            Kind::Rsa2048 => "ca-rsa",
        }
    }

    fn generate(self) -> Result<KeyPair, rcgen::Error> {
        match self {
            Kind::P256 => KeyPair::generate(),
            Kind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        }
    }
}

/// SHA-256 of a certificate in PEM, as browsers show it: pairs of upper-case digits with colons between them. None:
/// it is none.
#[must_use]
pub fn print(pem: &str) -> Option<String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let digest: [u8; 32] = Sha256::digest(&der).into();
    Some(digest.map(|octet| format!("{octet:02X}")).join(":"))
}

impl Leaf {
    /// True if a third of its life is left, or the clock was set to before it began.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        let now = now.max(EARLIEST);
        now < self.begins || now > self.ends - Millis(LEAF_LIFE.0 / 3)
    }
}

/// The root's certificate to be. Its name follows from its key, so that it needs nothing but the key to sign.
fn root(key: &KeyPair, now: Timestamp) -> CertificateParams {
    let now = now.max(EARLIEST);
    let mut params = CertificateParams::default();
    span(&mut params, now - BACKDATE, now + ROOT_LIFE);
    let print = Digest(Sha256::digest(key.der_bytes()).into()).to_string();
    params.distinguished_name = named(&format!("muster root {}", &print[..16]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut full = DistinguishedName::new();
    full.push(DnType::CommonName, name);
    full
}

fn span(params: &mut CertificateParams, begins: Timestamp, ends: Timestamp) {
    let date = |at: Timestamp| date_time_ymd(1970, 1, 1) + Duration::from_millis(at.0);
    (params.not_before, params.not_after) = (date(begins), date(ends));
}
