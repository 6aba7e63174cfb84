//! The first generation: entries with whole sections, under a group's name, an xname or a hardware address. Two
//! trees with a store each.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::api::cloud_init::{Asker, put as put_document};
use crate::api::openchami::OpenChami;
use crate::api::openchami::cloud_init::{body, node};
use crate::api::openchami::draft::Draft;
use crate::api::openchami::go::answer;
use crate::api::openchami::smd::plan;
use crate::api::problem::Problem;
use crate::base::{Mac, Xname};
use crate::engine::cloud_init::{Tree, view::Section};
use crate::transport::http::Peer;

/// Names that the second generation and the nodes' own paths take.
const RESERVED: [&str; 11] = [
    "admin",
    "cloud-init",
    "cloud-init-secure",
    "meta-data",
    "network-config",
    "openapi.json",
    "phone-home",
    "user-data",
    "vendor-data",
    "version",
    "wg-init",
];

/// Longest name of an entry.
const ID_BYTES_MAX: usize = 255;

/// What handlers of one tree reach.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) api: OpenChami,
    pub(crate) tree: Tree,
}

/// An entry's name as it is kept: hardware addresses and xnames in their one form, all else in lower case.
fn id(text: &str) -> Result<String, Problem> {
    let text = text.trim();
    let mac = || text.parse::<Mac>().ok().map(|mac| mac.to_string());
    let xname = || text.parse::<Xname>().ok().filter(|xname| xname.kind().is_some());
    let id =
        mac().or_else(|| xname().map(|xname| xname.to_string())).unwrap_or_else(|| text.to_ascii_lowercase());
    if RESERVED.contains(&id.as_str()) {
        return Err(Problem::field("name", format!("{id:?} is the name of a path here; choose another")));
    }
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.chars().any(|c| c == '/' || c.is_control()) {
        return Err(Problem::field("name", "a group's name, an xname or a hardware address is needed"));
    }
    Ok(id)
}

fn not_found() -> Problem {
    Problem::not_found("not found")
}

/// An entry as clients see it.
fn shown(name: &str, sections: &Map<String, Value>) -> Value {
    json!({"name": name, "cloud-init": sections})
}

pub(crate) async fn list(State(store): State<Store>) -> Response {
    let snapshot = store.api.context.snapshot.load();
    let all = snapshot.inventory.shelf(store.tree.shelf());
    let entries = all.filter_map(|document| {
        let name = document.key.id.to_string();
        let sections = store.tree.entry(&snapshot.inventory, &name)?;
        let entry = shown(&name, &sections);
        Some((name, entry))
    });
    answer(StatusCode::OK, &Value::Object(entries.collect()))
}

/// `GET /{id}`: an entry; a node's merged with its groups'. In the open tree also `GET /{group}.yaml`.
pub(crate) async fn show(
    State(store): State<Store>,
    Extension(peer): Extension<Peer>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    if store.tree == Tree::Open
        && let Some(group) = name.strip_suffix(".yaml")
    {
        let asker = Asker::of_peer(&store.api.context, peer).await?;
        return node::group_file(&asker.view(), group);
    }
    if let Ok(asker) = Asker::named(&store.api.context, &name) {
        let view = asker.view();
        let sections: Map<String, Value> = Section::ALL
            .into_iter()
            .filter_map(|section| {
                Some((section.key().to_owned(), Value::Object(view.merged(store.tree, section)?)))
            })
            .collect();
        return if sections.is_empty() {
            Err(not_found())
        } else {
            Ok(answer(StatusCode::OK, &shown(&name, &sections)))
        };
    }
    let name = id(&name).map_err(|_| not_found())?;
    let snapshot = store.api.context.snapshot.load();
    let entry = store.tree.entry(&snapshot.inventory, &name).ok_or_else(not_found)?;
    Ok(answer(StatusCode::OK, &shown(&name, &entry)))
}

/// `GET /{id}/{document}`: a node's, merged, or an entry's own.
pub(crate) async fn document(
    State(store): State<Store>,
    Path((name, document)): Path<(String, String)>,
) -> Result<Response, Problem> {
    if let Ok(asker) = Asker::named(&store.api.context, &name) {
        return node::document(&asker.view(), store.tree, &document);
    }
    let name = id(&name).map_err(|_| not_found())?;
    let section = node::section(&document).ok_or_else(|| node::no_document(&document))?;
    let snapshot = store.api.context.snapshot.load();
    let text = store.tree.document(&snapshot.inventory, &name, section).ok_or_else(not_found)?;
    Ok(if section == Section::User { body::text(text) } else { body::yaml(text) })
}

/// The sections that an entry gives. A null one is not given.
fn sections(entry: &Value) -> Result<Map<String, Value>, Problem> {
    let given = body::field(entry, "cloud-init").cloned().unwrap_or_else(|| json!({}));
    let mut sections = Map::new();
    for section in Section::ALL {
        match body::field(&given, section.key()) {
            None => {}
            Some(Value::Object(map)) => {
                sections.insert(section.key().to_owned(), Value::Object(map.clone()));
            }
            Some(_) => {
                return Err(Problem::field(format!("cloud-init.{}", section.key()), "must be an object"));
            }
        }
    }
    Ok(sections)
}

/// `POST`: adds entries, or sections that an entry lacks.
pub(crate) async fn add(State(store): State<Store>, bytes: Bytes) -> Result<Response, Problem> {
    let mut entries = Vec::new();
    for entry in body::values(&bytes)? {
        let name = body::field(&entry, "name").and_then(Value::as_str);
        let name = name.ok_or_else(|| Problem::field("name", "is needed"))?;
        entries.push((id(name)?, sections(&entry)?));
    }
    let add = |draft: &mut Draft<'_>| {
        for (name, given) in &entries {
            let mut entry = store.tree.entry(&draft.next, name).unwrap_or_default();
            let filled =
                |key: &String| entry.get(key).and_then(Value::as_object).is_some_and(|old| !old.is_empty());
            if given.keys().any(filled) {
                return Err(Problem::not_found("Data exists for this entry. Update instead"));
            }
            entry.extend(given.clone());
            put_document(draft, store.tree.shelf(), name, &Value::Object(entry));
        }
        Ok(())
    };
    plan(&store.api, add).await?;
    let names: Vec<&String> = entries.iter().map(|(name, _)| name).collect();
    Ok(match names.as_slice() {
        [one] => answer(StatusCode::OK, one),
        many => answer(StatusCode::OK, &many),
    })
}

/// `PUT /{id}`: replaces the sections that are given; makes the entry if it is not there.
pub(crate) async fn put(
    State(store): State<Store>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let (name, given) = (id(&name)?, sections(&body::one(&bytes)?)?);
    let replace = |draft: &mut Draft<'_>| {
        let mut entry = store.tree.entry(&draft.next, &name).unwrap_or_default();
        entry.extend(given.clone());
        put_document(draft, store.tree.shelf(), &name, &Value::Object(entry));
        Ok(())
    };
    plan(&store.api, replace).await?;
    Ok(answer(StatusCode::OK, &name))
}

pub(crate) async fn remove(
    State(store): State<Store>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let name = id(&name)?;
    let remove = |draft: &mut Draft<'_>| {
        if draft.remove_document(store.tree.shelf(), &name) { Ok(()) } else { Err(not_found()) }
    };
    plan(&store.api, remove).await?;
    Ok(answer(StatusCode::OK, &json!({"status": "success"})))
}
