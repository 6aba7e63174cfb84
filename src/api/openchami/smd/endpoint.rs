//! Redfish endpoints as SMD shows them, and where they stand here: BMCs of the inventory, with what our model has no
//! place for in an annotation. What lies below them (component endpoints) are documents.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::openchami::draft::{self, Draft, Holder};
use crate::api::openchami::smd::component;
use crate::api::openchami::smd::port::{self, Address, Port};
use crate::api::problem::Problem;
use crate::base::{Mac, Xname};
use crate::model::{Bmc, Inventory, Snapshot};

/// The annotation of BMCs in which the fields of their Redfish endpoint lie.
pub(crate) const NOTE: &str = "smd.endpoint";

/// Where component endpoints live, by xname.
pub(crate) const CHILDREN: &str = "smd.component-endpoint";

/// What nobody has asked over Redfish. We never do: discovery tools ask, and post what they found.
const NOT_QUERIED: &str = "NotYetQueried";

/// A Redfish endpoint. Field for field SMD's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Endpoint {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(rename = "Name", skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(rename = "Hostname")]
    pub(crate) hostname: String,
    #[serde(rename = "Domain")]
    pub(crate) domain: String,
    #[serde(rename = "FQDN")]
    pub(crate) fqdn: String,
    #[serde(rename = "Enabled")]
    pub(crate) enabled: bool,
    #[serde(rename = "UUID", skip_serializing_if = "String::is_empty")]
    pub(crate) uuid: String,
    #[serde(rename = "User")]
    pub(crate) user: String,
    /// Always empty. A password that clients send is not kept: annotations and documents can be read by everyone
    /// who may look at the inventory, and SMD with a vault answers the same.
    #[serde(rename = "Password")]
    pub(crate) password: String,
    #[serde(rename = "UseSSDP", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) use_ssdp: bool,
    #[serde(rename = "MACRequired", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) mac_required: bool,
    #[serde(rename = "MACAddr", skip_serializing_if = "String::is_empty")]
    pub(crate) mac: String,
    #[serde(rename = "IPAddress", skip_serializing_if = "String::is_empty")]
    pub(crate) address: String,
    #[serde(rename = "RediscoverOnUpdate")]
    pub(crate) rediscover: bool,
    #[serde(rename = "TemplateID", skip_serializing_if = "String::is_empty")]
    pub(crate) template: String,
    #[serde(rename = "DiscoveryInfo")]
    pub(crate) discovery: Discovery,
}

/// When and how an endpoint was last asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Discovery {
    #[serde(rename = "LastDiscoveryStatus")]
    pub(crate) status: String,
}

impl Default for Discovery {
    fn default() -> Discovery {
        Discovery { status: NOT_QUERIED.to_owned() }
    }
}

impl Endpoint {
    /// What is known of an endpoint of which only the xname is.
    pub(crate) fn blank(xname: &Xname) -> Endpoint {
        Endpoint {
            id: xname.to_string(),
            kind: xname.kind().unwrap_or("NodeBMC").to_owned(),
            hostname: xname.to_string(),
            fqdn: xname.to_string(),
            enabled: true,
            ..Endpoint::default()
        }
    }

    /// The endpoint that a BMC is; None if it was deleted in SMD's eyes, or never was one.
    fn of(bmc: &Bmc, xname: &Xname) -> Option<Endpoint> {
        let blank = Endpoint::blank(xname);
        let kept = match bmc.annotations.get(NOTE) {
            Some(text) => serde_json::from_str::<Option<Endpoint>>(text).ok()??,
            None => match &bmc.fqdn {
                Some(fqdn) => {
                    let (hostname, domain) = fqdn.split_once('.').unwrap_or((fqdn, ""));
                    let (hostname, domain, fqdn) = (hostname.to_owned(), domain.to_owned(), fqdn.clone());
                    Endpoint { hostname, domain, fqdn, ..blank.clone() }
                }
                None => blank.clone(),
            },
        };
        let or =
            |kept: String, own: Option<String>| if kept.is_empty() { own.unwrap_or_default() } else { kept };
        Some(Endpoint {
            id: blank.id,
            kind: blank.kind,
            mac: or(kept.mac, bmc.mac.map(|mac| mac.to_string())),
            address: or(kept.address, bmc.address.map(|address| address.to_string())),
            ..kept
        })
    }
}

/// All endpoints, by xname.
pub(crate) fn all(inventory: &Inventory) -> BTreeMap<Xname, Endpoint> {
    let known = draft::bmc_xnames(inventory).into_iter();
    known
        .filter_map(|(name, xname)| {
            let endpoint = Endpoint::of(inventory.bmcs.get(&name)?, &xname)?;
            Some((xname, endpoint))
        })
        .collect()
}

/// One endpoint of a snapshot.
pub(crate) fn one(snapshot: &Snapshot, xname: &Xname) -> Option<Endpoint> {
    let (name, _) = draft::bmc_xnames(&snapshot.inventory).into_iter().find(|(_, own)| own == xname)?;
    Endpoint::of(snapshot.inventory.bmcs.get(&name)?, xname)
}

/// One endpoint of a draft.
pub(crate) fn find(draft: &Draft<'_>, xname: &Xname) -> Option<Endpoint> {
    draft.bmc(xname).and_then(|bmc| Endpoint::of(&bmc, xname))
}

/// Writes an endpoint onto its BMC, which is made if there is none. Its hardware address becomes the BMC's unless it
/// is another's (inventory files repeat addresses); so does its address.
pub(crate) fn put(draft: &mut Draft<'_>, xname: &Xname, endpoint: &Endpoint) {
    let mut bmc = component::bmc_or_new(draft, xname);
    if endpoint.fqdn.contains('.') && endpoint.fqdn.parse::<IpAddr>().is_err() {
        bmc.fqdn = Some(endpoint.fqdn.clone());
    }
    bmc.annotations.insert(NOTE.to_owned(), text(endpoint));
    let name = bmc.name.clone();
    draft.put_bmc(bmc);
    let holder = Holder::Bmc(name.clone());
    let is_free = |other: Option<Holder>| other.is_none_or(|other| other == holder);
    let told = endpoint.mac.parse::<Mac>().ok();
    let told = told.filter(|mac| mac.is_unicast() && is_free(draft.holder_of_mac(*mac)));
    let before = draft.next.bmcs.get(&name).and_then(|bmc| bmc.mac);
    if let (Some(told), Some(before)) = (told, before)
        && told != before
    {
        port::remove(draft, before);
    }
    if let Some(mac) = told.or(before) {
        put_port(draft, xname, mac, &endpoint.address);
    }
    let address = endpoint.address.parse::<Ipv4Addr>().ok();
    let address = address.filter(|address| is_free(draft.holder_of_address(*address)));
    let Some(bmc) = draft.next.bmcs.get(&name) else { return };
    let mut bmc = Bmc { address: address.or(bmc.address), ..Bmc::clone(bmc) };
    // What the BMC says by itself is not said twice: the next change of it counts.
    let mut kept = endpoint.clone();
    if bmc.mac.is_some_and(|mac| mac.to_string() == kept.mac) {
        kept.mac.clear();
    }
    if bmc.address.is_some_and(|address| address.to_string() == kept.address) {
        kept.address.clear();
    }
    bmc.annotations.insert(NOTE.to_owned(), text(&kept));
    draft.put_bmc(bmc);
}

fn put_port(draft: &mut Draft<'_>, xname: &Xname, mac: Mac, address: &str) {
    let old = port::find(draft, mac).filter(|port| port.component == xname.as_str());
    let mut port = old.clone().unwrap_or_else(|| Port::blank(mac, xname));
    if !address.is_empty() && port.addresses.iter().all(|one| one.address != address) {
        port.addresses = vec![Address { address: address.to_owned(), network: String::new() }];
    }
    if old.as_ref() != Some(&port) || draft.holder_of_mac(mac).is_none() {
        port::put(draft, mac, &port);
    }
}

/// What was found below an endpoint goes by its new name.
pub(crate) fn rename_children(draft: &mut Draft<'_>, endpoint: &Endpoint) {
    let stale = |child: &Child| child.endpoint == endpoint.id && child.fqdn != endpoint.fqdn;
    let stale: Vec<(Xname, Child)> =
        children(&draft.next).into_iter().filter(|(_, child)| stale(child)).collect();
    for (xname, child) in stale {
        draft.put_document(CHILDREN, xname.as_str(), &Child { fqdn: endpoint.fqdn.clone(), ..child });
    }
}

/// Removes an endpoint and what was found below it; components that came from it are empty slots from now on.
/// False if there is none.
pub(crate) fn remove(draft: &mut Draft<'_>, xname: &Xname, children: &[Xname]) -> Result<bool, Problem> {
    if find(draft, xname).is_none() {
        return Ok(false);
    }
    for child in children {
        draft.remove_document(CHILDREN, child.as_str());
    }
    for own in children.iter().chain([xname]) {
        empty(draft, own)?;
    }
    if let Some(bmc) = draft.bmc(xname) {
        component::hide(draft, &bmc, NOTE);
    }
    Ok(true)
}

/// A component of which nothing is known any more.
pub(crate) fn empty(draft: &mut Draft<'_>, xname: &Xname) -> Result<(), Problem> {
    let Some(mut found) = component::find(draft, xname) else { return Ok(()) };
    (found.state, found.flag) = ("Empty".to_owned(), "OK".to_owned());
    component::put(draft, xname, &found)
}

/// What a Redfish endpoint says about one component. Field for field SMD's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Child {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(rename = "RedfishType")]
    pub(crate) redfish_type: String,
    #[serde(rename = "RedfishSubtype")]
    pub(crate) subtype: String,
    #[serde(rename = "UUID", skip_serializing_if = "String::is_empty")]
    pub(crate) uuid: String,
    #[serde(rename = "OdataID")]
    pub(crate) odata: String,
    #[serde(rename = "RedfishEndpointID")]
    pub(crate) endpoint: String,
    #[serde(rename = "Enabled")]
    pub(crate) enabled: bool,
    #[serde(rename = "RedfishEndpointFQDN")]
    pub(crate) fqdn: String,
    #[serde(rename = "RedfishURL")]
    pub(crate) url: String,
    #[serde(rename = "ComponentEndpointType")]
    pub(crate) form: String,
    #[serde(rename = "RedfishSystemInfo", skip_serializing_if = "Option::is_none")]
    pub(crate) system: Option<Value>,
    #[serde(rename = "RedfishManagerInfo", skip_serializing_if = "Option::is_none")]
    pub(crate) manager: Option<Value>,
    #[serde(rename = "RedfishOutletInfo", skip_serializing_if = "Option::is_none")]
    pub(crate) outlet: Option<Value>,
}

/// All component endpoints, by xname.
pub(crate) fn children(inventory: &Inventory) -> BTreeMap<Xname, Child> {
    let shelf = draft::shelf::<Child>(inventory, CHILDREN).into_iter();
    shelf.filter_map(|(id, child)| Some((id.parse().ok()?, child))).collect()
}

/// The names of the component endpoints of each Redfish endpoint.
pub(crate) fn by_endpoint(inventory: &Inventory) -> BTreeMap<String, Vec<Xname>> {
    let mut all: BTreeMap<String, Vec<Xname>> = BTreeMap::new();
    children(inventory)
        .into_iter()
        .for_each(|(xname, child)| all.entry(child.endpoint).or_default().push(xname));
    all
}

fn text(endpoint: &Endpoint) -> String {
    serde_json::to_string(endpoint).expect("endpoints hold nothing that JSON cannot")
}
