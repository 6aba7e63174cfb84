//! What a path below the images leads to: a file of an image, a manifest, or a file of the image root.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::api::boot::BootApi;
use crate::base::Digest;
use crate::engine::boot::url;
use crate::engine::image::find::{Found, find};
use crate::engine::image::manifest;
use crate::engine::image::path::clean;
use crate::transport::http::{FileFound, OpenError, OpenedFile};

/// Paths below these lead to files of images.
pub const PREFIXES: &[&str] = &[url::IMAGES, url::OPENCHAMI];

/// What a path leads to.
#[derive(Debug)]
pub(crate) enum Lead {
    File {
        file: OpenedFile,
        /// What people call it.
        label: String,
        digest: Option<Digest>,
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
                Ok(opened) => Lead::File { file: opened, label, digest: Some(file.digest) },
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

/// The same for the front of plain listeners, which takes files only and leaves the rest to the router.
pub(crate) fn file(api: &BootApi, path: &str) -> Option<FileFound> {
    let below = PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix))?;
    let name = clean(below)?;
    match lead(api, &name) {
        Lead::File { file, label, digest } => Some(FileFound { file, name, label, digest }),
        Lead::Text { .. } | Lead::Refused(..) => None,
    }
}

fn below_root(api: &BootApi, path: &str) -> Lead {
    let Some(root) = &api.images else {
        return Lead::Refused(StatusCode::NOT_FOUND, "no image has such a file".to_owned());
    };
    match root.file(path) {
        Ok(file) => Lead::File { file, label: path.to_owned(), digest: None },
        Err(OpenError::NotFound | OpenError::NotAFile) => {
            Lead::Refused(StatusCode::NOT_FOUND, "no such file".to_owned())
        }
        Err(OpenError::Io(error)) => {
            tracing::warn!(path, %error, "an image file cannot be read");
            Lead::Refused(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read".to_owned())
        }
    }
}
