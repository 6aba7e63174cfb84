//! Groups and their members.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::Uri;
use axum::response::Response;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::nodes::chosen;
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::GroupBody;
use crate::api::v1::write::write;
use crate::model::Snapshot;

/// `GET /groups`, by name.
pub(crate) async fn list(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let snapshot = context.snapshot.load();
    let all = snapshot.inventory.groups.iter().map(|(name, group)| (name.to_string(), group));
    page(&uri, all, |group| GroupBody::shown(&snapshot, group))
}

pub(crate) async fn show(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<GroupBody>, Problem> {
    body(&context.snapshot.load(), &name).map(Json)
}

pub(crate) async fn put(
    State(context): State<Context>,
    Path(path): Path<String>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let new: GroupBody = query::body(&bytes)?;
    write(&context, &terms, |work| work.put_group(&path, new.clone(), &terms)).await?.shown("/groups", body)
}

/// A merge patch.
pub(crate) async fn patch(
    State(context): State<Context>,
    Path(path): Path<String>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let patch = query::patch(&bytes)?;
    write(&context, &terms, |work| work.merge_group(&path, &patch, &terms)).await?.shown("/groups", body)
}

pub(crate) async fn remove(
    State(context): State<Context>,
    Path(path): Path<String>,
    terms: Terms,
) -> Result<Response, Problem> {
    Ok(write(&context, &terms, |work| work.remove_group(&path, &terms)).await?.gone())
}

/// `POST /groups/{name}/members?set=…`; makes the group if it is not there.
pub(crate) async fn add(
    State(context): State<Context>,
    Path(path): Path<String>,
    RawQuery(raw): RawQuery,
    terms: Terms,
) -> Result<Response, Problem> {
    let written = write(&context, &terms, |work| {
        let nodes = chosen(work.snapshot, raw.as_deref())?;
        work.members(&path, &nodes, true, &terms)
    });
    written.await?.shown("/groups", body)
}

/// `DELETE /groups/{name}/members?set=…`.
pub(crate) async fn drop_members(
    State(context): State<Context>,
    Path(path): Path<String>,
    RawQuery(raw): RawQuery,
    terms: Terms,
) -> Result<Response, Problem> {
    let written = write(&context, &terms, |work| {
        work.group(&path)?;
        let nodes = chosen(work.snapshot, raw.as_deref())?;
        work.members(&path, &nodes, false, &terms)
    });
    written.await?.shown("/groups", body)
}

fn body(snapshot: &Snapshot, name: &str) -> Result<GroupBody, Problem> {
    let found = snapshot.inventory.groups.get(name.to_ascii_lowercase().as_str());
    let missing = || Problem::not_found(format!("no group is called {name:?}"));
    found.map(|group| GroupBody::shown(snapshot, group)).ok_or_else(missing)
}
