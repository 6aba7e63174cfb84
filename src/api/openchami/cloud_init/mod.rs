//! OpenCHAMI's cloud-init server, both generations on one path: `/cloud-init` for what nodes fetch, the second
//! generation's administration below `/cloud-init/admin`, and the first one's entries below `/cloud-init` and,
//! a store of its own, `/cloud-init-secure`.

mod admin;
mod body;
mod first;
mod node;
mod openapi;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, Uri};
use axum::routing::{get, post, put};

use crate::api::openchami::OpenChami;
use crate::api::problem::{Problem, in_our_form};
use crate::base::limits::{PHONE_HOME_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::engine::cloud_init::Tree;

/// Where nodes and clients find it.
pub const PREFIX: &str = "/cloud-init";

/// Where the secure tree of the first generation lies.
pub const SECURE_PREFIX: &str = "/cloud-init-secure";

/// The routes of the service. Clients of the first generation whose base is `/cloud-init` send that twice.
pub fn router(api: &OpenChami) -> Router {
    let open = || entries().with_state(first::Store { api: api.clone(), tree: Tree::Open });
    let secure = || entries().with_state(first::Store { api: api.clone(), tree: Tree::Secure });
    let routes = second().with_state(api.clone()).merge(open());
    Router::new()
        .nest(PREFIX, routes)
        .nest(SECURE_PREFIX, secure())
        .nest("/cloud-init/cloud-init", open())
        .nest("/cloud-init/cloud-init-secure", secure())
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .layer(axum::middleware::map_response(in_our_form))
}

async fn wrong_method(uri: Uri) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take this method", uri.path()))
}

/// Second generation: by the node's address, and what a node says.
fn calls() -> Router<OpenChami> {
    let limit = || DefaultBodyLimit::max(PHONE_HOME_BYTES_MAX);
    Router::new()
        .route("/network-config", get(node::network_config))
        .route("/phone-home", post(node::phone_home).layer(limit()))
        .route("/phone-home/{id}", post(node::phone_home_named).layer(limit()))
        .route("/wg-init", post(node::wg_init).layer(limit()))
        .route("/version", get(node::version))
        .route("/openapi.json", get(openapi::show))
}

/// Second generation.
fn second() -> Router<OpenChami> {
    calls()
        .route("/admin/cluster-defaults", get(admin::defaults).post(admin::set_defaults))
        .route("/admin/groups", get(admin::groups).post(admin::add_groups))
        .route("/admin/groups/{name}", get(admin::group).put(admin::put_group).delete(admin::remove_group))
        .route("/admin/instance-info/{id}", put(admin::put_instance).get(admin::instance))
        .route("/admin/impersonation/{id}/{document}", get(admin::impersonate))
}

/// First generation, and what a node asks of either.
fn entries() -> Router<first::Store> {
    Router::new()
        .route("/", get(first::list).post(first::add))
        .route("/user-data", get(node::user_data))
        .route("/meta-data", get(node::meta_data))
        .route("/vendor-data", get(node::vendor_data))
        .route("/{id}", get(first::show).put(first::put).delete(first::remove))
        .route("/{id}/{document}", get(first::document))
}
