//! Builds the door of the APIs from the configuration and the head's keys.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use zeroize::Zeroizing;

use crate::api::auth::oidc::{CALLBACK, Login};
use crate::api::auth::{Door, Policy};
use crate::api::context::Context;
use crate::app::config::{Auth, Config, Oidc};
use crate::app::https;
use crate::engine::token::Trust;
use crate::model::Role;
use crate::transport::egress::Egress;
use crate::transport::oidc::{Credentials, Provider};
use crate::transport::vault::{Vault, claim_path};

/// Largest key set that is read: a hundred keys with their certificates.
const JWKS_BYTES_MAX: u64 = 1 << 20;

/// The door, with other issuers' keys.
///
/// # Errors
/// The file of `auth.jwks` cannot be read or used.
pub fn open(config: &Config, data_dir: &Path, context: &Context, vault: &Arc<Vault>) -> anyhow::Result<Door> {
    let mut trust = Trust::own(&vault.public());
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
        hosts: hosts(config),
        claim: config.claim.then(|| claim_path(data_dir)),
    };
    let door = Door::new(context.clone(), Arc::clone(vault), trust, policy);
    if let Some(oidc) = &config.tokens.oidc {
        door.offer_oidc(login(config, oidc)?);
    }
    Ok(door)
}

/// Where else people may log in. The provider is not asked yet: it may come up after the head.
fn login(config: &Config, oidc: &Oidc) -> anyhow::Result<Login> {
    let secret = match &oidc.secret {
        None => None,
        Some(path) => {
            let read = fs::read_to_string(path);
            let text =
                Zeroizing::new(read.with_context(|| format!("auth.oidc.client_secret {}", path.display()))?);
            Some(Zeroizing::new(text.trim().to_owned()))
        }
    };
    let provider = Provider::new(&oidc.issuer, Egress::new(config.egress.clone()));
    let callback = format!("{}{CALLBACK}", issuer(config));
    tracing::info!(issuer = oidc.issuer, callback, "people may log in at another issuer");
    Ok(Login {
        provider: provider.context("auth.oidc")?,
        credentials: Credentials { id: oidc.client.clone(), secret },
        scopes: oidc.scopes.clone(),
        user_claim: oidc.user_claim.clone(),
        groups_claim: oidc.groups_claim.clone(),
        roles: oidc.roles.clone(),
    })
}

/// Names by which browsers may call the head: those of its certificate, and those that the configuration adds.
fn hosts(config: &Config) -> BTreeSet<String> {
    https::names(config).into_iter().chain(config.http_names.iter().cloned()).collect()
}

fn add(trust: &mut Trust, path: &Path, role: Role) -> anyhow::Result<()> {
    let size = fs::metadata(path)?.len();
    anyhow::ensure!(size <= JWKS_BYTES_MAX, "has {size} bytes, more than {JWKS_BYTES_MAX}");
    let text = fs::read_to_string(path)?;
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

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::app::config::Config;
    use crate::app::door::{add, issuer};
    use crate::engine::token::Trust;
    use crate::model::Role;

    #[test]
    fn the_issuer_is_the_head_by_its_domain() {
        let of = |more: &str| {
            issuer(&Config::parse(&format!("[cluster]\ndomain = \"demo.example\"\n{more}")).unwrap())
        };
        assert_eq!(of(""), "https://demo.example:8443");
        assert_eq!(of("[https]\nlisten = []"), "http://demo.example:8081");
        assert_eq!(of("[https]\nlisten = []\n[http]\nlisten = []"), "https://demo.example:8443");
    }

    #[test]
    fn a_key_set_that_cannot_be_used_keeps_the_head_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        let put = |text: &str| {
            fs::write(&path, text).unwrap();
            add(&mut Trust::default(), &path, Role::Viewer).map_err(|error| error.to_string())
        };
        let key =
            r#"{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert_eq!(put(&format!("{{\"keys\":[{key}]}}")), Ok(()));
        assert!(put("{}").unwrap_err().contains("is not a JSON Web Key Set"));
        assert!(put(&" ".repeat(2 << 20)).unwrap_err().contains("has 2097152 bytes"));
        fs::remove_file(&path).unwrap();
        assert!(add(&mut Trust::default(), &path, Role::Viewer).is_err());
    }
}
