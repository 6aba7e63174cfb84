//! `/bootparameters`: what is assigned, read and written as BSS does.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::api::openchami::bss::entry::{self, CloudInit, Entry, Parameters};
use crate::api::openchami::bss::key::{self, Hosts, Key};
use crate::api::openchami::bss::{Names, json};
use crate::api::openchami::draft::Draft;
use crate::api::openchami::smd::plan;
use crate::api::openchami::{OpenChami, random_uuid};
use crate::api::problem::Problem;
use crate::model::{Nid, Selector, Snapshot};
use crate::wire::ipxe;

/// A token that was given out with parameters. One that a client sends along is kept, so that boot scripts
/// carry it (as those of an etcd-backed BSS do); one that we make up is only an answer.
const TOKEN: &str = "bss-referral-token";

/// Longest token that is kept: those of BSS are UUIDs.
const TOKEN_BYTES_MAX: usize = 64;

const KEYS: [&str; 7] = ["hosts", "macs", "nids", "params", "kernel", "initrd", "cloud-init"];
const CLOUD_INIT_KEYS: [&str; 3] = ["meta-data", "user-data", "phone-home"];

/// `GET`: everything, or what query and body select; of an entry only the keys that were asked for.
pub(crate) async fn show(
    State(api): State<OpenChami>,
    RawQuery(raw): RawQuery,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let mut names = Names::of_query(raw.as_deref())?;
    if !bytes.iter().all(u8::is_ascii_whitespace) {
        let Parameters { hosts, macs, nids, .. } = decode(&bytes)?;
        names.hosts.extend(hosts);
        names.macs.extend(macs);
        names.nids.extend(nids);
    }
    let inventory = &snapshot.inventory;
    if names.is_empty() {
        let list = entry::list(inventory, entry::all(inventory));
        // BSS, which is written in Go, shows an empty list so, and clients compare.
        let list = if list.is_empty() { Value::Null } else { serde_json::json!(list) };
        return Ok(json(StatusCode::OK, &list));
    }
    let wanted = names.keys(&snapshot);
    let found: BTreeMap<Key, Entry> =
        wanted.filter_map(|key| Some((key.clone(), find(&snapshot, &key)?))).collect();
    if found.is_empty() {
        let detail = format!("Cannot find boot parameters for requested {names}");
        return Err(Problem::not_found(detail));
    }
    Ok(json(StatusCode::OK, &entry::list(inventory, found)))
}

/// What a snapshot keeps for a key.
pub(crate) fn find(snapshot: &Snapshot, key: &Key) -> Option<Entry> {
    let node = match key {
        Key::Boot(Selector::Xname(xname)) => snapshot.by_xname(xname).map(|node| node.id),
        Key::Boot(_) | Key::Global => None,
    };
    entry::find(&snapshot.inventory, key, node)
}

/// `POST`: adds what is not there; what is there stays as it is.
pub(crate) async fn add(
    State(api): State<OpenChami>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let given = decode(&bytes)?;
    let token = token(&headers)?;
    check(&given)?;
    plan(&api, |draft| {
        let keys = keys(draft.snapshot, &given)?;
        if given.kernel.is_empty() && !(keys.contains(&Key::Global) && has_data(&given)) {
            return Err(bad("kernel: is required"));
        }
        let fresh: Vec<&Key> = keys.iter().filter(|key| entry::find_in(draft, key).is_none()).collect();
        if fresh.is_empty() {
            return Err(bad("postgres.Add: data already exists: No nodes to add (possible duplicate(s))"));
        }
        for key in fresh {
            set(draft, key, Entry::default(), &given, &token);
        }
        Ok(())
    })
    .await?;
    let mut response = empty(StatusCode::CREATED);
    let token = if token.is_empty() { random_uuid()?.to_string() } else { token };
    let value = HeaderValue::from_str(&token).map_err(|_| bad("BSS-Referral-Token: is no plain text"))?;
    response.headers_mut().insert(TOKEN, value);
    Ok(response)
}

/// `PUT`: adds what is not there, and changes the rest by what is supplied.
pub(crate) async fn put(
    State(api): State<OpenChami>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let given = decode(&bytes)?;
    let token = token(&headers)?;
    check(&given)?;
    if !has_boot(&given) && !has_data(&given) {
        return Err(bad("postgres.Set: at least one of params, kernel, initrd is required"));
    }
    plan(&api, |draft| {
        for key in keys(draft.snapshot, &given)? {
            let old = entry::find_in(draft, &key).unwrap_or_default();
            set(draft, &key, old, &given, &token);
        }
        Ok(())
    })
    .await?;
    Ok(empty(StatusCode::OK))
}

/// `PATCH`: changes what is there by what is supplied; all of it must be there.
pub(crate) async fn patch(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let given = decode(&bytes)?;
    check(&given)?;
    let missing = |what: &str| Problem::not_found(format!("Not Found: postgres.Update: {what}"));
    if !has_boot(&given) && !has_data(&given) {
        return Err(missing("nothing to update: give at least one of params, kernel, initrd"));
    }
    plan(&api, |draft| {
        for key in keys(draft.snapshot, &given)? {
            let Some(old) = entry::find_in(draft, &key) else {
                return Err(missing(&format!("data does not exist: {}", key.id())));
            };
            set(draft, &key, old, &given, "");
        }
        Ok(())
    })
    .await?;
    Ok(empty(StatusCode::OK))
}

/// `DELETE`: what the body lists, and all that boots as the body says.
pub(crate) async fn remove(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let given = decode(&bytes)?;
    plan(&api, |draft| {
        let names = Names { hosts: given.hosts.clone(), macs: given.macs.clone(), nids: given.nids.clone() };
        let mut keys: Vec<Key> = names.keys(draft.snapshot).collect();
        if has_boot(&given) {
            let all = entry::all(&draft.next).into_iter();
            keys.extend(all.filter(|(_, entry)| boots_so(entry, &given)).map(|(key, _)| key));
        }
        let removed = keys.iter().filter(|key| entry::remove(draft, key)).count();
        if removed == 0 {
            return Err(bad("postgres.Delete: nothing matches"));
        }
        Ok(())
    })
    .await?;
    Ok(empty(StatusCode::OK))
}

fn boots_so(entry: &Entry, given: &Parameters) -> bool {
    let is = |own: &str, wanted: &str| wanted.is_empty() || own == wanted;
    is(&entry.linux.kernel, &given.kernel)
        && is(entry.linux.initrd(), &given.initrd)
        && is(&entry.linux.params, &given.params)
}

fn set(draft: &mut Draft<'_>, key: &Key, mut entry: Entry, given: &Parameters, token: &str) {
    entry.linux.update(given);
    let CloudInit { meta_data, user_data, phone_home } = given.cloud_init.clone();
    let own = &mut entry.cloud_init;
    own.meta_data = meta_data.or_else(|| own.meta_data.take());
    own.user_data = user_data.or_else(|| own.user_data.take());
    if phone_home != entry::PhoneHome::default() {
        own.phone_home = phone_home;
    }
    if !token.is_empty() {
        token.clone_into(&mut entry.token);
    }
    entry::put(draft, key, entry);
}

/// Whom a body is for: the first list that is not empty counts, as in BSS.
fn keys(snapshot: &Snapshot, given: &Parameters) -> Result<Vec<Key>, Problem> {
    let mut keys: Vec<Key> = if !given.hosts.is_empty() {
        let hosts = Hosts::of(snapshot);
        given.hosts.iter().map(|host| hosts.read(host)).collect::<Result<_, _>>()?
    } else if !given.macs.is_empty() {
        given.macs.iter().map(|mac| key::mac(mac)).collect::<Result<_, _>>()?
    } else {
        given.nids.iter().map(|nid| Key::Boot(Selector::Nid(Nid(*nid)))).collect()
    };
    keys.sort();
    keys.dedup();
    if keys.is_empty() { Err(bad("need at least one of hosts, macs, nids")) } else { Ok(keys) }
}

/// Reads a body. Names of fields are found in any case; what lies within meta-data and user-data is the site's
/// and stays as it is.
fn decode(bytes: &Bytes) -> Result<Parameters, Problem> {
    let wrong = |error: &dyn std::fmt::Display| bad(&format!("error decoding JSON {error}"));
    let fields: Map<String, Value> = serde_json::from_slice(bytes).map_err(|error| wrong(&error))?;
    let mut fields = canonical(fields, &KEYS);
    if let Some(Value::Object(inner)) = fields.remove("cloud-init") {
        fields.insert("cloud-init".to_owned(), Value::Object(canonical(inner, &CLOUD_INIT_KEYS)));
    }
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| wrong(&error))
}

/// The fields under their known spelling, without nulls; the last of several counts.
fn canonical(fields: Map<String, Value>, keys: &[&str]) -> Map<String, Value> {
    let known = |key: &str| keys.iter().find(|known| known.eq_ignore_ascii_case(key));
    fields
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .filter_map(|(key, value)| Some(((*known(&key)?).to_owned(), value)))
        .collect()
}

/// Refuses what no boot script could carry.
fn check(given: &Parameters) -> Result<(), Problem> {
    for (field, text) in [("kernel", &given.kernel), ("initrd", &given.initrd), ("params", &given.params)] {
        ipxe::check(text).map_err(|error| bad(&format!("{field}: {error}")))?;
    }
    Ok(())
}

fn has_boot(given: &Parameters) -> bool {
    !(given.kernel.is_empty() && given.initrd.is_empty() && given.params.is_empty())
}

fn has_data(given: &Parameters) -> bool {
    given.cloud_init != CloudInit::default()
}

fn token(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(TOKEN) else { return Ok(String::new()) };
    let text = value.to_str().ok().filter(|text| {
        text.len() <= TOKEN_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    text.map(str::to_owned).ok_or_else(|| bad("BSS-Referral-Token: is no UUID"))
}

fn bad(why: &str) -> Problem {
    Problem::bad_request(format!("Bad Request: {why}"))
}

fn empty(status: StatusCode) -> Response {
    (status, [(axum::http::header::CONTENT_TYPE, crate::api::openchami::bss::JSON)]).into_response()
}
