//! Named tasks: the only file that spawns. Each can be listed, and all are stopped together.

use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The daemon's tasks. Clones share them.
#[derive(Clone, Default)]
pub struct Tasks {
    stop: CancellationToken,
    // A mutex, because spawning happens in synchronous code and is rare; never held across an await.
    running: Arc<Mutex<JoinSet<()>>>,
}

impl Tasks {
    #[must_use]
    pub fn new() -> Tasks {
        Tasks::default()
    }

    /// Starts a task. It must end soon after `stopping` resolves.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let named = async move {
            task.await;
            tracing::debug!(task = name, "task ended");
        };
        let mut running = self.running.lock().expect("no task panics while it spawns another");
        while running.try_join_next().is_some() {} // keeps the set as large as what really runs
        running.spawn(named);
    }

    /// Starts a task on another runtime. It must end soon after `stopping` resolves.
    pub fn spawn_on(
        &self,
        runtime: &tokio::runtime::Handle,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let named = async move {
            task.await;
            tracing::debug!(task = name, "task ended");
        };
        let mut running = self.running.lock().expect("no task panics while it spawns another");
        while running.try_join_next().is_some() {}
        running.spawn_on(named, runtime);
    }

    /// Resolves when the daemon is asked to stop.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// A token that is cancelled when the daemon is asked to stop.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Asks every task to stop and waits for them, at most `grace`; what still runs then is ended.
    pub async fn stop(&self, grace: Duration) {
        self.stop.cancel();
        let mut running =
            std::mem::take(&mut *self.running.lock().expect("no task panics while it spawns another"));
        let all = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!("tasks did not end in time and are cut off");
        }
    }
}
