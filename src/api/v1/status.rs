//! How the head is: counts, listeners, and findings, each with what is to be done about it.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::context::Context;
use crate::api::v1::observed::{NetworkBody, leases_of, network_body};
use crate::base::Timestamp;
use crate::model::validate::validate;
use crate::model::{DhcpMode, Inventory, Snapshot};
use crate::transport::blobs::{Usage, blocking};
use crate::transport::clock::now;
use crate::transport::dhcp::handle::Rogue;
use crate::transport::link::neighbours_max;
use crate::transport::vault::Chest;

/// Problems of the inventory that are findings of their own; the rest is counted in one.
const INVENTORY_FINDINGS_MAX: usize = 20;

/// A clock before this (2025-01-01) was never set: leases and certificates would be dated wrongly.
const CLOCK_FLOOR: Timestamp = Timestamp(1_735_689_600_000);

/// A pool with fewer than one in this many addresses free is nearly full.
const POOL_TIGHT: u64 = 10;

/// A file system with less than this share free is nearly full.
const DISK_TIGHT_PERCENT: u64 = 10;

/// Room that the store needs for some days of changes, in bytes.
const DISK_FLOOR: u64 = 64 << 20;

/// How urgent a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something does not work now.
    Error,
    /// Something will not work soon, or works otherwise than people may think.
    Warning,
    /// Worth knowing.
    Info,
}

/// What an operator should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingBody {
    /// The part that it is about: `loaders`, `network boot`, `store` …
    pub what: String,
    pub severity: Severity,
    pub text: String,
    /// What to do.
    pub fix: String,
}

/// A listener that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerBody {
    /// `http`, `https`, `tftp`, `dns` or `unix`.
    pub protocol: String,
    /// Address and port, or the path of the socket.
    pub address: String,
}

/// The health of the head on one screen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusBody {
    pub cluster: String,
    pub version: String,
    pub started: String,
    pub uptime_s: u64,
    /// Revision of the inventory.
    pub revision: u64,
    pub nodes: usize,
    pub bmcs: usize,
    pub groups: usize,
    pub profiles: usize,
    /// Bound leases of pool addresses.
    pub leases: u64,
    /// Machines that ask but were never declared.
    pub sightings: usize,
    pub loaders: usize,
    /// Secrets that people declared.
    pub secrets: usize,
    /// Where the key comes from that seals secrets and private keys.
    pub sealed_by: String,
    pub networks: Vec<NetworkBody>,
    pub listeners: Vec<ListenerBody>,
    /// The worst first; none: all is well.
    pub findings: Vec<FindingBody>,
}

/// `GET /status`.
pub(crate) async fn status(State(context): State<Context>) -> Json<StatusBody> {
    let (snapshot, leases) = (context.snapshot.load(), leases_of(&context).await);
    let networks: Vec<NetworkBody> =
        snapshot.site.networks.iter().map(|network| network_body(&snapshot, network, &leases)).collect();
    let rogues = context.dhcp.rogues().await.unwrap_or_default();
    let now = now();
    let mut findings = of_inventory(&snapshot);
    findings.extend(rogues.iter().map(of_rogue));
    findings.extend(of_networks(&snapshot, &networks));
    findings.extend(of_neighbours(neighbours_max(), snapshot.inventory.nodes.len()));
    findings.extend(of_clock(now));
    findings.extend(of_store(&context));
    findings.extend(of_loaders(&context, &snapshot));
    findings.extend(of_secrets(&context.chest, &snapshot.inventory));
    let disk = context.about.data_dir.clone();
    // A network file system may let us wait.
    let disk = tokio::task::spawn_blocking(move || disk.and_then(|path| room(&path))).await.ok().flatten();
    findings.extend(disk.and_then(|(free, total)| of_disk(free, total)));
    let blobs = context.blobs.clone();
    let usage = blocking(move || blobs.usage()).await.ok();
    findings.extend(usage.iter().flat_map(of_blobs));
    findings.sort_by_key(|finding| finding.severity);
    let listeners = context.about.listeners.iter().map(|listener| ListenerBody {
        protocol: listener.protocol.to_owned(),
        address: listener.address.clone(),
    });
    Json(StatusBody {
        cluster: snapshot.site.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: context.started.rfc3339(),
        uptime_s: now.since(context.started).as_secs(),
        revision: snapshot.revision.0,
        nodes: snapshot.inventory.nodes.len(),
        bmcs: snapshot.inventory.bmcs.len(),
        groups: snapshot.inventory.groups.len(),
        profiles: snapshot.inventory.profiles.len(),
        leases: networks.iter().map(|network| network.bound).sum(),
        sightings: context.dhcp.sightings().await.map_or(0, |sightings| sightings.len()),
        loaders: context.about.loaders.as_ref().map_or(0, |loaders| loaders.names().len()),
        secrets: snapshot.inventory.secrets.values().filter(|secret| !secret.is_made_on_demand()).count(),
        sealed_by: context.chest.source(),
        networks,
        listeners: listeners.collect(),
        findings,
    })
}

fn finding(
    what: impl Into<String>,
    severity: Severity,
    text: impl Into<String>,
    fix: impl Into<String>,
) -> FindingBody {
    FindingBody { what: what.into(), severity, text: text.into(), fix: fix.into() }
}

fn of_inventory(snapshot: &Snapshot) -> Vec<FindingBody> {
    let found = validate(&snapshot.inventory, &snapshot.site);
    let mut findings: Vec<FindingBody> = found
        .iter()
        .take(INVENTORY_FINDINGS_MAX)
        .map(|problem| {
            let text = format!("{}: {}", problem.field, problem.text);
            let fix = "change it, or the configuration that it does not fit";
            finding(problem.subject.to_string(), Severity::Error, text, fix)
        })
        .collect();
    let more = found.len().saturating_sub(findings.len());
    if more > 0 {
        let text = format!("{more} more things do not fit the configuration");
        findings.push(finding("inventory", Severity::Error, text, "see the log of the last start"));
    }
    findings
}

fn of_rogue(rogue: &Rogue) -> FindingBody {
    let Rogue { network, server, mac, first: _, last, replies } = rogue;
    let text = format!(
        "another DHCP server, {server} ({mac}), answers here: {replies} replies, the last at {}",
        last.rfc3339()
    );
    let fix =
        "switch it off there, or set dhcp = \"proxy\" for this network if it is meant to give addresses";
    finding(format!("network {network}"), Severity::Warning, text, fix)
}

fn of_networks(snapshot: &Snapshot, networks: &[NetworkBody]) -> Vec<FindingBody> {
    if networks.is_empty() {
        let text = "no network is configured: DHCP answers nobody";
        return vec![finding("networks", Severity::Warning, text, "add a [[network]] to muster.toml")];
    }
    let off = snapshot.site.networks.iter().all(|network| network.dhcp == DhcpMode::Off);
    let mut findings: Vec<FindingBody> = networks
        .iter()
        .filter(|network| network.pool > 0)
        .filter_map(|network| {
            let what = format!("network {}", network.name);
            let fix = "widen range, declare the machines, or free leases that nobody needs";
            if network.free == 0 {
                let text = format!("the pool is used up: all {} addresses are taken", network.pool);
                return Some(finding(what, Severity::Error, text, fix));
            }
            // At least one in ten, and one in a pool of fewer than ten.
            let tight = network.free.saturating_mul(POOL_TIGHT) < network.pool;
            let text =
                format!("the pool is nearly full: {} of {} addresses are free", network.free, network.pool);
            tight.then(|| finding(what, Severity::Warning, text, fix))
        })
        .collect();
    if off {
        let text = "DHCP is off on every network";
        findings.push(finding(
            "networks",
            Severity::Info,
            text,
            "set dhcp = \"authoritative\" where it should not be",
        ));
    }
    findings
}

/// A machine that the kernel has no room for in its neighbour table gets no packets, while `sendmsg` fails with
/// ENOBUFS: of 10,000 simulated machines that were switched on together, 7,000 did not come up with Linux's default.
fn of_neighbours(room: Option<usize>, nodes: usize) -> Option<FindingBody> {
    let room = room.filter(|room| nodes.saturating_mul(5) / 4 > *room)?;
    let text = format!(
        "the kernel keeps at most {room} neighbours, and {nodes} nodes are declared: when many boot together, packets to \
         the rest are lost"
    );
    let wanted = nodes.saturating_mul(2).next_power_of_two();
    let fix = format!(
        "sysctl -w net.ipv4.neigh.default.gc_thresh3={wanted} net.ipv4.neigh.default.gc_thresh2={}, and in /etc/sysctl.d",
        wanted / 2
    );
    Some(finding("network boot", Severity::Warning, text, fix))
}

fn of_clock(now: Timestamp) -> Option<FindingBody> {
    (now < CLOCK_FLOOR).then(|| {
        let text = format!("the clock says {}", now.rfc3339());
        finding("clock", Severity::Error, text, "set it (chronyd, or hwclock after a new battery)")
    })
}

fn of_store(context: &Context) -> Vec<FindingBody> {
    let counters = &context.store.counters;
    let (failures, refused) = (counters.failures.value(), counters.refused.value());
    let mut findings = Vec::new();
    if failures > 0 {
        let text = format!("{failures} commits have failed since the start; nothing of them was promised");
        findings.push(finding("store", Severity::Error, text, "look at the disk and at the log"));
    }
    if refused > 0 {
        let text = format!("{refused} writes were refused because the disk did not keep up");
        findings.push(finding("store", Severity::Warning, text, "put the data directory on a faster disk"));
    }
    findings
}

fn of_loaders(context: &Context, snapshot: &Snapshot) -> Option<FindingBody> {
    let serves = snapshot.site.networks.iter().any(|network| network.dhcp != DhcpMode::Off);
    let none = context.about.loaders.as_ref().is_some_and(|loaders| loaders.names().is_empty());
    (serves && none).then(|| {
        let text = "no loaders were found: machines without iPXE in ROM cannot boot";
        finding("loaders", Severity::Error, text, "apt-get install ipxe, then reload muster")
    })
}

/// Secrets that cannot be opened, and a rotation that is not done.
fn of_secrets(chest: &Chest, inventory: &Inventory) -> Vec<FindingBody> {
    let versions = || inventory.secrets.values().filter_map(|secret| secret.current());
    let foreign = versions().filter(|version| !chest.knows(&version.sealed.0)).count();
    let mut findings = Vec::new();
    if foreign > 0 {
        let text = format!("{foreign} secrets are sealed under a key that is not here: no node gets them");
        let fix = "give the key encryption key back (credential muster.kek.old, or keys/kek from a backup), or set \
                   the secrets again";
        findings.push(finding("secrets", Severity::Error, text, fix));
    }
    if chest.has_former() {
        let text = "a former key encryption key, or a copy of this one in a file, is still there";
        let fix = "muster key rotate kek, then remove the credential muster.kek.old if there is one";
        findings.push(finding("secrets", Severity::Warning, text, fix));
    }
    findings
}

fn of_blobs(usage: &Usage) -> Vec<FindingBody> {
    let mut findings = Vec::new();
    if usage.corrupt > 0 {
        let text = format!("{} stored files are corrupt and are not served", usage.corrupt);
        let fix =
            "import their images again (GET /api/v1/blobs?state=corrupt lists them), and look at the disk";
        findings.push(finding("images", Severity::Error, text, fix));
    }
    if usage.free <= usage.reserve {
        let text = format!(
            "no image can be stored: {} MiB of the disk are free, {} are kept in reserve",
            usage.free >> 20,
            usage.reserve >> 20
        );
        let fix = "muster image gc, a larger disk, or a smaller images.reserve";
        findings.push(finding("images", Severity::Warning, text, fix));
    }
    findings
}

/// Free and total bytes where this lies.
fn room(path: &std::path::Path) -> Option<(u64, u64)> {
    let stat = nix::sys::statvfs::statvfs(path).ok()?;
    let size = stat.fragment_size();
    let bytes = |blocks: u64| blocks.saturating_mul(size);
    Some((bytes(stat.blocks_available()), bytes(stat.blocks())))
}

fn of_disk(free: u64, total: u64) -> Option<FindingBody> {
    let mib = free >> 20;
    let tight = free.saturating_mul(100) < total.saturating_mul(DISK_TIGHT_PERCENT);
    let fix = "make room, or move the data directory";
    if free < DISK_FLOOR {
        let text = format!("the disk is full: {mib} MiB are left for the data directory");
        return Some(finding("disk", Severity::Error, text, fix));
    }
    tight.then(|| {
        let text = format!("the disk is nearly full: {mib} MiB are left for the data directory");
        finding("disk", Severity::Warning, text, fix)
    })
}

#[cfg(test)]
mod tests {
    use crate::api::v1::status::{Severity, of_clock, of_disk, of_neighbours};
    use crate::base::Timestamp;

    #[test]
    fn a_disk_is_tight_before_it_is_full() {
        let severity = |free, total| of_disk(free, total).map(|finding| finding.severity);
        assert_eq!(severity(50 << 30, 100 << 30), None);
        assert_eq!(severity(9 << 30, 100 << 30), Some(Severity::Warning));
        assert_eq!(severity(63 << 20, 1 << 30), Some(Severity::Error));
    }

    #[test]
    fn a_neighbour_table_that_a_storm_would_overflow_is_found() {
        assert!(of_neighbours(Some(1024), 800).is_none());
        assert!(of_neighbours(None, 10_000).is_none());
        let found = of_neighbours(Some(1024), 10_000).unwrap();
        assert!(
            found.fix.contains("gc_thresh3=32768 ") && found.fix.contains("gc_thresh2=16384"),
            "{found:?}"
        );
    }

    #[test]
    fn a_clock_that_was_never_set_is_found() {
        assert!(of_clock(Timestamp(0)).is_some());
        assert!(of_clock(Timestamp(1_795_402_800_000)).is_none());
    }
}
