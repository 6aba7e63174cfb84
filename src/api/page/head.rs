//! The head itself: who did what (audit), who may (people), and how it is set up.

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use maud::{Markup, html};

use crate::api::auth::Door;
use crate::api::auth::types::{SessionBody, TokenBody, UserBody};
use crate::api::auth::{sessions, tokens, users};
use crate::api::context::Context;
use crate::api::page::bits::{Act, Field, Form, empty, moment, segment, short, title};
use crate::api::page::layout::{Page, Refused, Visit};
use crate::api::v1::audit::{AuditLineBody, list as lines};
use crate::api::v1::query;
use crate::api::v1::status::status;

/// What the audit log is asked by.
const ASKED: [(&str, &str); 3] = [("actor", "Who"), ("action", "Did"), ("object", "To what")];

/// `GET /ui/audit?actor=…&action=…&object=…&outcome=…&before=…`.
pub(crate) async fn audit(
    State(context): State<Context>,
    visit: Visit,
    RawQuery(raw): RawQuery,
) -> Result<Response, Refused> {
    let limited = format!("limit=200&{}", raw.as_deref().unwrap_or_default());
    let Json(page) = lines(State(context), RawQuery(Some(limited))).await?;
    let raw = raw.as_deref();
    let field = |name| query::field(raw, name).unwrap_or_default();
    let outcome = field("outcome");
    let about = html! {
        "Every change and every refusal. Each line holds the digest of the one before; "
        code { "muster audit verify" } " checks the chain."
    };
    let mut same = String::new();
    for (name, _) in ASKED.iter().chain(&[("outcome", "")]) {
        same.push_str(&format!("{name}={}&", segment(&field(name))));
    }
    let body = html! {
        (title("Audit", about, html! {}))
        form method="get" action="/ui/audit" role="search" {
            div.fields {
                @for (name, label) in ASKED {
                    div.field {
                        label for=(name) { (label) }
                        input #(name) name=(name) value=(field(name)) autocomplete="off";
                    }
                }
                div.field {
                    label for="outcome" { "Outcome" }
                    select #outcome name="outcome" {
                        option value="" { "Any" }
                        @for name in ["done", "refused", "failed"] {
                            option value=(name) selected[outcome == name] { (name) }
                        }
                    }
                }
            }
            div.actions { button type="submit" { "Find" } }
        }
        @if page.lines.is_empty() {
            div.card { (empty("Nothing", html! { "No line is like that." })) }
        } @else {
            section.card.flat { (audit_table(&page.lines)) }
        }
        @if let Some(next) = page.next {
            div.actions { a.button href={ "/ui/audit?" (same) "before=" (next) } { "Older" } }
        }
    };
    Ok(Page::new("Audit", body).framed(&visit))
}

fn audit_table(lines: &[AuditLineBody]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Audit log" {
            table {
                thead {
                    tr {
                        th.end { "Line" } th { "When" } th { "Who" } th { "Did" } th { "To what" }
                        th { "Outcome" }
                    }
                }
                tbody { @for line in lines {
                    tr {
                        td.num.end.soft title=(line.hash) { (line.seq) }
                        td { (moment(&line.time)) }
                        td {
                            (line.actor) @if line.actor.is_empty() { span.soft { "nobody" } } br;
                            span.small.soft { "by " (line.via) @if let Some(ip) = line.ip { ", " (ip) } }
                        }
                        td.mono.small.long { (line.action) }
                        td.long {
                            (line.object) @if !line.detail.is_empty() {
                                br; span.small.soft { (line.detail) }
                            }
                        }
                        td {
                            span.badge.(match line.outcome.as_str() { "done" => "good", _ => "bad" }) {
                                (line.outcome)
                            }
                        }
                    }
                } }
            }
        }
    }
}

/// `GET /ui/people`: users, their sessions, and tokens.
pub(crate) async fn people(State(door): State<Door>, visit: Visit) -> Response {
    let Json(users) = users::list(State(door.clone())).await;
    let Json(sessions) = sessions::list(State(door.clone())).await;
    let Json(tokens) = tokens::list(State(door)).await;
    let about = html! {
        "Who may look and who may change. Viewers read, operators change what nodes are and boot, administrators give and take access."
    };
    let body = html! {
        (title("People", about, html! {}))
        div.split {
            section.card.flat { (user_table(&users, &sessions)) }
            section.card { (new_user()) }
        }
        div.split {
            section.card.flat { (token_table(&tokens)) }
            section.card { (new_token()) }
        }
    };
    Page::new("People", body).framed(&visit)
}

const ROLES: [(&str, &str); 3] = [("viewer", "viewer"), ("operator", "operator"), ("admin", "admin")];

fn user_table(users: &[UserBody], sessions: &[SessionBody]) -> Markup {
    html! {
        header { h2 { "Users" } }
        @if users.is_empty() {
            (empty("No users", html! { "Over the socket of the head root is administrator without one." }))
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Users" {
                table {
                    thead {
                        tr { th { "Name" } th { "Role" } th { "Signed in" } th.end { span.unseen { "Act" } } }
                    }
                    tbody { @for user in users { (user_row(user, sessions)) } }
                }
            }
        }
    }
}

fn user_row(user: &UserBody, sessions: &[SessionBody]) -> Markup {
    let path = format!("/api/v1/users/{}", segment(&user.name));
    let confirm = format!("Remove {}? Sessions and tokens of this user end.", user.name);
    let role = Form { api: ("PATCH", &path), check: false, then: "", done: "Changed.", button: "Change" };
    html! {
        tr {
            th scope="row" { (user.name) }
            td {
                (user.role)
                details.small { summary { "Change" } (role.around(html! {
                    (Field::new("role", "Role").scope(&user.name).value(&user.role).choice(&ROLES))
                    (Field::new("password", "New password")
                        .scope(&user.name)
                        .kind("leave")
                        .hint("Empty: as it is.")
                        .secret())
                })) }
            }
            td.small { @for session in sessions.iter().filter(|session| session.user == user.name) {
                @let path = format!("/api/v1/sessions/{}", session.id);
                div.row { span { (moment(&session.created)) @if let Some(ip) = session.ip { " from " span.mono { (ip) } } }
                    (Act::new("End", "DELETE", &path).done("Ended.").class("bare danger").button())
                }
            } }
            td.end {
                (Act::new("Remove", "DELETE", &path)
                    .confirm(&confirm)
                    .done("Removed.")
                    .class("bare danger")
                    .button())
            }
        }
    }
}

fn new_user() -> Markup {
    let form = Form {
        api: ("POST", "/api/v1/users"),
        check: false,
        then: "",
        done: "The user is made.",
        button: "Make",
    };
    html! {
        header { h2 { "New user" } }
        (form.around(html! {
            (Field::new("name", "Name").scope("new").kind("text").line())
            (Field::new("role", "Role").scope("new").choice(&ROLES))
            (Field::new("password", "Password")
                .scope("new")
                .kind("text")
                .hint("At least 12 characters.")
                .secret())
        }))
    }
}

fn token_table(tokens: &[TokenBody]) -> Markup {
    html! {
        header { h2 { "Tokens" } p { "for programs" } }
        @if tokens.is_empty() {
            (empty("No tokens", html! { "Programs that call the API from elsewhere need one." }))
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Tokens" {
                table {
                    thead {
                        tr {
                            th { "For" } th { "Role" } th { "Areas" } th { "Until" }
                            th.end { span.unseen { "Act" } }
                        }
                    }
                    tbody { @for token in tokens {
                        @let path = format!("/api/v1/tokens/{}", segment(&token.id));
                        tr {
                            th scope="row" {
                                (token.subject) @if !token.name.is_empty() {
                                    br; span.small.soft { (token.name) }
                                }
                            }
                            td { (token.role) }
                            td {
                                @if token.areas.is_empty() {
                                    span.soft { "all" }
                                } @else {
                                    (token.areas.join(", "))
                                }
                            }
                            td {
                                @if let Some(at) = &token.revoked {
                                    span.badge.bad { "revoked" } " " (moment(at))
                                } @else {
                                    (moment(&token.expires))
                                }
                                br; span.small.soft.mono { (short(&token.id)) }
                            }
                            td.end { @if token.revoked.is_none() {
                                (Act::new("Revoke", "DELETE", &path)
                                    .confirm("Revoke this token? It counts no more, at once.")
                                    .done("Revoked.")
                                    .class("bare danger")
                                    .button())
                            } }
                        }
                    } }
                }
            }
        }
    }
}

fn new_token() -> Markup {
    let form = Form { api: ("POST", "/api/v1/tokens"), check: false, then: "", done: "", button: "Issue" };
    html! {
        header { h2 { "New token" } }
        (form.once("token", html! {
            (Field::new("subject", "Who bears it").kind("text").line())
            (Field::new("role", "Role").scope("token").choice(&ROLES))
            (Field::new("ttl", "Seconds it lives").kind("number").value("28800").line())
            (Field::new("name", "What it is for").scope("token").kind("text").line())
            (Field::new("areas", "Areas").kind("list").hint("None: all that the role may.").line())
        }))
    }
}

/// `GET /ui/account`: one's own password.
pub(crate) async fn account(visit: Visit) -> Response {
    let form = Form {
        api: ("POST", "/api/v1/password"),
        check: false,
        then: "/ui/",
        done: "The password is changed.",
        button: "Change",
    };
    let body = html! {
        (title("Your account", html! { "A new password ends your other sessions." }, html! {}))
        section.card {
            (form.around(html! {
                div.fields {
                    (Field::new("old", "Password").kind("text").secret())
                    (Field::new("new", "New password").kind("text").hint("At least 12 characters.").secret())
                }
            }))
        }
    };
    Page::new("Your account", body).framed(&visit)
}

/// `GET /ui/settings`: how the head is set up. The configuration is changed on the head.
pub(crate) async fn settings(State(context): State<Context>, visit: Visit) -> Response {
    let status = status(State(context.clone())).await.0;
    let snapshot = context.snapshot.load();
    let site = &snapshot.site;
    let about = html! {
        "Read from " code { "/etc/muster/muster.toml" } " when the head started. " code { "muster check" }
        " reads a changed file before you restart."
    };
    let body = html! {
        (title("Settings", about, html! {}))
        div.halves {
            section.card {
                header { h2 { "Cluster" } }
                dl.facts {
                    dt { "Name" } dd { (site.name) }
                    dt { "Domain" } dd.mono { (site.domain) }
                    dt { "Names of nodes" } dd.mono { (site.short_name) "001" }
                    @if !site.kernel_params.is_empty() {
                        dt { "Kernel parameters" } dd.mono { (site.kernel_params) }
                    }
                    dt { "Networks" } dd { a href="/ui/networks" { (site.networks.len()) } }
                }
            }
            section.card {
                header { h2 { "Head" } }
                dl.facts {
                    dt { "Version" } dd.mono { (status.version) }
                    dt { "Started" } dd { (moment(&status.started)) }
                    dt { "Revision" } dd.num { (status.revision) }
                    dt { "Loaders" } dd.num { (status.loaders) }
                    @if let Some(folder) = &context.about.data_dir {
                        dt { "Data" } dd.mono { (folder.display()) }
                    }
                    dt { "Secrets sealed by" } dd { (status.sealed_by) }
                }
            }
            section.card {
                header { h2 { "Listeners" } }
                dl.facts {
                    @for listener in &status.listeners {
                        dt { (listener.protocol) } dd.mono { (listener.address) }
                    }
                }
            }
            section.card {
                header { h2 { "For programs" } }
                ul.stack {
                    li { a href="/api/v1/openapi.json" { "OpenAPI document" } }
                    li { a href="/ca.pem" { "Certificate authority of this head" } }
                    li { a href="/.well-known/jwks.json" { "Keys that sign tokens" } }
                    li { a href="/api/v1/inventory/export" { "Inventory as nodes.yaml" } }
                }
            }
        }
    };
    Page::new("Settings", body).framed(&visit)
}
