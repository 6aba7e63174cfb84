//! The admin page: what an operator sees in a browser, made here and readable without scripts.
//!
//! Pages read what the API's own handlers read. What they change they change by the REST API, which the modules
//! in `assets` speak; only sign-in, sign-out and the first visit are plain forms (`door.rs`).

mod assets;
mod bits;
mod boot;
mod cloud_init;
pub(crate) mod door;
mod groups;
mod head;
mod images;
mod import;
mod inbox;
mod layout;
mod networks;
mod node;
mod nodes;
mod now;
mod record;
mod stage;
mod trust;

use axum::Router;
use axum::http::Uri;
use axum::response::Redirect;
use axum::routing::get;

use crate::api::context::Context;
use crate::api::page::layout::Refused;
use crate::api::problem::Problem;

/// Where the pages lie. `/` leads there.
pub(crate) const PREFIX: &str = "/ui";

/// The routes of the pages but for those at the door.
pub fn router(context: Context) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::to("/ui/") }))
        .route("/ui", get(now::now))
        .route("/ui/", get(now::now))
        .route("/ui/nodes", get(nodes::list))
        .route("/ui/new-node", get(nodes::new))
        .route("/ui/nodes/{name}", get(node::show))
        .route("/ui/inbox", get(inbox::inbox))
        .route("/ui/import", get(import::import))
        .route("/ui/images", get(images::list))
        .route("/ui/images/{name}", get(images::show))
        .route("/ui/boot", get(boot::list))
        .route("/ui/boot/new", get(boot::new))
        .route("/ui/boot/{profile}", get(boot::show))
        .route("/ui/cloud-init", get(cloud_init::list))
        .route("/ui/cloud-init/{group}", get(cloud_init::show))
        .route("/ui/groups", get(groups::list))
        .route("/ui/groups/{name}", get(groups::show))
        .route("/ui/networks", get(networks::list))
        .route("/ui/leases", get(networks::leases))
        .route("/ui/trust", get(trust::sessions))
        .route("/ui/secrets", get(trust::secrets))
        .route("/ui/audit", get(head::audit))
        .route("/ui/account", get(head::account))
        .route("/ui/settings", get(head::settings))
        .route("/ui/{*other}", get(missing))
        .route("/ui/assets/{digest}/{name}", get(assets::serve))
        .with_state(context)
}

async fn missing(uri: Uri) -> Refused {
    Refused(Problem::not_found(format!("There is no page at {}", uri.path())))
}

/// True for what a browser asks as a page.
pub(crate) fn is_page(path: &str) -> bool {
    path == "/" || path == PREFIX || path.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('/'))
}
