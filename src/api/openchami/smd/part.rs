//! Hardware as SMD knows it: places, and the parts that sit in them. A part (FRU, field replaceable unit) has an
//! identity of its own and keeps it when it moves. Our model has neither; they are documents, and what vendors
//! say about them comes back as it was written.

use axum::body::Bytes;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::openchami::draft::{self, Draft};
use crate::api::openchami::go;
use crate::api::openchami::query::Query;
use crate::api::openchami::smd::history::{self, Kind};
use crate::api::openchami::smd::{values, xname};
use crate::api::problem::Problem;
use crate::base::limits::FRU_ID_BYTES_MAX;
use crate::base::xname::kind::kinds;
use crate::base::{Timestamp, Xname};
use crate::model::Inventory;

/// Where places live, by their xname.
pub(crate) const PLACES: &str = "smd.hardware";

/// Where parts live, by their identifier.
pub(crate) const PARTS: &str = "smd.fru";

const KEYS: [&str; 11] = [
    "Hardware",
    "ID",
    "Type",
    "Ordinal",
    "Status",
    "HWInventoryByLocationType",
    "PopulatedFRU",
    "FRUID",
    "Subtype",
    "HWInventoryByFRUType",
    "FRUType",
];

/// A place as it is kept; which part sits there is kept by reference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Place {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(rename = "Ordinal")]
    ordinal: u32,
    #[serde(rename = "Status")]
    pub(crate) status: String,
    #[serde(rename = "HWInventoryByLocationType")]
    shape: String,
    /// The part that sits there.
    #[serde(rename = "FRUID", skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<String>,
    /// `NodeLocationInfo` and its like.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Place {
    /// The same place without its part.
    pub(crate) fn vacated(self) -> Place {
        Place { part: None, ..self }
    }
}

/// A part. Field for field SMD's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Part {
    #[serde(rename = "FRUID")]
    pub(crate) id: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(rename = "Subtype")]
    subtype: String,
    #[serde(rename = "HWInventoryByFRUType")]
    shape: String,
    /// `NodeFRUInfo` and its like.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Part {
    /// What the maker says about the part, under a name in any case.
    pub(crate) fn says(&self, field: &str) -> &str {
        let info = self.rest.iter().find(|(key, _)| is_info(key)).and_then(|(_, info)| info.as_object());
        let found = info.and_then(|info| info.iter().find(|(key, _)| key.eq_ignore_ascii_case(field)));
        found.and_then(|(_, value)| value.as_str()).unwrap_or("")
    }

    /// The identifier that SMD makes of kind, maker, part and serial number; without a serial number, one that
    /// belongs to the place.
    fn identifier(&self, place: &Xname) -> String {
        let serial = self.says("SerialNumber");
        if serial.trim().is_empty() {
            return format!("FRUIDfor{place}");
        }
        let maker = [self.says("Manufacturer"), self.says("Producer")];
        let maker = maker.into_iter().find(|maker| !maker.is_empty()).unwrap_or("");
        let words = [self.kind.as_str(), maker, self.says("PartNumber"), serial];
        let words = words.map(|word| {
            let kept = word.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
            kept.collect::<String>()
        });
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(".")
    }
}

/// True for the fields that vendors fill.
fn is_info(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with("locationinfo") || key.ends_with("fruinfo")
}

/// The field in which SMD lists things of a kind: `Nodes`, `Memory`, `NodeEnclosurePowerSupplies`.
pub(crate) fn plural(kind: &str) -> String {
    match kind {
        "Memory" | "Chassis" => kind.to_owned(),
        "CabinetPDUOutlet" => "CabinetPDUPowerConnectors".to_owned(),
        _ => match (kind.strip_suffix('y'), kind.ends_with("ch")) {
            (Some(stem), _) => format!("{stem}ies"),
            (None, true) => format!("{kind}es"),
            (None, false) => format!("{kind}s"),
        },
    }
}

/// The name that SMD gives to the form of a kind's records.
fn shape(prefix: &str, kind: &str) -> String {
    let kind = match kind {
        "CabinetPDU" => "PDU",
        "CabinetPDUOutlet" | "CabinetPDUPowerConnector" => "Outlet",
        other => other,
    };
    format!("{prefix}{kind}")
}

/// A place as clients send it.
#[derive(Deserialize, Default)]
#[serde(default)]
struct PostedPlace {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Ordinal")]
    ordinal: Option<u32>,
    #[serde(rename = "Status")]
    status: String,
    #[serde(rename = "HWInventoryByLocationType")]
    shape: String,
    #[serde(rename = "PopulatedFRU")]
    part: Option<Part>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// A place with what sits in it, checked.
pub(crate) struct Found {
    own: Xname,
    place: Place,
    part: Option<Part>,
}

/// Reads the body of a POST: a list of places. Places nested in others, as queries show them, count too.
///
/// # Errors
/// Something is no place; the text says which.
pub(crate) fn decode(bytes: &Bytes) -> Result<Vec<Found>, Problem> {
    let mut posted: Map<String, Value> = go::decode_around(bytes, &KEYS, is_info)?;
    let list = match posted.remove("Hardware") {
        Some(Value::Array(list)) => list,
        Some(_) => return Err(undecodable("Hardware", "expected a list")),
        None => return Err(Problem::bad_request("Missing Hardware")),
    };
    // Nesting is bounded by the JSON reader's depth, the number by the length of the body.
    let mut pending: Vec<(String, Value)> =
        list.into_iter().enumerate().map(|(index, value)| (format!("Hardware[{index}]"), value)).collect();
    pending.reverse();
    let mut found = Vec::new();
    while let Some((at, mut value)) = pending.pop() {
        pending.extend(take_nested(&mut value, &at));
        let posted: PostedPlace =
            serde_json::from_value(value).map_err(|error| undecodable(&at, &error.to_string()))?;
        found.push(check(posted).map_err(|problem| {
            let detail = format!("{at}: {}", problem.detail);
            Problem { detail, ..problem }
        })?);
    }
    Ok(found)
}

/// What SMD answers to JSON of the wrong form.
fn undecodable(at: &str, why: &str) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("error decoding JSON {at}: {why}"))
}

/// Takes the lists of places below a place out of it.
fn take_nested(value: &mut Value, at: &str) -> Vec<(String, Value)> {
    let Some(fields) = value.as_object_mut() else { return Vec::new() };
    let is_list = |key: &str| kinds().any(|kind| plural(kind) == key);
    let lists: Vec<String> = fields
        .iter()
        .filter(|(key, value)| value.is_array() && is_list(key))
        .map(|(key, _)| key.clone())
        .collect();
    let mut nested = Vec::new();
    for key in lists {
        if let Some(Value::Array(items)) = fields.remove(&key) {
            let items = items.into_iter().enumerate();
            nested.extend(items.map(|(index, item)| (format!("{at}.{key}[{index}]"), item)));
        }
    }
    nested
}

fn check(posted: PostedPlace) -> Result<Found, Problem> {
    let own = xname(&posted.id)
        .map_err(|_| Problem::bad_request(format!("ID is empty or not a valid xname: {:?}", posted.id)))?;
    let kind = own.kind().unwrap_or("").to_owned();
    let is_empty = posted.status.eq_ignore_ascii_case("empty");
    let part = match posted.part {
        None if !is_empty => return Err(Problem::bad_request("PopulatedFRU must be populated")),
        Some(part) if !is_empty => Some(check_part(part, &own, &kind)?),
        None | Some(_) => None,
    };
    let ordinal = posted.ordinal.or_else(|| own.parts().last().map(|(_, number)| number));
    let mut rest = posted.rest;
    rest.remove("Type"); // follows from the name
    rest.remove("FRUID"); // the part says it
    let place = Place {
        id: own.to_string(),
        ordinal: ordinal.unwrap_or(0),
        status: if is_empty { "Empty" } else { "Populated" }.to_owned(),
        shape: if posted.shape.is_empty() { shape("HWInvByLoc", &kind) } else { posted.shape },
        part: part.as_ref().map(|part| part.id.clone()),
        kind,
        rest,
    };
    Ok(Found { own, place, part })
}

fn check_part(mut part: Part, own: &Xname, kind: &str) -> Result<Part, Problem> {
    kind.clone_into(&mut part.kind);
    if part.id.is_empty() {
        part.id = part.identifier(own);
    }
    if part.id.len() > FRU_ID_BYTES_MAX || part.id.chars().any(char::is_control) {
        let detail = format!("FRUID is invalid: at most {FRU_ID_BYTES_MAX} bytes of text");
        return Err(Problem::bad_request(detail));
    }
    if part.shape.is_empty() {
        part.shape = shape("HWInvByFRU", kind);
    }
    Ok(part)
}

/// Writes down what was found in a place, and what that says about its past.
pub(crate) fn put(draft: &mut Draft<'_>, found: &Found, now: Timestamp) {
    let Found { own, place, part } = found;
    let mut events = history::of_place(draft, own);
    let before = draft.document::<Place>(PLACES, own.as_str());
    let before = match before {
        Some(place) => place.part,
        None => history::last_known(&events),
    };
    match (&before, &place.part) {
        (None, None) => {}
        (None, Some(new)) if events.is_empty() => history::add(&mut events, own, new, Kind::Detected, now),
        (None, Some(new)) => history::add(&mut events, own, new, Kind::Added, now),
        (Some(old), None) => history::add(&mut events, own, old, Kind::Removed, now),
        (Some(old), Some(new)) if old == new => history::add(&mut events, own, new, Kind::Scanned, now),
        (Some(old), Some(new)) => {
            history::add(&mut events, own, old, Kind::Removed, now);
            history::add(&mut events, own, new, Kind::Added, now);
        }
    }
    history::put(draft, own, &events);
    draft.put_document(PLACES, own.as_str(), place);
    if let Some(part) = part {
        draft.put_document(PARTS, &part.id, part);
    }
}

/// A part of the inventory.
pub(crate) fn part(inventory: &Inventory, id: &str) -> Option<Part> {
    draft::read(inventory.document(PARTS, id)?)
}

/// A place as SMD shows it, with the part that sits in it.
pub(crate) fn shown(place: &Place, part: Option<&Part>) -> Map<String, Value> {
    let Value::Object(mut fields) = json!(place) else { return Map::new() };
    fields.remove("FRUID");
    if let Some(part) = part {
        fields.insert("PopulatedFRU".to_owned(), json!(part));
    }
    fields
}

/// Which places or parts a query means.
///
/// # Errors
/// Status 400: a kind that is none.
pub(crate) fn check_query(query: &Query) -> Result<(), Problem> {
    let plain = |text: &String| text.strip_prefix('!').unwrap_or(text).to_owned();
    match query.all("type").iter().find(|text| values::kind(&plain(text)).is_none()) {
        None => Ok(()),
        Some(text) => Err(Problem::bad_request(format!("Invalid HMS type: {text}"))),
    }
}

/// True if a part passes the filters; of a place without part, only `type` is known.
pub(crate) fn admits(query: &Query, kind: &str, part: Option<&Part>) -> bool {
    let says = |field: &str| part.map_or("", |part| part.says(field)).to_owned();
    query.admits("type", kind)
        && query.admits("fruid", part.map_or("", |part| &part.id))
        && ["Manufacturer", "PartNumber", "SerialNumber"]
            .iter()
            .all(|field| query.admits(&field.to_ascii_lowercase(), &says(field)))
}
