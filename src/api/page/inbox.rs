//! Machines that ask and that nobody declared, with what is known of them; one or many are declared at once.
//! Nothing is declared by itself.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use crate::api::context::Context;
use crate::api::page::bits::{counted, empty, time, title};
use crate::api::page::layout::{Page, Visit};
use crate::model::{Role, Sighting, Snapshot};

/// `GET /ui/inbox`.
pub(crate) async fn inbox(State(context): State<Context>, visit: Visit) -> Response {
    let snapshot = context.snapshot.load();
    let seen = context.dhcp.sightings().await;
    let is_running = seen.is_ok();
    let mut seen = seen.unwrap_or_default();
    seen.sort_by_key(|seen| (seen.first, seen.mac));
    let may = visit.may(Role::Operator);
    let about = html! {
        "Machines that ask for an address and are not declared, in the order in which they were first seen."
    };
    let body = html! {
        (title("Inbox", about, html! {}))
        div.split {
            section.card.flat data-part="seen" aria-label="Machines" {
                @if !is_running {
                    (empty("DHCP is not running", html! {
                        "Without it the head sees no machines. See " a href="/ui/networks" { "Networks" } "."
                    }))
                } @else if seen.is_empty() {
                    (empty("Nobody waits", html! {
                        "Switch a machine on in a network of this head, and it shows up here."
                    }))
                } @else { (table(&seen, may)) }
            }
            @if may { section.card { (declare(&snapshot)) } }
        }
    };
    Page::new("Inbox", body).live("sighting inventory").module("inbox").framed(&visit)
}

fn table(seen: &[Sighting], may: bool) -> Markup {
    html! {
        header {
            h2 { (counted(seen.len(), "machine")) }
            @if may { label.tick { input type="checkbox" data-all; span { "Choose all" } } }
        }
        div.scroll tabindex="0" role="region" aria-label="Machines that wait" {
            table {
                thead {
                    tr {
                        @if may { th { span.soft { "Choose" } } } th { "MAC" } th { "Network" }
                        th { "Firmware" } th { "Last asked" } th { "What else is known" }
                    }
                }
                tbody { @for machine in seen { (row(machine, may)) } }
            }
        }
    }
}

fn row(machine: &Sighting, may: bool) -> Markup {
    let Sighting {
        mac,
        first,
        last,
        requests,
        network,
        vendor_class,
        arch,
        firmware,
        uuid,
        circuit,
        host_name,
    } = machine;
    let arch = arch.map(crate::model::Arch::as_str);
    html! {
        tr {
            @if may {
                td { input type="checkbox" name="mac" value=(mac) aria-label={ "Choose " (mac) } data-arch=[arch]
                    data-uuid=[uuid.as_ref().map(ToString::to_string)]; }
            }
            th.mono scope="row" { (mac) }
            td { (network) }
            td { (firmware.as_str()) @if let Some(arch) = arch { ", " (arch) } }
            td { (time(*last)) br; span.small.soft { (requests) " times since " (time(*first)) } }
            td.small {
                @if let Some(name) = host_name { div { "calls itself " span.mono { (name) } } }
                @if let Some(circuit) = circuit { div { "port " span.mono { (circuit) } } }
                @if let Some(class) = vendor_class { div.soft { (class) } }
                @if let Some(uuid) = uuid { div.mono.soft { (uuid) } }
            }
        }
    }
}

fn declare(snapshot: &Snapshot) -> Markup {
    let short = &snapshot.site.short_name;
    let free =
        (1..=u32::MAX).find(|number| snapshot.by_name(&format!("{short}{number:03}")).is_none()).unwrap_or(1);
    html! {
        header { h2 { "Declare" } p { "those that are chosen" } }
        form data-declare {
            fieldset disabled data-awaken {
                div.field {
                    label for="pattern" { "Names" }
                    input #pattern value={ (short) "###" } autocomplete="off" spellcheck="false"
                        aria-describedby="pattern-hint";
                    span.hint #pattern-hint { "The signs # become the number." }
                }
                div.field {
                    label for="from" { "First number" } input #from type="number" min="0" value=(free);
                }
                div.field {
                    label for="groups" { "Groups" }
                    input #groups list="known-groups" autocomplete="off" placeholder="compute";
                    datalist #known-groups {
                        @for name in snapshot.inventory.groups.keys() { option value=(name) {} }
                    }
                }
                div.field {
                    label for="address" { "First address" }
                    input #address autocomplete="off" aria-describedby="address-hint"
                        placeholder="none: from the pool";
                    span.hint #address-hint { "The next machine gets the next one." }
                }
                div.tick {
                    input #number type="checkbox" checked; label for="number" { "The number is its NID too" }
                }
                div #preview role="status" {}
                p.verdict role="status" data-verdict {}
                div.actions { button.main type="submit" disabled { "Declare" } }
            }
            noscript {
                p.note.warn {
                    "To declare machines here the browser must run scripts. The command line does it too: "
                    code { "muster node set NAME --mac MAC" }
                }
            }
        }
    }
}
