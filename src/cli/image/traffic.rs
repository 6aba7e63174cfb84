//! `muster image traffic`: the storm as people watch it.

use clap::Args;

use crate::api::v1::traffic::{StreamBody, TrafficBody};
use crate::cli::client::Client;
use crate::cli::image::show::bytes;
use crate::cli::watch::Watch;
use crate::cli::{Global, table};

/// Show who downloads, how fast, and when it will be over
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  muster image traffic --watch\n  muster image traffic --streams")]
pub(crate) struct TrafficCommand {
    /// Show each download, not only the files
    #[arg(long)]
    streams: bool,
    #[command(flatten)]
    watch: Watch,
}

impl TrafficCommand {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        self.watch.show(|| {
            let traffic: Vec<TrafficBody> = client.get("/images/traffic")?;
            if global.json {
                return table::json_text(&traffic);
            }
            Ok(files(&traffic) + &if self.streams { streams(&traffic) } else { String::new() })
        })
    }
}

fn files(traffic: &[TrafficBody]) -> String {
    let row = |one: &TrafficBody| {
        vec![
            one.file.clone(),
            one.running.to_string(),
            one.waiting.to_string(),
            one.done.to_string(),
            one.broken.to_string(),
            format!("{}/s", bytes(one.rate)),
            one.over_in_s.map_or_else(String::new, span),
        ]
    };
    let rows: Vec<Vec<String>> = traffic.iter().map(row).collect();
    let header = ["file", "running", "in line", "done", "broken", "rate", "over in"];
    table::grid(&header, &rows, "nobody has downloaded anything")
}

fn streams(traffic: &[TrafficBody]) -> String {
    let row = |file: &str, one: &StreamBody| {
        let percent = one.sent.saturating_mul(100).checked_div(one.total).unwrap_or(0);
        let state = if one.waiting { "in line".to_owned() } else { format!("{percent} %") };
        vec![one.who.clone(), file.to_owned(), state, bytes(one.sent), format!("{}/s", bytes(one.rate))]
    };
    let rows = traffic.iter().flat_map(|one| one.streams.iter().map(|stream| row(&one.file, stream)));
    let rows: Vec<Vec<String>> = rows.collect();
    format!("\n{}", table::grid(&["who", "file", "state", "sent", "rate"], &rows, "no download is under way"))
}

/// Seconds as people say them.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
