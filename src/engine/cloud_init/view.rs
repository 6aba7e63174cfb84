//! What one node is served. OpenCHAMI's two generations meet here: group data, instance data and defaults of
//! the second; of the first, entries with whole sections that are merged at the top level.

use std::net::Ipv4Addr;

use serde_json::{Map, Value};

use crate::base::{GroupName, Level};
use crate::engine::cloud_init::entry::{Defaults, File, GroupData, NodeData};
use crate::engine::cloud_init::fields::kept;
use crate::engine::cloud_init::meta::{self, MetaData, Source};
use crate::engine::cloud_init::{network, yaml};
use crate::model::{Inventory, Node, Snapshot};

/// What cloud-init takes for "nothing to do".
pub const NOTHING: &str = "#cloud-config";

/// The path under which this API lies on every head.
const PATH: &str = "/cloud-init";

/// The two trees of first-generation entries; each is a store of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tree {
    Open,
    Secure,
}

/// The sections of a first-generation entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    User,
    Meta,
    Vendor,
}

/// One node as cloud-init sees it.
#[derive(Clone, Debug)]
pub struct View<'a> {
    pub snapshot: &'a Snapshot,
    pub node: &'a Node,
    /// Where it asks from; else the first declared address.
    pub address: Option<Ipv4Addr>,
    /// The head's address by which it asks, if its network does not tell.
    pub head: Option<Ipv4Addr>,
    pub defaults: Defaults,
    pub own: NodeData,
}

impl Tree {
    /// The shelf of the tree's entries.
    #[must_use]
    pub fn shelf(self) -> &'static str {
        match self {
            Tree::Open => "cloud-init.entry",
            Tree::Secure => "cloud-init.entry-secure",
        }
    }

    /// An entry as it is kept.
    #[must_use]
    pub fn entry(self, inventory: &Inventory, id: &str) -> Option<Map<String, Value>> {
        match kept(inventory.document(self.shelf(), id)?)? {
            Value::Object(entry) => Some(entry),
            _ => None,
        }
    }

    fn section(self, inventory: &Inventory, id: &str, section: Section) -> Option<Map<String, Value>> {
        match self.entry(inventory, id)?.remove(section.key())? {
            Value::Object(map) if !map.is_empty() => Some(map),
            _ => None,
        }
    }

    /// A section of one entry as a document, not merged with any other.
    #[must_use]
    pub fn document(self, inventory: &Inventory, id: &str, section: Section) -> Option<String> {
        let entry = self.entry(inventory, id)?;
        let map = entry.get(section.key()).and_then(Value::as_object).cloned().unwrap_or_default();
        Some(section.document(&map))
    }
}

impl Section {
    pub const ALL: [Section; 3] = [Section::User, Section::Meta, Section::Vendor];

    /// The key in an entry.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Section::User => "userdata",
            Section::Meta => "metadata",
            Section::Vendor => "vendordata",
        }
    }

    fn document(self, map: &Map<String, Value>) -> String {
        let body = if map.is_empty() { String::new() } else { yaml::emit(map) };
        match self {
            Section::User => format!("{NOTHING}\n{body}"),
            Section::Meta | Section::Vendor => body,
        }
    }
}

impl<'a> View<'a> {
    #[must_use]
    pub fn new(snapshot: &'a Snapshot, node: &'a Node) -> View<'a> {
        let inventory = &snapshot.inventory;
        View {
            snapshot,
            node,
            address: node.interfaces.iter().find_map(|interface| interface.addresses.first().copied()),
            head: None,
            defaults: Defaults::of(inventory),
            own: NodeData::of(inventory, node).unwrap_or_default(),
        }
    }

    /// The same for a node that asks from `address` and reached the head at `head`.
    #[must_use]
    pub fn from(self, address: Ipv4Addr, head: Option<Ipv4Addr>) -> View<'a> {
        View { address: Some(address), head, ..self }
    }

    /// The node's groups in the order in which they are applied: of two that disagree, the later one wins.
    #[must_use]
    pub fn groups(&self) -> Vec<&'a GroupName> {
        let priority =
            |name: &GroupName| self.snapshot.inventory.groups.get(name).map_or(0, |group| group.priority);
        let mut groups: Vec<&GroupName> = self.node.groups.iter().collect();
        groups.sort_by_key(|name| priority(name));
        groups
    }

    /// Where the node finds this API.
    #[must_use]
    pub fn base_url(&self) -> (String, Source) {
        if let Some(url) = &self.own.base_url {
            return (url.clone(), Source::Node);
        }
        if let Some(url) = &self.defaults.base_url {
            return (url.clone(), Source::Defaults);
        }
        let site = &self.snapshot.site;
        let network = self.address.and_then(|address| site.network_of(address));
        let head = network.and_then(|network| site.head_for(network)).or(self.head).or(site.head);
        let head = head.or_else(|| site.networks.iter().find_map(|network| network.head()));
        let head = head.unwrap_or(Ipv4Addr::LOCALHOST);
        (format!("http://{head}:{}{PATH}", site.http_port), Source::Head)
    }

    /// The sections of the first generation for this node: its groups' in their order, then its own; of equal
    /// keys at the top level the last one counts. None: nobody wrote any.
    #[must_use]
    pub fn merged(&self, tree: Tree, section: Section) -> Option<Map<String, Value>> {
        let mut merged: Option<Map<String, Value>> = None;
        for (map, _) in self.sections(tree, section) {
            merged.get_or_insert_default().extend(map);
        }
        merged
    }

    /// The same before it is merged, each with the entry it stands in.
    pub(crate) fn sections(&self, tree: Tree, section: Section) -> Vec<(Map<String, Value>, String)> {
        let names = self.groups().into_iter().map(ToString::to_string);
        let macs = self.node.interfaces.iter().map(|interface| interface.mac.to_string());
        let own = [self.node.name.to_string(), self.node.effective_xname().to_string()];
        names
            .chain(macs)
            .chain(own)
            .filter_map(|id| Some((tree.section(&self.snapshot.inventory, &id, section)?, id)))
            .collect()
    }

    /// A document of the secure tree: first generation only.
    #[must_use]
    pub fn secure(&self, section: Section) -> String {
        section.document(&self.merged(Tree::Secure, section).unwrap_or_default())
    }

    #[must_use]
    pub fn meta_data(&self) -> MetaData {
        meta::compile(self)
    }

    /// The node's own file, else what the first generation holds for it, else nothing to do.
    #[must_use]
    pub fn user_data(&self) -> Vec<u8> {
        if let Some(file) = &self.own.file {
            return file.bytes().unwrap_or_default();
        }
        match self.merged(Tree::Open, Section::User) {
            Some(map) => Section::User.document(&map).into_bytes(),
            None => NOTHING.as_bytes().to_vec(),
        }
    }

    /// What the first generation holds, else a list of the groups' files.
    #[must_use]
    pub fn vendor_data(&self) -> String {
        if let Some(map) = self.merged(Tree::Open, Section::Vendor) {
            return Section::Vendor.document(&map);
        }
        let (base, _) = self.base_url();
        let mut text = "#include\n".to_owned();
        // One that is for the secure path would be refused, and cloud-init would do without all of them.
        let is_open = |group: &&GroupName| !self.lent(group).is_some_and(|file| file.is_secure());
        for group in self.groups().into_iter().filter(is_open) {
            text.push_str(&format!("{base}/{group}.yaml\n"));
        }
        text
    }

    /// A group's file as it was given, templates and all. None: the node is not in the group.
    #[must_use]
    pub fn group_file(&self, group: &str) -> Option<Vec<u8>> {
        let name: GroupName = group.parse().ok().filter(|name| self.node.groups.contains(name))?;
        let file = self.lent(&name);
        Some(file.and_then(|file| file.bytes().ok()).unwrap_or_else(|| NOTHING.as_bytes().to_vec()))
    }

    fn lent(&self, group: &GroupName) -> Option<File> {
        GroupData::of(&self.snapshot.inventory, group).and_then(|group| group.file)
    }

    /// What the policy of a document asks for: `user-data` or `GROUP.yaml`; others have none.
    #[must_use]
    pub fn min_level(&self, document: &str) -> Level {
        let file = match document.strip_suffix(".yaml") {
            Some(group) => group.parse().ok().and_then(|group| self.lent(&group)),
            None if document == "user-data" => self.own.file.clone(),
            None => None,
        };
        file.map_or(Level::Address, |file| file.min_level)
    }

    /// The node's own file, if it is for the secure path.
    #[must_use]
    pub fn secure_file(&self) -> Option<&File> {
        self.own.file.as_ref().filter(|file| file.is_secure())
    }

    /// The groups whose files are for the secure path, in the order in which they are applied.
    #[must_use]
    pub fn secure_groups(&self) -> Vec<(&'a GroupName, File)> {
        let groups = self.groups().into_iter();
        groups.filter_map(|name| Some((name, self.lent(name).filter(File::is_secure)?))).collect()
    }

    #[must_use]
    pub fn network_config(&self) -> String {
        network::render(self)
    }

    /// The identity of this installation of the node.
    #[must_use]
    pub fn instance_id(&self) -> String {
        meta::instance_id(self)
    }
}
