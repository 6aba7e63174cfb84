//! `/service/…` and `/scn`: what BSS says of itself. SMD and the store are in this process: if it answers at all,
//! they are connected, and a store that fails ends the head.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::api::openchami::bss;
use crate::api::problem::Problem;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const CONNECTED: &str = "connected";

fn backend() -> Value {
    json!({"name": "muster", "status": CONNECTED})
}

pub(crate) async fn own() -> Response {
    bss::json(StatusCode::OK, &json!({"bss-status": "running"}))
}

pub(crate) async fn all() -> Response {
    let body = json!({
        "bss-version": VERSION,
        "bss-status": "running",
        "bss-status-hsm": CONNECTED,
        "bss-storage-backend": backend(),
    });
    bss::json(StatusCode::OK, &body)
}

pub(crate) async fn version() -> Response {
    bss::json(StatusCode::OK, &json!({"bss-version": VERSION}))
}

pub(crate) async fn hsm() -> Response {
    bss::json(StatusCode::OK, &json!({"bss-status-hsm": CONNECTED}))
}

pub(crate) async fn storage() -> Response {
    bss::json(StatusCode::OK, &json!({"bss-storage-backend": backend()}))
}

/// As BSS said it while etcd was its only store.
pub(crate) async fn etcd() -> Response {
    bss::json(StatusCode::OK, &json!({"bss-status-etcd": CONNECTED}))
}

/// `POST /scn`: a notice that components changed. Boot scripts are decided from the inventory at each request,
/// so it is checked and needs nothing done.
pub(crate) async fn notified(bytes: Bytes) -> Result<StatusCode, Problem> {
    serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes)
        .map_err(|error| Problem::bad_request(format!("Bad Request: error decoding JSON {error}")))?;
    Ok(StatusCode::OK)
}
