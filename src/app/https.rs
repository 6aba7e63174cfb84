//! HTTPS: listeners, and a task that keeps their certificate good. It is renewed before it ends, when the head's
//! names or addresses change, and, if it is the site's own, when its files change; handshakes from then on see
//! the new one, and nothing is restarted.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;

use crate::app::config::Config;
use crate::app::config::door::is_dns_name;
use crate::transport::clock::now;
use crate::transport::http::{Certificates, Http, tls};
use crate::transport::tasks::Tasks;
use crate::transport::vault::{Leaf, Vault};

/// How often the certificate is looked at. Links come up after the head, and clocks jump.
const LOOK: Duration = Duration::from_secs(30);

/// Names and addresses of one certificate: a head with more addresses than that is a router.
const NAMES_MAX: usize = 100;

/// What is served now.
enum Served {
    Own(Leaf),
    /// When each of the two files was changed last.
    Files([Option<SystemTime>; 2]),
}

struct Keeper {
    config: Config,
    vault: Arc<Vault>,
    certificates: Arc<Certificates>,
}

/// Opens the HTTPS listeners.
///
/// # Errors
/// A certificate cannot be used, or an address cannot be bound.
pub fn start(config: &Config, vault: &Arc<Vault>, http: &Http, tasks: &Tasks) -> anyhow::Result<()> {
    if config.https.is_empty() {
        return Ok(());
    }
    let certificates = Arc::new(Certificates::default());
    let acceptor = tls::acceptor(Arc::clone(&certificates))?;
    let keeper = Keeper { config: config.clone(), vault: Arc::clone(vault), certificates };
    let mut served = keeper.renew().context("https")?;
    for address in &config.https {
        http.listen_tls(*address, acceptor.clone(), config.site.http_port, tasks)
            .context("set another address, or an empty list, in https.listen")?;
    }
    let inner = tasks.clone();
    tasks.spawn("certificates", async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = inner.stopping() => return,
            }
            if keeper.is_good(&served) {
                continue;
            }
            match keeper.renew() {
                Ok(next) => served = next,
                // The old one goes on; it has a third of its life left, or its files are half written.
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "the certificate cannot be renewed")
                }
            }
        }
    });
    Ok(())
}

impl Keeper {
    fn renew(&self) -> anyhow::Result<Served> {
        if let Some((certificate, key)) = &self.config.tls.files {
            let changed = [certificate, key].map(|path| modified(path));
            self.certificates.put_files(certificate, key)?;
            tracing::info!(certificate = %certificate.display(), "certificate read");
            return Ok(Served::Files(changed));
        }
        let (names, now) = (names(&self.config), now());
        let leaf = self.vault.authority.issue(&names, now)?;
        // Of the same age, so that what is said of the one holds for the other.
        let rsa = self.vault.rsa_authority.issue(&names, now)?;
        self.certificates.put_leaves(&leaf, &rsa)?;
        tracing::info!(ends = %leaf.ends, names = leaf.names.len(), "certificate made");
        Ok(Served::Own(leaf))
    }

    fn is_good(&self, served: &Served) -> bool {
        match (served, &self.config.tls.files) {
            (Served::Own(leaf), _) => !leaf.is_due(now()) && leaf.names == names(&self.config),
            (Served::Files(then), Some((certificate, key))) => {
                *then == [certificate, key].map(|path| modified(path))
            }
            (Served::Files(_), None) => false,
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// Every name and address by which clients reach the head.
pub(crate) fn names(config: &Config) -> BTreeSet<String> {
    let site = &config.site;
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let mut names: BTreeSet<String> = [site.domain.clone(), site.name.clone(), host, "localhost".to_owned()]
        .into_iter()
        .map(|name| name.to_ascii_lowercase())
        .filter(|name| is_dns_name(name))
        .collect();
    names.extend(config.tls.names.iter().cloned());
    let networks = site.networks.iter().filter_map(crate::model::Network::head).chain(site.head);
    let listeners = config.https.iter().map(|address| address.ip().to_canonical());
    let own = nix::ifaddrs::getifaddrs().into_iter().flatten().filter_map(|link| {
        let address = link.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    let addresses = networks.map(IpAddr::V4).chain(listeners).chain(own);
    for address in addresses.filter(|address| is_reachable(*address)) {
        if names.len() < NAMES_MAX {
            names.insert(address.to_string());
        }
    }
    names
}

/// False for addresses that a client cannot ask for as such.
fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_unspecified(),
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
