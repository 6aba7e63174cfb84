//! The APIs of the OpenCHAMI stack that muster replaces, so that its clients work unmodified: SMD below
//! `/hsm/v2`, BSS below `/boot/v1`, cloud-init below `/cloud-init`. Adapters only: what they write goes to the
//! same inventory that DHCP and boot read; what our model has no place for is kept beside it, as annotations of
//! nodes, BMCs and groups, or as documents.

pub mod bss;
pub mod cloud_init;
pub mod draft;
pub mod go;
pub mod pcs;
pub mod query;
pub mod smd;

use axum::Router;

use crate::api::context::Context;

/// What these routes reach.
#[derive(Clone)]
pub struct OpenChami {
    pub context: Context,
    /// When nodes last fetched what they boot by.
    pub history: bss::History,
}

/// The routes of all services.
pub fn router(api: &OpenChami) -> Router {
    Router::new()
        .merge(smd::router(api))
        .merge(bss::router(api))
        .merge(cloud_init::router(api))
        .merge(pcs::router(api))
}
