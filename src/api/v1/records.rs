//! Boot records: which attempts there were, what was seen in each, its packets, and why machines did not boot.

use std::net::Ipv4Addr;

use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::api::context::Context;
use crate::api::problem::Problem;
use crate::api::v1::page::page;
use crate::api::v1::query;
use crate::api::v1::types::known;
use crate::api::v1::types::record::{CauseBody, RecordBody, RecordLineBody, WhyBody};
use crate::base::{Mac, Timestamp};
use crate::engine::record::{Siblings, why};
use crate::model::boot_record::Outcome;
use crate::model::{BootRecord, Snapshot};
use crate::transport::recorder::{Answer, NotRunning};

/// The word for the latest attempt, where its number may stand.
const LATEST: &str = "latest";

/// The routes of boot records, below `PREFIX`.
pub fn router() -> Router<Context> {
    Router::new()
        .route("/records", get(list))
        .route("/records/{name}", get(of_machine))
        .route("/records/{name}/{number}", get(show))
        .route("/records/{name}/{number}/packets", get(packets))
        .route("/why", get(causes))
        .route("/why/{name}", get(why_one))
}

/// `GET /records?outcome=…&set=…`: the latest attempt of each interface, by node and address.
pub(crate) async fn list(State(context): State<Context>, uri: Uri) -> Result<Response, Problem> {
    let outcome = query::field(uri.query(), "outcome");
    let outcome = outcome.map(|word| outcome_named(&word)).transpose()?;
    let records = chosen(&context, &uri).await?;
    let wanted = records.iter().filter(|record| outcome.is_none_or(|outcome| record.outcome == outcome));
    let keyed = wanted.map(|record| (format!("{} {}", record.who(), record.mac), record));
    page(&uri, keyed, RecordLineBody::from)
}

/// Records of the nodes of the query's `set`; without it, of all machines.
async fn chosen(context: &Context, uri: &Uri) -> Result<Vec<BootRecord>, Problem> {
    let snapshot = context.snapshot.load();
    let set = query::set(&snapshot, uri.query())?;
    let mut records = context.recorder.latest().await.map_err(|NotRunning| off())?;
    if let Some(set) = set {
        let node = |record: &BootRecord| snapshot.find(record.node.as_deref()?).map(|node| node.id);
        records.retain(|record| node(record).is_some_and(|id| set.contains(&id)));
    }
    Ok(records)
}

/// `GET /records/NODE`: the attempts of all its interfaces, the newest first.
pub(crate) async fn of_machine(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<Vec<RecordLineBody>>, Problem> {
    let mut records = Vec::new();
    for mac in macs(&context, &name).await? {
        records.extend(all_of(&context, mac).await?);
    }
    records.sort_by_key(|record| std::cmp::Reverse(record.started));
    Ok(Json(records.iter().map(RecordLineBody::from).collect()))
}

/// Attempts of an interface: those in the store, of which the latest may be newer in memory.
async fn all_of(context: &Context, mac: Mac) -> Result<Vec<BootRecord>, Problem> {
    let mut records = context.store.boots(mac).await?;
    for Answer { record, before, .. } in context.recorder.of(vec![mac]).await.map_err(|NotRunning| off())? {
        for newer in before.into_iter().chain([record]) {
            records.retain(|stored| stored.started != newer.started);
            records.push(newer);
        }
    }
    Ok(records)
}

/// `GET /records/NODE/NUMBER`, or `latest` for the number.
pub(crate) async fn show(
    State(context): State<Context>,
    Path((name, number)): Path<(String, String)>,
) -> Result<Json<RecordBody>, Problem> {
    let record = find(&context, &name, &number).await?;
    let phase = record.verdict.as_ref().map(|verdict| verdict.phase);
    let others = context.recorder.latest().await.map_err(|NotRunning| off())?;
    let siblings = Siblings::count(&record, phase, others.iter());
    Ok(Json(RecordBody::new(&record, &siblings)))
}

/// `GET /records/NODE/NUMBER/packets`: a classic capture.
pub(crate) async fn packets(
    State(context): State<Context>,
    Path((name, number)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let record = find(&context, &name, &number).await?;
    let (mac, started) = (record.mac, record.started);
    let in_memory = context.recorder.packets(mac, started).await.map_err(|NotRunning| off())?;
    let capture = match in_memory {
        Some(capture) => Some(capture),
        None => context.store.packets((mac, started)).await?,
    };
    let capture = capture.ok_or_else(|| {
        Problem::not_found("no packets of this attempt are kept; those of machines that come up are not")
    })?;
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((StatusCode::OK, kind, capture).into_response())
}

async fn find(context: &Context, name: &str, number: &str) -> Result<BootRecord, Problem> {
    let macs = macs(context, name).await?;
    if number == LATEST {
        let answers = context.recorder.of(macs).await.map_err(|NotRunning| off())?;
        let telling = why::telling(answers.iter().map(|answer| &answer.record)).cloned();
        return telling.ok_or_else(|| Problem::not_found(format!("{name} was not heard yet")));
    }
    let wrong = || Problem::field("number", format!("{number:?} is neither a number nor {LATEST}"));
    let started = Timestamp(number.parse().map_err(|_| wrong())?);
    for mac in macs {
        let records = all_of(context, mac).await?;
        if let Some(record) = records.into_iter().find(|record| record.started == started) {
            return Ok(record);
        }
    }
    Err(Problem::not_found(format!("{name} has no boot record {number}")))
}

/// `GET /why?set=…`: failed machines by cause.
pub(crate) async fn causes(
    State(context): State<Context>,
    uri: Uri,
) -> Result<Json<Vec<CauseBody>>, Problem> {
    let records = chosen(&context, &uri).await?;
    let causes = why::grouped(telling(&records).into_iter());
    Ok(Json(causes.into_iter().map(CauseBody::from).collect()))
}

/// Of each machine the record that tells of it: a node with two ports did not fail by the one that it left.
fn telling(records: &[BootRecord]) -> Vec<&BootRecord> {
    let mut by_who: std::collections::BTreeMap<String, Vec<&BootRecord>> = std::collections::BTreeMap::new();
    for record in records {
        by_who.entry(record.who()).or_default().push(record);
    }
    by_who.into_values().filter_map(|records| why::telling(records.into_iter())).collect()
}

/// `GET /why/NODE`.
pub(crate) async fn why_one(
    State(context): State<Context>,
    Path(name): Path<String>,
) -> Result<Json<WhyBody>, Problem> {
    let macs = macs(&context, &name).await?;
    let answers = context.recorder.of(macs).await.map_err(|NotRunning| off())?;
    let Some(record) = why::telling(answers.iter().map(|answer| &answer.record)) else {
        return Ok(Json(WhyBody::from(why::never(&name))));
    };
    let answer = answers.iter().find(|answer| answer.record.mac == record.mac);
    let Some(Answer { record, before, siblings }) = answer else { return Err(off()) };
    let mut body = WhyBody::from(why::of(record, siblings));
    if let Some(before) = before.as_ref().filter(|_| !record.outcome.is_over()) {
        body.before = Some(Box::new(WhyBody::from(why::of(before, siblings))));
    }
    Ok(Json(body))
}

/// The interfaces that a word means: a node's, or the one with this hardware address or address.
async fn macs(context: &Context, name: &str) -> Result<Vec<Mac>, Problem> {
    let snapshot = context.snapshot.load();
    if let Ok(mac) = name.parse::<Mac>() {
        return Ok(vec![mac]);
    }
    if let Some(macs) = of_node(&snapshot, name) {
        return Ok(macs);
    }
    if let Ok(address) = name.parse::<Ipv4Addr>()
        && let Some(mac) = context.recorder.behind(address).await.map_err(|NotRunning| off())?
    {
        return Ok(vec![mac]);
    }
    Err(Problem::not_found(format!("no node is called {name:?}, and no machine was heard by this address")))
}

fn of_node(snapshot: &Snapshot, name: &str) -> Option<Vec<Mac>> {
    let node = snapshot.find(name)?;
    Some(node.interfaces.iter().map(|interface| interface.mac).collect())
}

fn outcome_named(word: &str) -> Result<Outcome, Problem> {
    let names: Vec<&str> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
    Outcome::from_name(word).ok_or_else(|| known("outcome", word, &names))
}

fn off() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the recorder is not running")
}
