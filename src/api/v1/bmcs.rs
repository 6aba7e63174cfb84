//! BMCs.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::v1::types::BmcBody;
use crate::model::{Bmc, Change, Snapshot};

pub(crate) async fn list(State(context): State<Context>) -> Json<Vec<BmcBody>> {
    let snapshot = context.snapshot.load();
    Json(snapshot.inventory.bmcs.values().map(|bmc| BmcBody::from(bmc.as_ref())).collect())
}

pub(crate) async fn show(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<BmcBody>, Problem> {
    let snapshot = context.snapshot.load();
    Ok(Json(BmcBody::from(find(&snapshot, &name)?.as_ref())))
}

pub(crate) async fn put(
    State(context): State<Context>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<BmcBody>, Problem> {
    let bmc = Arc::new(query::body::<BmcBody>(&bytes)?.bmc(&name)?);
    context.change(|_| Ok(vec![Change::PutBmc(Arc::clone(&bmc))])).await?;
    Ok(Json(BmcBody::from(bmc.as_ref())))
}

/// Refused while a node names the BMC.
pub(crate) async fn remove(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    context.change(|snapshot| Ok(vec![Change::RemoveBmc(find(snapshot, &name)?.name.clone())])).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Arc<Bmc>, Problem> {
    let found = snapshot.inventory.bmcs.get(name.to_ascii_lowercase().as_str());
    found.ok_or_else(|| Problem::not_found(format!("no BMC is called {name:?}")))
}
