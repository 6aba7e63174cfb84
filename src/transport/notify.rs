//! Tells systemd how the daemon is (`sd_notify`, systemd.service(5) `Type=notify`). Without systemd nothing
//! happens.

use sd_notify::NotifyState;

use crate::transport::tasks::Tasks;

/// The daemon serves.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The daemon ends.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Feeds systemd's watchdog at half of its span, from the runtime that also serves: if that hangs, so does
/// the feeding.
pub fn start_watchdog(tasks: &Tasks) {
    let Some(span) = sd_notify::watchdog_enabled() else { return };
    let stop = tasks.token();
    tasks.spawn("watchdog", async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(span / 2) => send(&[NotifyState::Watchdog]),
                () = stop.cancelled() => return,
            }
        }
    });
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}
