use std::sync::Arc;
use std::time::Duration;

use crate::app::config::Config;
use crate::app::https::{Keeper, Served, names};
use crate::base::Millis;
use crate::transport::clock::now;
use crate::transport::http::Certificates;
use crate::transport::vault::Vault;

fn keeper(folder: &std::path::Path, more: &str) -> Keeper {
    let text =
        format!("[cluster]\nname = \"demo\"\ndomain = \"demo.example\"\naddress = \"192.0.2.254\"\n{more}");
    let config = Config::parse(&text).unwrap();
    let vault = Arc::new(Vault::open(folder, now()).unwrap());
    Keeper { config, vault, certificates: Arc::new(Certificates::default()) }
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
fn a_certificate_is_renewed_when_it_ages_or_the_head_gets_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path(), "");
    let served = keeper.renew().unwrap();
    assert!(keeper.is_good(&served));
    keeper.config.site.domain = "other.example".to_owned();
    assert!(!keeper.is_good(&served));
    let served = keeper.renew().unwrap();
    assert!(keeper.is_good(&served));
    let Served::Own(mut leaf) = served else { panic!("not our own") };
    leaf.ends = now() + Millis::from_secs(86_400);
    assert!(!keeper.is_good(&Served::Own(leaf)));
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
