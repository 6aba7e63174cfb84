//! The JSON of `/api/v1/cloud-init`. Names are the field's with underscores; unknown fields are refused by name.
//! What is told (`warnings`, `effective_instance_id`) may be given back and is not looked at.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::problem::Problem;
use crate::base::Level;
use crate::engine::cloud_init::calls::Call;
use crate::engine::cloud_init::check::Remark;
use crate::engine::cloud_init::preview::{Part, Preview};
use crate::engine::cloud_init::{Defaults, File, GroupData, NodeData, Origin, Wrong};

/// Keys of meta-data that have a field of their own.
const OWN_FIELDS: [(&str, &str); 3] =
    [("instance-id", "instance_id"), ("local-hostname", "local_hostname"), ("hostname", "hostname")];

/// Site defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DefaultsBody {
    pub cloud_provider: Option<String>,
    pub region: Option<String>,
    pub availability_zone: Option<String>,
    pub cluster_name: Option<String>,
    pub public_keys: Vec<String>,
    pub base_url: Option<String>,
    pub boot_subnet: Option<String>,
    pub wg_subnet: Option<String>,
    pub short_name: Option<String>,
    pub nid_length: Option<u8>,
}

/// A file for cloud-init.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileBody {
    pub content: String,
    #[serde(default)]
    pub filename: String,
    /// `plain` or `base64`.
    #[serde(default)]
    pub encoding: String,
    /// What a node must have reached to read it: `0` (the default), `1`, `2` or `2p`. Above `0` it is on the secure
    /// path alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_level: Option<String>,
}

/// Something odd or wrong about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemarkBody {
    #[serde(default)]
    pub line: Option<usize>,
    pub text: String,
}

/// What a group lends to its members' cloud-init.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GroupDataBody {
    pub name: String,
    pub description: String,
    pub meta_data: Map<String, Value>,
    pub file: Option<FileBody>,
    pub warnings: Vec<RemarkBody>,
}

/// What one node has of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodeDataBody {
    pub node: String,
    /// Instead of the derived one.
    pub instance_id: Option<String>,
    pub effective_instance_id: String,
    /// How often a new installation was asked for.
    pub installation: u64,
    pub local_hostname: Option<String>,
    pub hostname: Option<String>,
    pub cluster_name: Option<String>,
    pub region: Option<String>,
    pub availability_zone: Option<String>,
    pub cloud_provider: Option<String>,
    pub instance_type: Option<String>,
    pub cloud_init_base_url: Option<String>,
    pub public_keys: Vec<String>,
    /// Further keys of its meta-data, at the top.
    pub meta_data: Map<String, Value>,
    /// Its user-data.
    pub file: Option<FileBody>,
    pub warnings: Vec<RemarkBody>,
}

/// One document that a node fetches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartBody {
    pub name: String,
    /// What cloud-init works with; null: it will ignore the file.
    pub text: Option<String>,
    pub template: bool,
    pub remarks: Vec<RemarkBody>,
}

/// A value of the meta-data and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ValueBody {
    /// As a template writes it behind `ds.meta_data.`.
    pub path: String,
    pub value: Value,
    pub source: String,
}

/// All that a node will see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PreviewBody {
    pub node: String,
    pub instance_id: String,
    pub documents: Vec<PartBody>,
    pub values: Vec<ValueBody>,
}

/// The last phone-home report of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallBody {
    pub node: String,
    pub at: String,
    /// Reports since the head started.
    pub count: u64,
    pub instance_id: String,
    pub hostname: String,
    pub fqdn: String,
    /// Public host keys by kind.
    pub keys: BTreeMap<String, String>,
}

/// The engine reads these bodies too: it knows the fields with dashes.
fn plain(body: &impl Serialize) -> Value {
    serde_json::to_value(body).expect("bodies hold nothing that JSON cannot")
}

fn ours(wrong: Wrong) -> Problem {
    Problem::field(wrong.field.replace('-', "_"), wrong.text)
}

impl DefaultsBody {
    pub(crate) fn of(defaults: &Defaults) -> DefaultsBody {
        let Defaults {
            cloud_provider,
            region,
            availability_zone,
            cluster_name,
            public_keys,
            base_url,
            boot_subnet,
            wg_subnet,
            short_name,
            nid_length,
        } = defaults.clone();
        DefaultsBody {
            cloud_provider,
            region,
            availability_zone,
            cluster_name,
            public_keys,
            base_url,
            boot_subnet,
            wg_subnet,
            short_name,
            nid_length,
        }
    }

    pub(crate) fn defaults(&self) -> Result<Defaults, Problem> {
        Defaults::read(&plain(self)).map_err(ours)
    }
}

impl FileBody {
    fn of(file: &File) -> FileBody {
        let File { content, filename, encoding, min_level } = file.clone();
        let min_level = (min_level > Level::Address).then(|| min_level.to_string());
        FileBody { content, filename, encoding: encoding.as_str().to_owned(), min_level }
    }
}

impl RemarkBody {
    pub(crate) fn of(remark: &Remark) -> RemarkBody {
        RemarkBody { line: remark.line, text: remark.text.clone() }
    }
}

impl GroupDataBody {
    pub(crate) fn of(group: &GroupData, warnings: &[Remark]) -> GroupDataBody {
        let GroupData { name, description, meta_data, file } = group;
        GroupDataBody {
            name: name.to_string(),
            description: description.clone(),
            meta_data: meta_data.clone(),
            file: file.as_ref().map(FileBody::of),
            warnings: warnings.iter().map(RemarkBody::of).collect(),
        }
    }

    pub(crate) fn group(&self, name: &str) -> Result<GroupData, Problem> {
        GroupData::read(&plain(self), Some(name)).map_err(ours)
    }
}

impl NodeDataBody {
    pub(crate) fn of(node: &str, effective: String, own: &NodeData, warnings: &[Remark]) -> NodeDataBody {
        let NodeData {
            instance_id,
            installation,
            local_hostname,
            hostname,
            cluster_name,
            region,
            availability_zone,
            cloud_provider,
            instance_type,
            base_url,
            public_keys,
            meta_data,
            file,
        } = own.clone();
        NodeDataBody {
            node: node.to_owned(),
            instance_id,
            effective_instance_id: effective,
            installation,
            local_hostname,
            hostname,
            cluster_name,
            region,
            availability_zone,
            cloud_provider,
            instance_type,
            cloud_init_base_url: base_url,
            public_keys,
            meta_data,
            file: file.as_ref().map(FileBody::of),
            warnings: warnings.iter().map(RemarkBody::of).collect(),
        }
    }

    pub(crate) fn own(&self) -> Result<NodeData, Problem> {
        for (key, field) in OWN_FIELDS {
            if self.meta_data.contains_key(key) {
                return Err(Problem::field(
                    format!("meta_data.{key}"),
                    format!("give the field {field} instead"),
                ));
            }
        }
        NodeData::read(&plain(self)).map_err(ours)
    }
}

impl PreviewBody {
    pub(crate) fn of(node: &str, preview: Preview) -> PreviewBody {
        let part = |part: Part| PartBody {
            name: part.name,
            text: part.text,
            template: part.is_template,
            remarks: part.remarks.iter().map(RemarkBody::of).collect(),
        };
        let value = |origin: Origin| ValueBody {
            path: origin.path,
            value: origin.value,
            source: origin.source.to_string(),
        };
        PreviewBody {
            node: node.to_owned(),
            instance_id: preview.instance_id,
            documents: preview.parts.into_iter().map(part).collect(),
            values: preview.origins.into_iter().map(value).collect(),
        }
    }
}

impl CallBody {
    pub(crate) fn of(node: &str, call: &Call) -> CallBody {
        let Call { at, count, instance_id, hostname, fqdn, keys } = call.clone();
        CallBody { node: node.to_owned(), at: at.rfc3339(), count, instance_id, hostname, fqdn, keys }
    }
}
