//! Removing versions of images that nobody needs, and files that belong to no image.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::{FileBody, GarbageBody};
use crate::base::{Digest, Millis};
use crate::engine::image::garbage::{Plan, Policy, Uses, plan, referenced};
use crate::model::image::File;
use crate::model::{Change, Inventory};
use crate::transport::blobs::blocking;
use crate::transport::clock::now;

/// How many of the newest versions of each image are kept unless the request says otherwise.
const NEWEST: usize = 2;

/// How old a version or a file is before it can be garbage: an import that is under way has files without an
/// image, then an image without a tag.
const YOUNGER: Millis = Millis::from_secs(3600);

/// `POST /images/gc?newest=…`.
pub(crate) async fn run(
    State(context): State<Context>,
    terms: Terms,
    uri: Uri,
) -> Result<Json<GarbageBody>, Problem> {
    let newest = match query::field(uri.query(), "newest") {
        None => NEWEST,
        Some(text) => text.parse().map_err(|_| Problem::field("newest", format!("{text:?} is no number")))?,
    };
    let policy = Policy { newest, younger: YOUNGER };
    // Nobody makes an image of a file between the look at it and its end.
    let _turn = context.images.turn().await;
    let mut planned = Plan::default();
    let snapshot = context
        .alter(terms.dry_run, |snapshot| {
            terms.hold_at(snapshot)?;
            planned = plan(&snapshot.inventory, &uses(&context), policy, now());
            Ok(planned.gone.iter().map(|image| Change::RemoveImage(image.key())).collect())
        })
        .await?;
    let mut left = Inventory::clone(&snapshot.inventory);
    planned.gone.iter().for_each(|image| left.apply(&Change::RemoveImage(image.key())));
    let unused = unused(&context, &referenced(&left));
    let files = if terms.dry_run { unused } else { delete(&context, unused).await? };
    let kept = planned.kept.iter().map(|(key, reason)| (key.to_string(), reason.to_string()));
    Ok(Json(GarbageBody {
        dry_run: terms.dry_run,
        images: planned.gone.iter().map(|image| image.key().to_string()).collect(),
        bytes: files.iter().map(|file| file.size).sum(),
        files: files.into_iter().map(FileBody::from).collect(),
        kept: kept.collect(),
    }))
}

fn uses(context: &Context) -> Uses {
    Uses { streaming: in_use(context), booted: context.images.all() }
}

/// Content that machines download, or have their roots on.
fn in_use(context: &Context) -> BTreeSet<Digest> {
    context.streams.digests().into_iter().chain(context.images.mounted()).collect()
}

/// Files of no image, old enough, and not on their way to a machine.
fn unused(context: &Context, referenced: &BTreeSet<Digest>) -> Vec<File> {
    let (streaming, now) = (in_use(context), now());
    let garbage = context.blobs.list().into_iter().filter(|blob| {
        !referenced.contains(&blob.digest)
            && !streaming.contains(&blob.digest)
            && now.since(blob.stored) >= YOUNGER
    });
    garbage.map(|blob| File { digest: blob.digest, size: blob.size }).collect()
}

async fn delete(context: &Context, files: Vec<File>) -> Result<Vec<File>, Problem> {
    let digests: Vec<Digest> = files.iter().map(|file| file.digest).collect();
    let blobs = context.blobs.clone();
    let deleted = blocking(move || blobs.remove(&digests)).await;
    let failed = |why: String| {
        tracing::error!(why, "files of removed images stay");
        Problem::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "the images are gone, their files stay; see the log",
        )
    };
    let deleted = deleted.map_err(|error| failed(error.to_string()))?;
    Ok(deleted.into_iter().map(|blob| File { digest: blob.digest, size: blob.size }).collect())
}
