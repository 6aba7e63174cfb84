//! Talks to a provider of logins (OpenID Connect): its addresses, its keys, and a code against a token. Calls go
//! where `transport/egress` lets them, and nothing of what comes back is believed before `engine/token` judged it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, RequestBuilder, Response, Url, header};
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};
use zeroize::Zeroizing;

use crate::base::Timestamp;
use crate::base::limits::{OIDC_AT_ONCE, OIDC_BYTES_MAX, OIDC_KEEP, OIDC_PATIENCE, OIDC_RETRY};
use crate::engine::token::Trust;
use crate::transport::clock::steady;
use crate::transport::egress::{Egress, EgressError};

/// Where a provider's description lies (OpenID Connect Discovery 1.0 section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Why a provider gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    #[error("the provider is not called: {0}")]
    Egress(#[from] EgressError),
    /// Without its cause, which names addresses: that goes to the log.
    #[error("the provider does not answer")]
    Call(#[source] reqwest::Error),
    #[error("the provider answers {0}")]
    Status(u16),
    #[error("the provider's answer is too long")]
    Long,
    #[error("the provider's answer is not what it should be: {0}")]
    Answer(&'static str),
    #[error("too many logins are under way; try again")]
    Busy,
}

/// A provider, and what is known of it. Clones share both.
#[derive(Clone)]
pub struct Provider {
    issuer: Arc<str>,
    client: Client,
    egress: Egress,
    known: Arc<Mutex<Known>>,
    turns: Arc<Semaphore>,
}

#[derive(Default)]
struct Known {
    about: Option<(Timestamp, Arc<About>)>,
    keys: Option<(Timestamp, Arc<Trust>)>,
}

/// Where a provider does what.
#[derive(Clone, Debug)]
pub struct About {
    pub authorization: Url,
    pub token: Url,
    pub keys: Url,
    pub userinfo: Option<Url>,
}

/// How we show the provider who we are.
#[derive(Clone)]
pub struct Credentials {
    pub id: String,
    /// None: a public client, whose codes are worth something with the verifier alone.
    pub secret: Option<Zeroizing<String>>,
}

/// What a code is exchanged for.
pub struct Tokens {
    pub id: String,
    pub access: Zeroizing<String>,
}

impl Provider {
    /// # Errors
    /// The HTTP library cannot be set up.
    pub fn new(issuer: &str, egress: Egress) -> Result<Provider, reqwest::Error> {
        let client = egress.client(Duration::from_millis(OIDC_PATIENCE.0))?;
        let turns = Arc::new(Semaphore::new(OIDC_AT_ONCE));
        Ok(Provider { issuer: issuer.into(), client, egress, known: Arc::default(), turns })
    }

    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Its addresses, kept for a while. Of those who ask at once one asks the provider.
    ///
    /// # Errors
    /// It does not answer, or speaks for another issuer.
    pub async fn about(&self) -> Result<Arc<About>, OidcError> {
        let mut known = self.known.lock().await;
        if let Some((at, about)) = known.about.as_ref().filter(|(at, _)| steady().since(*at) < OIDC_KEEP) {
            tracing::trace!(?at, "the provider is known");
            return Ok(Arc::clone(about));
        }
        let url = format!("{}{DISCOVERY}", self.issuer.trim_end_matches('/'));
        let found = self.fetch(&url.parse().map_err(|_| OidcError::Answer("issuer"))?, None).await?;
        // Section 4.3: exactly the one that was asked.
        if found.get("issuer").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err(OidcError::Answer("issuer: another one than auth.oidc.issuer"));
        }
        let secure = self.issuer.starts_with("https:");
        let url = |name: &'static str| {
            let url: Option<Url> = found.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok());
            url.filter(|url| url.scheme() == "https" || !secure).ok_or(OidcError::Answer(name))
        };
        let about = Arc::new(About {
            authorization: url("authorization_endpoint")?,
            token: url("token_endpoint")?,
            keys: url("jwks_uri")?,
            userinfo: url("userinfo_endpoint").ok(),
        });
        known.about = Some((steady(), Arc::clone(&about)));
        Ok(about)
    }

    /// Its keys, kept for a while; `again`: a token names one that is not among them.
    ///
    /// # Errors
    /// It does not answer, or with no key set.
    pub async fn keys(&self, again: bool) -> Result<Arc<Trust>, OidcError> {
        let about = self.about().await?;
        let mut known = self.known.lock().await;
        let keep = if again { OIDC_RETRY } else { OIDC_KEEP };
        if let Some((_, keys)) = known.keys.as_ref().filter(|(at, _)| steady().since(*at) < keep) {
            return Ok(Arc::clone(keys));
        }
        let set = self.fetch(&about.keys, None).await?;
        let keys = Arc::new(Trust::of_provider(&set).map_err(|_| OidcError::Answer("jwks_uri"))?);
        known.keys = Some((steady(), Arc::clone(&keys)));
        Ok(keys)
    }

    /// Exchanges a code (RFC 6749 section 4.1.3 with RFC 7636).
    ///
    /// # Errors
    /// The provider does not take it.
    pub async fn exchange(
        &self,
        us: &Credentials,
        code: &str,
        verifier: &str,
        redirect: &str,
    ) -> Result<Tokens, OidcError> {
        let _turn = self.turns.try_acquire().map_err(|_| OidcError::Busy)?;
        let about = self.about().await?;
        self.egress.check(&about.token)?;
        let mut form = Url::parse("form:").map_err(|_| OidcError::Answer("form"))?;
        form.query_pairs_mut()
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect)
            .append_pair("code_verifier", verifier)
            .append_pair("client_id", &us.id);
        let body = form.query().unwrap_or_default().to_owned();
        let mut request = self.client.post(about.token.clone());
        if let Some(secret) = &us.secret {
            let line = Zeroizing::new(format!("{}:{}", *form_text(&us.id), *form_text(secret)));
            let line = Zeroizing::new(format!("Basic {}", STANDARD.encode(line.as_bytes())));
            request = request.header(header::AUTHORIZATION, sensitive(&line)?);
        }
        let kind = "application/x-www-form-urlencoded";
        let found = self.call(request.header(header::CONTENT_TYPE, kind).body(body)).await?;
        let text = |name: &'static str| {
            found.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(OidcError::Answer(name))
        };
        Ok(Tokens { id: text("id_token")?, access: Zeroizing::new(text("access_token")?) })
    }

    /// More about the person (OpenID Connect Core 1.0 section 5.3); None: the provider tells no more.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn userinfo(&self, access: &str) -> Result<Option<Value>, OidcError> {
        let _turn = self.turns.try_acquire().map_err(|_| OidcError::Busy)?;
        match &self.about().await?.userinfo {
            Some(url) => self.fetch(url, Some(access)).await.map(Some),
            None => Ok(None),
        }
    }

    async fn fetch(&self, url: &Url, bearer: Option<&str>) -> Result<Value, OidcError> {
        self.egress.check(url)?;
        let mut request = self.client.get(url.clone());
        if let Some(bearer) = bearer {
            let line = Zeroizing::new(format!("Bearer {bearer}"));
            request = request.header(header::AUTHORIZATION, sensitive(&line)?);
        }
        self.call(request).await
    }

    async fn call(&self, request: RequestBuilder) -> Result<Value, OidcError> {
        let request = request.header(header::ACCEPT, "application/json");
        let answer = request.send().await.map_err(OidcError::Call)?;
        let status = answer.status();
        let body = bounded(answer).await?;
        if !status.is_success() {
            // RFC 6749 section 5.2: one word, which names no person.
            let error = serde_json::from_slice::<Value>(&body).ok();
            let word = error.as_ref().and_then(|error| error.get("error")).and_then(Value::as_str);
            tracing::warn!(%status, error = word.unwrap_or_default(), "the provider of logins refuses");
            return Err(OidcError::Status(status.as_u16()));
        }
        serde_json::from_slice(&body).map_err(|_| OidcError::Answer("no JSON"))
    }
}

async fn bounded(mut answer: Response) -> Result<Zeroizing<Vec<u8>>, OidcError> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(piece) = answer.chunk().await.map_err(OidcError::Call)? {
        if body.len().saturating_add(piece.len()) > OIDC_BYTES_MAX {
            return Err(OidcError::Long);
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn sensitive(line: &str) -> Result<header::HeaderValue, OidcError> {
    let mut value = header::HeaderValue::from_str(line).map_err(|_| OidcError::Answer("access_token"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// RFC 6749 section 2.3.1: name and secret are written as in a form before they are joined.
fn form_text(text: &str) -> Zeroizing<String> {
    let mut url = Url::parse("form:").expect("a scheme alone is a URL");
    url.query_pairs_mut().append_key_only(text);
    Zeroizing::new(url.query().unwrap_or_default().to_owned())
}
