//! `muster events`: what happens, as it happens.

use clap::Args;
use serde_json::Value;

use crate::cli::client::{Client, escape};
use crate::cli::screen::{Look, Screen};
use crate::cli::{Global, table};

/// Show what has happened, and with -f what happens
#[derive(Debug, Args)]
#[command(after_help = "\
Inventory changes, leases, unknown machines and boot scripts, as far as the head remembers.

Examples:
  muster events
  muster events -f --node nid007
  muster --json events -f --kind lease | jq .text")]
pub(crate) struct Events {
    /// Go on with what happens from now, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only this kind, such as lease; may be given several times
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only what is about this node
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

impl Events {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        let mut query: Vec<String> = self.kinds.iter().map(|kind| format!("kind={}", escape(kind))).collect();
        query.extend(self.node.as_ref().map(|node| format!("node={}", escape(node))));
        let past = [query.as_slice(), &["follow=0".to_owned()]].concat().join("&");
        let screen = Screen::stdout();
        let events: Vec<Value> = client.get(&format!("/events?{past}"))?;
        let text: String = events.iter().map(|event| line(screen, event, global.json)).collect();
        if !table::write(&text)? || !self.follow {
            return Ok(());
        }
        // A stream goes on behind the last that was shown, so that nothing falls between.
        query.extend(events.last().and_then(|event| Some(format!("after={}", id(event)?))));
        let path = format!("/events?{}", query.join("&"));
        client.follow(&path, |text| match data(text) {
            Some(event) => table::write(&line(screen, &event, global.json)),
            None => Ok(true),
        })
    }
}

/// The event of a line of server-sent events; None for ids, names, comments and blank lines.
fn data(line: &str) -> Option<Value> {
    serde_json::from_str(line.strip_prefix("data:")?.trim_start()).ok()
}

fn id(event: &Value) -> Option<String> {
    match &event["id"] {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn line(screen: Screen, event: &Value, json: bool) -> String {
    if json {
        return format!("{event}\n");
    }
    let field = |key: &str| event[key].as_str().unwrap_or("-");
    // What machines call themselves stands in some texts.
    let clean = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let kind = screen.paint(Look::Bold, &format!("{:<10}", clean(field("kind"))));
    format!("{}  {kind} {:<12} {}\n", field("time"), clean(field("node")), clean(field("text")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cli::events::{data, line};
    use crate::cli::screen::Screen;

    #[test]
    fn a_stream_is_read_line_by_line() {
        assert_eq!(data("data: {\"id\":7}"), Some(json!({"id": 7})));
        assert_eq!(data("data:{\"id\":7}"), Some(json!({"id": 7})));
        for silent in ["", ": still here", "id: 7", "event: lease", "data: no JSON"] {
            assert_eq!(data(silent), None, "{silent}");
        }
    }

    #[test]
    fn an_event_is_one_line_whatever_a_machine_calls_itself() {
        let event = json!({"id": 1, "time": "2026-01-01T00:00:00Z", "kind": "lease", "node": "n1", "text": "a\nb\u{1b}[2J"});
        let text = line(Screen::default(), &event, false);
        assert_eq!(text, "2026-01-01T00:00:00Z  lease      n1           a b [2J\n");
        assert_eq!(line(Screen::default(), &event, true).lines().count(), 1);
    }
}
