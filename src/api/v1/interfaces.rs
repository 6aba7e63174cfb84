//! Interfaces of nodes, by hardware address.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::nodes::{Filter, find};
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::{InterfaceBody, read};
use crate::api::v1::write::write;
use crate::base::Mac;
use crate::model::Snapshot;

/// An interface and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnedBody {
    pub node: String,
    pub name: Option<String>,
    pub mac: String,
    pub addresses: Vec<Ipv4Addr>,
}

/// `GET /interfaces`, by hardware address; filtered like nodes.
pub(crate) async fn list(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let snapshot = context.snapshot.load();
    let filter = Filter::read(&snapshot, uri.query())?;
    let nodes = snapshot.inventory.nodes.values().filter(|node| filter.takes(&snapshot, node));
    let owned = nodes.flat_map(|node| node.interfaces.iter().map(move |one| (one.mac, (node, one))));
    page(&uri, owned, |(node, one)| {
        let InterfaceBody { name, mac, addresses } = InterfaceBody::from(one);
        OwnedBody { node: node.name.to_string(), name, mac, addresses }
    })
}

pub(crate) async fn of_node(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<Vec<InterfaceBody>>, Problem> {
    let snapshot = context.snapshot.load();
    Ok(Json(find(&snapshot, &name)?.interfaces.iter().map(InterfaceBody::from).collect()))
}

pub(crate) async fn show(
    State(context): State<Context>,
    Path((node, mac)): Path<(String, String)>,
) -> Result<Json<InterfaceBody>, Problem> {
    body(&context.snapshot.load(), &node, &mac).map(Json)
}

/// `PUT /nodes/{name}/interfaces/{mac}`: adds the interface or replaces it.
pub(crate) async fn put(
    State(context): State<Context>,
    Path((node, mac)): Path<(String, String)>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let new: InterfaceBody = query::body(&bytes)?;
    let written =
        write(&context, &terms, |work| work.put_interface(&node, &mac, new.clone(), &terms)).await?;
    written.shown(&format!("/nodes/{node}/interfaces"), |snapshot, mac| body(snapshot, &node, mac))
}

pub(crate) async fn remove(
    State(context): State<Context>,
    Path((node, mac)): Path<(String, String)>,
    terms: Terms,
) -> Result<Response, Problem> {
    Ok(write(&context, &terms, |work| work.remove_interface(&node, &mac, &terms)).await?.gone())
}

fn body(snapshot: &Snapshot, node: &str, mac: &str) -> Result<InterfaceBody, Problem> {
    let (node, mac): (_, Mac) = (find(snapshot, node)?, read("mac", mac)?);
    let found = node.interfaces.iter().find(|interface| interface.mac == mac);
    let missing = || Problem::not_found(format!("node {} has no interface {mac}", node.name));
    found.map(InterfaceBody::from).ok_or_else(missing)
}
