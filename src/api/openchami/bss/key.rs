//! Whom boot parameters are for: how BSS spells it, and which selector of ours it is.
//!
//! `hosts` holds xnames, and tags: `Default`, `Global`, a role (`Compute`), `Unknown` and `Unknown-<arch>`. Beyond
//! BSS it takes node names, which come back as xnames, and groups as `@label` or just their label, which come
//! back as `@label` because a group may be called like a role.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use crate::api::openchami::draft::Draft;
use crate::api::openchami::smd::values;
use crate::api::problem::Problem;
use crate::base::{Mac, Xname};
use crate::model::{Arch, Inventory, Nid, Selector, Snapshot};

/// Whom parameters are for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Key {
    /// Never `Selector::Node`: a node stands here by its xname, declared or synthesised.
    Boot(Selector),
    /// Nobody boots by it: data that every node reads.
    Global,
}

/// In which list of an entry a key stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Shown {
    Host(String),
    Mac(String),
    Nid(u32),
}

impl Key {
    /// The name under which documents keep what belongs to the key.
    pub(crate) fn id(&self) -> String {
        match self {
            Key::Boot(selector) => match selector {
                Selector::Mac(mac) => format!("mac:{mac}"),
                Selector::Node(id) => format!("node:{}", id.0),
                Selector::Xname(xname) => format!("host:{xname}"),
                Selector::Nid(nid) => format!("nid:{}", nid.0),
                Selector::Group(group) => format!("group:{group}"),
                Selector::Role(role) => format!("role:{role}"),
                Selector::Default => "tag:default".to_owned(),
                Selector::Unknown(None) => "tag:unknown".to_owned(),
                Selector::Unknown(Some(arch)) => format!("tag:unknown-{}", arch.as_str()),
            },
            Key::Global => "tag:global".to_owned(),
        }
    }

    /// The inverse of `id`.
    pub(crate) fn of_id(id: &str) -> Option<Key> {
        let (kind, text) = id.split_once(':')?;
        let selector = match kind {
            "mac" => Selector::Mac(text.parse().ok()?),
            "host" => Selector::Xname(text.parse().ok()?),
            "nid" => Selector::Nid(Nid(text.parse().ok()?)),
            "group" => Selector::Group(text.parse().ok()?),
            "role" => Selector::Role(text.to_owned()),
            "tag" => return tag(text),
            _ => return None,
        };
        Some(Key::Boot(selector))
    }

    /// As an entry lists it. A role keeps the spelling of SMD, or of the nodes that have it.
    pub(crate) fn shown(&self, inventory: &Inventory) -> Shown {
        let Key::Boot(selector) = self else { return Shown::Host("Global".to_owned()) };
        match selector {
            Selector::Mac(mac) => Shown::Mac(mac.to_string()),
            Selector::Nid(nid) => Shown::Nid(nid.0),
            Selector::Node(id) => Shown::Host(format!("#{}", id.0)),
            Selector::Xname(xname) => Shown::Host(xname.to_string()),
            Selector::Group(group) => Shown::Host(format!("@{group}")),
            Selector::Role(role) => {
                Shown::Host(values::role(inventory, role).unwrap_or_else(|_| role.clone()))
            }
            Selector::Default => Shown::Host("Default".to_owned()),
            Selector::Unknown(None) => Shown::Host("Unknown".to_owned()),
            Selector::Unknown(Some(arch)) => Shown::Host(format!("Unknown-{}", arch.as_str())),
        }
    }
}

/// `Default`, `Global`, `Unknown`, `Unknown-<arch>`, in any case.
fn tag(text: &str) -> Option<Key> {
    let lowered = text.to_ascii_lowercase();
    match lowered.as_str() {
        "default" => Some(Key::Boot(Selector::Default)),
        "global" => Some(Key::Global),
        "unknown" => Some(Key::Boot(Selector::Unknown(None))),
        _ => {
            let arch = lowered.strip_prefix("unknown-").and_then(Arch::from_name)?;
            Some(Key::Boot(Selector::Unknown(Some(arch))))
        }
    }
}

/// Reads the hosts of one request.
pub(crate) struct Hosts<'a> {
    snapshot: &'a Snapshot,
    /// The roles of the site's nodes in lower case: looked up once, however many hosts are no names.
    roles: OnceCell<BTreeSet<String>>,
}

impl<'a> Hosts<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot) -> Hosts<'a> {
        Hosts { snapshot, roles: OnceCell::new() }
    }

    fn is_role(&self, lowered: &str) -> bool {
        let nodes = || self.snapshot.inventory.nodes.values();
        let roles = || nodes().filter_map(|node| Some(node.role.as_ref()?.to_ascii_lowercase())).collect();
        values::find(&values::ROLES, lowered).is_some() || self.roles.get_or_init(roles).contains(lowered)
    }

    /// Reads a host of a request.
    ///
    /// # Errors
    /// Status 400: it is no xname of a node or BMC, and names nothing that is there.
    pub(crate) fn read(&self, text: &str) -> Result<Key, Problem> {
        let text = text.trim();
        if let Some(key) = tag(text) {
            return Ok(key);
        }
        self.named(text)
    }

    fn named(&self, text: &str) -> Result<Key, Problem> {
        let snapshot = self.snapshot;
        let group = |label: &str| {
            let label = label.parse().ok().filter(|label| snapshot.inventory.groups.contains_key(label))?;
            Some(Key::Boot(Selector::Group(label)))
        };
        if let Some(label) = text.strip_prefix('@') {
            let wrong = || Problem::bad_request(format!("Bad Request: hosts: no group is called {label:?}"));
            return group(label).ok_or_else(wrong);
        }
        let xname = text.parse::<Xname>().ok().filter(|xname| xname.is_node() || xname.is_bmc());
        let by_name = || snapshot.by_name(text).map(|node| node.effective_xname());
        if let Some(xname) = xname.or_else(by_name) {
            return Ok(Key::Boot(Selector::Xname(xname)));
        }
        let lowered = text.to_ascii_lowercase();
        let role = || Key::Boot(Selector::Role(lowered.clone()));
        // A role in its own spelling counts before a group that is called like it.
        if values::ROLES.contains(&text) {
            return Ok(role());
        }
        let known_role = || self.is_role(&lowered).then(role);
        group(text).or_else(known_role).ok_or_else(|| {
            Problem::bad_request(format!(
                "Bad Request: hosts: invalid xname (nor node, tag, role or group): {text:?}"
            ))
        })
    }
}

/// Reads a hardware address of a body: six pairs with colons, in any case.
///
/// # Errors
/// Status 400: it has another form.
pub(crate) fn mac(text: &str) -> Result<Key, Problem> {
    let strict = text.len() == 17 && text.split(':').all(|pair| pair.len() == 2);
    let mac = text.parse::<Mac>().ok().filter(|_| strict);
    mac.map(|mac| Key::Boot(Selector::Mac(mac)))
        .ok_or_else(|| Problem::bad_request(format!("Bad Request: macs: invalid MAC address: {text:?}")))
}

/// The selector under which a key's parameters are kept, or would be: a declared node's own.
pub(crate) fn place(draft: &Draft<'_>, selector: &Selector) -> Selector {
    match selector {
        Selector::Xname(xname) => {
            draft.node(xname).map_or_else(|| selector.clone(), |node| Selector::Node(node.id))
        }
        _ => selector.clone(),
    }
}

#[cfg(test)]
mod tests {
    use crate::api::openchami::bss::key::{Hosts, Key, mac};
    use crate::model::Snapshot;

    #[test]
    fn keys_come_back_from_their_ids() {
        let snapshot = Snapshot::default();
        for text in ["x1000c0s0b0n0", "Default", "global", "Compute", "unknown-aarch64", "UNKNOWN"] {
            let key = Hosts::of(&snapshot).read(text).unwrap();
            assert_eq!(Key::of_id(&key.id()), Some(key), "{text}");
        }
        let key = mac("AA:bb:CC:dd:EE:01").unwrap();
        assert_eq!(key.id(), "mac:aa:bb:cc:dd:ee:01");
        assert_eq!(Key::of_id(&key.id()), Some(key));
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for bad in ["", "FAKE", "foo", "x1000", "@none", "Unknown-vax", "\u{e9}"] {
            assert!(Hosts::of(&Snapshot::default()).read(bad).is_err(), "{bad}");
        }
        for bad in [
            "",
            "aa-bb-cc-dd-ee-01",
            "aabbccddee01",
            "aa:bb:cc:dd:ee",
            "aa:bb:cc:dd:ee:0g",
            "aa:bb:cc:dd:ee:01 ",
        ] {
            assert!(mac(bad).is_err(), "{bad}");
        }
    }
}
