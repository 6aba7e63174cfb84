//! Nodes and BMCs in every form that OpenCHAMI's tools have used, told apart node by node, and ours:
//! A `bmc:` names an entry of `bmcs`; B `bmc_mac`, `bmc_ip` stand in the node; C flat `mac`, `ipaddr`;
//! D `ethernet_interfaces` of the boot service's local provider.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::base::{BmcName, GroupName, Mac, NodeName, Xname};
use crate::engine::inventory::document::{BmcDeclaration, BmcRef, NodeDeclaration};
use crate::engine::inventory::fields::{Fields, message};
use crate::engine::inventory::yaml::{Value, Yaml};
use crate::engine::inventory::{Document, Field, Problems, extras, ports};
use crate::model::{Arch, BootPolicy, Nid};

/// Reads a whole document. `short_name` is the prefix for nodes that have only a number.
pub(crate) fn document(root: &Yaml, short_name: &str, problems: &mut Problems) -> Document {
    let mut reader =
        Reader { short_name, is_d: false, document: Document::default(), inline: Inline::default() };
    if let Value::List(items) = &root.value {
        for (index, item) in items.iter().enumerate() {
            reader.node(item, &format!("[{index}]"), problems);
        }
        reader.document.has_nodes = true;
        return reader.document;
    }
    let Some(mut fields) = Fields::of(root, "", problems) else { return reader.document };
    // Only the boot service's files say which version they are.
    reader.is_d = fields.take("version").is_some();
    let bmcs = fields.items("bmcs", problems);
    reader.document.has_bmcs = bmcs.is_some();
    for (path, item) in bmcs.unwrap_or_default() {
        reader.bmc(item, &path, problems);
    }
    reader.document.groups = extras::groups(&mut fields, problems);
    reader.document.profiles = extras::profiles(&mut fields, problems);
    let nodes = fields.items("nodes", problems);
    reader.document.has_nodes = nodes.is_some();
    for (path, item) in nodes.unwrap_or_default() {
        reader.node(item, &path, problems);
    }
    reader.document.assignments = extras::assignments(&mut fields, problems);
    fields.refuse_rest(problems);
    reader.document
}

/// Where the BMCs are that nodes may share, by what they are known by.
#[derive(Default)]
struct Inline {
    macs: BTreeMap<Mac, usize>,
    addresses: BTreeMap<Ipv4Addr, usize>,
    names: BTreeMap<BmcName, usize>,
}

struct Reader<'s> {
    short_name: &'s str,
    is_d: bool,
    document: Document,
    inline: Inline,
}

impl Reader<'_> {
    fn bmc(&mut self, item: &Yaml, path: &str, problems: &mut Problems) {
        let Some(mut fields) = Fields::of(item, path, problems) else { return };
        let name = fields.parsed::<BmcName>("name", problems);
        let xname = fields.parsed::<Xname>("xname", problems);
        let mac = fields.parsed::<Mac>("mac", problems);
        let address = fields.parsed::<Ipv4Addr>("ip", problems);
        let fqdn = fields.text("fqdn", problems);
        let annotations = fields.map("annotations", problems);
        fields.refuse_rest(problems);
        let bad = name.is_none() && fields.has("name");
        let named = name.as_ref().is_some_and(Option::is_some);
        // A BMC without a name is called by its xname.
        let name = name.flatten().or_else(|| xname.as_ref()?.as_ref()?.as_str().parse().ok());
        if name.is_none() && !bad {
            problems.add(item.line, fields.field("name"), "a BMC needs a name or an xname");
        }
        let Some(name) = name else { return };
        let line = item.line;
        self.add_bmc(BmcDeclaration { line, name, named, xname, mac, address, fqdn, annotations });
    }

    fn add_bmc(&mut self, bmc: BmcDeclaration) -> usize {
        let index = self.document.bmcs.len();
        self.inline.names.entry(bmc.name.clone()).or_insert(index);
        if let Some(mac) = bmc.mac.flatten() {
            self.inline.macs.entry(mac).or_insert(index);
        }
        if let Some(address) = bmc.address.flatten() {
            self.inline.addresses.entry(address).or_insert(index);
        }
        self.document.has_bmcs = true;
        self.document.bmcs.push(bmc);
        index
    }

    fn node(&mut self, item: &Yaml, path: &str, problems: &mut Problems) {
        let Some(mut fields) = Fields::of(item, path, problems) else { return };
        let is_d = self.is_d || fields.has("ethernet_interfaces") || fields.has("boot_mac");
        let is_flat = fields.has("mac") || fields.has("ipaddr") || fields.has("bmc_ipaddr");
        let is_c = is_flat && !fields.has("interfaces");
        let mut annotations = BTreeMap::new();
        let declaration = common(&mut fields, self.short_name, is_d, &mut annotations, problems);
        annotations.extend(fields.map("annotations", problems));
        let interfaces = match () {
            () if is_d => ports::ethernet(&mut fields, problems),
            () if is_c => ports::flat(&mut fields, problems),
            () => ports::listed(&mut fields, problems),
        };
        let bmc = InlineBmc::read(&mut fields, problems);
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
        let Some(mut declaration) = declaration else { return };
        declaration.interfaces = interfaces;
        declaration.annotations = annotations;
        if let Some(bmc) = bmc {
            declaration.bmc = self.own_bmc(&declaration, bmc, &fields, problems);
        }
        self.document.nodes.push(declaration);
    }

    /// A BMC that stands in its node (forms B, C, tables). Nodes with the same BMC name, hardware address, or
    /// address without one, share it, as OpenCHAMI's tools have it.
    fn own_bmc(
        &mut self,
        node: &NodeDeclaration,
        bmc: InlineBmc,
        fields: &Fields<'_>,
        problems: &mut Problems,
    ) -> Field<BmcRef> {
        let given = match &node.bmc {
            Some(Some(BmcRef::Named(name))) => match name.parse::<BmcName>() {
                Ok(name) => Some(name),
                Err(error) => {
                    problems.add(fields.line_of("bmc"), fields.field("bmc"), message(name, &error));
                    return None;
                }
            },
            Some(Some(BmcRef::Entry(_)) | None) | None => None,
        };
        let InlineBmc { mac, address, fqdn } = bmc;
        let known = match (&given, mac, address) {
            (Some(name), _, _) => self.inline.names.get(name),
            (None, Some(mac), _) => self.inline.macs.get(&mac),
            (None, None, Some(address)) => self.inline.addresses.get(&address),
            (None, None, None) => None,
        };
        let known = known.and_then(|index| Some((*index, self.document.bmcs.get(*index)?)));
        if let Some((index, known)) = known {
            let (other_mac, other) = (known.mac.flatten(), known.address.flatten());
            let wrong = |one: String, other: String| {
                format!("{one}, but this BMC has {other} on line {}", known.line)
            };
            if let (Some(one), Some(other)) = (mac, other_mac.filter(|other| Some(*other) != mac)) {
                problems.add(
                    fields.line_of("bmc_mac"),
                    fields.field("bmc_mac"),
                    wrong(one.to_string(), other.to_string()),
                );
            }
            if let (Some(one), Some(other)) = (address, other.filter(|other| Some(*other) != address)) {
                let key = InlineBmc::address_key(fields);
                problems.add(
                    fields.line_of(key),
                    fields.field(key),
                    wrong(one.to_string(), other.to_string()),
                );
            }
            return Some(Some(BmcRef::Entry(index)));
        }
        let named = given.is_some();
        // Some tools write nodes without the last part (x1000c0s0b1): their parent would be a whole slot.
        let xname = node.xname.clone().flatten().filter(Xname::is_node).and_then(|xname| xname.parent());
        let index = self.add_bmc(BmcDeclaration {
            line: node.line,
            name: given.unwrap_or_else(|| bmc_name(&node.name)),
            named,
            xname: xname.map(Some),
            mac: mac.map(Some),
            address: address.map(Some),
            fqdn: fqdn.map(Some),
            annotations: BTreeMap::new(),
        });
        Some(Some(BmcRef::Entry(index)))
    }
}

/// What a node says about its BMC.
struct InlineBmc {
    mac: Option<Mac>,
    address: Option<Ipv4Addr>,
    fqdn: Option<String>,
}

impl InlineBmc {
    fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<InlineBmc> {
        let mac = fields.parsed::<Mac>("bmc_mac", problems).flatten();
        let address = fields.parsed::<Ipv4Addr>(InlineBmc::address_key(fields), problems).flatten();
        let fqdn = fields.text("bmc_fqdn", problems).flatten();
        let any = mac.is_some() || address.is_some() || fqdn.is_some();
        any.then_some(InlineBmc { mac, address, fqdn })
    }

    fn address_key(fields: &Fields<'_>) -> &'static str {
        if fields.has("bmc_ipaddr") { "bmc_ipaddr" } else { "bmc_ip" }
    }
}

/// A BMC without a name of its own is called after its node.
pub(crate) fn bmc_name(node: &NodeName) -> BmcName {
    format!("{node}-bmc").parse().unwrap_or_else(|_| {
        // The node's name leaves no room for the suffix.
        let short: String = node.as_str().chars().take(58).collect();
        let short = short.trim_end_matches('-');
        format!("{short}-bmc").parse().expect("a shortened host label is a host label")
    })
}

/// What all forms share. None: the node cannot be named.
fn common(
    fields: &mut Fields<'_>,
    short_name: &str,
    is_d: bool,
    annotations: &mut BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<NodeDeclaration> {
    let xname = fields.parsed::<Xname>("xname", problems);
    let nid = fields.parsed::<Number>("nid", problems).map(|nid| nid.map(|number| Nid(number.0)));
    let name = fields.parsed::<NodeName>("name", problems);
    let bad_name = name.is_none() && fields.has("name");
    let mut name = name.flatten();
    if is_d && let Some(id) = fields.text("id", problems).flatten() {
        match id.parse() {
            Ok(id) if name.is_none() => name = Some(id),
            Ok(id) if name.as_ref() == Some(&id) => {}
            Ok(_) | Err(_) => drop(annotations.insert("id".to_owned(), id)),
        }
    }
    // The tools of forms B and C call a node without a name after its number.
    let number = nid.flatten().filter(|_| !bad_name);
    let name = name.or_else(|| format!("{short_name}{:03}", number?.0).parse().ok());
    if name.is_none() && !bad_name {
        problems.add(fields.line, fields.field("name"), "a node needs a name, or a nid to be called by");
    }
    let mut groups = fields.words("groups", problems);
    if let Some(group) = fields.words("group", problems) {
        groups.get_or_insert_default().extend(group);
    }
    let groups = groups.map(|words| read_groups(words, &fields.field("groups"), problems));
    let arches = || Arch::ALL.map(|(_, name)| name).join(", ");
    let policies = || BootPolicy::ALL.map(|(_, name)| name).join(", ");
    Some(NodeDeclaration {
        line: fields.line,
        xname,
        nid,
        uuid: fields.parsed("uuid", problems),
        arch: one_of(fields, "arch", Arch::from_name, arches, problems),
        role: fields.text("role", problems),
        groups,
        interfaces: None,
        bmc: fields.text("bmc", problems).map(|bmc| bmc.map(BmcRef::Named)),
        policy: one_of(fields, "policy", BootPolicy::from_name, policies, problems).flatten(),
        loader: fields.text("loader", problems),
        annotations: BTreeMap::new(),
        // Last, so that a node without a name still tells of its other mistakes.
        name: name?,
    })
}

/// A number of a node.
struct Number(u32);

impl FromStr for Number {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Number).map_err(|_| "is not a whole number from 0 to 4294967295")
    }
}

/// A word out of a fixed list.
fn one_of<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    read: impl Fn(&str) -> Option<T>,
    all: impl Fn() -> String,
    problems: &mut Problems,
) -> Field<T> {
    let Some(text) = fields.text(key, problems)? else { return Some(None) };
    let value = read(text.trim());
    if value.is_none() {
        problems.add(fields.line_of(key), fields.field(key), format!("{text:?} is none of {}", all()));
    }
    value.map(Some)
}

fn read_groups(words: Vec<(usize, String)>, field: &str, problems: &mut Problems) -> BTreeSet<GroupName> {
    let mut groups = BTreeSet::new();
    for (line, word) in words {
        match word.parse() {
            Ok(group) => drop(groups.insert(group)),
            Err(error) => problems.add(line, field, message(&word, &error)),
        }
    }
    groups
}
