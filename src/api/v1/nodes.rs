//! Nodes: one by one, and by node set in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use serde_json::Value;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::v1::types::{NodeBody, ReportBody, read};
use crate::base::NodeName;
use crate::model::{Change, Node, NodeId, Snapshot};

/// Nodes in one answer unless asked otherwise: all of a large site, still a bounded answer.
const LIMIT: usize = 100_000;

/// `GET /nodes?set=…&after=NAME&limit=N`, by name.
pub(crate) async fn list(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Vec<NodeBody>>, Problem> {
    let snapshot = context.snapshot.load();
    let set = query::set(&snapshot, raw.as_deref())?;
    let after = query::field(raw.as_deref(), "after").unwrap_or_default();
    let limit = match query::field(raw.as_deref(), "limit") {
        Some(text) => read::<usize>("limit", &text)?.min(LIMIT),
        None => LIMIT,
    };
    let chosen = snapshot
        .inventory
        .nodes
        .values()
        .filter(|node| set.as_ref().is_none_or(|set| set.contains(&node.id)));
    let mut nodes: Vec<&Arc<Node>> = chosen.filter(|node| node.name.as_str() > after.as_str()).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(nodes.into_iter().take(limit).map(|node| NodeBody::from(node.as_ref())).collect()))
}

pub(crate) async fn show(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<NodeBody>, Problem> {
    let snapshot = context.snapshot.load();
    Ok(Json(NodeBody::from(find(&snapshot, &name)?.as_ref())))
}

pub(crate) async fn create(
    State(context): State<Context>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<NodeBody>), Problem> {
    let body: NodeBody = query::body(&bytes)?;
    let name: NodeName = read("name", &body.name)?;
    let snapshot = context
        .change(|snapshot| match snapshot.by_name(name.as_str()) {
            Some(_) => Err(Problem::conflict(format!("there is a node {name}"))),
            None => {
                let node = body.clone().node(NodeId(snapshot.inventory.next_node))?;
                Ok(vec![Change::PutNode(Arc::new(node))])
            }
        })
        .await?;
    Ok((StatusCode::CREATED, Json(NodeBody::from(find(&snapshot, name.as_str())?.as_ref()))))
}

/// `PUT /nodes/{name}`: creates the node or replaces all of it. The path names it; the body of a node that is
/// there may rename it.
pub(crate) async fn put(
    State(context): State<Context>,
    Path(path): Path<String>,
    bytes: Bytes,
) -> Result<Json<NodeBody>, Problem> {
    let body: NodeBody = query::body(&bytes)?;
    let name: NodeName = read("name", &body.name)?;
    let snapshot = context
        .change(|snapshot| {
            let id = match snapshot.find(&path) {
                Some(node) => node.id,
                None if read::<NodeName>("name", &path)? == name => NodeId(snapshot.inventory.next_node),
                None => {
                    return Err(Problem::field("name", format!("is {name}, but the path says {path:?}")));
                }
            };
            Ok(put_if_new(snapshot, body.clone().node(id)?))
        })
        .await?;
    Ok(Json(NodeBody::from(find(&snapshot, name.as_str())?.as_ref())))
}

/// `PATCH /nodes/{name}`: a merge patch. Makes the node if it is new and the patch gives it an interface: a
/// mistyped name must not declare a machine that is not there.
pub(crate) async fn patch(
    State(context): State<Context>,
    Path(path): Path<String>,
    bytes: Bytes,
) -> Result<Json<NodeBody>, Problem> {
    let patch = query::patch(&bytes)?;
    let makes = patch.get("interfaces").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let mut name = None;
    let snapshot = context
        .change(|snapshot| {
            let old = match snapshot.find(&path) {
                Some(node) => Node::clone(node),
                None if makes => Node::new(NodeId(snapshot.inventory.next_node), read("name", &path)?),
                None => {
                    let text =
                        format!("no node is called {path:?}; a new one needs an interface with its mac");
                    return Err(Problem::not_found(text));
                }
            };
            let node = query::merged(&NodeBody::from(&old), &patch)?.node(old.id)?;
            name = Some(node.name.clone());
            Ok(put_if_new(snapshot, node))
        })
        .await?;
    let name = name.expect("a change that succeeds was planned");
    Ok(Json(NodeBody::from(find(&snapshot, name.as_str())?.as_ref())))
}

/// `PATCH /nodes?set=…`: the same merge patch for each node, in one transaction.
pub(crate) async fn patch_set(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
    bytes: Bytes,
) -> Result<Json<ReportBody>, Problem> {
    let patch = query::patch(&bytes)?;
    let mut report = ReportBody::default();
    let snapshot = context
        .change(|snapshot| {
            report = ReportBody::default();
            let mut changes = Vec::new();
            for node in chosen(snapshot, raw.as_deref())? {
                let body = query::merged(&NodeBody::from(node.as_ref()), &patch)?;
                let change = put_if_new(snapshot, body.node(node.id)?);
                report.unchanged += usize::from(change.is_empty());
                report.changed.extend(change.first().map(|_| node.name.to_string()));
                changes.extend(change);
            }
            Ok(changes)
        })
        .await?;
    Ok(Json(ReportBody { revision: snapshot.revision.0, ..report }))
}

pub(crate) async fn remove(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    context.change(|snapshot| Ok(vec![Change::RemoveNode(find(snapshot, &name)?.id)])).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /nodes?set=…`, in one transaction.
pub(crate) async fn remove_set(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
) -> Result<Json<ReportBody>, Problem> {
    let mut removed = Vec::new();
    let snapshot = context
        .change(|snapshot| {
            let nodes = chosen(snapshot, raw.as_deref())?;
            removed = nodes.iter().map(|node| node.name.to_string()).collect();
            Ok(nodes.into_iter().map(|node| Change::RemoveNode(node.id)).collect())
        })
        .await?;
    Ok(Json(ReportBody { removed, revision: snapshot.revision.0, ..ReportBody::default() }))
}

/// A node by name, xname or hardware address.
pub(crate) fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Arc<Node>, Problem> {
    snapshot.find(name).ok_or_else(|| Problem::not_found(format!("no node is called {name:?}")))
}

/// The nodes of the query's set, which must be there: nobody means all nodes by forgetting it.
pub(crate) fn chosen(snapshot: &Snapshot, raw: Option<&str>) -> Result<Vec<Arc<Node>>, Problem> {
    let set: BTreeSet<NodeId> =
        query::set(snapshot, raw)?.ok_or_else(|| Problem::field("set", "say which nodes: ?set=NODESET"))?;
    Ok(set.into_iter().filter_map(|id| snapshot.node(id).cloned()).collect())
}

fn put_if_new(snapshot: &Snapshot, node: Node) -> Vec<Change> {
    let same = snapshot.node(node.id).is_some_and(|old| **old == node);
    if same { Vec::new() } else { vec![Change::PutNode(Arc::new(node))] }
}
