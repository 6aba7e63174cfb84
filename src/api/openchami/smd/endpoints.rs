//! `/Inventory/RedfishEndpoints`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::Draft;
use crate::api::openchami::go;
use crate::api::openchami::query::Query;
use crate::api::openchami::smd::bring::{How, bring};
use crate::api::openchami::smd::components::{missing, roots};
use crate::api::openchami::smd::endpoint::{self, Endpoint};
use crate::api::openchami::smd::filter::{below, normalise};
use crate::api::openchami::smd::payload::{KEYS, Manager, Payload, System};
use crate::api::openchami::smd::pdu::Pdu;
use crate::api::openchami::smd::{partitions, plan, values, xname};
use crate::api::problem::Problem;
use crate::base::xname::kind::is_controller;
use crate::base::{Mac, Xname};
use crate::model::Inventory;

const PATH: &str = "/hsm/v2/Inventory/RedfishEndpoints";

/// What a body says about an endpoint; absent fields are not touched by a patch. What clients send as
/// `DiscoveryInfo` and `Type` is not theirs to say.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "Name")]
    name: Option<String>,
    #[serde(rename = "Hostname")]
    hostname: Option<String>,
    #[serde(rename = "Domain")]
    domain: Option<String>,
    #[serde(rename = "FQDN")]
    fqdn: Option<String>,
    #[serde(rename = "Enabled")]
    enabled: Option<bool>,
    #[serde(rename = "UUID")]
    uuid: Option<String>,
    #[serde(rename = "User")]
    user: Option<String>,
    #[serde(rename = "UseSSDP")]
    use_ssdp: Option<bool>,
    #[serde(rename = "MACRequired")]
    mac_required: Option<bool>,
    #[serde(rename = "MACAddr")]
    mac: Option<String>,
    #[serde(rename = "IPAddress")]
    address: Option<String>,
    #[serde(rename = "RediscoverOnUpdate")]
    rediscover: Option<bool>,
    #[serde(rename = "TemplateID")]
    template: Option<String>,
    #[serde(rename = "SchemaVersion")]
    schema: f64,
    #[serde(rename = "Systems")]
    systems: Vec<System>,
    #[serde(rename = "Managers")]
    managers: Vec<Manager>,
    #[serde(rename = "PDUInventory")]
    pdu: Option<Pdu>,
}

impl Body {
    fn payload(&self) -> Payload<'_> {
        let Body { schema, systems, managers, pdu, .. } = self;
        Payload { schema: *schema, systems, managers, pdu: pdu.as_ref() }
    }

    /// The endpoint that a body is about: its ID, else what its host is called.
    fn xname(&self) -> Result<Xname, Problem> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let id = given(&self.id).or_else(|| given(&self.hostname)).or_else(|| given(&self.fqdn));
        let id = id.ok_or_else(|| Problem::bad_request("No xname ID found"))?;
        let first = if self.id.is_some() { id.as_str() } else { id.split('.').next().unwrap_or_default() };
        controller(first)
    }

    /// Puts what is given onto an endpoint.
    fn onto(&self, mut old: Endpoint) -> Result<Endpoint, Problem> {
        let put = |text: &Option<String>, field: &mut String| {
            text.iter().for_each(|text| text.trim().clone_into(field));
        };
        put(&self.name, &mut old.name);
        put(&self.uuid, &mut old.uuid);
        put(&self.user, &mut old.user);
        put(&self.template, &mut old.template);
        old.enabled = self.enabled.unwrap_or(old.enabled);
        old.use_ssdp = self.use_ssdp.unwrap_or(old.use_ssdp);
        old.mac_required = self.mac_required.unwrap_or(old.mac_required);
        old.rediscover = self.rediscover.unwrap_or(old.rediscover);
        if let Some(mac) = &self.mac {
            let parsed = mac.parse::<Mac>().map(|mac| mac.to_string());
            old.mac = if mac.is_empty() {
                String::new()
            } else {
                parsed.map_err(|_| Problem::bad_request(format!("invalid MACAddr: {mac:?}")))?
            };
        }
        if let Some(address) = &self.address {
            if !address.is_empty() && address.parse::<IpAddr>().is_err() {
                return Err(Problem::bad_request(format!("invalid IPAddress: {address:?}")));
            }
            old.address.clone_from(address);
        }
        self.call(old)
    }

    /// Host name, domain and FQDN, of which any may be given; they must agree.
    fn call(&self, old: Endpoint) -> Result<Endpoint, Problem> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (hostname, domain, fqdn) = (given(&self.hostname), given(&self.domain), given(&self.fqdn));
        // The tools for PDUs put host and port into both fields.
        if let Some(fqdn) = fqdn.clone().filter(|fqdn| hostname.is_none() || hostname.as_ref() == Some(fqdn))
        {
            let plain = fqdn.parse::<IpAddr>().is_ok() && hostname.is_none();
            let (first, rest) =
                if plain { (old.id.as_str(), "") } else { fqdn.split_once('.').unwrap_or((&fqdn, "")) };
            let (first, rest) = (first.to_owned(), rest.to_owned());
            if let Some(domain) = domain.filter(|domain| !plain && *domain != rest) {
                return Err(Problem::bad_request(format!("FQDN {fqdn} does not lie in Domain {domain}")));
            }
            return Ok(Endpoint { hostname: first, domain: rest, fqdn, ..old });
        }
        if hostname.is_none() && domain.is_none() {
            return Ok(old);
        }
        let hostname = hostname.unwrap_or_else(|| old.hostname.clone());
        if hostname.contains('.') {
            return Err(Problem::bad_request(format!(
                "Hostname {hostname} has a domain; FQDN or Domain take it"
            )));
        }
        let in_fqdn = fqdn.as_ref().and_then(|fqdn| fqdn.strip_prefix(&hostname)?.strip_prefix('.'));
        let domain = domain.or(in_fqdn.map(str::to_owned)).unwrap_or_else(|| old.domain.clone());
        let made = if domain.is_empty() { hostname.clone() } else { format!("{hostname}.{domain}") };
        match fqdn {
            Some(fqdn) if fqdn != made && fqdn.parse::<IpAddr>().is_err() => {
                Err(Problem::bad_request(format!("FQDN {fqdn} is not Hostname and Domain, {made}")))
            }
            fqdn => Ok(Endpoint { hostname, domain, fqdn: fqdn.unwrap_or(made), ..old }),
        }
    }
}

/// Reads the name of an endpoint.
fn controller(text: &str) -> Result<Xname, Problem> {
    let parsed = text.parse::<Xname>().ok().filter(|xname| xname.kind().is_some());
    let xname =
        parsed.ok_or_else(|| Problem::bad_request(format!("{text} is not a valid locational xname ID")))?;
    match xname.kind() {
        Some(kind) if is_controller(kind) => Ok(xname),
        kind => Err(Problem::bad_request(format!(
            "xname ID {xname} has wrong type for RF endpoint: {}",
            kind.unwrap_or_default()
        ))),
    }
}

/// Refuses what another endpoint has.
struct Taken(BTreeMap<String, Xname>);

impl Taken {
    fn of(inventory: &Inventory) -> Taken {
        let all = endpoint::all(inventory).into_iter();
        Taken(all.map(|(xname, endpoint)| (endpoint.fqdn.to_ascii_lowercase(), xname)).collect())
    }

    fn take(&mut self, xname: &Xname, endpoint: &Endpoint) -> Result<(), Problem> {
        match self.0.insert(endpoint.fqdn.to_ascii_lowercase(), xname.clone()) {
            Some(other) if other != *xname => {
                Err(conflict(&format!("{other} has the FQDN {}", endpoint.fqdn)))
            }
            _ => Ok(()),
        }
    }
}

fn conflict(why: &str) -> Problem {
    Problem::conflict(format!(
        "operation would conflict with an existing RedfishEndpoint that has the same FQDN or xname ID: {why}"
    ))
}

/// `POST /Inventory/RedfishEndpoints`: one or a list, all or nothing.
pub(crate) async fn create(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct List {
        #[serde(rename = "RedfishEndpoints")]
        list: Option<Vec<Body>>,
    }
    let bodies = match go::decode::<List>(&bytes, &KEYS)?.list {
        Some(list) => list,
        None => vec![go::decode::<Body>(&bytes, &KEYS)?],
    };
    let names: Vec<Xname> = bodies.iter().map(Body::xname).collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Err(Problem::bad_request("Missing RedfishEndpoints"));
    }
    plan(&api, |draft| {
        let mut taken = Taken::of(&draft.next);
        for (xname, body) in names.iter().zip(&bodies) {
            if endpoint::find(draft, xname).is_some() {
                return Err(conflict(xname.as_str()));
            }
            write(draft, &mut taken, xname, body, How::Add)?;
        }
        Ok(())
    })
    .await?;
    let uris: Vec<String> = names.iter().map(|xname| format!("{PATH}/{xname}")).collect();
    Ok(go::created(&uris))
}

fn write(
    draft: &mut Draft<'_>,
    taken: &mut Taken,
    xname: &Xname,
    body: &Body,
    how: How,
) -> Result<(), Problem> {
    let endpoint = body.onto(Endpoint::blank(xname))?;
    taken.take(xname, &endpoint)?;
    endpoint::put(draft, xname, &endpoint);
    bring(draft, xname, &endpoint, body.payload(), how)
}

/// The endpoint of a path, and the body for it.
fn addressed(id: &str, bytes: &Bytes) -> Result<(Xname, Body), Problem> {
    let own = controller(id)?;
    let body: Body = go::decode(bytes, &KEYS)?;
    let named = body.id.as_ref().filter(|id| !id.is_empty()).map(|id| xname(id)).transpose()?;
    if named.is_some_and(|named| named != own) {
        return Err(Problem::bad_request("xname in URI and in ID are not the same"));
    }
    Ok((own, body))
}

/// `PUT /Inventory/RedfishEndpoints/{xname}`: replaces the endpoint, or makes it. Of what was found below it, what
/// the body names is replaced, and the rest stays: older clients send one node of a BMC at a time.
pub(crate) async fn put(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let (own, body) = addressed(&id, &bytes)?;
    let (_, snapshot) = plan(&api, |draft| {
        let mut taken = Taken::of(&draft.next);
        write(draft, &mut taken, &own, &body, How::Replace)?;
        endpoint::find(draft, &own).iter().for_each(|new| endpoint::rename_children(draft, new));
        Ok(())
    })
    .await?;
    Ok(go::answer(StatusCode::OK, &endpoint::one(&snapshot, &own).ok_or_else(missing)?))
}

pub(crate) async fn patch(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let (own, body) = addressed(&id, &bytes)?;
    let (_, snapshot) = plan(&api, |draft| {
        let old = endpoint::find(draft, &own).ok_or_else(missing)?;
        let new = body.onto(old)?;
        Taken::of(&draft.next).take(&own, &new)?;
        endpoint::put(draft, &own, &new);
        endpoint::rename_children(draft, &new);
        Ok(())
    })
    .await?;
    Ok(go::answer(StatusCode::OK, &endpoint::one(&snapshot, &own).ok_or_else(missing)?))
}

pub(crate) async fn list(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    select(&api.context.snapshot.load().inventory, Query::parse(raw.as_deref()), |_| true)
}

pub(crate) async fn query(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let snapshot = api.context.snapshot.load();
    let roots = roots(&snapshot.inventory, std::slice::from_ref(&id))?;
    select(&snapshot.inventory, Query::parse(raw.as_deref()), |xname| below(&roots, xname))
}

fn select(
    inventory: &Inventory,
    mut query: Query,
    chosen: impl Fn(&Xname) -> bool,
) -> Result<Response, Problem> {
    normalise(&mut query, "id");
    let macs: Vec<String> = query.all("macaddr").iter().map(|text| plain_mac(text)).collect();
    query.set("macaddr", macs);
    values::check_filter(&query, inventory)?;
    let within: Option<BTreeSet<String>> = query.has("partition").then(|| {
        query.all("partition").iter().flat_map(|name| partitions::members_of(inventory, name)).collect()
    });
    let admits = |endpoint: &Endpoint| {
        let fields = [
            ("id", &endpoint.id),
            ("fqdn", &endpoint.fqdn),
            ("type", &endpoint.kind),
            ("uuid", &endpoint.uuid),
            ("macaddr", &endpoint.mac),
            ("ipaddress", &endpoint.address),
            ("laststatus", &endpoint.discovery.status),
        ];
        fields.iter().all(|(key, value)| query.admits(key, value))
            && within.as_ref().is_none_or(|within| within.contains(&endpoint.id))
    };
    let all = endpoint::all(inventory).into_iter();
    let found = all.filter(|(xname, endpoint)| chosen(xname) && admits(endpoint));
    let found: Vec<Endpoint> = found.map(|(_, endpoint)| endpoint).collect();
    Ok(go::answer(StatusCode::OK, &json!({"RedfishEndpoints": found})))
}

/// A hardware address of a filter in our spelling, a negation kept.
pub(crate) fn plain_mac(text: &str) -> String {
    let (not, rest) = text.strip_prefix('!').map_or(("", text), |rest| ("!", rest));
    let mac = rest.parse::<Mac>().map_or_else(|_| rest.to_ascii_lowercase(), |mac| mac.to_string());
    format!("{not}{mac}")
}

pub(crate) async fn show(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = endpoint::one(&api.context.snapshot.load(), &xname(&id)?).ok_or_else(missing)?;
    Ok(go::answer(StatusCode::OK, &found))
}

pub(crate) async fn remove(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let own = xname(&id)?;
    plan(&api, |draft| {
        let children = endpoint::by_endpoint(&draft.next).remove(own.as_str()).unwrap_or_default();
        if endpoint::remove(draft, &own, &children)? { Ok(()) } else { Err(missing()) }
    })
    .await?;
    go::deleted(1)
}

pub(crate) async fn remove_all(State(api): State<OpenChami>) -> Result<Response, Problem> {
    let steps = |draft: &mut Draft<'_>| {
        let mut children = endpoint::by_endpoint(&draft.next);
        let mut count = 0;
        for own in endpoint::all(&draft.next).into_keys() {
            let children = children.remove(own.as_str()).unwrap_or_default();
            count += usize::from(endpoint::remove(draft, &own, &children)?);
        }
        Ok(count)
    };
    let (count, _) = plan(&api, steps).await?;
    go::deleted(count)
}
