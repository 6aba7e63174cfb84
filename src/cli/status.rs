//! `muster status`: is this head healthy, and if not, what is to be done?

use clap::Args;
use serde_json::Value;

use crate::api::v1::observed::NetworkBody;
use crate::cli::client::Client;
use crate::cli::screen::{Look, Screen, look_of};
use crate::cli::watch::Watch;
use crate::cli::{Global, observed, table};

/// Severities of what is no failure; everything else is one.
const HARMLESS: [&str; 4] = ["ok", "info", "notice", "warning"];

/// Show whether this head is healthy, and what to do if it is not
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with 1 if something is broken or no daemon answers, so that scripts can ask.

Examples:
  muster status
  muster status --watch
  muster status >/dev/null || mail -s 'muster needs help' root </dev/null")]
pub(crate) struct Status {
    #[command(flatten)]
    watch: Watch,
}

/// One thing that an operator should look at.
struct Finding<'s> {
    severity: &'s str,
    what: &'s str,
    text: &'s str,
    fix: &'s str,
}

impl Status {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let mut broken = 0;
        self.watch.show(|| {
            // Read loosely: a head of another version is still to be told from a sick one.
            let status: Value = client.get("/status")?;
            broken = findings(&status).iter().filter(|one| !HARMLESS.contains(&one.severity)).count();
            if global.json { table::json_text(&status) } else { Ok(text(Screen::stdout(), &status)) }
        })?;
        anyhow::ensure!(broken == 0, "{broken} thing(s) are broken");
        Ok(())
    }
}

/// What is wrong, the worst first.
fn findings(status: &Value) -> Vec<Finding<'_>> {
    let list = status["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut found: Vec<Finding<'_>> = list
        .iter()
        .map(|one| {
            let word = |key: &str| one[key].as_str().unwrap_or_default();
            Finding { severity: word("severity"), what: word("what"), text: word("text"), fix: word("fix") }
        })
        .collect();
    let warnings = status["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
    found.extend(warnings.iter().filter_map(Value::as_str).map(|text| Finding {
        severity: "warning",
        what: "",
        text,
        fix: "",
    }));
    // Unknown severities first, then from the warnings down.
    found.sort_by_key(|one| HARMLESS.iter().rev().position(|known| *known == one.severity));
    found
}

/// The verdict and whose it is, on a line.
pub(crate) fn headline(screen: Screen, status: &Value) -> String {
    let found = findings(status);
    let broken = found.iter().filter(|one| !HARMLESS.contains(&one.severity)).count();
    let (look, verdict) = match (broken, found.len()) {
        (0, 0) => (Look::Good, "healthy".to_owned()),
        (0, count) => (Look::Odd, format!("works, {count} thing(s) to look at")),
        (count, _) => (Look::Bad, format!("{count} thing(s) broken")),
    };
    let word = |key: &str| status[key].as_str().unwrap_or("-");
    let up = span(status["uptime_s"].as_u64().unwrap_or_default());
    let verdict = screen.paint(look, &verdict);
    format!("{verdict}: muster {} for cluster {}, up {up}\n", word("version"), word("cluster"))
}

/// What is wrong, the worst first, each with the way out.
pub(crate) fn findings_text(screen: Screen, status: &Value) -> String {
    findings(status).iter().map(|finding| told(screen, finding)).collect()
}

fn text(screen: Screen, status: &Value) -> String {
    let word = |key: &str| status[key].as_str().unwrap_or("-");
    let number = |key: &str| status[key].as_u64().unwrap_or_default();
    let mut text = headline(screen, status);
    text.truncate(text.trim_end().len());
    text.push_str(&format!(" since {}\n", word("started")));
    text.push_str(&findings_text(screen, status));
    text.push_str(&format!(
        "\nrevision {}: {} nodes, {} groups, {} profiles; {} leases, {} unknown machines\n",
        number("revision"),
        number("nodes"),
        number("groups"),
        number("profiles"),
        number("leases"),
        number("sightings"),
    ));
    if let Some(source) = status["sealed_by"].as_str() {
        text.push_str(&format!("{} secrets, sealed by the {source}\n", number("secrets")));
    }
    let networks: Vec<NetworkBody> = serde_json::from_value(status["networks"].clone()).unwrap_or_default();
    text.push_str(&observed::networks_text(&networks));
    text.push_str(&listeners(&status["listeners"]));
    text
}

/// A finding on a line, and the way out below it.
fn told(screen: Screen, finding: &Finding<'_>) -> String {
    let Finding { severity, what, text, fix } = finding;
    let severity = if severity.is_empty() { "error" } else { severity };
    let colon = if what.is_empty() { "" } else { ": " };
    let mut lines = format!("  {} {what}{colon}{text}\n", screen.paint(look_of(severity), severity));
    if !fix.is_empty() {
        lines.push_str(&format!("          → {fix}\n"));
    }
    lines
}

/// Listeners on one line: texts, or objects with a name and an address.
fn listeners(list: &Value) -> String {
    let name = |one: &Value| match one {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => {
            let word = |key: &str| fields.get(key).and_then(Value::as_str);
            let what = word("protocol").or_else(|| word("service")).or_else(|| word("name"))?;
            Some(word("address").map_or(what.to_owned(), |address| format!("{what} {address}")))
        }
        _ => None,
    };
    let names: Vec<String> = list.as_array().into_iter().flatten().filter_map(name).collect();
    if names.is_empty() { String::new() } else { format!("listens on {}\n", names.join(", ")) }
}

/// A span for people: its two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::screen::Screen;
    use crate::cli::status::{span, text};

    #[test]
    fn the_worst_is_told_first_with_the_way_out() {
        let status = json!({
            "cluster": "demo", "version": "0.1.0", "uptime_s": 3700, "revision": 7, "nodes": 3,
            "findings": [
                {"what": "pool boot", "severity": "warning", "text": "3 of 50 addresses are free", "fix": "widen range"},
                {"what": "loaders", "severity": "error", "text": "none were found", "fix": "apt-get install ipxe"},
            ],
            "listeners": [{"protocol": "http", "address": "0.0.0.0:8081"}, "dns 0.0.0.0:53"],
        });
        let shown = text(Screen::default(), &status);
        assert!(
            shown.starts_with("1 thing(s) broken: muster 0.1.0 for cluster demo, up 1 h 1 min"),
            "{shown}"
        );
        let (error, warning) =
            (shown.find("error loaders").unwrap(), shown.find("warning pool boot").unwrap());
        assert!(error < warning, "{shown}");
        assert!(shown.contains("none were found\n          → apt-get install ipxe\n"), "{shown}");
        assert!(shown.contains("listens on http 0.0.0.0:8081, dns 0.0.0.0:53"), "{shown}");
        let well = text(Screen::default(), &json!({"cluster": "demo", "findings": []}));
        assert!(well.starts_with("healthy: "), "{well}");
    }

    #[test]
    fn spans_have_two_units() {
        for (seconds, words) in
            [(59, "59 s"), (61, "1 min 1 s"), (86_399, "23 h 59 min"), (90_000, "1 d 1 h")]
        {
            assert_eq!(span(seconds), words);
        }
    }
}
