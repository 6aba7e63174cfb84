//! Networks with their pools, leases, and other DHCP servers. Networks come from the configuration.

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use crate::api::context::Context;
use crate::api::page::bits::{Act, count, counted, empty, moment, node_link, time, title};
use crate::api::page::layout::{Page, Visit};
use crate::api::v1::observed::{NetworkBody, leases_of, network_body};
use crate::model::snapshot::Machine;
use crate::model::{Lease, Snapshot};
use crate::model::{LeaseKey, Role};
use crate::transport::dhcp::handle::Rogue;

/// Leases of one page.
const LEASES_MAX: usize = 2000;

/// `GET /ui/networks`.
pub(crate) async fn list(State(context): State<Context>, visit: Visit) -> Response {
    let (snapshot, leases) = (context.snapshot.load(), leases_of(&context).await);
    let rogues = context.dhcp.rogues().await.unwrap_or_default();
    let networks: Vec<NetworkBody> =
        snapshot.site.networks.iter().map(|network| network_body(&snapshot, network, &leases)).collect();
    let about = html! {
        "They stand in " code { "muster.toml" } "; a change there holds after a restart of the head."
    };
    let body = html! {
        (title("Networks", about, html! {}))
        @if networks.is_empty() {
            div.card {
                (empty("No network is configured", html! {
                    "DHCP answers nobody. Add a " code { "[[network]]" } " to muster.toml."
                }))
            }
        }
        div.halves data-part="networks" { @for network in &networks { (card(network)) } }
        @if !rogues.is_empty() { section.card.flat data-part="rogues" { (others(&rogues)) } }
    };
    Page::new("Networks", body).live("lease sighting").framed(&visit)
}

fn card(network: &NetworkBody) -> Markup {
    let NetworkBody {
        name,
        interface,
        address,
        dhcp,
        ranges,
        unknown,
        pool,
        bound,
        held,
        declined,
        free,
        declared,
    } = network;
    let number = |octets: u64| count(usize::try_from(octets).unwrap_or(usize::MAX));
    html! {
        section.card {
            header { h2 { (name) } p { "DHCP " (dhcp) } }
            @if *pool > 0 {
                div.stack {
                    progress max=(pool) value=(pool.saturating_sub(*free)) aria-label={ "Pool of " (name) } {}
                    p.small.soft.num {
                        (number(*free)) " of " (number(*pool)) " addresses of the pool are free"
                    }
                }
            }
            dl.facts {
                dt { "Address" } dd.mono { (address) }
                dt { "Interface" }
                dd.mono {
                    @if let Some(interface) = interface {
                        (interface)
                    } @else {
                        span.soft { "by relays only" }
                    }
                }
                dt { "Pool" }
                dd.mono {
                    @if ranges.is_empty() { span.soft { "none" } } @for range in ranges { div { (range) } }
                }
                dt { "Leases" }
                dd.num {
                    (number(*bound)) " bound, " (number(*held)) " offered, " (number(*declined)) " declined"
                }
                dt { "Declared" } dd.num { (number(*declared)) " addresses" }
                dt { "Unknown machines" } dd { (unknown) }
            }
        }
    }
}

fn others(rogues: &[Rogue]) -> Markup {
    html! {
        header { h2 { "Other DHCP servers" } p { "that answered here" } }
        div.scroll tabindex="0" role="region" aria-label="Other DHCP servers" {
            table {
                thead {
                    tr { th { "Server" } th { "MAC" } th { "Network" } th.end { "Replies" } th { "Last" } }
                }
                tbody { @for rogue in rogues { tr {
                    th.mono scope="row" { (rogue.server) } td.mono { (rogue.mac) } td { (rogue.network) }
                    td.num.end { (rogue.replies) } td { (time(rogue.last)) }
                } } }
            }
        }
    }
}

/// `GET /ui/leases`.
pub(crate) async fn leases(State(context): State<Context>, visit: Visit) -> Response {
    let (snapshot, mut leases) = (context.snapshot.load(), leases_of(&context).await);
    leases.sort_by_key(|lease| lease.address);
    let about = html! { "Addresses that were given from pools. Declared addresses need no lease." };
    let body = html! {
        (title("Leases", about, html! {}))
        @if leases.is_empty() {
            div.card data-part="leases" {
                (empty("No leases", html! { "Nobody holds an address of a pool." }))
            }
        } @else {
            div.field {
                label for="sift" { "Find" }
                input #sift type="search" data-sift="[data-row]" autocomplete="off"; span.hint data-sifted {}
            }
            section.card.flat data-part="leases" { (table(&leases, &snapshot, visit.may(Role::Operator))) }
        }
    };
    Page::new("Leases", body).live("lease").framed(&visit)
}

fn table(leases: &[Lease], snapshot: &Snapshot, may: bool) -> Markup {
    html! {
        header {
            h2 { (counted(leases.len(), "lease")) }
            @if leases.len() > LEASES_MAX { p { "the first " (count(LEASES_MAX)) " are shown" } }
        }
        div.scroll tabindex="0" role="region" aria-label="Leases" {
            table {
                thead {
                    tr {
                        th { "Address" } th { "State" } th { "Whose" } th { "Network" } th { "Since" }
                        th { "Until" } th.end { span.unseen { "Act" } }
                    }
                }
                tbody { @for lease in leases.iter().take(LEASES_MAX) { (row(lease, snapshot, may)) } }
            }
        }
    }
}

fn row(lease: &Lease, snapshot: &Snapshot, may: bool) -> Markup {
    let owner = match &lease.key {
        LeaseKey::Mac(mac) => snapshot.by_mac(*mac),
        LeaseKey::ClientId(_) => None,
    };
    let path = format!("/api/v1/leases/{}", lease.address);
    let confirm = format!("Free {}? Whoever uses it still has it until it asks again.", lease.address);
    html! {
        tr data-row {
            th.mono scope="row" { (lease.address) }
            td { (lease.state.as_str()) }
            td {
                @if let Some(Machine::Node { node, .. }) = &owner { (node_link(node.name.as_str())) " " }
                span.mono { (lease.key) }
                @if let Some(name) = &lease.host_name { span.soft { " " (name) } }
            }
            td { (lease.network) }
            td { (moment(&lease.starts.rfc3339())) }
            td { (moment(&lease.expires.rfc3339())) }
            td.end { @if may {
                (Act::new("Free", "DELETE", &path)
                    .confirm(&confirm)
                    .done("Freed.")
                    .class("bare danger")
                    .button())
            } }
        }
    }
}
