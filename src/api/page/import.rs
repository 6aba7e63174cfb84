//! Import: a document is dropped, what it would change is read row by row, then it is applied.

use axum::response::Response;
use maud::html;

use crate::api::page::bits::title;
use crate::api::page::layout::{Page, Visit};
use crate::model::Role;

/// `GET /ui/import`.
pub(crate) async fn import(visit: Visit) -> Response {
    let about = html! {
        "What a document says becomes nodes, groups and what they boot. Nothing changes before you have seen what would."
    };
    let export =
        html! { a.button href="/api/v1/inventory/export" download="nodes.yaml" { "Export nodes.yaml" } };
    let body = html! {
        (title("Import", about, export))
        @if visit.may(Role::Operator) {
            section.card {
                form data-import {
                    fieldset disabled data-awaken {
                        div.drop data-drop-zone {
                            label for="file" {
                                strong { "Drop a nodes.yaml or CSV here" } ", or choose a file"
                            }
                            input #file type="file" accept=".yaml,.yml,.csv,.json,text/*";
                        }
                        div.field {
                            label for="document" { "Or paste it" }
                            textarea #document rows="10" spellcheck="false"
                                placeholder="nodes:\n  - name: nid001\n    interfaces:\n      - mac: 00:00:5e:00:53:01" {
                            }
                        }
                        div.tick {
                            input #prune type="checkbox";
                            label for="prune" { "Remove what the document does not name" }
                        }
                    }
                    noscript {
                        p.note.warn {
                            "To import here the browser must run scripts. The command line does it too: "
                            code { "muster import nodes.yaml" }
                        }
                    }
                }
            }
            section.card.flat #outcome hidden aria-live="polite" {}
        } @else {
            p.note.warn { "Importing needs the role operator." }
        }
    };
    Page::new("Import", body).module("import").framed(&visit)
}
