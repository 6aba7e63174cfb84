//! `/partitions`: disjoint sets of components. Our model has none; they are documents.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::{self, Draft};
use crate::api::openchami::go;
use crate::api::openchami::smd::groups::{KEYS, Member, Members, label, xnames};
use crate::api::openchami::smd::{plan, xname};
use crate::api::problem::Problem;
use crate::model::Inventory;

const SHELF: &str = "smd.partition";

#[derive(Clone, Serialize, Deserialize, Default)]
#[serde(default)]
struct Partition {
    name: String,
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    members: Ids,
}

#[derive(Clone, Serialize, Deserialize, Default)]
#[serde(default)]
struct Ids {
    ids: BTreeSet<String>,
}

/// `p#` or `p#.#`, lower case, without leading zeros.
fn normal(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let rest = lower.strip_prefix('p')?;
    let (hard, soft) = rest.split_once('.').map_or((rest, None), |(hard, soft)| (hard, Some(soft)));
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| digits)
    };
    let hard = number(hard)?;
    Some(match soft {
        None => format!("p{hard}"),
        Some(soft) => format!("p{hard}.{}", number(soft)?),
    })
}

fn all(inventory: &Inventory) -> Vec<Partition> {
    draft::shelf(inventory, SHELF).into_iter().map(|(_, partition)| partition).collect()
}

/// True if there is a partition of this name.
pub(crate) fn exists(inventory: &Inventory, name: &str) -> bool {
    normal(name).is_some_and(|name| inventory.document(SHELF, &name).is_some())
}

/// The members of a partition; none if it is not there.
pub(crate) fn members_of(inventory: &Inventory, name: &str) -> BTreeSet<String> {
    let document = normal(name).and_then(|name| inventory.document(SHELF, &name).cloned());
    document
        .and_then(|document| draft::read::<Partition>(&document))
        .map(|found| found.members.ids)
        .unwrap_or_default()
}

/// Which partition a component is in.
pub(crate) fn by_member(inventory: &Inventory) -> BTreeMap<String, String> {
    let all = all(inventory).into_iter();
    all.flat_map(|one| one.members.ids.into_iter().map(move |id| (id, one.name.clone()))).collect()
}

fn find(inventory: &Inventory, name: &str) -> Result<Partition, Problem> {
    let found = normal(name).and_then(|name| draft::read(inventory.document(SHELF, &name)?));
    found.ok_or_else(|| Problem::not_found(format!("No such partition: {name}")))
}

fn put(draft: &mut Draft<'_>, partition: &Partition) {
    draft.put_document(SHELF, &partition.name, partition);
}

/// Refuses members of other partitions.
fn check(draft: &Draft<'_>, name: &str, ids: &BTreeSet<String>) -> Result<(), Problem> {
    for (id, other) in by_member(&draft.next) {
        if other != name && ids.contains(&id) {
            return Err(Problem::conflict(format!("{id} is already in the partition {other}")));
        }
    }
    Ok(())
}

pub(crate) async fn list(State(api): State<OpenChami>) -> Response {
    go::answer(StatusCode::OK, &all(&api.context.snapshot.load().inventory))
}

pub(crate) async fn names(State(api): State<OpenChami>) -> Response {
    let all = all(&api.context.snapshot.load().inventory);
    go::answer(StatusCode::OK, &all.into_iter().map(|one| one.name).collect::<Vec<_>>())
}

pub(crate) async fn show(
    State(api): State<OpenChami>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    Ok(go::answer(StatusCode::OK, &find(&snapshot.inventory, &name)?))
}

pub(crate) async fn create(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let body: Partition = go::decode(&bytes, &KEYS)?;
    let name = normal(&body.name)
        .ok_or_else(|| Problem::bad_request(format!("invalid partition name: {:?}", body.name)))?;
    let tags = body.tags.iter().map(|tag| label("tag", tag)).collect::<Result<Vec<_>, _>>()?;
    let ids: BTreeSet<String> = xnames(&body.members.ids)?.iter().map(ToString::to_string).collect();
    let partition =
        Partition { name: name.clone(), description: body.description, tags, members: Ids { ids } };
    plan(&api, |draft| {
        if draft.next.document(SHELF, &name).is_some() {
            let detail =
                format!("operation would conflict with an existing partition that has the same name: {name}");
            return Err(Problem::conflict(detail));
        }
        check(draft, &name, &partition.members.ids)?;
        put(draft, &partition);
        Ok(())
    })
    .await?;
    Ok(go::created(&[format!("/hsm/v2/partitions/{name}")]))
}

pub(crate) async fn patch(
    State(api): State<OpenChami>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Patch {
        description: Option<String>,
        tags: Option<Vec<String>>,
    }
    let body: Patch = go::decode(&bytes, &KEYS)?;
    if body.description.is_none() && body.tags.is_none() {
        return Err(Problem::bad_request("PATCH request must have description or tags"));
    }
    let tags: Option<Vec<String>> =
        body.tags.map(|tags| tags.iter().map(|tag| label("tag", tag)).collect()).transpose()?;
    plan(&api, |draft| {
        let old = find(&draft.next, &name)?;
        let description = body.description.clone().unwrap_or_else(|| old.description.clone());
        let tags = tags.clone().unwrap_or_else(|| old.tags.clone());
        put(draft, &Partition { description, tags, ..old });
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn remove(
    State(api): State<OpenChami>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    plan(&api, |draft| {
        let found = find(&draft.next, &name)?;
        draft.remove_document(SHELF, &found.name);
        Ok(())
    })
    .await?;
    go::deleted(1)
}

pub(crate) async fn members(
    State(api): State<OpenChami>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let found = find(&snapshot.inventory, &name)?;
    Ok(go::answer(StatusCode::OK, &Members { ids: found.members.ids }))
}

pub(crate) async fn add(
    State(api): State<OpenChami>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: Member = go::decode(&bytes, &KEYS)?;
    let member = xname(&body.id)?.to_string();
    let (name, _) = plan(&api, |draft| {
        let mut found = find(&draft.next, &name)?;
        if !found.members.ids.insert(member.clone()) {
            return Err(Problem::conflict(format!(
                "operation would conflict with an existing member: {member}"
            )));
        }
        check(draft, &found.name, &found.members.ids)?;
        put(draft, &found);
        Ok(found.name)
    })
    .await?;
    Ok(go::created(&[format!("/hsm/v2/partitions/{name}/members/{member}")]))
}

pub(crate) async fn drop_member(
    State(api): State<OpenChami>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let member = xname(&id)?;
    plan(&api, |draft| {
        let mut found = find(&draft.next, &name)?;
        if !found.members.ids.remove(member.as_str()) {
            return Err(Problem::not_found(format!("partition {} has no member {member}", found.name)));
        }
        put(draft, &found);
        Ok(())
    })
    .await?;
    go::deleted(1)
}
