//! The swarm's report, for people and as JSON.

use serde::Serialize;

use crate::cli::image::show::bytes;
use crate::cli::table;
use crate::engine::swarm::{Micros, Report, Scenario};
use crate::transport::swarm::Outcome;
use crate::transport::swarm::server::Usage;

/// A run that is over.
pub(in crate::cli::swarm) struct Story<'a> {
    pub(in crate::cli::swarm) scenario: &'a Scenario,
    pub(in crate::cli::swarm) outcome: &'a Outcome,
    pub(in crate::cli::swarm) servers: Vec<Usage>,
}

/// The run as JSON. Spans are in microseconds.
#[derive(Serialize)]
pub(in crate::cli::swarm) struct StoryBody {
    nodes: u32,
    seed: u64,
    up: u64,
    failed: u64,
    took_us: u64,
    bytes: u64,
    bytes_per_second: u64,
    frames_dropped_here: u32,
    stages: Vec<StageBody>,
    failures: Vec<FailureBody>,
    servers: Vec<ServerBody>,
}

#[derive(Serialize)]
struct StageBody {
    stage: &'static str,
    done: u64,
    failed: u64,
    retries: u64,
    bytes: u64,
    per_second: f64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    max_us: u64,
}

#[derive(Serialize)]
struct FailureBody {
    stage: &'static str,
    reason: String,
    count: u64,
}

#[derive(Serialize)]
struct ServerBody {
    user_us: u64,
    system_us: u64,
    peak_rss_bytes: u64,
    cpu_seconds_per_gb: Option<f64>,
}

impl Story<'_> {
    fn report(&self) -> &Report {
        &self.outcome.report
    }

    fn rate(&self, count: u64) -> f64 {
        share(count, self.outcome.took.0.max(1)) * 1e6
    }

    /// CPU seconds for each gigabyte that came; None if nothing did.
    fn per_gb(&self, usage: &Usage) -> Option<f64> {
        let bytes = self.report().bytes();
        (bytes > 0).then(|| share(usage.user.0.saturating_add(usage.system.0), bytes) * 1e3)
    }

    pub(in crate::cli::swarm) fn body(&self) -> StoryBody {
        let (up, failed) = self.report().boots();
        let took = self.outcome.took.0;
        let all = self.report().bytes();
        let stages = self.report().rows.iter().map(|(stage, row)| StageBody {
            stage: stage.as_str(),
            done: row.times.count(),
            failed: row.failed,
            retries: row.retries,
            bytes: row.bytes,
            per_second: self.rate(row.times.count()),
            p50_us: row.times.permille(500).0,
            p90_us: row.times.permille(900).0,
            p99_us: row.times.permille(990).0,
            max_us: row.times.max().0,
        });
        let failures = self.report().failures.iter().map(|((stage, reason), count)| FailureBody {
            stage: stage.as_str(),
            reason: reason.to_string(),
            count: *count,
        });
        let servers = self.servers.iter().map(|usage| ServerBody {
            user_us: usage.user.0,
            system_us: usage.system.0,
            peak_rss_bytes: usage.peak,
            cpu_seconds_per_gb: self.per_gb(usage),
        });
        StoryBody {
            nodes: self.scenario.nodes,
            seed: self.scenario.seed,
            up,
            failed,
            took_us: took,
            bytes: all,
            bytes_per_second: u64::try_from(u128::from(all) * 1_000_000 / u128::from(took.max(1)))
                .unwrap_or(u64::MAX),
            frames_dropped_here: self.outcome.dropped,
            stages: stages.collect(),
            failures: failures.collect(),
            servers: servers.collect(),
        }
    }

    pub(in crate::cli::swarm) fn text(&self) -> String {
        let body = self.body();
        let took = Micros(body.took_us);
        let mut text = format!(
            "{} up, {} failed in {took}; {} at {}/s; seed {}\n\n",
            body.up,
            body.failed,
            bytes(body.bytes),
            bytes(body.bytes_per_second),
            body.seed
        );
        let row = |one: &StageBody| {
            let spans = [one.p50_us, one.p90_us, one.p99_us, one.max_us].map(|span| Micros(span).to_string());
            let counts = [one.done, one.failed, one.retries].map(|count| count.to_string());
            let mut row = vec![one.stage.to_owned()];
            row.extend(counts);
            row.push(format!("{:.0}", one.per_second));
            row.extend(spans);
            row.push(bytes(one.bytes));
            row
        };
        let header = ["stage", "done", "failed", "retries", "per s", "p50", "p90", "p99", "max", "bytes"];
        let rows: Vec<Vec<String>> = body.stages.iter().map(row).collect();
        text.push_str(&table::grid(&header, &rows, "no machine did anything"));
        if !body.failures.is_empty() {
            let row =
                |one: &FailureBody| vec![one.stage.to_owned(), one.reason.clone(), one.count.to_string()];
            let rows: Vec<Vec<String>> = body.failures.iter().map(row).collect();
            text.push_str(&format!("\n{}", table::grid(&["stage", "failure", "times"], &rows, "")));
        }
        if body.frames_dropped_here > 0 {
            text.push_str(&format!(
                "\n{} DHCP frames were lost on this side: this computer was too slow for the swarm\n",
                body.frames_dropped_here
            ));
        }
        for server in &body.servers {
            let per_gb = server.cpu_seconds_per_gb.map(|cpu| format!(", {cpu:.2} CPU s per GB"));
            text.push_str(&format!(
                "\nserver: {} user, {} system{}, peak memory {}\n",
                Micros(server.user_us),
                Micros(server.system_us),
                per_gb.unwrap_or_default(),
                bytes(server.peak_rss_bytes)
            ));
        }
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a table: 53 bits are plenty")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
