//! What goes wrong, in the form clients read (RFC 9457). The public text names field and place; causes go to
//! the log.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::store::StoreError;

/// The media type of a problem (RFC 9457 section 6.1).
const MEDIA_TYPE: &str = "application/problem+json";

/// A refusal. One cause, or several problems with their fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<FieldProblem>,
}

/// One field's problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldProblem {
    /// What it is about, such as `node nid001`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    pub field: String,
    pub text: String,
    /// Line of the document, from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl Problem {
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            problems: Vec::new(),
        }
    }

    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    #[must_use]
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    #[must_use]
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// A field whose value cannot be.
    #[must_use]
    pub fn field(field: impl Into<String>, text: impl Into<String>) -> Problem {
        let (field, text) = (field.into(), text.into());
        let detail = format!("{field}: {text}");
        let problems = vec![FieldProblem { subject: String::new(), field, text, line: None }];
        Problem { problems, ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// A change that would break declared state.
    #[must_use]
    pub fn invalid(found: &[crate::model::validate::Problem]) -> Problem {
        let problems = found
            .iter()
            .take(crate::base::limits::PROBLEMS_MAX)
            .map(|problem| FieldProblem {
                subject: problem.subject.to_string(),
                field: problem.field.clone(),
                text: problem.text.clone(),
                line: None,
            })
            .collect();
        let detail = match found {
            [one] => one.to_string(),
            _ => format!("{} problems; nothing was changed", found.len()),
        };
        Problem { problems, ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        let status = match &error {
            StoreError::Conflict { .. } => StatusCode::CONFLICT,
            StoreError::Full => StatusCode::INSUFFICIENT_STORAGE,
            StoreError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            StoreError::Corrupt(_)
            | StoreError::Schema { .. }
            | StoreError::Io { .. }
            | StoreError::Closed => {
                tracing::error!(%error, "a request failed in the store");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Problem::new(status, error.to_string())
    }
}

/// Longest text of a refusal that is not ours; axum's are one sentence.
const FOREIGN_TEXT_BYTES_MAX: usize = 4096;

/// Puts refusals that were made before a handler ran (a body too long, a path that is no text) into the same
/// form as ours. Their other headers stay.
pub async fn in_our_form(response: Response) -> Response {
    let status = response.status();
    let ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == MEDIA_TYPE);
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let text = axum::body::to_bytes(body, FOREIGN_TEXT_BYTES_MAX).await.unwrap_or_default();
    let problem = Problem::new(status, String::from_utf8_lossy(&text)).into_response();
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, problem.into_body())
}

/// The text of a refusal beside its answer, for whoever notes it on the answer's way out.
#[derive(Clone, Debug)]
pub struct Said(pub String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("a problem holds only text and numbers");
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response();
        response.extensions_mut().insert(Said(self.detail));
        response
    }
}
