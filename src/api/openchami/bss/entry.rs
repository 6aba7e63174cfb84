//! Boot parameters as BSS shows them, and where they stand here: lasting assignments of a Linux target, with a
//! document beside them for what an assignment has no place for (cloud-init data, a referral token).
//!
//! What boots otherwise (a script, a chained program, the local disk) has no form in BSS and is not there in its
//! eyes; a PUT or POST puts parameters in its place. A profile shows as the target it names; writing to such an
//! entry makes it a target of its own. Of several initrds BSS sees the first; the others stay until it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::api::openchami::bss::key::{self, Key, Shown};
use crate::api::openchami::draft::{self, Draft};
use crate::engine::boot::{Program, program};
use crate::model::profile::{AssignmentKey, Boot};
use crate::model::{Assignment, BootTarget, Change, Inventory, NodeId, Selector};

/// Where the documents lie.
const SHELF: &str = "bss.entry";

/// What BSS hands to cloud-init.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CloudInit {
    #[serde(rename = "meta-data")]
    pub(crate) meta_data: Option<Map<String, Value>>,
    #[serde(rename = "user-data")]
    pub(crate) user_data: Option<Map<String, Value>>,
    #[serde(rename = "phone-home")]
    pub(crate) phone_home: PhoneHome,
}

/// What a node said of itself when it had booted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PhoneHome {
    pub(crate) pub_key_dsa: String,
    pub(crate) pub_key_rsa: String,
    pub(crate) pub_key_ecdsa: String,
    pub(crate) instance_id: String,
    pub(crate) hostname: String,
    pub(crate) fqdn: String,
}

/// One entry of `/bootparameters`. Field for field BSS's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Parameters {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) hosts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) macs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nids: Vec<u32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) params: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) kernel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) initrd: String,
    #[serde(rename = "cloud-init")]
    pub(crate) cloud_init: CloudInit,
}

/// What a key boots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Linux {
    pub(crate) kernel: String,
    pub(crate) initrds: Vec<String>,
    pub(crate) params: String,
}

/// What a document keeps of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    cloud_init: CloudInit,
    token: String,
    /// Only of `Global`, by which nobody boots.
    linux: Linux,
}

/// All that is kept for one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) linux: Linux,
    pub(crate) cloud_init: CloudInit,
    pub(crate) token: String,
}

impl Linux {
    fn of(inventory: &Inventory, boot: &Boot) -> Option<Linux> {
        let target = match boot {
            Boot::Target(target) => target,
            Boot::Profile(name) => &inventory.profiles.get(name)?.target,
        };
        match program(inventory, target)? {
            Program::Linux { kernel, initrds, params } => Some(Linux { kernel, initrds, params }),
            Program::Script(_) | Program::Chain(_) | Program::LocalDisk => None,
        }
    }

    pub(crate) fn initrd(&self) -> &str {
        self.initrds.first().map_or("", String::as_str)
    }

    /// Takes over what a request supplies; empty means not supplied.
    pub(crate) fn update(&mut self, given: &Parameters) {
        if !given.kernel.is_empty() {
            self.kernel.clone_from(&given.kernel);
        }
        if !given.initrd.is_empty() && given.initrd != self.initrd() {
            self.initrds = vec![given.initrd.clone()];
        }
        if !given.params.is_empty() {
            self.params.clone_from(&given.params);
        }
    }
}

/// What is kept for one key; None if BSS has nothing to show for it. `node` is the node of the key's xname.
pub(crate) fn find(inventory: &Inventory, key: &Key, node: Option<NodeId>) -> Option<Entry> {
    let kept: Option<Kept> = inventory.document(SHELF, &key.id()).and_then(|document| draft::read(document));
    let linux = match key {
        Key::Global => None,
        Key::Boot(selector) => node
            .map(Selector::Node)
            .into_iter()
            .chain([selector.clone()])
            .find_map(|selector| inventory.assignments.get(&AssignmentKey { selector, lasting: true }))
            .and_then(|assignment| Linux::of(inventory, &assignment.boot)),
    };
    if kept.is_none() && linux.is_none() {
        return None;
    }
    let Kept { cloud_init, token, linux: own } = kept.unwrap_or_default();
    Some(Entry { linux: linux.unwrap_or(own), cloud_init, token })
}

/// The node of a key in a draft.
fn node(draft: &Draft<'_>, key: &Key) -> Option<NodeId> {
    match key {
        Key::Boot(Selector::Xname(xname)) => draft.node(xname).map(|node| node.id),
        Key::Boot(_) | Key::Global => None,
    }
}

pub(crate) fn find_in(draft: &Draft<'_>, key: &Key) -> Option<Entry> {
    find(&draft.next, key, node(draft, key))
}

/// Writes what is kept for a key to where it belongs.
pub(crate) fn put(draft: &mut Draft<'_>, key: &Key, entry: Entry) {
    let Entry { linux, cloud_init, token } = entry;
    let mut kept = Kept { cloud_init, token, linux: Linux::default() };
    match key {
        Key::Global => kept.linux = linux,
        Key::Boot(_) if linux == Linux::default() => {} // data for cloud-init only
        Key::Boot(selector) => {
            let (named, selector) = (selector, key::place(draft, selector));
            let stale = AssignmentKey { selector: named.clone(), lasting: true };
            if selector != *named && draft.next.assignments.contains_key(&stale) {
                // It was made before the node was declared, and would come back with the node's removal.
                draft.apply(Change::RemoveAssignment(stale));
            }
            let boot =
                draft.next.assignments.get(&AssignmentKey { selector: selector.clone(), lasting: true });
            // What did not change stays what it is: a profile is not turned into a copy of itself.
            let same = boot.is_some_and(|old| Linux::of(&draft.next, &old.boot).as_ref() == Some(&linux));
            if !same {
                let Linux { kernel, initrds, params } = linux;
                let boot = Boot::Target(BootTarget::Linux { kernel, initrds, params });
                draft.apply(Change::PutAssignment(Arc::new(Assignment { selector, once: false, boot })));
            }
        }
    }
    let id = key.id();
    if kept == Kept::default() {
        draft.remove_document(SHELF, &id);
    } else if draft.document::<Kept>(SHELF, &id).as_ref() != Some(&kept) {
        draft.put_document(SHELF, &id, &kept);
    }
}

/// Removes what is kept for a key; false if BSS has nothing to show for it.
pub(crate) fn remove(draft: &mut Draft<'_>, key: &Key) -> bool {
    if find_in(draft, key).is_none() {
        return false;
    }
    if let Key::Boot(selector) = key {
        for selector in [key::place(draft, selector), selector.clone()] {
            let key = AssignmentKey { selector, lasting: true };
            let held = draft.next.assignments.get(&key);
            if held.is_some_and(|held| Linux::of(&draft.next, &held.boot).is_some()) {
                draft.apply(Change::RemoveAssignment(key));
            }
        }
    }
    draft.remove_document(SHELF, &key.id());
    true
}

/// Everything that BSS has to show, in the order of the keys.
pub(crate) fn all(inventory: &Inventory) -> BTreeMap<Key, Entry> {
    let mut entries = BTreeMap::new();
    // Nodes that boot otherwise: what is assigned to their xname does not count.
    let mut hidden = BTreeSet::new();
    let lasting = inventory.assignments.values().filter(|assignment| !assignment.once);
    for assignment in lasting {
        let key = match &assignment.selector {
            Selector::Node(id) => {
                let Some(node) = inventory.nodes.get(id) else { continue };
                Key::Boot(Selector::Xname(node.effective_xname()))
            }
            selector => Key::Boot(selector.clone()),
        };
        // Nodes come before xnames: what counts is there already.
        match Linux::of(inventory, &assignment.boot) {
            None => drop(hidden.insert(key)),
            Some(_) if hidden.contains(&key) => {}
            Some(linux) => drop(entries.entry(key).or_insert(Entry { linux, ..Entry::default() })),
        }
    }
    for (id, kept) in draft::shelf::<Kept>(inventory, SHELF) {
        let Some(key) = Key::of_id(&id) else { continue };
        let Kept { cloud_init, token, linux } = kept;
        let entry = entries.entry(key).or_insert(Entry { linux, ..Entry::default() });
        (entry.cloud_init, entry.token) = (cloud_init, token);
    }
    entries
}

/// Entries as BSS lists them: keys that boot the same stand in one.
pub(crate) fn list(
    inventory: &Inventory,
    entries: impl IntoIterator<Item = (Key, Entry)>,
) -> Vec<Parameters> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut list: Vec<Parameters> = Vec::new();
    for (key, entry) in entries {
        let Entry { linux, cloud_init, token: _ } = entry;
        let same =
            serde_json::to_string(&(&linux, &cloud_init)).expect("entries hold nothing that JSON cannot");
        let place = *places.entry(same).or_insert(list.len());
        if place == list.len() {
            let initrd = linux.initrd().to_owned();
            let Linux { kernel, params, .. } = linux;
            list.push(Parameters { kernel, initrd, params, cloud_init, ..Parameters::default() });
        }
        let Some(parameters) = list.get_mut(place) else { continue };
        match key.shown(inventory) {
            Shown::Host(host) => parameters.hosts.push(host),
            Shown::Mac(mac) => parameters.macs.push(mac),
            Shown::Nid(nid) => parameters.nids.push(nid),
        }
    }
    list
}
