//! Tags of images: promotion, rollback, removal.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::images::{move_tag, named};
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::{ImageTagBody, MoveTagBody, read};
use crate::api::v1::work::{Done, Work};
use crate::api::v1::write::write;
use crate::model::{Change, ImageRef, Inventory, Snapshot, Tag, TagKey};

/// `GET /image-tags?name=…`.
pub(crate) async fn list(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let snapshot = context.snapshot.load();
    let name = query::field(uri.query(), "name").map(|name| name.to_ascii_lowercase());
    let wanted = |key: &TagKey| name.as_ref().is_none_or(|name| key.name.as_str() == name);
    let tags = snapshot.inventory.tags.iter().filter(|(key, _)| wanted(key));
    page(&uri, tags.map(|(key, tag)| (key.to_string(), tag)), |tag| ImageTagBody::from(tag.as_ref()))
}

/// `GET /image-tags/{tag}`.
pub(crate) async fn show(
    State(context): State<Context>,
    Path(tag): Path<String>,
) -> Result<Json<ImageTagBody>, Problem> {
    body(&context.snapshot.load(), &tag).map(Json)
}

fn body(snapshot: &Snapshot, tag: &str) -> Result<ImageTagBody, Problem> {
    let key: TagKey = read("tag", tag)?;
    snapshot.inventory.tags.get(&key).map(|tag| ImageTagBody::from(tag.as_ref())).ok_or_else(|| missing(&key))
}

fn missing(key: &TagKey) -> Problem {
    Problem::not_found(format!("there is no tag {key}"))
}

/// `PUT /image-tags/{tag}`: names a version, from the next boot script on.
pub(crate) async fn put(
    State(context): State<Context>,
    Path(tag): Path<String>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let MoveTagBody { image } = query::body(&bytes)?;
    let key: TagKey = read("tag", &tag)?;
    let written = write(&context, &terms, |work| {
        let old = work.next.tags.get(&key).map(|tag| ImageTagBody::from(tag.as_ref()));
        terms.hold(old.as_ref())?;
        let image = named(&work.next, &image)?;
        if image.name != key.name {
            let text = format!("{} is another image than {}", image.name, key.name);
            return Err(Problem::field("image", text));
        }
        move_tag(work, &key, image.version);
        Ok(Done { name: key.to_string(), made: old.is_none() })
    });
    written.await?.shown("/image-tags", body)
}

/// The tag, which must be there and as the request's terms want it.
fn held<'a>(work: &'a Work<'_>, key: &TagKey, terms: &Terms) -> Result<&'a Arc<Tag>, Problem> {
    let tag = work.next.tags.get(key).ok_or_else(|| missing(key))?;
    terms.hold(Some(&ImageTagBody::from(tag.as_ref())))?;
    Ok(tag)
}

/// `POST /image-tags/{tag}/rollback`: back to the version that the tag named before, as long as it is there.
pub(crate) async fn rollback(
    State(context): State<Context>,
    Path(tag): Path<String>,
    terms: Terms,
) -> Result<Response, Problem> {
    let key: TagKey = read("tag", &tag)?;
    let written = write(&context, &terms, |work| {
        let now = held(work, &key, &terms)?;
        let there = work.next.versions(&key.name).map(|image| image.version);
        let there: std::collections::BTreeSet<_> = there.collect();
        let before = now.before.iter().find(|(version, _)| there.contains(version));
        let (version, _) = *before
            .ok_or_else(|| Problem::conflict(format!("{key} named no other version that is still there")))?;
        move_tag(work, &key, version);
        Ok(Done { name: key.to_string(), made: false })
    });
    written.await?.shown("/image-tags", body)
}

/// `DELETE /image-tags/{tag}`: not while somebody boots by it.
pub(crate) async fn remove(
    State(context): State<Context>,
    Path(tag): Path<String>,
    terms: Terms,
) -> Result<Response, Problem> {
    let key: TagKey = read("tag", &tag)?;
    let written = write(&context, &terms, |work| {
        held(work, &key, &terms)?;
        if let Some(user) = user_of(&work.next, &key) {
            return Err(Problem::conflict(format!("{user} boots by the tag {key}")));
        }
        work.apply(Change::RemoveTag(key.clone()));
        Ok(Done { name: key.to_string(), made: false })
    });
    Ok(written.await?.gone())
}

/// Who boots by this tag.
fn user_of(inventory: &Inventory, key: &TagKey) -> Option<String> {
    let by_tag = |image: &ImageRef| matches!(image, ImageRef::Tag(tag) if tag == key);
    inventory.image_users().find(|(image, _)| by_tag(image)).map(|(_, who)| who.to_string())
}
