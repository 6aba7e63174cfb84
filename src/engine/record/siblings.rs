//! How the machines fared that boot the same: members of the same groups with the same image.

use crate::model::BootRecord;
use crate::model::boot_record::{Outcome, Phase};

/// Counts over the latest attempts of siblings.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Siblings {
    pub all: u32,
    /// Up, or as good as up.
    pub up: u32,
    /// Completed the step that is asked about.
    pub passed: u32,
    /// Failed by the same rule.
    pub same: u32,
    pub failed: u32,
    pub under_way: u32,
}

impl Siblings {
    /// Counts how the others fared at `phase`.
    #[must_use]
    pub fn count<'a>(
        of: &BootRecord,
        phase: Option<Phase>,
        others: impl Iterator<Item = &'a BootRecord>,
    ) -> Siblings {
        let mut counts = Siblings::default();
        let rule = of.verdict.as_ref().map(|verdict| verdict.rule.as_str());
        for other in others.filter(|other| other.mac != of.mac && are_siblings(of, other)) {
            let raise = |count: &mut u32| *count = count.saturating_add(1);
            raise(&mut counts.all);
            match other.outcome {
                Outcome::Up | Outcome::Settled => raise(&mut counts.up),
                Outcome::Failed => raise(&mut counts.failed),
                Outcome::UnderWay => raise(&mut counts.under_way),
                Outcome::Waits | Outcome::Left | Outcome::Dropped => {}
            }
            if phase.is_some_and(|phase| other.furthest().is_some_and(|furthest| furthest >= phase)) {
                raise(&mut counts.passed);
            }
            let other_rule = other.verdict.as_ref().map(|verdict| verdict.rule.as_str());
            if rule.is_some() && other_rule == rule {
                raise(&mut counts.same);
            }
        }
        counts
    }

    /// One sentence for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Siblings { all, up, same, failed, under_way, passed } = *self;
        match all {
            0 => "no other machine of its groups boots the same".to_owned(),
            _ if same == all => format!("all {all} siblings fail the same way: look at what they share"),
            _ => {
                let mut parts = vec![format!("{up} are up")];
                let mut add = |count: u32, text: &str| {
                    if count > 0 {
                        parts.push(format!("{count} {text}"));
                    }
                };
                add(passed.saturating_sub(up), "got past this step");
                add(same, "fail the same way");
                add(failed.saturating_sub(same), "fail otherwise");
                add(under_way, "are under way");
                format!("of {all} siblings {}", parts.join(", "))
            }
        }
    }
}

/// Same groups, and the same image where both were told one.
#[must_use]
pub fn are_siblings(a: &BootRecord, b: &BootRecord) -> bool {
    let images = a.told.as_ref().zip(b.told.as_ref());
    a.kin == b.kin && images.is_none_or(|(a, b)| a.image == b.image)
}
