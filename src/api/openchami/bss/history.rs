//! `/endpoint-history`: when a node last fetched what it boots by. Observed state of small worth: it lives in
//! memory, and a restart forgets it; the next boot of a node writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::api::openchami::OpenChami;
use crate::api::openchami::bss;
use crate::api::openchami::query::Query;
use crate::base::limits::HISTORY_MAX;
use crate::base::{Timestamp, Xname};

/// What nodes fetch, as BSS names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Endpoint {
    BootScript,
    UserData,
}

impl Endpoint {
    fn as_str(self) -> &'static str {
        match self {
            Endpoint::BootScript => "bootscript",
            Endpoint::UserData => "user-data",
        }
    }
}

/// When each node last fetched each endpoint. A mutex and no message: a request holds it for one insertion, and
/// must not wait for a task.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<BTreeMap<(Xname, Endpoint), Timestamp>>>);

impl History {
    /// Notes an access by a declared node. Beyond the bound the one that fetched longest ago is forgotten.
    pub(crate) fn note(&self, node: Xname, endpoint: Endpoint, now: Timestamp) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (node, endpoint);
        if seen.len() >= HISTORY_MAX && !seen.contains_key(&key) {
            let oldest = seen.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            oldest.and_then(|key| seen.remove(&key));
        }
        seen.insert(key, now);
    }

    fn all(&self) -> Vec<(Xname, Endpoint, Timestamp)> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|((node, endpoint), at)| (node.clone(), *endpoint, *at)).collect()
    }
}

/// `GET /endpoint-history?name=…&endpoint=…`.
pub(crate) async fn show(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Response {
    let query = Query::parse(raw.as_deref());
    let snapshot = api.context.snapshot.load();
    // A node may be asked for by its name too; what names nothing matches nothing.
    let named = |name: &String| snapshot.find(name).map(|node| node.effective_xname());
    let names: BTreeSet<Option<Xname>> = query.all("name").iter().map(named).collect();
    let wanted = [Endpoint::BootScript, Endpoint::UserData]
        .map(|endpoint| query.admits("endpoint", endpoint.as_str()).then_some(endpoint));
    let found = api.history.all().into_iter().filter(|(node, endpoint, _)| {
        let named = names.is_empty() || names.contains(&Some(node.clone()));
        named && wanted.contains(&Some(*endpoint))
    });
    let list: Vec<Value> = found
        .map(|(node, endpoint, at)| {
            let seconds = at.0 / 1000;
            json!({"name": node.as_str(), "endpoint": endpoint.as_str(), "last_epoch": seconds})
        })
        .collect();
    bss::json(StatusCode::OK, &list)
}
