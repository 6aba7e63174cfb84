//! network-config, version 2 (netplan's form): every declared interface by its hardware address, with what its
//! network says. An interface without an address asks DHCP.

use serde_json::{Map, Value, json};

use crate::engine::cloud_init::view::View;
use crate::engine::cloud_init::yaml;
use crate::model::{Interface, Network};

/// Renders the document of one node.
pub(crate) fn render(view: &View<'_>) -> String {
    let mut ethernets = Map::new();
    // A node has one way out: the first network that has a router.
    let mut is_routed = false;
    for (index, interface) in view.node.interfaces.iter().enumerate() {
        let name = interface.name.clone().filter(|name| is_id(name) && !ethernets.contains_key(name));
        let name = name.unwrap_or_else(|| format!("port{index}"));
        ethernets.insert(name, ethernet(view, interface, &mut is_routed));
    }
    let entries = [("version".to_owned(), json!(2)), ("ethernets".to_owned(), Value::Object(ethernets))];
    yaml::emit(entries.iter().map(|(key, value)| (key, value)))
}

/// True for what netplan and systemd take as an id.
fn is_id(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn ethernet(view: &View<'_>, interface: &Interface, is_routed: &mut bool) -> Value {
    let site = &view.snapshot.site;
    let mut out = Map::new();
    out.insert("match".to_owned(), json!({"macaddress": interface.mac.to_string()}));
    let placed: Vec<_> =
        interface.addresses.iter().map(|address| (address, site.network_of(*address))).collect();
    let networks: Vec<&Network> = placed.iter().filter_map(|(_, network)| *network).collect();
    if placed.is_empty() {
        out.insert("dhcp4".to_owned(), json!(true));
        return Value::Object(out);
    }
    let prefixed = placed.iter().map(|(address, network)| {
        let prefix = network.map_or(32, |network| network.address.prefix());
        format!("{address}/{prefix}")
    });
    out.insert("dhcp4".to_owned(), json!(false));
    out.insert("addresses".to_owned(), json!(prefixed.collect::<Vec<_>>()));
    let router = networks.iter().find_map(|network| network.routers.first());
    if let Some(router) = router.filter(|_| !*is_routed) {
        *is_routed = true;
        // `default` is not understood by cloud-init 22; the prefix is by all.
        out.insert("routes".to_owned(), json!([{"to": "0.0.0.0/0", "via": router.to_string()}]));
    }
    if let Some(mtu) = networks.iter().find_map(|network| network.mtu) {
        out.insert("mtu".to_owned(), json!(mtu));
    }
    if let Some(network) = networks.first() {
        let own = || site.head_for(network).into_iter().collect();
        let servers = if network.dns.is_empty() { own() } else { network.dns.clone() };
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let domain = network.domain.as_ref().unwrap_or(&site.domain);
        out.insert("nameservers".to_owned(), json!({"addresses": servers, "search": [domain]}));
    }
    Value::Object(out)
}
