//! Sign-in, sign-out and the first visit: plain forms on top of the API's own `login`, `logout` and `claim`, so
//! that they work in a browser that runs no scripts.

use axum::body::Bytes;
use axum::extract::{Form, FromRef, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::api::auth::types::ClaimedBody;
use crate::api::auth::{Door, claim, sessions};
use crate::api::context::Context;
use crate::api::page::head;
use crate::api::page::layout::{Refused, alone};
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::transport::http::{Peer, Secure};

/// Largest answer of the API that is read here: one problem.
const ANSWER_BYTES_MAX: usize = 1 << 16;

/// What the page of the first visit is called.
const CLAIM: &str = "Claim this head";

/// The routes that need the door itself.
pub(crate) fn router() -> Router<Door> {
    Router::new()
        .route("/ui/login", get(ask).post(sign_in))
        .route("/ui/logout", post(sign_out))
        .route("/ui/claim", get(first).post(claim_head))
        .route("/ui/people", get(head::people))
}

impl FromRef<Door> for Context {
    fn from_ref(door: &Door) -> Context {
        door.context().clone()
    }
}

/// What sign-in sends. No `Debug`: it holds a password, like the next.
#[derive(Deserialize)]
pub(crate) struct SignIn {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// What the first visit sends.
#[derive(Deserialize)]
pub(crate) struct Claim {
    code: String,
    name: String,
    password: String,
}

/// A refusal in the form of a page: the way in where there is one. Status and challenge stay what they are.
pub(crate) fn dressed(refusal: Response, door: &Door, request: &Request, text: &str) -> Response {
    let (status, headers) = (refusal.status(), request.headers());
    let is_secure = request.extensions().get::<Secure>().is_some();
    let next = request.uri().path_and_query().map_or("", |path| path.as_str());
    let mut page = match status {
        StatusCode::UNAUTHORIZED if is_secure => alone(status, "Sign in", sign_in_form("", next, "")),
        StatusCode::UNAUTHORIZED => elsewhere(door.context(), headers, "Sign in"),
        StatusCode::SERVICE_UNAVAILABLE if is_secure => alone(status, CLAIM, claim_form("", "")),
        StatusCode::SERVICE_UNAVAILABLE => elsewhere(door.context(), headers, CLAIM),
        _ => Refused(Problem::new(status, text)).into_response(),
    };
    *page.status_mut() = status;
    for (name, value) in refusal.headers().iter().filter(|(name, _)| **name == header::WWW_AUTHENTICATE) {
        page.headers_mut().insert(name, value.clone());
    }
    page
}

/// Where to go on: a page of ours, or the first one.
fn inside(next: &str) -> &str {
    let plain = next.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'\\');
    if plain && next.starts_with("/ui/") && !next.starts_with("/ui/log") && !next.contains("//") {
        next
    } else {
        "/ui/"
    }
}

/// `GET /ui/login?next=…`.
async fn ask(
    State(door): State<Door>,
    secure: Option<Extension<Secure>>,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Response {
    let next = query::field(raw.as_deref(), "next").unwrap_or_default();
    if !door.is_closed() {
        return Redirect::to(inside(&next)).into_response();
    }
    if secure.is_none() {
        return elsewhere(door.context(), &headers, "Sign in");
    }
    alone(StatusCode::OK, "Sign in", sign_in_form("", &next, ""))
}

fn sign_in_form(name: &str, next: &str, wrong: &str) -> Markup {
    html! {
        form.card method="post" action="/ui/login" {
            h1 { "Sign in" }
            (refusal(wrong))
            input type="hidden" name="next" value=(inside(next));
            (entry("name", "Name", "text", "username", name))
            (entry("password", "Password", "password", "current-password", ""))
            div.actions { button.main type="submit" { "Sign in" } }
        }
        p.small.soft {
            "Users are made by an administrator, under People or with " code { "muster user add" } "."
        }
    }
}

fn refusal(text: &str) -> Markup {
    html! { @if !text.is_empty() { p.note.bad role="alert" { (text) } } }
}

fn entry(name: &str, label: &str, kind: &str, complete: &str, value: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            input #(name) name=(name) type=(kind) value=(value) autocomplete=(complete) required
                spellcheck="false" autocapitalize="none";
        }
    }
}

/// Passwords do not cross the boot network in the clear: the page is where TLS is.
fn elsewhere(context: &Context, headers: &HeaderMap, what: &str) -> Response {
    let port = context.about.listeners.iter().find(|listener| listener.protocol == "https");
    let port = port.and_then(|listener| listener.address.rsplit_once(':')).map(|(_, port)| port.to_owned());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rfind(']') {
        Some(end) => host.get(..=end).unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let body = html! {
        div.card {
            h1 { (what) " over HTTPS" }
            p { "Passwords are taken over an encrypted connection only." }
            @match port {
                Some(port) if !name.is_empty() => {
                    div.actions {
                        a.button.main href={ "https://" (name) ":" (port) "/ui/" } {
                            "Go on at https://" (name) ":" (port)
                        }
                    }
                }
                _ => p.soft {
                    "This head has no HTTPS listener; see " code { "https.listen" } " in its configuration."
                }
            }
        }
    };
    alone(StatusCode::OK, what, body)
}

/// `POST /ui/login`.
async fn sign_in(
    State(door): State<Door>,
    peer: Option<Extension<Peer>>,
    secure: Option<Extension<Secure>>,
    headers: HeaderMap,
    Form(SignIn { name, password, next }): Form<SignIn>,
) -> Response {
    if secure.is_none() {
        return elsewhere(door.context(), &headers, "Sign in");
    }
    let body = json!({"name": name, "password": Zeroizing::new(password).as_str()});
    match sessions::login(State(door), peer, headers, Bytes::from(body.to_string())).await {
        Ok(answer) => with_cookies(Redirect::to(inside(&next)).into_response(), cookies(&answer)),
        Err(answer) => {
            let status = answer.status();
            alone(status, "Sign in", sign_in_form(&name, &next, &detail(answer).await))
        }
    }
}

fn cookies(answer: &Response) -> Vec<HeaderValue> {
    answer.headers().get_all(header::SET_COOKIE).iter().cloned().collect()
}

fn with_cookies(mut answer: Response, cookies: Vec<HeaderValue>) -> Response {
    for cookie in cookies {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    answer
}

/// What a refusal of the API says, as a sentence.
async fn detail(answer: Response) -> String {
    let read = axum::body::to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.unwrap_or_default();
    let problem: Option<Problem> = serde_json::from_slice(&read).ok();
    let text = problem
        .map_or_else(|| "this did not work; see the log of the head".to_owned(), |problem| problem.detail);
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str() + ".")
}

/// `POST /ui/logout`.
async fn sign_out(State(door): State<Door>, headers: HeaderMap) -> Result<Response, Refused> {
    let answer = sessions::logout(State(door), headers).await?;
    Ok(with_cookies(Redirect::to("/ui/login").into_response(), cookies(&answer)))
}

/// `GET /ui/claim`.
async fn first(State(door): State<Door>, secure: Option<Extension<Secure>>, headers: HeaderMap) -> Response {
    if !door.waits_for_claim("/ui/") {
        return Redirect::to("/ui/").into_response();
    }
    if secure.is_none() {
        return elsewhere(door.context(), &headers, CLAIM);
    }
    alone(StatusCode::OK, CLAIM, claim_form("", ""))
}

fn claim_form(name: &str, wrong: &str) -> Markup {
    html! {
        form.card method="post" action="/ui/claim" {
            h1 { "Claim this head" }
            p.soft {
                "It has no owner yet. Whoever can read its console makes the first administrator: the code stands there, and in "
                code { "journalctl -u muster" } "."
            }
            (refusal(wrong))
            (entry("code", "Code", "text", "one-time-code", ""))
            (entry("name", "Your name", "text", "username", name))
            (entry("password", "A password of at least 12 characters", "password", "new-password", ""))
            div.actions { button.main type="submit" { "Claim" } }
        }
    }
}

/// `POST /ui/claim`: makes the first administrator. The head starts again as one with an owner, so that nobody is
/// signed in here: that needs the head a moment later.
async fn claim_head(
    State(door): State<Door>,
    peer: Option<Extension<Peer>>,
    secure: Option<Extension<Secure>>,
    headers: HeaderMap,
    Form(Claim { code, name, password }): Form<Claim>,
) -> Response {
    if secure.is_none() {
        return elsewhere(door.context(), &headers, CLAIM);
    }
    let body = json!({"code": code, "name": name, "password": Zeroizing::new(password).as_str()});
    match claim::claim(State(door), peer, Bytes::from(body.to_string())).await {
        Err(answer) => alone(answer.status(), CLAIM, claim_form(&name, &detail(answer).await)),
        Ok(answer) => {
            let read = axum::body::to_bytes(answer.into_body(), ANSWER_BYTES_MAX).await.unwrap_or_default();
            let claimed: Option<ClaimedBody> = serde_json::from_slice(&read).ok();
            alone(StatusCode::CREATED, "This head is yours", claimed_page(claimed.as_ref()))
        }
    }
}

fn claimed_page(claimed: Option<&ClaimedBody>) -> Markup {
    html! {
        div.card {
            h1 { "This head is yours" }
            p { "It starts again now, and serves its cluster in a moment." }
            @if let Some(ClaimedBody { ca_sha256, .. }) = claimed {
                p.soft {
                    "The fingerprint of its certificate authority, to compare with what your browser shows:"
                }
                pre.once tabindex="0" { (ca_sha256) }
            }
            div.actions { a.button.main href="/ui/login" { "Sign in" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::api::page::door::inside;

    #[test]
    fn signing_in_leads_to_pages_of_ours_only() {
        for ours in ["/ui/nodes/nid001", "/ui/images", "/ui/?by=rack"] {
            assert_eq!(inside(ours), ours);
        }
        for other in [
            "",
            "https://evil.test/ui/",
            "//evil.test/ui/",
            "/ui//evil.test",
            "/ui/\\evil",
            "/api/v1/nodes",
            "/ui/a\nb",
        ] {
            assert_eq!(inside(other), "/ui/", "{other}");
        }
    }
}
