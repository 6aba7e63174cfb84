//! `/groups` and `/memberships`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::Draft;
use crate::api::openchami::go;
use crate::api::openchami::query::Query;
use crate::api::openchami::smd::filter::Filter;
use crate::api::openchami::smd::group::{self, Kept};
use crate::api::openchami::smd::{component, partitions, plan, xname};
use crate::api::problem::Problem;
use crate::base::{GroupName, Xname};
use crate::model::{Change, Group, Inventory};

pub(crate) const KEYS: [&str; 9] =
    ["label", "description", "exclusiveGroup", "tags", "members", "ids", "id", "name", "group"];

/// A group as SMD shows and takes it.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Body {
    label: String,
    description: String,
    #[serde(rename = "exclusiveGroup", skip_serializing_if = "String::is_empty")]
    exclusive: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    members: Members,
}

/// `{"ids": […]}`.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(crate) struct Members {
    pub(crate) ids: BTreeSet<String>,
}

impl Body {
    fn of(inventory: &Inventory, group: &Group) -> Body {
        let Kept { tags, exclusive, .. } = group::kept(group);
        Body {
            label: group.name.to_string(),
            description: group.description.clone(),
            exclusive,
            tags,
            members: Members { ids: group::members_of(inventory, group) },
        }
    }
}

fn missing(label: &str) -> Problem {
    Problem::not_found(format!("No such group: {label}"))
}

/// A label or tag: lower case, `[-a-z0-9:._]+`.
pub(crate) fn label(what: &str, text: &str) -> Result<String, Problem> {
    let lower = text.trim().to_ascii_lowercase();
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-:._".contains(c);
    if lower.is_empty() || !lower.chars().all(good) {
        return Err(Problem::bad_request(format!("invalid {what}: {text:?}")));
    }
    Ok(lower)
}

fn name(text: &str) -> Result<GroupName, Problem> {
    label("group label", text)?.parse().map_err(|error| Problem::bad_request(format!("{error}")))
}

fn find<'a>(inventory: &'a Inventory, text: &str) -> Result<&'a Arc<Group>, Problem> {
    inventory.groups.get(text.to_ascii_lowercase().as_str()).ok_or_else(|| missing(text))
}

/// Checks the members of a body.
pub(crate) fn xnames<'a>(ids: impl IntoIterator<Item = &'a String>) -> Result<Vec<Xname>, Problem> {
    let (good, bad): (Vec<_>, Vec<_>) =
        ids.into_iter().map(|id| xname(id).map_err(|_| id)).partition(Result::is_ok);
    if bad.is_empty() {
        return Ok(good.into_iter().flatten().collect());
    }
    let bad: Vec<&String> = bad.into_iter().filter_map(Result::err).collect();
    Err(Problem::bad_request(format!("invalid xname IDs: {bad:?}")))
}

pub(crate) async fn list(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let query = Query::parse(raw.as_deref());
    let snapshot = api.context.snapshot.load();
    let inventory = &snapshot.inventory;
    let within: Option<BTreeSet<String>> = query.has("partition").then(|| {
        query.all("partition").iter().flat_map(|name| partitions::members_of(inventory, name)).collect()
    });
    let all = group::members(inventory);
    let bodies = inventory.groups.values().map(|group| {
        let Kept { tags, exclusive, .. } = group::kept(group);
        let ids = all.get(&group.name).cloned().unwrap_or_default();
        let (label, description) = (group.name.to_string(), group.description.clone());
        Body { label, description, exclusive, tags, members: Members { ids } }
    });
    let admits = |body: &Body| {
        let tags: Vec<&str> = body.tags.iter().map(String::as_str).collect();
        query.admits("group", &body.label) && query.admits_any("tag", &tags)
    };
    let found: Vec<Body> = bodies
        .filter(admits)
        .map(|mut body| {
            body.members.ids.retain(|id| within.as_ref().is_none_or(|within| within.contains(id)));
            body
        })
        .collect();
    Ok(go::answer(StatusCode::OK, &found))
}

pub(crate) async fn labels(State(api): State<OpenChami>) -> Response {
    let snapshot = api.context.snapshot.load();
    let labels: Vec<String> = snapshot.inventory.groups.keys().map(ToString::to_string).collect();
    go::answer(StatusCode::OK, &labels)
}

pub(crate) async fn show(
    State(api): State<OpenChami>,
    Path(label): Path<String>,
) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let group = find(&snapshot.inventory, &label)?;
    Ok(go::answer(StatusCode::OK, &Body::of(&snapshot.inventory, group)))
}

pub(crate) async fn create(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let body: Body = go::decode(&bytes, &KEYS)?;
    let name = name(&body.label)?;
    let exclusive = match body.exclusive.as_str() {
        "" => String::new(),
        text => label("exclusiveGroup", text)?,
    };
    let tags = body.tags.iter().map(|tag| label("tag", tag)).collect::<Result<Vec<_>, _>>()?;
    let members = xnames(&body.members.ids)?;
    plan(&api, |draft| {
        if draft.next.groups.contains_key(&name) {
            let detail =
                format!("operation would conflict with an existing group that has the same label: {name}");
            return Err(Problem::conflict(detail));
        }
        let group = Group { description: body.description.clone(), ..Group::new(name.clone()) };
        draft.apply(Change::PutGroup(Arc::new(group)));
        let (tags, exclusive) = (tags.clone(), exclusive.clone());
        group::keep(draft, &name, &Kept { tags, exclusive, ..Kept::default() });
        join(draft, &name, &members)
    })
    .await?;
    Ok(go::created(&[format!("/hsm/v2/groups/{name}")]))
}

/// Puts members in, unless one is in another group with which this one excludes itself.
fn join(draft: &mut Draft<'_>, name: &GroupName, members: &[Xname]) -> Result<(), Problem> {
    let rivals = group::rivals(draft, name);
    for member in members {
        if let Some(rival) = rivals.get(member.as_str()) {
            let detail = format!("{member} is already in the group {rival}, which excludes {name}");
            return Err(Problem::conflict(detail));
        }
    }
    group::join(draft, name, members);
    Ok(())
}

/// Only `description` and `tags` are set; members that are given join, as nobody gives them to no end.
pub(crate) async fn patch(
    State(api): State<OpenChami>,
    Path(label_text): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: serde_json::Map<String, serde_json::Value> = go::decode(&bytes, &KEYS)?;
    let wrong = |field: &str| Problem::bad_request(format!("{field} has the wrong type"));
    let description: Option<String> = body
        .get("description")
        .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| wrong("description")))
        .transpose()?;
    let tags: Option<Vec<String>> = body
        .get("tags")
        .map(|value| serde_json::from_value(value.clone()).map_err(|_| wrong("tags")))
        .transpose()?;
    if description.is_none() && tags.is_none() {
        return Err(Problem::bad_request("PATCH request must have description or tags"));
    }
    let tags: Option<Vec<String>> =
        tags.map(|tags| tags.iter().map(|tag| label("tag", tag)).collect()).transpose()?;
    let members: Members =
        body.get("members").and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default();
    let members = xnames(&members.ids)?;
    plan(&api, |draft| {
        let old = Arc::clone(find(&draft.next, &label_text)?);
        let name = old.name.clone();
        if let Some(description) = &description {
            let group = Group { description: description.clone(), ..Group::clone(&old) };
            draft.apply(Change::PutGroup(Arc::new(group)));
        }
        if let Some(tags) = &tags {
            group::keep(draft, &name, &Kept { tags: tags.clone(), ..group::kept(&old) });
        }
        join(draft, &name, &members)
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn remove(
    State(api): State<OpenChami>,
    Path(label): Path<String>,
) -> Result<Response, Problem> {
    plan(&api, |draft| {
        let name = find(&draft.next, &label)?.name.clone();
        draft.apply(Change::RemoveGroup(name));
        Ok(())
    })
    .await?;
    go::deleted(1)
}

pub(crate) async fn members(
    State(api): State<OpenChami>,
    Path(label): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let query = Query::parse(raw.as_deref());
    let snapshot = api.context.snapshot.load();
    let mut ids = group::members_of(&snapshot.inventory, find(&snapshot.inventory, &label)?);
    if let Some(partition) = query.first("partition") {
        let within = partitions::members_of(&snapshot.inventory, partition);
        ids.retain(|id| within.contains(id));
    }
    Ok(go::answer(StatusCode::OK, &Members { ids }))
}

/// `{"id": "x…"}`.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Member {
    pub(crate) id: String,
}

pub(crate) async fn add(
    State(api): State<OpenChami>,
    Path(label): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: Member = go::decode(&bytes, &KEYS)?;
    let member = xname(&body.id)?;
    let (name, _) = plan(&api, |draft| {
        let group = Arc::clone(find(&draft.next, &label)?);
        if group::members_of(&draft.next, &group).contains(member.as_str()) {
            let detail = format!("operation would conflict with an existing member: {member}");
            return Err(Problem::conflict(detail));
        }
        join(draft, &group.name, std::slice::from_ref(&member))?;
        Ok(group.name.clone())
    })
    .await?;
    Ok(go::created(&[format!("/hsm/v2/groups/{name}/members/{member}")]))
}

/// `PUT /groups/{label}/members`: the whole list. The path names the group, whatever the body says.
pub(crate) async fn replace(
    State(api): State<OpenChami>,
    Path(label): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: Members = go::decode(&bytes, &KEYS)?;
    let wanted = xnames(&body.ids)?;
    let (name, _) = plan(&api, |draft| {
        let group = Arc::clone(find(&draft.next, &label)?);
        let names: BTreeSet<&str> = wanted.iter().map(Xname::as_str).collect();
        let old = group::members_of(&draft.next, &group).into_iter();
        let gone: Vec<Xname> =
            old.filter(|old| !names.contains(old.as_str())).filter_map(|old| old.parse().ok()).collect();
        group::leave(draft, &group.name, &gone);
        join(draft, &group.name, &wanted)?;
        Ok(group.name.clone())
    })
    .await?;
    let uris: Vec<String> =
        wanted.iter().map(|member| format!("/hsm/v2/groups/{name}/members/{member}")).collect();
    Ok(go::created(&uris))
}

pub(crate) async fn drop_member(
    State(api): State<OpenChami>,
    Path((label, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let member = xname(&id)?;
    plan(&api, |draft| {
        let name = find(&draft.next, &label)?.name.clone();
        if group::leave(draft, &name, std::slice::from_ref(&member)) > 0 {
            Ok(())
        } else {
            Err(Problem::not_found(format!("group {name} has no member {member}")))
        }
    })
    .await?;
    go::deleted(1)
}

/// `GET /memberships`: a bare array over existing components, with their filters.
pub(crate) async fn memberships(
    State(api): State<OpenChami>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let inventory = &snapshot.inventory;
    let filter = Filter::new(Query::parse(raw.as_deref()), inventory)?;
    let groups = group::members(inventory);
    let mut of: std::collections::BTreeMap<&str, Vec<&str>> = std::collections::BTreeMap::new();
    for (label, members) in &groups {
        members.iter().for_each(|member| of.entry(member.as_str()).or_default().push(label.as_str()));
    }
    let partitions = partitions::by_member(inventory);
    let rows = component::all(inventory).into_iter().filter(|(_, component)| filter.admits(component));
    let rows: Vec<_> = rows
        .map(|(xname, _)| {
            let labels = of.get(xname.as_str()).cloned().unwrap_or_default();
            let partition = partitions.get(xname.as_str()).map_or("", String::as_str);
            json!({"id": xname.as_str(), "groupLabels": labels, "partitionName": partition})
        })
        .collect();
    Ok(go::answer(StatusCode::OK, &rows))
}

pub(crate) async fn membership(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let own = xname(&id)?;
    let snapshot = api.context.snapshot.load();
    if component::one(&snapshot, &own).is_none() {
        return Err(Problem::not_found("No such xname"));
    }
    let groups = group::members(&snapshot.inventory);
    let labels =
        groups.iter().filter(|(_, members)| members.contains(own.as_str())).map(|(label, _)| label.as_str());
    let labels: Vec<&str> = labels.collect();
    let partition = partitions::by_member(&snapshot.inventory).remove(own.as_str()).unwrap_or_default();
    Ok(go::answer(
        StatusCode::OK,
        &json!({"id": own.as_str(), "groupLabels": labels, "partitionName": partition}),
    ))
}
