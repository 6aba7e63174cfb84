//! One node: how far it is and why, what it would get now, what cloud-init will see, what it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use crate::api::context::Context;
use crate::api::page::bits::{Act, Field, Form, moment, segment, time, title_below};
use crate::api::page::layout::{Page, Refused, Visit};
use crate::api::page::nodes::tags;
use crate::api::page::record::Attempts;
use crate::api::page::stage::standings;
use crate::api::v1::boot::decision;
use crate::api::v1::cloud_init::{CallBody, PreviewBody, calls, render};
use crate::api::v1::explain::{StepBody, explain};
use crate::api::v1::nodes::find;
use crate::api::v1::observed::leases_of;
use crate::api::v1::query;
use crate::api::v1::trust::{NodeTrustBody, show as trust};
use crate::api::v1::types::{BootBody, LeaseBody, NodeBody};
use crate::model::{Arch, BootPolicy, LeaseKey, Node, Role};
use crate::transport::journal::Event;

/// Events of the node that are shown.
const LATEST: usize = 30;

/// `GET /ui/nodes/{name}`.
pub(crate) async fn show(
    State(context): State<Context>,
    visit: Visit,
    Path(name): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Refused> {
    let snapshot = context.snapshot.load();
    let node = Arc::clone(find(&snapshot, &name)?);
    if node.name.as_str() != name {
        let path = format!("/ui/nodes/{}", segment(node.name.as_str()));
        return Ok(axum::response::Redirect::to(&path).into_response());
    }
    let standing = standings(&context, &snapshot).await.remove(&node.id).unwrap_or_default();
    let attempts = Attempts::of(&context, &name, query::field(raw.as_deref(), "record")).await;
    let steps = steps(&context, &node).await;
    let Json(preview) = render(State(context.clone()), Path(name.clone())).await?;
    let Json(trust) = trust(State(context.clone()), Path(name.clone())).await?;
    let call = calls(State(context.clone())).await.0.into_iter().find(|call| call.node == name);
    let leases = leases(&context, &node).await;
    let events = context.journal.after(0, usize::MAX).events;
    let own: Vec<&Arc<Event>> = events
        .iter()
        .rev()
        .filter(|event| event.node.as_deref() == Some(name.as_str()))
        .take(LATEST)
        .collect();
    let about = html! {
        span.badge.(standing.stage.name()) { (standing.stage.label()) }
        @if let Some(at) = standing.at { " · " (standing.text) ", " (time(at)) }
    };
    let body = html! {
        div data-part="title" { (title_below(("/ui/nodes", "Nodes"), &name, about, html! {})) }
        div.split {
            div.stack {
                section.card data-part="record" aria-label="Boot" {
                    @match &attempts {
                        Some(attempts) => (attempts.card(&name)),
                        None => {
                            header { h2 { "Boots" } }
                            p.soft { "Nothing was heard of it. Switch it on: each step of its boot shows up here." }
                        },
                    }
                }
                section.card aria-labelledby="happened" { (happened(&own)) }
                section.card aria-labelledby="would" { (would(&steps)) }
                section.card aria-labelledby="sees" { (sees(&preview)) }
                @if visit.may(Role::Operator) {
                    section.card #edit aria-labelledby="editing" { (edit(&NodeBody::from(node.as_ref()))) }
                }
            }
            div.stack {
                section.card { (facts(&node, call.as_ref())) }
                section.card { (boots(&visit, &decision(&snapshot, &node))) }
                section.card data-part="leases" { (leased(&leases)) }
                section.card { (trusted(&visit, &trust)) }
            }
        }
    };
    Ok(Page::new(name, body).live("boot lease inventory trust").framed(&visit))
}

/// What it would get now. A node without an interface gets nothing.
async fn steps(context: &Context, node: &Node) -> Result<Vec<StepBody>, String> {
    let Some(interface) = node.interfaces.first() else {
        return Err("It has no interface, so no machine is taken for it.".to_owned());
    };
    let arch = node.arch.map_or(String::new(), |arch| format!("&arch={}", arch.as_str()));
    let asked = RawQuery(Some(format!("mac={}{arch}", interface.mac)));
    let steps = explain(State(context.clone()), asked).await;
    steps.map(|Json(steps)| steps).map_err(|problem| problem.detail)
}

/// Leases of its interfaces.
async fn leases(context: &Context, node: &Node) -> Vec<LeaseBody> {
    let own = |key: &LeaseKey| node.interfaces.iter().any(|interface| *key == LeaseKey::Mac(interface.mac));
    leases_of(context).await.iter().filter(|lease| own(&lease.key)).map(LeaseBody::from).collect()
}

fn happened(events: &[&Arc<Event>]) -> Markup {
    html! {
        details {
            summary #happened { "What else the head noted of it" }
            @if events.is_empty() { p.soft { "Nothing since the head started." } } @else {
                ol.happened { @for event in events { li { span { (event.text) } (time(event.time)) } } }
            }
        }
    }
}

fn would(steps: &Result<Vec<StepBody>, String>) -> Markup {
    html! {
        header {
            h2 #would { "What it would get now" } p { "Asked of the head's own decisions. Nothing is sent." }
        }
        @match steps {
            Err(text) => p.note.warn { (text) },
            Ok(steps) => ol.steps {
                @for step in steps {
                    li { div {
                        h3 { (step.stage) } span { (step.outcome) }
                        @if !step.reasons.is_empty() {
                            ul.small { @for reason in &step.reasons { li { (reason) } } }
                        }
                        @if let Some(script) = &step.script {
                            details { summary { "Script" } pre tabindex="0" { (script) } }
                        }
                    } }
                }
            },
        }
    }
}

fn sees(preview: &PreviewBody) -> Markup {
    html! {
        header {
            h2 #sees { "What cloud-init will see" } p { "instance-id " span.mono { (preview.instance_id) } }
        }
        @for part in &preview.documents {
            details {
                summary {
                    span.mono { (part.name) }
                    @if part.text.is_none() { span.soft { " ignored" } }
                    @if !part.remarks.is_empty() {
                        " " span.badge.warn { (part.remarks.len()) " to look at" }
                    }
                }
                @for remark in &part.remarks {
                    p.note.warn { @if let Some(line) = remark.line { "Line " (line) ": " } (remark.text) }
                }
                @if let Some(text) = &part.text { pre tabindex="0" { (text) } }
            }
        }
        @if !preview.values.is_empty() {
            details {
                summary { "Values and where they come from" }
                div.scroll tabindex="0" role="region" aria-label="Values" {
                    table {
                        thead { tr { th { "Path" } th { "Value" } th { "From" } } }
                        tbody {
                            @for value in &preview.values {
                                tr {
                                    td.mono { (value.path) } td.mono { (value.value) } td { (value.source) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn facts(node: &Node, call: Option<&CallBody>) -> Markup {
    html! {
        header { h2 { "Node" } }
        dl.facts {
            dt { "xname" }
            dd.mono { (node.effective_xname()) @if node.xname.is_none() { span.soft { " (made up)" } } }
            @if let Some(nid) = node.nid { dt { "NID" } dd.num { (nid.0) } }
            dt { "Role" } dd { (node.role_or_default()) }
            dt { "Groups" } dd { @if node.groups.is_empty() { span.soft { "none" } } @else { (tags(node)) } }
            @if let Some(arch) = node.arch { dt { "Processor" } dd { (arch.as_str()) } }
            @for interface in &node.interfaces {
                dt { @if let Some(name) = &interface.name { (name) } @else { "Interface" } }
                dd.mono { (interface.mac) @for address in &interface.addresses { br; (address) } }
            }
            @if let Some(bmc) = &node.bmc { dt { "BMC" } dd.mono { (bmc) } }
            @if let Some(uuid) = &node.uuid { dt { "UUID" } dd.mono { (uuid) } }
            @if let Some(call) = call {
                dt { "Called home" }
                dd {
                    (moment(&call.at)) @if !call.hostname.is_empty() { " as " span.mono { (call.hostname) } }
                }
            }
            @for (key, value) in &node.annotations { dt { (key) } dd { (value) } }
        }
    }
}

fn boots(visit: &Visit, boot: &BootBody) -> Markup {
    let assign = Form {
        api: ("PUT", "/api/v1/boot"),
        check: true,
        then: "",
        done: "Assigned. It holds from the next boot on.",
        button: "Assign",
    };
    html! {
        header { h2 { "Boots" } }
        dl.facts {
            @if let Some(image) = &boot.image { dt { "Image" } dd.mono { (image) } }
            @if let Some(version) = &boot.version {
                dt { "Version" } dd.mono { (crate::api::page::bits::short(version)) }
            }
            dt { "Because" } dd { (boot.rule) }
            @if let Some(kernel) = boot.target.as_ref().and_then(|target| target.kernel.as_ref()) {
                dt { "Kernel" } dd.mono { (kernel) }
            }
            @if let Some(target) = &boot.target {
                @if !target.params.is_empty() { dt { "Parameters" } dd.mono { (target.params) } }
            }
        }
        @if visit.may(Role::Operator) {
            details {
                summary { "Boot something else" }
                (assign.around(html! {
                    input type="hidden" name="whom.set" value=(boot.node);
                    (Field::new("profile", "Profile").hint("Profiles are made under Boot.").line())
                    (Field::new("once", "For the next boot only").tick(false))
                }))
            }
        }
    }
}

fn leased(leases: &[LeaseBody]) -> Markup {
    html! {
        header { h2 { "Leases" } }
        @if leases.is_empty() { p.soft { "None: it has its declared address, or did not ask." } } @else {
            dl.facts {
                @for lease in leases {
                    dt.mono { (lease.address) } dd { (lease.state) ", until " (moment(&lease.expires)) }
                }
            }
        }
    }
}

fn trusted(visit: &Visit, trust: &NodeTrustBody) -> Markup {
    let path = |act: &str| format!("/api/v1/trust/nodes/{}/{act}", segment(&trust.node));
    html! {
        header { h2 { "Trust" } }
        dl.facts { dt { "Level" } dd { (trust.level) } }
        @if !trust.why.is_empty() { ul.stack.small.soft { @for why in &trust.why { li { (why) } } } }
        @if let Some(session) = trust.sessions.first() {
            details {
                summary { "Last boot session: " (session.state) }
                ol.happened.small {
                    @for event in session.events.iter().rev() {
                        li { span { (event.text) } (moment(&event.at)) }
                    }
                }
            }
        }
        @if visit.may(Role::Operator) {
            div.actions {
                (Act::new("Arm the next boot", "POST", &path("arm"))
                    .confirm("Give this node its secrets in the boot that is going on, or in the next one?")
                    .done("Armed.")
                    .button())
            }
        }
    }
}

fn edit(node: &NodeBody) -> Markup {
    let path = format!("/api/v1/nodes/{}", segment(&node.name));
    let form =
        Form { api: ("PATCH", &path), check: true, then: "/ui/nodes/{name}", done: "Saved.", button: "Save" };
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let groups = node.groups.iter().cloned().collect::<Vec<_>>().join(" ");
    let policies = BootPolicy::ALL.map(|(_, name)| (name, name));
    let arches: Vec<(&str, &str)> =
        [("", "not said")].into_iter().chain(Arch::ALL.map(|(_, name)| (name, name))).collect();
    let nid = node.nid.map_or_else(String::new, |nid| nid.to_string());
    html! {
        header { h2 #editing { "Edit" } }
        (form.around(html! {
            div.fields {
                (Field::new("name", "Name").value(&node.name).line())
                (Field::new("groups", "Groups").kind("list").value(&groups).line())
                (Field::new("role", "Role").value(&text(&node.role)).holder("Compute").line())
                (Field::new("nid", "NID").kind("number").value(&nid).line())
                (Field::new("xname", "xname").value(&text(&node.xname)).line())
                (Field::new("bmc", "BMC").value(&text(&node.bmc)).line())
                (Field::new("arch", "Processor").value(&text(&node.arch)).choice(&arches))
                (Field::new("policy", "When it asks to boot").value(&node.policy).choice(&policies))
                (Field::new("loader", "Loader")
                    .value(&text(&node.loader))
                    .hint("Instead of what its firmware would get.")
                    .line())
            }
            fieldset {
                legend { "Interfaces" }
                div.items #interfaces data-list="interfaces" {
                    @for (index, interface) in node.interfaces.iter().enumerate() {
                        @let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
                        (row(&index.to_string(), &text(&interface.name), &interface.mac, &addresses.join(" ")))
                    }
                }
                template #interfaces-row { (row("#", "", "", "")) }
                div.actions { button.bare type="button" data-add="interfaces" { "Add an interface" } }
            }
        }))
        div.actions {
            (Act::new("Remove this node", "DELETE", &path)
                .confirm(&format!("Remove {}? Its assignments and secrets go with it.", node.name))
                .done("Removed.")
                .then("/ui/nodes")
                .class("bare danger")
                .button())
        }
    }
}

fn row(index: &str, name: &str, mac: &str, addresses: &str) -> Markup {
    let field = |part: &str| format!("interfaces[{index}].{part}");
    html! {
        div.item data-row {
            (Field::new(&field("mac"), "MAC").value(mac).line())
            (Field::new(&field("addresses"), "Addresses").kind("list").value(addresses).line())
            (Field::new(&field("name"), "Name").value(name).holder("eth0").line())
            button.bare.danger type="button" data-drop { "Remove" }
        }
    }
}
