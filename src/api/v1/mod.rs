//! The REST API of muster itself.

mod admission;
mod answers;
pub mod audit;
pub mod batch;
pub mod blobs;
mod bmcs;
pub(crate) mod boot;
pub mod cloud_init;
pub mod events;
pub mod explain;
mod garbage;
pub(crate) mod groups;
pub(crate) mod image_tags;
pub(crate) mod images;
pub mod interfaces;
mod inventory;
pub(crate) mod nodes;
pub mod observed;
mod page;
pub(crate) mod profiles;
pub(crate) mod query;
pub mod records;
pub mod secrets;
pub mod status;
mod terms;
pub mod tpms;
pub mod traffic;
pub mod trust;
pub mod types;
pub mod uploads;
mod work;
mod write;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use crate::api::context::Context;
use crate::api::openapi;
use crate::api::problem::{Problem, in_our_form};
use crate::base::limits::{IMPORT_BYTES_MAX, REQUEST_BYTES_MAX};

/// Where the API lies.
pub const PREFIX: &str = "/api/v1";

/// The routes of the API, below `PREFIX`.
pub fn router(context: Context) -> Router {
    let import = post(inventory::import).layer(DefaultBodyLimit::max(IMPORT_BYTES_MAX));
    Router::new()
        .route(
            "/nodes",
            get(nodes::list).post(nodes::create).patch(nodes::patch_set).delete(nodes::remove_set),
        )
        .route("/nodes/{name}", get(nodes::show).put(nodes::put).patch(nodes::patch).delete(nodes::remove))
        .route("/nodes/{name}/interfaces", get(interfaces::of_node))
        .route(
            "/nodes/{name}/interfaces/{mac}",
            get(interfaces::show).put(interfaces::put).delete(interfaces::remove),
        )
        .route("/interfaces", get(interfaces::list))
        .route("/batch", post(batch::run).layer(DefaultBodyLimit::max(IMPORT_BYTES_MAX)))
        .route("/blobs", get(blobs::list))
        .route("/blobs/{digest}/verify", post(blobs::verify))
        .route("/blobs/{digest}", get(blobs::show))
        .route(
            "/uploads",
            get(uploads::list).post(uploads::begin).layer(DefaultBodyLimit::max(IMPORT_BYTES_MAX)),
        )
        // The body of the patch goes to the disk piece by piece; no limit is on its way.
        .route("/uploads/{id}", get(uploads::show).patch(uploads::receive).delete(uploads::cancel))
        .route("/uploads/{id}/complete", post(uploads::complete))
        .route("/events", get(events::events))
        .route("/bmcs", get(bmcs::list))
        .route("/bmcs/{name}", get(bmcs::show).put(bmcs::put).patch(bmcs::patch).delete(bmcs::remove))
        .route("/groups", get(groups::list))
        .route(
            "/groups/{name}",
            get(groups::show).put(groups::put).patch(groups::patch).delete(groups::remove),
        )
        .route("/groups/{name}/members", post(groups::add).delete(groups::drop_members))
        .route("/profiles", get(profiles::list))
        .route(
            "/profiles/{name}",
            get(profiles::show).put(profiles::put).patch(profiles::patch).delete(profiles::remove),
        )
        .route("/images", get(images::list).post(images::create))
        .route("/images/diff", get(images::differences))
        .route("/images/gc", post(garbage::run))
        .route("/images/traffic", get(traffic::traffic))
        .route("/images/{image}", get(images::show).delete(images::remove))
        .route("/image-tags", get(image_tags::list))
        .route("/image-tags/{tag}", get(image_tags::show).put(image_tags::put).delete(image_tags::remove))
        .route("/image-tags/{tag}/rollback", post(image_tags::rollback))
        .route("/boot", get(boot::show).put(boot::set).delete(boot::clear))
        .route("/networks", get(observed::networks))
        .route("/networks/{name}", get(observed::network))
        .route("/leases", get(observed::leases))
        .route("/leases/{address}", delete(observed::free))
        .route("/sightings", get(observed::sightings))
        .route("/rogues", get(observed::rogues))
        .route("/status", get(status::status))
        .route("/explain", get(explain::explain))
        .route("/inventory/import", import)
        .route("/inventory/export", get(inventory::export))
        .merge(audit::router())
        .merge(secrets::router())
        .merge(trust::router())
        .merge(tpms::router())
        .merge(records::router())
        .merge(cloud_init::router())
        .route("/openapi.json", get(|| async { axum::Json(openapi::document()) }))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .layer(axum::middleware::from_fn(admission::admitted))
        .layer(axum::middleware::map_response(in_our_form))
        .layer(axum::middleware::from_fn(answers::validated))
        .with_state(context)
}

/// A path that is not there.
pub async fn unknown(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response(); // the router adds `Allow`
    }
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take this method", uri.path()))
        .into_response()
}
