//! The ports of a node, in each of the forms.

use std::net::Ipv4Addr;

use crate::base::Mac;
use crate::engine::inventory::document::{InterfaceDeclaration, Interfaces};
use crate::engine::inventory::fields::Fields;
use crate::engine::inventory::{Field, Problems};

/// Forms A and B: `mac_addr`, and addresses with the name of their network. A name that is not there, and
/// addresses that are not there, stay as they are; `ip_addrs: []` says that there are none.
pub(crate) fn listed(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Interfaces> {
    let mut interfaces = Vec::new();
    for (path, item) in fields.items("interfaces", problems)? {
        let Some(mut fields) = Fields::of(item, &path, problems) else { continue };
        let mac = fields.parsed::<Mac>("mac_addr", problems);
        let mut name = fields.text("name", problems);
        let mut addresses = None;
        for (path, item) in fields.items("ip_addrs", problems).unwrap_or_default() {
            let Some(mut fields) = Fields::of(item, &path, problems) else { continue };
            let address = fields.parsed::<Ipv4Addr>("ip_addr", problems).flatten();
            addresses.get_or_insert_with(Vec::new).extend(address);
            // Old tools wanted `network`, every published example has `name`.
            let network = fields.text("name", problems).flatten();
            let network = network.or(fields.text("network", problems).flatten());
            name = name.or(network.map(Some));
            fields.refuse_rest(problems);
        }
        if addresses.is_none() && fields.has("ip_addrs") {
            addresses = Some(Vec::new());
        }
        fields.refuse_rest(problems);
        let mac = needed(mac, &fields, "mac_addr", problems);
        interfaces.extend(mac.map(|mac| InterfaceDeclaration { name, mac, addresses }));
    }
    Some(Interfaces::All(interfaces))
}

/// Form C and tables: one port, flat. `ip` is what tables call its address, and many a hand-written file.
pub(crate) fn flat(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Interfaces> {
    let mac = fields.parsed::<Mac>("mac", problems);
    let key = if fields.has("ipaddr") { "ipaddr" } else { "ip" };
    let address = fields.parsed::<Ipv4Addr>(key, problems);
    let mac = needed(mac, fields, "mac", problems)?;
    let addresses = address.map(|address| address.into_iter().collect());
    Some(Interfaces::One(InterfaceDeclaration { name: None, mac, addresses }))
}

/// Form D: the boot interface comes first.
pub(crate) fn ethernet(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Interfaces> {
    let boot = fields.parsed::<Mac>("boot_mac", problems).flatten();
    let listed = fields.items("ethernet_interfaces", problems);
    if boot.is_none() && listed.is_none() {
        return None;
    }
    let complete = listed.is_some();
    let mut interfaces: Vec<InterfaceDeclaration> = Vec::new();
    for (path, item) in listed.unwrap_or_default() {
        let Some(mut fields) = Fields::of(item, &path, problems) else { continue };
        let mac = fields.parsed::<Mac>("mac_address", problems);
        let address = fields.parsed::<Ipv4Addr>("ip_address", problems);
        let name = fields.text("description", problems);
        let addresses = address.map(|address| address.into_iter().collect());
        let mac = needed(mac, &fields, "mac_address", problems);
        interfaces.extend(mac.map(|mac| InterfaceDeclaration { name, mac, addresses }));
    }
    let is_listed = |mac: Mac| interfaces.iter().any(|known| known.mac == mac);
    let lone = boot.filter(|mac| !is_listed(*mac));
    let lone = lone.map(|mac| InterfaceDeclaration { name: None, mac, addresses: None });
    if !complete {
        return lone.map(Interfaces::One);
    }
    interfaces.extend(lone);
    interfaces.sort_by_key(|interface| Some(interface.mac) != boot);
    Some(Interfaces::All(interfaces))
}

/// The hardware address that every port needs. A malformed one has been reported already.
fn needed(mac: Field<Mac>, fields: &Fields<'_>, key: &str, problems: &mut Problems) -> Option<Mac> {
    if matches!(mac, Some(None)) || !fields.has(key) {
        problems.add(fields.line_of(key), fields.field(key), "an interface needs a hardware address");
    }
    mac.flatten()
}
