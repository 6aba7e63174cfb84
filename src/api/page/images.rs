//! Images: their versions, the tags that name them, who boots which; promotion and rollback.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use crate::api::context::Context;
use crate::api::page::bits::{
    Act, Field, Form, bytes, counted, empty, moment, node_link, segment, short, title, title_below,
};
use crate::api::page::layout::{Page, Refused, Visit};
use crate::api::problem::Problem;
use crate::api::v1::boot::decision;
use crate::api::v1::types::{ImageBody, ImageTagBody};
use crate::base::ImageName;
use crate::model::{Inventory, Role, Snapshot};

/// Names of nodes that are told of one version; the rest are counted.
const NODES_SHOWN: usize = 24;

/// Which nodes would boot which version (`sha256:…`), by name.
fn users(snapshot: &Snapshot) -> BTreeMap<String, Vec<String>> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in snapshot.inventory.nodes.values() {
        if let Some(version) = decision(snapshot, node).version {
            users.entry(version).or_default().push(node.name.to_string());
        }
    }
    users.values_mut().for_each(|names| names.sort());
    users
}

fn versions(inventory: &Inventory, name: &ImageName) -> Vec<ImageBody> {
    let mut versions: Vec<_> = inventory.versions(name).collect();
    versions.sort_by_key(|image| std::cmp::Reverse(image.created));
    versions.into_iter().map(|image| ImageBody::new(image, inventory)).collect()
}

fn tags(inventory: &Inventory, name: &ImageName) -> Vec<ImageTagBody> {
    let own = inventory.tags.values().filter(|tag| tag.key.name == *name);
    own.map(|tag| ImageTagBody::from(tag.as_ref())).collect()
}

/// `GET /ui/images`.
pub(crate) async fn list(State(context): State<Context>, visit: Visit) -> Response {
    let snapshot = context.snapshot.load();
    let (inventory, users) = (&snapshot.inventory, users(&snapshot));
    let mut names: Vec<&ImageName> = inventory.images.values().map(|image| &image.name).collect();
    names.sort();
    names.dedup();
    let about = html! {
        "Kernel, initrds, root and parameters as one version. Tags name versions, and nodes boot by tags."
    };
    let body = html! {
        (title("Images", about, html! {}))
        @if names.is_empty() {
            div.card {
                (empty("No images yet", html! {
                    "Bring one in on the head: " code { "muster image import" }
                    " takes folders, tarballs, OCI layouts, registries and URLs."
                }))
            }
        }
        @for name in names {
            @let (versions, tags) = (versions(inventory, name), tags(inventory, name));
            section.card.flat data-part={ "image-" (name) } {
                header {
                    h2 { a href={ "/ui/images/" (segment(name.as_str())) } { (name) } }
                    p {
                        (counted(versions.len(), "version")) @if let Some(newest) = versions.first() {
                            ", the newest " (moment(&newest.created))
                        }
                    }
                }
                @if tags.is_empty() {
                    header { p { "No tag names a version, so nobody boots it by one." } }
                } @else {
                    (tag_table(&visit, &tags, &users))
                }
            }
        }
    };
    Page::new("Images", body).live("inventory boot").framed(&visit)
}

fn tag_table(visit: &Visit, tags: &[ImageTagBody], users: &BTreeMap<String, Vec<String>>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Tags" {
            table {
                thead {
                    tr {
                        th { "Tag" } th { "Names version" } th { "Since" }
                        th { "Nodes that boot that version" } th { "Before" } th.end { span.unseen { "Act" } }
                    }
                }
                tbody {
                    @for tag in tags {
                        tr {
                            th.mono scope="row" { (tag.tag) }
                            td.mono { (short(&tag.version)) }
                            td { (moment(&tag.since)) }
                            td.num { (counted(users.get(&tag.version).map_or(0, Vec::len), "node")) }
                            td.mono {
                                @if let Some(before) = tag.before.first() {
                                    (short(&before.version))
                                } @else {
                                    span.soft { "none" }
                                }
                            }
                            td.end {
                                @if visit.may(Role::Operator) {
                                    @if let Some(before) = tag.before.first() {
                                        (roll_back(&tag.tag, &before.version))
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn roll_back(tag: &str, version: &str) -> Markup {
    let path = format!("/api/v1/image-tags/{}/rollback", segment(tag));
    let confirm =
        format!("Point {tag} back to {}? Nodes boot that from their next boot script on.", short(version));
    Act::new("Roll back", "POST", &path).confirm(&confirm).done("Rolled back.").button()
}

/// `GET /ui/images/{name}`.
pub(crate) async fn show(
    State(context): State<Context>,
    visit: Visit,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    let snapshot = context.snapshot.load();
    let (inventory, users) = (&snapshot.inventory, users(&snapshot));
    let missing = || Problem::not_found(format!("there is no image {name:?}"));
    let image: ImageName = name.parse().map_err(|_| missing())?;
    let versions = versions(inventory, &image);
    if versions.is_empty() {
        return Err(missing().into());
    }
    let tags = tags(inventory, &image);
    let booted = context.images.all();
    let booted: BTreeMap<String, String> =
        booted.into_iter().map(|(version, node)| (format!("sha256:{}", version.hex()), node)).collect();
    let body = html! {
        (title_below(("/ui/images", "Images"), &name, html! { (counted(versions.len(), "version")) }, html! {}))
        @if !tags.is_empty() {
            section.card.flat data-part="tags" { header { h2 { "Tags" } } (tag_table(&visit, &tags, &users)) }
        }
        @for version in &versions { (one(&visit, version, &users, &booted)) }
    };
    Ok(Page::new(name, body).live("inventory boot").framed(&visit))
}

fn one(
    visit: &Visit,
    image: &ImageBody,
    users: &BTreeMap<String, Vec<String>>,
    booted: &BTreeMap<String, String>,
) -> Markup {
    let nodes = users.get(&image.version).map(Vec::as_slice).unwrap_or_default();
    html! {
        section.card {
            header {
                h2.mono {
                    (short(&image.version)) " " span.tags { @for tag in &image.tags { span.tag { (tag) } } }
                }
                p { (moment(&image.created)) ", " (bytes(image.size)) }
            }
            div.halves {
                dl.facts {
                    @if let Some(kernel) = &image.kernel_version { dt { "Kernel" } dd.mono { (kernel) } }
                    @if let Some(arch) = &image.arch { dt { "Processor" } dd { (arch) } }
                    @if let Some(root) = &image.root {
                        dt { "Root" }
                        dd { (root.format) ", " (bytes(root.size)) ", brought by " (root.delivery) }
                    }
                    dt { "Initrds" } dd { (image.initrds.len()) }
                    @if !image.params.is_empty() { dt { "Parameters" } dd.mono { (image.params) } }
                    @if !image.origin.is_empty() { dt { "Made from" } dd.mono { (image.origin) } }
                    @for (key, value) in &image.labels { dt { (key) } dd { (value) } }
                }
                div.stack {
                    @if nodes.is_empty() { p.soft { "No node would boot it." } } @else {
                        p { (counted(nodes.len(), "node")) " would boot it:" }
                        p.small { @for name in nodes.iter().take(NODES_SHOWN) { (node_link(name)) " " }
                            @if nodes.len() > NODES_SHOWN { span.soft { "and " (nodes.len() - NODES_SHOWN) " more" } } }
                    }
                    @if let Some(last) = booted.get(&image.version) {
                        p.small.soft { "Booted last by " (last) }
                    }
                    @if visit.may(Role::Operator) { (promote(image)) }
                }
            }
        }
    }
}

fn promote(image: &ImageBody) -> Markup {
    let path = format!("/api/v1/image-tags/{}:{{tag}}", segment(&image.name));
    let form = Form {
        api: ("PUT", &path),
        check: true,
        then: "",
        done: "Promoted. It holds from the next boot script on.",
        button: "Promote",
    };
    let named = format!("{}@{}", image.name, image.version);
    let pinned = format!("/api/v1/images/{}", segment(&named));
    let confirm = format!("Remove the version {}?", short(&image.version));
    html! {
        details {
            summary { "Promote or remove" }
            (form.around(html! {
                input type="hidden" name="image" value=(named);
                (Field::new("tag", "Tag")
                    .scope(short(&image.version))
                    .kind("path")
                    .holder("prod")
                    .hint("Moves there, or is made.")
                    .line())
            }))
            @if image.tags.is_empty() {
                (Act::new("Remove this version", "DELETE", &pinned)
                    .confirm(&confirm)
                    .done("Removed.")
                    .class("bare danger")
                    .button())
            }
        }
    }
}
