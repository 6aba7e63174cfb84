//! How far each node is, read off its latest boot record.

use std::collections::BTreeMap;

use crate::api::context::Context;
use crate::base::Timestamp;
use crate::model::boot_record::{Outcome, Phase};
use crate::model::{BootRecord, NodeId, Snapshot};

/// How far a node is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// It was never heard, or left for something that is not the head's.
    Quiet,
    /// It asked for its address, and no more yet; or it waits for somebody's decision.
    Starting,
    /// It has its script, and fetches what that names.
    Loading,
    /// It said that it is up, or runs as far as the head can see.
    Up,
    /// It did not come up.
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

    /// Of an attempt; none if the machine went on by another of its interfaces.
    fn of(record: &BootRecord) -> Option<Stage> {
        match record.outcome {
            Outcome::Dropped => None,
            Outcome::Left => Some(Stage::Quiet),
            Outcome::Up | Outcome::Settled => Some(Stage::Up),
            Outcome::Failed => Some(Stage::Trouble),
            Outcome::Waits => Some(Stage::Starting),
            Outcome::UnderWay if record.steps.iter().any(|step| step.phase >= Phase::Script) => {
                Some(Stage::Loading)
            }
            Outcome::UnderWay => Some(Stage::Starting),
        }
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

/// Of every node that was heard. Of a node with several interfaces the one heard last tells.
pub(crate) async fn standings(context: &Context, snapshot: &Snapshot) -> BTreeMap<NodeId, Standing> {
    let records = context.recorder.latest().await.unwrap_or_default();
    let mut known: BTreeMap<NodeId, Standing> = BTreeMap::new();
    for record in records {
        let node = record.node.as_deref().and_then(|name| snapshot.by_name(name));
        let (Some(node), Some(stage)) = (node, Stage::of(&record)) else { continue };
        let at = Some(record.last);
        if known.get(&node.id).is_none_or(|other| other.at <= at) {
            known.insert(node.id, Standing { stage, at, text: said(&record) });
        }
    }
    known
}

fn said(record: &BootRecord) -> String {
    match (&record.verdict, record.outcome) {
        (Some(verdict), Outcome::Failed) => verdict.summary.clone(),
        (_, outcome) => match record.steps.last() {
            Some(step) if outcome == Outcome::UnderWay => format!("at {}", step.phase),
            _ => outcome.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use crate::api::page::stage::Stage;
    use crate::base::Timestamp;
    use crate::model::BootRecord;
    use crate::model::boot_record::{Fate, Outcome, Phase, Step};

    fn record(outcome: Outcome, phases: &[Phase]) -> BootRecord {
        let step = |phase: &Phase| Step {
            phase: *phase,
            fate: Fate::Done,
            first: Timestamp(0),
            last: Timestamp(0),
            tries: 1,
            bytes: 0,
            of: 0,
            address: None,
            what: String::new(),
            result: String::new(),
        };
        let bare = BootRecord::new("00:00:5e:00:53:01".parse().unwrap(), Timestamp(0));
        BootRecord { outcome, steps: phases.iter().map(step).collect(), ..bare }
    }

    #[test]
    fn an_attempt_tells_how_far_its_node_is() {
        let of = |outcome, phases: &[Phase]| Stage::of(&record(outcome, phases));
        assert_eq!(of(Outcome::UnderWay, &[Phase::Firmware, Phase::Ipxe]), Some(Stage::Starting));
        assert_eq!(of(Outcome::UnderWay, &[Phase::Firmware, Phase::Script]), Some(Stage::Loading));
        assert_eq!(of(Outcome::Settled, &[Phase::Root]), Some(Stage::Up));
        assert_eq!(of(Outcome::Failed, &[Phase::Root]), Some(Stage::Trouble));
        assert_eq!(of(Outcome::Dropped, &[Phase::Firmware]), None, "the other interface tells");
    }
}
