//! Meta-data: one document from the inventory, the site's defaults, the groups and the node itself, and for
//! each of its values where it comes from. The mixture of dashes and underscores is what templates rely on.

use std::fmt;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::engine::cloud_init::entry::GroupData;
use crate::engine::cloud_init::view::{Section, Tree, View};
use crate::engine::cloud_init::yaml;

/// Digits of a nid in a host name, unless the defaults say otherwise.
const NID_LENGTH: usize = 4;

/// What a node's provider is called, unless somebody says otherwise.
const PROVIDER: &str = "OpenCHAMI";

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// Node instance data.
    Node,
    Group(String),
    Defaults,
    /// What is declared about the node.
    Inventory,
    /// `muster.toml`.
    Configuration,
    /// The head that answers.
    Head,
    /// A first-generation entry.
    Entry(String),
    BuiltIn,
}

/// One value of the document.
#[derive(Clone, PartialEq, Debug)]
pub struct Origin {
    /// Keys joined by dots, as a template writes them behind `ds.meta_data.`.
    pub path: String,
    pub value: Value,
    pub source: Source,
}

/// The document.
#[derive(Clone, PartialEq, Debug)]
pub struct MetaData {
    /// Top-level keys in order.
    pub entries: Vec<(String, Value)>,
    pub origins: Vec<Origin>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Node => f.write_str("node"),
            Source::Group(name) => write!(f, "group {name}"),
            Source::Defaults => f.write_str("defaults"),
            Source::Inventory => f.write_str("inventory"),
            Source::Configuration => f.write_str("configuration"),
            Source::Head => f.write_str("head"),
            Source::Entry(name) => write!(f, "entry {name}"),
            Source::BuiltIn => f.write_str("built in"),
        }
    }
}

impl MetaData {
    #[must_use]
    pub fn yaml(&self) -> String {
        yaml::emit(self.entries.iter().map(|(key, value)| (key, value)))
    }

    #[must_use]
    pub fn value(&self) -> Map<String, Value> {
        self.entries.iter().cloned().collect()
    }

    /// Sets a key at the top.
    fn set(&mut self, key: &str, value: Value, source: Source) {
        self.forget(key);
        self.origins.push(Origin { path: key.to_owned(), value: value.clone(), source });
        match self.entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key.to_owned(), value)),
        }
    }

    /// Drops the origins of a key that is about to be replaced, and of all below it.
    fn forget(&mut self, key: &str) {
        self.origins.retain(|origin| {
            origin.path.strip_prefix(key).is_none_or(|rest| !rest.is_empty() && !rest.starts_with('.'))
        });
    }
}

/// A value with its source, if there is one.
type Sourced<T> = Option<(T, Source)>;

/// Collects the fields of one object with their origins.
struct Collector<'o> {
    path: &'static str,
    map: Map<String, Value>,
    origins: &'o mut Vec<Origin>,
}

impl Collector<'_> {
    fn put(&mut self, key: &str, value: Sourced<Value>) {
        let Some((value, source)) = value else { return };
        let path = format!("{}.{key}", self.path);
        self.origins.push(Origin { path, value: value.clone(), source });
        self.map.insert(key.to_owned(), value);
    }
}

fn text(value: Sourced<String>) -> Sourced<Value> {
    value.map(|(text, source)| (Value::String(text), source))
}

/// The node's value, else the defaults'.
fn first(own: Option<&String>, default: Option<&String>) -> Sourced<String> {
    let own = own.map(|text| (text.clone(), Source::Node));
    own.or_else(|| default.map(|text| (text.clone(), Source::Defaults)))
}

pub(crate) fn compile(view: &View<'_>) -> MetaData {
    let mut meta = MetaData { entries: Vec::new(), origins: Vec::new() };
    let (instance_id, id_source) = (instance_id(view), id_source(view));
    let (local, local_source) = local_hostname(view);
    let own = view.own.hostname.clone().map(|name| (name, Source::Node));
    let (hostname, host_source) = own.unwrap_or_else(|| (local.clone(), local_source.clone()));
    let (cluster, cluster_source) = cluster_name(view);
    meta.set("instance-id", json!(instance_id), id_source.clone());
    meta.set("local-hostname", json!(local), local_source.clone());
    meta.set("hostname", json!(hostname), host_source.clone());
    meta.set("cluster-name", json!(cluster), cluster_source);

    let (own, defaults) = (&view.own, &view.defaults);
    let mut origins = Vec::new();
    let vendor = vendor_data(view, &mut origins);
    let mut v1 = Collector { path: "instance_data.v1", map: Map::new(), origins: &mut origins };
    let provider = first(own.cloud_provider.as_ref(), defaults.cloud_provider.as_ref());
    v1.put(
        "availability_zone",
        text(first(own.availability_zone.as_ref(), defaults.availability_zone.as_ref())),
    );
    v1.put("cloud_provider", text(provider.clone().or(Some((PROVIDER.to_owned(), Source::BuiltIn)))));
    v1.put("cloud_name", text(provider));
    v1.put("instance_id", Some((json!(instance_id), id_source)));
    v1.put("instance_type", text(first(own.instance_type.as_ref(), None)));
    v1.put("local_hostname", Some((json!(local), local_source)));
    v1.put("region", text(first(own.region.as_ref(), defaults.region.as_ref())));
    v1.put("hostname", Some((json!(hostname), host_source)));
    v1.put("local_ipv4", view.address.map(|address| (json!(address.to_string()), Source::Inventory)));
    v1.put("public_keys", Some(public_keys(view)));
    v1.map.insert("vendor_data".to_owned(), Value::Object(vendor));
    let v1 = v1.map;
    meta.entries.push(("instance_data".to_owned(), json!({"v1": v1})));
    meta.origins.append(&mut origins);

    for (section, entry) in view.sections(Tree::Open, Section::Meta) {
        for (key, value) in section {
            meta.set(&key, value, Source::Entry(entry.clone()));
        }
    }
    for (key, value) in &view.own.meta_data {
        meta.set(key, value.clone(), Source::Node);
    }
    meta
}

fn vendor_data(view: &View<'_>, origins: &mut Vec<Origin>) -> Map<String, Value> {
    let node = view.node;
    let mut vendor = Collector { path: "instance_data.v1.vendor_data", map: Map::new(), origins };
    let (url, url_source) = view.base_url();
    vendor.put("version", Some((json!("1.0"), Source::BuiltIn)));
    vendor.put("cloud_init_base_url", Some((json!(url), url_source)));
    vendor.put("nid", node.nid.map(|nid| (json!(nid.0), Source::Inventory)));
    vendor.put("role", node.role.as_ref().map(|role| (json!(role), Source::Inventory)));
    let cabinet = node.xname.as_ref().and_then(|xname| xname.as_str().split('c').next());
    vendor.put("cabinet", cabinet.map(|cabinet| (json!(cabinet), Source::Inventory)));
    vendor.put("cluster_name", text(Some(cluster_name(view))));
    let mut map = vendor.map;
    let mut groups = Map::new();
    for name in view.groups() {
        let data = GroupData::of(&view.snapshot.inventory, name);
        let known = view.snapshot.inventory.groups.get(name).map(|group| group.description.clone());
        let own = data.as_ref().map(|data| data.description.clone()).filter(|text| !text.is_empty());
        let source = || Source::Group(name.to_string());
        let mut fields = Map::new();
        fields.insert("Description".to_owned(), json!(own.or(known).unwrap_or_default()));
        fields.extend(data.map(|data| data.meta_data).unwrap_or_default());
        for (key, value) in &fields {
            let path = format!("instance_data.v1.vendor_data.groups.{name}.{key}");
            origins.push(Origin { path, value: value.clone(), source: source() });
        }
        groups.insert(name.to_string(), Value::Object(fields));
    }
    map.insert("groups".to_owned(), Value::Object(groups));
    map
}

fn cluster_name(view: &View<'_>) -> (String, Source) {
    first(view.own.cluster_name.as_ref(), view.defaults.cluster_name.as_ref())
        .unwrap_or_else(|| (view.snapshot.site.name.clone(), Source::Configuration))
}

fn public_keys(view: &View<'_>) -> (Value, Source) {
    if view.own.public_keys.is_empty() {
        let source = if view.defaults.public_keys.is_empty() { Source::BuiltIn } else { Source::Defaults };
        return (json!(view.defaults.public_keys), source);
    }
    (json!(view.own.public_keys), Source::Node)
}

/// The node's own; else, where the defaults rule names (they have a cluster name or a short name), prefix and
/// nid as OpenCHAMI makes them; else the name by which DNS and DHCP know the node.
fn local_hostname(view: &View<'_>) -> (String, Source) {
    if let Some(name) = &view.own.local_hostname {
        return (name.clone(), Source::Node);
    }
    let defaults = &view.defaults;
    let initials = || defaults.cluster_name.as_ref().map(|name| name.chars().take(2).collect::<String>());
    let prefix = defaults.short_name.clone().or_else(initials);
    match (prefix, view.node.nid) {
        (Some(prefix), Some(nid)) => {
            let width = defaults.nid_length.map_or(NID_LENGTH, usize::from);
            (format!("{prefix}{:0width$}", nid.0), Source::Defaults)
        }
        (Some(_) | None, _) => (view.node.name.to_string(), Source::Inventory),
    }
}

fn id_source(view: &View<'_>) -> Source {
    if view.own.instance_id.is_some() { Source::Node } else { Source::Inventory }
}

/// The declared instance-id, else `i-` and eight digits from the site, the node's number and the number of
/// its installations. Instance-ids are compared on one node only, so that two nodes with one do no harm.
pub(crate) fn instance_id(view: &View<'_>) -> String {
    if let Some(id) = &view.own.instance_id {
        return id.clone();
    }
    let what = format!("{}/{}/{}", view.snapshot.site.name, view.node.id.0, view.own.installation);
    let digest = Sha256::digest(what.as_bytes());
    let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("i-{digits}")
}
