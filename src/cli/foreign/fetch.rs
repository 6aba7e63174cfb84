//! Reads from the services of an old site, over HTTP or HTTPS, and says plainly what could not be read.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::StatusCode;
use serde_json::Value;

use crate::base::limits::IMPORT_BYTES_MAX;

/// How long a service may take to accept a connection, and for a whole answer: SMD needs half a minute for
/// 10,000 components.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(120);

/// How an old site is reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    pub(crate) token: Option<String>,
    pub(crate) cacert: Option<PathBuf>,
    pub(crate) insecure: bool,
}

/// What became of one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Found(String),
    /// The service is there and has no such thing.
    Absent,
    /// Nobody answers; with the reason.
    Unreachable(String),
}

/// Asks the services of one site.
pub(crate) struct Source {
    http: reqwest::Client,
    token: Option<String>,
}

impl Source {
    pub(crate) fn new(access: &Access) -> anyhow::Result<Source> {
        // Whoever comes second finds the same provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .tls_danger_accept_invalid_certs(access.insecure);
        if let Some(file) = &access.cacert {
            let pem = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("{} holds no certificate", file.display()))?;
            anyhow::ensure!(!roots.is_empty(), "{} holds no certificate", file.display());
            builder = builder.tls_certs_only(roots);
        }
        Ok(Source { http: builder.build()?, token: access.token.clone() })
    }

    /// What lies at a URL.
    ///
    /// # Errors
    /// A refusal for want of a token, and a service that fails: half a site is no site.
    pub(crate) async fn get(&self, url: &str) -> anyhow::Result<Answer> {
        let mut request = self.http.get(url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_builder() => bail!("{url}: {}", reason(&error)),
            Err(error) => return Ok(Answer::Unreachable(reason(&error))),
        };
        let status = response.status();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let hint =
                    if self.token.is_some() { "the token is not accepted" } else { "give --from-token" };
                bail!("{url} answers {status}: {hint}");
            }
            _ if status.is_client_error() => return Ok(Answer::Absent),
            _ if !status.is_success() => bail!("{url} answers {status}"),
            _ => {}
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| anyhow::anyhow!(reason(&error)))? {
            anyhow::ensure!(
                body.len().saturating_add(chunk.len()) <= IMPORT_BYTES_MAX,
                "{url} answers without end"
            );
            body.extend_from_slice(&chunk);
        }
        Ok(Answer::Found(String::from_utf8(body).with_context(|| format!("{url} answers no text"))?))
    }

    /// JSON at a URL; None if there is no such thing, with the reason in `notes` if nobody answers.
    pub(crate) async fn json(&self, url: &str, notes: &mut Vec<String>) -> anyhow::Result<Option<Value>> {
        match self.get(url).await? {
            Answer::Found(text) => {
                let value = serde_json::from_str(&text);
                value.map(Some).with_context(|| format!("{url} answers no JSON"))
            }
            Answer::Absent => Ok(None),
            Answer::Unreachable(reason) => {
                let note = format!("{url} cannot be reached: {reason}");
                if !notes.contains(&note) {
                    notes.push(note);
                }
                Ok(None)
            }
        }
    }
}

/// The last cause, which is the one that says something; an URL may hold a password.
fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    if text.contains("certificate") || text.contains("UnknownIssuer") {
        return format!("{text} (give the site's root with --from-cacert, or --from-insecure)");
    }
    text
}
