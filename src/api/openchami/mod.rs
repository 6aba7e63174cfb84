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
use axum::http::StatusCode;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::base::Uuid;

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

/// A UUID that nobody guesses: keys, tokens and names of what clients make.
///
/// # Errors
/// Status 500: the kernel gives no random numbers.
pub(crate) fn random_uuid() -> Result<Uuid, Problem> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets).map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the system gives no random numbers")
    })?;
    Ok(Uuid::version_4(octets))
}
