//! The options that describe a node, and the patch or body they make.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::api::v1::types::{InterfaceBody, NodeBody};

/// What may be said about nodes; an empty value clears a field.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Fields {
    /// Hardware address of the boot interface
    #[arg(long)]
    pub(crate) mac: Option<String>,
    /// Addresses of the boot interface; an empty value: one from the pool
    #[arg(long)]
    pub(crate) ip: Option<Vec<String>>,
    /// Number by which Slurm and Cray systems count nodes
    #[arg(long)]
    nid: Option<String>,
    /// Place in the racks, such as x1000c0s0b0n0
    #[arg(long)]
    xname: Option<String>,
    /// SMBIOS identity
    #[arg(long)]
    uuid: Option<String>,
    /// x86_64, arm64, …
    #[arg(long)]
    arch: Option<String>,
    /// What the node is for, such as Compute
    #[arg(long)]
    role: Option<String>,
    /// All groups of the nodes (see also: muster group add)
    #[arg(long = "group")]
    groups: Option<Vec<String>>,
    /// Name of the BMC
    #[arg(long)]
    bmc: Option<String>,
    /// What the head does when they ask to boot: serve, ignore, local
    #[arg(long)]
    policy: Option<String>,
    /// Loader instead of the one for the firmware
    #[arg(long, value_name = "FILE")]
    loader: Option<String>,
}

impl Fields {
    /// The options as a merge patch. An empty value is null, which clears the field.
    pub(crate) fn patch(&self, old: Option<&NodeBody>) -> anyhow::Result<Value> {
        let mut patch = Map::new();
        let nid = self
            .nid
            .as_ref()
            .map(|nid| if nid.is_empty() { Ok(Value::Null) } else { nid.parse::<u32>().map(Value::from) });
        patch.extend(nid.transpose()?.map(|nid| ("nid".to_owned(), nid)));
        for (key, value) in [
            ("xname", &self.xname),
            ("uuid", &self.uuid),
            ("arch", &self.arch),
            ("role", &self.role),
            ("bmc", &self.bmc),
            ("policy", &self.policy),
            ("loader", &self.loader),
        ] {
            let value = value.as_ref().map(|text| if text.is_empty() { Value::Null } else { json!(text) });
            patch.extend(value.map(|value| (key.to_owned(), value)));
        }
        if let Some(groups) = &self.groups {
            let groups: Vec<&String> = groups.iter().filter(|group| !group.is_empty()).collect();
            patch.insert("groups".to_owned(), json!(groups));
        }
        if self.mac.is_some() || self.ip.is_some() {
            let mut interfaces = old.map(|node| node.interfaces.clone()).unwrap_or_default();
            let mac = self.mac.clone().or_else(|| interfaces.first().map(|first| first.mac.clone()));
            let mac = mac.ok_or_else(|| anyhow::anyhow!("--mac is needed: the node has no interface yet"))?;
            let addresses = match &self.ip {
                Some(texts) => texts
                    .iter()
                    .filter(|text| !text.is_empty())
                    .map(|text| {
                        text.parse().map_err(|_| anyhow::anyhow!("--ip: {text:?} is not an IPv4 address"))
                    })
                    .collect::<anyhow::Result<_>>()?,
                None => interfaces.first().map(|first| first.addresses.clone()).unwrap_or_default(),
            };
            let name = interfaces.first().and_then(|first| first.name.clone());
            let first = InterfaceBody { name, mac, addresses };
            match interfaces.first_mut() {
                Some(old) => *old = first,
                None => interfaces.push(first),
            }
            patch.insert("interfaces".to_owned(), serde_json::to_value(interfaces)?);
        }
        Ok(Value::Object(patch))
    }

    /// The options as a whole new node.
    pub(crate) fn body(&self, name: &str) -> anyhow::Result<Value> {
        let mut body = self.patch(None)?;
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
            fields.insert("name".to_owned(), json!(name));
        }
        Ok(body)
    }
}
