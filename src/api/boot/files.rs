//! Loaders from memory and image files from disk.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::api::boot::BootApi;
use crate::engine::boot::{script, url};
use crate::engine::image::path::clean;
use crate::transport::http::file::respond_bytes;
use crate::transport::http::{OpenError, Peer};

/// A loader by name. shim and GRUB ask for paths below their own; the last part counts.
pub(crate) async fn loader(
    State(api): State<BootApi>,
    Extension(peer): Extension<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(path) = below(&uri, url::LOADERS) else {
        return refuse(StatusCode::BAD_REQUEST, &uri, "malformed path");
    };
    let name = path.rsplit('/').next().unwrap_or(&path);
    if name == "autoexec.ipxe" {
        // UEFI iPXE asks for it beside itself, before its own DHCP: the shortest way to the script.
        let body = axum::body::Bytes::from(script::entry(crate::api::boot::reach(&api.context, peer)));
        return respond_bytes(&method, &headers, name, &body, "\"autoexec\"");
    }
    match api.loaders.get_tagged(name) {
        Some((bytes, tag)) => respond_bytes(&method, &headers, name, &bytes, &tag),
        None => refuse(StatusCode::NOT_FOUND, &uri, "no such loader"),
    }
}

/// A file of the image root.
pub(crate) async fn image(
    State(api): State<BootApi>,
    Extension(peer): Extension<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(root) = api.images.clone() else {
        return refuse(StatusCode::NOT_FOUND, &uri, "no image root is configured ([images] root)");
    };
    let Some(path) = below(&uri, url::IMAGES) else {
        return refuse(StatusCode::BAD_REQUEST, &uri, "malformed path");
    };
    let wanted = path.clone();
    // Opening may wait for a slow disk; packets must not wait with it.
    let opened = tokio::task::spawn_blocking(move || root.file(&wanted)).await;
    let opened = opened.unwrap_or_else(|_| Err(OpenError::Io(std::io::ErrorKind::Interrupted.into())));
    let answer = match opened {
        Ok(file) => file.respond(&method, &headers, &path).await,
        Err(error) => Err(error),
    };
    tracing::debug!(peer = peer.address().map(tracing::field::display), %method, path, "image file");
    match answer {
        Ok(response) => response,
        Err(OpenError::NotFound | OpenError::NotAFile) => refuse(StatusCode::NOT_FOUND, &uri, "no such file"),
        Err(OpenError::Io(error)) => {
            tracing::warn!(path, %error, "an image file cannot be read");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, &uri, "the file cannot be read")
        }
    }
}

fn below(uri: &Uri, prefix: &str) -> Option<String> {
    clean(uri.path().strip_prefix(prefix)?)
}

fn refuse(status: StatusCode, uri: &Uri, why: &str) -> Response {
    (status, format!("{}: {why}\n", uri.path())).into_response()
}
