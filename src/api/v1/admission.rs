//! What every request must be before a handler sees it, by the table of operations: query fields that are
//! known and said once, flags that are flags, a body of a type that is read, and not too long. A mistyped
//! `?sets=` is refused and not overlooked.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api::openapi::{OPERATIONS, Operation, is_flag};
use crate::api::problem::Problem;
use crate::api::v1::query;
use crate::base::limits::{IMPORT_BYTES_MAX, REQUEST_BYTES_MAX};

/// Query fields that may be given several times.
const MANY: [&str; 1] = ["kind"];

/// Refuses what no handler should see, and says of a body that is too long how long it may be.
pub(crate) async fn admitted(request: Request, next: Next) -> Response {
    let method = request.method().as_str().to_ascii_lowercase();
    let method = if method == "head" { "get" } else { &method };
    let Some(operation) = find(method, request.uri().path()) else { return next.run(request).await };
    let asked =
        query_fits(operation, request.uri().query()).and_then(|()| body_fits(operation, request.headers()));
    if let Err(problem) = asked {
        return problem.into_response();
    }
    let response = next.run(request).await;
    if response.status() != StatusCode::PAYLOAD_TOO_LARGE {
        return response;
    }
    let max = if matches!(operation.path, "/inventory/import" | "/batch" | "/uploads") {
        IMPORT_BYTES_MAX
    } else {
        REQUEST_BYTES_MAX
    };
    let text = format!("the body is longer than {max} octets");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text).into_response()
}

/// The operation of a path below the API's prefix.
fn find(method: &str, path: &str) -> Option<&'static Operation> {
    let fits = |template: &str| {
        let (mut wanted, mut given) = (template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(wanted), Some(given)) if wanted == given || wanted.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    OPERATIONS.iter().find(|operation| operation.method == method && fits(operation.path))
}

fn query_fits(operation: &Operation, raw: Option<&str>) -> Result<(), Problem> {
    let mut seen: Vec<&str> = Vec::new();
    for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        let known = operation.query.iter().map(|(known, _)| *known);
        let Some(name) = known.clone().find(|known| *known == name) else {
            let known: Vec<&str> = known.collect();
            let text = match known.as_slice() {
                [] => "no query field is known here".to_owned(),
                known => format!("is no query field here; known are {}", known.join(", ")),
            };
            return Err(Problem::field(name, text));
        };
        if seen.contains(&name) && !MANY.contains(&name) {
            return Err(Problem::field(name, "is given twice"));
        }
        seen.push(name);
        let value = query::field(Some(pair), name).unwrap_or_default();
        if is_flag(name) && !matches!(value.as_str(), "" | "1" | "true" | "0" | "false") {
            return Err(Problem::field(name, format!("{value:?} is none of true, false, 1, 0")));
        }
    }
    Ok(())
}

/// A body without a type is taken for what the operation reads; curl's default for a form is refused.
fn body_fits(operation: &Operation, headers: &HeaderMap) -> Result<(), Problem> {
    let (Some(body), Some(kind)) = (operation.body, headers.get(header::CONTENT_TYPE)) else { return Ok(()) };
    let kind =
        kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let json = matches!(kind.as_str(), "application/json" | "application/merge-patch+json");
    // An import finds out by itself what it reads; of content it does not matter.
    if json || matches!(body, "text" | "octets") {
        return Ok(());
    }
    let text = format!("Content-Type: {kind:?} is not read here; send application/json");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text))
}

#[cfg(test)]
mod tests {
    use crate::api::v1::admission::{find, query_fits};

    #[test]
    fn paths_find_their_operation() {
        assert_eq!(find("get", "/nodes/a/interfaces").unwrap().path, "/nodes/{name}/interfaces");
        assert_eq!(find("delete", "/nodes").unwrap().path, "/nodes");
        assert!(find("get", "/nodes/a/b/c/d").is_none() && find("trace", "/nodes").is_none());
    }

    #[test]
    fn query_fields_are_known_and_said_once() {
        let nodes = find("delete", "/nodes").unwrap();
        assert!(query_fits(nodes, Some("set=a&dry_run")).is_ok());
        for wrong in ["sets=a", "set=a&set=b", "dry_run=yes"] {
            assert!(query_fits(nodes, Some(wrong)).is_err(), "{wrong}");
        }
        assert!(query_fits(find("get", "/events").unwrap(), Some("kind=a&kind=b")).is_ok());
    }
}
