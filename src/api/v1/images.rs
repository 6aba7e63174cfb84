//! Images: versions made of files that the head has, tags that name them, and what removes the unused ones.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::terms::Terms;
use crate::api::v1::types::{ImageBody, ImageDiffBody, NewImageBody, read};
use crate::api::v1::work::{Done, Work};
use crate::api::v1::write::write;
use crate::base::{Digest, ImageTag};
use crate::engine::image::{diff, manifest, sniff};
use crate::model::image::{Delivery, File, Root, RootFormat};
use crate::model::{Arch, Change, Image, ImageKey, Inventory, Snapshot, Tag, TagKey};
use crate::transport::blobs::Blobs;
use crate::transport::clock::now;
use crate::wire::ipxe;

/// Initrds of one image: microcode, a base and a few additions.
const INITRDS_MAX: usize = 16;

/// Labels of one image, and octets of each text that is kept with it.
const LABELS_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 4096;

/// `GET /images?name=…`, by name and version.
pub(crate) async fn list(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let snapshot = context.snapshot.load();
    let inventory = &snapshot.inventory;
    let name = query::field(uri.query(), "name").map(|name| name.to_ascii_lowercase());
    let wanted = |image: &Image| name.as_ref().is_none_or(|name| image.name.as_str() == name);
    let images = inventory.images.values().filter(|image| wanted(image));
    page(&uri, images.map(|image| (image.key().to_string(), image)), |image| ImageBody::new(image, inventory))
}

/// `GET /images/{image}`: by tag or version.
pub(crate) async fn show(
    State(context): State<Context>,
    Path(image): Path<String>,
) -> Result<Json<ImageBody>, Problem> {
    let snapshot = context.snapshot.load();
    body(&snapshot, &image).map(Json)
}

fn body(snapshot: &Snapshot, image: &str) -> Result<ImageBody, Problem> {
    Ok(ImageBody::new(&*named(&snapshot.inventory, image)?, &snapshot.inventory))
}

/// The version that a person means: `NAME:TAG`, `NAME@VERSION`, or the first digits of the version.
pub(crate) fn named(inventory: &Inventory, text: &str) -> Result<Arc<Image>, Problem> {
    let missing = || Problem::not_found(format!("there is no image {text:?}"));
    if let Some((name, digits)) = text.split_once('@')
        && digits.parse::<Digest>().is_err()
    {
        let name = read("image", name)?;
        let digits = digits.strip_prefix("sha256:").unwrap_or(digits).to_ascii_lowercase();
        let mut fitting = inventory.versions(&name).filter(|image| image.version.hex().starts_with(&digits));
        return match (fitting.next(), fitting.next()) {
            (Some(image), None) => Ok(Arc::clone(image)),
            (None, _) => Err(missing()),
            (Some(_), Some(_)) => {
                Err(Problem::field("image", format!("{digits:?} are the first digits of several versions")))
            }
        };
    }
    inventory.image(&read("image", text)?).cloned().ok_or_else(missing)
}

/// `POST /images`: makes a version of files that were uploaded. The same files with the same parameters are the
/// same version: it is answered, and tagged, but not made again.
pub(crate) async fn create(
    State(context): State<Context>,
    terms: Terms,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let new: NewImageBody = query::body(&bytes)?;
    // Files that are looked at here must still be there when the version is stored.
    let _turn = context.images.turn().await;
    let (image, tag) = compose(&context.blobs, new).await?;
    let on_demand = image.root.is_some_and(|root| root.delivery == Delivery::Nbd);
    if on_demand && !context.about.listeners.iter().any(|listener| listener.protocol == "nbd") {
        let text = "nbd needs a listener: set nbd.listen = [\"0.0.0.0:10809\"] in the configuration";
        return Err(Problem::field("delivery", text));
    }
    let written = write(&context, &terms, |work| {
        terms.hold_at(work.snapshot)?;
        let same = work.next.versions(&image.name).find(|other| same(other, &image)).cloned();
        let made = same.is_none();
        let image = same.unwrap_or_else(|| Arc::new(image.clone()));
        if made {
            work.apply(Change::PutImage(Arc::clone(&image)));
        }
        if let Some(tag) = &tag {
            move_tag(work, &TagKey { name: image.name.clone(), tag: tag.clone() }, image.version);
        }
        Ok(Done { name: image.key().to_string(), made })
    });
    written.await?.shown("/images", body)
}

/// True if nobody who boots it could tell one from the other.
fn same(one: &Image, other: &Image) -> bool {
    let bare = |image: &Image| Image {
        version: Digest([0; 32]),
        created: crate::base::Timestamp(0),
        origin: String::new(),
        ..image.clone()
    };
    bare(one) == bare(other)
}

/// Points a tag to a version; nothing changes if it points there already.
pub(crate) fn move_tag(work: &mut Work<'_>, key: &TagKey, version: Digest) {
    let tag = match work.next.tags.get(key) {
        Some(tag) if tag.version == version => return,
        Some(tag) => tag.moved(version, now()),
        None => Tag { key: key.clone(), version, since: now(), before: Vec::new() },
    };
    work.apply(Change::PutTag(Arc::new(tag)));
}

/// `DELETE /images/{image}`: a version that no tag names and nobody is pinned to. Its files go with the next `gc`.
pub(crate) async fn remove(
    State(context): State<Context>,
    Path(image): Path<String>,
    terms: Terms,
) -> Result<Response, Problem> {
    let written = write(&context, &terms, |work| {
        let found = named(&work.next, &image)?;
        let key = found.key();
        terms.hold(Some(&ImageBody::new(&found, &work.next)))?;
        let tags: Vec<String> = tags_of(&work.next, &key).map(|tag| tag.key.to_string()).collect();
        if !tags.is_empty() {
            let tags = tags.join(", ");
            return Err(Problem::conflict(format!("{key} is named by {tags}; remove the tags first")));
        }
        work.apply(Change::RemoveImage(key.clone()));
        Ok(Done { name: key.to_string(), made: false })
    });
    Ok(written.await?.gone())
}

pub(crate) fn tags_of<'a>(inventory: &'a Inventory, key: &'a ImageKey) -> impl Iterator<Item = &'a Arc<Tag>> {
    inventory.tags.values().filter(|tag| tag.key.name == key.name && tag.version == key.version)
}

/// `GET /images/diff?from=…&to=…`.
pub(crate) async fn differences(
    State(context): State<Context>,
    uri: Uri,
) -> Result<Json<ImageDiffBody>, Problem> {
    let snapshot = context.snapshot.load();
    let image = |field: &str| {
        let text = query::field(uri.query(), field).ok_or_else(|| Problem::field(field, "is needed"))?;
        named(&snapshot.inventory, &text)
    };
    let (from, to) = (image("from")?, image("to")?);
    let diff = diff::diff(&from, &to);
    Ok(Json(ImageDiffBody {
        from: from.key().to_string(),
        to: to.key().to_string(),
        fields: diff.fields.into_iter().map(|(field, was, is)| (field.to_owned(), [was, is])).collect(),
        new_bytes: diff.new_bytes,
    }))
}

/// The version that a request describes, of files that are there.
async fn compose(blobs: &Blobs, new: NewImageBody) -> Result<(Image, Option<ImageTag>), Problem> {
    let NewImageBody {
        name,
        tag,
        arch,
        kernel_version,
        kernel,
        initrds,
        root,
        delivery,
        params,
        origin,
        labels,
    } = new;
    let texts = [("params", &params), ("origin", &origin)].into_iter();
    for (field, text) in texts.chain(kernel_version.iter().map(|text| ("kernel_version", text))) {
        one_line(field, text)?;
    }
    ipxe::check(&params).map_err(|error| Problem::field("params", error.to_string()))?;
    if labels.len() > LABELS_MAX {
        return Err(Problem::field("labels", format!("there are more than {LABELS_MAX}")));
    }
    for (key, value) in &labels {
        one_line("labels", key)?;
        one_line("labels", value)?;
    }
    if initrds.len() > INITRDS_MAX {
        return Err(Problem::field("initrds", format!("there are more than {INITRDS_MAX}")));
    }
    let arch = arch.map(|arch| {
        Arch::from_name(&arch).ok_or_else(|| Problem::field("arch", format!("{arch:?} is no architecture")))
    });
    let initrds = initrds.iter().enumerate();
    let initrds = initrds.map(|(index, digest)| file(blobs, &format!("initrds[{index}]"), digest));
    let tag = tag.map(|tag| read("tag", &tag)).transpose()?;
    let mut image = Image {
        name: read("name", &name)?,
        version: Digest([0; 32]),
        created: now(),
        arch: arch.transpose()?,
        kernel_version,
        kernel: file(blobs, "kernel", &kernel)?,
        initrds: initrds.collect::<Result<_, _>>()?,
        root: match root {
            Some(digest) => Some(root_of(blobs, &digest, delivery).await?),
            None if delivery.is_some() => return Err(Problem::field("delivery", "there is no root")),
            None => None,
        },
        params,
        origin,
        labels,
    };
    image.version = manifest::version(&image);
    Ok((image, tag))
}

fn one_line(field: &str, text: &str) -> Result<(), Problem> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Problem::field(field, format!("is longer than {TEXT_BYTES_MAX} octets")));
    }
    if !manifest::fits_on_a_line(text) {
        return Err(Problem::field(field, "must not contain control characters"));
    }
    Ok(())
}

fn file(blobs: &Blobs, field: &str, digest: &str) -> Result<File, Problem> {
    let digest: Digest = read(field, digest)?;
    match blobs.info(&digest) {
        Some(info) => Ok(File { digest, size: info.size }),
        None => Err(Problem::field(field, format!("the head does not have {digest}; upload it first"))),
    }
}

async fn root_of(blobs: &Blobs, digest: &str, delivery: Option<String>) -> Result<Root, Problem> {
    let delivery = delivery.map(|name| {
        let names = Delivery::ALL.map(Delivery::as_str).join(", ");
        Delivery::from_name(&name)
            .ok_or_else(|| Problem::field("delivery", format!("{name:?} is none of {names}")))
    });
    let file = file(blobs, "root", digest)?;
    let (blobs, wanted) = (blobs.clone(), file.digest);
    let head = tokio::task::spawn_blocking(move || head_of(&blobs, &wanted)).await;
    let format: Option<RootFormat> = head.ok().flatten().and_then(|head| sniff::root_format(&head));
    let format = format.ok_or_else(|| Problem::field("root", "is neither squashfs nor erofs"))?;
    Ok(Root { file, format, delivery: delivery.transpose()?.unwrap_or_default() })
}

/// The first octets of a file; None if it cannot be read.
fn head_of(blobs: &Blobs, digest: &Digest) -> Option<Vec<u8>> {
    blobs.file(digest).ok()?.head(sniff::HEAD_BYTES).ok()
}
