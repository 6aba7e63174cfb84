//! `muster console`: what a person sees who stands before the head, or opens its serial console: where its page is,
//! whether it is well, and the code by which a new one is claimed. It asks nothing and shows something always: a
//! head that does not answer has a screen too.

use std::path::Path;

use clap::Args;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::screen::{Look, Screen};
use crate::cli::watch::Watch;
use crate::cli::{Global, status, table};
use crate::transport::link::{Address, addresses};
use crate::transport::vault::claim_path;

/// Where the appliance's first boot says what it took over, in the data directory.
const SETTINGS: &str = "etc/settings.txt";

/// What importing the prepared inventory said, in the data directory.
const INVENTORY: &str = "inventory.report";

/// Lines of such a report on the screen; a broken inventory may have thousands.
const REPORT_LINES_MAX: usize = 8;

/// Of such a report, in octets: nothing longer is read.
const REPORT_BYTES_MAX: usize = 4096;

/// Addresses that fit a screen; a head with more has its own ways to list them.
const ADDRESSES_MAX: usize = 6;

/// Show how this head is, where its page is, and the code of a new one; for the screen before it
#[derive(Debug, Args)]
#[command(after_help = "\
The appliance shows it on its screen and its serial console. Only root and the user muster can read
the code.

Examples:
  muster console
  muster console --watch 5")]
pub(crate) struct Console {
    #[command(flatten)]
    watch: Watch,
}

/// What the screen tells of.
struct Seen {
    /// Empty: no daemon answers.
    status: Value,
    /// Why it does not answer.
    silence: String,
    addresses: Vec<Address>,
    /// SHA-256 of its certificate authority.
    print: String,
    /// Only of a head that nobody claimed.
    code: Option<String>,
    reports: Vec<String>,
}

impl Console {
    pub(crate) fn run(self, client: &Client, global: &Global) -> anyhow::Result<()> {
        self.watch.show(|| {
            let seen = Seen::now(client, &global.data_dir);
            if global.json { table::json_text(&seen.status) } else { Ok(text(Screen::stdout(), &seen)) }
        })
    }
}

impl Seen {
    fn now(client: &Client, data_dir: &Path) -> Seen {
        let answer = client.get::<Value>("/status");
        let silence = answer.as_ref().err().map(|error| format!("{error:#}")).unwrap_or_default();
        let print = client.fetch("/ca.sha256").unwrap_or_default();
        Seen {
            status: answer.unwrap_or_default(),
            silence,
            addresses: addresses(),
            print: print.lines().next().unwrap_or_default().to_owned(),
            code: report(&claim_path(data_dir)),
            reports: [SETTINGS, INVENTORY].iter().filter_map(|name| report(&data_dir.join(name))).collect(),
        }
    }
}

/// The text of a small file; None if it is not there, or empty.
fn report(path: &Path) -> Option<String> {
    let octets = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&octets[..octets.len().min(REPORT_BYTES_MAX)]).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn text(screen: Screen, seen: &Seen) -> String {
    let status = &seen.status;
    let mut text = if status.is_null() {
        let verdict = screen.paint(Look::Bad, "it does not answer");
        format!("muster: {verdict}\n  {}\n  journalctl -u muster tells more\n", plain(&seen.silence))
    } else {
        status::headline(screen, status)
    };
    if let Some(code) = &seen.code {
        let call = screen.paint(Look::Odd, "This head is not claimed.");
        text.push_str(&format!("\n{call} Whoever opens its page and gives this code owns it:\n"));
        text.push_str(&format!("\n    {}\n", grouped(&plain(code))));
    }
    text.push('\n');
    row(&mut text, "page", &pages(status, &seen.addresses));
    row(&mut text, "authority", &[format!("SHA-256 {}", dash(&seen.print))]);
    row(&mut text, "addresses", &places(&seen.addresses));
    if !status.is_null() {
        let number = |key: &str| status[key].as_u64().unwrap_or_default();
        let machines = format!(
            "{} nodes declared, {} addresses leased, {} unknown machines",
            number("nodes"),
            number("leases"),
            number("sightings")
        );
        row(&mut text, "machines", &[machines]);
        text.push_str(&status::findings_text(screen, status));
    }
    for report in &seen.reports {
        text.push('\n');
        let lines = report.lines().take(REPORT_LINES_MAX);
        lines.for_each(|line| text.push_str(&format!("  {}\n", plain(line))));
    }
    text
}

/// A row with a name; more values stand below the first.
fn row(text: &mut String, name: &str, values: &[String]) {
    let mut name = name;
    for value in values {
        text.push_str(&format!("  {name:<10} {value}\n"));
        name = "";
    }
}

/// Where the page is, by the port of HTTPS, else of HTTP.
fn pages(status: &Value, addresses: &[Address]) -> Vec<String> {
    let port = |protocol: &str| {
        let listeners = status["listeners"].as_array().into_iter().flatten();
        let mut found = listeners.filter(|one| one["protocol"].as_str() == Some(protocol));
        found.find_map(|one| one["address"].as_str()?.rsplit_once(':')?.1.parse::<u16>().ok())
    };
    let found = ["https", "http"].into_iter().find_map(|scheme| Some((scheme, port(scheme)?)));
    let Some((scheme, port)) = found else { return vec![dash("")] };
    let urls: Vec<String> = addresses
        .iter()
        .filter(|one| one.address.is_ipv4())
        .take(ADDRESSES_MAX)
        .map(|one| format!("{scheme}://{}:{port}", one.address))
        .collect();
    if urls.is_empty() { vec!["no address yet: is a cable plugged in?".to_owned()] } else { urls }
}

fn places(addresses: &[Address]) -> Vec<String> {
    let shown = addresses.iter().take(ADDRESSES_MAX);
    let mut places: Vec<String> = shown.map(|one| format!("{} on {}", one.address, one.link)).collect();
    match addresses.len().saturating_sub(ADDRESSES_MAX) {
        0 if places.is_empty() => places.push(dash("")),
        0 => {}
        more => places.push(format!("and {more} more")),
    }
    places
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// A code in groups of four, as people copy it. Whoever takes it leaves the gaps out.
fn grouped(code: &str) -> String {
    let letters: Vec<char> = code.chars().collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    groups.join("-")
}

/// Foreign words are printed, not obeyed.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::cli::console::{Seen, text};
    use crate::cli::screen::Screen;
    use crate::transport::link::Address;

    fn seen(status: Value) -> Seen {
        let on =
            |link: &str, address: &str| Address { link: link.to_owned(), address: address.parse().unwrap() };
        Seen {
            status,
            silence: "nobody listens at /run/x".to_owned(),
            addresses: vec![on("eth0", "192.0.2.7"), on("eth0", "2001:db8::7"), on("eth1", "198.51.100.1")],
            print: "ab12".to_owned(),
            code: None,
            reports: Vec::new(),
        }
    }

    #[test]
    fn the_screen_tells_where_the_page_is_and_how_the_head_is() {
        let status = json!({
            "cluster": "demo", "version": "0.1.0", "uptime_s": 61, "nodes": 3, "leases": 1, "sightings": 2,
            "findings": [{"what": "loaders", "severity": "error", "text": "none", "fix": "install ipxe"}],
            "listeners": [
                {"protocol": "http", "address": "0.0.0.0:8081"}, {"protocol": "https", "address": "0.0.0.0:8443"},
            ],
        });
        let shown = text(Screen::default(), &seen(status));
        assert!(shown.starts_with("1 thing(s) broken: muster 0.1.0 for cluster demo"), "{shown}");
        assert!(
            shown.contains("  page       https://192.0.2.7:8443\n             https://198.51.100.1:8443\n"),
            "{shown}"
        );
        assert!(shown.contains("2001:db8::7 on eth0\n"), "{shown}");
        assert!(
            shown.contains("SHA-256 ab12") && shown.contains("3 nodes declared, 1 addresses leased"),
            "{shown}"
        );
        assert!(shown.contains("error loaders: none"), "{shown}");
        assert!(!shown.contains("not claimed"), "{shown}");
    }

    #[test]
    fn a_new_head_shows_its_code_and_what_it_was_given() {
        let mut seen = seen(json!({"findings": []}));
        seen.code = Some("abcdefghij\x1b[2J".to_owned());
        seen.reports = vec!["NOT TAKEN: ESP: muster.toml: 3:1".to_owned()];
        let shown = text(Screen::default(), &seen);
        assert!(
            shown.contains("This head is not claimed.") && shown.contains("    abcd-efgh-ij[2-J\n"),
            "{shown}"
        );
        assert!(shown.contains("  NOT TAKEN: ESP: muster.toml: 3:1\n"), "{shown}");
        assert!(!shown.contains('\x1b'), "{shown}");
    }

    #[test]
    fn a_head_that_is_silent_has_a_screen_too() {
        let shown = text(Screen::default(), &seen(Value::Null));
        assert!(shown.starts_with("muster: it does not answer\n  nobody listens at /run/x\n"), "{shown}");
        assert!(shown.contains("192.0.2.7 on eth0"), "{shown}");
    }
}
