use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::base::build::BUILT;
use crate::base::{Millis, Timestamp};
use crate::transport::vault::{Leaf, Replaced, Scope, Vault, VaultError, authority_print};

const DAY: Millis = Millis::from_secs(86_400);

fn today() -> Timestamp {
    BUILT + Millis::from_secs(20 * 86_400)
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn scope() -> Scope {
    Scope { names: names(&["demo.example", "localhost"]), networks: vec!["172.16.0.0/24".parse().unwrap()] }
}

fn open(folder: &Path, now: Timestamp) -> Vault {
    Vault::open_for(folder, None, Arc::new(|| Some(scope())), now).unwrap()
}

/// True if a client that trusts these roots believes this certificate for this name.
fn believes(roots: &[String], leaf: &Leaf, name: &str, now: Timestamp) -> bool {
    let mut store = RootCertStore::empty();
    for pem in roots {
        store.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider).build().unwrap();
    let chain = [CertificateDer::from(leaf.root.clone())];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_millis(now.0));
    let leaf = CertificateDer::from(leaf.certificate.clone());
    verifier.verify_server_cert(&leaf, &chain, &name, &[], at).is_ok()
}

#[test]
fn an_authority_speaks_for_its_site_alone() {
    let folder = tempfile::tempdir().unwrap();
    let vault = open(folder.path(), today());
    let wanted = names(&["demo.example", "head.demo.example", "172.16.0.254", "bank.example", "192.0.2.1"]);
    for authority in [&vault.authority, &vault.rsa_authority] {
        let leaf = authority.issue(&wanted, today()).unwrap();
        assert_eq!(leaf.left_out, names(&["bank.example", "192.0.2.1"]));
        for good in ["demo.example", "head.demo.example", "172.16.0.254"] {
            assert!(believes(&authority.roots(), &leaf, good, today()), "{good}");
        }
        assert!(!believes(&authority.roots(), &leaf, "bank.example", today()));
    }
    // Not because the head is well behaved: a certificate that its key signed for a bank is not believed either.
    for authority in [&vault.authority, &vault.rsa_authority] {
        let state = authority.state.load();
        let mut params = rcgen::CertificateParams::new(vec!["bank.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let key = rcgen::KeyPair::generate().unwrap();
        let own = crate::transport::vault::root::params(authority.kind, &state.current.key, None, today());
        let issuer = rcgen::Issuer::new(own, &state.current.key);
        let certificate = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        let good = authority.issue(&names(&["demo.example"]), today()).unwrap();
        let forged = Leaf { certificate, ..good };
        assert!(!believes(&authority.roots(), &forged, "bank.example", today()));
    }
}

#[test]
fn the_root_for_loaders_says_nothing_critical_that_they_cannot_read() {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let folder = tempfile::tempdir().unwrap();
    let vault = open(folder.path(), today());
    let critical = |der: &[u8]| -> Vec<String> {
        let (_, read) = X509Certificate::from_der(der).unwrap();
        read.extensions().iter().filter(|one| one.critical).map(|one| one.oid.to_id_string()).collect()
    };
    // basicConstraints and keyUsage, which iPXE knows, and nameConstraints, which it does not.
    assert_eq!(critical(&vault.rsa_authority.root()), ["2.5.29.15", "2.5.29.19"]);
    assert!(critical(&vault.authority.root()).contains(&"2.5.29.30".to_owned()));
    let leaf = vault.rsa_authority.issue(&names(&["172.16.0.254"]), today()).unwrap();
    assert!(critical(&leaf.certificate).iter().all(|oid| ["2.5.29.15", "2.5.29.19"].contains(&oid.as_str())));
}

#[test]
fn nothing_is_issued_before_the_clock_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let vault = open(folder.path(), Timestamp(0));
    let error = vault.authority.issue(&names(&["demo.example"]), BUILT - Millis(1)).err().unwrap();
    assert!(
        matches!(error, VaultError::Clock { .. }) && error.to_string().contains("until the clock is set")
    );
    // The root that was made then is good once it is.
    let leaf = vault.authority.issue(&names(&["demo.example"]), today()).unwrap();
    assert!(believes(&vault.authority.roots(), &leaf, "demo.example", today()));
}

#[test]
fn an_authority_is_replaced_with_an_overlap_that_survives_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let vault = open(folder.path(), today());
    let (old, old_rsa) = (vault.authority.roots(), vault.rsa_authority.roots());
    let names = names(&["demo.example"]);
    let Replaced::Announced(at) = vault.rotate_authorities(false, today()).unwrap() else { panic!() };
    assert_eq!(at, today() + DAY);
    // A day's notice: both are published, the old one signs.
    let vault = open(folder.path(), today());
    let both = vault.authority.roots();
    assert_eq!((both.len(), &both[0], vault.loader_roots().len()), (2, &old[0], 2));
    let published = fs::read_to_string(folder.path().join("ca.crt")).unwrap();
    assert_eq!(published, both.concat());
    let leaf = vault.authority.issue(&names, today()).unwrap();
    assert!(believes(&old, &leaf, "demo.example", today()));
    assert!(!vault.look(at - Millis(1)).unwrap());
    // It takes over: who knows the old one alone is told by the published ones; who knows both notices nothing.
    assert!(vault.look(at).unwrap() && !vault.look(at).unwrap());
    let vault = open(folder.path(), at);
    assert_eq!(vault.authority.roots(), [both[1].clone(), both[0].clone()]);
    assert_eq!(vault.loader_roots().len(), 1);
    let next = vault.authority.issue(&names, at).unwrap();
    assert!(believes(&both, &next, "demo.example", at) && believes(&both[1..], &next, "demo.example", at));
    assert!(!believes(&old, &next, "demo.example", at));
    // What the old one signed is good as long as its root is published, a month at most.
    assert!(believes(&vault.authority.roots(), &leaf, "demo.example", at));
    let over = at + Millis(30 * DAY.0);
    assert!(!vault.look(over - Millis(1)).unwrap() && vault.look(over).unwrap());
    assert_eq!(vault.authority.roots(), both[1..]);
    assert!(vault.rsa_authority.roots().len() == 1 && vault.rsa_authority.roots() != old_rsa);
    assert_eq!(open(folder.path(), over).authority.roots(), both[1..]);
}

#[test]
fn a_stolen_authority_is_replaced_at_once_and_one_with_notice_when_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let vault = open(folder.path(), today());
    let first = vault.authority.roots();
    assert!(matches!(vault.rotate_authorities(false, today()).unwrap(), Replaced::Announced(_)));
    assert_eq!(vault.rotate_authorities(false, today()).unwrap(), Replaced::TookOver);
    let second = vault.authority.roots();
    assert!(second.len() == 2 && second[1] == first[0]);
    assert_eq!(vault.rotate_authorities(true, today()).unwrap(), Replaced::Ended);
    let third = vault.authority.roots();
    assert!(third.len() == 1 && !second.contains(&third[0]));
    assert_eq!(open(folder.path(), today()).authority.roots(), third);
}

#[test]
fn wherever_the_power_fails_in_a_replacement_there_is_one_whole_authority() {
    let (folder, apart) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keys = folder.path().join("keys");
    let vault = open(folder.path(), today());
    vault.rotate_authorities(false, today()).unwrap();
    let before = vault.authority.roots();
    fs::copy(keys.join("ca-next.sealed"), apart.path().join("next")).unwrap();
    fs::copy(keys.join("ca.sealed"), apart.path().join("ca")).unwrap();
    vault.rotate_authorities(false, today()).unwrap();
    let after = vault.authority.roots();
    // The former one is written down, the next one not yet in its place.
    fs::copy(apart.path().join("next"), keys.join("ca-next.sealed")).unwrap();
    fs::copy(apart.path().join("ca"), keys.join("ca.sealed")).unwrap();
    assert_eq!(open(folder.path(), today()).authority.roots(), before);
    // In its place, and there still.
    vault.chest.write_file("ca", vault.authority.state.load().current.text().as_bytes()).unwrap();
    let reopened = open(folder.path(), today());
    assert_eq!((reopened.authority.roots(), reopened.authority.takes_over()), (after, None));
}

#[test]
fn too_many_former_authorities_are_refused_and_prints_are_what_browsers_show() {
    let folder = tempfile::tempdir().unwrap();
    let vault = open(folder.path(), today());
    let round = || {
        vault.rotate_authorities(false, today())?;
        vault.rotate_authorities(false, today())
    };
    for _ in 0..crate::base::limits::AUTHORITIES_FORMER_MAX {
        round().unwrap();
    }
    assert!(matches!(round(), Err(VaultError::TooMany(_))));
    let print = authority_print(&vault.authority.pem()).unwrap();
    assert!(print.len() == 95 && print.split(':').all(|pair| u8::from_str_radix(pair, 16).is_ok()));
}
