//! Wires boot sessions: what the configuration says, what the store holds, and who tells of nodes that boot.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::api::node::supply::FromVault;
use crate::api::node::{NodePolicy, NodeTrust};
use crate::app::config::Config;
use crate::app::door::issuer;
use crate::engine::trust::ArmOn;
use crate::model::{BootSession, SnapshotCell};
use crate::store::Store;
use crate::transport::dhcp::Booting;
use crate::transport::journal::Journal;
use crate::transport::sessions::{Sessions, witness};
use crate::transport::tasks::Tasks;
use crate::transport::vault::Vault;

/// What sessions are made of.
pub(crate) struct Parts<'a> {
    pub(crate) store: &'a Store,
    /// Sessions as loaded, and the highest sequence of any.
    pub(crate) loaded: (Vec<BootSession>, u64),
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
    let Parts { store, loaded, cell, journal } = parts;
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
    let policy = NodePolicy {
        always: config.trust.always,
        privileged_port: config.trust.privileged_port,
        issuer: issuer(config),
    };
    let mut trust = NodeTrust::new(sessions, Arc::clone(&vault.nodes), policy);
    let (chest, ssh) = (Arc::clone(&vault.chest), Arc::clone(&vault.ssh));
    trust.secrets = Arc::new(FromVault { chest, ssh });
    Ok(Arc::new(trust))
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
