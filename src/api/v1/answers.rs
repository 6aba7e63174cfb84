//! Validators of what is read: each JSON answer bears the tag of its octets, and a client that has it already
//! is told so (RFC 9110 sections 8.8.3 and 13.1.2).

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::problem::Problem;
use crate::api::v1::terms::{tag_of, tags};
use crate::api::v1::write::header_value;

/// Adds the tag to what was read, or says that the client has it.
pub(crate) async fn validated(request: Request, next: Next) -> Response {
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    if !reads {
        return next.run(request).await;
    }
    let known = match tags(request.headers(), &header::IF_NONE_MATCH) {
        Ok(known) => known,
        Err(problem) => return problem.into_response(),
    };
    let response = next.run(request).await;
    let json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if response.status() != StatusCode::OK || !json {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // The handler has made all of it already: nothing is bounded here that was not bounded there.
    let Ok(octets) = axum::body::to_bytes(body, usize::MAX).await else {
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer broke off").into_response();
    };
    let tag = tag_of(&octets);
    head.headers.insert(header::ETAG, header_value(&tag));
    head.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Weak comparison, RFC 9110 section 13.1.2.
    let weak = format!("W/{tag}");
    if known.is_some_and(|known| known.include(Some(&tag)) || known.include(Some(&weak))) {
        head.status = StatusCode::NOT_MODIFIED;
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::CONTENT_TYPE);
        return Response::from_parts(head, Body::empty());
    }
    Response::from_parts(head, Body::from(octets))
}
