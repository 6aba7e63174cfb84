//! The validated configuration: what `muster.toml` means. Every key is optional; without any network no DHCP
//! is served.

pub(crate) mod door;
mod images;
mod networks;
mod oidc;
mod trust;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::app::config::images::Images;
pub use crate::app::config::trust::Trust;
use crate::app::config_file::{At, ConfigProblem, Problems, Section};
use crate::base::limits::RECORD_ATTEMPTS_MAX;
use crate::base::{Cidr, Millis};
use crate::engine::audit::Keep;
use crate::engine::record::Keep as Records;
use crate::engine::token::oidc::Roles;
use crate::model::{Role, Site};
use crate::transport::acme::Acme;
use crate::transport::blobs::Settings;
use crate::transport::http::{ImageRoot, StreamSettings};
use crate::transport::loaders::DIRECTORIES;
use crate::transport::logs::SYSLOG_PORT;

/// Everything that is configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    pub site: Site,
    /// Plain HTTP for nodes.
    pub http: Vec<SocketAddr>,
    /// More names by which browsers call the head.
    pub http_names: BTreeSet<String>,
    /// Proxies whose forwarding headers count.
    pub trusted_proxies: Vec<Cidr>,
    pub https: Vec<SocketAddr>,
    pub tls: Https,
    pub tftp: Tftp,
    pub dns: Dns,
    /// Root images block by block; none: not served.
    pub nbd: Vec<SocketAddr>,
    /// Where machines' logs are taken; none: nowhere.
    pub logs: Vec<SocketAddr>,
    /// Directory of plain files below `/images`.
    pub images: Option<PathBuf>,
    /// Bounds of the store of blobs.
    pub blobs: Settings,
    /// How files are sent.
    pub streams: StreamSettings,
    /// Boot sessions.
    pub trust: Trust,
    /// Directories of loaders, later ones before earlier ones. `DATA_DIR/loaders` comes on top.
    pub loaders: Vec<PathBuf>,
    pub auth: Auth,
    /// True: the head serves only when it has an owner.
    pub claim: bool,
    pub tokens: Tokens,
    pub log: Log,
    /// How much of the audit log stays.
    pub audit: Keep,
    /// How many boot records stay.
    pub records: Records,
    /// What the daemon may call though it is its own: for webhooks to services on the head.
    pub egress: Vec<Cidr>,
    /// The API's Unix socket; none: `muster.sock` in the data directory.
    pub socket: Option<PathBuf>,
}

/// TFTP's listeners.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tftp {
    pub listen: Vec<SocketAddr>,
    /// Every packet from port 69: for NAT and strict firewalls.
    pub single_port: bool,
}

/// DNS's listeners and who knows the rest of the world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dns {
    pub listen: Vec<SocketAddr>,
    pub forward: Vec<SocketAddr>,
}

/// Who may use the API over TCP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Auth {
    /// A token is needed.
    Required,
    /// Everybody: only on loopback, or in a test's own network namespace of this name.
    Off { namespace: Option<String> },
}

/// The certificate of HTTPS.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Https {
    /// Certificate chain and key, PEM; none: one of the head's own authority.
    pub files: Option<(PathBuf, PathBuf)>,
    /// An outside authority that is asked for one.
    pub acme: Option<Acme>,
    /// More names and addresses for the head's own certificate.
    pub names: BTreeSet<String>,
}

/// Tokens that are not made by the head's administrators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tokens {
    /// The role of the token that `/token` gives to everybody; none: it gives none.
    pub open: Option<Role>,
    /// A key set (RFC 7517) of other issuers.
    pub jwks: Option<PathBuf>,
    /// The role of every bearer of their tokens.
    pub jwks_role: Role,
    /// Where else people may log in.
    pub oidc: Option<Oidc>,
}

/// A provider of logins (OpenID Connect).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Oidc {
    /// Exactly as the provider names itself.
    pub issuer: String,
    /// Our name there.
    pub client: String,
    /// A file with the secret that goes with it; none: a public client.
    pub secret: Option<PathBuf>,
    /// Besides `openid`.
    pub scopes: Vec<String>,
    pub user_claim: String,
    pub groups_claim: String,
    pub roles: Roles,
}

/// How logs look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    Auto,
    Human,
    Json,
}

/// Logging.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    pub format: LogFormat,
    /// A filter of `tracing_subscriber::EnvFilter`.
    pub level: String,
}

impl Default for Config {
    fn default() -> Self {
        Config::parse("").expect("an empty configuration is valid")
    }
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Every problem, in the order of lines.
    pub fn parse(text: &str) -> Result<Config, Vec<ConfigProblem>> {
        let mut problems = Problems::new(text);
        let table = problems.document();
        let mut root = Section::root(&table);
        let config = read(&mut root, &mut problems);
        root.finish(&mut problems);
        let mut list = problems.list;
        list.sort();
        list.dedup();
        if list.is_empty() { Ok(config) } else { Err(list) }
    }

    /// Opens the directory of plain files below the images; an error if it is none.
    pub(crate) fn image_root(&self) -> anyhow::Result<Option<ImageRoot>> {
        let open =
            |path: &PathBuf| ImageRoot::open(path).with_context(|| format!("images.root {}", path.display()));
        self.images.as_ref().map(open).transpose()
    }

    /// True if the head sets addresses on its links, which takes `CAP_NET_ADMIN`.
    #[must_use]
    pub fn configures_links(&self) -> bool {
        self.site.networks.iter().any(|network| network.manage)
    }
}

fn read(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Config {
    let mut tcp = Vec::new();
    let (http, trusted_proxies, http_names) = door::http(root, &mut tcp, problems);
    let (https, tls) = door::https(root, &mut tcp, problems);
    let mut tftp = root.section("tftp", problems);
    let tftp_listen = listen(&mut tftp, &["0.0.0.0:69"], &mut Vec::new(), problems);
    let single_port = tftp.flag("single_port", problems).unwrap_or(false);
    tftp.finish(problems);
    let mut dns = root.section("dns", problems);
    let dns_listen = listen(&mut dns, &["0.0.0.0:53"], &mut tcp, problems);
    let forward = dns.list::<Upstream>("forward", problems).unwrap_or_default();
    dns.finish(problems);
    let mut nbd = root.section("nbd", problems);
    let nbd_listen = listen(&mut nbd, &[], &mut tcp, problems);
    nbd.finish(problems);
    let mut site = networks::site(root, &http, &https, problems);
    let mut logs = root.section("logs", problems);
    let logs_listen = listen(&mut logs, &[], &mut Vec::new(), problems);
    logs.finish(problems);
    site.takes_logs = logs_listen.iter().any(|address| address.port() == SYSLOG_PORT);
    let Images { folder, blobs, mut streams } = images::images(root, problems);
    let rates = site.networks.iter().filter_map(|network| Some((network.address, network.image_rate?)));
    streams.network_rates = rates.collect();
    let mut loaders = root.section("loaders", problems);
    let folders = loaders.list::<Text>("directories", problems);
    loaders.finish(problems);
    let mut api = root.section("api", problems);
    let socket = api.parsed::<Text>("socket", problems).map(|at| PathBuf::from(at.value.0));
    api.finish(problems);
    let trust = trust::trust(root, problems);
    let log = log(root, problems);
    let audit = audit(root, problems);
    let records = records(root, problems);
    let mut egress = root.section("egress", problems);
    let allow = egress.list::<Cidr>("allow", problems).unwrap_or_default();
    egress.finish(problems);
    let open = [&http, &https].into_iter().flatten().all(|address| address.ip().is_loopback());
    let (auth, tokens, claim) = door::auth(root, open, problems);
    Config {
        site,
        http,
        http_names,
        trusted_proxies,
        https,
        tls,
        tftp: Tftp { listen: tftp_listen, single_port },
        dns: Dns { listen: dns_listen, forward: forward.into_iter().map(|at| at.value.0).collect() },
        nbd: nbd_listen,
        logs: logs_listen,
        images: folder,
        blobs,
        streams,
        trust,
        loaders: folders.map_or_else(
            || DIRECTORIES.map(PathBuf::from).to_vec(),
            |list| list.into_iter().map(|at| PathBuf::from(at.value.0)).collect(),
        ),
        auth,
        claim,
        tokens,
        log,
        audit,
        records,
        egress: allow.into_iter().map(|at| at.value).collect(),
        socket,
    }
}

/// The key `listen`. An empty list switches the listener off. An address that is `taken` already would fail at
/// start, long after somebody checked the file.
fn listen(
    section: &mut Section<'_, '_>,
    default: &[&str],
    taken: &mut Vec<SocketAddr>,
    problems: &mut Problems<'_>,
) -> Vec<SocketAddr> {
    let Some(list) = section.list::<SocketAddr>("listen", problems) else {
        let default = default.iter().map(|text| text.parse().expect("the defaults are addresses"));
        let default: Vec<SocketAddr> = default.collect();
        taken.extend(&default);
        return default;
    };
    for At { value, line } in &list {
        if value.port() != 0 && taken.contains(value) {
            problems.add(*line, section.path("listen"), format!("{value} is taken by another listener"));
        }
        taken.push(*value);
    }
    list.into_iter().map(|at| at.value).collect()
}

fn log(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Log {
    let mut section = root.section("log", problems);
    let format = match section.text("format", problems) {
        None => LogFormat::Auto,
        Some(At { value, line }) => match value.as_str() {
            "auto" => LogFormat::Auto,
            "human" => LogFormat::Human,
            "json" => LogFormat::Json,
            other => {
                problems.add(line, "log.format", format!("{other:?} is none of auto, human, json"));
                LogFormat::Auto
            }
        },
    };
    let level = section.text("level", problems);
    if let Some(At { value, line }) = &level
        && let Err(error) = EnvFilter::try_new(value)
    {
        problems.add(*line, "log.level", format!("{value:?}: {error}"));
    }
    let level = level.map_or_else(|| "info".to_owned(), |at| at.value);
    section.finish(problems);
    Log { format, level }
}

fn audit(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Keep {
    let mut section = root.section("audit", problems);
    let default = Keep::default();
    let lines = section.number("lines", (1, 100_000_000), problems).unwrap_or(default.lines);
    let life = section.parsed::<Span>("keep", problems).map_or(default.life, |at| at.value.0);
    section.finish(problems);
    Keep { lines, life }
}

fn records(root: &mut Section<'_, '_>, problems: &mut Problems<'_>) -> Records {
    let mut section = root.section("records", problems);
    let default = Records::default();
    let most = u64::try_from(RECORD_ATTEMPTS_MAX).unwrap_or(u64::MAX);
    let attempts = section.number("attempts", (1, most), problems);
    let attempts = attempts.and_then(|number| usize::try_from(number).ok()).unwrap_or(default.attempts);
    let age = section.parsed::<Span>("keep", problems).map_or(default.age, |at| at.value.0);
    section.finish(problems);
    Records { attempts, age }
}

/// A name server: an address, with or without a port.
struct Upstream(SocketAddr);

impl FromStr for Upstream {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        let address = text.parse::<SocketAddr>().or_else(|_| plain()).ok();
        let address = address.filter(|address| address.port() != 0 && !address.ip().is_unspecified());
        address.map(Upstream).ok_or("expected an address such as 192.0.2.53 or 192.0.2.53:5353")
    }
}

/// Any text but none at all.
struct Text(String);

impl FromStr for Text {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Err("must not be empty; leave the key out") } else { Ok(Text(text.to_owned())) }
    }
}

/// A network namespace: the name of a file in `/run/netns`.
struct Namespace(String);

impl FromStr for Namespace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = !text.is_empty() && !text.contains('/') && !matches!(text, "." | "..");
        if good { Ok(Namespace(text.to_owned())) } else { Err("is not the name of a network namespace") }
    }
}

/// A span of time: a number and one of s, m, h, d.
#[derive(Clone, Copy)]
struct Span(Millis);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "expected a number and a unit such as 90s, 5m, 1h, 2d";
        let unit = text.chars().last().ok_or(WANTED)?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(WANTED),
        };
        let number: u64 = text[..text.len() - unit.len_utf8()].trim().parse().map_err(|_| WANTED)?;
        number.checked_mul(factor).map(|seconds| Span(Millis::from_secs(seconds))).ok_or(WANTED)
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Auth::Required => "required",
            Auth::Off { .. } => "off",
        })
    }
}

#[cfg(test)]
mod tests;
