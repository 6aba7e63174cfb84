//! `/State/Components`.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::Draft;
use crate::api::openchami::go;
use crate::api::openchami::query::Query;
use crate::api::openchami::smd::component::{self, Component, KEYS};
use crate::api::openchami::smd::filter::{Filter, below, project};
use crate::api::openchami::smd::{maps, partitions, plan, values, xname};
use crate::api::problem::Problem;
use crate::base::Xname;
use crate::model::{Inventory, Nid};

pub(crate) fn missing() -> Problem {
    Problem::not_found("no such xname.")
}

/// `GET /State/Components`: public.
pub(crate) async fn list(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let query = Query::parse(raw.as_deref());
    select(&api.context.snapshot.load().inventory, query, |_| true)
}

fn select(inventory: &Inventory, query: Query, chosen: impl Fn(&Xname) -> bool) -> Result<Response, Problem> {
    let filter = Filter::new(query.clone(), inventory)?;
    let all = component::all(inventory).into_iter();
    let found = all.filter(|(xname, component)| chosen(xname) && filter.admits(component));
    let found: Vec<Component> = found.map(|(_, component)| project(component, &query)).collect();
    Ok(go::answer(StatusCode::OK, &json!({"Components": found})))
}

pub(crate) async fn show(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = component::one(&api.context.snapshot.load(), &xname(&id)?).ok_or_else(missing)?;
    Ok(go::answer(StatusCode::OK, &found))
}

pub(crate) async fn by_nid(
    State(api): State<OpenChami>,
    Path(nid): Path<String>,
) -> Result<Response, Problem> {
    let nid: u32 = nid.parse().map_err(|_| Problem::bad_request(format!("invalid NID: {nid}")))?;
    let snapshot = api.context.snapshot.load();
    let node = snapshot.by_nid(Nid(nid)).map(|node| node.effective_xname());
    let kept = || component::all(&snapshot.inventory).into_iter().find(|(_, one)| one.nid == Some(nid));
    let xname = node.or_else(|| kept().map(|(xname, _)| xname)).ok_or_else(missing)?;
    Ok(go::answer(StatusCode::OK, &component::one(&snapshot, &xname).ok_or_else(missing)?))
}

/// `POST /State/Components/Query`: names and filters in a body.
pub(crate) async fn query(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let body: serde_json::Map<String, Value> = go::decode(&bytes, &KEYS)?;
    let snapshot = api.context.snapshot.load();
    let ids = Query::of_json(&body);
    if ids.all("componentids").is_empty() {
        return Err(Problem::bad_request("Missing ComponentIDs"));
    }
    let roots = roots(&snapshot.inventory, ids.all("componentids"))?;
    select(&snapshot.inventory, ids, |xname| below(&roots, xname))
}

pub(crate) async fn query_one(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let roots = roots(&snapshot.inventory, std::slice::from_ref(&id))?;
    select(&snapshot.inventory, Query::parse(raw.as_deref()), |xname| below(&roots, xname))
}

/// What a list of names stands for: xnames, `all`, `s0`, partitions.
pub(crate) fn roots(inventory: &Inventory, ids: &[String]) -> Result<BTreeSet<Xname>, Problem> {
    let mut roots = BTreeSet::new();
    for id in ids {
        if id.eq_ignore_ascii_case("all") {
            roots.insert("s0".parse().expect("s0 is an xname"));
        } else if partitions::exists(inventory, id) {
            roots.extend(
                partitions::members_of(inventory, id).iter().filter_map(|member| member.parse().ok()),
            );
        } else {
            roots.insert(xname(id)?);
        }
    }
    Ok(roots)
}

/// `POST /State/Components/ByNID/Query`.
pub(crate) async fn query_nids(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let mut body: serde_json::Map<String, Value> = go::decode(&bytes, &KEYS)?;
    let ranges = body.remove("NIDRanges").unwrap_or_else(|| json!([]));
    let ranges: Vec<String> = serde_json::from_value(ranges)
        .map_err(|_| Problem::bad_request("NIDRanges must be a list such as [\"1-10\", \"20\"]"))?;
    if ranges.is_empty() {
        return Err(Problem::bad_request("Missing NIDRanges"));
    }
    let (mut from, mut to) = (Vec::new(), Vec::new());
    for range in &ranges {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let (low, high) = (low.trim(), high.trim());
        if low.parse::<u32>().is_err() || high.parse::<u32>().is_err() {
            return Err(Problem::bad_request(format!("invalid NIDRanges: {range}")));
        }
        from.push(low.to_owned());
        to.push(high.to_owned());
    }
    let mut query = Query::of_json(&body);
    query.set("nid_start", from);
    query.set("nid_end", to);
    select(&api.context.snapshot.load().inventory, query, |_| true)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Posted {
    #[serde(rename = "Components")]
    components: Vec<Component>,
    #[serde(rename = "Component")]
    component: Option<Component>,
    #[serde(rename = "Force")]
    force: bool,
}

/// `POST /State/Components`: adds what is new; what is there is left alone, or with `Force` gets its state.
pub(crate) async fn create(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let posted: Posted = go::decode(&bytes, &KEYS)?;
    if posted.components.is_empty() {
        return Err(Problem::bad_request("Missing Components"));
    }
    upsert(&api, &posted.components, posted.force).await
}

/// `PUT /State/Components/{xname}`.
pub(crate) async fn put(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let posted: Posted = go::decode(&bytes, &KEYS)?;
    let own = xname(&id)?;
    let mut component = posted.component.ok_or_else(|| Problem::bad_request("Missing Component"))?;
    if component.id.is_empty() {
        component.id = own.to_string();
    }
    if xname(&component.id)? != own {
        return Err(Problem::bad_request("xname in URI and in Component.ID are not the same"));
    }
    upsert(&api, &[component], posted.force).await
}

async fn upsert(api: &OpenChami, components: &[Component], force: bool) -> Result<Response, Problem> {
    plan(api, |draft| {
        for (index, posted) in components.iter().enumerate() {
            put_posted(draft, posted, force).map_err(|problem| at(index, components.len(), problem))?;
        }
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Names the element of a list at fault.
fn at(index: usize, count: usize, problem: Problem) -> Problem {
    if count == 1 {
        return problem;
    }
    Problem { detail: format!("Components[{index}]: {}", problem.detail), ..problem }
}

fn put_posted(draft: &mut Draft<'_>, posted: &Component, force: bool) -> Result<(), Problem> {
    if posted.id.is_empty() {
        return Err(Problem::bad_request("Missing Component.ID"));
    }
    let named = xname(&posted.id)?;
    // Inventory files that call a node by its BMC's xname mean the node.
    let is_node = posted.kind.eq_ignore_ascii_case("Node") && posted.nid.is_some();
    let below = component::node_below(&named).filter(|_| is_node);
    let own = below.clone().unwrap_or(named);
    let fresh = fresh(draft, &own, posted)?;
    let component = match component::find(draft, &own) {
        None => fresh,
        Some(_) if !force => return Ok(()),
        Some(old) => Component {
            state: fresh.state,
            flag: fresh.flag,
            subtype: fresh.subtype,
            net_type: fresh.net_type,
            arch: fresh.arch,
            class: fresh.class,
            ..old
        },
    };
    component::put(draft, &own, &component)?;
    below.iter().for_each(|node| component::call_by_bmc(draft, node));
    Ok(())
}

/// A posted component, checked, with defaults where it says nothing.
fn fresh(draft: &Draft<'_>, own: &Xname, posted: &Component) -> Result<Component, Problem> {
    let kind = own.kind().unwrap_or("Node");
    let optional = |field: &str, words: &[&'static str], text: &str| match text {
        "" => Ok(String::new()),
        text => values::known(field, words, text),
    };
    let map = maps::of_node(&draft.next, own);
    let is_node = kind == "Node" || kind == "VirtualNode";
    let role = match posted.role.as_str() {
        "" if is_node => map.as_ref().map_or("Compute".to_owned(), |map| map.role_or_default()),
        "" => String::new(),
        role => values::role(&draft.next, role)?,
    };
    let sub_role = match posted.sub_role.as_str() {
        "" => map.as_ref().map(|map| map.sub_role.clone()).unwrap_or_default(),
        text => values::known("SubRole", &values::SUB_ROLES, text)?,
    };
    let nid = posted.nid.or(map.map(|map| map.nid)).or_else(|| is_node.then(|| default_nid(own)).flatten());
    Ok(Component {
        id: own.to_string(),
        kind: kind.to_owned(),
        state: values::known("State", &values::STATES, &posted.state)?,
        flag: if posted.flag.is_empty() {
            "OK".to_owned()
        } else {
            values::known("Flag", &values::FLAGS, &posted.flag)?
        },
        enabled: posted.enabled.or(Some(true)),
        role,
        sub_role,
        nid: nid.filter(|_| is_node),
        net_type: optional("NetType", &values::NET_TYPES, &posted.net_type)?,
        arch: optional("Arch", &values::ARCHS, &posted.arch)?,
        class: optional("Class", &values::CLASSES, &posted.class)?,
        // Only locks lock.
        locked: false,
        reservation_disabled: false,
        ..posted.clone()
    })
}

/// The number that SMD gives to a node about which nothing else is known.
pub(crate) fn default_nid(xname: &Xname) -> Option<u32> {
    let numbers: Vec<u32> = xname.parts().map(|(_, number)| number).collect();
    let [cabinet, chassis, slot, bmc, node] = numbers.try_into().ok()?;
    let part = |number: u32, weight: u32| number.checked_mul(weight);
    [part(cabinet.checked_add(1)?, 16384), part(chassis, 2048), part(slot, 32), part(bmc, 4), Some(node)]
        .into_iter()
        .try_fold(0_u32, |sum, part| sum.checked_add(part?))
}

pub(crate) async fn remove(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let own = xname(&id)?;
    plan(&api, |draft| if component::remove(draft, &own) { Ok(()) } else { Err(missing()) }).await?;
    go::deleted(1)
}

pub(crate) async fn remove_all(State(api): State<OpenChami>) -> Result<Response, Problem> {
    let steps = |draft: &mut Draft<'_>| {
        let all: Vec<Xname> = component::all(&draft.next).into_keys().collect();
        Ok(all.iter().filter(|xname| component::remove(draft, xname)).count())
    };
    let (count, _) = plan(&api, steps).await?;
    go::deleted(count)
}
