//! PCS, the power control service, as the client of the replaced stack asks it, at the root of the server.
//!
//! This head has no driver that speaks to BMCs yet. It says so: every task of a transition ends as unsupported, and
//! every power state is undefined, with the reason beside it. Transitions are real resources all the same: they
//! can be listed, shown and followed, and they expire. They live in memory: none goes on beyond its request, so a
//! restart loses a report and no work.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::openchami::bss::finish;
use crate::api::openchami::go;
use crate::api::openchami::query::Query;
use crate::api::openchami::smd::{component, xname};
use crate::api::openchami::{OpenChami, random_uuid};
use crate::api::problem::Problem;
use crate::base::limits::{TRANSITION_LIFE, TRANSITION_TASKS_MAX, TRANSITIONS_MAX};
use crate::base::{Timestamp, Xname};
use crate::model::Snapshot;
use crate::transport::clock::now;

/// What can be asked for, as PCS spells it. The client says `reinit` for `init`.
const OPERATIONS: [&str; 7] = ["on", "off", "soft-off", "soft-restart", "hard-restart", "init", "force-off"];

const NO_DRIVER: &str = "power control is not supported: this head has no driver for BMCs";
const NOT_FOUND: &str = "component not found";

/// The routes of PCS.
pub fn router(api: &OpenChami) -> Router {
    let state = Pcs { api: api.clone(), transitions: Transitions::default() };
    let routes = Router::new()
        .route("/liveness", get(alive))
        .route("/readiness", get(alive))
        .route("/health", get(health))
        .route("/power-status", get(power_status).post(power_status_of))
        .route("/transitions", get(list).post(start))
        .route("/transitions/{id}", get(show).delete(abort));
    finish(routes).with_state(state)
}

#[derive(Clone)]
struct Pcs {
    api: OpenChami,
    transitions: Transitions,
}

/// The transitions, the oldest first. A mutex and no message: a request holds it for one look or one insertion.
#[derive(Clone, Default)]
struct Transitions(Arc<Mutex<VecDeque<Arc<Transition>>>>);

/// One request to change power, and what became of it.
#[derive(Debug)]
struct Transition {
    id: String,
    operation: &'static str,
    created: Timestamp,
    /// True: the component is there.
    tasks: BTreeMap<Xname, bool>,
}

impl Transitions {
    /// The table without what has expired.
    fn fresh(&self) -> MutexGuard<'_, VecDeque<Arc<Transition>>> {
        let now = now();
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|transition| now.since(transition.created) < TRANSITION_LIFE);
        table
    }

    fn add(&self, transition: Transition) {
        let mut table = self.fresh();
        table.push_back(Arc::new(transition));
        let mut tasks: usize = table.iter().map(|one| one.tasks.len()).sum();
        while table.len() > 1 && (table.len() > TRANSITIONS_MAX || tasks > TRANSITION_TASKS_MAX) {
            let oldest = table.pop_front();
            tasks = tasks.saturating_sub(oldest.map_or(0, |one| one.tasks.len()));
        }
    }

    fn find(&self, id: &str) -> Result<Arc<Transition>, Problem> {
        let found = self.fresh().iter().find(|transition| transition.id.eq_ignore_ascii_case(id)).cloned();
        found.ok_or_else(|| Problem::not_found("transitionID not found"))
    }
}

impl Transition {
    fn body(&self) -> Value {
        let unsupported = self.tasks.values().filter(|found| **found).count();
        json!({
            "transitionID": self.id,
            "createTime": self.created.rfc3339(),
            "automaticExpirationTime": Timestamp(self.created.0.saturating_add(TRANSITION_LIFE.0)).rfc3339(),
            "transitionStatus": "completed",
            "operation": self.operation,
            "taskCounts": {
                "total": self.tasks.len(),
                "new": 0,
                "in-progress": 0,
                "failed": self.tasks.len().saturating_sub(unsupported),
                "succeeded": 0,
                "un-supported": unsupported,
            },
        })
    }

    fn tasks(&self) -> Vec<Value> {
        let task = |(xname, found): (&Xname, &bool)| {
            let (status, why) = if *found { ("unsupported", NO_DRIVER) } else { ("failed", NOT_FOUND) };
            let xname = xname.as_str();
            json!({"xname": xname, "taskStatus": status, "taskStatusDescription": why, "error": why})
        };
        self.tasks.iter().map(task).collect()
    }
}

async fn alive() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `GET /health`. What PCS keeps in other services is in this process.
async fn health() -> Response {
    let body = json!({
        "KvStore": "connected, responsive",
        "DistLocking": "connected, responsive",
        "StateManager": "connected, responsive",
        "Vault": "not used",
        "TaskRunner": {"Status": NO_DRIVER},
    });
    go::answer(StatusCode::OK, &body)
}

/// `POST /transitions`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Start {
    operation: String,
    location: Vec<Location>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Location {
    xname: String,
}

async fn start(State(pcs): State<Pcs>, bytes: Bytes) -> Result<Response, Problem> {
    let Start { operation, location } =
        go::decode(&bytes, &["operation", "location", "xname"]).map_err(|problem| bad(&problem.detail))?;
    let operation = operation_of(&operation)?;
    if location.is_empty() {
        return Err(bad("location: no xname is given"));
    }
    let mut wanted = BTreeSet::new();
    for (index, place) in location.iter().enumerate() {
        let own = xname(&place.xname);
        wanted.insert(own.map_err(|problem| bad(&format!("location[{index}]: {}", problem.detail)))?);
    }
    let snapshot = pcs.api.context.snapshot.load();
    let known = Known::of(&snapshot, wanted.len());
    let tasks = wanted.into_iter().map(|own| (own.clone(), known.has(&own))).collect();
    let id = random_uuid()?.to_string();
    let body = json!({"transitionID": id, "operation": operation});
    pcs.transitions.add(Transition { id, operation, created: now(), tasks });
    Ok(go::answer(StatusCode::OK, &body))
}

fn operation_of(text: &str) -> Result<&'static str, Problem> {
    let text = text.trim().to_ascii_lowercase();
    let text = if text == "reinit" { "init" } else { text.as_str() };
    OPERATIONS
        .into_iter()
        .find(|known| *known == text)
        .ok_or_else(|| bad(&format!("operation: {text:?} is none of {}", OPERATIONS.join(", "))))
}

/// Which components are there. Listing all costs as much as finding a few dozen one by one.
struct Known<'a> {
    snapshot: &'a Snapshot,
    all: Option<BTreeSet<Xname>>,
}

const FOUND_ONE_BY_ONE_MAX: usize = 8;

impl<'a> Known<'a> {
    fn of(snapshot: &'a Snapshot, count: usize) -> Known<'a> {
        let all = || component::all(&snapshot.inventory).into_keys().collect();
        Known { snapshot, all: (count > FOUND_ONE_BY_ONE_MAX).then(all) }
    }

    fn has(&self, xname: &Xname) -> bool {
        match &self.all {
            Some(all) => all.contains(xname),
            None => component::one(self.snapshot, xname).is_some(),
        }
    }
}

async fn list(State(pcs): State<Pcs>) -> Response {
    let all: Vec<Arc<Transition>> = pcs.transitions.fresh().iter().cloned().collect();
    let bodies: Vec<Value> = all.iter().map(|transition| transition.body()).collect();
    go::answer(StatusCode::OK, &json!({"transitions": bodies}))
}

async fn show(State(pcs): State<Pcs>, Path(id): Path<String>) -> Result<Response, Problem> {
    let transition = pcs.transitions.find(&id)?;
    let mut body = transition.body();
    if let Some(fields) = body.as_object_mut() {
        fields.insert("tasks".to_owned(), transition.tasks().into());
    }
    Ok(go::answer(StatusCode::OK, &body))
}

/// `DELETE /transitions/{id}`: there is never anything left to abort, and the answer says so.
async fn abort(State(pcs): State<Pcs>, Path(id): Path<String>) -> Result<Response, Problem> {
    let _found = pcs.transitions.find(&id)?;
    let body = json!({"abortStatus": "the transition is completed already; nothing was aborted"});
    Ok(go::answer(StatusCode::ACCEPTED, &body))
}

async fn power_status(State(pcs): State<Pcs>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    status_of(&pcs, &Query::parse(raw.as_deref()))
}

async fn power_status_of(State(pcs): State<Pcs>, bytes: Bytes) -> Result<Response, Problem> {
    let body: serde_json::Map<String, Value> =
        go::decode(&bytes, &[]).map_err(|problem| bad(&problem.detail))?;
    status_of(&pcs, &Query::of_json(&body))
}

fn status_of(pcs: &Pcs, query: &Query) -> Result<Response, Problem> {
    let state = filter(query, "powerStateFilter", &["on", "off", "undefined"])?;
    let management = filter(query, "managementStateFilter", &["available", "unavailable"])?;
    let snapshot = pcs.api.context.snapshot.load();
    let texts = query.all("xname").iter().flat_map(|value| value.split(','));
    let texts: Vec<&str> = texts.filter(|text| !text.trim().is_empty()).collect();
    let mut wanted = BTreeSet::new();
    for text in &texts {
        wanted.insert(xname(text).map_err(|problem| bad(&problem.detail))?);
    }
    let known = Known::of(&snapshot, if texts.is_empty() { usize::MAX } else { wanted.len() });
    if texts.is_empty() {
        wanted.extend(known.all.iter().flatten().filter(|own| has_power(own)).cloned());
    }
    let shown = state.is_none_or(|state| state == "undefined")
        && management.is_none_or(|management| management == "unavailable");
    let asked = now().rfc3339();
    let entry = |own: &Xname| {
        json!({
            "xname": own.as_str(),
            "powerState": "undefined",
            "managementState": "unavailable",
            "error": if known.has(own) { NO_DRIVER } else { NOT_FOUND },
            "supportedPowerTransitions": [],
            "lastUpdated": asked,
        })
    };
    let list: Vec<Value> = wanted.iter().filter(|_| shown).map(entry).collect();
    Ok(go::answer(StatusCode::OK, &json!({"status": list})))
}

/// The kinds of hardware whose power is asked about when nothing is named.
fn has_power(xname: &Xname) -> bool {
    matches!(
        xname.kind(),
        Some(
            "Node"
                | "NodeBMC"
                | "ComputeModule"
                | "RouterModule"
                | "RouterBMC"
                | "Chassis"
                | "ChassisBMC"
                | "CabinetPDUOutlet"
                | "CabinetPDUPowerConnector"
        )
    )
}

fn filter(query: &Query, key: &str, words: &[&'static str]) -> Result<Option<&'static str>, Problem> {
    let Some(text) = query.first(&key.to_ascii_lowercase()).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let known = words.iter().find(|word| word.eq_ignore_ascii_case(text));
    known.copied().map(Some).ok_or_else(|| bad(&format!("{key}: {text:?} is none of {}", words.join(", "))))
}

fn bad(why: &str) -> Problem {
    Problem::bad_request(why)
}
