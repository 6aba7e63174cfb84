//! SMD, the hardware state manager: `/hsm/v2`. Values and where they stand are in `component`, `port`, `group`,
//! `endpoint`; the handlers beside them speak HTTP.

mod bring;
mod children;
pub(crate) mod component;
mod components;
pub(crate) mod endpoint;
mod endpoints;
mod filter;
pub(crate) mod group;
mod groups;
mod hardware;
mod history;
mod interfaces;
mod locks;
mod maps;
pub mod notify;
mod part;
mod partitions;
mod patches;
mod payload;
mod pdu;
pub(crate) mod port;
mod reservations;
mod service;
mod settle;
mod subscriptions;
pub(crate) mod values;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::Draft;
use crate::api::problem::{Problem, in_our_form};
use crate::base::Xname;
use crate::base::limits::IMPORT_BYTES_MAX;
use crate::model::Snapshot;
use std::sync::Arc;

/// Where SMD lies.
pub const PREFIX: &str = "/hsm/v2";

/// The routes of SMD.
pub fn router(api: &OpenChami) -> Router {
    let routes = Router::new()
        .merge(component_routes())
        .merge(inventory_routes())
        .merge(endpoint_routes())
        .merge(group_routes())
        .merge(service::routes())
        .merge(maps::routes())
        .merge(locks::routes())
        .merge(hardware::routes())
        .merge(subscriptions::routes())
        .layer(DefaultBodyLimit::max(IMPORT_BYTES_MAX));
    let routes = finish(routes).with_state(api.clone());
    Router::new().nest(PREFIX, routes.clone()).nest("/apis/smd/hsm/v2", routes)
}

/// Refusals in SMD's form: a value that cannot be is status 400 there.
fn finish(routes: Router<OpenChami>) -> Router<OpenChami> {
    routes
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::map_response(in_our_form))
        .layer(axum::middleware::map_response(as_smd))
}

async fn as_smd(mut response: Response) -> Response {
    if response.status() == StatusCode::UNPROCESSABLE_ENTITY {
        let (head, body) = response.into_parts();
        let text = axum::body::to_bytes(body, IMPORT_BYTES_MAX).await.unwrap_or_default();
        let detail = serde_json::from_slice::<Problem>(&text)
            .map_or_else(|_| String::from_utf8_lossy(&text).into_owned(), |problem| problem.detail);
        let mut refusal = Problem::bad_request(detail).into_response();
        refusal.headers_mut().extend(head.headers.into_iter().filter(|(name, _)| {
            name.as_ref().is_some_and(|name| *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH)
        }));
        response = refusal;
    }
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn wrong_method(uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take this method", uri.path()))
}

fn component_routes() -> Router<OpenChami> {
    Router::new()
        .route(
            "/State/Components",
            get(components::list).post(components::create).delete(components::remove_all),
        )
        .route("/State/Components/Query", post(components::query))
        .route("/State/Components/Query/{xname}", get(components::query_one))
        .route("/State/Components/ByNID/Query", post(components::query_nids))
        .route("/State/Components/ByNID/{nid}", get(components::by_nid))
        .route(
            "/State/Components/{xname}",
            get(components::show).put(components::put).delete(components::remove).patch(patches::bulk),
        )
        .route("/State/Components/{xname}/{field}", patch(patches::one))
}

fn inventory_routes() -> Router<OpenChami> {
    Router::new()
        .route(
            "/Inventory/EthernetInterfaces",
            get(interfaces::list).post(interfaces::create).delete(interfaces::remove_all),
        )
        .route(
            "/Inventory/EthernetInterfaces/{id}",
            get(interfaces::show).patch(interfaces::patch).delete(interfaces::remove),
        )
        .route(
            "/Inventory/EthernetInterfaces/{id}/IPAddresses",
            get(interfaces::addresses).post(interfaces::add),
        )
        .route(
            "/Inventory/EthernetInterfaces/{id}/IPAddresses/{ip}",
            patch(interfaces::patch_address).delete(interfaces::drop_address),
        )
}

fn endpoint_routes() -> Router<OpenChami> {
    Router::new()
        .route(
            "/Inventory/RedfishEndpoints",
            get(endpoints::list).post(endpoints::create).delete(endpoints::remove_all),
        )
        .route("/Inventory/RedfishEndpoints/Query/{xname}", get(endpoints::query))
        .route(
            "/Inventory/RedfishEndpoints/{xname}",
            get(endpoints::show).put(endpoints::put).patch(endpoints::patch).delete(endpoints::remove),
        )
        .route("/Inventory/ComponentEndpoints", get(children::list).delete(children::remove_all))
        .route("/Inventory/ComponentEndpoints/{xname}", get(children::show).delete(children::remove))
        .route("/Inventory/ServiceEndpoints", get(children::services).delete(children::remove_services))
        .route("/Inventory/ServiceEndpoints/{service}", get(children::services))
        .route(
            "/Inventory/ServiceEndpoints/{service}/RedfishEndpoints/{xname}",
            get(children::no_service).delete(children::no_service),
        )
        .route("/Inventory/Discover", post(children::discover))
        .route("/Inventory/DiscoveryStatus", get(children::discoveries))
        .route("/Inventory/DiscoveryStatus/{id}", get(children::discovery))
}

fn group_routes() -> Router<OpenChami> {
    Router::new()
        .route("/groups", get(groups::list).post(groups::create))
        .route("/groups/labels", get(groups::labels))
        .route("/groups/{label}", get(groups::show).patch(groups::patch).delete(groups::remove))
        .route("/groups/{label}/members", get(groups::members).post(groups::add).put(groups::replace))
        .route("/groups/{label}/members/{xname}", delete(groups::drop_member))
        .route("/partitions", get(partitions::list).post(partitions::create))
        .route("/partitions/names", get(partitions::names))
        .route(
            "/partitions/{name}",
            get(partitions::show).patch(partitions::patch).delete(partitions::remove),
        )
        .route("/partitions/{name}/members", get(partitions::members).post(partitions::add))
        .route("/partitions/{name}/members/{xname}", delete(partitions::drop_member))
        .route("/memberships", get(groups::memberships))
        .route("/memberships/{xname}", get(groups::membership))
}

/// Reads an xname of a path or body.
///
/// # Errors
/// Status 400: it is none.
pub(crate) fn xname(text: &str) -> Result<Xname, Problem> {
    let parsed = text.parse::<Xname>().ok().filter(|xname| xname.kind().is_some());
    parsed.ok_or_else(|| Problem::bad_request(format!("invalid xname: {text:?}")))
}

/// Plans a change step by step on a copy of the inventory. What the last plan returned comes back with the
/// snapshot in which it can be read.
pub(crate) async fn plan<T>(
    api: &OpenChami,
    mut steps: impl FnMut(&mut Draft<'_>) -> Result<T, Problem>,
) -> Result<(T, Arc<Snapshot>), Problem> {
    let mut outcome = None;
    let snapshot = api
        .context
        .change(|snapshot| {
            let mut draft = Draft::new(snapshot);
            outcome = Some(steps(&mut draft)?);
            settle::settle(&mut draft);
            Ok(draft.finish())
        })
        .await?;
    Ok((outcome.expect("a change is planned at least once"), snapshot))
}
