//! Phone-home reports: the last one of each node. Observed state, held in memory only: a node calls once for
//! each installation, and who needs more than the last call reads the log.

use std::collections::BTreeMap;

use crate::base::Timestamp;
use crate::base::limits::PHONE_HOMES_MAX;
use crate::model::NodeId;

/// Longest text of one field: an RSA key of 16,384 bits in OpenSSH's form takes 2.8 kB.
pub const FIELD_BYTES_MAX: usize = 4096;

/// Fields of one report: cloud-init sends at most seven.
pub const FIELDS_MAX: usize = 32;

/// What a node said when its installation was done.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Call {
    /// When it was heard.
    pub at: Timestamp,
    /// How often the node has called since the head started.
    pub count: u64,
    pub instance_id: String,
    pub hostname: String,
    pub fqdn: String,
    /// Public host keys by kind (`rsa`, `ed25519` …).
    pub keys: BTreeMap<String, String>,
}

/// The last report of each node.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Calls(BTreeMap<NodeId, Call>);

impl Call {
    /// Reads the fields of a form. Unknown ones are not kept; `N/A` is cloud-init's word for nothing.
    ///
    /// # Errors
    /// The name of a field that is too long.
    pub fn read(fields: impl IntoIterator<Item = (String, String)>) -> Result<Call, String> {
        let mut call = Call::default();
        for (name, value) in fields.into_iter().take(FIELDS_MAX) {
            if value.len() > FIELD_BYTES_MAX {
                return Err(name);
            }
            if value.is_empty() || value == "N/A" {
                continue;
            }
            match name.as_str() {
                "instance_id" => call.instance_id = value,
                "hostname" => call.hostname = value,
                "fqdn" => call.fqdn = value,
                _ => {
                    if let Some(kind) = name.strip_prefix("pub_key_") {
                        call.keys.insert(kind.to_owned(), value.trim().to_owned());
                    }
                }
            }
        }
        Ok(call)
    }
}

impl Calls {
    /// Takes a report. Beyond the bound the node that called longest ago is forgotten.
    pub fn record(&mut self, node: NodeId, call: Call, now: Timestamp) {
        let before = self.0.get(&node).map_or(0, |call| call.count);
        if before == 0 && self.0.len() >= PHONE_HOMES_MAX {
            let oldest = self.0.iter().min_by_key(|(_, call)| call.at).map(|(id, _)| *id);
            oldest.and_then(|id| self.0.remove(&id));
        }
        self.0.insert(node, Call { at: now, count: before.saturating_add(1), ..call });
    }

    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Call)> {
        self.0.iter().map(|(id, call)| (*id, call))
    }
}
