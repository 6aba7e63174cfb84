//! Lists in pages: a stable order, a cursor that is the key of the last thing, and a link to the next page. A
//! cursor needs no memory here: things that come and go between two pages shift nothing.

use std::fmt::Display;
use std::str::FromStr;

use axum::Json;
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::problem::Problem;
use crate::api::v1::PREFIX;
use crate::api::v1::query;
use crate::api::v1::types::read;
use crate::api::v1::write::header_value;
use crate::base::limits::PAGE_ITEMS_MAX;

/// Answers with one page of these things, in the order of their keys. `uri` is the request's own.
///
/// # Errors
/// `limit` or `after` cannot be.
pub(crate) fn page<K, T, B>(
    uri: &Uri,
    things: impl Iterator<Item = (K, T)>,
    show: impl Fn(T) -> B,
) -> Result<Response, Problem>
where
    K: Ord + Display + FromStr<Err: Display>,
    B: Serialize,
{
    let limit = query::limit(uri.query(), PAGE_ITEMS_MAX)?;
    let after = query::field(uri.query(), "after").filter(|text| !text.is_empty());
    let after: Option<K> = after.map(|text| read("after", &text)).transpose()?;
    let mut things: Vec<(K, T)> =
        things.filter(|(key, _)| after.as_ref().is_none_or(|after| key > after)).collect();
    things.sort_by(|a, b| a.0.cmp(&b.0));
    let more = things.len() > limit;
    things.truncate(limit);
    let next = things.last().filter(|_| more).map(|(key, _)| link(uri, &key.to_string()));
    let bodies: Vec<B> = things.into_iter().map(|(_, thing)| show(thing)).collect();
    let mut answer = Json(bodies).into_response();
    if let Some(next) = next {
        answer.headers_mut().insert(header::LINK, header_value(&next));
    }
    Ok(answer)
}

/// The link to the page behind this key (RFC 8288), with the other fields of the query as they are.
fn link(uri: &Uri, after: &str) -> String {
    let fields = uri.query().unwrap_or_default().split('&');
    let others: Vec<&str> =
        fields.filter(|field| !field.is_empty() && field.split('=').next() != Some("after")).collect();
    let joint = if others.is_empty() { "" } else { "&" };
    // The router that nests this API has cut its prefix off.
    format!("<{PREFIX}{}?{}{joint}after={}>; rel=\"next\"", uri.path(), others.join("&"), escape(after))
}

fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |escaped, octet| match octet {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
            escaped + char::from(octet).encode_utf8(&mut [0; 4])
        }
        _ => escaped + &format!("%{octet:02X}"),
    })
}
