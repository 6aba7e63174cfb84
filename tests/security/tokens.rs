//! Tokens that somebody made up, altered, or was given for something else, at the door of the API.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use muster::api::auth::{Door, Policy};
use muster::app::routes::{self, Parts};
use muster::base::Millis;
use muster::engine::token::{Algorithm, Claims, Trust};
use muster::model::Role;
use muster::transport::clock::now;
use muster::transport::loaders::Loaders;
use muster::transport::vault::Vault;
use serde_json::{Value, json};
use sha2::Sha256;
use tower::ServiceExt as _;

use crate::boot::{NODE, peer};
use crate::head::{Head, SITE};

/// A head that trusts two keys of which this test has the private halves.
struct Site {
    router: Router,
    vault: Arc<Vault>,
    ed: SigningKey,
    ec: p256::ecdsa::SigningKey,
    _head: Head,
    _folder: tempfile::TempDir,
}

fn encode(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

impl Site {
    fn start() -> Site {
        let (head, folder) = (Head::start(SITE), tempfile::tempdir().unwrap());
        let vault = Arc::new(Vault::open(folder.path(), now()).unwrap());
        let ed = SigningKey::from_bytes(&[7; 32]);
        let ec = p256::ecdsa::SigningKey::from_slice(&[8; 32]).unwrap();
        let point = ec.verifying_key().to_sec1_point(false);
        let jwks = [
            json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "ed", "x": encode(ed.verifying_key())}),
            json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "ec",
                "x": encode(&point.as_bytes()[1..33]), "y": encode(&point.as_bytes()[33..])}),
        ];
        let mut keys = vault.public();
        keys.extend(jwks.map(|jwk| serde_json::from_value(jwk).unwrap()));
        let policy = Policy {
            closed: true,
            proxies: Vec::new(),
            open_token: None,
            issuer: "https://demo.example:8443".to_owned(),
            cluster: "demo".to_owned(),
            hosts: BTreeSet::new(),
            claim: None,
        };
        let context = head.context.clone();
        let door = Door::new(context.clone(), Arc::clone(&vault), Trust::own(&keys), policy);
        let loaders = Arc::new(Loaders::open(Vec::new(), None));
        let site_key = Arc::clone(&vault.site);
        let router = door.before(routes::router(&Parts { context, loaders, images: None, site_key }));
        Site { router, vault, ed, ec, _head: head, _folder: folder }
    }

    /// What the door says to this token.
    async fn ask(&self, token: &str) -> (u16, String) {
        let request = Request::get("/api/v1/nodes").extension(peer(NODE));
        let request = request.header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (head.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
    }

    fn with_ed(&self, header: &Value, claims: &Value) -> String {
        join(header, claims, |message| self.ed.sign(message).to_bytes().to_vec())
    }

    fn with_ec(&self, header: &Value, claims: &Value) -> String {
        join(header, claims, |message| {
            let signature: p256::ecdsa::Signature = self.ec.sign(message);
            signature.to_bytes().to_vec()
        })
    }
}

fn join(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    format!("{message}.{}", encode(sign(message.as_bytes())))
}

fn hmac(key: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> {
    move |message| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }
}

fn claims() -> Value {
    let seconds = now().0 / 1000;
    json!({
        "iss": "https://demo.example:8443", "sub": "mallory", "aud": ["openchami", "demo"], "iat": seconds,
        "nbf": seconds, "exp": seconds + 600, "jti": "forged", "roles": ["admin"], "scope": "openid smd.read admin",
    })
}

fn header(alg: &str, kid: &str) -> Value {
    json!({"alg": alg, "typ": "JWT", "kid": kid})
}

/// T40, the whole list.
#[tokio::test]
async fn t40_forged_altered_and_misdirected_tokens_are_refused() {
    let site = Site::start();
    let good = claims();
    // Without this the rest would show nothing.
    assert_eq!(site.ask(&site.with_ed(&header("EdDSA", "ed"), &good)).await.0, 200);
    assert_eq!(site.ask(&site.with_ec(&header("ES256", "ec"), &good)).await.0, 200);
    let (public, seconds) = (site.ed.verifying_key().to_bytes(), now().0 / 1000);
    let altered = |alter: &dyn Fn(&mut Value)| {
        let mut claims = good.clone();
        alter(&mut claims);
        site.with_ed(&header("EdDSA", "ed"), &claims)
    };
    let more = |name: &str, value: Value| {
        let mut header = header("EdDSA", "ed");
        header[name] = value;
        site.with_ed(&header, &good)
    };
    let unsigned = |alg: &str| join(&header(alg, "ed"), &good, |_| Vec::new());
    let x = encode(public);
    let of_rs256 = site.vault.sign(Algorithm::Rs256, &issued()).unwrap();
    let rs256 = jsonwebtoken::decode_header(&of_rs256).unwrap().kid.unwrap();
    let attempts = [
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg EdDSA without a signature", unsigned("EdDSA")),
        ("HS256 with the public key", join(&header("HS256", "ed"), &good, hmac(&public))),
        (
            "HS256 with the public key as it is published",
            join(&header("HS256", "ed"), &good, hmac(x.as_bytes())),
        ),
        ("HS256 with nothing", join(&header("HS256", "ed"), &good, hmac(b""))),
        ("EdDSA under the name of the ES256 key", site.with_ed(&header("EdDSA", "ec"), &good)),
        ("ES256 under the name of the EdDSA key", site.with_ec(&header("ES256", "ed"), &good)),
        ("EdDSA that says ES256", site.with_ed(&header("ES256", "ec"), &good)),
        ("EdDSA under the name of the RS256 key", site.with_ed(&header("EdDSA", &rs256), &good)),
        ("an unknown key", site.with_ed(&header("EdDSA", "other"), &good)),
        ("no key", site.with_ed(&json!({"alg": "EdDSA", "typ": "JWT"}), &good)),
        ("a key as a path", site.with_ed(&header("EdDSA", "../../dev/null"), &good)),
        ("exp as a text", altered(&|claims| claims["exp"] = json!((seconds + 600).to_string()))),
        ("exp as a fraction", altered(&|claims| claims["exp"] = json!(1e18))),
        ("no exp", altered(&|claims| drop(claims.as_object_mut().unwrap().remove("exp")))),
        ("nbf as a text", altered(&|claims| claims["nbf"] = json!("0"))),
        ("expired 61 s ago", altered(&|claims| claims["exp"] = json!(seconds - 61))),
        ("for nodes", altered(&|claims| claims["aud"] = json!("muster:node"))),
        ("for others", altered(&|claims| claims["aud"] = json!(["cloud-init", "demo"]))),
        ("no audience", altered(&|claims| drop(claims.as_object_mut().unwrap().remove("aud")))),
        ("no role", altered(&|claims| claims["roles"] = json!(["root"]))),
        ("9 KiB", altered(&|claims| claims["filler"] = json!("x".repeat(9 << 10)))),
        ("crit", more("crit", json!(["exp"]))),
        ("jku", more("jku", json!("https://evil.test/jwks.json"))),
        ("jwk", more("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": x}))),
        ("x5u", more("x5u", json!("https://evil.test/chain.pem"))),
        ("x5c", more("x5c", json!(["MA=="]))),
        ("b64", more("b64", json!(false))),
        ("zip", more("zip", json!("DEF"))),
    ];
    for (what, token) in &attempts {
        let (status, text) = site.ask(token).await;
        assert_eq!(status, 401, "{what}: {text}");
        assert!(!text.contains(token.as_str()), "{what}: {text}");
    }
    let nearly = altered(&|claims| claims["exp"] = json!(seconds - 30));
    assert_eq!(site.ask(&nearly).await.0, 200, "clocks differ by up to a minute");
    assert_eq!(site.ask(&of_rs256).await.0, 200);
}

fn issued() -> Claims {
    Claims {
        issuer: "https://demo.example:8443".to_owned(),
        cluster: "demo".to_owned(),
        subject: "alice".to_owned(),
        role: Role::Viewer,
        issued: now(),
        life: Millis::from_secs(600),
        id: "one".to_owned(),
        client: None,
        user: None,
        areas: Vec::new(),
    }
}

/// Reads a key set and a token from stdin, in another language and with another library.
const CHECK: &str = "
import json, sys, jwt
keys, token = json.load(sys.stdin)
kid, alg = jwt.get_unverified_header(token)['kid'], jwt.get_unverified_header(token)['alg']
key = next(jwt.PyJWK(key) for key in keys['keys'] if key['kid'] == kid)
print(json.dumps(jwt.decode(token, key.key, algorithms=[alg], audience='openchami')))
";

/// T40, its other half: strangers' libraries take what is good and nothing else.
#[test]
fn t40_the_tokens_of_the_head_are_good_for_a_library_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::open(folder.path(), now()).unwrap();
    let keys = json!({"keys": vault.public()});
    let check = |token: &str| {
        let mut python = Command::new("/usr/bin/python3")
            .args(["-c", CHECK])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        python.stdin.take().unwrap().write_all(json!([keys, token]).to_string().as_bytes()).unwrap();
        python.wait_with_output().unwrap()
    };
    for algorithm in [Algorithm::EdDsa, Algorithm::Rs256] {
        let token = vault.sign(algorithm, &issued()).unwrap();
        let output = check(&token);
        let (said, error) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{error}\napt-get install python3-jwt python3-cryptography");
        let said: Value = serde_json::from_slice(said).unwrap();
        assert_eq!((&said["sub"], &said["roles"]), (&json!("alice"), &json!(["viewer"])));
        let mut parts: Vec<&str> = token.split('.').collect();
        let admin = said.to_string().replace("viewer", "admin");
        let admin = encode(admin);
        parts[1] = &admin;
        let output = check(&parts.join("."));
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("InvalidSignatureError"));
    }
}
