//! The daemon: what is wired to what, what starts first, what stops first.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use crate::api::about::{About, Listener};
use crate::api::auth::claim::is_claimed;
use crate::api::context::{Context, PhoneHomes, Turn};
use crate::api::images::ImageUse;
use crate::api::node::secure;
use crate::api::openchami::smd;
use crate::app::config::{Auth, Config};
use crate::app::routes::{self, Parts};
use crate::app::{door, https, journalist, nbd, publisher, recorder, streams, tftp, trust};
use crate::model::validate::validate;
use crate::model::{Site, Snapshot, SnapshotCell};
use crate::store::{Store, open_redb};
use crate::transport::audit::Audit;
use crate::transport::blobs::Blobs;
use crate::transport::clock::now;
use crate::transport::dhcp::{Dhcp, Handle};
use crate::transport::dns::Dns;
use crate::transport::egress::Egress;
use crate::transport::http::{Http, ImageRoot};
use crate::transport::journal::Journal;
use crate::transport::link::{self, Managed};
use crate::transport::loaders::Loaders;
use crate::transport::notify;
use crate::transport::recorder::Recorder;
use crate::transport::tasks::Tasks;
use crate::transport::vault::Vault;
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
    check_namespace(&config.auth)?;
    let backend = open_redb(&store_path(data_dir))?;
    let (store, loaded) = tokio::task::spawn_blocking(|| Store::open(backend)).await??;
    // After the store, whose lock says that the data directory is ours alone.
    let folder = data_dir.to_owned();
    let vault = tokio::task::spawn_blocking(move || Vault::open(&folder, now())).await?;
    let vault = Arc::new(vault.context("the keys in the data directory cannot be used")?);
    let site = Arc::new(config.site.clone());
    for problem in validate(&loaded.inventory, &site) {
        tracing::warn!(%problem, "the inventory does not fit the configuration");
    }
    let snapshot = Snapshot::compile(loaded.revision, Arc::clone(&site), Arc::new(loaded.inventory));
    let is_claimed = has_owner(config, &snapshot);
    let cell = Arc::new(SnapshotCell::new(snapshot));
    let published = publisher::start(Arc::clone(&cell), store.declared(), tasks);
    let journal = Journal::new(now());
    journalist::start(Arc::clone(&cell), published.clone(), journal.clone(), tasks);
    let (recorder, inbox) = Recorder::pair();
    let links = links(&site, tasks).await?;
    let parts = trust::Parts {
        store: &store,
        loaded: (loaded.sessions, loaded.session_sequence),
        cell: &cell,
        journal: &journal,
    };
    let trust = trust::open(config, data_dir, &vault, parts, tasks)?;
    let silent = Handle::pair().0;
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
    let dhcp = if is_claimed { dhcp.start(tasks)?.0 } else { silent };
    let loaders = Arc::new(Loaders::open(config.loaders.clone(), Some(data_dir.join("loaders"))));
    report_loaders(&loaders);
    let blobs = open_blobs(config, data_dir).await?;
    blobs.start(tasks);
    let streams = streams::open(config, &cell, &journal, &recorder);
    streams.start(tasks);
    let parts = recorder::Parts { cell: &cell, store: &store, journal: &journal, streams: &streams };
    recorder::start(config, parts, loaded.boots, inbox, tasks);
    let audit = Audit::new(store.clone(), Arc::clone(&vault.site), loaded.checkpoints);
    audit.start(config.audit, tasks);
    let context = Context {
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
    };
    let webhooks = Webhooks::start(Manners::default(), Egress::new(config.egress.clone()), tasks);
    smd::notify::start(&context, webhooks, tasks);
    if is_claimed {
        start_protocols(config, &context, &loaders, tasks)?;
    }
    start_http(config, data_dir, &context, &loaders, &vault, tasks)?;
    Ok(Running { context, is_claimed, loaders })
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

async fn open_blobs(config: &Config, data_dir: &Path) -> anyhow::Result<Blobs> {
    let (path, settings) = (data_dir.join(BLOBS_FOLDER), config.blobs);
    let opened = tokio::task::spawn_blocking(move || Blobs::open(&path, settings)).await?;
    opened.context("the blobs in the data directory cannot be used")
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
    vault: &Arc<Vault>,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let images = match &config.images {
        None => None,
        Some(path) => Some(ImageRoot::open(path).with_context(|| format!("images.root {}", path.display()))?),
    };
    let parts = Parts {
        context: context.clone(),
        loaders: Arc::clone(loaders),
        images,
        site_key: Arc::clone(&vault.site),
    };
    let door = door::open(config, data_dir, context, vault)?;
    let router = secure::before(door.before(routes::router(&parts)), context);
    let mut http = Http::new(router).with_recorder(context.recorder.clone());
    if has_owner(config, &context.snapshot.load()) {
        // They are sent past the door, which lets everybody have them.
        let files = streams::files(&parts, tasks).context("there are no threads to send files on")?;
        http = http.with_files(files);
    }
    for address in &config.http {
        http.listen(*address, tasks)?;
    }
    https::start(config, vault, &http, tasks)?;
    // Last, so that whoever gets an answer here can ask everywhere.
    let socket = socket_path(config, data_dir);
    http.listen_unix(&socket, tasks)?;
    give_to_group(&socket);
    Ok(())
}

/// Members of the group `muster` need no token. Without such a group, only root uses the socket.
fn give_to_group(socket: &Path) {
    let group = nix::unistd::Group::from_name("muster").ok().flatten();
    if let Some(group) = group
        && let Err(error) = nix::unistd::chown(socket, None, Some(group.gid))
    {
        tracing::debug!(%error, "the socket stays root's");
    }
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

/// With authentication off in a named namespace, the daemon must really run in it.
fn check_namespace(auth: &Auth) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let Auth::Off { namespace: Some(name) } = auth else { return Ok(()) };
    let identity = |path: &str| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    let wanted =
        identity(&format!("/run/netns/{name}")).with_context(|| format!("auth.test_namespace {name}"))?;
    anyhow::ensure!(
        wanted == identity("/proc/self/ns/net")? && wanted != identity("/proc/1/ns/net")?,
        "auth.mode is off for the network namespace {name}, but the daemon does not run in it"
    );
    Ok(())
}
