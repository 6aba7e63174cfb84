//! How far each node is, read off what the head remembers: its journal, and which nodes said that they are up.
//!
//! A boot record says this better where there is one; it takes the place of `standings`, and nothing else changes.

use std::collections::BTreeMap;

use crate::api::context::Context;
use crate::base::{Millis, Timestamp};
use crate::model::{NodeId, Snapshot};
use crate::transport::clock::now;
use crate::transport::journal::Event;

/// A node that began to boot and was not heard of for so long is waited for no more.
const PATIENCE: Millis = Millis(30 * 60 * 1000);

/// How far a node is. The order is that of a boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// Nothing was heard lately.
    Quiet,
    /// It asked for its address.
    Starting,
    /// It fetches its script, kernel or root.
    Loading,
    /// It said that it is up.
    Up,
    /// Something broke off.
    Trouble,
}

impl Stage {
    /// In the order in which people want to know.
    pub(crate) const ALL: [Stage; 5] =
        [Stage::Up, Stage::Loading, Stage::Starting, Stage::Quiet, Stage::Trouble];

    /// As the style sheet and queries name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stage::Quiet => "quiet",
            Stage::Starting => "starting",
            Stage::Loading => "loading",
            Stage::Up => "up",
            Stage::Trouble => "trouble",
        }
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Stage::Trouble => "in trouble",
            _ => self.name(),
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

/// How far a node is, since when, and by what this is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Standing {
    pub(crate) stage: Stage,
    pub(crate) at: Option<Timestamp>,
    pub(crate) text: String,
}

impl Default for Standing {
    fn default() -> Self {
        Standing { stage: Stage::Quiet, at: None, text: String::new() }
    }
}

/// Of every node that anything is known about.
pub(crate) fn standings(context: &Context, snapshot: &Snapshot) -> BTreeMap<NodeId, Standing> {
    let mut known = BTreeMap::new();
    for event in context.journal.after(0, usize::MAX).events {
        let node = event.node.as_deref().and_then(|name| snapshot.by_name(name));
        if let (Some(node), Some(stage)) = (node, told(&event)) {
            known.insert(node.id, Standing { stage, at: Some(event.time), text: event.text.clone() });
        }
    }
    for (id, call) in context.calls.all().iter() {
        if known.get(&id).is_none_or(|standing| standing.at <= Some(call.at)) {
            known.insert(
                id,
                Standing { stage: Stage::Up, at: Some(call.at), text: "said that it is up".to_owned() },
            );
        }
    }
    let now = now();
    known.values_mut().for_each(|standing| age(standing, now));
    known
}

/// What an event says about its node.
fn told(event: &Event) -> Option<Stage> {
    let number = |name| event.data.get(name).and_then(|text| text.parse::<u64>().ok());
    match event.kind {
        "lease" if event.data.get("stage").is_some_and(|stage| stage != "system") => Some(Stage::Starting),
        "boot" if event.data.contains_key("up") => Some(Stage::Up),
        // A root by blocks is never read as a whole.
        "boot" if event.data.contains_key("touched") => None,
        "boot" if number("bytes").zip(number("of")).is_some_and(|(bytes, of)| bytes < of) => {
            Some(Stage::Trouble)
        }
        "boot" => Some(Stage::Loading),
        _ => None,
    }
}

fn age(standing: &mut Standing, now: Timestamp) {
    let waits = matches!(standing.stage, Stage::Starting | Stage::Loading);
    if waits && standing.at.is_some_and(|at| now.since(at) > PATIENCE) {
        standing.stage = Stage::Quiet;
    }
}

#[cfg(test)]
mod tests {
    use crate::api::page::stage::{Stage, Standing, age, told};
    use crate::base::Timestamp;
    use crate::transport::journal::{Entry, Journal};

    fn stage(entry: Entry) -> Option<Stage> {
        let journal = Journal::new(Timestamp(1));
        journal.write(entry);
        told(&journal.after(0, 1).events[0])
    }

    #[test]
    fn events_tell_how_far_a_node_is() {
        let entry = |kind| Entry::new(Timestamp(0), kind, "");
        assert_eq!(stage(entry("lease").with("stage", "firmware")), Some(Stage::Starting));
        assert_eq!(
            stage(entry("lease").with("stage", "system")),
            None,
            "a system that runs takes its address too"
        );
        assert_eq!(stage(entry("boot").with("rule", "x")), Some(Stage::Loading));
        assert_eq!(stage(entry("boot").with("bytes", 10).with("of", 10)), Some(Stage::Loading));
        assert_eq!(stage(entry("boot").with("bytes", 9).with("of", 10)), Some(Stage::Trouble));
        assert_eq!(stage(entry("boot").with("bytes", 9).with("of", 10).with("touched", 9)), None);
        assert_eq!(stage(entry("boot").with("up", "x")), Some(Stage::Up));
        assert_eq!(stage(entry("inventory")), None);
    }

    #[test]
    fn a_boot_that_nobody_heard_the_end_of_is_quiet_after_a_while() {
        let after = |stage, now| {
            let mut standing = Standing { stage, at: Some(Timestamp(0)), text: String::new() };
            age(&mut standing, Timestamp(now));
            standing.stage
        };
        assert_eq!(after(Stage::Loading, 60_000), Stage::Loading);
        assert_eq!(after(Stage::Loading, 3_600_000), Stage::Quiet);
        assert_eq!(after(Stage::Up, 3_600_000), Stage::Up);
        assert_eq!(after(Stage::Trouble, 3_600_000), Stage::Trouble);
    }
}
