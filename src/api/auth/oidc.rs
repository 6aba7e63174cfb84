//! Logging in at another issuer (OpenID Connect, authorization code with PKCE). Off unless `[auth.oidc]` stands in the
//! configuration; the head's own users can log in all the same.
//!
//! The browser keeps one random text in a cookie, from which state, nonce and verifier follow; the head keeps
//! nothing, so that nobody fills it by beginning logins. The cookie is `Lax`, because the provider's page sends the
//! browser back; the session's own stays `Strict`, so that the last step is a page of ours that goes on by itself.

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value};

use crate::api::auth::Door;
use crate::api::auth::browser::named_cookie;
use crate::api::auth::sessions::{Begin, address};
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::who::Who;
use crate::base::limits::OIDC_LOGIN_LIFE;
use crate::engine::token::oidc::{Expected, IdError, Roles, challenge, derived, judge, name, proved, same};
use crate::model::Role;
use crate::model::audit::Outcome;
use crate::transport::clock::now;
use crate::transport::http::{Peer, Secure};
use crate::transport::oidc::{Credentials, OidcError, Provider, Tokens};
use crate::transport::vault::random_name;

/// What the browser keeps while somebody logs in elsewhere.
const KEPT: &str = "__Host-muster-oidc";

/// Where the provider sends the browser back to, below our own URL.
pub const CALLBACK: &str = "/api/v1/oidc/callback";

/// What names of people from elsewhere begin with; the head's own users have no colon in theirs.
pub(crate) const ELSEWHERE: &str = "oidc:";

/// Longest code that is taken to a provider.
const CODE_BYTES_MAX: usize = 4096;

/// What the configuration says of logins elsewhere.
pub struct Login {
    pub provider: Provider,
    pub credentials: Credentials,
    /// Besides `openid`.
    pub scopes: Vec<String>,
    pub user_claim: String,
    pub groups_claim: String,
    pub roles: Roles,
}

/// Why a login elsewhere did not end here.
enum Failed {
    /// This is no login that this browser began.
    Strange,
    /// What the provider says of it.
    Denied(String),
    Provider(OidcError),
    Token(IdError),
    /// In no group that has a role.
    NoRole(String),
    Other(Response),
}

impl Failed {
    fn text(&self) -> String {
        match self {
            Failed::Strange => {
                "this login was not begun in this browser, or too long ago; begin again".to_owned()
            }
            Failed::Denied(word) => format!("the provider says {word:?}"),
            Failed::Provider(error) => error.to_string(),
            Failed::Token(error) => error.to_string(),
            Failed::NoRole(user) => {
                format!("{user} is in no group that has a role here: auth.oidc in the configuration")
            }
            Failed::Other(_) => "no session can be made".to_owned(),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Failed::Strange | Failed::Denied(_) => StatusCode::BAD_REQUEST,
            Failed::Provider(OidcError::Busy) => StatusCode::SERVICE_UNAVAILABLE,
            Failed::Provider(_) | Failed::Token(_) => StatusCode::BAD_GATEWAY,
            Failed::NoRole(_) => StatusCode::FORBIDDEN,
            Failed::Other(answer) => answer.status(),
        }
    }
}

/// Somebody whom the provider knows.
struct Person {
    name: String,
    role: Role,
    /// True if he was asked for a password just now.
    is_fresh: bool,
}

fn login_of(door: &Door, secure: Option<&Extension<Secure>>) -> Result<std::sync::Arc<Login>, Problem> {
    let none =
        || Problem::not_found("this head has no other issuer to log in at: auth.oidc in its configuration");
    let login = door.0.oidc.get().cloned().ok_or_else(none)?;
    if secure.is_none() {
        return Err(Problem::new(StatusCode::FORBIDDEN, "logins are for HTTPS alone"));
    }
    Ok(login)
}

/// `GET /oidc/login`: sends the browser to the provider. With `fresh`, somebody who is logged in there is asked for a
/// password all the same.
pub(crate) async fn begin(
    State(door): State<Door>,
    secure: Option<Extension<Secure>>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let login = login_of(&door, secure.as_ref())?;
    let about = login.provider.about().await.map_err(|error| unreachable_now(&error))?;
    let kept = random_name().map_err(|error| {
        tracing::error!(%error, "no login can be begun");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no login can be begun; see the log")
    })?;
    let mut url = about.authorization.clone();
    let scope = std::iter::once("openid").chain(login.scopes.iter().map(String::as_str));
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &login.credentials.id)
        .append_pair("redirect_uri", &door.callback())
        .append_pair("scope", &scope.collect::<Vec<_>>().join(" "))
        .append_pair("state", &derived(&kept, "state"))
        .append_pair("nonce", &derived(&kept, "nonce"))
        .append_pair("code_challenge", &challenge(&derived(&kept, "verifier")))
        .append_pair("code_challenge_method", "S256");
    if query::flag(raw.as_deref(), "fresh") {
        url.query_pairs_mut().append_pair("prompt", "login").append_pair("max_age", "0");
    }
    let life = OIDC_LOGIN_LIFE.as_secs();
    let line = format!("{KEPT}={kept}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={life}");
    let mut answer = (StatusCode::FOUND, [(header::CACHE_CONTROL, "no-store")]).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::LOCATION, text_of(url.as_str())?);
    headers.insert(header::SET_COOKIE, text_of(&line)?);
    Ok(answer)
}

fn text_of(text: &str) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no login can be begun"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn unreachable_now(error: &OidcError) -> Problem {
    tracing::warn!(error = ?error, "the provider of logins cannot be used");
    Problem::new(StatusCode::BAD_GATEWAY, error.to_string())
}

/// `GET /oidc/callback`: the browser comes back with a code.
pub(crate) async fn finish(
    State(door): State<Door>,
    secure: Option<Extension<Secure>>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let login = login_of(&door, secure.as_ref())?;
    let from = address(peer);
    let throttle = || door.0.throttle.lock().expect("nothing panics while it counts");
    if let Some(wait) = from.and_then(|from| throttle().wait(from, now())) {
        let text = format!("too many logins from this address failed; wait {} s", wait.as_secs() + 1);
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, text));
    }
    let outcome = person(&door, &login, &headers, raw.as_deref()).await;
    let begun = match outcome {
        Ok(person) => {
            let Person { name, role, is_fresh } = person;
            let begin = Begin { name: &name, user: None, role, from, headers: &headers, is_fresh };
            door.begin_session(begin).await.map_err(Failed::Other)
        }
        Err(failed) => Err(failed),
    };
    match begun {
        Ok(line) => {
            let mut answer = onwards();
            answer.headers_mut().append(header::SET_COOKIE, line);
            Ok(forget(answer))
        }
        Err(failed) => {
            if let Some(from) = from {
                throttle().on_wrong(from, now());
            }
            if let Failed::Provider(error) = &failed {
                tracing::warn!(error = ?error, "a login elsewhere failed");
            }
            let (status, text) = (failed.status(), failed.text());
            let entry = Who::asks().entry("login elsewhere", Outcome::Refused, text.clone());
            door.0.context.audit.put_counted(entry);
            Ok(forget(Problem::new(status, text).into_response()))
        }
    }
}

/// A page that goes on to the head's own. Not a redirect: browsers would take it for a part of the way that began on
/// the provider's page, and leave the session's cookie out.
fn onwards() -> Response {
    const PAGE: &str = "<!doctype html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0;url=/ui/\">\
                        <title>muster</title><p><a href=\"/ui/\">Logged in.</a></p>\n";
    let kind = "text/html; charset=utf-8";
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], PAGE).into_response()
}

/// The browser keeps nothing any more: a code counts once.
fn forget(mut answer: Response) -> Response {
    let line = const {
        HeaderValue::from_static("__Host-muster-oidc=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
    };
    answer.headers_mut().append(header::SET_COOKIE, line);
    answer
}

async fn person(
    door: &Door,
    login: &Login,
    headers: &HeaderMap,
    raw: Option<&str>,
) -> Result<Person, Failed> {
    let kept = named_cookie(headers, KEPT).filter(|kept| !kept.is_empty()).ok_or(Failed::Strange)?;
    let field = |name| query::field(raw, name).filter(|text| !text.is_empty());
    if !field("state").is_some_and(|state| same(&state, &derived(kept, "state"))) {
        return Err(Failed::Strange);
    }
    // RFC 9207: of two providers one could send its own codes here.
    if field("iss").is_some_and(|issuer| issuer != login.provider.issuer()) {
        return Err(Failed::Token(IdError::Issuer));
    }
    if let Some(word) = field("error") {
        return Err(Failed::Denied(word.chars().filter(char::is_ascii_graphic).take(64).collect()));
    }
    let code = field("code").filter(|code| code.len() <= CODE_BYTES_MAX).ok_or(Failed::Strange)?;
    let verifier = derived(kept, "verifier");
    let callback = door.callback();
    let given = login.provider.exchange(&login.credentials, &code, &verifier, &callback).await;
    let Tokens { id, access } = given.map_err(Failed::Provider)?;
    let nonce = derived(kept, "nonce");
    let mut claims = judged(login, &id, &nonce).await?;
    let wanted = [&login.user_claim, &login.groups_claim];
    if wanted.iter().any(|claim| !claims.contains_key(*claim)) {
        more(login, &access, &mut claims).await?;
    }
    let user = format!("{ELSEWHERE}{}", name(&claims, &login.user_claim).map_err(Failed::Token)?);
    match login.roles.of(claims.get(&login.groups_claim)) {
        Some(role) => Ok(Person { name: user, role, is_fresh: proved(&claims, now()).is_some() }),
        None => Err(Failed::NoRole(user)),
    }
}

async fn judged(login: &Login, id: &str, nonce: &str) -> Result<Map<String, Value>, Failed> {
    let (issuer, client) = (login.provider.issuer(), login.credentials.id.as_str());
    let expected = || Expected { issuer, client, nonce, now: now() };
    let keys = login.provider.keys(false).await.map_err(Failed::Provider)?;
    match judge(&keys, id, expected()) {
        // Providers replace their keys.
        Err(IdError::UnknownKey) => {
            let keys = login.provider.keys(true).await.map_err(Failed::Provider)?;
            judge(&keys, id, expected()).map_err(Failed::Token)
        }
        judged => judged.map_err(Failed::Token),
    }
}

/// What the token leaves out: most providers put groups into the description of the person only.
async fn more(login: &Login, access: &str, claims: &mut Map<String, Value>) -> Result<(), Failed> {
    let Some(found) = login.provider.userinfo(access).await.map_err(Failed::Provider)? else { return Ok(()) };
    // Core 1.0 section 5.3.2: of somebody else it must not be used.
    if found.get("sub").is_none() || found.get("sub") != claims.get("sub") {
        return Err(Failed::Token(IdError::Claim("sub".to_owned())));
    }
    for claim in [&login.user_claim, &login.groups_claim] {
        if let (None, Some(value)) = (claims.get(claim), found.get(claim)) {
            claims.insert(claim.clone(), value.clone());
        }
    }
    Ok(())
}

impl Door {
    /// Lets people log in at another issuer. Said once, before the door opens; later ones change nothing.
    pub fn offer_oidc(&self, login: Login) {
        let _ = self.0.oidc.set(std::sync::Arc::new(login));
    }

    fn callback(&self) -> String {
        format!("{}{CALLBACK}", self.0.policy.issuer)
    }
}
