//! Groups and their members.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::nodes::chosen;
use crate::api::v1::query;
use crate::api::v1::types::{GroupBody, read};
use crate::base::GroupName;
use crate::model::{Change, Group, Node, Snapshot};

pub(crate) async fn list(State(context): State<Context>) -> Json<Vec<GroupBody>> {
    let snapshot = context.snapshot.load();
    Json(snapshot.inventory.groups.values().map(|group| body(&snapshot, group)).collect())
}

pub(crate) async fn show(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<GroupBody>, Problem> {
    let snapshot = context.snapshot.load();
    Ok(Json(body(&snapshot, find(&snapshot, &name)?)))
}

pub(crate) async fn put(
    State(context): State<Context>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<GroupBody>, Problem> {
    let group = Arc::new(query::body::<GroupBody>(&bytes)?.group(&name)?);
    let snapshot = context.change(|_| Ok(vec![Change::PutGroup(Arc::clone(&group))])).await?;
    Ok(Json(body(&snapshot, &group)))
}

/// A merge patch; makes the group if it is not there.
pub(crate) async fn patch(
    State(context): State<Context>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<GroupBody>, Problem> {
    let patch = query::patch(&bytes)?;
    let name: GroupName = read("name", &name)?;
    let snapshot = context
        .change(|snapshot| {
            let old = snapshot.inventory.groups.get(&name).cloned();
            let group = old.unwrap_or_else(|| Arc::new(Group::new(name.clone())));
            let merged = query::merged(&GroupBody::of(&group, Vec::new()), &patch)?.group(name.as_str())?;
            Ok(vec![Change::PutGroup(Arc::new(merged))])
        })
        .await?;
    Ok(Json(body(&snapshot, find(&snapshot, name.as_str())?)))
}

/// Removes the group; its members stay, without it.
pub(crate) async fn remove(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    context.change(|snapshot| Ok(vec![Change::RemoveGroup(find(snapshot, &name)?.name.clone())])).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /groups/{name}/members?set=…`; makes the group if it is not there.
pub(crate) async fn add(
    State(context): State<Context>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Json<GroupBody>, Problem> {
    let name: GroupName = read("name", &name)?;
    let snapshot = context
        .change(|snapshot| {
            Ok(with_members(&chosen(snapshot, raw.as_deref())?, |node| node.groups.insert(name.clone())))
        })
        .await?;
    Ok(Json(body(&snapshot, find(&snapshot, name.as_str())?)))
}

/// `DELETE /groups/{name}/members?set=…`.
pub(crate) async fn drop_members(
    State(context): State<Context>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Json<GroupBody>, Problem> {
    let snapshot = context
        .change(|snapshot| {
            let name = find(snapshot, &name)?.name.clone();
            Ok(with_members(&chosen(snapshot, raw.as_deref())?, |node| node.groups.remove(&name)))
        })
        .await?;
    Ok(Json(body(&snapshot, find(&snapshot, &name)?)))
}

/// Changes for the nodes that `alter` altered.
fn with_members(nodes: &[Arc<Node>], alter: impl Fn(&mut Node) -> bool) -> Vec<Change> {
    let altered = nodes.iter().filter_map(|node| {
        let mut node = Node::clone(node);
        alter(&mut node).then_some(node)
    });
    altered.map(|node| Change::PutNode(Arc::new(node))).collect()
}

fn body(snapshot: &Snapshot, group: &Group) -> GroupBody {
    let members = snapshot.members(&group.name).unwrap_or_default();
    let names = members.iter().filter_map(|id| snapshot.node(*id)).map(|node| node.name.to_string());
    GroupBody::of(group, names.collect())
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Arc<Group>, Problem> {
    let found = snapshot.inventory.groups.get(name.to_ascii_lowercase().as_str());
    found.ok_or_else(|| Problem::not_found(format!("no group is called {name:?}")))
}
