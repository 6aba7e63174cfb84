//! BSS, the boot script service: `/boot/v1`, also below `/apis/bss`.

use axum::Router;

use crate::api::openchami::OpenChami;

/// The routes of the service.
pub fn router(_api: &OpenChami) -> Router {
    Router::new()
}
