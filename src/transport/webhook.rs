//! Tells other programs what happened: HTTP POSTs to addresses that an operator chose. Each target has its own
//! queue and task, so that a slow one delays no other. What a target does not take is repeated some times and
//! then dropped: who must not miss anything reads the state, these messages only say when. Nothing survives a
//! restart.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use reqwest::{Client, StatusCode, Url, header};
use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};

use crate::base::counter::Counter;
use crate::base::limits::{WEBHOOK_QUEUE_MESSAGES, WEBHOOK_TARGETS_MAX};
use crate::transport::egress::Egress;
use crate::transport::tasks::Tasks;

/// Where messages go: an `http` or `https` address with a host.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(Url);

/// Says why an address is no target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TargetError {
    #[error("not an absolute URL")]
    NoUrl,
    #[error("the scheme must be http or https")]
    Scheme,
    #[error("no host")]
    NoHost,
}

impl std::str::FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        let url = Url::parse(text).map_err(|_| TargetError::NoUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError::Scheme);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(TargetError::NoHost);
        }
        Ok(Target(url))
    }
}

/// Host and port only: paths, queries and names in URLs are often secrets.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or("");
        let port = self.0.port_or_known_default().unwrap_or(0);
        write!(f, "{}://{host}:{port}", self.0.scheme())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How long, how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manners {
    /// How long one attempt may take.
    pub patience: Duration,
    pub attempts: u32,
    /// Before the second attempt; four times as long before each further one.
    pub first_pause: Duration,
    /// After so long without a message the task of a target ends.
    pub idle: Duration,
}

impl Default for Manners {
    /// A receiver that restarts within a minute misses nothing.
    fn default() -> Manners {
        Manners {
            patience: Duration::from_secs(10),
            attempts: 5,
            first_pause: Duration::from_secs(1),
            idle: Duration::from_secs(300),
        }
    }
}

/// What is counted.
#[derive(Debug, Default)]
pub struct WebhookCounters {
    pub delivered: Counter,
    /// Given up after the last attempt, or refused by the target.
    pub failed: Counter,
    /// Not even tried: a queue was full, or there were too many targets.
    pub dropped: Counter,
}

/// The asking end. Clones share targets and counters.
#[derive(Clone, Debug)]
pub struct Webhooks {
    messages: Sender<(Target, Bytes)>,
    pub counters: Arc<WebhookCounters>,
}

impl Webhooks {
    /// Starts sending. The system's certificates are read when there is a first message.
    #[must_use]
    pub fn start(manners: Manners, egress: Egress, tasks: &Tasks) -> Webhooks {
        let (messages, queue) = mpsc::channel(WEBHOOK_QUEUE_MESSAGES);
        let counters = Arc::new(WebhookCounters::default());
        let (shared, stop, spawner) = (Arc::clone(&counters), tasks.token(), tasks.clone());
        tasks.spawn("webhooks", async move {
            tokio::select! {
                () = sort(queue, manners, egress, shared, &spawner) => {}
                () = stop.cancelled() => {}
            }
        });
        Webhooks { messages, counters }
    }

    /// Sends a JSON document some time soon. Waits for the sorting task only, which waits for nobody; a target
    /// whose queue is full loses it, which is counted.
    pub async fn send(&self, target: Target, json: Bytes) {
        if self.messages.send((target, json)).await.is_err() {
            self.counters.dropped.raise(); // the daemon stops
        }
    }
}

/// One target's queue, as the sorting task sees it.
struct Line {
    messages: Sender<Bytes>,
    /// A drop was logged, and nothing was taken since.
    is_full: bool,
}

/// Puts messages into the queues of their targets; owns those queues.
async fn sort(
    mut queue: Receiver<(Target, Bytes)>,
    manners: Manners,
    egress: Egress,
    counters: Arc<WebhookCounters>,
    tasks: &Tasks,
) {
    let mut lines: HashMap<Target, Line> = HashMap::new();
    let mut ready = None;
    while let Some((target, message)) = queue.recv().await {
        if ready.is_none() {
            // It reads files.
            let outward = egress.clone();
            let made = tokio::task::spawn_blocking(move || outward.client(manners.patience)).await;
            ready = made.ok().and_then(|made| {
                made.inspect_err(|error| tracing::error!(%error, "no HTTP client for webhooks")).ok()
            });
        }
        let Some(client) = ready.clone() else {
            counters.dropped.raise();
            continue;
        };
        let courier = Courier { client, egress: egress.clone(), manners, counters: Arc::clone(&counters) };
        lines.retain(|_, line| !line.messages.is_closed()); // of targets that had nothing for long
        if !lines.contains_key(&target) && lines.len() >= WEBHOOK_TARGETS_MAX {
            courier.counters.dropped.raise();
            continue;
        }
        let line = lines.entry(target.clone()).or_insert_with(|| courier.open(&target, tasks));
        match line.messages.try_send(message) {
            Ok(()) => line.is_full = false,
            Err(TrySendError::Closed(message)) => {
                // It ended between the look above and now.
                *line = courier.open(&target, tasks);
                let _ = line.messages.try_send(message); // a new queue is empty
            }
            Err(TrySendError::Full(_)) => {
                courier.counters.dropped.raise();
                if !std::mem::replace(&mut line.is_full, true) {
                    tracing::warn!(%target, "a webhook target is too slow; messages to it are dropped");
                }
            }
        }
    }
}

/// Brings messages to targets.
#[derive(Clone)]
struct Courier {
    client: Client,
    egress: Egress,
    manners: Manners,
    counters: Arc<WebhookCounters>,
}

impl Courier {
    fn open(&self, target: &Target, tasks: &Tasks) -> Line {
        let (messages, queue) = mpsc::channel(WEBHOOK_QUEUE_MESSAGES);
        let (courier, target, stop) = (self.clone(), target.clone(), tasks.token());
        tasks.spawn("webhook", async move {
            tokio::select! {
                () = courier.work(queue, &target) => {}
                () = stop.cancelled() => {}
            }
        });
        Line { messages, is_full: false }
    }

    /// In order, until the target has had nothing for long.
    async fn work(&self, mut queue: Receiver<Bytes>, target: &Target) {
        let mut is_down = false;
        loop {
            let message = match tokio::time::timeout(self.manners.idle, queue.recv()).await {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(_) => {
                    queue.close(); // what was put in before comes out still, then None
                    continue;
                }
            };
            match self.deliver(target, &message).await {
                Ok(()) => {
                    self.counters.delivered.raise();
                    if std::mem::take(&mut is_down) {
                        tracing::info!(%target, "a webhook target takes messages again");
                    }
                }
                Err(reason) => {
                    self.counters.failed.raise();
                    if !std::mem::replace(&mut is_down, true) {
                        tracing::warn!(%target, reason, "a webhook target takes no messages; they are dropped");
                    }
                }
            }
        }
    }

    async fn deliver(&self, target: &Target, message: &Bytes) -> Result<(), String> {
        self.egress.check(&target.0).map_err(|error| error.to_string())?;
        let mut pause = self.manners.first_pause;
        let mut attempts_left = self.manners.attempts;
        loop {
            let request = self.client.post(target.0.clone()).body(message.clone());
            let answer = request.header(header::CONTENT_TYPE, "application/json").send().await;
            let (reason, may_pass) = match answer {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => (format!("status {}", answer.status().as_u16()), may_pass(answer.status())),
                // Without its URL, which may hold secrets.
                Err(error) => (chain(&error.without_url()), true),
            };
            attempts_left = attempts_left.saturating_sub(1);
            if !may_pass || attempts_left == 0 {
                return Err(reason);
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(4);
        }
    }
}

/// True for refusals that may not be the target's last word.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source()).take(8);
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use crate::transport::webhook::{Target, TargetError};

    #[test]
    fn only_http_with_a_host_is_a_target() {
        for (text, wanted) in [
            ("http://192.0.2.1:8080/scn?x=1", Ok("http://192.0.2.1:8080")),
            ("https://user:secret@[2001:db8::1]/a", Ok("https://[2001:db8::1]:443")),
            ("ftp://192.0.2.1/", Err(TargetError::Scheme)),
            ("file:///etc/passwd", Err(TargetError::Scheme)),
            ("/scn", Err(TargetError::NoUrl)),
            ("http://", Err(TargetError::NoUrl)),
            ("", Err(TargetError::NoUrl)),
        ] {
            let found = text.parse::<Target>().map(|target| target.to_string());
            assert_eq!(found, wanted.map(str::to_owned), "{text}");
        }
    }
}
