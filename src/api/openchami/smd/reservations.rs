//! Reservations of components: one holder at a time. By hand, of a locked component, until it is released; by a
//! service, of an unlocked one, for some minutes. The holder has the reservation key, which renews and releases;
//! its deputies have the deputy key, which only proves that the reservation stands.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::openchami::draft::{self, Draft};
use crate::api::openchami::go;
use crate::api::openchami::smd::component::Component;
use crate::api::openchami::smd::locks::{Choice, KEYS, Model, Reason, Tally};
use crate::api::openchami::smd::{plan, xname};
use crate::api::openchami::{OpenChami, random_uuid};
use crate::api::problem::Problem;
use crate::base::{Millis, Timestamp, Xname};
use crate::model::Inventory;
use crate::transport::clock::now;

/// Where reservations live, by the xname of the component. One that has run out lies there until the next
/// reservation is made; nobody sees it.
const SHELF: &str = "smd.reservation";

/// SMD's bound: longer work renews.
const MINUTES_MAX: i64 = 15;

pub(crate) fn routes() -> Router<OpenChami> {
    Router::new()
        .route("/locks/reservations", post(reserve))
        .route("/locks/reservations/release", post(release))
        .route("/locks/reservations/remove", post(remove))
        .route("/locks/service/reservations", post(reserve_for_service))
        .route("/locks/service/reservations/renew", post(renew))
        .route("/locks/service/reservations/release", post(release))
        .route("/locks/service/reservations/check", post(check))
}

/// One reservation, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reservation {
    deputy_key: String,
    reservation_key: String,
    created_ms: u64,
    /// None: until it is released.
    expires_ms: Option<u64>,
}

impl Reservation {
    fn new(xname: &Xname, created: Timestamp, life: Option<Millis>) -> Result<Reservation, Problem> {
        Ok(Reservation {
            deputy_key: key(xname, "dk")?,
            reservation_key: key(xname, "rk")?,
            created_ms: created.0,
            expires_ms: life.map(|life| (created + life).0),
        })
    }

    fn is_live(&self, now: Timestamp) -> bool {
        self.expires_ms.is_none_or(|expires| now.0 < expires)
    }

    pub(crate) fn created(&self) -> String {
        Timestamp(self.created_ms).rfc3339()
    }

    pub(crate) fn expires(&self) -> Option<String> {
        self.expires_ms.map(|expires| Timestamp(expires).rfc3339())
    }
}

/// A key that nobody guesses, in the form of SMD's: `x1000c0s0b0n0:rk:` and a random UUID.
fn key(xname: &Xname, kind: &str) -> Result<String, Problem> {
    Ok(format!("{xname}:{kind}:{}", random_uuid()?))
}

/// The reservations that stand at this time.
pub(crate) fn live(inventory: &Inventory, now: Timestamp) -> BTreeMap<Xname, Reservation> {
    let all = draft::shelf::<Reservation>(inventory, SHELF).into_iter();
    all.filter(|(_, reservation)| reservation.is_live(now))
        .filter_map(|(id, reservation)| Some((id.parse().ok()?, reservation)))
        .collect()
}

/// Ends the reservation of a component, whoever holds it; false if there is none that stands.
pub(crate) fn end(draft: &mut Draft<'_>, xname: &Xname) -> bool {
    let stood = find(draft, xname).is_some();
    draft.remove_document(SHELF, xname.as_str());
    stood
}

fn find(draft: &Draft<'_>, xname: &Xname) -> Option<Reservation> {
    draft.document::<Reservation>(SHELF, xname.as_str()).filter(|found| found.is_live(now()))
}

async fn reserve(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let choice = Choice::decode(&bytes)?;
    minutes_at_most(choice.minutes)?;
    create(&api, &choice, None).await
}

async fn reserve_for_service(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let choice = Choice::decode(&bytes)?;
    let life = life(choice.minutes)?;
    create(&api, &choice, Some(life)).await
}

fn minutes_at_most(minutes: i64) -> Result<(), Problem> {
    if minutes > MINUTES_MAX {
        let detail = format!("Invalid Reservation Duration: {minutes} minutes, at most {MINUTES_MAX}");
        return Err(Problem::bad_request(detail));
    }
    Ok(())
}

fn life(minutes: i64) -> Result<Millis, Problem> {
    minutes_at_most(minutes)?;
    let minutes = u64::try_from(minutes).ok().filter(|minutes| *minutes > 0);
    let minutes =
        minutes.ok_or_else(|| Problem::bad_request("ReservationDuration must be greater than 0"))?;
    Ok(Millis::from_secs(minutes * 60))
}

/// What stands against a reservation by hand or, with a life, by a service.
fn obstacle(component: &Component, is_reserved: bool, for_service: bool) -> Option<Reason> {
    match (component.reservation_disabled, component.locked, for_service) {
        (true, ..) => Some(Reason::Disabled),
        (false, true, true) => Some(Reason::Locked),
        (false, false, false) => Some(Reason::Unlocked),
        (false, ..) => is_reserved.then_some(Reason::Reserved),
    }
}

/// What a holder gets to know.
#[derive(Serialize)]
struct Grant {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "DeputyKey")]
    deputy_key: String,
    #[serde(rename = "ReservationKey", skip_serializing_if = "Option::is_none")]
    reservation_key: Option<String>,
    #[serde(rename = "CreationTime", skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(rename = "ExpirationTime", skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

async fn create(api: &OpenChami, choice: &Choice, life: Option<Millis>) -> Result<Response, Problem> {
    let model = choice.model()?;
    let (answer, _) = plan(api, |draft| {
        let mut tally = Tally::new(model);
        let chosen = choice.choose(draft, &mut tally)?;
        let now = now();
        sweep(draft, now);
        let mut granted = Vec::new();
        for (xname, component) in &chosen.found {
            let is_reserved = draft.next.document(SHELF, xname.as_str()).is_some();
            if let Some(reason) = obstacle(component, is_reserved, life.is_some()) {
                tally.fail(xname.as_str(), reason)?;
                continue;
            }
            let made = Reservation::new(xname, now, life)?;
            draft.put_document(SHELF, xname.as_str(), &made);
            granted.push(Grant {
                id: xname.to_string(),
                created: None,
                expires: made.expires(),
                deputy_key: made.deputy_key,
                reservation_key: Some(made.reservation_key),
            });
        }
        Ok(json!({"Success": granted, "Failure": tally.failures}))
    })
    .await?;
    Ok(go::answer(StatusCode::OK, &answer))
}

/// Takes away what has run out, so that the shelf never holds more than one reservation per component.
fn sweep(draft: &mut Draft<'_>, now: Timestamp) {
    let all = draft::shelf::<Reservation>(&draft.next, SHELF);
    for (id, _) in all.into_iter().filter(|(_, reservation)| !reservation.is_live(now)) {
        draft.remove_document(SHELF, &id);
    }
}

/// A component and what its client knows about its reservation.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Key {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Key")]
    key: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Keys {
    #[serde(rename = "ReservationKeys")]
    reservation: Vec<Key>,
    #[serde(rename = "DeputyKeys")]
    deputy: Vec<Key>,
    #[serde(rename = "ProcessingModel")]
    model: String,
    #[serde(rename = "ReservationDuration")]
    minutes: i64,
}

/// Keys by component; SMD takes them in any case.
fn by_component(keys: &[Key], none: &str) -> Result<BTreeMap<Xname, String>, Problem> {
    if keys.is_empty() {
        return Err(Problem::bad_request(none));
    }
    keys.iter().map(|one| Ok((xname(&one.id)?, one.key.to_ascii_lowercase()))).collect()
}

/// Compares in a time that tells nothing about the key.
fn fits(given: &str, wanted: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), wanted.as_bytes()).is_ok()
}

async fn release(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let body: Keys = go::decode(&bytes, &KEYS)?;
    minutes_at_most(body.minutes)?;
    with_keys(&api, &body, |draft, xname, _| {
        draft.remove_document(SHELF, xname.as_str());
        true
    })
    .await
}

/// Counts the minutes from now. What stands until it is released has nothing to renew.
async fn renew(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let body: Keys = go::decode(&bytes, &KEYS)?;
    let life = life(body.minutes)?;
    with_keys(&api, &body, |draft, xname, mut held| {
        let renewable = held.expires_ms.is_some();
        if renewable {
            held.expires_ms = Some((now() + life).0);
            draft.put_document(SHELF, xname.as_str(), &held);
        }
        renewable
    })
    .await
}

/// Does something to every reservation whose key is right. A wrong key and no reservation are one answer.
async fn with_keys(
    api: &OpenChami,
    body: &Keys,
    act: impl Fn(&mut Draft<'_>, &Xname, Reservation) -> bool,
) -> Result<Response, Problem> {
    let model = Model::parse(&body.model)?;
    let keys = by_component(&body.reservation, "Reservation Key required for operation")?;
    let (tally, _) = plan(api, |draft| {
        let mut tally = Tally::new(model);
        for (xname, key) in &keys {
            let held = find(draft, xname).filter(|held| fits(key, &held.reservation_key));
            if held.is_some_and(|held| act(draft, xname, held)) {
                tally.done.push(xname.to_string());
            } else {
                tally.fail(xname.as_str(), Reason::NotFound)?;
            }
        }
        Ok(tally)
    })
    .await?;
    Ok(tally.answer())
}

/// Ends reservations without their keys: an administrator's last resort.
async fn remove(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let choice = Choice::decode(&bytes)?;
    let model = choice.model()?;
    let (tally, _) = plan(&api, |draft| {
        let mut tally = Tally::new(model);
        let chosen = choice.choose(draft, &mut tally)?;
        for xname in chosen.found.keys() {
            if end(draft, xname) {
                tally.done.push(xname.to_string());
            } else {
                tally.fail(xname.as_str(), Reason::NotFound)?;
            }
        }
        Ok(tally)
    })
    .await?;
    Ok(tally.answer())
}

/// Tells deputies whether their reservations still stand.
async fn check(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let body: Keys = go::decode(&bytes, &KEYS)?;
    let keys = by_component(&body.deputy, "Deputy Key required for operation")?;
    let live = live(&api.context.snapshot.load().inventory, now());
    let mut tally = Tally::new(Model::Flexible);
    let mut standing = Vec::new();
    for (xname, key) in keys {
        match live.get(&xname).filter(|held| fits(&key, &held.deputy_key)) {
            None => tally.fail(xname.as_str(), Reason::NotFound)?,
            Some(held) => standing.push(Grant {
                id: xname.to_string(),
                deputy_key: held.deputy_key.clone(),
                reservation_key: None,
                created: Some(held.created()),
                expires: held.expires(),
            }),
        }
    }
    Ok(go::answer(StatusCode::OK, &json!({"Success": standing, "Failure": tally.failures})))
}

#[cfg(test)]
mod tests {
    use crate::api::openchami::smd::component::Component;
    use crate::api::openchami::smd::locks::Reason;
    use crate::api::openchami::smd::reservations::{Reservation, key, obstacle};
    use crate::base::{Millis, Timestamp, Xname};

    #[test]
    fn a_lock_keeps_services_away_and_lets_people_in() {
        // Disabled, locked, reserved; what stands against a person and a service.
        let table = [
            ((false, false, false), Some(Reason::Unlocked), None),
            ((false, false, true), Some(Reason::Unlocked), Some(Reason::Reserved)),
            ((false, true, false), None, Some(Reason::Locked)),
            ((false, true, true), Some(Reason::Reserved), Some(Reason::Locked)),
            ((true, false, false), Some(Reason::Disabled), Some(Reason::Disabled)),
            ((true, true, true), Some(Reason::Disabled), Some(Reason::Disabled)),
        ];
        for ((reservation_disabled, locked, is_reserved), person, service) in table {
            let component = Component { reservation_disabled, locked, ..Component::default() };
            assert_eq!(obstacle(&component, is_reserved, false), person, "{component:?}");
            assert_eq!(obstacle(&component, is_reserved, true), service, "{component:?}");
        }
    }

    #[test]
    fn a_reservation_is_gone_in_the_moment_in_which_it_ends() {
        let xname: Xname = "x0c0s0b0n0".parse().unwrap();
        let minute = Millis::from_secs(60);
        let short = Reservation::new(&xname, Timestamp(1000), Some(minute)).unwrap();
        assert!(short.is_live(Timestamp(60_999)) && !short.is_live(Timestamp(61_000)));
        assert_eq!(short.expires().unwrap(), "1970-01-01T00:01:01.000Z");
        let long = Reservation::new(&xname, Timestamp(1000), None).unwrap();
        assert!(long.is_live(Timestamp(u64::MAX)) && long.expires().is_none());
    }

    #[test]
    fn keys_are_random_and_lower_case() {
        let xname: Xname = "x0c0s0b0n0".parse().unwrap();
        let (one, two) = (key(&xname, "rk").unwrap(), key(&xname, "rk").unwrap());
        assert_ne!(one, two);
        assert_eq!(one, one.to_ascii_lowercase());
        assert_eq!((one.len(), one.as_bytes()[10 + 4 + 14]), (10 + 4 + 36, b'4'), "{one}");
    }
}
