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

/// The certificate in use. A swap holds for handshakes that begin after it; open connections go on.
#[derive(Debug, Default)]
pub struct Certificates(ArcSwapOption<CertifiedKey>);

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
    /// Serves this certificate of the head's own authority from now on.
    ///
    /// # Errors
    /// The library does not take it.
    pub fn put_leaf(&self, leaf: &Leaf) -> Result<(), TlsError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.clone()));
        self.put(vec![CertificateDer::from(leaf.certificate.clone())], &key)
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
        self.put(chain, &key)
    }

    fn put(&self, chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'static>) -> Result<(), TlsError> {
        let key = aws_lc_rs::sign::any_supported_type(key).map_err(TlsError::Pair)?;
        let pair = CertifiedKey::new(chain, key);
        match pair.keys_match() {
            // Some kinds of keys cannot tell; the first handshake will.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(error) => return Err(TlsError::Pair(error)),
        }
        self.0.store(Some(Arc::new(pair)));
        Ok(())
    }
}

impl ResolvesServerCert for Certificates {
    /// One certificate, whatever name is asked for: firmware and BMCs ask by address, which has no name.
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
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
