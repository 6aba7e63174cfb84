//! Ethernet interfaces as SMD shows them, and where they stand here: ports of nodes and BMCs, which DHCP, DNS and
//! boot read too; documents for those that belong to nothing that is declared.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::api::openchami::draft::{self, Draft, Holder};
use crate::api::openchami::smd::component;
use crate::base::{BmcName, Mac, Xname};
use crate::model::snapshot::Machine;
use crate::model::{Bmc, Interface, Inventory, Node, NodeId, Site, Snapshot};

/// Where interfaces live that belong to no node and no BMC.
pub(crate) const SHELF: &str = "smd.interface";

/// Go's zero time: when something was last updated that SMD never saw change.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

pub(crate) const KEYS: [&str; 9] = [
    "ID",
    "Description",
    "MACAddress",
    "LastUpdate",
    "ComponentID",
    "Type",
    "IPAddresses",
    "IPAddress",
    "Network",
];

/// An interface. Field for field SMD's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Port {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Description")]
    pub(crate) description: String,
    #[serde(rename = "MACAddress")]
    pub(crate) mac: String,
    #[serde(rename = "LastUpdate")]
    pub(crate) last_update: String,
    #[serde(rename = "ComponentID")]
    pub(crate) component: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(rename = "IPAddresses")]
    pub(crate) addresses: Vec<Address>,
}

impl Port {
    /// An interface of which only the hardware address and the component are known.
    pub(crate) fn blank(mac: Mac, component: &Xname) -> Port {
        Port {
            id: id(mac),
            mac: mac.to_string(),
            component: component.to_string(),
            kind: component.kind().unwrap_or_default().to_owned(),
            ..Port::default()
        }
    }
}

/// An address of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Address {
    #[serde(rename = "IPAddress")]
    pub(crate) address: String,
    #[serde(rename = "Network", skip_serializing_if = "String::is_empty")]
    pub(crate) network: String,
}

/// What an annotation keeps of an interface: all that our ports have no place for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    description: String,
    last_update: String,
    /// Names of the networks of the addresses.
    networks: BTreeMap<String, String>,
    /// Addresses that cannot be ours: of no network of the site, taken, or not IPv4.
    others: Vec<Address>,
}

/// The id of an interface: its hardware address without separators.
pub(crate) fn id(mac: Mac) -> String {
    mac.to_string().replace(':', "")
}

fn note(mac: Mac) -> String {
    format!("smd.interface.{}", id(mac))
}

fn show(
    mac: Mac,
    own: &[Ipv4Addr],
    annotations: &BTreeMap<String, String>,
    xname: &Xname,
    kind: &str,
) -> Port {
    let kept: Kept =
        annotations.get(&note(mac)).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let own = own.iter().map(|address| {
        let address = address.to_string();
        let network = kept.networks.get(&address).cloned().unwrap_or_default();
        Address { address, network }
    });
    Port {
        id: id(mac),
        addresses: own.chain(kept.others.iter().cloned()).collect(),
        description: kept.description,
        mac: mac.to_string(),
        last_update: if kept.last_update.is_empty() { NEVER.to_owned() } else { kept.last_update },
        component: xname.to_string(),
        kind: kind.to_owned(),
    }
}

pub(crate) fn of_node(node: &Node) -> impl Iterator<Item = (Mac, Port)> {
    let xname = node.effective_xname();
    node.interfaces
        .iter()
        .map(move |port| (port.mac, show(port.mac, &port.addresses, &node.annotations, &xname, "Node")))
}

fn of_bmc(bmc: &Bmc, xname: &Xname) -> Option<(Mac, Port)> {
    let mac = bmc.mac?;
    let kind = xname.kind().unwrap_or("NodeBMC");
    Some((mac, show(mac, bmc.address.as_slice(), &bmc.annotations, xname, kind)))
}

/// All interfaces, by hardware address.
pub(crate) fn all(inventory: &Inventory) -> BTreeMap<Mac, Port> {
    let mut all = BTreeMap::new();
    for (id, port) in draft::shelf::<Port>(inventory, SHELF) {
        all.extend(id.parse().map(|mac: Mac| (mac, port)));
    }
    for (name, xname) in draft::bmc_xnames(inventory) {
        all.extend(inventory.bmcs.get(&name).and_then(|bmc| of_bmc(bmc, &xname)));
    }
    all.extend(inventory.nodes.values().flat_map(|node| of_node(node)));
    all
}

/// One interface.
pub(crate) fn find(draft: &Draft<'_>, mac: Mac) -> Option<Port> {
    match draft.holder_of_mac(mac) {
        Some(Holder::Node(id)) => {
            of_node(draft.next.nodes.get(&id)?).find(|(own, _)| *own == mac).map(|(_, port)| port)
        }
        Some(Holder::Bmc(name)) => {
            let bmc = draft.next.bmcs.get(&name)?;
            of_bmc(bmc, &draft.bmc_xname(bmc)?).map(|(_, port)| port)
        }
        None => draft.document(SHELF, &id(mac)),
    }
}

/// One interface of a snapshot.
pub(crate) fn one(snapshot: &Snapshot, mac: Mac) -> Option<Port> {
    match snapshot.by_mac(mac) {
        Some(Machine::Node { node, .. }) => of_node(node).find(|(own, _)| *own == mac).map(|(_, port)| port),
        Some(Machine::Bmc(bmc)) => {
            let derived = || draft::bmc_xnames(&snapshot.inventory).remove(&bmc.name);
            of_bmc(bmc, &bmc.xname.clone().or_else(derived)?).map(|(_, port)| port)
        }
        None => draft::read(snapshot.inventory.document(SHELF, &id(mac))?),
    }
}

/// Writes an interface to where it belongs. One that was elsewhere moves.
pub(crate) fn put(draft: &mut Draft<'_>, mac: Mac, port: &Port) {
    let wanted: Option<Xname> = port.component.parse().ok();
    let node = wanted.as_ref().and_then(|xname| draft.node(xname)).map(|node| node.id);
    let bmc = wanted.as_ref().and_then(|xname| draft.bmc(xname)).map(|bmc| bmc.name.clone());
    let holder = draft.holder_of_mac(mac);
    let stays = match &holder {
        Some(Holder::Node(id)) => node == Some(*id),
        Some(Holder::Bmc(name)) => bmc.as_ref() == Some(name),
        None => false,
    };
    if !stays {
        remove(draft, mac);
    }
    match (node, bmc) {
        (Some(id), _) if mac.is_unicast() => put_on_node(draft, id, mac, port),
        (None, Some(name)) if mac.is_unicast() && is_for(draft, &name, mac) => {
            put_on_bmc(draft, &name, mac, port)
        }
        _ => draft.put_document(SHELF, &id(mac), port),
    }
}

/// True if a BMC has no other hardware address yet: ours have one.
fn is_for(draft: &Draft<'_>, name: &BmcName, mac: Mac) -> bool {
    draft.next.bmcs.get(name).is_some_and(|bmc| bmc.mac.is_none_or(|own| own == mac))
}

fn put_on_node(draft: &mut Draft<'_>, id: NodeId, mac: Mac, port: &Port) {
    let Some(node) = draft.next.nodes.get(&id) else { return };
    let mut node = Node::clone(node);
    let (own, kept) = split(draft, &Holder::Node(id), port);
    match node.interfaces.iter_mut().find(|interface| interface.mac == mac) {
        Some(interface) => interface.addresses = own,
        None => node.interfaces.push(Interface { name: None, mac, addresses: own }),
    }
    node.annotations.insert(note(mac), text(&kept));
    draft.put_node(node);
}

fn put_on_bmc(draft: &mut Draft<'_>, name: &BmcName, mac: Mac, port: &Port) {
    let Some(bmc) = draft.next.bmcs.get(name) else { return };
    let mut bmc = Bmc::clone(bmc);
    let (own, mut kept) = split(draft, &Holder::Bmc(name.clone()), port);
    let mut own = own.into_iter();
    (bmc.mac, bmc.address) = (Some(mac), own.next());
    let more = own.map(|address| Address {
        address: address.to_string(),
        network: kept.networks.get(&address.to_string()).cloned().unwrap_or_default(),
    });
    kept.others.splice(0..0, more.collect::<Vec<_>>());
    bmc.annotations.insert(note(mac), text(&kept));
    draft.put_bmc(bmc);
}

/// Which addresses of an interface can be ours, and what else is kept.
fn split(draft: &Draft<'_>, holder: &Holder, port: &Port) -> (Vec<Ipv4Addr>, Kept) {
    let mut own = Vec::new();
    let mut kept = Kept {
        description: port.description.clone(),
        last_update: port.last_update.clone(),
        ..Kept::default()
    };
    for address in &port.addresses {
        let ours = address.address.parse().ok().filter(|address| {
            let free = draft.holder_of_address(*address).is_none_or(|other| other == *holder);
            free && !own.contains(address) && fits(&draft.snapshot.site, *address, holder)
        });
        match ours {
            Some(ours) => {
                own.push(ours);
                kept.networks.insert(address.address.clone(), address.network.clone());
            }
            None => kept.others.push(address.clone()),
        }
    }
    kept.networks.retain(|_, network| !network.is_empty());
    (own, kept)
}

/// True if an address can be declared here (`model::validate` says the same of a whole inventory).
fn fits(site: &Site, address: Ipv4Addr, holder: &Holder) -> bool {
    if site.networks.is_empty() || matches!(holder, Holder::Bmc(_)) {
        return true;
    }
    let network = site.network_of(address);
    network.is_some_and(|network| network.address.is_host(address) && network.head() != Some(address))
}

/// Removes an interface; false if there is none.
pub(crate) fn remove(draft: &mut Draft<'_>, mac: Mac) -> bool {
    match draft.holder_of_mac(mac) {
        Some(Holder::Node(id)) => {
            let Some(node) = draft.next.nodes.get(&id) else { return false };
            let mut node = Node::clone(node);
            node.interfaces.retain(|interface| interface.mac != mac);
            node.annotations.remove(&note(mac));
            draft.put_node(node);
            true
        }
        Some(Holder::Bmc(name)) => {
            let Some(bmc) = draft.next.bmcs.get(&name) else { return false };
            let mut bmc = Bmc::clone(bmc);
            (bmc.mac, bmc.address) = (None, None);
            bmc.annotations.remove(&note(mac));
            draft.put_bmc(bmc.clone());
            // A BMC of which nothing is left goes with it.
            if bmc.annotations.get(component::NOTE).is_some_and(|text| text == component::GONE) {
                component::hide(draft, &bmc, component::NOTE);
            }
            true
        }
        None => draft.remove_document(SHELF, &id(mac)),
    }
}

/// Checks an address of a body.
pub(crate) fn check_address(address: &Address) -> Result<(), String> {
    match address.address.parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("invalid IPAddress: {:?}", address.address)),
    }
}

fn text(kept: &Kept) -> String {
    serde_json::to_string(kept).expect("what is kept holds nothing that JSON cannot")
}
