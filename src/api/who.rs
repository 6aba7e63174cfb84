//! Who makes the request that is being answered, for the audit log. The guard says it once, around everything that
//! answers; whatever writes asks for it here. Not an argument of every function on the way: a handler that forgot
//! it would write a line without a name.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::model::audit::{Entry, Outcome, Via};
use crate::model::{Change, NodeId, Snapshot};
use crate::transport::clock::now;

/// Things that one line of the log names; of more it tells the number.
const NAMED_MAX: usize = 8;

/// Who asks, and for what.
#[derive(Clone, Debug)]
pub struct Who {
    pub actor: String,
    pub via: Via,
    pub ip: Option<IpAddr>,
    /// Method and path.
    pub request: String,
    noted: Arc<AtomicBool>,
}

tokio::task_local! {
    static WHO: Who;
}

impl Who {
    #[must_use]
    pub fn new(actor: String, via: Via, ip: Option<IpAddr>, request: String) -> Who {
        Who { actor, via, ip, request, noted: Arc::default() }
    }

    /// Whoever asks for what runs now; the head itself outside of requests.
    #[must_use]
    pub fn asks() -> Who {
        let head = || Who::new(String::new(), Via::Head, None, String::new());
        WHO.try_with(Who::clone).unwrap_or_else(|_| head())
    }

    /// Runs what answers this one's request.
    pub async fn around<T>(self, answer: impl Future<Output = T>) -> T {
        WHO.scope(self, answer).await
    }

    /// Whatever is to be noted of this request is noted by those who do it: a change of declared state by the
    /// store, and nothing where nothing changes.
    pub fn settle(&self) {
        self.noted.store(true, Ordering::Relaxed);
    }

    /// True if what is to be noted of this request is.
    #[must_use]
    pub fn is_noted(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }

    /// An entry about what this one does, which settles it.
    #[must_use]
    pub fn entry(&self, object: impl Into<String>, outcome: Outcome, detail: impl Into<String>) -> Entry {
        self.settle();
        Entry {
            at: now(),
            actor: self.actor.clone(),
            via: self.via,
            action: self.request.clone(),
            object: object.into(),
            outcome,
            ip: self.ip,
            detail: detail.into(),
        }
    }
}

/// What changes are about, by the names that people know.
#[must_use]
pub fn named(changes: &[Change], snapshot: &Snapshot) -> String {
    let mut names: Vec<String> = Vec::new();
    for change in changes {
        let name = name(change, snapshot);
        if names.contains(&name) {
            continue;
        }
        if names.len() == NAMED_MAX {
            return format!("{} and more, {} changes", names.join(", "), changes.len());
        }
        names.push(name);
    }
    names.join(", ")
}

fn name(change: &Change, snapshot: &Snapshot) -> String {
    match change {
        Change::PutNode(node) => format!("node {}", node.name),
        Change::RemoveNode(id) => format!("node {}", node_name(*id, snapshot)),
        Change::PutBmc(bmc) => format!("bmc {}", bmc.name),
        Change::RemoveBmc(name) => format!("bmc {name}"),
        Change::PutGroup(group) => format!("group {}", group.name),
        Change::RemoveGroup(name) => format!("group {name}"),
        Change::PutProfile(profile) => format!("profile {}", profile.name),
        Change::RemoveProfile(name) => format!("profile {name}"),
        Change::PutAssignment(assignment) => format!("boot of {}", assignment.key().selector),
        Change::RemoveAssignment(key) => format!("boot of {}", key.selector),
        Change::PutDocument(document) => format!("{} {}", document.key.shelf, document.key.id),
        Change::RemoveDocument(key) => format!("{} {}", key.shelf, key.id),
        Change::PutImage(image) => format!("image {}", image.key()),
        Change::RemoveImage(key) => format!("image {key}"),
        Change::PutTag(tag) => format!("tag {}", tag.key),
        Change::RemoveTag(key) => format!("tag {key}"),
        Change::PutSecret(secret) => format!("secret {}", secret.key.shown(&snapshot.inventory)),
        Change::RemoveSecret(key) => format!("secret {}", key.shown(&snapshot.inventory)),
        Change::PutIdentity(identity) => format!("TPM of {}", node_name(identity.node, snapshot)),
        Change::RemoveIdentity(id) => format!("TPM of {}", node_name(*id, snapshot)),
    }
}

fn node_name(id: NodeId, snapshot: &Snapshot) -> String {
    snapshot.node(id).map_or_else(|| id.0.to_string(), |node| node.name.to_string())
}
