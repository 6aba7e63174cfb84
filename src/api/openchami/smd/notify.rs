//! State change notifications. A task watches for new revisions, compares the components of the former and the
//! new one, and tells subscribers what concerns them. So it does not matter who changed a component: SMD's
//! routes, our own API, or another head. By level: a state that lasted shorter than one revision's publishing
//! may go untold, the last one never. What happened while the head was down is not told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::body::Bytes;
use serde::Serialize;

use crate::api::context::Context;
use crate::api::openchami::draft;
use crate::api::openchami::smd::component::{self, Component};
use crate::api::openchami::smd::subscriptions::{self, Triggers};
use crate::base::limits::NOTIFIED_COMPONENTS_MAX;
use crate::base::{BmcName, Timestamp, Xname};
use crate::model::Inventory;
use crate::transport::clock::now;
use crate::transport::tasks::Tasks;
use crate::transport::webhook::{Target, Webhooks};

/// Starts notifying.
pub fn start(context: &Context, webhooks: Webhooks, tasks: &Tasks) {
    let (context, stop) = (context.clone(), tasks.token());
    tasks.spawn("state-changes", async move {
        tokio::select! {
            () = watch(&context, &webhooks) => {}
            () = stop.cancelled() => {}
        }
    });
}

async fn watch(context: &Context, webhooks: &Webhooks) {
    let mut published = context.published.clone();
    // The inventory alone: a whole snapshot would keep its indices in memory too.
    let mut before = Arc::clone(&context.snapshot.load().inventory);
    while published.changed().await.is_ok() {
        let after = Arc::clone(&context.snapshot.load().inventory);
        if after.shelf(subscriptions::SHELF).next().is_some() {
            let (old, new) = (Arc::clone(&before), Arc::clone(&after));
            // Comparing a bulk change of 100,000 components takes a good part of a second.
            let told = tokio::task::spawn_blocking(move || notifications(&old, &new, now())).await;
            for (target, body) in told.unwrap_or_default() {
                webhooks.send(target, body).await;
            }
        }
        before = after;
    }
}

/// One thing that became so, of one or more components.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Fact {
    Enabled(bool),
    State { state: String, flag: String },
    Role(String),
    SubRole(String),
    SoftwareStatus(String),
}

impl Fact {
    fn concerns(&self, triggers: &Triggers) -> bool {
        let has = |list: &[String], word: &str| list.iter().any(|wanted| wanted.eq_ignore_ascii_case(word));
        match self {
            Fact::Enabled(_) => triggers.enabled == Some(true),
            Fact::State { state, .. } => has(&triggers.states, state),
            Fact::Role(role) => has(&triggers.roles, role),
            Fact::SubRole(role) => has(&triggers.sub_roles, role),
            Fact::SoftwareStatus(status) => has(&triggers.software_status, status),
        }
    }
}

/// A notification. Field for field SMD's.
#[derive(Serialize, Default)]
struct Payload<'a> {
    #[serde(rename = "Components")]
    components: &'a [String],
    #[serde(rename = "Enabled", skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(rename = "Flag", skip_serializing_if = "Option::is_none")]
    flag: Option<&'a str>,
    #[serde(rename = "Role", skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(rename = "SubRole", skip_serializing_if = "Option::is_none")]
    sub_role: Option<&'a str>,
    #[serde(rename = "SoftwareStatus", skip_serializing_if = "Option::is_none")]
    software_status: Option<&'a str>,
    #[serde(rename = "State", skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(rename = "Timestamp")]
    timestamp: String,
}

fn payload(fact: &Fact, components: &[String], now: Timestamp) -> Bytes {
    let empty = Payload { components, timestamp: now.rfc3339(), ..Payload::default() };
    let payload = match fact {
        Fact::Enabled(enabled) => Payload { enabled: Some(*enabled), ..empty },
        Fact::State { state, flag } => Payload { state: Some(state), flag: Some(flag), ..empty },
        Fact::Role(role) => Payload { role: Some(role), ..empty },
        Fact::SubRole(role) => Payload { sub_role: Some(role), ..empty },
        Fact::SoftwareStatus(status) => Payload { software_status: Some(status), ..empty },
    };
    serde_json::to_vec(&payload).expect("a notification holds nothing that JSON cannot").into()
}

/// What is to be told to whom. Each target hears of a fact once, however many subscriptions it has.
fn notifications(before: &Inventory, after: &Inventory, now: Timestamp) -> Vec<(Target, Bytes)> {
    let mut wishes: HashMap<Target, Vec<Triggers>> = HashMap::new();
    for subscription in subscriptions::all(after) {
        if let Some(target) = subscription.target() {
            wishes.entry(target).or_default().push(subscription.triggers);
        }
    }
    let mut told = Vec::new();
    for (fact, ids) in facts(before, after) {
        let concerned: Vec<&Target> = wishes
            .iter()
            .filter(|(_, triggers)| triggers.iter().any(|triggers| fact.concerns(triggers)))
            .map(|(target, _)| target)
            .collect();
        if concerned.is_empty() {
            continue;
        }
        for part in ids.chunks(NOTIFIED_COMPONENTS_MAX) {
            let body = payload(&fact, part, now);
            told.extend(concerned.iter().map(|target| (Target::clone(target), body.clone())));
        }
    }
    told
}

/// What became so from one revision to another. A new component is a change of all its fields; a component that
/// is gone is none.
fn facts(before: &Inventory, after: &Inventory) -> BTreeMap<Fact, Vec<String>> {
    let mut facts: BTreeMap<Fact, Vec<String>> = BTreeMap::new();
    for (old, new) in changed(before, after) {
        let old = old.filter(|old| old.id == new.id);
        let differs = |field: fn(&Component) -> &str| {
            let (was, is) = (old.as_ref().map_or("", field), field(&new));
            (was != is && !is.is_empty()).then(|| is.to_owned())
        };
        let is_enabled = |component: &Component| component.enabled.unwrap_or(true);
        let state = differs(|component| &component.state);
        let found = [
            (old.as_ref().map(is_enabled) != Some(is_enabled(&new))).then(|| Fact::Enabled(is_enabled(&new))),
            state.map(|state| Fact::State { state, flag: new.flag.clone() }),
            differs(|component| &component.role).map(Fact::Role),
            differs(|component| &component.sub_role).map(Fact::SubRole),
            differs(|component| &component.software_status).map(Fact::SoftwareStatus),
        ];
        for fact in found.into_iter().flatten() {
            facts.entry(fact).or_default().push(new.id.clone());
        }
    }
    facts.values_mut().for_each(|ids| ids.sort());
    facts
}

/// Components that may differ, as they were and as they are. What is the same value in memory is passed over,
/// so that this costs what was changed, not what there is.
fn changed(before: &Inventory, after: &Inventory) -> Vec<(Option<Component>, Component)> {
    let mut changed = Vec::new();
    for (_, old, node) in before.nodes.difference(&after.nodes).put {
        let new = component::of_node(node);
        changed.extend(new.map(|new| (old.and_then(|old| component::of_node(old)), new)));
    }
    let bmcs = before.bmcs.difference(&after.bmcs).put;
    if !bmcs.is_empty() {
        let (old_names, new_names) = (draft::bmc_xnames(before), draft::bmc_xnames(after));
        let shown = |inventory: &Inventory, names: &HashMap<BmcName, Xname>, name: &BmcName| {
            component::of_bmc(inventory.bmcs.get(name)?, names.get(name)?)
        };
        changed.extend(bmcs.into_iter().filter_map(|(name, ..)| {
            Some((shown(before, &old_names, name), shown(after, &new_names, name)?))
        }));
    }
    let documents = before.documents.difference(&after.documents).put.into_iter();
    for (_, old, document) in documents.filter(|(key, ..)| &*key.shelf == component::SHELF) {
        let new = draft::read(document);
        changed.extend(new.map(|new| (old.and_then(|old| draft::read(old)), new)));
    }
    changed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use crate::api::openchami::draft::Draft;
    use crate::api::openchami::smd::component::{self, Component};
    use crate::api::openchami::smd::notify::{Fact, facts};
    use crate::base::Xname;
    use crate::model::{Inventory, Revision, Site, Snapshot};

    /// Two nodes, a BMC, and a part that our model does not know.
    const NAMES: [&str; 4] = ["x0c0s1b0n0", "x0c0s2b0n0", "x0c0s1b0", "x0c0s1b0n0p0"];

    fn component() -> impl Strategy<Value = Component> {
        let word = |words: &'static [&'static str]| prop::sample::select(words).prop_map(str::to_owned);
        let role = word(&["Compute", "Storage"]);
        let (id, state, status) = (word(&NAMES), word(&["On", "Off", "Ready"]), word(&["", "up"]));
        (id, state, role, status, any::<bool>()).prop_map(|(id, state, role, software_status, enabled)| {
            let kind = id.parse::<Xname>().unwrap().kind().unwrap().to_owned();
            let role = if kind == "Node" { role } else { String::new() };
            Component {
                id,
                kind,
                state,
                role,
                software_status,
                enabled: Some(enabled),
                ..Component::default()
            }
        })
    }

    fn change(inventory: Inventory, puts: &[Component]) -> Inventory {
        let snapshot = Snapshot::compile(Revision(1), Arc::new(Site::default()), Arc::new(inventory));
        let mut draft = Draft::new(&snapshot);
        for put in puts {
            component::put(&mut draft, &put.id.parse().unwrap(), put).unwrap();
        }
        draft.next
    }

    /// The same by looking at every component.
    fn slow_facts(before: &Inventory, after: &Inventory) -> BTreeMap<Fact, Vec<String>> {
        let (old, mut facts) = (component::all(before), BTreeMap::<Fact, Vec<String>>::new());
        for (xname, new) in component::all(after) {
            let old = old.get(&xname);
            let mut note = |fact: Fact| facts.entry(fact).or_default().push(new.id.clone());
            if old.is_none_or(|old| old.enabled != new.enabled) {
                note(Fact::Enabled(new.enabled.unwrap()));
            }
            if old.is_none_or(|old| old.state != new.state) {
                note(Fact::State { state: new.state.clone(), flag: new.flag.clone() });
            }
            if !new.role.is_empty() && old.is_none_or(|old| old.role != new.role) {
                note(Fact::Role(new.role.clone()));
            }
            if !new.software_status.is_empty()
                && old.is_none_or(|old| old.software_status != new.software_status)
            {
                note(Fact::SoftwareStatus(new.software_status.clone()));
            }
        }
        facts
    }

    proptest! {
        #[test]
        fn what_is_passed_over_did_not_change(
            first in prop::collection::vec(component(), 0..6),
            second in prop::collection::vec(component(), 0..6),
        ) {
            let before = change(Inventory::default(), &first);
            let after = change(before.clone(), &second);
            prop_assert_eq!(facts(&before, &after), slow_facts(&before, &after));
            prop_assert!(facts(&after, &after.clone()).is_empty());
        }
    }
}
