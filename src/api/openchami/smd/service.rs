//! `/service`: whether SMD works, and the words that it knows.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};

use crate::api::context::Context;
use crate::api::openchami::OpenChami;
use crate::api::openchami::go;
use crate::api::openchami::smd::values;
use crate::api::problem::Problem;
use crate::base::xname::kind::kinds;
use crate::model::Inventory;

/// How long the store may think before it counts as broken: its slowest commit takes a tenth of this.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// What `/service/values` lists, in the order of SMD's.
const LISTS: [&str; 8] = ["Arch", "Class", "Flag", "NetType", "Role", "SubRole", "State", "Type"];

pub(crate) fn routes() -> Router<OpenChami> {
    Router::new()
        .route("/service/ready", get(ready))
        .route("/service/liveness", get(liveness))
        .route("/service/values", get(all))
        .route("/service/values/{kind}", get(one))
}

/// `GET /service/ready`: public. Ready is who can take a change and show it.
async fn ready(State(api): State<OpenChami>) -> Result<Response, Problem> {
    match works(&api.context).await {
        Ok(()) => Ok(go::message("HSM is healthy")),
        Err(reason) => {
            tracing::warn!(reason, "asked for readiness, and not ready");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("HSM is not healthy: {reason}")))
        }
    }
}

/// Sends an empty job through the writer, and sees that what is declared has become the snapshot.
async fn works(context: &Context) -> Result<(), &'static str> {
    let (declared, _) = context.store.declared().borrow().clone();
    let answer = context.store.observe(Vec::new()).map_err(|_| "the store takes nothing")?;
    match tokio::time::timeout(STORE_PATIENCE, answer).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(_)) | Err(_)) => return Err("the store has failed"),
        Err(_) => return Err("the store does not answer"),
    }
    let mut published = context.published.clone();
    match tokio::time::timeout(STORE_PATIENCE, published.wait_for(|revision| *revision >= declared)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) => Err("changes are no longer published"),
        Err(_) => Err("a change is stored, but not yet in use"),
    }
}

/// `GET /service/liveness`: public. Who answers, lives.
async fn liveness() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// `GET /service/values`: public.
async fn all(State(api): State<OpenChami>) -> Response {
    let inventory = &api.context.snapshot.load().inventory;
    let lists: Map<String, Value> =
        LISTS.iter().map(|name| ((*name).to_owned(), json!(words(name, inventory)))).collect();
    go::answer(StatusCode::OK, &lists)
}

/// `GET /service/values/{kind}`: public.
async fn one(State(api): State<OpenChami>, Path(kind): Path<String>) -> Result<Response, Problem> {
    let name = values::find(&LISTS, &kind)
        .ok_or_else(|| Problem::not_found(format!("there is no list of values called {kind:?}")))?;
    let inventory = &api.context.snapshot.load().inventory;
    Ok(go::answer(StatusCode::OK, &json!({ name: words(name, inventory) })))
}

/// The words of a list; to the roles belong those that the site has made up.
fn words(list: &str, inventory: &Inventory) -> Vec<String> {
    let fixed: Vec<&str> = match list {
        "Arch" => values::ARCHS.to_vec(),
        "Class" => values::CLASSES.to_vec(),
        "Flag" => values::FLAGS.to_vec(),
        "NetType" => values::NET_TYPES.to_vec(),
        "Role" => values::ROLES.to_vec(),
        "SubRole" => values::SUB_ROLES.to_vec(),
        "State" => values::STATES.to_vec(),
        _ => kinds().collect(),
    };
    let mut words: Vec<String> = fixed.into_iter().map(str::to_owned).collect();
    if list == "Role" {
        let roles: BTreeSet<&String> =
            inventory.nodes.values().filter_map(|node| node.role.as_ref()).collect();
        let own = roles.into_iter().filter(|role| values::find(&values::ROLES, role).is_none());
        words.extend(own.cloned());
    }
    words
}
