//! Groups: who is in them, and what they bring.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use crate::api::context::Context;
use crate::api::page::bits::{
    Act, Field, Form, count, counted, empty, node_link, segment, title, title_below,
};
use crate::api::page::layout::{Page, Refused, Visit};
use crate::api::problem::Problem;
use crate::api::v1::types::GroupBody;
use crate::model::{Role, Snapshot};

/// Members that are named; the rest are a search away.
const MEMBERS_SHOWN: usize = 400;

/// `GET /ui/groups`.
pub(crate) async fn list(State(context): State<Context>, visit: Visit) -> Response {
    let snapshot = context.snapshot.load();
    let groups = &snapshot.inventory.groups;
    let about = html! {
        "Nodes belong to any number of groups; what they boot, their cloud-init and their secrets can hang on one."
    };
    let body = html! {
        (title("Groups", about, html! {}))
        div.split {
            section.card.flat data-part="groups" {
                @if groups.is_empty() {
                    (empty("No groups", html! {
                        "They come to life with the first node that names them, or here."
                    }))
                } @else {
                    (table(&snapshot))
                }
            }
            div.stack { @if visit.may(Role::Operator) { section.card { (new()) } } }
        }
    };
    Page::new("Groups", body).live("inventory").framed(&visit)
}

fn table(snapshot: &Snapshot) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Groups" {
            table {
                thead {
                    tr { th { "Name" } th.end { "Members" } th.end { "Priority" } th { "What it is for" } }
                }
                tbody {
                    @for (name, group) in snapshot.inventory.groups.iter() {
                        tr {
                            th scope="row" { a href={ "/ui/groups/" (segment(name.as_str())) } { (name) } }
                            td.num.end { (count(snapshot.members(name).map_or(0, <[_]>::len))) }
                            td.num.end { (group.priority) }
                            td { (group.description) }
                        }
                    }
                }
            }
        }
    }
}

fn new() -> Markup {
    let form = Form {
        api: ("PUT", "/api/v1/groups/{name}"),
        check: true,
        then: "/ui/groups/{name}",
        done: "The group is there.",
        button: "Make",
    };
    html! {
        header { h2 { "New group" } }
        (form.around(html! {
            (Field::new("name", "Name").kind("path").line())
            (Field::new("description", "What it is for").kind("text").line())
        }))
    }
}

/// `GET /ui/groups/{name}`.
pub(crate) async fn show(
    State(context): State<Context>,
    visit: Visit,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    let snapshot = context.snapshot.load();
    let found = snapshot.inventory.groups.get(name.as_str());
    let group = found.ok_or_else(|| Problem::not_found(format!("no group is called {name:?}")))?;
    let group = GroupBody::shown(&snapshot, group);
    let about = html! {
        (counted(group.members.len(), "member")) @if !group.description.is_empty() {
            ". " (group.description)
        }
    };
    let links = html! {
        a.button href={ "/ui/nodes?group=" (segment(&name)) } { "As a table" }
        a.button href={ "/ui/cloud-init/" (segment(&name)) } { "Its cloud-init" }
    };
    let may = visit.may(Role::Operator);
    let body = html! {
        (title_below(("/ui/groups", "Groups"), &name, about, links))
        div.split {
            section.card data-part="members" { (members(&group)) }
            div.stack { @if may {
                section.card { (membership(&group)) }
                section.card { (edit(&group)) }
            } }
        }
    };
    Ok(Page::new(name, body).live("inventory").framed(&visit))
}

fn members(group: &GroupBody) -> Markup {
    let more = group.members.len().saturating_sub(MEMBERS_SHOWN);
    html! {
        header { h2 { "Members" } }
        @if group.members.is_empty() { p.soft { "Nobody." } } @else {
            p { @for name in group.members.iter().take(MEMBERS_SHOWN) { (node_link(name)) " " }
                @if more > 0 { a href={ "/ui/nodes?group=" (segment(&group.name)) } { "and " (count(more)) " more" } } }
        }
    }
}

fn membership(group: &GroupBody) -> Markup {
    let path = format!("/api/v1/groups/{}/members", segment(&group.name));
    let add = Form { api: ("POST", &path), check: true, then: "", done: "Added.", button: "Add" };
    let drop = Form { api: ("DELETE", &path), check: true, then: "", done: "Taken out.", button: "Take out" };
    let set = |scope| Field::new("set", "Nodes").scope(scope).kind("query").holder("nid[001-040]");
    html! {
        header { h2 { "Who is in it" } }
        (add.around(set("add").line()))
        @if !group.members.is_empty() {
            details { summary { "Take nodes out" } (drop.around(set("drop").line())) }
        }
    }
}

fn edit(group: &GroupBody) -> Markup {
    let path = format!("/api/v1/groups/{}", segment(&group.name));
    let form = Form { api: ("PATCH", &path), check: true, then: "", done: "Saved.", button: "Save" };
    let loader = group.loader.clone().unwrap_or_default();
    let confirm = format!("Remove the group {}? Its members stay.", group.name);
    html! {
        header { h2 { "Edit" } }
        (form.around(html! {
            (Field::new("description", "What it is for").kind("text").value(&group.description).line())
            (Field::new("priority", "Priority")
                .kind("number")
                .value(&group.priority.to_string())
                .hint("Where groups disagree the highest counts.")
                .line())
            (Field::new("loader", "Loader").value(&loader).hint("Instead of what firmware would get.").line())
        }))
        (Act::new("Remove this group", "DELETE", &path)
            .confirm(&confirm)
            .done("Removed.")
            .then("/ui/groups")
            .class("bare danger")
            .button())
    }
}
