//! Uploads of content: declared, sent in ranges, completed. Each answer says what is missing, so that a client
//! that lost its connection, its power or its head goes on where it was.

use std::ops::Range;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::types::read;
use crate::api::v1::write::header_value;
use crate::base::limits::UPLOAD_CHUNKS_MAX;
use crate::base::{Digest, Uuid};
use crate::transport::blobs::chunks::{CHUNK_MAX, Chunk};
use crate::transport::blobs::{Begun, BlobError, BlobInfo, Completed, UploadInfo, UploadState, blocking};

/// Content that somebody wants to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUploadBody {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    pub size: u64,
    /// Its content-defined chunks (FastCDC of 2020, normalization 1; 64 KiB, 256 KiB, 1 MiB), in order. What
    /// the head has of them need not be sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<ChunkBody>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunkBody {
    pub digest: String,
    pub size: u32,
}

/// An upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadBody {
    /// None: the content is present, nothing need be sent.
    pub id: Option<String>,
    pub digest: String,
    pub size: u64,
    pub present: bool,
    /// `receiving`, `checking`, `failed`, or `present`.
    pub state: String,
    /// Bytes that are on disk.
    pub received: u64,
    /// Bytes that were held against the digest, while all is checked.
    pub checked: u64,
    /// The first ranges that are missing.
    pub missing: Vec<RangeBody>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// From the first byte to the last, as HTTP counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RangeBody {
    pub first: u64,
    pub last: u64,
}

impl From<UploadInfo> for UploadBody {
    fn from(info: UploadInfo) -> UploadBody {
        let (state, checked, failure) = match info.state {
            UploadState::Receiving => ("receiving", 0, None),
            UploadState::Checking(checked) => ("checking", checked, None),
            UploadState::Failed(why) => ("failed", 0, Some(why)),
        };
        let range = |range: Range<u64>| RangeBody { first: range.start, last: range.end.saturating_sub(1) };
        UploadBody {
            id: Some(info.id.to_string()),
            digest: info.digest.to_string(),
            size: info.size,
            present: false,
            state: state.to_owned(),
            received: info.received,
            checked,
            missing: info.missing.into_iter().map(range).collect(),
            failure,
        }
    }
}

impl From<BlobInfo> for UploadBody {
    fn from(info: BlobInfo) -> UploadBody {
        UploadBody {
            id: None,
            digest: info.digest.to_string(),
            size: info.size,
            present: true,
            state: "present".to_owned(),
            received: info.size,
            checked: info.size,
            missing: Vec::new(),
            failure: None,
        }
    }
}

/// `GET /uploads`, by id.
pub(crate) async fn list(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    page(&uri, context.blobs.uploads().into_iter().map(|info| (info.id, info)), UploadBody::from)
}

/// `POST /uploads`: begins one, goes on with the one of this content, or says that it is present.
pub(crate) async fn begin(State(context): State<Context>, bytes: Bytes) -> Result<Response, Problem> {
    let body: NewUploadBody = query::body(&bytes)?;
    let digest: Digest = read("digest", &body.digest)?;
    let chunks = chunks(&body)?;
    Ok(match context.blobs.begin(digest, body.size, chunks).await? {
        Begun::Present(info) => Json(UploadBody::from(info)).into_response(),
        Begun::Upload(info, false) => Json(UploadBody::from(info)).into_response(),
        Begun::Upload(info, true) => {
            let place = header_value(&format!("{}/uploads/{}", crate::api::v1::PREFIX, info.id));
            (StatusCode::CREATED, [(header::LOCATION, place)], Json(UploadBody::from(info))).into_response()
        }
    })
}

fn chunks(body: &NewUploadBody) -> Result<Vec<Chunk>, Problem> {
    if body.chunks.len() > UPLOAD_CHUNKS_MAX {
        return Err(Problem::field("chunks", format!("at most {UPLOAD_CHUNKS_MAX}; leave them out")));
    }
    let mut total = 0;
    let mut chunks = Vec::with_capacity(body.chunks.len());
    for (index, chunk) in body.chunks.iter().enumerate() {
        if !(1..=CHUNK_MAX).contains(&chunk.size) {
            let text = format!("{} is no number from 1 to {CHUNK_MAX}", chunk.size);
            return Err(Problem::field(format!("chunks[{index}].size"), text));
        }
        let digest = read(&format!("chunks[{index}].digest"), &chunk.digest)?;
        chunks.push(Chunk { digest, size: chunk.size });
        total += u64::from(chunk.size);
    }
    if !chunks.is_empty() && total != body.size {
        return Err(Problem::field("chunks", format!("have {total} bytes, but size says {}", body.size)));
    }
    Ok(chunks)
}

pub(crate) async fn show(
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Result<Json<UploadBody>, Problem> {
    let id: Uuid = read("id", &id)?;
    let info = context.blobs.upload(id).ok_or(BlobError::NoUpload(id))?;
    Ok(Json(UploadBody::from(info)))
}

/// `PATCH /uploads/{id}`: bytes at their place. They are on disk before this answers.
pub(crate) async fn receive(
    State(context): State<Context>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<UploadBody>, Problem> {
    let id: Uuid = read("id", &id)?;
    let info = context.blobs.upload(id).ok_or(BlobError::NoUpload(id))?;
    let text = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (range, size) = content_range(text).ok_or_else(|| {
        Problem::bad_request(format!("Content-Range: {text:?}: expected bytes FIRST-LAST/SIZE"))
    })?;
    if size != info.size {
        let text = format!("Content-Range: the size is {}, not {size}", info.size);
        return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, text));
    }
    let info = context.blobs.receive(id, range, body.into_data_stream()).await?;
    Ok(Json(UploadBody::from(info)))
}

/// Reads `bytes FIRST-LAST/SIZE` (RFC 9110 section 14.4).
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| digits)
    };
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first..last.checked_add(1)?, number(size)?))
}

/// `POST /uploads/{id}/complete`: checks it all. What takes longer is asked after by `GET`.
pub(crate) async fn complete(
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Result<Json<UploadBody>, Problem> {
    Ok(Json(match context.blobs.complete(read("id", &id)?).await? {
        Completed::Done(info) => UploadBody::from(info),
        Completed::Checking(info) => UploadBody::from(info),
    }))
}

pub(crate) async fn cancel(
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = read("id", &id)?;
    blocking(move || context.blobs.cancel(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use crate::api::v1::uploads::content_range;

    #[test]
    fn places_of_bytes_are_read_and_all_else_is_refused() {
        assert_eq!(content_range("bytes 0-0/1"), Some((0..1, 1)));
        assert_eq!(content_range("bytes 8-15/100"), Some((8..16, 100)));
        let max = format!("bytes 0-{}/1", u64::MAX);
        for wrong in
            ["", "bytes", "bytes */9", "bytes 1-0/9", "bytes 0-1", "bytes +0-1/9", "octets 0-1/9", &max]
        {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}
