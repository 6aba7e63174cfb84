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
        let pair = |leaf: &Leaf| {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.clone()));
            let chain = [&leaf.certificate, &leaf.root].map(|der| CertificateDer::from(der.clone()));
            certified(chain.to_vec(), &key)
        };
        let (usual, rsa) = (pair(usual)?, pair(rsa)?);
        self.usual.store(Some(usual));
        self.rsa.store(Some(rsa));
        Ok(())
    }

    /// Serves the certificate chain and key of these PEM files from now on.
    ///
    /// # Errors
    /// A file cannot be read, or the two do not fit.
    pub fn put_files(&self, certificate: &Path, key: &Path) -> Result<(), TlsError> {
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
        self.usual.store(Some(certified(chain, &key)?));
        self.rsa.store(None);
        Ok(())
    }
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
        if usual.as_ref().is_some_and(fits) {
            return usual;
        }
        // With neither, the handshake fails by what it lacks, not by our silence.
        self.rsa.load_full().filter(fits).or(usual)
    }
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
