//! The frame around every page: who looks, where one can go, what the page is called.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use crate::api::auth::Caller;
use crate::api::context::Context;
use crate::api::page::assets;
use crate::api::problem::Problem;
use crate::model::Role;
use crate::model::audit::Via;

/// Who looks at a page, and what its frame shows.
pub(crate) struct Visit {
    name: String,
    role: Role,
    via: Via,
    pub(crate) cluster: String,
    /// Machines that wait in the inbox.
    waiting: usize,
    path: String,
}

impl Visit {
    /// True if the visitor may do what needs this role.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.role >= role
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit
where
    Context: FromRef<S>,
{
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Visit, Self::Rejection> {
        let context = Context::from_ref(state);
        let caller = parts.extensions.get::<Caller>().cloned();
        let waiting = context.dhcp.sightings().await.map_or(0, |seen| seen.len());
        let (name, role, via) = caller
            .map_or((String::new(), None, Via::Nobody), |caller| (caller.subject, caller.role, caller.via));
        Ok(Visit {
            name,
            role: role.unwrap_or(Role::Viewer),
            via,
            cluster: context.snapshot.load().site.name.clone(),
            waiting,
            path: parts.uri.path().to_owned(),
        })
    }
}

/// Path, name, and who may go there.
type Places = &'static [(&'static str, &'static str, Role)];

/// The places of the frame, in groups.
const PLACES: [(&str, Places); 5] = [
    (
        "Cluster",
        &[
            ("/ui/", "Now", Role::Viewer),
            ("/ui/nodes", "Nodes", Role::Viewer),
            ("/ui/inbox", "Inbox", Role::Viewer),
        ],
    ),
    (
        "Boot",
        &[
            ("/ui/images", "Images", Role::Viewer),
            ("/ui/boot", "Boot", Role::Viewer),
            ("/ui/cloud-init", "Cloud-init", Role::Viewer),
        ],
    ),
    (
        "Site",
        &[
            ("/ui/groups", "Groups", Role::Viewer),
            ("/ui/networks", "Networks", Role::Viewer),
            ("/ui/leases", "Leases", Role::Viewer),
            ("/ui/import", "Import", Role::Viewer),
        ],
    ),
    ("Trust", &[("/ui/trust", "Boot sessions", Role::Viewer), ("/ui/secrets", "Secrets", Role::Viewer)]),
    (
        "Head",
        &[
            ("/ui/audit", "Audit", Role::Admin),
            ("/ui/people", "People", Role::Admin),
            ("/ui/settings", "Settings", Role::Viewer),
        ],
    ),
];

/// A page in its frame.
pub(crate) struct Page {
    pub(crate) title: String,
    /// Kinds of events after which the page asks for itself again, apart by spaces; empty: it stays as it is.
    pub(crate) live: &'static str,
    /// The module that this page has for itself.
    pub(crate) module: &'static str,
    pub(crate) body: Markup,
}

impl Page {
    pub(crate) fn new(title: impl Into<String>, body: Markup) -> Page {
        Page { title: title.into(), live: "", module: "", body }
    }

    /// Asks for itself again after events of these kinds.
    pub(crate) fn live(self, live: &'static str) -> Page {
        Page { live, ..self }
    }

    pub(crate) fn module(self, module: &'static str) -> Page {
        Page { module, ..self }
    }

    pub(crate) fn framed(self, visit: &Visit) -> Response {
        let Page { title, live, module, body } = self;
        let text = |text: &'static str| Some(text).filter(|text| !text.is_empty());
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                (head(&format!("{title} · {}", visit.cluster)))
                body {
                    a.skip href="#main" { "Skip to content" }
                    div.frame {
                        (side(visit))
                        main #main tabindex="-1" data-live=[text(live)] data-module=[text(module)] { (body) }
                    }
                    p.lost role="status" data-lost hidden {
                        "The head does not answer. This page may be out of date."
                    }
                    div.toast role="status" data-toast hidden {}
                }
            }
        };
        shown(StatusCode::OK, page)
    }
}

/// The head of every document.
fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            title { (title) " · muster" }
            link rel="stylesheet" href=(assets::path("page.css"));
            link rel="icon" href=(assets::path("mark.svg")) type="image/svg+xml";
            script type="module" src=(assets::path("app.js")) {}
        }
    }
}

fn side(visit: &Visit) -> Markup {
    html! {
        header.side {
            a.brand href="/ui/" {
                img src=(assets::path("mark.svg")) alt="" width="30" height="30";
                span { strong { "muster" } span { (visit.cluster) } }
            }
            nav aria-label="Pages" {
                ul {
                    @for (group, places) in PLACES {
                        li {
                            h2 { (group) }
                            ul {
                                @for (path, name, role) in places {
                                    @if visit.may(*role) { li { (place(visit, path, name)) } }
                                }
                            }
                        }
                    }
                }
            }
            (who(visit))
        }
    }
}

fn place(visit: &Visit, path: &str, name: &str) -> Markup {
    let below = visit.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let here = if path == "/ui/" { matches!(visit.path.as_str(), "/ui" | "/ui/") } else { below };
    html! {
        a href=(path) aria-current=[here.then_some("page")] {
            (name)
            @if path == "/ui/inbox" { span data-part="waiting" { (pill(visit.waiting)) } }
        }
    }
}

/// How many machines wait in the inbox.
fn pill(waiting: usize) -> Markup {
    html! { @if waiting > 0 { span.pill { (waiting) } span.unseen { " wait" } } }
}

fn who(visit: &Visit) -> Markup {
    html! {
        div.who {
            div {
                strong {
                    @if visit.via == Via::Session { a href="/ui/account" { (visit.name) } }
                    @else if visit.name.is_empty() { "nobody" }
                    @else { (visit.name) }
                }
                small { (visit.role) }
            }
            @if visit.via == Via::Session {
                form method="post" action="/ui/logout" { button.bare type="submit" { "Sign out" } }
            } @else if visit.via == Via::Nobody {
                small { "No sign-in: authentication is off" }
            }
        }
    }
}

/// A page of its own, without the frame: at the door, and where something is refused.
pub(crate) fn alone(status: StatusCode, title: &str, body: Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body {
                div.door {
                    main #main tabindex="-1" {
                        a.brand href="/ui/" {
                            img src=(assets::path("mark.svg")) alt="" width="30" height="30";
                            span { strong { "muster" } }
                        }
                        (body)
                    }
                }
                div.toast role="status" data-toast hidden {}
            }
        }
    };
    shown(status, page)
}

/// Pages hold what only their reader may see, and are never older than the head.
fn shown(status: StatusCode, page: Markup) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Html(page.into_string())).into_response()
}

/// A problem as a page.
pub(crate) struct Refused(pub(crate) Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Refused(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Problem { title, status, detail, .. } = self.0;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = html! {
            div.card {
                h1 { (title) }
                p { (detail) }
                div.actions { a.button href="/ui/" { "Back to Now" } }
            }
        };
        alone(status, &title, body)
    }
}
