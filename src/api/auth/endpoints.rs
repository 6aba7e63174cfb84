//! Where callers get tokens and keys: the paths of opaal, hydra and TokenSmith.
//!
//! Upstream's `/token` hands a token to anybody who can reach it, and every machine on the boot network can.
//! Ours does so only with authentication off, over the Unix socket, or if `auth.open_token` says so.

use std::net::{IpAddr, Ipv4Addr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::auth::records::{CLIENTS, ClientRecord};
use crate::api::auth::types::AccessBody;
use crate::api::auth::{Caller, Door, Order};
use crate::api::openchami::draft::read;
use crate::api::who::Who;
use crate::base::Digest;
use crate::base::limits::CLIENT_TOKEN_LIFE;
use crate::engine::image::path::percent_decode;
use crate::engine::token::Algorithm;
use crate::model::Role;
use crate::model::audit::{Outcome, Via};
use crate::transport::clock::now;
use crate::transport::http::Peer;
use crate::transport::vault::authority_print;

/// Why `/token` gives nothing to somebody without credentials.
const EXPLAIN: &str = "this head gives no token to whoever asks. Register a client on it (muster token client add) and \
                       send its id and secret, take a token from muster token issue, or set auth.open_token";

/// Fields of a form that are looked at.
const FIELDS_MAX: usize = 32;

/// What a client shows: its name and its secret.
struct Credentials {
    id: String,
    secret: String,
    /// By the header, not by the form.
    basic: bool,
}

/// A refusal as RFC 6749 section 5.2 writes it.
struct Denial {
    status: StatusCode,
    error: &'static str,
    text: &'static str,
    /// Seconds to wait.
    wait: Option<u64>,
}

const fn denial(status: StatusCode, error: &'static str, text: &'static str) -> Denial {
    Denial { status, error, text, wait: None }
}

impl IntoResponse for Denial {
    fn into_response(self) -> Response {
        let Denial { status, error, text, wait } = self;
        let body = Json(json!({"error": error, "error_description": text}));
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], body).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers
                .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic realm=\"muster\""));
        }
        if let Some(wait) = wait {
            headers.insert(header::RETRY_AFTER, wait.into());
        }
        response
    }
}

/// `GET` and `POST /token`: for whoever shows a client's credentials, or may have one anyway.
pub(crate) async fn token(
    State(door): State<Door>,
    method: Method,
    peer: Option<Extension<Peer>>,
    caller: Option<Extension<Caller>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method != Method::GET && method != Method::HEAD && method != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, POST")]).into_response();
    }
    let form = form(&body);
    let peer = peer.map(|Extension(peer)| peer);
    let given = match credentials(&headers, &form) {
        Some(credentials) => by_credentials(&door, peer, &form, &credentials),
        None => {
            let open = door.0.policy.open_token.map(|role| ("anonymous".to_owned(), role));
            let known = caller.and_then(|Extension(caller)| Some((caller.subject, caller.role?)));
            known.or(open).map_or(
                Err(denial(StatusCode::UNAUTHORIZED, "invalid_client", EXPLAIN)),
                |(subject, role)| give(&door, subject, role, Algorithm::default(), None),
            )
        }
    };
    given.unwrap_or_else(IntoResponse::into_response)
}

/// `POST /oauth2/token` and `/oauth/token`: client credentials (RFC 6749 section 4.4).
pub(crate) async fn oauth(
    State(door): State<Door>,
    method: Method,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response();
    }
    let form = form(&body);
    let given = match credentials(&headers, &form) {
        Some(credentials) => by_credentials(&door, peer.map(|Extension(peer)| peer), &form, &credentials),
        None => Err(denial(StatusCode::UNAUTHORIZED, "invalid_client", "no client credentials were sent")),
    };
    given.unwrap_or_else(IntoResponse::into_response)
}

fn by_credentials(
    door: &Door,
    peer: Option<Peer>,
    form: &[(String, String)],
    credentials: &Credentials,
) -> Result<Response, Denial> {
    let grant = form.iter().find(|(key, _)| key == "grant_type").map(|(_, value)| value.as_str());
    if grant.is_some_and(|grant| grant != "client_credentials") {
        let text = "only client_credentials is known";
        return Err(denial(StatusCode::BAD_REQUEST, "unsupported_grant_type", text));
    }
    // The Unix socket is never made to wait: nobody there could be locked out by somebody else.
    let address = match peer {
        Some(Peer::Tcp { remote, .. }) => Some(remote.ip()),
        Some(Peer::Local) => None,
        None => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
    };
    let now = now();
    let throttle = || door.0.throttle.lock().expect("nothing panics while it counts");
    if let Some(wait) = address.and_then(|address| throttle().wait(address, now)) {
        let text = "too many wrong secrets from this address";
        let denied = denial(StatusCode::TOO_MANY_REQUESTS, "slow_down", text);
        return Err(Denial { wait: Some(wait.as_secs() + 1), ..denied });
    }
    let snapshot = door.0.context.snapshot.load();
    let record = snapshot.inventory.document(CLIENTS, &credentials.id).and_then(|document| read(document));
    let Some(ClientRecord { role, algorithm, .. }) =
        record.filter(|record| fits(record, &credentials.secret))
    else {
        if let Some(address) = address {
            throttle().on_wrong(address, now);
        }
        let who = Who::asks();
        let object = format!("client {}", credentials.id);
        door.0.context.audit.put_counted(who.entry(object, Outcome::Refused, "wrong client credentials"));
        tracing::debug!(?address, basic = credentials.basic, "wrong client credentials");
        let text = "no client has this id and secret";
        return Err(denial(StatusCode::UNAUTHORIZED, "invalid_client", text));
    };
    let Ok(role) = role.parse::<Role>() else {
        return Err(denial(StatusCode::UNAUTHORIZED, "invalid_client", "the client has no role"));
    };
    let id = credentials.id.clone();
    give(door, id.clone(), role, algorithm.parse().unwrap_or_default(), Some(id))
}

/// Compares in constant time, over digests, which are of one length.
fn fits(record: &ClientRecord, secret: &str) -> bool {
    let Ok(Digest(wanted)) = record.digest.parse::<Digest>() else { return false };
    let given: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
    verify_slices_are_equal(&wanted, &given).is_ok()
}

fn give(
    door: &Door,
    subject: String,
    role: Role,
    algorithm: Algorithm,
    client: Option<String>,
) -> Result<Response, Denial> {
    let (life, user, areas) = (CLIENT_TOKEN_LIFE, None, Vec::new());
    let order = Order { subject, role, life, algorithm, client, user, areas };
    let (claims, access_token) = door.issue(order, now()).map_err(|_| {
        denial(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the token could not be made; see the log")
    })?;
    let mut who = Who::asks();
    (who.actor, who.via) = (claims.subject.clone(), Via::Client);
    let detail = format!("as {}", claims.role);
    // Whoever may have a token without credentials may ask for many.
    door.0.context.audit.put_counted(who.entry(format!("token {}", claims.id), Outcome::Done, detail));
    tracing::info!(subject = claims.subject, role = %claims.role, id = claims.id, "token given");
    let body = AccessBody {
        access_token,
        expires_in: claims.life.as_secs(),
        scope: claims.scope(),
        token_type: "bearer".to_owned(),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// Credentials of the header or, if there are none, of the form.
fn credentials(headers: &HeaderMap, form: &[(String, String)]) -> Option<Credentials> {
    let basic = headers.get(header::AUTHORIZATION).and_then(|line| line.to_str().ok()).and_then(|line| {
        let (scheme, text) = line.split_once(' ')?;
        let text = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(text.trim()).ok())??;
        let text = String::from_utf8(text).ok()?;
        let (id, secret) = text.split_once(':')?;
        Some(Credentials { id: plain(id), secret: plain(secret), basic: true })
    });
    basic.or_else(|| {
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        Some(Credentials { id: field("client_id")?, secret: field("client_secret")?, basic: false })
    })
}

/// Fields of a form (`application/x-www-form-urlencoded`). What is no form has none.
fn form(body: &Bytes) -> Vec<(String, String)> {
    let text = std::str::from_utf8(body).unwrap_or("").trim();
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).take(FIELDS_MAX);
    pairs.filter_map(|pair| pair.split_once('=')).map(|(key, value)| (plain(key), plain(value))).collect()
}

fn plain(text: &str) -> String {
    percent_decode(&text.replace('+', " ")).unwrap_or_default()
}

/// The public keys of our tokens.
pub(crate) async fn keys(State(door): State<Door>) -> Response {
    let body = Json(json!({"keys": door.0.vault.public()}));
    ([(header::CACHE_CONTROL, "public, max-age=300")], body).into_response()
}

/// Our authority's certificate, and while it is replaced its successor's or predecessor's: what `get_ca_cert` fetched.
pub(crate) async fn root(State(door): State<Door>) -> Response {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], door.0.vault.authority.pem()).into_response()
}

/// Both of our authorities' certificates: also that of clients which know RSA only.
pub(crate) async fn roots(State(door): State<Door>) -> Response {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], door.0.vault.roots().concat()).into_response()
}

/// Their fingerprints, to compare with what the head's console shows.
pub(crate) async fn root_print(State(door): State<Door>) -> Response {
    let roots = door.0.vault.roots();
    let prints = roots.iter().filter_map(|pem| authority_print(pem)).map(|print| format!("{print}\n"));
    prints.collect::<String>().into_response()
}

/// The keys that sign manifests: what an initramfs that checks them holds. With `?all`, also those that signed before,
/// for the audit log.
pub(crate) async fn site_key(State(door): State<Door>, RawQuery(query): RawQuery) -> Response {
    let site = &door.0.vault.site;
    let text = if query.as_deref() == Some("all") { site.history() } else { site.public() };
    ([(header::CONTENT_TYPE, "application/x-pem-file")], text).into_response()
}

/// OpenID Connect Discovery. Every address is below the issuer's, as its section 4.3 demands.
pub(crate) async fn discovery(State(door): State<Door>) -> Json<Value> {
    let issuer = &door.0.policy.issuer;
    Json(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "scopes_supported": ["openid", "smd.read", "viewer", "operator", "admin"],
        "id_token_signing_alg_values_supported": ["EdDSA", "RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "claims_supported": ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "roles", "scope", "cluster_id"],
    }))
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::http::{HeaderMap, HeaderValue};

    use crate::api::auth::endpoints::{credentials, form};

    fn found(header: &'static str, body: &'static str) -> Option<(String, String, bool)> {
        let mut headers = HeaderMap::new();
        if !header.is_empty() {
            headers.insert("Authorization", HeaderValue::from_static(header));
        }
        let found = credentials(&headers, &form(&Bytes::from_static(body.as_bytes())));
        found.map(|found| (found.id, found.secret, found.basic))
    }

    #[test]
    fn credentials_come_by_header_or_form() {
        let tool = |secret: &str, basic| Some(("tool".to_owned(), secret.to_owned(), basic));
        assert_eq!(found("Basic dG9vbDpzZWNyZXQ=", ""), tool("secret", true));
        assert_eq!(found("basic dG9vbDphOmI=", "client_id=x&client_secret=y"), tool("a:b", true));
        assert_eq!(
            found("", "grant_type=client_credentials&client_id=tool&client_secret=a%2Bb+c"),
            tool("a+b c", false)
        );
    }

    #[test]
    fn what_is_no_credentials_is_none() {
        for (header, body) in [
            ("", ""),
            ("Basic", ""),
            ("Basic !!", ""),
            ("Basic dG9vbA==", ""),
            ("Bearer x", "client_id=tool"),
            ("", "{\"client_id\":\"a\"}"),
        ] {
            assert_eq!(found(header, body), None, "{header} {body}");
        }
    }
}
