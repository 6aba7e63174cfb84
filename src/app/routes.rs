//! Which room answers which path.

use std::sync::Arc;

use axum::Router;

use crate::api::boot::{self, BootApi};
use crate::api::context::Context;
use crate::api::node;
use crate::api::openchami::bss::History;
use crate::api::openchami::{self, OpenChami};
use crate::api::page;
use crate::api::v1;
use crate::transport::http::ImageRoot;
use crate::transport::loaders::Loaders;
use crate::transport::vault::SiteKey;

/// What handlers reach.
#[derive(Clone)]
pub struct Parts {
    pub context: Context,
    pub loaders: Arc<Loaders>,
    pub images: Option<ImageRoot>,
    pub site_key: Arc<SiteKey>,
}

impl Parts {
    /// What booting machines fetch.
    #[must_use]
    pub fn machines(&self) -> BootApi {
        let Parts { context, loaders, images, site_key } = self.clone();
        BootApi { context, loaders, images, site_key }
    }
}

/// Every route of the head.
pub fn router(parts: &Parts) -> Router {
    let machines = parts.machines();
    let foreign = OpenChami { context: parts.context.clone(), history: History::default() };
    Router::new()
        .nest(v1::PREFIX, v1::router(parts.context.clone()))
        .merge(openchami::router(&foreign))
        .merge(boot::router(machines))
        .merge(node::router(parts.context.clone()))
        .merge(page::router(parts.context.clone()))
        .fallback(v1::unknown)
}
