//! What lies below Redfish endpoints: `/Inventory/ComponentEndpoints`, `/Inventory/ServiceEndpoints`, and
//! `/Inventory/Discover`. We do not query BMCs over Redfish; discovery tools do, and post what they found.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::{self, Draft};
use crate::api::openchami::go;
use crate::api::openchami::query::Query;
use crate::api::openchami::smd::components::missing;
use crate::api::openchami::smd::endpoint::{self, CHILDREN, Child};
use crate::api::openchami::smd::filter::normalise;
use crate::api::openchami::smd::payload::KEYS;
use crate::api::openchami::smd::port::NEVER;
use crate::api::openchami::smd::{partitions, plan, values, xname};
use crate::api::problem::Problem;
use crate::base::Xname;
use crate::transport::clock::now;

const STATUS_PATH: &str = "/hsm/v2/Inventory/DiscoveryStatus/0";

/// Where the last discovery is kept.
const DISCOVERY: &str = "smd.discovery";

/// The only discovery that there is; SMD keeps one, too.
const ONLY: &str = "0";

/// `GET /Inventory/ComponentEndpoints`.
pub(crate) async fn list(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let mut query = Query::parse(raw.as_deref());
    ["id", "redfish_ep"].iter().for_each(|key| normalise(&mut query, key));
    values::check_filter(&query, &snapshot.inventory)?;
    let within: Option<BTreeSet<String>> = query.has("partition").then(|| {
        let names = query.all("partition").iter();
        names.flat_map(|name| partitions::members_of(&snapshot.inventory, name)).collect()
    });
    let admits = |child: &Child| {
        let fields = [
            ("id", &child.id),
            ("redfish_ep", &child.endpoint),
            ("type", &child.kind),
            ("redfish_type", &child.redfish_type),
        ];
        fields.iter().all(|(key, value)| query.admits(key, value))
            && within.as_ref().is_none_or(|within| within.contains(&child.id))
    };
    let found: Vec<Child> = endpoint::children(&snapshot.inventory).into_values().filter(admits).collect();
    Ok(go::answer(StatusCode::OK, &json!({"ComponentEndpoints": found})))
}

pub(crate) async fn show(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let own = xname(&id)?;
    let snapshot = api.context.snapshot.load();
    let found =
        snapshot.inventory.document(CHILDREN, own.as_str()).and_then(|found| draft::read::<Child>(found));
    Ok(go::answer(StatusCode::OK, &found.ok_or_else(missing)?))
}

pub(crate) async fn remove(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let own = xname(&id)?;
    plan(&api, |draft| {
        if !draft.remove_document(CHILDREN, own.as_str()) {
            return Err(missing());
        }
        endpoint::empty(draft, &own)
    })
    .await?;
    go::deleted(1)
}

pub(crate) async fn remove_all(State(api): State<OpenChami>) -> Result<Response, Problem> {
    let steps = |draft: &mut Draft<'_>| {
        let all: Vec<Xname> = endpoint::children(&draft.next).into_keys().collect();
        all.iter().try_for_each(|own| endpoint::empty(draft, own))?;
        Ok(draft.clear_shelf(CHILDREN))
    };
    let (count, _) = plan(&api, steps).await?;
    go::deleted(count)
}

/// `GET /Inventory/ServiceEndpoints[/{service}]`. Only SMD's own crawler, which we have not, ever found any: no
/// body of any client brings one.
pub(crate) async fn services() -> Response {
    go::answer(StatusCode::OK, &json!({"ServiceEndpoints": []}))
}

pub(crate) async fn remove_services() -> Result<Response, Problem> {
    go::deleted(0)
}

/// `/Inventory/ServiceEndpoints/{service}/RedfishEndpoints/{xname}`.
pub(crate) async fn no_service(Path((service, id)): Path<(String, String)>) -> Result<Response, Problem> {
    let own = xname(&id)?;
    Err(Problem::not_found(format!("no such service under redfish endpoint: {service} of {own}")))
}

/// A discovery as SMD shows it.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Status {
    #[serde(rename = "ID")]
    id: u32,
    #[serde(rename = "Status")]
    status: String,
    #[serde(rename = "LastUpdateTime")]
    updated: String,
    #[serde(rename = "Details", skip_serializing_if = "Option::is_none")]
    details: Option<serde_json::Value>,
}

/// `POST /Inventory/Discover`: complete at once, as everything that will be known is known already. Clients that
/// wait for the end of a discovery see it, and the endpoints themselves go on saying that nobody queried them.
pub(crate) async fn discover(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Asked {
        xnames: Vec<String>,
    }
    let asked: Asked = if bytes.is_empty() { Asked::default() } else { go::decode(&bytes, &KEYS)? };
    let names: Vec<Xname> = asked.xnames.iter().map(|id| xname(id)).collect::<Result<_, _>>()?;
    plan(&api, |draft| {
        let known = endpoint::all(&draft.next);
        if let Some(unknown) = names.iter().find(|name| !known.contains_key(*name)) {
            return Err(Problem::not_found(format!("no such xname: {unknown} is no Redfish endpoint")));
        }
        let count = if names.is_empty() { known.len() } else { names.len() };
        let details = json!({
            "Message": "endpoints are not queried from here; discovery tools post what they find",
            "RedfishEndpoints": count,
        });
        let (status, updated) = ("Complete".to_owned(), now().rfc3339());
        draft.put_document(DISCOVERY, ONLY, &Status { id: 0, status, updated, details: Some(details) });
        Ok(())
    })
    .await?;
    Ok(go::answer(StatusCode::OK, &json!([{"URI": STATUS_PATH}])))
}

fn status(api: &OpenChami) -> Status {
    let snapshot = api.context.snapshot.load();
    let last = snapshot.inventory.document(DISCOVERY, ONLY).and_then(|last| draft::read(last));
    last.unwrap_or_else(|| Status {
        id: 0,
        status: "NotStarted".to_owned(),
        updated: NEVER.to_owned(),
        details: None,
    })
}

pub(crate) async fn discoveries(State(api): State<OpenChami>) -> Response {
    go::answer(StatusCode::OK, &[status(&api)])
}

pub(crate) async fn discovery(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    match id.parse::<u32>() {
        Ok(0) => Ok(go::answer(StatusCode::OK, &status(&api))),
        Ok(_) => Err(Problem::not_found("no such discovery status ID.")),
        Err(_) => Err(Problem::bad_request(format!("invalid discovery status ID: {id:?}"))),
    }
}
