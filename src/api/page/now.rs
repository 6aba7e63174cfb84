//! The first page: every node at a glance, what the head finds wrong, what happened last.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::Uri;
use axum::response::Response;
use maud::{Markup, html};

use crate::api::context::Context;
use crate::api::page::bits::{bytes, count, counted, empty, segment, time, title};
use crate::api::page::layout::{Page, Visit};
use crate::api::page::record;
use crate::api::page::stage::{Stage, Standing, standings};
use crate::api::v1::query;
use crate::api::v1::records::causes;
use crate::api::v1::status::{FindingBody, Severity, StatusBody, status};
use crate::api::v1::traffic::{TrafficBody, traffic};
use crate::model::{Inventory, Node, NodeId, Role};
use crate::transport::journal::Event;

/// Up to so many nodes each has its name on the page; up to so many it is a square that a finger can hit.
const NAMED_MAX: usize = 150;
const LARGE_MAX: usize = 1500;

/// Beyond this groups are shown by their shares, and nodes a click away: a page is read, not scrolled for a day.
const SQUARES_MAX: usize = 20_000;

/// Groups above which they stand beside each other.
const COLUMNS_FROM: usize = 8;

/// Events that are shown.
const LATEST: usize = 8;

/// By what nodes are put together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rack,
    Group,
    Nothing,
}

impl By {
    const ALL: [(By, &'static str, &'static str); 3] =
        [(By::Rack, "rack", "Rack"), (By::Group, "group", "Group"), (By::Nothing, "none", "All")];

    fn name(self) -> &'static str {
        By::ALL.iter().find(|(by, ..)| *by == self).map_or("none", |(_, name, _)| name)
    }

    /// What the query wants, else what this site has: racks, then groups.
    fn chosen(raw: Option<&str>, inventory: &Inventory) -> By {
        let wanted = query::field(raw, "by");
        let named = By::ALL.iter().find(|(_, name, _)| wanted.as_deref() == Some(name)).map(|(by, ..)| *by);
        let has = |test: fn(&Node) -> bool| inventory.nodes.values().any(|node| test(node));
        named.unwrap_or_else(|| {
            match (has(|node| node.xname.is_some()), has(|node| !node.groups.is_empty())) {
                (true, _) => By::Rack,
                (false, true) => By::Group,
                (false, false) => By::Nothing,
            }
        })
    }
}

/// A node and how far it is.
struct Tile<'a> {
    node: &'a Arc<Node>,
    standing: Standing,
}

/// `GET /ui/?by=…&stage=…`.
pub(crate) async fn now(State(context): State<Context>, visit: Visit, RawQuery(raw): RawQuery) -> Response {
    let raw = raw.as_deref();
    let (status, traffic) = (status(State(context.clone())).await.0, traffic(State(context.clone())).await.0);
    let snapshot = context.snapshot.load();
    let inventory = &snapshot.inventory;
    let (by, only) =
        (By::chosen(raw, inventory), query::field(raw, "stage").and_then(|name| Stage::from_name(&name)));
    let mut known: BTreeMap<NodeId, Standing> = standings(&context, &snapshot).await;
    let tiles: Vec<Tile<'_>> = inventory
        .nodes
        .values()
        .map(|node| Tile { node, standing: known.remove(&node.id).unwrap_or_default() })
        .collect();
    let failed = causes(State(context.clone()), Uri::from_static("/")).await;
    let failed = failed.map_or_else(|_| Vec::new(), |Json(failed)| failed);
    let totals = totals(tiles.iter());
    let events = context.journal.after(0, usize::MAX).events;
    let shown: Vec<&Tile<'_>> =
        tiles.iter().filter(|tile| only.is_none_or(|stage| tile.standing.stage == stage)).collect();
    let body = html! {
        (title("Now", about(&status), html! { @if !tiles.is_empty() { (choices(by, only)) } }))
        @if tiles.is_empty() { (welcome(&visit, &status)) } @else {
            section.stack data-part="totals" aria-label="Nodes by stage" {
                (tally(&totals, only, by))
                (share(&totals))
                (loads(&traffic))
            }
        }
        div.split[!tiles.is_empty()] {
            @if !tiles.is_empty() {
                div data-part="grid" data-keep="grid" { (grid(shown, by, inventory)) }
            }
            div.stack.halves[tiles.is_empty()] {
                div data-part="causes" {
                    @if !failed.is_empty() {
                        section.card { header { h2 { "Why nodes did not boot" } } (record::causes(&failed)) }
                    }
                }
                section.card data-part="findings" { (findings(&status.findings)) }
                section.card data-part="latest" { (latest(&events)) }
            }
        }
    };
    Page::new("Now", body).live("boot lease sighting inventory trust").framed(&visit)
}

fn about(status: &StatusBody) -> Markup {
    let minutes = status.uptime_s / 60;
    let up = match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes / 60),
        _ => format!("{} days", minutes / 1440),
    };
    html! { (counted(status.nodes, "node")) " of " strong { (status.cluster) } ", head up for " (up) }
}

fn choices(by: By, only: Option<Stage>) -> Markup {
    let stage = only.map_or(String::new(), |stage| format!("&stage={}", stage.name()));
    html! {
        nav.choice aria-label="Put together by" {
            @for (choice, name, label) in By::ALL {
                a href={ "/ui/?by=" (name) (stage) } aria-current=[(choice == by).then_some("true")] {
                    (label)
                }
            }
        }
    }
}

fn totals<'a>(tiles: impl Iterator<Item = &'a Tile<'a>>) -> BTreeMap<&'static str, usize> {
    let mut totals: BTreeMap<&'static str, usize> =
        Stage::ALL.iter().map(|stage| (stage.name(), 0)).collect();
    for tile in tiles {
        *totals.entry(tile.standing.stage.name()).or_default() += 1;
    }
    totals
}

fn tally(totals: &BTreeMap<&'static str, usize>, only: Option<Stage>, by: By) -> Markup {
    html! {
        div.tally {
            @for stage in Stage::ALL {
                @let here = only == Some(stage);
                @let stage_field = if here { String::new() } else { format!("&stage={}", stage.name()) };
                a href={ "/ui/?by=" (by.name()) (stage_field) } aria-current=[here.then_some("true")] {
                    strong { (count(totals.get(stage.name()).copied().unwrap_or(0))) }
                    span.badge.(stage.name()) { (stage.label()) }
                }
            }
        }
    }
}

/// How the whole is divided, as one bar.
fn share(totals: &BTreeMap<&'static str, usize>) -> Markup {
    let all: usize = totals.values().sum();
    let mut parts = Vec::new();
    let mut from = 0;
    for stage in Stage::ALL {
        let part = totals.get(stage.name()).copied().unwrap_or(0);
        if part > 0 {
            parts.push((stage.name(), from, part));
        }
        from += part;
    }
    html! {
        svg.share viewBox={ "0 0 " (all.max(1)) " 1" } preserveAspectRatio="none" aria-hidden="true" {
            @for (name, from, part) in parts {
                rect class=(if name == "quiet" { "idle" } else { name }) x=(from) y="0" width=(part)
                    height="1" {
                }
            }
        }
    }
}

/// What many nodes fetch at this moment, and when that is over.
fn loads(traffic: &[TrafficBody]) -> Markup {
    let busy: Vec<&TrafficBody> = traffic.iter().filter(|file| file.running + file.waiting > 0).collect();
    html! {
        @for file in busy {
            @let done = file.streams.iter().map(|stream| stream.sent).sum::<u64>();
            @let all = file.streams.iter().map(|stream| stream.total).sum::<u64>();
            div.stack {
                div.row.apart {
                    span { strong.mono { (file.file) } " to " (counted(file.running, "node"))
                        @if file.waiting > 0 { ", " (count(file.waiting)) " in line" } }
                    span.soft.num { (bytes(file.rate)) "/s"
                        @if let Some(left) = file.over_in_s { ", over in " (span(left)) } }
                }
                progress max=(all.max(1)) value=(done) aria-label={ "Sent of " (file.file) } {}
            }
        }
    }
}

fn span(seconds: u64) -> String {
    if seconds < 90 { format!("{seconds} s") } else { format!("{} min", seconds.div_ceil(60)) }
}

/// The nodes, together by what the visitor chose.
fn grid(tiles: Vec<&Tile<'_>>, by: By, inventory: &Inventory) -> Markup {
    let total = tiles.len();
    let mut groups: BTreeMap<String, Vec<&Tile<'_>>> = BTreeMap::new();
    for tile in tiles {
        groups.entry(belongs(tile.node, by, inventory)).or_default().push(tile);
    }
    let density = if total <= NAMED_MAX {
        "wide"
    } else if total <= LARGE_MAX {
        "medium"
    } else {
        "fine"
    };
    for tiles in groups.values_mut() {
        tiles.sort_by_cached_key(|tile| tile.node.name.to_string());
    }
    let many = groups.len() > COLUMNS_FROM && density != "wide";
    if total == 0 {
        return empty("None", html! { "No node is in this stage." });
    }
    html! {
        div.racks.many[many] {
            @for (name, tiles) in groups {
                section.rack aria-label=[(!name.is_empty()).then_some(&name)] {
                    @if !name.is_empty() {
                        header { h2 { (name) } span.soft.num data-tally { (summary(&tiles)) } }
                    }
                    @if total > SQUARES_MAX { (share(&totals(tiles.into_iter()))) } @else {
                        div.grid.(density) data-grid { @for tile in tiles { (square(tile, density)) } }
                    }
                }
            }
        }
    }
}

/// The rack or group that a node is shown in.
fn belongs(node: &Node, by: By, inventory: &Inventory) -> String {
    match by {
        By::Nothing => String::new(),
        By::Rack => {
            let own = node.xname.as_ref().map(|xname| xname.as_str());
            own.and_then(|name| name.split('c').next()).map_or_else(|| "no rack".to_owned(), str::to_owned)
        }
        By::Group => {
            let weight = |name| inventory.groups.get(name).map_or(0, |group| group.priority);
            let first = node.groups.iter().max_by_key(|name| (weight(*name), std::cmp::Reverse(*name)));
            first.map_or_else(|| "no group".to_owned(), ToString::to_string)
        }
    }
}

fn summary(tiles: &[&Tile<'_>]) -> String {
    let of = |stage| tiles.iter().filter(|tile| tile.standing.stage == stage).count();
    let (up, trouble) = (of(Stage::Up), of(Stage::Trouble));
    let trouble = if trouble > 0 { format!(", {trouble} in trouble") } else { String::new() };
    format!("{} of {} up{trouble}", count(up), count(tiles.len()))
}

/// One node: a link whose colour is its stage.
fn square(tile: &Tile<'_>, density: &str) -> Markup {
    let Tile { node, standing } = tile;
    let name = node.name.as_str();
    let class = standing.stage.name();
    if density == "wide" {
        return html! {
            a class=(class) href={ "/ui/nodes/" (segment(name)) } {
                (name)
                small { (standing.stage.label()) @if let Some(at) = standing.at { ", " (time(at)) } }
            }
        };
    }
    // Of these there are thousands: no octet more than they need.
    html! {
        a class=(class) href={ "/ui/nodes/" (segment(name)) } title={ (name) " " (standing.stage.label()) } {
            (name)
        }
    }
}

fn findings(findings: &[FindingBody]) -> Markup {
    html! {
        header {
            h2 { "Findings" }
            @if !findings.is_empty() { p { (counted(findings.len(), "thing")) " to look at" } }
        }
        @if findings.is_empty() { p.badge.good { "All is well." } } @else {
            ul.findings {
                @for finding in findings {
                    @let class = match finding.severity { Severity::Error => "bad", Severity::Warning => "warn", Severity::Info => "" };
                    li class={ "note " (class) } {
                        strong { (finding.what) }
                        p { (finding.text) }
                        p.small { (finding.fix) }
                    }
                }
            }
        }
    }
}

fn latest(events: &[Arc<Event>]) -> Markup {
    html! {
        header { h2 { "Latest" } }
        @if events.is_empty() { p.soft { "Nothing has happened since the head started." } } @else {
            ol.happened {
                @for event in events.iter().rev().take(LATEST) {
                    li {
                        @if let Some(node) = &event.node {
                            a href={ "/ui/nodes/" (segment(node)) } { (event.text) }
                        }
                        @else { span { (event.text) } }
                        (time(event.time))
                    }
                }
            }
        }
    }
}

/// What a head shows that knows no node yet.
fn welcome(visit: &Visit, status: &StatusBody) -> Markup {
    let operates = visit.may(Role::Operator);
    html! {
        section.card {
            header { h2 { "This head knows no nodes yet" } }
            ol.steps {
                li { div {
                    h3 { "Say which machines there are" }
                    p.soft {
                        "Drop a nodes.yaml or a CSV on " a href="/ui/import" { "Import" }
                        ", or switch the machines on and declare them from the "
                        a href="/ui/inbox" { "Inbox" } "."
                    }
                } }
                li { div {
                    h3 { "Give them something to boot" }
                    p.soft {
                        "Import an image on the head (" code { "muster image import" } "), and see it under "
                        a href="/ui/images" { "Images" } "."
                    }
                } }
                li { div {
                    h3 { "Assign it and switch the power on" }
                    p.soft {
                        a href="/ui/boot" { "Boot" }
                        " says who boots what. Each node shows up here as it comes."
                    }
                } }
            }
            @if operates && status.sightings > 0 {
                div.actions {
                    a.button.main href="/ui/inbox" {
                        "Declare " (counted(status.sightings, "waiting machine"))
                    }
                }
            }
        }
    }
}
