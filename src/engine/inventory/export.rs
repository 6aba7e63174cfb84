//! Declared state as a document that imports back to the same state: form A of OpenCHAMI's tools, and the
//! sections and fields in which ours goes beyond it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};

use crate::base::Xname;
use crate::model::profile::Boot;
use crate::model::{
    Arch, Assignment, Bmc, BootPolicy, BootTarget, Group, Inventory, Node, Profile, Selector,
};

/// Writes the whole inventory as YAML, in a stable order.
#[must_use]
pub fn export(inventory: &Inventory) -> String {
    let mut out = Writer(String::new());
    out.section("bmcs", inventory.bmcs.values(), |out, bmc| out.bmc(bmc));
    out.section("groups", inventory.groups.values(), |out, group| out.group(group));
    out.section("profiles", inventory.profiles.values(), |out, profile| out.profile(profile));
    let bmcs = inventory.bmcs.values();
    let implied = bmcs.flat_map(|bmc| [Some(bmc.name.as_str()), bmc.xname.as_ref().map(Xname::as_str)]);
    let implied: BTreeSet<&str> = implied.flatten().collect();
    out.section("nodes", inventory.nodes.values(), |out, node| out.node(node, &implied));
    out.section("assignments", inventory.assignments.values(), |out, assignment| {
        out.assignment(assignment, inventory);
    });
    out.0
}

struct Writer(String);

/// Longest key that YAML allows without a `?` in front (YAML 1.2.2 section 8.2.2).
const SIMPLE_KEY_MAX: usize = 1024;

/// The text of a scalar: as it is where YAML cannot misread it, else in double quotes.
fn quote(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/'))
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain { text.to_owned() } else { quoted(text) }
}

/// Letters and printable ASCII as they are; the rest escaped, so that nothing invisible stands in the document
/// and nothing in it that YAML forbids (section 5.1).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            _ if c.is_alphanumeric() => out.push(c),
            _ => drop(write!(out, "\\U{:08x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

impl Writer {
    // Writing to a String cannot fail, throughout.

    fn section<'a, T: 'a>(
        &mut self,
        name: &str,
        items: impl Iterator<Item = &'a T>,
        mut write: impl FnMut(&mut Writer, &T),
    ) {
        let mut items = items.peekable();
        let empty = if items.peek().is_none() { " []" } else { "" };
        let _ = writeln!(self.0, "{name}:{empty}");
        items.for_each(|item| write(self, item));
    }

    fn first(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "- {key}: {}", quote(&value.to_string()));
    }

    fn line(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "  {key}: {}", quote(&value.to_string()));
    }

    fn number(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.0, "  {key}: {value}");
    }

    fn some(&mut self, key: &str, value: Option<impl Display>) {
        // An empty word would be read as none.
        if let Some(value) = value.map(|value| value.to_string()).filter(|value| !value.is_empty()) {
            self.line(key, value);
        }
    }

    fn list<T: Display>(&mut self, key: &str, items: impl Iterator<Item = T>) {
        let items: Vec<String> = items.map(|item| quote(&item.to_string())).collect();
        if !items.is_empty() {
            let _ = writeln!(self.0, "  {key}: [{}]", items.join(", "));
        }
    }

    fn annotations(&mut self, annotations: &BTreeMap<String, String>) {
        if !annotations.is_empty() {
            let _ = writeln!(self.0, "  annotations:");
        }
        for (key, value) in annotations {
            let (key, value) = (quoted(key), quoted(value));
            let explicit = if key.len() < SIMPLE_KEY_MAX { "" } else { "? " };
            let colon = if explicit.is_empty() { ": " } else { "\n    : " };
            let _ = writeln!(self.0, "    {explicit}{key}{colon}{value}");
        }
    }

    fn bmc(&mut self, bmc: &Bmc) {
        let Bmc { name, xname, mac, address, fqdn, annotations } = bmc;
        self.first("name", name);
        self.some("xname", xname.as_ref());
        self.some("mac", mac.as_ref());
        self.some("ip", address.as_ref());
        self.some("fqdn", fqdn.as_ref());
        self.annotations(annotations);
    }

    fn group(&mut self, group: &Group) {
        let Group { name, description, priority, loader, annotations } = group;
        self.first("name", name);
        self.some("description", Some(description).filter(|text| !text.is_empty()));
        if *priority != 0 {
            self.number("priority", priority);
        }
        self.some("loader", loader.as_ref());
        self.annotations(annotations);
    }

    fn profile(&mut self, profile: &Profile) {
        let Profile { name, description, target } = profile;
        self.first("name", name);
        self.some("description", Some(description).filter(|text| !text.is_empty()));
        self.target(target);
    }

    fn target(&mut self, target: &BootTarget) {
        match target {
            BootTarget::Linux { kernel, initrds, params } => {
                self.some("kernel", Some(kernel));
                self.list("initrds", initrds.iter());
                self.some("params", Some(params).filter(|text| !text.is_empty()));
            }
            BootTarget::Image { image, params } => {
                self.line("image", image);
                self.some("params", Some(params).filter(|text| !text.is_empty()));
            }
            BootTarget::Script(script) => self.line("script", script),
            BootTarget::Chain(url) => self.line("chain", url),
            BootTarget::LocalDisk => {
                let _ = writeln!(self.0, "  local: true");
            }
        }
    }

    fn node(&mut self, node: &Node, implied: &BTreeSet<&str>) {
        let Node {
            id: _,
            name,
            xname,
            nid,
            uuid,
            arch,
            role,
            groups,
            interfaces,
            bmc,
            policy,
            loader,
            annotations,
        } = node;
        self.first("name", name);
        self.some("xname", xname.as_ref());
        if let Some(nid) = nid {
            self.number("nid", nid.0);
        }
        self.some("uuid", uuid.as_ref());
        self.some("arch", arch.map(|arch| arch.as_str()));
        self.some("role", role.as_ref());
        self.list("groups", groups.iter());
        match (bmc, xname.as_ref().and_then(Xname::parent)) {
            (Some(bmc), _) => self.line("bmc", bmc),
            // An import would take the BMC that the xname points to.
            (None, Some(parent)) if implied.contains(parent.as_str()) => self.number("bmc", "null"),
            (None, _) => {}
        }
        self.some("policy", Some(policy.as_str()).filter(|_| *policy != BootPolicy::Serve));
        self.some("loader", loader.as_ref());
        self.annotations(annotations);
        if !interfaces.is_empty() {
            let _ = writeln!(self.0, "  interfaces:");
        }
        for interface in interfaces {
            let _ = writeln!(self.0, "  - mac_addr: {}", quote(&interface.mac.to_string()));
            if let Some(name) = interface.name.as_ref().filter(|name| !name.is_empty()) {
                let _ = writeln!(self.0, "    name: {}", quote(name));
            }
            let addresses: Vec<String> =
                interface.addresses.iter().map(|address| format!("{{ip_addr: \"{address}\"}}")).collect();
            if !addresses.is_empty() {
                let _ = writeln!(self.0, "    ip_addrs: [{}]", addresses.join(", "));
            }
        }
    }

    fn assignment(&mut self, assignment: &Assignment, inventory: &Inventory) {
        let Assignment { selector, once, boot } = assignment;
        match selector {
            Selector::Mac(mac) => self.first("mac", mac),
            Selector::Group(group) => self.first("group", group),
            Selector::Role(role) => self.first("role", role),
            Selector::Xname(xname) => self.first("xname", xname),
            Selector::Nid(nid) => self.first("nid", nid.0),
            Selector::Default => self.0.push_str("- default: true\n"),
            Selector::Unknown(arch) => self.first("unknown", arch.map_or("any", Arch::as_str)),
            Selector::Node(id) => match inventory.nodes.get(id) {
                Some(node) => self.first("node", &node.name),
                None => return, // points to nothing
            },
        }
        if *once {
            self.0.push_str("  once: true\n");
        }
        match boot {
            Boot::Profile(profile) => self.line("profile", profile),
            Boot::Target(target) => self.target(target),
        }
    }
}
