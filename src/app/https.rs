//! HTTPS: listeners, and a task that keeps their certificate good. It is renewed before it ends, when the head's
//! names or addresses change, when its authority is replaced, and, if it is the site's own, when its files change or
//! somebody says so (SIGHUP); handshakes from then on see the new one, and nothing is restarted.

mod names;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub(crate) use names::{names, scope};

use crate::app::config::Config;
use crate::model::Site;
use crate::transport::acme::{AcmeState, Obtained};
use crate::transport::clock::now;
use crate::transport::http::{Certificates, Http, tls};
use crate::transport::tasks::Tasks;
use crate::transport::vault::{Leaf, Vault, VaultError, authority_print};

/// How often the certificate is looked at. Links come up after the head, and clocks jump.
const LOOK: Duration = Duration::from_secs(30);

/// What is served now.
enum Served {
    /// Nothing: the clock is not set.
    Nothing,
    /// The usual certificate, and the root of the one with an RSA key.
    Own { leaf: Leaf, rsa_root: Vec<u8> },
    /// When each of the two files was changed last, and what loaders are shown beside it.
    Files([Option<SystemTime>; 2], Option<Leaf>),
    /// One that an outside authority gave.
    Outside(Arc<Obtained>, Option<Leaf>),
}

struct Keeper {
    config: Config,
    vault: Arc<Vault>,
    certificates: Arc<Certificates>,
    outside: Option<Arc<AcmeState>>,
}

/// The site as configured, with those whom loaders are to trust.
pub(crate) fn site(config: &Config, vault: &Vault) -> Site {
    let mut site = config.site.clone();
    if let Some(tls) = &mut site.loader_tls {
        tls.roots = vault.loader_roots();
    }
    site
}

/// Opens the HTTPS listeners. `told`: where a site is told whose authorities were replaced.
///
/// # Errors
/// A certificate cannot be used, or an address cannot be bound.
pub fn start(
    config: &Config,
    vault: &Arc<Vault>,
    http: &Http,
    outside: Option<Arc<AcmeState>>,
    told: watch::Sender<Arc<Site>>,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    for root in vault.roots() {
        let print = authority_print(&root).unwrap_or_default();
        tracing::info!(sha256 = print, "certificate authority (muster ca fingerprint)");
    }
    if config.https.is_empty() {
        return Ok(());
    }
    let certificates = Arc::new(Certificates::default());
    let acceptor = tls::acceptor(Arc::clone(&certificates))?;
    let keeper = Keeper { config: config.clone(), vault: Arc::clone(vault), certificates, outside };
    let served = match keeper.renew() {
        Err(error) if is_clock(&error) => {
            tracing::error!(error = format!("{error:#}"), "HTTPS waits");
            Served::Nothing
        }
        renewed => renewed.context("https")?,
    };
    for address in &config.https {
        http.listen_tls(*address, acceptor.clone(), config.site.http_port, tasks)
            .context("set another address, or an empty list, in https.listen")?;
    }
    let hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be listened for")?;
    let inner = tasks.clone();
    tasks.spawn("certificates", async move { keeper.keep(served, hangup, told, &inner).await });
    Ok(())
}

fn is_clock(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(VaultError::Clock { .. }))
}

impl Keeper {
    async fn keep(
        self,
        mut served: Served,
        mut hangup: tokio::signal::unix::Signal,
        told: watch::Sender<Arc<Site>>,
        tasks: &Tasks,
    ) {
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                () = self.vault.replaced.notified() => false,
                _ = hangup.recv() => true,
                () = tasks.stopping() => return,
            };
            if let Err(error) = self.vault.look(now()) {
                tracing::warn!(%error, "the certificate authorities cannot be kept up");
            }
            let site = site(&self.config, &self.vault);
            told.send_if_modified(|known| {
                let changed = **known != site;
                if changed {
                    *known = Arc::new(site);
                }
                changed
            });
            if !asked && self.is_good(&served) {
                continue;
            }
            match self.renew() {
                Ok(next) => served = next,
                // The old one goes on; it has a third of its life left, or its files are half written.
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the certificate cannot be renewed")
                }
            }
        }
    }

    fn renew(&self) -> anyhow::Result<Served> {
        let (names, now) = (names(&self.config), now());
        let loaders = || match self.config.site.loader_tls {
            Some(_) => self.vault.rsa_authority.issue(&names, now).map(Some),
            None => Ok(None),
        };
        if let Some(obtained) = self.outside() {
            let loaders = loaders()?;
            self.certificates.put_pem(&obtained.chain, &obtained.key, loaders.as_ref())?;
            return Ok(Served::Outside(obtained, loaders));
        }
        if let Some((certificate, key)) = &self.config.tls.files {
            let changed = [certificate, key].map(|path| modified(path));
            let loaders = loaders()?;
            self.certificates.put_files(certificate, key, loaders.as_ref())?;
            tracing::info!(certificate = %certificate.display(), "certificate read");
            return Ok(Served::Files(changed, loaders));
        }
        let leaf = self.vault.authority.issue(&names, now)?;
        // Of the same age, so that what is said of the one holds for the other.
        let rsa = self.vault.rsa_authority.issue(&names, now)?;
        self.certificates.put_leaves(&leaf, &rsa)?;
        tracing::info!(ends = %leaf.ends, names = leaf.names.len(), "certificate made");
        if !leaf.left_out.is_empty() {
            tracing::warn!(
                left_out = ?leaf.left_out,
                "the certificate is not for every name and address of this head: its authority was made for others \
                 (muster key rotate ca)"
            );
        }
        Ok(Served::Own { leaf, rsa_root: rsa.root })
    }

    /// What an outside authority gave, as long as clients believe it.
    fn outside(&self) -> Option<Arc<Obtained>> {
        self.outside.as_ref()?.obtained().filter(|obtained| obtained.is_good(now()))
    }

    fn is_good(&self, served: &Served) -> bool {
        let fresh = |leaf: &Leaf, root: &[u8], authority: Vec<u8>| {
            !leaf.is_due(now()) && leaf.names == names(&self.config) && *root == authority
        };
        let rsa = || self.vault.rsa_authority.root();
        let for_loaders =
            |loaders: &Option<Leaf>| loaders.as_ref().is_none_or(|leaf| fresh(leaf, &leaf.root, rsa()));
        match (served, &self.config.tls.files) {
            (Served::Outside(known, loaders), None) => {
                self.outside().is_some_and(|now| now == *known) && for_loaders(loaders)
            }
            (Served::Own { .. }, None) if self.outside().is_some() => false,
            (Served::Own { leaf, rsa_root }, None) => {
                fresh(leaf, &leaf.root, self.vault.authority.root()) && *rsa_root == rsa()
            }
            (Served::Files(then, loaders), Some((certificate, key))) => {
                *then == [certificate, key].map(|path| modified(path)) && for_loaders(loaders)
            }
            (Served::Nothing | Served::Own { .. } | Served::Files(..) | Served::Outside(..), _) => false,
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests;
