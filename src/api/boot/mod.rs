//! What booting machines fetch, over plain HTTP or TLS: scripts, loaders, and the files of images. No token:
//! a machine that boots has none. Nothing secret is served here.

pub mod files;
pub mod images;
pub mod query;
pub mod script;

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::get;

use crate::api::context::Context;
use crate::engine::boot::script::Reach;
use crate::engine::boot::url;
use crate::transport::http::{ImageRoot, Peer, Secure};
use crate::transport::loaders::Loaders;
use crate::transport::vault::SiteKey;

/// What these routes reach.
#[derive(Clone)]
pub struct BootApi {
    pub context: Context,
    pub loaders: Arc<Loaders>,
    pub images: Option<ImageRoot>,
    pub site_key: Arc<SiteKey>,
}

/// The routes of this room.
pub fn router(api: BootApi) -> Router {
    Router::new()
        .route(url::BOOT, get(script::entry))
        .route(url::SCRIPT, get(script::own))
        .route(&format!("{}/{{*file}}", url::LOADERS), get(files::loader))
        .route(&format!("{}/{{*file}}", url::IMAGES), get(files::image))
        .route(&format!("{}/{{*file}}", url::OPENCHAMI), get(files::image))
        .with_state(api)
}

/// Who asks, and whether over TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Caller {
    pub(crate) peer: Peer,
    pub(crate) is_secure: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, StatusCode> {
        // Every listener says who its peer is.
        let peer = parts.extensions.get().copied().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok(Caller { peer, is_secure: parts.extensions.get::<Secure>().is_some() })
    }
}

/// How this peer reaches the head: by the address it came to. Behind a Unix socket, by the first network.
pub(crate) fn reach(context: &Context, caller: Caller) -> Reach {
    let site = &context.snapshot.load().site;
    let fallback = || site.head.or_else(|| site.networks.iter().find_map(|network| network.head()));
    // Who came over TLS goes on like that, if loaders are to use it at all.
    let tls = site.loader_tls.as_ref().filter(|tls| tls.always || caller.is_secure).map(|tls| tls.port);
    match caller.peer.head() {
        Some((head, port)) => Reach { head, port, tls },
        None => Reach { head: fallback().unwrap_or(Ipv4Addr::LOCALHOST), port: site.http_port, tls },
    }
}
