//! Profiles: boot targets with a name.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::v1::types::{ProfileBody, read};
use crate::model::{Change, Profile, Snapshot};

pub(crate) async fn list(State(context): State<Context>) -> Json<Vec<ProfileBody>> {
    let snapshot = context.snapshot.load();
    Json(snapshot.inventory.profiles.values().map(|profile| ProfileBody::from(profile.as_ref())).collect())
}

pub(crate) async fn show(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<ProfileBody>, Problem> {
    let snapshot = context.snapshot.load();
    Ok(Json(ProfileBody::from(find(&snapshot, &name)?.as_ref())))
}

pub(crate) async fn put(
    State(context): State<Context>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<ProfileBody>, Problem> {
    let ProfileBody { name: _, description, target } = query::body(&bytes)?;
    let profile = Arc::new(Profile { name: read("name", &name)?, description, target: target.target()? });
    context.change(|_| Ok(vec![Change::PutProfile(Arc::clone(&profile))])).await?;
    Ok(Json(ProfileBody::from(profile.as_ref())))
}

/// Refused while an assignment names the profile.
pub(crate) async fn remove(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    context.change(|snapshot| Ok(vec![Change::RemoveProfile(find(snapshot, &name)?.name.clone())])).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Arc<Profile>, Problem> {
    let found = snapshot.inventory.profiles.get(name.to_ascii_lowercase().as_str());
    found.ok_or_else(|| Problem::not_found(format!("no profile is called {name:?}")))
}
