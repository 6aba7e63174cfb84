//! `/Subscriptions/SCN`: who wants to be told of which state changes. What is told is in `notify`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::{self, Draft};
use crate::api::openchami::go;
use crate::api::openchami::smd::{plan, values};
use crate::api::problem::Problem;
use crate::base::limits::SUBSCRIPTIONS_MAX;
use crate::model::Inventory;
use crate::transport::webhook::Target;

/// Where subscriptions live, by their number.
pub(crate) const SHELF: &str = "smd.subscription";

/// Where the last number given is kept: none is given twice, or a late client would change another's.
const COUNTER_SHELF: &str = "smd.counter";
const COUNTER: &str = "subscription";

const KEYS: [&str; 10] = [
    "ID",
    "Subscriber",
    "Enabled",
    "Roles",
    "SubRoles",
    "SoftwareStatus",
    "States",
    "Url",
    "Op",
    "SubscriptionList",
];

pub(crate) fn routes() -> Router<OpenChami> {
    Router::new()
        .route("/Subscriptions/SCN", get(list).post(create).delete(remove_all))
        .route("/Subscriptions/SCN/{id}", get(show).put(put).patch(patch).delete(remove))
}

/// What a subscriber wants to hear of. A change is told if it leads to one of the words; of `Enabled`, if it
/// changes at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Triggers {
    #[serde(rename = "Enabled", skip_serializing_if = "Option::is_none")]
    pub(crate) enabled: Option<bool>,
    #[serde(rename = "Roles", skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<String>,
    #[serde(rename = "SubRoles", skip_serializing_if = "Vec::is_empty")]
    pub(crate) sub_roles: Vec<String>,
    #[serde(rename = "SoftwareStatus", skip_serializing_if = "Vec::is_empty")]
    pub(crate) software_status: Vec<String>,
    #[serde(rename = "States", skip_serializing_if = "Vec::is_empty")]
    pub(crate) states: Vec<String>,
}

impl Triggers {
    /// The same in canonical spelling.
    fn check(&self, inventory: &Inventory) -> Result<Triggers, Problem> {
        let words = |field: &str, known: &[&'static str], list: &[String]| {
            list.iter().map(|word| values::known(field, known, word)).collect::<Result<Vec<_>, _>>()
        };
        if self.software_status.iter().any(String::is_empty) {
            return Err(Problem::bad_request("SoftwareStatus can not be an empty string"));
        }
        let roles = self.roles.iter().map(|role| values::role(inventory, role));
        let checked = Triggers {
            enabled: self.enabled,
            roles: roles.collect::<Result<_, _>>()?,
            sub_roles: words("SubRoles", &values::SUB_ROLES, &self.sub_roles)?,
            software_status: self.software_status.clone(),
            states: words("States", &values::STATES, &self.states)?,
        };
        if checked.is_empty() {
            return Err(Problem::bad_request(
                "Missing trigger. Must subscribe to atleast one Enabled, Role, SubRole, SoftwareStatus, or \
                 State trigger.",
            ));
        }
        Ok(checked)
    }

    fn is_empty(&self) -> bool {
        let lists = [&self.roles, &self.sub_roles, &self.software_status, &self.states];
        self.enabled != Some(true) && lists.iter().all(|list| list.is_empty())
    }

    fn lists_mut(&mut self) -> [&mut Vec<String>; 4] {
        [&mut self.roles, &mut self.sub_roles, &mut self.software_status, &mut self.states]
    }

    fn patch(&mut self, operation: Operation, mut other: Triggers) {
        for (own, given) in self.lists_mut().into_iter().zip(other.lists_mut()) {
            match operation {
                Operation::Add => {
                    let fresh: Vec<String> = given.drain(..).filter(|word| !own.contains(word)).collect();
                    own.extend(fresh);
                }
                Operation::Remove => own.retain(|word| !given.contains(word)),
                Operation::Replace if given.is_empty() => {}
                Operation::Replace => *own = std::mem::take(given),
            }
        }
        match (operation, other.enabled) {
            (Operation::Add, Some(true)) => self.enabled = Some(true),
            (Operation::Remove, Some(true)) => self.enabled = Some(false),
            (Operation::Replace, Some(enabled)) => self.enabled = Some(enabled),
            (Operation::Add | Operation::Remove, Some(false)) | (_, None) => {}
        }
    }
}

/// A subscription. Field for field SMD's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Subscription {
    #[serde(rename = "ID")]
    id: u64,
    #[serde(rename = "Subscriber")]
    subscriber: String,
    #[serde(flatten)]
    pub(crate) triggers: Triggers,
    #[serde(rename = "Url")]
    url: String,
}

impl Subscription {
    /// Where its notifications go.
    pub(crate) fn target(&self) -> Option<Target> {
        self.url.parse().ok()
    }

    fn check(&self, inventory: &Inventory) -> Result<Subscription, Problem> {
        if self.subscriber.is_empty() {
            return Err(Problem::bad_request("Missing name of subscriber"));
        }
        if self.url.is_empty() {
            return Err(Problem::bad_request("Missing url"));
        }
        if let Err(error) = self.url.parse::<Target>() {
            return Err(Problem::bad_request(format!("Invalid url: {error}")));
        }
        Ok(Subscription { triggers: self.triggers.check(inventory)?, ..self.clone() })
    }
}

/// All subscriptions, in the order of their numbers.
pub(crate) fn all(inventory: &Inventory) -> Vec<Subscription> {
    let mut all: Vec<Subscription> =
        draft::shelf(inventory, SHELF).into_iter().map(|(_, subscription)| subscription).collect();
    all.sort_by_key(|subscription| subscription.id);
    all
}

fn number(text: &str) -> Result<u64, Problem> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Problem::bad_request(format!("Invalid id - {text}")))
}

fn missing() -> Problem {
    Problem::not_found("Subscription not found")
}

fn find(draft: &Draft<'_>, number: u64) -> Result<Subscription, Problem> {
    draft.document(SHELF, &number.to_string()).ok_or_else(missing)
}

async fn list(State(api): State<OpenChami>) -> Response {
    let all = all(&api.context.snapshot.load().inventory);
    go::answer(StatusCode::OK, &json!({ "SubscriptionList": all }))
}

async fn show(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    Ok(go::answer(StatusCode::OK, &find(&Draft::new(&snapshot), number(&id)?)?))
}

/// `POST /Subscriptions/SCN`: always a new one, as SMD does.
async fn create(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let posted: Subscription = go::decode(&bytes, &KEYS)?;
    let (made, _) = plan(&api, |draft| {
        if draft.next.shelf(SHELF).count() >= SUBSCRIPTIONS_MAX {
            return Err(Problem::conflict(format!("there are {SUBSCRIPTIONS_MAX} subscriptions already")));
        }
        let last: u64 = draft.document(COUNTER_SHELF, COUNTER).unwrap_or_default();
        let id = last.saturating_add(1);
        let made = Subscription { id, ..posted.check(&draft.next)? };
        draft.put_document(COUNTER_SHELF, COUNTER, &id);
        draft.put_document(SHELF, &id.to_string(), &made);
        Ok(made)
    })
    .await?;
    Ok(go::answer(StatusCode::OK, &made))
}

/// `PUT /Subscriptions/SCN/{id}`: another content for the same number.
async fn put(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let id = number(&id)?;
    let posted: Subscription = go::decode(&bytes, &KEYS)?;
    plan(&api, |draft| {
        find(draft, id)?;
        let changed = Subscription { id, ..posted.check(&draft.next)? };
        draft.put_document(SHELF, &id.to_string(), &changed);
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Remove,
    Replace,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Patch {
    #[serde(rename = "Op")]
    operation: String,
    #[serde(flatten)]
    triggers: Triggers,
}

/// `PATCH /Subscriptions/SCN/{id}`: triggers more, fewer, or others.
async fn patch(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let id = number(&id)?;
    let posted: Patch = go::decode(&bytes, &KEYS)?;
    let operation = match posted.operation.to_ascii_lowercase().as_str() {
        "" => return Err(Problem::bad_request("Missing Patch Op")),
        "add" => Operation::Add,
        "remove" => Operation::Remove,
        "replace" => Operation::Replace,
        _ => return Err(Problem::bad_request(format!("Invalid Patch Op - {}", posted.operation))),
    };
    plan(&api, |draft| {
        let mut found = find(draft, id)?;
        found.triggers.patch(operation, posted.triggers.check(&draft.next)?);
        draft.put_document(SHELF, &id.to_string(), &found);
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn remove(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id = number(&id)?.to_string();
    plan(&api, |draft| if draft.remove_document(SHELF, &id) { Ok(()) } else { Err(missing()) }).await?;
    Ok(go::message("Subscription deleted"))
}

async fn remove_all(State(api): State<OpenChami>) -> Result<Response, Problem> {
    let (count, _) = plan(&api, |draft| Ok(draft.clear_shelf(SHELF))).await?;
    Ok(go::message(&format!("{count} Subscriptions deleted")))
}

#[cfg(test)]
mod tests {
    use crate::api::openchami::smd::subscriptions::{Operation, Triggers};

    fn triggers(enabled: Option<bool>, states: &[&str]) -> Triggers {
        let states = states.iter().map(|state| (*state).to_owned()).collect();
        Triggers { enabled, states, ..Triggers::default() }
    }

    #[test]
    fn patches_add_remove_and_replace() {
        for (operation, given, wanted) in [
            (
                Operation::Add,
                triggers(Some(true), &["On", "Off"]),
                triggers(Some(true), &["On", "Ready", "Off"]),
            ),
            (Operation::Add, triggers(Some(false), &["On"]), triggers(Some(false), &["On", "Ready"])),
            (Operation::Remove, triggers(None, &["On", "Off"]), triggers(Some(false), &["Ready"])),
            (Operation::Remove, triggers(Some(true), &[]), triggers(Some(false), &["On", "Ready"])),
            (Operation::Replace, triggers(Some(true), &["Off"]), triggers(Some(true), &["Off"])),
            (Operation::Replace, triggers(Some(true), &[]), triggers(Some(true), &["On", "Ready"])),
        ] {
            let mut found = triggers(Some(false), &["On", "Ready"]);
            found.patch(operation, given);
            assert_eq!(found, wanted);
        }
    }
}
