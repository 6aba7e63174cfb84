//! A certificate from an outside authority by ACME (RFC 8555): the account, one order at a time, and what its
//! http-01 challenges (section 8.3) are answered with. Account and certificate lie sealed beside the head's keys.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Limited};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error,
    HttpClient, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::base::Timestamp;
use crate::base::limits::ACME_ANSWER_BYTES_MAX;
use crate::transport::egress::Egress;
use crate::transport::vault::{Chest, VaultError};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the authority may take to look at our challenges, and then to issue.
const ORDER_PATIENCE: Duration = Duration::from_secs(180);

/// Names of the sealed files.
const ACCOUNT: &str = "acme-account";
const CERTIFICATE: &str = "acme-certificate";

/// From whom, and for which names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acme {
    /// URL of the authority's directory.
    pub directory: String,
    /// `mailto:` URLs at which it warns.
    pub contact: Vec<String>,
    /// DNS names; the first is the certificate's own.
    pub names: Vec<String>,
    /// Root certificate of the authority's own HTTPS, PEM; none: what the system trusts.
    pub ca: Option<PathBuf>,
}

/// A certificate that was obtained.
#[derive(Clone, PartialEq, Eq)]
pub struct Obtained {
    /// The chain, PEM.
    pub chain: String,
    /// Its key, PEM.
    pub key: Zeroizing<String>,
    pub begins: Timestamp,
    pub ends: Timestamp,
}

/// Says why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    #[error("{path}: {why}")]
    Root { path: PathBuf, why: String },
    #[error("the authority says: {0}")]
    Acme(#[from] Error),
    #[error("the authority offers no http-01 challenge for {0}")]
    NoChallenge(String),
    #[error(
        "the authority did not reach this head by http://NAME/.well-known/acme-challenge/, port 80: order {0:?}"
    )]
    NotReady(OrderStatus),
    #[error("what the authority gave is no certificate")]
    NoCertificate,
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("an account cannot be read or written: {0}")]
    Account(#[from] serde_json::Error),
}

/// What challenges under way are answered with: token to key authorization. One order holds as many as it has names.
#[derive(Default)]
pub struct Challenges(Mutex<BTreeMap<String, String>>);

impl Challenges {
    /// The answer to a challenge; None: it is none of ours.
    #[must_use]
    pub fn answer(&self, token: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn put(&self, token: String, answer: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token, answer);
    }

    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl std::fmt::Debug for Obtained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Obtained").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl Obtained {
    fn new(chain: String, key: Zeroizing<String>) -> Result<Obtained, AcmeError> {
        let der = CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|_| AcmeError::NoCertificate)?;
        let (_, read) = X509Certificate::from_der(&der).map_err(|_| AcmeError::NoCertificate)?;
        let at = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
        let validity = read.validity();
        let (begins, ends) = (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()));
        Ok(Obtained { chain, key, begins, ends })
    }

    /// True if a third of its life is left.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        let life = self.ends.since(self.begins).0;
        now.0 >= self.ends.0.saturating_sub(life / 3)
    }

    /// True while clients believe it.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        now < self.ends
    }
}

impl Acme {
    /// What this configuration obtained before, if it is kept.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn kept(&self, chest: &Chest) -> Result<Option<Obtained>, AcmeError> {
        let Some(octets) = chest.open_file(CERTIFICATE)? else { return Ok(None) };
        let (directory, names, chain, key): (String, Vec<String>, String, String) =
            serde_json::from_slice(&octets)?;
        let key = Zeroizing::new(key);
        if directory != self.directory || names != self.names {
            return Ok(None);
        }
        Obtained::new(chain, key).map(Some)
    }

    /// Orders a certificate, and keeps it.
    ///
    /// # Errors
    /// What the authority, the network or the disk has against it.
    pub async fn obtain(
        &self,
        egress: &Egress,
        challenges: &Challenges,
        chest: &Chest,
    ) -> Result<Obtained, AcmeError> {
        let account = self.account(egress, chest).await?;
        let names: Vec<Identifier> = self.names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        let ready = self.prove(&mut order, challenges).await;
        challenges.clear();
        ready?;
        let key = Zeroizing::new(order.finalize().await?);
        let chain = order.poll_certificate(&patience()).await?;
        let obtained = Obtained::new(chain, key)?;
        let kept = (&self.directory, &self.names, &obtained.chain, obtained.key.as_str());
        let kept = Zeroizing::new(serde_json::to_vec(&kept)?);
        chest.write_file(CERTIFICATE, &kept)?;
        Ok(obtained)
    }

    async fn prove(&self, order: &mut instant_acme::Order, challenges: &Challenges) -> Result<(), AcmeError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue; // Shown not long ago.
            }
            let name = authorization.identifier().to_string();
            let challenge = authorization.challenge(ChallengeType::Http01);
            let mut challenge = challenge.ok_or(AcmeError::NoChallenge(name))?;
            challenges.put(challenge.token.clone(), challenge.key_authorization().as_str().to_owned());
            challenge.set_ready().await?;
        }
        match order.poll_ready(&patience()).await? {
            OrderStatus::Ready => Ok(()),
            status => Err(AcmeError::NotReady(status)),
        }
    }

    async fn account(&self, egress: &Egress, chest: &Chest) -> Result<Account, AcmeError> {
        let builder = || Ok::<_, AcmeError>(Account::builder_with_http(Box::new(self.client(egress)?)));
        if let Some(octets) = chest.open_file(ACCOUNT)? {
            let (directory, credentials): (String, AccountCredentials) = serde_json::from_slice(&octets)?;
            if directory == self.directory {
                return Ok(builder()?.from_credentials(credentials).await?);
            }
        }
        let contact: Vec<&str> = self.contact.iter().map(String::as_str).collect();
        let account =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) = builder()?.create(&account, self.directory.clone(), None).await?;
        let kept = Zeroizing::new(serde_json::to_vec(&(&self.directory, &credentials))?);
        chest.write_file(ACCOUNT, &kept)?;
        tracing::info!(directory = self.directory, "made an account with a certificate authority");
        Ok(account)
    }

    fn client(&self, egress: &Egress) -> Result<Client, AcmeError> {
        let failed = |error: reqwest::Error| Error::Other(Box::new(error));
        let client = match &self.ca {
            None => egress.client(PATIENCE).map_err(failed)?,
            Some(path) => {
                let wrong = |why: String| AcmeError::Root { path: path.clone(), why };
                let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
                egress.client_trusting(PATIENCE, &pem).map_err(|error| wrong(error.to_string()))?
            }
        };
        Ok(Client { egress: egress.clone(), client })
    }
}

fn patience() -> RetryPolicy {
    RetryPolicy::new().timeout(ORDER_PATIENCE)
}

/// The library's requests by the one way out that the daemon has. Every URL is the authority's word, and judged.
struct Client {
    egress: Egress,
    client: reqwest::Client,
}

type Answered = Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>>;

impl HttpClient for Client {
    fn request(&self, request: axum::http::Request<BodyWrapper<Bytes>>) -> Answered {
        let (egress, client) = (self.egress.clone(), self.client.clone());
        Box::pin(async move { ask(&egress, &client, request).await.map_err(Error::Other) })
    }
}

async fn ask(
    egress: &Egress,
    client: &reqwest::Client,
    request: axum::http::Request<BodyWrapper<Bytes>>,
) -> Result<BytesResponse, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let url: reqwest::Url = parts.uri.to_string().parse()?;
    egress.check(&url)?;
    let body = body.collect().await?.to_bytes();
    let sent = client.request(parts.method, url).headers(parts.headers).body(body).send().await?;
    let answer: axum::http::Response<reqwest::Body> = sent.into();
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, ACME_ANSWER_BYTES_MAX).collect().await?.to_bytes();
    Ok(BytesResponse { parts, body: Box::new(body) })
}

/// Shared by who orders, who answers challenges and who serves.
#[derive(Default)]
pub struct AcmeState {
    pub challenges: Challenges,
    obtained: Mutex<Option<Arc<Obtained>>>,
}

impl AcmeState {
    /// The certificate, if there is one.
    #[must_use]
    pub fn obtained(&self) -> Option<Arc<Obtained>> {
        self.obtained.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn put(&self, obtained: Obtained) {
        *self.obtained.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(obtained));
    }
}
