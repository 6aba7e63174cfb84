//! What an old site holds, as a document that our import reads. Pure: JSON in, JSON out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use crate::base::{BmcName, Mac, NodeName, Xname};

/// Where our SMD keeps what our model has no place for: an annotation of nodes and one of groups.
const COMPONENT_NOTE: &str = "smd.component";
const GROUP_NOTE: &str = "smd.group";

/// Fields of a component that our model has itself.
const OWN: [&str; 5] = ["ID", "Type", "Role", "NID", "Locked"];

/// The inventory of an old site, as its services told it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) components: Vec<Value>,
    pub(crate) interfaces: Vec<Value>,
    pub(crate) endpoints: Vec<Value>,
    pub(crate) groups: Vec<Value>,
    /// Hardware addresses for which boot parameters are kept: these interfaces boot.
    pub(crate) boot_macs: BTreeSet<Mac>,
    /// What cloud-init calls nodes, by xname.
    pub(crate) host_names: BTreeMap<String, String>,
    /// How cloud-init makes names out of numbers: prefix and digits.
    pub(crate) naming: Option<(String, usize)>,
}

/// The document, and what was counted on the way.
#[derive(Debug, Default)]
pub(crate) struct Converted {
    pub(crate) document: Value,
    pub(crate) nodes: usize,
    pub(crate) bmcs: usize,
    pub(crate) interfaces: usize,
    pub(crate) groups: usize,
    pub(crate) notes: Vec<String>,
}

/// An interface whose addresses were read.
struct Port {
    mac: String,
    network: Option<String>,
    addresses: Vec<Ipv4Addr>,
}

/// Makes the document.
pub(crate) fn convert(site: &Inventory) -> Converted {
    let endpoints = site.endpoints.iter().filter_map(|one| Some(xname(&one["ID"])?.to_string())).collect();
    let mut reader = Reader { site, endpoints, ports: BTreeMap::new(), notes: Vec::new() };
    reader.ports();
    let components: Vec<(Xname, &Value)> =
        site.components.iter().filter_map(|one| Some((xname(&one["ID"])?, one))).collect();
    let nodes: BTreeMap<String, &Value> = components
        .iter()
        .filter(|(xname, _)| xname.is_node())
        .map(|(xname, one)| (xname.to_string(), *one))
        .collect();
    let (groups, memberships) = reader.groups(&nodes);
    let mut names: BTreeSet<String> = BTreeSet::new();
    let node_list: Vec<Value> =
        nodes.iter().map(|(xname, one)| reader.node(xname, one, &memberships, &mut names)).collect();
    let bmcs = reader.bmcs(&names);
    reader.leftovers(&nodes, &bmcs);
    Converted {
        nodes: node_list.len(),
        bmcs: bmcs.len(),
        interfaces: site.interfaces.len(),
        groups: groups.len(),
        document: json!({ "bmcs": bmcs, "groups": groups, "nodes": node_list }),
        notes: reader.notes,
    }
}

fn xname(value: &Value) -> Option<Xname> {
    value.as_str()?.parse().ok()
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value[key].as_str().map(str::trim).filter(|text| !text.is_empty())
}

struct Reader<'s> {
    site: &'s Inventory,
    /// Xnames of the Redfish endpoints.
    endpoints: BTreeSet<String>,
    /// By the xname that they belong to; those of nothing are under the empty text.
    ports: BTreeMap<String, Vec<Port>>,
    notes: Vec<String>,
}

impl Reader<'_> {
    fn ports(&mut self) {
        let mut v6 = 0_usize;
        for interface in &self.site.interfaces {
            let Some(mac) = text(interface, "MACAddress").and_then(|mac| mac.parse::<Mac>().ok()) else {
                let id = text(interface, "ID").unwrap_or("?");
                self.notes.push(format!("interface {id} has no Ethernet address and is left out"));
                continue;
            };
            let owner = xname(&interface["ComponentID"]).map(|xname| xname.to_string()).unwrap_or_default();
            let list = interface["IPAddresses"].as_array().map(Vec::as_slice).unwrap_or_default();
            let given: Vec<&str> = list.iter().filter_map(|one| text(one, "IPAddress")).collect();
            let addresses: Vec<Ipv4Addr> = given.iter().filter_map(|text| text.parse().ok()).collect();
            v6 = v6.saturating_add(given.len().saturating_sub(addresses.len()));
            let network = list.iter().find_map(|one| text(one, "Network")).map(str::to_owned);
            self.ports.entry(owner).or_default().push(Port { mac: mac.to_string(), network, addresses });
        }
        for list in self.ports.values_mut() {
            list.sort_by_key(|port| !port.mac.parse().is_ok_and(|mac| self.site.boot_macs.contains(&mac)));
        }
        if v6 > 0 {
            self.notes.push(format!("{v6} address(es) are not IPv4 and are left out"));
        }
    }

    fn node(
        &mut self,
        xname: &str,
        component: &Value,
        memberships: &BTreeMap<String, BTreeSet<String>>,
        names: &mut BTreeSet<String>,
    ) -> Value {
        let mut node = Map::new();
        let nid = component["NID"].as_u64().or_else(|| text(component, "NID")?.parse().ok());
        if let Some(name) = self.name(xname, nid) {
            names.insert(name.clone());
            node.insert("name".to_owned(), json!(name));
        }
        node.insert("xname".to_owned(), json!(xname));
        node.extend(nid.map(|nid| ("nid".to_owned(), json!(nid))));
        node.extend(text(component, "Role").map(|role| ("role".to_owned(), json!(role))));
        let arch = text(component, "Arch").map(str::to_ascii_lowercase);
        let arch = arch.filter(|arch| ["x86", "arm"].contains(&arch.as_str()));
        node.extend(arch.map(|arch| ("arch".to_owned(), json!(arch))));
        let groups = memberships.get(xname).cloned().unwrap_or_default();
        node.insert("groups".to_owned(), json!(groups));
        let ports = self.ports.get(xname).map(Vec::as_slice).unwrap_or_default();
        let ports: Vec<Value> = ports
            .iter()
            .map(|port| {
                let addresses: Vec<Value> =
                    port.addresses.iter().map(|address| json!({ "ip_addr": address.to_string() })).collect();
                json!({ "mac_addr": port.mac, "name": port.network, "ip_addrs": addresses })
            })
            .collect();
        node.insert("interfaces".to_owned(), json!(ports));
        if let Some(bmc) = self.bmc_of(xname) {
            node.insert("bmc".to_owned(), json!(bmc));
        }
        let mut kept = component.as_object().cloned().unwrap_or_default();
        kept.retain(|key, _| !OWN.contains(&key.as_str()));
        let note = Value::Object(kept).to_string();
        node.insert("annotations".to_owned(), json!({ COMPONENT_NOTE: note }));
        Value::Object(node)
    }

    /// What the node calls itself today, so that nothing that knows it by name is surprised. None: the import
    /// calls it after its number.
    fn name(&self, xname: &str, nid: Option<u64>) -> Option<String> {
        let label =
            |text: &str| text.split('.').next()?.parse::<NodeName>().ok().map(|name| name.to_string());
        let own = self.site.host_names.get(xname).and_then(|name| label(name));
        let made = || {
            let ((prefix, digits), nid) = (self.site.naming.as_ref()?, nid?);
            label(&format!("{prefix}{nid:0digits$}", digits = *digits))
        };
        own.or_else(made).or_else(|| if nid.is_none() { label(xname) } else { None })
    }

    fn bmc_of(&self, node: &str) -> Option<String> {
        let parent = node.parse::<Xname>().ok()?.parent()?.to_string();
        (self.endpoints.contains(&parent) || self.ports.contains_key(&parent)).then_some(parent)
    }

    /// A BMC for each Redfish endpoint, and for each controller that has nothing but interfaces.
    fn bmcs(&mut self, nodes: &BTreeSet<String>) -> Vec<Value> {
        let mut endpoints: BTreeMap<String, Value> = BTreeMap::new();
        for endpoint in &self.site.endpoints {
            match xname(&endpoint["ID"]) {
                Some(xname) => drop(endpoints.insert(xname.to_string(), endpoint.clone())),
                None => self
                    .notes
                    .push(format!("Redfish endpoint {} has no xname and is left out", endpoint["ID"])),
            }
            if text(endpoint, "Password").is_some() {
                let note = "passwords of Redfish endpoints are not carried over";
                if !self.notes.iter().any(|known| known == note) {
                    self.notes.push(note.to_owned());
                }
            }
        }
        let controllers =
            self.ports.keys().filter(|owner| owner.parse::<Xname>().is_ok_and(|xname| xname.is_bmc()));
        for controller in controllers {
            endpoints.entry(controller.clone()).or_insert(Value::Null);
        }
        let mut used = nodes.clone();
        endpoints.iter().map(|(xname, endpoint)| self.bmc(xname, endpoint, &mut used)).collect()
    }

    fn bmc(&self, xname: &str, endpoint: &Value, used: &mut BTreeSet<String>) -> Value {
        let named = text(endpoint, "Name").and_then(|name| name.parse::<BmcName>().ok());
        let name = named.map(|name| name.to_string()).filter(|name| !used.contains(name));
        let name = name.unwrap_or_else(|| xname.to_owned());
        used.insert(name.clone());
        let port = self.ports.get(xname).and_then(|ports| ports.first());
        let mac =
            text(endpoint, "MACAddr").and_then(|mac| mac.parse::<Mac>().ok()).map(|mac| mac.to_string());
        let address = text(endpoint, "IPAddress").and_then(|text| text.parse::<Ipv4Addr>().ok());
        let address = address.or_else(|| port?.addresses.first().copied());
        // A host name alone is the xname again, and an address is no name.
        let fqdn =
            text(endpoint, "FQDN").filter(|name| name.contains('.') && name.parse::<Ipv4Addr>().is_err());
        let mut bmc = Map::new();
        for (key, value) in [
            ("name", Some(name)),
            ("xname", Some(xname.to_owned())),
            ("mac", mac.or_else(|| Some(port?.mac.clone()))),
            ("ip", address.map(|address| address.to_string())),
            ("fqdn", fqdn.map(str::to_owned)),
        ] {
            bmc.extend(value.map(|value| (key.to_owned(), json!(value))));
        }
        Value::Object(bmc)
    }

    /// Groups, and the labels of each node.
    fn groups(
        &mut self,
        nodes: &BTreeMap<String, &Value>,
    ) -> (Vec<Value>, BTreeMap<String, BTreeSet<String>>) {
        let mut memberships: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut groups = Vec::new();
        for group in &self.site.groups {
            let Some(label) = text(group, "label") else { continue };
            let mut others: BTreeSet<String> = BTreeSet::new();
            for member in group["members"]["ids"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let member = member.parse::<Xname>().map_or(member.to_owned(), |xname| xname.to_string());
                if nodes.contains_key(&member) {
                    memberships.entry(member).or_default().insert(label.to_ascii_lowercase());
                } else {
                    others.insert(member);
                }
            }
            let tags = group["tags"].as_array().cloned().unwrap_or_default();
            let exclusive = text(group, "exclusiveGroup").unwrap_or_default();
            let mut entry = Map::new();
            entry.insert("name".to_owned(), json!(label));
            entry.extend(text(group, "description").map(|text| ("description".to_owned(), json!(text))));
            if !(tags.is_empty() && exclusive.is_empty() && others.is_empty()) {
                let note = json!({ "tags": tags, "exclusive": exclusive, "others": others }).to_string();
                entry.insert("annotations".to_owned(), json!({ GROUP_NOTE: note }));
            }
            groups.push(Value::Object(entry));
        }
        (groups, memberships)
    }

    /// Interfaces that belong to nothing that came over.
    fn leftovers(&mut self, nodes: &BTreeMap<String, &Value>, bmcs: &[Value]) {
        let known: BTreeSet<&str> = bmcs.iter().filter_map(|bmc| bmc["xname"].as_str()).collect();
        let lone = self
            .ports
            .iter()
            .filter(|(owner, _)| !nodes.contains_key(*owner) && !known.contains(owner.as_str()));
        let lone: Vec<String> = lone.flat_map(|(_, ports)| ports).map(|port| port.mac.clone()).collect();
        if !lone.is_empty() {
            let some: Vec<&str> = lone.iter().take(3).map(String::as_str).collect();
            self.notes.push(format!(
                "{} interface(s) belong to no node and no BMC and are left out, such as {}",
                lone.len(),
                some.join(", ")
            ));
        }
    }
}

#[cfg(test)]
mod tests;
