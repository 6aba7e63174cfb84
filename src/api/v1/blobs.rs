//! What is known of stored content. The content itself is served to machines as images, not here.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::types::{known, read};
use crate::base::Digest;
use crate::transport::blobs::{BlobError, BlobInfo};

/// States that `state` can ask for.
const STATES: [&str; 2] = ["good", "corrupt"];

/// A blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlobBody {
    pub digest: String,
    pub size: u64,
    /// When it was stored.
    pub stored: String,
    /// When its content was last held against its digest.
    pub checked: String,
    /// `good`, or `corrupt`: set aside, not served, and replaced by the next upload of the same content.
    pub state: String,
}

impl From<BlobInfo> for BlobBody {
    fn from(info: BlobInfo) -> BlobBody {
        BlobBody {
            digest: info.digest.to_string(),
            size: info.size,
            stored: info.stored.rfc3339(),
            checked: info.checked.rfc3339(),
            state: STATES[usize::from(info.corrupt)].to_owned(),
        }
    }
}

/// `GET /blobs`, by digest.
pub(crate) async fn list(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let corrupt = match query::field(uri.query(), "state") {
        None => None,
        Some(word) if STATES.contains(&word.as_str()) => Some(word == STATES[1]),
        Some(word) => return Err(known("state", &word, &STATES)),
    };
    let all = context.blobs.list().into_iter();
    let wanted = all.filter(|info| corrupt.is_none_or(|corrupt| info.corrupt == corrupt));
    page(&uri, wanted.map(|info| (info.digest, info)), BlobBody::from)
}

pub(crate) async fn show(
    State(context): State<Context>,
    Path(digest): Path<String>,
) -> Result<Json<BlobBody>, Problem> {
    let digest: Digest = read("digest", &digest)?;
    let info = context.blobs.info(&digest).ok_or(BlobError::NotFound(digest))?;
    Ok(Json(BlobBody::from(info)))
}

/// `POST /blobs/{digest}/verify`: holds the content against its name now, as fast as the disk goes. A client that
/// goes away stops it.
pub(crate) async fn verify(
    State(context): State<Context>,
    Path(digest): Path<String>,
) -> Result<Json<BlobBody>, Problem> {
    let digest: Digest = read("digest", &digest)?;
    context.blobs.verify(vec![digest], None).await?;
    let info = context.blobs.info(&digest).ok_or(BlobError::NotFound(digest))?;
    Ok(Json(BlobBody::from(info)))
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Problem {
        let status = match &error {
            BlobError::NotFound(_) | BlobError::NoUpload(_) => StatusCode::NOT_FOUND,
            BlobError::OtherContent { .. }
            | BlobError::OtherSize { .. }
            | BlobError::TooLarge(_)
            | BlobError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            BlobError::Outside { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            BlobError::Length => StatusCode::BAD_REQUEST,
            BlobError::Silent(_) => StatusCode::REQUEST_TIMEOUT,
            BlobError::Busy | BlobError::Complete | BlobError::Incomplete | BlobError::TooManyPieces => {
                StatusCode::CONFLICT
            }
            BlobError::TooMany(_) | BlobError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            full if full.is_full() => StatusCode::INSUFFICIENT_STORAGE,
            BlobError::Quota { .. } | BlobError::Disk { .. } | BlobError::Io(_) => {
                tracing::error!(%error, "a request failed in the store of blobs");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Problem::new(status, error.to_string())
    }
}
