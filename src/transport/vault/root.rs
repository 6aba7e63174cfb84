//! Root certificates: an authority's key, and what it says of itself.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::base::build::BUILT;
use crate::base::{Digest, Millis, Timestamp};
use crate::transport::vault::{Scope, VaultError};

/// Life of an authority: as long as a head is in use. Replacing it means telling every client.
const ROOT_LIFE: Millis = Millis::from_secs(10 * 365 * 86_400);

/// How long before now a certificate begins: clocks of nodes that just booted are behind.
pub(crate) const BACKDATE: Millis = Millis::from_secs(86_400);

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Of which kind the keys of an authority and of its certificates are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// ECDSA on P-256: small and fast.
    P256,
    /// RSA of 2048 bits, for firmware and for iPXE before 2025-12-19, which know nothing else.
    Rsa2048,
}

/// A root with its key.
pub(crate) struct Root {
    pub(crate) key: KeyPair,
    pub(crate) pem: String,
    pub(crate) der: Vec<u8>,
    /// For whom it may speak; None: for everybody, as roots of former versions do.
    pub(crate) scope: Option<Scope>,
}

impl Root {
    /// A new one.
    pub(crate) fn make(kind: Kind, scope: Option<&Scope>, now: Timestamp) -> Result<Root, VaultError> {
        let key = kind.generate().map_err(|error| VaultError::Make(error.to_string()))?;
        Root::signed(kind, key, scope, now)
    }

    /// A new certificate for this key.
    pub(crate) fn signed(
        kind: Kind,
        key: KeyPair,
        scope: Option<&Scope>,
        now: Timestamp,
    ) -> Result<Root, VaultError> {
        let made = params(kind, &key, scope, now).self_signed(&key);
        let pem = made.map_err(|error| VaultError::Make(error.to_string()))?.pem();
        Root::of(key, pem.replace("\r\n", "\n"))
    }

    /// Key and certificate, which fit.
    pub(crate) fn of(key: KeyPair, pem: String) -> Result<Root, VaultError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|error| VaultError::Make(error.to_string()))?.to_vec();
        let scope = Scope::of(&der);
        Ok(Root { key, pem, der, scope })
    }

    /// As it is kept: the key, then the certificate, PEM.
    pub(crate) fn text(&self) -> Zeroizing<String> {
        let key = Zeroizing::new(self.key.serialize_pem());
        Zeroizing::new([key.as_str(), &self.pem].concat())
    }

    /// The first certificate in a text, PEM.
    pub(crate) fn first(text: &str) -> Option<String> {
        let from = text.get(text.find(BEGIN)?..)?;
        let end = from.find(END)?.checked_add(END.len())?;
        Some(format!("{}\n", from.get(..end)?))
    }

    /// True if the certificate is for this key.
    pub(crate) fn fits(key: &KeyPair, pem: &str) -> bool {
        let der = CertificateDer::from_pem_slice(pem.as_bytes());
        der.is_ok_and(|der| {
            let read = X509Certificate::from_der(&der);
            read.is_ok_and(|(_, read)| read.public_key().raw == key.subject_public_key_info())
        })
    }
}

impl Kind {
    /// Name of the key's file.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Kind::P256 => "ca",
            Kind::Rsa2048 => "ca-rsa",
        }
    }

    pub(crate) fn generate(self) -> Result<KeyPair, rcgen::Error> {
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

/// A root's certificate to be. Its name follows from its key, so that it needs nothing but the key to sign.
pub(crate) fn params(kind: Kind, key: &KeyPair, scope: Option<&Scope>, now: Timestamp) -> CertificateParams {
    // A clock that is not set yet must not make a root that has ended before it is.
    let now = now.max(BUILT);
    let mut params = CertificateParams::default();
    span(&mut params, now - BACKDATE, now + ROOT_LIFE);
    let print = Digest(Sha256::digest(key.der_bytes()).into()).to_string();
    params.distinguished_name = named(&format!("muster root {}", &print[..16]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    if let Some(scope) = scope {
        // iPXE refuses what is critical and foreign to it; others heed it all the same.
        params.custom_extensions.push(scope.extension(kind == Kind::P256));
    }
    params
}

pub(crate) fn named(name: &str) -> DistinguishedName {
    let mut full = DistinguishedName::new();
    full.push(DnType::CommonName, name);
    full
}

pub(crate) fn span(params: &mut CertificateParams, begins: Timestamp, ends: Timestamp) {
    let date = |at: Timestamp| date_time_ymd(1970, 1, 1) + Duration::from_millis(at.0);
    (params.not_before, params.not_after) = (date(begins), date(ends));
}
