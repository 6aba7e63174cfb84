//! What cloud-init on nodes reads: site defaults and what each group lends its members.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use crate::api::context::Context;
use crate::api::page::bits::{Act, Field, Form, empty, segment, title, title_below};
use crate::api::page::layout::{Page, Refused, Visit};
use crate::api::problem::Problem;
use crate::api::v1::cloud_init::{DefaultsBody, GroupDataBody, defaults, groups};
use crate::base::GroupName;
use crate::engine::cloud_init::GroupData;
use crate::model::{Role, Snapshot};

/// Members that a preview is offered for.
const PREVIEWS: usize = 8;

/// `GET /ui/cloud-init`.
pub(crate) async fn list(State(context): State<Context>, visit: Visit) -> Response {
    let (Json(groups), Json(defaults)) =
        (groups(State(context.clone())).await, defaults(State(context.clone())).await);
    let snapshot = context.snapshot.load();
    let about =
        html! { "Each node gets its own data, then what its groups lend it, then the defaults of the site." };
    let body = html! {
        (title("Cloud-init", about, html! {}))
        div.split {
            section.card.flat data-part="groups" { (table(&groups, &snapshot)) }
            section.card { (site(&visit, &defaults)) }
        }
    };
    Page::new("Cloud-init", body).live("inventory").framed(&visit)
}

fn table(groups: &[GroupDataBody], snapshot: &Snapshot) -> Markup {
    let without = snapshot
        .inventory
        .groups
        .keys()
        .filter(|name| !groups.iter().any(|group| group.name == name.as_str()));
    html! {
        header { h2 { "Groups" } }
        @if groups.is_empty() {
            (empty("No group lends anything", html! {
                "Choose a group below and write what its members are to run."
            }))
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Groups with cloud-init data" {
                table {
                    thead { tr { th { "Group" } th { "File" } th.end { "Values" } th { "What it is for" } } }
                    tbody {
                        @for group in groups {
                            tr {
                                th scope="row" {
                                    a href={ "/ui/cloud-init/" (segment(&group.name)) } { (group.name) }
                                }
                                td {
                                    @match &group.file {
                                        Some(file) => (format!("{} lines", file.content.lines().count())),
                                            None => span.soft {
                                            "none"
                                        }
                                    }
                                }
                                td.num.end { (group.meta_data.len()) }
                                td { (group.description) }
                            }
                        }
                    }
                }
            }
        }
        div.foot.row {
            span.soft { "Write for" }
            @for name in without { a.tag href={ "/ui/cloud-init/" (segment(name.as_str())) } { (name) } }
            @if snapshot.inventory.groups.is_empty() { a href="/ui/groups" { "a new group" } }
        }
    }
}

fn site(visit: &Visit, defaults: &DefaultsBody) -> Markup {
    let form = Form {
        api: ("PATCH", "/api/v1/cloud-init/defaults"),
        check: true,
        then: "",
        done: "Saved.",
        button: "Save",
    };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let length = defaults.nid_length.map_or_else(String::new, |length| length.to_string());
    html! {
        header { h2 { "Defaults of the site" } }
        @if visit.may(Role::Operator) {
            (form.around(html! {
                (Field::new("public_keys", "SSH keys for root")
                    .kind("lines")
                    .value(&defaults.public_keys.join("\n"))
                    .hint("One on each line.")
                    .text(5))
                (Field::new("cluster_name", "Cluster").value(&text(&defaults.cluster_name)).line())
                (Field::new("base_url", "URL by which nodes reach cloud-init")
                    .value(&text(&defaults.base_url))
                    .line())
                (Field::new("short_name", "Prefix of host names").value(&text(&defaults.short_name)).line())
                (Field::new("nid_length", "Digits of their numbers").kind("number").value(&length).line())
                (Field::new("region", "Region").value(&text(&defaults.region)).line())
                (Field::new("availability_zone", "Zone").value(&text(&defaults.availability_zone)).line())
            }))
        } @else {
            dl.facts {
                dt { "SSH keys" } dd.num { (defaults.public_keys.len()) }
                dt { "Cluster" } dd { (text(&defaults.cluster_name)) }
                dt { "Reached at" } dd.mono { (text(&defaults.base_url)) }
            }
        }
    }
}

/// `GET /ui/cloud-init/{group}`: an editor, for a group that lends nothing yet too.
pub(crate) async fn show(
    State(context): State<Context>,
    visit: Visit,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    let snapshot = context.snapshot.load();
    let missing = || Problem::not_found(format!("no group is called {name:?}"));
    let group: GroupName = name.parse().map_err(|_| missing())?;
    let found = GroupData::of(&snapshot.inventory, &group);
    if found.is_none() && !snapshot.inventory.groups.contains_key(&group) {
        return Err(missing().into());
    }
    let is_there = found.is_some();
    let data = GroupDataBody::of(&found.unwrap_or_else(|| GroupData::new(group.clone())), &[]);
    let path = format!("/api/v1/cloud-init/groups/{}", segment(&name));
    let confirm = format!("Remove what {name} lends to its members' cloud-init?");
    let members: Vec<String> = snapshot
        .members(&group)
        .unwrap_or_default()
        .iter()
        .take(PREVIEWS)
        .filter_map(|id| snapshot.node(*id).map(|node| node.name.to_string()))
        .collect();
    let remove = html! {
        @if is_there && visit.may(Role::Operator) {
            (Act::new("Remove", "DELETE", &path)
                .confirm(&confirm)
                .done("Removed.")
                .then("/ui/cloud-init")
                .class("danger")
                .button())
        }
    };
    let about = html! { "Lent to the members of this group." };
    let body = html! {
        (title_below(("/ui/cloud-init", "Cloud-init"), &name, about, remove))
        section.card {
            @if visit.may(Role::Operator) { (editor(&path, &data)) }
            @else if let Some(file) = &data.file { pre tabindex="0" { (file.content) } }
            @else { p.soft { "It lends no file." } }
        }
        @if !members.is_empty() {
            section.card {
                header { h2 { "What its members will see" } p { "as it is saved" } }
                p.row {
                    @for name in &members { a.tag href={ "/ui/nodes/" (segment(name)) "#sees" } { (name) } }
                }
            }
        }
    };
    Ok(Page::new(name, body).framed(&visit))
}

fn editor(path: &str, data: &GroupDataBody) -> Markup {
    let form = Form {
        api: ("PUT", path),
        check: true,
        then: "",
        done: "Saved. Nodes read it at their next boot.",
        button: "Save",
    };
    let values: Vec<String> = data.meta_data.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let (content, encoding, filename) =
        data.file.as_ref().map_or(("", "plain", ""), |file| (&file.content, &file.encoding, &file.filename));
    html! {
        (form.around(html! {
            (Field::new("description", "What it is for").kind("text").value(&data.description).line())
            (content_field(content))
            input type="hidden" name="file.encoding" value=(encoding) data-with="file.content";
            input type="hidden" name="file.filename" value=(filename) data-empty="text"
                data-with="file.content";
            (Field::new("meta_data", "Values for templates")
                .kind("pairs")
                .value(&values.join("\n"))
                .hint("One on each line: name: value. Templates read them as ds.meta_data.")
                .text(4))
        }))
    }
}

/// The file: it is as long as it is, and an empty one is none.
fn content_field(content: &str) -> Markup {
    html! {
        div.field {
            label for="content" { "File" }
            textarea #content name="file.content" rows="20" spellcheck="false" data-as="document"
                data-whole="file" aria-describedby="content-hint content-wrong" placeholder="#cloud-config" {
                "\n" (content)
            }
            span.hint #content-hint {
                "A #cloud-config, a script, or a template that begins with ## template: jinja."
            }
            span.wrong role="alert" data-wrong #content-wrong {}
        }
    }
}
