//! Builds the door of the APIs from the configuration and the head's keys.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::api::auth::{Door, Policy};
use crate::api::context::Context;
use crate::app::config::{Auth, Config};
use crate::engine::token::Trust;
use crate::model::Role;
use crate::transport::vault::Vault;

/// Largest key set that is read: a hundred keys with their certificates.
const JWKS_BYTES_MAX: u64 = 1 << 20;

/// The door, with other issuers' keys.
///
/// # Errors
/// The file of `auth.jwks` cannot be read or used.
pub fn open(config: &Config, context: &Context, vault: &Arc<Vault>) -> anyhow::Result<Door> {
    let mut trust = Trust::own(vault.public());
    if let Some(path) = &config.tokens.jwks {
        add(&mut trust, path, config.tokens.jwks_role)
            .with_context(|| format!("auth.jwks {}", path.display()))?;
    }
    let closed = match &config.auth {
        Auth::Required => true,
        Auth::Off { .. } => {
            tracing::warn!("AUTHENTICATION IS OFF: everybody who reaches a listener may change everything");
            false
        }
    };
    if let Some(role) = config.tokens.open {
        tracing::warn!(%role, "auth.open_token: /token gives a token to everybody who reaches a listener");
    }
    let policy = Policy {
        closed,
        proxies: config.trusted_proxies.clone(),
        open_token: config.tokens.open,
        issuer: issuer(config),
        cluster: config.site.name.clone(),
    };
    Ok(Door::new(context.clone(), Arc::clone(vault), trust, policy))
}

fn add(trust: &mut Trust, path: &Path, role: Role) -> anyhow::Result<()> {
    let size = std::fs::metadata(path)?.len();
    anyhow::ensure!(size <= JWKS_BYTES_MAX, "has {size} bytes, more than {JWKS_BYTES_MAX}");
    let text = std::fs::read_to_string(path)?;
    trust.add(&text, role)?;
    Ok(())
}

/// The head's URL, as tokens and the command line name it: HTTPS by the cluster's domain, where it is served.
#[must_use]
pub fn issuer(config: &Config) -> String {
    let domain = &config.site.domain;
    match (config.https.first(), config.http.first()) {
        (Some(address), _) => format!("https://{domain}:{}", address.port()),
        (None, Some(address)) => format!("http://{domain}:{}", address.port()),
        (None, None) => format!("https://{domain}:8443"),
    }
}
