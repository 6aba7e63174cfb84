//! Locks of components. A lock keeps services away: a locked component can be reserved by hand only, an unlocked
//! one by services only, one whose reservations are disabled by nobody until it is repaired. The rules are those
//! of Cray's HSM (`hmsds-postgres.go`, 2023).

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::Draft;
use crate::api::openchami::go;
use crate::api::openchami::query::Query;
use crate::api::openchami::smd::component::{self, Component};
use crate::api::openchami::smd::filter::Filter;
use crate::api::openchami::smd::reservations::{self, Reservation};
use crate::api::openchami::smd::{plan, xname};
use crate::api::problem::Problem;
use crate::base::Xname;
use crate::model::Inventory;
use crate::transport::clock::now;

/// Keys of bodies below `/locks`.
pub(crate) const KEYS: [&str; 7] =
    ["ComponentIDs", "ProcessingModel", "ReservationDuration", "ReservationKeys", "DeputyKeys", "ID", "Key"];

/// Filters that choose components, beside their names.
const FILTERS: [&str; 16] = [
    "nid",
    "type",
    "state",
    "flag",
    "enabled",
    "softwarestatus",
    "role",
    "subrole",
    "subtype",
    "arch",
    "class",
    "group",
    "partition",
    "locked",
    "reserved",
    "reservationdisabled",
];

pub(crate) fn routes() -> Router<OpenChami> {
    Router::new()
        .route("/locks/lock", post(lock))
        .route("/locks/unlock", post(unlock))
        .route("/locks/repair", post(repair))
        .route("/locks/disable", post(disable))
        .route("/locks/status", get(status).post(status_of))
        .merge(reservations::routes())
}

/// The components that somebody has reserved.
pub(crate) fn reserved(inventory: &Inventory) -> BTreeSet<String> {
    reservations::live(inventory, now()).into_keys().map(|xname| xname.to_string()).collect()
}

/// Whether one component that cannot be changed stops the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Model {
    /// All or nothing.
    Rigid,
    /// What can be changed is changed.
    Flexible,
}

impl Model {
    pub(crate) fn parse(text: &str) -> Result<Model, Problem> {
        match text.to_ascii_lowercase().as_str() {
            "" | "rigid" => Ok(Model::Rigid),
            "flexible" => Ok(Model::Flexible),
            _ => Err(Problem::bad_request(format!("Invalid Processing Model: {text:?}"))),
        }
    }
}

/// Why a component is left as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reason {
    NotFound,
    Locked,
    Unlocked,
    Disabled,
    Reserved,
}

impl Reason {
    fn word(self) -> &'static str {
        match self {
            Reason::NotFound => "NotFound",
            Reason::Locked => "Locked",
            Reason::Unlocked => "Unlocked",
            Reason::Disabled => "Disabled",
            Reason::Reserved => "Reserved",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Reason::NotFound => "Component not found",
            Reason::Locked => "Component is Locked",
            Reason::Unlocked => "Component is Unlocked",
            Reason::Disabled => "Component reservations are disabled",
            Reason::Reserved => "Component is Reserved",
        }
    }
}

/// One component that is left as it is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Reason")]
    reason: &'static str,
}

/// What became of the components of one request.
pub(crate) struct Tally {
    model: Model,
    pub(crate) done: Vec<String>,
    pub(crate) failures: Vec<Failure>,
}

impl Tally {
    pub(crate) fn new(model: Model) -> Tally {
        Tally { model, done: Vec::new(), failures: Vec::new() }
    }

    /// Notes that a component is left as it is.
    ///
    /// # Errors
    /// The request wants all or nothing.
    pub(crate) fn fail(&mut self, id: &str, reason: Reason) -> Result<(), Problem> {
        match self.model {
            Model::Rigid => Err(Problem::bad_request(format!("{}: {id}", reason.sentence()))),
            Model::Flexible => {
                self.failures.push(Failure { id: id.to_owned(), reason: reason.word() });
                Ok(())
            }
        }
    }

    pub(crate) fn answer(&self) -> Response {
        let (success, failure) = (self.done.len(), self.failures.len());
        let counts = json!({"Total": success + failure, "Success": success, "Failure": failure});
        let body =
            json!({"Counts": counts, "Success": {"ComponentIDs": self.done}, "Failure": self.failures});
        go::answer(StatusCode::OK, &body)
    }
}

/// Which components a body means: by name, by filters, or by name those that pass the filters.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Choice {
    #[serde(rename = "ComponentIDs")]
    ids: Vec<String>,
    #[serde(rename = "ProcessingModel")]
    model: String,
    #[serde(rename = "ReservationDuration")]
    pub(crate) minutes: i64,
    #[serde(flatten)]
    filters: Map<String, Value>,
}

/// The components of a choice.
pub(crate) struct Chosen {
    pub(crate) found: BTreeMap<Xname, Component>,
    /// Names that no component bears.
    missing: Vec<Xname>,
}

impl Choice {
    pub(crate) fn decode(bytes: &Bytes) -> Result<Choice, Problem> {
        go::decode(bytes, &KEYS)
    }

    pub(crate) fn model(&self) -> Result<Model, Problem> {
        Model::parse(&self.model)
    }

    fn names(&self) -> Result<BTreeSet<Xname>, Problem> {
        self.ids.iter().map(|id| xname(id)).collect()
    }

    /// The components that are meant, for a change. SMD takes an empty choice for every component there is; we
    /// ask to say so (`"Type": [...]`), because nobody locks a whole site by leaving out a field on purpose.
    pub(crate) fn choose(&self, draft: &Draft<'_>, tally: &mut Tally) -> Result<Chosen, Problem> {
        let query = Query::of_json(&self.filters);
        if self.ids.is_empty() && !FILTERS.iter().any(|key| query.has(key)) {
            return Err(Problem::bad_request("Missing ComponentIDs or a filter such as Type, Role or Group"));
        }
        let chosen = self.select(draft, query)?;
        if chosen.found.is_empty() {
            return Err(Problem::bad_request(Reason::NotFound.sentence()));
        }
        for xname in &chosen.missing {
            tally.fail(xname.as_str(), Reason::NotFound)?;
        }
        Ok(chosen)
    }

    fn select(&self, draft: &Draft<'_>, query: Query) -> Result<Chosen, Problem> {
        let names = self.names()?;
        let filter = Filter::new(query, &draft.next)?;
        if names.is_empty() {
            let all = component::all(&draft.next).into_iter();
            let found = all.filter(|(_, component)| filter.admits(component)).collect();
            return Ok(Chosen { found, missing: Vec::new() });
        }
        let mut chosen = Chosen { found: BTreeMap::new(), missing: Vec::new() };
        for xname in names {
            match component::find(draft, &xname) {
                None => chosen.missing.push(xname),
                Some(component) if filter.admits(&component) => {
                    chosen.found.insert(xname, component);
                }
                Some(_) => {}
            }
        }
        Ok(chosen)
    }
}

/// What may be done to the lock of a component.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Act {
    Lock,
    Unlock,
    Repair,
    Disable,
}

/// What stands against an act. A reserved component keeps its lock as it is until the reservation is gone.
fn obstacle(act: Act, component: &Component, is_reserved: bool) -> Option<Reason> {
    match act {
        Act::Repair | Act::Disable => None,
        Act::Lock if component.locked => Some(Reason::Locked),
        Act::Unlock if !component.locked => Some(Reason::Unlocked),
        Act::Lock | Act::Unlock if component.reservation_disabled => Some(Reason::Disabled),
        Act::Lock | Act::Unlock => is_reserved.then_some(Reason::Reserved),
    }
}

async fn lock(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    carry_out(&api, &bytes, Act::Lock).await
}

async fn unlock(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    carry_out(&api, &bytes, Act::Unlock).await
}

async fn repair(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    carry_out(&api, &bytes, Act::Repair).await
}

async fn disable(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    carry_out(&api, &bytes, Act::Disable).await
}

async fn carry_out(api: &OpenChami, bytes: &Bytes, act: Act) -> Result<Response, Problem> {
    let choice = Choice::decode(bytes)?;
    let model = choice.model()?;
    let (tally, _) = plan(api, |draft| {
        let mut tally = Tally::new(model);
        let chosen = choice.choose(draft, &mut tally)?;
        let reserved = reservations::live(&draft.next, now());
        for (xname, old) in chosen.found {
            if let Some(reason) = obstacle(act, &old, reserved.contains_key(&xname)) {
                tally.fail(xname.as_str(), reason)?;
                continue;
            }
            tally.done.push(xname.to_string());
            let mut new = old.clone();
            match act {
                Act::Lock => new.locked = true,
                Act::Unlock => new.locked = false,
                Act::Repair => new.reservation_disabled = false,
                Act::Disable => {
                    new.reservation_disabled = true;
                    reservations::end(draft, &xname);
                }
            }
            if new != old {
                component::put(draft, &xname, &new)?;
            }
        }
        Ok(tally)
    })
    .await?;
    Ok(tally.answer())
}

#[derive(Serialize)]
struct Status {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Locked")]
    locked: bool,
    #[serde(rename = "Reserved")]
    reserved: bool,
    #[serde(rename = "CreationTime", skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(rename = "ExpirationTime", skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(rename = "ReservationDisabled")]
    reservation_disabled: bool,
}

impl Status {
    fn new(component: &Component, reservation: Option<&Reservation>) -> Status {
        Status {
            id: component.id.clone(),
            locked: component.locked,
            reserved: reservation.is_some(),
            created: reservation.map(Reservation::created),
            expires: reservation.and_then(Reservation::expires),
            reservation_disabled: component.reservation_disabled,
        }
    }
}

/// `GET /locks/status`, with filters in the query.
async fn status(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    report(&api, &Choice::default(), Query::parse(raw.as_deref()))
}

/// `POST /locks/status`, with names and filters in the body.
async fn status_of(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let choice = Choice::decode(&bytes)?;
    choice.model()?;
    let query = Query::of_json(&choice.filters);
    report(&api, &choice, query)
}

fn report(api: &OpenChami, choice: &Choice, query: Query) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let chosen = choice.select(&Draft::new(&snapshot), query)?;
    if chosen.found.is_empty() {
        return Err(Problem::bad_request(Reason::NotFound.sentence()));
    }
    let reserved = reservations::live(&snapshot.inventory, now());
    let list: Vec<Status> =
        chosen.found.iter().map(|(xname, one)| Status::new(one, reserved.get(xname))).collect();
    let unseen: Vec<Xname> =
        choice.names()?.into_iter().filter(|xname| !chosen.found.contains_key(xname)).collect();
    let mut body = json!({ "Components": list });
    if !unseen.is_empty() {
        body["NotFound"] = unseen.iter().map(Xname::as_str).collect();
    }
    Ok(go::answer(StatusCode::OK, &body))
}

#[cfg(test)]
mod tests {
    use crate::api::openchami::smd::component::Component;
    use crate::api::openchami::smd::locks::{Act, Reason, obstacle};

    #[test]
    fn a_lock_changes_only_what_is_free_and_repaired() {
        // Locked, disabled, reserved; what stands against locking and unlocking.
        let table = [
            ((false, false, false), None, Some(Reason::Unlocked)),
            ((false, false, true), Some(Reason::Reserved), Some(Reason::Unlocked)),
            ((false, true, false), Some(Reason::Disabled), Some(Reason::Unlocked)),
            ((false, true, true), Some(Reason::Disabled), Some(Reason::Unlocked)),
            ((true, false, false), Some(Reason::Locked), None),
            ((true, false, true), Some(Reason::Locked), Some(Reason::Reserved)),
            ((true, true, false), Some(Reason::Locked), Some(Reason::Disabled)),
            ((true, true, true), Some(Reason::Locked), Some(Reason::Disabled)),
        ];
        for ((locked, reservation_disabled, is_reserved), to_lock, to_unlock) in table {
            let component = Component { locked, reservation_disabled, ..Component::default() };
            assert_eq!(obstacle(Act::Lock, &component, is_reserved), to_lock, "{component:?}");
            assert_eq!(obstacle(Act::Unlock, &component, is_reserved), to_unlock, "{component:?}");
            assert_eq!(obstacle(Act::Repair, &component, is_reserved), None);
            assert_eq!(obstacle(Act::Disable, &component, is_reserved), None);
        }
    }
}
