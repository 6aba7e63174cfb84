//! cloud-init, both generations: `/cloud-init` and `/cloud-init-secure`.

use axum::Router;

use crate::api::openchami::OpenChami;

/// The routes of the service.
pub fn router(_api: &OpenChami) -> Router {
    Router::new()
}
