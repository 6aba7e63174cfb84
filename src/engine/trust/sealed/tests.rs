#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]

use ed25519_dalek::{Signer as _, SigningKey};
use getrandom::SysRng;
use hpke::rand_core::UnwrapErr;
use serde_json::json;

use crate::base::Level;
use crate::engine::trust::keyset::{Key, Keyset, Use};
use crate::engine::trust::sealed::{BadKey, Bundle, Expected, Header, OpenError, Psk, make_keys, seal};

const SECRET: &[u8] = b"the munge key, as it were";
const FIRST: Expected<'static> = Expected { session: "s", least_seq: 0 };

struct Head {
    key: SigningKey,
    keys: Keyset,
}

fn head() -> Head {
    let key = SigningKey::from_bytes(&[7; 32]);
    let listed = Key { kid: "k".to_owned(), used: Use::Envelope, public: key.verifying_key().to_bytes() };
    Head { key, keys: Keyset { epoch: 1, not_after: 100, keys: vec![listed] } }
}

fn header(psk_id: Option<&str>) -> Header {
    Header {
        kid: "k".to_owned(),
        cluster: "demo".to_owned(),
        node: "nid001".to_owned(),
        session: "s".to_owned(),
        seq: 1,
        level: Level::Grant,
        issued: 5,
        expires: 65,
        psk_id: psk_id.map(str::to_owned),
    }
}

impl Head {
    fn seal(&self, header: &Header, psk: Option<Psk<'_>>, to: &[u8; 32]) -> Result<Bundle, BadKey> {
        seal(header, psk, to, SECRET, |message| self.key.sign(message).to_bytes(), &mut UnwrapErr(SysRng))
    }
}

#[test]
fn a_node_opens_what_its_head_sealed_and_nobody_sees_it_on_the_way() {
    let (head, (private, public)) = (head(), make_keys(&mut UnwrapErr(SysRng)));
    let bundle = head.seal(&header(None), None, &public).unwrap();
    let travelling = bundle.to_json().to_string();
    let arrived = Bundle::from_json(&serde_json::from_str(&travelling).unwrap()).unwrap();
    let (read, plain) = arrived.open(&head.keys, &private, None, FIRST).unwrap();
    assert_eq!((read, plain.as_slice()), (header(None), SECRET));
    assert!(!arrived.ciphertext.windows(5).any(|window| window == b"munge"));
    assert_ne!(head.seal(&header(None), None, &public).unwrap(), bundle, "each is sealed anew");
}

#[test]
fn after_an_attestation_the_secret_of_the_tpm_is_needed_too() {
    let (head, (private, public)) = (head(), make_keys(&mut UnwrapErr(SysRng)));
    let psk = Psk { id: "a1", secret: &[3; 32] };
    let bundle = head.seal(&header(Some("a1")), Some(psk), &public).unwrap();
    let open = |psk| bundle.open(&head.keys, &private, psk, FIRST).map(|(_, plain)| plain.to_vec());
    assert_eq!(open(Some(psk)), Ok(SECRET.to_vec()));
    assert_eq!(open(None), Err(OpenError::Psk("a1".to_owned())));
    assert_eq!(open(Some(Psk { id: "a1", secret: &[4; 32] })), Err(OpenError::Sealed));
    assert_eq!(open(Some(Psk { id: "a2", ..psk })), Err(OpenError::Psk("a1".to_owned())));
}

#[test]
fn t42_whatever_is_altered_is_refused() {
    let (head, (private, public)) = (head(), make_keys(&mut UnwrapErr(SysRng)));
    let bundle = head.seal(&header(None), None, &public).unwrap();
    let refused = |bundle: &Bundle| bundle.open(&head.keys, &private, None, FIRST).is_err();
    assert!(!refused(&bundle));
    for bit in 0..8 {
        for at in 0..bundle.header.len() {
            let mut altered = bundle.clone();
            altered.header[at] ^= 1 << bit;
            assert!(refused(&altered), "header, octet {at}, bit {bit}");
        }
        for at in 0..bundle.ciphertext.len() {
            let mut altered = bundle.clone();
            altered.ciphertext[at] ^= 1 << bit;
            assert!(refused(&altered), "ciphertext, octet {at}, bit {bit}");
        }
        for at in 0..32 {
            let mut altered = bundle.clone();
            altered.enc[at] ^= 1 << bit;
            assert!(refused(&altered), "enc, octet {at}, bit {bit}");
        }
        for at in 0..64 {
            let mut altered = bundle.clone();
            altered.signature[at] ^= 1 << bit;
            assert!(refused(&altered), "signature, octet {at}, bit {bit}");
        }
    }
}

#[test]
fn t42_another_nodes_key_another_session_and_an_older_bundle_are_refused() {
    let (head, (private, public)) = (head(), make_keys(&mut UnwrapErr(SysRng)));
    let bundle = head.seal(&header(None), None, &public).unwrap();
    let (stranger, _) = make_keys(&mut UnwrapErr(SysRng));
    assert_eq!(bundle.open(&head.keys, &stranger, None, FIRST).unwrap_err(), OpenError::Sealed);
    let elsewhere = Expected { session: "t", ..FIRST };
    let refused = bundle.open(&head.keys, &private, None, elsewhere).unwrap_err();
    assert!(matches!(refused, OpenError::NotOurs(_)), "{refused}");
    let later = Expected { least_seq: 2, ..FIRST };
    assert!(matches!(bundle.open(&head.keys, &private, None, later), Err(OpenError::NotOurs(_))));
}

#[test]
fn t42_a_signature_of_a_key_that_is_not_listed_is_refused() {
    let (head, (private, public)) = (head(), make_keys(&mut UnwrapErr(SysRng)));
    let mallory = Head { key: SigningKey::from_bytes(&[8; 32]), keys: head.keys.clone() };
    let forged = mallory.seal(&header(None), None, &public).unwrap();
    assert_eq!(forged.open(&head.keys, &private, None, FIRST).unwrap_err(), OpenError::Signature);
    let named = Header { kid: "m".to_owned(), ..header(None) };
    let forged = mallory.seal(&named, None, &public).unwrap();
    assert!(matches!(forged.open(&head.keys, &private, None, FIRST), Err(OpenError::UnknownKey(_))));
    // A key for tokens signs no bundles.
    let mut keys = head.keys.clone();
    keys.keys[0].used = Use::Token;
    let bundle = head.seal(&header(None), None, &public).unwrap();
    assert!(matches!(bundle.open(&keys, &private, None, FIRST), Err(OpenError::UnknownKey(_))));
}

#[test]
fn t42_nothing_is_sealed_to_a_point_of_small_order() {
    let head = head();
    let mut order_eight = [0; 32];
    order_eight.copy_from_slice(&[
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ]);
    let mut one = [0; 32];
    one[0] = 1;
    for point in [[0; 32], one, order_eight] {
        assert_eq!(head.seal(&header(None), None, &point), Err(BadKey));
    }
}

#[test]
fn what_is_no_bundle_names_its_field() {
    let head = head();
    let bundle = head.seal(&header(None), None, &make_keys(&mut UnwrapErr(SysRng)).1).unwrap().to_json();
    for field in ["v", "hdr", "enc", "ct", "sig"] {
        for bad in [json!(null), json!(2), json!("*"), json!(["AA=="])] {
            let mut altered = bundle.clone();
            altered[field] = bad;
            assert_eq!(Bundle::from_json(&altered), Err(OpenError::Malformed(field)));
        }
    }
}
