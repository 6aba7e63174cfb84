//! Site defaults, group data and node instance data as they are kept: JSON with the keys of OpenCHAMI's
//! cloud-init server. Keys are read in any case and with dashes or underscores, because its clients send both.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::base::{GroupName, Level};
pub use crate::engine::cloud_init::fields::Wrong;
use crate::engine::cloud_init::fields::{Fields, base_url, kept, write, wrong};
use crate::engine::cloud_init::secure::check_open;
use crate::model::document::NODE_INSTANCE_SHELF;
use crate::model::{Document, Inventory, Node};

/// Where the one document of site defaults lies.
pub const DEFAULTS_SHELF: &str = "cloud-init.defaults";
pub const DEFAULTS_ID: &str = "site";

/// Where group data lies, by the group's name.
pub const GROUP_SHELF: &str = "cloud-init.group";

/// Longest number in a synthesised host name; more digits than any site counts.
const NID_LENGTH_MAX: u64 = 10;

/// What every node has unless its groups or itself say otherwise.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Defaults {
    pub cloud_provider: Option<String>,
    pub region: Option<String>,
    pub availability_zone: Option<String>,
    pub cluster_name: Option<String>,
    pub public_keys: Vec<String>,
    /// Where nodes find this API, without a slash at the end.
    pub base_url: Option<String>,
    pub boot_subnet: Option<String>,
    pub wg_subnet: Option<String>,
    /// Prefix of host names that are made from the nid.
    pub short_name: Option<String>,
    /// Digits of the nid in such a name.
    pub nid_length: Option<u8>,
}

/// How a file's content is written in JSON.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Encoding {
    #[default]
    Plain,
    Base64,
}

/// A file for cloud-init: cloud-config, a script, an include list …
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// As it was given, so that it comes back the same.
    pub content: String,
    pub filename: String,
    pub encoding: Encoding,
    /// What a node must have reached to read it. Above `Address` it is on the secure path alone.
    pub min_level: Level,
}

/// What a group lends to its members' cloud-init.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupData {
    pub name: GroupName,
    pub description: String,
    pub meta_data: Map<String, Value>,
    pub file: Option<File>,
}

/// What one node has of its own.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct NodeData {
    /// Instead of the derived one.
    pub instance_id: Option<String>,
    /// How often a new installation was asked for.
    pub installation: u64,
    pub local_hostname: Option<String>,
    pub hostname: Option<String>,
    pub cluster_name: Option<String>,
    pub region: Option<String>,
    pub availability_zone: Option<String>,
    pub cloud_provider: Option<String>,
    pub instance_type: Option<String>,
    pub base_url: Option<String>,
    pub public_keys: Vec<String>,
    /// Further keys of its meta-data, at the top.
    pub meta_data: Map<String, Value>,
    /// Its user-data; of a key that a group's file holds too, cloud-init takes this one alone.
    pub file: Option<File>,
}

impl Defaults {
    /// The text fields with their keys. `cloud_provider` has an underscore in JSON.
    fn texts(&mut self) -> [(&'static str, &mut Option<String>); 8] {
        [
            ("cloud_provider", &mut self.cloud_provider),
            ("region", &mut self.region),
            ("availability-zone", &mut self.availability_zone),
            ("cluster-name", &mut self.cluster_name),
            ("base-url", &mut self.base_url),
            ("boot-subnet", &mut self.boot_subnet),
            ("wg-subnet", &mut self.wg_subnet),
            ("short-name", &mut self.short_name),
        ]
    }

    /// Reads what a client sends or the store holds.
    ///
    /// # Errors
    /// The first field whose value cannot be.
    pub fn read(value: &Value) -> Result<Defaults, Wrong> {
        let fields = Fields::of(value, "cluster-defaults")?;
        let mut read = Defaults { public_keys: fields.texts("public-keys")?, ..Defaults::default() };
        for (key, slot) in read.texts() {
            *slot = fields.text(key)?;
        }
        read.base_url = read.base_url.map(|url| base_url("base-url", &url)).transpose()?;
        let length = fields.number("nid-length", NID_LENGTH_MAX)?.filter(|length| *length > 0);
        read.nid_length = length.and_then(|length| u8::try_from(length).ok());
        Ok(read)
    }

    #[must_use]
    pub fn write(&self) -> Value {
        let mut copy = self.clone();
        let mut map = write(copy.texts().map(|(key, slot)| (key, slot.take())));
        if !self.public_keys.is_empty() {
            map.insert("public-keys".to_owned(), json!(self.public_keys));
        }
        map.extend(self.nid_length.map(|length| ("nid-length".to_owned(), json!(length))));
        Value::Object(map)
    }

    /// Takes over what `other` says; what it does not say stays.
    pub fn merge(&mut self, mut other: Defaults) {
        for ((_, slot), (_, new)) in self.texts().into_iter().zip(other.texts()) {
            *slot = new.take().or_else(|| slot.take());
        }
        if !other.public_keys.is_empty() {
            self.public_keys = other.public_keys;
        }
        self.nid_length = other.nid_length.or(self.nid_length);
    }

    /// The site's, as they stand.
    #[must_use]
    pub fn of(inventory: &Inventory) -> Defaults {
        let document = inventory.document(DEFAULTS_SHELF, DEFAULTS_ID);
        document.and_then(|document| Defaults::read(&kept(document)?).ok()).unwrap_or_default()
    }
}

impl Encoding {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Plain => "plain",
            Encoding::Base64 => "base64",
        }
    }

    /// The encoding of this name; an empty one is plain.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Encoding> {
        match name.to_ascii_lowercase().as_str() {
            "" | "plain" => Some(Encoding::Plain),
            "base64" | "b64" => Some(Encoding::Base64),
            _ => None,
        }
    }
}

impl File {
    fn read(value: &Value) -> Result<File, Wrong> {
        let fields = Fields::of(value, "file")?;
        let inner = |wrong: Wrong| Wrong { field: format!("file.{}", wrong.field), ..wrong };
        let encoding = fields.text("encoding").map_err(inner)?.unwrap_or_default();
        let file = File {
            content: fields.text("content").map_err(inner)?.unwrap_or_default(),
            filename: fields.text("filename").map_err(inner)?.unwrap_or_default(),
            encoding: Encoding::from_name(&encoding).ok_or_else(|| {
                wrong("file.encoding", &format!("{encoding:?}; known are plain and base64"))
            })?,
            min_level: match fields.text("min-level").map_err(inner)? {
                None => Level::Address,
                Some(text) => {
                    text.parse().map_err(|error| wrong("file.min-level", &format!("{text:?} {error}")))?
                }
            },
        };
        file.bytes().map_err(inner)?;
        Ok(file)
    }

    fn write(&self) -> Value {
        let mut file =
            json!({"content": self.content, "filename": self.filename, "encoding": self.encoding.as_str()});
        // OpenCHAMI's clients know no levels; they see one where somebody set one.
        if let (true, Some(fields)) = (self.min_level > Level::Address, file.as_object_mut()) {
            fields.insert("min-level".to_owned(), json!(self.min_level.as_str()));
        }
        file
    }

    /// True if it must not be given to whoever has the node's address.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.bytes().is_ok_and(|content| check_open("", &content, self.min_level).is_err())
    }

    /// What the file holds.
    ///
    /// # Errors
    /// The content is not in the encoding that it claims.
    pub fn bytes(&self) -> Result<Vec<u8>, Wrong> {
        match self.encoding {
            Encoding::Plain => Ok(self.content.clone().into_bytes()),
            Encoding::Base64 => {
                let dense: String = self.content.split_whitespace().collect();
                STANDARD.decode(dense).map_err(|error| wrong("content", &format!("is no base64: {error}")))
            }
        }
    }
}

impl GroupData {
    #[must_use]
    pub fn new(name: GroupName) -> GroupData {
        GroupData { name, description: String::new(), meta_data: Map::new(), file: None }
    }

    /// Reads what a client sends or the store holds. A name that is given beside counts instead of the entry's.
    ///
    /// # Errors
    /// The first field whose value cannot be.
    pub fn read(value: &Value, name: Option<&str>) -> Result<GroupData, Wrong> {
        let fields = Fields::of(value, "group")?;
        let own = fields.text("name")?;
        let name = name.or(own.as_deref()).ok_or_else(|| wrong("name", "is needed"))?;
        Ok(GroupData {
            name: name
                .parse()
                .map_err(|error: crate::base::name::NameError| wrong("name", &error.to_string()))?,
            description: fields.text("description")?.unwrap_or_default(),
            meta_data: fields.map("meta-data")?,
            file: fields.get("file").map(File::read).transpose()?,
        })
    }

    #[must_use]
    pub fn write(&self) -> Value {
        let mut map = write([
            ("name", Some(self.name.to_string())),
            ("description", Some(self.description.clone()).filter(|text| !text.is_empty())),
        ]);
        if !self.meta_data.is_empty() {
            map.insert("meta-data".to_owned(), Value::Object(self.meta_data.clone()));
        }
        map.extend(self.file.as_ref().map(|file| ("file".to_owned(), file.write())));
        Value::Object(map)
    }

    /// A group's, if there is any.
    #[must_use]
    pub fn of(inventory: &Inventory, name: &GroupName) -> Option<GroupData> {
        GroupData::kept(inventory.document(GROUP_SHELF, name.as_str())?)
    }

    /// Every group's, by name.
    pub fn all(inventory: &Inventory) -> impl Iterator<Item = GroupData> {
        inventory.shelf(GROUP_SHELF).filter_map(|document| GroupData::kept(document))
    }

    fn kept(document: &Document) -> Option<GroupData> {
        GroupData::read(&kept(document)?, Some(&document.key.id)).ok()
    }
}

impl NodeData {
    fn texts(&mut self) -> [(&'static str, &mut Option<String>); 9] {
        [
            ("instance-id", &mut self.instance_id),
            ("local-hostname", &mut self.local_hostname),
            ("hostname", &mut self.hostname),
            ("cluster-name", &mut self.cluster_name),
            ("region", &mut self.region),
            ("availability-zone", &mut self.availability_zone),
            ("cloud-provider", &mut self.cloud_provider),
            ("instance-type", &mut self.instance_type),
            ("cloud-init-base-url", &mut self.base_url),
        ]
    }

    /// Reads what a client sends or the store holds.
    ///
    /// # Errors
    /// The first field whose value cannot be.
    pub fn read(value: &Value) -> Result<NodeData, Wrong> {
        let fields = Fields::of(value, "instance-info")?;
        let mut read = NodeData {
            installation: fields.number("installation", u64::MAX)?.unwrap_or_default(),
            public_keys: fields.texts("public-keys")?,
            meta_data: fields.map("meta-data")?,
            file: fields.get("file").map(File::read).transpose()?,
            ..NodeData::default()
        };
        for (key, slot) in read.texts() {
            *slot = fields.text(key)?;
        }
        read.base_url = read.base_url.map(|url| base_url("cloud-init-base-url", &url)).transpose()?;
        Ok(read)
    }

    #[must_use]
    pub fn write(&self) -> Value {
        let mut copy = self.clone();
        let mut map = write(copy.texts().map(|(key, slot)| (key, slot.take())));
        if !self.public_keys.is_empty() {
            map.insert("public-keys".to_owned(), json!(self.public_keys));
        }
        if self.installation > 0 {
            map.insert("installation".to_owned(), json!(self.installation));
        }
        if !self.meta_data.is_empty() {
            map.insert("meta-data".to_owned(), Value::Object(self.meta_data.clone()));
        }
        map.extend(self.file.as_ref().map(|file| ("file".to_owned(), file.write())));
        Value::Object(map)
    }

    /// The ids under which a node's may lie, the one for new entries first: its declared xname, so that it
    /// is there before and after the node, else its number.
    #[must_use]
    pub fn ids(node: &Node) -> Vec<String> {
        node.xname.iter().map(ToString::to_string).chain([node.id.0.to_string()]).collect()
    }

    /// A node's, if there is any.
    #[must_use]
    pub fn of(inventory: &Inventory, node: &Node) -> Option<NodeData> {
        NodeData::ids(node).iter().find_map(|id| NodeData::at(inventory, id))
    }

    /// What lies under an id.
    #[must_use]
    pub fn at(inventory: &Inventory, id: &str) -> Option<NodeData> {
        NodeData::read(&kept(inventory.document(NODE_INSTANCE_SHELF, id)?)?).ok()
    }
}
