//! Cloud-init as BSS served it, at the root of the server: the data of a node's boot parameters. A node is known
//! by the address from which it asks.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::api::openchami::OpenChami;
use crate::api::openchami::bss::entry::{self, CloudInit, PhoneHome};
use crate::api::openchami::bss::history::Endpoint;
use crate::api::openchami::bss::key::Key;
use crate::api::openchami::bss::{self, parameters};
use crate::api::openchami::query::Query;
use crate::api::openchami::smd::plan;
use crate::api::problem::Problem;
use crate::base::Mac;
use crate::base::limits::PHONE_HOME_BYTES_MAX;
use crate::engine::boot::decide::groups_by_rank;
use crate::engine::image::path::percent_decode;
use crate::engine::record::What;
use crate::model::snapshot::Machine;
use crate::model::{Node, Selector, Snapshot};
use crate::transport::clock::now;
use crate::transport::http::Peer;
use std::sync::Arc;

/// `GET /meta-data`, with `key=a.b` for a part: what `Global` says, overridden by what is said to the node.
pub(crate) async fn meta_data(
    State(api): State<OpenChami>,
    Extension(peer): Extension<Peer>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let (snapshot, node, mac) = asker(&api, peer).await?;
    let global = parameters::find(&snapshot, &Key::Global).and_then(|entry| entry.cloud_init.meta_data);
    let own = first(&snapshot, &node, mac, |data| data.meta_data);
    let mut all = Map::new();
    // What cloud-init cannot do without; whoever says it in the parameters is heard.
    all.insert("instance-id".to_owned(), node.effective_xname().to_string().into());
    all.insert("local-hostname".to_owned(), node.name.to_string().into());
    if let Some(global) = global {
        all.insert("Global".to_owned(), Value::Object(global.clone()));
        merge(&mut all, global);
    }
    api.context.recorder.saw(peer.ip(), What::Document { name: "meta-data".to_owned(), status: 200 });
    merge(&mut all, own.unwrap_or_default());
    let query = Query::parse(raw.as_deref());
    let whole = Value::Object(all);
    let found = query.first("key").filter(|key| !key.is_empty()).map_or(Some(&whole), |key| {
        key.split('.').try_fold(&whole, |value, part| value.as_object()?.get(part))
    });
    let found = found.ok_or_else(|| Problem::not_found("Not Found: no meta-data under this key"))?;
    Ok(bss::json(StatusCode::OK, found))
}

/// `GET /user-data`: YAML, of which JSON is a part.
pub(crate) async fn user_data(
    State(api): State<OpenChami>,
    Extension(peer): Extension<Peer>,
) -> Result<Response, Problem> {
    let (snapshot, node, mac) = asker(&api, peer).await?;
    let data = first(&snapshot, &node, mac, |data| data.user_data).unwrap_or_default();
    let text = serde_json::to_string_pretty(&data).expect("user-data came from JSON");
    api.context.recorder.saw(peer.ip(), What::Document { name: "user-data".to_owned(), status: 200 });
    api.history.note(node.effective_xname(), Endpoint::UserData, now());
    Ok(([(header::CONTENT_TYPE, "text/yaml")], format!("#cloud-config\n{text}\n")).into_response())
}

/// `POST /phone-home`: keeps what a node says of itself when it has booted. Cloud-init sends a form, clients of
/// BSS send JSON.
pub(crate) async fn phone_home(
    State(api): State<OpenChami>,
    Extension(peer): Extension<Peer>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let (_, node, _) = asker(&api, peer).await?;
    let said = read(&bytes)?;
    let key = Key::Boot(Selector::Xname(node.effective_xname()));
    plan(&api, |draft| {
        let mut own = entry::find_in(draft, &key).unwrap_or_default();
        own.cloud_init.phone_home = said.clone();
        entry::put(draft, &key, own);
        Ok(())
    })
    .await?;
    api.context.recorder.saw(peer.ip(), What::PhoneHome);
    tracing::info!(node = node.name.as_str(), "phoned home");
    Ok(StatusCode::OK.into_response())
}

fn read(bytes: &Bytes) -> Result<PhoneHome, Problem> {
    let bad = |why: &str| Problem::bad_request(format!("Bad Request: {why}"));
    if bytes.len() > PHONE_HOME_BYTES_MAX {
        return Err(bad("a node has less to say of itself"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| bad("the body is no text"))?;
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| bad(&format!("error decoding JSON {error}")));
    }
    let mut said = PhoneHome::default();
    for field in text.trim().split('&') {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        let value =
            percent_decode(&value.replace('+', " ")).ok_or_else(|| bad(&format!("{key}: malformed")))?;
        match key {
            "pub_key_dsa" => said.pub_key_dsa = value,
            "pub_key_rsa" => said.pub_key_rsa = value,
            "pub_key_ecdsa" => said.pub_key_ecdsa = value,
            "instance_id" => said.instance_id = value,
            "hostname" => said.hostname = value,
            "fqdn" => said.fqdn = value,
            _ => {}
        }
    }
    Ok(said)
}

/// The node that asks and the hardware address by which it does: the declared address, else what DHCP leased.
async fn asker(api: &OpenChami, peer: Peer) -> Result<(Arc<Snapshot>, Arc<Node>, Mac), Problem> {
    let address = peer.address().ok_or_else(|| Problem::not_found("Not Found: no node asks this way"))?;
    let snapshot = api.context.snapshot.load();
    let found = |machine: Option<Machine<'_>>| match machine? {
        Machine::Node { node, interface } => Some((Arc::clone(node), interface.mac)),
        Machine::Bmc(_) => None,
    };
    let mut node = found(snapshot.by_address(address));
    if node.is_none() {
        // Without DHCP (it may be off) the declared address alone decides.
        let mac = api.context.dhcp.who_has(address).await.ok().flatten();
        node = found(mac.and_then(|mac| snapshot.by_mac(mac)));
    }
    let (node, mac) =
        node.ok_or_else(|| Problem::not_found(format!("Not Found: no node has the address {address}")))?;
    Ok((snapshot, node, mac))
}

/// A part of the cloud-init data of the first key that has it, in the order in which boot parameters count.
fn first<T>(snapshot: &Snapshot, node: &Node, mac: Mac, part: impl Fn(CloudInit) -> Option<T>) -> Option<T> {
    let mut keys = vec![Selector::Mac(mac), Selector::Xname(node.effective_xname())];
    keys.extend(node.nid.map(Selector::Nid));
    keys.extend(groups_by_rank(snapshot, node).into_iter().map(Selector::Group));
    keys.push(Selector::Role(node.role_or_default().to_ascii_lowercase()));
    keys.push(Selector::Default);
    let mut entries = keys.into_iter().filter_map(|key| parameters::find(snapshot, &Key::Boot(key)));
    entries.find_map(|entry| part(entry.cloud_init))
}

/// Puts `over` onto `base`, object by object.
fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}
