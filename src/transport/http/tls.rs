//! TLS for the listeners: a certificate that can be swapped while they serve, and what is spoken with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::transport::vault::Leaf;

/// The certificates in use. A swap holds for handshakes that begin after it; open connections go on.
#[derive(Debug, Default)]
pub struct Certificates {
    usual: ArcSwapOption<CertifiedKey>,
    /// For clients that cannot check the usual one.
    rsa: ArcSwapOption<CertifiedKey>,
}

/// Says why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {why}")]
    File { path: PathBuf, why: String },
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    #[error("no PEM: {0}")]
    Pem(String),
    #[error("certificate and key cannot be used")]
    Pair(#[source] rustls::Error),
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl Certificates {
    /// Serves these certificates of the head's own authorities from now on; `rsa` to clients that know RSA only.
    ///
    /// # Errors
    /// The library does not take one of them; the ones before go on then.
    pub fn put_leaves(&self, usual: &Leaf, rsa: &Leaf) -> Result<(), TlsError> {
        let (usual, rsa) = (pair(usual)?, pair(rsa)?);
        self.usual.store(Some(usual));
        self.rsa.store(Some(rsa));
        Ok(())
    }

    /// Serves the certificate chain and key of these PEM files from now on. `loaders`: what loaders are shown, who know
    /// the head's own authority alone.
    ///
    /// # Errors
    /// A file cannot be read, or the two do not fit.
    pub fn put_files(&self, certificate: &Path, key: &Path, loaders: Option<&Leaf>) -> Result<(), TlsError> {
        let file = |path: &Path| {
            let path = path.to_owned();
            move |error: rustls::pki_types::pem::Error| TlsError::File { path, why: error.to_string() }
        };
        let chain = CertificateDer::pem_file_iter(certificate).map_err(file(certificate))?;
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(file(certificate))?;
        if chain.is_empty() {
            return Err(TlsError::Empty(certificate.to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
        self.put_foreign(chain, &key, loaders)
    }

    /// The same of a chain and a key in memory, PEM.
    ///
    /// # Errors
    /// They cannot be read, or do not fit.
    pub fn put_pem(&self, chain: &str, key: &str, loaders: Option<&Leaf>) -> Result<(), TlsError> {
        let wrong = |error: rustls::pki_types::pem::Error| TlsError::Pem(error.to_string());
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(wrong)?;
        self.put_foreign(chain.map_err(wrong)?, &key, loaders)
    }

    fn put_foreign(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
        loaders: Option<&Leaf>,
    ) -> Result<(), TlsError> {
        let usual = certified(chain, key)?;
        let loaders = loaders.map(pair).transpose()?;
        self.usual.store(Some(usual));
        self.rsa.store(loaders);
        Ok(())
    }
}

/// A certificate of our own, and the root behind it.
fn pair(leaf: &Leaf) -> Result<Arc<CertifiedKey>, TlsError> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.clone()));
    let chain = [&leaf.certificate, &leaf.root].map(|der| CertificateDer::from(der.clone()));
    certified(chain.to_vec(), &key)
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let key = aws_lc_rs::sign::any_supported_type(key).map_err(TlsError::Pair)?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        // Some kinds of keys cannot tell; the first handshake will.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
        Err(error) => return Err(TlsError::Pair(error)),
    }
    Ok(Arc::new(pair))
}

impl ResolvesServerCert for Certificates {
    /// By what the client can check, whatever name is asked for: firmware and BMCs ask by address, which has no name.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |pair: &Arc<CertifiedKey>| pair.key.choose_scheme(hello.signature_schemes()).is_some();
        let usual = self.usual.load_full();
        let rsa = || self.rsa.load_full().filter(fits);
        // Firmware and iPXE: they ask by address, and what they trust is the authority with the RSA key. Its root says
        // nothing critical that they cannot read.
        if is_old(&hello)
            && hello.server_name().is_none()
            && let Some(rsa) = rsa()
        {
            return Some(rsa);
        }
        if usual.as_ref().is_some_and(fits) {
            return usual;
        }
        // With neither, the handshake fails by what it lacks, not by our silence.
        rsa().or(usual)
    }
}

/// True for a client that knows no TLS 1.3: it offers none of its suites (RFC 8446 section B.4).
fn is_old(hello: &ClientHello<'_>) -> bool {
    !hello.cipher_suites().iter().any(|suite| u16::from(*suite) >> 8 == 0x13)
}

/// What the listeners speak: TLS 1.2 and 1.3, and HTTP/1.1 in it.
///
/// # Errors
/// The library was built without them.
pub fn acceptor(certificates: Arc<Certificates>) -> Result<TlsAcceptor, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
    let mut config = builder.map_err(TlsError::Setup)?.with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests;
