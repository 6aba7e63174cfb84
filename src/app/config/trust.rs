//! The section `[trust]`: when a node gets a boot session, and what it must show.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use crate::app::config::{Span, Text};
use crate::app::config_file::{At, Problems, Section};
use crate::base::GroupName;
use crate::base::limits::{SESSION_LIFE, SESSION_LIFE_MAX, SESSION_LIFE_MIN};
use crate::engine::attest::Mode;
use crate::engine::attest::enrol::{Enrol, Override, TpmPolicy, TpmRules};
use crate::engine::trust::ArmOn;
use crate::transport::sessions::SessionPolicy;

/// What the section says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trust {
    pub sessions: SessionPolicy,
    /// Every node gets a session, not only those that have secrets.
    pub always: bool,
    /// Only root of a node may claim for it.
    pub privileged_port: bool,
    /// What is wanted of nodes' TPMs.
    pub tpms: TpmRules,
    /// A file of certificates of makers of TPMs, PEM.
    pub ek_issuers: Option<PathBuf>,
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
    let ek_issuers = section.parsed::<Text>("ek_issuers", problems).map(|at| PathBuf::from(at.value.0));
    let tpms = tpms(&mut section, problems);
    section.finish(problems);
    Trust { sessions: SessionPolicy { arm_on, life }, always, privileged_port, tpms, ek_issuers }
}

/// What is wanted of TPMs, and what differs for groups.
fn tpms(section: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> TpmRules {
    let Override { enrol, require_certificate, pcr, tpm_first } = differing(section, problems);
    let default = TpmPolicy::default();
    let site = TpmPolicy {
        enrol: enrol.unwrap_or(default.enrol),
        require_certificate: require_certificate.unwrap_or(default.require_certificate),
        pcr: pcr.unwrap_or(default.pcr),
        tpm_first: tpm_first.unwrap_or(default.tpm_first),
    };
    let mut groups = BTreeMap::new();
    for mut one in section.sections("group", problems) {
        let (line, former) = (one.line, problems.list.len());
        let name = one.parsed::<GroupName>("name", problems);
        let is_there = name.is_some() || problems.list.len() > former;
        let differs = differing(&mut one, problems);
        let path = one.path("name");
        one.finish(problems);
        match name {
            Some(At { value, .. }) if groups.contains_key(&value) => {
                problems.add(line, path, format!("{value} stands here twice"));
            }
            Some(At { value, .. }) => drop(groups.insert(value, differs)),
            None if is_there => {}
            None => problems.add(line, path, "is needed: the name of a group"),
        }
    }
    TpmRules { site, groups }
}

fn differing(section: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Override {
    Override {
        enrol: section.parsed::<Enrol>("enrol", problems).map(|at| at.value),
        require_certificate: section.flag("require_ek_cert", problems),
        pcr: section.parsed::<Mode>("pcr", problems).map(|at| at.value),
        tpm_first: section.flag("tpm_first", problems),
    }
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
