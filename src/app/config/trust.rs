//! The section `[trust]`: when a node gets a boot session, and what it must show.

use std::str::FromStr;

use crate::app::config::Span;
use crate::app::config_file::{At, Problems, Section};
use crate::base::limits::{SESSION_LIFE, SESSION_LIFE_MAX, SESSION_LIFE_MIN};
use crate::engine::trust::ArmOn;
use crate::transport::sessions::SessionPolicy;

/// What the section says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trust {
    pub sessions: SessionPolicy,
    /// Every node gets a session, not only those that have secrets.
    pub always: bool,
    /// Only root of a node may claim for it.
    pub privileged_port: bool,
}

pub(crate) fn trust(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Trust {
    let mut section = root.section("trust", problems);
    let arm_on = section.parsed::<Arming>("arm_on", problems).map_or(ArmOn::Auto, |at| at.value.0);
    let life = match section.parsed::<Span>("session_life", problems) {
        None => SESSION_LIFE,
        Some(At { value: Span(life), .. }) if (SESSION_LIFE_MIN..=SESSION_LIFE_MAX).contains(&life) => life,
        Some(At { line, .. }) => {
            problems.add(line, section.path("session_life"), "must be from 1m to 60m");
            SESSION_LIFE
        }
    };
    let always = section.parsed::<Who>("sessions", problems).is_some_and(|at| at.value == Who::Always);
    let privileged_port = section.flag("privileged_port", problems).unwrap_or(false);
    section.finish(problems);
    Trust { sessions: SessionPolicy { arm_on, life }, always, privileged_port }
}

struct Arming(ArmOn);

impl FromStr for Arming {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = ArmOn::ALL.into_iter().find(|arm_on| arm_on.as_str() == text);
        known.map(Arming).ok_or("is none of auto, dhcp, power, operator")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Needed,
    Always,
}

impl FromStr for Who {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "needed" => Ok(Who::Needed),
            "always" => Ok(Who::Always),
            _ => Err("is none of needed, always"),
        }
    }
}
