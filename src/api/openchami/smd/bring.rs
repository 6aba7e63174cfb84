//! What comes from the payload of a Redfish endpoint: components, component endpoints and interfaces.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::api::openchami::draft::{Draft, Holder};
use crate::api::openchami::smd::component::{self, Component};
use crate::api::openchami::smd::components::default_nid;
use crate::api::openchami::smd::endpoint::{CHILDREN, Child, Endpoint};
use crate::api::openchami::smd::maps;
use crate::api::openchami::smd::payload::{Manager, Nic, Payload, System, host_of, path_of};
use crate::api::openchami::smd::pdu;
use crate::api::openchami::smd::port::{self, Address, Port};
use crate::api::problem::Problem;
use crate::base::{Mac, Xname};
use crate::model::{Nid, Node};
use crate::transport::clock::now;

/// How a payload meets what is there: a POST adds to it, a PUT takes its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Add,
    Replace,
}

/// One payload at work.
struct Bringing<'a> {
    xname: &'a Xname,
    endpoint: &'a Endpoint,
    how: How,
}

/// Brings in what came with an endpoint, which is there already.
///
/// # Errors
/// Status 400: an address that is none. Status 409: an interface is another node's.
pub(crate) fn bring(
    draft: &mut Draft<'_>,
    xname: &Xname,
    endpoint: &Endpoint,
    payload: Payload<'_>,
    how: How,
) -> Result<(), Problem> {
    if let Some(pdu) = payload.pdu {
        return pdu::bring(draft, xname, endpoint, pdu);
    }
    let bringing = Bringing { xname, endpoint, how };
    if payload.schema < 1.0 {
        return payload.systems.iter().try_for_each(|system| bringing.raw(draft, system));
    }
    for (index, manager) in payload.managers.iter().enumerate() {
        bringing.manager(draft, index, manager)?;
    }
    let (mut seen, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for (index, system) in payload.systems.iter().enumerate() {
        if system.uuid.is_empty() || seen.insert(system.uuid.as_str()) {
            bringing.system(draft, index, fullest(system, payload.systems), &mut taken)?;
        }
    }
    Ok(())
}

/// Of systems with the same UUID, one that says how its power is controlled, as some BMCs list a system twice.
fn fullest<'a>(system: &'a System, all: &'a [System]) -> &'a System {
    let twins = || all.iter().filter(|other| other.uuid == system.uuid && !system.uuid.is_empty());
    let full = |system: &&System| !system.power.power_control_ids.is_empty();
    Some(system).filter(full).or_else(|| twins().find(full)).unwrap_or(system)
}

impl Bringing<'_> {
    fn manager(&self, draft: &mut Draft<'_>, index: usize, manager: &Manager) -> Result<(), Problem> {
        if component::find(draft, self.xname).is_none() {
            let fresh = Component { enabled: Some(true), ..self.blank_component(self.xname) };
            component::put(draft, self.xname, &fresh)?;
        }
        for (nic_index, nic) in manager.ethernet_interfaces.iter().enumerate() {
            let place = format!("Managers[{index}].ethernet_interfaces[{nic_index}]");
            let Some((mac, address)) = nic.read(&place)? else { continue };
            // Inventory files often give all BMCs the same address; the first keeps it.
            let bmc = draft.bmc(self.xname).map(|bmc| Holder::Bmc(bmc.name.clone()));
            if draft.holder_of_mac(mac).is_none_or(|other| Some(other) == bmc) {
                self.put_port(draft, self.xname, mac, &address, &nic.description);
            }
        }
        let path = path_of(&manager.uri);
        let child = Child {
            redfish_type: "Manager".to_owned(),
            subtype: manager.kind.clone(),
            uuid: manager.uuid.clone(),
            form: "ComponentEndpointManager".to_owned(),
            manager: Some(json!({
                "Name": manager.name,
                "Description": manager.description,
                "EthernetNICInfo": manager.ethernet_interfaces.iter().map(Nic::info).collect::<Vec<_>>(),
            })),
            ..self.child(self.xname, path, host_of(&manager.uri))
        };
        draft.put_document(CHILDREN, self.xname.as_str(), &child);
        Ok(())
    }

    fn system(
        &self,
        draft: &mut Draft<'_>,
        index: usize,
        system: &System,
        taken: &mut BTreeSet<Xname>,
    ) -> Result<(), Problem> {
        let count = taken.len();
        let xname = match self.named(system).filter(|xname| !taken.contains(xname)) {
            Some(xname) => xname,
            None => self.numbered(count, taken)?,
        };
        taken.insert(xname.clone());
        self.put_node(draft, &xname, count)?;
        // Who says xnames read an inventory file, where the name is the node's; what a BMC calls its system is not.
        if self.xnames(system).next().is_some() {
            component::rename(draft, &xname, &system.name);
        }
        let mut macs = BTreeSet::new();
        for (nic_index, nic) in system.ethernet_interfaces.iter().enumerate() {
            let place = format!("Systems[{index}].ethernet_interfaces[{nic_index}]");
            if let Some((mac, address)) = nic.read(&place)? {
                self.check_free(draft, &xname, mac, &place)?;
                self.put_port(draft, &xname, mac, &address, &nic.description);
                macs.insert(mac);
            }
        }
        if self.how == How::Replace && !macs.is_empty() {
            let old = draft.node(&xname).map(|node| node.interfaces.clone()).unwrap_or_default();
            for gone in old.iter().filter(|old| !macs.contains(&old.mac)) {
                port::remove(draft, gone.mac);
            }
        }
        draft.put_document(CHILDREN, xname.as_str(), &self.system_child(&xname, system));
        Ok(())
    }

    /// The node's xname, where the tool says it. The position in the list is no name: a BMC's only system may be its
    /// second node.
    fn named(&self, system: &System) -> Option<Xname> {
        self.xnames(system).find(|name| name.is_node())
    }

    /// Xnames of this BMC or its nodes at the end of the system's URI or as its interfaces' names.
    fn xnames(&self, system: &System) -> impl Iterator<Item = Xname> {
        let last = system.uri.rsplit('/').next();
        let names = last.into_iter().chain(system.ethernet_interfaces.iter().map(|nic| nic.name.as_str()));
        let own =
            |name: &Xname| name == self.xname || name.is_node() && name.parent().as_ref() == Some(self.xname);
        names.filter_map(|name| name.parse().ok()).filter(own)
    }

    fn numbered(&self, from: usize, taken: &BTreeSet<Xname>) -> Result<Xname, Problem> {
        let mut free =
            (from..=from + taken.len()).filter_map(|index| format!("{}n{index}", self.xname).parse().ok());
        let found = free.find(|xname: &Xname| !taken.contains(xname) && xname.kind().is_some());
        found.ok_or_else(|| Problem::bad_request(format!("Systems: {} controls no nodes", self.xname)))
    }

    fn put_node(&self, draft: &mut Draft<'_>, xname: &Xname, index: usize) -> Result<(), Problem> {
        let component = match component::find(draft, xname) {
            // State and flag are the discovery's, number, role and the rest are older and stay.
            Some(old) => Component { state: "On".to_owned(), flag: String::new(), ..old },
            None => {
                let map = maps::of_node(&draft.next, xname);
                let ordinal = u32::try_from(index).ok().and_then(|index| index.checked_add(1));
                // All BMCs count their nodes from one; whoever is first to have a number keeps it.
                let free = ordinal.filter(|nid| !draft.is_numbered(Nid(*nid)));
                Component {
                    state: "On".to_owned(),
                    enabled: Some(true),
                    role: map.as_ref().map_or_else(|| "Compute".to_owned(), maps::NodeMap::role_or_default),
                    sub_role: map.as_ref().map(|map| map.sub_role.clone()).unwrap_or_default(),
                    nid: map.map(|map| map.nid).or(free).or_else(|| default_nid(xname)),
                    ..self.blank_component(xname)
                }
            }
        };
        component::put(draft, xname, &component)?;
        let bmc = draft.bmc(self.xname).map(|bmc| bmc.name.clone());
        if let Some(node) = draft.node(xname).filter(|node| node.bmc != bmc) {
            draft.put_node(Node { bmc, ..Node::clone(&node) });
        }
        Ok(())
    }

    fn blank_component(&self, xname: &Xname) -> Component {
        let kind = xname.kind().unwrap_or(&self.endpoint.kind).to_owned();
        Component { id: xname.to_string(), kind, ..Component::default() }
    }

    /// An interface of another node is taken over by a replacement only.
    fn check_free(&self, draft: &Draft<'_>, xname: &Xname, mac: Mac, place: &str) -> Result<(), Problem> {
        let other = port::find(draft, mac).filter(|port| {
            port.component.parse::<Xname>().is_ok_and(|owner| owner.is_node() && owner != *xname)
        });
        match other.filter(|_| self.how == How::Add) {
            None => Ok(()),
            Some(other) => Err(Problem::conflict(format!(
                "{place}: operation would conflict with an existing component ethernet interface that has the \
                 same MAC address: {mac} of {}",
                other.component
            ))),
        }
    }

    fn put_port(&self, draft: &mut Draft<'_>, xname: &Xname, mac: Mac, address: &str, description: &str) {
        let old = port::find(draft, mac);
        let known = old.clone().map(|port| port.addresses).unwrap_or_default();
        let network = known.iter().find(|one| one.address == address).map(|one| one.network.clone());
        let new = Address { address: address.to_owned(), network: network.unwrap_or_default() };
        let mine = old.as_ref().is_some_and(|port| port.component == xname.as_str());
        let addresses = match self.how {
            _ if address.is_empty() => {
                if mine {
                    known
                } else {
                    Vec::new()
                }
            }
            How::Add if mine && known.contains(&new) => known,
            How::Add if mine => known.into_iter().chain([new]).collect(),
            How::Add | How::Replace => vec![new],
        };
        let last_update = old.as_ref().map(|port| port.last_update.clone()).unwrap_or_default();
        let port =
            Port { addresses, description: description.to_owned(), last_update, ..Port::blank(mac, xname) };
        if old.as_ref() != Some(&port) {
            port::put(draft, mac, &Port { last_update: now().rfc3339(), ..port });
        }
    }

    fn child(&self, xname: &Xname, path: String, host: Option<&str>) -> Child {
        Child {
            id: xname.to_string(),
            kind: xname.kind().unwrap_or(&self.endpoint.kind).to_owned(),
            endpoint: self.endpoint.id.clone(),
            enabled: true,
            fqdn: self.endpoint.fqdn.clone(),
            url: format!("{}{path}", host.unwrap_or(&self.endpoint.fqdn)),
            odata: path,
            ..Child::default()
        }
    }

    fn system_child(&self, xname: &Xname, system: &System) -> Child {
        let path = path_of(&system.uri);
        let nics: Vec<Value> = system.ethernet_interfaces.iter().map(Nic::info).collect();
        let mut about = json!({
            "Name": system.name,
            "Actions": {"#ComputerSystem.Reset": {
                "ResetType@Redfish.AllowableValues": system.actions,
                "target": format!("{path}/Actions/ComputerSystem.Reset"),
            }},
            "EthernetNICInfo": nics,
        });
        if let Some(chassis) = system.links.chassis.first() {
            let parent = chassis.rsplit_once('/').map_or("", |(parent, _)| parent);
            about["PowerURL"] = json!(format!("{parent}/Power"));
            let controls = system.power.power_control_ids.iter().map(|id| {
                json!({
                    "@odata.id": id, "MemberId": id.rsplit('/').next(), "Name": "System Power Control",
                    "RelatedItem": [{"@odata.id": path}, {"@odata.id": chassis}],
                })
            });
            let controls: Vec<Value> = controls.collect();
            if !controls.is_empty() {
                about["PowerControl"] = json!(controls);
            }
        }
        Child {
            redfish_type: "ComputerSystem".to_owned(),
            subtype: system.system_type.clone(),
            uuid: system.uuid.clone(),
            form: "ComponentEndpointComputerSystem".to_owned(),
            system: Some(about),
            ..self.child(xname, path, host_of(&system.uri))
        }
    }

    /// A raw Redfish document describes the endpoint itself, as a node; it brings no interfaces.
    fn raw(&self, draft: &mut Draft<'_>, system: &System) -> Result<(), Problem> {
        let field = |key: &str| system.data.get(key).and_then(Value::as_str).unwrap_or_default();
        let state = system.data.get("Status").and_then(|status| status.get("State"));
        let enabled = state.and_then(Value::as_str) == Some("Enabled");
        let blank = || Component { enabled: Some(enabled), ..self.blank_component(self.xname) };
        let old = component::find(draft, self.xname).unwrap_or_else(blank);
        component::put(draft, self.xname, &Component { kind: "Node".to_owned(), ..old })?;
        let text = |nic: &Map<String, Value>, key: &str| {
            nic.get(key).and_then(Value::as_str).unwrap_or("").to_owned()
        };
        let nics = system.raw_interfaces.iter().map(|nic| {
            json!({
                "RedfishId": text(nic, "ID"), "@odata.id": text(nic, "@odata.id"),
                "Description": text(nic, "Description"), "MACAddress": text(nic, "MACAddress").to_ascii_lowercase(),
                "InterfaceEnabled": nic.get("InterfaceEnabled").and_then(Value::as_bool).unwrap_or(false),
            })
        });
        let nics: Vec<Value> = nics.collect();
        let child = Child {
            kind: "Node".to_owned(),
            redfish_type: "ComputerSystem".to_owned(),
            subtype: field("SystemType").to_owned(),
            uuid: field("UUID").to_owned(),
            enabled,
            form: "ComponentEndpointComputerSystem".to_owned(),
            system: Some(json!({"EthernetNICInfo": nics})),
            ..self.child(self.xname, field("@odata.id").to_owned(), None)
        };
        draft.put_document(CHILDREN, self.xname.as_str(), &child);
        Ok(())
    }
}
