//! Nodes and BMCs in every form that OpenCHAMI's tools have used, told apart node by node, and ours:
//! A `bmc:` names an entry of `bmcs`; B `bmc_mac`, `bmc_ip` stand in the node; C flat `mac`, `ipaddr`;
//! D `ethernet_interfaces` of the boot service's local provider.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::base::{BmcName, GroupName, Mac, NodeName, Xname};
use crate::engine::inventory::document::{BmcDeclaration, NodeDeclaration};
use crate::engine::inventory::fields::{Fields, message};
use crate::engine::inventory::yaml::{Value, Yaml};
use crate::engine::inventory::{Document, Field, Problems, extras};
use crate::model::{Arch, BootPolicy, Interface, Nid};

/// Reads a whole document. `short_name` is the prefix for nodes that have only a number.
pub(crate) fn document(root: &Yaml, short_name: &str, problems: &mut Problems) -> Document {
    let mut document = Document::default();
    if let Value::List(items) = &root.value {
        for (index, item) in items.iter().enumerate() {
            node(item, &format!("[{index}]"), short_name, &mut document, problems);
        }
        return document;
    }
    let Some(mut fields) = Fields::of(root, "", problems) else { return document };
    let _ = fields.take("version");
    for (path, item) in fields.items("bmcs", problems).unwrap_or_default() {
        document.bmcs.extend(bmc(item, &path, problems));
    }
    document.groups = extras::groups(&mut fields, problems);
    document.profiles = extras::profiles(&mut fields, problems);
    for (path, item) in fields.items("nodes", problems).unwrap_or_default() {
        node(item, &path, short_name, &mut document, problems);
    }
    document.assignments = extras::assignments(&mut fields, problems);
    fields.refuse_rest(problems);
    document
}

fn bmc(item: &Yaml, path: &str, problems: &mut Problems) -> Option<BmcDeclaration> {
    let mut fields = Fields::of(item, path, problems)?;
    let name = fields.parsed::<BmcName>("name", problems);
    let xname = fields.parsed::<Xname>("xname", problems);
    let mac = fields.parsed::<Mac>("mac", problems);
    let address = fields.parsed::<Ipv4Addr>("ip", problems);
    let fqdn = fields.text("fqdn", problems);
    let annotations = fields.map("annotations", problems);
    fields.refuse_rest(problems);
    // A BMC without a name is called by its xname.
    let name = name.flatten().or_else(|| xname.as_ref()?.as_ref()?.as_str().parse().ok());
    if name.is_none() {
        problems.add(item.line, fields.field("name"), "a BMC needs a name or an xname");
    }
    Some(BmcDeclaration { line: item.line, name: name?, xname, mac, address, fqdn, annotations })
}

fn node(item: &Yaml, path: &str, short_name: &str, document: &mut Document, problems: &mut Problems) {
    let Some(mut fields) = Fields::of(item, path, problems) else { return };
    let is_d = fields.has("ethernet_interfaces") || fields.has("boot_mac");
    let is_c = fields.has("mac") || fields.has("ipaddr") || fields.has("bmc_ipaddr");
    let mut declaration = common(&mut fields, short_name, is_d, problems);
    let mut annotations = fields.map("annotations", problems);
    let interfaces = match () {
        () if is_d => interfaces_d(&mut fields, problems),
        () if is_c => interfaces_c(&mut fields, problems),
        () => interfaces_a(&mut fields, problems),
    };
    let bmc_mac = fields.parsed::<Mac>("bmc_mac", problems).flatten();
    let ip_key = if fields.has("bmc_ipaddr") { "bmc_ipaddr" } else { "bmc_ip" };
    let bmc_address = fields.parsed::<Ipv4Addr>(ip_key, problems).flatten();
    let bmc_fqdn = fields.text("bmc_fqdn", problems).flatten();
    if is_d {
        for (key, value) in fields.map("metadata", problems) {
            annotations.insert(format!("metadata.{key}"), value);
        }
    }
    if is_d || is_c {
        fields.keep_rest(&mut annotations);
    } else {
        fields.refuse_rest(problems);
    }
    let Some(declaration) = declaration.as_mut() else { return };
    declaration.interfaces = interfaces;
    declaration.annotations = annotations;
    if bmc_mac.is_some() || bmc_address.is_some() {
        let known = document.bmcs.iter().find(|known| bmc_mac.is_some() && known.mac == Some(bmc_mac));
        let name = known.map(|known| known.name.clone());
        let name = name.unwrap_or_else(|| {
            let made = own_bmc(declaration, bmc_mac, bmc_address, bmc_fqdn);
            let name = made.name.clone();
            document.bmcs.push(made);
            name
        });
        declaration.bmc = Some(Some(name.to_string()));
    }
    document.nodes.push(declaration.clone());
}

/// A BMC that stands in its node (forms B and C): called after it.
fn own_bmc(
    node: &NodeDeclaration,
    mac: Option<Mac>,
    address: Option<Ipv4Addr>,
    fqdn: Option<String>,
) -> BmcDeclaration {
    let name = format!("{}-bmc", node.name);
    let name = name.parse().unwrap_or_else(|_| {
        // The node's name leaves no room for the suffix.
        let short: String = node.name.as_str().chars().take(58).collect();
        format!("{}-bmc", short.trim_end_matches('-'))
            .parse()
            .expect("a shortened host label is a host label")
    });
    let xname = node.xname.clone().flatten().and_then(|xname| xname.parent());
    BmcDeclaration {
        line: node.line,
        name,
        xname: xname.map(Some),
        mac: mac.map(Some),
        address: address.map(Some),
        fqdn: fqdn.map(Some),
        annotations: BTreeMap::new(),
    }
}

/// What all forms share. None: the node cannot be named.
fn common(
    fields: &mut Fields<'_>,
    short_name: &str,
    is_d: bool,
    problems: &mut Problems,
) -> Option<NodeDeclaration> {
    let xname = fields.parsed::<Xname>("xname", problems);
    let nid = fields.parsed::<u32>("nid", problems).map(|nid| nid.map(Nid));
    let had_name = fields.has("name");
    let name = fields.parsed::<NodeName>("name", problems).flatten();
    let id = is_d.then(|| fields.text("id", problems).flatten()).flatten();
    let name = name.or_else(|| id?.parse().ok()).or_else(|| {
        // The tools of forms B and C call a node without a name after its number.
        let number = nid.flatten().filter(|_| !had_name)?;
        format!("{short_name}{:03}", number.0).parse().ok()
    });
    if name.is_none() && !had_name {
        problems.add(fields.line, fields.field("name"), "a node needs a name, or a nid to be called by");
    }
    let mut groups = fields.words("groups", problems);
    if let Some(group) = fields.words("group", problems) {
        groups.get_or_insert_default().extend(group);
    }
    let groups = groups.map(|words| read_groups(words, &fields.field("groups"), problems));
    let (arch_line, policy_line) = (fields.line, fields.line);
    let arch = fields
        .text("arch", problems)
        .and_then(|arch| read_name(arch, Arch::from_name, "arch", (arch_line, fields), problems));
    let policy = fields.text("policy", problems).and_then(|policy| {
        read_name(policy, BootPolicy::from_name, "policy", (policy_line, fields), problems)
    });
    Some(NodeDeclaration {
        line: fields.line,
        name: name?,
        xname,
        nid,
        uuid: fields.parsed("uuid", problems),
        arch,
        role: fields.text("role", problems),
        groups,
        interfaces: None,
        bmc: fields.text("bmc", problems),
        policy: policy.flatten(),
        loader: fields.text("loader", problems),
        annotations: BTreeMap::new(),
    })
}

/// A word out of a fixed list.
pub(crate) fn read_name<T>(
    text: Option<String>,
    read: impl Fn(&str) -> Option<T>,
    key: &str,
    (line, fields): (usize, &Fields<'_>),
    problems: &mut Problems,
) -> Field<T> {
    let Some(text) = text else { return Some(None) };
    let value = read(&text);
    if value.is_none() {
        problems.add(line, fields.field(key), format!("{text:?} is not known"));
    }
    value.map(Some)
}

pub(crate) fn read_groups(
    words: Vec<(usize, String)>,
    field: &str,
    problems: &mut Problems,
) -> std::collections::BTreeSet<GroupName> {
    let mut groups = std::collections::BTreeSet::new();
    for (line, word) in words {
        match word.parse() {
            Ok(group) => drop(groups.insert(group)),
            Err(error) => problems.add(line, field, message(&word, &error)),
        }
    }
    groups
}

/// Forms A and B: `mac_addr`, and addresses with the name of their network.
fn interfaces_a(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Vec<Interface>> {
    let mut interfaces = Vec::new();
    for (path, item) in fields.items("interfaces", problems)? {
        let Some(mut fields) = Fields::of(item, &path, problems) else { continue };
        let mac = fields.parsed::<Mac>("mac_addr", problems);
        let mut name = fields.text("name", problems).flatten();
        let mut addresses = Vec::new();
        for (path, item) in fields.items("ip_addrs", problems).unwrap_or_default() {
            let Some(mut fields) = Fields::of(item, &path, problems) else { continue };
            addresses.extend(fields.parsed::<Ipv4Addr>("ip_addr", problems).flatten());
            // Old tools wanted `network`, every published example has `name`.
            let network = fields.text("name", problems).flatten();
            let network = network.or(fields.text("network", problems).flatten());
            name = name.or(network);
            fields.refuse_rest(problems);
        }
        fields.refuse_rest(problems);
        interfaces.extend(interface(mac, name, addresses, item.line, &fields.field("mac_addr"), problems));
    }
    Some(interfaces)
}

/// Form C: one interface, flat.
fn interfaces_c(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Vec<Interface>> {
    let mac = fields.parsed::<Mac>("mac", problems);
    let address = fields.parsed::<Ipv4Addr>("ipaddr", problems).flatten();
    let line = fields.line;
    interface(mac, None, address.into_iter().collect(), line, &fields.field("mac"), problems)
        .map(|one| vec![one])
}

/// Form D: the boot interface comes first.
fn interfaces_d(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Vec<Interface>> {
    let boot = fields.parsed::<Mac>("boot_mac", problems).flatten();
    let mut interfaces: Vec<Interface> = Vec::new();
    for (path, item) in fields.items("ethernet_interfaces", problems).unwrap_or_default() {
        let Some(mut fields) = Fields::of(item, &path, problems) else { continue };
        let mac = fields.parsed::<Mac>("mac_address", problems);
        let address = fields.parsed::<Ipv4Addr>("ip_address", problems).flatten();
        let name = fields.text("description", problems).flatten();
        let addresses = address.into_iter().collect();
        interfaces.extend(interface(mac, name, addresses, item.line, &fields.field("mac_address"), problems));
    }
    if let Some(mac) = boot.filter(|mac| !interfaces.iter().any(|known| known.mac == *mac)) {
        interfaces.push(Interface { name: None, mac, addresses: Vec::new() });
    }
    interfaces.sort_by_key(|interface| Some(interface.mac) != boot);
    Some(interfaces)
}

fn interface(
    mac: Field<Mac>,
    name: Option<String>,
    addresses: Vec<Ipv4Addr>,
    line: usize,
    field: &str,
    problems: &mut Problems,
) -> Option<Interface> {
    match mac {
        Some(Some(mac)) => Some(Interface { name, mac, addresses }),
        // Absent or empty; a malformed one has been reported.
        Some(None) => {
            problems.add(line, field, "an interface needs a hardware address");
            None
        }
        None => {
            let reported = problems.list.iter().any(|problem| problem.field == field);
            if !reported {
                problems.add(line, field, "an interface needs a hardware address");
            }
            None
        }
    }
}
