//! Keeps the certificate of an outside authority good: orders it when there is none, and anew when a third of its life
//! is left. Until the first one is there, and if the last one has ended, the head's own authority stands in.

use std::sync::Arc;
use std::time::Duration;

use crate::transport::acme::{Acme, AcmeState};
use crate::transport::clock::now;
use crate::transport::egress::Egress;
use crate::transport::tasks::Tasks;
use crate::transport::vault::Vault;

/// How often it is looked at, and how long it waits after a failure: authorities count failures by the hour.
const LOOK: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(3600);

/// Reads what was obtained before.
#[must_use]
pub(crate) fn open(acme: &Acme, vault: &Vault) -> Arc<AcmeState> {
    let state = Arc::new(AcmeState::default());
    match acme.kept(&vault.chest) {
        Ok(Some(obtained)) => state.put(obtained),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, "the certificate from outside cannot be read, and is ordered anew")
        }
    }
    state
}

/// Starts ordering. The listeners are open by now: the authority calls back.
pub(crate) fn start(acme: Acme, state: Arc<AcmeState>, vault: Arc<Vault>, egress: Egress, tasks: &Tasks) {
    let inner = tasks.clone();
    tasks.spawn("acme", async move {
        loop {
            let is_due = state.obtained().is_none_or(|obtained| obtained.is_due(now()));
            let mut pause = LOOK;
            if is_due {
                let ordered = tokio::select! {
                    ordered = acme.obtain(&egress, &state.challenges, &vault.chest) => ordered,
                    () = inner.stopping() => return,
                };
                match ordered {
                    Ok(obtained) => {
                        tracing::info!(ends = %obtained.ends, names = ?acme.names, "certificate obtained from outside");
                        state.put(obtained);
                        vault.replaced.notify_one();
                    }
                    Err(error) => {
                        let error = format!("{:#}", anyhow::Error::from(error));
                        tracing::warn!(error, "no certificate from outside; asked again in an hour");
                        pause = RETRY;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = inner.stopping() => return,
            }
        }
    });
}
