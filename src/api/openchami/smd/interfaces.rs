//! `/Inventory/EthernetInterfaces`: the table that DHCP, DNS, boot and cloud-init read.

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use crate::api::openchami::OpenChami;
use crate::api::openchami::draft::Draft;
use crate::api::openchami::go;
use crate::api::openchami::query::Query;
use crate::api::openchami::smd::endpoints::plain_mac;
use crate::api::openchami::smd::filter::normalise;
use crate::api::openchami::smd::port::{self, Address, KEYS, Port};
use crate::api::openchami::smd::{component, plan, values, xname};
use crate::api::problem::Problem;
use crate::base::{Mac, Timestamp};
use crate::transport::clock::now;

const PATH: &str = "/hsm/v2/Inventory/EthernetInterfaces";

fn missing() -> Problem {
    Problem::not_found("no such component ethernet interface.")
}

/// `GET /Inventory/EthernetInterfaces`: public, a bare array.
pub(crate) async fn list(State(api): State<OpenChami>, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let mut query = Query::parse(raw.as_deref());
    let macs: Vec<String> = query.all("macaddress").iter().map(|text| plain_mac(text)).collect();
    query.set("macaddress", macs);
    let ids: Vec<String> = query.all("id").iter().map(|text| text.replace([':', '-', '.'], "")).collect();
    query.set("id", ids);
    normalise(&mut query, "componentid");
    if let Some(kind) = query.all("type").iter().find(|kind| !is_kind(kind)) {
        return Err(Problem::bad_request(format!("invalid type filter: {kind}")));
    }
    let time = |key: &str| match query.first(key).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => Timestamp::parse(text).map(Some).ok_or_else(|| {
            Problem::bad_request(format!("{key}: {text:?} is no time such as 2026-11-22T03:04:05Z"))
        }),
    };
    let (older, newer) = (time("olderthan")?, time("newerthan")?);
    let admits = |port: &Port| {
        let addresses: Vec<&str> = port.addresses.iter().map(|one| one.address.as_str()).collect();
        let networks: Vec<&str> = port.addresses.iter().map(|one| one.network.as_str()).collect();
        let updated = Timestamp::parse(&port.last_update).unwrap_or_default();
        query.admits("id", &port.id)
            && query.admits("macaddress", &port.mac)
            && query.admits("componentid", &port.component)
            && query.admits("type", &port.kind)
            && query.admits_any("ipaddress", &addresses)
            && query.admits_any("network", &networks)
            && older.is_none_or(|limit| updated < limit)
            && newer.is_none_or(|limit| updated > limit)
    };
    let all = port::all(&api.context.snapshot.load().inventory);
    let found: Vec<Port> = all.into_values().filter(admits).collect();
    Ok(go::answer(StatusCode::OK, &found))
}

/// True for the kinds of components, and for none at all.
fn is_kind(text: &str) -> bool {
    let plain = text.strip_prefix('!').unwrap_or(text);
    plain.is_empty() || values::kind(plain).is_some()
}

/// The interface of a path: its id, in any spelling of a hardware address.
fn mac_of(id: &str) -> Result<Mac, Problem> {
    id.parse().map_err(|_| missing())
}

fn find(draft: &Draft<'_>, id: &str) -> Result<(Mac, Port), Problem> {
    let mac = mac_of(id)?;
    Ok((mac, port::find(draft, mac).ok_or_else(missing)?))
}

pub(crate) async fn show(State(api): State<OpenChami>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = port::one(&api.context.snapshot.load(), mac_of(&id)?).ok_or_else(missing)?;
    Ok(go::answer(StatusCode::OK, &found))
}

/// What a body says; absent fields are not touched by a patch.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    #[serde(rename = "MACAddress")]
    mac: Option<String>,
    #[serde(rename = "ComponentID")]
    component: Option<String>,
    #[serde(rename = "Type")]
    kind: Option<String>,
    #[serde(rename = "Description")]
    description: Option<String>,
    #[serde(rename = "IPAddresses")]
    addresses: Option<Vec<Address>>,
}

impl Body {
    /// Puts what is given onto an interface.
    fn onto(&self, mut port: Port) -> Result<Port, Problem> {
        if let Some(component) = &self.component {
            let owner = if component.is_empty() { None } else { Some(xname(component)?) };
            // Inventory files that call a node by its BMC's xname mean the node.
            let is_node = self.kind.as_ref().is_some_and(|kind| kind.eq_ignore_ascii_case("Node"));
            let below = owner.as_ref().filter(|_| is_node).and_then(component::node_below);
            let owner = below.or(owner);
            port.kind = owner.as_ref().and_then(|owner| owner.kind()).unwrap_or("").to_owned();
            port.component = owner.map(|owner| owner.to_string()).unwrap_or_default();
        }
        if let Some(description) = &self.description {
            port.description.clone_from(description);
        }
        if let Some(addresses) = &self.addresses {
            addresses.iter().try_for_each(port::check_address).map_err(Problem::bad_request)?;
            port.addresses.clone_from(addresses);
        }
        port.last_update = now().rfc3339();
        Ok(port)
    }
}

/// `POST /Inventory/EthernetInterfaces`. The same interface once more is no error: older clients post again what
/// a Redfish endpoint brought, with the names of the networks.
pub(crate) async fn create(State(api): State<OpenChami>, bytes: Bytes) -> Result<Response, Problem> {
    let body: Body = go::decode(&bytes, &KEYS)?;
    let text = body.mac.clone().unwrap_or_default();
    let mac: Mac = text.parse().map_err(|_| Problem::bad_request(format!("invalid MACAddress: {text:?}")))?;
    let blank = Port { id: port::id(mac), mac: mac.to_string(), ..Port::default() };
    let wanted = body.onto(blank)?;
    plan(&api, |draft| {
        match port::find(draft, mac) {
            None => port::put(draft, mac, &wanted),
            Some(there) => {
                let merged = same(&there, &wanted).ok_or_else(|| conflict(mac))?;
                if merged != there {
                    port::put(draft, mac, &merged);
                }
            }
        }
        Ok(())
    })
    .await?;
    Ok(go::created_one(&format!("{PATH}/{}", port::id(mac))))
}

fn conflict(mac: Mac) -> Problem {
    let detail = format!(
        "operation would conflict with an existing component ethernet interface {mac} that has the same MAC address."
    );
    Problem::conflict(detail)
}

/// The interface that is there with what a second post adds, if the post says nothing else about it: the same
/// owner, and all the addresses that are there.
fn same(there: &Port, posted: &Port) -> Option<Port> {
    let told: Vec<&str> = posted.addresses.iter().map(|one| one.address.as_str()).collect();
    let agrees = !posted.component.is_empty()
        && there.component == posted.component
        && there.addresses.iter().all(|one| told.contains(&one.address.as_str()));
    agrees.then(|| {
        let description = match posted.description.as_str() {
            "" => there.description.clone(),
            text => text.to_owned(),
        };
        let mut addresses = posted.addresses.clone();
        for address in &mut addresses {
            let known = there.addresses.iter().find(|one| one.address == address.address);
            if address.network.is_empty() {
                address.network = known.map(|one| one.network.clone()).unwrap_or_default();
            }
        }
        let merged = Port { description, addresses, last_update: there.last_update.clone(), ..there.clone() };
        if merged == *there { merged } else { Port { last_update: posted.last_update.clone(), ..merged } }
    })
}

pub(crate) async fn patch(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: Body = go::decode(&bytes, &KEYS)?;
    if body.component.is_none() && body.description.is_none() && body.addresses.is_none() {
        return Err(Problem::bad_request("PATCH request must have Description, ComponentID, or IPAddresses"));
    }
    let (patched, _) = plan(&api, |draft| {
        let (mac, old) = find(draft, &id)?;
        let new = body.onto(old)?;
        port::put(draft, mac, &new);
        port::find(draft, mac).ok_or_else(missing)
    })
    .await?;
    Ok(go::answer(StatusCode::OK, &patched))
}

pub(crate) async fn remove(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let mac = mac_of(&id)?;
    plan(&api, |draft| if port::remove(draft, mac) { Ok(()) } else { Err(missing()) }).await?;
    go::deleted(1)
}

pub(crate) async fn remove_all(State(api): State<OpenChami>) -> Result<Response, Problem> {
    let steps = |draft: &mut Draft<'_>| {
        let all: Vec<Mac> = port::all(&draft.next).into_keys().collect();
        Ok(all.into_iter().filter(|mac| port::remove(draft, *mac)).count())
    };
    let (count, _) = plan(&api, steps).await?;
    go::deleted(count)
}

pub(crate) async fn addresses(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let found = port::one(&api.context.snapshot.load(), mac_of(&id)?).ok_or_else(missing)?;
    Ok(go::answer(StatusCode::OK, &found.addresses))
}

/// Alters the addresses of one interface.
async fn alter(
    api: &OpenChami,
    id: &str,
    mut change: impl FnMut(&mut Vec<Address>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    plan(api, |draft| {
        let (mac, mut found) = find(draft, id)?;
        change(&mut found.addresses)?;
        found.last_update = now().rfc3339();
        port::put(draft, mac, &found);
        Ok(())
    })
    .await?;
    Ok(())
}

pub(crate) async fn add(
    State(api): State<OpenChami>,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let address: Address = go::decode(&bytes, &KEYS)?;
    port::check_address(&address).map_err(Problem::bad_request)?;
    alter(&api, &id, |all| {
        if all.iter().any(|one| one.address == address.address) {
            return Err(Problem::conflict(
                "operation would conflict with an existing IP address of the interface",
            ));
        }
        all.push(address.clone());
        Ok(())
    })
    .await?;
    let mac = mac_of(&id)?;
    Ok(go::created_one(&format!("{PATH}/{}/IPAddresses/{}", port::id(mac), address.address)))
}

pub(crate) async fn patch_address(
    State(api): State<OpenChami>,
    Path((id, ip)): Path<(String, String)>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let body: serde_json::Map<String, serde_json::Value> = go::decode(&bytes, &KEYS)?;
    let network = body.get("Network").and_then(|network| network.as_str());
    let network = network.ok_or_else(|| Problem::bad_request("PATCH request must have Network"))?;
    alter(&api, &id, |all| {
        let found = all.iter_mut().find(|one| one.address == ip);
        found.ok_or_else(no_address)?.network = network.to_owned();
        Ok(())
    })
    .await?;
    Ok(go::message("updated 1 entry"))
}

pub(crate) async fn drop_address(
    State(api): State<OpenChami>,
    Path((id, ip)): Path<(String, String)>,
) -> Result<Response, Problem> {
    alter(&api, &id, |all| {
        let before = all.len();
        all.retain(|one| one.address != ip);
        if all.len() == before { Err(no_address()) } else { Ok(()) }
    })
    .await?;
    go::deleted(1)
}

fn no_address() -> Problem {
    Problem::not_found("no such IP address of the interface.")
}
