//! Wires boot sessions: what the configuration says, what the store holds, and who tells of nodes that boot.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::api::node::supply::FromVault;
use crate::api::node::{NodePolicy, NodeTrust};
use crate::app::config::Config;
use crate::app::door::issuer;
use crate::engine::attest::attestor::{Enrolments, TpmAttestor};
use crate::engine::attest::quote::LATCH;
use crate::engine::trust::ArmOn;
use crate::model::{BootSession, Dossier, SnapshotCell};
use crate::store::Store;
use crate::transport::dhcp::Booting;
use crate::transport::dossiers::Dossiers;
use crate::transport::journal::Journal;
use crate::transport::measures::Measures;
use crate::transport::sessions::{Sessions, witness};
use crate::transport::tasks::Tasks;
use crate::transport::vault::Vault;

/// Largest file of makers' certificates: all of them that are known take some hundred kB.
const EK_ISSUERS_BYTES_MAX: u64 = 4 << 20;

/// What sessions are made of.
pub(crate) struct Parts<'a> {
    pub(crate) store: &'a Store,
    /// Sessions as loaded, and the highest sequence of any.
    pub(crate) loaded: (Vec<BootSession>, u64),
    /// What is remembered of nodes, as loaded.
    pub(crate) dossiers: Vec<Dossier>,
    pub(crate) measures: Measures,
    pub(crate) cell: &'a Arc<SnapshotCell>,
    pub(crate) journal: &'a Journal,
}

/// Opens the table of sessions and starts its clock.
///
/// # Errors
/// The witness beside the store cannot be used.
pub(crate) fn open(
    config: &Config,
    data_dir: &Path,
    vault: &Vault,
    parts: Parts<'_>,
    tasks: &Tasks,
) -> anyhow::Result<Arc<NodeTrust>> {
    let Parts { store, loaded, dossiers, measures, cell, journal } = parts;
    let witness = witness(data_dir, &loaded.0, loaded.1).context("boot sessions cannot be kept safe")?;
    let policy = config.trust.sessions;
    if policy.arm_on == ArmOn::Power {
        tracing::warn!(
            "trust.arm_on is power, but this head has no driver for BMCs: boots are held until muster node arm"
        );
    }
    let sessions = Sessions::new(loaded, store.clone(), journal.clone(), Arc::clone(cell), witness, policy);
    let sessions = Arc::new(sessions);
    sessions.start(tasks);
    let (store, journal, cell) = (store.clone(), journal.clone(), Arc::clone(cell));
    let dossiers = Dossiers::new(dossiers, store, journal, cell, Arc::clone(&sessions));
    let dossiers = dossiers.governed(config.trust.tpms.clone(), measures);
    let dossiers = Arc::new(dossiers);
    dossiers.start(tasks);
    let policy = NodePolicy {
        always: config.trust.always,
        privileged_port: config.trust.privileged_port,
        issuer: issuer(config),
        tls: config.https.first().map(std::net::SocketAddr::port),
    };
    let issuers = config.trust.ek_issuers.as_deref().map(issuers).transpose()?.unwrap_or_default();
    let enrolments: Arc<dyn Enrolments> = Arc::<Dossiers>::clone(&dossiers);
    let mut trust = NodeTrust::new(sessions, dossiers, Arc::clone(&vault.nodes), policy);
    trust.attestor = Some(Arc::new(TpmAttestor::new(enrolments, issuers, LATCH)));
    let (chest, ssh) = (Arc::clone(&vault.chest), Arc::clone(&vault.ssh));
    trust.secrets = Arc::new(FromVault { chest, ssh });
    Ok(Arc::new(trust))
}

/// Certificates of makers of TPMs, in DER.
fn issuers(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let place = || format!("trust.ek_issuers {}", path.display());
    let size = std::fs::metadata(path).with_context(place)?.len();
    anyhow::ensure!(size <= EK_ISSUERS_BYTES_MAX, "{}: has {size} octets, too many", place());
    let all = CertificateDer::pem_file_iter(path).with_context(place)?;
    let all =
        all.map(|one| one.map(|der| der.to_vec())).collect::<Result<Vec<_>, _>>().with_context(place)?;
    anyhow::ensure!(!all.is_empty(), "{}: holds no certificate in PEM", place());
    Ok(all)
}

/// Begins a session for each node that boots and is to have one.
pub(crate) fn booting(trust: &Arc<NodeTrust>, cell: &Arc<SnapshotCell>) -> Booting {
    let (trust, cell) = (Arc::clone(trust), Arc::clone(cell));
    Arc::new(move |node, channel| {
        let snapshot = cell.load();
        if snapshot.node(node).is_some_and(|node| trust.wants(&snapshot, node)) {
            trust.sessions.boots(node, channel);
        }
    })
}
