//! The past of the hardware inventory: which part was seen, added or removed where and when.

use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::{self, Draft};
use crate::api::openchami::go;
use crate::api::openchami::query::Query;
use crate::api::openchami::smd::{plan, values, xname};
use crate::api::problem::Problem;
use crate::base::limits::HARDWARE_EVENTS_MAX;
use crate::base::{Timestamp, Xname};
use crate::model::Inventory;

/// Where events live, one list per place.
const SHELF: &str = "smd.hardware-history";

const KINDS: [&str; 4] = ["Added", "Removed", "Scanned", "Detected"];

pub(crate) fn routes() -> Router<OpenChami> {
    Router::new()
        .route("/Inventory/Hardware/History", get(by_place).delete(clear))
        .route("/Inventory/Hardware/History/{xname}", get(of_one_place).delete(clear_place))
        .route("/Inventory/HardwareByFRU/History", get(by_part).delete(clear))
        .route("/Inventory/HardwareByFRU/History/{fru}", get(of_one_part).delete(clear_part))
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Put into a place that was known to be without it.
    Added,
    /// No longer in its place.
    Removed,
    /// Seen again where it was.
    Scanned,
    /// Seen in a place of which nothing was known.
    Detected,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Added => "Added",
            Kind::Removed => "Removed",
            Kind::Scanned => "Scanned",
            Kind::Detected => "Detected",
        }
    }
}

/// One event. Field for field SMD's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    #[serde(rename = "ID")]
    place: String,
    #[serde(rename = "FRUID")]
    part: String,
    #[serde(rename = "Timestamp")]
    time: String,
    #[serde(rename = "EventType")]
    kind: String,
}

/// The events of a place, oldest first.
pub(crate) fn of_place(draft: &Draft<'_>, place: &Xname) -> Vec<Event> {
    draft.document(SHELF, place.as_str()).unwrap_or_default()
}

/// Which part the events say is in their place.
pub(crate) fn last_known(events: &[Event]) -> Option<String> {
    events.last().filter(|event| event.kind != Kind::Removed.word()).map(|event| event.part.clone())
}

/// Adds an event. Scans that find the same part again and again are one event with the time of the last; of too
/// many events the oldest goes.
pub(crate) fn add(events: &mut Vec<Event>, place: &Xname, part: &str, kind: Kind, now: Timestamp) {
    let is_scan = |event: &Event| event.kind == Kind::Scanned.word() && event.part == part;
    if kind == Kind::Scanned && events.last().is_some_and(is_scan) {
        events.pop();
    }
    if events.len() >= HARDWARE_EVENTS_MAX {
        events.remove(0);
    }
    events.push(Event {
        place: place.to_string(),
        part: part.to_owned(),
        time: now.rfc3339(),
        kind: kind.word().to_owned(),
    });
}

pub(crate) fn put(draft: &mut Draft<'_>, place: &Xname, events: &[Event]) {
    if events.is_empty() {
        draft.remove_document(SHELF, place.as_str());
    } else {
        draft.put_document(SHELF, place.as_str(), &events);
    }
}

fn all(inventory: &Inventory) -> Vec<(String, Vec<Event>)> {
    draft::shelf(inventory, SHELF)
}

/// Which events a query means.
struct Filter {
    places: BTreeSet<String>,
    query: Query,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Filter {
    fn new(raw: Option<&str>) -> Result<Filter, Problem> {
        let query = Query::parse(raw);
        let places = query.all("id").iter();
        let places = places.map(|id| Ok(xname(id)?.to_string())).collect::<Result<_, Problem>>()?;
        let is_kind = |text: &String| values::find(&KINDS, text.strip_prefix('!').unwrap_or(text)).is_some();
        if let Some(text) = query.all("eventtype").iter().find(|text| !is_kind(text)) {
            return Err(Problem::bad_request(format!("Invalid HWInvHist event type: {text}")));
        }
        let time = |key: &str| {
            let wrong =
                |text: &str| Problem::bad_request(format!("Invalid {key}: {text:?} is no RFC 3339 time"));
            let text = query.first(key);
            text.map(|text| Timestamp::parse(text).ok_or_else(|| wrong(text))).transpose()
        };
        let (from, to) = (time("starttime")?, time("endtime")?);
        Ok(Filter { places, query, from, to })
    }

    fn admits(&self, event: &Event) -> bool {
        let time = Timestamp::parse(&event.time);
        (self.places.is_empty() || self.places.contains(&event.place))
            && self.query.admits("fruid", &event.part)
            && self.query.admits("eventtype", &event.kind)
            && self.from.is_none_or(|from| time >= Some(from))
            && self.to.is_none_or(|to| time <= Some(to))
    }
}

/// Events that pass the filters, in lists by what `key` says.
fn grouped(
    api: &OpenChami,
    raw: Option<&str>,
    key: fn(&Event) -> &str,
) -> Result<BTreeMap<String, Vec<Event>>, Problem> {
    let filter = Filter::new(raw)?;
    let mut groups: BTreeMap<String, Vec<Event>> = BTreeMap::new();
    for event in all(&api.context.snapshot.load().inventory).into_iter().flat_map(|(_, events)| events) {
        if filter.admits(&event) {
            groups.entry(key(&event).to_owned()).or_default().push(event);
        }
    }
    groups.values_mut().for_each(|events| events.sort_by(|a, b| a.time.cmp(&b.time)));
    Ok(groups)
}

fn collection(groups: BTreeMap<String, Vec<Event>>) -> Response {
    let list: Vec<_> = groups.into_iter().map(|(id, events)| json!({"ID": id, "History": events})).collect();
    go::answer(StatusCode::OK, &json!({ "Components": list }))
}

async fn by_place(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    Ok(collection(grouped(&api, raw.as_deref(), |event| &event.place)?))
}

async fn by_part(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    Ok(collection(grouped(&api, raw.as_deref(), |event| &event.part)?))
}

async fn of_one_place(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let own = xname(&id)?.to_string();
    let events = grouped(&api, raw.as_deref(), |event| &event.place)?.remove(&own).unwrap_or_default();
    Ok(go::answer(StatusCode::OK, &json!({"ID": own, "History": events})))
}

async fn of_one_part(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let events = grouped(&api, raw.as_deref(), |event| &event.part)?.remove(&id).unwrap_or_default();
    Ok(go::answer(StatusCode::OK, &json!({"ID": id, "History": events})))
}

/// Both views are of the same events: deleting one deletes the other.
async fn clear(State(api): State<OpenChami>) -> Result<Response, Problem> {
    drop_events(&api, |_| true).await
}

async fn clear_place(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let own = xname(&id)?.to_string();
    drop_events(&api, |event| event.place == own).await
}

async fn clear_part(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    drop_events(&api, |event| event.part == id).await
}

async fn drop_events(api: &OpenChami, goes: impl Fn(&Event) -> bool) -> Result<Response, Problem> {
    let (count, _) = plan(api, |draft| {
        let mut count = 0;
        for (id, events) in all(&draft.next) {
            let (gone, kept): (Vec<Event>, Vec<Event>) = events.into_iter().partition(&goes);
            count += gone.len();
            if !gone.is_empty() {
                put(draft, &xname(&id)?, &kept);
            }
        }
        Ok(count)
    })
    .await?;
    go::deleted(count)
}

#[cfg(test)]
mod tests {
    use crate::api::openchami::smd::history::{Kind, add, last_known};
    use crate::base::limits::HARDWARE_EVENTS_MAX;
    use crate::base::{Timestamp, Xname};

    #[test]
    fn scans_of_one_part_are_one_event_and_the_oldest_goes() {
        let place: Xname = "x0c0s0b0n0".parse().unwrap();
        let mut events = Vec::new();
        for time in 1..=3 {
            add(&mut events, &place, "a", Kind::Scanned, Timestamp(time));
        }
        assert_eq!((events.len(), events[0].time.as_str()), (1, "1970-01-01T00:00:00.003Z"));
        for time in 0..HARDWARE_EVENTS_MAX as u64 {
            add(&mut events, &place, "a", Kind::Removed, Timestamp(time));
        }
        assert_eq!(events.len(), HARDWARE_EVENTS_MAX);
        assert!(events.iter().all(|event| event.kind == "Removed"));
        assert_eq!(last_known(&events), None);
    }
}
