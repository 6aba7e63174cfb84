//! Files by URL: downloads that go on where they broke, and are held to a digest if the URL ends with one
//! (`#sha256=…`).

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Client, Response, StatusCode, Url};

use crate::base::Digest;
use crate::base::limits::DOWNLOAD_ATTEMPTS_MAX;
use crate::cli::image::source::Options;
use crate::cli::image::source::blob::Blob;
use crate::cli::image::source::scratch::Scratch;
use crate::cli::progress::Steps;

pub(crate) const USER_AGENT: &str = concat!("muster/", env!("CARGO_PKG_VERSION"));

/// Between two tries, times their number.
const PAUSE: Duration = Duration::from_millis(500);

const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(60);

/// A file that was fetched, and what to call it: the URL without what may be secret in it.
pub(crate) struct Fetched {
    pub(crate) path: PathBuf,
    pub(crate) origin: String,
}

pub(crate) fn is_url(spec: &str) -> bool {
    spec.starts_with("http://") || spec.starts_with("https://")
}

/// Fetches a file.
pub(crate) fn fetch(
    spec: &str,
    options: &Options,
    scratch: &Scratch,
    steps: &Steps,
) -> anyhow::Result<Fetched> {
    let mut url: Url = spec.parse().map_err(|error| anyhow!("malformed URL: {error}"))?;
    let expected = match url.fragment() {
        None => None,
        Some(fragment) => {
            let hex = fragment.strip_prefix("sha256=").and_then(|hex| hex.parse::<Digest>().ok());
            Some(hex.context("after # of a URL stands sha256= and 64 hexadecimal digits")?)
        }
    };
    url.set_fragment(None);
    let shown = shown(&url);
    let suffix = if url.path().ends_with(".zst") { ".zst" } else { "" };
    let (file, path) = scratch.create(&format!("fetched{suffix}"))?;
    let mut download =
        Download { client: client(options)?, url, file, steps, validator: None, max: options.unpacked_max() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(persist(async || download.attempt().await)).with_context(|| shown.clone())?;
    // Read back from disk: what counts is what is there.
    let mut blob = Blob { label: shown.clone(), ..Blob::of(&path)? };
    blob.digest = expected;
    let digest = blob.digest_packed()?;
    Ok(Fetched { path, origin: format!("{shown}@{digest}") })
}

fn client(options: &Options) -> anyhow::Result<Client> {
    // Whoever comes second finds the same provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut builder = Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE).user_agent(USER_AGENT);
    if let Some(roots) = roots(options)? {
        let roots = roots.iter().map(|pem| reqwest::Certificate::from_pem(pem));
        builder = builder.tls_certs_only(roots.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(builder.build()?)
}

/// The certificates that `--ca` names, each by itself.
pub(crate) fn roots(options: &Options) -> anyhow::Result<Option<Vec<Vec<u8>>>> {
    const END: &str = "-----END CERTIFICATE-----";
    let Some(file) = &options.ca else { return Ok(None) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let blocks: Vec<Vec<u8>> = text
        .split_inclusive(END)
        .filter(|block| block.contains("-----BEGIN CERTIFICATE-----"))
        .map(|block| block.as_bytes().to_vec())
        .collect();
    ensure!(!blocks.is_empty(), "{} holds no certificate", file.display());
    Ok(Some(blocks))
}

/// One file on its way.
struct Download<'a> {
    client: Client,
    url: Url,
    file: File,
    steps: &'a Steps,
    /// By which the server knows whether it still is the same file.
    validator: Option<HeaderValue>,
    max: u64,
}

impl Download<'_> {
    async fn attempt(&mut self) -> Result<(), Trouble> {
        let from = self.file.stream_position()?;
        let mut request = self.client.get(self.url.clone());
        // Without a validator the rest might be of another file.
        if let Some(validator) = self.validator.as_ref().filter(|_| from > 0) {
            request = request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, validator);
        }
        let mut response = request.send().await.map_err(|error| trouble(&error, from == 0))?;
        let mut position = match response.status() {
            StatusCode::OK => {
                self.file.set_len(0)?;
                self.file.seek(SeekFrom::Start(0))?
            }
            StatusCode::PARTIAL_CONTENT if begins_at(&response, from) => from,
            status => return Err(refusal(status.as_u16(), anyhow!("the server answers {status}"))),
        };
        self.validator = validator(&response);
        let total = response.content_length().map(|rest| position.saturating_add(rest));
        if let Some(total) = total.filter(|total| *total > self.max) {
            let text = format!("it has {total} octets, at most {} (--max-unpacked)", self.max);
            return Err(Trouble::Final(anyhow!(text)));
        }
        while let Some(chunk) = response.chunk().await.map_err(|error| trouble(&error, false))? {
            position += octets(chunk.len());
            if position > self.max {
                let text = format!("it has more than {} octets (--max-unpacked)", self.max);
                return Err(Trouble::Final(anyhow!(text)));
            }
            self.file.write_all(&chunk)?;
            self.steps.on(match total {
                Some(total) => format!("fetching {} of {} MB", position / 1_000_000, total / 1_000_000),
                None => format!("fetching, {} MB so far", position / 1_000_000),
            });
        }
        match total {
            Some(total) if total != position => {
                Err(Trouble::Passing(anyhow!("it ended after {position} of {total} octets")))
            }
            _ => Ok(()),
        }
    }
}

/// Why a try failed.
pub(crate) enum Trouble {
    /// Trying again would fail again.
    Final(anyhow::Error),
    /// The network's or the server's mood.
    Passing(anyhow::Error),
}

/// What this machine's disk says does not pass.
impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Trouble {
        Trouble::Final(error.into())
    }
}

/// Tries until it works, for some time.
pub(crate) async fn persist(mut attempt: impl AsyncFnMut() -> Result<(), Trouble>) -> anyhow::Result<()> {
    for number in 1..DOWNLOAD_ATTEMPTS_MAX {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing(_)) => tokio::time::sleep(PAUSE * number).await,
        }
    }
    match attempt().await {
        Ok(()) => Ok(()),
        Err(Trouble::Final(error) | Trouble::Passing(error)) => Err(error),
    }
}

/// `first`: nothing has come yet; then nobody at an address is nobody, and not a server that starts again.
pub(crate) fn trouble(error: &reqwest::Error, first: bool) -> Trouble {
    let text = anyhow!(reason(error));
    let hopeless = error.is_builder() || error.is_redirect() || first && error.is_connect();
    if hopeless { Trouble::Final(text) } else { Trouble::Passing(text) }
}

/// 429 and what begins with 5 asks to come back (RFC 6585 section 4, RFC 9110 section 15.6).
pub(crate) fn refusal(status: u16, error: anyhow::Error) -> Trouble {
    if status == 429 || status >= 500 { Trouble::Passing(error) } else { Trouble::Final(error) }
}

pub(crate) fn octets(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// A weak tag is none for ranges (RFC 9110 section 13.1.5).
fn validator(response: &Response) -> Option<HeaderValue> {
    let headers = response.headers();
    let tag = headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    tag.or_else(|| headers.get(LAST_MODIFIED)).cloned()
}

fn begins_at(response: &Response, from: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}

/// What may be shown of a URL; nothing of one that cannot be read.
pub(crate) fn without_secrets(spec: &str) -> String {
    spec.parse().map(|url| shown(&url)).unwrap_or_default()
}

/// Passwords and signed queries stay out of records.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Refused only for URLs that have no host, which are not fetched.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// The last cause, which is the one that says something; a URL may hold a password.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    if text.contains("certificate") || text.contains("UnknownIssuer") {
        return format!("{text} (--ca names the root to trust)");
    }
    text
}
