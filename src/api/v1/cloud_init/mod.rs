//! What cloud-init on nodes reads: site defaults, group data, node instance data; what a node will see of it,
//! and what nodes said when they were done.

pub mod types;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::api::cloud_init::{self, Asker, admit, find, no_node};
use crate::api::context::Context;
use crate::api::openchami::draft::Draft;
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::v1::types::{ReportBody, read};
use crate::base::GroupName;
use crate::engine::cloud_init::check::Remark;
use crate::engine::cloud_init::preview::preview;
use crate::engine::cloud_init::{Defaults, GroupData, NodeData, View};
use crate::model::{Node, Snapshot};
pub use types::{
    CallBody, DefaultsBody, FileBody, GroupDataBody, NodeDataBody, PartBody, PreviewBody, RemarkBody,
    ValueBody,
};

/// The routes of this room, below the API's prefix.
pub(crate) fn router() -> Router<Context> {
    Router::new()
        .route("/cloud-init/defaults", get(defaults).put(put_defaults).patch(patch_defaults))
        .route("/cloud-init/groups", get(groups))
        .route("/cloud-init/groups/{name}", get(group).put(put_group).patch(patch_group).delete(remove_group))
        .route("/cloud-init/nodes", get(nodes))
        .route("/cloud-init/nodes/{name}", get(node).put(put_node).patch(patch_node).delete(remove_node))
        .route("/cloud-init/reinstall", post(reinstall))
        .route("/cloud-init/render/{name}", get(render))
        .route("/cloud-init/phone-home", get(calls))
}

/// Plans a change and, unless the query says `dry_run`, commits it. The snapshot is the one that holds it, or
/// on a dry run the one it was planned on.
async fn write<T>(
    context: &Context,
    raw: Option<&str>,
    mut steps: impl FnMut(&mut Draft<'_>) -> Result<T, Problem>,
) -> Result<(T, Arc<Snapshot>), Problem> {
    if query::flag(raw, "dry_run") {
        let snapshot = context.snapshot.load();
        let outcome = steps(&mut Draft::new(&snapshot))?;
        return Ok((outcome, snapshot));
    }
    let mut outcome = None;
    let snapshot = context
        .change(|snapshot| {
            let mut draft = Draft::new(snapshot);
            outcome = Some(steps(&mut draft)?);
            Ok(draft.finish())
        })
        .await?;
    Ok((outcome.expect("a change is planned at least once"), snapshot))
}

pub(crate) async fn defaults(State(context): State<Context>) -> Json<DefaultsBody> {
    Json(DefaultsBody::of(&Defaults::of(&context.snapshot.load().inventory)))
}

async fn put_defaults(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
    bytes: Bytes,
) -> Result<Json<DefaultsBody>, Problem> {
    let defaults = query::body::<DefaultsBody>(&bytes)?.defaults()?;
    let put = |draft: &mut Draft<'_>| {
        cloud_init::put_defaults(draft, &defaults);
        Ok(())
    };
    write(&context, raw.as_deref(), put).await?;
    Ok(Json(DefaultsBody::of(&defaults)))
}

async fn patch_defaults(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
    bytes: Bytes,
) -> Result<Json<DefaultsBody>, Problem> {
    let patch = query::patch(&bytes)?;
    let merge = |draft: &mut Draft<'_>| {
        let old = DefaultsBody::of(&Defaults::of(&draft.next));
        let defaults = query::merged(&old, &patch)?.defaults()?;
        cloud_init::put_defaults(draft, &defaults);
        Ok(defaults)
    };
    let (defaults, _) = write(&context, raw.as_deref(), merge).await?;
    Ok(Json(DefaultsBody::of(&defaults)))
}

pub(crate) async fn groups(State(context): State<Context>) -> Json<Vec<GroupDataBody>> {
    let snapshot = context.snapshot.load();
    Json(GroupData::all(&snapshot.inventory).map(|group| GroupDataBody::of(&group, &[])).collect())
}

async fn group(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<GroupDataBody>, Problem> {
    let snapshot = context.snapshot.load();
    let name: GroupName = read("name", &name)?;
    let group = GroupData::of(&snapshot.inventory, &name).ok_or_else(|| no_group(&name))?;
    let warnings = admit(&subject(&group), group.file.as_ref()).unwrap_or_default();
    Ok(Json(GroupDataBody::of(&group, &warnings)))
}

fn no_group(name: &GroupName) -> Problem {
    Problem::not_found(format!("group {name} has no cloud-init data"))
}

fn subject(group: &GroupData) -> String {
    format!("group {}", group.name)
}

async fn put_group(
    State(context): State<Context>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
    bytes: Bytes,
) -> Result<Json<GroupDataBody>, Problem> {
    let group = query::body::<GroupDataBody>(&bytes)?.group(&name)?;
    let warnings = admit(&subject(&group), group.file.as_ref())?;
    let put = |draft: &mut Draft<'_>| {
        cloud_init::put_group(draft, &group);
        Ok(())
    };
    write(&context, raw.as_deref(), put).await?;
    Ok(Json(GroupDataBody::of(&group, &warnings)))
}

/// A merge patch; makes the group's data if there is none.
async fn patch_group(
    State(context): State<Context>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
    bytes: Bytes,
) -> Result<Json<GroupDataBody>, Problem> {
    let (name, patch): (GroupName, _) = (read("name", &name)?, query::patch(&bytes)?);
    let merge = |draft: &mut Draft<'_>| {
        let old = GroupData::of(&draft.next, &name).unwrap_or_else(|| GroupData::new(name.clone()));
        let group = query::merged(&GroupDataBody::of(&old, &[]), &patch)?.group(name.as_str())?;
        let warnings = admit(&subject(&group), group.file.as_ref())?;
        cloud_init::put_group(draft, &group);
        Ok(GroupDataBody::of(&group, &warnings))
    };
    write(&context, raw.as_deref(), merge).await.map(|(body, _)| Json(body))
}

async fn remove_group(
    State(context): State<Context>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<StatusCode, Problem> {
    let name: GroupName = read("name", &name)?;
    let remove = |draft: &mut Draft<'_>| {
        if cloud_init::remove_group(draft, name.as_str()) { Ok(()) } else { Err(no_group(&name)) }
    };
    write(&context, raw.as_deref(), remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A node's instance data as told. The node's identity is read off what the data would make of it.
fn shown(snapshot: &Snapshot, node: &Node, own: &NodeData, warnings: &[Remark]) -> NodeDataBody {
    let view = View { own: own.clone(), ..View::new(snapshot, node) };
    NodeDataBody::of(node.name.as_str(), view.instance_id(), own, warnings)
}

/// The nodes that have instance data of their own.
pub(crate) async fn nodes(State(context): State<Context>) -> Json<Vec<NodeDataBody>> {
    let snapshot = context.snapshot.load();
    let all = snapshot.inventory.nodes.values();
    let own = all.filter_map(|node| {
        let own = NodeData::of(&snapshot.inventory, node)?;
        Some(shown(&snapshot, node, &own, &[]))
    });
    Json(own.collect())
}

async fn node(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<NodeDataBody>, Problem> {
    let snapshot = context.snapshot.load();
    let node = find(&snapshot, &name).ok_or_else(|| no_node(&name))?;
    let own = NodeData::of(&snapshot.inventory, &node).unwrap_or_default();
    let warnings = admit(&format!("node {}", node.name), own.file.as_ref()).unwrap_or_default();
    Ok(Json(shown(&snapshot, &node, &own, &warnings)))
}

/// Puts what `make` makes of a node's old data.
async fn alter(
    context: &Context,
    name: &str,
    raw: Option<&str>,
    mut make: impl FnMut(&NodeDataBody) -> Result<NodeData, Problem>,
) -> Result<Json<NodeDataBody>, Problem> {
    let put = |draft: &mut Draft<'_>| {
        let node = find(draft.snapshot, name).ok_or_else(|| no_node(name))?;
        let old = NodeData::of(&draft.next, &node).unwrap_or_default();
        let own = make(&shown(draft.snapshot, &node, &old, &[]))?;
        let warnings = admit(&format!("node {}", node.name), own.file.as_ref())?;
        cloud_init::put_node(draft, &node, &own);
        Ok(shown(draft.snapshot, &node, &own, &warnings))
    };
    write(context, raw, put).await.map(|(body, _)| Json(body))
}

async fn put_node(
    State(context): State<Context>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
    bytes: Bytes,
) -> Result<Json<NodeDataBody>, Problem> {
    let own = query::body::<NodeDataBody>(&bytes)?.own()?;
    alter(&context, &name, raw.as_deref(), |_| Ok(own.clone())).await
}

async fn patch_node(
    State(context): State<Context>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
    bytes: Bytes,
) -> Result<Json<NodeDataBody>, Problem> {
    let patch = query::patch(&bytes)?;
    alter(&context, &name, raw.as_deref(), |old| query::merged(old, &patch)?.own()).await
}

async fn remove_node(
    State(context): State<Context>,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<StatusCode, Problem> {
    let remove = |draft: &mut Draft<'_>| {
        let node = find(draft.snapshot, &name).ok_or_else(|| no_node(&name))?;
        let was = cloud_init::remove_node(draft, &node);
        if was { Ok(()) } else { Err(Problem::not_found(format!("node {} has no instance data", node.name))) }
    };
    write(&context, raw.as_deref(), remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /cloud-init/reinstall?set=…`: new instance-ids, so that cloud-init does everything again at the next
/// boot.
async fn reinstall(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
) -> Result<Json<ReportBody>, Problem> {
    let raw = raw.as_deref();
    let renew = |draft: &mut Draft<'_>| {
        let set = query::set(draft.snapshot, raw)?;
        let set = set.ok_or_else(|| Problem::field("set", "is needed: which nodes?"))?;
        let mut changed = Vec::new();
        for node in set.iter().filter_map(|id| draft.snapshot.node(*id)) {
            let mut own = NodeData::of(&draft.next, node).unwrap_or_default();
            own.instance_id = None;
            own.installation = own.installation.saturating_add(1);
            cloud_init::put_node(draft, node, &own);
            changed.push(node.name.to_string());
        }
        Ok(changed)
    };
    let (changed, snapshot) = write(&context, raw, renew).await?;
    let (dry_run, revision) = (query::flag(raw, "dry_run"), snapshot.revision.0);
    Ok(Json(ReportBody { changed, dry_run, revision, ..ReportBody::default() }))
}

pub(crate) async fn render(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<PreviewBody>, Problem> {
    let asker = Asker::named(&context, &name)?;
    let preview = preview(&asker.view());
    Ok(Json(PreviewBody::of(asker.node.name.as_str(), preview)))
}

/// The last report of each node that is still declared.
pub(crate) async fn calls(State(context): State<Context>) -> Json<Vec<CallBody>> {
    let snapshot = context.snapshot.load();
    let calls = context.calls.all();
    let named = calls.iter().filter_map(|(id, call)| Some((snapshot.node(id)?, call)));
    Json(named.map(|(node, call)| CallBody::of(node.name.as_str(), call)).collect())
}
