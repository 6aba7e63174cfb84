//! `/hosts` and `/dumpstate`: the nodes as BSS knows them from SMD. Here both read one inventory, so this view is
//! never stale and there is nothing to refresh.

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;

use crate::api::openchami::OpenChami;
use crate::api::openchami::bss::key::Key;
use crate::api::openchami::bss::{self, Names, entry};
use crate::api::openchami::smd::component::{self, Component};
use crate::api::problem::Problem;
use crate::base::Xname;
use crate::model::snapshot::Machine;
use crate::model::{BootPolicy, Node, Selector, Snapshot};

/// A component with what BSS adds.
#[derive(Debug, Serialize)]
struct Host {
    #[serde(flatten)]
    component: Component,
    #[serde(rename = "FQDN")]
    fqdn: String,
    #[serde(rename = "MAC")]
    macs: Vec<String>,
    /// False: this head does not boot the node.
    #[serde(rename = "EndpointEnabled")]
    enabled: bool,
}

impl Host {
    fn new(component: Component, node: Option<&Node>, domain: &str) -> Host {
        let fqdn = node.map(|node| format!("{}.{domain}", node.name)).unwrap_or_default();
        let ports = node.into_iter().flat_map(|node| &node.interfaces);
        let macs = ports.map(|port| port.mac.to_string()).collect();
        let enabled = node.is_some_and(|node| node.policy != BootPolicy::Ignore);
        Host { component, fqdn, macs, enabled }
    }

    fn of(snapshot: &Snapshot, xname: &Xname) -> Option<Host> {
        let node = snapshot.by_xname(xname)?;
        Some(Host::new(component::one(snapshot, xname)?, Some(node), &snapshot.site.domain))
    }
}

/// All nodes.
fn all(snapshot: &Snapshot) -> Vec<Host> {
    let all = component::all(&snapshot.inventory).into_iter();
    let nodes = all.filter(|(_, component)| component.kind == "Node");
    nodes
        .map(|(xname, component)| {
            let node = snapshot.by_xname(&xname).map(|node| &**node);
            Host::new(component, node, &snapshot.site.domain)
        })
        .collect()
}

/// `GET /hosts?name=…&mac=…&nid=…`.
pub(crate) async fn list(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let names = Names::of_query(raw.as_deref())?;
    if names.is_empty() {
        return Ok(bss::json(StatusCode::OK, &all(&snapshot)));
    }
    let mut found: Vec<Xname> = names.keys(&snapshot).filter_map(|key| xname_of(&snapshot, &key)).collect();
    found.sort();
    found.dedup();
    let hosts: Vec<Host> = found.iter().filter_map(|xname| Host::of(&snapshot, xname)).collect();
    Ok(bss::json(StatusCode::OK, &hosts))
}

fn xname_of(snapshot: &Snapshot, key: &Key) -> Option<Xname> {
    match key {
        Key::Boot(Selector::Xname(xname)) => Some(xname.clone()),
        Key::Boot(Selector::Nid(nid)) => snapshot.by_nid(*nid).map(|node| node.effective_xname()),
        Key::Boot(Selector::Mac(mac)) => match snapshot.by_mac(*mac)? {
            Machine::Node { node, .. } => Some(node.effective_xname()),
            Machine::Bmc(_) => None,
        },
        Key::Boot(_) | Key::Global => None,
    }
}

/// `POST /hosts` asks BSS to read SMD again.
pub(crate) async fn refresh(_ignored: Bytes) -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `GET /dumpstate`.
pub(crate) async fn dump(State(api): State<OpenChami>) -> Response {
    let snapshot = api.context.snapshot.load();
    let inventory = &snapshot.inventory;
    let params = entry::list(inventory, entry::all(inventory));
    bss::json(StatusCode::OK, &json!({"Components": all(&snapshot), "Params": params}))
}
