//! What both faces of cloud-init share, OpenCHAMI's and our own: who asks, whether a file may be kept, and where
//! entries are put.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::http::StatusCode;

use crate::api::context::Context;
use crate::api::openchami::draft::Draft;
use crate::api::problem::{FieldProblem, Problem};
use crate::engine::cloud_init::check::{Remark, check};
use crate::engine::cloud_init::entry::{DEFAULTS_ID, DEFAULTS_SHELF, GROUP_SHELF};
use crate::engine::cloud_init::{Defaults, File, GroupData, NodeData, View, Wrong};
use crate::model::document::NODE_INSTANCE_SHELF;
use crate::model::snapshot::Machine;
use crate::model::{Nid, Node, Snapshot};
use crate::transport::http::Peer;

/// A node in the snapshot in which it was found.
pub(crate) struct Asker {
    snapshot: Arc<Snapshot>,
    pub(crate) node: Arc<Node>,
    /// Where it asks from, and the head's address by which it asks.
    place: Option<(Ipv4Addr, Option<Ipv4Addr>)>,
}

impl Asker {
    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    pub(crate) fn view(&self) -> View<'_> {
        let view = View::new(&self.snapshot, &self.node);
        match self.place {
            Some((address, head)) => view.from(address, head),
            None => view,
        }
    }

    /// The node that this peer is: by its declared address, else by what DHCP knows of it.
    ///
    /// # Errors
    /// Status 422: no node is there. The text says what to do; cloud-init shows it in the node's log.
    pub(crate) async fn of_peer(context: &Context, peer: Peer) -> Result<Asker, Problem> {
        let Some(address) = peer.address() else {
            let text = "a node is known by its address, and this way of asking has none; \
                        name the node in the path: /cloud-init/NODE/meta-data";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text));
        };
        let snapshot = context.snapshot.load();
        let Some(node) = node_at(context, &snapshot, address).await else {
            tracing::warn!(%address, "cloud-init asks from an address that no node has");
            let text = format!(
                "no node has the address {address}: declare it with `muster node set NAME --mac MAC --ip {address}`, \
                 or let the node take its address from this head's DHCP"
            );
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text));
        };
        let head = peer.head().map(|(head, _)| head);
        Ok(Asker { snapshot, node, place: Some((address, head)) })
    }

    /// The node of this name, xname, hardware address or number.
    ///
    /// # Errors
    /// Status 404.
    pub(crate) fn named(context: &Context, name: &str) -> Result<Asker, Problem> {
        let snapshot = context.snapshot.load();
        let node = find(&snapshot, name).ok_or_else(|| no_node(name))?;
        Ok(Asker { snapshot, node, place: None })
    }
}

/// The node that has this address: a declared one, else by what DHCP knows.
pub(crate) async fn node_at(context: &Context, snapshot: &Snapshot, address: Ipv4Addr) -> Option<Arc<Node>> {
    match snapshot.by_address(address) {
        Some(Machine::Node { node, .. }) => Some(Arc::clone(node)),
        Some(Machine::Bmc(_)) => None,
        None => leased(context, snapshot, address).await,
    }
}

async fn leased(context: &Context, snapshot: &Snapshot, address: Ipv4Addr) -> Option<Arc<Node>> {
    // Without DHCP (it may be off) the declared address alone decides.
    let mac = context.dhcp.who_has(address).await.ok().flatten()?;
    match snapshot.by_mac(mac)? {
        Machine::Node { node, .. } => Some(Arc::clone(node)),
        Machine::Bmc(_) => None,
    }
}

pub(crate) fn find(snapshot: &Snapshot, name: &str) -> Option<Arc<Node>> {
    let by_nid = || name.parse().ok().and_then(|nid| snapshot.by_nid(Nid(nid)));
    snapshot.find(name).or_else(by_nid).cloned()
}

pub(crate) fn no_node(name: &str) -> Problem {
    Problem::not_found(format!("no node is called {name:?}"))
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Problem {
        Problem::field(wrong.field, wrong.text)
    }
}

/// Refuses a file that no node could read; returns what is odd about others.
///
/// # Errors
/// Status 422, each problem with its line.
pub(crate) fn admit(subject: &str, file: Option<&File>) -> Result<Vec<Remark>, Problem> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let checked = check(&file.bytes()?);
    if checked.problems.is_empty() {
        for warning in &checked.warnings {
            tracing::warn!(subject, line = warning.line, "{}", warning.text);
        }
        return Ok(checked.warnings);
    }
    let place = |remark: &Remark| FieldProblem {
        subject: subject.to_owned(),
        field: "file.content".to_owned(),
        text: remark.text.clone(),
        line: remark.line,
    };
    let problems: Vec<FieldProblem> = checked.problems.iter().map(place).collect();
    let detail = problems.first().map_or_else(String::new, |first| {
        let line = first.line.map(|line| format!(" line {line}:")).unwrap_or_default();
        format!("{subject}: file.content:{line} {}", first.text)
    });
    Err(Problem { problems, ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail) })
}

/// Clients of the replaced service know no levels, and write back what they read: with those a file may ask for more
/// than it did, never for less.
pub(crate) fn keep_level(new: Option<&mut File>, old: Option<&File>) {
    if let (Some(new), Some(old)) = (new, old) {
        new.min_level = new.min_level.max(old.min_level);
    }
}

pub(crate) fn put_defaults(draft: &mut Draft<'_>, defaults: &Defaults) {
    put(draft, DEFAULTS_SHELF, DEFAULTS_ID, &defaults.write());
}

pub(crate) fn put_group(draft: &mut Draft<'_>, group: &GroupData) {
    put(draft, GROUP_SHELF, group.name.as_str(), &group.write());
}

/// False: there was none.
pub(crate) fn remove_group(draft: &mut Draft<'_>, name: &str) -> bool {
    draft.remove_document(GROUP_SHELF, name)
}

/// Puts a node's instance data where it already is, else under its first id.
pub(crate) fn put_node(draft: &mut Draft<'_>, node: &Node, own: &NodeData) {
    let ids = NodeData::ids(node);
    let there = ids.iter().find(|id| draft.next.document(NODE_INSTANCE_SHELF, id).is_some());
    if let Some(id) = there.or(ids.first()) {
        put_node_at(draft, &id.clone(), own);
    }
}

pub(crate) fn put_node_at(draft: &mut Draft<'_>, id: &str, own: &NodeData) {
    put(draft, NODE_INSTANCE_SHELF, id, &own.write());
}

/// False: there was none.
pub(crate) fn remove_node(draft: &mut Draft<'_>, node: &Node) -> bool {
    NodeData::ids(node).iter().filter(|id| draft.remove_document(NODE_INSTANCE_SHELF, id)).count() > 0
}

/// Puts a document unless it is there already: what changes nothing makes no revision.
pub(crate) fn put(draft: &mut Draft<'_>, shelf: &str, id: &str, content: &serde_json::Value) {
    let body = content.to_string();
    let same = draft.next.document(shelf, id).is_some_and(|document| document.body == body);
    if !same {
        draft.put_document(shelf, id, content);
    }
}
