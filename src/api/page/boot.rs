//! Who boots what: profiles, which are targets with a name, and assignments of them.

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use crate::api::context::Context;
use crate::api::page::bits::{Act, Field, Form, empty, segment, title, title_below};
use crate::api::page::layout::{Page, Refused, Visit};
use crate::api::problem::Problem;
use crate::api::v1::types::{ProfileBody, TargetBody};
use crate::model::profile::Boot;
use crate::model::{Assignment, Inventory, Role, Selector, Snapshot};

/// What kinds of targets there are: as the form names them, and as people call them.
const KINDS: [(&str, &str); 5] = [
    ("image", "An image"),
    ("kernel", "Kernel and initrds by URL"),
    ("script", "An iPXE script"),
    ("chain", "Another boot server"),
    ("local", "The local disk"),
];

/// `GET /ui/boot`.
pub(crate) async fn list(State(context): State<Context>, visit: Visit) -> Response {
    let snapshot = context.snapshot.load();
    let inventory = &snapshot.inventory;
    let may = visit.may(Role::Operator);
    let about = html! {
        "The most precise assignment counts: an interface, a node, its groups, its role, then the default."
    };
    let add = html! { @if may { a.button.main href="/ui/boot/new" { "New profile" } } };
    let body = html! {
        (title("Boot", about, add))
        div.split {
            section.card.flat data-part="assignments" { (assignments(&snapshot, may)) }
            div.stack { @if may { section.card { (assign(inventory)) } } }
        }
        section.card.flat data-part="profiles" { (profiles(inventory)) }
    };
    Page::new("Boot", body).live("inventory").framed(&visit)
}

fn assignments(snapshot: &Snapshot, may: bool) -> Markup {
    let all = &snapshot.inventory.assignments;
    html! {
        header { h2 { "Assignments" } p { "the most precise first" } }
        @if all.is_empty() {
            (empty("Nothing is assigned", html! {
                "Nodes that ask what to boot are held until something is."
            }))
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Assignments" {
                table {
                    thead {
                        tr { th { "For" } th { "Boots" } th { "How long" } th.end { span.unseen { "Act" } } }
                    }
                    tbody { @for assignment in all.values() { (assigned(snapshot, assignment, may)) } }
                }
            }
        }
    }
}

fn assigned(snapshot: &Snapshot, assignment: &Assignment, may: bool) -> Markup {
    let Assignment { selector, once, boot } = assignment;
    let (whom, query) = whom(snapshot, selector);
    let path = query.map(|query| format!("/api/v1/boot?{query}{}", if *once { "&once" } else { "" }));
    html! {
        tr {
            th scope="row" { (whom) }
            td { @match boot {
                Boot::Profile(name) => a.mono href={ "/ui/boot/" (segment(name.as_str())) } { (name) },
                Boot::Target(target) => (target_line(&TargetBody::from(target))),
            } }
            td { @if *once { "the next boot" } @else { "until changed" } }
            td.end { @if let (Some(path), true) = (path, may) {
                (Act::new("Withdraw", "DELETE", &path)
                    .confirm("Withdraw this assignment?")
                    .done("Withdrawn.")
                    .class("bare danger")
                    .button())
            } }
        }
    }
}

/// Whom an assignment is for, and how the API is asked about the same; some are made by other APIs only.
fn whom(snapshot: &Snapshot, selector: &Selector) -> (String, Option<String>) {
    match selector {
        Selector::Mac(mac) => (format!("interface {mac}"), Some(format!("mac={mac}"))),
        Selector::Node(id) => {
            let name = snapshot.node(*id).map_or_else(String::new, |node| node.name.to_string());
            (name.clone(), Some(format!("set={}", segment(&name))))
        }
        Selector::Group(group) => {
            (format!("group {group}"), Some(format!("set=@{}", segment(group.as_str()))))
        }
        Selector::Role(role) => (format!("role {role}"), Some(format!("role={}", segment(role)))),
        Selector::Default => ("every node".to_owned(), Some("default".to_owned())),
        other => (other.to_string(), None),
    }
}

fn target_line(target: &TargetBody) -> Markup {
    html! {
        @if let Some(image) = &target.image { "image " span.mono { (image) } }
        @else if let Some(kernel) = &target.kernel { "kernel " span.mono { (kernel) } }
        @else if target.script.is_some() { "an iPXE script" }
        @else if let Some(chain) = &target.chain { "chain to " span.mono { (chain) } }
        @else { "the local disk" }
    }
}

fn assign(inventory: &Inventory) -> Markup {
    let form =
        Form { api: ("PUT", "/api/v1/boot"), check: true, then: "", done: "Assigned.", button: "Assign" };
    let profiles: Vec<(&str, &str)> =
        inventory.profiles.keys().map(|name| (name.as_str(), name.as_str())).collect();
    html! {
        header { h2 { "Assign" } }
        @if profiles.is_empty() { p.soft { "Make a profile first." } } @else {
            (form.around(html! {
                (Field::new("whom.set", "Nodes")
                    .holder("nid[001-040], or @compute")
                    .hint("A whole @group keeps it for members who join later.")
                    .line())
                (Field::new("profile", "Profile").choice(&profiles))
                (Field::new("once", "For the next boot only").tick(false))
            }))
        }
    }
}

fn profiles(inventory: &Inventory) -> Markup {
    html! {
        header { h2 { "Profiles" } }
        @if inventory.profiles.is_empty() {
            (empty("No profiles", html! {
                "A profile is what to boot, with a name: an image and parameters, for example."
            }))
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Profiles" {
                table {
                    thead { tr { th { "Name" } th { "Boots" } th { "Parameters" } th { "What it is for" } } }
                    tbody {
                        @for profile in inventory.profiles.values() {
                            @let body = ProfileBody::from(profile.as_ref());
                            tr {
                                th scope="row" {
                                    a.mono href={ "/ui/boot/" (segment(&body.name)) } { (body.name) }
                                }
                                td { (target_line(&body.target)) }
                                td.mono { (body.target.params) }
                                td { (body.description) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `GET /ui/boot/new`.
pub(crate) async fn new(State(context): State<Context>, visit: Visit) -> Response {
    let snapshot = context.snapshot.load();
    let empty =
        ProfileBody { name: String::new(), description: String::new(), target: TargetBody::default() };
    let body = html! {
        (title_below(("/ui/boot", "Boot"), "New profile", html! { "What to boot, with a name." }, html! {}))
        section.card { (editor(&empty, true, &snapshot.inventory)) }
    };
    Page::new("New profile", body).framed(&visit)
}

/// `GET /ui/boot/{profile}`.
pub(crate) async fn show(
    State(context): State<Context>,
    visit: Visit,
    Path(name): Path<String>,
) -> Result<Response, Refused> {
    let snapshot = context.snapshot.load();
    let found = snapshot.inventory.profiles.get(name.as_str());
    let profile = found.ok_or_else(|| Problem::not_found(format!("no profile is called {name:?}")))?;
    let profile = ProfileBody::from(profile.as_ref());
    let path = format!("/api/v1/profiles/{}", segment(&name));
    let confirm = format!("Remove the profile {name}?");
    let body = html! {
        (title_below(("/ui/boot", "Boot"), &name, target_line(&profile.target), html! {
            @if visit.may(Role::Operator) {
                (Act::new("Remove", "DELETE", &path)
                    .confirm(&confirm)
                    .done("Removed.")
                    .then("/ui/boot")
                    .class("danger")
                    .button())
            }
        }))
        section.card {
            @if visit.may(Role::Operator) { (editor(&profile, false, &snapshot.inventory)) }
            @else {
                dl.facts { dt { "Parameters" } dd.mono { (profile.target.params) } }
                @if let Some(script) = &profile.target.script { pre tabindex="0" { (script) } }
            }
        }
    };
    Ok(Page::new(name, body).framed(&visit))
}

fn editor(profile: &ProfileBody, is_new: bool, inventory: &Inventory) -> Markup {
    let path = if is_new {
        "/api/v1/profiles/{name}".to_owned()
    } else {
        format!("/api/v1/profiles/{}", segment(&profile.name))
    };
    let form =
        Form { api: ("PUT", &path), check: true, then: "/ui/boot/{name}", done: "Saved.", button: "Save" };
    let TargetBody { image, kernel, initrds, params, script, chain, local } = &profile.target;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let kind = match (kernel, script, chain, local) {
        (Some(_), ..) => "kernel",
        (_, Some(_), ..) => "script",
        (_, _, Some(_), _) => "chain",
        (_, _, _, true) => "local",
        _ => "image",
    };
    form.around(html! {
        div.fields {
            @if is_new { (Field::new("name", "Name").kind("path").line()) }
            (Field::new("description", "What it is for").kind("text").value(&profile.description).line())
        }
        fieldset {
            legend { "It boots" }
            div.row {
                @for (name, label) in KINDS {
                    label.tick {
                        input type="radio" name="kind" id={ "kind-" (name) } value=(name)
                            checked[name == kind] data-as="none";
                        span { (label) }
                    }
                }
            }
        }
        div.field data-only="image" {
            label for="f-target.image" { "Image" }
            input id="f-target.image" name="target.image" value=(text(image)) list="images"
                placeholder="compute:prod" autocomplete="off" spellcheck="false"
                    aria-describedby="f-target.image-wrong";
            datalist #images { @for key in inventory.tags.keys() { option value=(key) {} } }
            span.wrong role="alert" data-wrong id="f-target.image-wrong" {}
        }
        div.stack data-only="kernel" {
            (Field::new("target.kernel", "Kernel")
                .value(&text(kernel))
                .holder("http://head:8081/images/vmlinuz")
                .line())
            (Field::new("target.initrds", "Initrds")
                .kind("lines")
                .value(&initrds.join("\n"))
                .hint("One on each line.")
                .text(3))
        }
        div data-only="params" {
            (Field::new("target.params", "Kernel parameters").kind("text").value(params).line())
        }
        div data-only="script" {
            (Field::new("target.script", "Script")
                .kind("document")
                .value(&text(script))
                .holder("#!ipxe")
                .text(12))
        }
        div data-only="chain" {
            (Field::new("target.chain", "URL of its script or loader").value(&text(chain)).line())
        }
        div data-only="local" {
            input type="hidden" name="target.local" value="true" data-as="yes";
            p.soft { "The head gives it its address, and iPXE leaves." }
        }
    })
}
