//! Node maps: the numbers and roles that nodes get when they are first seen. Power maps: what is fed by what. Our
//! model has neither; they are documents.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::{self, Draft};
use crate::api::openchami::go;
use crate::api::openchami::smd::components::missing;
use crate::api::openchami::smd::{plan, values, xname};
use crate::api::problem::Problem;
use crate::base::Xname;
use crate::model::Inventory;

/// Where node maps live.
pub(crate) const SHELF: &str = "smd.nodemap";

/// Where power maps live.
const POWER_SHELF: &str = "smd.powermap";

const KEYS: [&str; 7] = ["ID", "NID", "Role", "SubRole", "NodeInfo", "NodeMaps", "poweredBy"];

pub(crate) fn routes() -> Router<OpenChami> {
    Router::new()
        .route("/Defaults/NodeMaps", get(nodes).post(create_nodes).delete(remove_all_nodes))
        .route("/Defaults/NodeMaps/{xname}", get(node).put(put_node).delete(remove_node))
        .route("/sysinfo/powermaps", get(powers).post(create_powers).delete(remove_all_powers))
        .route("/sysinfo/powermaps/{xname}", get(power).put(put_power).delete(remove_power))
}

/// What a node gets when it is first seen. Field for field SMD's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NodeMap {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "NID")]
    pub(crate) nid: u32,
    #[serde(rename = "Role", skip_serializing_if = "String::is_empty")]
    pub(crate) role: String,
    #[serde(rename = "SubRole", skip_serializing_if = "String::is_empty")]
    pub(crate) sub_role: String,
    /// Whatever the site wants to remember.
    #[serde(rename = "NodeInfo", skip_serializing_if = "Value::is_null")]
    info: Value,
}

impl NodeMap {
    pub(crate) fn role_or_default(&self) -> String {
        if self.role.is_empty() { "Compute".to_owned() } else { self.role.clone() }
    }
}

/// The map of a node.
pub(crate) fn of_node(inventory: &Inventory, xname: &Xname) -> Option<NodeMap> {
    draft::read(inventory.document(SHELF, xname.as_str())?)
}

/// A node map as clients send it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct PostedNode {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "NID")]
    nid: i64,
    #[serde(rename = "Role")]
    role: String,
    #[serde(rename = "SubRole")]
    sub_role: String,
    #[serde(rename = "NodeInfo")]
    info: Value,
    /// Many at once.
    #[serde(rename = "NodeMaps")]
    maps: Option<Vec<PostedNode>>,
}

impl PostedNode {
    fn decode(bytes: &Bytes) -> Result<PostedNode, Problem> {
        go::decode_around(bytes, &KEYS, |key| key == "NodeInfo")
    }

    fn check(&self, inventory: &Inventory) -> Result<NodeMap, Problem> {
        let own = self.id.parse::<Xname>().ok().filter(Xname::is_node);
        let own = own.ok_or_else(|| {
            Problem::bad_request(format!("xname ID '{}' is invalid or not a node", self.id))
        })?;
        let nid = u32::try_from(self.nid).ok().filter(|nid| *nid > 0);
        let nid = nid.ok_or_else(|| Problem::bad_request(format!("NID '{}' is out of range", self.nid)))?;
        let role = match self.role.as_str() {
            "" => String::new(),
            role => values::role(inventory, role)?,
        };
        let sub_role = match self.sub_role.as_str() {
            "" => String::new(),
            text => values::known("SubRole", &values::SUB_ROLES, text)?,
        };
        Ok(NodeMap { id: own.to_string(), nid, role, sub_role, info: self.info.clone() })
    }
}

/// Refuses a number that another node has, here or in this request.
fn put_nodes(draft: &mut Draft<'_>, maps: &[NodeMap]) -> Result<(), Problem> {
    let known = draft::shelf::<NodeMap>(&draft.next, SHELF).into_iter();
    let fresh = maps.iter().map(|map| (map.id.clone(), map.clone()));
    let all: BTreeMap<String, NodeMap> = known.chain(fresh).collect();
    let mut numbers: BTreeMap<u32, &str> = BTreeMap::new();
    for (id, map) in &all {
        if let Some(other) = numbers.insert(map.nid, id) {
            let detail = format!(
                "operation would conflict with an existing xname ID that has the same NID: {} of {other} and {id}",
                map.nid
            );
            return Err(Problem::conflict(detail));
        }
    }
    maps.iter().for_each(|map| draft.put_document(SHELF, &map.id, map));
    Ok(())
}

async fn nodes(State(api): State<OpenChami>) -> Response {
    let all = draft::shelf::<NodeMap>(&api.context.snapshot.load().inventory, SHELF).into_iter();
    let maps: Vec<NodeMap> = all.map(|(_, map)| map).collect();
    go::answer(StatusCode::OK, &json!({ "NodeMaps": maps }))
}

async fn node(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = of_node(&api.context.snapshot.load().inventory, &xname(&id)?).ok_or_else(missing)?;
    Ok(go::answer(StatusCode::OK, &found))
}

/// `POST /Defaults/NodeMaps`: one, or many below `NodeMaps`; what is there already is replaced.
async fn create_nodes(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let posted = PostedNode::decode(&bytes)?;
    let (count, _) = plan(&api, |draft| {
        let maps = match &posted.maps {
            Some(maps) if posted.id.is_empty() => maps
                .iter()
                .enumerate()
                .map(|(index, map)| map.check(&draft.next).map_err(|problem| at(index, problem)))
                .collect::<Result<Vec<_>, _>>()?,
            Some(_) | None => {
                let wrap = |problem| wrapped("couldn't validate mapping data", problem);
                vec![posted.check(&draft.next).map_err(wrap)?]
            }
        };
        put_nodes(draft, &maps)?;
        Ok(maps.len())
    })
    .await?;
    Ok(go::message(&format!("Created or modified {count} entries")))
}

/// Names the element of a list at fault.
fn at(index: usize, problem: Problem) -> Problem {
    wrapped(&format!("couldn't validate map data at idx {index}"), problem)
}

fn wrapped(what: &str, problem: Problem) -> Problem {
    Problem { detail: format!("{what}: {}", problem.detail), ..problem }
}

/// The xname of a path, with which that of the body must agree if there is one.
fn agreed(path: &str, body: &str) -> Result<Xname, Problem> {
    let own = xname(path)?;
    if !body.is_empty() && body.parse::<Xname>().ok().as_ref() != Some(&own) {
        return Err(Problem::bad_request("xname in URL and PUT body do not match"));
    }
    Ok(own)
}

async fn put_node(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let mut posted = PostedNode::decode(&bytes)?;
    posted.id = agreed(&id, &posted.id)?.to_string();
    let (map, _) = plan(&api, |draft| {
        let wrap = |problem| wrapped("couldn't validate mapping data", problem);
        let map = posted.check(&draft.next).map_err(wrap)?;
        put_nodes(draft, std::slice::from_ref(&map))?;
        Ok(map)
    })
    .await?;
    Ok(go::answer(StatusCode::OK, &map))
}

async fn remove_node(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    remove(&api, SHELF, &id).await
}

async fn remove_all_nodes(State(api): State<OpenChami>) -> Result<Response, Problem> {
    remove_all(&api, SHELF).await
}

async fn remove(api: &OpenChami, shelf: &str, id: &str) -> Result<Response, Problem> {
    let own = xname(id)?;
    let steps = |draft: &mut Draft<'_>| {
        if draft.remove_document(shelf, own.as_str()) { Ok(()) } else { Err(missing()) }
    };
    plan(api, steps).await?;
    go::deleted(1)
}

async fn remove_all(api: &OpenChami, shelf: &str) -> Result<Response, Problem> {
    let (count, _) = plan(api, |draft| Ok(draft.clear_shelf(shelf))).await?;
    go::deleted(count)
}

/// What feeds a component. Field for field SMD's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct PowerMap {
    #[serde(alias = "ID")]
    id: String,
    #[serde(rename = "poweredBy", skip_serializing_if = "Vec::is_empty")]
    powered_by: Vec<String>,
}

impl PowerMap {
    /// The same with xnames in their normal form.
    fn check(&self) -> Result<PowerMap, Problem> {
        if self.powered_by.is_empty() {
            return Err(Problem::bad_request("poweredby is required for PowerMaps"));
        }
        let id = xname(&self.id)?.to_string();
        let powered_by = self.powered_by.iter().map(|id| Ok(xname(id)?.to_string()));
        Ok(PowerMap { id, powered_by: powered_by.collect::<Result<_, Problem>>()? })
    }
}

async fn powers(State(api): State<OpenChami>) -> Response {
    let all = draft::shelf::<PowerMap>(&api.context.snapshot.load().inventory, POWER_SHELF).into_iter();
    go::answer(StatusCode::OK, &all.map(|(_, map)| map).collect::<Vec<_>>())
}

async fn power(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let found = snapshot.inventory.document(POWER_SHELF, xname(&id)?.as_str());
    let found: PowerMap = found.and_then(|document| draft::read(document)).ok_or_else(missing)?;
    Ok(go::answer(StatusCode::OK, &found))
}

/// `POST /sysinfo/powermaps`: a list; what is there already is replaced.
async fn create_powers(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let posted: Vec<PowerMap> = go::decode(&bytes, &KEYS)?;
    let maps: Vec<PowerMap> = posted
        .iter()
        .enumerate()
        .map(|(index, map)| map.check().map_err(|problem| at(index, problem)))
        .collect::<Result<_, _>>()?;
    plan(&api, |draft| {
        maps.iter().for_each(|map| draft.put_document(POWER_SHELF, &map.id, map));
        Ok(())
    })
    .await?;
    Ok(go::message(&format!("Created or modified {} entries", maps.len())))
}

async fn put_power(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let mut posted: PowerMap = go::decode(&bytes, &KEYS)?;
    posted.id = agreed(&id, &posted.id)?.to_string();
    let map = posted.check().map_err(|problem| wrapped("couldn't validate PowerMap data", problem))?;
    plan(&api, |draft| {
        draft.put_document(POWER_SHELF, &map.id, &map);
        Ok(())
    })
    .await?;
    Ok(go::answer(StatusCode::OK, &map))
}

async fn remove_power(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    remove(&api, POWER_SHELF, &id).await
}

async fn remove_all_powers(State(api): State<OpenChami>) -> Result<Response, Problem> {
    remove_all(&api, POWER_SHELF).await
}
