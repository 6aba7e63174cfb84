//! What nodes fetch and say. No token: a node that boots has none; it is known by its address.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use serde_json::{Value, json};

use crate::api::cloud_init::Asker;
use crate::api::openchami::OpenChami;
use crate::api::openchami::cloud_init::body;
use crate::api::openchami::cloud_init::first::Store;
use crate::api::problem::Problem;
use crate::engine::cloud_init::calls::{Call, FIELDS_MAX};
use crate::engine::cloud_init::view::Section;
use crate::engine::cloud_init::{Tree, View, secure};
use crate::engine::image::path::percent_decode;
use crate::engine::record::What;
use crate::transport::clock::now;
use crate::transport::http::Peer;

/// Octets of a WireGuard key.
const WIREGUARD_KEY_BYTES: usize = 32;

pub(crate) async fn user_data(
    State(store): State<Store>,
    Extension(peer): Extension<Peer>,
) -> Result<Response, Problem> {
    own(&store, peer, "user-data").await
}

pub(crate) async fn meta_data(
    State(store): State<Store>,
    Extension(peer): Extension<Peer>,
) -> Result<Response, Problem> {
    own(&store, peer, "meta-data").await
}

pub(crate) async fn vendor_data(
    State(store): State<Store>,
    Extension(peer): Extension<Peer>,
) -> Result<Response, Problem> {
    own(&store, peer, "vendor-data").await
}

pub(crate) async fn network_config(
    State(api): State<OpenChami>,
    Extension(peer): Extension<Peer>,
) -> Result<Response, Problem> {
    own(&Store { api, tree: Tree::Open }, peer, "network-config").await
}

async fn own(store: &Store, peer: Peer, name: &str) -> Result<Response, Problem> {
    let answer = own_document(store, peer, name).await;
    let status = answer.as_ref().map_or_else(|problem| problem.status, |answer| answer.status().as_u16());
    store.api.context.recorder.saw(peer.ip(), What::Document { name: name.to_owned(), status });
    answer
}

async fn own_document(store: &Store, peer: Peer, name: &str) -> Result<Response, Problem> {
    let asker = Asker::of_peer(&store.api.context, peer).await?;
    tracing::info!(node = asker.node.name.as_str(), document = name, "cloud-init");
    document(&asker.view(), store.tree, name)
}

/// A document of a node by its name in the URL.
///
/// # Errors
/// Status 404: there is no such document.
pub(crate) fn document(view: &View<'_>, tree: Tree, name: &str) -> Result<Response, Problem> {
    match (tree, name) {
        (Tree::Secure, _) => match section(name) {
            Some(Section::User) => Ok(body::text(view.secure(Section::User))),
            Some(section) => Ok(body::yaml(view.secure(section))),
            None => Err(no_document(name)),
        },
        (Tree::Open, "user-data") => Ok(body::text(open(view, name, view.user_data())?)),
        (Tree::Open, "meta-data") => Ok(body::yaml(view.meta_data().yaml())),
        (Tree::Open, "vendor-data") => Ok(body::text(view.vendor_data())),
        (Tree::Open, "network-config") => Ok(body::yaml(view.network_config())),
        (Tree::Open, _) => match name.strip_suffix(".yaml") {
            Some(group) => group_file(view, group),
            None => Err(no_document(name)),
        },
    }
}

/// The section that a document's name stands for.
pub(crate) fn section(name: &str) -> Option<Section> {
    match name {
        "user-data" => Some(Section::User),
        "meta-data" => Some(Section::Meta),
        "vendor-data" => Some(Section::Vendor),
        _ => None,
    }
}

pub(crate) fn group_file(view: &View<'_>, group: &str) -> Result<Response, Problem> {
    let file = view
        .group_file(group)
        .ok_or_else(|| Problem::not_found(format!("node {} is not in a group {group:?}", view.node.name)))?;
    Ok(body::yaml(open(view, &format!("{group}.yaml"), file)?))
}

/// A document that is for everybody who has the node's address.
fn open(view: &View<'_>, name: &str, content: Vec<u8>) -> Result<Vec<u8>, Problem> {
    match secure::check_open(name, &content, view.min_level(name)) {
        Ok(()) => Ok(content),
        Err(refused) => Err(Problem::new(StatusCode::FORBIDDEN, refused.to_string())),
    }
}

pub(crate) fn no_document(name: &str) -> Problem {
    Problem::not_found(format!(
        "no document is called {name:?}: there are meta-data, user-data, vendor-data, network-config and GROUP.yaml"
    ))
}

pub(crate) async fn phone_home(
    State(api): State<OpenChami>,
    Extension(peer): Extension<Peer>,
    bytes: Bytes,
) -> Result<StatusCode, Problem> {
    call(&api, peer, None, &bytes).await
}

pub(crate) async fn phone_home_named(
    State(api): State<OpenChami>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<StatusCode, Problem> {
    call(&api, peer, Some(&id), &bytes).await
}

/// Records a report for the node that sends it. What it says about itself is not believed where it says another
/// name: the address decides.
async fn call(api: &OpenChami, peer: Peer, id: Option<&str>, bytes: &Bytes) -> Result<StatusCode, Problem> {
    let asker = Asker::of_peer(&api.context, peer).await?;
    let form = String::from_utf8_lossy(bytes);
    let fields = form.split('&').take(FIELDS_MAX).filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let decode = |text: &str| percent_decode(&text.replace('+', " "));
        Some((decode(name)?, decode(value)?))
    });
    let call = Call::read(fields).map_err(|field| Problem::field(field, "is too long"))?;
    let node = &asker.node;
    let wanted = asker.view().instance_id();
    let is_own = |id: &str| {
        id == wanted
            || crate::api::cloud_init::find(&api.context.snapshot.load(), id)
                .is_some_and(|other| other.id == node.id)
    };
    if let Some(id) = id.filter(|id| !is_own(id)) {
        tracing::warn!(
            node = node.name.as_str(),
            id,
            "a node phones home under another name; its address counts"
        );
    }
    tracing::info!(
        node = node.name.as_str(),
        instance_id = call.instance_id,
        hostname = call.hostname,
        keys = call.keys.len(),
        "phone home"
    );
    api.context.calls.record(node.id, call, now());
    api.context.recorder.saw(peer.ip(), What::PhoneHome);
    Ok(StatusCode::OK)
}

/// WireGuard enrolment. The key is checked, so that a broken script learns of it; the tunnel is not part of this
/// head.
pub(crate) async fn wg_init(
    State(api): State<OpenChami>,
    Extension(peer): Extension<Peer>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let asker = Asker::of_peer(&api.context, peer).await?;
    // Sent by `curl -d`: JSON whatever the content type says.
    let request: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::field("body", format!("must be JSON {{\"public_key\": …}}: {error}")))?;
    let key = body::field(&request, "public_key").and_then(Value::as_str).unwrap_or_default();
    let octets = base64::engine::general_purpose::STANDARD.decode(key).unwrap_or_default();
    if octets.len() != WIREGUARD_KEY_BYTES {
        return Err(Problem::field("public_key", "must be a WireGuard key: 32 octets in base64"));
    }
    let (url, _) = asker.view().base_url();
    let text = format!("this head has no WireGuard tunnel; node {} reads {url} without one", asker.node.name);
    Err(Problem::new(StatusCode::NOT_IMPLEMENTED, text))
}

pub(crate) async fn version() -> Response {
    let version = json!({
        "service": "cloud-init", "implementation": "muster", "version": env!("CARGO_PKG_VERSION"),
        "generations": ["v1", "v2"],
    });
    body::json(StatusCode::OK, &version)
}
