use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::base::{Millis, Timestamp};
use crate::engine::token::{Algorithm, Claims, Refusal, Trust};
use crate::model::Role;
use crate::transport::vault::{Vault, VaultError, certificate_path, random_name};

const NOW: Timestamp = Timestamp(1_795_402_800_000);

fn claims() -> Claims {
    Claims {
        issuer: "https://demo.example:8443".to_owned(),
        cluster: "demo".to_owned(),
        subject: "alice".to_owned(),
        role: Role::Operator,
        issued: NOW,
        life: Millis::from_secs(600),
        id: "one".to_owned(),
        client: None,
        user: None,
        areas: Vec::new(),
    }
}

#[test]
fn keys_are_made_once_and_only_their_owner_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let first = Vault::open(folder.path(), NOW).unwrap();
    let token = first.sign(Algorithm::EdDsa, &claims()).unwrap();
    let keys = folder.path().join("keys");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    let files: Vec<_> = fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
    let second = Vault::open(folder.path(), NOW).unwrap();
    assert_eq!(first.public(), second.public());
    assert_eq!(first.authority.pem(), second.authority.pem());
    assert_eq!(Trust::own(second.public()).verify(&token, NOW).unwrap().subject, "alice");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Vault::open(folder.path(), NOW).unwrap();
    let key = folder.path().join("keys/token-ed25519.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Vault::open(folder.path(), NOW), Err(VaultError::Open(path)) if path == key));
}

#[test]
fn a_broken_key_is_named_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    Vault::open(folder.path(), NOW).unwrap();
    let (key, other) = (folder.path().join("keys/token-rs256.pem"), folder.path().join("keys/ca.pem"));
    fs::copy(&other, &key).unwrap();
    let error = Vault::open(folder.path(), NOW).err().unwrap().to_string();
    assert!(error.contains("token-rs256.pem") && error.contains("RS256"), "{error}");
    fs::write(&key, "nonsense").unwrap();
    assert!(Vault::open(folder.path(), NOW).is_err());
    assert_eq!(fs::read_to_string(&key).unwrap(), "nonsense");
}

#[test]
fn tokens_of_another_head_do_not_count() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (Vault::open(one.path(), NOW).unwrap(), Vault::open(other.path(), NOW).unwrap());
    for algorithm in [Algorithm::EdDsa, Algorithm::Rs256] {
        let token = one.sign(algorithm, &claims()).unwrap();
        assert!(Trust::own(one.public()).verify(&token, NOW).is_ok());
        assert_eq!(Trust::own(other.public()).verify(&token, NOW), Err(Refusal::UnknownKey));
    }
}

#[test]
fn the_root_comes_back_from_its_key() {
    let folder = tempfile::tempdir().unwrap();
    Vault::open(folder.path(), NOW).unwrap();
    fs::remove_file(certificate_path(folder.path())).unwrap();
    let vault = Vault::open(folder.path(), NOW).unwrap();
    assert!(vault.authority.pem().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(certificate_path(folder.path()).exists());
}

#[test]
fn a_leaf_is_renewed_before_it_ends_and_when_the_clock_was_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::open(folder.path(), NOW).unwrap();
    let names: BTreeSet<String> =
        ["demo.example", "192.0.2.254", "2001:db8::1"].map(str::to_owned).into_iter().collect();
    let leaf = vault.authority.issue(&names, NOW).unwrap();
    assert!(!leaf.is_due(NOW));
    assert!(!leaf.is_due(NOW + Millis::from_secs(19 * 86_400)));
    assert!(leaf.is_due(NOW + Millis::from_secs(21 * 86_400)));
    assert!(leaf.is_due(NOW - Millis::from_secs(10 * 86_400)));
    // A head without a clock makes one that holds until the clock is set.
    let early = vault.authority.issue(&names, Timestamp(0)).unwrap();
    assert!(!early.is_due(Timestamp(0)) && early.ends > Timestamp(1_735_689_600_000));
}

#[test]
fn random_names_differ() {
    let names: BTreeSet<String> = (0..100).map(|_| random_name().unwrap()).collect();
    assert!(names.len() == 100 && names.iter().all(|name| name.len() == 43 && !name.starts_with('-')));
}

#[test]
fn what_the_site_signs_is_checked_by_its_public_key_from_start_to_start() {
    use ed25519_dalek::pkcs8::DecodePublicKey as _;
    use ed25519_dalek::{Signature, VerifyingKey};

    let folder = tempfile::tempdir().unwrap();
    let signature = Vault::open(folder.path(), NOW).unwrap().site.sign(b"manifest");
    let pem = fs::read_to_string(folder.path().join("site.pub")).unwrap();
    assert_eq!(Vault::open(folder.path(), NOW).unwrap().site.public(), pem);
    let key = VerifyingKey::from_public_key_pem(&pem).unwrap();
    let signature = Signature::from_bytes(&signature);
    assert!(key.verify_strict(b"manifest", &signature).is_ok());
    assert!(key.verify_strict(b"manifesto", &signature).is_err());
}
