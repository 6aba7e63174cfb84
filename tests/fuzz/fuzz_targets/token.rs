//! Any text as a token, as a key set of another issuer, and as a forwarding header: a verdict, no panic, and no
//! token that counts without a signature.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use muster::api::auth::forwarded;
use muster::api::auth::table::{Need, need};
use muster::base::Timestamp;
use muster::engine::token::Trust;
use muster::model::Role;

/// A key whose private half nobody kept, so that no input can be signed with it.
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fuzz_target!(|text: &str| {
    let mut trust = Trust::default();
    trust.add(KEYS, Role::Admin).expect("the key is good");
    assert!(trust.verify(text, Timestamp(1_795_402_800_000)).is_err());
    // The same behind a header that is in order.
    let token = format!("eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.{text}");
    assert!(trust.verify(&token, Timestamp(1_795_402_800_000)).is_err());
    let _ = Trust::default().add(text, Role::Viewer);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert("x-forwarded-for", value);
    }
    let proxy: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    assert_eq!(forwarded::client(proxy, &headers, &[]), None);
    let _ = forwarded::client(proxy, &headers, &["192.0.2.0/24".parse().expect("a subnet")]);
    let secure = format!("/cloud-init-secure/{text}");
    assert_ne!(need(&axum::http::Method::GET, &secure), Need::Open);
});
