//! Reads a scenario of the swarm from TOML, with every mistake and its line.

use crate::app::config_file::{At, ConfigProblem, Problems, Section};
use crate::base::Mac;
use crate::base::limits::SWARM_NODES_MAX;
use crate::engine::swarm::scenario::{Between, Override, Share, Thinks};
use crate::engine::swarm::{Firmware, Micros, Pace, Scenario, Stage};

/// The default scenario, with a comment on each key.
pub(crate) const STORM: &str = include_str!("storm.toml");

/// Below this the last machine's address would not fit behind the first one's.
const FIRST_MAC: Mac = Mac([0x02, 0x53, 0x57, 0, 0, 0]);

const DAY_S: u64 = 86_400;

/// Reads a scenario, or all its mistakes.
pub(crate) fn read(text: &str) -> Result<Scenario, Vec<ConfigProblem>> {
    let mut problems = Problems::new(text);
    let table = problems.document();
    let mut root = Section::root(&table);
    let scenario = scenario(&mut root, &mut problems);
    root.finish(&mut problems);
    let mut list = problems.list;
    list.sort();
    if list.is_empty() { Ok(scenario) } else { Err(list) }
}

fn scenario(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Scenario {
    let nodes = root.number("nodes", (1, SWARM_NODES_MAX), problems).unwrap_or(1000);
    let seed = root.number("seed", (0, u64::MAX >> 1), problems).unwrap_or(1);
    let first_mac = root.parsed::<Mac>("first_mac", problems);
    if let Some(At { line, .. }) = first_mac.filter(|at| !at.value.is_unicast()) {
        problems.add(line, "first_mac", "must be the address of one station");
    }
    let patience = root.number("give_up_s", (1, DAY_S), problems).unwrap_or(900);
    let attempts = root.number("attempts", (1, 1000), problems).unwrap_or(3);
    let loss = root.parsed::<Share>("loss", problems).map(|at| at.value).unwrap_or_default();
    let cut = root.parsed::<Share>("cut", problems).map(|at| at.value).unwrap_or_default();
    let (pace, duration) = start(root, problems);
    Scenario {
        nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
        seed,
        first_mac: first_mac.map_or(FIRST_MAC, |at| at.value),
        pace,
        duration,
        mix: mix(root, problems),
        thinks: thinks(root, problems),
        loss,
        cut,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        patience: Micros::from_secs(patience),
        stages: stages(root, problems),
        urls: urls(root, problems),
    }
}

fn start(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> (Pace, Option<Micros>) {
    let mut section = root.section("start", problems);
    let within = section.number("within_s", (0, DAY_S), problems);
    let rate = section.number("per_second", (1, 1_000_000), problems);
    let in_flight = section.number("in_flight", (1, SWARM_NODES_MAX), problems);
    let duration = section.number("for_s", (1, DAY_S), problems);
    if [within, rate, in_flight].iter().flatten().count() > 1 {
        problems.add(section.line, "start", "takes one of within_s, per_second and in_flight");
    }
    section.finish(problems);
    let pace = match (within, rate, in_flight) {
        (_, _, Some(count)) => Pace::InFlight(count),
        (_, Some(rate), _) => Pace::PerSecond(rate),
        (within, _, _) => Pace::Within(Micros::from_secs(within.unwrap_or(30))),
    };
    (pace, duration.map(Micros::from_secs))
}

fn mix(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Vec<(Firmware, u64)> {
    let mut section = root.section("firmware", problems);
    let weights =
        Firmware::ALL.map(|(firmware, name)| (firmware, section.number(name, (0, 1_000_000), problems)));
    let line = section.line;
    section.finish(problems);
    if weights.iter().all(|(_, weight)| weight.is_none()) {
        let defaults = [1, 6, 2, 1];
        return weights.into_iter().zip(defaults).map(|((firmware, _), weight)| (firmware, weight)).collect();
    }
    let named: Vec<_> =
        weights.into_iter().map(|(firmware, weight)| (firmware, weight.unwrap_or(0))).collect();
    if named.iter().all(|(_, weight)| *weight == 0) {
        problems.add(line, "firmware", "at least one weight must be above 0");
    }
    named
}

fn thinks(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Thinks {
    let mut section = root.section("think", problems);
    let mut pause = |key, default: &str| {
        let read = section.parsed::<Between>(key, problems).map(|at| at.value);
        read.or_else(|| default.parse().ok()).unwrap_or_default()
    };
    let thinks = Thinks {
        loader: pause("loader", "200-800"),
        kernel: pause("kernel", "1000-4000"),
        system: pause("system", "500-2000"),
    };
    section.finish(problems);
    thinks
}

fn stages(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Vec<Stage> {
    let mut section = root.section("stages", problems);
    let all = Stage::ALL.into_iter().filter(|(stage, _)| *stage != Stage::Boot);
    let mut stages: Vec<Stage> = all
        .filter(|(_, name)| section.flag(name, problems).unwrap_or(true))
        .map(|(stage, _)| stage)
        .collect();
    section.finish(problems);
    if !stages.contains(&Stage::Dhcp) {
        // The others follow the first: a machine without a lease has nothing to ask for.
        stages.retain(|stage| !matches!(stage, Stage::IpxeDhcp | Stage::SystemDhcp));
    }
    stages
}

fn urls(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Vec<(Stage, Override)> {
    let mut section = root.section("urls", problems);
    let places = [
        Stage::Loader,
        Stage::Script,
        Stage::Kernel,
        Stage::Initrd,
        Stage::Root,
        Stage::CloudInit,
        Stage::PhoneHome,
    ];
    let mut urls = Vec::new();
    for stage in places {
        let list = section.list::<Override>(stage.as_str(), problems).unwrap_or_default();
        urls.extend(list.into_iter().map(|at| (stage, at.value)));
    }
    section.finish(problems);
    urls
}

#[cfg(test)]
mod tests {
    use crate::cli::swarm::scenario::{STORM, read};

    #[test]
    fn the_default_scenario_says_what_an_empty_one_means() {
        assert_eq!(read(STORM), read(""));
        assert!(read(STORM).is_ok());
    }

    #[test]
    fn every_mistake_is_told_with_its_line_and_field() {
        let text = "nodes = 0\nloss = \"95%\"\nlos = 1\n[start]\nwithin_s = 1\nin_flight = 2\n[firmware]\n\
                    bios = 0\n[think]\nkernel = \"9-1\"\n[urls]\nroot = \"ftp://192.0.2.1/x\"\n[stages]\ndhpc = true";
        let told: Vec<String> = read(text).unwrap_err().iter().map(ToString::to_string).collect();
        for wanted in [
            "line 1: nodes: must be between 1",
            "line 2: loss: \"95%\": expected per cent",
            "line 3: los: unknown key; did you mean loss?",
            "line 4: start: takes one of",
            "line 7: firmware: at least one weight",
            "line 10: think.kernel: \"9-1\": expected milliseconds",
            "line 12: urls.root: \"ftp://192.0.2.1/x\": expected a URL",
            "line 14: stages.dhpc: unknown key; did you mean dhcp?",
        ] {
            assert!(told.iter().any(|line| line.starts_with(wanted)), "{wanted} is not in {told:#?}");
        }
        assert_eq!(told.len(), 8, "{told:#?}");
    }
}
