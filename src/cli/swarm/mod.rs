//! `muster swarm`: boots simulated machines against a boot server and says how that went.

mod scenario;
mod text;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::base::limits::SWARM_NODES_MAX;
use crate::cli::progress::Steps;
use crate::cli::{Global, table};
use crate::engine::swarm::Scenario;
use crate::transport::swarm::server::{Usage, reset_peak, usage};
use crate::transport::swarm::{Outcome, Progress, place, run};
use crate::transport::tasks::Tasks;

/// How often the progress bar moves.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long tasks may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// Boot simulated machines against a boot server, to size a site or to load a head
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  muster swarm --print-scenario storm > storm.toml
  ip netns exec lab muster swarm --interface eth0 --nodes 10000 --scenario storm.toml
  ip netns exec lab muster swarm --interface eth0 --server-pid $(pidof muster) --json

Machines speak real packets: DHCP on raw frames with a hardware address of their own, TFTP, HTTP, cloud-init,
each from the address that it leased. They follow what the server says, muster or another. The server must be
on the interface's own network.

The same seed gives the same plan: firmware, moments of starts, pauses, which packet of which exchange is lost,
which download breaks and where. What the seed cannot fix is the timing of this computer and of the server, and
what follows from it: the order in which packets meet, and packets that a full queue loses.

Exit 1 if a machine failed. It runs on loopback and in network namespaces; elsewhere it would take addresses of
a real network, and wants --lab-interface.")]
pub(crate) struct Swarm {
    /// How many machines; the scenario's number otherwise
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::try_from(SWARM_NODES_MAX).unwrap_or(i64::MAX)))]
    nodes: Option<u32>,
    /// What they do: a TOML file; without one, the default storm
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// The link that machines are plugged into
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    interface: String,
    /// Seed of everything that is left to chance; the scenario's otherwise
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// This interface is a lab: run although it is in the system's own network namespace
    #[arg(long, value_name = "NAME")]
    lab_interface: Option<String>,
    /// A server's process, whose CPU time and memory are reported; more than once for several
    #[arg(long, value_name = "PID")]
    server_pid: Vec<u32>,
    /// Print a scenario with comments, to start from, and end
    #[arg(long, value_name = "NAME", value_parser = ["storm"])]
    print_scenario: Option<String>,
}

impl Swarm {
    pub(crate) fn run(self, global: &Global) -> anyhow::Result<()> {
        if self.print_scenario.is_some() {
            return table::print(scenario::STORM);
        }
        let scenario = Arc::new(self.read()?);
        place::check(&self.interface, self.lab_interface.as_deref())?;
        let before = self.usages()?;
        self.server_pid.iter().for_each(|pid| reset_peak(*pid));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(boot(&scenario, &self.interface))?;
        let after = self.usages()?;
        let spent = before.iter().zip(&after).map(|(before, after)| spent(before, after)).collect();
        let story = text::Story { scenario: &scenario, outcome: &outcome, servers: spent };
        if global.json {
            table::json(&story.body())?;
        } else {
            table::print(&story.text())?;
        }
        let (_, failed) = outcome.report.boots();
        anyhow::ensure!(failed == 0, "{failed} machine(s) did not come up");
        Ok(())
    }

    fn read(&self) -> anyhow::Result<Scenario> {
        let text = match &self.scenario {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
            }
            None => scenario::STORM.to_owned(),
        };
        let mut scenario = scenario::read(&text).map_err(|problems| {
            let name = self.scenario.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {name}:{problem}")).collect();
            anyhow::anyhow!("the scenario has {} problem(s):{}", problems.len(), lines.concat())
        })?;
        scenario.nodes = self.nodes.unwrap_or(scenario.nodes);
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        Ok(scenario)
    }

    fn usages(&self) -> anyhow::Result<Vec<Usage>> {
        let read = |pid: &u32| usage(*pid).with_context(|| format!("--server-pid: no process {pid}"));
        self.server_pid.iter().map(read).collect()
    }
}

fn spent(before: &Usage, after: &Usage) -> Usage {
    let micros = |before: u64, after: u64| crate::engine::swarm::Micros(after.saturating_sub(before));
    Usage {
        user: micros(before.user.0, after.user.0),
        system: micros(before.system.0, after.system.0),
        peak: after.peak,
    }
}

/// Runs the swarm, with a bar on terminals. SIGINT and SIGTERM end it, with a report of what was.
async fn boot(scenario: &Arc<Scenario>, interface: &str) -> anyhow::Result<Outcome> {
    let tasks = Tasks::new();
    let progress = Arc::new(Progress::default());
    let bar = Steps::new(usize::try_from(scenario.nodes).ok());
    let (stop, mut interrupt) = (tasks.token(), signal(SignalKind::interrupt())?);
    let mut end = signal(SignalKind::terminate())?;
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut swarm =
        std::pin::pin!(run(scenario.clone(), interface, place::sockets(), progress.clone(), &tasks));
    let outcome = loop {
        tokio::select! {
            outcome = &mut swarm => break outcome,
            _ = interrupt.recv() => stop.cancel(),
            _ = end.recv() => stop.cancel(),
            _ = look.tick() => {
                let (up, failed) = (progress.up.value(), progress.failed.value());
                bar.at(up.saturating_add(failed));
                bar.on(format!("{up} up, {failed} failed, {} MB", progress.bytes.value() / 1_000_000));
            }
        }
    };
    drop(bar);
    tasks.stop(GRACE).await;
    Ok(outcome?)
}
