//! What discovery tools post with a Redfish endpoint, as they spell it: systems and managers (SchemaVersion 1 and
//! above, the form of magellan and of `ochami discover`), raw Redfish documents (no SchemaVersion), outlets of a PDU.

use std::net::IpAddr;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::openchami::smd::pdu::Pdu;
use crate::api::problem::Problem;
use crate::base::Mac;

/// What comes with an endpoint.
#[derive(Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) schema: f64,
    pub(crate) systems: &'a [System],
    pub(crate) managers: &'a [Manager],
    pub(crate) pdu: Option<&'a Pdu>,
}

/// A computer system: a node. `Data` and `EthernetInterfaces` are the raw form.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct System {
    #[serde(rename = "URI")]
    pub(crate) uri: String,
    #[serde(rename = "UUID")]
    pub(crate) uuid: String,
    #[serde(rename = "Name")]
    pub(crate) name: String,
    pub(crate) system_type: String,
    pub(crate) ethernet_interfaces: Vec<Nic>,
    pub(crate) actions: Vec<String>,
    pub(crate) power: Power,
    pub(crate) links: Links,
    #[serde(rename = "Data")]
    pub(crate) data: Map<String, Value>,
    #[serde(rename = "EthernetInterfaces")]
    pub(crate) raw_interfaces: Vec<Map<String, Value>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Power {
    pub(crate) power_control_ids: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Links {
    pub(crate) chassis: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Manager {
    #[serde(rename = "URI")]
    pub(crate) uri: String,
    #[serde(rename = "UUID")]
    pub(crate) uuid: String,
    #[serde(rename = "Name")]
    pub(crate) name: String,
    #[serde(rename = "Description")]
    pub(crate) description: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    pub(crate) ethernet_interfaces: Vec<Nic>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Nic {
    #[serde(rename = "URI")]
    pub(crate) uri: String,
    pub(crate) mac: String,
    pub(crate) ip: String,
    #[serde(rename = "Name")]
    pub(crate) name: String,
    #[serde(rename = "Description")]
    pub(crate) description: String,
}

impl Nic {
    /// The hardware address and the address; None for what is no Ethernet port (vendors write `Not Available`, and
    /// other fabrics have longer addresses).
    pub(crate) fn read(&self, place: &str) -> Result<Option<(Mac, String)>, Problem> {
        let Ok(mac) = self.mac.parse() else { return Ok(None) };
        let plain = self.ip.split('/').next().unwrap_or_default();
        if !plain.is_empty() && plain.parse::<IpAddr>().is_err() {
            let detail = format!("{place}: invalid IPAddress: {:?}", self.ip);
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        Ok(Some((mac, plain.to_owned())))
    }

    pub(crate) fn info(&self) -> Value {
        let path = path_of(&self.uri);
        json!({
            "RedfishId": path, "@odata.id": path, "Description": self.description,
            "InterfaceEnabled": true, "MACAddress": self.mac,
        })
    }
}

/// The path of a URI, which may be a path alone.
pub(crate) fn path_of(uri: &str) -> String {
    match uri.split_once("://") {
        Some((_, rest)) => rest.find('/').map(|at| rest[at..].to_owned()).unwrap_or_default(),
        None => uri.to_owned(),
    }
}

/// The host of a URI, with its port.
pub(crate) fn host_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    rest.split('/').next().filter(|host| !host.is_empty())
}

/// Keys of payloads, for bodies in any case; those of endpoints are among them.
pub(crate) const KEYS: [&str; 50] = [
    "ID",
    "Type",
    "Name",
    "Hostname",
    "Domain",
    "FQDN",
    "Enabled",
    "URI",
    "UUID",
    "User",
    "Password",
    "UseSSDP",
    "MACRequired",
    "MACAddr",
    "IPAddress",
    "RediscoverOnUpdate",
    "TemplateID",
    "DiscoveryInfo",
    "RedfishEndpoints",
    "SchemaVersion",
    "Systems",
    "Managers",
    "PDUInventory",
    "Description",
    "system_type",
    "ethernet_interfaces",
    "actions",
    "power",
    "power_control_ids",
    "links",
    "chassis",
    "mac",
    "ip",
    "Data",
    "EthernetInterfaces",
    "Status",
    "State",
    "SystemType",
    "@odata.id",
    "MACAddress",
    "InterfaceEnabled",
    "Outlets",
    "original_id",
    "id_suffix",
    "socket_type",
    "Model",
    "SerialNumber",
    "FirmwareVersion",
    "xnames",
    "force",
];
