//! Warewulf 4's `nodes.conf`: nodes, the profiles they share, devices and BMCs. Profiles become groups. Kernel
//! arguments become boot assignments without a kernel, which the site's own assignment completes: images are
//! containers there, and have no path that iPXE could fetch. What has no place here is told in notes.

mod settings;

use std::collections::{BTreeMap, BTreeSet};

use crate::base::limits::PROBLEMS_MAX;
use crate::base::{GroupName, NodeName};
use crate::engine::inventory::document::{
    AssignmentDeclaration, BmcDeclaration, BmcRef, GroupDeclaration, InterfaceDeclaration, Interfaces,
    NodeDeclaration, Whom,
};
use crate::engine::inventory::fields::{Fields, message};
use crate::engine::inventory::nodes::bmc_name;
use crate::engine::inventory::warewulf::settings::{Left, Settings};
use crate::engine::inventory::yaml::{Value, Yaml};
use crate::engine::inventory::{Document, Problems};
use crate::model::profile::Boot;
use crate::model::{BootTarget, Selector};
use crate::wire::ipxe;

/// Profiles of one node, nested ones counted. Real sites have a handful.
const PROFILES_MAX: usize = 100;

/// Only Warewulf keeps nodes by name in a mapping, and only it has `nodeprofiles`.
pub(crate) fn is_warewulf(root: &Yaml) -> bool {
    let Value::Map(pairs) = &root.value else { return false };
    pairs.iter().any(|(key, value)| {
        key == "nodeprofiles"
            || (key == "nodes" && matches!(&value.value, Value::Map(pairs) if !pairs.is_empty()))
    })
}

/// Reads a whole document.
pub(crate) fn document(root: &Yaml, problems: &mut Problems) -> Document {
    let mut reader = Reader::default();
    let Some(mut fields) = Fields::of(root, "", problems) else { return reader.document };
    // Before 4.6 the file told its form, and a node without profiles had the one called default.
    let is_old = fields.take("WW_INTERNAL").is_some();
    let profiles = reader.all(fields.take("nodeprofiles"), "nodeprofiles", problems);
    let nodes = reader.all(fields.take("nodes"), "nodes", problems);
    fields.refuse_rest(problems);
    for (name, profile) in &profiles {
        reader.group(name, profile, problems);
    }
    reader.profiles = profiles.into_iter().collect();
    reader.document.has_nodes = true;
    for (name, mut node) in nodes {
        if is_old && node.profiles.is_empty() && reader.profiles.contains_key("default") {
            node.profiles.push("default".to_owned());
        }
        reader.node(&name, &node, problems);
    }
    reader.assignments();
    reader.notes();
    reader.document
}

#[derive(Default)]
struct Reader {
    document: Document,
    profiles: BTreeMap<String, Settings>,
    /// What lists of profiles come to. Nodes share few of them.
    stacks: BTreeMap<Vec<String>, Stack>,
    left: Left,
    notes: BTreeSet<String>,
    networks: BTreeSet<String>,
    images: BTreeMap<String, usize>,
    /// Kernel arguments of each node.
    params: Vec<(NodeName, usize, String)>,
}

/// Profiles laid over one another.
#[derive(Clone, Default)]
struct Stack {
    groups: BTreeSet<GroupName>,
    settings: Settings,
}

impl Reader {
    fn all(&mut self, yaml: Option<&Yaml>, path: &str, problems: &mut Problems) -> Vec<(String, Settings)> {
        let Some(yaml) = yaml else { return Vec::new() };
        match &yaml.value {
            Value::Null => Vec::new(),
            Value::Map(pairs) => {
                let read = |(name, item): &(String, Yaml)| {
                    let settings = Settings::read(item, &format!("{path}.{name}"), &mut self.left, problems);
                    (name.clone(), settings)
                };
                pairs.iter().map(read).collect()
            }
            Value::Scalar(..) | Value::List(_) => {
                problems.add(yaml.line, path, "expected fields by name");
                Vec::new()
            }
        }
    }

    /// A profile is a group; what it says for its nodes goes to them.
    fn group(&mut self, name: &str, profile: &Settings, problems: &mut Problems) {
        let name = match name.parse::<GroupName>() {
            Ok(name) => name,
            Err(error) => {
                return problems.add(profile.line, format!("nodeprofiles.{name}"), message(name, &error));
            }
        };
        let group = GroupDeclaration {
            line: profile.line,
            name,
            description: profile.comment.clone(),
            priority: None,
            loader: None,
            annotations: annotations(profile),
        };
        self.document.groups.get_or_insert_default().push(group);
    }

    fn node(&mut self, key: &str, node: &Settings, problems: &mut Problems) {
        let path = format!("nodes.{key}");
        // The tools allow whole domain names; a node here is one label of one domain.
        let label = key.split('.').next().unwrap_or_default();
        let name = match label.parse::<NodeName>() {
            Ok(name) => name,
            Err(error) => return problems.add(node.line, path, message(key, &error)),
        };
        let stack = self.stack(node, &path, problems);
        let mut settings = stack.settings;
        settings.overlay(node);
        let mut annotations = annotations(node);
        if label != key {
            annotations.insert("warewulf.name".to_owned(), key.to_owned());
        }
        if let Some(image) = settings.image.clone() {
            let count = self.images.entry(image.clone()).or_default();
            *count = count.saturating_add(1);
            annotations.insert("warewulf.image".to_owned(), image);
        }
        let interfaces = self.interfaces(&name, &settings, &mut annotations);
        let bmc = self.bmc(&name, &settings);
        let params = settings.params();
        if let Err(error) = ipxe::check(&params) {
            problems.add(node.line, format!("{path}.kernel.args"), error.to_string());
        } else if !params.is_empty() {
            self.params.push((name.clone(), node.line, params));
        }
        self.document.nodes.push(NodeDeclaration {
            line: node.line,
            name,
            xname: None,
            nid: None,
            uuid: None,
            arch: None,
            role: None,
            groups: Some(stack.groups),
            interfaces: Some(Interfaces::All(interfaces)),
            bmc,
            policy: None,
            loader: None,
            annotations,
        });
    }

    fn interfaces(
        &mut self,
        name: &NodeName,
        settings: &Settings,
        annotations: &mut BTreeMap<String, String>,
    ) -> Vec<InterfaceDeclaration> {
        let mut interfaces = Vec::new();
        for (key, device) in settings.ports() {
            self.networks.extend(device.network());
            let Some(mac) = device.mac else {
                if let Some(address) = device.address {
                    annotations.insert(format!("warewulf.network.{key}.ipaddr"), address.to_string());
                    self.note(format!("{name}: {key} has no hardware address yet: its address {address} is kept as an annotation"));
                }
                continue;
            };
            let label = device.device.clone().unwrap_or_else(|| key.clone());
            let addresses = Some(device.address.into_iter().collect());
            interfaces.push(InterfaceDeclaration { name: Some(Some(label)), mac, addresses });
        }
        interfaces
    }

    fn bmc(&mut self, node: &NodeName, settings: &Settings) -> Option<Option<BmcRef>> {
        let (mac, address) = (settings.bmc.mac, settings.bmc.address);
        if mac.is_none() && address.is_none() {
            return None;
        }
        let index = self.document.bmcs.len();
        self.document.has_bmcs = true;
        self.document.bmcs.push(BmcDeclaration {
            line: settings.line,
            name: bmc_name(node),
            named: false,
            xname: None,
            mac: mac.map(Some),
            address: address.map(Some),
            fqdn: None,
            annotations: BTreeMap::new(),
        });
        Some(Some(BmcRef::Entry(index)))
    }

    /// What the profiles of a node come to: each after those that it names itself, later over earlier.
    fn stack(&mut self, node: &Settings, path: &str, problems: &mut Problems) -> Stack {
        if let Some(known) = self.stacks.get(&node.profiles) {
            return known.clone();
        }
        let mut stack = Stack::default();
        let names = self.expanded(&node.profiles);
        if names.len() > PROFILES_MAX {
            let text = format!("more than {PROFILES_MAX} profiles, nested ones counted");
            problems.add(node.line, format!("{path}.profiles"), text);
            return stack;
        }
        for name in names {
            match self.profiles.get(&name) {
                Some(profile) => stack.settings.overlay(profile),
                None => self.note(format!("profile {name:?} is named but not there")),
            }
            match name.parse() {
                Ok(group) => drop(stack.groups.insert(group)),
                // One that is there has been reported where it stands.
                Err(error) if !self.profiles.contains_key(&name) => {
                    problems.add(node.line, format!("{path}.profiles"), message(&name, &error));
                }
                Err(_) => {}
            }
        }
        self.stacks.insert(node.profiles.clone(), stack.clone());
        stack
    }

    /// Each profile once, behind those that it names; `~NAME` takes one away.
    fn expanded(&self, names: &[String]) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut stack: Vec<(&str, bool)> = names.iter().rev().map(|name| (name.as_str(), false)).collect();
        while let Some((name, is_done)) = stack.pop() {
            if is_done || name.starts_with('~') {
                out.push(name.to_owned());
            } else if !name.is_empty() && seen.insert(name) && seen.len() <= PROFILES_MAX.saturating_add(1) {
                stack.push((name, true));
                let below = self.profiles.get(name).map_or(&[][..], |profile| &profile.profiles);
                stack.extend(below.iter().rev().map(|name| (name.as_str(), false)));
            }
        }
        let gone: BTreeSet<String> =
            out.iter().filter_map(|name| name.strip_prefix('~').map(str::to_owned)).collect();
        out.retain(|name| !name.starts_with('~') && !gone.contains(name));
        out
    }

    /// Arguments that all members of a group share are assigned to the group, others to their nodes.
    fn assignments(&mut self) {
        let params: BTreeMap<&NodeName, &str> =
            self.params.iter().map(|(name, _, params)| (name, params.as_str())).collect();
        let mut groups: BTreeMap<&GroupName, Option<&str>> = BTreeMap::new();
        for node in &self.document.nodes {
            let own = params.get(&node.name).copied();
            for group in node.groups.iter().flatten() {
                let shared = groups.entry(group).or_insert(own);
                *shared = shared.filter(|shared| Some(*shared) == own);
            }
        }
        let shared: BTreeMap<GroupName, String> = groups
            .into_iter()
            .filter_map(|(group, params)| Some((group.clone(), params?.to_owned())))
            .collect();
        let of: BTreeMap<NodeName, Vec<GroupName>> = self
            .document
            .nodes
            .iter()
            .map(|node| {
                let groups = node.groups.iter().flatten().filter(|group| shared.contains_key(*group));
                (node.name.clone(), groups.cloned().collect())
            })
            .collect();
        let mut used: BTreeMap<GroupName, usize> = BTreeMap::new();
        let mut list = Vec::new();
        for (name, line, params) in std::mem::take(&mut self.params) {
            match of.get(&name).and_then(|groups| groups.first()) {
                Some(group) => drop(used.entry(group.clone()).or_insert(line)),
                None => list.push(assignment(line, Whom::Node(name), params)),
            }
        }
        for (group, line) in used {
            let params = shared.get(&group).cloned().unwrap_or_default();
            list.push(assignment(line, Whom::Direct(Selector::Group(group)), params));
        }
        if !list.is_empty() {
            self.document.assignments = Some(list);
        }
    }

    fn note(&mut self, text: String) {
        if self.notes.len() < PROBLEMS_MAX {
            self.notes.insert(text);
        }
    }

    fn notes(&mut self) {
        for (image, nodes) in &std::mem::take(&mut self.images) {
            self.note(format!(
                "{nodes} node(s) boot the image {image}, which muster cannot fetch: assign its kernel and \
                 initrd with muster boot set (kept as the annotation warewulf.image)"
            ));
        }
        if !self.networks.is_empty() {
            let some: Vec<&str> = self.networks.iter().take(4).map(String::as_str).collect();
            self.note(format!("networks are configured in muster.toml; here they say {}", some.join("; ")));
        }
        let left = std::mem::take(&mut self.left.0);
        let left: Vec<String> = left.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        if !left.is_empty() {
            self.note(format!("not carried over, with the number of places: {}", left.join(", ")));
        }
        self.document.notes = std::mem::take(&mut self.notes).into_iter().collect();
    }
}

/// A target without a kernel: the next assignment in the order of precedence lends it.
fn assignment(line: usize, whom: Whom, params: String) -> AssignmentDeclaration {
    let target = BootTarget::Linux { kernel: String::new(), initrds: Vec::new(), params };
    AssignmentDeclaration { line, whom, once: false, boot: Boot::Target(target) }
}

/// What a node or profile says itself and our model has no place for.
fn annotations(settings: &Settings) -> BTreeMap<String, String> {
    let own = [
        ("comment", &settings.comment),
        ("cluster", &settings.cluster),
        ("image", &settings.image),
        ("kernel", &settings.kernel),
    ];
    let own = own.into_iter().filter_map(|(key, value)| Some((format!("warewulf.{key}"), value.clone()?)));
    let tags = settings.tags.iter().map(|(key, value)| (format!("warewulf.tag.{key}"), value.clone()));
    own.chain(tags).collect()
}

#[cfg(test)]
mod tests;
