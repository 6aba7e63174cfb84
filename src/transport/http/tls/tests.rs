use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::routing::get;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::transport::clock::now;
use crate::transport::http::tls::{Certificates, TlsError, acceptor};
use crate::transport::http::{Http, Peer};
use crate::transport::tasks::Tasks;
use crate::transport::vault::{Leaf, Vault};

struct Server {
    vault: Vault,
    certificates: Arc<Certificates>,
    http: Http,
    address: SocketAddr,
    tasks: Tasks,
    folder: tempfile::TempDir,
}

async fn peer(Extension(peer): Extension<Peer>) -> String {
    format!("{:?}", peer.head().unwrap())
}

impl Server {
    fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path(), now()).unwrap();
        let certificates = Arc::new(Certificates::default());
        let (http, tasks) = (Http::new(Router::new().route("/", get(peer))), Tasks::new());
        let acceptor = acceptor(Arc::clone(&certificates)).unwrap();
        let address = http.listen_tls(([127, 0, 0, 1], 0).into(), acceptor, 8081, &tasks).unwrap();
        Server { vault, certificates, http, address, tasks, folder }
    }

    fn leaf(&self) -> Leaf {
        let names: BTreeSet<String> = ["head.example", "127.0.0.1"].map(str::to_owned).into();
        self.vault.authority.issue(&names, now()).unwrap()
    }

    fn put(&self, leaf: &Leaf) {
        let rsa = self.vault.rsa_authority.issue(&leaf.names, now()).unwrap();
        self.certificates.put_leaves(leaf, &rsa).unwrap();
    }

    /// A client that trusts this server's authorities and asks for `name`.
    async fn connect(&self, name: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_by(rustls::ALL_VERSIONS, name).await
    }

    async fn connect_by(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for pem in self.vault.roots() {
            roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        }
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        // The library offers suites of all versions whatever it speaks; an old client does not know them.
        provider.cipher_suites.retain(|suite| versions.contains(&suite.version()));
        let builder =
            ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(versions).unwrap();
        let connector =
            TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()));
        let stream = TcpStream::connect(self.address).await?;
        connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
    }
}

fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: head\r\n\r\n").await.unwrap();
    let mut buffer = vec![0; 4096];
    let count = stream.read(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

#[tokio::test]
async fn a_swapped_certificate_holds_for_new_connections_and_disturbs_no_old_one() {
    let server = Server::start();
    let (first, second) = (server.leaf(), server.leaf());
    server.put(&first);
    let mut old = server.connect("head.example").await.unwrap();
    assert_eq!(shown(&old), first.certificate);
    assert!(ask(&mut old).await.starts_with("HTTP/1.1 200"));
    server.put(&second);
    let mut new = server.connect("127.0.0.1").await.unwrap();
    assert_eq!(shown(&new), second.certificate);
    // Boot scripts must name the port of plain HTTP.
    assert!(ask(&mut new).await.contains("(127.0.0.1, 8081)"));
    assert!(ask(&mut old).await.starts_with("HTTP/1.1 200"));
    server.tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_name_that_is_not_in_the_certificate_is_refused_by_the_client() {
    let server = Server::start();
    server.put(&server.leaf());
    assert!(server.connect("other.example").await.is_err());
    assert!(server.connect("127.0.0.2").await.is_err());
    server.tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_or_nonsense_keeps_nobody_out() {
    let server = Server::start();
    server.put(&server.leaf());
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let mut rude = TcpStream::connect(server.address).await.unwrap();
    rude.write_all(b"GET / HTTP/1.1\r\nHost: head\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = rude.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"), "no plain HTTP here");
    let mut honest = server.connect("head.example").await.unwrap();
    assert!(ask(&mut honest).await.starts_with("HTTP/1.1 200"));
    assert_eq!(server.http.counters.handshakes_failed.value(), 1);
    server.tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn files_that_do_not_fit_are_refused_and_the_old_certificate_stays() {
    let server = Server::start();
    let good = server.leaf();
    server.put(&good);
    let path = |name: &str| server.folder.path().join(name);
    let own = rcgen::generate_simple_self_signed(vec!["own.example".to_owned()]).unwrap();
    std::fs::write(path("own.crt"), own.cert.pem()).unwrap();
    let other = path("own.pem");
    std::fs::write(&other, own.signing_key.serialize_pem()).unwrap();
    std::fs::write(path("none.pem"), "").unwrap();
    let put = |certificate: &str, key: &std::path::Path| {
        server.certificates.put_files(&path(certificate), key, None)
    };
    assert!(matches!(put("absent.pem", &other), Err(TlsError::File { .. })));
    assert!(matches!(put("none.pem", &other), Err(TlsError::Empty(_))));
    let alien = rcgen::KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(path("alien.pem"), alien).unwrap();
    assert!(matches!(put("own.crt", &path("alien.pem")), Err(TlsError::Pair(_))));
    assert_eq!(shown(&server.connect("head.example").await.unwrap()), good.certificate);
    assert!(put("own.crt", &other).is_ok(), "a pair of files is taken");
    server.tasks.stop(Duration::from_secs(5)).await;
}

/// iPXE since 2025-12-19 knows ECDSA; the root that DHCP tells it to trust is the one with an RSA key.
#[tokio::test]
async fn an_old_client_that_asks_by_address_is_shown_what_loaders_trust() {
    let server = Server::start();
    server.put(&server.leaf());
    let root = |stream: TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[1].to_vec();
    let (ecdsa, rsa) = (server.vault.authority.root(), server.vault.rsa_authority.root());
    let old = [&rustls::version::TLS12];
    assert_eq!(root(server.connect_by(&old, "127.0.0.1").await.unwrap()), rsa);
    assert_eq!(root(server.connect_by(&old, "head.example").await.unwrap()), ecdsa);
    assert_eq!(root(server.connect("127.0.0.1").await.unwrap()), ecdsa);
    // With a certificate of the site's own, loaders are still shown what they trust.
    let own = rcgen::generate_simple_self_signed(vec!["own.example".to_owned()]).unwrap();
    let loaders = server.vault.rsa_authority.issue(&["127.0.0.1".to_owned()].into(), now()).unwrap();
    let (chain, key) = (own.cert.pem(), own.signing_key.serialize_pem());
    server.certificates.put_pem(&chain, &key, Some(&loaders)).unwrap();
    assert_eq!(root(server.connect_by(&old, "127.0.0.1").await.unwrap()), rsa);
    assert!(server.connect("127.0.0.1").await.is_err(), "others are shown the site's own");
    assert!(matches!(server.certificates.put_pem("", &key, None), Err(TlsError::Pair(_))));
    server.tasks.stop(Duration::from_secs(5)).await;
}
