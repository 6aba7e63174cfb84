//! One boot attempt as a picture: why it failed on top, its steps in time, and what was seen.

use axum::Json;
use axum::extract::{Path, State};
use maud::{Markup, html};

use crate::api::context::Context;
use crate::api::page::bits::{bytes, moment, segment};
use crate::api::v1::records::{of_machine, show};
use crate::api::v1::types::record::{CauseBody, RecordBody, RecordLineBody, RecordStepBody, VerdictBody};
use crate::base::Timestamp;

/// Earlier attempts that are listed.
const ATTEMPTS: usize = 12;

/// Nodes that are named of one cause.
const NAMED: usize = 8;

/// The width of the picture, in units of its own.
const WIDTH: u64 = 1000;

/// An attempt of a node and the others that are remembered.
pub(crate) struct Attempts {
    pub(crate) shown: RecordBody,
    pub(crate) all: Vec<RecordLineBody>,
}

impl Attempts {
    /// The attempt of this number, or the latest; none: the node was not heard yet, or nothing is recorded.
    pub(crate) async fn of(context: &Context, node: &str, number: Option<String>) -> Option<Attempts> {
        let number = number.unwrap_or_else(|| "latest".to_owned());
        let Json(shown) = show(State(context.clone()), Path((node.to_owned(), number))).await.ok()?;
        let all = of_machine(State(context.clone()), Path(node.to_owned())).await;
        Some(Attempts { shown, all: all.map_or_else(|_| Vec::new(), |Json(all)| all) })
    }

    pub(crate) fn card(&self, node: &str) -> Markup {
        let record = &self.shown;
        html! {
            header {
                h2 #attempt { "Boot of " (moment(&record.started)) }
                p { span.badge.(class(&record.outcome)) { (record.outcome) } }
            }
            @if let Some(verdict) = &record.verdict { (judged(verdict)) }
            (picture(record))
            p.small.soft { (record.siblings) }
            (seen(record, node))
            @if self.all.len() > 1 { (self.others(node)) }
        }
    }

    fn others(&self, node: &str) -> Markup {
        html! {
            details {
                summary { "Other attempts" }
                ol.happened {
                    @for line in self.all.iter().take(ATTEMPTS) {
                        @let number = line.id.rsplit('/').next().unwrap_or_default();
                        li {
                            span {
                                a href={ "/ui/nodes/" (segment(node)) "?record=" (number) }
                                    aria-current=[(line.id == self.shown.id).then_some("true")] {
                                    (moment(&line.started))
                                }
                                " " span.badge.(class(&line.outcome)) { (line.outcome) }
                            }
                            @if let Some(summary) = &line.summary { span.small.soft { (summary) } }
                        }
                    }
                }
            }
        }
    }
}

fn class(outcome: &str) -> &'static str {
    match outcome {
        "up" | "settled" => "up",
        "failed" => "trouble",
        "under way" => "loading",
        "waits" => "starting",
        _ => "quiet",
    }
}

fn judged(verdict: &VerdictBody) -> Markup {
    html! {
        div.note.bad {
            p {
                strong { (verdict.summary) } " "
                span.small.soft { (verdict.sure) ", by the rule " (verdict.rule) }
            }
            @if !verdict.evidence.is_empty() { ul.small { @for line in &verdict.evidence { li { (line) } } } }
            p { "Cause: " (verdict.cause) }
            p { "Next: " (verdict.check) }
        }
    }
}

/// The steps on one scale of time.
fn picture(record: &RecordBody) -> Markup {
    let at = |text: &str| Timestamp::parse(text).unwrap_or_default();
    let begin = at(&record.started);
    let end = record.steps.iter().map(|step| at(&step.last)).max().unwrap_or(begin);
    let whole = end.since(begin).0.max(1);
    let place = |text: &str| at(text).since(begin).0.saturating_mul(WIDTH) / whole;
    html! {
        ol.flow {
            @for step in &record.steps {
                @let (from, to) = (place(&step.first), place(&step.last));
                li {
                    strong { (step.phase) }
                    svg viewBox={ "0 0 " (WIDTH) " 10" } preserveAspectRatio="none" aria-hidden="true" {
                        rect.ground x="0" y="4" width=(WIDTH) height="2" {}
                        rect class=(step.fate) x=(from.min(WIDTH - 6)) y="0"
                            width=(to.saturating_sub(from).max(6)) height="10" {
                        }
                    }
                    span.num.soft { (took(step.ms)) }
                    span.small.what { (told(step)) }
                }
            }
        }
    }
}

fn took(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms} ms"),
        1000..=99_999 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min", ms / 60_000),
    }
}

fn told(step: &RecordStepBody) -> Markup {
    html! {
        @if step.fate != "done" {
            span.badge.(match step.fate.as_str() { "going" => "loading", _ => "trouble" }) { (step.fate) } " "
        }
        @if !step.what.is_empty() { span.mono { (step.what) } " " }
        (step.result)
        @if step.bytes > 0 {
            span.soft { ", " (bytes(step.bytes)) @if step.of > step.bytes { " of " (bytes(step.of)) } }
        }
        @if step.tries > 1 { span.soft { ", " (step.tries) " requests" } }
    }
}

fn seen(record: &RecordBody, node: &str) -> Markup {
    let number = record.id.rsplit('/').next().unwrap_or_default();
    let client = &record.client;
    html! {
        details {
            summary { "What was seen" }
            dl.facts {
                dt { "Interface" } dd.mono { (record.mac) }
                @if !record.addresses.is_empty() {
                    dt { "Addresses" } dd.mono { (record.addresses.join(", ")) }
                }
                @if let Some(firmware) = &client.firmware {
                    dt { "Firmware" } dd { (firmware) @if let Some(arch) = &client.arch { ", " (arch) } }
                }
                @if let Some(agent) = &client.agent { dt { "Loader" } dd.mono { (agent) } }
                @if let Some(told) = &record.told { dt { "Told to boot" } dd.mono { (told.image) } }
                @for sign in record.signs.values() { dt { (sign.count) " ×" } dd { (sign.text) } }
            }
            @if !record.logs.is_empty() {
                pre tabindex="0" { @for line in &record.logs { (line.text) "\n" } }
            }
            p {
                a href={ "/api/v1/records/" (segment(node)) "/" (number) "/packets" }
                    download={ (node) ".pcap" } {
                    "Its packets, as a capture"
                }
                span.soft { " (kept for attempts that failed)" }
            }
        }
    }
}

/// Failed machines by cause.
pub(crate) fn causes(causes: &[CauseBody]) -> Markup {
    html! {
        ul.findings {
            @for cause in causes {
                li.note.bad {
                    strong { (cause.count) " × " (cause.summary) }
                    p.small { "Cause: " (cause.cause) }
                    p.small { "Next: " (cause.check) }
                    p.small {
                        @for who in cause.who.iter().take(NAMED) {
                            a.mono href={ "/ui/nodes/" (segment(who)) } { (who) } " "
                        }
                        @if cause.who.len() > NAMED { "and " (cause.who.len() - NAMED) " more" }
                    }
                }
            }
        }
    }
}
