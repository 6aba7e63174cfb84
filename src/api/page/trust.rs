//! Whom nodes are trusted as: their boot sessions; and the secrets that they get, without values.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use crate::api::context::Context;
use crate::api::page::bits::{Act, Field, Form, counted, empty, moment, node_link, segment, title};
use crate::api::page::layout::{Page, Visit};
use crate::api::v1::trust::SessionBody;
use crate::api::v1::types::{SecretBody, WhatBody};
use crate::model::{NodeId, Role};

/// Rows of one page.
const ROWS_MAX: usize = 1000;

/// `GET /ui/trust`: the last session of each node, those with alarms first.
pub(crate) async fn sessions(State(context): State<Context>, visit: Visit) -> Response {
    let snapshot = context.snapshot.load();
    let mut last = BTreeMap::<NodeId, _>::new();
    for session in context.trust.sessions.all() {
        last.entry(session.node)
            .and_modify(|known: &mut crate::model::BootSession| {
                if known.sequence < session.sequence {
                    *known = session.clone();
                }
            })
            .or_insert(session);
    }
    let mut rows: Vec<SessionBody> =
        last.values().map(|session| SessionBody::new(&snapshot, session)).collect();
    rows.sort_by_key(|row| (!alarmed(row), row.held.is_none(), row.node.clone()));
    let about = html! {
        "Each boot of a node that is to get secrets is a session. It shows how far the node was trusted, and what it was given."
    };
    let body = html! {
        (title("Boot sessions", about, html! {}))
        @if rows.is_empty() {
            div.card data-part="sessions" {
                (empty("No sessions", html! {
                    "Nodes have one as soon as a " a href="/ui/secrets" { "secret" }
                    " is meant for them and they boot."
                }))
            }
        } @else {
            section.card.flat data-part="sessions" { (table(&rows, visit.may(Role::Operator))) }
        }
    };
    Page::new("Boot sessions", body).live("trust").framed(&visit)
}

fn alarmed(session: &SessionBody) -> bool {
    session.events.iter().any(|event| event.alarm)
}

fn table(rows: &[SessionBody], may: bool) -> Markup {
    html! {
        header { h2 { (counted(rows.len(), "node")) } p { "the last session of each" } }
        div.scroll tabindex="0" role="region" aria-label="Boot sessions" {
            table {
                thead {
                    tr {
                        th { "Node" } th { "State" } th { "Level" } th { "Given" } th { "Begun" }
                        th { "What happened" } th.end { span.unseen { "Act" } }
                    }
                }
                tbody { @for session in rows.iter().take(ROWS_MAX) { (row(session, may)) } }
            }
        }
    }
}

fn row(session: &SessionBody, may: bool) -> Markup {
    let class = match (alarmed(session), session.state.as_str()) {
        (true, _) | (_, "revoked") => "bad",
        (_, "delivered" | "sealed") => "good",
        (_, "expired" | "superseded") => "",
        _ => "loading",
    };
    let path = |act: &str| format!("/api/v1/trust/nodes/{}/{act}", segment(&session.node));
    html! {
        tr {
            th scope="row" { (node_link(&session.node)) }
            td {
                span.badge.(class) { (session.state) }
                @if let Some(held) = &session.held { br; span.small.soft { "held: " (held) } }
            }
            td { (session.level) }
            td.num { (counted(session.delivered.len(), "secret"))
                @if !session.withheld.is_empty() { br; span.small.soft { (session.withheld.len()) " withheld" } } }
            td { (moment(&session.made)) }
            td.small {
                @if let Some(event) = session.events.iter().rev().find(|event| event.alarm).or(session.events.last()) {
                    (event.text)
                }
            }
            td.end { @if may { span.row {
                (Act::new("Arm", "POST", &path("arm"))
                    .confirm("Give this node its secrets in the boot that is going on, or in the next one?")
                    .done("Armed.")
                    .class("bare")
                    .button())
                (Act::new("Revoke", "POST", &path("revoke"))
                    .confirm("End the session that is open? The node gets nothing more in this boot.")
                    .done("Revoked.")
                    .class("bare danger")
                    .button())
            } } }
        }
    }
}

/// `GET /ui/secrets`: what secrets there are. Values are shown nowhere here.
pub(crate) async fn secrets(State(context): State<Context>, visit: Visit) -> Response {
    let snapshot = context.snapshot.load();
    let inventory = &snapshot.inventory;
    let all = inventory.secrets.values().map(|secret| SecretBody::new(secret, inventory));
    let rows: Vec<SecretBody> = all.take(ROWS_MAX).collect();
    let about = html! {
        "Nodes get them in a boot session, at the level of trust that each needs. Values are sealed, and are not shown on this page."
    };
    let may = visit.may(Role::Admin);
    let body = html! {
        (title("Secrets", about, html! {}))
        div.split {
            section.card.flat data-part="secrets" {
                @if rows.is_empty() {
                    (empty("No secrets", html! {
                        "A munge key, TLS keys, passwords: made once here, given to the nodes that may have them."
                    }))
                } @else {
                    (secret_table(&rows, may))
                }
            }
            div.stack { @if may { section.card { (new_secret()) } } }
        }
    };
    Page::new("Secrets", body).live("inventory secret").framed(&visit)
}

fn secret_table(rows: &[SecretBody], may: bool) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Secrets" {
            table {
                thead {
                    tr {
                        th { "Name" } th { "For" } th { "What it is on a node" } th { "Level" }
                        th { "Version" } th.end { span.unseen { "Act" } }
                    }
                }
                tbody { @for secret in rows { (secret_row(secret, may)) } }
            }
        }
    }
}

fn secret_row(secret: &SecretBody, may: bool) -> Markup {
    let path = format!("/api/v1/secrets/{}", segment(&secret.key));
    let versions = format!("{path}/versions");
    let confirm = format!("Remove {}? Nodes do not get it any more, and its versions are gone.", secret.key);
    let again = format!(
        "Make a new value of {}? Nodes get it {}.",
        secret.key,
        match secret.rotate.as_str() {
            "push" => "at once",
            "coordinated" => "all at one time",
            _ => "at their next boot",
        }
    );
    html! {
        tr {
            th.mono scope="row" { (secret.name) }
            td { (secret.scope) }
            td { @match &secret.what {
                WhatBody::File(file) => { "file " span.mono { (file.path) } },
                WhatBody::Env(env) => { span.mono { (env.name) } " in " span.mono { (env.file) } },
                WhatBody::SshHostKey => "SSH host key",
                WhatBody::MungeKey => "munge key",
                WhatBody::Opaque => "for templates",
            } }
            td { (secret.min_level) }
            td { @if let Some(version) = secret.version { (version) } @else { span.soft { "on demand" } }
                @if let Some(at) = &secret.updated { br; span.small.soft { (moment(at)) } } }
            td.end { @if may { span.row {
                @if secret.version.is_some() {
                    (Act::new("Rotate", "POST", &versions)
                        .body("{}")
                        .confirm(&again)
                        .done("Rotated.")
                        .class("bare")
                        .button())
                }
                (Act::new("Remove", "DELETE", &path)
                    .confirm(&confirm)
                    .done("Removed.")
                    .class("bare danger")
                    .button())
            } } }
        }
    }
}

fn new_secret() -> Markup {
    let form = Form {
        api: ("PUT", "/api/v1/secrets/{key}"),
        check: true,
        then: "",
        done: "The secret is kept.",
        button: "Keep",
    };
    let levels = [
        ("1", "1: a boot grant"),
        ("2", "2: its TPM"),
        ("2p", "2p: its TPM, and what it booted"),
        ("0", "0: its address"),
    ];
    let whats = [("munge_key", "munge key"), ("ssh_host_key", "SSH host key"), ("opaque", "for templates")];
    html! {
        header { h2 { "New secret" } }
        (form.around(html! {
            (Field::new("key", "Name").kind("path").holder("munge, or munge@group:compute").line())
            (Field::new("what", "What it is on a node")
                .hint("Files and variables are made with muster secret put.")
                .choice(&whats))
            (Field::new("min_level", "Level it needs").value("1").choice(&levels))
            (Field::new("value", "Value").kind("base64").hint("Empty: see below.").secret())
            (Field::new("generate", "Have the head make a value").tick(false))
        }))
    }
}
