//! The admin page: what an operator sees in a browser, made here and readable without scripts.
//!
//! Pages read what the API's own handlers read. What they change they change by the REST API, which the modules
//! in `assets` speak; only sign-in, sign-out and the first visit are plain forms (`door.rs`).

mod assets;
mod bits;
pub(crate) mod door;
mod layout;
mod now;
mod stage;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;

use crate::api::context::Context;

/// Where the pages lie. `/` leads there.
pub(crate) const PREFIX: &str = "/ui";

/// The routes of the pages but for those at the door.
pub fn router(context: Context) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::to("/ui/") }))
        .route("/ui", get(|| async { Redirect::to("/ui/") }))
        .route("/ui/", get(now::now))
        .route("/ui/assets/{digest}/{name}", get(assets::serve))
        .with_state(context)
}

/// True for what a browser asks as a page.
pub(crate) fn is_page(path: &str) -> bool {
    path == "/" || path == PREFIX || path.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('/'))
}
