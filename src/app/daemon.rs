//! The daemon: what is wired to what, what starts first, what stops first.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use crate::api;
use crate::api::about::{About, Listener};
use crate::api::auth::claim::is_claimed;
use crate::api::context::{Context, PhoneHomes, Services, Turn};
use crate::api::images::ImageUse;
use crate::api::node::secure;
use crate::api::openchami::smd;
use crate::app::config::Config;
use crate::app::routes::{self, Parts};
use crate::app::{acme, door, https, journalist, nbd, privileges, publisher, recorder, streams, tftp, trust};
use crate::model::validate::validate;
use crate::model::{Inventory, Revision, Site, Snapshot, SnapshotCell};
use crate::store::{Store, open_redb};
use crate::transport::acme::AcmeState;
use crate::transport::audit::Audit;
use crate::transport::blobs::Blobs;
use crate::transport::clock::now;
use crate::transport::dhcp::{Dhcp, Handle};
use crate::transport::dns::Dns;
use crate::transport::egress::Egress;
use crate::transport::http::Http;
use crate::transport::journal::Journal;
use crate::transport::link::{self, Managed};
use crate::transport::loaders::Loaders;
use crate::transport::measures::Measures;
use crate::transport::notify;
use crate::transport::recorder::Recorder;
use crate::transport::tasks::Tasks;
use crate::transport::vault::{ScopeNow, Vault, credentials};
use crate::transport::webhook::{Manners, Webhooks};

/// How long tasks may take to end.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// The store's file in the data directory.
const STORE_FILE: &str = "muster.redb";

/// The API's socket in the data directory.
const SOCKET_FILE: &str = "muster.sock";

/// The store of blobs in the data directory.
const BLOBS_FOLDER: &str = "blobs";

/// Path of the API's socket.
#[must_use]
pub fn socket_path(config: &Config, data_dir: &Path) -> PathBuf {
    config.socket.clone().unwrap_or_else(|| data_dir.join(SOCKET_FILE))
}

/// Path of the store.
#[must_use]
pub fn store_path(data_dir: &Path) -> PathBuf {
    data_dir.join(STORE_FILE)
}

/// Serves until `stop` resolves.
///
/// # Errors
/// Something could not start; what had started is stopped again.
pub async fn serve(config: Config, data_dir: &Path, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let mut stop = std::pin::pin!(stop);
    let outcome = loop {
        match serve_once(&config, data_dir, &mut stop).await {
            // What did not run then is started now, from the same beginning as always.
            Ok(End::Claimed) => tracing::info!("muster starts again, as a head with an owner"),
            Ok(End::Stopped) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let _ = std::fs::remove_file(socket_path(&config, data_dir)); // the next start replaces it anyway
    outcome
}

/// Why a head does not serve any more.
enum End {
    Stopped,
    /// It had no owner, and has one now.
    Claimed,
}

async fn serve_once(
    config: &Config,
    data_dir: &Path,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> anyhow::Result<End> {
    let tasks = Tasks::new();
    match start(config, data_dir, &tasks).await {
        Ok(running) => {
            notify::start_watchdog(&tasks);
            notify::ready(&format!("{} nodes", running.context.snapshot.load().inventory.nodes.len()));
            tracing::info!(version = env!("CARGO_PKG_VERSION"), "muster serves");
            let outcome = running.wait(stop).await;
            notify::stopping();
            tracing::info!("muster stops");
            tasks.stop(STOP_GRACE).await;
            running.context.store.close().await;
            outcome
        }
        Err(error) => {
            tasks.stop(STOP_GRACE).await;
            Err(error)
        }
    }
}

struct Running {
    context: Context,
    /// False: only claiming is served.
    is_claimed: bool,
    loaders: Arc<Loaders>,
}

impl Running {
    /// Waits for the order to stop, or for the store to fail. SIGHUP reads the loaders again.
    async fn wait(&self, stop: &mut (impl Future<Output = ()> + Unpin)) -> anyhow::Result<End> {
        let mut reload = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        let mut declared = self.context.store.declared();
        let mut published = self.context.published.clone();
        loop {
            tokio::select! {
                () = &mut *stop => return Ok(End::Stopped),
                changed = declared.changed() => {
                    anyhow::ensure!(changed.is_ok(), "the store is damaged; see the log");
                }
                // Not when it is stored, but when whoever claimed it can be told so.
                Ok(()) = published.changed(), if !self.is_claimed => {
                    if is_claimed(&self.context.snapshot.load().inventory) {
                        return Ok(End::Claimed);
                    }
                }
                _ = reload.recv() => {
                    let loaders = Arc::clone(&self.loaders);
                    // Only a runtime that stops cuts it off.
                    let _ = tokio::task::spawn_blocking(move || read_again(&loaders)).await;
                }
            }
        }
    }
}

async fn start(config: &Config, data_dir: &Path, tasks: &Tasks) -> anyhow::Result<Running> {
    privileges::check_namespace(&config.auth)?;
    let backend = open_redb(&store_path(data_dir))?;
    let (store, loaded) = tokio::task::spawn_blocking(|| Store::open(backend)).await??;
    // After the store, whose lock says that the data directory is ours alone.
    let vault = open_vault(config, data_dir).await?;
    let (told, site_told) = watch::channel(Arc::new(https::site(config, &vault)));
    let site = Arc::clone(&told.borrow());
    let snapshot = first_snapshot(&site, loaded.revision, loaded.inventory);
    let is_claimed = has_owner(config, &snapshot);
    let cell = Arc::new(SnapshotCell::new(snapshot));
    let published = publisher::start_following(Arc::clone(&cell), store.declared(), site_told, tasks);
    let journal = Journal::new(now());
    journalist::start(Arc::clone(&cell), published.clone(), journal.clone(), tasks);
    let (recorder, inbox) = Recorder::pair();
    let links = links(&site, tasks).await?;
    let loaders = open_loaders(config, data_dir);
    let parts = trust::Parts {
        measures: Measures::new(config.image_root()?, Some(Arc::clone(&loaders))),
        store: &store,
        loaded: (loaded.sessions, loaded.session_sequence),
        dossiers: loaded.dossiers,
        cell: &cell,
        journal: &journal,
    };
    let trust = trust::open(config, data_dir, &vault, parts, tasks)?;
    let dhcp = Dhcp {
        snapshot: Arc::clone(&cell),
        store: store.clone(),
        leases: loaded.leases,
        sightings: loaded.sightings,
        links,
        journal: journal.clone(),
        recorder: recorder.clone(),
        booting: Some(trust::booting(&trust, &cell)),
    };
    let dhcp = if is_claimed { dhcp.start(tasks)?.0 } else { Handle::pair().0 };
    let blobs = open_blobs(config, data_dir, tasks).await?;
    let streams = streams::open(config, &cell, &journal, &recorder);
    streams.start(tasks);
    let parts = recorder::Parts { cell: &cell, store: &store, journal: &journal, streams: &streams };
    recorder::start(config, parts, loaded.boots, inbox, tasks);
    let audit = Audit::new(store.clone(), Arc::clone(&vault.site), loaded.checkpoints);
    audit.start(config.audit, tasks);
    let context = Context::from(Services {
        snapshot: Arc::clone(&cell),
        published,
        store,
        dhcp,
        started: now(),
        turn: Turn::default(),
        calls: PhoneHomes::default(),
        about: Arc::new(about(config, data_dir, &loaders)),
        journal,
        blobs,
        images: ImageUse::default(),
        streams,
        recorder,
        chest: Arc::clone(&vault.chest),
        ssh: Arc::clone(&vault.ssh),
        trust,
        audit,
    });
    let webhooks = Webhooks::start(Manners::default(), Egress::new(config.egress.clone()), tasks);
    smd::notify::start(&context, webhooks, tasks);
    if is_claimed {
        start_protocols(config, &context, &loaders, tasks)?;
    }
    listen(config, data_dir, &context, (&vault, &loaders), told, tasks)?;
    Ok(Running { context, is_claimed, loaders })
}

/// What was stored, in the site as it is configured now.
fn first_snapshot(site: &Arc<Site>, revision: Revision, inventory: Inventory) -> Snapshot {
    for problem in validate(&inventory, site) {
        tracing::warn!(%problem, "the inventory does not fit the configuration");
    }
    Snapshot::compile(revision, Arc::clone(site), Arc::new(inventory))
}

async fn open_vault(config: &Config, data_dir: &Path) -> anyhow::Result<Arc<Vault>> {
    let (folder, scoped) = (data_dir.to_owned(), config.clone());
    let scope: ScopeNow = Arc::new(move || Some(https::scope(&scoped)));
    let opened = move || Vault::open_for(&folder, credentials().as_deref(), scope, now());
    let vault = tokio::task::spawn_blocking(opened).await?;
    Ok(Arc::new(vault.context("the keys in the data directory cannot be used")?))
}

/// Opens the listeners of the APIs and of what machines fetch.
fn listen(
    config: &Config,
    data_dir: &Path,
    context: &Context,
    (vault, loaders): (&Arc<Vault>, &Arc<Loaders>),
    told: watch::Sender<Arc<Site>>,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let outside = config.tls.acme.as_ref().map(|acme| acme::open(acme, vault));
    let http = start_http(config, data_dir, context, loaders, (vault, outside.as_ref()), tasks)?;
    https::start(config, vault, &http, outside.clone(), told, tasks)?;
    if let Some((acme, state)) = config.tls.acme.clone().zip(outside) {
        acme::start(acme, state, Arc::clone(vault), Egress::new(config.egress.clone()), tasks);
    }
    // Last, so that whoever gets an answer here can ask everywhere.
    let socket = socket_path(config, data_dir);
    http.listen_unix(&socket, tasks)?;
    privileges::give_to_group(&socket);
    Ok(())
}

/// False for a head that waits to be claimed, and serves nothing else until then.
fn has_owner(config: &Config, snapshot: &Snapshot) -> bool {
    !config.claim || is_claimed(&snapshot.inventory)
}

/// What machines are served by beside DHCP and HTTP.
fn start_protocols(
    config: &Config,
    context: &Context,
    loaders: &Arc<Loaders>,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let cell = Arc::clone(&context.snapshot);
    tftp::start(config, context, loaders, tasks)?;
    let dns = Dns {
        listen: config.dns.listen.clone(),
        forward: config.dns.forward.clone(),
        snapshot: cell,
        recorder: context.recorder.clone(),
    };
    dns.start(tasks).context("set another address, or an empty list, in dns.listen")?;
    recorder::start_logs(config, context, tasks)?;
    nbd::start(config, context, tasks)
}

fn open_loaders(config: &Config, data_dir: &Path) -> Arc<Loaders> {
    let loaders = Arc::new(Loaders::open(config.loaders.clone(), Some(data_dir.join("loaders"))));
    report_loaders(&loaders);
    loaders
}

async fn open_blobs(config: &Config, data_dir: &Path, tasks: &Tasks) -> anyhow::Result<Blobs> {
    let (path, settings) = (data_dir.join(BLOBS_FOLDER), config.blobs);
    let opened = tokio::task::spawn_blocking(move || Blobs::open(&path, settings)).await?;
    let blobs = opened.context("the blobs in the data directory cannot be used")?;
    blobs.start(tasks);
    Ok(blobs)
}

/// What the status tells of the daemon itself.
fn about(config: &Config, data_dir: &Path, loaders: &Arc<Loaders>) -> About {
    let on = |protocol: &'static str, addresses: &[SocketAddr]| -> Vec<Listener> {
        addresses.iter().map(|address| Listener { protocol, address: address.to_string() }).collect()
    };
    let socket = Listener { protocol: "unix", address: socket_path(config, data_dir).display().to_string() };
    let listeners = [
        on("http", &config.http),
        on("https", &config.https),
        on("tftp", &config.tftp.listen),
        on("dns", &config.dns.listen),
        on("nbd", &config.nbd),
        vec![socket],
    ];
    About {
        listeners: listeners.concat(),
        data_dir: Some(data_dir.to_owned()),
        loaders: Some(Arc::clone(loaders)),
    }
}

/// Sets managed addresses, and watches links where DHCP wants to know.
async fn links(site: &Site, tasks: &Tasks) -> anyhow::Result<watch::Receiver<u64>> {
    let managed = site.networks.iter().filter(|network| network.manage).filter_map(|network| {
        Some(Managed { interface: network.interface.clone()?, address: network.address })
    });
    Ok(link::start(managed.collect(), tasks).await?)
}

fn start_http(
    config: &Config,
    data_dir: &Path,
    context: &Context,
    loaders: &Arc<Loaders>,
    (vault, outside): (&Arc<Vault>, Option<&Arc<AcmeState>>),
    tasks: &Tasks,
) -> anyhow::Result<Http> {
    let images = config.image_root()?;
    let parts = Parts {
        context: context.clone(),
        loaders: Arc::clone(loaders),
        images,
        site_key: Arc::clone(&vault.site),
    };
    let door = door::open(config, data_dir, context, vault)?;
    let mut routes = secure::before(door.before(routes::router(&parts)), context);
    if let Some(outside) = outside {
        routes = api::acme::before(routes, Arc::clone(outside));
    }
    let mut http = Http::new(routes).with_recorder(context.recorder.clone());
    if has_owner(config, &context.snapshot.load()) {
        // They are sent past the door, which lets everybody have them.
        let files = streams::files(&parts, tasks).context("there are no threads to send files on")?;
        http = http.with_files(files);
    }
    for address in &config.http {
        http.listen(*address, tasks)?;
    }
    Ok(http)
}

fn read_again(loaders: &Loaders) {
    for error in loaders.reload() {
        tracing::warn!(path = %error.path.display(), error = %error.source, "loader is left out");
    }
    report_loaders(loaders);
}

fn report_loaders(loaders: &Loaders) {
    let names = loaders.names();
    if names.is_empty() {
        tracing::warn!(
            "no loaders were found: machines without iPXE in ROM cannot boot (apt-get install ipxe)"
        );
    } else {
        tracing::info!(count = names.len(), "loaders read");
    }
}
