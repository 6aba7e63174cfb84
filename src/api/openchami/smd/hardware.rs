//! `/Inventory/Hardware` and `/Inventory/HardwareByFRU`: what sits where, by place and by part.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value, json};

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::{self, Draft};
use crate::api::openchami::go;
use crate::api::openchami::query::Query;
use crate::api::openchami::smd::components::missing;
use crate::api::openchami::smd::part::{self, PARTS, PLACES, Part, Place, plural};
use crate::api::openchami::smd::{history, partitions, plan, xname};
use crate::api::problem::Problem;
use crate::base::Xname;
use crate::model::Inventory;
use crate::transport::clock::now;

/// Kinds that the usual form of a query shows inside of their node.
const IN_NODES: [&str; 6] = ["Processor", "NodeAccel", "Memory", "Drive", "NodeHsnNic", "NodeAccelRiser"];

pub(crate) fn routes() -> Router<OpenChami> {
    Router::new()
        .route("/Inventory/Hardware", get(list).post(create).delete(remove_all))
        .route("/Inventory/Hardware/Query/{xname}", get(query))
        .route("/Inventory/Hardware/{xname}", get(show).delete(remove))
        .route("/Inventory/HardwareByFRU", get(parts).delete(remove_parts))
        .route("/Inventory/HardwareByFRU/{fru}", get(one_part).delete(remove_part))
        .merge(history::routes())
}

/// A place and the part in it.
type Seat = (Xname, Place, Option<Part>);

/// The places that a query means.
fn seats(inventory: &Inventory, query: &Query) -> Result<Vec<Seat>, Problem> {
    part::check_query(query)?;
    let ids = query.all("id").iter().map(|id| xname(id)).collect::<Result<BTreeSet<_>, _>>()?;
    let members = query.has("partition").then(|| {
        let names = query.all("partition").iter();
        names.flat_map(|name| partitions::members_of(inventory, name)).collect::<BTreeSet<_>>()
    });
    let mut seats = Vec::new();
    for (id, place) in draft::shelf::<Place>(inventory, PLACES) {
        let Ok(own) = id.parse::<Xname>() else { continue };
        let is_chosen = (ids.is_empty() || ids.contains(&own))
            && members.as_ref().is_none_or(|members| members.contains(&id));
        if !is_chosen {
            continue;
        }
        let found = place.part.as_ref().and_then(|id| part::part(inventory, id));
        if part::admits(query, &place.kind, found.as_ref()) {
            seats.push((own, place, found));
        }
    }
    Ok(seats)
}

async fn list(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let seats = seats(&api.context.snapshot.load().inventory, &Query::parse(raw.as_deref()))?;
    let list: Vec<_> = seats.iter().map(|(_, place, found)| part::shown(place, found.as_ref())).collect();
    Ok(go::answer(StatusCode::OK, &list))
}

async fn show(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let inventory = &api.context.snapshot.load().inventory;
    let place = inventory.document(PLACES, xname(&id)?.as_str());
    let place: Place = place.and_then(|document| draft::read(document)).ok_or_else(missing)?;
    let found = place.part.as_ref().and_then(|id| part::part(inventory, id));
    Ok(go::answer(StatusCode::OK, &part::shown(&place, found.as_ref())))
}

/// `POST /Inventory/Hardware`: what was found now; what else is known stays.
async fn create(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let found = part::decode(&bytes)?;
    plan(&api, |draft| {
        let now = now();
        found.iter().for_each(|found| part::put(draft, found, now));
        Ok(())
    })
    .await?;
    Ok(go::message(&format!("Created {} entries", found.len())))
}

/// Parts stay: they are somewhere, if not here.
async fn remove(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let own = xname(&id)?;
    let steps = |draft: &mut Draft<'_>| {
        if draft.remove_document(PLACES, own.as_str()) { Ok(()) } else { Err(missing()) }
    };
    plan(&api, steps).await?;
    go::deleted(1)
}

async fn remove_all(State(api): State<OpenChami>) -> Result<Response, Problem> {
    let (count, _) = plan(&api, |draft| Ok(draft.clear_shelf(PLACES))).await?;
    go::deleted(count)
}

async fn parts(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let query = Query::parse(raw.as_deref());
    part::check_query(&query)?;
    let all = draft::shelf::<Part>(&api.context.snapshot.load().inventory, PARTS).into_iter();
    let list: Vec<Part> =
        all.map(|(_, part)| part).filter(|one| part::admits(&query, &one.kind, Some(one))).collect();
    Ok(go::answer(StatusCode::OK, &list))
}

fn no_part() -> Problem {
    Problem::not_found("no such FRU ID.")
}

async fn one_part(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = part::part(&api.context.snapshot.load().inventory, &id).ok_or_else(no_part)?;
    Ok(go::answer(StatusCode::OK, &found))
}

async fn remove_part(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    plan(&api, |draft| {
        if !draft.remove_document(PARTS, &id) {
            return Err(no_part());
        }
        vacate(draft, |part| part == id);
        Ok(())
    })
    .await?;
    go::deleted(1)
}

async fn remove_parts(State(api): State<OpenChami>) -> Result<Response, Problem> {
    let steps = |draft: &mut Draft<'_>| {
        vacate(draft, |_| true);
        Ok(draft.clear_shelf(PARTS))
    };
    let (count, _) = plan(&api, steps).await?;
    go::deleted(count)
}

/// Leaves no place pointing to a part that is gone.
fn vacate(draft: &mut Draft<'_>, gone: impl Fn(&str) -> bool) {
    for (id, place) in draft::shelf::<Place>(&draft.next, PLACES) {
        if place.part.as_deref().is_some_and(&gone) {
            draft.put_document(PLACES, &id, &place.vacated());
        }
    }
}

/// `GET /Inventory/Hardware/Query/{xname}`: a place with what lies below or above it, in lists by kind.
async fn query(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let inventory = &api.context.snapshot.load().inventory;
    let mut query = Query::parse(raw.as_deref());
    query.set("id", Vec::new()); // the path says it
    let flag = |key: &str| match query.first(key).map(str::to_ascii_lowercase).as_deref() {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(Problem::bad_request(format!("Invalid boolean for {key}"))),
    };
    let parents = flag("parents")?.unwrap_or(false);
    let children = flag("children")?.unwrap_or(!parents);
    let nests = match query.first("format").map(str::to_ascii_lowercase).as_deref() {
        None | Some("nestnodesonly") => true,
        Some("fullyflat") => false,
        Some(_) => return Err(Problem::bad_request("Invalid format: NestNodesOnly or FullyFlat")),
    };
    let root = root(inventory, &id, &mut query)?;
    let mut seats = seats(inventory, &query)?;
    seats.retain(|(own, ..)| {
        root.as_ref()
            .is_none_or(|root| own == root || children && root.covers(own) || parents && own.covers(root))
    });
    let format = if nests { "NestNodesOnly" } else { "FullyFlat" };
    let mut body = Map::from_iter([("XName".to_owned(), json!(id)), ("Format".to_owned(), json!(format))]);
    body.extend(by_kind(&seats, nests));
    Ok(go::answer(StatusCode::OK, &body))
}

/// The place that a path names; None for everything, or for a partition, which goes into the query.
fn root(inventory: &Inventory, id: &str, query: &mut Query) -> Result<Option<Xname>, Problem> {
    if id.eq_ignore_ascii_case("all") || id.eq_ignore_ascii_case("s0") {
        return Ok(None);
    }
    if partitions::exists(inventory, id) {
        query.set("partition", vec![id.to_owned()]);
        return Ok(None);
    }
    xname(id).map(Some)
}

/// Places in lists by kind; if they nest, what belongs to a node that is there stands in it.
fn by_kind(seats: &[Seat], nests: bool) -> BTreeMap<String, Value> {
    let mut shown: BTreeMap<&Xname, Map<String, Value>> =
        seats.iter().map(|(own, place, found)| (own, part::shown(place, found.as_ref()))).collect();
    let inner = seats.iter().filter(|(_, place, _)| nests && IN_NODES.contains(&place.kind.as_str()));
    for (own, place, _) in inner {
        let node = std::iter::successors(own.parent(), Xname::parent).find(Xname::is_node);
        let Some(node) = node.filter(|node| shown.contains_key(node)) else { continue };
        let (fields, node) = (shown.remove(own), shown.get_mut(&node));
        if let (Some(fields), Some(node)) = (fields, node) {
            push(node.entry(plural(&place.kind)).or_insert_with(|| json!([])), fields);
        }
    }
    let mut lists: BTreeMap<String, Value> = BTreeMap::new();
    for (own, place, _) in seats {
        if let Some(fields) = shown.remove(own) {
            push(lists.entry(plural(&place.kind)).or_insert_with(|| json!([])), fields);
        }
    }
    lists
}

fn push(list: &mut Value, fields: Map<String, Value>) {
    if let Value::Array(items) = list {
        items.push(Value::Object(fields));
    }
}
