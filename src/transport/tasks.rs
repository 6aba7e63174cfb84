//! Named tasks: the only file that spawns. Each can be listed, and all are stopped together.

use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long threads that wait for a disk may hold up the end of their runtime.
const DISK_GRACE: Duration = Duration::from_secs(1);

/// A thread that serves packets ends this long after its tasks were asked to.
const PACKETS_GRACE: Duration = Duration::from_secs(1);

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
        self.spawn_on(&Handle::current(), name, task);
    }

    /// Starts a task on another runtime. It must end soon after `stopping` resolves.
    pub fn spawn_on(
        &self,
        runtime: &Handle,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let named = async move {
            task.await;
            tracing::debug!(task = name, "task ended");
        };
        let mut running = self.running.lock().expect("no task panics while it spawns another");
        while running.try_join_next().is_some() {} // keeps the set as large as what really runs
        running.spawn_on(named, runtime);
    }

    /// Makes a runtime with threads of its own, for work that waits for disks: packets and requests must not wait
    /// with it. It ends `grace` after the daemon was asked to stop; what still waits for a disk then is left alone.
    ///
    /// # Errors
    /// The system has no more threads to give.
    pub fn threads(&self, name: &'static str, count: usize, grace: Duration) -> std::io::Result<Handle> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(count).thread_name(name).enable_all().build()?;
        let (handle, stop) = (runtime.handle().clone(), self.token());
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(async {
                stop.cancelled().await;
                tokio::time::sleep(grace).await;
            });
            runtime.shutdown_timeout(DISK_GRACE);
        })?;
        Ok(handle)
    }

    /// Makes a runtime with one thread, for packets: nobody else's work stands before them, and none of them wakes a
    /// second thread to see whether it may help, as in a runtime of several.
    ///
    /// # Errors
    /// The system has no more threads to give.
    pub fn thread(&self, name: &'static str) -> std::io::Result<Handle> {
        self.threads(name, 1, PACKETS_GRACE)
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
