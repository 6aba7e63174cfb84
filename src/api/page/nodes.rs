//! All nodes in a table, by name, with a search that a person would try: part of anything, or a node set.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use maud::{Markup, html};

use crate::api::context::Context;
use crate::api::page::bits::{
    Field, Form, count, counted, empty, node_link, segment, time, title, title_below,
};
use crate::api::page::layout::{Page, Visit};
use crate::api::page::stage::{Stage, Standing, standings};
use crate::api::v1::boot::decision;
use crate::api::v1::query;
use crate::model::{Node, NodeId, Role, Snapshot};

/// Rows of one page.
const ROWS_MAX: usize = 500;

/// What the table shows of all nodes.
struct Wanted {
    text: String,
    group: Option<String>,
    stage: Option<Stage>,
    page: usize,
}

impl Wanted {
    fn read(raw: Option<&str>) -> Wanted {
        let field = |name| query::field(raw, name).map(|text| text.replace('+', " ").trim().to_owned());
        Wanted {
            text: field("q").unwrap_or_default(),
            group: field("group").filter(|group| !group.is_empty()),
            stage: field("stage").and_then(|name| Stage::from_name(&name)),
            page: field("page").and_then(|text| text.parse().ok()).unwrap_or(1).max(1),
        }
    }

    /// The query of another page of the same.
    fn at(&self, page: usize) -> String {
        let stage = self.stage.map_or("", Stage::name);
        let group = self.group.as_deref().unwrap_or_default();
        format!("?q={}&group={}&stage={stage}&page={page}", segment(&self.text), segment(group))
    }

    /// The nodes of a text that is a node set.
    fn set(&self, snapshot: &Snapshot) -> Option<BTreeSet<NodeId>> {
        query::resolve(snapshot, &self.text).ok().filter(|set| !set.is_empty())
    }
}

/// True if a person who types this means the node.
fn holds(node: &Node, text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let words =
        [node.name.to_string(), node.effective_xname().to_string(), node.role.clone().unwrap_or_default()];
    words.iter().any(|word| word.to_ascii_lowercase().contains(&text))
        || node.interfaces.iter().any(|interface| {
            interface.mac.to_string().contains(&text)
                || interface.addresses.iter().any(|address| address.to_string().contains(&text))
        })
        || node.groups.iter().any(|group| group.as_str().contains(&text))
}

/// `GET /ui/nodes?q=…&group=…&stage=…&page=…`.
pub(crate) async fn list(State(context): State<Context>, visit: Visit, RawQuery(raw): RawQuery) -> Response {
    let snapshot = context.snapshot.load();
    let (wanted, known) = (Wanted::read(raw.as_deref()), standings(&context, &snapshot).await);
    let set = wanted.set(&snapshot);
    let stage = |node: &Node| known.get(&node.id).map_or(Stage::Quiet, |standing| standing.stage);
    let mut nodes: Vec<&Arc<Node>> = snapshot
        .inventory
        .nodes
        .values()
        .filter(|node| match &set {
            _ if wanted.text.is_empty() => true,
            Some(set) => set.contains(&node.id),
            None => holds(node, &wanted.text),
        })
        .filter(|node| {
            wanted.group.as_ref().is_none_or(|group| node.groups.iter().any(|own| own.as_str() == group))
        })
        .filter(|node| wanted.stage.is_none_or(|wanted| stage(node) == wanted))
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let (found, all) = (nodes.len(), snapshot.inventory.nodes.len());
    let first = (wanted.page - 1).saturating_mul(ROWS_MAX);
    let rows: Vec<&Arc<Node>> = nodes.into_iter().skip(first).take(ROWS_MAX).collect();
    let add =
        html! { @if visit.may(Role::Operator) { a.button.main href="/ui/new-node" { "Declare a node" } } };
    let body = html! {
        (title("Nodes", html! { (counted(all, "node")) " declared" }, add))
        (search(&wanted, &snapshot))
        @if rows.is_empty() {
            div.card {
                @if all == 0 {
                    (empty("No nodes yet", html! {
                        "Declare them one by one, from the " a href="/ui/inbox" { "Inbox" } ", or by "
                        a href="/ui/import" { "Import" } "."
                    }))
                }
                @else {
                    (empty("Nothing found", html! {
                        "No node is like that. " a href="/ui/nodes" { "Show all" }
                    }))
                }
            }
        } @else {
            div.card.flat data-part="rows" {
                @if found < all { header { p { (count(found)) " of " (count(all)) } } }
                (table(&rows, &known, &snapshot))
            }
            (pages(&wanted, first, found))
        }
    };
    Page::new("Nodes", body).live("boot lease inventory").framed(&visit)
}

fn search(wanted: &Wanted, snapshot: &Snapshot) -> Markup {
    html! {
        form method="get" action="/ui/nodes" role="search" {
            div.fields {
                div.field.grow {
                    label for="q" { "Find" }
                    input #q name="q" value=(wanted.text)
                        placeholder="name, MAC, address, or nid[001-040] & @compute" autocomplete="off"
                            spellcheck="false";
                }
                div.field {
                    label for="group" { "Group" }
                    select #group name="group" {
                        option value="" { "Any" }
                        @for name in snapshot.inventory.groups.keys() {
                            option value=(name) selected[wanted.group.as_deref() == Some(name.as_str())] {
                                (name)
                            }
                        }
                    }
                }
                div.field {
                    label for="stage" { "Stage" }
                    select #stage name="stage" {
                        option value="" { "Any" }
                        @for stage in Stage::ALL {
                            option value=(stage.name()) selected[wanted.stage == Some(stage)] {
                                (stage.label())
                            }
                        }
                    }
                }
            }
            div.actions { button type="submit" { "Find" } }
        }
    }
}

fn table(rows: &[&Arc<Node>], known: &BTreeMap<NodeId, Standing>, snapshot: &Snapshot) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Nodes" {
            table {
                thead {
                    tr {
                        th { "Name" } th { "Stage" } th { "Heard" } th { "Address" } th { "MAC" }
                        th { "Groups" } th { "Boots" }
                    }
                }
                tbody {
                    @for node in rows {
                        @let standing = known.get(&node.id).cloned().unwrap_or_default();
                        @let first = node.interfaces.first();
                        tr {
                            th scope="row" { (node_link(node.name.as_str())) }
                            td { span.badge.(standing.stage.name()) { (standing.stage.label()) } }
                            td { @if let Some(at) = standing.at { (time(at)) } }
                            td.mono {
                                @if let Some(address) = first.and_then(|interface| interface.addresses.first()) {
                                    (address)
                                }
                            }
                            td.mono { @if let Some(interface) = first { (interface.mac) } }
                            td { (tags(node)) }
                            td { (boots(snapshot, node)) }
                        }
                    }
                }
            }
        }
    }
}

pub(crate) fn tags(node: &Node) -> Markup {
    html! {
        span.tags {
            @for group in &node.groups { a.tag href={ "/ui/groups/" (segment(group.as_str())) } { (group) } }
        }
    }
}

/// What it boots now, in a word.
pub(crate) fn boots(snapshot: &Snapshot, node: &Arc<Node>) -> Markup {
    let decision = decision(snapshot, node);
    html! {
        @match (&decision.image, decision.outcome.as_str()) {
            (Some(image), _) => span.mono { (image) },
            (None, "boot") => "no image: its own target",
            (None, outcome) => span.soft { (outcome) },
        }
    }
}

fn pages(wanted: &Wanted, first: usize, found: usize) -> Markup {
    html! {
        @if found > ROWS_MAX {
            nav.row.apart aria-label="Pages of the table" {
                span.soft.num {
                    (count(first + 1)) " to " (count((first + ROWS_MAX).min(found))) " of " (count(found))
                }
                span.row {
                    @if wanted.page > 1 {
                        a.button href={ "/ui/nodes" (wanted.at(wanted.page - 1)) } { "Before" }
                    }
                    @if first + ROWS_MAX < found {
                        a.button href={ "/ui/nodes" (wanted.at(wanted.page + 1)) } { "Next" }
                    }
                }
            }
        }
    }
}

/// `GET /ui/new-node`.
pub(crate) async fn new(visit: Visit) -> Response {
    let form = Form {
        api: ("POST", "/api/v1/nodes"),
        check: true,
        then: "/ui/nodes/{name}",
        done: "The node is declared.",
        button: "Declare",
    };
    let body = html! {
        (title_below(("/ui/nodes", "Nodes"), "Declare a node", html! { "A name and a MAC are enough." }, html! {}))
        section.card {
            (form.around(html! {
                div.fields {
                    (Field::new("name", "Name").hint("As DNS will know it.").line())
                    (Field::new("interfaces[0].mac", "MAC").holder("00:00:5e:00:53:01").line())
                    (Field::new("interfaces[0].addresses", "Address")
                        .kind("list")
                        .hint("None: it gets one from the pool.")
                        .line())
                }
                div.fields {
                    (Field::new("groups", "Groups")
                        .kind("list")
                        .hint("Apart by spaces. New ones come to life.")
                        .line())
                    (Field::new("nid", "NID").kind("number").hint("Its number, if it has one.").line())
                    (Field::new("xname", "xname").hint("Where it is, if racks are named so.").line())
                }
            }))
        }
    };
    Page::new("Declare a node", body).framed(&visit)
}
