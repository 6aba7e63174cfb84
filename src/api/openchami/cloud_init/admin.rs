//! The second generation's administration: site defaults, groups, instance info, and seeing what a node sees.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::cloud_init::{self, Asker, admit, find, no_node};
use crate::api::openchami::OpenChami;
use crate::api::openchami::cloud_init::{body, node};
use crate::api::openchami::draft::Draft;
use crate::api::openchami::smd::plan;
use crate::api::problem::Problem;
use crate::base::{GroupName, Xname};
use crate::engine::cloud_init::{Defaults, GroupData, NodeData, Tree};
use crate::model::Snapshot;

pub(crate) async fn defaults(State(api): State<OpenChami>) -> Response {
    let snapshot = api.context.snapshot.load();
    body::json(StatusCode::OK, &Defaults::of(&snapshot.inventory).write())
}

/// Merges: what is empty in the request stays as it is.
pub(crate) async fn set_defaults(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let given = Defaults::read(&body::one(&bytes)?)?;
    let merge = |draft: &mut Draft<'_>| {
        let mut defaults = Defaults::of(&draft.next);
        defaults.merge(given.clone());
        cloud_init::put_defaults(draft, &defaults);
        Ok(defaults)
    };
    let (merged, _) = plan(&api, merge).await?;
    Ok(body::json(StatusCode::CREATED, &merged.write()))
}

pub(crate) async fn groups(State(api): State<OpenChami>) -> Response {
    let snapshot = api.context.snapshot.load();
    let groups = GroupData::all(&snapshot.inventory).map(|group| (group.name.to_string(), group.write()));
    body::json(StatusCode::OK, &Value::Object(groups.collect()))
}

pub(crate) async fn group(
    State(api): State<OpenChami>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let group = name.parse::<GroupName>().ok().and_then(|name| GroupData::of(&snapshot.inventory, &name));
    let group = group.ok_or_else(|| Problem::not_found(format!("no group data is called {name:?}")))?;
    Ok(body::json(StatusCode::OK, &group.write()))
}

fn read_group(value: &Value, name: Option<&str>) -> Result<GroupData, Problem> {
    let group = GroupData::read(value, name)?;
    admit(&format!("group {}", group.name), group.file.as_ref())?;
    Ok(group)
}

/// Adds groups, all or none.
pub(crate) async fn add_groups(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let values = body::values(&bytes)?;
    let given = values.iter().map(|value| read_group(value, None)).collect::<Result<Vec<_>, _>>()?;
    let add = |draft: &mut Draft<'_>| {
        for group in &given {
            if GroupData::of(&draft.next, &group.name).is_some() {
                return Err(Problem::conflict(format!("group {} already exists", group.name)));
            }
            cloud_init::put_group(draft, group);
        }
        Ok(())
    };
    plan(&api, add).await?;
    Ok(created(given.first().map(|group| group.name.as_str())))
}

fn created(name: Option<&str>) -> Response {
    let mut response = StatusCode::CREATED.into_response();
    if let Some(Ok(place)) = name.map(|name| format!("/groups/{name}").parse()) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

pub(crate) async fn put_group(
    State(api): State<OpenChami>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let group = read_group(&body::one(&bytes)?, Some(&name))?;
    let put = |draft: &mut Draft<'_>| {
        let mut group = group.clone();
        let old = GroupData::of(&draft.next, &group.name).and_then(|old| old.file);
        cloud_init::keep_level(group.file.as_mut(), old.as_ref());
        cloud_init::put_group(draft, &group);
        Ok(())
    };
    plan(&api, put).await?;
    Ok(created(Some(group.name.as_str())))
}

/// Also 200 if there is nothing to remove, as OpenCHAMI answers.
pub(crate) async fn remove_group(
    State(api): State<OpenChami>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let name = name.trim().to_ascii_lowercase();
    plan(&api, |draft| Ok(cloud_init::remove_group(draft, &name))).await?;
    Ok(StatusCode::OK)
}

/// The id under which instance info for this name lies: a node's, or the xname of a node that is still to come.
fn instance_id(snapshot: &Snapshot, name: &str) -> Result<String, Problem> {
    if let Some(node) = find(snapshot, name) {
        let ids = NodeData::ids(&node);
        let there = ids.iter().find(|id| NodeData::at(&snapshot.inventory, id).is_some());
        return there.or(ids.first()).cloned().ok_or_else(|| no_node(name));
    }
    let xname = name.parse::<Xname>().ok().filter(Xname::is_node);
    xname.map(|xname| xname.to_string()).ok_or_else(|| no_node(name))
}

fn shown(name: &str, data: &NodeData) -> Value {
    let mut value = data.write();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("id".to_owned(), json!(name));
    }
    value
}

pub(crate) async fn instance(
    State(api): State<OpenChami>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let data = NodeData::at(&snapshot.inventory, &instance_id(&snapshot, &name)?);
    let data = data.ok_or_else(|| Problem::not_found(format!("no instance info for {name:?}")))?;
    Ok(body::json(StatusCode::OK, &shown(&name, &data)))
}

/// Replaces what OpenCHAMI knows of. The instance-id stays unless another is given, and what only muster
/// knows of stays unless it is mentioned.
pub(crate) async fn put_instance(
    State(api): State<OpenChami>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let given = NodeData::read(&body::one(&bytes)?)?;
    admit(&format!("node {name}"), given.file.as_ref())?;
    let put = |draft: &mut Draft<'_>| {
        let id = instance_id(draft.snapshot, &name)?;
        let old = NodeData::at(&draft.next, &id).unwrap_or_default();
        let mut new = given.clone();
        new.instance_id = new.instance_id.or(old.instance_id);
        new.installation = old.installation;
        cloud_init::keep_level(new.file.as_mut(), old.file.as_ref());
        new.file = new.file.or(old.file);
        if new.meta_data.is_empty() {
            new.meta_data = old.meta_data;
        }
        cloud_init::put_node_at(draft, &id, &new);
        Ok(new)
    };
    let (new, _) = plan(&api, put).await?;
    Ok(body::json(StatusCode::CREATED, &shown(&name, &new)))
}

pub(crate) async fn impersonate(
    State(api): State<OpenChami>,
    Path((name, document)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let asker = Asker::named(&api.context, &name)?;
    node::document(&asker.view(), Tree::Open, &document)
}
