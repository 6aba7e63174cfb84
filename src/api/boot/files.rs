//! Loaders from memory and image files from disk.

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::api::boot::BootApi;
use crate::api::boot::images::{Lead, PREFIXES, lead};
use crate::engine::boot::{script, url};
use crate::engine::image::path::clean;
use crate::engine::record::What;
use crate::transport::http::Peer;
use crate::transport::http::file::respond_bytes;

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
        let what = What::Loader { file: name.to_owned(), status: 200, bytes: 0, head: false };
        api.context.recorder.saw(peer.ip(), what);
        return respond_bytes(&method, &headers, name, &body, "\"autoexec\"");
    }
    let (answer, bytes) = match api.loaders.get_tagged(name) {
        Some((bytes, tag)) => (respond_bytes(&method, &headers, name, &bytes, &tag), bytes.len()),
        None => (refuse(StatusCode::NOT_FOUND, &uri, "no such loader"), 0),
    };
    let (status, head) = (answer.status().as_u16(), method == Method::HEAD);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    api.context.recorder.saw(peer.ip(), What::Loader { file: name.to_owned(), status, bytes, head });
    answer
}

/// A file below the images, by any of its names.
pub(crate) async fn image(
    State(api): State<BootApi>,
    Extension(peer): Extension<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let path = PREFIXES.iter().find_map(|prefix| below(&uri, prefix));
    let Some(path) = path else {
        return refuse(StatusCode::BAD_REQUEST, &uri, "malformed path");
    };
    let (wanted, recorder) = (path.clone(), api.context.recorder.clone());
    // Opening may wait for a slow disk; packets must not wait with it.
    let found = tokio::task::spawn_blocking(move || lead(&api, &wanted)).await;
    tracing::debug!(peer = peer.address().map(tracing::field::display), %method, path, "image file");
    let answer = match found {
        Ok(Lead::File { file, label, digest: _ }) => match file.respond(&method, &headers, &path).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(label, %error, "an image file cannot be read");
                refuse(StatusCode::INTERNAL_SERVER_ERROR, &uri, "the file cannot be read")
            }
        },
        Ok(Lead::Text { body, etag }) => {
            respond_bytes(&method, &headers, "manifest.txt", &axum::body::Bytes::from(body), &etag)
        }
        Ok(Lead::Refused(status, why)) => refuse(status, &uri, &why),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &uri, "the file cannot be looked for"),
    };
    let status = answer.status().as_u16();
    if status >= 400 {
        recorder.saw(peer.ip(), What::FileRefused { path, status });
    }
    answer
}

fn below(uri: &Uri, prefix: &str) -> Option<String> {
    clean(uri.path().strip_prefix(prefix)?)
}

fn refuse(status: StatusCode, uri: &Uri, why: &str) -> Response {
    (status, format!("{}: {why}\n", uri.path())).into_response()
}
