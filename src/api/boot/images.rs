//! What a path below the images leads to: a file of an image, a manifest, or a file of the image root.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::api::boot::BootApi;
use crate::engine::image::find::{Found, find};
use crate::engine::image::manifest;
use crate::transport::http::{OpenError, OpenedFile};

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Lead {
    File {
        file: OpenedFile,
        label: String,
    },
    /// A text that is made here, and its entity tag.
    Text {
        body: String,
        etag: String,
    },
    Refused(StatusCode, String),
}

/// Finds what a cleaned path leads to. Opens files, so it may wait for a disk.
pub(crate) fn lead(api: &BootApi, path: &str) -> Lead {
    let snapshot = api.context.snapshot.load();
    match find(&snapshot.inventory, path) {
        Found::File { image, file, kind } => {
            let label = format!("{} {}", image.name, kind.as_str());
            match api.context.blobs.file(&file.digest) {
                Ok(file) => Lead::File { file, label },
                Err(error) => {
                    tracing::error!(image = %image.key(), %error, "a file of an image cannot be served");
                    let text = format!("the {} of {} is damaged or gone", kind.as_str(), image.key());
                    Lead::Refused(StatusCode::INTERNAL_SERVER_ERROR, text)
                }
            }
        }
        Found::Manifest(image) => {
            Lead::Text { body: manifest::emit(&image), etag: format!("\"{}\"", image.version.hex()) }
        }
        Found::Signature(image) => {
            let signature = api.site_key.sign(manifest::emit(&image).as_bytes());
            let etag = format!("\"{}-sig\"", image.version.hex());
            Lead::Text { body: format!("{}\n", STANDARD.encode(signature)), etag }
        }
        Found::Missing(why) => Lead::Refused(StatusCode::NOT_FOUND, why),
        Found::NotOurs => below_root(api, path),
    }
}

fn below_root(api: &BootApi, path: &str) -> Lead {
    let Some(root) = &api.images else {
        return Lead::Refused(StatusCode::NOT_FOUND, "no image has such a file".to_owned());
    };
    match root.file(path) {
        Ok(file) => Lead::File { file, label: path.to_owned() },
        Err(OpenError::NotFound | OpenError::NotAFile) => {
            Lead::Refused(StatusCode::NOT_FOUND, "no such file".to_owned())
        }
        Err(OpenError::Io(error)) => {
            tracing::warn!(path, %error, "an image file cannot be read");
            Lead::Refused(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read".to_owned())
        }
    }
}
