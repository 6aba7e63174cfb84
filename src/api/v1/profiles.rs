//! Profiles: boot targets with a name. One that an assignment names is not removed.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::ProfileBody;
use crate::api::v1::write::write;
use crate::model::Snapshot;

/// `GET /profiles`, by name.
pub(crate) async fn list(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let snapshot = context.snapshot.load();
    let all = snapshot.inventory.profiles.iter().map(|(name, profile)| (name.to_string(), profile));
    page(&uri, all, |profile| ProfileBody::from(profile.as_ref()))
}

pub(crate) async fn show(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<ProfileBody>, Problem> {
    body(&context.snapshot.load(), &name).map(Json)
}

pub(crate) async fn put(
    State(context): State<Context>,
    Path(path): Path<String>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let new: ProfileBody = query::body(&bytes)?;
    write(&context, &terms, |work| work.put_profile(&path, new.clone(), &terms))
        .await?
        .shown("/profiles", body)
}

/// A merge patch.
pub(crate) async fn patch(
    State(context): State<Context>,
    Path(path): Path<String>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let patch = query::patch(&bytes)?;
    write(&context, &terms, |work| work.merge_profile(&path, &patch, &terms)).await?.shown("/profiles", body)
}

pub(crate) async fn remove(
    State(context): State<Context>,
    Path(path): Path<String>,
    terms: Terms,
) -> Result<Response, Problem> {
    Ok(write(&context, &terms, |work| work.remove_profile(&path, &terms)).await?.gone())
}

fn body(snapshot: &Snapshot, name: &str) -> Result<ProfileBody, Problem> {
    let found = snapshot.inventory.profiles.get(name.to_ascii_lowercase().as_str());
    let missing = || Problem::not_found(format!("no profile is called {name:?}"));
    found.map(|profile| ProfileBody::from(profile.as_ref())).ok_or_else(missing)
}
