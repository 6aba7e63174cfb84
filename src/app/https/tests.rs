use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use crate::app::config::Config;
use crate::app::https::{Keeper, Served, names, scope};
use crate::base::Millis;
use crate::transport::clock::now;
use crate::transport::http::{Certificates, Http, tls};
use crate::transport::tasks::Tasks;
use crate::transport::vault::Vault;

fn keeper(folder: &std::path::Path, more: &str) -> Keeper {
    let text =
        format!("[cluster]\nname = \"demo\"\ndomain = \"demo.example\"\naddress = \"192.0.2.254\"\n{more}");
    let config = Config::parse(&text).unwrap();
    let vault = Arc::new(Vault::open(folder, now()).unwrap());
    Keeper { config, vault, certificates: Arc::new(Certificates::default()), outside: None }
}

#[test]
fn the_certificate_is_for_every_name_and_address_of_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let more =
        "[https]\nnames = [\"Extra.example\", \"2001:db8::1\"]\nlisten = [\"[::]:8443\", \"192.0.2.9:8443\"]";
    let names = names(&keeper(folder.path(), more).config);
    for name in [
        "demo",
        "demo.example",
        "localhost",
        "192.0.2.254",
        "192.0.2.9",
        "extra.example",
        "2001:db8::1",
        "127.0.0.1",
    ] {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
    assert!(!names.contains("::") && !names.contains("0.0.0.0"));
}

#[test]
fn the_authority_is_made_for_all_of_the_site_and_nothing_else() {
    let text = "[cluster]\nname = \"demo\"\ndomain = \"demo.example\"\naddress = \"198.51.100.7\"\n\
                [https]\nnames = [\"extra.example\", \"2001:db8::1\"]\nlisten = [\"192.0.2.9:8443\"]\n\
                [[network]]\nname = \"boot\"\naddress = \"203.0.113.254/25\"\ndomain = \"boot.example\"";
    let config = Config::parse(text).unwrap();
    let scope = scope(&config);
    for name in names(&config) {
        assert!(scope.permits(&name), "{name} is not in {scope:?}");
    }
    for good in ["nid001.demo.example", "nid001.boot.example", "203.0.113.129", "198.51.100.7", "2001:db8::1"]
    {
        assert!(scope.permits(good), "{good}");
    }
    for bad in ["bank.example", "example", "203.0.113.1", "198.51.100.8", "2001:db8::2", "8.8.8.8"] {
        assert!(!scope.permits(bad), "{bad}");
    }
}

#[test]
fn a_certificate_is_renewed_when_it_ages_or_the_head_gets_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path(), "");
    let served = keeper.renew().unwrap();
    assert!(keeper.is_good(&served));
    keeper.config.site.domain = "other.example".to_owned();
    assert!(!keeper.is_good(&served));
    let served = keeper.renew().unwrap();
    assert!(keeper.is_good(&served));
    let Served::Own { mut leaf, rsa_root } = served else { panic!("not our own") };
    leaf.ends = now() + Millis::from_secs(86_400);
    assert!(!keeper.is_good(&Served::Own { leaf, rsa_root }));
}

#[test]
fn a_certificate_of_the_sites_own_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("own.crt"), folder.path().join("own.key"));
    let write = || {
        let pair = rcgen::generate_simple_self_signed(vec!["own.example".to_owned()]).unwrap();
        std::fs::write(&certificate, pair.cert.pem()).unwrap();
        std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    };
    write();
    let more = format!("[https]\ncertificate = {certificate:?}\nkey = {key:?}");
    let keeper = keeper(folder.path(), &more);
    let served = keeper.renew().unwrap();
    assert!(keeper.is_good(&served));
    write();
    let later = std::fs::metadata(&key).unwrap().modified().unwrap() + Duration::from_secs(1);
    std::fs::File::options().append(true).open(&key).unwrap().set_modified(later).unwrap();
    assert!(!keeper.is_good(&served));
    assert!(keeper.is_good(&keeper.renew().unwrap()));
}

/// A client that trusts one authority. `rsa_only`: it knows no other signatures, as iPXE before 2025-12-19.
fn connector(root: &str, rsa_only: bool) -> TlsConnector {
    let mut provider = aws_lc_rs::default_provider();
    if rsa_only {
        let known = provider.signature_verification_algorithms;
        let rsa = |scheme: &SignatureScheme| {
            use SignatureScheme::{RSA_PKCS1_SHA256, RSA_PSS_SHA256};
            matches!(*scheme, RSA_PKCS1_SHA256 | RSA_PSS_SHA256)
        };
        let mapping: Vec<_> = known.mapping.iter().filter(|(scheme, _)| rsa(scheme)).copied().collect();
        provider = CryptoProvider {
            // For the life of the test.
            signature_verification_algorithms: WebPkiSupportedAlgorithms { mapping: mapping.leak(), ..known },
            ..provider
        };
    }
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let config =
        ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    TlsConnector::from(Arc::new(config.unwrap().with_root_certificates(roots).with_no_client_auth()))
}

/// Asks so many times on one connection; gives the certificate that it was shown.
async fn ask(connector: &TlsConnector, address: SocketAddr, times: usize) -> std::io::Result<Vec<u8>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let name = ServerName::try_from("demo.example").unwrap();
    let mut stream = connector.connect(name, stream).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let mut answer = [0; 512];
    for _ in 0..times {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: demo.example\r\n\r\n").await?;
        let mut read = 0;
        while !answer[..read].ends_with(b"\r\n\r\nhello") {
            match stream.read(&mut answer[read..]).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                more => read += more,
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
    Ok(shown)
}

/// T50: 10,000 requests over 200 connections at a time, half of them of clients that know RSA only, while the
/// certificates are renewed all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_under_load_and_no_request_fails() {
    let folder = tempfile::tempdir().unwrap();
    let keeper = keeper(folder.path(), "");
    keeper.renew().unwrap();
    let router = axum::Router::new().route("/", axum::routing::get(async || "hello"));
    let (http, tasks) = (Http::new(router), Tasks::new());
    let acceptor = tls::acceptor(Arc::clone(&keeper.certificates)).unwrap();
    let address = http.listen_tls("127.0.0.1:0".parse().unwrap(), acceptor, 80, &tasks).unwrap();
    let clients =
        [connector(&keeper.vault.authority.pem(), false), connector(&keeper.vault.rsa_authority.pem(), true)];
    let shown: [Arc<Mutex<BTreeSet<Vec<u8>>>>; 2] = Default::default();
    let over = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&over);
    let renewed = std::thread::spawn(move || {
        let mut count = 0;
        while !ends.load(Ordering::Relaxed) {
            keeper.renew().unwrap();
            count += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        count
    });
    let mut load = tokio::task::JoinSet::new();
    for index in 0..200 {
        let (client, shown) = (clients[index % 2].clone(), Arc::clone(&shown[index % 2]));
        load.spawn(async move {
            for _ in 0..5 {
                let certificate = ask(&client, address, 10).await.unwrap();
                shown.lock().unwrap().insert(certificate);
            }
        });
    }
    while let Some(done) = load.join_next().await {
        done.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let renewed = renewed.join().unwrap();
    let counts = shown.map(|shown| shown.lock().unwrap().len());
    assert!(
        renewed > 3 && counts.iter().all(|count| *count > 1),
        "{renewed} renewals, {counts:?} certificates"
    );
    tasks.stop(Duration::from_secs(5)).await;
}
