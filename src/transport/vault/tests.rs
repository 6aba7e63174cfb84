use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::base::{Level, Millis, Timestamp};
use crate::engine::token::{Algorithm, Claims, Refusal, Trust};
use crate::model::secret::{Rotate, Scope, Version, What};
use crate::model::{NodeId, Role, Secret, SecretKey};
use crate::transport::vault::{Chest, Purpose, Vault, VaultError, certificate_path, random_name};

/// Three weeks after this program was built.
const NOW: Timestamp = Timestamp(crate::base::build::BUILT.0 + 21 * 86_400_000);

/// RFC 8410 section 10.3.
const ED25519_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn key(name: &str, scope: Scope) -> SecretKey {
    SecretKey { name: name.parse().unwrap(), scope }
}

/// A secret with this one version.
fn secret(chest: &Chest, key: SecretKey, value: &[u8]) -> Secret {
    let sealed = chest.seal_secret(&key, 1, value).unwrap();
    let versions = vec![Version { number: 1, created: NOW, by: "alice".to_owned(), sealed }];
    Secret { key, min_level: Level::Grant, what: What::Opaque, rotate: Rotate::NextBoot, versions }
}

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
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    let files: Vec<_> = fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 9, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
    let second = Vault::open(folder.path(), NOW).unwrap();
    assert_eq!(first.public(), second.public());
    assert_eq!(first.authority.pem(), second.authority.pem());
    assert_eq!(Trust::own(&second.public()).verify(&token, NOW).unwrap().subject, "alice");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Vault::open(folder.path(), NOW).unwrap();
    let key = folder.path().join("keys/token-ed25519.sealed");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Vault::open(folder.path(), NOW), Err(VaultError::Open(path)) if path == key));
}

#[test]
fn a_broken_key_is_named_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    Vault::open(folder.path(), NOW).unwrap();
    let (key, other) = (folder.path().join("keys/token-rs256.sealed"), folder.path().join("keys/ca.sealed"));
    fs::copy(&other, &key).unwrap();
    let error = Vault::open(folder.path(), NOW).err().unwrap().to_string();
    assert!(error.contains("token-rs256") && error.contains("moved here from elsewhere"), "{error}");
    fs::write(&key, "nonsense").unwrap();
    assert!(Vault::open(folder.path(), NOW).is_err());
    assert_eq!(fs::read_to_string(&key).unwrap(), "nonsense");
    // One in the open that is for something else is not taken over, and what was there stays.
    fs::remove_file(&key).unwrap();
    let (first, open) =
        (Vault::open(folder.path(), NOW).unwrap(), folder.path().join("keys/token-rs256.pem"));
    write_private(&open, ED25519_PEM);
    let error = Vault::open(folder.path(), NOW).err().unwrap().to_string();
    assert!(error.contains("token-rs256.pem") && error.contains("RS256"), "{error}");
    fs::remove_file(&open).unwrap();
    assert_eq!(Vault::open(folder.path(), NOW).unwrap().public(), first.public());
}

#[test]
fn tokens_of_another_head_do_not_count() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (Vault::open(one.path(), NOW).unwrap(), Vault::open(other.path(), NOW).unwrap());
    for algorithm in [Algorithm::EdDsa, Algorithm::Rs256] {
        let token = one.sign(algorithm, &claims()).unwrap();
        assert!(Trust::own(&one.public()).verify(&token, NOW).is_ok());
        assert_eq!(Trust::own(&other.public()).verify(&token, NOW), Err(Refusal::UnknownKey));
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

#[test]
fn keys_in_the_open_are_taken_over_wherever_the_power_fails() {
    let folder = tempfile::tempdir().unwrap();
    let first = Vault::open(folder.path(), NOW).unwrap();
    let keys = folder.path().join("keys");
    let (open, sealed) = (keys.join("token-ed25519.pem"), keys.join("token-ed25519.sealed"));
    let pem = first.chest.open_file("token-ed25519").unwrap().unwrap();
    let pem = std::str::from_utf8(&pem).unwrap();
    let whole = fs::read(&sealed).unwrap();
    // Nothing sealed yet; half of it under its other name; all of it, and the open one still there.
    for (name, content) in
        [("none", &b""[..]), ("token-ed25519.new", &whole[..40]), ("token-ed25519.sealed", &whole)]
    {
        fs::remove_file(&sealed).unwrap();
        write_private(&open, pem);
        if name != "none" {
            fs::write(keys.join(name), content).unwrap();
            fs::set_permissions(keys.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let next = Vault::open(folder.path(), NOW).unwrap();
        assert_eq!(next.public(), first.public(), "{name}");
        assert!(!open.exists() && sealed.exists() && !keys.join("token-ed25519.new").exists(), "{name}");
    }
    for file in fs::read_dir(&keys).unwrap() {
        let octets = fs::read(file.unwrap().path()).unwrap();
        assert!(!octets.windows(11).any(|part| part == b"PRIVATE KEY"));
    }
}

#[test]
fn what_is_sealed_opens_in_its_place_only_and_unaltered() {
    let folder = tempfile::tempdir().unwrap();
    let chest = Chest::open(folder.path(), None).unwrap();
    let munge = secret(&chest, key("munge", Scope::Site), b"value");
    assert_eq!(chest.open_secret(&munge, 1).unwrap().as_slice(), b"value");
    assert!(chest.open_secret(&munge, 2).is_err(), "there is one version");
    let sealed = &munge.versions[0].sealed;
    assert!(!sealed.0.windows(5).any(|part| part == b"value"));
    let moved = |key: SecretKey, number| {
        let version = Version { number, ..munge.versions[0].clone() };
        chest.open_secret(&Secret { key, versions: vec![version], ..munge.clone() }, number)
    };
    assert!(moved(munge.key.clone(), 1).is_ok());
    for (other, number) in [
        (key("other", Scope::Site), 1),
        (key("munge", Scope::Node(NodeId(7))), 1),
        (key("munge", Scope::Group("compute".parse().unwrap())), 1),
        (munge.key.clone(), 2),
    ] {
        assert!(matches!(moved(other.clone(), number), Err(VaultError::Damaged(_))), "{other:?} {number}");
    }
    // A key of the other purpose does not open it either.
    assert!(chest.unseal(Purpose::PrivateKey, "secret\0munge\x001", &sealed.0).is_err());
    for length in 0..sealed.0.len() {
        assert!(
            chest.unseal(Purpose::Secret, "secret\0munge\x001", &sealed.0[..length]).is_err(),
            "{length}"
        );
        let mut altered = sealed.0.to_vec();
        altered[length] ^= 1;
        assert!(chest.unseal(Purpose::Secret, "secret\0munge\x001", &altered).is_err(), "{length}");
    }
}

#[test]
fn a_head_whose_key_encryption_key_is_lost_says_so_and_makes_no_other() {
    let folder = tempfile::tempdir().unwrap();
    Vault::open(folder.path(), NOW).unwrap();
    let kek = folder.path().join("keys/kek");
    let known = fs::read(&kek).unwrap();
    fs::remove_file(&kek).unwrap();
    let error = Vault::open(folder.path(), NOW).err().unwrap();
    assert!(matches!(error, VaultError::NoKek(_)) && error.to_string().contains("muster.kek"), "{error}");
    assert!(!kek.exists());
    fs::write(&kek, [7; 32]).unwrap();
    fs::set_permissions(&kek, fs::Permissions::from_mode(0o600)).unwrap();
    let error = Vault::open(folder.path(), NOW).err().unwrap();
    assert!(matches!(error, VaultError::Foreign { .. }), "{error}");
    fs::write(&kek, [7; 31]).unwrap();
    let error = Vault::open(folder.path(), NOW).err().unwrap().to_string();
    assert!(error.contains("31 octets"), "{error}");
    fs::write(&kek, known).unwrap();
    Vault::open(folder.path(), NOW).unwrap();
}

#[test]
fn the_key_moves_into_a_credential_and_on_to_the_next_one() {
    let (folder, credentials) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = || Vault::open_with(folder.path(), Some(credentials.path()), NOW).unwrap();
    let first = open();
    assert!(first.chest.source().starts_with("file ") && !first.chest.has_former());
    let munge = secret(&first.chest, key("munge", Scope::Site), b"value");
    fs::write(credentials.path().join("muster.kek"), [1; 32]).unwrap();
    let second = open();
    assert_eq!(second.chest.source(), "systemd credential muster.kek");
    assert_eq!(second.public(), first.public());
    assert_eq!(second.open_secret(&munge, 1).unwrap().as_slice(), b"value");
    assert!(second.chest.has_former() && !second.chest.is_current(&munge.versions[0].sealed.0));
    second.chest.begin_rotation().unwrap();
    second.chest.reseal_files().unwrap();
    second.chest.end_rotation().unwrap();
    assert!(!folder.path().join("keys/kek").exists() && !second.chest.has_former());
    assert!(second.open_secret(&munge, 1).is_err(), "the caller had to seal it anew before the end");
    assert!(matches!(second.chest.begin_rotation(), Err(VaultError::NoSuccessor("muster.kek"))));
    // A copy in a file is found, and goes the same way.
    write_private(&folder.path().join("keys/kek"), &"\u{1}".repeat(32));
    let copied = open();
    assert!(copied.chest.has_former());
    copied.chest.begin_rotation().unwrap();
    copied.chest.end_rotation().unwrap();
    assert!(!copied.chest.has_former() && open().public() == first.public());
    fs::rename(credentials.path().join("muster.kek"), credentials.path().join("muster.kek.old")).unwrap();
    fs::write(credentials.path().join("muster.kek"), [2; 100]).unwrap();
    let third = open();
    assert!(third.public() == first.public() && third.chest.has_former());
    fs::remove_file(credentials.path().join("muster.kek.old")).unwrap();
    assert_eq!(open().public(), first.public(), "opening sealed the files anew");
}

#[test]
fn a_rotation_of_the_file_goes_on_after_a_power_loss() {
    let folder = tempfile::tempdir().unwrap();
    let first = Vault::open(folder.path(), NOW).unwrap();
    let munge = secret(&first.chest, key("munge", Scope::Site), b"value");
    first.chest.begin_rotation().unwrap();
    let later = secret(&first.chest, key("munge", Scope::Site), b"later");
    drop(first);
    let second = Vault::open(folder.path(), NOW).unwrap();
    assert!(second.chest.has_former() && second.chest.is_current(&later.versions[0].sealed.0));
    for (secret, value) in [(&munge, &b"value"[..]), (&later, b"later")] {
        assert_eq!(second.open_secret(secret, 1).unwrap().as_slice(), value);
    }
    second.chest.begin_rotation().unwrap(); // goes on with the key that is there
    assert!(second.chest.is_current(&later.versions[0].sealed.0));
    second.chest.reseal_files().unwrap();
    second.chest.end_rotation().unwrap();
    let third = Vault::open(folder.path(), NOW).unwrap();
    assert!(!third.chest.has_former() && !third.chest.knows(&munge.versions[0].sealed.0));
    assert_eq!(third.open_secret(&later, 1).unwrap().as_slice(), b"later");
    assert_eq!(third.site.public(), second.site.public());
}
