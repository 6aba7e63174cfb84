//! Nodes: one by one, and by node set in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::Uri;
use axum::response::Response;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::{NodeBody, known, read};
use crate::api::v1::write::write;
use crate::base::{GroupName, NetworkName};
use crate::model::{Arch, BootPolicy, Node, NodeId, Snapshot};

/// Which nodes a query wants.
pub(crate) struct Filter {
    set: Option<BTreeSet<NodeId>>,
    group: Option<GroupName>,
    role: Option<String>,
    arch: Option<Arch>,
    policy: Option<BootPolicy>,
    bmc: Option<String>,
    network: Option<NetworkName>,
}

impl Filter {
    pub(crate) fn read(snapshot: &Snapshot, raw: Option<&str>) -> Result<Filter, Problem> {
        let field = |name| query::field(raw, name);
        let arch = |word: String| {
            Arch::from_name(&word).ok_or_else(|| known("arch", &word, &Arch::ALL.map(|arch| arch.1)))
        };
        let policy = |word: String| {
            let policy = BootPolicy::from_name(&word);
            policy.ok_or_else(|| known("policy", &word, &BootPolicy::ALL.map(|policy| policy.1)))
        };
        Ok(Filter {
            set: query::set(snapshot, raw)?,
            group: field("group").map(|group| read("group", &group)).transpose()?,
            role: field("role"),
            arch: field("arch").map(arch).transpose()?,
            policy: field("policy").map(policy).transpose()?,
            bmc: field("bmc").map(|bmc| bmc.to_ascii_lowercase()),
            network: network(snapshot, raw)?,
        })
    }

    pub(crate) fn takes(&self, snapshot: &Snapshot, node: &Node) -> bool {
        let on = |name: &NetworkName| {
            let mut addresses = node.interfaces.iter().flat_map(|interface| &interface.addresses);
            let network = snapshot.site.network(name);
            network.is_some_and(|network| addresses.any(|address| network.address.contains(*address)))
        };
        let role = |role: &String| node.role.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(role));
        self.set.as_ref().is_none_or(|set| set.contains(&node.id))
            && self.group.as_ref().is_none_or(|group| node.groups.contains(group))
            && self.role.as_ref().is_none_or(role)
            && self.arch.is_none_or(|arch| node.arch == Some(arch))
            && self.policy.is_none_or(|policy| node.policy == policy)
            && self.bmc.as_ref().is_none_or(|bmc| node.bmc.as_ref().is_some_and(|own| own.as_str() == bmc))
            && self.network.as_ref().is_none_or(on)
    }
}

/// The query's network, which must be there.
pub(crate) fn network(snapshot: &Snapshot, raw: Option<&str>) -> Result<Option<NetworkName>, Problem> {
    let Some(text) = query::field(raw, "network") else { return Ok(None) };
    let name: NetworkName = read("network", &text)?;
    match snapshot.site.network(&name) {
        Some(_) => Ok(Some(name)),
        None => Err(Problem::field("network", format!("no network is called {name:?}"))),
    }
}

/// `GET /nodes`, by name.
pub(crate) async fn list(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let snapshot = context.snapshot.load();
    let filter = Filter::read(&snapshot, uri.query())?;
    let nodes = snapshot.inventory.nodes.values().filter(|node| filter.takes(&snapshot, node));
    page(&uri, nodes.map(|node| (node.name.to_string(), node)), |node| NodeBody::from(node.as_ref()))
}

pub(crate) async fn show(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<NodeBody>, Problem> {
    body(&context.snapshot.load(), &name).map(Json)
}

pub(crate) async fn create(
    State(context): State<Context>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let node: NodeBody = query::body(&bytes)?;
    let written = write(&context, &terms, |work| {
        terms.hold_at(work.snapshot)?;
        work.create_node(node.clone())
    });
    written.await?.shown("/nodes", body)
}

/// `PUT /nodes/{name}`: creates the node or replaces all of it.
pub(crate) async fn put(
    State(context): State<Context>,
    Path(path): Path<String>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let node: NodeBody = query::body(&bytes)?;
    write(&context, &terms, |work| work.put_node(&path, node.clone(), &terms)).await?.shown("/nodes", body)
}

/// `PATCH /nodes/{name}`: a merge patch.
pub(crate) async fn patch(
    State(context): State<Context>,
    Path(path): Path<String>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let patch = query::patch(&bytes)?;
    write(&context, &terms, |work| work.merge_node(&path, &patch, &terms)).await?.shown("/nodes", body)
}

/// `PATCH /nodes?set=…`: the same merge patch for each node, in one transaction.
pub(crate) async fn patch_set(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let patch = query::patch(&bytes)?;
    let written = write(&context, &terms, |work| {
        terms.hold_at(work.snapshot)?;
        let nodes = chosen(work.snapshot, raw.as_deref())?;
        for node in &nodes {
            work.merge_node(node.name.as_str(), &patch, &Terms::default())?;
        }
        Ok(nodes.len())
    });
    let written = written.await?;
    let asked = written.outcome;
    Ok(written.reported(asked))
}

pub(crate) async fn remove(
    State(context): State<Context>,
    Path(path): Path<String>,
    terms: Terms,
) -> Result<Response, Problem> {
    Ok(write(&context, &terms, |work| work.remove_node(&path, &terms)).await?.gone())
}

/// `DELETE /nodes?set=…`, in one transaction.
pub(crate) async fn remove_set(
    State(context): State<Context>,
    RawQuery(raw): RawQuery,
    terms: Terms,
) -> Result<Response, Problem> {
    let written = write(&context, &terms, |work| {
        terms.hold_at(work.snapshot)?;
        let nodes = chosen(work.snapshot, raw.as_deref())?;
        for node in &nodes {
            work.remove_node(node.name.as_str(), &Terms::default())?;
        }
        Ok(nodes.len())
    });
    let written = written.await?;
    let asked = written.outcome;
    Ok(written.reported(asked))
}

fn body(snapshot: &Snapshot, name: &str) -> Result<NodeBody, Problem> {
    Ok(NodeBody::from(find(snapshot, name)?.as_ref()))
}

/// A node by name, xname or hardware address.
pub(crate) fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Arc<Node>, Problem> {
    snapshot.find(name).ok_or_else(|| Problem::not_found(format!("no node is called {name:?}")))
}

/// The nodes of the query's set, which must be there: nobody means all nodes by forgetting it.
pub(crate) fn chosen(snapshot: &Snapshot, raw: Option<&str>) -> Result<Vec<Arc<Node>>, Problem> {
    let set: BTreeSet<NodeId> =
        query::set(snapshot, raw)?.ok_or_else(|| Problem::field("set", "say which nodes: ?set=NODESET"))?;
    Ok(set.into_iter().filter_map(|id| snapshot.node(id).cloned()).collect())
}
